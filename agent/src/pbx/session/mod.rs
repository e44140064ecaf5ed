//! One logged-in session: who is visible, who is monitored, and under which handles.

mod early;
mod lookup;
#[cfg(test)]
mod tests;
mod user;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use shared::ids::CallId;
use shared::numbering::DialPrefixes;
use tokio::time::Instant;
use tracing::warn;

use super::pacer::Pacer;
use super::rcc::{self, CallInfo, UserInfo};
use crate::calls::UserGuid;
use crate::config::Monitor;

use early::EarlyReports;
pub use lookup::AddressError;
use lookup::Extensions;
pub use user::{DeviceMonitor, MonitorRefusal, User};

/// After a session began, its users' calls have this long to come back.
pub const FIRST_SETTLING: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Requests of one kind that the PBX has not answered yet, at most.
const MOST_MONITORS: usize = 16;
const MOST_LABELS: usize = 4;
/// A PBX that answers none of so many requests for labels is not asked for more.
const MOST_SILENT_LABELS: u32 = 3;

/// A monitor that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct WantedMonitor {
    user: UserGuid,
    /// The one device, or all that the user has.
    device: Option<String>,
}

#[derive(Debug)]
pub struct Session {
    /// Tells this session's handles from those of earlier ones.
    pub number: u64,
    pub begun: Instant,
    /// The list of users is complete.
    pub listed: bool,
    users: BTreeMap<UserGuid, User>,
    handles: HashMap<u64, UserGuid>,
    /// Those of the handles that belong to single devices: what they report is told by the user's own handle, too.
    device_handles: HashSet<u64>,
    monitors: Pacer<WantedMonitor>,
    /// What each request for a monitor was about, by its `src`, which the reports of the monitor repeat.
    monitor_srcs: HashMap<String, WantedMonitor>,
    labels: Pacer<UserGuid>,
    /// Requests for labels without an answer, if none ever had one.
    silent_labels: Option<u32>,
    /// Handles that were given back. A report that was on its way is nobody's.
    ended_handles: HashSet<u64>,
    /// Reports of monitors whose handles the PBX has not given yet.
    early: EarlyReports,
    /// The name by which users say that they are at home at this PBX. Without it all are.
    home: Option<String>,
    /// A message has shown that the firmware is 13r3 or later.
    is_13r3: bool,
    next_src: u64,
    /// The numbers to which digits were added by command. Filled by `note_digits`, which also drops calls that have ended.
    digits_sent: HashMap<CallId, String>,
    /// Who is listed with which extension.
    extensions: Extensions,
    /// Something has changed of what the directory says.
    directory_changed: bool,
}

impl Session {
    pub fn new(number: u64) -> Self {
        Self {
            number,
            begun: Instant::now(),
            listed: false,
            users: BTreeMap::new(),
            handles: HashMap::new(),
            device_handles: HashSet::new(),
            monitors: Pacer::new(MOST_MONITORS),
            monitor_srcs: HashMap::new(),
            labels: Pacer::new(MOST_LABELS),
            silent_labels: Some(0),
            ended_handles: HashSet::new(),
            early: EarlyReports::default(),
            home: None,
            is_13r3: false,
            next_src: 0,
            digits_sent: HashMap::new(),
            extensions: Extensions::default(),
            directory_changed: true,
        }
    }

    /// The whole number that a call has been given, where digits were added by command.
    pub fn digits_sent(&self, call: CallId) -> Option<&str> {
        self.digits_sent.get(&call).map(String::as_str)
    }

    pub fn note_digits(&mut self, call: CallId, whole: String, is_live: impl Fn(CallId) -> bool) {
        self.digits_sent.retain(|call, _| is_live(*call));
        self.digits_sent.insert(call, whole);
    }

    /// A `src` that no other request of this session has.
    pub fn new_src(&mut self, kind: &str) -> String {
        self.next_src += 1;
        format!("{kind}{}", self.next_src)
    }

