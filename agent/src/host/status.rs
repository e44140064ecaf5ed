//! The status of the controller, for the heartbeat, systemd and the tasks that wait for the PBX session.

use std::sync::Arc;

use jiff::Timestamp;
use shared::agent_status::PbxLink;
use shared::ids::CallId;
use shared::numbering::DialPrefixes;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerStatus {
    pub link: PbxLink,
    pub pbx_id: Option<Arc<str>>,
    /// The PBX's slot in the stack, once the table has said so.
    pub slot: Option<usize>,
    pub session_since: Option<Timestamp>,
    pub visible_users: u32,
    /// Those of them whose monitor is open, once all that were asked for are answered.
    pub monitored_users: Option<u32>,
    pub live_calls: u32,
    /// The latest calls that queues have placed for commands for one call, and that run.
    pub placed: Vec<CallId>,
    pub prefixes: DialPrefixes,
    pub problem: Option<String>,
    /// Users whom the PBX does not let be monitored, with its reasons; the first few.
    pub refusals: Vec<String>,
}

impl ControllerStatus {
    pub fn starting() -> Self {
        Self {
            link: PbxLink::Down,
            pbx_id: None,
            slot: None,
            session_since: None,
            visible_users: 0,
            monitored_users: None,
            live_calls: 0,
            placed: Vec::new(),
            prefixes: DialPrefixes::default(),
            problem: Some("starting".to_owned()),
            refusals: Vec::new(),
        }
    }

    /// Whether nothing differs but the calls.
    pub fn is_same_but_for_calls(&self, other: &Self) -> bool {
        Self { live_calls: other.live_calls, placed: other.placed.clone(), ..self.clone() } == *other
    }

    pub fn is_up(&self) -> bool {
        self.link == PbxLink::Up
    }

    /// The slot by whose queue commands are heard, while there is a session to carry them out in.
    pub fn listens_at(&self) -> Option<usize> {
        self.slot.filter(|_| self.is_up())
    }
}
