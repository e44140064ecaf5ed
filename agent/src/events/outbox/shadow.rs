//! A file that takes no writes, as something that does: what is written stays in memory and is gone with it.
//!
//! The database writes even when it is only to be read, above all when the last run ended in a crash. Over a shadow it can, on
//! a full disk as on a read-only one, and what is on disk stays what it was.
//!
//! Without it, a disk that refuses would keep everything on it from being read: a database that has failed to write has to be opened
//! anew. A full disk is the likeliest fault, and comes when something else fills it, also during an outage of the queue. The backlog would
//! then wait behind newer events, and each call would end up told out of order. Worse is a restart on such a disk: without the records of
//! the calls that run, an agent names them anew, so that receivers have calls that never end beside calls that never began.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// What is kept at once of the places that were written to.
const BLOCK: usize = 4096;

#[derive(Debug)]
pub(super) struct Shadow<B> {
    /// `None` where there is no file yet.
    file: Option<B>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    length: u64,
    /// How much of the file counts; it was cut off behind.
    of_file: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl<B: StorageBackend> Shadow<B> {
    /// It asks for none of the file's locks, because it does not touch it.
    pub(super) fn over(file: Option<B>) -> io::Result<Self> {
        let length = file.as_ref().map_or(Ok(0), StorageBackend::len)?;
        let kept = Kept { length, of_file: length, blocks: BTreeMap::new() };
        Ok(Self { file, kept: Mutex::new(kept) })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file alone has here, and zeros behind its end.
    fn read_file(&self, of_file: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = usize::try_from(of_file.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (there, behind) = out.split_at_mut(there);
        behind.fill(0);
        match &self.file {
            Some(file) if !there.is_empty() => file.read(offset, there),
            _ => Ok(()),
        }
    }
}

/// The blocks that this range touches: where each begins, and which part of it and of the range is the common one.
fn blocks(offset: u64, length: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = usize::try_from(at % BLOCK as u64).expect("smaller than a block");
        let part = (BLOCK - within).min(length - done);
        let common = (at - within as u64, within..within + part, done..done + part);
        done += part;
        (part > 0).then_some(common)
    })
}

impl<B: StorageBackend> StorageBackend for Shadow<B> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.kept().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let kept = self.kept();
        if offset + out.len() as u64 > kept.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_file(kept.of_file, offset, out)?;
        for (begin, of_block, of_range) in blocks(offset, out.len()) {
            if let Some(block) = kept.blocks.get(&begin) {
                out[of_range].copy_from_slice(&block[of_block]);
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut kept = self.kept();
        kept.blocks.split_off(&length);
        if let Some((begin, mut block)) = kept.blocks.pop_last() {
            let stays = usize::try_from(length - begin).unwrap_or(usize::MAX).min(BLOCK);
            block[stays..].fill(0);
            kept.blocks.insert(begin, block);
        }
        kept.length = length;
        kept.of_file = kept.of_file.min(length);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut kept = self.kept();
        let of_file = kept.of_file;
        for (begin, of_block, of_range) in blocks(offset, data.len()) {
            let mut block = match kept.blocks.remove(&begin) {
                Some(block) => block,
                None => {
                    let mut block = vec![0; BLOCK].into_boxed_slice();
                    self.read_file(of_file, begin, &mut block)?;
                    block
                }
            };
            block[of_block].copy_from_slice(&data[of_range]);
            kept.blocks.insert(begin, block);
        }
        kept.length = kept.length.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(usize, Vec<u8>),
        Length(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let bytes = prop::collection::vec(any::<u8>(), 0..2 * BLOCK + 10);
        prop_oneof![
            (0..3 * BLOCK, bytes).prop_map(|(at, bytes)| Step::Write(at, bytes)),
            (0..5 * BLOCK).prop_map(Step::Length),
        ]
    }

    fn all<B: StorageBackend>(file: &B) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(file.len().expect("a length")).expect("small")];
        file.read(0, &mut bytes).expect("it can be read");
        bytes
    }

    proptest! {
        #[test]
        fn shadow_is_a_file_of_its_own(
            begun in prop::collection::vec(any::<u8>(), 0..3 * BLOCK),
            steps in prop::collection::vec(step(), 0..8),
        ) {
            let file = InMemoryBackend::new();
            file.set_len(begun.len() as u64).expect("a length");
            file.write(0, &begun).expect("it is written");
            let shadow = Shadow::over(Some(file)).expect("a shadow");
            let mut model = begun.clone();
            for step in steps {
                match step {
                    Step::Write(at, bytes) => {
                        shadow.write(at as u64, &bytes).expect("it is kept");
                        model.resize(model.len().max(at + bytes.len()), 0);
                        model[at..at + bytes.len()].copy_from_slice(&bytes);
                    }
                    Step::Length(length) => {
                        shadow.set_len(length as u64).expect("it is kept");
                        model.resize(length, 0);
                    }
                }
                prop_assert_eq!(&all(&shadow), &model);
            }
            prop_assert_eq!(all(shadow.file.as_ref().expect("a file")), begun);
        }
    }
}
