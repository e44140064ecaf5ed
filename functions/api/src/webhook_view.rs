//! Webhooks as answers show them, and how they are doing in states that people understand.
//!
//! The table knows more states than are shown: who sends a webhook's deliveries, what the receiver did last, what the owner wants.
//! One word is made of all that here, with its reason.
//!
//! These words are not stored. Who sends writes what it has seen, and no two programs have to agree on a word.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use shared::event::{Direction, Status};
use shared::time::{from_millis, iso_millis};
use shared::webhook::{Format, Kind, Lane, Method, PartyKind, Secret, Webhook, WebhookState};

/// The backlog is counted as far as this.
pub(crate) const MOST_COUNTED: u32 = 1_000;
/// For so long after a slow answer a webhook counts as slow though nothing waits for it. Milliseconds; as long as its lane stays its own.
const STAYS_SLOW: i64 = 60_000;

/// How a webhook is doing, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PublicState {
    /// What is for it is sent as it comes.
    Active,
    /// It has its own lane, because it was slow or refused something.
    Slow,
    /// It has accepted nothing for long.
    Failing,
    /// Its owner wants nothing sent for now.
    Paused,
    /// It gets nothing more: it answered 410, or has expired.
    Off,
}

impl PublicState {
    /// The names that a question may use. The last one is from when what is `slow` now was a way back from `failing`.
    pub(crate) const NAMES: [(&'static str, Self); 6] = [
        ("active", Self::Active),
        ("slow", Self::Slow),
        ("failing", Self::Failing),
        ("paused", Self::Paused),
        ("off", Self::Off),
        ("draining", Self::Slow),
    ];
}

/// How a webhook is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition<'a> {
    pub(crate) state: PublicState,
    /// Milliseconds.
    since: Option<i64>,
    /// Why it is not active, to be read behind the name of the webhook.
    reason: Option<&'a str>,
    /// When the next attempt is, if it accepts nothing. Milliseconds.
    next_attempt_at: Option<i64>,
}

impl<'a> Condition<'a> {
    pub(crate) fn of(webhook: &'a Webhook, now: Timestamp) -> Self {
        let health = &webhook.health;
        let in_state =
            |state, since: Option<i64>, reason: Option<&'a str>| Self { state, since, reason, next_attempt_at: None };
        if let Some(expiry) = webhook.settings.expires_at.filter(|at| *at <= now.as_second()) {
            return in_state(PublicState::Off, Some(expiry * 1000), Some("has expired"));
        }
        if health.state == WebhookState::Off {
            return in_state(PublicState::Off, health.state_since, health.reason.as_deref());
        }
        if health.paused_at.is_some() {
            return in_state(PublicState::Paused, health.paused_at, Some("is paused by its owner"));
        }
        let lookout = &health.lookout;
        let next_attempt_at = lookout.next_attempt_at.filter(|at| *at > now.as_millisecond() && lookout.refusals > 0);
        if health.state == WebhookState::Failing {
            let failing = in_state(PublicState::Failing, health.state_since, health.reason.as_deref());
            return Self { next_attempt_at, ..failing };
        }
        let since = health.state_since.max(health.lane_since);
        match slow(webhook, now) {
            Some(reason) => {
                Self { next_attempt_at, ..in_state(PublicState::Slow, health.slow_since.or(since), Some(reason)) }
            }
            // The lane of one with a limit comes and goes without its being anything but active.
            None if webhook.settings.max_per_minute.is_some() => {
                in_state(PublicState::Active, health.state_since, None)
            }
            None => in_state(PublicState::Active, since, None),
        }
    }
}

/// Why a webhook is slow, if it is. A lane of its own alone is not enough: one with a limit always has one, and another one keeps it
/// while nothing comes.
fn slow(webhook: &Webhook, now: Timestamp) -> Option<&str> {
    if webhook.lane() == Lane::Shared {
        return None;
    }
    let (health, lookout) = (&webhook.health, &webhook.health.lookout);
    let is_limited = webhook.settings.max_per_minute.is_some();
    // What gave it the lane says it best. A limit is no reason to be slow.
    let lane_reason = health.lane_reason.as_deref().filter(|_| !is_limited);
    let was_slow = lookout.slow_at.is_some_and(|at| now.as_millisecond() - at < STAYS_SLOW);
    let has_work = lookout.next_look_at.is_some() || health.state == WebhookState::Draining;
    if lookout.refusals > 0 {
        Some(lane_reason.unwrap_or("accepts nothing at the moment"))
    } else if health.refusing_since.is_some() {
        Some("has accepted nothing yet since it was resumed")
    } else if was_slow {
        Some(lane_reason.unwrap_or("answers slowly, or refused something a moment ago"))
    } else {
        (has_work && !is_limited).then_some("is sent what has waited")
    }
}

