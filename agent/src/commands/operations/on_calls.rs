//! What can be done to calls that are there.

use serde_json::json;
use shared::codes::Code;
use shared::command::Refusal;
use shared::ids::CallId;

use super::planner::{Plan, Planner, rings};
use crate::calls::{LegId, Phase, UserGuid};
use crate::commands::jobs::{ExpectedState, Park, PbxTask};
use crate::pbx::rcc;

impl Planner<'_> {
    pub(super) fn answer(&mut self, call: CallId) -> Result<Plan, Refusal> {
        let ringing = self.legs(call)?.into_iter().find(|(_, state)| rings(*state));
        let (leg, _) = ringing.ok_or(Code::NotAnswerable)?;
        self.send_on_leg("UserConnect", leg, ExpectedState::Answered(call), Code::NotAnswerable, |src| {
            rcc::answer(src, leg)
        })
    }

    pub(super) fn disconnect(&mut self, call: CallId, cause: Option<u8>) -> Result<Plan, Refusal> {
        let legs: Vec<LegId> = self.legs(call)?.into_iter().map(|(leg, _)| leg).collect();
        let cause = cause.map_or(rcc::NORMAL_CLEARING, u16::from);
        let request = self.request("UserClear", legs[0].user, Code::Refused);
        let frames = legs.into_iter().map(|leg| rcc::clear(&request.src, leg, cause)).collect();
        Ok(Plan::Send(PbxTask { request, expected: ExpectedState::Ended(call), frames }))
    }

    pub(super) fn hold(&mut self, call: CallId, music: bool) -> Result<Plan, Refusal> {
        let (leg, state) = self.connected_leg(call, Code::NotConnected)?;
        if state.held_by_user {
            return Ok(Plan::Answer(json!({})));
        }
        let expected = ExpectedState::Held(call, true);
        self.send_on_leg("UserHold", leg, expected, Code::NotConnected, |src| rcc::hold(src, leg, music))
    }

    pub(super) fn retrieve(&mut self, call: CallId) -> Result<Plan, Refusal> {
        let held = self.legs(call)?.into_iter().find(|(_, state)| state.held_by_user);
        let (leg, _) = held.ok_or(Code::NotHeld)?;
        self.send_on_leg("UserRetrieve", leg, ExpectedState::Held(call, false), Code::NotHeld, |src| {
            rcc::retrieve(src, leg)
        })
    }

    pub(super) fn transfer(&mut self, a: CallId, b: CallId) -> Result<Plan, Refusal> {
        let (leg_a, leg_b) = self.two_legs(a, b)?;
        let frame = |src: &str| rcc::transfer(src, leg_a, leg_b);
        self.send_on_leg("UserTransfer", leg_a, ExpectedState::Joined(a, b), Code::NotTransferable, frame)
    }

    pub(super) fn redirect(
        &mut self,
        call: CallId,
        to: &str,
        honour_forwarding: bool,
        remote_control: Option<u8>,
    ) -> Result<Plan, Refusal> {
        if honour_forwarding && remote_control.is_some() {
            return Err(Refusal::with_detail(
                Code::InvalidRequest,
                "field `remoteControl`: the PBX takes it only when forwardings are not honoured",
            ));
        }
        let legs = self.legs(call)?;
        let connected = legs.iter().find(|(_, state)| state.phase == Phase::Connected);
        let movable = connected.or_else(|| legs.iter().find(|(_, state)| rings(*state)));
        let (leg, _) = *movable.ok_or(Code::NotRedirectable)?;
        let user = self.user_of(call).ok_or(Code::NotMonitored)?;
        let dialled = self.to_dial("to", to, user)?;
        let mt = if honour_forwarding { "UserReroute" } else { "UserRedirect" };
        self.send_on_leg(mt, leg, ExpectedState::Moved(leg), Code::NotRedirectable, |src| {
            if honour_forwarding {
                rcc::reroute(src, leg, &dialled)
            } else {
                rcc::redirect(src, leg, &dialled, remote_control)
            }
        })
    }

    pub(super) fn park(&mut self, call: CallId, at: Option<&str>, position: Option<u16>) -> Result<Plan, Refusal> {
        let (leg, _) = self.connected_leg(call, Code::NotParkable)?;
        let own: UserGuid = self.calls.user_of(call).cloned().ok_or(Code::CallNotFound)?;
        let place = match at {
            Some(extension) => {
                let (user, _) = self.actor("at", extension)?;
                Some((UserGuid::from(user.info.guid.as_str()), user.info.cn.clone()))
            }
            None => None,
        };
        // Parked at its own place it stays the same call, whichever of its legs tells of the end first.
        let stays = match &place {
            Some((guid, _)) if *guid != own => Vec::new(),
            _ => self.calls.legs_of(call).into_iter().map(|(leg, _)| leg).collect(),
        };
        let (at, cn) = place.map_or((own, None), |(guid, cn)| (guid, Some(cn)));
        let conference = self.calls.conference_of(call).unwrap_or_default();
        let expected = ExpectedState::Parked(Park { at, conference, handle: None, leg, stays });
        self.send_on_leg("UserPark", leg, expected, Code::NotParkable, |src| {
            rcc::park(src, leg, cn.as_deref(), position)
        })
    }

    pub(super) fn dtmf(&mut self, call: CallId, digits: &str, to_own_party: bool) -> Result<Plan, Refusal> {
        let (leg, _) = self.connected_leg(call, Code::NotConnected)?;
        let recv = self.dtmf_recv.flag(to_own_party);
        self.send_on_leg("UserDTMF", leg, ExpectedState::Agreed, Code::NotConnected, |src| {
            rcc::dtmf(src, leg, digits, recv)
        })
    }

    pub(super) fn user_to_user(&mut self, call: CallId, uui: &str, to_own_party: bool) -> Result<Plan, Refusal> {
        let (leg, encodes) = (self.main_leg(call)?, self.session.encodes_user_to_user());
        self.send_on_leg("UserUUI", leg, ExpectedState::Agreed, Code::NotConnected, |src| {
            rcc::user_to_user(src, leg, uui, to_own_party, encodes)
        })
    }

    pub(super) fn info(
        &mut self,
        call: CallId,
        digits: Option<&str>,
        keypad: Option<&str>,
        display: Option<&str>,
    ) -> Result<Plan, Refusal> {
        let leg = self.main_leg(call)?;
        for added in [digits, keypad].into_iter().flatten() {
            self.add_digits(call, added)?;
        }
        let frame = |src: &str| rcc::info(src, leg, digits, keypad, display);
        self.send_on_leg("UserInfo", leg, ExpectedState::Agreed, Code::NotConnected, frame)
    }

    pub(super) fn remote_control(&mut self, call: CallId, code: u8) -> Result<Plan, Refusal> {
        let leg = self.main_leg(call)?;
        self.send_on_leg("UserRc", leg, ExpectedState::Agreed, Code::NotConnected, |src| {
            rcc::remote_control(src, leg, code)
        })
    }

    pub(super) fn transfer_media(&mut self, a: CallId, b: CallId, user: bool, peer: bool) -> Result<Plan, Refusal> {
        let (leg_a, leg_b) = self.two_legs(a, b)?;
        let frame = |src: &str| rcc::transfer_media(src, leg_a, leg_b, user, peer);
        self.send_on_leg("UserMediaTransfer", leg_a, ExpectedState::Agreed, Code::NotTransferable, frame)
    }
}
