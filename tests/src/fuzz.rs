//! Anything at all as frames: the parser and the call core take it without a panic and without growing, and what comes out is still a
//! sequence of events that a receiver can live with.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use easyconnect_agent::calls::{Calls, LegId, Origin, Output, Spot, UserGuid, UserIdentity};
use easyconnect_agent::pbx::frames::Frame;
use easyconnect_agent::pbx::rcc::RccFrame;
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};
use shared::event::{CallEvent, Direction, Status, message};
use shared::ids::CallId;
use shared::tables::LegItem;
use uuid::Uuid;

use crate::faults::seed;
use crate::process::{Curve, Process, mebibytes};

/// What the queue takes as one message.
const MESSAGE: usize = 256 * 1024;
/// Memory that a run may have gained between its first and its last third: what bounded memories fill up with once.
const GROWTH: u64 = 24 << 20;
const USERS: u64 = 5;
const FRAMES_PER_LOOK: u32 = 200;

#[derive(Debug, Default)]
struct Counts {
    frames: u64,
    call_infos: u64,
    refused: u64,
    events: u64,
}

/// Panics if the core does, or if it grows.
#[expect(clippy::print_stdout, reason = "the seed and the size of a run have to be known")]
pub fn run(lasts: Duration) {
    let seed = seed();
    println!("fuzz for {lasts:?}: EASYCONNECT_SEED={seed}");
    let mut fuzzer = Fuzzer::new(seed);
    let begun = Instant::now();
    let mut memory = Curve::default();
    while begun.elapsed() < lasts {
        for _ in 0..FRAMES_PER_LOOK {
            fuzzer.step();
        }
        memory.add(Process::own().memory());
    }
    fuzzer.end();
    let (first, last) = memory.thirds();
    let Counts { frames, call_infos, refused, events } = fuzzer.counts;
    println!(
        "{frames} frames, {refused} of them refused, {call_infos} about calls; {events} events; {:.1} MiB, later {:.1} MiB",
        mebibytes(first),
        mebibytes(last)
    );
    assert!(call_infos > 0 && events > 0 && refused > 0, "nothing was tried");
    assert!(last <= first + GROWTH, "memory has grown; EASYCONNECT_SEED={seed}");
}

struct Fuzzer {
    choices: StdRng,
    calls: Calls,
    now: Timestamp,
    session: u64,
    questions: VecDeque<(LegId, Vec<Spot>)>,
    /// What was written down, as the table keeps it: by user, conference and direction, and counts only grow.
    table: HashMap<(UserGuid, String, Direction), LegItem>,
    legs: VecDeque<LegId>,
    /// The last status told of each call that has no end yet.
    open: HashMap<CallId, Status>,
    counts: Counts,
}

impl Fuzzer {
    fn new(seed: u32) -> Self {
        let origin = Origin { pbx_id: Arc::from("master"), agent_id: Arc::from("fuzz/1") };
        let mut calls = Calls::new(origin, Uuid::nil());
        for n in 0..USERS {
            calls.user_is(
                user(n),
                UserIdentity {
                    extension: n.to_string(),
                    name: format!("User {n}"),
                    queue: n == 0,
                    ..UserIdentity::default()
                },
            );
        }
        let now = Timestamp::from_second(1_700_000_000).expect("a time");
        calls.session_started(now);
        Self {
            choices: StdRng::seed_from_u64(u64::from(seed)),
            calls,
            now,
            session: 1,
            questions: VecDeque::new(),
            table: HashMap::new(),
            legs: VecDeque::new(),
            open: HashMap::new(),
            counts: Counts::default(),
        }
    }

    fn step(&mut self) {
        // Now and then somebody sets the clock back.
        let millis = if self.choices.random_ratio(1, 5000) { -90_000 } else { self.choices.random_range(0..400) };
        self.now += SignedDuration::from_millis(millis);
        let outputs = match self.choices.random_range(0..1000u32) {
            0..3 => {
                self.session += 1;
                self.questions.clear();
                let outputs = self.calls.session_lost(self.now);
                self.calls.session_started(self.now);
                outputs
            }
            3..10 => self.settle(),
            10..60 => self.calls.tick(self.now),
            60..200 => self.answer_a_question(),
            200..210 => {
                if let Some(leg) = self.legs.back() {
                    self.calls.will_park(*leg);
                }
                Vec::new()
            }
            210..214 => {
                self.calls.watching(user(self.choices.random_range(0..USERS)), self.now);
                Vec::new()
            }
            _ => self.frame(),
        };
        self.perform(outputs);
        while self.questions.len() > 100 {
            let outputs = self.answer_a_question();
            self.perform(outputs);
        }
        if self.choices.random_ratio(1, 20) {
            let _ = self.calls.changes();
        }
        if self.choices.random_ratio(1, 2000) {
            let all: Vec<CallId> = self.calls.all().map(|(call, _)| call).collect();
            for call in all {
                assert!(self.calls.describe(call, self.now).is_some());
                let _ = self.calls.legs_of(call);
            }
        }
    }