    /// Takes over what the PBX says of a user. Returns the guid, unless the user is not wanted or gone.
    pub fn on_user_info(&mut self, info: UserInfo, monitor: &Monitor) -> Option<UserGuid> {
        let guid: UserGuid = Arc::from(info.guid.as_str());
        if info.gone {
            self.extensions.remove(&guid);
            self.directory_changed = true;
            if let Some(user) = self.users.get_mut(&guid) {
                user.leaving = true;
                user.info.gone = true;
            }
            return None;
        }
        // An App object may see itself, above all when it is active nowhere and so sees nobody else.
        if guid.is_empty() || info.pseudo == "app" || !monitor.includes(&info.cn) {
            return None;
        }
        self.extensions.set(&guid, &info.e164);
        self.directory_changed |= self.users.get(&guid).is_none_or(|user| user.info.is_named_otherwise(&info));
        let is_elsewhere = self.is_elsewhere(&info);
        let user = self.users.entry(guid.clone()).or_insert_with(|| User::new(info.clone()));
        if user.info.cn != info.cn {
            user.refusal = None; // It is asked for by another name.
        }
        user.info = info;
        user.leaving = is_elsewhere && user.handle.is_some();
        let unlabelled = user.info.devices.iter().any(|hw| !user.labels.contains_key(hw));
        let unmonitored = user.handle.is_none() && user.refusal.is_none();
        if !is_elsewhere && unmonitored {
            self.want_monitor(guid.clone());
        }
        if !is_elsewhere && unlabelled {
            self.want_labels(guid.clone());
        }
        Some(guid)
    }

    fn want_monitor(&mut self, user: UserGuid) {
        self.monitors.want(WantedMonitor { user, device: None });
    }

    fn want_labels(&mut self, user: UserGuid) {
        if self.silent_labels.is_none_or(|silent| silent < MOST_SILENT_LABELS) {
            self.labels.want(user);
        }
    }

    /// The users who say that they are at home elsewhere are left to that PBX.
    pub fn at_home_at(&mut self, home: Option<String>) {
        self.directory_changed |= self.home != home;
        self.home = home;
    }

    fn is_elsewhere(&self, info: &UserInfo) -> bool {
        self.home.as_ref().is_some_and(|home| !info.pbx.is_empty() && info.pbx != *home)
    }

    /// The requests for monitors and labels that the PBX is ready to take. Monitoring begins when it is known which PBX this is.
    pub fn monitor_next(&mut self) -> Vec<String> {
        let mut frames = Vec::new();
        while let Some(wanted) = self.monitors.next() {
            frames.extend(self.ask_for_monitor(wanted));
        }
        while let Some(guid) = self.labels.next() {
            let wanted = |user: &&User| !user.leaving && !self.is_elsewhere(&user.info);
            let Some(cn) = self.users.get(&guid).filter(wanted).map(|user| user.info.cn.clone()) else { continue };
            let src = self.new_src("d");
            frames.push(rcc::devices(&src, &cn));
            self.labels.sent(src, guid);
        }
        frames
    }

    fn ask_for_monitor(&mut self, wanted: WantedMonitor) -> Option<String> {
        let user = self.users.get(&wanted.user).filter(|user| !user.leaving && !self.is_elsewhere(&user.info))?;
        if wanted.device.is_none() && user.handle.is_some() {
            return None;
        }
        let (cn, hw) = (user.info.cn.clone(), wanted.device.as_deref().or(user.own_hw()).map(str::to_owned));
        let src = self.new_src("u");
        self.monitor_srcs.insert(src.clone(), wanted.clone());
        self.monitors.sent(src.clone(), wanted);
        Some(rcc::user_initialize(&src, &cn, hw.as_deref()))
    }

    /// The PBX told the labels of a user's devices.
    pub fn labelled(&mut self, src: Option<&str>, labels: Vec<(String, String)>) {
        self.silent_labels = None;
        let Some(guid) = self.labels.answered(src) else { return };
        let Some(user) = self.users.get_mut(&guid) else { return };
        // A device that the PBX does not know by a label has none; asking again would not change that.
        user.labels = user.info.devices.iter().map(|hw| (hw.clone(), String::new())).chain(labels).collect();
    }

    /// The monitor of one of a user's devices, and the request that opens it, if this is its first use and the PBX is ready for it.
    pub fn device(&mut self, guid: &UserGuid, hw: &str) -> Option<(DeviceMonitor, Option<String>)> {
        let user = self.users.get_mut(guid)?;
        if let Some(monitor) = user.devices.get(hw) {
            return Some((*monitor, None));
        }
        user.devices.insert(hw.to_owned(), DeviceMonitor::Asked);
        // Somebody waits for it.
        self.monitors.want_first(WantedMonitor { user: guid.clone(), device: Some(hw.to_owned()) });
        let frame = self.monitors.next().and_then(|wanted| self.ask_for_monitor(wanted));
        Some((DeviceMonitor::Asked, frame))
    }

