//! Small files that outlive the process, and what the errors of a disk mean.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

/// Reads a small file, if there is one.
pub fn read(file: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a small file anew. It has the old content or the new one, also after a power cut.
pub fn replace(file: &Path, content: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut written = File::create(&new)?;
    written.write_all(content.as_bytes())?;
    written.sync_all()?;
    fs::rename(&new, file)
}

/// Whether the disk is full or read-only, so that the same write may succeed later.
pub fn refuses(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem)
}

/// Whether the configuration is wrong: the folder does not exist or may not be used.
pub fn is_wrong_place(error: &io::Error) -> bool {
    use ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | IsADirectory | PermissionDenied)
}
