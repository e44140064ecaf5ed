//! What a running agent tells about itself: to monitoring, to an administrator, to the API, and in its log.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};

use easyconnect_tests::api::http_client;
use easyconnect_tests::{Agent, AgentOptions, Front, Pbx, Stack, agent_command, eventually, paths};
use jiff::SignedDuration;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::mpsc;

const CALLER: &str = "+32472591687";

fn run(stack: &Stack, verb: &str, agent: &Agent, flags: &[&str]) -> Output {
    agent_command(stack, verb, &agent.config).args(flags).output().expect("the agent's program runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn ready(health: &str) -> (u16, Value) {
    let answer = http_client().get(format!("{health}/ready")).send().await.expect("the health port answers");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

async fn until_ready(health: &str, expected: u16) -> Value {
    eventually(&format!("/ready answers {expected}"), async || match ready(health).await {
        (status, body) if status == expected => Ok(body),
        other => Err(format!("{other:?}")),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_follows_the_pbx_and_the_queue() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let front = Front::start(stack.var("AWS_ENDPOINT_URL"), SignedDuration::ZERO).await;
    let options = AgentOptions { aws_endpoint: Some(front.url()), ..AgentOptions::default() };
    let mut agent = Agent::start_with(&stack, &pbx, "one", &options).await;
    let health = agent.health_url().await;
    let body = until_ready(&health, 200).await;
    assert_eq!((&body["ready"], &body["pbx"], &body["commandsQueue"]), (&json!(true), &json!("up"), &json!("yes")));
    assert_eq!(run(&stack, "status", &agent, &[]).status.code(), Some(0));

    pbx.fault(&json!({"kind": "drop", "down_ms": 3000}));
    let body = until_ready(&health, 503).await;
    assert_eq!((&body["pbx"], &body["commandsQueue"]), (&json!("down"), &json!("yes")));
    assert_eq!(run(&stack, "status", &agent, &[]).status.code(), Some(1));
    until_ready(&health, 200).await;

    front.refuse(true);
    let body = until_ready(&health, 503).await;
    assert_eq!(body["pbx"], "up");
    front.refuse(false);
    until_ready(&health, 200).await;
    let live = http_client().get(format!("{health}/live")).send().await.expect("the health port answers");
    assert_eq!(live.status(), 200);

    // The heartbeat tells the same.
    stack.until_state("online").await;
    let told = stack.api.get("/status").await.ok().body["agents"][0].clone();
    assert_eq!((&told["reconnects"], &told["droppedEvents"]), (&json!(1), &json!(0)));
    assert!(told["os"].as_str().is_some_and(|os| os.ends_with(std::env::consts::ARCH)), "{told}");
    assert!(told["clockAheadMs"].as_i64().is_some_and(|ahead| ahead.abs() < 5000), "{told}");

    agent.signal(Signal::TERM);
    assert_eq!(agent.ended().await.code(), Some(0));
    let left = std::fs::read_dir(agent.config.with_file_name("state")).expect("the state folder");
    let left: Vec<_> = left.map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(!left.iter().any(|name| name == "agent.sock" || name == "health.addr"), "{left:?}");
}

/// `events --tail`, line by line.
struct Tail {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Tail {
    fn start(stack: &Stack, agent: &Agent, flags: &[&str]) -> Self {
        let mut command = agent_command(stack, "events", &agent.config);
        let mut child = command.arg("--tail").args(flags).stdout(Stdio::piped()).spawn().expect("the program starts");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    async fn next(&mut self) -> String {
        let next = tokio::time::timeout(std::time::Duration::from_secs(30), self.lines.recv()).await;
        next.expect("an event comes").expect("the program runs")
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn administrator_sees_the_state_and_the_events_of_the_running_agent() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let mut agent = Agent::start(&stack, &pbx, "one").await;
    let mut early = Tail::start(&stack, &agent, &["--json"]);
    pbx.call(CALLER, "42");
    let ringing: Value = serde_json::from_str(&early.next().await).expect("JSON");
    assert_eq!(
        (&ringing["webHookEvent"]["status"], &ringing["webHookEvent"]["monitoredExtension"]),
        (&json!("ringing"), &json!("42"))
    );
    // Who comes later sees it, too.
    let mut late = Tail::start(&stack, &agent, &[]);
    let line = late.next().await;
    assert!(line.contains("ringing") && line.contains("472591687") && line.contains("Thomas De Wilde"), "{line}");
    pbx.answer("42");
    pbx.until_leg("42", "connected").await;
    let connected: Value = serde_json::from_str(&early.next().await).expect("JSON");
    assert_eq!(connected["webHookEvent"]["CallId"], ringing["webHookEvent"]["CallId"]);
    assert!(late.next().await.contains("connected"));
    let shown = out(&run(&stack, "events", &agent, &[]));
    assert_eq!(shown.lines().count(), 2, "{shown}");

    let report = run(&stack, "status", &agent, &["--json"]);
    let report: Value = serde_json::from_slice(&report.stdout).expect("JSON");
    assert_eq!((&report["pbx"], &report["agent"]["name"]), (&json!("up"), &json!("one")));
    assert_eq!((&report["agent"]["vitals"]["events"], &report["agent"]["visibleUsers"]), (&json!(2), &json!(6)));
    assert_eq!(report["health"], agent.health_url().await.trim_start_matches("http://"));
    eventually("the status shows the call", async || match out(&run(&stack, "status", &agent, &[])) {
        shown
            if shown.contains("6 visible, 6 monitored, 0 refused by the PBX, 1 live calls")
                && shown.contains("2 seen, 0 dropped") =>
        {
            Ok(())
        }
        shown => Err(shown),
    })
    .await;

    // Phone numbers are for the agent's own user only.
    let socket = agent.config.with_file_name("state").join("agent.sock");
    assert_eq!(std::fs::metadata(&socket).expect("the socket").permissions().mode() & 0o777, 0o600);
    let health = agent.health_url().await;
    for path in ["/status", "/events"] {
        let answer = http_client().get(format!("{health}{path}")).send().await.expect("the health port answers");
        assert_eq!(answer.status(), 404, "{path}");
    }
    // A second agent must not write to the first one's folder.
    let second = agent_command(&stack, "run", &agent.config).output().expect("the agent runs");
    let complaint = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        !second.status.success() && complaint.contains("another agent") && complaint.contains("agent.state_dir"),
        "{complaint}"
    );

    agent.kill();
    let gone = run(&stack, "status", &agent, &[]);
    assert_eq!(gone.status.code(), Some(3));
    assert_eq!(run(&stack, "events", &agent, &["--tail"]).status.code(), Some(3));
    // What a crash has left is no obstacle.
    let _next = Agent::start(&stack, &pbx, "one").await;
}

/// The samples of a text in Prometheus's format, by name and labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut types = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').expect("a name and a type");
            types.insert(name.to_owned(), kind.to_owned());
        } else if !line.starts_with("# HELP ") {
            let (key, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            let name = key.split('{').next().expect("a name");
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            let kind = types.get(name).or_else(|| types.get(base)).unwrap_or_else(|| panic!("{name} has no type"));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            assert!(text.contains(&format!("# HELP {base} ")), "{name} has no description");
            samples.insert(key.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line}")));
        }
    }
    samples
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happened_and_the_readme_lists_them() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let agent = Agent::start(&stack, &pbx, "one").await;
    let health = agent.health_url().await;
    pbx.call(CALLER, "42");
    pbx.until_leg("42", "alerting").await;
    stack.api.make_call("44", "43").await.ok();
    let figures = async || {
        let answer = http_client().get(format!("{health}/metrics")).send().await.expect("the health port answers");
        assert!(answer.headers()["content-type"].to_str().expect("a text").starts_with("text/plain"));
        answer.text().await.expect("a text")
    };
    let text = eventually("the command is counted", async || {
        let text = figures().await;
        if text.contains("easyconnect_agent_commands_total") { Ok(text) } else { Err(text) }
    })
    .await;
    let samples = samples(&text);
    let value = |key: &str| *samples.get(key).unwrap_or_else(|| panic!("no {key} in {text}"));
    assert_eq!(value("easyconnect_agent_ready"), 1.0);
    for link in ["pbx", "events_queue", "commands_queue", "exchange_table"] {
        assert_eq!(value(&format!("easyconnect_agent_link_up{{link=\"{link}\"}}")), 1.0);
    }
    assert!(value("easyconnect_agent_events_total{status=\"ringing\"}") >= 1.0);
    assert_eq!(value("easyconnect_agent_commands_total{operation=\"MakeCall\",state=\"succeeded\"}"), 1.0);
    assert_eq!(value("easyconnect_agent_command_duration_seconds_count{operation=\"MakeCall\"}"), 1.0);
    assert_eq!(value("easyconnect_agent_visible_users"), 6.0);
    assert!(!text.contains("472591687") && !text.contains("Thomas"), "{text}");

    let readme = std::fs::read_to_string(paths::repository().join("agent/README.md")).expect("the agent's README");
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().expect("a name");
        assert!(readme.contains(&format!("`{name}")), "{name} is not in the README");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_holds_neither_numbers_nor_names_nor_secrets() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let options = AgentOptions {
        tables: "[log]\nformat = \"json\"\n".to_owned(),
        log_level: Some(String::new()),
        ..AgentOptions::default()
    };
    let mut agent = Agent::start_with(&stack, &pbx, "one", &options).await;
    pbx.call(CALLER, "42");
    pbx.until_leg("42", "alerting").await;
    pbx.answer("42");
    pbx.until_leg("42", "connected").await;
    stack.api.make_call("44", CALLER).await.ok();
    stack.api.make_call("44", "999").await;
    stack.api.get("/rcc/users").await.ok();
    stack.api.get("/rcc/calls").await.ok();
    pbx.fault(&json!({"kind": "garbage"}));
    pbx.fault(&json!({"kind": "drop"}));
    agent.until_log("No PBX session").await;
    stack.until_state("online").await;
    agent.signal(Signal::TERM);
    agent.ended().await;
    let log = agent.log();
    assert!(log.contains("Command ended") && log.contains("Monitoring"), "{log}");
    for secret in
        ["472591687", "Thomas", "Workshop", pbx_sim::world::DEFAULT_PASSWORD, stack.var("AGENT_AWS_SECRET_ACCESS_KEY")]
    {
        assert!(!log.contains(secret), "{secret:?} in {log}");
    }
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(entry["level"] != "DEBUG" && entry["message"].is_string(), "{line}");
    }

    // As text, and not for a terminal: without colours.
    let options = AgentOptions { log_level: Some(String::new()), ..AgentOptions::default() };
    let plain = Agent::start_with(&stack, &pbx, "two", &options).await;
    assert!(plain.log().contains("Monitoring") && !plain.log().contains('\u{1b}'), "{}", plain.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_without_region_or_credentials_says_what_is_missing_and_ends() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let file = AgentOptions::default().configure(&stack, &pbx, "one");
    let complaint = |command: &mut Command| {
        let output = command.env("AWS_EC2_METADATA_DISABLED", "true").output().expect("the agent runs");
        assert_eq!(output.status.code(), Some(78));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let (last, others) =
            text.trim_end().rsplit_once('\n').map_or((text.trim_end(), ""), |(others, last)| (last, others));
        assert!(!others.contains("WARN") && !others.contains("ERROR"), "{text}");
        last.to_owned()
    };
    let mut keyless = agent_command(&stack, "run", &file);
    keyless.env_remove("AWS_SECRET_ACCESS_KEY").env_remove("AWS_ACCESS_KEY_ID");
    let said = complaint(&mut keyless);
    assert!(said.contains("AWS_ACCESS_KEY_ID") && said.contains("AWS_PROFILE"), "{said}");
    let text = std::fs::read_to_string(&file).expect("the configuration").replace("region = \"us-east-1\"\n", "");
    std::fs::write(&file, text).expect("the configuration is written");
    let said = complaint(&mut agent_command(&stack, "run", &file));
    assert!(said.contains("aws.region") && said.contains("AWS_REGION"), "{said}");
}
