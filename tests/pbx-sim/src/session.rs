//! One connection's view of the PBX: its login, webhooks and handles.
//!
//! Pure: frames leave through a channel, nothing here waits. Handles are counted per connection, and every
//! `UserInitialize` has a stream of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc::UnboundedSender;

use crate::auth::{Identity, Login};
use crate::causes;
use crate::fault::Fault;
use crate::quirks::{DelStyle, Quirks};
use crate::switch::{LegEvent, LegId, Object, ObjectId, Party, Related, Switch};
use crate::world::{AppSpec, Mode};

/// The PBX sends this many users per tick at most.
pub(crate) const BATCH: usize = 50;
/// Time between two batches of users.
pub(crate) const TICK: Duration = Duration::from_millis(20);

/// What the writing side of a connection is told to do.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Text(String),
    Fault(Fault),
    Close,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) index: u32,
    pub(crate) remote: SocketAddr,
    pub(crate) tls: bool,
    pub(crate) out: UnboundedSender<Outgoing>,
    pub(crate) challenge: Option<String>,
    pub(crate) login: Option<Login>,
    pub(crate) directory: Option<Directory>,
    pub(crate) streams: BTreeMap<u32, Stream>,
    /// Call handles of all streams, and of calls parked at objects without a stream.
    pub(crate) handles: BTreeMap<u32, LegId>,
    /// `src` of an `Initialize{calls:true}`, and the legs it has been told about.
    pub(crate) monitor: Option<(Option<Value>, BTreeSet<LegId>)>,
    pub(crate) silent: bool,
    /// A fault that happens after so many more frames.
    pub(crate) fuse: Option<(u64, Fault)>,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    next_user: u32,
    next_call: u32,
}

/// The webhook made by `Initialize`.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) src: Option<Value>,
    pub(crate) grp: bool,
    pub(crate) limit: usize,
    /// Users of the initial list that have not been sent yet. `None` once the result is out.
    pub(crate) pending: Option<VecDeque<ObjectId>>,
    pub(crate) next_at: Duration,
    /// The last row sent of each user.
    pub(crate) shown: BTreeMap<ObjectId, Map<String, Value>>,
}

/// The webhook made by one `UserInitialize`.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) object: ObjectId,
    pub(crate) hw: Option<String>,
    pub(crate) xfer: bool,
    pub(crate) disc: bool,
    pub(crate) src: Option<Value>,
    legs: BTreeMap<LegId, Tracked>,
    /// Legs elsewhere that carry on a call which was transferred away from here.
    follows: BTreeMap<LegId, (Tracked, Party)>,
}

#[derive(Debug, Clone, Default)]
struct Tracked {
    handle: u32,
    /// Conference id last sent; empty before the first message.
    conf: String,
}

impl Stream {
    fn concerns(&self, event: &LegEvent) -> bool {
        let other_phone = |hw: &String| event.device.as_ref().is_some_and(|device| device != hw);
        self.object == event.object && !self.hw.as_ref().is_some_and(other_phone)
    }
}

impl Session {
    pub(crate) fn new(index: u32, remote: SocketAddr, tls: bool, out: UnboundedSender<Outgoing>) -> Self {
        Self {
            index,
            remote,
            tls,
            out,
            challenge: None,
            login: None,
            directory: None,
            streams: BTreeMap::new(),
            handles: BTreeMap::new(),
            monitor: None,
            silent: false,
            fuse: None,
            sent: 0,
            received: 0,
            next_user: 0,
            next_call: 0,
        }
    }

    pub(crate) fn send(&mut self, message: &Value) {
        if self.silent {
            return;
        }
        self.sent += 1;
        // A closed channel means that the connection is ending; its task removes the session.
        let _closing = self.out.send(Outgoing::Text(message.to_string()));
        if let Some((left, fault)) = self.fuse.take() {
            match left {
                0 | 1 => self.strike(fault),
                left => self.fuse = Some((left - 1, fault)),
            }
        }
    }

    pub(crate) fn strike(&mut self, fault: Fault) {
        self.silent |= matches!(fault, Fault::Silent);
        let _closing = self.out.send(Outgoing::Fault(fault));
    }

    /// Opens a stream and returns its user handle.
    pub(crate) fn open_stream(
        &mut self,
        object: ObjectId,
        hw: Option<String>,
        flags: (bool, bool),
        src: Option<Value>,
    ) -> u32 {
        self.next_user += 1;
        let (xfer, disc) = flags;
        let stream = Stream { object, hw, xfer, disc, src, legs: BTreeMap::new(), follows: BTreeMap::new() };
        self.streams.insert(self.next_user, stream);
        self.next_user
    }

