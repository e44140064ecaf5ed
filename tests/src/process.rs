//! What a process takes of the machine, as the system counts it.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    pub fn own() -> Self {
        Self(std::process::id())
    }

    /// Bytes of memory that it has at this moment.
    pub fn memory(self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).expect("the process is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        let kibibytes = line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
        kibibytes * 1024
    }

    /// Time that it has spent computing so far.
    pub fn cpu_time(self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).expect("the process is there");
        // The name stands in parentheses and may hold anything; time in user and in kernel mode are the 12th and 13th behind it.
        let behind = stat.rsplit_once(')').expect("a name").1;
        let ticks = behind.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
        Duration::from_millis(ticks.sum::<u64>() * 1000 / rustix::param::clock_ticks_per_second())
    }
}

/// Memory over time, in the order in which it was measured.
#[derive(Clone, Debug, Default)]
pub struct Curve(Vec<u64>);

impl Curve {
    pub fn add(&mut self, bytes: u64) {
        self.0.push(bytes);
    }

    /// The medians of the first and of the last third.
    pub fn thirds(&self) -> (u64, u64) {
        let third = (self.0.len() / 3).max(1);
        let median = |part: &[u64]| {
            let mut part = part.to_vec();
            part.sort_unstable();
            part[part.len() / 2]
        };
        (median(&self.0[..third]), median(&self.0[self.0.len() - third..]))
    }
}

pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
