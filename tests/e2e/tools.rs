//! The API and its webhooks in the hands of tools that others have made. All they know of the API is the OpenAPI file that it
//! serves, and of webhooks what Standard Webhooks says.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use easyconnect_tests::{Agent, Inbox, Pbx, Request, Stack, paths};
use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::{Value, json};
use shared::delivery::Delivery;
use shared::event::{CallEvent, Status};
use shared::ids::{CallId, WebhookId};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use uuid::Uuid;

/// Never made by anybody, but in the form of a key.
const UNKNOWN_KEY: &str = "ec_000000000000000000000000000000000000000000000000000000000000000000000000";
const GROUP: [&str; 6] = ["42", "43", "44", "50", "77", "78"];

/// A program of the virtual environment, in a folder that ends with the stack.
fn tool(stack: &Stack, name: &str) -> Command {
    let program = paths::python().with_file_name(name);
    assert!(program.is_file(), "{} is missing: run `make test` once", program.display());
    let mut command = Command::new(program);
    command.current_dir(stack.folder()).env("NO_COLOR", "1").env("PYTHONDONTWRITEBYTECODE", "1");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// The newer tools are not installed beside an older Python; their tests say so and end.
#[expect(clippy::print_stdout, reason = "a test that was skipped has to say so")]
fn is_missing(name: &str) -> bool {
    let missing = !paths::python().with_file_name(name).is_file();
    if missing {
        println!("skipped: {name} is not installed; it needs Python 3.11 and `make test`");
    }
    missing
}

fn file(name: &str) -> PathBuf {
    paths::repository().join("tests/python").join(name)
}

/// Runs a tool to its end and returns what it printed.
async fn run(command: &mut Command) -> String {
    let output = command.output().await.expect("the tool starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {}\n{printed}\n{complaints}", command.as_std(), output.status);
    printed
}

/// Runs one of our scripts, which prints one JSON value.
async fn script(stack: &Stack, name: &str, arguments: &[&str]) -> Value {
    let mut command = tool(stack, "python");
    command.arg(file(name)).args(["--url", &stack.api.base, "--key", &stack.api.key]).args(arguments);
    let printed = run(&mut command).await;
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error} in {printed}"))
}

fn extensions(users: &Value) -> Vec<&str> {
    users["users"].as_array().expect("users").iter().filter_map(|user| user["extension"].as_str()).collect()
}

/// Which key schemathesis has, and how many requests it makes up for each operation beside those that it derives one by one.
enum Key {
    Valid { examples: u32 },
    Missing,
    Invalid,
}

