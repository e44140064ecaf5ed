//! Commands that are under way at the PBX.
//!
//! A positive result of the PBX only means "accepted"; what came of it shows in later reports. So each job waits for the
//! state that it wants, for the refusal, or for its time to run out. The jobs know no socket: they hand back frames.

use std::time::Duration;

use serde_json::json;
use shared::clock::BootTime;
use shared::codes::Code;
use shared::command::{ACT_WITHIN, Outcome, Refusal};
use shared::ids::CallId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::calls::{Calls, LegId, LegReport, Phase};
use crate::pbx::frames::OperationResult;
use crate::pbx::rcc;

const RESULT_WITHIN: Duration = Duration::from_secs(10);
/// An own phone that has to be lifted first may ring this long before the call gets anywhere.
/// After this and the wait for the result, the command is not yet `unknown` to who looks at it.
const PROGRESS_WITHIN: Duration = Duration::from_secs(45);
const EFFECT_WITHIN: Duration = Duration::from_secs(5);
/// A call that was set up and not refused for this long counts as made.
const SETUP_IS_PROGRESS_AFTER: Duration = Duration::from_millis(500);

/// A command may act only while this is open. It is asked as the last thing before the frame is written.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    pub claim_sent: BootTime,
    /// How old the command was when it was claimed, on the cloud's clock.
    pub age_at_claim: Duration,
}

impl Guard {
    pub fn is_open(&self) -> bool {
        self.age_at_claim + self.claim_sent.elapsed() < ACT_WITHIN
    }
}

/// How a job ends.
#[derive(Debug, PartialEq)]
pub enum Reply {
    Done(Outcome),
    /// The guard had closed; nothing was sent.
    TooLate,
}

pub type JobId = u64;

/// What names a request: the `src` that its result repeats, and the kind, where firmware leaves the `src` out.
#[derive(Debug)]
pub struct Request {
    pub mt: &'static str,
    pub src: String,
    /// The user's handle, which the result of a new call does not repeat.
    pub user: u64,
}

impl Request {
    fn is_of(&self, result: &OperationResult) -> bool {
        result.src.as_ref().map_or(self.mt == result.request, |src| *src == self.src)
    }
}

#[derive(Debug)]
struct Job {
    id: JobId,
    reply: oneshot::Sender<Reply>,
    /// Its request, as long as the result is awaited.
    request: Option<Request>,
    wants: Wants,
    deadline: Instant,
}

/// The state that shows that a command was carried out.
#[derive(Debug)]
pub enum Wants {
    /// A new call that gets somewhere; its leg is known once the PBX has named the handle.
    NewCall {
        leg: Option<LegId>,
        setup_at: Option<Instant>,
        progressed: bool,
        clear_when_refused: bool,
    },
    Answered(CallId),
    /// All of these calls have ended; the code says what it means when the PBX objects.
    Ended(Vec<CallId>, Code),
}

impl Wants {
    pub fn new_call(clear_when_refused: bool) -> Self {
        Self::NewCall { leg: None, setup_at: None, progressed: false, clear_when_refused }
    }
}

/// Frames for the PBX that belong together: those of a command are written all or, once its guard has closed, not at all.
#[derive(Debug)]
pub struct Outgoing {
    pub frames: Vec<String>,
    pub guard: Option<(JobId, Guard)>,
}

impl From<String> for Outgoing {
    fn from(text: String) -> Self {
        Self { frames: vec![text], guard: None }
    }
}

#[derive(Debug, Default)]
pub struct Jobs {
    jobs: Vec<Job>,
    next_id: JobId,
    /// Requests for new calls that were given up before the PBX answered; a call that comes after all is cleared.
    given_up: Vec<Request>,
}

impl Jobs {
    /// Waits for what a command wants; `request` is that of its frames.
    pub fn begin(&mut self, request: Request, wants: Wants, reply: oneshot::Sender<Reply>) -> JobId {
        let within = if matches!(wants, Wants::NewCall { .. }) { RESULT_WITHIN } else { EFFECT_WITHIN };
        self.next_id += 1;
        self.jobs.push(Job {
            id: self.next_id,
            reply,
            request: Some(request),
            wants,
            deadline: Instant::now() + within,
        });
        self.next_id
    }

    /// The guard had closed before the frame was written.
    pub fn too_late(&mut self, id: JobId) {
        if let Some(at) = self.jobs.iter().position(|job| job.id == id) {
            self.answer_at(at, Reply::TooLate);
        }
    }

