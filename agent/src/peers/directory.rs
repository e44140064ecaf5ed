//! Writes into the directory who is at home at this PBX: what has changed, and at the start what differs from what is written.
//!
//! Users are written one after the other, so that a PBX with hundreds of them takes no capacity from calls. Who is no longer listed is
//! struck out after a minute only, because a PBX that has just started may list its users late.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use shared::numbering::DialPrefixes;
use shared::random::Random;
use shared::tables::{DirectoryEntry, Exchange, TableError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::host::backoff::Backoff;

/// Changes come in bursts.
const GATHER: Duration = Duration::from_secs(1);
const STRIKE_OUT_AFTER: Duration = Duration::from_secs(60);

/// Who is at home at a PBX, by guid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeList {
    pub pbx_id: Arc<str>,
    pub users: BTreeMap<String, Arc<DirectoryEntry>>,
}

#[derive(Debug)]
pub struct DirectoryWriter {
    pub exchange: Exchange,
    pub random: Random,
    pub wanted: watch::Receiver<Option<Arc<HomeList>>>,
}

/// What is written, as far as this agent knows.
#[derive(Debug)]
struct Written {
    pbx_id: Arc<str>,
    /// Each is the one of the list of those at home where it is the same.
    users: HashMap<String, Arc<DirectoryEntry>>,
    /// Who is written and not listed, and since when.
    missing: HashMap<String, Instant>,
}

/// One user to be written or struck out.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Enter(Arc<DirectoryEntry>),
    StrikeOut(Arc<DirectoryEntry>),
}

impl DirectoryWriter {
    /// Writes until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.write()).await;
    }

    async fn write(&mut self) {
        let mut backoff = Backoff::new(self.random.clone());
        let mut written: Option<Written> = None;
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            let pause = match &wanted {
                None => None,
                Some(wanted) => match self.bring_up_to_date(&mut written, wanted).await {
                    Ok(()) => {
                        backoff.reset();
                        written.as_ref().is_some_and(|written| !written.missing.is_empty()).then_some(STRIKE_OUT_AFTER)
                    }
                    Err(error) => {
                        let pause = backoff.pause();
                        warn!(retry_in_ms = pause.as_millis(), "The directory is not up to date: {error}");
                        Some(pause)
                    }
                },
            };
            let again = async {
                match pause {
                    Some(pause) => sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.wanted.changed() => match changed {
                    Ok(()) => sleep(GATHER).await,
                    Err(_) => std::future::pending().await, // The controller has ended, and this ends with it.
                },
                () = again => {}
            }
        }
    }

    async fn bring_up_to_date(&self, written: &mut Option<Written>, wanted: &HomeList) -> Result<(), TableError> {
        let written = match written {
            Some(written) if written.pbx_id == wanted.pbx_id => written,
            _ => {
                let users = self.exchange.directory_of(&wanted.pbx_id).await?;
                written.insert(Written {
                    pbx_id: wanted.pbx_id.clone(),
                    users: users.into_iter().map(|user| (user.guid.clone(), Arc::new(user))).collect(),
                    missing: HashMap::new(),
                })
            }
        };
        let changes = written.changes(wanted, Instant::now());
        let count = changes.len();
        for change in changes {
            match change {
                Change::Enter(user) => {
                    self.exchange.enter(&user, written.users.get(&user.guid).map(AsRef::as_ref)).await?;
                    written.users.insert(user.guid.clone(), user);
                }
                Change::StrikeOut(user) => {
                    self.exchange.strike_out(&user).await?;
                    written.users.remove(&user.guid);
                    written.missing.remove(&user.guid);
                }
            }
        }
        if count > 0 {
            info!(changes = count, users = written.users.len(), "Directory written");
        }
        Ok(())
    }
}

impl Written {
    /// What has to be written now.
    fn changes(&mut self, wanted: &HomeList, now: Instant) -> Vec<Change> {
        self.missing.retain(|guid, _| !wanted.users.contains_key(guid));
        let mut changes = Vec::new();
        for (guid, user) in &wanted.users {
            let (mut user, known) = (user.clone(), self.users.get_mut(guid));
            // An agent whose monitor was refused knows no prefixes; another agent may have told them.
            if let Some(known) = &known
                && user.prefixes == DialPrefixes::default()
                && known.prefixes != user.prefixes
            {
                Arc::make_mut(&mut user).prefixes.clone_from(&known.prefixes);
            }
            match known {
                Some(known) if *known == user => *known = user,
                _ => changes.push(Change::Enter(user)),
            }
        }
        for (guid, user) in self.users.iter().filter(|(guid, _)| !wanted.users.contains_key(*guid)) {
            let since = *self.missing.entry(guid.clone()).or_insert(now);
            if now.duration_since(since) >= STRIKE_OUT_AFTER {
                changes.push(Change::StrikeOut(user.clone()));
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(guid: &str, extension: &str) -> DirectoryEntry {
        DirectoryEntry {
            guid: guid.to_owned(),
            pbx: "master".to_owned(),
            extension: extension.to_owned(),
            kind: "user".to_owned(),
            ..DirectoryEntry::default()
        }
    }

    fn list(users: &[DirectoryEntry]) -> HomeList {
        HomeList {
            pbx_id: "master".into(),
            users: users.iter().map(|user| (user.guid.clone(), Arc::new(user.clone()))).collect(),
        }
    }

    #[test]
    fn only_differences_are_written_and_nobody_is_struck_out_at_once() {
        let told = DialPrefixes { international: "000".to_owned(), ..DialPrefixes::default() };
        let known = DirectoryEntry { prefixes: told, ..user("g1", "42") };
        let users = [known, user("g2", "43"), user("g3", "44")].map(|user| (user.guid.clone(), Arc::new(user))).into();
        let mut written = Written { pbx_id: "master".into(), users, missing: HashMap::new() };
        let start = Instant::now();
        let moved = user("g2", "50");
        let wanted = list(&[user("g1", "42"), moved.clone()]);
        assert_eq!(
            written.changes(&wanted, start),
            [Change::Enter(Arc::new(moved.clone()))],
            "prefixes that are known stay"
        );
        written.users.insert("g2".to_owned(), Arc::new(moved));
        assert_eq!(written.changes(&wanted, start + STRIKE_OUT_AFTER / 2), []);
        // Listed again, it is not missing any more.
        written.changes(&list(&[user("g3", "44")]), start + STRIKE_OUT_AFTER / 2);
        assert_eq!(written.changes(&wanted, start + STRIKE_OUT_AFTER), []);
        assert_eq!(
            written.changes(&wanted, start + STRIKE_OUT_AFTER * 2),
            [Change::StrikeOut(Arc::new(user("g3", "44")))]
        );
    }
}