    /// Ends a stream; its call handles are dead at once.
    pub(crate) fn close_stream(&mut self, user: u32) -> Option<Stream> {
        let stream = self.streams.remove(&user)?;
        let dead: BTreeSet<_> = stream.legs.values().map(|tracked| tracked.handle).collect();
        self.handles.retain(|handle, _| !dead.contains(handle));
        Some(stream)
    }

    /// The handle of a leg in a stream, a new one if it has none yet.
    pub(crate) fn handle(&mut self, user: u32, leg: LegId) -> u32 {
        let known = self.streams.get(&user).and_then(|stream| stream.legs.get(&leg));
        if let Some(tracked) = known {
            return tracked.handle;
        }
        self.next_call += 1;
        let handle = self.next_call;
        self.handles.insert(handle, leg);
        if let Some(stream) = self.streams.get_mut(&user) {
            stream.legs.insert(leg, Tracked { handle, conf: String::new() });
        }
        handle
    }

    /// The handle under which a leg of any object is, or will be, known here.
    pub(crate) fn handle_at(&mut self, object: ObjectId, leg: LegId) -> u32 {
        let user = self.streams.iter().find(|(_, stream)| stream.object == object).map(|(user, _)| *user);
        self.handle(user.unwrap_or(0), leg)
    }

    /// Whom this connection sees.
    pub(crate) fn visible(&self, switch: &Switch, apps: &[AppSpec], grp: bool) -> Vec<ObjectId> {
        let Some(login) = &self.login else { return Vec::new() };
        match &login.identity {
            Identity::User(account) => account.iter().copied().collect(),
            Identity::App(name) => {
                let active = |group: &str| {
                    apps.iter()
                        .filter(|app| app.name == *name)
                        .any(|app| app.groups.iter().any(|member| member.mode == Mode::Active && member.name == group))
                };
                let sees = |object: &&Object| match grp {
                    true => object.groups.iter().any(|group| active(&group.name)),
                    false => object.apps.contains(name),
                };
                switch.objects().filter(sees).map(|object| object.id).collect()
            }
        }
    }

    /// Sends the next batch of the initial list if it is due.
    pub(crate) fn tick(&mut self, now: Duration, switch: &Switch) {
        let Some(directory) = self.directory.as_mut().filter(|directory| directory.next_at <= now) else { return };
        let Some(pending) = directory.pending.as_mut() else { return };
        let batch: Vec<_> = pending.drain(..directory.limit.min(pending.len())).collect();
        let done = pending.is_empty();
        directory.next_at = now + TICK;
        for id in batch {
            self.show(switch, id, None);
        }
        if done && let Some(directory) = self.directory.as_mut() {
            directory.pending = None;
            let result = reply("InitializeResult", directory.src.clone());
            self.send(&result);
            self.begin_monitor(switch);
        }
    }

    fn begin_monitor(&mut self, switch: &Switch) {
        if self.monitor.is_some() {
            for leg in switch.all_legs() {
                if let Some(event) = switch.snapshot(leg) {
                    self.add_call(&event, switch);
                }
            }
        }
    }

    /// When `tick` has something to do next.
    pub(crate) fn next_tick(&self) -> Option<Duration> {
        self.directory.as_ref().filter(|directory| directory.pending.is_some()).map(|directory| directory.next_at)
    }

    /// Sends a user's row, unless it is the one sent last.
    fn show(&mut self, switch: &Switch, id: ObjectId, update: Option<&str>) {
        let (Some(directory), Some(object)) = (self.directory.as_mut(), switch.object(id)) else { return };
        let row = user_row(switch, object);
        if directory.shown.get(&id) == Some(&row) {
            return;
        }
        directory.shown.insert(id, row.clone());
        let message = user_info(row, update, directory.src.clone());
        self.send(&message);
    }

    /// An object was added or changed, or has another number of calls.
    pub(crate) fn on_object(&mut self, id: ObjectId, switch: &Switch, apps: &[AppSpec]) {
        let Some(directory) = &self.directory else { return };
        if directory.pending.as_ref().is_some_and(|pending| pending.contains(&id)) {
            return; // Its first row is still to come and will be fresh.
        }
        let was = directory.shown.contains_key(&id);
        let is = self.visible(switch, apps, directory.grp).contains(&id);
        match (was, is) {
            (true, true) => self.show(switch, id, Some("change")),
            (false, true) => self.show(switch, id, Some("add")),
            (true, false) => self.on_gone(id),
            (false, false) => {}
        }
    }

