//! What an operation of the API means on this PBX, now: the frames to send and the state to wait for.

use serde_json::{Value, json};
use shared::codes::Code;
use shared::command::{Operation, Refusal};
use shared::event::Direction;
use shared::ids::CallId;
use shared::number::DialString;

use crate::calls::{Calls, LegId, LegState, Phase};
use crate::jobs::{Request, Wants};
use crate::pbx::rcc;
use crate::pbx::session::Session;

/// How an operation is carried out.
#[derive(Debug)]
pub enum Plan {
    /// The answer is known here.
    Answer(Value),
    /// These frames, all of one request, and then this state.
    Act { request: Request, wants: Wants, frames: Vec<String> },
}

/// Finds out how to carry out an operation, or why it cannot be done.
pub fn plan(operation: &Operation, calls: &Calls, session: &mut Session) -> Result<Plan, Refusal> {
    match operation {
        Operation::MakeCall { from, to } => {
            let Some((user, handle)) = session.by_extension(from) else {
                return Err(Refusal::with_detail(
                    Code::NotMonitored,
                    format!("field `from`: no monitored user or queue has the extension {from}"),
                ));
            };
            // An object without a phone has nobody who hangs up on a busy tone.
            let clear_when_refused = !user.info.pseudo.is_empty();
            let number = DialString::parse(to)
                .map_err(|error| Refusal::with_detail(Code::InvalidNumber, format!("field `to` {error}")))?;
            let dialled = number.to_dial(&session.prefixes).ok_or_else(|| {
                Refusal::with_detail(Code::InvalidNumber, "field `to`: the PBX has no prefix for numbers with `+`")
            })?;
            let request = Request { mt: "UserCall", src: session.new_src("c"), user: handle };
            let frames = vec![rcc::call(&request.src, handle, &dialled)];
            Ok(Plan::Act { request, wants: Wants::new_call(clear_when_refused), frames })
        }
        Operation::AnswerCall { call_id } => {
            let legs = live_legs(calls, *call_id)?;
            let ringing = legs
                .iter()
                .find(|(_, state)| state.phase == Phase::Alerting && state.direction == Direction::Incoming)
                .ok_or(Code::NotAnswerable)?;
            let request = Request { mt: "UserConnect", src: session.new_src("c"), user: ringing.0.user };
            let frames = vec![rcc::connect(&request.src, ringing.0)];
            Ok(Plan::Act { request, wants: Wants::Answered(*call_id), frames })
        }
        Operation::DisconnectCall { call_id } => {
            let legs: Vec<LegId> = live_legs(calls, *call_id)?.into_iter().map(|(leg, _)| leg).collect();
            let request = Request { mt: "UserClear", src: session.new_src("c"), user: legs[0].user };
            let frames = legs.into_iter().map(|leg| rcc::clear(&request.src, leg, rcc::NORMAL_CLEARING)).collect();
            Ok(Plan::Act { request, wants: Wants::Ended(vec![*call_id], Code::Refused), frames })
        }
        Operation::TransferCall { call_id_a, call_id_b } => {
            if calls.user_of(*call_id_a).is_some() && calls.user_of(*call_id_a) != calls.user_of(*call_id_b) {
                return Err(Code::NotTransferable.into());
            }
            let (a, b) = (transfer_leg(calls, *call_id_a)?, transfer_leg(calls, *call_id_b)?);
            let request = Request { mt: "UserTransfer", src: session.new_src("c"), user: a.user };
            let frames = vec![rcc::transfer(&request.src, a, b)];
            let wants = Wants::Ended(vec![*call_id_a, *call_id_b], Code::NotTransferable);
            Ok(Plan::Act { request, wants, frames })
        }
        Operation::GetUsers => Ok(Plan::Answer(json!({"users": session.describe()}))),
        Operation::GetCalls => Ok(Plan::Answer(json!({"calls": calls.describe_all()}))),
        Operation::GetCall { call_id } => {
            let call = calls.describe(*call_id).ok_or(Code::CallNotFound)?;
            Ok(Plan::Answer(json!({"call": call})))
        }
    }
}

fn live_legs(calls: &Calls, call: CallId) -> Result<Vec<(LegId, LegState)>, Code> {
    let legs = calls.legs_of(call);
    if legs.is_empty() { Err(Code::CallNotFound) } else { Ok(legs) }
}

/// The leg by which a call can be joined to another: the answered one, else the one that rings.
fn transfer_leg(calls: &Calls, call: CallId) -> Result<LegId, Code> {
    let legs = live_legs(calls, call)?;
    let best = legs.iter().find(|(_, state)| state.phase == Phase::Connected).or_else(|| legs.first());
    best.map(|(leg, _)| *leg).ok_or(Code::CallNotFound)
}
