//! The run of one two-party command, from its claim to its end.

use std::time::Duration;

use serde_json::json;
use shared::codes::Code;
use shared::command::{Command, Dial, Refusal, Stage};
use shared::operation::Operation;
use shared::tables::{Finish, TableError};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::cleaning::CleanupResult;
use super::context::{TwoPartyCommands, out_of_reach};
use super::parties::{NextStep, Parties, PartyEvent, Side};
use super::record::ProgressRecord;
use crate::commands::request::{CallProgress, ControllerRequest, Guard};
use crate::commands::running::ListedCommand;

/// A call that is being placed normally has its name within this time.
const NAME_WITHIN: Duration = Duration::from_secs(2);

/// How a two-party command ends on this agent.
enum CommandEnd {
    Finished(Finish),
    /// Another agent has taken it over.
    TakenOver,
    /// What it has begun could not be ended, so another agent has to.
    Unfinished,
}

impl CommandEnd {
    fn refused(refusal: impl Into<Refusal>) -> Self {
        Self::Finished(Finish::Done(Err(refusal.into())))
    }
}

impl TwoPartyCommands {
    /// Carries out a claimed command and writes down how it ended.
    pub async fn run(
        &self,
        command: &Command,
        token: &str,
        guard: Guard,
        stop: &CancellationToken,
    ) -> Result<(), TableError> {
        let listed = self.running.list(command.command_id);
        match self.connect(command, token, guard, &listed, stop).await {
            CommandEnd::Finished(end) => self.results.finish(command, token, &end).await?,
            CommandEnd::TakenOver => {
                warn!(command.id = %command.command_id, "Another agent has taken the command over");
            }
            CommandEnd::Unfinished => listed.keep(),
        }
        Ok(())
    }

    async fn connect(
        &self,
        command: &Command,
        token: &str,
        guard: Guard,
        listed: &ListedCommand,
        stop: &CancellationToken,
    ) -> CommandEnd {
        let Operation::ConnectParties { ring_seconds, .. } = &command.operation else {
            return CommandEnd::refused(Code::Refused);
        };
        let (via, numbers) = match self.numbers(command, guard).await {
            Ok(found) => found,
            Err(end) => return end,
        };
        let at = self.clock.now().as_millisecond();
        let dial = |number: &String| Dial { via: via.clone(), number: number.clone(), at, call_id: None };
        let mut dials: Vec<Dial> = numbers.iter().map(dial).collect();
        if let Err(end) = self.write_down_first(command, token, guard, listed, &dials).await {
            return end;
        }

        let (progress_a, mut a) = mpsc::unbounded_channel();
        let (progress_b, mut b) = mpsc::unbounded_channel();
        let request = ControllerRequest::PlaceCalls {
            via: via.clone(),
            numbers: numbers.into_iter().zip([progress_a, progress_b]).collect(),
            guard,
        };
        let ringing_ends = Instant::now() + Duration::from_secs((*ring_seconds).into());
        if self.controller.send(request).await.is_err() {
            return CommandEnd::refused(Code::PbxOffline);
        }
        let record = ProgressRecord::keep(self, command.command_id, token, dials.clone(), Stage::Calling);
        let mut parties = Parties::new(*ring_seconds);
        let refusal = loop {
            let event = tokio::select! {
                biased;
                () = record.taken_over() => return CommandEnd::TakenOver,
                () = stop.cancelled() => PartyEvent::Stopped,
                progress = a.recv() => PartyEvent::to(Side::A, progress),
                progress = b.recv() => PartyEvent::to(Side::B, progress),
                () = sleep_until(ringing_ends) => PartyEvent::RingingEnds,
            };
            let step = parties.take(event);
            parties.name(&mut dials);
            match step {
                NextStep::Wait => record.set(&dials, parties.stage()),
                NextStep::Join(a, b) => {
                    record.set(&dials, Stage::Joining);
                    info!(command.id = %command.command_id, "Both parties have answered");
                    match self.operate(Operation::TransferCall { call_id_a: a, call_id_b: b }).await {
                        Ok(_) => {
                            record.is_written().await;
                            return CommandEnd::Finished(Finish::Done(Ok(json!({"CallIdA": a, "CallIdB": b}))));
                        }
                        Err(refusal) => break refusal,
                    }
                }
                NextStep::Expired => return CommandEnd::Finished(Finish::Expired),
                NextStep::CleanUp(refusal) => break refusal,
            }
        };
        info!(command.id = %command.command_id, code = refusal.code.as_str(), "The parties are not joined");
        let named_by = Instant::now() + NAME_WITHIN;
        for (side, progress) in [(Side::A, &mut a), (Side::B, &mut b)] {
            wait_for_name(&mut parties, side, progress, named_by).await;
        }
        parties.name(&mut dials);
        // A call that the PBX only names later is cleared by the controller, because its channel is closed.
        drop((a, b));
        record.set(&dials, Stage::CleaningUp);
        let begun = parties.begun(&dials);
        let cleaned = tokio::select! {
            biased;
            cleaned = self.clean_up(command.command_id, &begun, stop) => cleaned,
            () = record.taken_over() => return CommandEnd::TakenOver,
        };
        match cleaned {
            CleanupResult::Yes => CommandEnd::refused(refusal),
            CleanupResult::OutOfReach => CommandEnd::refused(out_of_reach()),
            CleanupResult::Stopped => CommandEnd::Unfinished,
        }
    }

    /// Who calls, by an address that is one for everybody, and what is to be dialled, or why it may not be.
    async fn numbers(&self, command: &Command, guard: Guard) -> Result<(String, [String; 2]), CommandEnd> {
        match self.ask(command.operation.clone(), command.reach.clone(), Some(guard)).await {
            Ok(result) => {
                let found = (result["via"].clone(), result["numbers"].clone());
                let found = serde_json::to_value(found).and_then(serde_json::from_value);
                found.map_err(|_| CommandEnd::refused(Code::Refused))
            }
            Err(refusal) => Err(CommandEnd::refused(refusal)),
        }
    }

    /// Nothing is dialled before the heartbeat lists the command and the command names what is dialled.
    async fn write_down_first(
        &self,
        command: &Command,
        token: &str,
        guard: Guard,
        listed: &ListedCommand,
        dials: &[Dial],
    ) -> Result<(), CommandEnd> {
        let progress = self.exchange.progress(command.command_id, token, dials, Stage::Calling, self.clock.now());
        let open_for = guard.open_for(self.clock.boot());
        let (listed, written) = tokio::join!(listed.is_written(open_for), timeout(open_for, progress));
        match written {
            Ok(Ok(true)) if listed => Ok(()),
            Ok(Ok(true)) | Err(_) => Err(CommandEnd::Finished(Finish::Expired)),
            Ok(Ok(false)) => Err(CommandEnd::TakenOver),
            Ok(Err(error)) => {
                warn!(command.id = %command.command_id, "Nothing was dialled: {error}");
                Err(CommandEnd::refused(Code::Unavailable))
            }
        }
    }
}

/// Waits shortly for the name of a call, because only a named call can be ended for certain.
async fn wait_for_name(
    parties: &mut Parties,
    side: Side,
    progress: &mut mpsc::UnboundedReceiver<CallProgress>,
    until: Instant,
) {
    while parties.is_unnamed(side) {
        match timeout_at(until, progress.recv()).await {
            Ok(Some(progress)) => drop(parties.take(PartyEvent::Progress(side, progress))),
            Ok(None) | Err(_) => return,
        }
    }
}
