//! Whether the agent's own user may do what root may: root, who runs a check, can open every file.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::Config;

/// The user of the packaged service, and its folder, below which those of its instances lie.
const SERVICE_USER: &str = "easyconnect-agent";
const SERVICE_FOLDER: &str = "/var/lib/easyconnect-agent";
/// What lies there, systemd has made readable for its service.
const CREDENTIALS: &str = "/run/credentials";

const READ: u32 = 0o4;
const SEARCH: u32 = 0o1;

/// Whom the agent runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SystemUser {
    pub(super) name: String,
    pub(super) uid: u32,
    groups: BTreeSet<u32>,
}

impl SystemUser {
    /// For root: the user of the packaged service or, with a state folder elsewhere, the owner of that folder. Nobody if there
    /// is no such user, and for everybody else, who sees for himself what he may do.
    pub(super) fn of(config: &Config) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let users = fs::read_to_string("/etc/passwd").ok()?;
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        let folder = &config.agent.state_dir;
        if folder.starts_with(SERVICE_FOLDER) {
            return Self::find(&users, &groups, |name, _| name == SERVICE_USER);
        }
        let owner = fs::metadata(folder).ok()?.uid();
        Self::find(&users, &groups, |_, uid| uid == owner && uid != 0)
    }

    /// Looks into the texts of `/etc/passwd` and `/etc/group`.
    fn find(users: &str, groups: &str, wanted: impl Fn(&str, u32) -> bool) -> Option<Self> {
        let mut users = users.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, uid, gid) = (fields.next()?, fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            Some((name, uid, gid))
        });
        let (name, uid, gid) = users.find(|(name, uid, _)| wanted(name, *uid))?;
        let others = groups.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (gid, members) = (fields.nth(2)?.parse().ok()?, fields.next()?);
            members.split(',').any(|member| member == name).then_some(gid)
        });
        Some(Self { name: name.to_owned(), uid, groups: others.chain([gid]).collect() })
    }

    /// Says what this user lacks to read a file, and what mends it.
    pub(super) fn lacks(&self, file: &Path) -> io::Result<Option<(String, String)>> {
        let file = file.canonicalize()?;
        if file.starts_with(CREDENTIALS) {
            return Ok(None);
        }
        for folder in file.ancestors().skip(1) {
            if !self.may(SEARCH, &fs::metadata(folder)?) {
                let detail =
                    format!("{} lies in {}, which {} may not enter", file.display(), folder.display(), self.name);
                return Ok(Some((
                    detail,
                    "put the file into a folder that it may enter: /etc/easyconnect-agent".to_owned(),
                )));
            }
        }
        if self.may(READ, &fs::metadata(&file)?) {
            return Ok(None);
        }
        let detail = format!("{} may not read {}", self.name, file.display());
        Ok(Some((detail, format!("chgrp {0} {1} && chmod g+r {1}", self.name, file.display()))))
    }

    /// Like the kernel: only the first of owner, group and others that fits counts.
    fn may(&self, right: u32, file: &Metadata) -> bool {
        let shift = match () {
            () if file.uid() == self.uid => 6,
            () if self.groups.contains(&file.gid()) => 3,
            () => 0,
        };
        file.mode() >> shift & right == right
    }
}

/// Says which file the agent's user does not own though it has to, and what mends it. `None` if there is no such folder yet.
pub(super) fn foreign(folder: &Path, user: &SystemUser) -> io::Result<Option<(String, String)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut paths = vec![folder.to_owned()];
    for entry in entries {
        paths.push(entry?.path());
    }
    for path in paths {
        let owner = match path.symlink_metadata() {
            Ok(file) => file.uid(),
            // A running agent removes files.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if owner != user.uid {
            let owner = if owner == 0 { "root".to_owned() } else { format!("user {owner}") };
            let detail = format!("{} belongs to {owner}, not to {}", path.display(), user.name);
            return Ok(Some((detail, format!("chown -R {}: {}", user.name, folder.display()))));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/bash\nbroken\neasyconnect-agent:x:990:991::/:/usr/sbin/nologin\n";
    const GROUPS: &str = "root:x:0:\ntss:x:111:tss,easyconnect-agent\neasyconnect-agent:x:991:\nshadow:x:42:tss\n";

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let folder = std::env::temp_dir().join(format!("easyconnect-rights-{}", uuid::Uuid::new_v4()));
            fs::create_dir(&folder).expect("a folder");
            Self(folder)
        }

        fn with(&self, name: &str, mode: u32) -> PathBuf {
            let file = self.0.join(name);
            fs::write(&file, "").expect("a file");
            fs::set_permissions(&file, Permissions::from_mode(mode)).expect("its mode");
            file
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// The user of this test, or one who is in no group of its files.
    fn user(stranger: bool) -> SystemUser {
        let own = Folder::new();
        let file = fs::metadata(&own.0).expect("the folder");
        let (uid, gid) = if stranger { (file.uid() + 1, file.gid() + 1) } else { (file.uid(), file.gid()) };
        SystemUser { name: "agent".to_owned(), uid, groups: [gid].into() }
    }

    #[test]
    fn users_are_found_with_their_groups() {
        let found = SystemUser::find(USERS, GROUPS, |name, _| name == SERVICE_USER).expect("a user");
        assert_eq!(found, SystemUser { name: SERVICE_USER.to_owned(), uid: 990, groups: [111, 991].into() });
        assert_eq!(SystemUser::find(USERS, GROUPS, |_, uid| uid == 990), Some(found));
        assert_eq!(SystemUser::find(USERS, GROUPS, |_, uid| uid == 7), None);
    }

    #[test]
    fn a_file_may_be_for_others_only() {
        let folder = Folder::new();
        fs::set_permissions(&folder.0, Permissions::from_mode(0o755)).expect("its mode");
        let lacks =
            |user: &SystemUser, file: &Path| user.lacks(file).expect("it is there").map(|(detail, fix)| detail + &fix);
        let (private, public, odd) = (folder.with("a", 0o600), folder.with("b", 0o644), folder.with("c", 0o044));
        let (owner, stranger) = (user(false), user(true));
        assert_eq!((lacks(&owner, &private), lacks(&owner, &public), lacks(&stranger, &public)), (None, None, None));
        let said = lacks(&stranger, &private).expect("it is the owner's");
        assert!(said.contains("agent may not read") && said.contains("chgrp agent"), "{said}");
        assert!(lacks(&owner, &odd).is_some() && lacks(&stranger, &odd).is_none(), "only the first that fits counts");
        fs::set_permissions(&folder.0, Permissions::from_mode(0o700)).expect("its mode");
        let said = lacks(&stranger, &public).expect("its folder is the owner's");
        assert!(said.contains("may not enter"), "{said}");
    }

    #[test]
    fn everything_in_the_state_folder_is_the_agents() {
        let folder = Folder::new();
        folder.with("outbox.redb", 0o600);
        assert_eq!(foreign(&folder.0, &user(false)).expect("a folder"), None);
        let (detail, fix) = foreign(&folder.0, &user(true)).expect("a folder").expect("it is another user's");
        assert!(detail.contains("not to agent") && fix.starts_with("chown -R agent: "), "{detail}; {fix}");
        assert_eq!(foreign(&folder.0.join("none"), &user(true)).expect("nothing to see"), None);
    }
}
