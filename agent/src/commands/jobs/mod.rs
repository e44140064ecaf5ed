//! Commands that are under way at the PBX.
//!
//! A positive result of the PBX only means "accepted"; what came of it shows in later reports. So each job waits for the
//! state that it wants, for the refusal, or for its time to run out. The jobs know no socket: they hand back frames.

#[cfg(test)]
mod tests;
mod wants;

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use shared::codes::Code;
use shared::command::Refusal;
use shared::event::{CallEvent, Status};
use shared::ids::CallId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::request::{Guard, News, Reply};
use crate::calls::{Calls, LegId, LegReport};
use crate::pbx::frames::OperationResult;
use crate::pbx::rcc;

pub use wants::{CallOrigin, NewCall, Park, Verdict, Wants};

const RESULT_WITHIN: Duration = Duration::from_secs(5);
/// An own phone that has to be lifted first may ring this long before the call gets anywhere.
/// After this and the wait for the result, the command is not yet `unknown` to who looks at it.
const PROGRESS_WITHIN: Duration = Duration::from_secs(45);
const EFFECT_WITHIN: Duration = Duration::from_secs(5);

/// Who waits for a job.
#[derive(Debug)]
pub enum Asker {
    /// A command that ends with its answer.
    Command(oneshot::Sender<Reply>),
    /// A long command that follows its call until that has ended. Once it hangs up, the call is not wanted any more.
    Long(mpsc::UnboundedSender<News>),
}

impl Asker {
    fn has_gone(&self) -> bool {
        match self {
            Self::Command(reply) => reply.is_closed(),
            Self::Long(news) => news.is_closed(),
        }
    }
}

pub type JobId = u64;

/// What names a request: the `src` that its result repeats, and the kind, where firmware leaves the `src` out.
#[derive(Debug)]
pub struct Request {
    pub mt: &'static str,
    pub src: String,
    /// The user's handle, which the result of a new call does not repeat.
    pub user: u64,
    /// What it means when the PBX objects.
    pub objection: Code,
}

