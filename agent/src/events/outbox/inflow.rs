//! What was told to the outbox and its thread has not taken yet. While the disk hangs in a write, the thread takes nothing, and memory
//! must not grow with what happens meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tracing::error;

use super::event::OutboxEvent;
use super::pending::MEMORY_CAP;
use crate::calls::Changes;

/// By rank, beyond how many bytes an event is given up: a `ringing` first, a `disconnected` last.
const CAPS: [u64; 3] = [MEMORY_CAP, MEMORY_CAP / 4 * 5, MEMORY_CAP / 2 * 3];
/// What a change takes beside its text.
const CHANGE_OVERHEAD: u64 = 64;

/// Clones are of the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Inflow(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    /// Events that were given up and not counted by the writer yet.
    given_up: AtomicU64,
    is_full: AtomicBool,
}

impl Inflow {
    /// Lets in what there is room for, and returns how many bytes that is.
    pub(super) fn admit(&self, events: &mut Vec<OutboxEvent>, changes: &mut Changes) -> u64 {
        let waiting = self.0.bytes.load(Ordering::Relaxed);
        let before = events.len();
        events.retain(|event| waiting <= CAPS[usize::from(event.tag.rank.clamp(1, 3) - 1)]);
        let given_up = before - events.len();
        if waiting > CAPS[2] {
            // A restart asks the PBX and the table for what is not on disk.
            changes.clear();
        }
        if given_up > 0 {
            self.0.given_up.fetch_add(given_up as u64, Ordering::Relaxed);
            if !self.0.is_full.swap(true, Ordering::Relaxed) {
                error!("The disk hangs; what happens from now on is given up, the least worthy events first");
            }
        }
        let of_events: u64 = events.iter().map(|event| event.body.len() as u64).sum();
        let text = |text: &Option<String>| text.as_ref().map_or(0, |text| text.len() as u64);
        let of_changes: u64 = changes.values().map(|change| text(change) + CHANGE_OVERHEAD).sum();
        let bytes = of_events + of_changes;
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        bytes
    }

    /// The writer has taken so many bytes.
    pub(super) fn taken(&self, bytes: u64) {
        self.0.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.0.is_full.store(false, Ordering::Relaxed);
    }

    /// Events that were given up since this was asked last.
    pub(super) fn given_up(&self) -> u64 {
        self.0.given_up.swap(0, Ordering::Relaxed)
    }
}
