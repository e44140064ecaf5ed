//! The event source mapping.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use cloud_sim::{Cloud, FaultKind, Faults, HandlerError, Mapping};
use tokio::time::sleep;

use crate::sdk::Clients;
use crate::target::Target;

struct Bed {
    cloud: Cloud,
    clients: Clients,
    url: String,
    name: String,
}

async fn bed(faults: Faults) -> Bed {
    let cloud = Cloud::builder().seed(4).build();
    let target = Target::simulator(&cloud);
    let url = target.fifo(&[("VisibilityTimeout", "30")]).await;
    cloud.set_faults(faults);
    let name = url.rsplit('/').next().expect("a name").to_owned();
    Bed { clients: Clients::patient(&cloud.process("sender"), 10), cloud, url, name }
}

impl Bed {
    async fn send(&self, group: &str, body: &str) {
        let send = self.clients.queues.send_message().queue_url(&self.url).message_body(body).message_group_id(group);
        send.message_deduplication_id(body).send().await.expect("the message is taken");
    }

    fn mapping(&self) -> Mapping {
        Mapping { timeout: Duration::from_secs(10), ..Mapping::new(&self.name, "function") }
    }

    async fn until_empty(&self) {
        while self.cloud.depth(&self.name) != (0, 0, 0) {
            sleep(Duration::from_millis(100)).await;
        }
    }
}

type Seen = Arc<Mutex<Vec<(String, String, u32)>>>;

/// Group, body and receive count of each record.
fn see(seen: &Seen, event: &SqsEvent) {
    let mut seen = seen.lock().expect("no panic");
    for record in &event.records {
        let attribute = |name: &str| record.attributes[name].clone();
        let count = attribute("ApproximateReceiveCount").parse().expect("a number");
        seen.push((attribute("MessageGroupId"), record.body.clone().expect("a body"), count));
    }
}

fn ok() -> Result<SqsBatchResponse, HandlerError> {
    Ok(SqsBatchResponse::default())
}

fn failed(ids: &[&str]) -> Result<SqsBatchResponse, HandlerError> {
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = ids
        .iter()
        .map(|id| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = (*id).to_owned();
            failure
        })
        .collect();
    Ok(response)
}