    /// An object is gone, or no longer visible.
    pub(crate) fn on_gone(&mut self, id: ObjectId) {
        let Some(directory) = self.directory.as_mut() else { return };
        if let Some(pending) = directory.pending.as_mut() {
            pending.retain(|other| *other != id);
        }
        if let Some(row) = directory.shown.remove(&id) {
            let message = user_info(row, Some("del"), directory.src.clone());
            self.send(&message);
        }
    }

    /// Something happened on a leg.
    pub(crate) fn on_leg(&mut self, event: &LegEvent, switch: &Switch, quirks: &Quirks) {
        let users: Vec<_> = self.streams.keys().copied().collect();
        for user in users {
            self.on_stream(user, event, switch, quirks);
        }
        if event.is_last() {
            self.handles.retain(|_, leg| *leg != event.leg);
        }
        self.on_monitor(event, switch);
    }

    fn on_stream(&mut self, user: u32, event: &LegEvent, switch: &Switch, quirks: &Quirks) {
        let Some(stream) = self.streams.get_mut(&user) else { return };
        if let Some((mut tracked, place)) = stream.follows.remove(&event.leg) {
            let no = [event.no.clone(), vec![Related { kind: "xfer", party: place.clone() }]].concat();
            let src = stream.src.clone();
            self.call_info(user, &mut tracked, &LegEvent { no, ..event.clone() }, src, quirks);
            if let Some(stream) = self.streams.get_mut(&user).filter(|_| !event.is_last()) {
                stream.follows.insert(event.leg, (tracked, place));
            }
            return;
        }
        if !stream.concerns(event) || (event.is_last() && !stream.legs.contains_key(&event.leg)) {
            return;
        }
        // With `xfer`, a call that was transferred away goes on under its old handle.
        let moved = event.moved_to.filter(|_| stream.xfer && event.msg == "r-rel");
        if let Some(target) = moved.and_then(|leg| switch.snapshot(leg)).filter(|target| target.conf == event.conf)
            && let Some(mut tracked) = stream.legs.remove(&event.leg)
        {
            let src = stream.src.clone();
            let no = [target.no.clone(), vec![Related { kind: "xfer", party: target.own.clone() }]].concat();
            let place = target.own.clone();
            self.call_info(user, &mut tracked, &LegEvent { no, ..target.clone() }, src, quirks);
            if let Some(stream) = self.streams.get_mut(&user) {
                stream.follows.insert(target.leg, (tracked, place));
            }
            return;
        }
        self.handle(user, event.leg);
        let Some(stream) = self.streams.get_mut(&user) else { return };
        let src = stream.src.clone();
        let Some(mut tracked) = stream.legs.remove(&event.leg) else { return };
        self.call_info(user, &mut tracked, event, src, quirks);
        if let Some(stream) = self.streams.get_mut(&user).filter(|_| !event.is_last()) {
            stream.legs.insert(event.leg, tracked);
        }
    }

    fn call_info(&mut self, user: u32, tracked: &mut Tracked, event: &LegEvent, src: Option<Value>, quirks: &Quirks) {
        if quirks.skip_alert && matches!(event.msg, "x-alert" | "r-alert") {
            return;
        }
        let first = tracked.conf.is_empty();
        let mut message = reply("CallInfo", src);
        message["user"] = user.into();
        message["call"] = tracked.handle.into();
        message["state"] = event.state.into();
        if !quirks.omit_conf || tracked.conf != event.conf {
            message["conf"] = event.conf.clone().into();
            tracked.conf.clone_from(&event.conf);
        }
        if !quirks.omit_time {
            message["time"] = event.seconds.into();
        }
        message["peer"] =
            if quirks.empty_peer && !first { json!({ "e164": "", "h323": "" }) } else { connector(&event.peer) };
        if !event.no.is_empty() {
            message["no"] = event.no.iter().map(related).collect();
        }
        if !event.is_last() || quirks.del != DelStyle::Flag {
            message["msg"] = event.msg.into();
        }
        if event.is_last() && quirks.del != DelStyle::Msg {
            message["del"] = true.into();
        }
        let cause = event.cause.map(|cause| json!({"type": "cause", "vali": cause, "vals": causes::text(cause)}));
        let uui = event.uui.as_ref().map(|uui| json!({"type": "uui", "vals": uui}));
        let mut info: Vec<_> = cause.into_iter().chain(uui).collect();
        match info.len() {
            0 => {}
            1 if quirks.info_object => message["info"] = info.remove(0),
            _ => message["info"] = info.into(),
        }
        if let Some(dtmf) = &event.dtmf {
            message["dtmf"] = dtmf.clone().into();
        }
        self.send(&message);
        if quirks.double_events && !event.is_last() {
            self.send(&message);
        }
    }

