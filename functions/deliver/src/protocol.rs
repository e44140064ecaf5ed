//! Who sends a delivery: `deliver` itself, or the worker of the webhook's own lane. The rules alone, without table and clock.
//!
//! Deliveries come through a queue that many share. While a webhook's lane is its own, whoever receives one of them writes it into the
//! park and is done; the lane's worker sends from there, and nobody else does. The lane becomes shared again in two steps, because what
//! was read before the change may still be written after it:
//!
//! - Who parks writes first and reads the lane then. Unless it is still the webhook's own, the delivery is taken out and received again.
//! - The worker finds the park empty, writes `settling`, in which nobody sends and nobody parks, looks again, and only then writes
//!   `shared`; or `own`, if something came meanwhile.
//!
//! In the same way a worker goes to rest: it writes that it does, looks again, and whoever parks after that calls it. The design knows
//! no rest; but the queue hands out nothing of a group of which a message waits, so a worker that waited could not be called.
//!
//! Who takes a delivery out of the park takes out its own part only. It may be taken for dead while it lives, and then somebody else has
//! received the delivery again, parked it and acknowledged it. The design let it take out the whole; the search below found that.
//!
//! What stands behind another delivery of its call in one batch is read when that one has been dealt with: if it was parked, this one is
//! parked, too.
//!
//! Rejected: parked deliveries that go back through the queue. They arrive there behind later ones of their call. Rejected:
//! what is parked is counted in the webhook's item, in one transaction with the parking. Everybody who parks would write that one item.
//!
//! The tests in `search` look at every interleaving of these rules, and at what happens without each of them.

mod rules;
#[cfg(test)]
mod search;

use shared::webhook::Lane;

use rules::{Broken, Rules};

/// How a webhook's deliveries go, as somebody read it at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Way {
    pub(crate) lane: Lane,
    /// Whether the lane's worker comes by itself. Otherwise somebody has to call it.
    pub(crate) worker_comes: bool,
}

/// What is to be done with a delivery that was received, and that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Send,
    Park,
    /// Nobody knows yet: it goes back for a moment.
    Wait,
}

pub(crate) fn received(way: Way) -> Received {
    match way.lane {
        Lane::Shared => Received::Send,
        Lane::Own => Received::Park,
        Lane::Settling => Received::Wait,
    }
}

/// What is to be done with a delivery that lies in the park now, by what was read after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parked {
    /// The worker will send it.
    Done,
    /// The worker will send it when it is called.
    Call,
    /// The worker may be gone.
    TakeOut,
}

pub(crate) fn parked(way: Way) -> Parked {
    match way.lane {
        Lane::Own if way.worker_comes => Parked::Done,
        Lane::Own => Parked::Call,
        Lane::Shared | Lane::Settling => Parked::TakeOut,
    }
}

/// What the worker does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// Read the lane.
    ReadLane,
    /// Read whether anything is parked.
    ReadPark,
    /// Write the lane, if it is still what it was.
    Change { from: Way, to: Way },
    /// Send what is parked, as far as it is its time.
    Serve,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Came {
    /// Of `ReadLane`.
    Lane(Way),
    /// Of `ReadPark`: what to do about it.
    Park(Park),
    /// Of `Change`: whether it was made.
    Changed(bool),
    Served,
}

/// The park, as the worker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Park {
    Occupied,
    /// Nothing is there, and the webhook may share again.
    Empty,
    /// Nothing is there, and the webhook keeps its own lane for now.
    EmptyButOwn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Lane,
    Park,
    Serve,
    /// The park was empty: write what follows.
    Leave(Way),
    /// That is written: look again.
    Again(Way),
    /// Something came meanwhile, or nothing did: write what follows.
    Settle {
        from: Way,
        to: Way,
    },
    Over,
}

const OWN: Way = Way { lane: Lane::Own, worker_comes: true };
const RESTING: Way = Way { lane: Lane::Own, worker_comes: false };
const SETTLING: Way = Way { lane: Lane::Settling, worker_comes: true };
const SHARED: Way = Way { lane: Lane::Shared, worker_comes: false };

/// The worker of a lane, from when it is called until it may go. It may be dropped at any point: the message that called it comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    rules: Rules,
    stage: Stage,
}

impl Default for Worker {
    fn default() -> Self {
        Self { rules: Rules::default(), stage: Stage::Lane }
    }
}

impl Worker {
    /// What to do next; nothing when it may go.
    pub(crate) fn next(&self) -> Option<Step> {
        Some(match self.stage {
            Stage::Lane => Step::ReadLane,
            Stage::Park | Stage::Again(_) => Step::ReadPark,
            Stage::Serve => Step::Serve,
            Stage::Leave(to) => Step::Change { from: OWN, to },
            Stage::Settle { from, to } => Step::Change { from, to },
            Stage::Over => return None,
        })
    }

    /// Takes what came of it.
    pub(crate) fn take(&mut self, came: Came) {
        self.stage = match (self.stage, came) {
            (Stage::Lane, Came::Lane(way)) => match way.lane {
                Lane::Shared => Stage::Over,
                Lane::Settling => Stage::Again(SETTLING),
                // Whoever called it need not have written so.
                Lane::Own if !way.worker_comes => Stage::Settle { from: RESTING, to: OWN },
                Lane::Own => Stage::Park,
            },
            (Stage::Park, Came::Park(Park::Occupied)) => Stage::Serve,
            (Stage::Park, Came::Park(Park::Empty)) => Stage::Leave(self.leaves_for()),
            (Stage::Park, Came::Park(Park::EmptyButOwn)) => Stage::Leave(RESTING),
            (Stage::Serve, Came::Served) => Stage::Lane,
            (Stage::Leave(to), Came::Changed(true)) => self.after_leaving(to),
            (Stage::Again(from), Came::Park(Park::Occupied)) => Stage::Settle { from, to: OWN },
            (Stage::Again(SETTLING), Came::Park(_)) => Stage::Settle { from: SETTLING, to: SHARED },
            (Stage::Again(_), Came::Park(_)) => Stage::Over,
            (Stage::Settle { to: SHARED, .. }, Came::Changed(true)) => Stage::Over,
            // Changed, or somebody else has changed it: what is true now has to be read.
            (Stage::Settle { .. } | Stage::Leave(_), Came::Changed(_)) => Stage::Lane,
            (stage, _) => stage,
        };
    }

    fn leaves_for(&self) -> Way {
        if self.rules.broken_by(Broken::NoSettling) { SHARED } else { SETTLING }
    }

    fn after_leaving(&self, to: Way) -> Stage {
        match to {
            SHARED => Stage::Over,
            RESTING if self.rules.broken_by(Broken::RestsUnseen) => Stage::Over,
            SETTLING if self.rules.broken_by(Broken::NoSecondLook) => Stage::Settle { from: SETTLING, to: SHARED },
            _ => Stage::Again(to),
        }
    }
}
