//! The two-party commands that this agent carries out, as its heartbeat lists them.
//!
//! Another agent that finds the list of a dead agent ends what its commands have begun. So a command is listed before its
//! first frame is sent, and removed only after its end is written.

use std::collections::BTreeSet;
use std::time::Duration;

use shared::ids::CommandId;
use tokio::sync::watch;
use tokio::time::timeout;

type Commands = BTreeSet<CommandId>;

#[derive(Clone, Debug, Default)]
pub struct RunningCommands {
    now: watch::Sender<Commands>,
    /// The list in the last heartbeat that was written.
    written: watch::Sender<Commands>,
}

/// A command in the list. Dropping this removes the command, unless it is kept for other agents.
#[derive(Debug)]
#[must_use]
pub struct ListedCommand {
    running: RunningCommands,
    id: CommandId,
    stays: bool,
}

impl RunningCommands {
    pub fn list(&self, id: CommandId) -> ListedCommand {
        self.now.send_modify(|commands| {
            commands.insert(id);
        });
        ListedCommand { running: self.clone(), id, stays: false }
    }

    /// The list, and every change of it.
    pub fn changes(&self) -> watch::Receiver<Commands> {
        self.now.subscribe()
    }

    /// Takes the list of each heartbeat that was written.
    pub fn heartbeats(&self) -> watch::Sender<Commands> {
        self.written.clone()
    }
}

impl ListedCommand {
    /// Waits until a heartbeat with this command is written. Returns false if none is within this time.
    pub async fn is_written(&self, within: Duration) -> bool {
        let mut written = self.running.written.subscribe();
        let listed = timeout(within, written.wait_for(|commands| commands.contains(&self.id))).await;
        matches!(listed, Ok(Ok(_)))
    }

    /// Leaves the command in the list, because what it has begun is not ended.
    pub fn keep(mut self) {
        self.stays = true;
    }
}

impl Drop for ListedCommand {
    fn drop(&mut self) {
        if !self.stays {
            self.running.now.send_modify(|commands| {
                commands.remove(&self.id);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    #[tokio::test]
    async fn command_is_listed_until_it_is_over_or_left_to_others() {
        let running = RunningCommands::default();
        let (ended, left) = (CommandId::random(), CommandId::random());
        let (over, open) = (running.list(ended), running.list(left));
        assert!(!over.is_written(SOON).await, "no heartbeat was written");
        running.heartbeats().send_replace(running.changes().borrow().clone());
        assert!(over.is_written(SOON).await && open.is_written(SOON).await);
        drop(over);
        open.keep();
        assert_eq!(*running.changes().borrow(), [left].into());
    }
}
