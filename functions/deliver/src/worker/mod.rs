//! The worker of a lane: it follows the protocol, sends what is parked, and comes back while there is something to do.
//!
//! A message of the lanes queue is its life. It goes back to the queue for as long as the worker waits, and is finished when the lane is
//! shared again or rests. The queue hands out one message of a webhook at a time, so a webhook has one worker.

mod sending;
mod tidying;

use std::time::Duration;

use jiff::Timestamp;
use shared::ids::WebhookId;
use shared::queue::FifoRecord;
use shared::tables::{Change, Look};
use shared::webhook::{Lane, Lookout, Webhook, WebhookState};
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::attempt::fits;
use crate::batch::Ending;
use crate::cloud_error::CloudError;
use crate::context::Context;
use crate::lane::{self, stays, way};
use crate::lookout::{Reaction, learn};
use crate::protocol::{Came, Park, Step, Way, Worker};
use crate::{figures, notices};
use sending::{Due, send, sort_out};
use tidying::Found;

/// A worker that waits looks this often whether its owner wants it to go on.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// So short a time is waited for in the function itself.
const SHORT: Duration = Duration::from_secs(2);
/// A success is noted this often. Milliseconds.
const NOTE_SUCCESS: i64 = 10_000;
/// The queue gives a message up after a thousand receives. A new one takes its place before.
const MANY_RECEIVES: u32 = 900;

pub(crate) async fn work(
    context: &Context,
    id: WebhookId,
    record: &FifoRecord,
    deadline: Timestamp,
    clock: impl Fn() -> Timestamp + Copy,
) -> Ending {
    if record.receives > MANY_RECEIVES && context.try_to_call(id).await {
        return Ending::Acknowledged;
    }
    let mut visit = Visit {
        context,
        id,
        deadline,
        clock,
        webhook: None,
        lookout: Lookout::default(),
        is_noted: true,
        found: Found::default(),
        due: Vec::new(),
        noted_success_at: 0,
    };
    match visit.run().await {
        Ok(None) => Ending::Acknowledged,
        Ok(Some(wait)) => Ending::Back(wait),
        Err(error) => {
            error!(cause = %error, webhook.id = %id, "A lane cannot be worked on now");
            Ending::Back(context.pause(record, clock()).min(LOOK_EVERY))
        }
    }
}

/// One invocation's work.
struct Visit<'a, C> {
    context: &'a Context,
    id: WebhookId,
    deadline: Timestamp,
    clock: C,
    /// As it was read last.
    webhook: Option<Webhook>,
    lookout: Lookout,
    /// Whether what it has learned is written.
    is_noted: bool,
    /// What was found, and what of that is due.
    found: Found,
    due: Vec<Due>,
    /// Milliseconds.
    noted_success_at: i64,
}

