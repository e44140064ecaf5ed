//! One line per figure: what, how much, its floor, its goal, and whether it was met this time.

use std::io::{Write, stdout};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Report {
    missed: usize,
}

impl Report {
    pub(crate) fn begin() -> Self {
        say(&format!("{:<46} {:>16} {:>16}   goal", "figure", "measured", "floor"));
        Self { missed: 0 }
    }

    pub(crate) fn line(&mut self, figure: &str, measured: &str, floor: &str, goal: &str, met: bool) {
        self.missed += usize::from(!met);
        let mark = if met { "met" } else { "missed" };
        say(&format!("{figure:<46} {measured:>16} {floor:>16}   {goal}: {mark}"));
    }

    /// A figure that nobody set a goal for.
    pub(crate) fn plain(&self, figure: &str, measured: &str) {
        say(&format!("{figure:<46} {measured:>16}"));
    }

    pub(crate) fn note(&self, text: &str) {
        say(&format!("  {text}"));
    }

    pub(crate) fn end(&self) {
        say(&format!("{} goals missed", self.missed));
    }
}

fn say(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}

pub(crate) fn median<T: Ord + Copy>(values: &mut [T]) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

/// What this share of the values, given as a percentage, does not exceed. The values are sorted.
pub(crate) fn percentile<T: Copy>(sorted: &[T], share: usize) -> T {
    sorted[(sorted.len() * share).div_ceil(100).max(1) - 1]
}

pub(crate) fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}
