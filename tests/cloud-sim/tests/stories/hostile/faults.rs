//! What the agent is known to do wrong. It is left out of the covering array, and a test says when it is mended.

use serde_json::{Map, Value as Json};

use super::plots::{Plot, Setting};

/// Switches under which stories go wrong.
pub(crate) struct KnownFault {
    /// Names of switches, and their values as JSON.
    switches: &'static [(&'static str, &'static str)],
    /// The stories that go wrong.
    pub(crate) plots: &'static [Plot],
    /// What happens.
    pub(crate) what: &'static str,
}

pub(crate) const KNOWN_FAULTS: &[KnownFault] = &[
    KnownFault {
        switches: &[("late_conf", "true")],
        plots: &[Plot::ParkAndPickup, Plot::Reconnect],
        what: "a leg that has one message without `conf` is told as another call after 2 s: a parked one, and a running one after \
               a reconnect",
    },
    KnownFault {
        switches: &[("clir", "true")],
        plots: &[Plot::Transfer],
        what: "after a transfer to somebody without a number, the events still name who transferred: an empty peer is taken for none",
    },
];

impl KnownFault {
    pub(crate) fn setting(&self) -> Setting {
        let value = |text: &str| -> Json { serde_json::from_str(text).expect("a value as JSON") };
        Map::from_iter(self.switches.iter().map(|(name, text)| ((*name).to_owned(), value(text))))
    }

    /// This story goes wrong with this setting.
    pub(crate) fn explains(&self, plot: Plot, setting: &Setting) -> bool {
        self.plots.contains(&plot) && self.is_in(setting)
    }

    /// All its switches are set as it needs them.
    pub(crate) fn is_in(&self, setting: &Setting) -> bool {
        self.setting().iter().all(|(name, value)| setting.get(name) == Some(value))
    }
}
