//! The receivers of webhooks: how they behave, what they accept, and whose fault it is when they get something twice.
//!
//! A second request after an answer that the function survived is a repeat. It is excused where the function saw no answer, or was
//! killed after the answer and before its log was in the table; those are counted apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloud_sim::Cloud;
use cloud_sim::story::Ledger;
use deliver::{Answer, Answering, Content, Failure, Limits, Request, Transport};
use jiff::Timestamp;
use serde_json::Value as Json;
use shared::event::Status;
use shared::ids::CallId;
use tokio::time::sleep;

use crate::environments::{End, Invocation, Present};
use crate::machine::Chance;

/// How a receiver answers. Probabilities are per request.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    pub(crate) latency: (Duration, Duration),
    /// It answers 503.
    pub(crate) refuses: f64,
    /// It accepts nothing and does not answer.
    pub(crate) hangs: f64,
    /// The connection breaks, before it has accepted or after.
    pub(crate) breaks: f64,
}

impl Manners {
    /// Accepts everything.
    pub(crate) fn good() -> Self {
        Self { latency: (Duration::from_millis(5), Duration::from_millis(80)), refuses: 0.0, hangs: 0.0, breaks: 0.0 }
    }

    /// Refuses everything.
    pub(crate) fn dead() -> Self {
        Self { refuses: 1.0, ..Self::good() }
    }

    /// Takes everything and answers nothing.
    pub(crate) fn hole() -> Self {
        Self { hangs: 1.0, ..Self::good() }
    }

    /// Accepts everything after so long.
    pub(crate) fn slow(latency: Duration) -> Self {
        Self { latency: (latency, latency), ..Self::good() }
    }

    /// Each of its faults, this often.
    pub(crate) fn bad(probability: f64) -> Self {
        Self { refuses: probability, hangs: probability, breaks: probability, ..Self::good() }
    }
}

/// What was counted beside the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repeats {
    /// After a request to which the function saw no answer.
    pub(crate) unanswered: u64,
    /// After an answer whose function was killed before its log was in the table.
    pub(crate) killed: u64,
    /// After an answer that the function survived, and these are violations:
    pub(crate) survived: u64,
    /// the function ran into its time-out,
    pub(crate) timed_out: u64,
    /// the function is still at work,
    pub(crate) running: u64,
    /// the table knows that the delivery was accepted.
    pub(crate) logged: u64,
}

impl fmt::Display for Repeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unanswered, killed, survived, timed_out, running, logged } = self;
        write!(
            f,
            "repeats excused: {unanswered} without an answer, {killed} after a kill between answer and log; \
             not excused: {survived} survived the answer, {timed_out} by a time-out, {running} still at work, {logged} logged"
        )
    }
}

/// All receivers of a stack, by the names of their hosts.
#[derive(Clone, Debug)]
pub(crate) struct Receivers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cloud: Cloud,
    ledger: Ledger,
    chance: Chance,
    known: Mutex<BTreeMap<String, Receiver>>,
    repeats: Mutex<Repeats>,
}

#[derive(Debug)]
struct Receiver {
    webhook: String,
    manners: Manners,
    /// What it has accepted, by `webhook-id`.
    accepted: BTreeMap<String, Vec<Accepted>>,
    /// When it has accepted each event first, by call and number.
    accepted_at: BTreeMap<(String, u64), Timestamp>,
    /// Events that it refuses for their own sake, by call and number.
    refused: BTreeSet<(String, u64)>,
    /// Deliveries that no event asked for.
    notices: u64,
    /// Updates and statuses of calls, in the order in which they were accepted.
    told: Vec<Json>,
}

/// One request that was accepted.
#[derive(Clone, Debug)]
struct Accepted {
    invocation: Invocation,
    answered: bool,
    excused: bool,
}

impl Receivers {
    pub(crate) fn new(cloud: &Cloud, ledger: &Ledger, chance: &Chance) -> Self {
        Self(Arc::new(Inner {
            cloud: cloud.clone(),
            ledger: ledger.clone(),
            chance: chance.clone(),
            known: Mutex::default(),
            repeats: Mutex::default(),
        }))
    }

    /// The receiver of this webhook begins to work.
    pub(crate) fn add(&self, host: &str, webhook: &str, manners: Manners) {
        let receiver = Receiver {
            webhook: webhook.to_owned(),
            manners,
            accepted: BTreeMap::new(),
            accepted_at: BTreeMap::new(),
            refused: BTreeSet::new(),
            notices: 0,
            told: Vec::new(),
        };
        self.known().insert(host.to_owned(), receiver);
    }

    pub(crate) fn behave(&self, host: &str, manners: Manners) {
        self.known().get_mut(host).expect("a receiver").manners = manners;
    }

    /// From now on a receiver refuses this event of a call.
    pub(crate) fn refuse(&self, host: &str, call: CallId, status: Status) {
        let event = (call.to_string(), status.sequence().into());
        self.known().get_mut(host).expect("a receiver").refused.insert(event);
    }

    /// From now on it refuses none.
    pub(crate) fn forgive(&self, host: &str) {
        self.known().get_mut(host).expect("a receiver").refused.clear();
    }

    /// When a receiver has accepted each event.
    pub(crate) fn accepted_at(&self, host: &str) -> BTreeMap<(String, u64), Timestamp> {
        self.known()[host].accepted_at.clone()
    }

