//! Read and write units, rounded as AWS rounds.

/// One read unit reads this much consistently.
const READ: usize = 4096;
/// One write unit writes this much.
const WRITE: usize = 1024;

/// For one item, or for all that a query has looked at. What is not there costs as much as the smallest item.
pub(super) fn read(bytes: usize, consistent: bool) -> f64 {
    let units = bytes.div_ceil(READ).max(1) as f64;
    if consistent { units } else { units / 2.0 }
}

/// For one write, which counts by the larger of the item before and after.
pub(super) fn write(before: usize, after: usize) -> f64 {
    before.max(after).div_ceil(WRITE).max(1) as f64
}

/// Each item of a transaction is written twice: prepared and committed.
pub(super) fn transactional(before: usize, after: usize) -> f64 {
    2.0 * write(before, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_rounded_up_per_item() {
        assert_eq!((read(0, true), read(0, false)), (1.0, 0.5));
        assert_eq!((read(4096, true), read(4097, true), read(4097, false)), (1.0, 2.0, 1.0));
        assert_eq!((write(0, 0), write(0, 1024), write(1025, 1)), (1.0, 1.0, 2.0));
        assert_eq!(transactional(10, 3000), 6.0);
    }
}
