//! The two tables. Only this module knows their keys and attributes.
//!
//! `exchange` is all that an agent may touch; `state` is the cloud's own. Both have the keys `pk` and `sk` and the TTL
//! attribute `expiresAt`; the TTL deletes late, so every reader that cares compares the time itself.

mod access;
mod calls;
mod deliveries;
mod exchange;
mod feed;
mod item;
mod packed;
mod state;
mod webhooks;

pub use access::{AuditEntry, AuditKind, Window};
pub use deliveries::{Order, Parked, ParkedPage, Parking, ReceiverView, Unreadable};
pub use exchange::{Claim, Exchange, Finish, Inserted, LegItem};
pub use feed::{FeedEntry, FeedHead, FeedPart};
use item::{Item, is_over, item, key, now, number, sort_key_of, text, value};
pub use item::{Readable, TableError};
pub use state::StateTable;
pub use webhooks::{Change, KEEP_EXPIRED, WebhooksVersion};
