//! The agent as a service of a company's machine: what it tells systemd, where its secrets come from, how it gets out to AWS.

use std::path::Path;

use easyconnect_tests::{Agent, AgentOptions, Pbx, Stack, Tunnel, eventually};
use rustix::process::Signal;
use serde_json::json;
use tokio::net::UnixDatagram;

/// The socket on which systemd listens.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(path: &Path) -> Self {
        Self(UnixDatagram::bind(path).expect("a socket"))
    }

    /// Waits until a line is told that begins like this, and returns the lines told till then.
    async fn until(&self, beginning: &str) -> Vec<String> {
        let mut lines = Vec::new();
        eventually(&format!("systemd is told {beginning}"), async || {
            let mut buffer = [0; 4096];
            while let Ok(length) = self.0.try_recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]);
                lines.extend(text.lines().map(str::to_owned));
            }
            if lines.iter().any(|line| line.starts_with(beginning)) { Ok(()) } else { Err(format!("{lines:?}")) }
        })
        .await;
        lines
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_how_the_agent_is() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let run = |name: &str, pbx_url: Option<String>| {
        let path = stack.folder().join(format!("{name}.notify"));
        let systemd = Manager::listen(&path);
        let vars = [("NOTIFY_SOCKET", path.to_string_lossy().into_owned()), ("WATCHDOG_USEC", "200000".to_owned())];
        let vars = vars.map(|(variable, value)| (variable.to_owned(), value)).to_vec();
        let agent = Agent::spawn(&stack, &pbx, name, &AgentOptions { pbx_url, vars, ..AgentOptions::default() });
        (systemd, agent)
    };

    // A PBX that is not there does not keep the service from starting, and is no reason to start it again.
    let (systemd, mut lonely) = run("lonely", Some("ws://127.0.0.1:1/PBX0/APPS/websocket".to_owned()));
    let told = systemd.until("STATUS=no PBX session: cannot connect to 127.0.0.1:1").await;
    assert!(told.contains(&"READY=1".to_owned()), "{told:?}");
    systemd.until("WATCHDOG=1").await;
    lonely.kill();

    let (systemd, mut agent) = run("one", None);
    let told = systemd.until("STATUS=connected to PBX ").await;
    assert!(told.contains(&"READY=1".to_owned()), "{told:?}");
    systemd.until("WATCHDOG=1").await;
    agent.signal(Signal::HUP);
    let told = systemd.until("READY=1").await;
    let begun = told.iter().position(|line| line == "RELOADING=1").expect("a reload");
    assert!(told[begun + 1].starts_with("MONOTONIC_USEC="), "{told:?}");
    agent.signal(Signal::TERM);
    let told = systemd.until("STOPPING=1").await;
    assert!(!told.contains(&"READY=1".to_owned()), "ready once only: {told:?}");
    assert_eq!(agent.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_come_from_the_credentials_of_the_service() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let (key, secret) = (stack.var("AGENT_AWS_ACCESS_KEY_ID"), stack.var("AGENT_AWS_SECRET_ACCESS_KEY"));
    let credentials = |name: &str, aws: &str| {
        let folder = stack.folder().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("pbx-password"), pbx_sim::world::DEFAULT_PASSWORD).expect("a file");
        std::fs::write(folder.join("aws-credentials"), aws).expect("a file");
        AgentOptions { credentials: Some(folder), ..AgentOptions::default() }
    };
    let keys = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
    let _keys = Agent::start_with(&stack, &pbx, "keys", &credentials("keys-secrets", &keys)).await;

    // As IAM Roles Anywhere does it: a program hands out the key.
    let answer = stack.folder().join("answer.json");
    let json = json!({"Version": 1, "AccessKeyId": key, "SecretAccessKey": secret});
    std::fs::write(&answer, json.to_string()).expect("a file");
    let process = format!("[default]\ncredential_process = /bin/cat {}\n", answer.display());
    let _process = Agent::start_with(&stack, &pbx, "process", &credentials("process-secrets", &process)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_is_reached_through_a_proxy() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let tunnel = Tunnel::start(stack.var("AWS_ENDPOINT_URL")).await;
    let ca_file = stack.folder().join("cloud.pem");
    std::fs::write(&ca_file, &tunnel.ca_pem).expect("a file");
    let through = |proxy: String| AgentOptions {
        aws_endpoint: Some(Tunnel::endpoint()),
        aws_lines: proxy,
        vars: vec![("SSL_CERT_FILE".to_owned(), ca_file.to_string_lossy().into_owned())],
        ..AgentOptions::default()
    };
    let mut stranger = Agent::spawn(&stack, &pbx, "stranger", &through(tunnel.lines_without_password()));
    stranger.until_log("The heartbeat was not heard").await;
    stranger.kill();

    let agent = Agent::start_with(&stack, &pbx, "one", &through(tunnel.lines(stack.folder()))).await;
    let call = stack.api.make_call("77", "44").await.ok();
    stack.api.post("/rcc/disconnect", json!({"CallId": call.text("CallId")})).await.ok();
    assert!(!agent.log().contains("hush-hush"), "{}", agent.log());
}
