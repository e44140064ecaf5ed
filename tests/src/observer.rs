//! The agent's call core at the simulated PBX, without a cloud: what calls come to, as the PBX tells it.

use std::sync::Arc;
use std::time::Duration;

use easyconnect_agent::calls::{Calls, Origin, Output};
use easyconnect_agent::config::{Monitor, PbxConfig};
use easyconnect_agent::pbx::frames::Frame;
use easyconnect_agent::pbx::link::{Dialer, Link, Network, Tcp};
use easyconnect_agent::pbx::rcc::{self, MonitorResult, RccFrame};
use easyconnect_agent::pbx::session::{Reporter, Session};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use shared::event::{CallDetails, CallEvent, PartyKind, Presentation, Status};
use tokio::time::timeout;
use uuid::Uuid;

use crate::Pbx;

const CALLER: &str = "+32472591687";
/// After so long the simulator has nothing more to say.
const SILENCE: Duration = Duration::from_millis(500);

async fn connect(pbx: &Pbx) -> Link {
    let config = json!({
        "url": pbx.0.ws_url(), "app": "easyconnect", "password": pbx_sim::world::DEFAULT_PASSWORD,
    });
    let config: PbxConfig = serde_json::from_value(config).expect("a configuration");
    let network: Arc<dyn Network> = Arc::new(Tcp);
    let dialers = Dialer::all(&network, &config).expect("a dialer");
    let mut link = dialers[0].connect().await.expect("a session");
    link.send(rcc::initialize(true)).await.expect("it is sent");
    link
}

struct Observer {
    pbx: Pbx,
    link: Link,
    session: Session,
    calls: Calls,
    events: Vec<CallEvent>,
}

impl Observer {
    async fn start() -> Self {
        let pbx = Pbx::start().await;
        let link = connect(&pbx).await;
        let origin = Origin { pbx_id: Arc::from("master"), agent_id: Arc::from("rack/1") };
        let mut calls = Calls::new(origin, Uuid::nil());
        calls.session_started(Timestamp::now());
        let mut observer = Self { pbx, link, session: Session::new(1), calls, events: Vec::new() };
        observer.listen().await;
        observer
    }

    /// Loses the session, lets something happen meanwhile, and begins another one.
    async fn reconnects_after(&mut self, meanwhile: impl FnOnce(&Pbx)) -> &mut Self {
        self.pbx.fault(&json!({"kind": "drop"}));
        self.calls.session_lost(Timestamp::now());
        meanwhile(&self.pbx);
        self.link = connect(&self.pbx).await;
        self.session = Session::new(self.session.number + 1);
        self.calls.session_started(Timestamp::now());
        self.listen().await
    }

    /// A while after the beginning of the session, the calls that did not come back are looked at.
    fn settles(&mut self) -> &mut Self {
        let now = Timestamp::now() + SignedDuration::from_secs(5);
        for user in self.calls.users_with_missing_calls() {
            let outputs = self.calls.settle(&user, None, &[], now);
            self.perform(outputs, now);
        }
        self
    }

    /// Takes what the PBX says until it is silent.
    async fn listen(&mut self) -> &mut Self {
        while let Ok(frame) = timeout(SILENCE, self.link.next()).await {
            let now = Timestamp::now();
            let Frame::Rcc(frame) = frame.expect("a frame") else { continue };
            match frame {
                RccFrame::User(info) => {
                    let channels = info.channels;
                    if let Some(guid) = self.session.on_user_info(info, &Monitor::default()) {
                        self.calls.channels_are(&guid, channels);
                    }
                    for (guid, identity) in self.session.changed_identities() {
                        self.calls.user_is(guid, identity);
                    }
                }
                RccFrame::InitializeResult { .. } => {
                    self.session.at_home_at(None);
                    self.session.listed = true;
                }
                RccFrame::UserInitializeResult(MonitorResult { src, handle, prefixes, .. }) => {
                    if let Some(user) = self.session.monitored(src.as_deref(), handle, prefixes) {
                        self.calls.watching(user, now);
                    }
                }
                RccFrame::CallInfo(info) => {
                    let Reporter::Known { user, .. } = self.session.user_of_report(&info) else {
                        panic!("a report of nobody: {info:?}")
                    };
                    let outputs = self.calls.report(&user, info.into_report(self.session.number), now);
                    self.perform(outputs, now);
                }
                _ => {}
            }
            // The PBX takes some requests at a time.
            let asked = if self.session.listed { self.session.monitor_next() } else { Vec::new() };
            for frame in asked {
                self.link.send(frame).await.expect("it is sent");
            }
        }
        let now = Timestamp::now();
        let outputs = self.calls.tick(now);
        self.perform(outputs, now);
        self
    }

