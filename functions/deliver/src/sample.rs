//! What the tests of this crate deliver: the product page's example.

use std::time::Duration;

use jiff::Timestamp;
use shared::delivery::Delivery;
use shared::event::{CallEvent, Status};
use shared::ids::{CallId, WebhookId};
use shared::webhook::{Method, Secret, Settings, Webhook};

use crate::receiver::{Answer, Outcome};

pub(crate) const WEBHOOK: &str = "9f0c1a52-6f0b-4a53-8a3e-0d5b0f5a7c11";

pub(crate) fn now() -> Timestamp {
    "2022-09-16T11:57:44Z".parse().expect("a time")
}

pub(crate) fn call_id() -> CallId {
    "1ea84350-ef40-49c4-a3cd-b1d59c821b47".parse().expect("an id")
}

pub(crate) fn delivery() -> Delivery {
    let occurred_at: Timestamp = "2022-09-16T11:57:43.250Z".parse().expect("a time");
    let event = CallEvent::example(call_id(), Status::Ringing, occurred_at);
    Delivery::of_call(event, WEBHOOK.parse::<WebhookId>().expect("an id"))
}

pub(crate) fn webhook(url: &str, method: Method) -> Webhook {
    let settings = Settings { method, ..Settings::new(url.to_owned()) };
    let secret = Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
    Webhook::new(WEBHOOK.parse().expect("an id"), settings, secret, now())
}

pub(crate) fn answered(status: u16, retry_after: Option<Duration>) -> Outcome {
    let answer = Answer { status, retry_after, text: "thank you".to_owned() };
    Outcome { at: now(), took: Duration::from_millis(5), result: Ok(answer) }
}
