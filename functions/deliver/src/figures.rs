//! The figures of the minute, and of a worker's look: how agents, PBXs, webhooks and parks are. What is as it should be is no figure, but
//! for the agents: each costs by the hour, and the alarms take no data for good news.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use shared::agent_status::AgentStatus;
use shared::metrics::Metrics;
use shared::tables::PbxSlots;
use shared::webhook::{Lane, Webhook, WebhookState};

/// In days. A month before the alarm, a new access key can be planned.
const KEY_IS_OLD: i64 = 60;
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// `agents` are those that were heard of in time.
pub(crate) fn of_agents(metrics: &mut Metrics, agents: &[AgentStatus], slots: &PbxSlots, now: Timestamp) {
    metrics.level("AgentsOnline", agents.len());
    let mut pbxs: BTreeMap<Option<&str>, bool> = BTreeMap::new();
    // Where there is no agent at all, the figure above says so.
    if !agents.is_empty() {
        pbxs.extend(slots.iter().map(|(_, pbx)| (Some(pbx), false)));
    }
    for agent in agents {
        *pbxs.entry(agent.pbx_id.as_deref()).or_default() |= agent.can_act(now);
        metrics.lasting("OutboxAge", agent.vitals.oldest_event_age_ms.unwrap_or_default());
        metrics.count("EventsDropped", usize::try_from(agent.vitals.dropped_events).unwrap_or(usize::MAX));
    }
    // An agent that has not reached its PBX yet may not know which one that is. It does not count while one is known.
    if pbxs.len() > 1 {
        pbxs.remove(&None);
    }
    metrics.count("PbxsDown", pbxs.values().filter(|up| !**up).count());
    metrics.count("AccessKeyAge", oldest_key(agents, now));
}

/// For how many days the agents' oldest access key has been used, if that is long.
fn oldest_key(agents: &[AgentStatus], now: Timestamp) -> usize {
    let Some(since) = agents.iter().filter_map(|agent| agent.vitals.access_key_since).min() else { return 0 };
    let days = (now.as_millisecond() - since) / DAY.as_millis() as i64;
    usize::try_from(days).ok().filter(|_| days >= KEY_IS_OLD).unwrap_or_default()
}

pub(crate) fn of_webhooks(metrics: &mut Metrics, webhooks: &[Webhook], now: Timestamp) {
    // What is paused, or wants few requests, has a lane of its own because somebody asked for that.
    let watched = || webhooks.iter().filter(|webhook| webhook.is_alive(now) && webhook.health.paused_at.is_none());
    metrics.count("WebhooksFailing", watched().filter(|webhook| webhook.health.state == WebhookState::Failing).count());
    let own_lane = |webhook: &&Webhook| webhook.lane() != Lane::Shared && !webhook.keeps_its_lane();
    metrics.count("WebhooksInOwnLane", watched().filter(own_lane).count());
}

/// What waits for less is on its way. Milliseconds.
const WAITS: i64 = 60_000;

