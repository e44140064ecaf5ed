//! The outbox on disks of every kind, against a model of what was promised.

mod disk;
mod full;
mod model;

use std::collections::HashSet;

use shared::event::Status;
use shared::ids::CallId;
use shared::time::from_millis;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::calls::RecordKey;
use disk::Disk;

const NO_CAP: u64 = 1 << 40;
const LIMITS: StoreLimits = StoreLimits { cap: NO_CAP, large: u64::MAX };

fn call(n: u64) -> CallId {
    CallId::of_handle(uuid::Uuid::nil(), n, n, n)
}

fn event(n: u64, status: Status) -> CallEvent {
    CallEvent::example(call(n), status, from_millis(1_000_000 + i64::try_from(n).expect("small")))
}

/// A run of the outbox without its thread, so that nothing happens by itself.
struct Run {
    writer: OutboxWriter<Disk>,
    events: UnboundedReceiver<OutboxEvent>,
    /// What a call core would be told after the start.
    late: UnboundedReceiver<Records>,
    status: watch::Receiver<OutboxStatus>,
}

impl Run {
    fn begin(disk: &Disk, limits: StoreLimits) -> anyhow::Result<Self> {
        let (to_uplink, events) = mpsc::unbounded_channel();
        let (_, tasks) = mpsc::unbounded_channel();
        let OpenedWriter { mut writer, late, status, .. } = OutboxWriter::open(disk.clone(), limits, tasks, to_uplink)?;
        writer.turn();
        Ok(Self { writer, events, late, status })
    }

    /// Takes events with a record for each of their calls, and writes them if the disk lets it.
    fn put(&mut self, events: &[CallEvent]) {
        let ends = |event: &CallEvent| event.status() == Disconnected;
        let changes = events.iter().map(|event| {
            let text = (!ends(event)).then(|| event.status().as_str().to_owned());
            (RecordKey::Call(event.call_id()), text)
        });
        let (events, changes) = (events.iter().map(OutboxEvent::new).collect(), changes.collect());
        self.writer.take(OutboxTask::Put(Put { events, changes, now: from_millis(1_000_000), bytes: 0 }));
        self.writer.turn();
    }

    fn settle(&mut self, number: u64, how: Settled) {
        self.writer.take(OutboxTask::Settle(vec![(number, how)]));
    }

    fn flush(&mut self) {
        self.writer.take(OutboxTask::Flush(oneshot::channel().0));
        self.writer.turn();
    }

    fn status(&self) -> OutboxStatus {
        self.status.borrow().clone()
    }

    fn handed(&mut self) -> Vec<OutboxEvent> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }

    /// Everything that is in the outbox, as a queue that accepts everything gets it.
    fn drain(&mut self) -> Vec<OutboxEvent> {
        let mut all = Vec::new();
        loop {
            let handed = self.handed();
            if handed.is_empty() {
                return all;
            }
            handed.iter().for_each(|event| self.settle(event.number, Settled::Accepted));
            all.extend(handed);
            self.flush();
        }
    }
}

fn status_of(event: &OutboxEvent) -> (CallId, Status) {
    (event.tag.group, Status::of_sequence(event.tag.rank).expect("a status"))
}

fn shown(events: &[OutboxEvent]) -> Vec<(CallId, Status)> {
    events.iter().map(status_of).collect()
}

use Status::{Connected, Disconnected, Ringing};

#[test]
fn what_is_put_comes_out_in_order_and_once() {
    let disk = Disk::new(false);
    let mut run = Run::begin(&disk, LIMITS).expect("it opens");
    run.put(&[event(1, Ringing), event(2, Ringing)]);
    run.put(&[event(1, Connected)]);
    let handed = run.handed();
    assert_eq!(shown(&handed), [(call(1), Ringing), (call(2), Ringing), (call(1), Connected)]);
    assert_eq!((run.status().depth, run.status().oldest), (3, Some(from_millis(1_000_001))));
    run.settle(handed[0].number, Settled::Accepted);
    run.flush();
    assert_eq!(run.status().depth, 2);

    let mut run = Run::begin(&disk.after_power_cut(0), LIMITS).expect("it opens");
    assert_eq!(shown(&run.drain()), [(call(2), Ringing), (call(1), Connected)]);
    let status = run.status();
    assert_eq!((status.depth, status.bytes, status.oldest), (0, 0, None));
}

