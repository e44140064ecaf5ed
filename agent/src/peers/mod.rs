//! What the agents of one PBX share: who they are, how they are doing, the names of calls, who is at home here, and the slot in the stack.
//!
//! Agents have no leader. All of them send the same ids, and copies disappear. A lease would have to expire before another agent may act;
//! this never waits.

pub mod directory;
pub mod heartbeat;
pub mod identity;
pub mod lookup;
pub mod slots;
mod writer;
