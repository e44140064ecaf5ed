//! The tables and queues in a cloud that is not kind, on paused time.

mod lanes;
mod limits;
mod lost_answers;
mod pbxs;
mod queues;
mod retention;
mod transactions;
mod world;
