//! The Unix socket through which an administrator asks the running agent.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tokio::net::{UnixListener, UnixStream};
use tracing::error;

use crate::host::disk;

const NAME: &str = "agent.sock";

pub(super) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(NAME)
}

/// Opens the socket for the agent's own user. A socket that nobody answers is what a crashed agent has left. A disk that takes
/// nothing more is no reason for the agent not to start; it goes without then.
pub(super) async fn listen(state_dir: &Path) -> anyhow::Result<Option<UnixListener>> {
    let path = path(state_dir);
    if UnixStream::connect(&path).await.is_ok() {
        bail!(
            "`agent.state_dir`: another agent is running with {}; give each agent a folder of its own",
            state_dir.display()
        );
    }
    // It gets its name only once nobody else can open it.
    let draft = state_dir.join(format!("{NAME}.{}", std::process::id()));
    let _ = std::fs::remove_file(&draft);
    let open = || -> io::Result<UnixListener> {
        let listener = UnixListener::bind(&draft)?;
        std::fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
        std::fs::rename(&draft, &path)?;
        Ok(listener)
    };
    match open() {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if disk::refuses(&error) => {
            error!("The agent cannot be asked through {}: {error}", path.display());
            Ok(None)
        }
        Err(error) => {
            Err(error).with_context(|| format!("`agent.state_dir`: cannot open the socket {}", path.display()))
        }
    }
}

pub(super) fn remove(state_dir: &Path) {
    let _ = std::fs::remove_file(path(state_dir));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn socket_is_private_and_there_is_one_agent_per_folder() {
        let folder = std::env::temp_dir().join(format!("easyconnect-socket-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).expect("a folder");
        let first = listen(&folder).await.expect("no error").expect("a socket");
        let mode = std::fs::metadata(path(&folder)).expect("the socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = listen(&folder).await.expect_err("the folder is taken");
        assert!(format!("{second:#}").contains("another agent"), "{second:#}");
        drop(first);
        listen(&folder).await.expect("what a crashed agent left is no obstacle");
        std::fs::remove_dir_all(&folder).expect("the folder is removed");
    }
}
