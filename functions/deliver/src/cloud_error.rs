//! What our own table and queue did not do.

use shared::queue::QueueError;
use shared::tables::TableError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CloudError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error("the queue did not take a delivery")]
    NotTaken,
}
