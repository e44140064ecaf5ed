//! What becomes of one webhook is told to another one, once.

use aws_sdk_dynamodb::types::AttributeValue;
use easyconnect_tests::{Inbox, Manner, Request, Stack, eventually};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::aws;
use shared::delivery::Delivery;
use shared::event::{CallEvent, Status};
use shared::ids::{CallId, WebhookId};
use shared::tables::{Change, KEEP_EXPIRED};
use shared::webhook::{Kind, Secret, Settings, Webhook};
use uuid::Uuid;

use crate::crashes::{Moment, SEND, UPDATE, killed};

const DAY: i64 = 24 * 60 * 60;

/// All notices about webhooks.
const KINDS: [Kind; 5] =
    [Kind::WebhookFailing, Kind::WebhookRecovered, Kind::WebhookOff, Kind::WebhookExpiring, Kind::WebhookExpired];

fn asks_for_notices(inbox: &Inbox) -> Settings {
    Settings { kinds: KINDS.into(), ..Settings::new(inbox.url("/notices")) }
}

/// A webhook that was made a month ago and has this many seconds left. It wants notices, too, and gets none about itself.
async fn with_seconds_left(stack: &Stack, inbox: &Inbox, seconds: i64) -> WebhookId {
    let now = stack.clock.now();
    let id = WebhookId::random();
    let settings = Settings {
        url: inbox.url(&itself(id)),
        description: "CRM".to_owned(),
        expires_at: Some(now.as_second() + seconds),
        ..asks_for_notices(inbox)
    };
    let a_month_ago = now - SignedDuration::from_hours(30 * 24);
    let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let webhook = Webhook::new(id, settings, secret, a_month_ago);
    stack.state.put_webhook(&webhook).await.expect("the webhook is stored");
    id
}

fn itself(id: WebhookId) -> String {
    format!("/itself/{id}")
}

/// What came to a path, in the order of arrival.
fn came(inbox: &Inbox, path: &str) -> Vec<Value> {
    inbox.received().iter().filter(|request| request.path == path).map(Request::event).collect()
}

fn end_of_a_call(to: WebhookId) -> Delivery {
    let call = CallId::from_uuid(Uuid::new_v4());
    Delivery::of_call(CallEvent::example(call, Status::Disconnected, Timestamp::now()), to)
}

/// "type" of every notice about a webhook that came to the one that asks for nothing else.
fn notices_about(inbox: &Inbox, id: WebhookId) -> Vec<String> {
    let about = |event: &Value| event["subscriptionId"] == json!(id);
    let notices = came(inbox, "/notices").into_iter().filter(about);
    notices.map(|event| event["type"].as_str().unwrap_or("?").to_owned()).collect()
}

