//! What the agents of one PBX share: who they are, how they are doing, and the names of calls.
//!
//! Agents have no leader. All of them send the same ids, and copies disappear. A lease would have to expire before another agent may act;
//! this never waits.

pub mod heartbeat;
pub mod identity;
pub mod lookup;
mod writer;
