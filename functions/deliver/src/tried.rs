//! For how long something was tried in vain. Time in which nobody could try, because a function was down or throttled, says nothing
//! about the receiver and does not count.

use jiff::Timestamp;

/// An attempt may come so much later than it was planned. Milliseconds.
const LATE: i64 = 60_000;

/// What an attempt adds to the time tried, in milliseconds: the time since the one before, as far as it was planned.
pub(crate) fn counted(last: i64, planned: Option<i64>, now: Timestamp) -> u32 {
    let waited = now.as_millisecond() - last;
    let planned = planned.unwrap_or(last) - last + LATE;
    u32::try_from(waited.min(planned).max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use shared::time::from_millis;

    use super::*;

    #[test]
    fn an_outage_of_ours_does_not_count() {
        let minutes = |n: i64| n * 60_000;
        assert_eq!(counted(0, Some(5_000), from_millis(5_400)), 5_400);
        assert_eq!(counted(0, Some(5_000), from_millis(minutes(20))), 65_000);
        assert_eq!(counted(0, None, from_millis(minutes(20))), 60_000);
        assert_eq!(counted(minutes(1), None, from_millis(0)), 0);
    }
}
