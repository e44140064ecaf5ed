//! What a disk says when it takes nothing more.

use std::io::{self, ErrorKind};

/// Whether the disk refuses a write that it has taken before and may take again, whoever asks.
pub fn refuses(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem)
}

/// Whether it is the configuration that is wrong: the place is not there, or somebody else's.
pub fn is_wrong_place(error: &io::Error) -> bool {
    use ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | IsADirectory | PermissionDenied)
}
