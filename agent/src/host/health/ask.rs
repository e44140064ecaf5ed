//! `status` and `events`: an administrator asks the running agent over its socket.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::SignedDuration;
use shared::agent_status::PbxLink;
use shared::event::CallEvent;
use shared::time::{from_millis, iso_millis};
use tokio::net::UnixStream;

use super::report::StatusReport;
use super::socket;
use crate::host::statistics::Working;

/// No agent runs there (the code that service managers give to "not running").
const EXIT_NOT_RUNNING: u8 = 3;
const EXIT_NOT_READY: u8 = 1;

/// Prints how the running agent is doing. The exit code says it to scripts.
pub async fn status(state_dir: &Path, json: bool) -> anyhow::Result<u8> {
    let Some(answer) = ask(state_dir, "/status").await? else { return not_running(state_dir) };
    let body = answer.into_body().collect().await?.to_bytes();
    let report: StatusReport = serde_json::from_slice(&body).context("the agent's answer is not understood")?;
    let text = if json { format!("{}\n", String::from_utf8_lossy(&body)) } else { describe(&report) };
    io::stdout().write_all(text.as_bytes())?;
    Ok(if report.readiness.ready { 0 } else { EXIT_NOT_READY })
}

/// Prints the latest events, and with `tail` those that come until the agent ends.
pub async fn events(state_dir: &Path, tail: bool, json: bool) -> anyhow::Result<u8> {
    let Some(answer) = ask(state_dir, &format!("/events?tail={tail}")).await? else { return not_running(state_dir) };
    let mut body = answer.into_body();
    let mut rest = Vec::new();
    while let Some(frame) = body.frame().await {
        // An agent that ends cuts off its answer.
        let Ok(frame) = frame else { break };
        rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let text = match serde_json::from_slice::<CallEvent>(&line) {
                Ok(event) if !json => describe_event(&event),
                _ => String::from_utf8_lossy(&line).into_owned(),
            };
            let mut out = io::stdout().lock();
            // The reader has ended, for example `head`.
            if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
                return Ok(0);
            }
        }
    }
    Ok(0)
}

/// The answer of the running agent; none if nobody is there.
async fn ask(state_dir: &Path, path: &str) -> anyhow::Result<Option<Response<Incoming>>> {
    let socket = socket::path(state_dir);
    let stream = match UnixStream::connect(&socket).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => {
            return Err(error)
                .with_context(|| format!("cannot open {}; ask as root or as the agent's own user", socket.display()));
        }
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path).header("host", "agent").body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    ensure!(answer.status().is_success(), "the agent answers {}", answer.status());
    Ok(Some(answer))
}

#[expect(clippy::print_stderr, reason = "a person at a terminal reads it")]
fn not_running(state_dir: &Path) -> anyhow::Result<u8> {
    eprintln!("easyconnect-agent: no agent runs with the state folder {}", state_dir.display());
    Ok(EXIT_NOT_RUNNING)
}

fn describe(report: &StatusReport) -> String {
    let StatusReport { readiness, health, monitored_users, agent } = report;
    let vitals = &agent.vitals;
    let works = |working: Working| match working {
        Working::Yes => "works",
        Working::No => "does not work",
        Working::Unknown => "not tried yet",
    };
    let when = |millis: i64| iso_millis(from_millis(millis));
    let pbx = match (agent.pbx, agent.session_since) {
        (PbxLink::Up, Some(since)) => format!("up since {}", when(since)),
        (PbxLink::Up, None) => "up".to_owned(),
        (PbxLink::Down, _) => "down".to_owned(),
    };
    let oldest =
        vitals.oldest_event_age_ms.map(|age| format!(", the oldest for {:#}", SignedDuration::from_millis(age)));
    let monitored = monitored_users.map_or_else(String::new, |monitored| {
        format!(", {monitored} monitored, {} refused by the PBX", agent.visible_users.saturating_sub(monitored))
    });
    let mut rows = vec![
        ("ready", if readiness.ready { "yes" } else { "no" }.to_owned()),
        ("agent", format!("{}, version {}, on {}", agent.agent_id, agent.version, vitals.os)),
        ("started", when(agent.started_at)),
        ("PBX", format!("{} {pbx}, {} reconnects", agent.pbx_id.as_deref().unwrap_or("(unknown)"), vitals.reconnects)),
    ];
    rows.extend(agent.problem.iter().map(|problem| ("problem", problem.clone())));
    rows.extend(agent.refusals.iter().map(|refusal| ("not monitored", refusal.clone())));
    rows.extend([
        ("users", format!("{} visible{monitored}, {} live calls", agent.visible_users, agent.live_calls)),
        ("events", format!("{} seen, {} dropped", vitals.events, vitals.dropped_events)),
        ("outbox", format!("{} waiting{}", agent.waiting_events, oldest.unwrap_or_default())),
        (
            "commands",
            format!(
                "{} succeeded, {} failed, {} expired",
                vitals.commands_succeeded, vitals.commands_failed, vitals.commands_expired
            ),
        ),
        ("events queue", works(readiness.cloud.events_queue).to_owned()),
        ("commands queue", works(readiness.cloud.commands_queue).to_owned()),
        ("exchange table", works(readiness.cloud.exchange_table).to_owned()),
    ]);
    rows.extend(vitals.clock_ahead_ms.map(|ahead| ("clock", format!("{ahead} ms ahead of the cloud's"))));
    rows.extend(vitals.access_key_since.map(|since| ("access key", format!("used since {}", when(since)))));
    rows.extend(health.map(|address| ("health", format!("http://{address}/ready"))));
    let mut text = String::new();
    for (name, value) in rows {
        let _ = writeln!(text, "{name:<15} {value}");
    }
    text
}

fn describe_event(event: &CallEvent) -> String {
    let told = &event.web_hook_event;
    let party = |number: &str, name: &str| match name {
        "" => number.to_owned(),
        name => format!("{number} ({name})"),
    };
    format!(
        "{}  {:<12}  {:<6}  {} -> {}  {}\n",
        iso_millis(event.occurred_at),
        told.status.as_str(),
        told.monitored_extension,
        party(&told.from, &told.from_name),
        party(&told.to, &told.to_name),
        told.call_id,
    )
}
