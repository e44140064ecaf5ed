//! The states that show that commands were carried out.

use std::time::Duration;

use shared::codes::Code;
use shared::command::Refusal;
use shared::ids::CallId;
use tokio::time::Instant;

use crate::calls::{Calls, LegId, LegReport, Phase, UserGuid};
use crate::commands::causes::refusal_of_cause;

/// A call that was set up and not refused for this long counts as made.
const SETUP_IS_PROGRESS_AFTER: Duration = Duration::from_millis(500);

/// The state that shows that a command was carried out.
#[derive(Debug)]
pub enum ExpectedState {
    NewCall(NewCall),
    Answered(CallId),
    /// The user holds the call, or does not hold it.
    Held(CallId, bool),
    Ended(CallId),
    /// Both calls have ended, after the PBX had agreed: that alone would also be two hang-ups.
    Joined(CallId, CallId),
    /// The leg has left its call, after the PBX had agreed.
    Moved(LegId),
    Parked(Park),
    /// The PBX shows nothing; that it agreed has to do.
    Agreed,
}

/// A new call that makes progress.
#[derive(Debug)]
pub struct NewCall {
    pub origin: CallOrigin,
    /// Known once the PBX has named the handle.
    pub leg: Option<LegId>,
    setup_at: Option<Instant>,
    alerted: bool,
    connected: bool,
    /// The last cause that the PBX gave before the end.
    pub cause: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOrigin {
    /// Placed by this user or queue. Without a phone nobody hangs up on a busy tone.
    Placed { phoneless: bool },
    /// Taken over from elsewhere: it is not this command's to end when it does not get through.
    PickedUp,
}

/// A call on its way into a park.
#[derive(Debug)]
pub struct Park {
    pub at: UserGuid,
    pub conference: String,
    /// The handle of the parked call, once the PBX has given it.
    pub handle: Option<u64>,
    /// The leg that is parked.
    pub leg: LegId,
    /// Legs whose end is not the end of their call, because they are parked at their own place.
    pub stays: Vec<LegId>,
}

/// How a job ended.
#[derive(Debug, PartialEq)]
pub enum JobOutcome {
    /// The job made this call.
    Call(CallId),
    Done,
    Failed(Refusal),
}

impl NewCall {
    pub fn placed(phoneless: bool) -> Self {
        Self::new(CallOrigin::Placed { phoneless })
    }

    pub fn picked_up() -> Self {
        Self::new(CallOrigin::PickedUp)
    }

    fn new(origin: CallOrigin) -> Self {
        Self { origin, leg: None, setup_at: None, alerted: false, connected: false, cause: None }
    }

    /// Notes the progress of the call.
    pub fn follow(&mut self, report: &LegReport) {
        self.cause = report.cause.or(self.cause);
        match report.state.map(|state| state.phase) {
            Some(Phase::Alerting) => self.alerted = true,
            Some(Phase::Connected) => self.connected = true,
            Some(Phase::Setup | Phase::SetupAck | Phase::Proceeding) => {
                self.setup_at.get_or_insert_with(Instant::now);
            }
            _ => {}
        }
    }

    fn has_progressed(&self, now: Instant) -> bool {
        match self.origin {
            CallOrigin::Placed { .. } => {
                let set_up = self.setup_at.is_some_and(|at| now.duration_since(at) >= SETUP_IS_PROGRESS_AFTER);
                self.connected || self.alerted || set_up
            }
            CallOrigin::PickedUp => self.connected,
        }
    }

    /// What the end of the call means, when it comes before the call got anywhere.
    pub fn refusal(&self, cause: Option<u16>) -> Refusal {
        match self.origin {
            CallOrigin::Placed { .. } => refusal_of_cause(cause),
            CallOrigin::PickedUp => {
                Refusal::with_detail(Code::NothingToPickUp, "The call ended before it was taken over.")
            }
        }
    }

    fn too_slow(&self) -> Code {
        match (self.origin, self.leg) {
            (CallOrigin::Placed { .. }, Some(_)) => Code::NoAnswer,
            _ => Code::PbxTimeout,
        }
    }
}

impl ExpectedState {
    /// The outcome that is certain now, if any. `agreed`: the PBX has answered the request and not refused it.
    pub fn outcome(&self, calls: &Calls, agreed: bool, now: Instant) -> Option<JobOutcome> {
        match self {
            Self::NewCall(new) => {
                let call = calls.call_of(new.leg?)?;
                new.has_progressed(now).then_some(JobOutcome::Call(call))
            }
            Self::Answered(call) => reached(calls.is_connected(*call), "was answered"),
            Self::Held(call, held) => {
                let what = if *held { "was held" } else { "was retrieved" };
                reached(calls.is_held(*call).map(|is| is == *held), what)
            }
            Self::Ended(call) => (!calls.knows(*call)).then_some(JobOutcome::Done),
            Self::Joined(a, b) => (agreed && !calls.knows(*a) && !calls.knows(*b)).then_some(JobOutcome::Done),
            Self::Moved(leg) => (agreed && calls.call_of(*leg).is_none()).then_some(JobOutcome::Done),
            Self::Parked(park) if agreed => {
                calls.parked_at(&park.at, &park.conference, park.handle).map(JobOutcome::Call)
            }
            Self::Parked(_) => None,
            Self::Agreed => agreed.then_some(JobOutcome::Done),
        }
    }

    /// The outcome when the time is over.
    pub fn too_late(&self, calls: &Calls, agreed: bool, now: Instant) -> JobOutcome {
        match self {
            // The PBX has taken the call from its leg, only it does not show where it is.
            Self::Parked(park) if agreed && calls.call_of(park.leg).is_none() => {
                calls.parked_at(&park.at, &park.conference, park.handle).map_or(JobOutcome::Done, JobOutcome::Call)
            }
            Self::NewCall(new) => JobOutcome::Failed(new.too_slow().into()),
            Self::Answered(_) => JobOutcome::Failed(Code::NotAnswerable.into()),
            // A PBX that never answers the request may have carried it out all the same.
            Self::Joined(..) | Self::Moved(_) | Self::Parked(_) => {
                self.outcome(calls, true, now).unwrap_or(JobOutcome::Failed(Code::PbxTimeout.into()))
            }
            Self::Held(..) | Self::Ended(_) | Self::Agreed => JobOutcome::Failed(Code::PbxTimeout.into()),
        }
    }
}

fn reached(state: Option<bool>, what: &str) -> Option<JobOutcome> {
    match state {
        Some(true) => Some(JobOutcome::Done),
        Some(false) => None,
        None => Some(JobOutcome::Failed(Refusal::with_detail(
            Code::CallNotFound,
            format!("The call ended before it {what}."),
        ))),
    }
}