/// Lets schemathesis look for a request of any operation whose answer is not what the OpenAPI file promises.
///
/// `EASYCONNECT_SEED` repeats an earlier run, `EASYCONNECT_EXAMPLES` makes it that many times as long.
#[expect(clippy::print_stdout, reason = "the seed of a run has to be known to repeat it")]
async fn schemathesis(stack: &Stack, agent: &str, key: Key) {
    let seed = std::env::var("EASYCONNECT_SEED").unwrap_or_else(|_| rand::random::<u32>().to_string());
    let times = std::env::var("EASYCONNECT_EXAMPLES").map_or(1, |times| times.parse().expect("a number"));
    let (name, value, examples) = match &key {
        Key::Valid { examples } => ("valid", Some(stack.api.key.as_str()), examples * times),
        Key::Missing => ("missing", None, 1),
        Key::Invalid => ("invalid", Some(UNKNOWN_KEY), 1),
    };
    println!("schemathesis, agent {agent}, key {name}: EASYCONNECT_SEED={seed}");
    let report = stack.folder().join("schemathesis.json");
    let mut command = tool(stack, "schemathesis");
    command
        .env("PYTHONPATH", file(""))
        .env("EASYCONNECT_AGENT", agent)
        .env("EASYCONNECT_KEY", name)
        .env("EASYCONNECT_SEED", &seed)
        .arg("--config-file")
        .arg(file("schemathesis.toml"))
        .args(["run", &format!("{}/swagger/api.yaml", stack.api.base)])
        .args(["--seed", &seed, "--max-examples", &examples.to_string(), "--report-json-path"])
        .arg(&report);
    // A key that is not valid is refused at the same place as none, with which every shape of a request is sent.
    if matches!(key, Key::Invalid) {
        command.args(["--phases", "fuzzing"]);
    }
    if let Some(value) = value {
        command.args(["--header", &format!("X-API-Key: {value}")]);
    }
    let printed = run(&mut command).await;
    println!("{}", printed.split_once("SUMMARY").map_or(&*printed, |(_, summary)| summary));

    let report: Value = read_json(&report);
    let operations = &report["operations"];
    assert!(operations["total"].as_u64() >= Some(25), "{operations}");
    assert_eq!((&operations["selected"], &operations["tested"]), (&operations["total"], &operations["total"]));
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a report")).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing_while_the_agent_is_up() {
    if is_missing("schemathesis") {
        return;
    }
    let (stack, pbx) = tokio::join!(Stack::start_with(&["CallsPerHour=0", "CallsPerPair=0"]), Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    // Some calls are answered, others ring on.
    for extension in ["43", "50"] {
        pbx.behave(extension, "answer");
    }
    schemathesis(&stack, "up", Key::Missing).await;
    schemathesis(&stack, "up", Key::Invalid).await;
    assert_eq!(pbx.heard("UserCall"), 0, "somebody has called without a key");
    schemathesis(&stack, "up", Key::Valid { examples: 6 }).await;
    assert!(pbx.heard("UserCall") > 0, "nobody was called");
    // Nothing that came in has hurt anybody.
    stack.until_state("online").await;
    stack.api.get("/rcc/users").await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing_while_the_agent_is_away() {
    if is_missing("schemathesis") {
        return;
    }
    let (stack, pbx) = tokio::join!(Stack::start_with(&["CallsPerHour=0", "CallsPerPair=0"]), Pbx::start());
    let mut agent = Agent::start(&stack, &pbx, "one").await;
    agent.signal(Signal::TERM);
    agent.ended().await;
    stack.until_state("agent_offline").await;
    schemathesis(&stack, "away", Key::Valid { examples: 10 }).await;

    // Nothing was kept for later.
    let _again = Agent::start(&stack, &pbx, "two").await;
    stack.api.get("/rcc/users").await.ok();
    assert_eq!(pbx.heard("UserCall"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_client_lists_users_and_makes_a_call() {
    if is_missing("openapi-python-client") {
        return;
    }
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let packages = stack.folder().join("packages");
    std::fs::create_dir(&packages).expect("a folder");
    let mut generate = tool(&stack, "openapi-python-client");
    generate.args(["generate", "--url", &format!("{}/swagger/api.yaml", stack.api.base)]);
    generate.args(["--meta", "none", "--fail-on-warning", "--output-path"]).arg(packages.join("easyconnect_client"));
    generate.arg("--config").arg(file("openapi-python-client.yaml"));
    run(&mut generate).await;

    let folder = packages.to_str().expect("UTF-8");
    let answers = script(&stack, "generated_client.py", &["--packages", folder]).await;
    assert_eq!(extensions(&answers["users"]), GROUP);
    assert_eq!(answers["call"]["state"], "succeeded", "{answers}");
    pbx.until_leg("50", "alerting").await;
    let call = stack.api.get(&format!("/rcc/calls/{}", answers["call"]["CallId"].as_str().expect("an id"))).await.ok();
    assert_eq!((call.text("from"), call.text("to")), ("77", "50"), "{}", call.body);
}

/// A package of `tests/node`, if it is installed on this machine.
#[expect(clippy::print_stdout, reason = "a test that was skipped has to say so")]
fn node_package(name: &str) -> Option<PathBuf> {
    let folder = file("../node/node_modules").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {name} is not installed; it needs Node and `npm ci --prefix tests/node`");
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_client_lists_users_and_makes_a_call() {
    let (Some(types), Some(compiler)) = (node_package("openapi-typescript"), node_package("typescript")) else {
        return;
    };
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let client = stack.folder().join("typescript");
    std::fs::create_dir(&client).expect("a folder");
    std::os::unix::fs::symlink(file("../node/node_modules"), client.join("node_modules")).expect("a link");
    std::fs::copy(file("../node/generated_client.mts"), client.join("generated_client.mts")).expect("a copy");
    let node = |program: &Path| {
        let mut node = Command::new("node");
        node.arg(program).current_dir(&client).env("NO_COLOR", "1").stdin(Stdio::null()).kill_on_drop(true);
        node
    };
    // The shorter description is enough for a client.
    let mut generate = node(&types.join("bin/cli.js"));
    generate.arg(format!("{}/swagger/makers.json", stack.api.base));
    // A field with a default may be left out.
    generate.args(["--default-non-nullable", "false", "--output", "easyconnect.d.ts"]);
    run(&mut generate).await;
    let mut compile = node(&compiler.join("bin/tsc"));
    compile.args(["--strict", "--skipLibCheck", "--target", "es2022", "--lib", "es2022,dom", "--module", "nodenext"]);
    run(compile.arg("generated_client.mts")).await;

    let mut ask = node(&client.join("generated_client.mjs"));
    let printed = run(ask.args([&stack.api.base, &stack.api.key])).await;
    let answers: Value = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error} in {printed}"));
    assert_eq!(extensions(&answers["users"]), GROUP);
    assert_eq!(answers["state"], "succeeded", "{answers}");
    pbx.until_leg("50", "alerting").await;
    let call = stack.api.get(&format!("/rcc/calls/{}", answers["call"]["CallId"].as_str().expect("an id"))).await.ok();
    assert_eq!((call.text("from"), call.text("to")), ("77", "50"), "{}", call.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_makes_a_call_from_the_swagger_page() {
    let Some(browser) = browser() else { return };
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    // It outlives the test, because it is the only thing that shows what a person would have seen.
    let screenshot = paths::repository().join("target/swagger.png");
    let seen = script(&stack, "swagger_ui.py", &["--browser", &browser, "--screenshot", &text(&screenshot)]).await;

    assert_eq!(seen["complaints"], json!([]));
    assert_eq!(seen["address"], format!("{}/swagger/", stack.api.base));
    assert_eq!(seen["off screen"], json!([]), "the first operation is on the first screen");
    assert_eq!(seen["found"], json!(["/rcc/makecall"]), "the filter finds operations by name");
    assert_eq!(seen["GetUsers"]["status"], "200", "{seen}");
    assert_eq!(extensions(&seen["GetUsers"]["body"]), GROUP);
    assert_eq!(seen["MakeCall"]["status"], "200", "{seen}");
    assert_eq!(seen["MakeCall"]["body"]["state"], "succeeded", "{seen}");
    pbx.until_leg("50", "alerting").await;
}

/// Everything that an administrator does in the console, on every page in two sizes and both colour schemes.
#[tokio::test(flavor = "multi_thread")]
async fn browser_finds_its_way_through_the_console() {
    let Some(browser) = browser() else { return };
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let (control, receiver) = (pbx.0.control_url(), inbox.url("/hook"));
    let seen = walk(&stack, "console.py", &browser, &["--pbx", &control, "--receiver", &receiver]).await;

    assert_eq!(seen["complaints"], json!([]));
    assert_eq!(seen["wrong"], json!({}), "accessibility, and pages that are wider than the screen");
    assert!(seen["wrong key"].as_str().is_some_and(|text| text.contains("The API key is not complete")), "{seen}");
    let all = ["Overview", "Live", "Users", "Webhooks", "Keys", "Audit", "API", "Try it"];
    assert_eq!(seen["menu"], json!(all));
    assert_eq!(seen["first run"]["steps"], 4, "all steps are done");
    assert_eq!(seen["users"]["told"], "The phone of 42 calls 50.");
    assert_eq!(seen["live"]["asked in vain"], 0, "calls are asked for when events have come");
    pbx.until_leg("50", "alerting").await;
    assert_eq!(seen["webhook"]["secret"], true);
    assert_eq!(seen["webhook"]["told"], "The test arrived: answered 204.");
    assert!(seen["webhook"]["title"].as_str().is_some_and(|title| title.starts_with("<img src=x")), "markup is text");
    assert!(seen["webhook"]["request"].as_str().is_some_and(|text| text.contains("webhook-signature: ")), "{seen}");
    assert!(seen["failing webhook"]["off"].as_str().is_some_and(|text| text.contains("410")), "{seen}");
    assert!(seen["failing webhook"]["told"].as_str().is_some_and(|text| text.contains("sent again: ")), "{seen}");
    assert_eq!(seen["failing webhook"]["accepted"], true);
    assert_eq!(seen["hostile"], json!({"wrong": {}, "shown": true}), "whatever strangers write is text");
    assert_eq!(seen["keys"]["may call"], 0);
    assert_eq!(seen["keys"]["menu"], json!(["Overview", "Live", "Users", "API", "Try it"]), "what it may not do");
    assert!(seen["keys"]["revoked"].as_str().is_some_and(|text| text.contains("not accepted any more")), "{seen}");
    let choices = &seen["choices"];
    assert_eq!((&choices["language"], &choices["outlasts"]), (&json!("de"), &json!(true)), "{seen}");
    assert_eq!(choices["dark"], "rgb(18, 22, 29)", "the ground of the dark colours");
    assert!(choices["key"].as_str().is_some_and(|text| text.starts_with("Schlüssel: ")), "{seen}");
    let refused = &seen["refused"];
    assert!(refused["told"].as_str().is_some_and(|text| text.starts_with("“Address” has a user name")), "{seen}");
    assert_eq!((&refused["focus"], &refused["invalid"]), (&json!("url"), &json!(1)), "told at the field");
    assert_eq!(seen["key in storage"], "", "the key stays in the tab");
}

/// Delivers the end of a call at this PBX as if `fanout` had just decided on it.
async fn deliver_of_pbx(stack: &Stack, to: WebhookId, pbx: &str) {
    let now = Timestamp::now();
    let example = CallEvent::example(CallId::from_uuid(Uuid::new_v4()), Status::Disconnected, now);
    let event = CallEvent { pbx_id: pbx.to_owned(), ..example };
    let fanned_out = Some(now.as_millisecond());
    let delivery = Delivery { queued_at: fanned_out, fanned_out_at: fanned_out, ..Delivery::of_call(event, to) };
    assert_eq!(stack.deliver(&delivery).await, json!({"batchItemFailures": []}));
}

/// A webhook whose receiver fails and is mended, and one that masks numbers, on every page that shows them.
#[tokio::test(flavor = "multi_thread")]
async fn console_shows_webhooks_that_fail_or_mask_numbers() {
    let Some(browser) = browser() else { return };
    let stack = Stack::start_with(&["FastLaneSeconds=2", "FailingAfterSeconds=5", "RingingFreshSeconds=15"]);
    let (stack, pbx, inbox) = tokio::join!(stack, Pbx::start(), Inbox::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let told = stack.subscribe(&inbox).await.id;
    for pbx in ["master", "branch"] {
        deliver_of_pbx(&stack, told, pbx).await;
    }
    let seen = walk(&stack, "console_webhooks.py", &browser, &["--pbx", &pbx.0.control_url(), "--stale", "15"]).await;

    assert_eq!(seen["complaints"], json!([]));
    assert_eq!(seen["wrong"], json!({}), "accessibility, and pages that are wider than the screen");
    let says = |part: &str, page: &str, texts: &[&str]| {
        let told = seen[part][page].as_str().unwrap_or_default();
        assert!(texts.iter().all(|text| told.contains(text)), "{part}, {page}: {told}");
    };
    says(
        "failing",
        "failing",
        &["nothing was accepted for ", "the last attempt: answered 500", "“Resume” tries at once"],
    );
    assert!(seen["failing"]["since"].is_string(), "{seen}");
    says("failing", "german", &["wurde nichts angenommen; zuletzt: antwortete 500", "Der Empfänger hat eine Weile"]);
    says("failing", "attempts", &["answered 500"]);
    for page in ["overview", "webhooks"] {
        says("failing", page, &["failing", "nothing was accepted for "]);
    }
    assert_eq!(seen["failing"]["focus"], "Pause", "what stays as it is keeps the focus");
    says("failing", "pbxs", &["master", "branch", "until it is sent"]);
    // The end of the call comes by itself; the ringing is too old, until somebody wants it.
    assert_eq!((&seen["failing"]["at first"], &seen["failing"]["at last"]), (&json!(1), &json!(2)));
    says("failing", "told", &["sent again: 1"]);
    let active = seen["failing"]["active"].as_str().unwrap_or_default();
    assert!(!active.contains("nothing was accepted"), "{active}");

    let masked = &seen["masked"];
    assert_eq!(masked["leaks"], json!({}), "numbers and names");
    says("masked", "summary", &["Numbers", "masked"]);
    let requests: Vec<&str> = masked["requests"].as_array().expect("pages").iter().filter_map(Value::as_str).collect();
    assert_eq!(requests.len(), 6);
    assert!(
        requests.iter().any(|page| page.matches("***687").count() >= 2),
        "in the request and in the answer: {seen}"
    );
    let users = masked["users"].as_array().expect("cells");
    assert!(users.iter().all(|user| user.as_str().is_some_and(|user| !user.is_empty())), "whose call it is: {users:?}");
    assert_eq!(masked["checked"], true);
    says("masked", "address", &["GET ", "***"]);
    says("masked", "offered", &["Nummern bis auf die letzten drei Ziffern verdecken"]);
}

/// What the console says while the PBX is away, and then the agent.
#[tokio::test(flavor = "multi_thread")]
async fn console_says_who_is_away() {
    let Some(browser) = browser() else { return };
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let mut agent = Agent::start(&stack, &pbx, "one").await;
    let pictures = text(&paths::repository().join("target/console"));
    let arguments = ["--browser", &browser, "--screenshots", &pictures];
    let look = async |more: &[&str]| script(&stack, "console_offline.py", &[&arguments[..], more].concat()).await;
    let says = |seen: &Value, page: &str, text: &str| {
        assert!(seen[page].as_str().is_some_and(|told| told.contains(text)), "{page}: {seen}");
    };

    let seen = look(&["--pbx", &pbx.0.control_url()]).await;
    says(&seen, "overview", "has no session with the PBX");
    for page in ["users", "live", "try"] {
        says(&seen, page, "PBX");
    }
    assert_eq!(seen["connection"], "", "the stack itself is there");

    agent.signal(Signal::TERM);
    agent.ended().await;
    let seen = look(&[]).await;
    says(&seen, "overview", "Install the agent");
    for page in ["users", "live", "try"] {
        says(&seen, page, "agent");
    }
    assert_eq!(seen["connection"], "");
}

/// Chromium, if there is one on this machine.
#[expect(clippy::print_stdout, reason = "a test that was skipped has to say so")]
fn browser() -> Option<String> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&folders).collect();
    let mut programs = ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let Some(program) = programs.find(|program| program.is_file()) else {
        println!("skipped: there is no Chromium on this machine (Debian: apt install chromium)");
        return None;
    };
    Some(text(&program))
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// Walks through the console in a browser. Pictures outlast the test, because they are what a person would have seen.
async fn walk(stack: &Stack, script_name: &str, browser: &str, arguments: &[&str]) -> Value {
    let pictures = text(&paths::repository().join("target/console"));
    let axe = node_package("axe-core").map(|package| text(&package.join("axe.min.js")));
    let mut all = vec!["--browser", browser, "--screenshots", &pictures];
    all.extend(axe.iter().flat_map(|axe| ["--axe", axe]));
    script(stack, script_name, &[&all, arguments].concat()).await
}

/// A webhook as a library that verifies signatures wants to see it.
fn signed(request: &Request, content: &str) -> Value {
    let header = |name: &str| request.header(name).to_owned();
    let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| (name.to_owned(), header(name)));
    json!({"headers": std::collections::BTreeMap::from(headers), "content": content})
}

/// What somebody else's library says of these webhooks.
async fn verified(command: &mut Command, secret: &str, cases: &[Value]) -> Value {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("the script starts");
    let question = json!({"secret": secret, "cases": cases}).to_string();
    child.stdin.take().expect("a pipe").write_all(question.as_bytes()).await.expect("the script listens");
    let output = child.wait_with_output().await.expect("the script ends");
    assert!(output.status.success(), "{:?}: {}", command.as_std(), output.status);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A library for receivers, if this machine has it.
fn node() -> Option<Command> {
    node_package("standardwebhooks").map(|_| {
        let mut node = Command::new("node");
        node.arg(file("../node/verify.js"));
        node
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn libraries_of_other_languages_verify_what_is_sent() {
    let (stack, post, get) = tokio::join!(Stack::start(), Inbox::start(), Inbox::start());
    let api = &stack.api;
    let own_query = get.url("/hook?tenant=7");
    let posting = api.post("/webhooks", json!({"url": post.url("/hook"), "format": "extended"})).await.with_status(201);
    let getting = api.post("/webhooks", json!({"url": own_query, "method": "GET"})).await.with_status(201);
    let test = async |id: &str| api.post(&format!("/webhooks/{id}/test?wait=20"), json!({})).await.ok();
    test(posting.text("id")).await;
    test(getting.text("id")).await;
    let rotated = api.post(&format!("/webhooks/{}/secret", posting.text("id")), json!({})).await.ok();
    test(posting.text("id")).await;

    let posted = post.received();
    let body = |n: usize| String::from_utf8(posted[n].body.to_vec()).expect("UTF-8");
    let got = get.received().remove(0);
    let appended = got.query.strip_prefix("tenant=7&").expect("the URL's own query comes first");
    let mut late = signed(&posted[0], &body(0));
    late["headers"]["webhook-timestamp"] = json!("1700000000");
    let of_first_secret = [
        signed(&posted[0], &body(0)),
        signed(&posted[1], &body(1)),
        signed(&posted[0], &body(1)),
        signed(&posted[0], &body(0).replace("42", "43")),
        late,
    ];
    let of_second_secret = [signed(&posted[0], &body(0)), signed(&posted[1], &body(1))];
    let of_get = [signed(&got, appended), signed(&got, &got.query)];

    let python = || {
        let mut python = tool(&stack, "python");
        python.arg(file("verify_webhooks.py"));
        python
    };
    for library in [Some(python()), node()].into_iter().flatten() {
        let mut library = library;
        let genuine = verified(&mut library, posting.text("secret"), &of_first_secret).await;
        assert_eq!(genuine, json!([true, true, false, false, false]), "{:?}", library.as_std());
        let genuine = verified(&mut library, rotated.text("secret"), &of_second_secret).await;
        assert_eq!(genuine, json!([false, true]), "{:?}", library.as_std());
        let genuine = verified(&mut library, getting.text("secret"), &of_get).await;
        assert_eq!(genuine, json!([true, false]), "{:?}", library.as_std());
    }
}
