//! How far a two-party command has come, kept in its item: at once when it changes, and regularly to show that the agent is alive.

use std::time::Duration;

use shared::command::{Dial, Stage};
use shared::ids::CommandId;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::context::TwoPartyCommands;
use crate::host::backoff::Backoff;

/// Well within the time after which a silent command reads as `unknown`.
const WRITE_EVERY: Duration = Duration::from_secs(20);
/// The end of a command does not wait longer for its record than this.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
struct RecordedState {
    number: u64,
    dials: Vec<Dial>,
    stage: Stage,
}

#[derive(Debug)]
pub struct ProgressRecord {
    latest: watch::Sender<RecordedState>,
    /// The number of the latest state that was written.
    written: watch::Receiver<u64>,
    taken_over: CancellationToken,
    _writer: AbortOnDropHandle<()>,
}

impl ProgressRecord {
    /// Keeps the record of a command that is at this stage, as its item says already.
    pub fn keep(commands: &TwoPartyCommands, id: CommandId, token: &str, dials: Vec<Dial>, stage: Stage) -> Self {
        let latest = watch::Sender::new(RecordedState { number: 0, dials, stage });
        let (wrote, written) = watch::channel(0);
        let taken_over = CancellationToken::new();
        let (exchange, clock, token) = (commands.exchange.clone(), commands.clock.clone(), token.to_owned());
        let mut backoff = Backoff::new(commands.random.clone());
        let (mut progress, lost) = (latest.subscribe(), taken_over.clone());
        let writer = tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    changed = progress.changed() => if changed.is_err() { return },
                    () = sleep(WRITE_EVERY) => {}
                }
                let RecordedState { number, dials, stage } = progress.borrow_and_update().clone();
                match exchange.progress(id, &token, &dials, stage, clock.now()).await {
                    Ok(true) => {
                        backoff.reset();
                        wrote.send_replace(number);
                    }
                    Ok(false) => return lost.cancel(),
                    Err(error) => {
                        warn!(command.id = %id, "The record of a long command lags behind: {error}");
                        sleep(backoff.pause()).await;
                        progress.mark_changed();
                    }
                }
            }
        });
        Self { latest, written, taken_over, _writer: AbortOnDropHandle::new(writer) }
    }

    pub fn set(&self, dials: &[Dial], stage: Stage) {
        self.latest.send_if_modified(|latest| {
            let is_new = latest.dials != dials || latest.stage != stage;
            if is_new {
                *latest = RecordedState { number: latest.number + 1, dials: dials.to_vec(), stage };
            }
            is_new
        });
    }

    /// Waits until the latest state is written, for a while.
    pub async fn is_written(&self) {
        let number = self.latest.borrow().number;
        let mut written = self.written.clone();
        let _ = timeout(WRITTEN_WITHIN, written.wait_for(|written| *written >= number)).await;
    }

    /// Returns when the command is no longer this agent's.
    pub async fn taken_over(&self) {
        self.taken_over.cancelled().await;
    }
}
