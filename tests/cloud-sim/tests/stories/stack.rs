//! A whole cloud side in one process: what `template.yaml` deploys, agents before it, receivers and pollers behind it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use axum::http::Method;
use cloud_sim::story::Ledger;
use cloud_sim::{Cloud, Faults, Mapping, Process, RunningMapping};
use jiff::{SignedDuration, Timestamp};
use pbx_sim::InMemory;
use serde_json::{Value as Json, json};
use shared::event::Status;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::agent::WholeAgent;
use crate::api::{self, Api};
use crate::environments::{Function, Present};
use crate::machine::Chance;
use crate::output;
use crate::poller::Poller;
use crate::receivers::{Manners, Receivers};
use crate::release::{self, Program, Release};
use crate::reporter::Reporter;
use crate::template::{FunctionPlan, Template};

/// So long the faults go on after the last event, if it is not quiet earlier.
const STORM: Duration = Duration::from_secs(300);
/// So long everything may take once nothing goes wrong any more. A parked delivery waits for the next probe.
const CALM: Duration = Duration::from_secs(30 * 60);
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Stack {
    pub(crate) cloud: Cloud,
    pub(crate) ledger: Ledger,
    pub(crate) chance: Chance,
    pub(crate) template: Template,
    pub(crate) api: Api,
    pub(crate) receivers: Receivers,
    pub(crate) agents: Vec<Reporter>,
    pub(crate) whole_agents: Vec<WholeAgent>,
    /// The names of the pollers.
    pub(crate) pollers: Vec<String>,
    /// Receivers that want some statuses only, by their hosts.
    filters: BTreeMap<String, Vec<Status>>,
    fanout: Arc<Function<Program>>,
    deliver: Arc<Function<Program>>,
    lanes: Arc<Function<Program>>,
    mappings: Vec<RunningMapping>,
    polling: JoinSet<()>,
    /// Agents, and what the clock calls. They end with the stack.
    others: JoinSet<()>,
    last_round: Arc<AtomicBool>,
    /// How long each event took until its delivery was in the queue, in milliseconds.
    ways: Arc<Mutex<Vec<u64>>>,
    /// When each event occurred, by its call and number.
    pub(crate) occurred: Mutex<BTreeMap<(String, u64), Timestamp>>,
}

/// How many environments there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Concurrency {
    pub(crate) fanout: usize,
    pub(crate) deliver: usize,
    pub(crate) lanes: usize,
}

impl Stack {
    /// Deploys; the cloud's faults begin when everything is there.
    pub(crate) async fn start(cloud: Cloud, ledger: Ledger, seed: u64) -> Self {
        Self::start_with(cloud, ledger, seed, None).await
    }

    /// The same with at most so many environments.
    pub(crate) async fn start_with(cloud: Cloud, ledger: Ledger, seed: u64, most: Option<Concurrency>) -> Self {
        output::ignore();
        let faults = cloud.faults();
        cloud.set_faults(Faults::none());
        let chance = Chance::new(seed);
        let template = Template::read().with_parameter("AdminKeyHashes", api::key().1);
        make(&cloud, &template);
        let mut plans = template.functions();
        if let Some(Concurrency { fanout, deliver, lanes }) = most {
            for plan in &mut plans {
                let most = match plan.id.as_str() {
                    "FanoutFunction" => fanout,
                    "LanesFunction" => lanes,
                    _ => deliver,
                };
                plan.mappings.iter_mut().for_each(|mapping| mapping.maximum_concurrency = most);
            }
        }
        let plan = |id: &str| plans.iter().find(|plan| plan.id == id).expect("a function of this name");
        let receivers = Receivers::new(&cloud, &ledger, &chance);
        let release: Arc<dyn Release> = Arc::new(release::Present(template.clone()));
        let fanout = Function::new(&cloud, "fanout", &chance, fanout_of(&release, &chance));
        let deliver = deliver_of(&release, "DeliverFunction", &chance, &receivers);
        let deliver = Function::new(&cloud, "deliver", &chance, deliver);
        let lanes = Function::new(&cloud, "lanes", &chance, deliver_of(&release, "LanesFunction", &chance, &receivers));
        let mut stack = Self {
            api: Api::new(&cloud, plan("ApiFunction"), &chance, &release),
            receivers,
            agents: Vec::new(),
            whole_agents: Vec::new(),
            pollers: Vec::new(),
            filters: BTreeMap::new(),
            mappings: Vec::new(),
            polling: JoinSet::new(),
            others: JoinSet::new(),
            last_round: Arc::default(),
            ways: Arc::default(),
            occurred: Mutex::default(),
            fanout,
            deliver,
            lanes,
            cloud,
            ledger,
            chance,
            template,
        };
        for plan in &plans {
            stack.map(plan);
        }
        stack.cloud.set_faults(faults);
        stack
    }