impl<C: Fn() -> Timestamp + Copy> Visit<'_, C> {
    /// Returns how long the message goes back for; `None` when it has done its work.
    async fn run(&mut self) -> Result<Option<Duration>, CloudError> {
        let (context, id) = (self.context, self.id);
        let mut worker = Worker::default();
        while let Some(step) = worker.next() {
            let came = match step {
                Step::ReadLane => {
                    self.read_webhook().await?;
                    let Some(webhook) = &self.webhook else {
                        // It was deleted.
                        let found = tidying::look(context, id, None, true, (self.clock)()).await?;
                        return Ok(found.more.then_some(Duration::ZERO));
                    };
                    if webhook.health.paused_at.is_some() && webhook.is_alive((self.clock)()) {
                        // Only what is over is taken out. Who resumes it calls.
                        tidying::look(context, id, Some(webhook), true, (self.clock)()).await?;
                        return Ok(None);
                    }
                    let way = Way { worker_comes: webhook.health.lookout.next_look_at.is_some(), ..way(webhook) };
                    if !fits(context, self.deadline, (self.clock)()) {
                        return self.come_back(Duration::ZERO).await;
                    }
                    if let Some(wait) = self.has_to_wait().filter(|_| way.lane == Lane::Own) {
                        return self.come_back(wait).await;
                    }
                    Came::Lane(way)
                }
                Step::ReadPark => Came::Park(self.read_park().await?),
                Step::Change { from, to } => {
                    if !self.is_noted {
                        self.note(None).await?;
                    }
                    let (from, to) = ((from.lane, from.worker_comes), (to.lane, to.worker_comes));
                    Came::Changed(context.state.change_lane(id, from, to, (self.clock)()).await?)
                }
                Step::Serve => {
                    if let Some(wait) = self.serve().await? {
                        return self.come_back(wait).await;
                    }
                    Came::Served
                }
            };
            worker.take(came);
        }
        info!(webhook.id = %id, "The worker of a lane has nothing more to do");
        Ok(None)
    }

    /// What it has learned itself is newer than what is written, until its owner changes something.
    async fn read_webhook(&mut self) -> Result<(), CloudError> {
        let read = self.context.state.webhook(self.id).await?;
        let since = |webhook: &Option<Webhook>| webhook.as_ref().map(|webhook| webhook.health.lane_since);
        if since(&read) != since(&self.webhook)
            && let Some(webhook) = &read
        {
            self.lookout = webhook.health.lookout.clone();
        }
        self.webhook = read;
        Ok(())
    }

    fn has_to_wait(&self) -> Option<Duration> {
        let webhook = self.webhook.as_ref()?;
        let left = self.lookout.next_attempt_at? - (self.clock)().as_millisecond();
        let left = Duration::from_millis(u64::try_from(left).ok()?);
        (left > SHORT && webhook.is_alive((self.clock)())).then_some(left)
    }

    async fn read_park(&mut self) -> Result<Park, CloudError> {
        if !self.due.is_empty() {
            return Ok(Park::Occupied);
        }
        let now = (self.clock)();
        let Some(webhook) = &self.webhook else { return Ok(Park::Empty) };
        let whole = self.lookout.refusals > 0 || !webhook.is_alive(now);
        let found = tidying::look(self.context, self.id, Some(webhook), whole, now).await?;
        let is_empty = found.heads.is_empty() && !found.more;
        figures::of_park(&mut self.context.metrics(), found.heads.iter().filter_map(|parked| parked.parked_at), now);
        self.found = found;
        Ok(match is_empty {
            false => Park::Occupied,
            true if stays(webhook, &self.lookout, now) => Park::EmptyButOwn,
            true => Park::Empty,
        })
    }

    /// Sends what is there. Returns how long there is nothing to do, if so.
    async fn serve(&mut self) -> Result<Option<Duration>, CloudError> {
        let Some(webhook) = self.webhook.clone() else { return Ok(None) };
        let context = self.context;
        let left = self.lookout.next_attempt_at.unwrap_or_default() - (self.clock)().as_millisecond();
        if let Ok(left) = u64::try_from(left) {
            sleep(Duration::from_millis(left)).await;
        }
        if self.due.is_empty() {
            let found = std::mem::take(&mut self.found);
            let sorted = sort_out(context, &self.lookout, found.heads, (self.clock)()).await?;
            if sorted.due.is_empty() {
                let wait = sorted.next.map(|next| next.duration_since((self.clock)()));
                let wait = wait.map_or(SHORT, |wait| Duration::try_from(wait).unwrap_or_default().max(SHORT));
                return Ok((!sorted.some_over && !found.more).then_some(wait));
            }
            self.due = sorted.due;
        }
        if !fits(context, self.deadline, (self.clock)()) {
            return Ok(Some(Duration::ZERO));
        }
        let reactions = send(context, &webhook, &mut self.lookout, &mut self.due, self.deadline, self.clock).await?;
        let now = (self.clock)();
        self.is_noted = false;
        let refused = learn(&mut self.lookout, &reactions, now).map(str::to_owned);
        if self.lookout.refusals > 0 {
            self.due.clear(); // The next one is chosen anew, when its time has come.
        }
        if reactions.iter().any(|reaction| matches!(reaction, Reaction::Accepted { .. })) {
            self.accepted(&webhook, now).await?;
        }
        if let Some(in_words) = reactions.iter().find_map(Reaction::gone) {
            lane::switch_off(context, self.id, in_words, now).await?;
        }
        if let Some(in_words) = refused {
            self.refused(&webhook, &in_words, now).await?;
        }
        if let Some(most) = webhook.settings.max_per_minute.filter(|_| !reactions.is_empty()) {
            let pace = now.as_millisecond() + 60_000 / i64::from(most.max(1));
            self.lookout.next_attempt_at = self.lookout.next_attempt_at.max(Some(pace));
        }
        Ok(None)
    }

    async fn accepted(&mut self, webhook: &Webhook, now: Timestamp) -> Result<(), CloudError> {
        let recovers = webhook.health.state == WebhookState::Failing || webhook.health.refusing_since.is_some();
        if recovers || now.as_millisecond() - self.noted_success_at >= NOTE_SUCCESS {
            self.note(Some(now)).await?;
            self.noted_success_at = now.as_millisecond();
        }
        if recovers && let Some(recovered) = self.context.state.change_state(self.id, &Change::Recover, now).await? {
            info!(webhook.id = %self.id, "The webhook accepts again");
            notices::try_to_tell(self.context, &recovered).await;
        }
        Ok(())
    }

    /// Nothing was accepted.
    async fn refused(&mut self, webhook: &Webhook, in_words: &str, now: Timestamp) -> Result<(), CloudError> {
        let tried = Duration::from_millis(self.lookout.refused_for.into());
        if webhook.health.state == WebhookState::Failing || tried < self.context.failing_after {
            return Ok(());
        }
        let reason = format!("nothing was accepted for {} s; the last attempt: {in_words}", tried.as_secs());
        let change = Change::Fail { reason: &reason };
        if let Some(failing) = self.context.state.change_state(self.id, &change, now).await? {
            warn!(webhook.id = %self.id, "A webhook is failing: {reason}");
            notices::try_to_tell(self.context, &failing).await;
        }
        Ok(())
    }

    /// Notes what it knows, and goes for a while.
    async fn come_back(&mut self, wait: Duration) -> Result<Option<Duration>, CloudError> {
        let wait = wait.min(LOOK_EVERY);
        self.lookout.next_look_at = Some((self.clock)().as_millisecond() + wait.as_millis() as i64);
        self.note(None).await?;
        Ok(Some(wait))
    }

    async fn note(&mut self, accepted_at: Option<Timestamp>) -> Result<(), CloudError> {
        let lookout = Lookout {
            // Until it is written that it rests, it comes by itself.
            next_look_at: self.lookout.next_look_at.or(Some((self.clock)().as_millisecond())),
            ..self.lookout.clone()
        };
        let look = Look { lookout, last_success_at: accepted_at.map(Timestamp::as_millisecond) };
        self.context.state.note_look(self.id, &look).await?;
        self.is_noted = true;
        Ok(())
    }
}
