//! States are told apart by two hashes each, so that millions of them fit into memory.

use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::rc::Rc;

/// Two hashes; among some millions of states no two share both.
pub(super) type Fingerprint = (u64, u64);

/// Quick also in a build without optimisation, where these tests run.
struct Mixer(Fingerprint);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.write_u64(n as u64);
    }

    fn write_u64(&mut self, n: u64) {
        let (one, two) = self.0;
        let one = (one ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let two = (two ^ n).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
        self.0 = (one ^ (one >> 29), two ^ (two >> 31));
    }

    fn finish(&self) -> u64 {
        self.0.0
    }
}

pub(super) fn fingerprint<T: Hash>(value: &T) -> Fingerprint {
    let mut mixer = Mixer((0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344));
    value.hash(&mut mixer);
    mixer.0
}

/// A part of a state that many states share, with its fingerprint.
#[derive(Clone, Debug)]
pub(super) struct Part<T>(Rc<(Fingerprint, T)>);

impl<T: Hash> Part<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Rc::new((fingerprint(&value), value)))
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.0.0
    }
}

impl<T> Deref for Part<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.1
    }
}