/// A webhook as its owner sees it: no value of a header, no password, and the secret only when it was just made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WebhookView<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    url: &'a str,
    method: Method,
    format: Format,
    kinds: &'a BTreeSet<Kind>,
    extensions: &'a BTreeSet<String>,
    statuses: &'a BTreeSet<Status>,
    direction: Option<Direction>,
    missed_only: bool,
    party: Option<PartyKind>,
    number_prefix: Option<&'a str>,
    minimum_duration: Option<u32>,
    header_names: Vec<&'a str>,
    basic_auth_user: Option<&'a str>,
    max_per_minute: Option<u32>,
    mask_numbers: bool,
    description: &'a str,
    created_at: String,
    expires_at: Option<String>,
    paused_at: Option<String>,
    state: PublicState,
    state_since: Option<String>,
    reason: Option<&'a str>,
    parked: u32,
    next_attempt_at: Option<String>,
    last_success_at: Option<String>,
}

impl<'a> WebhookView<'a> {
    /// `parked` deliveries wait for it, see [`MOST_COUNTED`].
    pub(crate) fn of(webhook: &'a Webhook, parked: u32, now: Timestamp) -> Self {
        let (settings, health) = (&webhook.settings, &webhook.health);
        let condition = Condition::of(webhook, now);
        let iso = |millis: i64| iso_millis(from_millis(millis));
        Self {
            id: webhook.id.to_string(),
            secret: None,
            url: &settings.url,
            method: settings.method,
            format: settings.format,
            kinds: &settings.kinds,
            extensions: &settings.filter.extensions,
            statuses: &settings.filter.statuses,
            direction: settings.filter.direction,
            missed_only: settings.filter.missed_only,
            party: settings.filter.party,
            number_prefix: settings.filter.number_prefix.as_deref(),
            minimum_duration: settings.filter.minimum_duration,
            header_names: settings.headers.keys().map(String::as_str).collect(),
            basic_auth_user: settings.basic_auth.as_ref().map(|auth| auth.username.as_str()),
            max_per_minute: settings.max_per_minute,
            mask_numbers: settings.mask_numbers,
            description: &settings.description,
            created_at: iso(webhook.created_at),
            expires_at: settings.expires_at.map(|seconds| iso(seconds * 1000)),
            paused_at: health.paused_at.map(iso),
            state: condition.state,
            state_since: condition.since.map(iso),
            reason: condition.reason,
            parked,
            next_attempt_at: condition.next_attempt_at.map(iso),
            last_success_at: health.last_success_at.map(iso),
        }
    }