    /// The PBX gave a monitor its handle. Returns who is watched from now on; the monitor of one device adds nobody.
    pub fn monitored(&mut self, src: Option<&str>, handle: u64, prefixes: DialPrefixes) -> Option<UserGuid> {
        if handle == 0 {
            self.refused(src, None);
            return None;
        }
        // What has been reported under this handle says for certain whose it is.
        let told = self.early.src_of(handle).map(str::to_owned);
        let wanted = match (src, told) {
            (None, Some(told)) if self.monitor_srcs.contains_key(&told) => self.monitors.answered_unnamed(&told),
            _ => self.monitors.answered(src),
        }?;
        // Those of one device may be those of its own location.
        if let (None, Some(user)) = (&wanted.device, self.users.get_mut(&wanted.user)) {
            self.directory_changed |= user.prefixes != prefixes;
            user.prefixes = prefixes;
        }
        self.bind(handle, wanted)
    }

    /// The PBX refused a monitor.
    pub fn refused(&mut self, src: Option<&str>, reason: Option<String>) {
        if let Some(wanted) = self.monitors.answered(src) {
            self.on_refusal(&wanted, reason.unwrap_or_else(|| "the PBX gives no reason".to_owned()));
        }
    }

    fn on_refusal(&mut self, wanted: &WantedMonitor, reason: String) {
        let Some(user) = self.users.get_mut(&wanted.user) else { return };
        match &wanted.device {
            Some(hw) => drop(user.devices.insert(hw.clone(), DeviceMonitor::Refused)),
            None => {
                warn!(user = id_of(&wanted.user), "The PBX does not let this user be monitored: {reason}");
                user.refused(reason);
            }
        }
    }

    /// From now on this handle is that of this monitor.
    fn bind(&mut self, handle: u64, wanted: WantedMonitor) -> Option<UserGuid> {
        let WantedMonitor { user: guid, device } = wanted;
        self.ended_handles.remove(&handle);
        self.handles.insert(handle, guid.clone());
        let user = self.users.get_mut(&guid);
        match device {
            Some(hw) => {
                self.device_handles.insert(handle);
                if let Some(user) = user {
                    user.devices.insert(hw, DeviceMonitor::Open(handle));
                }
                None
            }
            None => {
                self.device_handles.remove(&handle);
                if let Some(user) = user {
                    user.handle = Some(handle);
                    user.refusal = None;
                }
                Some(guid)
            }
        }
    }

    /// Whose call this is. A report that comes before its monitor's handle is kept until then.
    ///
    /// The `src` of a report is that of the request for its monitor. Where results have none, a handle may have been given to a wrong
    /// user, and this sets it right.
    pub fn user_of_report(&mut self, report: &CallInfo) -> Reporter {
        self.is_13r3 |= report.running_for.is_some();
        let known = self.handles.get(&report.user).cloned();
        let told = report.src.as_ref().and_then(|src| self.monitor_srcs.get(src)).cloned();
        let is_of_one_device = self.is_of_one_device(report.user);
        match (known, told) {
            (Some(known), Some(told)) if told.user != known || told.device.is_some() != is_of_one_device => {
                if let Some(user) = self.users.get_mut(&known) {
                    user.devices.retain(|_, monitor| *monitor != DeviceMonitor::Open(report.user));
                    if user.handle == Some(report.user) {
                        user.handle = None;
                        self.want_monitor(known);
                    }
                }
                let (guid, watched) = (told.user.clone(), self.bind(report.user, told));
                Reporter::Known { user: guid, newly_watched: watched.is_some() }
            }
            (Some(user), _) => Reporter::Known { user, newly_watched: false },
            (None, _) if self.ended_handles.contains(&report.user) => Reporter::Nobody,
            (None, _) => {
                self.early.keep(report.clone());
                Reporter::Nobody
            }
        }
    }

    /// The reports that came before this handle was given.
    pub fn early_reports(&mut self, handle: u64) -> Vec<CallInfo> {
        self.early.take(handle)
    }

    /// Gives up what the PBX does not answer, and asks again for what it has refused long ago.
    pub fn on_tick(&mut self) {
        for wanted in self.monitors.give_up_after(ANSWER_WITHIN) {
            match (&wanted.device, self.users.get_mut(&wanted.user)) {
                // The next call from this device asks again.
                (Some(hw), Some(user)) => drop(user.devices.remove(hw)),
                _ => self.on_refusal(&wanted, "the PBX does not answer".to_owned()),
            }
        }
        let silent = self.labels.give_up_after(ANSWER_WITHIN).len();
        if let Some(before) = &mut self.silent_labels {
            *before += u32::try_from(silent).unwrap_or(u32::MAX);
            if *before >= MOST_SILENT_LABELS {
                self.labels.forget_waiting();
            }
        }
        self.early.forget_old();
        let now = Instant::now();
        let mut again = Vec::new();
        for (guid, user) in &mut self.users {
            if let Some(refusal) = user.refusal.as_mut().filter(|refusal| refusal.again_at.is_some_and(|at| at <= now))
            {
                refusal.again_at = None;
                again.push(guid.clone());
            }
        }
        again.into_iter().for_each(|guid| self.want_monitor(guid));
    }

