//! The protocol of the feed: how an event gets its number, and how a reader passes the numbers in order. No I/O, no clock.
//!
//! The feed is a row of numbered *slots*. `fanout` reserves numbers by one atomic add without a condition, so that its
//! environments never wait for each other, and then takes each call's events in order:
//! 1. It puts the event under its call, with its number, if it is not there. If it is there, the number that stands there counts.
//! 2. It puts a small entry into the slot of that number, if the slot is empty. Its own entry there: the event is *settled*.
//!    A tombstone there: it reserves another number, changes the number under the call where that is still the old one (else it takes
//!    the one that it finds), and repeats this step. The call's next events then need higher numbers, too.
//! 3. Only a settled event is acknowledged, and so is only a repeat or copy of one.
//!
//! A reader that meets an empty slot below a reserved number waits. If the number was reserved more than three seconds ago, it puts a
//! tombstone there if the slot is still empty, and passes; if it is not, it takes what is there.
//!
//! So each slot is settled once by a conditional write, whoever is first. Time decides only when a reader loses its patience, and a
//! wrong clock only makes that early or late. No event is skipped or comes twice, and the events of a call come in their order.
//!
//! Rejected: a counter that is moved in the transaction that records. Every environment has to win it against all others, which ends
//! at about 20 calls a second; a transaction costs twice the writes; and a reader that asks for several items may see the counter, but
//! not yet the entry. Rejected as well: to call an event done because it stands under its call. Who put it there may have
//! died before it was in the feed.
//!
//! [`Writer`] and [`Reader`] say what to ask the table for, and are told what it answered. `tables` drives them with requests; the
//! tests in `search` drive the same code through every interleaving.

mod reader;
mod rules;
#[cfg(test)]
mod search;
mod writer;

pub use reader::{Next, Page, Reader, Slot};
pub use writer::{Answer, Request, Standing, Writer, standing};
