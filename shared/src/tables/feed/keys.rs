//! The keys of the head and of the slots.

use crate::tables::item::{Item, key};

const FEED: &str = "FEED";
const FEED_HEAD: &str = "head";
/// Slots per partition.
pub(super) const PARTITION: u64 = 10_000;

pub(super) fn head_key() -> Item {
    key(FEED, FEED_HEAD)
}

pub(super) fn slot_key(n: u64) -> Item {
    key(partition(n), sort_key(n))
}

pub(super) fn partition(n: u64) -> String {
    format!("{FEED}#{}", n / PARTITION)
}

pub(super) fn sort_key(n: u64) -> String {
    format!("{n:020}")
}

pub(super) fn first_of_partition(n: u64) -> u64 {
    (n / PARTITION * PARTITION).max(1)
}

pub(super) fn last_of_partition(n: u64) -> u64 {
    n / PARTITION * PARTITION + PARTITION - 1
}