    /// Lets go of users who left and have no calls any more; returns the requests that end their monitors.
    pub fn release(&mut self, has_calls: impl Fn(&UserGuid) -> bool) -> Vec<String> {
        // A monitor that was asked for has its handle soon, and can be ended only with it.
        let is_asked_for = |guid: &UserGuid| self.monitors.is_asked(|asked| asked.user == *guid);
        let gone = |guid: &UserGuid, user: &User| user.leaving && !has_calls(guid) && !is_asked_for(guid);
        let gone: Vec<UserGuid> =
            self.users.iter().filter(|(guid, user)| gone(guid, user)).map(|(guid, _)| guid.clone()).collect();
        let mut frames = Vec::new();
        for guid in gone {
            let Some(user) = self.users.remove(&guid) else { continue };
            if self.is_elsewhere(&user.info) && !user.info.gone {
                self.users.insert(guid.clone(), User::new(user.info.clone())); // Still visible, as somebody else's.
            }
            self.monitor_srcs.retain(|_, wanted| wanted.user != guid);
            let devices = user.devices.values().filter_map(|monitor| match monitor {
                DeviceMonitor::Open(handle) => Some(*handle),
                DeviceMonitor::Asked | DeviceMonitor::Refused => None,
            });
            for handle in user.handle.into_iter().chain(devices) {
                self.handles.remove(&handle);
                self.device_handles.remove(&handle);
                self.ended_handles.insert(handle);
                let src = self.new_src("e");
                frames.push(rcc::user_end(&src, handle));
            }
        }
        frames
    }

    #[cfg(test)]
    pub(crate) fn restate_prefixes(&mut self, handle: u64, prefixes: DialPrefixes) {
        if let Some(user) = self.handles.get(&handle).and_then(|guid| self.users.get_mut(guid)) {
            user.prefixes = prefixes;
        }
    }

    #[cfg(test)]
    fn user_of_handle(&self, handle: u64) -> Option<&UserGuid> {
        self.handles.get(&handle)
    }

    /// A handle that only repeats what the user's own one tells about one device.
    pub fn is_of_one_device(&self, handle: u64) -> bool {
        self.device_handles.contains(&handle)
    }

    pub fn user(&self, guid: &UserGuid) -> Option<&User> {
        self.users.get(guid)
    }

    pub fn channels(&self, guid: &UserGuid) -> Option<u32> {
        self.users.get(guid)?.info.channels
    }

    pub fn visible(&self) -> impl Iterator<Item = &User> {
        self.users.values().filter(|user| !user.leaving)
    }

    /// Every user that the PBX listed has its monitor, or was refused one.
    pub fn is_complete(&self) -> bool {
        self.listed && self.monitors.is_idle()
    }

    /// Users without a monitor, and why.
    pub fn refusals(&self) -> impl Iterator<Item = (&User, &MonitorRefusal)> {
        self.visible().filter_map(|user| Some((user, user.refusal.as_ref()?)))
    }

    pub fn note_13r3(&mut self, is_13r3: bool) {
        self.is_13r3 |= is_13r3;
    }

    /// User-to-user information is percent-encoded since firmware 13r3.
    pub fn encodes_user_to_user(&self) -> bool {
        self.is_13r3
    }

    /// The PBX names that the visible users give.
    pub fn pbx_names(&self) -> HashSet<&str> {
        self.users.values().map(|user| user.info.pbx.as_str()).filter(|pbx| !pbx.is_empty()).collect()
    }
}

/// Who a report of a call comes from.
#[derive(Debug, PartialEq, Eq)]
pub enum Reporter {
    Known {
        user: UserGuid,
        /// This report has shown that the handle is theirs.
        newly_watched: bool,
    },
    /// The handle is not known, not yet or no longer.
    Nobody,
}

/// What a log may say of a user. Where the PBX gives no id, the key is a name.
fn id_of(guid: &str) -> &str {
    if guid.bytes().all(|byte| byte.is_ascii_hexdigit()) { guid } else { "without an id" }
}
