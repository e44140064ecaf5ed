//! How long events, the feed and the delivery log are kept: `KeepDays` of the template.
//!
//! Two times follow from it. What is older than that is *shown* to nobody. It is *deleted* by the table's TTL, and not before
//! [`RECOGNISED`]: an event that comes again is recognised by the item of the first time, and the queue may hand it out again for 14 days.

use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

/// Longer than any queue keeps a message.
const RECOGNISED: i64 = 16;
const DAY: i64 = 24 * 60 * 60;

/// A number of days, 1 to 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepDays(u16);

impl KeepDays {
    const LONGEST: u16 = 400;

    /// Unix seconds from which the table may delete what is of this time.
    pub(super) fn deleted_at(self, unix_seconds: i64) -> i64 {
        unix_seconds + RECOGNISED.max(self.0.into()) * DAY
    }

    /// Whether what is of this time is still shown.
    pub(super) fn shows(self, at: Timestamp, now: Timestamp) -> bool {
        now.duration_since(at) < SignedDuration::from_hours(24 * i64::from(self.0))
    }
}

impl Default for KeepDays {
    fn default() -> Self {
        Self(30)
    }
}

impl FromStr for KeepDays {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let days = text.parse().ok().filter(|days| (1..=Self::LONGEST).contains(days));
        days.map(Self).ok_or_else(|| format!("not a whole number of days from 1 to {}", Self::LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_between_1_and_400() {
        for (text, days) in [("1", 1), ("30", 30), ("400", 400)] {
            assert_eq!(text.parse(), Ok(KeepDays(days)));
        }
        for text in ["0", "401", "-1", "1.5", "a month", ""] {
            assert!(text.parse::<KeepDays>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_longer_shown_is_kept_as_long_as_it_may_come_again() {
        let (one, many) = (KeepDays(1), KeepDays(90));
        assert_eq!((one.deleted_at(0), many.deleted_at(0)), (16 * DAY, 90 * DAY));
        let now = Timestamp::from_second(100 * DAY).expect("a time");
        let ago = |seconds| Timestamp::from_second(100 * DAY - seconds).expect("a time");
        assert!(one.shows(ago(DAY - 1), now) && !one.shows(ago(DAY), now));
        assert!(many.shows(ago(89 * DAY), now) && !many.shows(ago(90 * DAY), now));
    }
}