    fn map(&mut self, plan: &FunctionPlan) {
        for mapping in plan.mappings.clone() {
            let running = match plan.id.as_str() {
                "FanoutFunction" => map_fanout(&self.cloud, mapping, &self.fanout),
                "LanesFunction" => map_deliver(&self.cloud, mapping, &self.lanes, &self.ways),
                _ => map_deliver(&self.cloud, mapping, &self.deliver, &self.ways),
            };
            self.mappings.push(running);
        }
        if plan.every_minute {
            let (cloud, deliver) = (self.cloud.clone(), self.deliver.clone());
            let FunctionPlan { timeout: limit, memory_mib, binary, .. } = plan.clone();
            self.others.spawn(async move {
                loop {
                    sleep(Duration::from_secs(60)).await;
                    let deadline = cloud.now().checked_add(limit).expect("a time");
                    let tick = deliver.invoke(deadline, |program| program(json!({}), deadline));
                    let begun = Instant::now();
                    // The next minute makes good for one that failed.
                    let ended = timeout(limit, tick).await;
                    cloud.count_invocation(&binary, memory_mib, begun.elapsed(), !matches!(ended, Ok(Ok(Ok(_)))));
                }
            });
        }
    }

    /// Registers a webhook, for every event, whose receiver behaves like this.
    pub(crate) async fn webhook(&self, host: &str, manners: Manners) {
        self.register(host, json!({}), manners).await;
    }

    /// The same of a webhook that asks for updates, too.
    pub(crate) async fn webhook_with_updates(&self, host: &str, manners: Manners) {
        self.webhook_of_kinds(host, &["call", "call.updated"], manners).await;
    }

    /// The same of a webhook that asks for these kinds, in the form `extended`.
    pub(crate) async fn webhook_of_kinds(&self, host: &str, kinds: &[&str], manners: Manners) {
        self.register(host, json!({"kinds": kinds, "format": "extended"}), manners).await;
    }

    async fn register(&self, host: &str, mut wanted: Json, manners: Manners) {
        wanted["url"] = json!(format!("https://{host}/hook"));
        wanted["requestId"] = json!(host);
        let (status, made) = self.api.insist(Method::POST, "/webhooks", Some(&wanted)).await;
        assert_eq!(status, 201, "{made}");
        self.receivers.add(host, made["id"].as_str().expect("an id"), manners);
    }

    /// From the answer on the webhook is for these statuses only.
    pub(crate) async fn restrict(&mut self, host: &str, statuses: &[Status]) {
        let wanted = json!({"url": format!("https://{host}/hook"), "statuses": statuses});
        let path = format!("/webhooks/{}", self.receivers.webhook(host));
        let (status, changed) = self.api.insist(Method::PUT, &path, Some(&wanted)).await;
        assert_eq!(status, 200, "{changed}");
        self.filters.insert(host.to_owned(), statuses.to_vec());
    }

