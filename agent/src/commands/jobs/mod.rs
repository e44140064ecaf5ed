//! Operations that the PBX has been asked for and that are not over.
//!
//! A positive result of the PBX only means "accepted"; what came of it shows in later reports. So each job waits for the
//! state that it expects, for the refusal, or for its time to run out. The jobs know no socket: they hand back frames.

mod expected;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use serde_json::json;
use shared::codes::Code;
use shared::command::Refusal;
use shared::event::{CallEvent, Status};
use shared::ids::CallId;
use shared::tables::Finish;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::request::{CallProgress, Guard};
use crate::calls::{Calls, LegId, LegReport};
use crate::pbx::rcc::{self, OperationResult};

pub use expected::{CallOrigin, ExpectedState, JobOutcome, NewCall, Park};

const RESULT_WITHIN: Duration = Duration::from_secs(5);
/// An own phone that has to be lifted first may ring this long before the call gets anywhere.
/// This plus the wait for the result is shorter than the time after which a command reads as `unknown`.
const PROGRESS_WITHIN: Duration = Duration::from_secs(45);
const EFFECT_WITHIN: Duration = Duration::from_secs(5);
/// What the PBX has not answered by then, it never does.
const ANSWERED_AT_ALL_WITHIN: Duration = Duration::from_secs(60);
const MOST_UNCLAIMED: usize = 100;
/// The heartbeat carries them.
const MOST_TOLD: usize = 16;

/// The receiver of a job's outcome.
#[derive(Debug)]
pub enum JobOwner {
    /// A command that ends with its answer.
    Command(oneshot::Sender<Finish>),
    /// A two-party command that follows its call until that has ended. Once it hangs up, the call is not wanted any more.
    TwoParty(mpsc::UnboundedSender<CallProgress>),
}

impl JobOwner {
    fn has_gone(&self) -> bool {
        match self {
            Self::Command(reply) => reply.is_closed(),
            Self::TwoParty(progress) => progress.is_closed(),
        }
    }
}

pub type JobId = u64;

/// A request to the PBX. Its result is found by `src`, or by `mt` where firmware leaves the `src` out.
#[derive(Debug)]
pub struct PbxRequest {
    pub mt: &'static str,
    pub src: String,
    /// The user's handle, which the result of a new call does not repeat.
    pub user: u64,
    /// What it means when the PBX objects.
    pub objection: Code,
}

impl PbxRequest {
    fn is_of(&self, result: &OperationResult) -> bool {
        self.mt == result.request && result.src.as_ref().is_none_or(|src| *src == self.src)
    }

    fn refused(&self, error: Option<&String>) -> Refusal {
        match error {
            Some(error) => Refusal::with_detail(self.objection, format!("The PBX refused: {error}")),
            None => Refusal::new(self.objection),
        }
    }
}

/// What is to be done at the PBX: frames, all of one request, and the state to wait for.
#[derive(Debug)]
pub struct PbxTask {
    pub request: PbxRequest,
    pub expected: ExpectedState,
    pub frames: Vec<String>,
}

#[derive(Debug)]
struct Job {
    id: JobId,
    owner: JobOwner,
    request: PbxRequest,
    /// Results that have not come; each frame has one.
    outstanding: usize,
    /// One of the results was positive.
    agreed: bool,
    expected: ExpectedState,
    deadline: Instant,
}

/// Frames for the PBX that belong together: those of a command are written all or, once its guard has closed, not at all.
#[derive(Debug)]
pub struct FrameBatch {
    pub frames: Vec<String>,
    pub jobs: Vec<JobId>,
    pub guard: Option<Guard>,
}

impl FrameBatch {
    pub fn guarded(guard: Option<Guard>) -> Self {
        Self { frames: Vec::new(), jobs: Vec::new(), guard }
    }
}

impl From<String> for FrameBatch {
    fn from(text: String) -> Self {
        Self { frames: vec![text], jobs: Vec::new(), guard: None }
    }
}

