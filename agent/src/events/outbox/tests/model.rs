//! Random runs with crashes, against what the outbox promises.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

/// Statuses of a call in their order.
const LIFE: [Status; 3] = [Ringing, Connected, Disconnected];

#[derive(Clone, Debug)]
enum Step {
    /// The next event of each of these calls.
    Put(Vec<u64>),
    /// The queue accepts so many of the events that the uplink has.
    Accept(usize),
    Flush,
    /// The agent is ended at once; the machine runs on.
    Kill,
    /// The power is cut after so many writes, at the latest after the next step.
    PowerCut {
        writes: u64,
        seed: u64,
    },
    /// The disk is full after so many writes, or has room again.
    Full(Option<u64>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(0u64..4, 1..4).prop_map(Step::Put),
        4 => (0usize..6).prop_map(Step::Accept),
        2 => Just(Step::Flush),
        1 => Just(Step::Kill),
        2 => (0u64..40, any::<u64>()).prop_map(|(writes, seed)| Step::PowerCut { writes, seed }),
        2 => prop::option::of(prop_oneof![Just(0), 0u64..40]).prop_map(Step::Full),
    ]
}

type Told = (CallId, Status);

#[derive(Debug, Default)]
struct Model {
    /// How many events each line has had; every three of them are a call.
    begun: BTreeMap<u64, u64>,
    put: Vec<Told>,
    /// Those that this run has taken and not acknowledged.
    waiting: Vec<Told>,
    /// Those that the outbox has acknowledged as being on disk.
    durable: HashSet<Told>,
    accepted: HashSet<Told>,
}

impl Model {
    fn next(&mut self, line: u64) -> CallEvent {
        let count = self.begun.entry(line).or_default();
        let (nth_call, status) = (*count / 3, LIFE[(*count % 3) as usize]);
        *count += 1;
        let event = event(line * 1_000 + nth_call, status);
        self.put.push((event.call_id(), status));
        self.waiting.push((event.call_id(), status));
        event
    }

    fn acknowledge(&mut self, run: &Run) {
        let status = run.status();
        if status.unwritten == 0 && status.problem.is_none() {
            self.durable.extend(self.waiting.drain(..));
        }
    }
}

/// An outbox that opens on a disk with power, whatever is on it and whether it takes anything.
fn open(disk: &Disk, limits: StoreLimits) -> Run {
    Run::begin(disk, limits).expect("it opens or begins anew")
}

/// What one run hands over has each event once, and each call's events in their order.
fn check_order(handed: &[OutboxEvent]) -> Result<(), TestCaseError> {
    let mut last: HashMap<CallId, Status> = HashMap::new();
    for event in handed {
        let (call, status) = status_of(event);
        let before = last.insert(call, status);
        prop_assert!(before.is_none_or(|before| before < status), "{:?}", shown(handed));
    }
    Ok(())
}

