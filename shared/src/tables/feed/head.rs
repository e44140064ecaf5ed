//! The head of the feed, and what it says about the age of numbers.

use jiff::{SignedDuration, Timestamp};

use crate::tables::item::Item;

/// How long whoever has reserved a number may take to fill its slot.
const PATIENCE: SignedDuration = SignedDuration::from_secs(3);
/// Nobody fills a slot that was reserved so long ago: no queue keeps an event for longer than 14 days.
const NEVER_FILLED_AFTER: SignedDuration = SignedDuration::from_hours(15 * 24);

/// What was reserved before that says nothing of the present: the first reader after a week would count the gaps of a week.
const PRESENT: SignedDuration = SignedDuration::from_hours(1);

/// How far the feed is reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedHead {
    /// The highest number.
    pub n: u64,
    /// When the last number was reserved, in milliseconds. A head that a transaction wrote does not say so.
    pub(super) reserved_at: Option<i64>,
    /// Up to this number the slots were reserved before a pause of weeks.
    pub(super) forgotten: u64,
}

impl FeedHead {
    pub(super) fn read(item: &Item) -> Self {
        let number = |name: &str| item.get(name)?.as_n().ok();
        let count = |name: &str| number(name).and_then(|n| n.parse().ok());
        Self {
            n: count("n").unwrap_or_default(),
            reserved_at: number("reservedAt").and_then(|at| at.parse().ok()),
            forgotten: count("forgotten").unwrap_or_default(),
        }
    }

    /// Whether all its numbers were reserved so long ago that nobody fills their slots any more.
    pub(super) fn is_forgotten(&self, now: Timestamp) -> bool {
        self.was_reserved_before(now, NEVER_FILLED_AFTER)
    }

    fn was_reserved_before(&self, now: Timestamp, span: SignedDuration) -> bool {
        self.reserved_at.is_some_and(|reserved_at| reserved_at <= before(now, span))
    }
}

/// Up to which numbers it is how long ago that they were reserved. A number was reserved before those behind it, and each of these
/// before its slot was filled.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ages {
    pub(super) old: u64,
    pub(super) past: u64,
    pub(super) forgotten: u64,
}

impl Ages {
    /// From some slots, each with its number and the time at which it was filled.
    pub(super) fn of(times: &[(u64, i64)], head: FeedHead, now: Timestamp) -> Self {
        let reserved_before = |span: SignedDuration| {
            let slots = times.iter().filter(|(_, filled_at)| *filled_at <= before(now, span)).map(|(n, _)| *n);
            slots.chain(head.was_reserved_before(now, span).then_some(head.n)).max().unwrap_or_default()
        };
        Self {
            old: reserved_before(PATIENCE).max(head.forgotten),
            past: reserved_before(PRESENT).max(head.forgotten),
            forgotten: reserved_before(NEVER_FILLED_AFTER).max(head.forgotten),
        }
    }
}

fn before(now: Timestamp, span: SignedDuration) -> i64 {
    now.checked_sub(span).unwrap_or(Timestamp::MIN).as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::from_millis;

    #[test]
    fn a_number_is_as_old_as_what_comes_behind_it() {
        let now = from_millis(100 * 24 * 3600 * 1000);
        let ago = |seconds: i64| now.as_millisecond() - seconds * 1000;
        let head = |seconds: Option<i64>| FeedHead { n: 9, reserved_at: seconds.map(ago), forgotten: 0 };
        let days = |days: i64| days * 24 * 3600;
        let check = |times: &[(u64, i64)], head: FeedHead, [old, past, forgotten]: [u64; 3]| {
            assert_eq!(Ages::of(times, head, now), Ages { old, past, forgotten }, "{times:?} {head:?}");
        };
        check(&[], head(None), [0, 0, 0]);
        check(&[], head(Some(2)), [0, 0, 0]);
        check(&[], head(Some(3)), [9, 0, 0]);
        check(&[], head(Some(3_600)), [9, 9, 0]);
        check(&[(4, ago(5)), (6, ago(4)), (7, ago(1))], head(Some(1)), [6, 0, 0]);
        check(&[(4, ago(3_601)), (6, ago(3_599))], head(Some(1)), [6, 4, 0]);
        check(&[(4, ago(days(16))), (6, ago(days(14)))], head(Some(1)), [6, 6, 4]);
        check(&[], head(Some(days(16))), [9, 9, 9]);
        check(&[], FeedHead { forgotten: 7, ..head(Some(1)) }, [7, 7, 7]);
    }
}
