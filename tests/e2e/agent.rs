//! What an administrator relies on: lost connections, orderly stops, trust in a certificate, clear complaints.

use std::process::{Command, Output, Stdio};

use easyconnect_tests::{Agent, AgentOptions, Inbox, Pbx, Stack, eventually, paths};
use rustix::process::Signal;
use serde_json::json;

const CALLER: &str = "+32472591687";

async fn answered_call(stack: &Stack, pbx: &Pbx, inbox: &Inbox) {
    stack.subscribe(inbox).await;
    pbx.call(CALLER, "42");
    pbx.until_leg("42", "alerting").await;
    pbx.answer("42");
    inbox.expect(&["42 ringing", "42 connected"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_goes_on_over_a_lost_socket() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    answered_call(&stack, &pbx, &inbox).await;
    pbx.fault(&json!({"kind": "drop"}));
    stack.until_state("pbx_offline").await;
    stack.until_state("online").await;
    pbx.hang_up(CALLER);
    let events = inbox.expect(&["42 ringing", "42 connected", "42 disconnected"]).await;
    assert_eq!(events[0]["CallId"], events[2]["CallId"]);
    assert_eq!(events[2]["connected"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn call_that_ended_while_the_socket_was_lost_has_its_end() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    answered_call(&stack, &pbx, &inbox).await;
    pbx.fault(&json!({"kind": "drop", "down_ms": 2500}));
    stack.until_state("pbx_offline").await;
    pbx.hang_up(CALLER);
    let events = inbox.expect(&["42 ringing", "42 connected", "42 disconnected"]).await;
    assert_eq!(events[0]["CallId"], events[2]["CallId"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_half_frames_are_survived() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    answered_call(&stack, &pbx, &inbox).await;
    pbx.fault(&json!({"kind": "garbage"}));
    pbx.fault(&json!({"kind": "cut_mid_frame"}));
    stack.until_state("pbx_offline").await;
    stack.until_state("online").await;
    pbx.hang_up(CALLER);
    inbox.expect(&["42 ringing", "42 connected", "42 disconnected"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn name_of_any_characters_passes_the_queues() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    stack.subscribe(&inbox).await;
    // SQS refuses a message that has the second one as it is.
    let name = "\u{1f4de} \u{ffff} <Zoë> \u{202e}";
    pbx.control("/call", &json!({"from": CALLER, "to": "42", "name": name}));
    pbx.until_leg("42", "alerting").await;
    pbx.hang_up(CALLER);
    let events = inbox.expect(&["42 ringing", "42 disconnected"]).await;
    assert_eq!(events[0]["fromName"], name);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_agent_hands_over_what_it_has_and_takes_leave() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    let mut agent = Agent::start(&stack, &pbx, "one").await;
    answered_call(&stack, &pbx, &inbox).await;
    agent.signal(Signal::TERM);
    assert_eq!(agent.ended().await.code(), Some(0));
    stack.until_state("agent_offline").await;

    // The next one finds the call, and the call has one end.
    let _next = Agent::start(&stack, &pbx, "two").await;
    pbx.hang_up("42");
    inbox.expect(&["42 ringing", "42 connected", "42 disconnected"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn firmware_that_leaves_things_out_is_understood() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    pbx.control(
        "/quirks",
        &json!({"omit_conf": true, "info_object": true, "double_events": true, "omit_result_src": true,
                "numeric_challenge": true, "del": "flag", "omit_time": true}),
    );
    let _agent = Agent::start(&stack, &pbx, "one").await;
    answered_call(&stack, &pbx, &inbox).await;
    pbx.hang_up("42");
    inbox.expect(&["42 ringing", "42 connected", "42 disconnected"]).await;
    let call = stack.api.make_call("77", "44").await.ok();
    stack.api.post("/rcc/disconnect", json!({"CallId": call.text("CallId")})).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_of_the_pbx_is_trusted_by_its_fingerprint_or_its_authority_only() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let with =
        |pbx_lines: String| AgentOptions { pbx_url: Some(pbx.0.wss_url()), pbx_lines, ..AgentOptions::default() };
    let mut stranger = Agent::spawn(&stack, &pbx, "stranger", &with(String::new()));
    stranger.until_log("No PBX session").await;
    assert!(stranger.log().contains("TLS handshake"), "{}", stranger.log());
    stranger.kill();

    let wrong = format!("fingerprint = {:?}", "00".repeat(32));
    let mut misled = Agent::spawn(&stack, &pbx, "misled", &with(wrong));
    misled.until_log("No PBX session").await;
    misled.kill();

    let pinned = format!("fingerprint = {:?}", pbx.0.fingerprint());
    let mut pinned = Agent::start_with(&stack, &pbx, "pinned", &with(pinned)).await;
    pinned.kill();
    let file = stack.folder().join("pbx.pem");
    std::fs::write(&file, pbx.0.ca_pem()).expect("the certificate is written");
    let _trusting = Agent::start_with(&stack, &pbx, "trusting", &with(format!("ca_file = {file:?}"))).await;
}

/// Runs the agent with a configuration file and variables until it ends by itself.
fn run(config: &str, vars: &[(&str, &str)]) -> Output {
    let file = std::env::temp_dir().join(format!("easyconnect-test-{}.toml", shared::ids::CommandId::random()));
    std::fs::write(&file, config).expect("the configuration is written");
    let output = Command::new(paths::binary("easyconnect-agent"))
        .args(["run", "--config"])
        .arg(&file)
        .env_clear()
        .envs(vars.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the agent runs");
    std::fs::remove_file(&file).expect("the configuration is removed");
    output
}

#[test]
fn bad_configuration_exits_64_with_one_line() {
    let good = "[agent]\nname = \"a\"\nstate_dir = \"/tmp\"\n[pbx]\nurl = \"ws://127.0.0.1:1/\"\napp = \"e\"\npassword = \"p\"\n\
                [aws]\nevents_queue_url = \"q\"\ncommands_queue_url = \"q\"\nexchange_table = \"t\"\n";
    let check = |config: &str, vars: &[(&str, &str)], expected: &str| {
        let output = run(config, vars);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{text}");
        assert_eq!(text.trim_end().lines().count(), 1, "{text}");
        assert!(text.contains(expected), "{text}");
    };
    check("", &[], "agent");
    check(&good.replace("app =", "aap ="), &[], "aap");
    check(&good.replace("ws:", "http:"), &[], "pbx.url");
    check(&good.replace("\"p\"", "\"p"), &[], "line 7");
    check(good, &[("EASYCONNECT_AGENT__PBX__FINGERPRINT", "12")], "fingerprint");
    check(&good.replace("/tmp", "/proc/nowhere"), &[], "agent.state_dir");
}

#[tokio::test(flavor = "multi_thread")]
async fn pbx_that_cannot_be_named_exits_78() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    // One of the visible users is at home at another PBX, and nothing tells which of the two this is.
    pbx.control("/quirks", &json!({"homed_elsewhere": "50"}));
    let mut agent = Agent::spawn(&stack, &pbx, "one", &AgentOptions::default());
    assert_eq!(agent.ended().await.code(), Some(78));
    assert!(agent.log().contains("`pbx.id`"), "{}", agent.log());
    let options = AgentOptions { pbx_lines: "id = \"master\"".to_owned(), ..AgentOptions::default() };
    let _named = Agent::start_with(&stack, &pbx, "named", &options).await;
}

/// As a PBX is after a power cut, before its users are there.
#[tokio::test(flavor = "multi_thread")]
async fn pbx_that_shows_nobody_yet_is_waited_for() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    for extension in ["42", "43", "44", "50", "77", "78"] {
        pbx.control("/user", &json!({"extension": extension, "remove": true}));
    }
    let _agent = Agent::spawn(&stack, &pbx, "one", &AgentOptions::default());
    eventually("the agent says that nobody is visible", async || {
        let status = stack.api.get("/status").await.ok();
        let problem = status.body["agents"][0]["problem"].as_str().unwrap_or_default();
        if problem.contains("shows no user") { Ok(()) } else { Err(status.body.to_string()) }
    })
    .await;
}
