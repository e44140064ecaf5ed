//! One logged-in session: who is visible, who is monitored, and under which handles.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use shared::ids::CallId;
use shared::numbering::DialPrefixes;
use tokio::time::Instant;
use tracing::warn;

use super::frames::UserInfo;
use super::rcc;
use crate::calls::{UserGuid, UserIdentity};
use crate::config::Monitor;

/// After a session began, its users' calls have this long to come back.
pub const FIRST_SETTLING: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// A user whose monitor the PBX has not answered for is asked for again after this time. It may have been busy.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5 * 60);

/// A visible object and its monitor.
#[derive(Debug)]
pub struct User {
    pub info: UserInfo,
    /// The handle of its monitor, once the PBX has given it.
    pub handle: Option<u64>,
    /// Left the group while calls were running: watched until they end.
    pub leaving: bool,
    /// Monitors of single devices, opened when a call is to be placed from one and kept for the session.
    devices: BTreeMap<String, DeviceMonitor>,
    /// Labels of devices, by their hardware ids.
    labels: HashMap<String, String>,
}

impl User {
    fn new(info: UserInfo) -> Self {
        Self { info, handle: None, leaving: false, devices: BTreeMap::new(), labels: HashMap::new() }
    }

    /// The object has no phone of its own, like a queue.
    pub fn is_phoneless(&self) -> bool {
        !matches!(self.info.pseudo.as_str(), "" | "executive")
    }

