//! `fanout` and `deliver` are killed at each moment at which something is done and something is not yet. Nothing is lost, and only
//! what a receiver accepted before the log knew of it is sent again, under the same `webhook-id`.
//!
//! The queue hands a batch over again when the function did not answer; so does the test, to another environment of the function.

use std::collections::{BTreeMap, BTreeSet};

use easyconnect_tests::stack::{batch, sqs_event};
use easyconnect_tests::{Inbox, Lambda, Manner, Proxy, Stack, Stop, eventually, feed};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::delivery::{Delivery, DeliveryLog, DeliveryState, LaneCall};
use shared::envelope;
use shared::event::{CallEvent, Status};
use shared::ids::{CallId, DeliveryId, EventId, WebhookId};
use shared::tables::{Change, Look};
use shared::webhook::{Kind, Lookout, Method, Settings, Webhook, WebhookState};
use uuid::Uuid;

/// Nothing goes stale while a test is at it.
const FRESH: [&str; 2] = ["RingingFreshSeconds=3600", "ConnectedFreshSeconds=3600"];
const ALL_DONE: &str = r#"{"batchItemFailures":[]}"#;

pub(crate) const SEND: &[&str] = &["AmazonSQS.SendMessageBatch"];
const READ: &[&str] = &["DynamoDB_20120810.BatchGetItem"];
const PUT: &[&str] = &["DynamoDB_20120810.PutItem"];
/// The log of deliveries is written, of one of them or of several at once. Reads name no `expiresAt`.
const LOG: &[&str] = &["\"DELIVERY#", "\"expiresAt\""];
/// The events of a call are sent one after the other, so the longest call alone makes so many writes.
const LOG_WRITES: usize = 3;
pub(crate) const UPDATE: &[&str] = &["DynamoDB_20120810.UpdateItem"];
const DELETE: &[&str] = &["DynamoDB_20120810.DeleteItem"];

/// When a function is killed: at its n-th request of a kind, before or after that has happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    request: &'static [&'static str],
    stop: Stop,
    nth: usize,
}

impl Moment {
    pub(crate) fn before(request: &'static [&'static str], nth: usize) -> Self {
        Self { request, stop: Stop::Request, nth }
    }

    pub(crate) fn after(request: &'static [&'static str], nth: usize) -> Self {
        Self { request, stop: Stop::Answer, nth }
    }
}

/// Runs a function on an event until that moment.
pub(crate) async fn killed(stack: &Stack, function: &'static str, event: &Value, moment: Moment) {
    let proxy = Proxy::start(stack.var("AWS_ENDPOINT_URL"), moment.request).await;
    proxy.stop(moment.stop, moment.nth);
    let mut lambda = Lambda::start(stack, function, &proxy.url()).await;
    lambda.hand_over(event);
    tokio::select! {
        () = proxy.until_stopped() => {}
        answer = lambda.answer() => panic!("{function} was done before {moment:?}: {answer}"),
    }
    lambda.kill().await;
}

/// Hands the batch to another environment, which nothing happens to.
async fn comes_again(stack: &Stack, function: &'static str, event: &Value) {
    let mut event = event.clone();
    for record in event["Records"].as_array_mut().expect("records") {
        record["receiptHandle"] = json!(format!("{} again", record["messageId"]));
        record["attributes"]["ApproximateReceiveCount"] = json!("2");
    }
    let mut lambda = Lambda::start(stack, function, stack.var("AWS_ENDPOINT_URL")).await;
    lambda.hand_over(&event);
    assert_eq!(lambda.answer().await.to_string(), ALL_DONE);
    lambda.kill().await;
}

/// The same messages under ids that no queue remembers, after a long time in it.
fn copies(mut event: Value) -> Value {
    for record in event["Records"].as_array_mut().expect("records") {
        record["messageId"] = json!(Uuid::new_v4().to_string());
    }
    long_ago(event)
}

/// Nothing of the fast lane is left to these messages.
fn long_ago(mut event: Value) -> Value {
    for record in event["Records"].as_array_mut().expect("records") {
        record["attributes"]["SentTimestamp"] = json!("1700000000000");
    }
    event
}

