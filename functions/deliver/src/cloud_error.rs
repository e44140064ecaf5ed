//! What our own table and queue did not do.

use shared::queue::QueueError;
use shared::tables::TableError;

use crate::logbook::LogError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CloudError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the queue did not take a delivery")]
    NotTaken,
}