#[derive(Debug, Default)]
pub struct Jobs {
    jobs: Vec<Job>,
    next_id: JobId,
    /// Requests for new calls that were given up before the PBX answered; a call that comes after all is cleared.
    given_up: Vec<(Instant, PbxRequest)>,
    /// Reports of legs that may be those of new calls whose results have not come. Some PBXs send the result behind them.
    unclaimed: Vec<LegReport>,
    /// Legs of queues, placed by commands: nobody there hears a busy tone and hangs up, so the agent has to.
    unattended: HashSet<LegId>,
    /// Calls of two-party commands, until they have ended.
    followed: Vec<(CallId, mpsc::UnboundedSender<CallProgress>)>,
    /// Calls that commands for one call have placed, until they have ended. No two-party command may take them for its own.
    placed: HashSet<CallId>,
    /// Those of them that a queue has placed, in the order in which they came: other agents are told of them.
    placed_by_queues: VecDeque<CallId>,
}

impl Jobs {
    /// Waits for what a task expects. Its frames are still to be written.
    pub fn begin(&mut self, task: PbxTask, owner: JobOwner, calls: &mut Calls, out: &mut FrameBatch) {
        let PbxTask { request, expected, frames } = task;
        let within = if matches!(expected, ExpectedState::NewCall(_)) { RESULT_WITHIN } else { EFFECT_WITHIN };
        if let ExpectedState::Parked(park) = &expected {
            park.stays.iter().for_each(|leg| calls.will_park(*leg));
        }
        self.next_id += 1;
        self.jobs.push(Job {
            id: self.next_id,
            owner,
            request,
            outstanding: frames.len(),
            agreed: false,
            expected,
            deadline: Instant::now() + within,
        });
        out.jobs.push(self.next_id);
        out.frames.extend(frames);
    }

    /// The guard had closed before the frames were written.
    pub fn too_late(&mut self, id: JobId, calls: &mut Calls) {
        let Some(at) = self.jobs.iter().position(|job| job.id == id) else { return };
        match self.take(at, calls) {
            JobOwner::Command(reply) => drop(reply.send(Finish::Expired)),
            JobOwner::TwoParty(progress) => drop(progress.send(CallProgress::TooLate)),
        }
    }

    /// The PBX answered a request. A result without `src` belongs to the oldest request of its kind.
    pub fn on_result(&mut self, result: &OperationResult, session: u64, calls: &mut Calls, out: &mut Vec<FrameBatch>) {
        // One that is never answered must not take a result without `src` from a later request.
        self.given_up.retain(|(since, _)| since.elapsed() < ANSWERED_AT_ALL_WITHIN);
        if let Some(at) = self.given_up.iter().position(|(_, request)| request.is_of(result)) {
            let (_, PbxRequest { src, user, .. }) = self.given_up.remove(at);
            if let Some(call @ 1..) = result.call {
                out.push(rcc::clear(&src, LegId { session, user, call }, rcc::NORMAL_CLEARING).into());
            }
            return;
        }
        let awaits = |job: &Job| job.outstanding > 0 && job.request.is_of(result);
        let Some(at) = self.jobs.iter().position(awaits) else { return };
        let job = &mut self.jobs[at];
        job.outstanding -= 1;
        let leg = result.call.map(|call| LegId { session, user: job.request.user, call });
        if let (
            ExpectedState::NewCall(NewCall { origin: CallOrigin::Placed { phoneless: true }, .. }),
            Some(call @ 1..),
        ) = (&job.expected, result.call)
        {
            self.unattended.insert(LegId { session, user: job.request.user, call });
        }
        // Handles tell success where there are any; elsewhere only an `error` tells of a refusal.
        let refused = match &mut job.expected {
            ExpectedState::NewCall(new) => match result.call {
                Some(call @ 1..) => {
                    new.leg = Some(LegId { session, user: job.request.user, call });
                    job.deadline = Instant::now() + PROGRESS_WITHIN;
                    false
                }
                _ => true,
            },
            ExpectedState::Parked(park) => {
                park.handle = result.call.filter(|call| *call > 0);
                result.error.is_some() || result.call == Some(0)
            }
            _ => result.error.is_some(),
        };
        job.agreed |= !refused;
        if refused && !job.agreed && job.outstanding == 0 {
            let refusal = job.request.refused(result.error.as_ref());
            self.answer(at, JobOutcome::Failed(refusal), calls);
        }
        let (claimed, left) =
            std::mem::take(&mut self.unclaimed).into_iter().partition(|report| Some(report.leg) == leg);
        self.unclaimed = left;
        let claimed: Vec<LegReport> = claimed;
        for report in claimed {
            self.on_report(&report, calls, out);
        }
    }