    fn answer_a_question(&mut self) -> Vec<Output> {
        let Some((leg, spots)) = self.questions.pop_front() else { return Vec::new() };
        let key = |spot: Spot| (spot.user, spot.conference.to_string(), spot.direction);
        let known: Vec<LegItem> = spots.into_iter().filter_map(|spot| self.table.get(&key(spot)).cloned()).collect();
        // Now and then the table is out of reach.
        let answer = self.choices.random_bool(0.8).then_some(known.as_slice());
        self.calls.learn(leg, answer, self.now)
    }

    fn settle(&mut self) -> Vec<Output> {
        let mut out = Vec::new();
        for user in self.calls.users_with_missing_calls() {
            let channels = self.choices.random_bool(0.5).then(|| self.choices.random_range(0..3));
            let others = self.choices.random_bool(0.3).then_some(self.now);
            let items = self.items_of(&user);
            self.calls.channels_are(&user, channels);
            out.extend(self.calls.settle(&user, others, &items, self.now));
        }
        out
    }

    fn items_of(&self, user: &UserGuid) -> Vec<LegItem> {
        self.table.iter().filter(|((whose, ..), _)| whose == user).map(|(_, item)| item.clone()).collect()
    }

    fn frame(&mut self) -> Vec<Output> {
        let text = text(&mut self.choices);
        self.counts.frames += 1;
        match Frame::parse(&text) {
            Ok(Frame::Rcc(RccFrame::CallInfo(info))) => {
                self.counts.call_infos += 1;
                let user = user(info.user % USERS);
                let report = info.into_report(self.session);
                self.legs.push_back(report.leg);
                self.legs.truncate(20);
                self.calls.report(&user, report, self.now)
            }
            Ok(Frame::Rcc(RccFrame::User(info))) => {
                let identity =
                    UserIdentity { extension: info.e164.clone(), name: info.display_name(), ..UserIdentity::default() };
                self.calls.user_is(user(info.cn.len() as u64 % USERS), identity);
                Vec::new()
            }
            Ok(_) => Vec::new(),
            Err(_) => {
                self.counts.refused += 1;
                Vec::new()
            }
        }
    }

    fn perform(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Event(event) => self.told(&event),
                Output::Remember(user, item) => {
                    let key = (user, item.conference.clone(), item.direction);
                    if self.table.get(&key).is_none_or(|old| old.ended <= item.ended) {
                        self.table.insert(key, item);
                    }
                    // A day has passed.
                    if self.table.len() > 200 {
                        self.table.clear();
                    }
                }
                Output::Ask(leg, spots) => self.questions.push_back((leg, spots)),
            }
        }
    }

    fn told(&mut self, event: &CallEvent) {
        self.counts.events += 1;
        let sealed = message::seal(event).expect("JSON");
        assert!(sealed.len() < MESSAGE, "an event of {} bytes", sealed.len());
        assert!(!sealed.contains('\u{ffff}'), "SQS would refuse {sealed}");
        let before = match event.status() {
            Status::Disconnected => self.open.remove(&event.call_id()),
            status => self.open.insert(event.call_id(), status),
        };
        let in_order = before.is_none_or(|before| before < event.status());
        assert!(in_order, "{before:?} and then {event:?}");
    }

    /// The PBX is gone for good: every call that was told of has its end.
    fn end(&mut self) {
        let outputs = self.calls.session_lost(self.now);
        self.perform(outputs);
        self.calls.session_started(self.now);
        self.now += SignedDuration::from_hours(5);
        let outputs = self.calls.tick(self.now);
        self.perform(outputs);
        assert_eq!(self.calls.live_calls(), 0);
    }
}

fn user(n: u64) -> UserGuid {
    Arc::from(format!("{n:032x}"))
}