    pub(crate) fn with_secret(self, secret: &'a Secret) -> Self {
        Self { secret: Some(secret.expose()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use shared::ids::WebhookId;
    use shared::webhook::{Lookout, Settings};

    use super::*;

    /// Milliseconds.
    const NOW: i64 = 1_800_000_000_000;

    fn webhook(change: &dyn Fn(&mut Webhook)) -> Webhook {
        let id = WebhookId::from_uuid(uuid::Uuid::nil());
        let settings = Settings::new("https://example.com/hook".to_owned());
        let mut webhook = Webhook::new(id, settings, Secret::new("whsec_AAAA"), from_millis(NOW - 9_000_000));
        change(&mut webhook);
        webhook
    }

    /// A webhook that got its own lane 600 s ago, after it had been active for a while.
    fn own(change: &dyn Fn(&mut Webhook)) -> Webhook {
        webhook(&|webhook| {
            let health = &mut webhook.health;
            (health.lane, health.lane_since) = (Some(Lane::Own), Some(NOW - 600_000));
            (health.lane_reason, health.state_since) = (Some("answered 503".to_owned()), Some(NOW - 900_000));
            change(webhook);
        })
    }

    /// Checks the state, since how many seconds, the reason, and in how many seconds the next attempt is.
    fn check(webhook: &Webhook, expected: (PublicState, Option<i64>, Option<&str>, Option<i64>)) {
        let found = Condition::of(webhook, from_millis(NOW));
        let since = found.since.map(|since| (NOW - since) / 1000);
        let next = found.next_attempt_at.map(|next| (next - NOW) / 1000);
        assert_eq!((found.state, since, found.reason, next), expected, "{:?}", webhook.health);
    }

    fn refusing() -> Lookout {
        let next_attempt_at = Some(NOW + 40_000);
        Lookout { next_look_at: Some(NOW), next_attempt_at, refusals: 3, slow_at: Some(NOW), ..Lookout::default() }
    }

    #[test]
    fn what_weighs_more_is_shown() {
        use PublicState::{Active, Failing, Off, Paused, Slow};
        check(&webhook(&|_| {}), (Active, None, None, None));
        check(&own(&|w| w.health.lane = Some(Lane::Shared)), (Active, Some(600), None, None));
        check(&own(&|w| w.health.lookout = refusing()), (Slow, Some(600), Some("answered 503"), Some(40)));
        let failing = |w: &mut Webhook| {
            w.health.lookout = refusing();
            (w.health.state, w.health.reason) = (WebhookState::Failing, Some("nothing was accepted".to_owned()));
        };
        check(&own(&failing), (Failing, Some(900), Some("nothing was accepted"), Some(40)));
        let paused = |w: &mut Webhook| {
            failing(w);
            w.health.paused_at = Some(NOW - 5_000);
        };
        check(&own(&paused), (Paused, Some(5), Some("is paused by its owner"), None));
        let off = |w: &mut Webhook| {
            paused(w);
            (w.health.state, w.health.reason) = (WebhookState::Off, Some("answered 410".to_owned()));
        };
        check(&own(&off), (Off, Some(900), Some("answered 410"), None));
        let expired = |w: &mut Webhook| {
            off(w);
            w.settings.expires_at = Some(NOW / 1000 - 7);
        };
        check(&own(&expired), (Off, Some(7), Some("has expired"), None));
    }

    #[test]
    fn a_lane_of_its_own_makes_a_webhook_slow_only_where_something_shows_it() {
        use PublicState::{Active, Slow};
        let looks = |next_look_at, slow_at| Lookout { next_look_at, slow_at, ..Lookout::default() };
        let (works, rests) = (Some(NOW), None);
        let slow = |reason| (Slow, Some(600), Some(reason), None);
        // Own, settling, or from before there were lanes.
        check(&own(&|w| w.health.lookout = looks(works, None)), slow("is sent what has waited"));
        let settling = |w: &mut Webhook| (w.health.lane, w.health.lookout) = (Some(Lane::Settling), looks(works, None));
        check(&own(&settling), slow("is sent what has waited"));
        let draining = webhook(&|w| (w.health.state, w.health.state_since) = (WebhookState::Draining, Some(NOW)));
        check(&draining, (Slow, Some(0), Some("is sent what has waited"), None));
        // One that recovered is slow while its backlog is sent.
        let recovered = |w: &mut Webhook| {
            (w.health.lookout, w.health.state_since) = (looks(works, Some(NOW - 60_000)), Some(NOW - 60_000));
        };
        check(&own(&recovered), (Slow, Some(60), Some("is sent what has waited"), None));
        // A slow answer counts for a minute; then the lane only rests.
        check(&own(&|w| w.health.lookout = looks(rests, Some(NOW - 59_999))), slow("answered 503"));
        check(&own(&|w| w.health.lookout = looks(rests, Some(NOW - 60_000))), (Active, Some(600), None, None));
        // One that was off has to accept something first.
        let resumed = |w: &mut Webhook| (w.health.lane_reason, w.health.refusing_since) = (None, Some(NOW - 99_000));
        check(&own(&resumed), slow("has accepted nothing yet since it was resumed"));
        let next_was_due = |w: &mut Webhook| {
            w.health.lookout = Lookout { next_attempt_at: Some(NOW), ..refusing() };
        };
        check(&own(&next_was_due), slow("answered 503"));
    }

    #[test]
    fn a_limit_alone_makes_nobody_slow() {
        use PublicState::{Active, Slow};
        let limited = |lookout: Lookout| {
            own(&|webhook| {
                webhook.settings.max_per_minute = Some(60);
                webhook.health.lane_reason = Some("has a limit of requests".to_owned());
                webhook.health.lookout = lookout.clone();
            })
        };
        // Its pace is no wait for a receiver.
        let pace = Lookout { next_look_at: Some(NOW), next_attempt_at: Some(NOW + 1_000), ..Lookout::default() };
        check(&limited(pace), (Active, Some(900), None, None));
        check(&limited(Lookout::default()), (Active, Some(900), None, None));
        let reason = "answers slowly, or refused something a moment ago";
        let slow = Lookout { slow_at: Some(NOW - 1_000), ..Lookout::default() };
        check(&limited(slow), (Slow, Some(600), Some(reason), None));
        check(&limited(refusing()), (Slow, Some(600), Some("accepts nothing at the moment"), Some(40)));
    }

    #[test]
    fn a_state_has_one_name_that_is_asked_for_and_shown() {
        let shown: Vec<(String, PublicState)> = PublicState::NAMES
            .iter()
            .map(|(_, state)| (serde_json::to_value(state).expect("json").as_str().expect("a name").to_owned(), *state))
            .collect();
        for (name, state) in &PublicState::NAMES[..5] {
            assert!(shown.contains(&((*name).to_owned(), *state)), "{name}");
        }
        assert_eq!(PublicState::NAMES[5], ("draining", PublicState::Slow));
    }
}