    /// An agent that reports events. All of them report the same ones.
    pub(crate) fn agent(&mut self, name: &str) {
        let agent = Reporter::new(&self.cloud, name, &self.template.queue_url("EventsQueue"), &self.chance);
        self.others.spawn(agent.clone().live());
        self.agents.push(agent);
    }

    /// A whole agent at this PBX, on a machine whose clock is so far ahead.
    pub(crate) fn whole_agent(&mut self, name: &str, pbx: &Arc<InMemory>, ahead: SignedDuration) -> WholeAgent {
        let around = (&self.cloud, &self.template, &self.ledger);
        let agent = WholeAgent::new(around, name, pbx, ahead, &self.chance);
        self.begin(agent)
    }

    /// A whole agent at one of several PBXs.
    pub(crate) fn whole_agent_at(&mut self, name: &str, pbx: &Arc<InMemory>, at: &str) -> WholeAgent {
        self.whole_agent_with(name, pbx, at, true)
    }

    /// The same, which may know the first commands queue only.
    pub(crate) fn whole_agent_with(
        &mut self,
        name: &str,
        pbx: &Arc<InMemory>,
        at: &str,
        knows_all_queues: bool,
    ) -> WholeAgent {
        let around = (&self.cloud, &self.template, &self.ledger);
        let agent = WholeAgent::at(around, name, (pbx, at), knows_all_queues, &self.chance);
        self.begin(agent)
    }

    fn begin(&mut self, agent: WholeAgent) -> WholeAgent {
        self.others.spawn(agent.clone().live());
        self.whole_agents.push(agent.clone());
        agent
    }

    pub(crate) fn poller(&mut self, name: &str) {
        let poller = Poller::new(name, &self.api, &self.ledger, &self.chance, &self.last_round);
        self.pollers.push(poller.name.clone());
        self.polling.spawn(poller.run());
    }

    /// How long each event took until its delivery was in the queue, as far as it was received, in milliseconds.
    pub(crate) fn ways(&self) -> Vec<u64> {
        self.ways.lock().expect("no panic").clone()
    }

    /// How long each event from `since` on took until a receiver had accepted it, the shortest time first.
    pub(crate) fn waits_of(&self, host: &str, since: Timestamp) -> Vec<Duration> {
        let occurred = self.occurred.lock().expect("no panic");
        let wait = |(event, at): (&(String, u64), &Timestamp)| {
            let began = *occurred.get(event).filter(|began| **began >= since)?;
            Some(Duration::try_from(at.duration_since(began)).unwrap_or_default())
        };
        let mut waits: Vec<Duration> = self.receivers.accepted_at(host).iter().filter_map(wait).collect();
        waits.sort_unstable();
        waits
    }

    /// Why a receiver does not get some of the events that occurred so far, by their numbers.
    pub(crate) fn account_for(&self, host: &str, why: &str, which: impl Fn(u64) -> bool) {
        for (call, number) in self.occurred.lock().expect("no panic").keys().filter(|(_, number)| which(*number)) {
            self.ledger.accounted(&format!("{host} {call}"), *number, why);
        }
    }

    /// Everybody who has to have an event of this status.
    pub(crate) fn audience(&self, status: Status) -> Vec<String> {
        let wants = |host: &String| self.filters.get(host).is_none_or(|statuses| statuses.contains(&status));
        let hosts = self.receivers.all().into_iter().map(|(host, _)| host).filter(wants);
        hosts.chain(self.pollers.iter().cloned()).collect()
    }

    /// Writes an item beside everybody.
    pub(crate) fn put(&self, item: &Json) {
        let faults = self.cloud.faults();
        self.cloud.set_faults(Faults::none());
        let body = json!({"TableName": "state", "Item": item}).to_string();
        let answer = self.cloud.answer("DynamoDB_20120810.PutItem", body.as_bytes());
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        self.cloud.set_faults(faults);
    }

