//! The simulator as its users meet it: raw JSON over real sockets, and the control API over HTTP.
//!
//! Tests wait for messages and states. That something does not arrive is proved by something later that does.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod calls;
mod client;
mod control;
mod directory;
mod faults;
mod features;
mod login;
mod memory;
mod monitor;
mod nodes;
mod quirks;
