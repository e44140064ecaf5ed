//! Several PBXs in one stack: each has its own agents and its own commands queue, and what happens to one is no matter of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::Method;
use cloud_sim::story::Ledger;
use cloud_sim::{Cloud, Faults};
use pbx_sim::world::{DEFAULT_GROUP, NodeSpec, UserSpec, World};
use pbx_sim::{InMemory, Sim};
use serde_json::{Value as Json, json};
use tokio::time::sleep;

use crate::agent::WholeAgent;
use crate::judge::Summary;
use crate::poller::whole_feed;
use crate::receivers::Manners;
use crate::seeds::{HALF_THE_SEEDS, OFTEN, tell_all};
use crate::stack::Stack;

const CUSTOMER: &str = "+32472591687";
const SOON: Duration = Duration::from_secs(3);
/// Until every agent is there and the directory is written, or an agent that is dead counts as gone.
const SETTLED: Duration = Duration::from_secs(45);
/// How long a dead agent stays away, or until one that was refused has asked again.
const AWAY: Duration = Duration::from_secs(120);

/// Two PBXs with three nodes, and the extension 42 in each.
fn world() -> World {
    let mut world = World::default();
    for (name, number, at) in [("wien", "82", "master"), ("paris", "81", "branch")] {
        world.nodes.push(NodeSpec {
            name: name.to_owned(),
            prefix: "0".to_owned(),
            country: None,
            area: None,
            number: number.to_owned(),
        });
        let user = UserSpec::new("42", &format!("User of {name}")).in_group(DEFAULT_GROUP);
        world.users.push(user.in_node(name).at_home_at(at));
    }
    world.pbxs.push("branch".to_owned());
    world
}

fn pbx_of(cloud: &Cloud, world: World, seed: u64) -> Arc<InMemory> {
    let began = Duration::try_from(cloud.now().as_duration()).expect("after 1970");
    let pbx = Sim::builder().world(world).seed(seed).start_in_memory(SystemTime::UNIX_EPOCH + began);
    Arc::new(pbx.expect("a world that can exist"))
}

struct Scene {
    stack: Stack,
    pbx: Arc<InMemory>,
    agents: BTreeMap<&'static str, Vec<WholeAgent>>,
}

impl Scene {
    /// Two PBXs with two agents each; those of the two PBXs are called alike.
    async fn start(cloud: Cloud, ledger: Ledger, seed: u64) -> Self {
        let mut stack = Stack::start(cloud.clone(), ledger, seed).await;
        let pbx = pbx_of(&cloud, world(), seed);
        let agents = ["master", "branch"]
            .map(|at| (at, ["rack", "attic"].map(|name| stack.whole_agent_at(name, &pbx, at)).to_vec()));
        sleep(SETTLED).await;
        Self { stack, pbx, agents: agents.into() }
    }

    /// What has to hold.
    fn holds(&self, is_so: bool, what: impl FnOnce() -> String) {
        if !is_so {
            self.stack.ledger.wrong(what());
        }
    }

    async fn press(&self, path: &str, body: Json) {
        if let Err(error) = self.pbx.control(path, body.clone()) {
            self.stack.ledger.wrong(format!("{path} {body}: {error:?}"));
        }
        sleep(SOON).await;
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Json>) -> (u16, Json) {
        self.stack.api.ask(method, path, body).await.unwrap_or_default()
    }

    /// A call from this user that is made and ended again.
    async fn calls_out(&self, from: &str, node: &str) {
        let to = json!({"from": from, "to": "+33 4 72 59 16 87"});
        let (status, made) = self.ask(Method::POST, "/rcc/makecall", Some(&to)).await;
        self.holds(status == 200, || format!("makecall from {from}: {status} {made}"));
        let id = made["CallId"].as_str().unwrap_or_default();
        let (status, call) = self.ask(Method::GET, &format!("/rcc/calls/{id}"), None).await;
        self.holds(status == 200 && call["node"] == node, || format!("a call of {from}: {status} {call}"));
        let ended = self.ask(Method::POST, "/rcc/disconnect", Some(&json!({"CallId": id}))).await;
        self.holds(ended.0 == 200, || format!("disconnect of {from}: {ended:?}"));
        sleep(SOON).await;
    }