    /// From now on so many environments die at one of their requests, and so many lives of agents.
    pub(crate) fn let_die(&self, environments: f64, agents: f64) {
        self.fanout.let_die(environments);
        self.deliver.let_die(environments);
        self.lanes.let_die(environments);
        self.api.function.let_die(environments);
        for agent in &self.agents {
            agent.lives.let_die(agents);
        }
        for agent in &self.whole_agents {
            agent.lives.let_die(agents);
        }
    }

    /// From now on all new environments are of this release. What runs ends with the code that it has.
    pub(crate) fn deploy(&self, release: &Arc<dyn Release>) {
        self.fanout.deploy(fanout_of(release, &self.chance));
        self.deliver.deploy(deliver_of(release, "DeliverFunction", &self.chance, &self.receivers));
        self.lanes.deploy(deliver_of(release, "LanesFunction", &self.chance, &self.receivers));
        let (release, luck) = (release.clone(), self.chance.clone());
        self.api.function.deploy(move |process, _present| release.api(process, &luck));
    }

    /// Breaks what sends deliveries, or mends it.
    pub(crate) fn break_deliver(&self, is_down: bool) {
        self.deliver.break_down(is_down);
        self.lanes.break_down(is_down);
    }

    /// What the API says of a receiver's webhook.
    pub(crate) async fn webhook_of(&self, host: &str) -> Json {
        self.api.get(&format!("/webhooks/{}", self.receivers.webhook(host))).await
    }

    /// Asks the owner's wish of a receiver's webhook: `pause`, `resume` or `purge`.
    pub(crate) async fn owner(&self, host: &str, wish: &str) {
        let path = format!("/webhooks/{}/{wish}", self.receivers.webhook(host));
        let (status, answer) = self.api.insist(Method::POST, &path, None).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Waits until the API says this of a receiver's webhook.
    pub(crate) async fn until(&self, host: &str, state: &str) {
        let comes = async {
            while self.webhook_of(host).await["state"] != state {
                sleep(LOOK_EVERY).await;
            }
        };
        if timeout(CALM, comes).await.is_err() {
            self.ledger.wrong(format!("{host} is never {state}: {}", self.webhook_of(host).await));
        }
    }

    /// Waits until all that was reported is settled, first in the storm and then in a calm; ends the pollers.
    pub(crate) async fn settle(&mut self) {
        if !self.quiet_within(STORM).await {
            self.calm();
            if !self.quiet_within(CALM).await {
                let depths: Vec<_> = self.queues().into_iter().map(|name| (self.cloud.depth(&name), name)).collect();
                self.ledger.wrong(format!("it is still not quiet: {depths:?}"));
            }
        }
        self.calm();
        self.last_round.store(true, Ordering::SeqCst);
        while let Some(ended) = self.polling.join_next().await {
            if let Err(error) = ended {
                self.ledger.wrong(format!("a poller ended: {error}"));
            }
        }
        self.stop_mappings().await;
        self.others.shutdown().await;
    }

    /// From now on what is in the queues stays there.
    pub(crate) async fn stop_mappings(&mut self) {
        for mapping in std::mem::take(&mut self.mappings) {
            mapping.stop().await;
        }
    }

    /// Waits until what was reported so far is settled.
    pub(crate) async fn settle_events(&self) {
        if !self.quiet_within(CALM).await {
            self.ledger.wrong("it is not quiet in between");
        }
    }

    /// Nothing goes wrong any more, but requests still take time and meet.
    pub(crate) fn calm(&self) {
        self.cloud.set_faults(Faults::latency_only());
        self.let_die(0.0, 0.0);
        for (host, _) in self.receivers.all() {
            self.receivers.behave(&host, Manners::good());
        }
    }

    async fn quiet_within(&self, limit: Duration) -> bool {
        let quiet = async {
            loop {
                let is_empty = |name: &String| self.cloud.depth(name) == (0, 0, 0);
                let are_idle =
                    self.agents.iter().all(Reporter::is_idle) && self.whole_agents.iter().all(WholeAgent::is_idle);
                let is_quiet = are_idle && self.queues().iter().all(is_empty);
                if is_quiet && self.nothing_is_parked().await {
                    return;
                }
                // What is parked moves by the minute.
                sleep(if is_quiet { LOOK_EVERY * 20 } else { LOOK_EVERY }).await;
            }
        };
        timeout(limit, quiet).await.is_ok()
    }

    async fn nothing_is_parked(&self) -> bool {
        for (_, webhook) in self.receivers.all() {
            let webhook = self.api.get(&format!("/webhooks/{webhook}")).await;
            // One that has refused its last event, which is stale by now, is slow until the next one.
            if webhook["parked"] != 0 || !["active", "slow"].iter().any(|state| webhook["state"] == *state) {
                return false;
            }
        }
        true
    }

    /// The queues whose messages are on their way, without dead letters and doorbells.
    fn queues(&self) -> Vec<String> {
        let names = self.template.queues().into_iter().map(|(name, _)| name);
        names.filter(|name| name.ends_with(".fifo") && !name.contains("-dlq")).collect()
    }
}

pub(crate) fn make(cloud: &Cloud, template: &Template) {
    let ask = |target: &str, body: &Json| {
        let answer = cloud.answer(target, body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{target} {body}: {}", String::from_utf8_lossy(&answer.body));
    };
    for (create, time_to_live) in template.tables() {
        ask("DynamoDB_20120810.CreateTable", &create);
        ask("DynamoDB_20120810.UpdateTimeToLive", &time_to_live);
    }
    for (_, create) in template.queues() {
        ask("AmazonSQS.CreateQueue", &create);
    }
}

fn fanout_of(
    release: &Arc<dyn Release>,
    chance: &Chance,
) -> impl Fn(&Process, &Present) -> Program + Send + Sync + 'static {
    let (release, luck) = (release.clone(), chance.clone());
    move |process, _present| release.fanout(process, &luck)
}

fn deliver_of(
    release: &Arc<dyn Release>,
    id: &'static str,
    chance: &Chance,
    receivers: &Receivers,
) -> impl Fn(&Process, &Present) -> Program + Send + Sync + 'static {
    let (release, luck, receivers) = (release.clone(), chance.clone(), receivers.clone());
    move |process, present| release.deliver(id, process, &luck, receivers.way(present))
}

