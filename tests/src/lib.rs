//! The harness of the end-to-end tests: a throw-away local stack with the real template and the real function binaries, the
//! real agent, a simulated PBX, and receivers of webhooks.
//!
//! A test is a short story. It waits for states and says what was missing; what it started ends with it.

pub mod agent;
pub mod api;
pub mod eventually;
pub mod faults;
pub mod feed;
pub mod front;
pub mod fuzz;
pub mod idempotency;
pub mod inbox;
pub mod lambda;
#[cfg(test)]
mod observer;
pub mod openapi;
pub mod paths;
pub mod pbx;
pub mod polling;
pub mod process;
pub mod proxy;
pub mod sink;
pub mod stack;
pub mod traffic;
#[cfg(test)]
mod transcripts;
pub mod tunnel;

pub use agent::{Agent, AgentOptions, Cloud, agent_command};
pub use api::{Answer, Api};
pub use eventually::{eventually, eventually_within};
pub use front::Front;
pub use inbox::{Inbox, Manner, Request};
pub use lambda::Lambda;
pub use pbx::Pbx;
pub use process::Process;
pub use proxy::{Proxy, Stop};
pub use sink::Sink;
pub use stack::Stack;
pub use tunnel::Tunnel;
