//! Evidence that a call which did not come back after a lost session has ended.
//!
//! Whether a PBX reports running calls after `UserInitialize`, and whether it keeps `UserInfo.channel` up to date, is documented nowhere.
//! So neither counts before it was seen. A call that is closed by mistake has an end that nobody can take back; one that is closed late
//! has it late.

use std::collections::HashMap;

use super::leg::UserGuid;

#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// This PBX has reported a running call after `UserInitialize` before.
    pub reports_running: bool,
    /// That was found out since it was last written to disk.
    pub is_new: bool,
    channels: HashMap<UserGuid, Channels>,
    channels_have: Channel,
}

/// `UserInfo.channel` of a user: how many calls the PBX says there are.
#[derive(Debug)]
struct Channels {
    count: Option<u32>,
    of_earlier_session: bool,
}

/// What `channel` has done in this session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Channel {
    /// It may mean nothing.
    #[default]
    Stayed,
    /// It is another one than in the session before, so that it was true when the session began.
    ChangedBetweenSessions,
    /// The PBX keeps it up to date.
    Changed,
}

impl Evidence {
    pub(super) fn session_lost(&mut self) {
        self.channels_have = Channel::Stayed;
        self.channels.values_mut().for_each(|channels| channels.of_earlier_session = true);
    }

    pub(super) fn channels_of(&self, user: &UserGuid) -> Option<u32> {
        self.channels.get(user)?.count
    }

    /// What the PBX said in the session before, if the disk tells it only now.
    pub(super) fn channels_were(&mut self, user: &UserGuid, count: Option<u32>) {
        let earlier = Channels { count, of_earlier_session: true };
        let known = self.channels.entry(user.clone()).or_insert(earlier);
        if !known.of_earlier_session && count.is_some() && known.count.is_some() && known.count != count {
            self.channels_have = self.channels_have.max(Channel::ChangedBetweenSessions);
        }
    }

    /// The PBX says how many calls a user has, or leaves it out. Returns whether that is new.
    pub(super) fn channels_are(&mut self, user: &UserGuid, count: Option<u32>) -> bool {
        let before = self.channels.insert(user.clone(), Channels { count, of_earlier_session: false });
        if before.as_ref().and_then(|before| before.count) == count {
            return false;
        }
        if let Some(before) = before.filter(|before| before.count.is_some() && count.is_some()) {
            let change = if before.of_earlier_session { Channel::ChangedBetweenSessions } else { Channel::Changed };
            self.channels_have = self.channels_have.max(change);
        }
        true
    }

    /// Whether `channel` shows that a user has no call but the `seen` ones.
    pub(super) fn counts_no_more_than(&self, user: &UserGuid, seen: usize) -> bool {
        let Some(count) = self.channels.get(user).filter(|c| !c.of_earlier_session).and_then(|c| c.count) else {
            return false;
        };
        match self.channels_have {
            Channel::Stayed => false,
            // Calls that have begun since may not be in it.
            Channel::ChangedBetweenSessions => count == 0,
            Channel::Changed => u64::from(count) <= seen as u64,
        }
    }
}
