//! Where connections, the control API and the clock meet the switch.
//!
//! One lock orders everything: an input changes the switch, the events it caused are handed to every connection in the
//! order in which they happened, and only then does the next input get its turn.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::auth;
use crate::fault::Fault;
use crate::json;
use crate::quirks::{LoginRefusal, Quirks, TransferConf};
use crate::rcc;
use crate::session::{Outgoing, Session, Visitor};
use crate::switch::{Output, Survivor, Switch, Variants};
use crate::world::World;

const LOG_LIMIT: usize = 10_000;

/// The shared state of a running simulator.
#[derive(Debug)]
pub(crate) struct Hub {
    inner: Mutex<Inner>,
    wake: Notify,
    started: Instant,
}

/// Everything behind the lock.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) world: World,
    pub(crate) switch: Switch,
    pub(crate) sessions: BTreeMap<u32, Session>,
    pub(crate) quirks: Arc<Quirks>,
    /// Read by the connections: pings are not answered.
    pub(crate) no_pong: Arc<AtomicBool>,
    /// Frames received from clients, oldest first.
    pub(crate) log: VecDeque<Value>,
    /// Connections are refused until then.
    pub(crate) down_until: BTreeMap<String, Duration>,
    /// The time at the start, as the log tells it.
    began: SystemTime,
    next_index: u32,
}

impl Hub {
    pub(crate) fn new(world: World, seed: u64, began: SystemTime) -> Self {
        let switch = Switch::new(&world, seed);
        let inner = Inner {
            world,
            switch,
            sessions: BTreeMap::new(),
            quirks: Arc::default(),
            no_pong: Arc::default(),
            log: VecDeque::new(),
            down_until: BTreeMap::new(),
            began,
            next_index: 0,
        };
        Self { inner: Mutex::new(inner), wake: Notify::new(), started: Instant::now() }
    }

    /// Does something with the state and passes on what it caused.
    pub(crate) fn run<R>(&self, act: impl FnOnce(&mut Inner, Duration) -> R) -> R {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.started.elapsed();
        // What was due before this input happened before it.
        inner.settle(now);
        let result = act(&mut inner, now);
        inner.settle(now);
        drop(inner);
        self.wake.notify_one();
        result
    }

