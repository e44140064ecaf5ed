//! A receiver that polls while two agents report a busy hour, and one of them loses its queue for a while.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::proxy::{Proxy, Stop};
use crate::{Agent, AgentOptions, Api, Inbox, Pbx, Stack, eventually_within, traffic};

#[derive(Clone, Copy, Debug)]
pub struct Story {
    pub calls: usize,
    pub every: Duration,
    /// How long one agent does not reach the queue, beginning after a third of the calls.
    pub cut: Duration,
}

/// Panics unless the poller sees each event once, in order per call, and exactly those that the log shows as delivered or expired.
pub async fn tell(story: Story) {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    let proxy = Proxy::start(stack.var("AWS_ENDPOINT_URL"), &["SendMessageBatch"]).await;
    let behind = AgentOptions { aws_endpoint: Some(proxy.url()), ..AgentOptions::default() };
    let one = Agent::start_with(&stack, &pbx, "one", &behind).await;
    let two = Agent::start(&stack, &pbx, "two").await;
    let webhook = stack.api.post("/webhooks", json!({"url": inbox.url("/hook")})).await.with_status(201);

    let (stop, stopped) = watch::channel(false);
    let polling = tokio::spawn(poll(stack.api.clone(), stopped));
    let cut = async {
        sleep(story.every * (story.calls / 3) as u32).await;
        proxy.stop(Stop::Request, 1);
        sleep(story.cut).await;
        proxy.release();
    };
    tokio::join!(traffic::place(&pbx, story.calls, story.every), cut);
    eventually_within(Duration::from_secs(90), "the webhook was told everything, once", async || {
        traffic::complaint(&traffic::by_call(&inbox.events()), story.calls).map_or(Ok(()), Err)
    })
    .await;
    // The agent that was cut off sends what it has when the queue is back; nobody sees it a second time.
    eventually_within(Duration::from_secs(90), "both agents have sent everything", async || {
        let status = stack.api.get("/status").await.ok().body;
        let waiting = |agent: &Value| agent["waitingEvents"] == 0;
        if status["agents"].as_array().is_some_and(|agents| agents.len() == 2 && agents.iter().all(waiting)) {
            Ok(())
        } else {
            Err(status["agents"].to_string())
        }
    })
    .await;
    assert!(!one.sent_events().is_empty() && !two.sent_events().is_empty());
    stack.until_empty("EVENTS_QUEUE_URL").await;

    stop.send_replace(true);
    let polled = polling.await.expect("the poller ends");
    assert_eq!(traffic::complaint(&traffic::by_call(&polled), story.calls), None);
    assert_eq!(traffic::complaint(&traffic::by_call(&inbox.events()), story.calls), None);
    let seen: BTreeSet<(String, String)> = polled.iter().map(|event| names(event, "status")).collect();
    assert_eq!(seen.len(), polled.len(), "an event came twice");
    let log = stack.api.log_of(webhook.text("id")).await;
    let over = |delivery: &&Value| delivery["state"] == "delivered" || delivery["state"] == "expired";
    assert!(log.iter().all(|delivery| over(&delivery)), "{log:?}");
    assert_eq!(seen, log.iter().map(|delivery| names(delivery, "about")).collect());
}

fn names(event: &Value, status: &str) -> (String, String) {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    (text("CallId"), text(status))
}

/// Reads the feed until told to stop, and then to its end.
async fn poll(api: Api, stop: watch::Receiver<bool>) -> Vec<Value> {
    let (mut events, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let last = *stop.borrow();
        let page = api.get(&format!("/events?after={cursor}&limit=20&wait=2")).await.ok();
        let found = page.body["events"].as_array().cloned().expect("events");
        if last && found.is_empty() {
            return events;
        }
        events.extend(found);
        cursor = page.text("cursor").to_owned();
    }
}
