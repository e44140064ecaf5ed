//! Asking for events: what waits is bounded at once, so that one key cannot take the service away from others, and a time is found.

use aws_sdk_dynamodb::types::AttributeValue;
use easyconnect_tests::{Agent, Api, Pbx, Stack, eventually};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::aws;

const CALLER: &str = "+32472591687";

async fn key(stack: &Stack, name: &str) -> Api {
    let made = stack.api.post("/apikeys", json!({"name": name, "scopes": ["calls:read"]})).await.with_status(201);
    stack.api.with_key(made.text("key"))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_are_bounded_by_key_and_by_stack() {
    let (stack, pbx) = tokio::join!(Stack::start_with(&["MaxPolls=7"]), Pbx::start());
    let (greedy, other) = tokio::join!(key(&stack, "greedy"), key(&stack, "other"));
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let poll = async |api: &Api| api.get("/events?after=latest&wait=20").await;
    // Who is refused, because one of the requests below has the slot for a moment, asks again.
    let waits = async |api: &Api| {
        eventually("there is a free slot", async || match poll(api).await {
            answer if answer.status == 429 => Err(answer.body.to_string()),
            answer => Ok(answer),
        })
        .await
    };
    let bounded = async {
        let refused = eventually("a sixth request of the key is refused", async || {
            match greedy.get("/events?after=latest&wait=1").await {
                answer if answer.status == 429 => Ok(answer.refused(429, "too_many_polls")),
                answer => Err(answer.body.to_string()),
            }
        })
        .await;
        assert!(refused.text("message").starts_with("The API key may have 5"), "{}", refused.body);
        let again = refused.body["retryAfter"].as_i64();
        assert!(again.is_some_and(|seconds| (1..=60).contains(&seconds)), "{}", refused.body);
        // Others go on, and so does the key itself where it does not wait.
        greedy.get("/events?after=latest").await.ok();
        other.get("/status").await.ok();
        eventually("the stack has as many as it may have", async || {
            match other.get("/events?after=latest&wait=1").await {
                answer if answer.status == 429 && answer.text("message").starts_with("This EasyConnect") => Ok(()),
                answer => Err(answer.body.to_string()),
            }
        })
        .await;
        // An event ends the waiting of all, and then there is room again.
        pbx.call(CALLER, "42");
    };
    let all = [&greedy, &greedy, &greedy, &greedy, &greedy, &other, &other].map(waits);
    let (answers, ()) = tokio::join!(join_all(all), bounded);
    for answer in answers {
        let answer = answer.ok();
        assert_eq!(answer.body["events"][0]["status"], "ringing", "{}", answer.body);
    }
    pbx.hang_up(CALLER);
    for key in [&greedy, &other] {
        key.get("/events?after=latest&wait=1").await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_that_remember_ids_ask_for_the_newest() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let call = async |n: usize| {
        pbx.call(CALLER, "42");
        pbx.until_leg("42", "alerting").await;
        pbx.hang_up(CALLER);
        eventually("its events are recorded", async || {
            let events = stack.api.get("/events").await.ok().body["events"].as_array().map_or(0, Vec::len);
            if events == 2 * n { Ok(()) } else { Err(format!("{events} events")) }
        })
        .await;
    };
    let ids = |body: &Value| -> Vec<Value> {
        body["events"].as_array().expect("events").iter().map(|event| event["eventId"].clone()).collect()
    };
    for n in 1..=3 {
        call(n).await;
    }
    let all = stack.api.get("/events").await.ok();
    let mut expected = ids(&all.body);
    expected.reverse();
    let newest = stack.api.get("/events?order=newest&limit=3").await.ok();
    assert_eq!(ids(&newest.body), expected[..3]);
    assert_eq!(newest.body["cursor"], all.body["cursor"], "where later events begin");
    let ends = stack.api.get("/events?order=newest&statuses=disconnected").await.ok();
    assert_eq!(ids(&ends.body), [expected[0].clone(), expected[2].clone(), expected[4].clone()]);
    let behind = stack.api.get("/events?order=newest&after=4").await.ok();
    assert_eq!(ids(&behind.body), expected[..2]);
    stack.api.get("/events?order=newest&wait=5").await.refused(400, "invalid_request");

    // Since a time, also with a plus that was not escaped.
    let hour = SignedDuration::from_hours(1);
    let (before, after) = (Timestamp::now() - hour, Timestamp::now() + hour);
    let since = async |at: Timestamp| {
        let local = format!("{}+01:00", (at + hour).to_string().trim_end_matches('Z'));
        let answers = [format!("since={local}"), format!("since={local}&order=newest")];
        join_all(answers.iter().map(|query| count(&stack.api, query))).await
    };
    assert_eq!(since(before).await, [6, 6]);
    assert_eq!(since(after).await, [0, 0]);
}

/// Of a feed that has been kept for long, whole partitions have expired. They are no reason to begin before the time.
#[tokio::test(flavor = "multi_thread")]
async fn time_is_found_behind_partitions_that_are_gone() {
    let stack = Stack::start().await;
    let table = aws::dynamodb(&stack.sdk, &stack.clock);
    let now = stack.clock.now();
    let hour = SignedDuration::from_hours(1);
    for (n, recorded_at) in [(20_001, now - hour), (20_002, now)] {
        let put = table.put_item().table_name(stack.var("STATE_TABLE"));
        let put = put.item("pk", AttributeValue::S("FEED#2".to_owned()));
        let put = put.item("sk", AttributeValue::S(format!("{n:020}")));
        let put = put.item("recordedAt", AttributeValue::N(recorded_at.as_millisecond().to_string()));
        put.send().await.expect("an entry");
    }
    let put = table.put_item().table_name(stack.var("STATE_TABLE")).item("n", AttributeValue::N("20002".to_owned()));
    let put = put.item("pk", AttributeValue::S("FEED".to_owned())).item("sk", AttributeValue::S("head".to_owned()));
    put.send().await.expect("a head");
    let head = stack.state.feed_head().await.expect("a head");
    let behind = async |since: Timestamp| stack.state.feed_since(since, 0, head).await.expect("a number");
    assert_eq!(behind(now - hour / 2).await, 20_001);
    assert_eq!(behind(now + hour).await, 20_002);
    assert_eq!(behind(now - hour * 2).await, 0);
}

async fn count(api: &Api, query: &str) -> usize {
    api.get(&format!("/events?{query}")).await.ok().body["events"].as_array().map_or(0, Vec::len)
}
