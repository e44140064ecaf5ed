//! Who is there: the agents, and whether they have the PBX.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use shared::agent_status::{AgentStatus, PbxLink};
use shared::apikey::{ApiKey, Scope};
use shared::tables::PbxSlots;
use shared::time::{from_millis, iso_millis};

use crate::context::{Context, Ctx};
use crate::errors::{ApiError, in_time, json};
use crate::request::Incoming;

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum StackState {
    Online,
    PbxOffline,
    AgentOffline,
}

#[derive(Debug, Serialize)]
struct Status<'a> {
    state: StackState,
    agents: Vec<Agent<'a>>,
    pbxs: Vec<Pbx<'a>>,
}

/// A PBX that has a slot of the stack, or an agent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pbx<'a> {
    pbx_id: &'a str,
    slot: Option<usize>,
    state: StackState,
    agents: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Agent<'a> {
    agent_id: &'a str,
    name: &'a str,
    version: &'a str,
    os: &'a str,
    started_at: String,
    pbx_id: Option<&'a str>,
    slot: Option<usize>,
    pbx: PbxLink,
    session_since: Option<String>,
    reconnects: u64,
    last_seen: String,
    visible_users: u32,
    monitored_users: Option<u32>,
    refused_users: Option<u32>,
    refusals: &'a [String],
    live_calls: u32,
    events: u64,
    waiting_events: u32,
    oldest_event_age_ms: Option<i64>,
    dropped_events: u64,
    commands_succeeded: u64,
    commands_failed: u64,
    commands_expired: u64,
    clock_ahead_ms: Option<i64>,
    problem: Option<&'a str>,
}

pub(crate) async fn status(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    report(&context, &request).await.map_err(ApiError::for_read)
}

async fn report(context: &Context, request: &Incoming) -> Result<Response, ApiError> {
    // The agents are read only for a key that is valid.
    let key = context.admit(&request.key).await?;
    request.only_params(&[])?;
    let now = context.now();
    let (agents, slots) = (context.exchange.agents(now), context.exchange.pbx_slots());
    let (agents, slots) = tokio::try_join!(in_time(agents), in_time(slots))?;
    Ok(json(StatusCode::OK, &overview(&agents, &slots, may_see_users(&key), now)))
}

/// The refusals name users, which are for keys that may list all of them.
fn may_see_users(key: &ApiKey) -> bool {
    key.extensions.is_none() && key.may(Scope::CallsRead)
}

/// The fresh agents, and the best that one of them can do.
fn overview<'a>(agents: &'a [AgentStatus], slots: &'a PbxSlots, with_users: bool, now: Timestamp) -> Status<'a> {
    let shown = agents.iter().map(|agent| Agent::of(agent, with_users)).collect();
    Status { state: StackState::of(agents.iter(), now), agents: shown, pbxs: Pbx::all(agents, slots, now) }
}

impl StackState {
    fn of<'a>(agents: impl Iterator<Item = &'a AgentStatus> + Clone, now: Timestamp) -> Self {
        match agents.clone().next() {
            None => Self::AgentOffline,
            Some(_) if agents.into_iter().any(|agent| agent.can_act(now)) => Self::Online,
            Some(_) => Self::PbxOffline,
        }
    }
}

impl<'a> Pbx<'a> {
    /// By slot, and those without one at the end.
    fn all(agents: &'a [AgentStatus], slots: &'a PbxSlots, now: Timestamp) -> Vec<Self> {
        let without: BTreeSet<&str> = agents.iter().filter_map(|agent| agent.pbx_id.as_deref()).collect();
        let without = without.into_iter().filter(|pbx| slots.of(pbx).is_none()).map(|pbx| (None, pbx));
        let pbxs = slots.iter().map(|(slot, pbx)| (Some(slot), pbx)).chain(without);
        pbxs.map(|(slot, pbx_id)| {
            let own = agents.iter().filter(|agent| agent.is_at(pbx_id));
            Self { pbx_id, slot, state: StackState::of(own.clone(), now), agents: own.count() }
        })
        .collect()
    }
}

impl<'a> Agent<'a> {
    fn of(status: &'a AgentStatus, with_users: bool) -> Self {
        let iso = |millis| iso_millis(from_millis(millis));
        let vitals = &status.vitals;
        Self {
            agent_id: &status.agent_id,
            name: &status.name,
            version: &status.version,
            os: &vitals.os,
            started_at: iso(status.started_at),
            pbx_id: status.pbx_id.as_deref(),
            slot: status.slot,
            pbx: status.pbx,
            session_since: status.session_since.map(iso),
            reconnects: vitals.reconnects,
            last_seen: iso(status.updated_at),
            visible_users: status.visible_users,
            monitored_users: status.monitored_users,
            refused_users: status.monitored_users.map(|monitored| status.visible_users.saturating_sub(monitored)),
            refusals: if with_users { &status.refusals } else { &[] },
            live_calls: status.live_calls,
            events: vitals.events,
            waiting_events: status.waiting_events,
            oldest_event_age_ms: vitals.oldest_event_age_ms,
            dropped_events: vitals.dropped_events,
            commands_succeeded: vitals.commands_succeeded,
            commands_failed: vitals.commands_failed,
            commands_expired: vitals.commands_expired,
            clock_ahead_ms: vitals.clock_ahead_ms,
            problem: status.problem.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::agent;

    #[test]
    fn the_state_is_the_best_of_all_agents() {
        let now = from_millis(1_700_000_005_000);
        let (up, down) = (agent("a", PbxLink::Up), agent("b", PbxLink::Down));
        let slots: PbxSlots = [(1, "master".to_owned()), (2, "branch".to_owned())].into_iter().collect();
        let state =
            |agents: &[AgentStatus]| serde_json::to_value(overview(agents, &slots, true, now).state).expect("json");
        assert_eq!(state(&[]), "agent_offline");
        assert_eq!(state(std::slice::from_ref(&down)), "pbx_offline");
        assert_eq!(state(&[down.clone(), up.clone()]), "online");
        insta::assert_json_snapshot!(overview(&[up, down], &slots, true, now));
    }

    #[test]
    fn refused_monitors_are_counted_for_everybody_and_named_for_those_who_may_see_all_users() {
        let now = from_millis(1_700_000_005_000);
        let refusals = vec!["42 Thomas De Wilde: no license".to_owned()];
        let agent = AgentStatus { visible_users: 3, monitored_users: Some(2), refusals, ..agent("a", PbxLink::Up) };
        let agents = [agent];
        for (with_users, named) in [(true, 1), (false, 0)] {
            let shown = serde_json::to_value(&overview(&agents, &PbxSlots::default(), with_users, now).agents[0])
                .expect("json");
            assert_eq!((&shown["monitoredUsers"], &shown["refusedUsers"]), (&2.into(), &1.into()));
            assert_eq!(shown["refusals"].as_array().map(Vec::len), Some(named));
        }
    }
}