async fn until_told(inbox: &Inbox, id: WebhookId, expected: &[&str]) {
    eventually(&format!("notices {expected:?}"), async || match notices_about(inbox, id) {
        kinds if kinds == expected => Ok(()),
        kinds => Err(format!("{kinds:?}")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_that_ends_or_recovers_is_told_of_once_to_others() {
    let stack = Stack::start_with(&["FastLaneSeconds=2"]);
    let (stack, inbox, gone, broken) = tokio::join!(stack, Inbox::start(), Inbox::start(), Inbox::start());
    stack.stop_clock().await;
    stack.register(asks_for_notices(&inbox)).await;

    // One has less than a day left, one an hour more, one has expired, and one was made for an hour.
    let expiring = with_seconds_left(&stack, &inbox, DAY - 60).await;
    let not_yet = with_seconds_left(&stack, &inbox, DAY + 3_600).await;
    let expired = with_seconds_left(&stack, &inbox, -1).await;
    let in_an_hour = Some(stack.clock.now().as_second() + 3_600);
    let short = Settings { expires_at: in_an_hour, ..Settings::new(inbox.url("/short")) };
    let short = stack.register(short).await.id;
    tokio::join!(stack.tick(), stack.tick());
    until_told(&inbox, expiring, &["subscription.expiring"]).await;
    until_told(&inbox, expired, &["subscription.expired"]).await;
    let told = came(&inbox, "/notices");
    let message = |id: WebhookId| -> String {
        let notice = told.iter().find(|event| event["subscriptionId"] == json!(id)).expect("a notice");
        notice["message"].as_str().expect("a text").to_owned()
    };
    assert!(message(expiring).starts_with("The webhook \"CRM\" expires at 20"), "{}", message(expiring));
    assert!(message(expired).starts_with("The webhook \"CRM\" has expired at 20"), "{}", message(expired));
    // It is still there, and can be given another expiry. That is another occasion.
    let shown = stack.api.get(&format!("/webhooks/{expired}")).await.ok();
    assert_eq!((shown.text("state"), shown.text("reason")), ("off", "has expired"));
    let tomorrow = Timestamp::now() + SignedDuration::from_secs(DAY + 3_600);
    let again = json!({"url": inbox.url("/again"), "expiresAt": tomorrow.to_string()});
    assert_eq!(stack.api.put(&format!("/webhooks/{expired}"), again).await.ok().text("state"), "active");

    // One wants no more.
    gone.behave(Manner::Status(410));
    let off = stack.subscribe(&gone).await.id;
    stack.deliver(&end_of_a_call(off)).await;
    until_told(&inbox, off, &["subscription.off"]).await;
    // It was resumed, which is no news yet, and accepts.
    gone.behave(Manner::Status(204));
    stack.api.post(&format!("/webhooks/{off}/resume"), json!({})).await.ok();
    assert_eq!(notices_about(&inbox, off), ["subscription.off"]);
    stack.deliver(&end_of_a_call(off)).await;
    until_told(&inbox, off, &["subscription.off", "subscription.recovered"]).await;

    // One fails, and whoever wrote it down has told nobody. Then it accepts by itself.
    broken.behave(Manner::Status(503));
    let failing = stack.subscribe(&broken).await.id;
    let fail = Change::Fail { reason: "a test" };
    stack.state.change_state(failing, &fail, stack.clock.now()).await.expect("the table answers");
    stack.tick().await;
    until_told(&inbox, failing, &["subscription.failing"]).await;
    broken.behave(Manner::Status(204));
    stack.deliver(&end_of_a_call(failing)).await;
    until_told(&inbox, failing, &["subscription.failing", "subscription.recovered"]).await;

    // Nothing is told again, and nothing is told to the webhook that it is about.
    for _ in 0..2 {
        tokio::join!(stack.tick(), stack.tick());
    }
    stack.deliver(&end_of_a_call(off)).await;
    stack.until_empty("DELIVERIES_QUEUE_URL").await;
    let told = came(&inbox, "/notices");
    assert_eq!(told.len(), 6, "{told:?}");
    assert!(notices_about(&inbox, not_yet).is_empty() && notices_about(&inbox, short).is_empty());
    let to_the_expiring = came(&inbox, &itself(expiring));
    assert_eq!(to_the_expiring.len(), 5, "all but the one about itself: {to_the_expiring:?}");
    assert!(came(&inbox, &itself(expired)).is_empty(), "it was sent nothing, and asks for calls only since");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_of_an_older_version_is_told_of_and_kept_until_then() {
    let (stack, inbox) = tokio::join!(Stack::start(), Inbox::start());
    stack.stop_clock().await;
    stack.register(asks_for_notices(&inbox)).await;
    let id = with_seconds_left(&stack, &inbox, 3_600).await;
    let expiry = stack.state.webhook(id).await.expect("the table answers").expect("it is there");
    let expiry = expiry.settings.expires_at.expect("an expiry");

    // As it was written: the expiry is the table's TTL.
    let table = aws::dynamodb(&stack.sdk, &stack.clock);
    let item = || {
        let key = [("pk", "WEBHOOK".to_owned()), ("sk", id.to_string())];
        key.map(|(name, value)| (name.to_owned(), AttributeValue::S(value))).into()
    };
    let number = |value: i64| AttributeValue::N(value.to_string());
    let older = table.update_item().table_name(stack.var("STATE_TABLE")).set_key(Some(item()));
    let older = older.update_expression("SET expiresAt = :expiry REMOVE endsAt");
    older.expression_attribute_values(":expiry", number(expiry)).send().await.expect("the table answers");

    for _ in 0..2 {
        stack.tick().await;
    }
    until_told(&inbox, id, &["subscription.expiring"]).await;
    let found = table.get_item().table_name(stack.var("STATE_TABLE")).set_key(Some(item())).consistent_read(true);
    let found = found.send().await.expect("the table answers").item.expect("it is there");
    assert_eq!((&found["endsAt"], &found["expiresAt"]), (&number(expiry), &number(expiry + KEEP_EXPIRED)));
    assert!(!found.contains_key("pendingNotices"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deliver_that_is_killed_while_it_tells_of_an_expiry_tells_of_it_once() {
    let (stack, inbox) = tokio::join!(Stack::start(), Inbox::start());
    stack.stop_clock().await;
    stack.register(asks_for_notices(&inbox)).await;
    let minute = json!({"source": "aws.events"});
    // Not noted; noted and not told; told and not known to be told; all done.
    let moments = [
        Moment::before(UPDATE, 1),
        Moment::after(UPDATE, 1),
        Moment::before(SEND, 1),
        Moment::after(SEND, 1),
        Moment::before(UPDATE, 2),
        Moment::after(UPDATE, 2),
    ];
    for moment in moments {
        let id = stack.register(Settings::new(inbox.url("/expired"))).await.id;
        let over =
            Settings { expires_at: Some(stack.clock.now().as_second() - 1), ..Settings::new(inbox.url("/expired")) };
        stack.state.change_settings(id, &over, stack.clock.now()).await.expect("the table answers");
        killed(&stack, "deliver", &minute, moment).await;
        for _ in 0..2 {
            stack.tick().await;
            stack.until_empty("DELIVERIES_QUEUE_URL").await;
        }
        assert_eq!(notices_about(&inbox, id), ["subscription.expired"], "{moment:?}");
    }
}
