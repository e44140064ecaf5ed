//! The feed in the table: its head, its slots, and who writes and reads them by the protocol of [`crate::feed`].
//!
//! `FEED`/`head` has the highest number that is reserved, and when that was. The slots are `FEED#<n div 10000>`/`<n>`, so that no
//! partition grows for ever. An entry is small: it names the event and has what filters ask for; the event itself stands once,
//! under its call. Older entries have the whole event and were recorded with a transaction; they are read as they are.

mod head;
mod items;
mod reading;
mod writing;

pub use head::FeedHead;
pub use items::FeedEntry;
pub use reading::FeedPart;

use super::{Item, key};

const FEED: &str = "FEED";
const FEED_HEAD: &str = "head";
/// Slots per partition.
const PARTITION: u64 = 10_000;

fn head_key() -> Item {
    key(FEED, FEED_HEAD)
}

fn slot_key(n: u64) -> Item {
    key(partition(n), sort_key(n))
}

fn partition(n: u64) -> String {
    format!("{FEED}#{}", n / PARTITION)
}

fn sort_key(n: u64) -> String {
    format!("{n:020}")
}

fn first_of_partition(n: u64) -> u64 {
    (n / PARTITION * PARTITION).max(1)
}

fn last_of_partition(n: u64) -> u64 {
    n / PARTITION * PARTITION + PARTITION - 1
}