    /// A call to this user that nobody takes.
    async fn rings(&self, user: &str) {
        self.press("/call", json!({"from": CUSTOMER, "to": user})).await;
        self.press("/hangup", json!({"extension": CUSTOMER})).await;
    }

    /// What the feed has of each call: its user as `node/extension@pbx`, and its statuses.
    async fn end(mut self) -> Vec<(String, Vec<String>)> {
        self.stack.settle().await;
        let mut calls: Vec<(String, String, Vec<String>)> = Vec::new();
        for event in whole_feed(&self.stack.api).await {
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            let user = format!("{}/{}@{}", text("node"), text("monitoredExtension"), text("pbx"));
            match calls.iter_mut().find(|(call, ..)| *call == text("CallId")) {
                Some((_, of, statuses)) => {
                    if *of != user {
                        self.stack.ledger.wrong(format!("a call of {of} is one of {user}, too"));
                    }
                    statuses.push(text("status"));
                }
                None => calls.push((text("CallId"), user, vec![text("status")])),
            }
        }
        calls.into_iter().map(|(_, user, statuses)| (user, statuses)).collect()
    }
}

fn statuses(calls: &[(String, Vec<String>)], user: &str) -> Vec<String> {
    calls.iter().filter(|(of, _)| of == user).map(|(_, statuses)| statuses.join(" ")).collect()
}

const MISSED: &str = "ringing disconnected";

/// A user has had two calls, of which the first one was missed.
fn missed_one_of_two(ledger: &Ledger, calls: &[(String, Vec<String>)], user: &str) {
    let found = statuses(calls, user);
    if found.first().is_none_or(|first| first != MISSED) || found.len() != 2 {
        ledger.wrong(format!("calls of {user}: {found:?}"));
    }
}

/// Every event names the right user, and every command finds its PBX.
async fn three_nodes(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let scene = Scene::start(cloud, ledger.clone(), seed).await;
    let homes = [("root", "master"), ("wien", "master"), ("paris", "branch")];
    for (node, _) in homes {
        scene.rings(&format!("{node}/42")).await;
    }
    let ambiguous = json!({"from": "42", "to": "50"});
    let (status, refused) = scene.ask(Method::POST, "/rcc/makecall", Some(&ambiguous)).await;
    let names = refused["message"].as_str().is_some_and(|text| text.contains("paris/42, root/42, wien/42"));
    scene.holds(status == 409 && names, || format!("makecall from 42: {status} {refused}"));
    for (node, _) in homes {
        scene.calls_out(&format!("{node}/42"), node).await;
    }

    let (_, shown) = scene.ask(Method::GET, "/status", None).await;
    let pbxs: BTreeSet<String> = shown["pbxs"].as_array().into_iter().flatten().map(ToString::to_string).collect();
    let is_known = |pbx: &str| {
        [1, 2]
            .iter()
            .any(|slot| pbxs.contains(&json!({"pbxId": pbx, "slot": slot, "state": "online", "agents": 2}).to_string()))
    };
    scene.holds(pbxs.len() == 2 && is_known("master") && is_known("branch"), || shown.to_string());

    // A list has everybody once, however it is cut.
    for limit in [200, 3] {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let (status, page) = scene.ask(Method::GET, &format!("/rcc/users?limit={limit}{cursor}"), None).await;
            scene.holds(status == 200 && page["missingPbxs"] == json!([]), || format!("{status} {page}"));
            found.extend(page["users"].as_array().cloned().unwrap_or_default());
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let guids: BTreeSet<&str> = found.iter().filter_map(|user| user["guid"].as_str()).collect();
        let with_42 = found.iter().filter(|user| user["extension"] == "42").count();
        scene.holds(guids.len() == found.len() && with_42 == 3, || format!("limit {limit}: {found:?}"));
    }

    let calls = scene.end().await;
    for (node, home) in homes {
        missed_one_of_two(&ledger, &calls, &format!("{node}/42@{home}"));
    }
    if calls.len() != 6 {
        ledger.wrong(format!("calls: {calls:?}"));
    }
    Summary::default()
}

#[test]
fn two_pbxs_with_three_nodes() {
    tell_all(HALF_THE_SEEDS, Faults::latency_only, three_nodes).verdict("two PBXs with three nodes");
}

