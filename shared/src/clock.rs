//! The cloud's clock, learnt from the `Date` header of AWS answers.
//!
//! A comms-room clock may be minutes off, and two agents must stamp the same event alike. Each answer bounds the offset
//! between the cloud and this machine's boot-time clock: `Date` was true at some moment between sending and receiving, up
//! to a second early because it is cut to whole seconds. The bounds of many answers leave a narrow range; its middle is
//! the estimate. The boot-time clock runs on through suspend and is never set, so a corrected wall clock changes nothing.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// How far a quartz may drift, generously; the bounds widen by it between answers.
const DRIFT_PPM: i128 = 200;
const SECOND: i128 = 1_000_000_000;

/// Time since boot, suspend included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(Duration);

impl BootTime {
    /// A machine that has been up for this long.
    pub const fn after(uptime: Duration) -> Self {
        Self(uptime)
    }

    /// This machine's.
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::Boottime);
        Self(Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0)))
    }

    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    fn nanos(self) -> i128 {
        i128::try_from(self.0.as_nanos()).unwrap_or(i128::MAX)
    }
}

/// The clocks of the machine that a program runs on. A simulation has machines of its own, all on one paused time.
pub trait Machine: fmt::Debug + Send + Sync {
    /// The wall clock, which may be wrong, and which somebody may set.
    fn wall(&self) -> Timestamp;

    fn boot(&self) -> BootTime;
}

/// The real one.
#[derive(Clone, Copy, Debug)]
pub struct ThisMachine;

impl Machine for ThisMachine {
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn boot(&self) -> BootTime {
        BootTime::now()
    }
}

/// Bounds on (cloud time − boot time) in nanoseconds, as true at `as_of`.
#[derive(Clone, Copy, Debug)]
struct OffsetBounds {
    low: i128,
    high: i128,
    as_of: i128,
}

impl OffsetBounds {
    fn widened(self, now: i128) -> Self {
        let drift = (now - self.as_of).max(0) * DRIFT_PPM / 1_000_000;
        Self { low: self.low - drift, high: self.high + drift, as_of: now }
    }

    fn middle(self) -> i128 {
        self.low + (self.high - self.low) / 2
    }
}

/// Shared by all AWS clients of a process, which teach it, and by whoever stamps a time.
#[derive(Clone)]
pub struct CloudClock {
    machine: Arc<dyn Machine>,
    bounds: Arc<Mutex<Option<OffsetBounds>>>,
}

impl CloudClock {
    pub fn new() -> Self {
        Self::on(Arc::new(ThisMachine))
    }

    pub fn on(machine: Arc<dyn Machine>) -> Self {
        Self { machine, bounds: Arc::default() }
    }

    pub fn now(&self) -> Timestamp {
        self.at(self.boot())
    }

    /// What the machine's own wall clock says, for who runs in the cloud and can rely on it.
    pub fn wall(&self) -> Timestamp {
        self.machine.wall()
    }

    pub fn boot(&self) -> BootTime {
        self.machine.boot()
    }

    /// The cloud's time at a moment of this machine. A machine's own clock that does not contradict the answers is finer
    /// than they are; else the middle of what they allow has to do. Until the first answer the own clock has to do, as it is now: a
    /// machine without a battery finds the time only after its start.
    pub fn at(&self, boot: BootTime) -> Timestamp {
        let now = self.machine.boot().nanos();
        let own = self.machine.wall().as_nanosecond() - now;
        let own_clock_fits = |bounds: &OffsetBounds| {
            let bounds = bounds.widened(now);
            (bounds.low..=bounds.high).contains(&own)
        };
        let offset = self.bounds().filter(|bounds| !own_clock_fits(bounds)).map_or(own, OffsetBounds::middle);
        Timestamp::from_nanosecond(boot.nanos() + offset).unwrap_or(Timestamp::MAX)
    }

    /// The latest time that the cloud's clock may have shown at a moment of this machine; none before the first answer.
    pub fn latest_at(&self, boot: BootTime) -> Option<Timestamp> {
        let bounds = self.bounds()?.widened(boot.nanos());
        Timestamp::from_nanosecond(boot.nanos() + bounds.high).ok()
    }

    /// How far this machine's own clock is ahead of the cloud's (negative: behind), as far as that is certain; none before
    /// the first answer.
    pub fn machine_is_ahead_by(&self) -> Option<SignedDuration> {
        self.ahead_by(self.wall(), self.boot())
    }

    fn ahead_by(&self, wall: Timestamp, boot: BootTime) -> Option<SignedDuration> {
        let bounds = self.bounds()?.widened(boot.nanos());
        let own = wall.as_nanosecond() - boot.nanos();
        let nanos = own - own.clamp(bounds.low, bounds.high);
        Some(SignedDuration::from_nanos_i128(nanos))
    }

    /// Learns from an answer whose `Date` header said `date`.
    pub fn learn(&self, sent: BootTime, received: BootTime, date: Timestamp) {
        let date = date.as_nanosecond();
        let (low, high) = (date - received.nanos(), date + SECOND - sent.nanos());
        let mut bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        let known = bounds.map(|bounds| bounds.widened(received.nanos()));
        *bounds = Some(match known {
            Some(known) if known.low.max(low) < known.high.min(high) => {
                OffsetBounds { low: known.low.max(low), high: known.high.min(high), as_of: received.nanos() }
            }
            // The answers contradict each other, so one side's clock was set: begin anew.
            _ => OffsetBounds { low, high, as_of: received.nanos() },
        });
    }

