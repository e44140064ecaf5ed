//! Writes the log items that the deliveries of a batch have at the same time in one request.
//!
//! Nobody waits for others: the first one lets those write along that have an item in the same turn of the scheduler. Where receivers
//! answer at once that makes two or three requests of ten.

use std::sync::{Arc, Mutex, PoisonError};

use shared::delivery::{Delivery, DeliveryLog};
use shared::tables::{LogItem, StateTable, TableError};
use tokio::sync::oneshot;
use tokio::task::yield_now;

/// Why an item was not written, told to each one whose item was in the request.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct LogError(Arc<TableError>);

impl From<TableError> for LogError {
    fn from(error: TableError) -> Self {
        Self(Arc::new(error))
    }
}

#[derive(Debug)]
pub(crate) struct Logbook {
    state: StateTable,
    next: Mutex<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    item: LogItem,
    written: oneshot::Sender<Result<(), LogError>>,
}

/// How an item is written.
enum Turn {
    /// With what joins it until the next turn.
    First(oneshot::Receiver<Result<(), LogError>>),
    Joined(oneshot::Receiver<Result<(), LogError>>),
    /// An item of the same delivery is in the request already, and a request takes only one.
    Alone(LogItem),
}

impl Logbook {
    pub(crate) fn new(state: StateTable) -> Self {
        Self { state, next: Mutex::default() }
    }

    pub(crate) async fn write(&self, delivery: &Delivery, log: &DeliveryLog) -> Result<(), LogError> {
        let written = match self.enter(self.state.log_item(&delivery.log_key(), log)?) {
            Turn::Alone(item) => return Ok(self.state.put_delivery_logs(vec![item]).await?),
            Turn::Joined(written) => written,
            Turn::First(written) => {
                yield_now().await;
                let entries = std::mem::take(&mut *self.next.lock().unwrap_or_else(PoisonError::into_inner));
                let (items, writers): (Vec<_>, Vec<_>) =
                    entries.into_iter().map(|entry| (entry.item, entry.written)).unzip();
                let result = self.state.put_delivery_logs(items).await.map_err(LogError::from);
                for writer in writers {
                    // One that was dropped needs no answer.
                    writer.send(result.clone()).ok();
                }
                written
            }
        };
        // The sender is gone if the one that writes was dropped, and with it the invocation.
        written.await.unwrap_or_else(|_| Err(TableError::Incomplete { verb: "store the delivery log" }.into()))
    }

    fn enter(&self, item: LogItem) -> Turn {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.iter().any(|entry| entry.item.is_of_same_delivery(&item)) {
            return Turn::Alone(item);
        }
        let (sender, written) = oneshot::channel();
        next.push(Entry { item, written: sender });
        if next.len() == 1 { Turn::First(written) } else { Turn::Joined(written) }
    }
}