    /// A new call whose leg the PBX has not named yet may be this user's.
    fn may_name(&self, leg: LegId) -> bool {
        let awaits = |job: &Job| job.request.user == leg.user && job.outstanding > 0;
        self.jobs
            .iter()
            .any(|job| awaits(job) && matches!(&job.expected, ExpectedState::NewCall(new) if new.leg.is_none()))
    }

    /// A leg was reported, after the call core has taken the report.
    pub fn on_report(&mut self, report: &LegReport, calls: &mut Calls, out: &mut Vec<FrameBatch>) {
        if report.ends_leg() && self.unattended.remove(&report.leg) && !report.last {
            out.push(rcc::clear("clear", report.leg, rcc::NORMAL_CLEARING).into());
        }
        let is_it = |job: &Job| matches!(&job.expected, ExpectedState::NewCall(new) if new.leg == Some(report.leg));
        let Some(at) = self.jobs.iter().position(is_it) else {
            if self.may_name(report.leg) && self.unclaimed.len() < MOST_UNCLAIMED {
                self.unclaimed.push(report.clone());
            }
            return;
        };
        let ExpectedState::NewCall(new) = &mut self.jobs[at].expected else { return };
        if !report.ends_leg() {
            new.follow(report);
            return;
        }
        let refusal = new.refusal(report.cause.or(new.cause));
        self.answer(at, JobOutcome::Failed(refusal), calls);
    }

    /// Something happened to a call, as the call core tells it.
    pub fn on_event(&mut self, event: &CallEvent) {
        if event.update.is_some() {
            return; // Jobs wait for statuses.
        }
        let call = event.call_id();
        for (_, progress) in self.followed.iter().filter(|(followed, _)| *followed == call) {
            let _ = match event.status() {
                Status::Ringing => Ok(()),
                Status::Connected => progress.send(CallProgress::Answered),
                Status::Disconnected => progress.send(CallProgress::Ended(event.cause)),
            };
        }
        let ended = event.status() == Status::Disconnected;
        self.followed.retain(|(followed, progress)| !(progress.is_closed() || (ended && *followed == call)));
        if ended {
            self.placed.remove(&call);
            self.placed_by_queues.retain(|placed| *placed != call);
        }
    }

    /// Whether a command other than a two-party command has placed this call, as far as this agent knows.
    pub fn has_placed_for_another(&self, call: CallId) -> bool {
        self.placed.contains(&call)
    }

    /// The latest calls that queues have placed for commands for one call, and that run.
    pub fn placed_by_queues(&self) -> &VecDeque<CallId> {
        &self.placed_by_queues
    }

