//! The feed in the table: its head, its slots, and who writes and reads them by the protocol of [`crate::feed`].
//!
//! `FEED`/`head` has the highest number that is reserved, and when that was. The slots are `FEED#<n div 10000>`/`<n>`, so that no
//! partition grows for ever. An entry is small: it names the event and has what filters ask for; the event itself stands once,
//! under its call. Older entries have the whole event and were recorded with a transaction; they are read as they are.

mod head;
mod hours;
mod items;
mod keys;
mod reading;
mod writing;

pub use head::FeedHead;
pub use hours::{EndedCall, HourOfCalls};
pub use items::FeedEntry;
pub use reading::FeedPart;