#[test]
fn uplink_gets_no_more_than_it_has_room_for() {
    let disk = Disk::new(false);
    let mut run = Run::begin(&disk, LIMITS).expect("it opens");
    let all: Vec<CallEvent> = (0..3 * WINDOW as u64).map(|n| event(n, Ringing)).collect();
    run.put(&all);
    let first = run.handed();
    assert_eq!(first.len(), WINDOW);
    run.put(&[event(9_999, Ringing)]);
    assert!(run.handed().is_empty(), "what is new stands behind what is old");
    first.iter().for_each(|event| run.settle(event.number, Settled::Accepted));
    run.flush();
    let rest = run.drain();
    assert_eq!(first.len() + rest.len(), all.len() + 1);
    assert_eq!(rest.last().map(|event| event.tag.group), Some(call(9_999)));
}

#[test]
fn cap_takes_the_oldest_of_the_least_worthy_and_counts_it() {
    let disk = Disk::new(false);
    let size = OutboxEvent::new(&event(1, Ringing)).body.len() as u64 + 200;
    let mut run = Run::begin(&disk, StoreLimits { cap: 5 * size, ..LIMITS }).expect("it opens");
    run.put(&[event(1, Disconnected), event(2, Ringing), event(3, Connected), event(4, Ringing), event(5, Ringing)]);
    assert_eq!(run.status().dropped, 0);
    let handed = run.handed();
    run.put(&[event(6, Disconnected), event(7, Connected)]);
    assert_eq!((run.status().dropped, run.status().depth), (2, 5), "2 and 4");
    run.put(&[event(8, Disconnected), event(9, Disconnected)]);
    assert_eq!(run.status().dropped, 4, "5 and 3");
    // The uplink had one of them in its hands, and the queue took it.
    assert_eq!(status_of(&handed[1]), (call(2), Ringing));
    run.settle(handed[1].number, Settled::Accepted);
    run.flush();
    assert_eq!(run.status().dropped, 3);

    let mut run = Run::begin(&disk.after_power_cut(0), LIMITS).expect("it opens");
    assert_eq!(run.status().dropped, 3, "the count survives");
    let left = [(call(1), Disconnected), (call(6), Disconnected), (call(7), Connected)];
    assert_eq!(shown(&run.drain()), [left.as_slice(), &[(call(8), Disconnected), (call(9), Disconnected)]].concat());
}

#[test]
fn space_of_a_backlog_that_is_gone_is_returned() {
    let disk = Disk::new(false);
    let limits = StoreLimits { large: 64 << 10, ..LIMITS };
    let mut run = Run::begin(&disk, limits).expect("it opens");
    let all: Vec<CallEvent> = (0..2_000).map(|n| event(n, Ringing)).collect();
    run.put(&all);
    let large = disk.length();
    assert!(large > 1 << 20);
    assert_eq!(run.drain().len(), 2_000);
    assert!(disk.length() < large / 4, "{} of {large} bytes", disk.length());
    run.put(&[event(1, Ringing)]);
    let mut run = Run::begin(&disk.after_power_cut(0), limits).expect("it opens");
    assert_eq!(run.drain().len(), 1);
}

#[test]
fn event_that_rots_on_disk_is_the_only_one_that_is_lost() {
    let disk = Disk::new(false);
    let mut run = Run::begin(&disk, LIMITS).expect("it opens");
    let all: Vec<CallEvent> = (0..8_000).map(|n| event(n, Ringing)).collect();
    run.put(&all);
    // Behind what the uplink has, and before what is still in the database's cache.
    disk.overwrite(all[1_000].event_id.to_string().as_bytes(), b"rotten");
    let drained: HashSet<_> = shown(&run.drain()).into_iter().collect();
    let lost: Vec<u64> = (0..8_000).filter(|n| !drained.contains(&(call(*n), Ringing))).collect();
    assert_eq!(lost, [1_000]);
    assert_eq!(disk.set_aside_count(), 1);
    assert!(run.status().problem.is_some_and(|problem| problem.contains("file 1")));
    let records = run.writer.store().expect("it is open").readable_changes();
    assert_eq!(records.len(), 8_000, "the records go on");
}

