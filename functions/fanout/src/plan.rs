//! What a batch comes to: which records are fanned out, in which order, what is recorded and what goes back. No I/O.
//!
//! Two orders bind. A *group* is the queue's: it stops at its first failure. A *call* is ours: its next event waits until
//! all deliveries of the previous one were accepted. They are the same thing for what an agent sends, but a record that
//! somebody put in by hand must not break either.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use shared::envelope::EnvelopeError;
use shared::event::message::EventMessage;
use shared::event::summary::EventSummary;
use shared::feed::{Standing, standing};
use shared::ids::CallId;
use shared::queue::{FifoMessage, FifoRecord, GoingBack, Outgoing};
use shared::tables::RecordedCall;
use shared::webhook::{Kind, Webhook};

use crate::updates::CallProgress;

/// A ringing phone is stale after 30 s; a longer wait here would only add to what the receiver waits for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) record: &'a FifoRecord,
    /// As it came; what cannot be read is set aside in this form.
    pub(crate) body: &'a str,
    pub(crate) message: Result<Box<EventMessage<'a>>, EnvelopeError>,
    /// Its number in the feed, if it was recorded before.
    pub(crate) number: Option<u64>,
    state: RecordState,
}

/// How far a record of the batch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RecordState {
    /// Nothing has happened to it yet.
    Open,
    /// All its deliveries are in their queue; it still has to be recorded, or at least to be settled in the feed.
    FannedOut,
    /// To be acknowledged.
    Done,
    /// Goes back, by its own failure or behind another one's.
    Failed,
    /// Another receiver has it meanwhile.
    Left,
}

/// How many of the batch's events needed nothing any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repeats {
    /// The same event more than once in the batch.
    pub(crate) copies: usize,
    /// Events at or below what is recorded, or was before them in the batch, and updates that say nothing new.
    pub(crate) superseded: usize,
}

#[derive(Debug)]
pub(crate) struct Batch<'a> {
    entries: Vec<Entry<'a>>,
}

impl<'a> Batch<'a> {
    /// Reads the messages, each by itself.
    pub(crate) fn read(messages: &'a [FifoMessage]) -> Self {
        let entry = |FifoMessage { record, body }: &'a FifoMessage| Entry {
            message: EventMessage::open(body).map(Box::new),
            record,
            body,
            number: None,
            state: RecordState::Open,
        };
        Self { entries: messages.iter().map(entry).collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn entry(&self, at: usize) -> &Entry<'a> {
        &self.entries[at]
    }

    pub(crate) fn records(&self) -> Vec<&FifoRecord> {
        self.entries.iter().map(|entry| entry.record).collect()
    }

    /// Leaves records to the receiver that has them meanwhile. What comes behind them waits for it.
    pub(crate) fn leave(&mut self, left: impl IntoIterator<Item = usize>) {
        for at in left {
            self.fail(at);
            self.entries[at].state = RecordState::Left;
        }
    }

    /// The calls of the batch, each once.
    pub(crate) fn calls(&self) -> Vec<CallId> {
        let mut seen = HashSet::new();
        self.entries
            .iter()
            .filter(|entry| entry.state == RecordState::Open)
            .filter_map(Entry::call)
            .filter(|call| seen.insert(*call))
            .collect()
    }

    /// Which of them have updates in the batch, which are compared with what was told last.
    pub(crate) fn calls_with_updates(&self) -> HashSet<CallId> {
        let updated = self.entries.iter().filter_map(|entry| entry.message.as_ref().ok());
        updated.filter(|message| message.tag.kind == Kind::CallUpdated).map(|message| message.tag.group).collect()
    }

    /// Finds what needs no delivery: copies, statuses at or below the highest sequence of their call, and updates that say nothing new.
    /// Who recorded a status may have died before it was in the feed, so that it is not done yet. Updates get their numbers.
    pub(crate) fn find_repeats(&mut self, recorded: &HashMap<CallId, RecordedCall>) -> Repeats {
        let mut repeats = Repeats::default();
        let mut highest: HashMap<CallId, u8> = HashMap::new();
        let mut progress: HashMap<CallId, CallProgress> = HashMap::new();
        let mut seen = HashSet::new();
        for entry in self.entries.iter_mut().filter(|entry| entry.state == RecordState::Open) {
            let Ok(message) = entry.message.as_deref_mut() else { continue };
            let tag = message.tag;
            let (call, sequence) = (tag.group, tag.rank);
            if !seen.insert(tag.dedup) {
                repeats.copies += 1;
                entry.state = RecordState::Done;
                continue;
            }
            let of_call = recorded.get(&call);
            let progress = progress.entry(call).or_insert_with(|| of_call.map(CallProgress::after).unwrap_or_default());
            if tag.kind == Kind::CallUpdated {
                match progress.pass_update(&message.event) {
                    Some(revision) => message.number(revision),
                    None => {
                        repeats.superseded += 1;
                        entry.state = RecordState::Done;
                    }
                }
                continue;
            }
            let highest = highest.entry(call).or_default();
            let recorded = of_call.map_or(&[][..], |of_call| &of_call.statuses);
            match standing(sequence, recorded) {
                Standing::New if sequence > *highest => {
                    *highest = sequence;
                    progress.pass_status(&message.event);
                    continue;
                }
                Standing::Recorded(n) => {
                    entry.number = Some(n);
                    entry.state = RecordState::FannedOut;
                }
                Standing::New | Standing::Settled | Standing::Superseded => entry.state = RecordState::Done,
            }
            repeats.superseded += 1;
        }
        repeats
    }

