//! What must not be told: whole numbers to a webhook that gets masked ones, and numbers and names to any log.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::Method;
use cloud_sim::story::{Ledger, Violation, tell};
use cloud_sim::{Cloud, Faults};
use jiff::SignedDuration;
use serde_json::{Value as Json, json};
use shared::telemetry;
use tokio::time::sleep;
use tracing_subscriber::fmt::MakeWriter;

use crate::commands::pbx;
use crate::receivers::Manners;
use crate::seeds::OFTEN;
use crate::stack::Stack;
use crate::traffic::Traffic;

const CUSTOMER: &str = "+32472591687";
/// Of the examples, of the PBX and of what the API is asked to dial.
const SECRETS: [&str; 5] = ["472591687", "472000123", "Thomas", "thomas.de.wilde", "Workshop"];

/// What becomes of events is judged elsewhere; here nobody has announced those of the PBX, and a repeat is asked for.
fn judged(told: Result<cloud_sim::Counts, Box<cloud_sim::story::Failure>>) {
    let violations = told.map_or_else(|failure| failure.violations, |_| Vec::new());
    let wrong: Vec<_> = violations.iter().filter(|found| matches!(found, Violation::Wrong { .. })).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

fn holds_none(what: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what} has {secret}: {text}");
    }
}

async fn masked(cloud: Cloud, ledger: Ledger) {
    let mut stack = Stack::start(cloud, ledger, 1).await;
    stack.webhook("whole.example", Manners::good()).await;
    stack.webhook("masked.example", Manners::dead()).await;
    stack.agent("rack");
    let mut calls = stack.traffic(Traffic::burst(3)).await;
    sleep(Duration::from_secs(90)).await;
    assert_ne!(stack.webhook_of("masked.example").await["parked"], 0, "something waits for it");

    // What waits already is masked, too.
    let path = format!("/webhooks/{}", stack.receivers.webhook("masked.example"));
    let wanted = json!({"url": "https://masked.example/hook", "maskNumbers": true, "format": "extended"});
    let (status, changed) = stack.api.insist(Method::PUT, &path, Some(&wanted)).await;
    assert_eq!((status, &changed["maskNumbers"]), (200, &json!(true)));
    stack.receivers.behave("masked.example", Manners::good());
    stack.owner("masked.example", "resume").await;
    calls.extend(stack.traffic(Traffic::burst(3)).await);
    stack.settle_events().await;

    // And so is what is sent again, and what the log shows.
    let log = stack.api.get(&format!("{path}/deliveries?state=delivered")).await;
    let id = log["deliveries"][0]["id"].as_str().expect("a delivery").to_owned();
    let before = stack.receivers.told("masked.example").len();
    let (status, answer) = stack.api.insist(Method::POST, &format!("/deliveries/{id}/replay"), None).await;
    assert_eq!(status, 202, "{answer}");
    sleep(Duration::from_secs(120)).await;
    let told = stack.receivers.told("masked.example");
    assert_eq!(told.len(), before + 1, "it came again");
    for event in &told {
        assert_eq!((&event["from"], &event["monitoredExtension"]), (&json!("***687"), &json!("42")), "{event}");
        holds_none("a delivery", &event.to_string());
    }
    let shown = stack.api.get(&format!("/deliveries/{id}")).await;
    assert!(shown["requestBody"].to_string().contains("***687"), "{shown}");
    holds_none("the log", &shown.to_string());
    let whole: Vec<Json> = stack.receivers.told("whole.example");
    assert!(whole.iter().all(|event| event["from"] == "00472591687"), "others get whole numbers");
}

#[test]
fn masked_webhook_never_gets_a_whole_number() {
    judged(tell(1, Faults::latency_only(), masked));
}

/// Whatever agents and functions write at the default level.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

async fn busy_day(cloud: Cloud, ledger: Ledger) {
    let mut stack = Stack::start(cloud.clone(), ledger, 1).await;
    for (host, manners) in
        [("good.example", Manners::good()), ("bad.example", Manners::bad(0.3)), ("dead.example", Manners::dead())]
    {
        stack.webhook_with_updates(host, manners).await;
    }
    let pbx = pbx(&cloud, 1);
    stack.whole_agent("rack", &pbx, SignedDuration::ZERO);
    stack.whole_agent("attic", &pbx, SignedDuration::from_mins(-90));
    sleep(Duration::from_secs(30)).await;
    let press = async |path: &str, body: Json| {
        // Not all of them can be pressed whatever has happened.
        let _ = pbx.control(path, body);
        sleep(Duration::from_secs(2)).await;
    };
    for n in 0..6 {
        press("/call", json!({"from": CUSTOMER, "to": "42"})).await;
        press("/answer", json!({"extension": "42"})).await;
        press("/hold", json!({"extension": "42"})).await;
        for (path, body) in [
            ("/rcc/makecall", json!({"from": "44", "to": "+32472000123"})),
            ("/rcc/makecall", json!({"from": "44", "to": "+32472000123 and 1"})),
            ("/rcc/makecall", json!({"from": "no such +32472000123", "to": "42"})),
        ] {
            let _ = stack.api.ask(Method::POST, path, Some(&body)).await;
        }
        press("/hangup", json!({"extension": CUSTOMER})).await;
        if n == 2 {
            let _ = pbx.control("/fault", json!({"kind": "garbage"}));
            let _ = pbx.control("/fault", json!({"kind": "drop"}));
        }
        let faults = cloud.faults();
        cloud.set_faults(Faults::none());
        // What nobody can read may name numbers in any place.
        for (m, body) in [
            r#"{"v":1,"event":"+32472591687"}"#.to_owned(),
            r#"{"v":1,"kind":"+32472591687","event":{"webHookEvent":{"status":"+32472591687"}}}"#.to_owned(),
            r#"{"v":9,"from":"+32472591687","name":"Thomas"}"#.to_owned(),
            "+32472591687".to_owned(),
        ]
        .iter()
        .enumerate()
        {
            for queue in ["EventsQueue", "DeliveriesQueue"] {
                let url = stack.template.queue_url(queue);
                cloud.send_fifo(&url, &format!("g{n}{m}"), &format!("d{n}{m}"), body);
            }
        }
        cloud.set_faults(faults);
    }
    sleep(Duration::from_secs(1200)).await;
}

#[test]
fn logs_of_a_busy_day_hold_no_number_and_no_name() {
    let log = Log::default();
    let listening = tracing::subscriber::set_default(telemetry::lines(log.clone()));
    judged(tell(1, Faults::all(OFTEN), busy_day));
    drop(listening);
    let text = String::from_utf8(log.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).expect("text");
    // All have spoken, also of what went wrong.
    for target in ["easyconnect_agent::", "\"fanout::", "\"deliver::", "set aside", "Command ended"] {
        assert!(text.contains(target), "nothing of {target} in {text}");
    }
    for line in text.lines() {
        holds_none("a line", line);
    }
}