    /// Ends the jobs whose expected state is reached or whose time is up.
    pub fn review(&mut self, calls: &mut Calls, out: &mut Vec<FrameBatch>) {
        let now = Instant::now();
        if !self.unclaimed.is_empty() {
            let claimable: Vec<bool> = self.unclaimed.iter().map(|report| self.may_name(report.leg)).collect();
            let mut claimable = claimable.into_iter();
            self.unclaimed.retain(|_| claimable.next().unwrap_or(false));
        }
        let mut at = 0;
        while at < self.jobs.len() {
            let job = &self.jobs[at];
            let over = now >= job.deadline || job.owner.has_gone();
            let outcome = job
                .expected
                .outcome(calls, job.agreed, now)
                .or_else(|| over.then(|| job.expected.too_late(calls, job.agreed, now)));
            let Some(outcome) = outcome else {
                at += 1;
                continue;
            };
            if job.owner.has_gone() || matches!(outcome, JobOutcome::Failed(_)) {
                self.give_up(at, out);
            }
            self.answer(at, outcome, calls);
        }
    }

    /// Clears a call that this job has placed and that nobody wants any more, now or when the PBX names it.
    fn give_up(&mut self, at: usize, out: &mut Vec<FrameBatch>) {
        let Job { request, expected: ExpectedState::NewCall(new), .. } = &self.jobs[at] else { return };
        match (new.origin, new.leg) {
            (CallOrigin::PickedUp, _) => {}
            (CallOrigin::Placed { .. }, Some(leg)) => {
                out.push(rcc::clear("clear", leg, rcc::NORMAL_CLEARING).into());
            }
            (CallOrigin::Placed { .. }, None) => {
                let PbxRequest { mt, user, objection, .. } = *request;
                let request = PbxRequest { mt, src: request.src.clone(), user, objection };
                self.given_up.push((Instant::now(), request));
            }
        }
    }

    /// The session is gone, and nobody can tell what becomes of the commands.
    pub fn interrupt_all(&mut self) {
        self.given_up.clear();
        self.unattended.clear();
        self.unclaimed.clear();
        self.followed.clear();
        for job in self.jobs.drain(..) {
            if let JobOwner::Command(reply) = job.owner {
                let _ = reply.send(Finish::Done(Err(Code::Interrupted.into())));
            }
        }
    }

    /// The owner may have given up; the job is over all the same.
    fn answer(&mut self, at: usize, outcome: JobOutcome, calls: &mut Calls) {
        let is_of_queue = matches!(
            &self.jobs[at].expected,
            ExpectedState::NewCall(NewCall { origin: CallOrigin::Placed { phoneless: true }, .. })
        );
        match (self.take(at, calls), outcome) {
            (JobOwner::Command(reply), outcome) => {
                if let JobOutcome::Call(call) = outcome {
                    // An end of which another agent has told comes without an event.
                    self.placed.retain(|placed| calls.lives(*placed));
                    self.placed.insert(call);
                    self.placed_by_queues.retain(|placed| calls.lives(*placed));
                    if is_of_queue {
                        self.placed_by_queues.push_back(call);
                    }
                    while self.placed_by_queues.len() > MOST_TOLD {
                        self.placed_by_queues.pop_front();
                    }
                }
                let _ = reply.send(Finish::Done(match outcome {
                    JobOutcome::Call(call) => Ok(json!({"CallId": call, "conferenceId": calls.conference_of(call)})),
                    JobOutcome::Done => Ok(json!({})),
                    JobOutcome::Failed(refusal) => Err(refusal),
                }));
            }
            (JobOwner::TwoParty(progress), JobOutcome::Call(call)) => {
                let _ = progress.send(CallProgress::Placed(call));
                if calls.is_connected(call) == Some(true) {
                    let _ = progress.send(CallProgress::Answered);
                }
                self.followed.push((call, progress));
            }
            (JobOwner::TwoParty(progress), JobOutcome::Failed(refusal)) => {
                drop(progress.send(CallProgress::Failed(refusal)));
            }
            (JobOwner::TwoParty(_), JobOutcome::Done) => {} // A call that was placed always has a name.
        }
    }

    fn take(&mut self, at: usize, calls: &mut Calls) -> JobOwner {
        let job = self.jobs.remove(at);
        if let ExpectedState::Parked(park) = &job.expected {
            park.stays.iter().for_each(|leg| calls.will_not_park(*leg));
        }
        job.owner
    }
}
