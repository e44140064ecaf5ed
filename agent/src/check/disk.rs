//! The disk: whether the state folder can be written to, and has room for the events of an outage.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, CWD, Mode, OFlags, access, openat, statvfs};
use rustix::io::Errno;

use super::report::{CheckReport, OpenHop};
use super::rights::{self, SystemUser};
use crate::config::Config;

/// With less the agent could hardly start.
const LEAST: u64 = 64 << 20;

pub(super) fn check(config: &Config, user: Option<&SystemUser>, report: &mut CheckReport) {
    let hop = report.begin("disk");
    let folder = &config.agent.state_dir;
    if let Some(Ok(Some((detail, fix)))) = user.map(|user| rights::foreign(folder, user)) {
        return report.broken(hop, detail, fix);
    }
    let existing = nearest(folder);
    if let Err(error) = try_to_write(&existing) {
        let fix = format!(
            "create the folder of `agent.state_dir` and give it to the agent's user: install -d -m 0700 -o USER {}",
            folder.display()
        );
        return report.broken(hop, format!("{} cannot be written to: {error}", existing.display()), fix);
    }
    match statvfs(&existing) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            judge(free, config.agent.outbox_mib.bytes(), folder, report, hop);
        }
        Err(error) => report.warning(
            hop,
            format!("the free space is not known: {error}"),
            "look at the disk of `agent.state_dir`",
        ),
    }
}

/// `cap` is how much the events of an outage may take.
fn judge(free: u64, cap: u64, folder: &Path, report: &mut CheckReport, hop: OpenHop) {
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    let detail = format!("{} free at {}", mib(free), folder.display());
    let fix = "free space on that disk, or let `agent.state_dir` be on another one";
    if free < LEAST {
        report.broken(hop, format!("only {detail}"), fix);
    } else if free < cap {
        report.warning(hop, format!("{detail}, but the events of a long outage may take {}", mib(cap)), fix);
    } else {
        report.good(hop, detail);
    }
}

/// The folder, or where it would be created.
fn nearest(folder: &Path) -> PathBuf {
    let existing = folder.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok());
    existing.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// Writes a file without a name, which is gone when it is closed. Where the file system has none of these, its permissions
/// have to do.
fn try_to_write(folder: &Path) -> io::Result<()> {
    if !folder.is_dir() {
        return Err(Errno::NOTDIR.into());
    }
    match openat(CWD, folder, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR) {
        Ok(_) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_judged_by_where_it_would_be() {
        let folder = std::env::temp_dir().join(format!("easyconnect-disk-{}", uuid::Uuid::new_v4()));
        assert_eq!(nearest(&folder.join("a/b")), std::env::temp_dir());
        std::fs::create_dir(&folder).expect("a folder");
        assert_eq!(nearest(&folder), folder);
        try_to_write(&folder).expect("it can be written to");
        assert_eq!(std::fs::read_dir(&folder).expect("the folder").count(), 0, "nothing is left");
        let file = folder.join("file");
        std::fs::write(&file, "").expect("a file");
        assert!(try_to_write(&nearest(&file.join("a"))).is_err());
        std::fs::remove_dir_all(&folder).expect("the folder is removed");
    }

    #[test]
    fn space_is_measured_by_what_an_outage_takes() {
        let broken = |free| {
            let mut report = CheckReport::new(true);
            let hop = report.begin("disk");
            judge(free, 1 << 30, Path::new("/var"), &mut report, hop);
            report.is_broken()
        };
        assert!(broken(LEAST - 1) && !broken(LEAST) && !broken(1 << 30));
    }
}
