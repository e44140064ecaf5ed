//! Since when the agent has used its present access key, so that an alarm can ask for a new one.
//!
//! Only IAM knows when a key was made, and the right to ask it would belong to whoever steals the key, too. So the agent remembers since
//! when it has used the key. That is never longer than the age of the key.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_credential_types::Credentials;
use jiff::Timestamp;
use shared::clock::CloudClock;
use tracing::warn;

use crate::host::disk;

/// Beside the outbox.
const FILE: &str = "access-key-since";

/// The id of the access key that signs requests; none before the first request, and while the credentials are temporary.
/// Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct KeyInUse(Arc<Mutex<Option<Arc<str>>>>);

impl KeyInUse {
    /// From now on these sign requests. Those of a role or of instance metadata end by themselves and have no age.
    pub(crate) fn set(&self, credentials: &Credentials) {
        let is_temporary = credentials.session_token().is_some() || credentials.expiry().is_some();
        let id = (!is_temporary).then(|| Arc::from(credentials.access_key_id()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }

    fn get(&self) -> Option<Arc<str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is remembered of a key. The secret is no part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Remembered {
    id: Arc<str>,
    since: Timestamp,
    is_on_disk: bool,
}

impl Remembered {
    fn parse(text: &str) -> Option<Self> {
        let (id, since) = text.trim().split_once(' ')?;
        Some(Self { id: Arc::from(id), since: since.parse().ok()?, is_on_disk: true })
    }

    fn text(&self) -> String {
        format!("{} {}\n", self.id, self.since)
    }
}

/// Since when the agent has used its access key. Clones are the same.
#[derive(Clone, Debug)]
pub struct AccessKeyAge {
    in_use: KeyInUse,
    remembered: Arc<Mutex<Option<Remembered>>>,
    file: Arc<PathBuf>,
}

impl AccessKeyAge {
    /// Reads what an earlier run of the agent has kept in this folder.
    pub fn new(in_use: KeyInUse, folder: &Path) -> Self {
        let file = folder.join(FILE);
        let text = disk::read(&file).unwrap_or_else(|error| {
            warn!("The age of the access key counts from now on: {} cannot be read: {error}", file.display());
            None
        });
        let remembered = text.as_deref().and_then(Remembered::parse);
        if text.is_some() && remembered.is_none() {
            warn!("The age of the access key counts from now on: {} is damaged", file.display());
        }
        Self { in_use, remembered: Arc::new(Mutex::new(remembered)), file: Arc::new(file) }
    }

    /// None before AWS has accepted the key, and while the credentials are temporary.
    pub fn since(&self) -> Option<Timestamp> {
        let id = self.in_use.get()?;
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.as_ref().filter(|remembered| remembered.id == id).map(|remembered| remembered.since)
    }

    /// AWS has accepted a request. A key that is not the remembered one counts from now on. What a disk refuses to keep is tried again
    /// with the next request.
    pub(crate) fn accepted(&self, clock: &CloudClock) {
        let Some(id) = self.in_use.get() else { return };
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = remembered.as_ref().is_some_and(|remembered| remembered.id == id);
        if !is_known {
            // Without an answer of AWS this machine's own clock would count, and it may be years behind.
            if clock.machine_is_ahead_by().is_none() {
                return;
            }
            *remembered = Some(Remembered { id, since: clock.now(), is_on_disk: false });
        }
        let Some(remembered) = remembered.as_mut().filter(|remembered| !remembered.is_on_disk) else { return };
        match disk::replace(&self.file, &remembered.text()) {
            Ok(()) => remembered.is_on_disk = true,
            Err(error) if !is_known => {
                warn!("Since when the access key is used cannot be kept in {}: {error}", self.file.display());
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, UNIX_EPOCH};

    use shared::clock::{BootTime, Machine};

    use super::*;

    /// A machine without a battery: its wall clock begins in 1970.
    #[derive(Debug)]
    struct NoBattery;

    impl Machine for NoBattery {
        fn wall(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn boot(&self) -> BootTime {
            BootTime::after(Duration::ZERO)
        }
    }

    fn day(n: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + n * 86_400).expect("a time")
    }

    /// The clock of an agent that AWS has told this time.
    fn on(day_n: i64) -> CloudClock {
        let (clock, boot) = (CloudClock::on(Arc::new(NoBattery)), BootTime::after(Duration::ZERO));
        clock.learn(boot, boot, day(day_n));
        clock
    }

    fn long_lived(id: &str) -> Credentials {
        Credentials::new(id, "the-secret", None, None, "test")
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let folder = std::env::temp_dir().join(format!("easyconnect-access-key-{}", uuid::Uuid::new_v4()));
            fs::create_dir(&folder).expect("a folder");
            Self(folder)
        }

        /// A run of the agent that uses these credentials.
        fn run(&self, credentials: &Credentials) -> AccessKeyAge {
            let key = AccessKeyAge::new(KeyInUse::default(), &self.0);
            key.in_use.set(credentials);
            key
        }

        fn text(&self) -> Option<String> {
            fs::read_to_string(self.0.join(FILE)).ok()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// The day since which the key is used. AWS's answers are cut to whole seconds.
    fn days(key: &AccessKeyAge) -> Option<i64> {
        key.since().map(|since| (since.as_second() - day(0).as_second()) / 86_400)
    }

    #[test]
    fn age_outlives_the_process_and_begins_anew_with_another_key() {
        let folder = Folder::new();
        let first = folder.run(&long_lived("AKIAONE"));
        assert_eq!(days(&first), None, "AWS has accepted nothing yet");
        first.accepted(&on(1));
        first.accepted(&on(2));
        assert_eq!(days(&first), Some(1));

        let second = folder.run(&long_lived("AKIAONE"));
        assert_eq!(days(&second), Some(1));
        second.accepted(&on(50));
        assert_eq!(days(&second), Some(1));
        second.in_use.set(&long_lived("AKIATWO"));
        assert_eq!(days(&second), None);
        second.accepted(&on(60));
        assert_eq!(days(&second), Some(60));

        let third = folder.run(&long_lived("AKIATWO"));
        assert_eq!(days(&third), Some(60));
        let text = folder.text().expect("a file");
        assert!(text.starts_with("AKIATWO 20") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn temporary_credentials_have_no_age_and_leave_that_of_the_key_alone() {
        let folder = Folder::new();
        let key = folder.run(&long_lived("AKIAONE"));
        key.accepted(&on(1));
        let token = Credentials::new("ASIA", "s", Some("token".to_owned()), None, "test");
        let ends = Credentials::new("ASIA", "s", None, Some(UNIX_EPOCH + Duration::from_secs(4_000_000_000)), "test");
        for temporary in [token, ends] {
            key.in_use.set(&temporary);
            key.accepted(&on(2));
            assert_eq!(days(&key), None);
        }
        key.in_use.set(&long_lived("AKIAONE"));
        assert_eq!(days(&key), Some(1));
    }

    #[test]
    fn clock_that_knows_nothing_of_the_cloud_does_not_count() {
        let folder = Folder::new();
        let key = folder.run(&long_lived("AKIAONE"));
        key.accepted(&CloudClock::on(Arc::new(NoBattery)));
        assert_eq!((key.since(), folder.text()), (None, None));
        key.accepted(&on(3));
        assert_eq!(days(&key), Some(3));
    }

    #[test]
    fn disk_that_refuses_is_asked_again() {
        let folder = Folder::new();
        let key = folder.run(&long_lived("AKIAONE"));
        fs::remove_dir(&folder.0).expect("an empty folder");
        key.accepted(&on(1));
        assert_eq!(days(&key), Some(1), "it is known as long as the agent runs");
        fs::create_dir(&folder.0).expect("a folder");
        key.accepted(&on(2));
        assert_eq!(days(&folder.run(&long_lived("AKIAONE"))), Some(1));
    }

    #[test]
    fn damaged_file_begins_anew() {
        let folder = Folder::new();
        for text in ["", "AKIAONE", "AKIAONE yesterday", "\u{0}\u{0}"] {
            fs::write(folder.0.join(FILE), text).expect("a file");
            let key = folder.run(&long_lived("AKIAONE"));
            assert_eq!(days(&key), None, "{text:?}");
            key.accepted(&on(4));
            assert_eq!(days(&folder.run(&long_lived("AKIAONE"))), Some(4));
        }
    }
}
