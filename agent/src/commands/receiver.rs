//! The receiver of commands: takes a doorbell from the queue, claims its command, has the controller carry it out, writes the
//! result.
//!
//! A command acts at most once, because only one claim wins, and never late, because its guard is asked again as the last
//! thing before the frame is written.
//!
//! An agent that loses its PBX session keeps the poll that is under way, and gives back at once what it brings. The queue would hand a
//! command to a poll that nobody listens to any more, and hide it from the other agent.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shared::agent_status::AgentStatus;
use shared::clock::{BootTime, CloudClock};
use shared::codes::Code;
use shared::command::{Command, CommandState, Doorbell};
use shared::envelope::{self, EnvelopeError};
use shared::operation::Operation;
use shared::queue::{Queue, Received};
use shared::random::Random;
use shared::tables::{Claim, Exchange, Finish, TableError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::calls::CallView;
use crate::commands::request::{ControllerRequest, Guard, OperationRequest};
use crate::commands::two_party::TwoPartyCommands;
use crate::host::backoff::Backoff;
use crate::host::statistics::{Statistics, Working};
use crate::host::status::ControllerStatus;

/// Long polls that may be open at once. While the answer of one is handled, the other listens.
pub const RECEIVERS: usize = 2;
const LONG_POLL: Duration = Duration::from_secs(20);
const DOORBELLS: usize = 10;
/// After the start of a session, calls get their names within this time.
const CLEARS_UP_WITHIN: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A message that was given back is not taken again by the same agent at once.
const NEXT_IN_TURN: Duration = Duration::from_millis(300);

#[derive(Clone, Debug)]
pub struct CommandReceiver {
    /// The queues of all slots, from the first one on.
    pub queues: Arc<[Queue]>,
    /// That of the PBX's slot, once it is known.
    pub queue: Queue,
    pub exchange: Exchange,
    pub clock: CloudClock,
    pub random: Random,
    pub agent_id: Arc<str>,
    pub controller: mpsc::Sender<ControllerRequest>,
    pub status: watch::Receiver<ControllerStatus>,
    pub two_party: TwoPartyCommands,
    pub statistics: Statistics,
    pub tasks: TaskTracker,
}

/// A command that is this agent's to carry out.
#[derive(Debug)]
struct ClaimedCommand {
    command: Box<Command>,
    token: String,
    guard: Guard,
    /// How this agent sees the calls that the command names.
    view: CallView,
}

impl CommandReceiver {
    /// Polls the queue while the PBX session is up and the table answers: a doorbell that this agent cannot claim belongs to another.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::quick(self.random.clone());
        let mut pause = Duration::ZERO;
        // The first poll, and the first one after a failure, is answered at once: only then is it known that commands arrive.
        let mut wait = Duration::ZERO;
        loop {
            let slot = async {
                let slot = self.status.wait_for(|status| status.listens_at().is_some()).await;
                let slot = slot.ok().and_then(|status| status.listens_at());
                sleep(pause).await;
                slot
            };
            let slot = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                slot = slot => slot,
            };
            let Some(slot) = slot else { return };
            if let Some(queue) = self.queues.get(slot - 1) {
                self.queue = queue.clone();
            }
            if !self.reaches_table() {
                let answered = tokio::select! {
                    biased;
                    answered = self.exchange.answers() => answered,
                    () = stop.cancelled() => return,
                };
                self.statistics.exchange_table(answered.is_ok());
                if let Err(error) = answered {
                    pause = backoff.pause();
                    warn!("Commands are left to other agents: {error}");
                    continue;
                }
                // It answers this and may still refuse claims. Another agent gets what was given back.
                sleep(NEXT_IN_TURN).await;
            }
            // The poll is kept when the session is lost: the queue would hand a message to a poll that nobody listens to any more,
            // and hide it from the other agent.
            let received = tokio::select! {
                biased;
                received = self.queue.receive(DOORBELLS, wait) => received,
                () = stop.cancelled() => return,
            };
            self.statistics.commands_queue(received.is_ok());
            wait = if received.is_ok() { LONG_POLL } else { Duration::ZERO };
            match received {
                Ok(messages) if messages.is_empty() => {
                    pause = Duration::ZERO;
                    backoff.reset();
                }
                Ok(messages) if !self.status.borrow().is_up() || !self.reaches_table() => {
                    self.give_back(&messages).await;
                }
                Ok(messages) => {
                    pause = Duration::ZERO;
                    backoff.reset();
                    for message in messages {
                        let (receiver, stop) = (self.clone(), stop.clone());
                        self.tasks.spawn(async move { receiver.handle_message(message, &stop).await });
                    }
                }
                Err(error) => {
                    pause = backoff.pause();
                    warn!("Commands cannot be heard: {error}");
                }
            }
        }
    }

    /// Whether the latest request to the table was answered, whoever made it.
    fn reaches_table(&self) -> bool {
        self.statistics.cloud().exchange_table != Working::No
    }

    /// Lets another agent have messages at once.
    async fn give_back(&self, messages: &[Received]) {
        let receipts: Vec<(String, Duration)> =
            messages.iter().map(|message| (message.receipt.clone(), Duration::ZERO)).collect();
        if let Err(error) = self.queue.set_visibility(&receipts).await {
            warn!("Commands for another agent wait longer than they should: {error}");
        }
    }

    async fn handle_message(&self, message: Received, stop: &CancellationToken) {
        let doorbell: Doorbell = match envelope::open(&message.body) {
            Ok(doorbell) => doorbell,
            Err(error @ EnvelopeError::UnknownVersion(_)) => {
                // While agents are upgraded one after the other, the next one may be able to read it.
                warn!("A command is left to another agent: {error}");
                sleep(NEXT_IN_TURN).await;
                return self.give_back(&[message]).await;
            }
            Err(error) => {
                warn!("A message that is no command was dropped: {error}");
                self.drop_message(&message).await;
                return;
            }
        };
        if !self.is_for_this_pbx(doorbell.pbx.as_deref()) {
            // The slot of one of the two PBXs was freed while its agents listened.
            sleep(NEXT_IN_TURN).await;
            return self.give_back(&[message]).await;
        }
        let claimed = match self.claim(&doorbell, &message).await {
            Ok(Some(claimed)) => claimed,
            Ok(None) => return,
            Err(error) => {
                warn!(command.id = %doorbell.command_id, "The command is not claimed: {error}");
                // What cannot be read comes again by itself; an agent of a newer version may read it.
                if error.is_unanswered() {
                    self.statistics.exchange_table(false);
                    self.give_back(&[message]).await;
                }
                return;
            }
        };
        if let Err(error) = self.handle_command(&claimed, stop).await {
            warn!(command.id = %doorbell.command_id, "The end of the command is not written: {error}");
        }
    }

    /// Makes a command this agent's. `None`: it is another's, or may be.
    async fn claim(&self, doorbell: &Doorbell, message: &Received) -> Result<Option<ClaimedCommand>, TableError> {
        let mut view = self.view(doorbell).await;
        if view != CallView::Live && !self.nobody_else_sees(doorbell).await? {
            // Another agent may see the call. The pause keeps this one from taking the message again at once.
            sleep(NEXT_IN_TURN).await;
            self.give_back(std::slice::from_ref(message)).await;
            return Ok(None);
        }
        let doubt = Instant::now();
        while view == CallView::Doubtful && doubt.elapsed() < CLEARS_UP_WITHIN {
            sleep(LOOK_EVERY).await;
            view = self.view(doorbell).await;
        }
        let token = self.random.uuid().to_string();
        let claim_sent = self.clock.boot();
        let claim = self.exchange.claim(doorbell.command_id, &token, &self.agent_id, self.clock.now()).await?;
        // The doorbell is not needed any more, whichever agent has won the claim. Nothing waits for its deletion.
        let (queue, receipt) = (self.queue.clone(), message.receipt.clone());
        self.tasks.spawn(async move {
            if let Err(error) = queue.delete(&receipt).await {
                warn!("A heard command rings again: {error}");
            }
        });
        let Claim::Won { command, date } = claim else { return Ok(None) };
        let guard = Guard { claim_sent, age_at_claim: command.age(self.latest_time_of(claim_sent, date)) };
        Ok(Some(ClaimedCommand { command, token, guard, view }))
    }

    /// The latest time that the cloud's clock may have shown when a claim was sent: a command counts as older rather than younger. The
    /// `Date` of its answer is cut to whole seconds; the clock has learnt from it and from others, and knows better as a rule.
    fn latest_time_of(&self, claim_sent: BootTime, date: Option<Timestamp>) -> Timestamp {
        let answered = date.map(|date| date + SignedDuration::from_secs(1));
        let learnt = self.clock.latest_at(claim_sent);
        answered.into_iter().chain(learnt).min().unwrap_or_else(|| self.clock.at(claim_sent))
    }

    async fn handle_command(&self, claimed: &ClaimedCommand, stop: &CancellationToken) -> Result<(), TableError> {
        let ClaimedCommand { command, token, guard, view } = claimed;
        if matches!(command.operation, Operation::ConnectParties { .. }) && guard.is_open(self.clock.boot()) {
            return self.two_party.run(command, token, *guard, stop).await;
        }
        let end = self.carry_out(command, *guard, *view).await;
        self.two_party.results.finish(command, token, &end).await
    }

    async fn carry_out(&self, command: &Command, guard: Guard, view: CallView) -> Finish {
        if !guard.is_open(self.clock.boot()) {
            return Finish::Expired;
        }
        if view != CallView::Live {
            return Finish::Done(Err(Code::CallNotFound.into()));
        }
        let (request, answer) = OperationRequest::new(command.operation.clone(), command.reach.clone(), Some(guard));
        if self.controller.send(ControllerRequest::Operate(request)).await.is_err() {
            return Finish::Done(Err(Code::PbxOffline.into()));
        }
        answer.await.unwrap_or_else(|_| Finish::Done(Err(Code::Interrupted.into())))
    }

    fn is_for_this_pbx(&self, pbx: Option<&str>) -> bool {
        let status = self.status.borrow();
        pbx.is_none_or(|pbx| status.pbx_id.as_deref().is_none_or(|own| own == pbx))
    }

    async fn view(&self, doorbell: &Doorbell) -> CallView {
        if doorbell.call_ids.is_empty() {
            return CallView::Live;
        }
        let (reply, answer) = oneshot::channel();
        let request = ControllerRequest::View { calls: doorbell.call_ids.clone(), reply };
        if self.controller.send(request).await.is_err() {
            return CallView::Unknown;
        }
        answer.await.unwrap_or(CallView::Unknown)
    }

    /// Adds this agent to those that do not see a call, and tells whether all that are there have declined.
    async fn nobody_else_sees(&self, doorbell: &Doorbell) -> Result<bool, TableError> {
        let command = self.exchange.decline(doorbell.command_id, &self.agent_id).await?;
        if command.state != CommandState::Queued {
            return Ok(true); // Its claim will be lost, and its doorbell deleted.
        }
        let now = self.clock.now();
        let agents = self.exchange.agents(now).await?;
        let hears =
            |agent: &&AgentStatus| agent.can_act(now) && command.pbx.as_deref().is_none_or(|pbx| agent.is_at(pbx));
        Ok(agents.iter().filter(hears).all(|agent| command.declined.contains(&agent.agent_id)))
    }

    async fn drop_message(&self, message: &Received) {
        if let Err(error) = self.queue.delete(&message.receipt).await {
            warn!("The message comes again: {error}");
        }
    }
}