    fn bounds(&self) -> Option<OffsetBounds> {
        *self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for CloudClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CloudClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloudClock({})", self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(millis: u64) -> BootTime {
        BootTime(Duration::from_millis(millis))
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).expect("a time")
    }

    /// A machine whose clocks stand still.
    #[derive(Debug)]
    struct Still(Timestamp, BootTime);

    impl Machine for Still {
        fn wall(&self) -> Timestamp {
            self.0
        }

        fn boot(&self) -> BootTime {
            self.1
        }
    }

    fn starting_at(wall: Timestamp, boot: BootTime) -> CloudClock {
        CloudClock::on(Arc::new(Still(wall, boot)))
    }

    fn off_by(clock: &CloudClock, boot_millis: u64, truth: i64) -> i64 {
        (clock.at(boot(boot_millis)).as_millisecond() - truth).abs()
    }

    /// The cloud is at 1,000,000 ms when this machine has run for 0 ms, and cuts `Date` to whole seconds.
    fn answer(clock: &CloudClock, sent: u64, received: u64) {
        let truth = 1_000_000 + i64::try_from(u64::midpoint(sent, received)).expect("small");
        clock.learn(boot(sent), boot(received), at(truth / 1000 * 1000));
    }

    #[test]
    fn many_answers_narrow_the_bounds() {
        let clock = starting_at(at(1_090_000), boot(0)); // This machine's clock is 90 s ahead.
        assert_eq!(off_by(&clock, 0, 1_000_000), 90_000);
        answer(&clock, 100, 120);
        assert!(off_by(&clock, 120, 1_000_120) <= 510);
        for n in 1..40 {
            answer(&clock, n * 270, n * 270 + 20);
        }
        assert!(off_by(&clock, 11_000, 1_011_000) <= 30);
    }

    #[test]
    fn a_long_poll_teaches_little_but_never_wrong() {
        let clock = starting_at(at(0), boot(0));
        for n in 1..40 {
            answer(&clock, n * 270, n * 270 + 20);
        }
        clock.learn(boot(11_000), boot(31_000), at(1_031_000));
        assert!(off_by(&clock, 31_000, 1_031_000) <= 40);
    }

    #[test]
    fn a_clock_that_is_right_is_believed() {
        let clock = starting_at(at(1_000_003), boot(0));
        answer(&clock, 100, 120);
        assert_eq!(off_by(&clock, 120, 1_000_120), 3);
    }

    /// A machine whose wall clock somebody sets.
    #[derive(Debug)]
    struct Adjusted(Mutex<Timestamp>);

    impl Machine for Adjusted {
        fn wall(&self) -> Timestamp {
            *self.0.lock().expect("no panic")
        }

        fn boot(&self) -> BootTime {
            boot(0)
        }
    }

    #[test]
    fn clock_that_is_set_counts_as_it_is_now_and_never_against_the_answers() {
        let machine = Arc::new(Adjusted(Mutex::new(at(0))));
        let clock = CloudClock::on(machine.clone());
        let set = |to: i64| *machine.0.lock().expect("no panic") = at(to);
        set(1_000_003);
        assert_eq!(off_by(&clock, 120, 1_000_120), 3, "a time server was found before the first answer");
        answer(&clock, 100, 120);
        for wrong in [1_000_000 - 21_600_000, 1_000_000 + 21_600_000] {
            set(wrong);
            assert!(off_by(&clock, 120, 1_000_120) <= 510);
        }
        set(1_000_003);
        assert_eq!(off_by(&clock, 120, 1_000_120), 3);
    }

    #[test]
    fn latest_time_is_never_early() {
        let clock = starting_at(at(0), boot(0));
        assert_eq!(clock.latest_at(boot(0)), None);
        for (sent, received) in [(900, 1_990), (2_930, 3_010), (4_400, 4_950)] {
            clock.learn(
                boot(sent),
                boot(received),
                at((1_000_000 + i64::try_from(received).expect("small")) / 1000 * 1000),
            );
            let latest = clock.latest_at(boot(sent)).expect("an answer was heard");
            let truth = 1_000_000 + i64::try_from(sent).expect("small");
            assert!((truth..=truth + 2_100).contains(&latest.as_millisecond()), "{latest} for {truth}");
        }
    }

    #[test]
    fn the_own_clock_is_judged_by_the_answers() {
        let clock = starting_at(at(1_000_000), boot(0));
        assert_eq!(clock.ahead_by(at(1_000_000), boot(0)), None);
        answer(&clock, 100, 120);
        assert_eq!(clock.ahead_by(at(1_000_120), boot(120)), Some(SignedDuration::ZERO));
        // It was set after the start of the process.
        for (wall, off) in [(1_600_120, 600), (400_120, -600)] {
            let ahead = clock.ahead_by(at(wall), boot(120)).expect("an answer was heard");
            assert!((ahead.as_secs() - off).abs() <= 1, "{ahead}");
        }
    }

    #[test]
    fn a_contradiction_begins_anew() {
        let clock = starting_at(at(0), boot(0));
        answer(&clock, 0, 10);
        clock.learn(boot(2_000), boot(2_010), at(5_002_000));
        assert!(off_by(&clock, 2_010, 5_002_010) <= 1_000);
    }
}