/// How long the oldest of what a worker found in the park has waited there: it has read that anyway.
pub(crate) fn of_park(metrics: &mut Metrics, parked_at: impl IntoIterator<Item = i64>, now: Timestamp) {
    let oldest = parked_at.into_iter().min().map(|at| now.as_millisecond() - at);
    metrics.lasting("ParkedAge", oldest.filter(|age| *age >= WAITS).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use shared::agent_status::PbxLink;
    use shared::webhook::Method;

    use super::*;
    use crate::sample;

    fn line(figures: impl FnOnce(&mut Metrics)) -> Option<serde_json::Value> {
        let mut metrics = Metrics::default();
        figures(&mut metrics);
        metrics.line("stack", sample::now()).map(|line| serde_json::from_str(&line).expect("JSON"))
    }

    fn agent(pbx_id: Option<&str>, pbx: PbxLink) -> AgentStatus {
        let item = serde_json::json!({
            "agentId": "a", "name": "a", "version": "1", "pbxId": pbx_id, "pbx": pbx, "startedAt": 0, "visibleUsers": 0, "liveCalls": 0,
            "waitingEvents": 0, "updatedAt": sample::now().as_millisecond(), "expiresAt": 0,
        });
        serde_json::from_value(item).expect("an agent")
    }

    /// One PBX has a slot.
    fn slots(pbx: &str) -> PbxSlots {
        [(1, pbx.to_owned())].into_iter().collect()
    }

    #[test]
    fn nobody_is_a_figure_and_a_healthy_agent_is_one_only() {
        let none = line(|metrics| of_agents(metrics, &[], &slots("master"), sample::now())).expect("a line");
        assert_eq!(none["AgentsOnline"], serde_json::json!([0.0]));
        let one = line(|metrics| of_agents(metrics, &[agent(Some("pbx"), PbxLink::Up)], &slots("pbx"), sample::now()))
            .expect("a line");
        assert_eq!(one["AgentsOnline"], serde_json::json!([1.0]));
        assert_eq!(one["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn a_pbx_is_down_when_none_of_its_agents_has_it() {
        let down = |agents: &[AgentStatus]| {
            line(|metrics| of_agents(metrics, agents, &slots("one"), sample::now())).expect("a line")["PbxsDown"][0]
                .as_f64()
        };
        let (up, away) = (agent(Some("one"), PbxLink::Up), agent(Some("one"), PbxLink::Down));
        assert_eq!(down(&[up.clone(), away.clone()]), None);
        assert_eq!(down(&[up.clone(), agent(Some("two"), PbxLink::Down)]), Some(1.0));
        assert_eq!(down(&[agent(Some("two"), PbxLink::Up)]), Some(1.0), "a PBX with a slot has no agent");
        assert_eq!(down(&[up, agent(None, PbxLink::Down)]), None);
        assert_eq!(down(&[agent(None, PbxLink::Down)]), Some(1.0));
        let mut full = away;
        (full.vitals.dropped_events, full.vitals.oldest_event_age_ms) = (3, Some(9));
        let told = line(|metrics| of_agents(metrics, &[full], &slots("one"), sample::now())).expect("a line");
        assert_eq!((told["EventsDropped"][0].as_f64(), told["OutboxAge"][0].as_f64()), (Some(3.0), Some(9.0)));
    }

    #[test]
    fn oldest_access_key_counts_from_two_months_on() {
        let told = |ages: &[Option<i64>]| {
            let agents = ages.iter().map(|days| {
                let mut agent = agent(Some("pbx"), PbxLink::Up);
                agent.vitals.access_key_since =
                    days.map(|days| sample::now().as_millisecond() - days * 86_400_000 - 3_600_000);
                agent
            });
            let agents: Vec<AgentStatus> = agents.collect();
            let told = line(|metrics| of_agents(metrics, &agents, &slots("pbx"), sample::now())).expect("a line");
            told["AccessKeyAge"].as_array().map(|days| days.iter().map(serde_json::Value::as_f64).collect::<Vec<_>>())
        };
        assert_eq!((told(&[]), told(&[None]), told(&[Some(0), Some(59)])), (None, None, None));
        assert_eq!(told(&[Some(60)]), Some(vec![Some(60.0)]));
        assert_eq!(told(&[Some(3), Some(91), None, Some(70)]), Some(vec![Some(91.0)]));
        assert_eq!(told(&[Some(-2)]), None, "a time to come is no age");
    }

    #[test]
    fn what_has_waited_longest_counts_from_a_minute_on() {
        let now = sample::now().as_millisecond();
        let told = |ages: &[i64]| line(|metrics| of_park(metrics, ages.iter().map(|age| now - age), sample::now()));
        assert_eq!((told(&[]), told(&[59_999, 0])), (None, None));
        let line = told(&[100, 90_000, 60_000]).expect("a line");
        assert_eq!(line["ParkedAge"][0].as_f64(), Some(90_000.0));
    }

    #[test]
    fn only_webhooks_that_nobody_holds_back_count() {
        let told = |change: &dyn Fn(&mut Webhook)| {
            let mut webhook = sample::webhook("https://example.com", Method::Post);
            change(&mut webhook);
            line(|metrics| of_webhooks(metrics, &[webhook], sample::now()))
        };
        assert_eq!(told(&|_| {}), None);
        let failing = told(&|webhook| webhook.health.state = WebhookState::Failing).expect("a line");
        assert_eq!(
            (failing["WebhooksFailing"][0].as_f64(), failing["WebhooksInOwnLane"][0].as_f64()),
            (Some(1.0), Some(1.0))
        );
        assert_eq!(
            told(&|webhook| (webhook.health.state, webhook.health.paused_at) = (WebhookState::Failing, Some(1))),
            None
        );
        assert_eq!(
            told(&|webhook| (webhook.health.lane, webhook.settings.max_per_minute) = (Some(Lane::Own), Some(9))),
            None
        );
    }
}