/// Three calls, one after the other begun, in the order in which things happened.
fn calls() -> Vec<CallEvent> {
    use Status::{Connected, Disconnected, Ringing};
    let [a, b, c] = [(); 3].map(|()| CallId::from_uuid(Uuid::new_v4()));
    let story = [(a, Ringing), (b, Ringing), (c, Disconnected), (a, Connected), (b, Disconnected), (a, Disconnected)];
    let begin = Timestamp::now();
    let event = |(n, (call, status)): (i64, (CallId, Status))| {
        CallEvent::example(call, status, begin + SignedDuration::from_millis(n))
    };
    (0..).zip(story).map(event).collect()
}

fn deliveries(events: &[CallEvent], to: WebhookId) -> Vec<Delivery> {
    events.iter().map(|event| Delivery::of_call(event.clone(), to)).collect()
}

fn deliveries_event<'a>(deliveries: impl IntoIterator<Item = &'a Delivery>) -> Value {
    batch(deliveries.into_iter().map(|delivery| (delivery.group(), envelope::seal(delivery).expect("JSON"))))
}

fn ids(deliveries: &[Delivery]) -> Vec<DeliveryId> {
    deliveries.iter().map(Delivery::id).collect()
}

/// The `webhook-id`s that came to a path, in their order.
fn came(inbox: &Inbox, path: &str) -> Vec<DeliveryId> {
    let requests = inbox.received().into_iter().filter(|request| request.path == path);
    requests.map(|request| request.header("webhook-id").parse().expect("an id")).collect()
}

/// Each call's part of the deliveries, in their order.
fn by_call(ids: &[DeliveryId], deliveries: &[Delivery]) -> BTreeMap<CallId, Vec<DeliveryId>> {
    let mut calls = BTreeMap::<_, Vec<_>>::new();
    for id in ids {
        let delivery = deliveries.iter().find(|delivery| delivery.id() == *id).expect("a delivery of this test");
        calls.entry(delivery.payload.subject()).or_default().push(*id);
    }
    calls
}

async fn stored(stack: &Stack, id: WebhookId) -> Webhook {
    stack.state.webhook(id).await.expect("the table answers").expect("the webhook exists")
}

async fn until_webhook(stack: &Stack, id: WebhookId, what: &str, holds: impl Fn(&Webhook) -> bool) {
    eventually(&format!("the webhook {what}"), async || match stored(stack, id).await {
        found if holds(&found) => Ok(()),
        found => Err(format!("{:?}", found.health)),
    })
    .await;
}

async fn log_of(stack: &Stack, delivery: &Delivery) -> DeliveryLog {
    let log = stack.state.delivery_log(&delivery.log_key()).await.expect("the table answers");
    log.unwrap_or_else(|| panic!("no log of {delivery:?}"))
}

/// Everything is in the log in this state.
async fn logged(stack: &Stack, deliveries: &[Delivery], state: DeliveryState) {
    for delivery in deliveries {
        let log = log_of(stack, delivery).await;
        assert_eq!(log.state, state, "{log:?}");
    }
}

/// More than the queue takes at once.
const RECEIVERS: usize = 11;
/// What the fan-out of the three calls sends: the first events of each call to all receivers, then the second ones, then the third.
const SENDS: usize = (3 * RECEIVERS).div_ceil(10) + (2 * RECEIVERS).div_ceil(10) + RECEIVERS.div_ceil(10);

