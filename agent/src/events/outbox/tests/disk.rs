//! A disk in memory that tears, loses and refuses writes, lies about what it has synced, and loses its power.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

use crate::events::outbox::file::Medium;

/// What a disk writes at once, or not at all.
const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let end = offset + data.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset..end].copy_from_slice(data);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }

    /// What of it is on disk after the power was cut.
    fn torn(&self, dice: &mut Dice) -> Option<Self> {
        match (self, dice.roll(3)) {
            (_, 0) => None,
            (Self::Write(offset, data), 1) => {
                let sectors = dice.roll(1 + data.len().div_ceil(SECTOR) as u64) as usize;
                Some(Self::Write(*offset, data[..data.len().min(sectors * SECTOR)].to_vec()))
            }
            _ => Some(self.clone()),
        }
    }
}

/// Small numbers that are the same for the same seed.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

#[derive(Debug, Default)]
struct Bytes {
    synced: Vec<u8>,
    unsynced: Vec<Change>,
    seen: Vec<u8>,
}

#[derive(Debug)]
struct State {
    /// Each time the power comes back is another one; what was opened before is dead.
    boot: u64,
    lies: bool,
    /// How many writes there will be before it is full.
    room: Option<u64>,
    /// It gives nothing of what it has.
    dark: bool,
    /// How many writes there will be before the power is cut.
    power_for: Option<u64>,
    file: Arc<Mutex<Bytes>>,
    set_aside: usize,
}

/// The disk as one run of the agent sees it.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    state: Arc<Mutex<State>>,
    boot: u64,
}

impl Disk {
    pub(super) fn new(lies: bool) -> Self {
        let file = Arc::default();
        let state = State { boot: 0, lies, room: None, dark: false, power_for: None, file, set_aside: 0 };
        Self { state: Arc::new(Mutex::new(state)), boot: 0 }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    /// Cuts the power after so many writes.
    pub(super) fn cut_after(&self, writes: u64) {
        self.state().power_for = Some(writes);
    }

    pub(super) fn set_full(&self, full: bool) {
        self.state().room = full.then_some(0);
    }

    /// Lets it be full after so many writes, and not before.
    pub(super) fn set_room(&self, writes: Option<u64>) {
        self.state().room = writes;
    }

    pub(super) fn set_dark(&self, dark: bool) {
        self.state().dark = dark;
    }

    pub(super) fn length(&self) -> usize {
        self.state().file.lock().expect("no panic").seen.len()
    }

    /// Writes something else over every place where these bytes are.
    pub(super) fn overwrite(&self, old: &[u8], new: &[u8]) {
        let file = self.state().file.clone();
        let mut file = file.lock().expect("no panic");
        let places: Vec<usize> =
            (0..file.seen.len() - old.len()).filter(|at| file.seen[*at..].starts_with(old)).collect();
        assert!(!places.is_empty(), "the bytes are nowhere");
        for at in places {
            file.seen[at..at + new.len()].copy_from_slice(new);
        }
    }

    pub(super) fn set_aside_count(&self) -> usize {
        self.state().set_aside
    }

    /// Cuts the power, if it is still there, and returns the disk as it is when the power is back.
    pub(super) fn after_power_cut(&self, seed: u64) -> Self {
        let mut state = self.state();
        let mut dice = Dice(seed);
        {
            let mut file = state.file.lock().expect("no panic");
            let mut left = std::mem::take(&mut file.synced);
            for change in std::mem::take(&mut file.unsynced).iter().filter_map(|change| change.torn(&mut dice)) {
                change.apply(&mut left);
            }
            file.seen.clone_from(&left);
            file.synced = left;
        }
        self.next_boot(&mut state)
    }

    /// Ends the process that has it; what it has written is with the system and will be on disk.
    pub(super) fn after_kill(&self) -> Self {
        self.next_boot(&mut self.state())
    }

    fn next_boot(&self, state: &mut State) -> Self {
        state.power_for = None;
        state.boot += 1;
        Self { state: self.state.clone(), boot: state.boot }
    }

    /// Overwrites some of the file.
    pub(super) fn damage(&self, seed: u64, places: usize) {
        let file = self.state().file.clone();
        let mut file = file.lock().expect("no panic");
        let mut dice = Dice(seed);
        for _ in 0..places {
            let length = file.seen.len() as u64;
            let at = dice.roll(length.max(1)) as usize;
            if at < file.seen.len() {
                file.seen[at] ^= 1 + dice.roll(255) as u8;
            }
        }
        file.synced = file.seen.clone();
    }
}

impl Medium for Disk {
    type Backend = OpenFile;

    fn open(&self) -> Result<OpenFile, redb::Error> {
        let state = self.state();
        if state.boot != self.boot {
            return Err(gone().into());
        }
        Ok(OpenFile { disk: self.clone(), file: state.file.clone() })
    }

    fn look(&self) -> Result<Option<OpenFile>, redb::Error> {
        self.open().map(Some)
    }

    fn discard(&self) {
        let mut state = self.state();
        if state.boot == self.boot && state.power_for != Some(0) {
            state.file = Arc::default();
        }
    }

    fn set_aside(&self) -> io::Result<String> {
        let mut state = self.state();
        if state.boot != self.boot || state.power_for == Some(0) {
            return Err(gone());
        }
        state.file = Arc::default();
        state.set_aside += 1;
        Ok(format!("file {}", state.set_aside))
    }
}

#[derive(Debug)]
pub(super) struct OpenFile {
    disk: Disk,
    file: Arc<Mutex<Bytes>>,
}

fn gone() -> io::Error {
    io::Error::other("the power is off")
}

impl OpenFile {
    fn bytes(&self) -> io::Result<MutexGuard<'_, Bytes>> {
        let state = self.disk.state();
        if state.boot != self.disk.boot || state.power_for == Some(0) {
            return Err(gone());
        }
        if state.dark {
            return Err(io::Error::other("the disk does not answer"));
        }
        drop(state);
        Ok(self.file.lock().expect("no panic"))
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut bytes = self.bytes()?;
        let mut state = self.disk.state();
        match &mut state.room {
            Some(0) => return Err(io::ErrorKind::StorageFull.into()),
            Some(left) => *left -= 1,
            None => {}
        }
        if let Some(left) = &mut state.power_for {
            *left -= 1;
        }
        drop(state);
        change.apply(&mut bytes.seen);
        bytes.unsynced.push(change);
        Ok(())
    }
}

impl StorageBackend for OpenFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes()?.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let part = bytes.seen.get(offset..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(usize::try_from(len).map_err(io::Error::other)?))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut bytes = self.bytes()?;
        // Some find out only now that there is no room for what they have taken, and give it to those who read all the same.
        if self.disk.state().room == Some(0) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if !self.disk.state().lies {
            bytes.unsynced.clear();
            bytes.synced = bytes.seen.clone();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.change(Change::Write(offset, data.to_vec()))
    }
}