    fn perform(&mut self, outputs: Vec<Output>, now: Timestamp) {
        for output in outputs {
            match output {
                Output::Event(event) => self.events.push(*event),
                Output::Ask(leg, _) => {
                    let outputs = self.calls.learn(leg, Some(&[]), now);
                    self.perform(outputs, now);
                }
                Output::Remember(..) => {}
            }
        }
    }

    async fn does(&mut self, path: &str, body: serde_json::Value) -> &mut Self {
        self.pbx.control(path, &body);
        self.listen().await
    }

    async fn calls(&mut self, to: &str) -> &mut Self {
        self.does("/call", json!({"from": CALLER, "to": to})).await
    }

    async fn answers(&mut self, who: &str) -> &mut Self {
        self.does("/answer", json!({"extension": who})).await
    }

    async fn hangs_up(&mut self, who: &str) -> &mut Self {
        self.does("/hangup", json!({"extension": who})).await
    }

    fn ends(&self, extension: &str) -> Vec<(&CallEvent, &CallDetails)> {
        let is_it = |event: &&CallEvent| {
            event.web_hook_event.monitored_extension == extension && event.status() == Status::Disconnected
        };
        let ends = self.events.iter().filter(is_it);
        ends.map(|event| (event, event.details.as_ref().expect("details"))).collect()
    }

    /// The extensions at which a call was missed.
    fn missed(&self) -> Vec<&str> {
        let missed = self.events.iter().filter(|event| event.is_missed());
        missed.map(|event| event.web_hook_event.monitored_extension.as_str()).collect()
    }

    /// The last thing that happened to the only call of this extension.
    fn departure(&self, extension: &str) -> (String, String) {
        let ends = self.ends(extension);
        let last = ends[0].0.web_hook_event.conference_events.last().expect("something happened");
        let kind = serde_json::to_value(last.kind).expect("JSON").as_str().expect("a text").to_owned();
        (kind, last.to.clone().unwrap_or_default())
    }
}

#[tokio::test]
async fn call_of_a_queue_that_one_operator_takes_is_missed_by_nobody() {
    let mut observer = Observer::start().await;
    observer.calls("78").await.answers("42").await.hangs_up("42").await;
    assert!(!observer.ends("43").is_empty() && !observer.ends("78").is_empty());
    assert_eq!(observer.missed(), [""; 0]);
    assert!(observer.ends("43")[0].1.answered_elsewhere);
}

#[tokio::test]
async fn call_that_goes_elsewhere_while_it_rings_is_not_missed() {
    let mut observer = Observer::start().await;
    observer.calls("42").await.does("/redirect", json!({"extension": "42", "to": "+33142345678"})).await;
    assert_eq!(observer.departure("42"), ("redirected".to_owned(), "00033142345678".to_owned()));
    observer.hangs_up(CALLER).await;
    observer.calls("43").await.does("/pickup", json!({"extension": "50", "from": "43"})).await.hangs_up("50").await;
    assert!(observer.ends("43")[0].1.answered_elsewhere);
    assert_eq!((observer.ends("42").len(), observer.missed()), (1, vec![]));
}

#[tokio::test]
async fn call_parked_at_a_phone_is_not_missed_there() {
    let mut observer = Observer::start().await;
    observer.calls("42").await.answers("42").await.does("/park", json!({"extension": "42", "at": "50"})).await;
    observer.does("/pickup", json!({"extension": "44", "from": "50"})).await.hangs_up("44").await;
    assert_eq!((observer.ends("50").len(), observer.missed()), (1, vec![]));
}