/// The agents of one PBX are dead: its own users are offline, and nobody else.
async fn one_pbx_is_offline(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let scene = Scene::start(cloud, ledger.clone(), seed).await;
    let (dead, alive) = if seed.is_multiple_of(2) {
        (("master", "root/42", "root%2F42"), ("branch", "paris"))
    } else {
        (("branch", "paris/42", "paris%2F42"), ("master", "wien"))
    };
    scene.stack.webhook_of_kinds("operator.example", &["agent.offline", "agent.online"], Manners::good()).await;
    // The minute's first look finds out how it is, and the next ones what changes.
    sleep(AWAY).await;
    for agent in &scene.agents[dead.0] {
        agent.lives.restart_within(AWAY, AWAY);
        agent.lives.kill();
    }
    sleep(SETTLED).await;
    let alive_user = format!("{}/42", alive.1);
    scene.rings(&alive_user).await;
    scene.calls_out(&alive_user, alive.1).await;

    let from_dead = json!({"from": dead.1, "to": "50"});
    let refused = scene.ask(Method::POST, "/rcc/makecall", Some(&from_dead)).await;
    scene.holds(refused.0 == 409 && refused.1["code"] == "agent_offline", || format!("{refused:?}"));
    let refused = scene.ask(Method::GET, &format!("/rcc/users/{}", dead.2), None).await;
    scene.holds(refused.0 == 503 && refused.1["code"] == "agent_offline", || format!("{refused:?}"));
    for list in ["/rcc/users", "/rcc/calls"] {
        let (status, page) = scene.ask(Method::GET, list, None).await;
        scene.holds(status == 200 && page["missingPbxs"] == json!([dead.0]), || format!("{list}: {status} {page}"));
    }
    let (_, shown) = scene.ask(Method::GET, "/status", None).await;
    let state = |pbx: &str| {
        let found = shown["pbxs"].as_array().into_iter().flatten().find(|known| known["pbxId"] == pbx);
        found.map_or(Json::Null, |known| known["state"].clone())
    };
    let states = (state(dead.0), state(alive.0));
    scene.holds(states == (json!("agent_offline"), json!("online")), || shown.to_string());

    sleep(AWAY).await;
    scene.calls_out(dead.1, dead.1.trim_end_matches("/42")).await;
    let receivers = scene.stack.receivers.clone();
    let calls = scene.end().await;
    let told = receivers.told("operator.example");
    let kinds: Vec<&str> = told.iter().filter_map(|notice| notice["type"].as_str()).collect();
    let names_it = |notice: &Json| notice["message"].as_str().is_some_and(|text| text.contains(dead.0));
    if kinds != ["agent.offline", "agent.online"] || !told.iter().all(names_it) {
        ledger.wrong(format!("told of {}: {told:?}", dead.0));
    }
    missed_one_of_two(&ledger, &calls, &format!("{alive_user}@{}", alive.0));
    Summary::default()
}

#[test]
fn agents_of_one_pbx_are_dead() {
    tell_all(HALF_THE_SEEDS, Faults::latency_only, one_pbx_is_offline).verdict("agents of one PBX are dead");
}

