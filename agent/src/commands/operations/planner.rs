//! What plans are made from, and what all of them need: who acts, and on which legs.
//!
//! An agent that only remembers a call declines commands for it, so that the agent that sees it carries them out. Where nobody else sees
//! it, it waits up to three seconds for the call to turn up.

use jiff::Timestamp;
use serde_json::Value;
use shared::codes::Code;
use shared::command::Refusal;
use shared::event::Direction;
use shared::ids::CallId;
use shared::operation::Reach;

use crate::calls::{Calls, LegId, LegState, Phase};
use crate::commands::jobs::{ExpectedState, PbxRequest, PbxTask};
use crate::config::DtmfRecv;
use crate::pbx::session::{Session, User};

/// How an operation is carried out.
#[derive(Debug)]
pub enum Plan {
    /// The answer is known here.
    Answer(Value),
    Send(PbxTask),
    /// A monitor has to be opened first; then it is to be planned anew.
    Later(Vec<String>),
}

/// What a plan is made from.
#[derive(Debug)]
pub struct Planner<'a> {
    pub calls: &'a Calls,
    pub session: &'a mut Session,
    pub reach: &'a Reach,
    pub dtmf_recv: DtmfRecv,
    pub now: Timestamp,
}

impl Planner<'_> {
    pub(super) fn request(&mut self, mt: &'static str, user: u64, objection: Code) -> PbxRequest {
        PbxRequest { mt, src: self.session.new_src("c"), user, objection }
    }

    /// One request about one leg.
    pub(super) fn send_on_leg(
        &mut self,
        mt: &'static str,
        leg: LegId,
        expected: ExpectedState,
        objection: Code,
        frame: impl FnOnce(&str) -> String,
    ) -> Result<Plan, Refusal> {
        let request = self.request(mt, leg.user, objection);
        let frames = vec![frame(&request.src)];
        Ok(Plan::Send(PbxTask { request, expected, frames }))
    }

    /// The monitored user or queue that acts, and its handle. `field` is the one that names it.
    pub(super) fn actor(&self, field: &str, extension: &str) -> Result<(&User, u64), Refusal> {
        if !self.reach.covers(extension) {
            return Err(Refusal::with_detail(
                Code::ExtensionNotAllowed,
                format!("field `{field}`: the API key may not act for extension {extension}"),
            ));
        }
        self.session.by_extension(extension).ok_or_else(|| {
            Refusal::with_detail(
                Code::NotMonitored,
                format!("field `{field}`: no monitored user or queue has the extension {extension}"),
            )
        })
    }

    /// The live legs of a call, which is there for this key. A device that has a monitor of its own tells of its leg twice;
    /// it is then named by the user's own handle, if that knows it, too.
    pub(super) fn legs(&self, call: CallId) -> Result<Vec<(LegId, LegState)>, Refusal> {
        let in_reach = self.calls.extension_of(call).is_some_and(|extension| self.reach.covers(extension));
        let mut legs = if in_reach { self.calls.legs_of(call) } else { Vec::new() };
        let is_own = |(leg, _): &(LegId, LegState)| !self.session.is_of_one_device(leg.user);
        if legs.iter().any(is_own) {
            legs.retain(is_own);
        }
        if legs.is_empty() { Err(Code::CallNotFound.into()) } else { Ok(legs) }
    }

    /// The answered leg of a call.
    pub(super) fn connected_leg(&self, call: CallId, otherwise: Code) -> Result<(LegId, LegState), Refusal> {
        let connected = self.legs(call)?.into_iter().find(|(_, state)| state.phase == Phase::Connected);
        connected.ok_or_else(|| otherwise.into())
    }

    /// The leg by which a call can be joined to another or told something: the answered one, else the first.
    pub(super) fn main_leg(&self, call: CallId) -> Result<LegId, Refusal> {
        let legs = self.legs(call)?;
        let connected = legs.iter().find(|(_, state)| state.phase == Phase::Connected);
        Ok(connected.unwrap_or(&legs[0]).0)
    }

    /// The legs of two calls of one user.
    pub(super) fn two_legs(&self, a: CallId, b: CallId) -> Result<(LegId, LegId), Refusal> {
        let legs = (self.main_leg(a)?, self.main_leg(b)?);
        if a == b || self.calls.user_of(a) != self.calls.user_of(b) {
            return Err(Code::NotTransferable.into());
        }
        Ok(legs)
    }
}

pub(super) fn rings(state: LegState) -> bool {
    state.phase == Phase::Alerting && state.direction == Direction::Incoming
}
