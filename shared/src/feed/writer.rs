//! The writer's side: settles some events of one call, one after the other.

use std::ops::Range;

use super::rules::{Broken, FeedRules};

/// What is known of an event before it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It is new: it has to be recorded.
    New,
    /// It stands under its call with this number. Nobody knows whether its slot is settled.
    Recorded(u64),
    /// Nothing has to be done for it.
    Settled,
    /// It is not recorded, and will not be: a later event of its call is.
    Superseded,
}

/// The standing of an event, from what is recorded for its call: sequences, each with its number. What was recorded with a
/// transaction has none; it was settled with the same write.
pub fn standing(sequence: u8, recorded: &[(u8, Option<u64>)]) -> Standing {
    standing_by(FeedRules::default(), sequence, recorded)
}

pub(super) fn standing_by(rules: FeedRules, sequence: u8, recorded: &[(u8, Option<u64>)]) -> Standing {
    let own = recorded.iter().find(|(other, _)| *other == sequence);
    match own {
        Some(_) if rules.broken_by(Broken::RecordedIsDone) => Standing::Settled,
        Some((_, Some(n))) => Standing::Recorded(*n),
        Some((_, None)) => Standing::Settled,
        None if recorded.iter().any(|(other, _)| *other > sequence) => Standing::Superseded,
        None => Standing::New,
    }
}

/// What a writer asks of the table. Events are named by their index among those that the writer was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Add so many to the head of the feed.
    Reserve { count: u64 },
    /// Put the event under its call with this number, if it is not there.
    Record { event: usize, n: u64 },
    /// Put the event's entry into the slot, if the slot is empty.
    Fill { event: usize, n: u64 },
    /// Change the event's number under its call, if it is still the old one.
    Move { event: usize, from: u64, to: u64 },
}

/// What the table answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// To `Reserve`: the first of the numbers.
    Reserved { first: u64 },
    /// To `Record` and `Move`: the number that stands under the call now, whoever put it there.
    Numbered { n: u64 },
    /// To `Record`: the event was recorded with a transaction, and is in the feed since.
    SettledBefore,
    /// To `Fill`: the event's own entry is in the slot, whoever put it there.
    Filled,
    /// To `Fill`: there is something else in the slot, a tombstone.
    Taken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum WriterStage {
    /// The next event needs a number and has to be recorded.
    Record,
    /// It stands under its call with this number.
    Fill(u64),
    /// The slot of its number is taken.
    Move(u64),
}

/// Settles events of one call. After an error it may be dropped at any point: a later writer finds what it has done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Writer {
    rules: FeedRules,
    /// The numbers that were read for the events before.
    known: Vec<Option<u64>>,
    /// How many of them are settled.
    settled: usize,
    stage: WriterStage,
    /// Reserved for the events that are not settled, and not used yet.
    numbers: Range<u64>,
    /// Where the event before is settled. Those behind it need higher numbers.
    floor: u64,
}

impl Writer {
    /// For events in the order of their sequence, each with the number that it stands under its call with, if it does.
    pub fn new(known: Vec<Option<u64>>) -> Self {
        Self::by(FeedRules::default(), known)
    }

    pub(super) fn by(rules: FeedRules, known: Vec<Option<u64>>) -> Self {
        let mut writer = Self { rules, known, settled: 0, stage: WriterStage::Record, numbers: 0..0, floor: 0 };
        writer.begin();
        writer
    }

    /// How many numbers it will need if nothing comes in between. One reservation may serve several writers.
    pub fn numbers_wanted(&self) -> u64 {
        self.known[self.settled..].iter().filter(|known| known.is_none()).count() as u64
    }

    /// Gives it numbers that were reserved for it.
    pub fn give(&mut self, numbers: Range<u64>) {
        self.numbers = numbers;
    }

    /// How many of its events are settled, the first ones.
    pub fn settled(&self) -> usize {
        self.settled
    }

    /// What to ask the table for; nothing when all events are settled.
    pub fn next(&self) -> Option<Request> {
        let event = self.settled;
        if event == self.known.len() {
            return None;
        }
        let number = Some(self.lowest_usable()).filter(|n| *n < self.numbers.end);
        Some(match (self.stage, number) {
            (WriterStage::Fill(n), _) => Request::Fill { event, n },
            (WriterStage::Record, Some(n)) => Request::Record { event, n },
            (WriterStage::Move(from), Some(to)) => Request::Move { event, from, to },
            (WriterStage::Record, None) => Request::Reserve { count: self.numbers_wanted() },
            // One for itself, whether or not it had one, and new ones for those behind it.
            (WriterStage::Move(_), None) => {
                let behind = self.known[event + 1..].iter().filter(|known| known.is_none()).count() as u64;
                Request::Reserve { count: 1 + behind }
            }
        })
    }