#[tokio::test(flavor = "multi_thread")]
async fn fanout_that_is_killed_loses_nothing_and_repeats_nothing() {
    let (stack, inbox) = tokio::join!(Stack::start_with(&FRESH), Inbox::start());
    let mut receivers = Vec::new();
    for n in 0..RECEIVERS {
        receivers.push(stack.subscribe_with(&inbox.url(&format!("/{n}")), Method::Post).await.id);
    }
    let mut moments: Vec<Moment> = (1..=SENDS).map(|nth| Moment::before(SEND, nth)).collect();
    // Before and after the numbers are reserved; then at each of the two writes of each event, some of which go on at the same time.
    moments.extend([Moment::before(UPDATE, 1), Moment::after(UPDATE, 1)]);
    moments.extend((1..=2 * calls().len()).flat_map(|nth| [Moment::before(PUT, nth), Moment::after(PUT, nth)]));
    let mut told: Vec<Vec<CallEvent>> = Vec::new();
    for moment in moments {
        let events = calls();
        let event = sqs_event(&events);
        killed(&stack, "fanout", &event, moment).await;
        comes_again(&stack, "fanout", &event).await;
        stack.until_empty("DELIVERIES_QUEUE_URL").await;
        told.push(events);
    }

    // One that nothing happens to sends as often as this test believes.
    let events = calls();
    let proxy = Proxy::start(stack.var("AWS_ENDPOINT_URL"), SEND).await;
    proxy.stop(Stop::Request, SENDS + 1);
    let mut lambda = Lambda::start(&stack, "fanout", &proxy.url()).await;
    lambda.hand_over(&sqs_event(&events));
    assert_eq!(lambda.answer().await.to_string(), ALL_DONE);
    told.push(events);

    let to = |n: usize| -> Vec<Delivery> { told.iter().flat_map(|events| deliveries(events, receivers[n])).collect() };
    let as_it_should_be = || {
        for n in 0..RECEIVERS {
            let (came, wanted) = (came(&inbox, &format!("/{n}")), to(n));
            assert_eq!(by_call(&came, &wanted), by_call(&ids(&wanted), &wanted), "receiver {n}");
        }
    };
    stack.until_empty("DELIVERIES_QUEUE_URL").await;
    as_it_should_be();
    let recorded = told.iter().map(Vec::len).sum::<usize>();
    let feed = feed::read_behind(&stack.state, 0).await;
    let ids: BTreeSet<EventId> = feed.iter().map(|event| event.event_id).collect();
    assert_eq!((feed.len(), ids.len()), (recorded, recorded), "each event is in the feed once");

    // The queue has forgotten the events and the deliveries, and they come once more.
    for events in &told {
        let answer = stack.invoke("FANOUT_FUNCTION", &copies(sqs_event(events))).await;
        assert_eq!(answer.to_string(), ALL_DONE);
        for receiver in &receivers {
            let copies = copies(deliveries_event(&deliveries(events, *receiver)));
            assert_eq!(stack.invoke("DELIVER_FUNCTION", &copies).await.to_string(), ALL_DONE);
        }
    }
    stack.until_empty("DELIVERIES_QUEUE_URL").await;
    as_it_should_be();
}

#[tokio::test(flavor = "multi_thread")]
async fn deliver_that_is_killed_repeats_only_what_the_log_does_not_know() {
    let (stack, inbox) = tokio::join!(Stack::start_with(&FRESH), Inbox::start());
    // Before the first requests, and before that of each delivery that stands behind another one.
    let reads = (1..=4).map(|nth| (Moment::after(READ, nth), false));
    let moments = reads.chain((1..=LOG_WRITES).flat_map(|nth| {
        // Between the receiver's answer and the log, and between the log and the function's own answer.
        [(Moment::before(LOG, nth), true), (Moment::after(LOG, nth), false)]
    }));
    // The first success is noted with the webhook, too.
    let noted = [(Moment::before(UPDATE, 1), false), (Moment::after(UPDATE, 1), false)];
    for (n, (moment, repeats)) in moments.chain(noted).enumerate() {
        let path = format!("/{n}");
        let to = stack.subscribe_with(&inbox.url(&path), Method::Post).await.id;
        let deliveries = deliveries(&calls(), to);
        let event = deliveries_event(&deliveries);
        killed(&stack, "deliver", &event, moment).await;
        comes_again(&stack, "deliver", &event).await;

        // The calls go side by side: what each of them was at when the function died may come again, and nothing else.
        let came = came(&inbox, &path);
        let mut once = by_call(&came, &deliveries);
        once.values_mut().for_each(Vec::dedup);
        assert_eq!(once, by_call(&ids(&deliveries), &deliveries), "{moment:?}");
        let again = came.len() - deliveries.len();
        assert!(again <= once.len() && (again > 0 || !repeats), "{moment:?}: {again} came again");
        logged(&stack, &deliveries, DeliveryState::Delivered).await;
    }
}

/// A webhook whose owner wants nothing sent for now, with six deliveries that are for it.
async fn paused(stack: &Stack, inbox: &Inbox, path: &str) -> (String, WebhookId, Vec<Delivery>) {
    let id = stack.subscribe_with(&inbox.url(path), Method::Post).await.id;
    let paused = stack.state.change_state(id, &Change::Pause, stack.clock.now()).await.expect("the table answers");
    assert!(paused.is_some());
    (path.to_owned(), id, deliveries(&calls(), id))
}

/// The same when they are parked.
async fn parked(stack: &Stack, inbox: &Inbox, path: &str) -> (String, WebhookId, Vec<Delivery>) {
    let webhook = paused(stack, inbox, path).await;
    let answer = stack.invoke("DELIVER_FUNCTION", &deliveries_event(&webhook.2)).await;
    assert_eq!(answer.to_string(), ALL_DONE);
    holds(stack, &webhook).await;
    webhook
}

