//! What a story of the hostile PBX stands on: whole agents at a PBX with some switches set, the API before them, and behind them the
//! events queue, which nobody empties.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::Method;
use cloud_sim::story::Ledger;
use cloud_sim::{Cloud, Faults};
use easyconnect_agent::pbx::identity::PbxIdentity;
use jiff::SignedDuration;
use pbx_sim::InMemory;
use serde_json::{Map, Value as Json, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::agent::{PBX, WholeAgent};
use crate::api::{self, Api};
use crate::commands;
use crate::machine::Chance;
use crate::output;
use crate::release::{Present, Release};
use crate::stack::make;
use crate::template::Template;

/// Somebody outside, as a user would dial them, and as people write them.
pub(crate) const OUTSIDE: &str = "00032472591687";
pub(crate) const CALLER: &str = "+32472591687";
/// Whom the stories need.
const NEEDED: [&str; 4] = ["42", "43", "44", "77"];
/// An agent that can act at all can do so within this time.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// What has not happened by then does not happen.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A second copy of an event, or an end that nobody saw, would be reported by then.
const AFTERMATH: Duration = Duration::from_secs(15);

pub(crate) struct Rig {
    cloud: Cloud,
    pub(crate) ledger: Ledger,
    pub(crate) pbx: Arc<InMemory>,
    api: Api,
    queue: String,
    agents: Vec<WholeAgent>,
    lives: JoinSet<()>,
}

/// What the queue has of one call, in the order in which it came.
#[derive(Debug, Default)]
struct Told {
    who: String,
    is_outgoing: bool,
    steps: Vec<String>,
}

impl Rig {
    pub(crate) async fn start(cloud: Cloud, ledger: Ledger, quirks: &Map<String, Json>, agents: &[&str]) -> Self {
        Self::start_dialling(cloud, ledger, quirks, agents, &[PBX]).await
    }

    /// The same with agents that have these addresses of the PBX.
    pub(crate) async fn start_dialling(
        cloud: Cloud,
        ledger: Ledger,
        quirks: &Map<String, Json>,
        agents: &[&str],
        urls: &[&str],
    ) -> Self {
        output::ignore();
        let chance = Chance::new(1);
        // To read it takes longer than most stories.
        static TEMPLATE: OnceLock<Template> = OnceLock::new();
        let template = TEMPLATE.get_or_init(|| Template::read().with_parameter("AdminKeyHashes", api::key().1));
        cloud.set_faults(Faults::none());
        make(&cloud, template);
        cloud.set_faults(Faults::latency_only());
        let functions = template.functions();
        let plan = functions.iter().find(|plan| plan.id == "ApiFunction").expect("the API");
        let pbx = commands::pbx(&cloud, 1);
        pbx.control("/quirks", Json::Object(quirks.clone())).expect("quirks of the table");
        let queue = template.queue_name("EventsQueue");
        let api = Api::new(&cloud, plan, &chance, &(Arc::new(Present(template.clone())) as Arc<dyn Release>));
        let mut lives = JoinSet::new();
        let agents: Vec<WholeAgent> = agents
            .iter()
            .map(|name| {
                let around = (&cloud, template, &ledger);
                WholeAgent::dialling(around, name, &pbx, SignedDuration::ZERO, &chance, urls)
            })
            .collect();
        if quirks.contains_key("homed_elsewhere") {
            // Several PBXs are named by users. An agent that has been here before knows which one is its own.
            for agent in &agents {
                PbxIdentity::new(None, agent.lives.state_dir()).keep(&Arc::from(pbx_sim::world::DEFAULT_PBX));
            }
        }
        for agent in &agents {
            lives.spawn(agent.clone().live());
        }
        let rig = Self { cloud, ledger, pbx, api, queue, agents, lives };
        rig.until("the agents are ready", READY_WITHIN, async || rig.is_ready().await).await;
        rig
    }

    async fn is_ready(&self) -> bool {
        for who in NEEDED {
            let path = format!("/rcc/users/{who}?wait=2");
            match self.api.ask(Method::GET, &path, None).await {
                Some((200, _)) => {}
                // It is there, and in another numbering node somebody else has it, too.
                Some((_, answer)) if answer["code"] == "ambiguous_extension" => {}
                _ => return false,
            }
        }
        let up = self.cloud.items("exchange", "AGENT");
        up.iter().filter(|agent| agent["pbx"]["S"] == "up").count() >= self.agents.len()
    }

    /// Waits; it is wrong if it never comes.
    async fn until(&self, what: &str, within: Duration, is_so: impl AsyncFn() -> bool) {
        let comes = async {
            while !is_so().await {
                sleep(LOOK_EVERY).await;
            }
        };
        if timeout(within, comes).await.is_err() {
            self.ledger.wrong(format!("never: {what}"));
        }
    }

    /// What somebody does at a phone. It is tried until it is possible.
    pub(crate) async fn act(&self, path: &str, body: Json) {
        self.until(&format!("{path} {body}"), PATIENCE, async || self.pbx.control(path, body.clone()).is_ok()).await;
        sleep(Duration::from_secs(1)).await;
    }

    pub(crate) async fn call(&self, from: &str, to: &str) {
        self.act("/call", json!({"from": from, "to": to})).await;
    }

    pub(crate) async fn answer(&self, extension: &str) {
        self.act("/answer", json!({"extension": extension})).await;
    }

    pub(crate) async fn hang_up(&self, extension: &str) {
        self.act("/hangup", json!({"extension": extension})).await;
    }

    /// A command of a client of the API; it has to succeed.
    pub(crate) async fn command(&self, path: &str, body: Json) -> Json {
        let Some((status, answer)) = self.api.ask(Method::POST, &format!("{path}?wait=15"), Some(&body)).await else {
            self.ledger.wrong(format!("{path} {body} has no answer"));
            return Json::Null;
        };
        if status != 200 {
            self.ledger.wrong(format!("{path} {body}: {status} {answer}"));
        }
        sleep(Duration::from_secs(1)).await;
        answer
    }

    /// The latest call of this user, by its events.
    pub(crate) async fn call_of(&self, who: &str) -> Json {
        let latest = || {
            let events = self.events();
            let event = events.into_iter().rev().find(|event| event["webHookEvent"]["monitoredExtension"] == who)?;
            Some(event["webHookEvent"]["CallId"].clone())
        };
        self.until(&format!("an event of {who}"), PATIENCE, async || latest().is_some()).await;
        latest().unwrap_or_default()
    }

    /// The statuses. What the PBX leaves out decides which updates there are between them.
    fn events(&self) -> Vec<Json> {
        let bodies = self.cloud.bodies(&self.queue);
        let events = bodies.iter().map(|body| serde_json::from_str::<Json>(body).expect("an event is JSON"));
        events.filter(|event| event["update"].is_null()).collect()
    }

    /// What became of the latest call of this user besides, by its last event.
    pub(crate) fn changes_of(&self, who: &str) -> Vec<String> {
        let event = self.events().into_iter().rev().find(|event| event["webHookEvent"]["monitoredExtension"] == who);
        let changes = event.map(|event| event["webHookEvent"]["conferenceEvents"].clone()).unwrap_or_default();
        let kind = |change: &Json| change["type"].as_str().unwrap_or_default().to_owned();
        changes.as_array().into_iter().flatten().map(kind).collect()
    }

    /// What every call was told to be, by user and direction, sorted.
    fn told(&self) -> Vec<String> {
        let mut calls: BTreeMap<String, Told> = BTreeMap::new();
        for event in self.events() {
            let shown = &event["webHookEvent"];
            let text = |name: &str| shown[name].as_str().unwrap_or("-").to_owned();
            let told = calls.entry(text("CallId")).or_default();
            told.who = text("monitoredExtension");
            told.is_outgoing = shown["outgoing"] == true;
            let talked = if shown["connected"] == true { "" } else { " in vain" };
            let inferred = if event["inferred"] == true { ", which is inferred" } else { "" };
            told.steps.push(format!("{}({}>{}){talked}{inferred}", text("status"), text("from"), text("to")));
        }
        let line = |told: Told| {
            let way = if told.is_outgoing { "calls" } else { "is called" };
            format!("{} {way}: {}", told.who, told.steps.join(", "))
        };
        let mut lines: Vec<String> = calls.into_values().map(line).collect();
        lines.sort();
        lines
    }

    /// Compares what the queue has with what has to be there, in one of these forms, and nothing else.
    pub(crate) async fn judge(mut self, expected: &[Vec<String>]) {
        let arrives = async {
            while !expected.contains(&self.told()) {
                sleep(LOOK_EVERY).await;
            }
        };
        let _ = timeout(PATIENCE, arrives).await;
        sleep(AFTERMATH).await;
        let told = self.told();
        if !expected.contains(&told) {
            self.ledger.wrong(format!("told {told:?} instead of {:?}", expected[0]));
        }
        self.lives.shutdown().await;
    }
}