    /// Takes the answer to what `next` asked for.
    pub fn take(&mut self, answer: Answer) {
        match (self.stage, answer) {
            (_, Answer::Reserved { first }) => {
                if let Some(Request::Reserve { count }) = self.next() {
                    self.numbers = first..first + count;
                }
            }
            (WriterStage::Record | WriterStage::Move(_), Answer::Numbered { n }) => {
                let own = self.lowest_usable();
                self.numbers.start = own + 1;
                self.stage = WriterStage::Fill(n);
                if n != own && self.rules.broken_by(Broken::RecordedIsDone) {
                    self.settle(n);
                }
            }
            (WriterStage::Record, Answer::SettledBefore) => {
                // Its number is not known; only a number that is reserved from now on is surely higher.
                self.numbers = 0..0;
                self.settle(self.floor);
            }
            (WriterStage::Fill(n), Answer::Filled) => self.settle(n),
            (WriterStage::Fill(n), Answer::Taken) if self.rules.broken_by(Broken::TakenIsDone) => self.settle(n),
            (WriterStage::Fill(n), Answer::Taken) => {
                // What it has left is as old as the number that it lost.
                self.numbers = 0..0;
                self.stage = WriterStage::Move(n);
            }
            (stage, answer) => debug_assert!(false, "{answer:?} is no answer at {stage:?}"),
        }
    }

    fn lowest_usable(&self) -> u64 {
        if self.rules.broken_by(Broken::LowerNumbersAreUsed) {
            return self.numbers.start;
        }
        self.numbers.start.max(self.floor + 1)
    }

    fn settle(&mut self, n: u64) {
        self.floor = n;
        self.settled += 1;
        self.begin();
    }

    fn begin(&mut self) {
        let known = self.known.get(self.settled).copied().flatten();
        self.stage = known.map_or(WriterStage::Record, WriterStage::Fill);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_is_not_new_and_a_late_event_is_superseded() {
        let recorded = [(3, Some(9)), (1, None)];
        assert_eq!(standing(1, &recorded), Standing::Settled);
        assert_eq!(standing(2, &recorded), Standing::Superseded);
        assert_eq!(standing(3, &recorded), Standing::Recorded(9));
        assert_eq!(standing(1, &[]), Standing::New);
        assert_eq!(standing(2, &recorded[1..]), Standing::New);
    }

    #[test]
    fn events_are_settled_in_their_order_with_the_numbers_that_were_given() {
        let mut writer = Writer::new(vec![None, None]);
        assert_eq!(writer.numbers_wanted(), 2);
        writer.give(5..7);
        for (event, n) in [(0, 5), (1, 6)] {
            assert_eq!(writer.next(), Some(Request::Record { event, n }));
            writer.take(Answer::Numbered { n });
            assert_eq!(writer.next(), Some(Request::Fill { event, n }));
            writer.take(Answer::Filled);
            assert_eq!(writer.settled(), event + 1);
        }
        assert_eq!(writer.next(), None);
    }

    #[test]
    fn a_tombstone_costs_the_call_its_other_numbers_too() {
        let mut writer = Writer::new(vec![Some(1), None]);
        writer.give(2..3);
        writer.take(Answer::Taken);
        assert_eq!(writer.next(), Some(Request::Reserve { count: 2 }));
        writer.take(Answer::Reserved { first: 8 });
        assert_eq!(writer.next(), Some(Request::Move { event: 0, from: 1, to: 8 }));
        writer.take(Answer::Numbered { n: 8 });
        writer.take(Answer::Filled);
        assert_eq!(writer.next(), Some(Request::Record { event: 1, n: 9 }));
    }

    #[test]
    fn behind_an_event_of_a_transaction_numbers_are_reserved_anew() {
        let mut writer = Writer::new(vec![None, None]);
        writer.give(5..7);
        writer.take(Answer::SettledBefore);
        assert_eq!((writer.settled(), writer.next()), (1, Some(Request::Reserve { count: 1 })));
    }
}
