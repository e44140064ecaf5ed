//! What a queue gets that holds answers back, takes parts and is gone for a while.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use shared::event::{CallEvent, Status};
use shared::time::from_millis;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::*;
use crate::calls::Changes;
use crate::events::outbox::{Opened, OutboxStatus};
use Status::{Connected, Disconnected, Ringing};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Take,
    /// Nothing answers.
    Down,
    /// Every second message of a batch is refused for now.
    TakeHalf,
    NeverTake,
}

#[derive(Debug)]
struct State {
    manner: Manner,
    /// Call and event of every message that came, and whether it was taken.
    came: Vec<(String, String, bool)>,
    /// Bytes of the longest batch.
    longest: usize,
}

#[derive(Clone, Debug)]
struct FakeQueue {
    state: Arc<Mutex<State>>,
    /// Each batch needs one to be answered.
    answers: Arc<Semaphore>,
}

impl FakeQueue {
    fn new(manner: Manner, answers: usize) -> Self {
        let state = State { manner, came: Vec::new(), longest: 0 };
        Self { state: Arc::new(Mutex::new(state)), answers: Arc::new(Semaphore::new(answers)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    fn taken(&self) -> Vec<String> {
        self.state().came.iter().filter(|(_, _, taken)| *taken).map(|(_, event, _)| event.clone()).collect()
    }
}

impl EventQueue for FakeQueue {
    type Error = &'static str;

    async fn send(&self, messages: Vec<Outgoing>) -> Result<Vec<Taken>, &'static str> {
        let manner = self.state().manner;
        let bytes = messages.iter().map(|message| message.body.len()).sum();
        let longest = self.state().longest.max(bytes);
        self.state().longest = longest;
        let answers: Vec<Taken> = (0..messages.len())
            .map(|n| match manner {
                Manner::Take => Taken::Yes,
                Manner::TakeHalf if n % 2 == 0 => Taken::Yes,
                Manner::NeverTake => Taken::No { code: "TooLong".to_owned(), hopeless: true },
                Manner::Down | Manner::TakeHalf => Taken::unanswered(),
            })
            .collect();
        let came = messages.into_iter().zip(&answers);
        self.state().came.extend(came.map(|(message, answer)| (message.group, message.dedup, answer.is_yes())));
        self.answers.acquire().await.expect("it is open").forget();
        if manner == Manner::Down { Err("nobody is there") } else { Ok(answers) }
    }
}

struct Scene {
    queue: FakeQueue,
    outbox: Outbox,
    stop: CancellationToken,
    uplink: JoinHandle<anyhow::Result<()>>,
    folder: PathBuf,
}

impl Scene {
    fn begin(queue: FakeQueue) -> Self {
        let folder = std::env::temp_dir().join(format!("easyconnect-test-{}", shared::ids::CommandId::random()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let Opened { outbox, events, .. } = Outbox::open(&folder, 1 << 30).expect("it opens");
        let stop = CancellationToken::new();
        let uplink = tokio::spawn(
            Uplink::new(queue.clone(), outbox.clone(), events, Statistics::default(), Random::default())
                .run(stop.clone()),
        );
        Self { queue, outbox, stop, uplink, folder }
    }

    fn put(&self, events: &[(u64, Status)]) {
        let example = |(n, status): &(u64, Status)| CallEvent::example(call(*n), *status, from_millis(1_000));
        self.put_events(&events.iter().map(example).collect::<Vec<_>>());
    }

    fn put_events(&self, events: &[CallEvent]) {
        self.outbox.put(events, Changes::new(), from_millis(1_000));
    }

    async fn until(&self, holds: impl FnMut(&OutboxStatus) -> bool) {
        self.outbox.status().wait_for(holds).await.expect("the outbox is there");
    }

    /// Waits until so many messages have come, taken or not.
    async fn until_came(&self, count: usize) {
        while self.queue.state().came.len() < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.uplink.await.expect("the uplink ends").expect("no batch is lost");
        std::fs::remove_dir_all(&self.folder).expect("the folder is removed");
    }
}

fn call(n: u64) -> CallId {
    CallId::of_handle(uuid::Uuid::nil(), n, n, n)
}

fn ids(events: &[(u64, Status)]) -> Vec<String> {
    events.iter().map(|(n, status)| shared::ids::EventId::new(call(*n), *status).to_string()).collect()
}

#[tokio::test]
async fn a_batch_is_no_longer_than_the_queue_takes() {
    let scene = Scene::begin(FakeQueue::new(Manner::Take, 100));
    let long = |n: u64| {
        let mut event = CallEvent::example(call(n), Ringing, from_millis(1_000));
        event.web_hook_event.from_name = "x".repeat(120_000);
        event
    };
    scene.put_events(&(0..10).map(long).collect::<Vec<_>>());
    scene.outbox.emptied().await;
    assert_eq!(scene.queue.taken().len(), 10);
    let longest = scene.queue.state().longest;
    assert!((120_000..=256 * 1024).contains(&longest), "{longest}");
    scene.end().await;
}

#[tokio::test]
async fn next_event_of_a_call_waits_for_the_answer_to_the_one_before() {
    let scene = Scene::begin(FakeQueue::new(Manner::Take, 0));
    scene.put(&[(1, Ringing), (1, Connected)]);
    scene.until_came(1).await;
    // Another call does not wait, which shows that the uplink has looked at everything.
    scene.put(&[(2, Ringing)]);
    scene.until_came(2).await;
    assert_eq!(scene.queue.taken(), ids(&[(1, Ringing), (2, Ringing)]));
    scene.queue.answers.add_permits(10);
    scene.outbox.emptied().await;
    assert_eq!(scene.queue.taken(), ids(&[(1, Ringing), (2, Ringing), (1, Connected)]));
    scene.end().await;
}

#[tokio::test]
async fn batch_that_is_taken_in_part_keeps_the_order_of_each_call() {
    let scene = Scene::begin(FakeQueue::new(Manner::TakeHalf, 10_000));
    let life = [Ringing, Connected, Disconnected];
    let events: Vec<(u64, Status)> = life.iter().flat_map(|status| (0..30).map(|n| (n, *status))).collect();
    scene.put(&events);
    scene.until_came(60).await;
    scene.queue.state().manner = Manner::Take;
    scene.outbox.emptied().await;
    let mut by_call: HashMap<String, Vec<String>> = HashMap::new();
    for (call, event, _) in scene.queue.state().came.iter().filter(|(_, _, taken)| *taken) {
        by_call.entry(call.clone()).or_default().push(event.clone());
    }
    assert_eq!(by_call.len(), 30);
    for n in 0..30 {
        assert_eq!(by_call[&call(n).to_string()], ids(&life.map(|status| (n, status))));
    }
    scene.end().await;
}

#[tokio::test]
async fn queue_that_was_gone_gets_everything_once() {
    let scene = Scene::begin(FakeQueue::new(Manner::Down, 10_000));
    let events: Vec<(u64, Status)> = (0..1_000).map(|n| (n, Ringing)).collect();
    scene.put(&events);
    scene.until_came(40).await;
    assert_eq!(scene.queue.taken().len(), 0);
    scene.queue.state().manner = Manner::Take;
    scene.outbox.emptied().await;
    let (mut taken, mut expected) = (scene.queue.taken(), ids(&events));
    taken.sort_unstable();
    expected.sort_unstable();
    assert_eq!(taken, expected);
    scene.end().await;
}

#[tokio::test]
async fn what_will_never_be_taken_does_not_hold_up_its_call() {
    let scene = Scene::begin(FakeQueue::new(Manner::NeverTake, 10_000));
    scene.put(&[(1, Ringing)]);
    scene.until(|status| status.refused == 1).await;
    scene.queue.state().manner = Manner::Take;
    scene.put(&[(1, Connected)]);
    scene.outbox.emptied().await;
    assert_eq!(scene.queue.taken(), ids(&[(1, Connected)]));
    scene.end().await;
}

#[tokio::test]
async fn stop_does_not_wait_for_a_queue_that_does_not_answer() {
    let scene = Scene::begin(FakeQueue::new(Manner::Take, 0));
    scene.put(&[(1, Ringing)]);
    scene.until_came(1).await;
    let outbox = scene.outbox.clone();
    scene.end().await;
    outbox.flushed().await;
    let status = outbox.status().borrow().clone();
    assert_eq!((status.depth, status.unwritten), (1, 0), "it is on disk for the next start");
}
