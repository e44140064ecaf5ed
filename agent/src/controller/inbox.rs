//! What others on this machine have for the controller.

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::state::{ControllerState, SessionEnd};
use crate::calls::Records;
use crate::commands::request::ControllerRequest;
use crate::pbx::session::FIRST_SETTLING;
use crate::peers::lookup::LookupResult;

pub(super) struct Inbox {
    pub requests: mpsc::Receiver<ControllerRequest>,
    pub lookups: mpsc::UnboundedReceiver<LookupResult>,
    pub late: mpsc::UnboundedReceiver<Records>,
}

pub(super) enum Message {
    ControllerRequest(ControllerRequest),
    LookupResult(LookupResult),
    /// What the call core knew before the agent was restarted, if the disk let it be read only now.
    Records(Records),
}

impl Inbox {
    /// Cancel-safe. `None` when all senders are gone.
    pub(super) async fn next(&mut self) -> Option<Message> {
        tokio::select! {
            biased;
            Some(result) = self.lookups.recv() => Some(Message::LookupResult(result)),
            Some(records) = self.late.recv() => Some(Message::Records(records)),
            Some(request) = self.requests.recv() => Some(Message::ControllerRequest(request)),
            else => None,
        }
    }
}

impl ControllerState {
    pub(super) fn on_message(&mut self, message: Message) -> Result<(), SessionEnd> {
        match message {
            Message::ControllerRequest(request) => return self.on_request(request),
            Message::LookupResult(result) => self.on_lookup(&result),
            Message::Records(records) => self.on_late_records(records),
        }
        Ok(())
    }

    fn on_lookup(&mut self, result: &LookupResult) {
        let Some(calls) = &mut self.calls else { return };
        let now = self.clock.now();
        let outputs = match result {
            LookupResult::Legs { leg, items } => calls.learn(*leg, items.as_deref(), now),
            LookupResult::Missing { user, items, others_since } if self.settle_at.is_some() => {
                calls.settle(user, *others_since, items, now)
            }
            LookupResult::Missing { .. } => return, // The session was lost again meanwhile.
        };
        self.perform(outputs);
        self.release_users();
    }

    /// The calls among them are missing until they are seen, like those of a lost session.
    fn on_late_records(&mut self, records: Records) {
        let Some(calls) = &mut self.calls else {
            self.records = Some(records);
            return;
        };
        calls.recall(records);
        if self.status.borrow().is_up() {
            self.settle_at = Some(Instant::now() + FIRST_SETTLING);
        }
    }
}