fn map_fanout(cloud: &Cloud, mapping: Mapping, function: &Arc<Function<Program>>) -> RunningMapping {
    let function = function.clone();
    cloud.map(mapping, move |event: SqsEvent, deadline| {
        let (function, call) = (function.clone(), serde_json::to_value(&event));
        async move {
            let call = call?;
            Ok(function.invoke(deadline, |program| program(call, deadline)).await??)
        }
    })
}

fn map_deliver(
    cloud: &Cloud,
    mapping: Mapping,
    function: &Arc<Function<Program>>,
    ways: &Arc<Mutex<Vec<u64>>>,
) -> RunningMapping {
    let (function, ways) = (function.clone(), ways.clone());
    cloud.map(mapping, move |event: SqsEvent, deadline| {
        ways.lock().expect("no panic").extend(event.records.iter().filter_map(way));
        let (function, call) = (function.clone(), serde_json::to_value(&event));
        async move {
            let call = call?;
            Ok(function.invoke(deadline, |program| program(call, deadline)).await??)
        }
    })
}

/// How long the event of a delivery that is received for the first time took until it was in this queue.
fn way(message: &SqsMessage) -> Option<u64> {
    let attribute = |name: &str| message.attributes.get(name)?.parse::<i64>().ok();
    let body: Json = serde_json::from_str(message.body.as_deref()?).ok()?;
    let occurred_at: Timestamp = body["event"]["occurredAt"].as_str()?.parse().ok()?;
    let first = attribute("ApproximateReceiveCount")? == 1;
    first.then(|| attribute("SentTimestamp").map(|sent| (sent - occurred_at.as_millisecond()).max(0) as u64))?
}