#[tokio::test(start_paused = true)]
async fn groups_side_by_side_and_each_in_order() {
    let bed = bed(Faults::latency_only()).await;
    let (seen, running, most) = (Seen::default(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mapping = Mapping { batch_size: 2, maximum_concurrency: 3, ..bed.mapping() };
    let handler = {
        let (seen, running, most) = (seen.clone(), running, most.clone());
        move |event: SqsEvent, _deadline| {
            let (seen, running, most) = (seen.clone(), running.clone(), most.clone());
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(Duration::from_millis(200)).await;
                see(&seen, &event);
                running.fetch_sub(1, Ordering::SeqCst);
                ok()
            }
        }
    };
    for n in 0..8 {
        for group in ["a", "b", "c", "d", "e"] {
            bed.send(group, &format!("{group}{n}")).await;
        }
    }
    let running = bed.cloud.map(mapping, handler);
    bed.until_empty().await;
    running.stop().await;
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (group, body, count) in seen.lock().expect("no panic").iter() {
        groups.entry(group.clone()).or_default().push(body.clone());
        assert_eq!(*count, 1);
    }
    for (group, bodies) in groups {
        assert_eq!(bodies, (0..8).map(|n| format!("{group}{n}")).collect::<Vec<_>>());
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
    let counts = bed.cloud.counts();
    let function = counts.functions["function"];
    assert_eq!((function.records, function.errors), (40, 0));
    assert!(function.invocations >= 20);
}

#[tokio::test(start_paused = true)]
async fn what_is_named_comes_again_and_the_rest_is_deleted() {
    let bed = bed(Faults::none()).await;
    bed.send("a", "good").await;
    bed.send("b", "bad").await;
    let seen = Seen::default();
    let noted = seen.clone();
    let running = bed.cloud.map(bed.mapping(), move |event: SqsEvent, _deadline| {
        see(&noted, &event);
        let first_time = |count: &str| count == "1";
        let bad: Vec<String> = event
            .records
            .iter()
            .filter(|record| record.body.as_deref() == Some("bad"))
            .filter(|record| first_time(&record.attributes["ApproximateReceiveCount"]))
            .filter_map(|record| record.message_id.clone())
            .collect();
        async move { failed(&bad.iter().map(String::as_str).collect::<Vec<_>>()) }
    });
    let started = bed.cloud.now();
    bed.until_empty().await;
    running.stop().await;
    let bodies: Vec<(String, u32)> =
        seen.lock().expect("no panic").iter().map(|(_, body, count)| (body.clone(), *count)).collect();
    assert_eq!(bodies, [("good".to_owned(), 1), ("bad".to_owned(), 1), ("bad".to_owned(), 2)]);
    assert!(bed.cloud.now().duration_since(started).as_secs() >= 30, "after its visibility");
}

/// A function that fails in some way the first time: what becomes of its batch of two groups.
async fn fails_once<F>(faults: Faults, fail: impl Fn() -> F + Send + Sync + 'static) -> (Bed, u32)
where
    F: Future<Output = Result<SqsBatchResponse, HandlerError>> + Send + 'static,
{
    let bed = bed(Faults::none()).await;
    bed.send("a", "a").await;
    bed.send("b", "b").await;
    bed.cloud.set_faults(faults);
    let seen = Seen::default();
    let noted = seen.clone();
    let fail = Arc::new(fail);
    let cloud = bed.cloud.clone();
    let running = bed.cloud.map(bed.mapping(), move |event: SqsEvent, _deadline| {
        see(&noted, &event);
        let is_first = event.records.iter().all(|record| record.attributes["ApproximateReceiveCount"] == "1");
        let (fail, cloud) = (fail.clone(), cloud.clone());
        async move {
            if is_first {
                return fail().await;
            }
            cloud.set_faults(Faults::none());
            ok()
        }
    });
    let heals = async {
        sleep(Duration::from_secs(20)).await;
        bed.cloud.set_faults(Faults::none());
    };
    tokio::join!(bed.until_empty(), heals);
    running.stop().await;
    let most = seen.lock().expect("no panic").iter().map(|(.., count)| *count).max().unwrap_or_default();
    (bed, most)
}

#[tokio::test(start_paused = true)]
async fn an_error_returns_the_whole_batch() {
    let (bed, most) = fails_once(Faults::none(), || async { Err("no".into()) }).await;
    assert_eq!((most, bed.cloud.counts().functions["function"].errors), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn so_does_a_panic() {
    let (bed, most) = fails_once(Faults::none(), || async { panic!("no") }).await;
    assert_eq!((most, bed.cloud.counts().functions["function"].errors), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn so_does_an_answer_that_names_a_stranger() {
    let (bed, most) = fails_once(Faults::none(), || async { failed(&["stranger"]) }).await;
    assert_eq!((most, bed.cloud.counts().functions["function"].errors), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn an_invocation_that_takes_too_long_is_killed_where_it_waits() {
    let ends = Arc::new(AtomicUsize::new(0));
    let counted = ends.clone();
    let (bed, most) = fails_once(Faults::none(), move || {
        let counted = counted.clone();
        async move {
            sleep(Duration::from_secs(11)).await;
            counted.fetch_add(1, Ordering::SeqCst);
            ok()
        }
    })
    .await;
    let counts = bed.cloud.counts();
    assert_eq!((most, counts.functions["function"].errors, counts.of(FaultKind::TimeOut)), (2, 1, 1));
    assert_eq!(ends.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_invocation_costs_a_receive() {
    let faults = Faults { throttled_invocations: 1.0, ..Faults::none() };
    let (bed, most) = fails_once(faults, || async { ok() }).await;
    let counts = bed.cloud.counts();
    assert_eq!((most, counts.of(FaultKind::ThrottledInvocation), counts.invocations()), (2, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn so_does_one_beyond_the_functions_concurrency() {
    let bed = bed(Faults::none()).await;
    for group in ["a", "b"] {
        bed.send(group, group).await;
    }
    let mapping = Mapping { batch_size: 1, reserved_concurrency: Some(1), ..bed.mapping() };
    let seen = Seen::default();
    let noted = seen.clone();
    let running = bed.cloud.map(mapping, move |event: SqsEvent, _deadline| {
        see(&noted, &event);
        async {
            sleep(Duration::from_secs(5)).await;
            ok()
        }
    });
    bed.until_empty().await;
    running.stop().await;
    let mut counts: Vec<u32> = seen.lock().expect("no panic").iter().map(|(.., count)| *count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_and_a_lost_delete_repeat_the_batch() {
    let (bed, most) = fails_once(Faults { lost_deletes: 1.0, ..Faults::none() }, || async { ok() }).await;
    assert_eq!((most, bed.cloud.counts().of(FaultKind::LostDelete)), (2, 1));
    let crash = Faults { crashed_invocations: 1.0, ..Faults::none() };
    let (bed, most) = fails_once(crash, || async { std::future::pending().await }).await;
    let counts = bed.cloud.counts();
    assert_eq!((most, counts.of(FaultKind::CrashedInvocation), counts.of(FaultKind::TimeOut)), (2, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn batches_become_more_while_all_are_busy() {
    let bed = bed(Faults::none()).await;
    for group in 0..40 {
        bed.send(&group.to_string(), &group.to_string()).await;
    }
    let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let mapping = Mapping { batch_size: 1, maximum_concurrency: 12, ..bed.mapping() };
    let running = bed.cloud.map(mapping, {
        let (busy, most) = (busy.clone(), most.clone());
        move |_, _| {
            let (busy, most) = (busy.clone(), most.clone());
            async move {
                most.lock().expect("no panic").push(busy.fetch_add(1, Ordering::SeqCst) + 1);
                sleep(Duration::from_secs(4)).await;
                busy.fetch_sub(1, Ordering::SeqCst);
                ok()
            }
        }
    });
    bed.until_empty().await;
    running.stop().await;
    let at_a_time = most.lock().expect("no panic");
    assert_eq!(at_a_time[..5], [1, 2, 3, 4, 5]);
    assert_eq!(at_a_time.iter().max(), Some(&12), "{at_a_time:?}");
    let counts = bed.cloud.counts().functions["function"];
    assert_eq!((counts.invocations, counts.gigabyte_seconds), (40, 40.0 * 4.0 / 8.0));
}