/// A frame: mostly about a call and nearly right, sometimes anything.
fn text(choices: &mut StdRng) -> String {
    let frame = match choices.random_range(0..10u32) {
        0 => anything(choices, 4),
        1 => {
            let kinds =
                ["UserInfo", "UserCallResult", "UserInitializeResult", "DevicesResult", "AppChallengeResult", "X"];
            let mut frame = object(choices, 3);
            frame.insert("mt".to_owned(), json!(kinds.choose(choices)));
            Value::Object(frame)
        }
        _ => call_info(choices),
    };
    let mut text = frame.to_string();
    match choices.random_range(0..200u32) {
        // Deeper than anybody means it.
        0 => text = format!("{}{text}{}", "[".repeat(10_000), "]".repeat(10_000)),
        1 => text = format!(r#"{{"mt":"CallInfo","user":1,"call":1,"no":{}1{}}}"#, "[".repeat(100), "]".repeat(100)),
        // Cut, or with a byte gone wrong.
        2..8 => {
            let end = choices.random_range(0..=text.len());
            text = String::from_utf8_lossy(&text.as_bytes()[..end]).into_owned();
        }
        8..14 if !text.is_empty() => {
            let mut bytes = text.into_bytes();
            let at = choices.random_range(0..bytes.len());
            bytes[at] = choices.random();
            text = String::from_utf8_lossy(&bytes).into_owned();
        }
        _ => {}
    }
    text
}

fn call_info(choices: &mut StdRng) -> Value {
    let states = [0, 1, 3, 4, 5, 6, 7, 8, 129, 131, 132, 133, 134, 135, 136, 261, 389, 517, 645, 901];
    let mut frame = json!({
        "mt": "CallInfo",
        "api": "RCC",
        "user": choices.random_range(0..USERS),
        "call": choices.random_range(0..12),
        "state": states.choose(choices),
    });
    let messages = ["r-setup", "r-alert", "x-conn", "r-ct", "r-disc", "update", "del"];
    let kinds = ["leg2", "leg2orig", "leg1", "ct", "parked-to", "picking", "xfer"];
    let party =
        |choices: &mut StdRng| json!({"e164": choices.random_range(0..30u32).to_string(), "dn": words(choices)});
    if choices.random_bool(0.7) {
        frame["conf"] = json!(format!("c{}", choices.random_range(0..40)));
    }
    if choices.random_bool(0.5) {
        frame["peer"] = party(choices);
    }
    if choices.random_bool(0.4) {
        frame["msg"] = json!(messages.choose(choices));
    }
    if choices.random_bool(0.2) {
        let mut other = party(choices);
        other["type"] = json!(kinds.choose(choices));
        frame["no"] = json!([other]);
    }
    if choices.random_bool(0.1) {
        frame["del"] = json!(true);
    }
    if choices.random_bool(0.2) {
        frame["time"] = json!(choices.random_range(0..10_000));
    }
    if choices.random_bool(0.2) {
        frame["info"] = json!([{"type": "cause", "vali": choices.random_range(0..200)}]);
    }
    // Some property is missing, or is what it should not be.
    if choices.random_bool(0.3) {
        let names = ["user", "call", "state", "conf", "peer", "msg", "no", "del", "time", "info", "cause", "mt"];
        let name = *names.choose(choices).expect("names");
        if choices.random_bool(0.4) {
            frame.as_object_mut().expect("an object").remove(name);
        } else if name != "conf" {
            frame[name] = anything(choices, 2);
        }
    }
    frame
}

fn words(choices: &mut StdRng) -> String {
    let words = ["", "Baker", "\"", "\u{0}", "\u{1f4de}", "\u{202e}", "\u{ffff}", "<b>", "=1+1"];
    let most = if choices.random_ratio(1, 50) { 3000 } else { 3 };
    let word = words.choose(choices).expect("words");
    word.repeat(choices.random_range(0..=most))
}

fn object(choices: &mut StdRng, depth: u32) -> Map<String, Value> {
    let names =
        ["user", "call", "state", "conf", "peer", "no", "info", "cn", "dn", "e164", "guid", "regs", "hw", "src", "x"];
    let properties = choices.random_range(0..6);
    (0..properties).map(|_| ((*names.choose(choices).expect("names")).to_owned(), anything(choices, depth))).collect()
}

fn anything(choices: &mut StdRng, depth: u32) -> Value {
    match choices.random_range(0..if depth == 0 { 7u32 } else { 9 }) {
        0 => Value::Null,
        1 => json!(choices.random::<bool>()),
        2 => json!(choices.random::<u64>()),
        3 => json!(choices.random::<i64>()),
        4 => json!(choices.random::<f64>() * 1e300),
        5 => json!(choices.random_range(0..200)),
        6 => json!(words(choices)),
        7 => (0..choices.random_range(0..5)).map(|_| anything(choices, depth - 1)).collect(),
        _ => Value::Object(object(choices, depth - 1)),
    }
}
