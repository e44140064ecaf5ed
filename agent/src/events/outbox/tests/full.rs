//! A disk that refuses to be written to, and what goes out all the same.

use super::*;
use crate::events::outbox::pending::RECORDS;
use crate::events::outbox::store::Store;

#[test]
fn full_disk_keeps_events_in_memory_and_they_go_out_from_there() {
    let disk = Disk::new(false);
    let mut run = Run::begin(&disk, LIMITS).expect("it opens");
    run.put(&[event(1, Ringing)]);
    disk.set_full(true);
    run.put(&[event(1, Connected), event(2, Ringing)]);
    let status = run.status();
    assert_eq!((status.depth, status.unwritten), (3, 2));
    assert!(status.problem.is_some_and(|problem| problem.contains("the disk refuses events")));
    let handed = run.handed();
    assert_eq!(shown(&handed), [(call(1), Ringing), (call(1), Connected), (call(2), Ringing)]);
    run.settle(handed[1].number, Settled::Accepted);
    run.flush();
    assert_eq!(run.status().unwritten, 1);

    disk.set_full(false);
    run.put(&[event(2, Connected)]);
    run.flush();
    let status = run.status();
    assert_eq!((status.depth, status.unwritten, status.problem), (3, 0, None));
    let mut run = Run::begin(&disk.after_power_cut(0), LIMITS).expect("it opens");
    assert_eq!(shown(&run.drain()), [(call(1), Ringing), (call(2), Ringing), (call(2), Connected)]);
}

#[test]
fn memory_has_its_limits_while_the_disk_is_full() {
    let disk = Disk::new(false);
    let mut run = Run::begin(&disk, LIMITS).expect("it opens");
    disk.set_full(true);
    let size = OutboxEvent::new(&event(1, Disconnected)).body.len() as u64;
    let fits = MEMORY_CAP / size;
    let all: Vec<CallEvent> = (0..fits).map(|n| event(n, if n % 2 == 0 { Ringing } else { Disconnected })).collect();
    run.put(&all);
    assert_eq!(run.status().dropped, 0);
    let more: Vec<CallEvent> = (0..1_000).map(|n| event(900_000 + n, Disconnected)).collect();
    run.put(&more);
    let dropped = run.status().dropped;
    assert!(dropped > 0);
    disk.set_full(false);
    run.flush();
    assert_eq!((run.status().depth, run.status().dropped), (fits + 1_000 - dropped, dropped));
    let mut run = Run::begin(&disk.after_kill(), LIMITS).expect("it opens");
    let left: HashSet<_> = shown(&run.drain()).into_iter().collect();
    let gone: Vec<_> = all.iter().filter(|event| !left.contains(&(event.call_id(), event.status()))).collect();
    assert!(gone.iter().all(|event| event.status() == Ringing), "the oldest ringing goes first");
}

/// Events enough that the uplink cannot have them all at once.
fn backlog() -> Vec<CallEvent> {
    (0..3 * WINDOW as u64).map(|n| event(n, Ringing)).collect()
}

fn told(events: &[CallEvent]) -> Vec<(CallId, Status)> {
    events.iter().map(|event| (event.call_id(), event.status())).collect()
}

#[test]
fn backlog_on_a_full_disk_goes_out_in_order_and_once() {
    let disk = Disk::new(false);
    let mut run = Run::begin(&disk, LIMITS).expect("it opens");
    let old = backlog();
    run.put(&old);
    disk.set_full(true);
    let new = [event(1, Connected), event(1, Disconnected)];
    run.put(&new);
    assert_eq!(shown(&run.drain()), [told(&old), told(&new)].concat());
    let status = run.status();
    assert_eq!((status.depth, status.unwritten, status.dropped), (0, 0, 0));
    assert!(status.problem.is_some(), "what has gone out could not be written down");

    disk.set_full(false);
    run.flush();
    assert!(run.drain().is_empty(), "an event that went out already");
    let status = run.status();
    assert_eq!((status.depth, status.bytes, status.problem), (0, 0, None));
    let mut run = Run::begin(&disk.after_power_cut(0), LIMITS).expect("it opens");
    assert!(run.drain().is_empty());
}

#[test]
fn what_may_leave_a_full_disk_leaves_it_before_anything_is_added() {
    let disk = Disk::new(false);
    let mut run = Run::begin(&disk, LIMITS).expect("it opens");
    run.put(&backlog());
    disk.set_full(true);
    run.put(&[event(1, Connected)]);
    let handed = run.handed();
    handed.iter().for_each(|event| run.settle(event.number, Settled::Accepted));
    // It takes this much, and then is full again.
    for writes in 0.. {
        disk.set_room(Some(writes));
        run.flush();
        disk.set_full(true);
        let left = Store::open_to_read(&disk, LIMITS).expect("it can be read").figures.depth;
        if left < 3 * WINDOW as u64 {
            assert_eq!((left, run.status().unwritten), (2 * WINDOW as u64, 1), "the new event has to wait");
            return;
        }
        assert!(writes < 1_000, "nothing ever left the disk");
    }
}