/// A customer is transferred from a user of one PBX to a user of the other one, and then a user moves to another PBX in the middle of a call.
async fn calls_across(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let scene = Scene::start(cloud, ledger.clone(), seed).await;
    scene.press("/call", json!({"from": CUSTOMER, "to": "root/42"})).await;
    scene.press("/answer", json!({"extension": "root/42"})).await;
    scene.press("/hold", json!({"extension": "root/42"})).await;
    scene.press("/call", json!({"from": "root/42", "to": "8142"})).await;
    scene.press("/answer", json!({"extension": "paris/42"})).await;
    scene.press("/transfer", json!({"extension": "root/42"})).await;
    scene.press("/hangup", json!({"extension": CUSTOMER})).await;
    sleep(SOON).await;
    let events = whole_feed(&scene.stack.api).await;
    let ends: Vec<&Json> =
        events.iter().filter(|event| event["node"] == "root" && event["status"] == "disconnected").collect();
    let are_linked = ends.len() == 2
        && ends[0]["transferCallId"] == ends[1]["CallId"]
        && ends[1]["transferCallId"] == ends[0]["CallId"];
    scene.holds(are_linked, || format!("the calls of a transfer: {ends:?}"));

    scene.press("/call", json!({"from": CUSTOMER, "to": "wien/42"})).await;
    scene.press("/answer", json!({"extension": "wien/42"})).await;
    scene.press("/user", json!({"extension": "wien/42", "pbx": "branch"})).await;
    sleep(Duration::from_secs(30)).await;
    scene.press("/hangup", json!({"extension": CUSTOMER})).await;
    // The next call is one of the new home.
    scene.rings("wien/42").await;
    sleep(Duration::from_secs(90)).await;
    scene.calls_out("wien/42", "wien").await;
    let (_, page) = scene.ask(Method::GET, "/rcc/users", None).await;
    let homes: Vec<&Json> =
        page["users"].as_array().into_iter().flatten().filter(|user| user["node"] == "wien").collect();
    scene.holds(homes.len() == 1 && homes[0]["pbx"] == "branch", || format!("after the move: {homes:?}"));

    let calls = scene.end().await;
    let whole = "ringing connected disconnected";
    for (user, expected) in [("paris/42@branch", &[whole][..]), ("wien/42@master", &[whole])] {
        let found = statuses(&calls, user);
        if found != expected {
            ledger.wrong(format!("calls of {user}: {found:?}"));
        }
    }
    missed_one_of_two(&ledger, &calls, "wien/42@branch");
    Summary::default()
}

#[test]
fn calls_cross_pbxs_and_users_move() {
    tell_all(HALF_THE_SEEDS, Faults::latency_only, calls_across).verdict("calls across PBXs");
}

/// Everything goes wrong at both PBXs, and agents die: what is told of a call is told once, in order and to its end, by its own PBX.
async fn storm(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let scene = Scene::start(cloud, ledger.clone(), seed).await;
    let chance = &scene.stack.chance;
    for agent in scene.agents.values().flatten() {
        agent.lives.restart_within(Duration::from_secs(1), Duration::from_secs(20));
    }
    scene.stack.let_die(0.1, 0.3);
    for user in ["root/42", "paris/42", "wien/42", "paris/42", "root/42"] {
        scene.press("/call", json!({"from": CUSTOMER, "to": user})).await;
        for agents in scene.agents.values() {
            let one = chance.number(0, 1) as usize;
            if chance.happens(0.5) {
                agents[one].lives.kill();
            }
        }
        scene.press("/answer", json!({"extension": user})).await;
        sleep(chance.between(SOON, SOON * 5)).await;
        scene.press("/hangup", json!({"extension": CUSTOMER})).await;
    }
    scene.stack.calm();
    sleep(AWAY).await;
    let calls = scene.end().await;
    for (user, statuses) in &calls {
        let order = ["ringing", "connected", "disconnected"];
        let places: Vec<_> = statuses.iter().map(|status| order.iter().position(|known| known == status)).collect();
        let is_home = ["root/42@master", "wien/42@master", "paris/42@branch"].contains(&user.as_str());
        if !is_home || !places.is_sorted_by(|a, b| a < b) || places.last() != Some(&Some(2)) {
            ledger.wrong(format!("a call of {user}: {statuses:?}"));
        }
    }
    if calls.is_empty() {
        ledger.wrong("nothing was told");
    }
    Summary::default()
}

#[test]
fn agents_of_both_pbxs_die_in_a_storm() {
    tell_all(HALF_THE_SEEDS, || Faults::all(OFTEN), storm).verdict("a storm at two PBXs");
}

