//! What the tests of this crate deliver: the product page's example.

use std::time::Duration;

use jiff::Timestamp;
use shared::delivery::Delivery;
use shared::event::{CallEvent, Status, WebHookEvent};
use shared::ids::{EventId, SubscriptionId};
use shared::subscription::{Method, Secret, Subscription};
use shared::time::PublishedTime;

use crate::client::{Answer, Outcome};

pub(crate) const SUBSCRIPTION: &str = "9f0c1a52-6f0b-4a53-8a3e-0d5b0f5a7c11";

pub(crate) fn now() -> Timestamp {
    "2022-09-16T11:57:44Z".parse().expect("a time")
}

pub(crate) fn delivery() -> Delivery {
    let call_id = "1ea84350-ef40-49c4-a3cd-b1d59c821b47".parse().expect("an id");
    let occurred_at: Timestamp = "2022-09-16T11:57:43.250Z".parse().expect("a time");
    let event = CallEvent {
        event_id: EventId::new(call_id, Status::Ringing),
        occurred_at,
        pbx_id: "master".to_owned(),
        agent_id: "rack/1".to_owned(),
        user_guid: "3954ae7854c96301c9dd009033400109".to_owned(),
        inferred: false,
        cause: None,
        from_e164: None,
        to_e164: None,
        web_hook_event: WebHookEvent {
            call_id,
            conference_events: Vec::new(),
            conference_id: "577193ccf44465016826009033600110".to_owned(),
            connected: false,
            conversation_time: -1,
            end_time: None,
            from: "00472591687".to_owned(),
            from_name: String::new(),
            monitored_extension: "42".to_owned(),
            monitiored_user: "Thomas De Wilde".to_owned(),
            monitored_user: "Thomas De Wilde".to_owned(),
            outgoing: false,
            pickup_time: None,
            start_time: PublishedTime(occurred_at),
            status: Status::Ringing,
            to: "42".to_owned(),
            to_name: "Thomas De Wilde".to_owned(),
            total_time: -1,
        },
    };
    Delivery::new(event, SUBSCRIPTION.parse::<SubscriptionId>().expect("an id"))
}

pub(crate) fn subscription(url: &str, method: Method) -> Subscription {
    Subscription {
        id: SUBSCRIPTION.parse().expect("an id"),
        url: url.to_owned(),
        method,
        description: String::new(),
        secret: Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
    }
}

pub(crate) fn answered(status: u16, retry_after: Option<Duration>) -> Outcome {
    let answer = Answer { status, retry_after, text: "thank you".to_owned() };
    Outcome { at: now(), took: Duration::from_millis(5), result: Ok(answer) }
}
