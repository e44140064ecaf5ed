//! The two tables. Only this module knows their keys and attributes.
//!
//! `exchange` is all that an agent may touch; `state` is the cloud's own. Both have the keys `pk` and `sk` and the TTL
//! attribute `expiresAt`; the TTL deletes late, so every reader that cares compares the time itself.

mod access;
mod calls;
mod deliveries;
mod directory;
mod exchange;
mod feed;
mod item;
mod lanes;
mod packed;
mod park;
mod retention;
mod slots;
mod state;
mod webhooks;

pub use access::{AuditEntry, AuditKind, Window};
pub use calls::{LiveCall, RecordedCall};
pub use deliveries::{LogItem, Order, ReceiverView, Receivers, Wanted};
pub use directory::{DirectoryEntry, of_fresh_pbxs};
pub use exchange::{Claim, Exchange, Finish, Inserted, LegItem};
pub use feed::{EndedCall, FeedEntry, FeedHead, FeedPart, HourOfCalls};
pub use item::{Readable, TableError};
pub use lanes::Look;
pub use park::{Parked, ParkedPage, Unreadable};
pub use retention::KeepDays;
pub use slots::{PbxSlots, SLOTS, SlotTaken};
pub use state::StateTable;
pub use webhooks::{Change, KEEP_EXPIRED, WebhooksVersion};
