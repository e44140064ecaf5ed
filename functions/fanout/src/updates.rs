//! Which updates of a call are new, and their numbers. No I/O.
//!
//! An update is a snapshot. It is superseded if it says what was told last, if it is not younger than the latest update, or if the call
//! has reached a further status than the one at which it was taken. Its revision follows from what is settled and from what stands before
//! it in its call: whoever takes the records up again after a crash gives it the same one. That holds because an update is settled
//! before the next event of its call is recorded.
//!
//! Times of statuses are not compared: two agents may differ by a second, and a change in that time would never be told.

use jiff::Timestamp;
use shared::event::{CallEvent, CallState};
use shared::tables::{LiveCall, RecordedCall};

/// How far a call is, before each of its events in a batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallProgress {
    /// The highest sequence of a status.
    sequence: u8,
    revision: u32,
    updated_at: Option<Timestamp>,
    /// The fingerprint of the state that was told last.
    state: Option<String>,
}

impl CallProgress {
    pub(crate) fn after(recorded: &RecordedCall) -> Self {
        let mut progress = Self::default();
        if let Some(latest) = &recorded.latest {
            progress.pass_status(latest);
        }
        let highest = recorded.statuses.iter().map(|(sequence, _)| *sequence).max();
        progress.sequence = highest.unwrap_or_default();
        if let Some(LiveCall { revision, state, occurred_at, sequence }) = &recorded.live {
            (progress.revision, progress.updated_at) = (*revision, Some(*occurred_at));
            if *sequence >= progress.sequence {
                progress.state = Some(state.clone());
            }
        }
        progress
    }

    /// A status is new.
    pub(crate) fn pass_status<T: AsRef<str>>(&mut self, event: &CallEvent<T>) {
        self.sequence = self.sequence.max(event.sequence());
        self.state = Some(CallState::of(event).fingerprint());
    }

    /// The revision of an update; nothing if it is superseded.
    pub(crate) fn pass_update<T: AsRef<str>>(&mut self, event: &CallEvent<T>) -> Option<u32> {
        let state = CallState::of(event).fingerprint();
        let is_late = event.sequence() < self.sequence
            // The table has whole milliseconds.
            || self.updated_at.is_some_and(|at| event.occurred_at.as_millisecond() <= at.as_millisecond());
        if is_late || self.state.as_ref() == Some(&state) {
            return None;
        }
        self.revision += 1;
        (self.updated_at, self.state) = (Some(event.occurred_at), Some(state));
        Some(self.revision)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use shared::event::{CallChange, CallUpdate, Status};
    use shared::ids::CallId;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    fn status(status: Status, seconds: i64) -> CallEvent {
        let call: CallId = "1ea84350-ef40-49c4-a3cd-b1d59c821b47".parse().expect("an id");
        CallEvent::example(call, status, at(seconds))
    }

    fn update(of: Status, from: &str, seconds: i64) -> CallEvent {
        let mut event = status(of, seconds);
        event.update = Some(CallUpdate { change: CallChange::Parties, revision: 0 });
        event.web_hook_event.from = from.to_owned();
        event
    }

    fn first_state() -> String {
        status(Status::Ringing, 0).web_hook_event.from
    }

    #[test]
    fn what_was_told_is_superseded_and_the_rest_is_numbered() {
        let mut call = CallProgress::default();
        call.pass_status(&status(Status::Connected, 10));
        assert_eq!(call.pass_update(&update(Status::Connected, &first_state(), 11)), None, "the status told it");
        assert_eq!(call.pass_update(&update(Status::Connected, "1", 12)), Some(1));
        assert_eq!(call.pass_update(&update(Status::Connected, "1", 13)), None, "told");
        assert_eq!(call.pass_update(&update(Status::Connected, "2", 12)), None, "not younger");
        assert_eq!(call.pass_update(&update(Status::Connected, &first_state(), 14)), Some(2), "as it was before");
        assert_eq!(call.pass_update(&update(Status::Ringing, "3", 15)), None, "of an earlier status");
        call.pass_status(&status(Status::Disconnected, 16));
        assert_eq!(call.pass_update(&update(Status::Connected, "4", 17)), None, "the call is over");
    }

    /// The clock of the agent whose copy of the status came first may be ahead.
    #[test]
    fn a_status_of_a_later_time_supersedes_nothing() {
        let mut call = CallProgress::default();
        call.pass_status(&status(Status::Connected, 20));
        assert_eq!(call.pass_update(&update(Status::Connected, "1", 19)), Some(1));
    }

    #[test]
    fn what_is_recorded_says_the_same_as_what_went_before() {
        let recorded = |latest: CallEvent, live: Option<CallEvent>| {
            let statuses = vec![(latest.sequence(), Some(7))];
            CallProgress::after(&RecordedCall {
                statuses,
                live: live.and_then(|live| LiveCall::after(&live)),
                latest: Some(latest),
            })
        };
        let numbered = |mut event: CallEvent| {
            event.number(4);
            event
        };
        let live = Some(numbered(update(Status::Ringing, "1", 5)));
        let mut call = recorded(status(Status::Ringing, 1), live.clone());
        assert_eq!(call.pass_update(&update(Status::Ringing, "1", 6)), None);
        assert_eq!(call.pass_update(&update(Status::Ringing, &first_state(), 6)), Some(5));
        // The status that came since is what was told last.
        let mut call = recorded(status(Status::Connected, 6), live);
        assert_eq!(call.pass_update(&update(Status::Connected, &first_state(), 7)), None);
        assert_eq!(call.pass_update(&update(Status::Connected, "1", 7)), Some(5));
        assert_eq!(
            recorded(status(Status::Disconnected, 8), None).pass_update(&update(Status::Connected, "9", 9)),
            None
        );
    }
}
