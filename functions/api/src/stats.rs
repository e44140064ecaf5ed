//! What a time of the stack was like, in numbers: calls by the hour, what became of deliveries, and how long each stage of their way took.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use shared::delivery::{DeliveryLog, DeliveryState, LogKey};
use shared::tables::HourOfCalls;
use shared::time::iso_millis;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The calls of an hour at all PBXs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct HourView {
    hour: String,
    calls: u64,
    missed: u64,
}

/// The calls of an hour at one PBX that had some.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PbxHourView {
    pbx_id: String,
    hour: String,
    calls: u64,
    missed: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct OutcomeView {
    state: DeliveryState,
    count: usize,
}

/// How long a stage took.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LatencyView {
    stage: &'static str,
    count: usize,
    p50_ms: Option<i64>,
    p95_ms: Option<i64>,
}

/// How long a stage took for the calls of one PBX.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PbxLatencyView {
    pbx_id: String,
    #[serde(flatten)]
    latency: LatencyView,
}

/// Every hour that begins before `to` and ends behind `from`, also those without a call.
pub(crate) fn hours(calls: &[HourOfCalls], from: Timestamp, to: Timestamp) -> Vec<HourView> {
    let mut hours: BTreeMap<Timestamp, (u64, u64)> = BTreeMap::new();
    let mut hour = begin_of_hour(from);
    while hour < to {
        hours.insert(hour, (0, 0));
        let Ok(next) = hour.checked_add(HOUR) else { break };
        hour = next;
    }
    for HourOfCalls { hour, calls, missed, .. } in calls {
        if let Some(sum) = hours.get_mut(hour) {
            *sum = (sum.0 + calls, sum.1 + missed);
        }
    }
    hours.into_iter().map(|(hour, (calls, missed))| HourView { hour: iso_millis(hour), calls, missed }).collect()
}

pub(crate) fn pbx_hours(calls: Vec<HourOfCalls>, to: Timestamp) -> Vec<PbxHourView> {
    let calls = calls.into_iter().filter(|at| at.hour < to);
    let view =
        |HourOfCalls { hour, pbx, calls, missed }| PbxHourView { pbx_id: pbx, hour: iso_millis(hour), calls, missed };
    calls.map(view).collect()
}

fn begin_of_hour(time: Timestamp) -> Timestamp {
    let seconds = time.as_second();
    Timestamp::from_second(seconds - seconds.rem_euclid(HOUR.as_secs())).unwrap_or(time)
}

/// How many deliveries are in which state; all states, so that a chart has the same parts each time.
pub(crate) fn outcomes(logs: &[(LogKey, DeliveryLog)]) -> Vec<OutcomeView> {
    let count = |state| logs.iter().filter(|(_, log)| log.state == state).count();
    DeliveryState::ALL.map(|state| OutcomeView { state, count: count(state) }).into()
}

/// Milliseconds that each stage took, of deliveries that have arrived: all stages are of the same deliveries, so that none can take longer
/// than the whole.
pub(crate) fn latencies(logs: &[(LogKey, DeliveryLog)]) -> Vec<LatencyView> {
    by_stage(logs.iter().filter_map(|(at, log)| stages(at, log)))
}

/// The same for each PBX, if there are several. Logs of earlier versions do not say where their call was.
pub(crate) fn pbx_latencies(logs: &[(LogKey, DeliveryLog)]) -> Vec<PbxLatencyView> {
    let mut pbxs: BTreeMap<&str, Vec<Stages>> = BTreeMap::new();
    for (at, log) in logs {
        if let (Some(pbx), Some(stages)) = (&log.pbx, stages(at, log)) {
            pbxs.entry(pbx).or_default().push(stages);
        }
    }
    if pbxs.len() < 2 {
        return Vec::new();
    }
    let mut views = Vec::new();
    for (pbx, stages) in pbxs {
        let view = |latency| PbxLatencyView { pbx_id: pbx.to_owned(), latency };
        views.extend(by_stage(stages).into_iter().map(view));
    }
    views
}

const STAGES: [&str; 5] = ["agent", "fanout", "deliver", "receiver", "total"];

/// What each stage of a delivery took, as far as it is known.
type Stages = [Option<i64>; STAGES.len()];

/// None of replays, which nobody waited for, and of tests, which were never fanned out. Of a delivery whose first attempt is not in its log
/// any more, nobody knows how long it waited for that.
fn stages(at: &LogKey, log: &DeliveryLog) -> Option<Stages> {
    let counts =
        log.round == 0 && log.call_id.is_some() && log.fanned_out_at.is_some() && log.state == DeliveryState::Delivered;
    if !counts {
        return None;
    }
    let occurred = at.sort.split('#').next().and_then(|text| text.parse().ok()).map(Timestamp::as_millisecond);
    let first = log.attempts.first().filter(|_| log.attempt_count as usize == log.attempts.len());
    let begun = first.map(|attempt| attempt.at.as_millisecond());
    let last = log.attempts.last();
    let took = |attempt: &shared::delivery::Attempt| i64::try_from(attempt.duration_ms).unwrap_or(i64::MAX);
    let ended = last.map(|attempt| attempt.at.as_millisecond().saturating_add(took(attempt)));
    let between = |from: Option<i64>, to: Option<i64>| Some((to? - from?).max(0));
    Some([
        between(occurred, log.queued_at),
        between(log.queued_at, log.fanned_out_at),
        between(log.fanned_out_at, begun),
        last.map(took),
        between(occurred, ended),
    ])
}

