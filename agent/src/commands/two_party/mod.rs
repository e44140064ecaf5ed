//! The two-party command (`ConnectParties`): a queue calls two parties and joins them once both have answered.
//!
//! It outlives its request, so everything that somebody else would need to end what it has begun is written down before
//! it happens: that this agent runs it, and each number before it is dialled. Whatever goes wrong, nobody is left in the
//! queue: by this agent, or by the one that takes the command over.

mod cleaning;
mod command;
mod context;
mod parties;
mod record;

pub use cleaning::{CleanupResult, may_have_caused};
pub use context::{TwoPartyCommands, out_of_reach};
pub use record::ProgressRecord;
