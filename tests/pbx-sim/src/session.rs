//! One connection's view of the PBX: its login, webhooks and handles.
//!
//! Pure: frames leave through a channel, nothing here waits. Handles are counted per connection, and every
//! `UserInitialize` has a stream of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use crate::auth::{Identity, Login};
use crate::fault::Fault;
use crate::messages::{Tracked, WAITING, call_infos, call_update, reply, user_info, user_row};
use crate::quirks::{Quirks, RunningMessage};
use crate::subscriptions::{Directory, REPEAT, Stream, StreamFlags, TICK};
use crate::switch::{LegEvent, LegId, Object, ObjectId, Related, Switch, TO_OBJECT};
use crate::wire;
use crate::world::{AppSpec, Mode};

/// A result that is held back goes out this much later.
const HELD_BACK: Duration = Duration::from_millis(100);
/// What the writing side of a connection is told to do.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A text message, which need not be UTF-8.
    Text {
        bytes: Vec<u8>,
        in_fragments: bool,
    },
    Fault(Fault),
    Close,
}

/// Who connects, and to which PBX of the system.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) remote: SocketAddr,
    pub(crate) tls: bool,
    pub(crate) pbx: String,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) index: u32,
    pub(crate) remote: SocketAddr,
    pub(crate) tls: bool,
    /// The PBX that it is a connection of.
    pub(crate) pbx: String,
    pub(crate) out: UnboundedSender<Outgoing>,
    pub(crate) challenge: Option<String>,
    pub(crate) login: Option<Login>,
    pub(crate) directory: Option<Directory>,
    pub(crate) streams: BTreeMap<u32, Stream>,
    /// Call handles by their stream, and of calls parked at objects without a stream, as those of stream 0.
    pub(crate) handles: BTreeMap<(u32, u32), LegId>,
    /// `src` of an `Initialize{calls:true}`, and the legs it has been told about.
    pub(crate) monitor: Option<(Option<Value>, BTreeSet<LegId>)>,
    pub(crate) silent: bool,
    /// A fault that happens after so many more frames.
    pub(crate) fuse: Option<(u64, Fault)>,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// What the PBX is like at the moment.
    pub(crate) quirks: Arc<Quirks>,
    /// Frames that are not carried out yet, and when they will be.
    pub(crate) requests: VecDeque<(Duration, String)>,
    /// When the last message came.
    pub(crate) heard_at: Duration,
    /// Results that are held back, and until when.
    results: Vec<(Duration, Value)>,
    next_user: u32,
    /// The last call handle, by stream if each has its own.
    last_call: BTreeMap<u32, u32>,
}

impl Session {
    pub(crate) fn new(
        index: u32,
        Visitor { remote, tls, pbx }: Visitor,
        out: UnboundedSender<Outgoing>,
        quirks: Arc<Quirks>,
        now: Duration,
    ) -> Self {
        Self {
            index,
            remote,
            tls,
            pbx,
            out,
            quirks,
            requests: VecDeque::new(),
            heard_at: now,
            results: Vec::new(),
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
            last_call: BTreeMap::new(),
        }
    }

    pub(crate) fn send(&mut self, message: &Value) {
        if self.silent {
            return;
        }
        if self.quirks.unknown_messages && message["mt"] == "CallInfo" {
            self.write(&json!({"mt": "CallProgressInfo", "api": "RCC", "call": message["call"], "progress": [8]}));
        }
        self.write(message);
    }

    fn write(&mut self, message: &Value) {
        self.sent += 1;
        let bytes = wire::encode(message, &self.quirks);
        // A closed channel means that the connection is ending; its task removes the session.
        let _closing = self.out.send(Outgoing::Text { bytes, in_fragments: self.quirks.fragments });
        if let Some((left, fault)) = self.fuse.take() {
            match left {
                0 | 1 => self.strike(fault),
                left => self.fuse = Some((left - 1, fault)),
            }
        }
    }

    /// Sends a result, now or later.
    pub(crate) fn answer(&mut self, result: Value, now: Duration) {
        if self.quirks.late_results || (self.quirks.shuffled_results && self.results.is_empty()) {
            self.results.push((now + HELD_BACK, result));
        } else {
            self.send(&result);
            self.release_results(Duration::MAX);
        }
    }