fn play(steps: &[Step], lies: bool, ends_full: bool, limits: StoreLimits) -> Result<(), TestCaseError> {
    let mut disk = Disk::new(lies);
    let mut run = open(&disk, limits);
    let (mut model, mut in_hand, mut all_handed) = (Model::default(), Vec::new(), Vec::new());
    for step in steps {
        let mut reopen = None;
        match step {
            Step::Put(lines) => {
                let events: Vec<CallEvent> = lines.iter().map(|line| model.next(*line)).collect();
                run.put(&events);
            }
            Step::Accept(most) => {
                for event in in_hand.drain(..in_hand.len().min(*most)) {
                    let event: OutboxEvent = event;
                    model.accepted.insert(status_of(&event));
                    run.settle(event.number, Settled::Accepted);
                }
                run.writer.turn();
            }
            Step::Flush => run.flush(),
            Step::Kill => reopen = Some(disk.after_kill()),
            Step::PowerCut { writes, seed } => {
                disk.cut_after(*writes);
                let events = [model.next(0), model.next(1)];
                run.put(&events);
                run.flush();
                reopen = Some(disk.after_power_cut(*seed));
            }
            Step::Full(room) => disk.set_room(*room),
        }
        let handed = run.handed();
        in_hand.extend(handed.iter().cloned());
        all_handed.extend(handed);
        check_order(&all_handed)?;
        model.acknowledge(&run);
        if let Some(next) = reopen {
            drop(run);
            model.waiting.clear();
            disk = next;
            if lies {
                disk.set_full(false); // What is damaged as well as full is left as it is, and its order with it.
            }
            run = open(&disk, limits);
            (in_hand, all_handed) = (Vec::new(), Vec::new());
            if !lies {
                prop_assert_eq!(disk.set_aside_count(), 0);
                check_records(&run, &model)?;
            }
        }
    }
    // At last the power is cut once more, and everything goes out.
    disk.set_full(false);
    run.flush();
    model.acknowledge(&run);
    drop(run);
    let disk = disk.after_power_cut(1);
    disk.set_full(ends_full);
    let mut run = open(&disk, limits);
    let left = run.drain();
    check_order(&left)?;
    if ends_full {
        disk.set_full(false);
        run.flush();
        prop_assert!(run.drain().is_empty(), "an event that went out already");
        prop_assert_eq!((run.status().depth, run.status().problem), (0, None));
    }
    let left: HashSet<Told> = shown(&left).into_iter().collect();
    prop_assert!(left.iter().all(|told| model.put.contains(told)), "an event that nobody has put");
    if !lies {
        let lost: Vec<_> =
            model.durable.iter().filter(|told| !left.contains(told) && !model.accepted.contains(told)).collect();
        prop_assert!(lost.is_empty(), "lost: {lost:?}");
    }
    // Whatever happened, it works from here on.
    let fresh = event(77_777, Ringing);
    run.put(std::slice::from_ref(&fresh));
    prop_assert_eq!(shown(&run.drain()), [(fresh.call_id(), Ringing)]);
    Ok(())
}

/// A call's record is that of the latest of its events that is on disk, or was.
fn check_records(run: &Run, model: &Model) -> Result<(), TestCaseError> {
    let records = run.writer.store().expect("it is open").readable_changes();
    for (told, text) in &records {
        let RecordKey::Call(call) = told else { continue };
        let status = LIFE.into_iter().find(|status| Some(status.as_str()) == text.as_deref());
        prop_assert!(status.is_some_and(|status| model.put.contains(&(*call, status))), "{call} {text:?}");
    }
    for (call, status) in &model.durable {
        let record = records.get(&RecordKey::Call(*call)).and_then(Option::as_deref);
        let at_least = LIFE.into_iter().filter(|later| later >= status);
        let mut fitting = at_least.map(|later| (later != Disconnected).then_some(later.as_str()));
        prop_assert!(fitting.any(|text| text == record), "{call} {status:?} but its record is {record:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn honest_disk_loses_nothing(
        steps in prop::collection::vec(step(), 0..40), ends_full in any::<bool>(), returns_space in any::<bool>(),
    ) {
        play(&steps, false, ends_full, StoreLimits { cap: NO_CAP, large: if returns_space { 4096 } else { u64::MAX } })?;
    }

    #[test]
    fn lying_disk_never_confuses(steps in prop::collection::vec(step(), 0..40), returns_space in any::<bool>()) {
        play(&steps, true, false, StoreLimits { cap: NO_CAP, large: if returns_space { 4096 } else { u64::MAX } })?;
    }

    /// Bytes that rot: it opens or begins anew, hands nothing over twice, and saves what it can.
    #[test]
    fn damaged_file_is_survived(seed in any::<u64>(), places in 1usize..40, returns_space in any::<bool>()) {
        let limits = StoreLimits { cap: NO_CAP, large: if returns_space { 4096 } else { u64::MAX } };
        let disk = Disk::new(false);
        let mut run = open(&disk, limits);
        for calls in 0..20 {
            let life = |n| [event(n, Ringing), event(n, Connected)];
            let events: Vec<CallEvent> = (calls * 10..calls * 10 + 10).flat_map(life).collect();
            run.put(&events);
        }
        drop(run);
        let disk = disk.after_kill();
        disk.damage(seed, places);
        let mut run = open(&disk, limits);
        check_order(&run.drain())?;
        let fresh = event(77_777, Ringing);
        run.put(std::slice::from_ref(&fresh));
        prop_assert_eq!(shown(&run.drain()), [(fresh.call_id(), Ringing)]);
    }
}
