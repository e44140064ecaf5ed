//! What an operation of the API means on this PBX, now: the frames to send and the state to wait for.

mod numbers;
mod on_calls;
mod placing;
mod reads;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde_json::Value;
use shared::codes::Code;
use shared::command::Refusal;
use shared::event::Direction;
use shared::ids::CallId;
use shared::operation::{Operation, Reach};

use crate::calls::{Calls, LegId, LegState, Phase};
use crate::commands::jobs::{Request, Task, Wants};
use crate::config::DtmfRecv;
use crate::pbx::session::{Session, User};

/// How an operation is carried out.
#[derive(Debug)]
pub enum Plan {
    /// The answer is known here.
    Answer(Value),
    Act(Task),
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
    /// Finds out how to carry out an operation, or why it cannot be done.
    pub fn plan(&mut self, operation: &Operation) -> Result<Plan, Refusal> {
        match operation {
            Operation::MakeCall { from, to, options } => self.make_call(from, to, options),
            Operation::ConnectParties { via, a, b, .. } => self.connect_parties(via, [a, b]),
            Operation::PickUpCall { extension, call_id, at } => self.pick_up(extension, *call_id, at.as_deref()),
            Operation::RedirectCall { call_id, to, honour_forwarding, remote_control } => {
                self.redirect(*call_id, to, *honour_forwarding, *remote_control)
            }
            Operation::AnswerCall { call_id } => self.answer(*call_id),
            Operation::DisconnectCall { call_id, cause } => self.disconnect(*call_id, *cause),
            Operation::HoldCall { call_id, music } => self.hold(*call_id, *music),
            Operation::RetrieveCall { call_id } => self.retrieve(*call_id),
            Operation::TransferCall { call_id_a, call_id_b } => self.transfer(*call_id_a, *call_id_b),
            Operation::ParkCall { call_id, at, position } => self.park(*call_id, at.as_deref(), *position),
            Operation::SendDtmf { call_id, digits, to_own_party } => self.dtmf(*call_id, digits, *to_own_party),
            Operation::SendUserInfo { call_id, uui, to_own_party } => self.user_info(*call_id, uui, *to_own_party),
            Operation::SendInfo { call_id, digits, keypad, display } => {
                self.info(*call_id, digits.as_deref(), keypad.as_deref(), display.as_deref())
            }
            Operation::RemoteControl { call_id, code } => self.remote_control(*call_id, *code),
            Operation::TransferMedia { call_id_a, call_id_b, user, peer } => {
                self.transfer_media(*call_id_a, *call_id_b, *user, *peer)
            }
            Operation::GetUsers { page } => self.users(page),
            Operation::GetUser { extension } => self.user(extension),
            Operation::GetCalls { extension, page } => self.calls(extension.as_deref(), page),
            Operation::GetCall { call_id } => self.call(*call_id),
        }
    }

    fn request(&mut self, mt: &'static str, user: u64, objection: Code) -> Request {
        Request { mt, src: self.session.new_src("c"), user, objection }
    }

    /// One request about one leg.
    fn act(
        &mut self,
        mt: &'static str,
        leg: LegId,
        wants: Wants,
        objection: Code,
        frame: impl FnOnce(&str) -> String,
    ) -> Result<Plan, Refusal> {
        let request = self.request(mt, leg.user, objection);
        let frames = vec![frame(&request.src)];
        Ok(Plan::Act(Task { request, wants, frames }))
    }

    /// The monitored user or queue that acts, and its handle. `field` is the one that names it.
    fn actor(&self, field: &str, extension: &str) -> Result<(&User, u64), Refusal> {
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
    fn legs(&self, call: CallId) -> Result<Vec<(LegId, LegState)>, Refusal> {
        let in_reach = self.calls.extension_of(call).is_some_and(|extension| self.reach.covers(extension));
        let mut legs = if in_reach { self.calls.legs_of(call) } else { Vec::new() };
        let is_own = |(leg, _): &(LegId, LegState)| !self.session.is_of_one_device(leg.user);
        if legs.iter().any(is_own) {
            legs.retain(is_own);
        }
        if legs.is_empty() { Err(Code::CallNotFound.into()) } else { Ok(legs) }
    }

    /// The answered leg of a call.
    fn connected_leg(&self, call: CallId, otherwise: Code) -> Result<(LegId, LegState), Refusal> {
        let connected = self.legs(call)?.into_iter().find(|(_, state)| state.phase == Phase::Connected);
        connected.ok_or_else(|| otherwise.into())
    }

    /// The leg by which a call can be joined to another or told something: the answered one, else the first.
    fn main_leg(&self, call: CallId) -> Result<LegId, Refusal> {
        let legs = self.legs(call)?;
        let connected = legs.iter().find(|(_, state)| state.phase == Phase::Connected);
        Ok(connected.unwrap_or(&legs[0]).0)
    }

    /// The legs of two calls of one user.
    fn two_legs(&self, a: CallId, b: CallId) -> Result<(LegId, LegId), Refusal> {
        let legs = (self.main_leg(a)?, self.main_leg(b)?);
        if a == b || self.calls.user_of(a) != self.calls.user_of(b) {
            return Err(Code::NotTransferable.into());
        }
        Ok(legs)
    }
}

fn rings(state: LegState) -> bool {
    state.phase == Phase::Alerting && state.direction == Direction::Incoming
}