    /// Everything that a receiver has accepted, in this order.
    pub(crate) fn told(&self, host: &str) -> Vec<Json> {
        self.known()[host].told.clone()
    }

    /// The webhook of a receiver.
    pub(crate) fn webhook(&self, host: &str) -> String {
        self.known()[host].webhook.clone()
    }

    /// Host and webhook of each.
    pub(crate) fn all(&self) -> Vec<(String, String)> {
        self.known().iter().map(|(host, receiver)| (host.clone(), receiver.webhook.clone())).collect()
    }

    pub(crate) fn repeats(&self) -> Repeats {
        *self.0.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to them from one environment.
    pub(crate) fn way(&self, present: &Present) -> Arc<dyn Transport> {
        Arc::new(Way { receivers: self.clone(), present: present.clone() })
    }

    async fn take(&self, request: Request, invocation: Invocation) -> Result<Answer, Failure> {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let Some(manners) = self.known().get(&host).map(|receiver| receiver.manners.clone()) else {
            return Err(Failure::Unresolved);
        };
        let chance = &self.0.chance;
        let (low, high) = manners.latency;
        let latency = chance.between(low, high);
        let (refuses, hangs, breaks) =
            (chance.happens(manners.refuses), chance.happens(manners.hangs), chance.happens(manners.breaks));
        let breaks_early = breaks && chance.happens(0.5);
        sleep(latency / 2).await;
        if hangs {
            sleep(Limits::default().total.saturating_sub(latency / 2)).await;
            return Err(Failure::Timeout);
        }
        if breaks_early {
            return Err(Failure::Broken);
        }
        if refuses || self.refuses_event(&host, &request) {
            sleep(latency / 2).await;
            return Ok(Answer { status: 503, retry_after: None, text: String::new() });
        }
        let place = self.accept(&host, &request, &invocation);
        sleep(latency / 2).await;
        if breaks {
            return Err(Failure::Broken);
        }
        if let Some((id, nth)) = place {
            self.known().get_mut(&host).expect("a receiver").accepted.get_mut(&id).expect("accepted")[nth].answered =
                true;
        }
        Ok(Answer { status: 200, retry_after: None, text: "thank you".to_owned() })
    }

    fn refuses_event(&self, host: &str, request: &Request) -> bool {
        let Content::Json(body) = &request.content else { return false };
        let event = serde_json::from_str(body).ok().and_then(|body: Json| event_of(&body));
        event.is_some_and(|event| self.known()[host].refused.contains(&event))
    }

    /// Writes down that an event was accepted; returns where.
    fn accept(&self, host: &str, request: &Request, invocation: &Invocation) -> Option<(String, usize)> {
        let Content::Json(body) = &request.content else { panic!("stories have no GET webhooks") };
        let body: Json = serde_json::from_str(body).expect("JSON");
        let id = request.headers["webhook-id"].to_str().expect("a text").to_owned();
        let mut known = self.known();
        let receiver = known.get_mut(host).expect("a receiver");
        receiver.told.push(body.clone());
        let Some((call, number)) = event_of(&body) else {
            receiver.notices += u64::from(!is_update(&body));
            return None;
        };
        let name = format!("{host} {call}");
        receiver.accepted_at.entry((call, number)).or_insert_with(|| self.0.cloud.now());
        let webhook = receiver.webhook.clone();
        let accepted = receiver.accepted.entry(id.clone()).or_default();
        for earlier in accepted.iter_mut().filter(|earlier| !earlier.excused) {
            let mut repeats = self.0.repeats.lock().unwrap_or_else(PoisonError::into_inner);
            let is_logged = || self.is_logged(&webhook, &id);
            let count = match earlier.invocation.end() {
                _ if !earlier.answered => &mut repeats.unanswered,
                End::Running => &mut repeats.running,
                _ if is_logged() => &mut repeats.logged,
                End::Killed => &mut repeats.killed,
                End::Returned => &mut repeats.survived,
                End::TimedOut => &mut repeats.timed_out,
            };
            *count += 1;
            if !earlier.answered || (earlier.invocation.end() == End::Killed && !is_logged()) {
                earlier.excused = true;
                self.0.ledger.excused(&name, number);
            }
        }
        accepted.push(Accepted { invocation: invocation.clone(), answered: false, excused: false });
        self.0.ledger.accepted(&name, number);
        Some((id, accepted.len() - 1))
    }

    /// Whether the table knows that a delivery was accepted.
    fn is_logged(&self, webhook: &str, id: &str) -> bool {
        let logs = self.0.cloud.items("state", &format!("DELIVERY#{webhook}"));
        logs.iter().any(|log| log["deliveryId"]["S"] == id && log["state"]["S"] == "delivered")
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Receiver>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn is_update(body: &Json) -> bool {
    body["change"].is_string()
}

/// Call and number of a status, in whatever form it is shown. Updates are not in the ledger: they may be superseded and repeated.
pub(crate) fn event_of(body: &Json) -> Option<(String, u64)> {
    if is_update(body) {
        return None;
    }
    let status: Status = serde_json::from_value(body["status"].clone()).ok()?;
    Some((body["CallId"].as_str()?.to_owned(), status.sequence().into()))
}

#[derive(Debug)]
struct Way {
    receivers: Receivers,
    present: Present,
}

impl Transport for Way {
    fn send(&self, request: Request, _at: Timestamp) -> Answering<'_> {
        let invocation = self.present.get();
        Box::pin(self.receivers.take(request, invocation))
    }
}
