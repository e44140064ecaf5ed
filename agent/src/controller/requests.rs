//! How the controller carries out what is asked of it.

use shared::codes::Code;
use shared::command::{Dial, Refusal};
use shared::ids::CallId;
use shared::operation::{DialOptions, Operation, Reach};
use shared::time::from_millis;
use tokio::sync::mpsc;

use super::state::{ControllerState, SessionEnd};
use crate::calls::{Sight, UserGuid};
use crate::commands::jobs::{Asker, Outgoing};
use crate::commands::operations::{Plan, Planner};
use crate::commands::request::{Act, Guard, News, Reply, Request};

impl ControllerState {
    pub(super) fn on_request(&mut self, request: Request) -> Result<(), SessionEnd> {
        match request {
            Request::Sight { calls, reply } => {
                let sight = self.calls.as_ref().map(|core| calls.iter().map(|call| core.sight_of(*call)).min());
                let _ = reply.send(sight.map_or(Sight::Unknown, |sight| sight.unwrap_or(Sight::Live)));
            }
            Request::Act(act) => self.act(act),
            Request::Dial { via, numbers, guard } => self.dial(&via, numbers, guard),
            Request::CallsOf { dial, reply } => {
                // Without a session nothing can be said; the dropped reply tells that.
                if self.status.borrow().is_up() {
                    let _ = reply.send(self.calls_of(&dial));
                }
            }
            Request::Probe { reply } => {
                let _ = reply.send(());
            }
            Request::GiveWay { to } => return Err(self.belongs_to(&to)),
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

    fn act(&mut self, command: Act) {
        let plan = self.plan(&command.operation, &command.reach);
        let reply = match (plan, &mut self.calls) {
            (Ok(Plan::Answer(result)), _) => Reply::Done(Ok(result)),
            (Err(refusal), _) => Reply::Done(Err(refusal)),
            (Ok(Plan::Later(frames)), _) => {
                frames.into_iter().for_each(|frame| self.send(frame));
                self.deferred.push(command);
                return;
            }
            (Ok(Plan::Act(task)), Some(calls)) => {
                let mut out = Outgoing::guarded(command.guard);
                self.jobs.begin(task, Asker::Command(command.reply), calls, &mut out);
                self.outgoing.push_back(out);
                return;
            }
            (Ok(Plan::Act(_)), None) => Reply::Done(Err(Code::PbxOffline.into())),
        };
        let _ = command.reply.send(reply);
    }

    fn dial(&mut self, via: &str, numbers: Vec<(String, mpsc::UnboundedSender<News>)>, guard: Guard) {
        let mut tasks = Vec::new();
        for (number, _) in &numbers {
            let options = DialOptions::default();
            let operation = Operation::MakeCall { from: via.to_owned(), to: number.clone(), options };
            let refusal = match self.plan(&operation, &Reach::default()) {
                Ok(Plan::Act(task)) => {
                    tasks.push(task);
                    continue;
                }
                Ok(Plan::Answer(_) | Plan::Later(_)) => Code::Refused.into(), // A call without a device is neither.
                Err(refusal) => refusal,
            };
            for (_, news) in &numbers {
                let _ = news.send(News::Failed(refusal.clone()));
            }
            return;
        }
        let Some(calls) = &mut self.calls else { return };
        let mut out = Outgoing::guarded(Some(guard));
        for (task, (_, news)) in tasks.into_iter().zip(numbers) {
            self.jobs.begin(task, Asker::Long(news), calls, &mut out);
        }
        self.outgoing.push_back(out);
    }

    fn calls_of(&self, dial: &Dial) -> Vec<CallId> {
        let (Some(calls), Some(user)) = (&self.calls, self.session.visible_with(&dial.via)) else { return Vec::new() };
        let user = UserGuid::from(user.info.guid.as_str());
        calls.placed_since(&user, &dial.number, from_millis(dial.at), &self.session.prefixes)
    }

    /// A monitor was opened or refused: the commands that wait for one are planned anew.
    pub(super) fn take_up_deferred(&mut self) {
        for command in std::mem::take(&mut self.deferred) {
            self.act(command);
        }
    }

    /// A command that waits for a monitor ages like every other one.
    pub(super) fn expire_deferred(&mut self) {
        let now = self.clock.boot();
        let is_over = |command: &mut Act| command.guard.is_some_and(|guard| !guard.is_open(now));
        for command in self.deferred.extract_if(.., is_over) {
            let _ = command.reply.send(Reply::TooLate);
        }
    }

    /// The session is gone; of these commands nothing has reached the PBX.
    pub(super) fn give_deferred_up(&mut self) {
        for command in self.deferred.drain(..) {
            let _ = command.reply.send(Reply::Done(Err(Code::PbxOffline.into())));
        }
    }
}