#[tokio::test]
async fn call_that_ends_in_the_announcement_is_abandoned_once() {
    let mut observer = Observer::start().await;
    for operator in ["42", "43"] {
        observer.pbx.behave(operator, "busy");
    }
    observer.calls("78").await;
    observer.listen().await;
    while observer.events.iter().all(|event| event.status() != Status::Connected) {
        observer.listen().await;
    }
    observer.hangs_up(CALLER).await;
    assert_eq!(observer.missed(), ["78"]);
    assert!(observer.ends("78")[0].1.abandoned);
}

#[tokio::test]
async fn answered_call_says_where_it_went() {
    let mut observer = Observer::start().await;
    observer.calls("42").await.answers("42").await;
    observer.does("/redirect", json!({"extension": "42", "to": "+33142345678"})).await;
    assert_eq!(observer.departure("42"), ("redirected".to_owned(), "00033142345678".to_owned()));
}

#[tokio::test]
async fn two_calls_of_a_transfer_name_each_other() {
    let mut observer = Observer::start().await;
    observer.calls("42").await.answers("42").await.does("/hold", json!({"extension": "42"})).await;
    observer.does("/call", json!({"from": "42", "to": "50"})).await.answers("50").await;
    observer.does("/transfer", json!({"extension": "42"})).await;
    let ends = observer.ends("42");
    let [(first, one), (second, other)] = ends[..] else { panic!("{ends:?}") };
    assert_eq!(one.transfer_call_id, Some(second.call_id()));
    assert_eq!(other.transfer_call_id, Some(first.call_id()));
    let to = |event: &CallEvent| event.web_hook_event.conference_events.last().and_then(|last| last.to.clone());
    let places = [to(first), to(second)].map(Option::unwrap_or_default);
    assert!(places.contains(&"50".to_owned()) && places.contains(&"00032472591687".to_owned()), "{places:?}");
}

#[tokio::test]
async fn callers_without_a_number_are_told_apart() {
    let mut observer = Observer::start().await;
    observer.does("/call", json!({"from": CALLER, "to": "42", "hidden": true})).await;
    observer.does("/call", json!({"from": CALLER, "to": "43", "hidden": true, "name": "Anonymous"})).await;
    let of = |observer: &Observer, extension: &str| {
        let found = observer.events.iter().find(|event| event.web_hook_event.monitored_extension == extension);
        let event = found.expect("an event");
        assert_eq!(event.web_hook_event.from, "");
        let details = event.details.clone().expect("details");
        (details.party.expect("a party"), details.presentation.expect("a presentation"))
    };
    assert_eq!(of(&observer, "42"), (PartyKind::External, Presentation::Unknown));
    assert_eq!(of(&observer, "43"), (PartyKind::External, Presentation::Withheld));
    let user = observer.session.find("44", |_| true).expect("a user");
    let handle = user.handle.expect("a monitor");
    let options = rcc::CallOptions { shown_number: Some("r44".to_owned()), ..rcc::CallOptions::default() };
    observer.link.send(rcc::call("c", handle, "50", &options)).await.expect("it is sent");
    observer.listen().await;
    assert_eq!(of(&observer, "50"), (PartyKind::Internal, Presentation::Withheld));
}

#[tokio::test]
async fn call_that_ended_while_nobody_listened_ends_on_evidence() {
    for report_running in [true, false] {
        let mut observer = Observer::start().await;
        observer.pbx.control("/quirks", &json!({"report_running": report_running}));
        observer.calls("42").await.answers("42").await;
        observer.reconnects_after(|_| {}).await.settles();
        assert!(observer.ends("42").is_empty(), "it goes on");
        observer.reconnects_after(|pbx| pbx.hang_up(CALLER)).await.settles();
        let ends = observer.ends("42");
        assert!(ends.len() == 1 && ends[0].0.inferred, "{ends:?}");
        assert!(ends[0].1.last_seen_at.is_some_and(|seen| seen < ends[0].0.occurred_at));
    }
}
