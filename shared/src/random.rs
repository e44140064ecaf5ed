//! Randomness as a value, so that a simulation that begins with the same seed goes the same way.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// Where a program takes its random bytes from. They make secrets, so in production it is never anything but the default.
#[derive(Clone)]
pub struct Random(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl Random {
    /// Takes bytes from this function, which fills what it is given.
    pub fn new(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    pub fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid()
    }

    /// Between 0 and 1.
    pub fn part(&self) -> f64 {
        f64::from(u32::from_le_bytes(self.bytes())) / f64::from(u32::MAX)
    }

    /// Between −1 and 1.
    pub fn jitter(&self) -> f64 {
        self.part() * 2.0 - 1.0
    }
}

impl Default for Random {
    /// The generator of the thread, which the system seeds.
    fn default() -> Self {
        Self::new(|bytes| rand::fill(bytes))
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lie_in_their_bounds() {
        let of = |byte: u8| Random::new(move |bytes| bytes.fill(byte));
        assert_eq!((of(0).part(), of(255).part()), (0.0, 1.0));
        assert_eq!((of(0).jitter(), of(255).jitter()), (-1.0, 1.0));
        assert_eq!(of(7).uuid().get_version_num(), 4);
        let random = Random::default();
        assert_ne!(random.uuid(), random.uuid());
        assert!((0..1_000).all(|_| (-1.0..=1.0).contains(&random.jitter())));
    }
}
