//! What plans are made from, and what all of them need: who acts, and on which legs.
//!
//! An agent that only remembers a call declines commands for it, so that the agent that sees it carries them out. Where nobody else sees
//! it, it waits up to three seconds for the call to turn up.

use jiff::Timestamp;
use serde_json::Value;
use shared::address::ambiguous;
use shared::codes::Code;
use shared::command::Refusal;
use shared::event::Direction;
use shared::ids::CallId;
use shared::operation::Reach;

use crate::calls::{Calls, LegId, LegState, Phase};
use crate::commands::jobs::{ExpectedState, PbxRequest, PbxTask};
use crate::config::DtmfRecv;
use crate::pbx::session::{AddressError, Session, User};

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
    pub(super) fn actor(&self, field: &str, address: &str) -> Result<(&User, u64), Refusal> {
        let nobody = || {
            let detail = format!("field `{field}`: no monitored user or queue has the extension {address}");
            Refusal::with_detail(Code::NotMonitored, detail)
        };
        let user = self.user_at(&format!("field `{field}`"), address)?.ok_or_else(nobody)?;
        user.handle.map(|handle| (user, handle)).ok_or_else(nobody)
    }

    /// The visible user or queue that is meant, if there is one. Who is out of the key's reach does not exist for it.
    pub(super) fn user_at(&self, what: &str, address: &str) -> Result<Option<&User>, Refusal> {
        let several = |users: Vec<&User>| {
            let candidates = users.into_iter().map(|user| self.session.names_of(user));
            Err(Refusal::with_detail(Code::AmbiguousExtension, ambiguous(what, address, candidates)))
        };
        match self.session.find(address, |names| self.reach.covers(names)) {
            Ok(user) => Ok(Some(user)),
            Err(AddressError::Several(users)) => several(users),
            Err(AddressError::Nobody) => match &self.reach.extensions {
                None => Ok(None),
                // The key has it by an extension alone, which others have, too.
                Some(list) if list.contains(address) => match self.session.find(address, |names| names.is_shared) {
                    Err(AddressError::Several(users)) => several(users),
                    _ => Ok(None),
                },
                Some(_) => Err(Refusal::with_detail(
                    Code::ExtensionNotAllowed,
                    format!("{what}: the API key may not act for extension {address}"),
                )),
            },
        }
    }

    /// The visible user or queue whose call this is.
    pub(super) fn user_of(&self, call: CallId) -> Option<&User> {
        self.session.user(self.calls.user_of(call)?)
    }

    /// The live legs of a call, which is there for this key. A device that has a monitor of its own tells of its leg twice;
    /// it is then named by the user's own handle, if that knows it, too.
    pub(super) fn legs(&self, call: CallId) -> Result<Vec<(LegId, LegState)>, Refusal> {
        let in_reach = self.calls.names_of(call).is_some_and(|names| self.reach.covers(&names));
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
