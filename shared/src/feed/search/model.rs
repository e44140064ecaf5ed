//! The table as a search sees it: the head, what is under the calls, and the slots. Each function is one atomic operation.

use crate::feed::{Answer, Request, Slot};

/// An event by its number: two of one call, and one of another.
pub(super) type Event = usize;

pub(super) const EVENTS: [Event; 3] = [0, 1, 2];
/// More numbers than a search reserves.
const SLOTS: usize = 16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Cell {
    #[default]
    Empty,
    Tombstone,
    Entry(Event),
}

impl Cell {
    fn slot(self) -> Option<Slot<Event>> {
        match self {
            Self::Empty => None,
            Self::Tombstone => Some(Slot::Tombstone),
            Self::Entry(event) => Some(Slot::Entry(event)),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) head: u64,
    /// The number of each recorded event.
    pub(super) recorded: [Option<u64>; EVENTS.len()],
    slots: [Cell; SLOTS],
}

impl Table {
    /// What a writer asks for; `events` are those that it was given.
    pub(super) fn perform(&mut self, request: Request, events: &[Event]) -> Answer {
        match request {
            Request::Reserve { count } => {
                let first = self.head + 1;
                self.head += count;
                Answer::Reserved { first }
            }
            Request::Record { event, n } => Answer::Numbered { n: *self.recorded[events[event]].get_or_insert(n) },
            Request::Fill { event, n } => {
                let own = Cell::Entry(events[event]);
                if self.put_if_empty(n, own) == own { Answer::Filled } else { Answer::Taken }
            }
            Request::Move { event, from, to } => {
                let number = self.recorded[events[event]].as_mut().expect("what is moved was recorded");
                if *number == from {
                    *number = to;
                }
                Answer::Numbered { n: *number }
            }
        }
    }

    pub(super) fn slot(&self, n: u64) -> Option<Slot<Event>> {
        self.slots[n as usize].slot()
    }

    /// Puts a tombstone into an empty slot; returns what is there now.
    pub(super) fn settle(&mut self, n: u64) -> Slot<Event> {
        self.put_if_empty(n, Cell::Tombstone).slot().expect("it was put there")
    }

    fn put_if_empty(&mut self, n: u64, new: Cell) -> Cell {
        let cell = &mut self.slots[n as usize];
        if *cell == Cell::Empty {
            *cell = new;
        }
        *cell
    }

    /// All that the table holds, in few numbers.
    pub(super) fn digest(&self) -> [u64; 2] {
        let cell = |cell: &Cell| match cell {
            Cell::Empty => 0,
            Cell::Tombstone => 1,
            Cell::Entry(event) => 2 + *event as u64,
        };
        let slots = self.slots.iter().fold(0, |all, slot| all << 3 | cell(slot));
        let recorded = self.recorded.iter().fold(self.head, |all, n| all << 8 | n.unwrap_or(0));
        [slots, recorded]
    }
}
