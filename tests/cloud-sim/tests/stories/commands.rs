//! Commands: several agents of a PBX, which die and lose the PBX, and clients that ask again. What the PBX saw is the truth.
//!
//! Each call is to a number of its own, so that it is known which command made the PBX dial it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::Method;
use cloud_sim::story::{Ledger, tell};
use cloud_sim::{Cloud, Faults};
use futures_util::future::join_all;
use jiff::SignedDuration;
use pbx_sim::{InMemory, Sim};
use serde_json::{Value as Json, json};
use shared::apikey::{ApiKey, KeyHash};
use shared::command::ACT_WITHIN;
use shared::ids::CommandId;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::api::{self, Api};
use crate::judge::{Commands, Summary};
use crate::lives::Lives;
use crate::machine::Chance;
use crate::poller::whole_feed;
use crate::receivers::event_of;
use crate::seeds::{HALF_THE_SEEDS, OFTEN, SEEDS, tell_all};
use crate::stack::Stack;

const CALLS: usize = 18;
const OVER: Duration = Duration::from_secs(45);
/// Moments at which many ask.
const MOMENTS: [Duration; 3] = [Duration::from_secs(9), Duration::from_secs(21), Duration::from_secs(40)];
/// How many ask for the same at the same moment, where one does not.
const AT_ONCE: usize = 3;
/// When all agents are killed: those who ask a moment later are not told that nobody is there.
const ALL_DIE: Duration = Duration::from_secs(20);
/// A queue and a user.
const CALLERS: [&str; 2] = ["77", "42"];
/// When a command that was claimed and not heard of again reads as unknown.
const SETTLED_AFTER: Duration = Duration::from_secs(75);
/// How long an agent takes to come back.
const RESTARTS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(20));
/// Whoever says this does not know whether the PBX has carried it out.
const UNSURE: [&str; 2] = ["interrupted", "pbx_timeout"];
/// Whoever says this has heard it from the PBX. A client that hangs up early rejects the call.
const OF_THE_PBX: [&str; 2] = ["user_busy", "call_rejected"];
/// Writes that take a key as much as it takes in two seconds.
const HEAT: usize = 2_000;

/// One call that a client wants, and what it was told.
#[derive(Debug)]
struct Wish {
    id: CommandId,
    number: String,
    is_busy: bool,
    answers: Vec<Answer>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    body: Json,
}

impl Answer {
    fn state(&self) -> &str {
        self.body["state"].as_str().unwrap_or_default()
    }

    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

/// What the clients have in their hands. Clones are the same.
#[derive(Clone, Debug)]
struct Scene {
    api: Api,
    pbx: Arc<InMemory>,
    ledger: Ledger,
    chance: Chance,
}

async fn story(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud.clone(), ledger, seed).await;
    let pbx = pbx(&cloud, seed);
    // The clock of one machine was never set.
    for (name, ahead) in [("rack", SignedDuration::ZERO), ("attic", SignedDuration::from_mins(-90))] {
        let agent = stack.whole_agent(name, &pbx, ahead);
        agent.lives.restart_within(RESTARTS.0, RESTARTS.1);
    }
    let scene = Scene { api: stack.api.clone(), pbx, ledger: stack.ledger.clone(), chance: stack.chance.clone() };
    stack.let_die(0.0, 0.6);
    scene.wait_for_agents().await;
    stack.let_die(0.1, 0.6);
    let mut clients = JoinSet::new();
    for n in 0..CALLS {
        clients.spawn(scene.clone().call(n));
    }
    let reads = tokio::spawn(scene.clone().read());
    let trouble = tokio::spawn(scene.clone().lose_the_pbx());
    let heat = tokio::spawn(heat(cloud.clone()));
    let lives: Vec<Lives> = stack.whole_agents.iter().map(|agent| agent.lives.clone()).collect();
    let kill = tokio::spawn(async move {
        sleep(ALL_DIE).await;
        lives.iter().for_each(Lives::kill);
    });
    let mut wishes = clients.join_all().await;
    wishes.sort_by(|one, other| one.number.cmp(&other.number));
    for nuisance in [trouble, heat, kill] {
        nuisance.abort();
    }
    let reads = reads.await.expect("a reader does not panic");
    stack.calm();
    sleep(SETTLED_AFTER).await;
    let commands = Commands { reads, ..scene.judge(&cloud, &wishes).await };
    stack.settle().await;
    Summary { commands, ..stack.look_back().await }
}

/// A PBX whose log tells the cloud's time.
pub(crate) fn pbx(cloud: &Cloud, seed: u64) -> Arc<InMemory> {
    let now = Duration::try_from(cloud.now().as_duration()).expect("after 1970");
    let pbx = Sim::builder().seed(seed).start_in_memory(SystemTime::UNIX_EPOCH + now);
    Arc::new(pbx.expect("the default world can exist"))
}

