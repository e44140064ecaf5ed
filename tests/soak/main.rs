//! What takes minutes: `make soak`. The end-to-end suite has a short form of each.

mod idempotency;
mod polling;