#[test]
fn agent_starts_on_a_full_disk_with_what_is_on_it() {
    let disk = Disk::new(false);
    let mut run = Run::begin(&disk, LIMITS).expect("it opens");
    let old = backlog();
    run.put(&old);
    let disk = disk.after_kill();
    disk.set_full(true);
    let mut run = Run::begin(&disk, LIMITS).expect("it begins in memory");
    assert!(run.status().problem.is_some_and(|problem| problem.contains("the disk refuses events")));
    let records = run.writer.store().expect("it can be read").readable_changes();
    assert_eq!(records.len(), old.len());
    assert!(run.late.try_recv().is_err(), "the records are there at once");
    let new = [event(1, Connected)];
    run.put(&new);
    assert_eq!(shown(&run.drain()), [told(&old), told(&new)].concat());

    disk.set_full(false);
    run.put(&[event(2, Connected)]);
    run.flush();
    let status = run.status();
    assert_eq!((status.depth, status.unwritten, status.problem), (1, 0, None));
    let mut run = Run::begin(&disk.after_power_cut(0), LIMITS).expect("it opens");
    assert_eq!(shown(&run.drain()), [(call(2), Connected)]);
}

#[test]
fn first_start_on_a_full_disk() {
    // Whichever of the writes that begin a file is the last one for which there is room.
    for writes in 0..40 {
        let disk = Disk::new(false);
        disk.set_room(Some(writes));
        let mut run = Run::begin(&disk, LIMITS).expect("it begins in memory");
        run.put(&[event(1, Ringing), event(1, Connected)]);
        let handed = run.handed();
        assert_eq!(shown(&handed), [(call(1), Ringing), (call(1), Connected)], "{writes}");
        run.flush();
        run.settle(handed[0].number, Settled::Accepted);
        disk.set_full(false);
        run.flush();
        assert_eq!((disk.set_aside_count(), run.status().problem), (0, None), "{writes}");
        let mut run = Run::begin(&disk.after_power_cut(0), LIMITS).expect("it opens");
        assert_eq!(shown(&run.drain()), [(call(1), Connected)], "{writes}");
    }
}

#[test]
fn what_cannot_be_read_at_the_start_follows_when_it_can_be() {
    let disk = Disk::new(false);
    let mut run = Run::begin(&disk, LIMITS).expect("it opens");
    run.put(&[event(1, Ringing), event(2, Ringing)]);
    let disk = disk.after_kill();
    disk.set_dark(true);
    let mut run = Run::begin(&disk, LIMITS).expect("it begins in memory");
    assert!(run.status().problem.is_some_and(|problem| problem.contains("what the outbox held cannot be read")));
    run.put(&[event(3, Ringing), event(4, Ringing)]);
    let first = run.handed();
    assert_eq!(shown(&first), [(call(3), Ringing), (call(4), Ringing)]);
    run.settle(first[0].number, Settled::Accepted);

    // It can be read before it can be written to.
    disk.set_dark(false);
    disk.set_full(true);
    run.flush();
    assert!(run.late.try_recv().is_ok(), "the records follow");
    let then = run.handed();
    assert_eq!(shown(&then), [(call(1), Ringing), (call(2), Ringing)]);
    disk.set_full(false);
    run.flush();
    [&first[1..], &then].concat().iter().for_each(|event| run.settle(event.number, Settled::Accepted));
    run.put(&[event(3, Connected)]);
    run.flush();
    assert_eq!(shown(&run.drain()), [(call(3), Connected)]);
    assert_eq!((run.status().depth, run.status().problem), (0, None));
    assert!(run.late.try_recv().is_err(), "once");
}

#[test]
fn disk_that_cannot_be_read_holds_nothing_up() {
    let disk = Disk::new(false);
    let mut run = Run::begin(&disk, LIMITS).expect("it opens");
    run.put(&backlog());
    let first = run.handed();
    assert_eq!(first.len(), WINDOW);
    disk.set_dark(true);
    run.put(&[event(9_999, Ringing)]);
    first.iter().for_each(|event| run.settle(event.number, Settled::Accepted));
    run.flush();
    let new = run.handed();
    assert_eq!(shown(&new), [(call(9_999), Ringing)]);
    disk.set_dark(false);
    run.flush();
    new.iter().for_each(|event| run.settle(event.number, Settled::Accepted));
    run.flush();
    assert_eq!(run.drain().len(), 2 * WINDOW, "the rest of the backlog, and nothing twice");
    assert_eq!(run.status().depth, 0);
}

