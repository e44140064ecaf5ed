//! Which PBX this is: the `pbx.id` of the configuration, else the one on disk, else the one that all visible users share.
//!
//! Ids of calls are made from it, so it must stay what it is for as long as the agent is at this PBX. Taking the one that most users
//! name was rejected: at a branch that sees more users of the master than of its own it would be wrong, and nobody would notice.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use crate::host::disk;

/// Beside the outbox.
const FILE: &str = "pbx-id";

/// What is known of the PBX's id.
#[derive(Debug)]
pub struct PbxIdentity {
    configured: Option<Arc<str>>,
    stored: Option<Arc<str>>,
    file: Option<PathBuf>,
}

/// What the visible users make of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    Known {
        id: Arc<str>,
        /// The name by which users say that they are at home here. None: all of them count as such.
        home: Option<String>,
        /// What an administrator should know about it.
        warning: Option<String>,
    },
    /// No user is visible, and so nothing is known.
    NobodyYet,
    /// It cannot be told.
    Undecided,
}

impl PbxIdentity {
    /// Reads what an earlier run of the agent has kept in this folder.
    pub fn new(configured: Option<&str>, folder: &Path) -> Self {
        let file = folder.join(FILE);
        let text = disk::read(&file).unwrap_or_else(|error| {
            warn!("The id of the PBX cannot be read from {}: {error}", file.display());
            None
        });
        let stored = text.as_deref().map(str::trim).filter(|id| !id.is_empty()).map(Arc::from);
        Self { configured: configured.map(Arc::from), stored, file: Some(file) }
    }

    /// The id, as far as it is known without the PBX.
    pub fn known(&self) -> Option<&str> {
        self.configured.as_deref().or(self.stored.as_deref())
    }

    /// `names` are those that the visible users give, without copies.
    pub fn decide(&self, names: &[&str], is_anybody_visible: bool) -> Decision {
        let several = || names.join(", ");
        let Some(id) = self.configured.as_ref().or(self.stored.as_ref()) else {
            return match names {
                [name] => Decision::Known { id: Arc::from(*name), home: Some((*name).to_owned()), warning: None },
                [] if !is_anybody_visible => Decision::NobodyYet,
                _ => Decision::Undecided,
            };
        };
        let is_named = names.contains(&&**id);
        let warning = match names {
            [_, _, ..] if is_named => Some(format!(
                "The visible users are at home at several PBXs ({}); this agent monitors those of {id}",
                several()
            )),
            [_, _, ..] => Some(format!(
                "The visible users are at home at several PBXs ({}), and none is called {id}, as this one is here. All are monitored; \
                 set `pbx.id` to the name of this one to leave the others out",
                several()
            )),
            [name] if !is_named && self.configured.is_none() => Some(format!(
                "The visible users name the PBX {name}, but the agent has known it as {id}, and goes on with that. If it is another \
                 PBX, set `pbx.id`"
            )),
            _ => None,
        };
        Decision::Known { id: id.clone(), home: is_named.then(|| id.to_string()), warning }
    }

    /// Keeps the id for the next start. A disk that refuses does not keep the agent from its work.
    pub fn keep(&mut self, id: &Arc<str>) {
        if self.stored.as_ref() == Some(id) {
            return;
        }
        self.stored = Some(id.clone());
        let Some(file) = &self.file else { return };
        if let Err(error) = disk::replace(file, id) {
            warn!("The id of the PBX cannot be kept in {}: {error}", file.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn identity(configured: Option<&str>, stored: Option<&str>) -> PbxIdentity {
        PbxIdentity { configured: configured.map(Arc::from), stored: stored.map(Arc::from), file: None }
    }

    fn check(identity: &PbxIdentity, names: &[&str], expected: (&str, Option<&str>, bool)) {
        match identity.decide(names, true) {
            Decision::Known { id, home, warning } => {
                assert_eq!((&*id, home.as_deref(), warning.is_some()), expected, "{warning:?}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn configuration_comes_before_disk_and_disk_before_users() {
        check(&identity(None, None), &["master"], ("master", Some("master"), false));
        check(&identity(None, Some("master")), &[], ("master", None, false));
        check(&identity(None, Some("master")), &["branch", "master"], ("master", Some("master"), true));
        check(&identity(None, Some("old")), &["master"], ("old", None, true));
        check(&identity(Some("hq"), Some("master")), &["master"], ("hq", None, false));
        check(&identity(Some("hq"), None), &["branch", "master"], ("hq", None, true));
        check(&identity(Some("branch"), None), &["branch", "master"], ("branch", Some("branch"), true));
    }

    #[test]
    fn nobody_is_waited_for_and_several_cannot_be_told_apart() {
        let unknown = identity(None, None);
        assert_eq!(unknown.decide(&[], false), Decision::NobodyYet);
        assert_eq!(unknown.decide(&[], true), Decision::Undecided);
        assert_eq!(unknown.decide(&["a", "b"], true), Decision::Undecided);
    }

    #[test]
    fn id_outlives_the_process() {
        let folder = std::env::temp_dir().join(format!("easyconnect-pbx-id-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&folder).expect("a folder");
        let mut first = PbxIdentity::new(None, &folder);
        assert_eq!(first.decide(&[], false), Decision::NobodyYet);
        first.keep(&Arc::from("master"));
        check(&PbxIdentity::new(None, &folder), &["branch", "master"], ("master", Some("master"), true));
        fs::remove_dir_all(&folder).expect("the folder is removed");
    }
}
