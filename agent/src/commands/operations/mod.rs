//! What an operation of the API means on this PBX, now: the frames to send and the state to wait for.

mod numbers;
mod on_calls;
mod placing;
mod planner;
mod reads;
#[cfg(test)]
mod tests;

use shared::command::Refusal;
use shared::operation::Operation;

pub use planner::{Plan, Planner};

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
            Operation::SendUserInfo { call_id, uui, to_own_party } => self.user_to_user(*call_id, uui, *to_own_party),
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
}
