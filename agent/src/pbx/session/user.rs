//! A visible object, its monitors, and what is known of its devices.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::{Value, json};
use shared::address::ObjectNames;
use shared::numbering::DialPrefixes;
use tokio::time::Instant;

use crate::pbx::rcc::UserInfo;

/// Rights may be set right at any time, and a PBX that is full may have room again.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// A visible object and its monitor.
#[derive(Debug)]
pub struct User {
    pub info: UserInfo,
    /// The handle of its monitor, once the PBX has given it.
    pub handle: Option<u64>,
    /// What its node asks to be dialled in front of numbers, as its own monitor was told.
    pub prefixes: DialPrefixes,
    /// Why it has no monitor.
    pub refusal: Option<MonitorRefusal>,
    /// Left the group while calls were running: watched until they end.
    pub leaving: bool,
    /// Monitors of single devices, opened when a call is to be placed from one and kept for the session.
    pub(super) devices: BTreeMap<String, DeviceMonitor>,
    /// Labels of devices, by their hardware ids.
    pub(super) labels: HashMap<String, String>,
}

impl User {
    pub(super) fn new(info: UserInfo) -> Self {
        Self {
            info,
            handle: None,
            prefixes: DialPrefixes::default(),
            refusal: None,
            leaving: false,
            devices: BTreeMap::new(),
            labels: HashMap::new(),
        }
    }

    /// The object has no phone of its own, like a queue.
    pub fn is_phoneless(&self) -> bool {
        !matches!(self.info.pseudo.as_str(), "" | "executive")
    }

    /// The `hw` with which all of it is monitored: a waiting queue may report nothing without its own Long Name.
    pub fn own_hw(&self) -> Option<&str> {
        (self.info.pseudo == "waiting").then_some(self.info.cn.as_str())
    }

    /// The PBX does not let it be monitored. It is asked again, ever more rarely.
    pub(super) fn refused(&mut self, reason: String) {
        let pause = self.refusal.as_ref().map_or(FIRST_PAUSE, |earlier| (earlier.pause * 2).min(LONGEST_PAUSE));
        self.refusal = Some(MonitorRefusal { reason, again_at: Some(Instant::now() + pause), pause });
    }

    /// The user or queue as the API shows it.
    pub fn describe(&self, names: &ObjectNames<'_>) -> Value {
        let label = |hw: &String| self.labels.get(hw).cloned().unwrap_or_default();
        let devices: Vec<Value> = self.info.devices.iter().map(|hw| json!({"hw": hw, "text": label(hw)})).collect();
        let name = self.info.display_name();
        let number: Vec<&str> = [names.extension, names.node].into_iter().filter(|text| !text.is_empty()).collect();
        let title = if number.is_empty() { name.clone() } else { format!("{name} ({})", number.join(", ")) };
        // Most systems have one node, in which people know extensions only.
        let address = if names.is_shared { names.to_string() } else { names.extension.to_owned() };
        json!({
            "extension": self.info.e164,
            "name": name,
            "title": title,
            "address": if address.is_empty() { names.to_string() } else { address },
            "longName": self.info.cn,
            "guid": self.info.guid,
            "node": self.info.node,
            "pbx": self.info.pbx,
            "userName": self.info.h323,
            "type": if self.info.pseudo.is_empty() { "user" } else { &self.info.pseudo },
            "registered": !devices.is_empty(),
            "devices": devices,
            "calls": self.info.channels.unwrap_or(0),
            "alerting": self.info.alerting.unwrap_or(0),
        })
    }
}

/// What became of the request for a monitor of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceMonitor {
    Asked,
    Refused,
    /// The handle from which calls of this device are placed.
    Open(u64),
}

/// Why the PBX does not let a user be monitored, and when it is asked again.
#[derive(Clone, Debug)]
pub struct MonitorRefusal {
    pub reason: String,
    /// None while it is being asked again.
    pub(super) again_at: Option<Instant>,
    pause: Duration,
}