/// Ten PBXs ask for eight slots. One whose slot is freed makes room for another.
async fn too_many(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud.clone(), ledger.clone(), seed).await;
    let pbx = pbx_of(&cloud, World::default().with_branches(9), seed);
    let names: Vec<String> = ["master".to_owned()].into_iter().chain((1..=9).map(|n| format!("branch{n}"))).collect();
    let agents: BTreeMap<&str, WholeAgent> =
        names.iter().map(|at| (at.as_str(), stack.whole_agent_at("rack", &pbx, at))).collect();
    sleep(SETTLED).await;
    let shown = stack.api.get("/status").await;
    let all = |shown: &Json, list: &str| shown[list].as_array().cloned().unwrap_or_default();
    let pbxs = all(&shown, "pbxs");
    let slots: BTreeSet<u64> = pbxs.iter().filter_map(|pbx| pbx["slot"].as_u64()).collect();
    let online = pbxs.iter().filter(|pbx| pbx["state"] == "online").count();
    let is_refused = |agent: &&Json| {
        agent["problem"]
            .as_str()
            .is_some_and(|problem| problem.contains("has no slot of the stack, which serves 8 PBXs"))
    };
    let refused = all(&shown, "agents").iter().filter(is_refused).count();
    if (slots.len(), online, refused) != (8, 8, 2) {
        ledger.wrong(format!("{slots:?}, {online} online, {refused} refused: {shown}"));
    }

    let (gone, slot) =
        pbxs.iter().find_map(|pbx| Some((pbx["pbxId"].as_str()?, pbx["slot"].as_u64()?))).unwrap_or_default();
    if let Some(agent) = agents.get(gone) {
        agent.lives.restart_within(AWAY * 100, AWAY * 100);
        agent.lives.kill();
    }
    let attribute = if slot == 1 { "pbxId".to_owned() } else { format!("pbxId{slot}") };
    let key = json!({"pk": {"S": "PBX"}, "sk": {"S": "PBX"}});
    let update = format!("REMOVE {attribute}");
    stack.calm();
    stack
        .cloud
        .ask("DynamoDB_20120810.UpdateItem", &json!({"TableName": "exchange", "Key": key, "UpdateExpression": update}));
    sleep(AWAY).await;
    let shown = stack.api.get("/status").await;
    let pbxs = all(&shown, "pbxs");
    let next = pbxs.iter().find(|pbx| pbx["slot"] == slot).cloned().unwrap_or_default();
    let node = next["pbxId"].as_str().unwrap_or_default().to_owned();
    let refused = all(&shown, "agents").iter().filter(is_refused).count();
    if node.is_empty() || node == gone || next["state"] != "online" || refused != 1 {
        ledger.wrong(format!("slot {slot} of {gone} is {next}, {refused} refused"));
    }
    let from = if node == "master" { "root/42".to_owned() } else { format!("{node}/42") };
    let made = stack.api.ask(Method::POST, "/rcc/makecall", Some(&json!({"from": from, "to": "+33472591687"}))).await;
    if made.as_ref().is_none_or(|(status, _)| *status != 200) {
        ledger.wrong(format!("makecall from {from}: {made:?}"));
    }
    stack.settle().await;
    Summary::default()
}

#[test]
fn ten_pbxs_for_eight_slots() {
    tell_all(HALF_THE_SEEDS, Faults::latency_only, too_many).verdict("ten PBXs for eight slots");
}

/// Agents that know the first commands queue only: the first PBX goes on as before, another one is refused until it has the list.
async fn first_queue_only(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud.clone(), ledger.clone(), seed).await;
    let pbx = pbx_of(&cloud, world(), seed);
    stack.whole_agent_with("rack", &pbx, "master", false);
    sleep(SETTLED).await;
    stack.whole_agent_with("shelf", &pbx, "branch", false);
    sleep(SETTLED).await;
    let made =
        stack.api.ask(Method::POST, "/rcc/makecall", Some(&json!({"from": "root/42", "to": "+33472591687"}))).await;
    let shown = stack.api.get("/status").await;
    let problems: Vec<&str> =
        shown["agents"].as_array().into_iter().flatten().filter_map(|agent| agent["problem"].as_str()).collect();
    let is_told = problems.len() == 1 && problems[0].contains("CommandsQueueUrls") && problems[0].contains("1 master");
    if made.as_ref().is_none_or(|(status, _)| *status != 200) || !is_told {
        ledger.wrong(format!("{made:?} {shown}"));
    }
    stack.whole_agent_at("attic", &pbx, "branch");
    sleep(SETTLED).await;
    let made =
        stack.api.ask(Method::POST, "/rcc/makecall", Some(&json!({"from": "paris/42", "to": "+33472591687"}))).await;
    if made.as_ref().is_none_or(|(status, _)| *status != 200) {
        ledger.wrong(format!("{made:?}"));
    }
    stack.settle().await;
    Summary::default()
}

#[test]
fn agents_that_know_the_first_queue_only() {
    tell_all(HALF_THE_SEEDS, Faults::latency_only, first_queue_only).verdict("agents that know the first queue only");
}
