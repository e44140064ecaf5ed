//! What is asked of the controller, and what it answers.

use std::time::Duration;

use shared::clock::BootTime;
use shared::command::{ACT_WITHIN, Dial, Refusal};
use shared::ids::CallId;
use shared::operation::{Operation, Reach};
use shared::tables::{Finish, SlotTaken};
use tokio::sync::{mpsc, oneshot};

use crate::calls::CallView;
use crate::config::{DtmfRecv, Monitor};
use crate::pbx::link::Dialer;

#[derive(Debug)]
pub enum ControllerRequest {
    Operate(OperationRequest),
    /// Calls several numbers at once, all or none of them.
    PlaceCalls {
        via: String,
        /// In dialled form, with the channel for the progress of each call.
        numbers: Vec<(String, mpsc::UnboundedSender<CallProgress>)>,
        guard: Guard,
    },
    /// The calls that a dial may have caused.
    CallsOf {
        dial: Dial,
        reply: oneshot::Sender<Vec<CallId>>,
    },
    /// The worst view of these calls.
    View {
        calls: Vec<CallId>,
        reply: oneshot::Sender<CallView>,
    },
    /// Whether the controller still takes requests.
    Probe {
        reply: oneshot::Sender<()>,
    },
    /// The configuration was read again.
    Reconfigure(Box<PbxSettings>),
    /// The PBX's slot in the stack is another one than before, or another PBX's.
    SlotIs(SlotTaken),
}

/// What the configuration says of the PBX, for an agent that runs.
#[derive(Debug)]
pub struct PbxSettings {
    pub dialers: Vec<Dialer>,
    pub monitor: Monitor,
    pub dtmf_recv: DtmfRecv,
    /// The present session depends on what has changed.
    pub renew: bool,
}

/// One operation to be carried out.
#[derive(Debug)]
pub struct OperationRequest {
    pub operation: Operation,
    pub reach: Reach,
    /// `None` for what a two-party command does when it is older than a guard allows: it has begun in time.
    pub guard: Option<Guard>,
    /// Expired when the guard had closed before anything was sent.
    pub reply: oneshot::Sender<Finish>,
}

impl OperationRequest {
    /// With the channel on which it is answered.
    pub fn new(operation: Operation, reach: Reach, guard: Option<Guard>) -> (Self, oneshot::Receiver<Finish>) {
        let (reply, answer) = oneshot::channel();
        (Self { operation, reach, guard, reply }, answer)
    }
}

/// A command may act only while this is open. It is checked last, directly before the frame is written.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    pub claim_sent: BootTime,
    /// How old the command was when it was claimed, on the cloud's clock.
    pub age_at_claim: Duration,
}

impl Guard {
    pub fn is_open(&self, now: BootTime) -> bool {
        !self.open_for(now).is_zero()
    }

    /// How much longer it is open.
    pub fn open_for(&self, now: BootTime) -> Duration {
        ACT_WITHIN.saturating_sub(self.age_at_claim + now.since(self.claim_sent))
    }
}

/// The progress of a call that a two-party command has placed. When the PBX session is lost, the channel closes.
#[derive(Debug, PartialEq)]
pub enum CallProgress {
    Placed(CallId),
    Answered,
    /// With the cause, when the PBX named one.
    Ended(Option<u16>),
    /// The call did not come about.
    Failed(Refusal),
    /// The guard had closed; nothing was sent.
    TooLate,
}
