//! One logged-in session: who is visible, who is monitored, and under which handles.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use shared::number::DialPrefixes;
use tokio::time::Instant;
use tracing::warn;

use super::frames::UserInfo;
use super::rcc;
use crate::calls::{Identity, UserGuid};
use crate::config::Monitor;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A visible object and its monitor.
#[derive(Debug)]
pub struct User {
    pub info: UserInfo,
    /// The handle of its monitor, once the PBX has given it.
    pub handle: Option<u64>,
    /// Left the group while calls were running: watched until they end.
    pub leaving: bool,
}

/// A request for a monitor that the PBX has not answered.
#[derive(Debug)]
struct Asked {
    src: String,
    user: UserGuid,
    at: Instant,
}

#[derive(Debug)]
pub struct Session {
    /// Tells this session's handles from those of earlier ones.
    pub number: u64,
    pub begun: Instant,
    /// The list of users is complete.
    pub listed: bool,
    users: HashMap<UserGuid, User>,
    handles: HashMap<u64, UserGuid>,
    /// Who is to be monitored next; the PBX gets them in portions.
    to_monitor: VecDeque<UserGuid>,
    /// Monitors asked for, in order.
    asked: VecDeque<Asked>,
    next_src: u64,
    pub prefixes: DialPrefixes,
}

impl Session {
    pub fn new(number: u64) -> Self {
        Self {
            number,
            begun: Instant::now(),
            listed: false,
            users: HashMap::new(),
            handles: HashMap::new(),
            to_monitor: VecDeque::new(),
            asked: VecDeque::new(),
            next_src: 0,
            prefixes: DialPrefixes::default(),
        }
    }

    /// A `src` that no other request of this session has.
    pub fn new_src(&mut self, kind: &str) -> String {
        self.next_src += 1;
        format!("{kind}{}", self.next_src)
    }

    /// Takes a snapshot of a user. Returns it with its guid, unless it is not wanted or gone.
    pub fn user_info(&mut self, info: UserInfo, monitor: &Monitor) -> Option<(UserGuid, Identity)> {
        let guid: UserGuid = Arc::from(info.guid.as_str());
        if info.gone {
            if let Some(user) = self.users.get_mut(&guid) {
                user.leaving = true;
            }
            return None;
        }
        if guid.is_empty() || !monitor.wants(&info.cn) {
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
                self.users.insert(guid.clone(), User { info, handle: None, leaving: false });
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
            frames.push(rcc::user_initialize(&src, &cn));
            self.asked.push_back(Asked { src, user: guid, at: Instant::now() });
        }
        frames
    }

    /// The PBX gave a monitor its handle. An answer without `src` belongs to the oldest request.
    /// Returns whose monitor it is.
    pub fn monitored(&mut self, src: Option<&str>, handle: u64, prefixes: DialPrefixes) -> Option<UserGuid> {
        let at = src.map_or(Some(0), |src| self.asked.iter().position(|asked| asked.src == src));
        let Asked { user: guid, .. } = self.asked.remove(at?)?;
        if handle == 0 {
            warn!(user = %guid, "The PBX does not let this user be monitored");
            return None;
        }
        if let Some(user) = self.users.get_mut(&guid) {
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

    /// Silence is how some PBXs say no. One user without a monitor must not keep the others waiting.
    pub fn give_up_unanswered(&mut self) {
        while let Some(Asked { user, .. }) = self.asked.pop_front_if(|asked| asked.at.elapsed() > ANSWER_WITHIN) {
            warn!(%user, "The PBX does not answer whether this user may be monitored");
        }
    }

    /// Lets go of users who left and have no calls any more; returns the requests that end their monitors.
    pub fn release(&mut self, has_calls: impl Fn(&UserGuid) -> bool) -> Vec<String> {
        // Who is just being asked for has a handle soon, and only with that can be let go.
        let gone = |guid: &UserGuid, user: &User| user.leaving && !has_calls(guid) && !self.is_asked_for(guid);
        let gone: Vec<UserGuid> =
            self.users.iter().filter(|(guid, user)| gone(guid, user)).map(|(guid, _)| guid.clone()).collect();
        let mut frames = Vec::new();
        for guid in gone {
            if let Some(handle) = self.users.remove(&guid).and_then(|user| user.handle) {
                self.handles.remove(&handle);
                let src = self.new_src("e");
                frames.push(rcc::user_end(&src, handle));
            }
        }
        frames
    }

    pub fn user_of_handle(&self, handle: u64) -> Option<&UserGuid> {
        self.handles.get(&handle)
    }

    /// The monitored user or queue with this extension.
    pub fn by_extension(&self, extension: &str) -> Option<(&User, u64)> {
        let user = self.visible().find(|user| user.info.e164 == extension)?;
        Some((user, user.handle?))
    }

    pub fn identities(&self) -> impl Iterator<Item = (UserGuid, Identity)> {
        self.users.iter().map(|(guid, user)| (guid.clone(), identity(&user.info)))
    }

    /// The visible users and queues as the API shows them, by extension.
    pub fn describe(&self) -> Vec<Value> {
        let mut users: Vec<&User> = self.visible().collect();
        users.sort_by(|a, b| (&a.info.e164, &a.info.cn).cmp(&(&b.info.e164, &b.info.cn)));
        let describe = |user: &User| {
            let devices: Vec<Value> = user.info.devices.iter().map(|hw| json!({"hw": hw})).collect();
            json!({
                "extension": user.info.e164,
                "name": user.info.display_name(),
                "longName": user.info.cn,
                "guid": user.info.guid,
                "type": if user.info.pseudo.is_empty() { "user" } else { &user.info.pseudo },
                "registered": !devices.is_empty(),
                "devices": devices,
                "calls": user.info.channels.unwrap_or(0),
                "alerting": user.info.alerting.unwrap_or(0),
            })
        };
        users.into_iter().map(describe).collect()
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

fn identity(info: &UserInfo) -> Identity {
    Identity { extension: info.e164.clone(), name: info.display_name().to_owned() }
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
            session.user_info(info(&format!("g{n}"), &n.to_string()), &Monitor::default());
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

        session.user_info(UserInfo { gone: true, ..info("g1", "1") }, &Monitor::default());
        assert!(session.by_extension("1").is_none());
        assert!(session.release(|_| true).is_empty());
        assert_eq!(session.release(|_| false).len(), 1);
        assert!(session.user_of_handle(7).is_none());

        // Who leaves before the PBX has answered is let go as soon as it has.
        session.user_info(UserInfo { gone: true, ..info("g5", "5") }, &Monitor::default());
        assert!(session.release(|_| false).is_empty());
        session.monitored(Some("u6"), 9, DialPrefixes::default());
        assert_eq!(session.release(|_| false).len(), 1);
        assert!(session.user_of_handle(9).is_none());
    }

    #[test]
    fn only_listed_users_are_monitored() {
        let mut session = Session::new(1);
        let monitor = Monitor::List(vec!["a".to_owned()]);
        assert!(session.user_info(info("1", "a"), &monitor).is_some());
        assert!(session.user_info(info("2", "b"), &monitor).is_none());
        assert_eq!(session.monitor_next().len(), 1);
    }

    #[test]
    fn a_refused_monitor_leaves_no_handle() {
        let mut session = Session::new(1);
        session.user_info(info("1", "a"), &Monitor::default());
        session.monitor_next();
        session.monitored(Some("u1"), 0, DialPrefixes::default());
        assert!(session.by_extension("a").is_none());
        session.listed = true;
        assert!(session.is_complete());
    }
}