    /// The PBX answered a request. A result without `src` belongs to the oldest request of its kind.
    pub fn on_result(&mut self, result: &OperationResult, session: u64, out: &mut Vec<Outgoing>) {
        if let Some(at) = self.given_up.iter().position(|request| request.is_of(result)) {
            let Request { src, user, .. } = self.given_up.remove(at);
            if let Some(call @ 1..) = result.call {
                out.push(rcc::clear(&src, LegId { session, user, call }, rcc::NORMAL_CLEARING).into());
            }
            return;
        }
        let awaits = |job: &Job| job.request.as_ref().is_some_and(|request| request.is_of(result));
        let Some(at) = self.jobs.iter().position(awaits) else { return };
        let job = &mut self.jobs[at];
        let Some(Request { user, .. }) = job.request.take() else { return };
        let refused = |code: Code| match &result.error {
            Some(error) => Refusal::with_detail(code, format!("The PBX refused: {error}")),
            None => Refusal::new(code),
        };
        match &mut job.wants {
            Wants::NewCall { leg, .. } => match result.call {
                Some(call @ 1..) => {
                    *leg = Some(LegId { session, user, call });
                    job.deadline = Instant::now() + PROGRESS_WITHIN;
                }
                _ => self.answer_at(at, Reply::Done(Err(refused(Code::Refused)))),
            },
            Wants::Answered(_) if result.error.is_some() => {
                self.answer_at(at, Reply::Done(Err(refused(Code::NotAnswerable))));
            }
            Wants::Ended(_, code) if result.error.is_some() => {
                let code = *code;
                self.answer_at(at, Reply::Done(Err(refused(code))));
            }
            Wants::Answered(_) | Wants::Ended(..) => {}
        }
    }

    /// A leg was reported, after the call core has taken the report.
    pub fn on_report(&mut self, report: &LegReport, out: &mut Vec<Outgoing>) {
        let Some(at) =
            self.jobs.iter().position(|job| matches!(job.wants, Wants::NewCall { leg, .. } if leg == Some(report.leg)))
        else {
            return;
        };
        let Wants::NewCall { setup_at, progressed, clear_when_refused, .. } = &mut self.jobs[at].wants else { return };
        if report.ends_leg() {
            let refusal = match report.cause {
                Some(cause) => Refusal::with_detail(
                    Code::of_cause(cause),
                    format!("{} (cause {cause})", Code::of_cause(cause).meaning().message),
                ),
                None => Refusal::new(Code::Refused),
            };
            if *clear_when_refused && !report.last {
                out.push(rcc::clear("clear", report.leg, rcc::NORMAL_CLEARING).into());
            }
            self.answer_at(at, Reply::Done(Err(refusal)));
            return;
        }
        match report.state.map(|state| state.phase) {
            Some(Phase::Alerting | Phase::Connected) => *progressed = true,
            Some(Phase::Setup | Phase::SetupAck | Phase::Proceeding) => {
                setup_at.get_or_insert_with(Instant::now);
            }
            _ => {}
        }
    }

    /// Ends the jobs whose wish has come true or whose time is up.
    pub fn review(&mut self, calls: &Calls, out: &mut Vec<Outgoing>) {
        let now = Instant::now();
        let mut at = 0;
        while at < self.jobs.len() {
            match self.jobs[at].verdict(calls, now) {
                Some(reply) => {
                    let job = &mut self.jobs[at];
                    if matches!(job.wants, Wants::NewCall { leg: None, .. }) {
                        self.given_up.extend(job.request.take());
                    }
                    if let (Wants::NewCall { leg: Some(leg), .. }, Reply::Done(Err(_))) = (&job.wants, &reply) {
                        out.push(rcc::clear("clear", *leg, rcc::NORMAL_CLEARING).into());
                    }
                    self.answer_at(at, reply);
                }
                None => at += 1,
            }
        }
    }

    /// The session is gone, and nobody can tell what becomes of the commands.
    pub fn interrupt_all(&mut self) {
        self.given_up.clear();
        while !self.jobs.is_empty() {
            self.answer_at(0, Reply::Done(Err(Code::Interrupted.into())));
        }
    }

    fn answer_at(&mut self, at: usize, reply: Reply) {
        // Who asked may have given up; the job is over all the same.
        let _ = self.jobs.remove(at).reply.send(reply);
    }
}

impl Job {
    fn verdict(&self, calls: &Calls, now: Instant) -> Option<Reply> {
        let overdue = now >= self.deadline;
        match &self.wants {
            Wants::NewCall { leg: Some(leg), setup_at, progressed, .. } => {
                let set_up = setup_at.is_some_and(|at| now.duration_since(at) >= SETUP_IS_PROGRESS_AFTER);
                match calls.call_of(*leg) {
                    Some(call) if *progressed || set_up => Some(Reply::Done(Ok(json!({
                        "CallId": call,
                        "conferenceId": calls.conference_of(call),
                    })))),
                    _ if overdue => Some(Reply::Done(Err(Code::NoAnswer.into()))),
                    _ => None,
                }
            }
            Wants::NewCall { leg: None, .. } => overdue.then(|| Reply::Done(Err(Code::PbxTimeout.into()))),
            Wants::Answered(call) => match calls.is_connected(*call) {
                Some(true) => Some(Reply::Done(Ok(json!({})))),
                Some(false) if overdue => Some(Reply::Done(Err(Code::NotAnswerable.into()))),
                Some(false) => None,
                None => Some(Reply::Done(Err(Refusal::with_detail(
                    Code::CallNotFound,
                    "The call ended before it was answered.",
                )))),
            },
            Wants::Ended(ids, _) => {
                if ids.iter().all(|id| !calls.knows(*id)) {
                    Some(Reply::Done(Ok(json!({}))))
                } else {
                    overdue.then(|| Reply::Done(Err(Code::PbxTimeout.into())))
                }
            }
        }
    }
}