    /// Drives everything that happens by itself.
    pub(crate) async fn drive(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let due = {
                let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
                inner.settle(self.started.elapsed());
                inner.next_deadline()
            };
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(self.started + due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = sleep => {}
                () = self.wake.notified() => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// A client has connected. `None` while the PBX is down.
    pub(crate) fn connected(&self, visitor: Visitor, out: UnboundedSender<Outgoing>) -> Option<u32> {
        self.run(|inner, now| {
            if inner.is_down(&visitor.pbx, now) {
                return None;
            }
            inner.next_index += 1;
            let index = inner.next_index;
            let session = Session::new(index, visitor, out, inner.quirks.clone(), now);
            inner.sessions.insert(index, session);
            Some(index)
        })
    }

    /// Whether pings are left unanswered at the moment.
    pub(crate) fn no_pong(&self) -> Arc<AtomicBool> {
        self.run(|inner, _| inner.no_pong.clone())
    }

    pub(crate) fn log(&self) -> Vec<Value> {
        self.run(|inner, _| inner.log.iter().cloned().collect())
    }

    /// Whether connections are refused at the moment.
    pub(crate) fn is_down(&self, pbx: &str) -> bool {
        self.run(|inner, now| inner.is_down(pbx, now))
    }

    /// A connection has ended. Its calls go on, its handles are gone.
    pub(crate) fn disconnected(&self, index: u32) {
        self.run(|inner, _| {
            let Some(session) = inner.sessions.remove(&index) else { return };
            for stream in session.streams.into_values().filter(|stream| stream.disc) {
                inner.switch.watch_disc(stream.object, false);
            }
        });
    }

    /// A client has sent a text message.
    pub(crate) fn received(&self, index: u32, frame: &str) {
        self.run(|inner, now| inner.received(index, frame, now));
    }
}

impl Inner {
    fn is_down(&self, pbx: &str, now: Duration) -> bool {
        self.down_until.get(pbx).is_some_and(|until| *until > now)
    }

    fn settle(&mut self, now: Duration) {
        self.switch.advance(now);
        self.deliver();
        while let Some((index, frame)) = self.next_request(now) {
            self.carry_out(index, &frame, now);
            self.deliver();
        }
        for session in self.sessions.values_mut() {
            session.tick(now, &self.switch);
        }
    }

    /// A request whose time has come.
    fn next_request(&mut self, now: Duration) -> Option<(u32, String)> {
        self.sessions.values_mut().find_map(|session| {
            let (_, frame) = session.requests.pop_front_if(|(at, _)| *at <= now)?;
            Some((session.index, frame))
        })
    }

    /// From now on the PBX is like this.
    pub(crate) fn be(&mut self, quirks: Quirks) {
        self.switch.variants = Variants {
            linger: quirks.linger_disc,
            clir: quirks.clir,
            survivor: match quirks.transfer_conf {
                TransferConf::Older => Survivor::Older,
                TransferConf::A => Survivor::First,
                TransferConf::B => Survivor::Second,
            },
            transfer_normal: quirks.transfer_normal,
            redirect_stays_connected: quirks.redirect_stays_connected,
            forwarding_leg: quirks.forwarding_leg,
            parked_flips: quirks.parked_flips,
            pickup_alerts: quirks.pickup_alerts,
            quiet_park: quirks.quiet_park,
        };
        self.no_pong.store(quirks.no_pong, Ordering::Relaxed);
        self.quirks = Arc::new(quirks);
        for session in self.sessions.values_mut() {
            session.quirks = self.quirks.clone();
        }
    }

    fn next_deadline(&self) -> Option<Duration> {
        let ticks = self.sessions.values().filter_map(Session::next_tick);
        ticks.chain(self.switch.next_deadline()).min()
    }

    fn deliver(&mut self) {
        let mut outputs = self.switch.drain();
        if self.quirks.reverse_legs {
            // Sorting is stable, so each leg keeps its order; objects come last as before.
            outputs.sort_by_key(|output| match output {
                Output::Leg(event) => Reverse(Some(event.leg)),
                Output::Object(_) | Output::Gone(_) => Reverse(None),
            });
        }
        for output in outputs {
            for session in self.sessions.values_mut() {
                match &output {
                    Output::Leg(event) => session.on_leg(event, &self.switch),
                    Output::Object(id) => session.on_object(*id, &self.switch, &self.world.apps),
                    Output::Gone(id) => session.on_gone(*id),
                }
            }
        }
    }

    /// A restart of the PBX: calls and connections are lost, nobody is told.
    pub(crate) fn restart(&mut self) {
        self.switch.restart();
        for session in self.sessions.values_mut() {
            session.streams.clear();
            session.directory = None;
            session.monitor = None;
            session.strike(Fault::Drop);
        }
    }

    fn received(&mut self, index: u32, frame: &str, now: Duration) {
        let message: Option<Value> = serde_json::from_str(frame).ok().filter(Value::is_object);
        let Some(session) = self.sessions.get_mut(&index) else { return };
        session.received += 1;
        if self.log.len() == LOG_LIMIT {
            self.log.pop_front();
        }
        let at = (self.began + now).duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.log.push_back(json!({
            "at": u64::try_from(at).unwrap_or(u64::MAX),
            "connection": index,
            "mt": message.as_ref().and_then(|message| json::text(message, "mt")),
            "frame": message.clone().unwrap_or_else(|| frame.into()),
        }));
        session.heard_at = now;
        if message.is_none() || session.silent {
            debug!(connection = index, "A frame that is no JSON object, or on a silent connection, was ignored");
            return;
        }
        // Also when the PBX has just become fast again, nothing overtakes what waits.
        let takes = Duration::from_millis(self.quirks.answer_ms);
        let begins = session.requests.back().map_or(now, |(at, _)| *at);
        if takes.is_zero() && session.requests.is_empty() {
            self.carry_out(index, frame, now);
        } else {
            session.requests.push_back((begins + takes, frame.to_owned()));
        }
    }

    fn carry_out(&mut self, index: u32, frame: &str, now: Duration) {
        let Ok(message) = serde_json::from_str::<Value>(frame) else { return };
        let mt = json::text(&message, "mt").unwrap_or_default();
        match json::filled(&message, "api") {
            Some(api) => self.api(index, &api, &mt, &message, now),
            None => self.base(index, frame, &mt, &message),
        }
    }

    /// Messages without `api`: login and keep-alive.
    fn base(&mut self, index: u32, frame: &str, mt: &str, message: &Value) {
        let Some(session) = self.sessions.get_mut(&index) else { return };
        let with_src = |mut result: Value| {
            if let Some(src) = message.get("src") {
                result["src"] = src.clone();
            }
            result
        };
        match mt {
            "AppChallenge" => {
                // A number above 2^53 would not survive JavaScript, so the numeric form is one digit shorter.
                let numeric = self.quirks.numeric_challenge;
                let mut challenge = auth::challenge(if numeric { 15 } else { 16 });
                if self.quirks.letter_challenge && !numeric {
                    challenge.replace_range(..6, "f00d:A");
                }
                let shown = match challenge.parse::<u64>() {
                    Ok(number) if numeric => number.into(),
                    _ => Value::from(challenge.clone()),
                };
                session.challenge = Some(challenge);
                session.send(&with_src(json!({"mt": "AppChallengeResult", "challenge": shown})));
            }
            "AppLogin" => {
                // A challenge is good for one attempt.
                let challenge = session.challenge.take();
                let login = challenge
                    .and_then(|challenge| auth::check(frame, message, &challenge, &self.world.apps, &self.switch));
                let ok = login.is_some();
                info!(connection = index, ok, app = login.as_ref().map(|login| &login.name), "Login");
                session.login = login;
                let result = match self.quirks.login_refusal {
                    _ if ok => json!({"mt": "AppLoginResult", "ok": true}),
                    LoginRefusal::Absent => json!({"mt": "AppLoginResult"}),
                    LoginRefusal::Bare => json!({"mt": "AppLoginResult", "ok": false}),
                    LoginRefusal::Explained => {
                        json!({"mt": "AppLoginResult", "ok": false, "error": 1, "errorText": "login refused"})
                    }
                };
                session.send(&with_src(result));
                if !ok && self.quirks.close_after_failed_login {
                    let _closing = session.out.send(Outgoing::Close);
                }
            }
            "KeepAlive" if self.quirks.echo_keepalive => session.send(&json!({"mt": "KeepAlive"})),
            _ => {}
        }
    }

    fn api(&mut self, index: u32, api: &str, mt: &str, message: &Value, now: Duration) {
        let Some(session) = self.sessions.get_mut(&index) else { return };
        let refusal = |text: &str| {
            let mut result = json!({"api": api, "mt": format!("{mt}Result"), "error": text});
            if let Some(src) = message.get("src") {
                result["src"] = src.clone();
            }
            result
        };
        let Some(login) = &session.login else {
            if !self.quirks.silent_before_login {
                session.send(&refusal("not logged in"));
            }
            return;
        };
        let granted = login.apis.iter().any(|granted| granted == api);
        if granted && api == "RCC" {
            let context = rcc::Context { world: &self.world, quirks: &self.quirks, now };
            rcc::request(session, &mut self.switch, &context, mt, message);
        } else if self.quirks.error_replies {
            session.send(&refusal(if granted { "not offered by this PBX" } else { "not granted" }));
        }
    }
}
