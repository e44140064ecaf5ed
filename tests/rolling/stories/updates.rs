//! An update while calls run, with both versions side by side, the way back, and the update again.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use cloud_sim::story::Ledger;
use cloud_sim::{Cloud, Faults};
use serde_json::{Value as Json, json};
use tokio::time::sleep;

use crate::before::Before;
use crate::judge::Summary;
use crate::mixed::Mixed;
use crate::receivers::Manners;
use crate::release::{Present, Release};
use crate::seeds::{HALF_THE_SEEDS, OFTEN, SEEDS, tell_all};
use crate::stack::Stack;
use crate::traffic::Traffic;

/// How long each state of the deployment lasts.
const PHASE: Duration = Duration::from_secs(25);

/// The earlier version, both, the present one, both, the earlier one; and at last the present one for good.
async fn deployments(stack: &Stack, later: Option<&str>) {
    let before: Arc<dyn Release> = Arc::new(Before::new());
    let present: Arc<dyn Release> = Arc::new(Present(stack.template.clone()));
    let both: Arc<dyn Release> = Arc::new(Mixed { one: before.clone(), other: present.clone() });
    for release in [&before, &both, &present, &both, &before, &both] {
        stack.deploy(release);
        if let (true, Some(host)) = (Arc::ptr_eq(release, &present), later) {
            stack.webhook_with_updates(host, Manners::good()).await;
            stack.account_for(host, "it was not there yet", |_| true);
        }
        sleep(PHASE).await;
    }
    stack.deploy(&present);
}

/// Apps that read, and change a webhook and a key, all the time. Nothing of it may fail, whichever version answers.
async fn apps(stack: &Stack, ledger: &Ledger, hosts: &[&str]) {
    for round in 0.. {
        sleep(Duration::from_secs(2)).await;
        for path in ["/webhooks", "/apikeys", "/events?limit=5", "/audit"] {
            let (status, answer) = stack.api.insist(Method::GET, path, None).await;
            if status != 200 {
                ledger.wrong(format!("GET {path}: {status} {answer}"));
            } else if path == "/webhooks" {
                all_are_there(ledger, &answer, hosts);
            }
        }
        let path = format!("/webhooks/{}", stack.receivers.webhook(hosts[0]));
        let wanted = json!({"url": format!("https://{}/hook", hosts[0]), "description": format!("round {round}")});
        let (status, answer) = stack.api.insist(Method::PUT, &path, Some(&wanted)).await;
        if status != 200 {
            ledger.wrong(format!("PUT {path}: {status} {answer}"));
        }
    }
}

fn all_are_there(ledger: &Ledger, listed: &Json, hosts: &[&str]) {
    let urls: Vec<&str> =
        listed["webhooks"].as_array().into_iter().flatten().filter_map(|w| w["url"].as_str()).collect();
    for host in hosts {
        if !urls.iter().any(|url| url.contains(host)) {
            ledger.wrong(format!("a list of webhooks has no {host}: {urls:?}"));
        }
    }
}

async fn story(cloud: Cloud, ledger: Ledger, seed: u64, hosts: &[(&str, Manners)], later: Option<&str>) -> Summary {
    let mut stack = Stack::start(cloud, ledger.clone(), seed).await;
    stack.deploy(&(Arc::new(Before::new()) as Arc<dyn Release>));
    for (host, manners) in hosts {
        stack.webhook(host, manners.clone()).await;
    }
    stack.agent("rack");
    stack.agent("attic");
    stack.poller("poller");
    let names: Vec<&str> = hosts.iter().map(|(host, _)| *host).collect();
    let over = PHASE * 6;
    let calls = {
        let traffic = stack.traffic(Traffic { calls: 20, over, gap: Duration::from_secs(8) });
        let (apps, deployments) = (apps(&stack, &ledger, &names), deployments(&stack, later));
        tokio::select! {
            (calls, ()) = async { tokio::join!(traffic, deployments) } => calls,
            () = apps => unreachable!("they never end"),
        }
    };
    if let Some(host) = later {
        stack.account_for(host, "the earlier version cannot read this webhook", |_| true);
    }
    stack.judge(&calls).await
}

#[test]
fn update_and_rollback_of_healthy_webhooks() {
    let story = |cloud, ledger, seed| async move {
        story(cloud, ledger, seed, &[("good.example", Manners::good()), ("other.example", Manners::good())], None).await
    };
    tell_all(SEEDS, Faults::latency_only, story).verdict("update and rollback");
}

/// A webhook that asks for what only the present version knows. The earlier one tells it nothing, which an operator is told; but it hurts
/// nobody else, and is whole again afterwards.
#[test]
fn rollback_with_a_webhook_of_the_later_version() {
    let story = |cloud, ledger, seed| async move {
        story(cloud, ledger, seed, &[("good.example", Manners::good())], Some("later.example")).await
    };
    tell_all(HALF_THE_SEEDS, Faults::latency_only, story).verdict("rollback with a webhook of the later version");
}

#[test]
fn update_and_rollback_with_slow_and_broken_receivers_in_an_unkind_cloud() {
    let story = |cloud, ledger, seed| async move {
        let slow = Manners::slow(Duration::from_secs(5));
        let hosts = [("good.example", Manners::good()), ("slow.example", slow), ("bad.example", Manners::bad(0.05))];
        story(cloud, ledger, seed, &hosts, None).await
    };
    tell_all(SEEDS, || Faults::all(OFTEN), story).verdict("update and rollback, everything at once");
}
