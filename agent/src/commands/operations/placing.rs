//! New calls: placed from here, or taken over from elsewhere.

use std::sync::Arc;

use serde_json::json;
use shared::codes::Code;
use shared::command::Refusal;
use shared::ids::CallId;
use shared::operation::DialOptions;

use super::planner::{Plan, Planner, rings};
use crate::calls::{Phase, UserGuid};
use crate::commands::jobs::{ExpectedState, NewCall, PbxTask};
use crate::pbx::rcc::{self, CallOptions};
use crate::pbx::session::{DeviceMonitor, User};

impl Planner<'_> {
    pub(super) fn make_call(&mut self, from: &str, to: &str, options: &DialOptions) -> Result<Plan, Refusal> {
        let (user, handle) = self.actor("from", from)?;
        let (guid, phoneless): (UserGuid, bool) = (Arc::from(user.info.guid.as_str()), user.is_phoneless());
        let unknown_device = options.device.as_ref().is_some_and(|hw| !user.info.devices.contains(hw));
        let dialled = self.to_dial("to", to, user)?;
        let call = CallOptions {
            shown_number: self.shown_number(options, user)?,
            ignore_forwarding: options.ignore_forwarding,
            audio: options.audio,
            remote_control: options.remote_control,
        };
        if unknown_device {
            return Err(Code::DeviceNotFound.into());
        }
        let handle = match &options.device {
            None => handle,
            // A call cannot name a device, so it is placed from a handle that has no other.
            Some(hw) => match self.session.device(&guid, hw) {
                Some((DeviceMonitor::Open(handle), _)) => handle,
                Some((DeviceMonitor::Asked, frame)) => return Ok(Plan::Later(frame.into_iter().collect())),
                Some((DeviceMonitor::Refused, _)) | None => {
                    return Err(Refusal::with_detail(
                        Code::DeviceNotFound,
                        "field `device`: the PBX places no calls from this device",
                    ));
                }
            },
        };
        let request = self.request("UserCall", handle, Code::Refused);
        let frames = vec![rcc::call(&request.src, handle, &dialled, &call)];
        Ok(Plan::Send(PbxTask { request, expected: ExpectedState::NewCall(NewCall::placed(phoneless)), frames }))
    }

    /// Only finds out what a two-party command has to dial. The rest is done by `two_party`.
    pub(super) fn connect_parties(&self, via: &str, parties: [&str; 2]) -> Result<Plan, Refusal> {
        let (queue, _) = self.actor("via", via)?;
        let [a, b] = parties;
        let numbers = [self.to_dial("a", a, queue)?, self.to_dial("b", b, queue)?];
        // An extension, if it is nobody else's: agents from before there were other addresses may have to finish the command.
        let names = self.session.names_of(queue);
        let via = if names.is_shared || names.extension.is_empty() { names.guid } else { names.extension };
        Ok(Plan::Answer(json!({"via": via, "numbers": numbers})))
    }

    pub(super) fn pick_up(&mut self, extension: &str, call: Option<CallId>, at: Option<&str>) -> Result<Plan, Refusal> {
        let (_, handle) = self.actor("extension", extension)?;
        let mut picked = None;
        if let Some(call) = call {
            // In a queue a caller waits while the queue's own leg is connected; only the PBX knows whether to that caller.
            let waits =
                self.calls.user_of(call).and_then(|guid| self.session.user(guid)).is_some_and(User::is_phoneless);
            let can_be = |phase| phase == Phase::Parked || (waits && phase == Phase::Connected);
            let leg = self.legs(call)?.into_iter().find(|(_, state)| rings(*state) || can_be(state.phase));
            picked = Some(leg.ok_or(Code::NothingToPickUp)?.0);
        }
        let place = at.map(|at| self.actor("at", at)).transpose()?.map(|(user, _)| user.info.cn.clone());
        let request = self.request("UserPickup", handle, Code::NothingToPickUp);
        let frame = match (picked, place) {
            (Some(leg), _) => rcc::pick_up(&request.src, handle, leg),
            (None, Some(cn)) => rcc::pick_up_at(&request.src, handle, &cn),
            (None, None) => {
                return Err(Refusal::with_detail(Code::InvalidRequest, "one of `CallId` and `at` has to be given"));
            }
        };
        Ok(Plan::Send(PbxTask { request, expected: ExpectedState::NewCall(NewCall::picked_up()), frames: vec![frame] }))
    }
}