    /// Sends the results that were held back until now, the last one first.
    fn release_results(&mut self, now: Duration) {
        let (due, later) = std::mem::take(&mut self.results).into_iter().partition(|(at, _)| *at <= now);
        self.results = later;
        let mut due: Vec<(Duration, Value)> = due;
        if self.quirks.shuffled_results {
            due.reverse();
        }
        for (_, result) in due {
            self.send(&result);
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
        flags: StreamFlags,
        src: Option<Value>,
    ) -> u32 {
        self.next_user += 1;
        let stream = Stream::new(object, hw, flags, src);
        self.streams.insert(self.next_user, stream);
        self.next_user
    }

    /// Ends a stream; its call handles are dead at once.
    pub(crate) fn close_stream(&mut self, user: u32) -> Option<Stream> {
        let stream = self.streams.remove(&user)?;
        let dead: BTreeSet<_> = stream.legs.values().map(|tracked| tracked.handle).collect();
        self.handles.retain(|(of, handle), _| *of != user || !dead.contains(handle));
        Some(stream)
    }

    /// The handle of a leg in a stream, a new one if it has none yet.
    pub(crate) fn handle(&mut self, user: u32, leg: LegId) -> u32 {
        let known = self.streams.get(&user).and_then(|stream| stream.legs.get(&leg));
        if let Some(tracked) = known {
            return tracked.handle;
        }
        let handle = self.free_handle(user);
        self.handles.insert((user, handle), leg);
        if let Some(stream) = self.streams.get_mut(&user) {
            stream.legs.insert(leg, Tracked::new(handle));
        }
        handle
    }

    fn free_handle(&mut self, user: u32) -> u32 {
        let per_user = self.quirks.handles_per_user;
        if self.quirks.reuse_handles {
            let taken = |n: &u32| self.handles.keys().any(|(of, handle)| handle == n && (*of == user || !per_user));
            return (1..).find(|n| !taken(n)).unwrap_or(0);
        }
        let last = self.last_call.entry(if per_user { user } else { 0 }).or_default();
        *last += 1;
        *last
    }

    /// The legs that a client may mean by a call handle: the one of the stream it names, then those of others.
    pub(crate) fn legs_by_handle(&self, user: Option<u32>, handle: u32) -> Vec<LegId> {
        let mut found: Vec<_> = self.handles.iter().filter(|((_, number), _)| *number == handle).collect();
        found.sort_by_key(|((of, _), _)| Some(*of) != user);
        found.into_iter().map(|(_, leg)| *leg).collect()
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

    /// Sends what is due: results, the next batch of the initial list, users who come late or again.
    pub(crate) fn tick(&mut self, now: Duration, switch: &Switch) {
        self.release_results(now);
        if self.idle_end().is_some_and(|end| end <= now) {
            self.heard_at = Duration::MAX;
            let _closing = self.out.send(Outgoing::Close);
        }
        self.list(now, switch);
        let Some(directory) = self.directory.as_mut() else { return };
        if let Some((_, users)) = directory.late.take_if(|(at, _)| *at <= now) {
            for id in users {
                self.show(switch, id, Some("add"));
            }
        }
        let Some(directory) = self.directory.as_mut().filter(|directory| directory.repeat_at <= now) else { return };
        directory.repeat_at = now + REPEAT;
        if self.quirks.repeat_users {
            let again: Vec<_> = directory.shown.values().cloned().collect();
            let src = directory.src.clone();
            for row in again {
                self.send(&user_info(row, Some("change"), src.clone()));
            }
        }
    }

    /// The next batch of the initial list.
    fn list(&mut self, now: Duration, switch: &Switch) {
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
            let src = directory.src.clone().filter(|_| !self.quirks.omit_result_src);
            self.send(&reply("InitializeResult", src));
            self.begin_monitor(switch);
        }
    }

    /// When the connection is closed because the client says nothing.
    fn idle_end(&self) -> Option<Duration> {
        let limit = Duration::from_millis(self.quirks.idle_close_ms);
        Some(self.heard_at).filter(|_| !limit.is_zero())?.checked_add(limit)
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
        let request = self.requests.front().map(|(at, _)| *at);
        let result = self.results.iter().map(|(at, _)| *at).min();
        let directory = self.directory.as_ref();
        let list = directory.filter(|directory| directory.pending.is_some()).map(|directory| directory.next_at);
        let late = directory.and_then(|directory| directory.late.as_ref()).map(|(at, _)| *at);
        let repeat = directory.filter(|_| self.quirks.repeat_users).map(|directory| directory.repeat_at);
        [request, result, list, late, repeat, self.idle_end()].into_iter().flatten().min()
    }

    /// Sends a user's row, unless it is the one sent last.
    fn show(&mut self, switch: &Switch, id: ObjectId, update: Option<&str>) {
        let (Some(directory), Some(object)) = (self.directory.as_mut(), switch.object(id)) else { return };
        let row = user_row(switch, object, &self.quirks);
        if directory.shown.get(&id) == Some(&row) {
            return;
        }
        directory.shown.insert(id, row.clone());
        let message = user_info(row, update, directory.src.clone());
        for _ in 0..if self.quirks.repeat_users { 2 } else { 1 } {
            self.send(&message);
        }
    }

    /// An object was added or changed, or has another number of calls.
    pub(crate) fn on_object(&mut self, id: ObjectId, switch: &Switch, apps: &[AppSpec]) {
        let Some(directory) = &self.directory else { return };
        if directory.awaits(id) {
            return;
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
        if let Some((_, late)) = directory.late.as_mut() {
            late.retain(|other| *other != id);
        }
        if let Some(row) = directory.shown.remove(&id) {
            let message = user_info(row, Some("del"), directory.src.clone());
            self.send(&message);
        }
    }

    /// Something happened on a leg.
    pub(crate) fn on_leg(&mut self, event: &LegEvent, switch: &Switch) {
        let users: Vec<_> = self.streams.keys().copied().collect();
        for user in users {
            self.on_stream(user, event, switch);
        }
        if event.is_last() {
            self.handles.retain(|_, leg| *leg != event.leg);
        }
        self.on_monitor(event, switch);
    }

    fn on_stream(&mut self, user: u32, event: &LegEvent, switch: &Switch) {
        let Some(stream) = self.streams.get_mut(&user) else { return };
        if let Some((mut tracked, place)) = stream.follows.remove(&event.leg) {
            let no = [event.no.clone(), vec![Related { kind: "xfer", party: place.clone() }]].concat();
            let src = stream.src.clone();
            self.call_info(user, &mut tracked, &LegEvent { no, ..event.clone() }, src.as_ref());
            if let Some(stream) = self.streams.get_mut(&user).filter(|_| !event.is_last()) {
                stream.follows.insert(event.leg, (tracked, place));
            }
            return;
        }
        if self.quirks.one_handle_for_all && stream.hw.is_none() && stream.concerns(event, &self.pbx) {
            let (is_told, moved) = stream.share(event);
            for leg in self.handles.values_mut() {
                if let Some((_, to)) = moved.filter(|(from, _)| from == leg) {
                    *leg = to;
                }
            }
            if !is_told {
                return;
            }
        }
        if !stream.concerns(event, &self.pbx) || (event.is_last() && !stream.legs.contains_key(&event.leg)) {
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
            self.call_info(user, &mut tracked, &LegEvent { no, ..target.clone() }, src.as_ref());
            if let Some(stream) = self.streams.get_mut(&user) {
                stream.follows.insert(target.leg, (tracked, place));
            }
            return;
        }
        self.handle(user, event.leg);
        let Some(stream) = self.streams.get_mut(&user) else { return };
        let src = stream.src.clone();
        let Some(mut tracked) = stream.legs.remove(&event.leg) else { return };
        self.call_info(user, &mut tracked, event, src.as_ref());
        if let Some(stream) = self.streams.get_mut(&user).filter(|_| !event.is_last()) {
            stream.legs.insert(event.leg, tracked);
        }
    }

    fn call_info(&mut self, user: u32, tracked: &mut Tracked, event: &LegEvent, src: Option<&Value>) {
        let quirks = self.quirks.clone();
        for message in call_infos(user, tracked, event, src, &quirks) {
            self.send(&message);
        }
    }

    /// Tells a new stream about the calls that run already.
    pub(crate) fn report_running(&mut self, user: u32, switch: &Switch) {
        let Some(object) = self.streams.get(&user).map(|stream| stream.object) else { return };
        for mut event in switch.legs_of(object).into_iter().filter_map(|leg| switch.snapshot(leg)) {
            event.msg = match self.quirks.running_message {
                RunningMessage::Update => "update",
                RunningMessage::Absent => "",
                RunningMessage::Phase => message_of_phase(event.state),
            };
            self.on_stream(user, &event, switch);
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
        message["state"] = (event.state | if event.waiting { WAITING } else { 0 }).into();
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
                let mut message = reply(if self.quirks.call_delete { "CallDelete" } else { "CallDel" }, src);
                message["call"] = event.leg.0.into();
                self.send(&message);
            }
            return;
        }
        if !known.contains(&event.leg) {
            self.add_call(event, switch);
        }
        let message = call_update(event, src, &self.quirks);
        self.send(&message);
    }
}

/// What was signalled when a leg reached its present phase.
fn message_of_phase(state: u16) -> &'static str {
    match (state & TO_OBJECT == 0, state & 0x0f) {
        (true, 1) => "x-setup",
        (true, 2) => "r-setup-ack",
        (true, 3) => "r-call-proc",
        (true, 4) => "r-alert",
        (true, 5) => "r-conn",
        (false, 1) => "r-setup",
        (false, 3) => "x-call-proc",
        (false, 4) => "x-alert",
        (false, 5) => "x-conn",
        _ => "update",
    }
}
