//! The tables and queues in a cloud that is not kind, on paused time.

mod limits;
mod transactions;
mod world;
