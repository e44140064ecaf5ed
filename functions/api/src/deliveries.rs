//! Deliveries as answers show them.

use serde::Serialize;
use shared::delivery::{Attempt, Delivery, DeliveryLog, DeliveryState, LogKey, Trial};
use shared::event::Direction;
use shared::ids::{CallId, DeliveryId, WebhookId};
use shared::rendering::Rendered;
use shared::time::iso_millis;
use shared::webhook::{Method, Settings};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AttemptView<'a> {
    at: String,
    duration_ms: u64,
    status: Option<u16>,
    outcome: &'a str,
    answer: Option<&'a str>,
}

impl<'a> From<&'a Attempt> for AttemptView<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        Self {
            at: iso_millis(attempt.at),
            duration_ms: attempt.duration_ms,
            status: attempt.status,
            outcome: &attempt.outcome,
            answer: attempt.answer.as_deref(),
        }
    }
}

/// A delivery as the log shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeliveryView<'a> {
    id: String,
    /// What was sent as `webhook-id`.
    delivery_id: DeliveryId,
    webhook_id: WebhookId,
    about: &'a str,
    #[serde(rename = "CallId")]
    call_id: Option<CallId>,
    sequence: Option<u8>,
    monitored_user: Option<&'a str>,
    monitored_extension: Option<&'a str>,
    direction: Option<Direction>,
    /// Whether its owner had it sent as a test. Earlier versions did not write that.
    trial: Option<Trial>,
    occurred_at: &'a str,
    state: DeliveryState,
    round: u32,
    attempt_count: u32,
    attempts: Vec<AttemptView<'a>>,
    next_attempt_at: Option<String>,
    updated_at: String,
}

impl<'a> DeliveryView<'a> {
    /// By the settings that the webhook has now, as what is sent again.
    pub(crate) fn of(at: &'a LogKey, log: &'a DeliveryLog, settings: &Settings) -> Self {
        let user = log.user.as_ref();
        Self {
            id: at.public_id(),
            delivery_id: log.delivery_id,
            webhook_id: at.webhook_id,
            about: &log.about,
            call_id: log.call_id,
            sequence: log.sequence,
            monitored_user: user.filter(|_| !settings.mask_numbers).map(|user| user.name.as_str()),
            monitored_extension: user.map(|user| user.extension.as_str()),
            direction: user.map(|user| user.direction),
            trial: log.trial.filter(|trial| *trial == Trial::Test),
            occurred_at: at.sort.split('#').next().unwrap_or_default(),
            state: log.state,
            round: log.round,
            attempt_count: log.attempt_count,
            attempts: log.attempts.iter().map(AttemptView::from).collect(),
            next_attempt_at: log.next_attempt_at.map(iso_millis),
            updated_at: iso_millis(log.updated_at),
        }
    }
}

/// A delivery with the request that was sent for it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WholeDeliveryView<'a> {
    #[serde(flatten)]
    delivery: DeliveryView<'a>,
    request_method: Option<Method>,
    request_url: Option<String>,
    request_headers: Vec<HeaderView>,
    request_body: Option<String>,
}

#[derive(Debug, Serialize)]
struct HeaderView {
    name: String,
    /// Absent where it is a secret, or made with one.
    value: Option<String>,
}

impl<'a> WholeDeliveryView<'a> {
    pub(crate) fn of(at: &'a LogKey, log: &'a DeliveryLog, sent: Option<&Delivery>, settings: &Settings) -> Self {
        let sent_at = log.attempts.last().map_or(log.updated_at, |attempt| attempt.at);
        let rendered = sent.and_then(|delivery| Rendered::new(delivery, settings, sent_at).ok());
        let mut shown = Self {
            delivery: DeliveryView::of(at, log, settings),
            request_method: None,
            request_url: None,
            request_headers: Vec::new(),
            request_body: None,
        };
        if let Some(rendered) = rendered {
            let header = |name: &str, value: Option<String>| HeaderView { name: name.to_owned(), value };
            let json = rendered.body.as_ref().map(|_| header("content-type", Some("application/json".to_owned())));
            shown.request_headers = json.into_iter().collect();
            shown.request_headers.extend([
                header("webhook-id", Some(log.delivery_id.to_string())),
                header("webhook-timestamp", Some(sent_at.as_second().to_string())),
                header("webhook-signature", None),
            ]);
            shown.request_headers.extend(settings.basic_auth.as_ref().map(|_| header("authorization", None)));
            shown.request_headers.extend(settings.headers.keys().map(|name| header(name, None)));
            shown.request_method = Some(settings.method);
            shown.request_url = Some(rendered.url.into());
            shown.request_body = rendered.body;
        }
        shown
    }
}