fn by_stage(all: impl IntoIterator<Item = Stages>) -> Vec<LatencyView> {
    let mut values = STAGES.map(|stage| (stage, vec![]));
    for stages in all {
        for ((_, values), found) in values.iter_mut().zip(stages) {
            values.extend(found);
        }
    }
    values.map(|(stage, values)| latency(stage, values)).into()
}

fn latency(stage: &'static str, mut values: Vec<i64>) -> LatencyView {
    values.sort_unstable();
    // The nearest rank: so many percent of the values are not above it.
    let rank = |percent: usize| values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    LatencyView { stage, count: values.len(), p50_ms: rank(50), p95_ms: rank(95) }
}

#[cfg(test)]
mod tests {
    use shared::delivery::{Attempt, Trial};
    use shared::ids::{CallId, DeliveryId, WebhookId};
    use shared::time::from_millis;
    use uuid::Uuid;

    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(minutes * 60).expect("a time")
    }

    #[test]
    fn every_hour_is_there_and_sums_up_its_pbxs() {
        let calls = |hour: i64, pbx: &str, calls, missed| HourOfCalls {
            hour: at(hour * 60),
            pbx: pbx.to_owned(),
            calls,
            missed,
        };
        let found = hours(&[calls(1, "a", 5, 2), calls(1, "b", 1, 1), calls(9, "a", 1, 0)], at(59), at(121));
        let told: Vec<_> = found.iter().map(|hour| (hour.hour.as_str(), hour.calls, hour.missed)).collect();
        let hour = |hour: u8| format!("1970-01-01T0{hour}:00:00.000Z");
        assert_eq!(told, [(hour(0).as_str(), 0, 0), (hour(1).as_str(), 6, 3), (hour(2).as_str(), 0, 0)]);
        assert_eq!(hours(&[], at(60), at(120)).len(), 1);
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let check = |values: &[i64], expected: [Option<i64>; 2]| {
            let found = latency("total", values.to_vec());
            assert_eq!([found.p50_ms, found.p95_ms], expected, "{values:?}");
        };
        check(&[], [None, None]);
        check(&[7], [Some(7), Some(7)]);
        check(&[3, 1], [Some(1), Some(3)]);
        check(&(1..=100).collect::<Vec<_>>(), [Some(50), Some(95)]);
    }

    #[test]
    fn stages_are_of_what_has_arrived_without_replays_and_tests() {
        let attempt = |at: i64, duration_ms| Attempt {
            at: from_millis(at),
            duration_ms,
            status: Some(200),
            outcome: String::new(),
            answer: None,
        };
        let (webhook_id, nil) = (WebhookId::from_uuid(Uuid::nil()), Uuid::nil());
        let log = |round, state, attempts: Vec<Attempt>| {
            let log = DeliveryLog {
                delivery_id: DeliveryId::from_uuid(nil),
                about: "ringing".to_owned(),
                user: None,
                pbx: None,
                trial: None,
                call_id: Some(CallId::from_uuid(nil)),
                sequence: Some(1),
                revision: None,
                round,
                queued_at: Some(1_040),
                fanned_out_at: Some(1_070),
                state,
                attempt_count: attempts.len() as u32,
                attempts,
                next_attempt_at: None,
                tried_since: None,
                tried_for: 0,
                updated_at: at(1),
            };
            (LogKey { webhook_id, sort: format!("{}#x", iso_millis(from_millis(1_000))) }, log)
        };
        let (at, test) = log(0, DeliveryState::Delivered, vec![attempt(1_001, 1)]);
        let mut logs = [
            log(0, DeliveryState::Delivered, vec![attempt(1_080, 5), attempt(2_000, 20)]),
            // Not arrived after long: it must not make a stage longer than the whole.
            log(0, DeliveryState::Retrying, vec![attempt(22_000, 9)]),
            log(1, DeliveryState::Delivered, vec![attempt(90_000, 9)]),
            (at, DeliveryLog { queued_at: None, fanned_out_at: None, trial: Some(Trial::Test), ..test }),
        ];
        let found: Vec<_> = latencies(&logs).into_iter().map(|l| (l.stage, l.count, l.p50_ms, l.p95_ms)).collect();
        let both = |stage, n, p50, p95| (stage, n, Some(p50), Some(p95));
        assert_eq!(
            found,
            [
                both("agent", 1, 40, 40),
                both("fanout", 1, 30, 30),
                both("deliver", 1, 10, 10),
                both("receiver", 1, 20, 20),
                both("total", 1, 1_020, 1_020)
            ]
        );
        assert_eq!(pbx_latencies(&logs), [], "nobody knows where the calls were");
        let counts: Vec<_> = outcomes(&logs).into_iter().map(|o| (o.state.as_str(), o.count)).collect();
        assert_eq!(counts[..3], [("retrying", 1), ("parked", 0), ("delivered", 3)]);

        logs[0].1.pbx = Some("branch".to_owned());
        assert_eq!(pbx_latencies(&logs), [], "there is one PBX");
        let (at, mut other) = log(0, DeliveryState::Delivered, vec![attempt(1_090, 7)]);
        other.pbx = Some("master".to_owned());
        let logs = [&logs[..], &[(at, other)]].concat();
        let found = pbx_latencies(&logs);
        let receivers = found.iter().filter(|of| of.latency.stage == "receiver");
        let receivers: Vec<_> = receivers.map(|of| (of.pbx_id.as_str(), of.latency.p50_ms)).collect();
        assert_eq!(receivers, [("branch", Some(20)), ("master", Some(7))]);
        assert_eq!(found.len(), 10);
    }
}
