//! The outbox: how fast events pass it, what being on disk costs, and how soon a killed agent has its backlog again.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use easyconnect_agent::calls::Changes;
use easyconnect_agent::events::outbox::{Opened, Outbox, Settled};
use easyconnect_tests::paths;
use shared::event::{CallEvent, Status};
use shared::ids::CallId;
use shared::time::from_millis;
use uuid::Uuid;

use crate::report::{Report, millis};

const WRITES: usize = 500;
const EVENTS: u64 = 50_000;
const BACKLOG: u64 = 1 << 30;
const NO_CAP: u64 = 1 << 40;
/// Events that are put at once, as from a busy PBX.
const BURST: u64 = 100;

pub(crate) async fn measure(report: &mut Report) {
    // On a real disk; the system's folder for temporary files may be in memory.
    let folder = paths::repository().join(format!("target/bench-outbox-{}", std::process::id()));
    let _cleanup = Cleanup(folder.clone());
    durable_write(report, &begin(&folder, "write")).await;
    throughput(report, &begin(&folder, "pass")).await;
    reopening(report, &begin(&folder, "fill"), &begin(&folder, "reopen")).await;
}

struct Cleanup(PathBuf);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn begin(folder: &Path, name: &str) -> PathBuf {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn open(folder: &Path) -> Opened {
    Outbox::open(folder, NO_CAP).expect("the outbox opens")
}

fn event(n: u64) -> CallEvent {
    CallEvent::full_example(CallId::of_handle(Uuid::nil(), n, n, n), Status::Connected, from_millis(1_700_000_000_000))
}

fn percentiles(mut times: Vec<Duration>) -> [Duration; 2] {
    times.sort_unstable();
    [times[times.len() / 2], times[times.len() * 99 / 100]]
}

/// From the desk's word to the uplink's, one event at a time, beside a bare write with a sync in turn.
async fn durable_write(report: &mut Report, folder: &Path) {
    let Opened { outbox, mut events, .. } = open(folder);
    let bare = File::create(folder.join("bare")).expect("a file");
    let (mut through, mut synced) = (Vec::new(), Vec::new());
    for n in 0..WRITES as u64 {
        let begun = Instant::now();
        bare.write_all_at(&[1; 4096], n * 4096).expect("written");
        bare.sync_data().expect("synced");
        synced.push(begun.elapsed());

        let event = event(n);
        let begun = Instant::now();
        outbox.put(std::slice::from_ref(&event), Changes::new(), event.occurred_at);
        let handed = events.recv().await.expect("an event");
        through.push(begun.elapsed());
        outbox.settle(vec![(handed.number, Settled::Accepted)]);
    }
    let ([p50, p99], [bare_p50, bare_p99]) = (percentiles(through), percentiles(synced));
    report.line(
        "event on disk and with the uplink, p50",
        &millis(p50),
        &millis(bare_p50),
        "<= floor + 5 ms",
        p50 <= bare_p50 + Duration::from_millis(5),
    );
    report.line(
        "event on disk and with the uplink, p99",
        &millis(p99),
        &millis(bare_p99),
        "<= floor + 5 ms",
        p99 <= bare_p99 + Duration::from_millis(5),
    );
}

/// Events that come in bursts and are accepted at once.
async fn throughput(report: &mut Report, folder: &Path) {
    let Opened { outbox, mut events, .. } = open(folder);
    let all: Vec<CallEvent> = (0..EVENTS).map(event).collect();
    let begun = Instant::now();
    let producer = outbox.clone();
    let putting = tokio::spawn(async move {
        for burst in all.chunks(BURST as usize) {
            producer.put(burst, Changes::new(), burst[0].occurred_at);
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..EVENTS {
        let handed = events.recv().await.expect("an event");
        outbox.settle(vec![(handed.number, Settled::Accepted)]);
    }
    putting.await.expect("everything is put");
    outbox.emptied().await;
    let per_second = EVENTS as f64 / begun.elapsed().as_secs_f64();
    report.line("events through the outbox", &format!("{per_second:.0} /s"), "-", ">= 2,000 /s", per_second >= 2_000.0);
}

/// What a killed agent leaves is what the file holds while it is open.
async fn reopening(report: &mut Report, folder: &Path, killed: &Path) {
    let Opened { outbox, .. } = open(folder);
    let status = outbox.status();
    let mut n = 0;
    while status.borrow().bytes < BACKLOG {
        let events: Vec<CallEvent> = (n..n + 2_000).map(event).collect();
        n += 2_000;
        outbox.put(&events, Changes::new(), events[0].occurred_at);
        outbox.flushed().await;
    }
    let depth = status.borrow().depth;
    let file = killed.join("outbox.redb");
    std::fs::copy(folder.join("outbox.redb"), &file).expect("a copy");
    File::options()
        .append(true)
        .open(&file)
        .and_then(|mut file| file.flush().and_then(|()| file.sync_all()))
        .expect("synced");
    let size = file.metadata().expect("a file").len();
    let begun = Instant::now();
    let Opened { outbox, mut events, .. } = open(killed);
    let first = events.recv().await.expect("an event");
    let took = begun.elapsed();
    assert_eq!((first.number, outbox.status().borrow().depth), (1, depth), "nothing is lost");
    report.line("reopening 1 GiB after kill -9", &millis(took), "-", "<= 2 s", took <= Duration::from_secs(2));
    report.note(&format!("{depth} events in a file of {} MiB", size >> 20));
}
