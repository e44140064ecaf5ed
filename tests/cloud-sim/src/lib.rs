//! DynamoDB, SQS and the Lambda event source mapping in memory, harder than the real ones.
//!
//! Not a copy of AWS: it has just the operations and expressions that EasyConnect uses, and refuses the others. What AWS's
//! documents allow to go wrong goes wrong here, as often as a test wants, decided by a seed. See the README.

mod batches;
mod client;
mod cloud;
mod counts;
mod dice;
mod engine;
mod error;
mod exchange;
mod expression;
mod faults;
mod log;
mod mapping;
mod number;
mod process;
mod protocol;
mod queues;
mod rates;
mod server;
mod setup;
pub mod story;
mod tables;
mod value;
mod world;

pub use cloud::{Builder, Cloud};
pub use counts::{Cause, Counts, FaultKind, FunctionCount, QueueCause, QueueCount, TableCount};
pub use faults::Faults;
pub use log::Entry;
pub use mapping::{HandlerError, Mapping, RunningMapping};
pub use process::{KillPoint, Killed, Process};
pub use protocol::Response;
pub use server::{Server, serve};
