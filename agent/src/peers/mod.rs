//! What the agents of one PBX share: who they are, how they are doing, the names of calls, and who is at home here.
//!
//! Agents have no leader. All of them send the same ids, and copies disappear. A lease would have to expire before another agent may act;
//! this never waits.

pub mod directory;
pub mod heartbeat;
pub mod identity;
pub mod lookup;
mod writer;
