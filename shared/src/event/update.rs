//! What else changes on a live call besides its status, and how it is told: as a snapshot of the whole call.
//!
//! A status happens once per call. An update says how the call stands now, so that a repeated one does no harm and a late one is of no
//! use. Which of two snapshots is new is decided by [`CallState`], which has no times in it.

use serde::{Deserialize, Serialize};

use super::CallEvent;

/// What has changed, in one word. When several things have changed at once it is the one that concerns most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallChange {
    /// One of the two sides has put the call on hold.
    Held,
    Retrieved,
    /// The call waits in a park position.
    Parked,
    /// It was taken out of the park.
    Unparked,
    /// The number or the name of a party: after a transfer or redirect, or because the PBX knows more.
    Parties,
    /// Another agent reports from now on, and does not know what was told before.
    Snapshot,
}

impl CallChange {
    pub const ALL: [Self; 6] =
        [Self::Held, Self::Retrieved, Self::Parked, Self::Unparked, Self::Parties, Self::Snapshot];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Retrieved => "retrieved",
            Self::Parked => "parked",
            Self::Unparked => "unparked",
            Self::Parties => "parties",
            Self::Snapshot => "snapshot",
        }
    }
}

/// What makes an event an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallUpdate {
    pub change: CallChange,
    /// The updates of a call are numbered from 1 by `fanout`, because several agents may report them. 0: not numbered yet.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revision: u32,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Where an event stands among those of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallPosition {
    /// A status, by its sequence.
    Status(u8),
    /// An update, by its revision.
    Update(u32),
}

/// Parties and hold state of a call, without times: what two snapshots are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallState {
    /// A hash of numbers and names.
    parties: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    held: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    held_by_peer: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    parked: bool,
}

/// One side of a call as its state sees it: number, name, number in international form.
pub type PartyText<'a> = [&'a str; 3];

impl CallState {
    pub fn new(from: PartyText<'_>, to: PartyText<'_>, held: bool, held_by_peer: bool, parked: bool) -> Self {
        Self { parties: hash(from.into_iter().chain(to)), held, held_by_peer, parked }
    }

    pub fn of<T: AsRef<str>>(event: &CallEvent<T>) -> Self {
        let told = &event.web_hook_event;
        let e164 = |number: &'_ Option<T>| number.as_ref().map_or(String::new(), |number| number.as_ref().to_owned());
        let (from_e164, to_e164) = (e164(&event.from_e164), e164(&event.to_e164));
        let from = [told.from.as_ref(), told.from_name.as_ref(), &from_e164];
        let to = [told.to.as_ref(), told.to_name.as_ref(), &to_e164];
        let flag = |flag: fn(&super::CallDetails) -> bool| event.details.as_ref().is_some_and(flag);
        Self::new(from, to, flag(|d| d.held), flag(|d| d.held_by_peer), flag(|d| d.parked))
    }

    /// What has changed from another state to this one; nothing if they are the same.
    pub fn change_since(&self, before: &Self) -> Option<CallChange> {
        if self == before {
            return None;
        }
        let flags = |state: &Self| (state.held, state.held_by_peer);
        Some(match (before.parked, self.parked) {
            (false, true) => CallChange::Parked,
            (true, false) => CallChange::Unparked,
            _ if self.parties != before.parties => CallChange::Parties,
            _ if (self.held && !before.held) || (self.held_by_peer && !before.held_by_peer) => CallChange::Held,
            _ => {
                debug_assert_ne!(flags(self), flags(before));
                CallChange::Retrieved
            }
        })
    }

    /// In the form in which it is stored and compared.
    pub fn fingerprint(&self) -> String {
        let flag = |flag: bool, letter: &'static str| if flag { letter } else { "" };
        let Self { parties, held, held_by_peer, parked } = *self;
        format!("{parties:016x}{}{}{}", flag(held, "h"), flag(held_by_peer, "p"), flag(parked, "k"))
    }
}

/// FNV-1a over texts and their lengths. It is kept on disk and in the table, so it never changes.
fn hash<'a>(texts: impl Iterator<Item = &'a str>) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    texts.fold(0xcbf2_9ce4_8422_2325, |hash, text| {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
        length.into_iter().chain(text.bytes()).fold(hash, step)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::sample;

    fn state(from: &str, flags: [bool; 3]) -> CallState {
        CallState::new([from, "", ""], ["42", "Thomas", ""], flags[0], flags[1], flags[2])
    }

    #[test]
    fn a_change_has_one_name() {
        for change in CallChange::ALL {
            assert_eq!(serde_json::to_value(change).expect("json"), change.as_str());
        }
    }

    #[test]
    fn the_change_that_concerns_most_is_named() {
        let check = |before: (&str, [bool; 3]), after: (&str, [bool; 3]), expected: Option<CallChange>| {
            let change = state(after.0, after.1).change_since(&state(before.0, before.1));
            assert_eq!(change, expected, "{before:?} {after:?}");
        };
        const NO: [bool; 3] = [false; 3];
        const HELD: [bool; 3] = [true, false, false];
        const BY_PEER: [bool; 3] = [false, true, false];
        const PARKED: [bool; 3] = [false, false, true];
        check(("1", NO), ("1", NO), None);
        check(("1", NO), ("1", HELD), Some(CallChange::Held));
        check(("1", HELD), ("1", [true, true, false]), Some(CallChange::Held));
        check(("1", HELD), ("1", BY_PEER), Some(CallChange::Held));
        check(("1", BY_PEER), ("1", NO), Some(CallChange::Retrieved));
        check(("1", HELD), ("2", NO), Some(CallChange::Parties));
        check(("1", NO), ("1", PARKED), Some(CallChange::Parked));
        check(("1", PARKED), ("2", NO), Some(CallChange::Unparked));
    }

    /// Golden values: they are on disks and in tables.
    #[test]
    fn fingerprints_never_change() {
        assert_eq!(state("1", [false; 3]).fingerprint(), "fba1ef2e16b50745");
        assert_eq!(state("1", [true; 3]).fingerprint(), "fba1ef2e16b50745hpk");
        assert_ne!(
            CallState::new(["1", "2", ""], ["", "", ""], false, false, false),
            CallState::new(["12", "", ""], ["", "", ""], false, false, false)
        );
    }

    #[test]
    fn the_state_of_an_event_has_no_times() {
        let mut event = sample();
        let before = CallState::of(&event);
        event.occurred_at = jiff::Timestamp::UNIX_EPOCH;
        event.web_hook_event.status = crate::call::Status::Connected;
        assert_eq!(CallState::of(&event), before);
        event.details.get_or_insert_default().held_by_peer = true;
        assert_eq!(CallState::of(&event).change_since(&before), Some(CallChange::Held));
    }
}