#[test]
fn transaction_that_reached_the_disk_although_it_failed_is_known_for_that() {
    // Whichever of its writes is the last one for which there is room.
    for writes in 0..60 {
        let disk = Disk::new(false);
        let mut run = Run::begin(&disk, LIMITS).expect("it opens");
        run.put(&[event(1, Ringing)]);
        disk.set_room(Some(writes));
        run.put(&[event(2, Ringing), event(3, Ringing)]);
        run.flush();
        disk.set_full(true);
        assert_eq!(run.drain().len(), 3, "{writes}");
        disk.set_full(false);
        run.flush();
        assert_eq!((run.status().depth, run.drain().len()), (0, 0), "{writes}");
        let mut run = Run::begin(&disk.after_power_cut(0), LIMITS).expect("it opens");
        assert!(run.drain().is_empty(), "{writes}");
    }
}

#[test]
fn records_that_wait_for_a_full_disk_are_bounded() {
    let disk = Disk::new(false);
    let mut run = Run::begin(&disk, LIMITS).expect("it opens");
    let change = |run: &mut Run, changes: &[(RecordKey, Option<&str>)]| {
        let changes = changes.iter().map(|(key, text)| (key.clone(), text.map(str::to_owned))).collect();
        run.writer.take(OutboxTask::Put(Put { events: Vec::new(), changes, now: from_millis(1), bytes: 0 }));
        run.writer.turn();
    };
    let spot = |n: u64| RecordKey::Spot(format!("spot {n}"));
    let on_disk =
        [(RecordKey::Call(call(1)), Some("one")), (RecordKey::Call(call(2)), Some("two")), (spot(1), Some("old"))];
    change(&mut run, &on_disk);
    run.flush();
    disk.set_full(true);
    change(&mut run, &[(RecordKey::Call(call(1)), None), (RecordKey::Call(call(3)), Some("three"))]);
    run.flush();
    let mut most = 0;
    for n in 1_000..40_000 {
        change(&mut run, &[(RecordKey::Call(call(n)), Some("it runs")), (spot(n), Some("it is known"))]);
        change(&mut run, &[(RecordKey::Call(call(n)), None)]);
        most = most.max(run.writer.waiting_changes().len());
    }
    assert!(most <= 2 * RECORDS, "{most} changes waited");

    disk.set_full(false);
    run.flush();
    drop(run);
    let run = Run::begin(&disk.after_power_cut(0), LIMITS).expect("it opens");
    let records = run.writer.store().expect("it is open").readable_changes();
    let calls: HashSet<_> = records.keys().filter(|key| matches!(key, RecordKey::Call(_))).collect();
    assert_eq!(calls, HashSet::from([&RecordKey::Call(call(2)), &RecordKey::Call(call(3))]));
    assert_eq!(records.get(&spot(1)).and_then(Option::as_deref), Some("old"));
}

#[test]
fn looking_at_a_file_does_not_change_it() {
    let folder = std::env::temp_dir().join(format!("easyconnect-test-{}", shared::ids::CommandId::random()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = DataFile::new(&folder);
    let nothing = Store::open_to_read(&file, LIMITS).expect("there is nothing");
    assert_eq!(nothing.figures.depth, 0);
    assert!(!folder.join("outbox.redb").exists());
    let opened = Outbox::open(&folder, NO_CAP).expect("it opens");
    opened.outbox.put(&[event(1, Ringing)], Changes::new(), from_millis(1));
    drop(opened);
    // Its thread ends a moment later, and a file is open once at a time.
    while Store::open(&file, LIMITS).is_err() {
        thread::yield_now();
    }
    let before = std::fs::read(folder.join("outbox.redb")).expect("a file");
    let seen = Store::open_to_read(&file, LIMITS).expect("it can be read");
    assert_eq!(seen.page(0, 10).expect("it can be read").len(), 1);
    drop(seen);
    assert!(std::fs::read(folder.join("outbox.redb")).expect("a file") == before);
    std::fs::remove_dir_all(&folder).expect("the folder is removed");
}

#[test]
fn wrong_place_is_told_and_not_worked_around() {
    let folder = std::env::temp_dir().join(format!("easyconnect-test-{}", shared::ids::CommandId::random()));
    let refused = |folder: &Path| format!("{:#}", Outbox::open(folder, NO_CAP).expect_err("it is the wrong place"));
    assert!(refused(&folder).contains("`agent.state_dir`: cannot write"));
    std::fs::create_dir_all(folder.join("outbox.redb")).expect("a folder");
    assert!(refused(&folder).contains("`agent.state_dir`: the outbox in"), "{}", refused(&folder));
    std::fs::remove_dir_all(&folder).expect("the folder is removed");
}