impl Request {
    fn is_of(&self, result: &OperationResult) -> bool {
        result.src.as_ref().map_or(self.mt == result.request, |src| *src == self.src)
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
pub struct Task {
    pub request: Request,
    pub wants: Wants,
    pub frames: Vec<String>,
}

#[derive(Debug)]
struct Job {
    id: JobId,
    asker: Asker,
    request: Request,
    /// Results that have not come; each frame has one.
    outstanding: usize,
    /// One of the results was positive.
    agreed: bool,
    wants: Wants,
    deadline: Instant,
}

/// Frames for the PBX that belong together: those of a command are written all or, once its guard has closed, not at all.
#[derive(Debug)]
pub struct Outgoing {
    pub frames: Vec<String>,
    pub jobs: Vec<JobId>,
    pub guard: Option<Guard>,
}

impl Outgoing {
    pub fn guarded(guard: Option<Guard>) -> Self {
        Self { frames: Vec::new(), jobs: Vec::new(), guard }
    }
}

impl From<String> for Outgoing {
    fn from(text: String) -> Self {
        Self { frames: vec![text], jobs: Vec::new(), guard: None }
    }
}

#[derive(Debug, Default)]
pub struct Jobs {
    jobs: Vec<Job>,
    next_id: JobId,
    /// Requests for new calls that were given up before the PBX answered; a call that comes after all is cleared.
    given_up: Vec<Request>,
    /// Legs of queues, placed by commands: nobody there hears a busy tone and hangs up, so the agent has to.
    unattended: HashSet<LegId>,
    /// Calls of long commands, until they have ended.
    followed: Vec<(CallId, mpsc::UnboundedSender<News>)>,
}

impl Jobs {
    /// Waits for what a task wants. Its frames are still to be written.
    pub fn begin(&mut self, task: Task, asker: Asker, calls: &mut Calls, out: &mut Outgoing) {
        let Task { request, wants, frames } = task;
        let within = if matches!(wants, Wants::NewCall(_)) { RESULT_WITHIN } else { EFFECT_WITHIN };
        if let Wants::Parked(park) = &wants {
            park.stays.iter().for_each(|leg| calls.will_park(*leg));
        }
        self.next_id += 1;
        self.jobs.push(Job {
            id: self.next_id,
            asker,
            request,
            outstanding: frames.len(),
            agreed: false,
            wants,
            deadline: Instant::now() + within,
        });
        out.jobs.push(self.next_id);
        out.frames.extend(frames);
    }

    /// The guard had closed before the frames were written.
    pub fn too_late(&mut self, id: JobId, calls: &mut Calls) {
        let Some(at) = self.jobs.iter().position(|job| job.id == id) else { return };
        match self.take(at, calls) {
            Asker::Command(reply) => drop(reply.send(Reply::TooLate)),
            Asker::Long(news) => drop(news.send(News::TooLate)),
        }
    }

    /// The PBX answered a request. A result without `src` belongs to the oldest request of its kind.
    pub fn on_result(&mut self, result: &OperationResult, session: u64, calls: &mut Calls, out: &mut Vec<Outgoing>) {
        if let Some(at) = self.given_up.iter().position(|request| request.is_of(result)) {
            let Request { src, user, .. } = self.given_up.remove(at);
            if let Some(call @ 1..) = result.call {
                out.push(rcc::clear(&src, LegId { session, user, call }, rcc::NORMAL_CLEARING).into());
            }
            return;
        }
        let awaits = |job: &Job| job.outstanding > 0 && job.request.is_of(result);
        let Some(at) = self.jobs.iter().position(awaits) else { return };
        let job = &mut self.jobs[at];
        job.outstanding -= 1;
        if let (Wants::NewCall(NewCall { origin: CallOrigin::Placed { phoneless: true }, .. }), Some(call @ 1..)) =
            (&job.wants, result.call)
        {
            self.unattended.insert(LegId { session, user: job.request.user, call });
        }
        // Handles tell success where there are any; elsewhere only an `error` tells of a refusal.
        let refused = match &mut job.wants {
            Wants::NewCall(new) => match result.call {
                Some(call @ 1..) => {
                    new.leg = Some(LegId { session, user: job.request.user, call });
                    job.deadline = Instant::now() + PROGRESS_WITHIN;
                    false
                }
                _ => true,
            },
            Wants::Parked(park) => {
                park.handle = result.call.filter(|call| *call > 0);
                result.error.is_some() || result.call == Some(0)
            }
            _ => result.error.is_some(),
        };
        job.agreed |= !refused;
        if refused && !job.agreed && job.outstanding == 0 {
            let refusal = job.request.refused(result.error.as_ref());
            self.answer(at, Verdict::Failed(refusal), calls);
        }
    }

    /// A leg was reported, after the call core has taken the report.
    pub fn on_report(&mut self, report: &LegReport, calls: &mut Calls, out: &mut Vec<Outgoing>) {
        if report.ends_leg() && self.unattended.remove(&report.leg) && !report.last {
            out.push(rcc::clear("clear", report.leg, rcc::NORMAL_CLEARING).into());
        }
        let is_it = |job: &Job| matches!(&job.wants, Wants::NewCall(new) if new.leg == Some(report.leg));
        let Some(at) = self.jobs.iter().position(is_it) else { return };
        let Wants::NewCall(new) = &mut self.jobs[at].wants else { return };
        if !report.ends_leg() {
            new.follow(report);
            return;
        }
        let refusal = new.refusal(report.cause.or(new.cause));
        self.answer(at, Verdict::Failed(refusal), calls);
    }

    /// Something happened to a call, as the call core tells it.
    pub fn on_event(&mut self, event: &CallEvent) {
        let call = event.call_id();
        for (_, news) in self.followed.iter().filter(|(followed, _)| *followed == call) {
            let _ = match event.status() {
                Status::Ringing => Ok(()),
                Status::Connected => news.send(News::Answered),
                Status::Disconnected => news.send(News::Ended(event.cause)),
            };
        }
        let ended = event.status() == Status::Disconnected;
        self.followed.retain(|(followed, news)| !(news.is_closed() || (ended && *followed == call)));
    }

    /// Ends the jobs whose wish has come true or whose time is up.
    pub fn review(&mut self, calls: &mut Calls, out: &mut Vec<Outgoing>) {
        let now = Instant::now();
        let mut at = 0;
        while at < self.jobs.len() {
            let job = &self.jobs[at];
            let over = now >= job.deadline || job.asker.has_gone();
            let verdict = job
                .wants
                .verdict(calls, job.agreed, now)
                .or_else(|| over.then(|| job.wants.too_late(calls, job.agreed, now)));
            let Some(verdict) = verdict else {
                at += 1;
                continue;
            };
            if job.asker.has_gone() || matches!(verdict, Verdict::Failed(_)) {
                self.give_up(at, out);
            }
            self.answer(at, verdict, calls);
        }
    }

    /// Clears a call that this job has placed and that nobody wants any more, now or when the PBX names it.
    fn give_up(&mut self, at: usize, out: &mut Vec<Outgoing>) {
        let Job { request, wants: Wants::NewCall(new), .. } = &self.jobs[at] else { return };
        match (new.origin, new.leg) {
            (CallOrigin::PickedUp, _) => {}
            (CallOrigin::Placed { .. }, Some(leg)) => {
                out.push(rcc::clear("clear", leg, rcc::NORMAL_CLEARING).into());
            }
            (CallOrigin::Placed { .. }, None) => {
                let Request { mt, user, objection, .. } = *request;
                self.given_up.push(Request { mt, src: request.src.clone(), user, objection });
            }
        }
    }

    /// The session is gone, and nobody can tell what becomes of the commands.
    pub fn interrupt_all(&mut self) {
        self.given_up.clear();
        self.unattended.clear();
        self.followed.clear();
        for job in self.jobs.drain(..) {
            if let Asker::Command(reply) = job.asker {
                let _ = reply.send(Reply::Done(Err(Code::Interrupted.into())));
            }
        }
    }

    /// Who asked may have given up; the job is over all the same.
    fn answer(&mut self, at: usize, verdict: Verdict, calls: &mut Calls) {
        match (self.take(at, calls), verdict) {
            (Asker::Command(reply), verdict) => {
                let _ = reply.send(Reply::Done(match verdict {
                    Verdict::Call(call) => Ok(json!({"CallId": call, "conferenceId": calls.conference_of(call)})),
                    Verdict::Done => Ok(json!({})),
                    Verdict::Failed(refusal) => Err(refusal),
                }));
            }
            (Asker::Long(news), Verdict::Call(call)) => {
                let _ = news.send(News::Placed(call));
                if calls.is_connected(call) == Some(true) {
                    let _ = news.send(News::Answered);
                }
                self.followed.push((call, news));
            }
            (Asker::Long(news), Verdict::Failed(refusal)) => drop(news.send(News::Failed(refusal))),
            (Asker::Long(_), Verdict::Done) => {} // A call that was placed always has a name.
        }
    }

    fn take(&mut self, at: usize, calls: &mut Calls) -> Asker {
        let job = self.jobs.remove(at);
        if let Wants::Parked(park) = &job.wants {
            park.stays.iter().for_each(|leg| calls.will_not_park(*leg));
        }
        job.asker
    }
}
