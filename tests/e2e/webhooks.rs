//! A phone rings, and a webhook tells of it.

use easyconnect_tests::stack::sqs_event;
use easyconnect_tests::{Agent, Inbox, Pbx, Stack, eventually};
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::delivery::Delivery;
use shared::event::{CallEvent, ConferenceEvent, ConferenceEventKind, Status};
use shared::ids::CallId;
use shared::webhook::Method;
use uuid::Uuid;

const CALLER: &str = "+32472591687";

#[tokio::test(flavor = "multi_thread")]
async fn missed_call_is_told_as_ringing_and_disconnected() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    stack.subscribe(&inbox).await;
    let _agent = Agent::start(&stack, &pbx, "one").await;

    pbx.call(CALLER, "42");
    pbx.until_leg("42", "alerting").await;
    pbx.hang_up(CALLER);

    let events = inbox.expect(&["42 ringing", "42 disconnected"]).await;
    assert_eq!(events[0]["CallId"], events[1]["CallId"]);
    for event in &events {
        assert_eq!(event["connected"], false);
        assert_eq!(event["conversationTime"], -1);
        assert_eq!(event["pickupTime"], Value::Null);
        assert_eq!(event["monitoredExtension"], "42");
        assert_eq!(event["monitioredUser"], "Thomas De Wilde");
        assert_eq!(event["from"], "00032472591687");
        assert_eq!(event["to"], "42");
        assert_eq!(event["outgoing"], false);
    }
    assert_eq!(events[0]["endTime"], Value::Null);
    assert!(events[1]["endTime"].as_str().is_some_and(|time| time.ends_with(" (UTC)")), "{}", events[1]);

    let requests = inbox.received();
    assert_eq!(requests[0].method, "POST");
    assert_ne!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    assert!(requests[0].header("webhook-signature").starts_with("v1,"));
}

#[tokio::test(flavor = "multi_thread")]
async fn answered_call_is_told_in_three_and_by_get_as_a_query() {
    let (stack, pbx, post, get) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start(), Inbox::start());
    stack.subscribe(&post).await;
    stack.subscribe_with(&get.url("/hook?token=t%2F1"), Method::Get).await;
    let _agent = Agent::start(&stack, &pbx, "one").await;

    pbx.call(CALLER, "42");
    pbx.until_leg("42", "alerting").await;
    pbx.answer("42");
    pbx.until_leg("42", "connected").await;
    pbx.hang_up("42");

    let events = post.expect(&["42 ringing", "42 connected", "42 disconnected"]).await;
    assert_eq!(events[1]["connected"], true);
    assert_eq!(events[1]["conversationTime"], 0);
    assert_eq!(events[2]["connected"], true);
    assert!(events[2]["conversationTime"].as_i64().is_some_and(|seconds| seconds >= 0));
    assert!(events[2]["totalTime"].as_i64() >= events[2]["conversationTime"].as_i64());

    let requests = eventually("three GET webhooks", async || match get.received() {
        requests if requests.len() >= 3 => Ok(requests),
        requests => Err(format!("{} came", requests.len())),
    })
    .await;
    assert_eq!(requests.iter().map(|r| r.method.as_str()).collect::<Vec<_>>(), ["GET"; 3]);
    assert!(requests[0].query.starts_with("token=t%2F1&CallId="), "{}", requests[0].query);
    let connected: Vec<bool> = requests.iter().map(|r| r.query.contains("&connected=yes&")).collect();
    assert_eq!(connected, [false, true, true]);
    assert!(requests[0].query.contains("&connected=no&"));
    assert!(requests[0].query.contains("&pickupTime=&"), "{}", requests[0].query);
}