    /// What may be dealt with now, together: the first open record of each group and call.
    pub(crate) fn next_step(&self) -> Vec<usize> {
        let (mut groups, mut calls) = (HashSet::new(), HashSet::new());
        let open = self.entries.iter().enumerate().filter(|(_, entry)| entry.state == RecordState::Open);
        open.filter(|(_, entry)| {
            let first_of_group = groups.insert(entry.record.group.as_str());
            let first_of_call = entry.call().is_none_or(|call| calls.insert(call));
            first_of_group && first_of_call
        })
        .map(|(at, _)| at)
        .collect()
    }

    pub(crate) fn fanned_out(&mut self, at: usize) {
        self.entries[at].state = RecordState::FannedOut;
    }

    pub(crate) fn done(&mut self, at: usize) {
        self.entries[at].state = RecordState::Done;
    }

    /// Fails a record and everything behind it, in its group and in its call.
    pub(crate) fn fail(&mut self, at: usize) {
        self.entries[at].state = RecordState::Failed;
        let failed = &self.entries[at];
        let mut groups = HashSet::from([failed.record.group.clone()]);
        let mut calls: HashSet<CallId> = failed.call().into_iter().collect();
        for entry in &mut self.entries[at + 1..] {
            if groups.contains(&entry.record.group) || entry.call().is_some_and(|call| calls.contains(&call)) {
                if entry.state != RecordState::Left {
                    entry.state = RecordState::Failed;
                }
                groups.insert(entry.record.group.clone());
                calls.extend(entry.call());
            }
        }
    }

    /// The events to be recorded or settled, in the batch's order.
    pub(crate) fn to_record(&self) -> Vec<usize> {
        (0..self.entries.len()).filter(|at| self.entries[*at].state == RecordState::FannedOut).collect()
    }

    /// The same by calls, each in its order.
    pub(crate) fn to_record_by_call(&self) -> Vec<Vec<usize>> {
        let mut positions: HashMap<CallId, usize> = HashMap::new();
        let mut calls: Vec<Vec<usize>> = Vec::new();
        for at in self.to_record() {
            let Some(call) = self.entries[at].call() else { continue };
            let position = *positions.entry(call).or_insert(calls.len());
            if position == calls.len() {
                calls.push(Vec::new());
            }
            calls[position].push(at);
        }
        calls
    }

    /// What goes back. What was neither finished nor failed goes back too, so that nothing is lost by an oversight.
    pub(crate) fn going_back(&self, now: Timestamp, mut jitter: impl FnMut() -> f64) -> GoingBack {
        let mut back = GoingBack::default();
        for Entry { record, state, .. } in &self.entries {
            match state {
                RecordState::Done => {}
                RecordState::Left => back.leave(record),
                _ => back.push(record, record.backoff(now, LONGEST_WAIT, jitter())),
            }
        }
        back
    }
}

impl Entry<'_> {
    fn call(&self) -> Option<CallId> {
        self.message.as_ref().ok().map(|message| message.tag.group)
    }
}

/// The message of each delivery of an event, for the webhooks that want it.
pub(crate) fn deliveries(
    message: &EventMessage<'_>,
    queued_at: Option<Timestamp>,
    webhooks: &[Webhook],
    now: Timestamp,
) -> Vec<Outgoing> {
    let (summary, queued_at) = (EventSummary::of(&message.event), queued_at.map(Timestamp::as_millisecond));
    let wanting = webhooks.iter().filter(|webhook| webhook.wants(&summary, now));
    wanting.map(|webhook| message.delivery(webhook.id, queued_at, now.as_millisecond())).collect()
}

#[cfg(test)]
mod tests;