/// Somebody else writes under the keys of all agents and of the audit, more than these keys take.
async fn heat(cloud: Cloud) {
    let today = cloud.now().strftime("%Y-%m-%d").to_string();
    loop {
        sleep(Duration::from_secs(9)).await;
        let faults = cloud.faults();
        cloud.set_faults(Faults::none());
        for (table, partition) in [("exchange", "AGENT".to_owned()), ("state", format!("AUDIT#{today}"))] {
            let key = json!({"pk": {"S": partition}, "sk": {"S": "~"}});
            let body = json!({"TableName": table, "Key": key}).to_string();
            for _ in 0..HEAT {
                cloud.answer("DynamoDB_20120810.DeleteItem", body.as_bytes());
            }
        }
        cloud.set_faults(faults);
    }
}

impl Scene {
    async fn wait_for_agents(&self) {
        while !matches!(self.api.ask(Method::GET, "/rcc/users/42", None).await, Some((200, _))) {
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// What a path shows, be it a refusal that invites to ask again.
    async fn look(&self, path: &str) -> (u16, Json) {
        loop {
            match self.api.ask(Method::GET, path, None).await {
                Some((status, shown)) if status < 500 => return (status, shown),
                _ => sleep(Duration::from_secs(1)).await,
            }
        }
    }

    /// Asks for a call, some of them several times under the same name; then the call ends.
    async fn call(self, n: usize) -> Wish {
        let Self { api, pbx, chance, .. } = &self;
        // Half of them come together.
        let at =
            if n.is_multiple_of(2) { MOMENTS[n / 2 % MOMENTS.len()] } else { chance.between(Duration::ZERO, OVER) };
        sleep(at).await;
        let number = format!("+3248{n:07}");
        let is_busy = chance.happens(0.15);
        if is_busy {
            let _ = pbx.control("/behaviour", json!({"extension": number, "mode": "busy"}));
        }
        let (name, wait) = (format!("wish-{n}"), chance.number(0, 4));
        let key = ApiKey::bootstrap(&KeyHash::of(&api::key().0).expect("a key"));
        let id = CommandId::of_idempotency_key(&key.id, &name);
        let path = format!("/rcc/makecall?wait={wait}&requestId={name}");
        let body = json!({"from": CALLERS[n % 2], "to": number});
        let ask = async || {
            let (status, body) = api.ask(Method::POST, &path, Some(&body)).await?;
            Some(Answer { status, body })
        };
        let mut answers = Vec::new();
        if n % 6 < 2 {
            let all = join_all((0..AT_ONCE).map(|_| ask())).await;
            answers.extend(all.into_iter().flatten());
        } else {
            answers.extend(ask().await);
        }
        if n.is_multiple_of(3) {
            for _ in 0..chance.number(1, 3) {
                sleep(chance.between(Duration::ZERO, Duration::from_secs(4))).await;
                answers.extend(ask().await);
            }
        }
        sleep(Duration::from_secs(2)).await;
        let call = answers.iter().find_map(|answer| answer.body["CallId"].as_str().map(str::to_owned));
        if let Some(call) = call.filter(|_| n % 4 == 1) {
            self.disconnect(&number, &call).await;
        }
        let _ = pbx.control("/hangup", json!({"extension": number}));
        Wish { id, number, is_busy, answers }
    }

    /// Ends a call by a command. If that says that it is done, the PBX has no such call any more.
    async fn disconnect(&self, number: &str, call: &str) {
        let body = json!({"CallId": call});
        let Some((status, answer)) = self.api.ask(Method::POST, "/rcc/disconnect?wait=8", Some(&body)).await else {
            return;
        };
        let calls = self.pbx.state()["calls"].to_string();
        if status == 200 && answer["state"] == "succeeded" && calls.contains(number.trim_start_matches('+')) {
            self.ledger.wrong(format!("{number} is still called, but its end has {answer}"));
        }
    }

    /// Reads a user again and again; returns how often that went well.
    async fn read(self) -> u64 {
        let mut reads = 0;
        for _ in 0..OVER.as_secs() / 4 {
            sleep(Duration::from_secs(4)).await;
            let Some((status, user)) = self.api.ask(Method::GET, "/rcc/users/42?wait=3", None).await else { continue };
            let is_right =
                user["extension"] == "42" && user["name"] == "Thomas De Wilde" && user["state"] == "succeeded";
            match status {
                200 if is_right => reads += 1,
                202 | 429 | 503 => {}
                _ => self.ledger.wrong(format!("user 42 is {status} {user}")),
            }
        }
        reads
    }

    /// Breaks connections to the PBX, which is out of reach for a moment.
    async fn lose_the_pbx(self) {
        loop {
            sleep(self.chance.between(Duration::from_secs(5), Duration::from_secs(25))).await;
            let down = self.chance.number(0, 3_000);
            let kind = ["drop", "cut_mid_frame"][self.chance.number(0, 1) as usize];
            let body = if kind == "drop" { json!({"kind": kind, "down_ms": down}) } else { json!({"kind": kind}) };
            let _ = self.pbx.control("/fault", body);
        }
    }

    async fn judge(&self, cloud: &Cloud, wishes: &[Wish]) -> Commands {
        let mut dialled: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for entry in self.pbx.log().iter().filter(|entry| entry["mt"] == "UserCall") {
            // The prefix for a line, that of other countries, the number.
            let digits = entry["frame"]["e164"].as_str().unwrap_or_default();
            let number = format!("+{}", digits.trim_start_matches('0'));
            dialled.entry(number).or_default().push(entry["at"].as_u64().expect("a time"));
        }
        let mut commands = Commands::default();
        for wish in wishes {
            let frames = dialled.remove(&wish.number).unwrap_or_default();
            for complaint in self.complaints(cloud, wish, &frames, &mut commands).await {
                let item = cloud.items("exchange", &format!("COMMAND#{}", wish.id)).pop();
                self.ledger.wrong(format!("{complaint}; {frames:?} {wish:?} {item:?}"));
            }
        }
        if !dialled.is_empty() {
            self.ledger.wrong(format!("nobody asked for these calls: {dialled:?}"));
        }
        commands
    }

    async fn complaints(&self, cloud: &Cloud, wish: &Wish, frames: &[u64], commands: &mut Commands) -> Vec<String> {
        let Wish { id, number, is_busy, answers } = wish;
        let mut complaints = Vec::new();
        let mut wrong = |is_wrong: bool, what: &str| {
            if is_wrong {
                complaints.push(format!("{number} {what}"));
            }
        };
        wrong(frames.len() > 1, "was called more than once");
        // A look is what ends a command that nobody took.
        let (status, shown) = self.look(&format!("/rcc/commands/{id}")).await;
        let was_dialled = !frames.is_empty();
        let Some(item) = cloud.items("exchange", &format!("COMMAND#{id}")).pop() else {
            commands.refused += 1;
            wrong(was_dialled, "was called without a command");
            wrong(status != 404, "is not in the table but shown");
            return complaints;
        };
        let created_at: u64 = item["createdAt"]["N"].as_str().and_then(|text| text.parse().ok()).expect("a time");
        for at in frames {
            let age = at.saturating_sub(created_at);
            commands.latest = commands.latest.max(age);
            wrong(age >= ACT_WITHIN.as_millis() as u64, "was called too late");
        }
        let state = shown["state"].as_str().unwrap_or_default();
        let code = shown["code"].as_str().or(item["refusal"]["M"]["code"]["S"].as_str()).unwrap_or_default();
        match state {
            "succeeded" => {
                commands.succeeded += 1;
                wrong(!was_dialled, "was not called, but the command succeeded");
                wrong(shown["CallId"].is_null(), "has a call without a name");
                wrong(*is_busy, "is busy, but the command succeeded");
            }
            "failed" => {
                commands.failed += 1;
                let of_pbx = OF_THE_PBX.contains(&code);
                wrong(of_pbx && !was_dialled, "was refused by nobody");
                wrong(code == "user_busy" && !is_busy, "is not busy, but the command says so");
                let is_known = of_pbx || UNSURE.contains(&code);
                wrong(was_dialled && !is_known, "was called, but the command says that it was not");
            }
            "expired" => {
                commands.expired += 1;
                wrong(was_dialled, "was called, but the command expired");
            }
            "unknown" => commands.unknown += 1,
            _ => wrong(true, "has a command that waits for ever"),
        }
        for answer in answers {
            let is_final = matches!(answer.state(), "succeeded" | "failed" | "expired");
            wrong(answer.status >= 500 && was_dialled, "was called, but the answer invites to try again");
            wrong(is_final && answer.state() != state, "was told something else than what is recorded");
            wrong(answer.status == 200 && answer.state() != "succeeded", "has a strange answer");
            let call = &answer.body["CallId"];
            wrong(!call.is_null() && *call != shown["CallId"], "has two calls");
            let is_refusal = answer.body["commandId"].is_string() && !answer.code().is_empty();
            wrong(is_refusal && answer.code() != code && state == "failed", "was told another reason");
        }
        complaints
    }
}

impl Stack {
    /// Every event in the feed once, and a call's events in order.
    async fn look_back(self) -> Summary {
        for event in whole_feed(&self.api).await {
            let (call, number) = event_of(&event).expect("an event");
            self.ledger.sent(&format!("feed {call}"), number);
            self.ledger.accepted(&format!("feed {call}"), number);
        }
        self.conclude()
    }
}

/// Nothing in an agent may be left to chance, or a seed would not show a fault again.
#[test]
fn a_seed_repeats_the_agents_exactly() {
    let counts = || {
        let told = tell(2, Faults::all(OFTEN), |cloud, ledger| async {
            story(cloud, ledger, 2).await;
        });
        told.unwrap_or_else(|failure| failure.counts)
    };
    let first = counts();
    assert_eq!(first, counts());
    assert!(first.queue_causes.keys().any(|cause| cause.process.starts_with("attic")), "{first}");
}

#[test]
fn commands_act_once_in_time_or_never() {
    tell_all(SEEDS, || Faults::all(OFTEN), story).verdict("commands");
}

#[test]
fn commands_act_once_in_time_or_never_on_an_ordinary_day() {
    tell_all(HALF_THE_SEEDS, Faults::latency_only, story).verdict("commands without faults of the cloud");
}
