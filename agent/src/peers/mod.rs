//! What the agents of one PBX share: who they are, how they are doing, and the names of calls.

pub mod heartbeat;
pub mod identity;
pub mod lookup;
mod writer;
