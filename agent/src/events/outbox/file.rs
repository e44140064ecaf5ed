//! Where the outbox keeps its bytes: a file, or in tests a disk that misbehaves.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use redb::StorageBackend;
use redb::backends::FileBackend;

const NAME: &str = "outbox.redb";

pub(super) trait Medium: Debug + Send + 'static {
    type Backend: StorageBackend;

    /// Opens what is there, or something empty.
    fn open(&self) -> Result<Self::Backend, redb::Error>;

    /// What is there, to be read alone; `None` if nothing is.
    fn look(&self) -> Result<Option<Self::Backend>, redb::Error>;

    /// Removes what is there, as far as the disk lets it.
    fn discard(&self);

    /// Puts what is there out of the way, and returns where it is now.
    fn set_aside(&self) -> io::Result<String>;
}

#[derive(Debug)]
pub(super) struct DataFile {
    folder: PathBuf,
}

impl DataFile {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// A file whose name is not on disk is lost by a power cut, however well it was synced itself.
    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

impl Medium for DataFile {
    type Backend = FileBackend;

    fn open(&self) -> Result<FileBackend, redb::Error> {
        // It holds phone numbers, which are nobody else's business.
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(self.path())?;
        self.sync_names()?;
        Ok(FileBackend::new(file)?)
    }

    fn look(&self) -> Result<Option<FileBackend>, redb::Error> {
        match File::open(self.path()) {
            Ok(file) => Ok(Some(FileBackend::new(file)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn discard(&self) {
        let _ = fs::remove_file(self.path());
    }

    fn set_aside(&self) -> io::Result<String> {
        let now = Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ");
        let aside = self.folder.join(format!("{NAME}.damaged-{now}"));
        fs::rename(self.path(), &aside)?;
        self.sync_names()?;
        Ok(aside.display().to_string())
    }
}