    /// The user or queue as the API shows it.
    pub fn describe(&self) -> Value {
        let label = |hw: &String| self.labels.get(hw).cloned().unwrap_or_default();
        let devices: Vec<Value> = self.info.devices.iter().map(|hw| json!({"hw": hw, "text": label(hw)})).collect();
        json!({
            "extension": self.info.e164,
            "name": self.info.display_name(),
            "longName": self.info.cn,
            "guid": self.info.guid,
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

/// A request for a monitor that the PBX has not answered.
#[derive(Debug)]
struct AskedMonitor {
    src: String,
    user: UserGuid,
    /// The one device, or all that the user has.
    hw: Option<String>,
    at: Instant,
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
    /// Who is to be monitored next; the PBX gets them in portions.
    to_monitor: VecDeque<UserGuid>,
    /// Monitors asked for, in order.
    asked: VecDeque<AskedMonitor>,
    /// Those that nobody waits for any more, by their `src`. A PBX that is slow may still answer.
    given_up: HashMap<String, AskedMonitor>,
    /// Requests for the labels of devices, in order. Some PBXs never answer them, and nothing waits for it.
    labels_asked: VecDeque<(String, UserGuid)>,
    next_src: u64,
    /// The numbers to which digits were added by command. Filled by `note_digits`, which also drops calls that have ended.
    digits_sent: HashMap<CallId, String>,
    pub prefixes: DialPrefixes,
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
            to_monitor: VecDeque::new(),
            asked: VecDeque::new(),
            given_up: HashMap::new(),
            labels_asked: VecDeque::new(),
            next_src: 0,
            digits_sent: HashMap::new(),
            prefixes: DialPrefixes::default(),
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

    /// Takes over what the PBX says of a user. Returns it with its guid, unless it is not wanted or gone.
    pub fn on_user_info(&mut self, info: UserInfo, monitor: &Monitor) -> Option<(UserGuid, UserIdentity)> {
        let guid: UserGuid = Arc::from(info.guid.as_str());
        if info.gone {
            if let Some(user) = self.users.get_mut(&guid) {
                user.leaving = true;
            }
            return None;
        }
        // An App object may see itself, above all when it is active nowhere and so sees nobody else.
        if guid.is_empty() || info.pseudo == "app" || !monitor.includes(&info.cn) {
            return None;
        }
        let identity = identity(&info);
        match self.users.get_mut(&guid) {
            Some(user) => {
                user.info = info;
                user.leaving = false;
                if user.handle.is_none() {
                    self.to_monitor.push_back(guid.clone());
                }
            }
            None => {
                self.users.insert(guid.clone(), User::new(info));
                self.to_monitor.push_back(guid.clone());
            }
        }
        Some((guid, identity))
    }

    /// Monitoring begins when the list of users is complete, because only then it is certain which PBX this is.
    pub fn is_to_monitor_more(&self) -> bool {
        self.listed && !self.to_monitor.is_empty()
    }

    /// The requests that monitor the next portion of users.
    pub fn monitor_next(&mut self) -> Vec<String> {
        let mut frames = Vec::new();
        for _ in 0..rcc::USERS_PER_TICK {
            let Some(guid) = self.to_monitor.pop_front() else { break };
            let wanted = |user: &&User| !user.leaving && user.handle.is_none() && !self.is_asked_for(&guid);
            let Some(cn) = self.users.get(&guid).filter(wanted).map(|user| user.info.cn.clone()) else { continue };
            let src = self.new_src("u");
            frames.push(rcc::user_initialize(&src, &cn, None));
            frames.extend(self.ask_for_labels(&guid));
            self.asked.push_back(AskedMonitor { src, user: guid, hw: None, at: Instant::now() });
        }
        frames
    }

    /// The request for the labels of a user's devices, if one has none and they are not being asked for.
    pub fn ask_for_labels(&mut self, guid: &UserGuid) -> Option<String> {
        let user = self.users.get(guid).filter(|user| !user.leaving)?;
        let unlabelled = user.info.devices.iter().any(|hw| !user.labels.contains_key(hw));
        if !unlabelled || self.labels_asked.iter().any(|(_, asked)| asked == guid) {
            return None;
        }
        let cn = user.info.cn.clone();
        let src = self.new_src("d");
        let frame = rcc::devices(&src, &cn);
        self.labels_asked.push_back((src, guid.clone()));
        Some(frame)
    }

    /// The PBX told the labels of a user's devices. An answer without `src` belongs to the oldest request.
    pub fn labelled(&mut self, src: Option<&str>, labels: Vec<(String, String)>) {
        let at = src.map_or(Some(0), |src| self.labels_asked.iter().position(|(asked, _)| asked == src));
        let Some((_, guid)) = at.and_then(|at| self.labels_asked.remove(at)) else { return };
        let Some(user) = self.users.get_mut(&guid) else { return };
        // A device that the PBX does not know by a label has none; asking again would not change that.
        user.labels = user.info.devices.iter().map(|hw| (hw.clone(), String::new())).chain(labels).collect();
    }

    /// The monitor of one of a user's devices, and the request that opens it when this is its first use.
    pub fn device(&mut self, guid: &UserGuid, hw: &str) -> Option<(DeviceMonitor, Option<String>)> {
        let user = self.users.get_mut(guid)?;
        if let Some(monitor) = user.devices.get(hw) {
            return Some((*monitor, None));
        }
        user.devices.insert(hw.to_owned(), DeviceMonitor::Asked);
        let cn = user.info.cn.clone();
        let src = self.new_src("u");
        let frame = rcc::user_initialize(&src, &cn, Some(hw));
        self.asked.push_back(AskedMonitor { src, user: guid.clone(), hw: Some(hw.to_owned()), at: Instant::now() });
        Some((DeviceMonitor::Asked, Some(frame)))
    }

    /// The PBX gave a monitor its handle. An answer without `src` belongs to the oldest request.
    /// Returns who is watched from now on; the monitor of one device adds nobody.
    pub fn monitored(&mut self, src: Option<&str>, handle: u64, prefixes: DialPrefixes) -> Option<UserGuid> {
        let at = src.map_or(Some(0), |src| self.asked.iter().position(|asked| asked.src == src));
        let AskedMonitor { user: guid, hw, .. } = match at {
            Some(at) => self.asked.remove(at),
            None => self.given_up.remove(src?),
        }?;
        let user = self.users.get_mut(&guid);
        if let Some(hw) = hw {
            let monitor = if handle == 0 { DeviceMonitor::Refused } else { DeviceMonitor::Open(handle) };
            if let Some(user) = user {
                user.devices.insert(hw, monitor);
            }
            if handle != 0 {
                self.handles.insert(handle, guid);
                self.device_handles.insert(handle);
            }
            return None;
        }
        if handle == 0 {
            warn!(user = id_of(&guid), "The PBX does not let this user be monitored");
            return None;
        }
        if let Some(user) = user {
            user.handle = Some(handle);
        }
        self.handles.insert(handle, guid.clone());
        if !prefixes.international.is_empty() || self.prefixes == DialPrefixes::default() {
            self.prefixes = prefixes;
        }
        Some(guid)
    }

    fn is_asked_for(&self, guid: &UserGuid) -> bool {
        self.asked.iter().any(|asked| asked.user == *guid)
    }

    /// Some PBXs refuse by not answering. One user without a monitor must not block the others.
    pub fn give_up_unanswered(&mut self) {
        while let Some(asked) = self.asked.pop_front_if(|asked| asked.at.elapsed() > ANSWER_WITHIN) {
            warn!(user = id_of(&asked.user), "The PBX does not answer whether this user may be monitored");
            if let (Some(hw), Some(user)) = (&asked.hw, self.users.get_mut(&asked.user)) {
                user.devices.remove(hw); // The next call from this device asks again.
            }
            self.given_up.retain(|_, earlier| (&earlier.user, &earlier.hw) != (&asked.user, &asked.hw));
            self.given_up.insert(asked.src.clone(), asked);
        }
        for (_, asked) in self.given_up.extract_if(|_, asked| asked.at.elapsed() > ASK_AGAIN_AFTER) {
            if asked.hw.is_none() {
                self.to_monitor.push_back(asked.user); // Unless it is gone or monitored meanwhile.
            }
        }
    }

    /// Lets go of users who left and have no calls any more; returns the requests that end their monitors.
    pub fn release(&mut self, has_calls: impl Fn(&UserGuid) -> bool) -> Vec<String> {
        // A monitor that was asked for has its handle soon, and can be ended only with it.
        let gone = |guid: &UserGuid, user: &User| user.leaving && !has_calls(guid) && !self.is_asked_for(guid);
        let gone: Vec<UserGuid> =
            self.users.iter().filter(|(guid, user)| gone(guid, user)).map(|(guid, _)| guid.clone()).collect();
        let mut frames = Vec::new();
        for guid in gone {
            let Some(user) = self.users.remove(&guid) else { continue };
            let devices = user.devices.values().filter_map(|monitor| match monitor {
                DeviceMonitor::Open(handle) => Some(*handle),
                DeviceMonitor::Asked | DeviceMonitor::Refused => None,
            });
            for handle in user.handle.into_iter().chain(devices) {
                self.handles.remove(&handle);
                self.device_handles.remove(&handle);
                let src = self.new_src("e");
                frames.push(rcc::user_end(&src, handle));
            }
        }
        frames
    }

    pub fn user_of_handle(&self, handle: u64) -> Option<&UserGuid> {
        self.handles.get(&handle)
    }

    /// A handle that only repeats what the user's own one tells about one device.
    pub fn is_of_one_device(&self, handle: u64) -> bool {
        self.device_handles.contains(&handle)
    }

    /// The monitored user or queue with this extension.
    pub fn by_extension(&self, extension: &str) -> Option<(&User, u64)> {
        let user = self.visible_with(extension)?;
        Some((user, user.handle?))
    }

    /// The visible user or queue with this extension.
    pub fn visible_with(&self, extension: &str) -> Option<&User> {
        self.visible().find(|user| user.info.e164 == extension)
    }

    pub fn user(&self, guid: &UserGuid) -> Option<&User> {
        self.users.get(guid)
    }

    pub fn identities(&self) -> impl Iterator<Item = (UserGuid, UserIdentity)> {
        self.users.iter().map(|(guid, user)| (guid.clone(), identity(&user.info)))
    }

    pub fn channels(&self, guid: &UserGuid) -> Option<u32> {
        self.users.get(guid)?.info.channels
    }

    pub fn visible(&self) -> impl Iterator<Item = &User> {
        self.users.values().filter(|user| !user.leaving)
    }

    /// Every user that the PBX listed has its monitor.
    pub fn is_complete(&self) -> bool {
        self.listed && self.to_monitor.is_empty() && self.asked.is_empty()
    }

    /// The PBX names that the visible users give.
    pub fn pbx_names(&self) -> HashSet<&str> {
        self.users.values().map(|user| user.info.pbx.as_str()).filter(|pbx| !pbx.is_empty()).collect()
    }
}

fn identity(info: &UserInfo) -> UserIdentity {
    UserIdentity { extension: info.e164.clone(), name: info.display_name(), queue: info.pseudo == "waiting" }
}

/// What a log may say of a user. Where the PBX gives no id, the key is a name.
fn id_of(guid: &str) -> &str {
    if guid.bytes().all(|byte| byte.is_ascii_hexdigit()) { guid } else { "without an id" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(guid: &str, cn: &str) -> UserInfo {
        UserInfo {
            guid: guid.to_owned(),
            cn: cn.to_owned(),
            e164: cn.to_owned(),
            pbx: "master".to_owned(),
            ..UserInfo::default()
        }
    }

    #[test]
    fn users_come_in_portions_and_go_when_their_calls_have_ended() {
        let mut session = Session::new(1);
        for n in 0..120 {
            session.on_user_info(info(&format!("g{n}"), &n.to_string()), &Monitor::default());
        }
        assert_eq!(
            [session.monitor_next().len(), session.monitor_next().len(), session.monitor_next().len()],
            [50, 50, 20]
        );
        session.monitored(Some("u2"), 7, DialPrefixes::default());
        session.monitored(None, 8, DialPrefixes::default());
        assert_eq!(session.user_of_handle(7).map(AsRef::as_ref), Some("g1"));
        assert_eq!(session.user_of_handle(8).map(AsRef::as_ref), Some("g0"));
        assert_eq!(session.by_extension("1").map(|(_, handle)| handle), Some(7));

        let app = UserInfo { pseudo: "app".to_owned(), ..info("app", "EasyConnect") };
        assert!(session.on_user_info(app, &Monitor::default()).is_none(), "an App object that sees itself");
        session.on_user_info(UserInfo { gone: true, ..info("g1", "1") }, &Monitor::default());
        assert!(session.by_extension("1").is_none());
        assert!(session.release(|_| true).is_empty());
        assert_eq!(session.release(|_| false).len(), 1);
        assert!(session.user_of_handle(7).is_none());

        // The monitor of a user who leaves before the PBX has answered is ended as soon as it has.
        session.on_user_info(UserInfo { gone: true, ..info("g5", "5") }, &Monitor::default());
        assert!(session.release(|_| false).is_empty());
        session.monitored(Some("u6"), 9, DialPrefixes::default());
        assert_eq!(session.release(|_| false).len(), 1);
        assert!(session.user_of_handle(9).is_none());
    }

    #[test]
    fn device_has_a_monitor_of_its_own_from_its_first_use_on() {
        let mut session = Session::new(1);
        let guid: UserGuid = Arc::from("g1");
        session.on_user_info(UserInfo { devices: vec!["p1".to_owned()], ..info("g1", "1") }, &Monitor::default());
        // The monitor of the user, and the labels of the devices.
        assert_eq!(session.monitor_next().len(), 2);
        assert_eq!(session.monitored(Some("u1"), 7, DialPrefixes::default()), Some(guid.clone()));

        let (monitor, frame) = session.device(&guid, "p1").expect("a user");
        assert_eq!((monitor, frame.is_some()), (DeviceMonitor::Asked, true));
        assert_eq!(session.device(&guid, "p1"), Some((DeviceMonitor::Asked, None)));
        assert_eq!(session.monitored(None, 8, DialPrefixes::default()), None, "nobody new is watched");
        assert_eq!(session.device(&guid, "p1"), Some((DeviceMonitor::Open(8), None)));
        assert_eq!(session.user_of_handle(8), Some(&guid));
        assert!(session.is_of_one_device(8) && !session.is_of_one_device(7));

        session.on_user_info(UserInfo { gone: true, ..info("g1", "1") }, &Monitor::default());
        assert_eq!(session.release(|_| false).len(), 2);
        assert!(session.user_of_handle(8).is_none());
    }

    #[test]
    fn labels_are_asked_for_once_per_set_of_devices() {
        let mut session = Session::new(1);
        let guid: UserGuid = Arc::from("g1");
        let with = |devices: &[&str]| UserInfo {
            devices: devices.iter().map(|hw| (*hw).to_owned()).collect(),
            ..info("g1", "1")
        };
        session.on_user_info(with(&["p1"]), &Monitor::default());
        assert!(session.ask_for_labels(&guid).is_some());
        assert!(session.ask_for_labels(&guid).is_none(), "the answer is on its way, or never comes");
        session.labelled(None, vec![("p2".to_owned(), "Softphone".to_owned())]);
        assert!(session.ask_for_labels(&guid).is_none(), "p1 has no label");
        session.on_user_info(with(&["p1", "p2", "p3"]), &Monitor::default());
        assert!(session.ask_for_labels(&guid).is_some(), "p3 is new");
        let described = session.visible_with("1").expect("visible").describe();
        assert_eq!(
            described["devices"],
            json!([{"hw": "p1", "text": ""}, {"hw": "p2", "text": "Softphone"}, {"hw": "p3", "text": ""}])
        );
        assert_eq!(described["registered"], true);
    }

    #[test]
    fn only_listed_users_are_monitored() {
        let mut session = Session::new(1);
        let monitor = Monitor::List(vec!["a".to_owned()]);
        assert!(session.on_user_info(info("1", "a"), &monitor).is_some());
        assert!(session.on_user_info(info("2", "b"), &monitor).is_none());
        assert_eq!(session.monitor_next().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn late_answer_still_counts() {
        let mut session = Session::new(1);
        session.on_user_info(info("1", "a"), &Monitor::default());
        session.listed = true;
        session.monitor_next();
        tokio::time::advance(ANSWER_WITHIN * 2).await;
        session.give_up_unanswered();
        assert!(session.is_complete(), "nobody waits for it");
        assert!(session.monitored(Some("u1"), 7, DialPrefixes::default()).is_some());
        assert_eq!(session.by_extension("a").map(|(_, handle)| handle), Some(7));
        assert!(session.monitored(Some("u1"), 8, DialPrefixes::default()).is_none(), "it has had its answer");
    }

    #[tokio::test(start_paused = true)]
    async fn user_whose_monitor_was_not_answered_is_asked_for_again() {
        let mut session = Session::new(1);
        session.on_user_info(info("1", "a"), &Monitor::default());
        session.on_user_info(info("2", "b"), &Monitor::default());
        session.listed = true;
        session.monitor_next();
        session.monitored(Some("u2"), 7, DialPrefixes::default());
        for _ in 0..2 {
            tokio::time::advance(ANSWER_WITHIN * 2).await;
            session.give_up_unanswered();
            assert!(session.is_complete() && session.monitor_next().is_empty());
            tokio::time::advance(ASK_AGAIN_AFTER).await;
            session.give_up_unanswered();
            assert_eq!(session.monitor_next().len(), 1);
            assert!(session.given_up.is_empty());
        }
    }

    #[test]
    fn a_refused_monitor_leaves_no_handle() {
        let mut session = Session::new(1);
        session.on_user_info(info("1", "a"), &Monitor::default());
        session.monitor_next();
        session.monitored(Some("u1"), 0, DialPrefixes::default());
        assert!(session.by_extension("a").is_none());
        session.listed = true;
        assert!(session.is_complete());
    }
}