/// All six are parked, each once.
async fn holds(stack: &Stack, (path, id, deliveries): &(String, WebhookId, Vec<Delivery>)) {
    let parked = stack.state.parked(*id, None, 100).await.expect("the table answers");
    let parked: Vec<Delivery> = parked.parked.into_iter().map(|parked| parked.delivery).collect();
    assert_eq!(ids(&parked), ids(deliveries), "{path}");
    logged(stack, deliveries, DeliveryState::Parked).await;
}

/// A message that calls the worker of a webhook's lane.
fn call(id: WebhookId) -> Value {
    let message = LaneCall { lane: id }.message("test");
    batch([(message.group, message.body)])
}

#[tokio::test(flavor = "multi_thread")]
async fn deliver_that_is_killed_while_it_parks_loses_nothing_and_parks_nothing_twice() {
    let (stack, inbox) = tokio::join!(Stack::start_with(&FRESH), Inbox::start());
    stack.stop_clock().await;
    let moments = (1..=3).flat_map(|nth| {
        [PUT, UPDATE].into_iter().flat_map(move |at| [Moment::before(at, nth), Moment::after(at, nth)])
    });
    let mut webhooks = Vec::new();
    for (n, moment) in moments.enumerate() {
        let webhook = paused(&stack, &inbox, &format!("/{n}")).await;
        let event = deliveries_event(&webhook.2);
        killed(&stack, "deliver", &event, moment).await;
        comes_again(&stack, "deliver", &event).await;
        comes_again(&stack, "deliver", &copies(event)).await;
        holds(&stack, &webhook).await;
        webhooks.push(webhook);
    }
    assert_eq!(inbox.received().len(), 0);
    for (_, id, _) in &webhooks {
        stack.api.post(&format!("/webhooks/{id}/resume"), json!({})).await.ok();
    }
    each_came(&stack, &inbox, &webhooks, 0).await;
}

