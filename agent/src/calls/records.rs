//! What of the core survives a restart: names, aliases and counts, and the calls that run.
//!
//! The core tells what has changed; whoever holds the disk writes it together with the events of the same moment, so that
//! ids and events cannot disagree after a crash.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::ids::CallId;
use uuid::Uuid;

use super::call::{Call, Origin, UserIdentity};
use super::call_core::Calls;
use super::leg::{Spot, SpotId};
use super::names::Knowledge;

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RecordKey {
    Call(CallId),
    /// The digest of a user, conference and direction; or the PBX itself.
    Spot(String),
}

/// The new texts of records, `None` for what needs none any more.
pub type Changes = HashMap<RecordKey, Option<String>>;

/// A call with what its events need to know of its user, who may be out of sight after the restart.
#[derive(Debug, Serialize, Deserialize)]
struct CallRecord<C, I> {
    call: C,
    identity: I,
    /// How many calls the PBX said the user had.
    #[serde(default)]
    channels: Option<u32>,
}

/// Everything that was kept.
#[derive(Debug, Default)]
pub struct Records {
    calls: Vec<CallRecord<Call, UserIdentity>>,
    spots: Vec<(SpotId, Knowledge)>,
    /// Spots whose records have the keys of an earlier version.
    renamed: Vec<(SpotId, String)>,
    /// What is known of the PBX itself.
    pbx: Option<PbxRecord>,
    /// When the agent that kept it was last known to be there.
    seen: Option<Timestamp>,
}

/// The key of what is known of the PBX itself, among those of spots.
const PBX: &str = "pbx";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PbxRecord {
    pbx_id: String,
    reports_running: bool,
}

/// A record that this version cannot read.
#[derive(Debug, thiserror::Error)]
#[error("a record of a call cannot be read: {0}")]
pub struct UnreadableRecord(#[from] serde_json::Error);

impl Records {
    pub fn seen_at(&mut self, seen: Timestamp) {
        self.seen = Some(seen);
    }

    pub fn add_call(&mut self, text: &str) -> Result<(), UnreadableRecord> {
        self.calls.push(serde_json::from_str(text)?);
        Ok(())
    }

    pub fn add_spot(&mut self, key: &str, text: &str) -> Result<(), UnreadableRecord> {
        if key == PBX {
            self.pbx = Some(serde_json::from_str(text)?);
            return Ok(());
        }
        let known = serde_json::from_str(text)?;
        let id = match key.parse() {
            Ok(id) => id,
            // Earlier versions wrote down the spot itself.
            Err(_) => {
                let id = serde_json::from_str::<Spot>(key)?.id();
                self.renamed.push((id, key.to_owned()));
                id
            }
        };
        self.spots.push((id, known));
        Ok(())
    }
}

impl Calls {
    /// Goes on where an earlier core ended. Its calls are missing until the PBX shows them again, as after a lost session.
    pub fn restore(origin: Origin, boot_id: Uuid, records: Records, now: Timestamp) -> Self {
        let mut calls = Self::new(origin, boot_id);
        calls.recall(records);
        // This machine's clock may be far off until the cloud has told the time.
        calls.last_cleaning = now;
        calls
    }

    /// Takes in what an earlier core knew. What this one has found out itself since is newer.
    pub fn recall(&mut self, mut records: Records) {
        if records.pbx.is_some_and(|pbx| pbx.reports_running && *pbx.pbx_id == *self.origin.pbx_id) {
            self.evidence.reports_running = true;
        }
        records.spots.sort_by_key(|(_, known)| known.touched());
        for (id, known) in records.spots {
            self.names.put_back(id, known);
        }
        for (id, earlier) in records.renamed {
            self.names.rename(id, earlier);
        }
        for CallRecord { mut call, identity, channels } in records.calls {
            self.evidence.channels_were(&call.user, channels);
            if self.calls.contains_key(&call.id) {
                continue;
            }
            let last_known = records.seen.map_or(call.latest, |seen| seen.max(call.latest));
            if call.goes_missing(last_known, last_known) {
                self.changed.insert(call.id);
            }
            self.users.entry(call.user.clone()).or_insert_with(|| Arc::new(identity));
            self.calls.insert(call.id, call);
        }
    }

    /// What has changed since the last time.
    pub fn changes(&mut self) -> Changes {
        let mut changes = Changes::new();
        for id in std::mem::take(&mut self.changed) {
            let text = self.calls.get(&id).map(|call| {
                let identity = identity_of(self.users.get(&call.user));
                text(&CallRecord { call, identity, channels: self.evidence.channels_of(&call.user) })
            });
            changes.insert(RecordKey::Call(id), text);
        }
        if std::mem::take(&mut self.evidence.is_new) {
            let record =
                PbxRecord { pbx_id: self.origin.pbx_id.to_string(), reports_running: self.evidence.reports_running };
            changes.insert(RecordKey::Spot(PBX.to_owned()), Some(text(&record)));
        }
        changes.extend(self.names.changes().map(|(key, known)| (RecordKey::Spot(key), known.map(text))));
        changes
    }
}

fn identity_of(user: Option<&Arc<UserIdentity>>) -> Cow<'_, UserIdentity> {
    user.map_or_else(Cow::default, |user| Cow::Borrowed(user.as_ref()))
}

fn text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("a record is always JSON")
}
