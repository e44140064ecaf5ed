//! The tables and queues in a cloud that is not kind, on paused time.

mod directory;
mod gaps;
mod lanes;
mod limits;
mod lost_answers;
mod queues;
mod retention;
mod slots;
mod transactions;
mod world;