    /// Tells a new stream about the calls that run already.
    pub(crate) fn report_running(&mut self, user: u32, switch: &Switch, quirks: &Quirks) {
        let Some(object) = self.streams.get(&user).map(|stream| stream.object) else { return };
        for event in switch.legs_of(object).into_iter().filter_map(|leg| switch.snapshot(leg)) {
            self.on_stream(user, &event, switch, quirks);
        }
    }

    fn add_call(&mut self, event: &LegEvent, switch: &Switch) {
        let Some((src, known)) = self.monitor.as_mut() else { return };
        known.insert(event.leg);
        let mut message = reply("CallAdd", src.clone());
        let object = switch.object(event.object);
        message["guid"] = object.map(|object| object.guid.clone()).into();
        message["cn"] = object.map(|object| object.cn.clone()).into();
        message["call"] = event.leg.0.into();
        message["state"] = (event.state | if event.waiting { 0x400 } else { 0 }).into();
        message["conf-id"] = event.conf.clone().into();
        message["call-id"] = event.call_guid.clone().into();
        self.send(&message);
    }

    /// `Initialize{calls:true}`: every leg of the PBX, in PBX-centric words.
    fn on_monitor(&mut self, event: &LegEvent, switch: &Switch) {
        let listing = self.directory.as_ref().is_some_and(|directory| directory.pending.is_some());
        let Some((src, known)) = self.monitor.as_mut().filter(|_| !listing) else { return };
        let src = src.clone();
        if event.is_last() {
            if known.remove(&event.leg) {
                let mut message = reply("CallDel", src);
                message["call"] = event.leg.0.into();
                self.send(&message);
            }
            return;
        }
        if !known.contains(&event.leg) {
            self.add_call(event, switch);
        }
        let mut message = reply("CallUpdate", src);
        message["call"] = event.leg.0.into();
        // What the terminal transmits is what the PBX receives.
        message["msg"] = match event.msg.split_once('-') {
            Some(("x", rest)) => format!("r-{rest}").into(),
            Some(("r", rest)) => format!("x-{rest}").into(),
            _ => event.msg.into(),
        };
        let end = |party: &Party, number: &str| json!({"h323": party.h323, "e164": number});
        message["local"] = end(&event.peer, &event.peer.e164);
        message["remote"] = end(&event.own, event.own.norm.as_ref().unwrap_or(&event.own.e164));
        self.send(&message);
    }
}

/// An RCC message with the `src` it belongs to.
pub(crate) fn reply(mt: &str, src: Option<Value>) -> Value {
    let mut message = json!({"api": "RCC", "mt": mt});
    if let Some(src) = src {
        message["src"] = src;
    }
    message
}

fn connector(party: &Party) -> Value {
    let mut value = json!({"cn": party.cn, "dn": party.dn, "h323": party.h323, "e164": party.e164});
    if let Some(norm) = &party.norm {
        value["norm"] = norm.clone().into();
    }
    value
}

fn related(related: &Related) -> Value {
    let mut value = connector(&related.party);
    value["type"] = related.kind.into();
    value
}

fn user_row(switch: &Switch, object: &Object) -> Map<String, Value> {
    let (channel, alert) = switch.load(object.id);
    let mut row = Map::new();
    for (key, value) in [
        ("guid", &object.guid),
        ("cn", &object.cn),
        ("dn", &object.dn),
        ("h323", &object.h323),
        ("e164", &object.e164),
        ("node", &switch.node),
        ("pbx", &switch.pbx),
    ] {
        row.insert(key.to_owned(), value.clone().into());
    }
    row.insert("pseudo".to_owned(), object.pseudo().into());
    let regs: Vec<_> = object.registered().map(|device| json!({"hw": device.hw})).collect();
    if !regs.is_empty() {
        row.insert("regs".to_owned(), regs.into());
    }
    row.insert("channel".to_owned(), channel.into());
    row.insert("alert".to_owned(), alert.into());
    row
}

fn user_info(row: Map<String, Value>, update: Option<&str>, src: Option<Value>) -> Value {
    let mut message = Value::Object(row);
    message["mt"] = "UserInfo".into();
    message["api"] = "RCC".into();
    if let Some(update) = update {
        message["update"] = update.into();
    }
    if let Some(src) = src {
        message["src"] = src;
    }
    message
}