#[tokio::test(flavor = "multi_thread")]
async fn call_with_a_long_history_is_told_by_get_in_a_short_request_line() {
    let (stack, inbox) = tokio::join!(Stack::start(), Inbox::start());
    let to = stack.subscribe_with(&inbox.url("/hook?token=1"), Method::Get).await.id;
    let mut event = CallEvent::full_example(CallId::from_uuid(Uuid::new_v4()), Status::Disconnected, Timestamp::now());
    let entries = &mut event.web_hook_event.conference_events;
    let (held, retrieved) = (ConferenceEventKind::Held, ConferenceEventKind::Retrieved);
    let entry = entries[0].clone();
    *entries = [held, retrieved].repeat(16).into_iter().map(|kind| ConferenceEvent { kind, ..entry.clone() }).collect();
    stack.deliver(&Delivery::of_call(event, to)).await;

    let request = inbox.received().remove(0);
    assert!(request.accepted && request.query.starts_with("token=1&CallId="), "{}", request.query);
    let line = format!("GET {}?{} HTTP/1.1\r\n", request.path, request.query);
    assert!(line.len() < 4096, "{}", line.len());
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(request.query.as_bytes()).into_owned().collect();
    let value = |name: &str| pairs.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
    let kept: Vec<Value> = serde_json::from_str(&value("conferenceEvents").expect("entries")).expect("JSON");
    let omitted: usize = value("conferenceEventsOmitted").expect("what went is counted").parse().expect("a number");
    assert_eq!(kept.len() + omitted, 32);
    assert_eq!(kept.last().map(|entry| entry["type"].clone()), Some(json!("retrieved")), "the latest is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_receiver_gets_everything_once_and_in_order() {
    let (stack, pbx, inbox, healthy) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start(), Inbox::start());
    stack.subscribe(&inbox).await;
    stack.subscribe(&healthy).await;
    let _agent = Agent::start(&stack, &pbx, "one").await;

    inbox.answer_next([500, 503]);
    pbx.call(CALLER, "42");
    pbx.until_leg("42", "alerting").await;
    pbx.answer("42");
    pbx.until_leg("42", "connected").await;
    pbx.hang_up("42");

    let all = ["42 ringing", "42 connected", "42 disconnected"];
    healthy.expect(&all).await;
    let statuses = eventually("all events came", async || match inbox.statuses() {
        statuses if statuses.len() >= 5 => Ok(statuses),
        statuses => Err(format!("{statuses:?}")),
    })
    .await;
    // Two failures repeat the first event; nothing overtakes it.
    assert_eq!(statuses, ["42 ringing", "42 ringing", "42 ringing", "42 connected", "42 disconnected"]);
    let ids: Vec<String> = inbox.received().iter().map(|request| request.header("webhook-id").to_owned()).collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_of_an_event_past_the_queue_reaches_nobody() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    stack.subscribe(&inbox).await;
    let _agent = Agent::start(&stack, &pbx, "one").await;
    pbx.call(CALLER, "42");
    pbx.until_leg("42", "alerting").await;
    pbx.hang_up(CALLER);
    let told = inbox.expect(&["42 ringing", "42 disconnected"]).await;

    let copies: Vec<CallEvent> = told.iter().map(copy_of).collect();
    stack.until_recorded(copies[0].call_id(), 3).await;
    // A receiver who has had nothing of it yet shows that `fanout` itself stops the copies. It knows new receivers when its
    // list of them has aged.
    let late = Inbox::start().await;
    stack.subscribe(&late).await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    for copy in &copies {
        let answer = stack.invoke("FANOUT_FUNCTION", &sqs_event(std::slice::from_ref(copy))).await;
        assert_eq!(answer["batchItemFailures"], json!([]), "{answer}");
    }

    // A later call proves that the way is open, and that the copies did not take it.
    pbx.call(CALLER, "50");
    pbx.until_leg("50", "alerting").await;
    pbx.hang_up(CALLER);
    inbox.expect(&["42 ringing", "42 disconnected", "50 ringing", "50 disconnected"]).await;
    late.expect(&["50 ringing", "50 disconnected"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_message_is_set_aside_and_holds_nobody_up() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    stack.subscribe(&inbox).await;
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let poison = shared::queue::Outgoing {
        group: "poison".to_owned(),
        dedup: "poison".to_owned(),
        body: r#"{"v":99,"from":"tomorrow"}"#.to_owned(),
    };
    let accepted = stack.queue("EVENTS_QUEUE_URL").send_fifo(&[poison]).await.expect("the queue answers");
    assert_eq!(accepted, [shared::queue::Taken::Yes]);

    pbx.call(CALLER, "42");
    pbx.until_leg("42", "alerting").await;
    pbx.hang_up(CALLER);
    inbox.expect(&["42 ringing", "42 disconnected"]).await;

    let dlq = stack.queue("EVENTS_DLQ_URL");
    let set_aside = eventually("the poison is in the dead-letter queue", async || {
        let found = dlq.receive(1, std::time::Duration::ZERO).await.map_err(|error| error.to_string())?;
        found.into_iter().next().ok_or_else(|| "it is empty".to_owned())
    })
    .await;
    assert_eq!(set_aside.body, r#"{"v":99,"from":"tomorrow"}"#);
}

/// The event as another agent would send it.
fn copy_of(told: &Value) -> CallEvent {
    let web_hook_event: shared::event::WebHookEvent = serde_json::from_value(told.clone()).expect("an event");
    let (call_id, status) = (web_hook_event.call_id, web_hook_event.status);
    let at = web_hook_event.end_time.unwrap_or(web_hook_event.start_time).0;
    CallEvent { agent_id: "other/1".to_owned(), web_hook_event, ..CallEvent::example(call_id, status, at) }
}