/// Waits until nothing is parked for the webhooks, and looks at what has come to their paths: `again` of each may have come twice.
async fn each_came(stack: &Stack, inbox: &Inbox, webhooks: &[(String, WebhookId, Vec<Delivery>)], again: usize) {
    for (path, id, deliveries) in webhooks {
        eventually("nothing is parked", async || match stack.state.parked_count(*id, 100).await {
            Ok(0) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        let came = came(inbox, path);
        let mut once = by_call(&came, deliveries);
        once.values_mut().for_each(Vec::dedup);
        assert_eq!(once, by_call(&ids(deliveries), deliveries), "{path}");
        assert!(came.len() <= deliveries.len() + again, "{path}: {came:?}");
        logged(stack, deliveries, DeliveryState::Delivered).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_of_a_lane_that_is_killed_repeats_only_what_the_log_does_not_know() {
    let (stack, inbox) = tokio::join!(Stack::start_with(&FRESH), Inbox::start());
    stack.stop_clock().await;
    let at = [UPDATE, LOG, DELETE].into_iter();
    let moments: Vec<Moment> =
        at.flat_map(|at| [1, 2].map(|nth| [Moment::before(at, nth), Moment::after(at, nth)])).flatten().collect();
    let mut webhooks = Vec::new();
    for n in 0..moments.len() {
        webhooks.push(parked(&stack, &inbox, &format!("/{n}")).await);
    }
    for ((_, id, _), moment) in webhooks.iter().zip(moments) {
        let resumed = Change::Resume { off: false };
        stack.state.change_state(*id, &resumed, stack.clock.now()).await.expect("the table answers");
        killed(&stack, "deliver", &call(*id), moment).await;
        // The message appears again, and the deployed function gets it.
        stack.api.post(&format!("/webhooks/{id}/resume"), json!({})).await.ok();
    }
    // Of each call one was under way at most.
    each_came(&stack, &inbox, &webhooks, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_is_killed_when_a_webhook_begins_to_fail_tells_of_it_once() {
    let (stack, inbox, broken) = tokio::join!(Stack::start_with(&FRESH), Inbox::start(), Inbox::start());
    stack.stop_clock().await;
    broken.behave(Manner::Status(503));
    let kinds = [Kind::WebhookFailing].into();
    stack.register(Settings { kinds, ..Settings::new(inbox.url("/")) }).await;
    // Written down and not told, told and not known to be told.
    for (told, moment) in [Moment::before(SEND, 1), Moment::after(SEND, 1)].into_iter().enumerate() {
        let (_, to, _) = parked(&stack, &broken, "/").await;
        let resumed = Change::Resume { off: false };
        stack.state.change_state(to, &resumed, stack.clock.now()).await.expect("the table answers");
        let now = stack.clock.now().as_millisecond();
        let lookout = Lookout {
            next_look_at: Some(now),
            refused_at: Some(now),
            refusals: 9,
            refused_for: 3_600_000,
            ..Lookout::default()
        };
        stack.state.note_look(to, &Look { lookout, last_success_at: None }).await.expect("the table answers");
        killed(&stack, "deliver", &call(to), moment).await;
        until_webhook(&stack, to, "is failing", |found| found.health.state == WebhookState::Failing).await;
        for _ in 0..2 {
            stack.tick().await;
            stack.until_empty("DELIVERIES_QUEUE_URL").await;
        }
        let notices = inbox.events();
        assert_eq!((notices.len(), &notices[told]["subscriptionId"]), (told + 1, &json!(to)), "{moment:?}");
    }
}

/// Hands copies of a delivery to `deliver` while the receiver accepts everything, and shows that they do nothing.
async fn copy_does_nothing(stack: &Stack, inbox: &Inbox, delivery: &Delivery, state: DeliveryState) {
    let log = log_of(stack, delivery).await;
    assert_eq!(log.state, state, "{log:?}");
    let health = stored(stack, delivery.webhook_id).await.health;
    inbox.behave(Manner::Status(204));
    inbox.forget();
    for _ in 0..2 {
        let answer = stack.invoke("DELIVER_FUNCTION", &copies(deliveries_event([delivery]))).await;
        assert_eq!(answer.to_string(), ALL_DONE);
    }
    assert_eq!(inbox.received().len(), 0, "a copy of {state:?}");
    assert_eq!(log_of(stack, delivery).await.state, log.state);
    assert_eq!(stored(stack, delivery.webhook_id).await.health, health);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_deliveries_past_the_queue_reach_nobody() {
    let (stack, inbox) = tokio::join!(Stack::start(), Inbox::start());
    stack.stop_clock().await;
    let deliver = async |event: Value| {
        assert_eq!(stack.invoke("DELIVER_FUNCTION", &event).await.to_string(), ALL_DONE);
    };
    let end_of_a_call = |to| {
        let call = CallId::from_uuid(Uuid::new_v4());
        Delivery::of_call(CallEvent::example(call, Status::Disconnected, Timestamp::now()), to)
    };
    let to = stack.subscribe(&inbox).await.id;

    let delivered = end_of_a_call(to);
    deliver(deliveries_event([&delivered])).await;
    copy_does_nothing(&stack, &inbox, &delivered, DeliveryState::Delivered).await;

    let an_hour_ago = Timestamp::now() - SignedDuration::from_hours(1);
    let call = CallId::from_uuid(Uuid::new_v4());
    let expired = Delivery::of_call(CallEvent::example(call, Status::Ringing, an_hour_ago), to);
    deliver(deliveries_event([&expired])).await;
    copy_does_nothing(&stack, &inbox, &expired, DeliveryState::Expired).await;

    // The receiver wanted no more, and wants it again now.
    inbox.behave(Manner::Status(410));
    let cancelled = end_of_a_call(to);
    deliver(deliveries_event([&cancelled])).await;
    stack.api.post(&format!("/webhooks/{to}/resume"), json!({})).await.ok();
    until_webhook(&stack, to, "is active", |found| found.health.state == WebhookState::Active).await;
    copy_does_nothing(&stack, &inbox, &cancelled, DeliveryState::Cancelled).await;

    let (_, waits, six) = parked(&stack, &inbox, "/waits").await;
    let parked = six.last().expect("six");
    copy_does_nothing(&stack, &inbox, parked, DeliveryState::Parked).await;
    assert_eq!(stack.state.parked_count(waits, 100).await.expect("counted"), 6);
    stack.api.post(&format!("/webhooks/{waits}/resume"), json!({})).await.ok();
    each_came(&stack, &inbox, &[("/waits".to_owned(), waits, six.clone())], 0).await;
    copy_does_nothing(&stack, &inbox, parked, DeliveryState::Delivered).await;
}
