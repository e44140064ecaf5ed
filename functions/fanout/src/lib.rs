//! `fanout` turns each call event into one delivery per webhook, then records the event.
//!
//! It decides nothing about receivers: what becomes of a delivery is `deliver`'s business. Any part of a batch may be
//! repeated at any time; ids that are derived, the queue's de-duplication and the table's conditions absorb the copies.

mod context;
mod handler;
mod plan;
mod record;
mod updates;

pub use context::Context;
pub use handler::{Invocation, handle};