#[test]
fn what_the_queue_will_never_take_is_counted() {
    let mut run = Run::begin(&Disk::new(false), LIMITS).expect("it opens");
    run.put(&[event(1, Ringing)]);
    let number = run.handed()[0].number;
    run.settle(number, Settled::Refused);
    run.flush();
    let status = run.status();
    assert_eq!((status.depth, status.refused, status.dropped), (0, 1, 0));
}

#[test]
fn file_that_is_no_database_is_set_aside() {
    let folder = std::env::temp_dir().join(format!("easyconnect-test-{}", shared::ids::CommandId::random()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("outbox.redb"), "these are not the bytes of a database".repeat(200)).expect("written");
    let opened = Outbox::open(&folder, NO_CAP).expect("it begins anew");
    assert!(opened.outbox.status().borrow().problem.as_ref().is_some_and(|problem| problem.contains("damaged")));
    let names = std::fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.file_name());
    assert!(names.into_iter().any(|name| name.to_string_lossy().contains("outbox.redb.damaged-2")));
    drop(opened);
    std::fs::remove_dir_all(&folder).expect("the folder is removed");
}

#[test]
fn two_agents_cannot_share_a_folder() {
    let folder = std::env::temp_dir().join(format!("easyconnect-test-{}", shared::ids::CommandId::random()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let _first = Outbox::open(&folder, NO_CAP).expect("it opens");
    let error = Outbox::open(&folder, NO_CAP).expect_err("it is in use").to_string();
    assert!(error.contains("`agent.state_dir`") && error.contains("in use by another agent"), "{error}");
    std::fs::remove_dir_all(&folder).expect("the folder is removed");
}

#[tokio::test]
async fn thread_writes_hands_over_and_ends() {
    let disk = Disk::new(false);
    let Opened { outbox, mut events, .. } = Outbox::begin(disk.clone(), LIMITS, (), own_thread).expect("it opens");
    outbox.put(&[event(1, Ringing), event(1, Connected)], Changes::new(), from_millis(1));
    let (first, second) = (events.recv().await.expect("an event"), events.recv().await.expect("an event"));
    outbox.settle(vec![(first.number, Settled::Accepted), (second.number, Settled::Accepted)]);
    outbox.emptied().await;
    outbox.flushed().await;
    drop(outbox);
    assert_eq!(events.recv().await, None, "the thread has ended");
    assert!(Run::begin(&disk.after_power_cut(0), LIMITS).expect("it opens").drain().is_empty());
}

/// A disk that hangs: the work of the outbox is not done for a while.
#[tokio::test]
async fn what_comes_while_the_disk_hangs_is_bounded_and_counted() {
    let folder = std::env::temp_dir().join(format!("easyconnect-test-{}", shared::ids::CommandId::random()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut hangs = None;
    let run = |work| {
        hangs = Some(work);
        Ok(())
    };
    let Opened { outbox, mut events, .. } = Outbox::open_on(&folder, NO_CAP, run).expect("it opens");
    let long = |n: u64, status: Status| {
        let mut event = event(n, status);
        event.web_hook_event.from_name = "x".repeat(100_000);
        event
    };
    let calls = MEMORY_CAP / 100_000;
    for n in 0..calls * 2 {
        outbox.put(&[long(n, Ringing)], Changes::new(), from_millis(1_000_000));
    }
    for n in 0..10 {
        outbox.put(&[long(n, Disconnected)], Changes::new(), from_millis(1_000_000));
    }
    for n in 0..calls {
        outbox.put(&[long(n, Disconnected)], Changes::new(), from_millis(1_000_000));
    }
    let work = hangs.expect("the work");
    let writer = tokio::spawn(work);
    outbox.flushed().await;
    let status = outbox.status().borrow().clone();
    let given_up = calls * 3 + 10 - status.depth;
    assert!(status.bytes < MEMORY_CAP * 2, "{status:?}");
    assert!(given_up > calls, "{status:?}");
    outbox.put(&[event(1_000, Ringing)], Changes::new(), from_millis(1_000_000));
    outbox.flushed().await;
    assert_eq!(outbox.status().borrow().dropped, given_up, "each is counted");
    let ends = std::iter::from_fn(|| events.try_recv().ok()).filter(|event| event.tag.rank == 3).count();
    assert!(ends >= 10, "{ends} ends are kept");
    drop(outbox);
    writer.await.expect("no panic");
    std::fs::remove_dir_all(&folder).expect("the folder is removed");
}
