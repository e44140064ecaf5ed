//! The reader's side: passes the numbers of the feed one by one, and settles those that nobody fills.

use std::collections::VecDeque;

use super::rules::{Broken, FeedRules};

/// What is in a slot that is not empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Slot<T> {
    Entry(T),
    /// Nothing will ever be here.
    Tombstone,
}

/// A stretch of the feed as it was read. The slots were not read at one moment: an empty one may have been filled before a
/// full one behind it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Page<T> {
    /// The slots that were not empty, with their numbers, ascending.
    pub slots: VecDeque<(u64, Slot<T>)>,
    /// The number that was read up to. All numbers up to it are reserved.
    pub last: u64,
    /// All numbers up to this one were reserved so long ago that whoever wanted them has had enough time.
    pub old: u64,
    /// All numbers up to this one were reserved so long ago that the table may have forgotten what was in their slots.
    pub forgotten: u64,
}

/// What a reader does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// Here is the next entry.
    Entry(u64, T),
    /// Put a tombstone into the slot if it is empty, and tell what is in it then.
    Settle(u64),
    /// A number was reserved just now; look again.
    Wait,
    /// This page is read; behind it there may be more.
    End,
}

/// Passes the numbers behind a cursor. Each entry comes once, and none is left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reader {
    rules: FeedRules,
    cursor: u64,
}

impl Reader {
    pub fn behind(cursor: u64) -> Self {
        Self::by(FeedRules::default(), cursor)
    }

    pub(super) fn by(rules: FeedRules, cursor: u64) -> Self {
        Self { rules, cursor }
    }

    /// The last number that was passed. What is behind it has not been seen.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Goes on in a page that was read from behind the cursor.
    pub fn next<T>(&mut self, page: &mut Page<T>) -> Next<T> {
        while self.cursor < page.last {
            let n = self.cursor + 1;
            let there = page.slots.front().map(|(there, _)| *there);
            if there.is_some_and(|there| there <= n) {
                let slot = page.slots.pop_front();
                match slot {
                    Some((there, Slot::Entry(entry))) if there == n => {
                        self.cursor = n;
                        return Next::Entry(n, entry);
                    }
                    Some((there, Slot::Tombstone)) if there == n => self.cursor = n,
                    _ => {} // It was passed before.
                }
                continue;
            }
            // The slots up to the next one, or to the end of the page, are empty.
            let gap_end = there.map_or(page.last, |there| there - 1);
            let passes = (there.is_none() && self.rules.broken_by(Broken::HeadIsTrusted))
                || (there.is_some() && self.rules.broken_by(Broken::GapsArePassed));
            if passes {
                self.cursor = gap_end;
            } else if n <= page.forgotten {
                self.cursor = gap_end.min(page.forgotten);
            } else if n <= page.old {
                return Next::Settle(n);
            } else {
                return Next::Wait;
            }
        }
        Next::End
    }

    /// Takes what is in a slot that `next` wanted to be settled.
    pub fn settled<T>(&mut self, page: &mut Page<T>, n: u64, slot: Slot<T>) {
        if self.rules.broken_by(Broken::RefusedIsPassed) {
            self.cursor = n;
        } else {
            page.slots.push_front((n, slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(slots: &[(u64, Option<char>)], last: u64, old: u64, forgotten: u64) -> Page<char> {
        let slot = |(n, entry): &(u64, Option<char>)| (*n, entry.map_or(Slot::Tombstone, Slot::Entry));
        Page { slots: slots.iter().map(slot).collect(), last, old, forgotten }
    }

    #[test]
    fn entries_come_in_order_and_tombstones_are_passed() {
        let (mut reader, mut page) = (Reader::behind(4), page(&[(5, Some('a')), (6, None), (7, Some('b'))], 7, 0, 0));
        assert_eq!(reader.next(&mut page), Next::Entry(5, 'a'));
        assert_eq!(reader.next(&mut page), Next::Entry(7, 'b'));
        assert_eq!((reader.next(&mut page), reader.cursor()), (Next::End, 7));
    }

    #[test]
    fn a_young_gap_is_waited_for_and_an_old_one_is_settled() {
        let (mut reader, mut page) = (Reader::behind(0), page(&[(2, Some('b'))], 3, 2, 0));
        assert_eq!(reader.next(&mut page), Next::Settle(1));
        reader.settled(&mut page, 1, Slot::Entry('a')); // Somebody was quicker.
        assert_eq!(reader.next(&mut page), Next::Entry(1, 'a'));
        assert_eq!(reader.next(&mut page), Next::Entry(2, 'b'));
        assert_eq!((reader.next(&mut page), reader.cursor()), (Next::Wait, 2));
    }

    #[test]
    fn what_the_table_has_forgotten_is_passed_at_once() {
        let (mut reader, mut page) = (Reader::behind(0), page(&[(900, None), (1_000, Some('a'))], 1_000, 1_000, 950));
        assert_eq!((reader.next(&mut page), reader.cursor()), (Next::Settle(951), 950));
    }
}
