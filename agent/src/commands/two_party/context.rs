//! What two-party commands need, and how they reach the controller.

use std::sync::Arc;

use shared::clock::CloudClock;
use shared::codes::Code;
use shared::command::{Dial, Outcome, Refusal};
use shared::ids::CallId;
use shared::operation::{Operation, Reach};
use shared::random::Random;
use shared::tables::{Exchange, Finish};
use tokio::sync::{mpsc, watch};

use crate::commands::request::{ControllerRequest, Guard, OperationRequest};
use crate::commands::results::Results;
use crate::commands::running::RunningCommands;
use crate::host::status::ControllerStatus;

/// Carries out two-party commands.
#[derive(Clone, Debug)]
pub struct TwoPartyCommands {
    pub exchange: Exchange,
    pub clock: CloudClock,
    pub random: Random,
    pub agent_id: Arc<str>,
    pub controller: mpsc::Sender<ControllerRequest>,
    pub status: watch::Receiver<ControllerStatus>,
    pub running: RunningCommands,
    pub results: Results,
}

impl TwoPartyCommands {
    /// Carries out an operation of a command that has begun in time.
    pub(super) async fn operate(&self, operation: Operation) -> Outcome {
        self.ask(operation, Reach::default(), None).await
    }

    pub(super) async fn ask(&self, operation: Operation, reach: Reach, guard: Option<Guard>) -> Outcome {
        let (request, answer) = OperationRequest::new(operation, reach, guard);
        if self.controller.send(ControllerRequest::Operate(request)).await.is_err() {
            return Err(Code::Interrupted.into());
        }
        match answer.await {
            Ok(Finish::Done(outcome)) => outcome,
            Ok(Finish::Expired) | Err(_) => Err(Code::Interrupted.into()),
        }
    }
}

/// The refusal of a command whose calls could not be ended.
pub fn out_of_reach() -> Refusal {
    Refusal::with_detail(
        Code::Interrupted,
        "The connection to the PBX was lost and did not come back in time; calls of this command may still be there.",
    )
}

/// The calls that a command has placed, as far as they have names.
pub(super) fn named(dials: &[Dial]) -> impl Iterator<Item = CallId> {
    dials.iter().filter_map(|dial| dial.call_id)
}
