//! What the errors of a disk mean.

use std::io::{self, ErrorKind};

/// Whether the disk is full or read-only, so that the same write may succeed later.
pub fn refuses(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem)
}

/// Whether the configuration is wrong: the folder does not exist or may not be used.
pub fn is_wrong_place(error: &io::Error) -> bool {
    use ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | IsADirectory | PermissionDenied)
}
