//! The agent's figures for Prometheus. The README lists them all; a name that was published once keeps its meaning.

use std::sync::OnceLock;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use shared::agent_status::{AgentStatus, PbxLink};

use crate::host::statistics::{COMMAND_SECONDS, Statistics, Working};

/// Up to the age at which a command expires and the longest that a command takes.
const BUCKETS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];

static EXPORTER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Collects figures from now on. The collection is the process's own, so this happens once.
pub fn install() {
    EXPORTER.get_or_init(|| {
        let buckets = Matcher::Full(COMMAND_SECONDS.to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(buckets, &BUCKETS).ok()?;
        let handle = builder.install_recorder().ok()?;
        describe();
        Some(handle)
    });
}

/// Must be called now and then: until then every single duration is kept.
pub fn upkeep() {
    if let Some(handle) = EXPORTER.get().and_then(Option::as_ref) {
        handle.run_upkeep();
    }
}

/// The figures of this moment in Prometheus's text format.
pub fn render(status: &AgentStatus, statistics: &Statistics, ready: bool) -> String {
    let Some(handle) = EXPORTER.get().and_then(Option::as_ref) else { return String::new() };
    let flag = |on: bool| f64::from(u8::from(on));
    gauge!("easyconnect_agent_info", "version" => status.version.clone(), "os" => status.vitals.os.clone()).set(1.0);
    gauge!("easyconnect_agent_start_time_seconds").set(status.started_at as f64 / 1000.0);
    gauge!("easyconnect_agent_ready").set(flag(ready));
    let cloud = statistics.cloud();
    for (link, up) in [
        ("pbx", status.pbx == PbxLink::Up),
        ("events_queue", cloud.events_queue != Working::No),
        ("commands_queue", cloud.commands_queue == Working::Yes),
        ("exchange_table", cloud.exchange_table == Working::Yes),
    ] {
        gauge!("easyconnect_agent_link_up", "link" => link).set(flag(up));
    }
    counter!("easyconnect_agent_pbx_reconnects_total").absolute(status.vitals.reconnects);
    gauge!("easyconnect_agent_visible_users").set(status.visible_users);
    gauge!("easyconnect_agent_live_calls").set(status.live_calls);
    counter!("easyconnect_agent_calls_without_conference_total").absolute(statistics.calls_without_conference());
    for (status, count) in statistics.events_by_status() {
        counter!("easyconnect_agent_events_total", "status" => status.as_str()).absolute(count);
    }
    counter!("easyconnect_agent_updates_total").absolute(statistics.updates());
    counter!("easyconnect_agent_events_accepted_total").absolute(statistics.accepted_events());
    counter!("easyconnect_agent_events_refused_total").absolute(statistics.hopeless_events());
    counter!("easyconnect_agent_events_dropped_total").absolute(status.vitals.dropped_events);
    gauge!("easyconnect_agent_outbox_events").set(status.waiting_events);
    let oldest = status.vitals.oldest_event_age_ms.unwrap_or(0);
    gauge!("easyconnect_agent_outbox_oldest_age_seconds").set(oldest as f64 / 1000.0);
    for ((operation, state), count) in statistics.commands() {
        counter!("easyconnect_agent_commands_total", "operation" => operation, "state" => state).absolute(count);
    }
    if let Some(ahead) = status.vitals.clock_ahead_ms {
        gauge!("easyconnect_agent_clock_ahead_seconds").set(ahead as f64 / 1000.0);
    }
    handle.render()
}

fn describe() {
    describe_gauge!("easyconnect_agent_info", "1; the labels say what runs");
    describe_gauge!("easyconnect_agent_start_time_seconds", Unit::Seconds, "When the agent was started, Unix time");
    describe_gauge!("easyconnect_agent_ready", "Whether events and commands can pass: the same as /ready");
    describe_gauge!("easyconnect_agent_link_up", "Whether the link works");
    describe_counter!("easyconnect_agent_pbx_reconnects_total", "Sessions with the PBX after the first one");
    describe_gauge!("easyconnect_agent_visible_users", "Users and queues that the PBX shows");
    describe_gauge!("easyconnect_agent_live_calls", "Calls of monitored users at this moment");
    describe_counter!(
        "easyconnect_agent_calls_without_conference_total",
        "Calls that the PBX reported without a conference; two agents tell of each twice"
    );
    describe_counter!("easyconnect_agent_events_total", "Call events seen");
    describe_counter!("easyconnect_agent_updates_total", "Updates of live calls reported");
    describe_counter!("easyconnect_agent_events_accepted_total", "Call events that the queue has accepted");
    describe_counter!("easyconnect_agent_events_refused_total", "Call events that the queue will never accept");
    describe_counter!(
        "easyconnect_agent_events_dropped_total",
        "Call events given up because the disk was full of them"
    );
    describe_gauge!("easyconnect_agent_outbox_events", "Call events that wait for the queue");
    describe_gauge!(
        "easyconnect_agent_outbox_oldest_age_seconds",
        Unit::Seconds,
        "How long the oldest of them has been waiting; 0 if none waits"
    );
    describe_counter!("easyconnect_agent_commands_total", "Commands that have ended");
    describe_histogram!(
        COMMAND_SECONDS,
        Unit::Seconds,
        "From the moment when the API wrote a command to the one when its end was written down"
    );
    describe_gauge!(
        "easyconnect_agent_clock_ahead_seconds",
        Unit::Seconds,
        "How far this machine's clock is ahead of the cloud's"
    );
}
