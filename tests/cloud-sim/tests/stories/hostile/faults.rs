//! What the agent is known to do wrong. It is left out of the covering array, and a test says when it is mended.

use serde_json::{Map, Value as Json};

use super::plots::{PLOTS, Plot, Setting};

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
        switches: &[("names", r#""latin1""#)],
        plots: &PLOTS,
        what: "a byte that is no UTF-8 ends the connection, again and again: one name of one user stops the agent",
    },
    KnownFault {
        switches: &[("late_users_ms", "3000")],
        plots: &PLOTS,
        what: "the agent ends with `the PBX shows no user` before the users come",
    },
    KnownFault {
        switches: &[("homed_elsewhere", r#""50""#)],
        plots: &PLOTS,
        what: "the agent ends with `cannot tell which PBX this is`, because one visible user is at home at another PBX",
    },
    KnownFault {
        switches: &[("queue_hw", r#""deaf""#)],
        plots: &[Plot::QueueDialOut],
        what: "the monitor of a queue, asked for without `hw`, reports nothing: `makecall` stays `running`, and no event comes",
    },
    KnownFault {
        switches: &[("queue_hw", r#""refused""#)],
        plots: &[Plot::QueueDialOut],
        what: "the monitor of a queue is asked for without `hw` and refused: `makecall` answers `not_monitored`",
    },
    KnownFault {
        switches: &[("late_results", "true")],
        plots: &[Plot::ParkAndPickup],
        what: "`pickup` stays `running`, because the result that names its leg comes behind the leg's events",
    },
    KnownFault { switches: &[("shuffled_results", "true")], plots: &[Plot::ParkAndPickup], what: "the same" },
    KnownFault {
        switches: &[("late_conf", "true")],
        plots: &[Plot::ParkAndPickup, Plot::Reconnect],
        what: "a leg that has one message without `conf` is told as another call after 2 s: a parked one, and a running one after \
               a reconnect",
    },
    KnownFault {
        switches: &[("early_call_info", "true"), ("omit_conf", "true")],
        plots: &[Plot::Reconnect],
        what: "a running call that is reported before `UserInitializeResult` is thrown away with its only `conf`; its end is told as \
               that of another call",
    },
    KnownFault {
        switches: &[("early_call_info", "true"), ("channel", r#""frozen""#)],
        plots: &[Plot::Reconnect],
        what: "the same: the call counts as gone 5 s after the reconnect, while people still talk",
    },
    KnownFault {
        switches: &[("early_call_info", "true"), ("channel", r#""absent""#)],
        plots: &[Plot::Reconnect],
        what: "the same",
    },
    KnownFault {
        switches: &[("monitor_refusal", r#""silent""#), ("refused_user", r#""50""#), ("omit_result_src", "true")],
        plots: &[Plot::QueueDialOut],
        what: "results without `src` are given to requests in their order: behind a refusal by silence each user's calls are told as \
               another one's, though the `src` of CallInfo says whose they are",
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
