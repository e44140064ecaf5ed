//! How the controller carries out what is asked of it.

use std::collections::HashMap;

use jiff::Timestamp;
use shared::codes::Code;
use shared::command::{Dial, Refusal};
use shared::ids::CallId;
use shared::operation::{DialOptions, Operation, Reach};
use shared::tables::Finish;
use shared::time::from_millis;
use tokio::sync::mpsc;

use super::state::{ControllerState, SessionEnd};
use crate::calls::{CallView, UserGuid};
use crate::commands::jobs::{FrameBatch, JobOwner};
use crate::commands::operations::{Plan, Planner};
use crate::commands::request::{CallProgress, ControllerRequest, Guard, OperationRequest, PbxSettings};
use crate::commands::two_party::may_have_caused;

impl ControllerState {
    pub(super) fn on_request(&mut self, request: ControllerRequest) -> Result<(), SessionEnd> {
        match request {
            ControllerRequest::View { calls, reply } => {
                let view = self.calls.as_ref().map(|core| calls.iter().map(|call| core.view_of(*call)).min());
                let _ = reply.send(view.map_or(CallView::Unknown, |view| view.unwrap_or(CallView::Live)));
            }
            ControllerRequest::Operate(request) => self.operate(request),
            ControllerRequest::PlaceCalls { via, numbers, guard } => self.place_calls(&via, numbers, guard),
            ControllerRequest::CallsOf { dial, reply } => {
                // Without a session the calls are unknown; the dropped reply says so.
                if self.status.borrow().is_up() {
                    let _ = reply.send(self.calls_of(&dial));
                }
            }
            ControllerRequest::Probe { reply } => {
                let _ = reply.send(());
            }
            ControllerRequest::Reconfigure(settings) => {
                let PbxSettings { dialers, monitor, dtmf_recv, renew } = *settings;
                (self.dialers, self.monitor, self.dtmf_recv) = (dialers.into(), monitor, dtmf_recv);
                self.warn_if_exposed();
                if renew {
                    return Err(SessionEnd::Renewed);
                }
            }
            ControllerRequest::SlotIs(taken) => return self.slot_is(taken),
        }
        Ok(())
    }

    fn plan(&mut self, operation: &Operation, reach: &Reach) -> Result<Plan, Refusal> {
        let up = self.status.borrow().is_up();
        match &self.calls {
            Some(calls) if up => {
                let (session, dtmf_recv, now) = (&mut self.session, self.dtmf_recv, self.clock.now());
                Planner { calls, session, reach, dtmf_recv, now }.plan(operation)
            }
            _ => Err(Code::PbxOffline.into()),
        }
    }

    fn operate(&mut self, command: OperationRequest) {
        let plan = self.plan(&command.operation, &command.reach);
        let reply = match (plan, &mut self.calls) {
            (Ok(Plan::Answer(result)), _) => Finish::Done(Ok(result)),
            (Err(refusal), _) => Finish::Done(Err(refusal)),
            (Ok(Plan::Later(frames)), _) => {
                frames.into_iter().for_each(|frame| self.send(frame));
                self.deferred.push(command);
                return;
            }
            (Ok(Plan::Send(task)), Some(calls)) => {
                let mut out = FrameBatch::guarded(command.guard);
                self.jobs.begin(task, JobOwner::Command(command.reply), calls, &mut out);
                self.outgoing.push_back(out);
                return;
            }
            (Ok(Plan::Send(_)), None) => Finish::Done(Err(Code::PbxOffline.into())),
        };
        let _ = command.reply.send(reply);
    }

    fn place_calls(&mut self, via: &str, numbers: Vec<(String, mpsc::UnboundedSender<CallProgress>)>, guard: Guard) {
        let mut tasks = Vec::new();
        for (number, _) in &numbers {
            let options = DialOptions::default();
            let operation = Operation::MakeCall { from: via.to_owned(), to: number.clone(), options };
            let refusal = match self.plan(&operation, &Reach::default()) {
                Ok(Plan::Send(task)) => {
                    tasks.push(task);
                    continue;
                }
                Ok(Plan::Answer(_) | Plan::Later(_)) => Code::Refused.into(), // A call without a device is neither.
                Err(refusal) => refusal,
            };
            for (_, progress) in &numbers {
                let _ = progress.send(CallProgress::Failed(refusal.clone()));
            }
            return;
        }
        let Some(calls) = &mut self.calls else { return };
        let mut out = FrameBatch::guarded(Some(guard));
        for (task, (_, progress)) in tasks.into_iter().zip(numbers) {
            self.jobs.begin(task, JobOwner::TwoParty(progress), calls, &mut out);
        }
        self.outgoing.push_back(out);
    }

    fn calls_of(&self, dial: &Dial) -> Vec<CallId> {
        let (Some(calls), Ok(via)) = (&self.calls, self.session.find(&dial.via, |_| true)) else { return Vec::new() };
        let prefixes = via.prefixes.clone();
        let user = UserGuid::from(via.info.guid.as_str());
        let begun: HashMap<CallId, Timestamp> = calls.all().collect();
        let is_evident = |call: &CallId| {
            begun.get(call).is_some_and(|begun| may_have_caused(dial, *begun))
                && !self.jobs.has_placed_for_another(*call)
        };
        let mut placed = calls.placed_since(&user, &dial.number, from_millis(dial.at), &prefixes);
        placed.retain(is_evident);
        placed
    }

    /// A monitor was opened or refused: the commands that wait for one are planned anew.
    pub(super) fn take_up_deferred(&mut self) {
        for command in std::mem::take(&mut self.deferred) {
            self.operate(command);
        }
    }

    /// A command that waits for a monitor ages like every other one.
    pub(super) fn expire_deferred(&mut self) {
        let now = self.clock.boot();
        let is_over = |command: &mut OperationRequest| command.guard.is_some_and(|guard| !guard.is_open(now));
        for command in self.deferred.extract_if(.., is_over) {
            let _ = command.reply.send(Finish::Expired);
        }
    }

    /// The session is gone; of these commands nothing has reached the PBX.
    pub(super) fn give_deferred_up(&mut self) {
        for command in self.deferred.drain(..) {
            let _ = command.reply.send(Finish::Done(Err(Code::PbxOffline.into())));
        }
    }
}
