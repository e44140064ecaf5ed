//! Every interleaving that the protocol allows of two events of a call, who receives them, the lane's worker, refusals and mishaps,
//! breadth first, with the code that runs.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use shared::webhook::Lane;

use super::rules::{Broken, Rules};
use super::{Came, OWN, Park, Parked, RESTING, Received, SHARED, Step, Way, Worker, parked, received};

/// One of the two events, in their order.
type Event = usize;
const FIRST: Event = 0;
const SECOND: Event = 1;

/// What who receives, and who sends, leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Omitted {
    /// What was parked is acknowledged, and nobody reads the lane again.
    ReadingAgain,
    /// Who takes a delivery out of the park takes it out for everybody.
    LeavingOthersPart,
    /// The worker sends what lies in the park without asking the log.
    AskingTheLog,
    /// What is parked goes back into the queue.
    SendingItself,
}

/// What is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Setting {
    rules: Rules,
    omitted: Option<Omitted>,
    /// How often somebody dies, or is taken for dead while it lives.
    mishaps: u8,
    /// How often the receiver refuses.
    refusals: u8,
    /// Whether the owner gives the webhook its own lane at some moment: to pause, resume or purge it.
    owner: bool,
    /// Whether an empty lane rests before it settles.
    rests: bool,
}

/// Where somebody is who has received an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Read,
    Post,
    Log,
    Refused,
    /// Take the lane; afterwards park, or acknowledge what was slow.
    Take {
        park: bool,
    },
    Call {
        park: bool,
    },
    Park,
    ReadAgain,
    TakeOut,
    Acknowledge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Delivering {
    event: Event,
    at: At,
    /// A bit of its own, by which its part of what is parked is known.
    holder: u8,
    /// Somebody else has the message meanwhile, or will.
    taken_for_dead: bool,
}

/// Where the worker is while it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Serving {
    ReadLog(Event),
    Post(Event),
    Log(Event),
    Delete(Event),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    setting: Setting,
    way: Way,
    /// The call's group in the deliveries queue. Only the first message can be received.
    queue: Vec<Event>,
    in_flight: bool,
    delivering: [Option<Delivering>; 2],
    /// Who has parked each of them and has not taken it out again.
    parked: [u8; 2],
    logged: [bool; 2],
    posted: Vec<Event>,
    /// Messages for the worker. Only one is in flight.
    calls: u8,
    worker: Option<(Worker, Option<Serving>)>,
    mishaps: u8,
    refusals: u8,
    owner_acts: bool,
}

/// What somebody did, for the way to a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happened {
    Receives(Event),
    Does(Event, At),
    Dies(Event),
    IsTakenForDead(Event),
    Refuses(Event),
    WorkerIsCalled,
    WorkerDoes(Step),
    WorkerServes(Serving),
    WorkerIsRefused(Event),
    WorkerDies,
    WorkerComesBackLater,
    TickCalls,
    OwnerActs,
}

impl World {
    fn new(setting: Setting) -> Self {
        let Setting { mishaps, refusals, .. } = setting;
        Self {
            setting,
            way: SHARED,
            queue: vec![FIRST, SECOND],
            in_flight: false,
            delivering: [None, None],
            parked: [0; 2],
            logged: [false; 2],
            posted: Vec::new(),
            calls: 0,
            worker: None,
            mishaps,
            refusals,
            owner_acts: setting.owner,
        }
    }

    fn died(&self) -> bool {
        self.mishaps < self.setting.mishaps
    }

    /// What must never be.
    fn wrong(&self) -> Option<String> {
        let first = |event| self.posted.iter().position(|posted| *posted == event);
        if first(SECOND).is_some_and(|second| first(FIRST).is_none_or(|first| second < first)) {
            return Some(format!("the second event came before the first one: {:?}", self.posted));
        }
        if !self.died() && self.posted.len() > 2 - [FIRST, SECOND].into_iter().filter(|e| first(*e).is_none()).count() {
            return Some(format!("an event came twice, and nobody had died: {:?}", self.posted));
        }
        let is_somewhere =
            |event: &Event| self.queue.contains(event) || self.parked[*event] != 0 || self.logged[*event];
        if ![FIRST, SECOND].iter().all(is_somewhere) {
            return Some("an event is lost".to_owned());
        }
        let waits = [FIRST, SECOND].iter().any(|event| self.parked[*event] != 0 && !self.logged[*event]);
        if waits && self.is_quiet() && !self.tick_calls() {
            return Some("an event lies in the park, and nobody comes for it".to_owned());
        }
        None
    }

    fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.delivering == [None, None] && self.worker.is_none() && self.calls == 0
    }

    /// The tick calls a worker that should have come.
    fn tick_calls(&self) -> bool {
        self.way.lane != Lane::Shared && self.way.worker_comes && self.calls == 0 && self.worker.is_none()
    }

    fn is_at_rest(&self) -> bool {
        self.is_quiet() && self.logged == [true, true] && self.parked == [0, 0]
    }

    fn steps(&self) -> Vec<(Happened, Self)> {
        let mut steps = Vec::new();
        let mut add = |happened, change: &dyn Fn(&mut Self)| {
            let mut next = self.clone();
            change(&mut next);
            next.delivering.sort_by_key(|one| one.map(|one| (one.event, one.taken_for_dead)));
            steps.push((happened, next));
        };
        let free = self.delivering.iter().position(Option::is_none);
        if let (false, Some(at), Some(&event)) = (self.in_flight, free, self.queue.first()) {
            add(Happened::Receives(event), &|next| {
                let others = next.delivering.iter().flatten().map(|one| one.holder);
                let known = others.fold(next.parked[event], |known, holder| known | holder);
                let holder = 1 << known.trailing_ones();
                next.in_flight = true;
                next.delivering[at] = Some(Delivering { event, at: At::Read, holder, taken_for_dead: false });
            });
        }
        for (n, one) in self.delivering.iter().enumerate() {
            let Some(one) = *one else { continue };
            let Delivering { event, at, taken_for_dead, .. } = one;
            add(Happened::Does(event, at), &|next| next.deliver(n, one));
            match at {
                At::Post if self.refusals > 0 => add(Happened::Refuses(event), &|next| {
                    next.refusals -= 1;
                    next.delivering[n] = Some(Delivering { at: At::Refused, ..one });
                }),
                // It is tried again later, in the shared lane.
                At::Refused => add(Happened::Does(event, at), &|next| next.give_back(n, one)),
                // It was slow.
                At::Acknowledge => add(Happened::Does(event, at), &|next| {
                    next.delivering[n] = Some(Delivering { at: At::Take { park: false }, ..one });
                }),
                _ => {}
            }
            if self.mishaps > 0 {
                add(Happened::Dies(event), &|next| {
                    next.mishaps -= 1;
                    next.give_back(n, one);
                });
                if !taken_for_dead {
                    add(Happened::IsTakenForDead(event), &|next| {
                        next.mishaps -= 1;
                        next.in_flight = false;
                        next.delivering[n] = Some(Delivering { taken_for_dead: true, ..one });
                    });
                }
            }
        }
        if self.worker.is_none() && self.calls > 0 {
            add(Happened::WorkerIsCalled, &|next| {
                next.worker = Some((Worker { rules: self.setting.rules, ..Worker::default() }, None));
            });
        }
        if self.owner_acts {
            add(Happened::OwnerActs, &|next| {
                (next.owner_acts, next.way) = (false, OWN);
                next.call();
            });
        }
        if self.tick_calls() {
            add(Happened::TickCalls, &|next| next.calls = 1);
        }
        if let Some((worker, serving)) = self.worker {
            match (serving, worker.next()) {
                (Some(serving), _) => {
                    add(Happened::WorkerServes(serving), &|next| next.serve(worker, serving));
                    if let (Serving::Post(event), true) = (serving, self.refusals > 0) {
                        add(Happened::WorkerIsRefused(event), &|next| {
                            next.refusals -= 1;
                            next.has_served(worker);
                        });
                    }
                }
                (None, Some(step)) => {
                    add(Happened::WorkerDoes(step), &|next| next.work(worker, step));
                    if step == Step::Serve {
                        add(Happened::WorkerComesBackLater, &|next| next.worker = None);
                    }
                }
                (None, None) => add(Happened::WorkerComesBackLater, &|next| {
                    next.calls -= 1;
                    next.worker = None;
                }),
            }
            if self.mishaps > 0 {
                add(Happened::WorkerDies, &|next| {
                    next.mishaps -= 1;
                    next.worker = None;
                });
            }
        }
        steps
    }

    fn deliver(&mut self, n: usize, one: Delivering) {
        let event = one.event;
        let then = match one.at {
            At::Read if self.logged[event] => At::Acknowledge,
            At::Read => match received(self.way) {
                Received::Send => At::Post,
                Received::Park => At::Park,
                Received::Wait => return self.give_back(n, one),
            },
            At::Post => {
                self.posted.push(event);
                At::Log
            }
            At::Log => {
                self.logged[event] = true;
                At::Acknowledge
            }
            At::Refused => At::Take { park: true },
            At::Take { park } if self.way == SHARED => {
                self.way = OWN;
                At::Call { park }
            }
            At::Take { park: true } => At::Read,
            At::Take { park: false } => At::Acknowledge,
            At::Call { park } => {
                self.call();
                if park { At::Park } else { At::Acknowledge }
            }
            At::Park => {
                self.parked[event] |= one.holder;
                if self.setting.omitted == Some(Omitted::ReadingAgain) { At::Acknowledge } else { At::ReadAgain }
            }
            At::ReadAgain => match parked(self.way) {
                Parked::Done => At::Acknowledge,
                Parked::Call => At::Call { park: false },
                Parked::TakeOut => At::TakeOut,
            },
            At::TakeOut => {
                let part = if self.setting.omitted == Some(Omitted::LeavingOthersPart) { u8::MAX } else { one.holder };
                self.parked[event] &= !part;
                return self.give_back(n, one);
            }
            At::Acknowledge => {
                if !one.taken_for_dead {
                    self.queue.remove(0);
                    self.in_flight = false;
                }
                self.delivering[n] = None;
                return;
            }
        };
        self.delivering[n] = Some(Delivering { at: then, ..one });
    }

    /// The message can be received again.
    fn give_back(&mut self, n: usize, one: Delivering) {
        self.delivering[n] = None;
        if !one.taken_for_dead {
            self.in_flight = false;
        }
    }

    fn call(&mut self) {
        self.calls = (self.calls + 1).min(2);
    }

    fn work(&mut self, mut worker: Worker, step: Step) {
        let oldest = self.parked.iter().position(|holders| *holders != 0);
        let came = match step {
            Step::ReadLane => Came::Lane(self.way),
            Step::ReadPark => Came::Park(match oldest {
                Some(_) => Park::Occupied,
                None if self.setting.rests => Park::EmptyButOwn,
                None => Park::Empty,
            }),
            Step::Change { from, to } => {
                let is_as_it_was = self.way == from;
                if is_as_it_was {
                    self.way = to;
                }
                Came::Changed(is_as_it_was)
            }
            Step::Serve => match oldest {
                Some(event) => {
                    let asks = self.setting.omitted != Some(Omitted::AskingTheLog);
                    let serving = if asks { Serving::ReadLog(event) } else { Serving::Post(event) };
                    self.worker = Some((worker, Some(serving)));
                    return;
                }
                None => Came::Served,
            },
        };
        worker.take(came);
        self.worker = Some((worker, None));
    }

    fn serve(&mut self, worker: Worker, serving: Serving) {
        let then = match serving {
            Serving::ReadLog(event) if self.logged[event] => Serving::Delete(event),
            Serving::ReadLog(event) => Serving::Post(event),
            Serving::Post(event) if self.setting.omitted == Some(Omitted::SendingItself) => {
                self.queue.push(event);
                Serving::Delete(event)
            }
            Serving::Post(event) => {
                self.posted.push(event);
                Serving::Log(event)
            }
            Serving::Log(event) => {
                self.logged[event] = true;
                Serving::Delete(event)
            }
            Serving::Delete(event) => {
                self.parked[event] = 0;
                return self.has_served(worker);
            }
        };
        self.worker = Some((worker, Some(then)));
    }

    fn has_served(&mut self, mut worker: Worker) {
        worker.take(Came::Served);
        self.worker = Some((worker, None));
    }
}

/// What a search came to.
struct Searched {
    states: usize,
    ends: usize,
    /// What is wrong, and by which shortest way it comes to it.
    wrong: Option<(String, Vec<Happened>)>,
}

fn search(setting: Setting) -> Searched {
    let start = World::new(setting);
    let mut seen: HashMap<World, Option<(World, Happened)>> = HashMap::from([(start.clone(), None)]);
    let mut todo = VecDeque::from([start]);
    let mut ends = 0;
    while let Some(world) = todo.pop_front() {
        if let Some(what) = world.wrong() {
            let (mut way, mut at) = (Vec::new(), &world);
            while let Some(Some((before, happened))) = seen.get(at) {
                way.push(*happened);
                at = before;
            }
            way.reverse();
            return Searched { states: seen.len(), ends, wrong: Some((what, way)) };
        }
        ends += usize::from(world.is_at_rest());
        for (happened, next) in world.steps() {
            if let Entry::Vacant(new) = seen.entry(next.clone()) {
                new.insert(Some((world.clone(), happened)));
                todo.push_back(next);
            }
        }
    }
    Searched { states: seen.len(), ends, wrong: None }
}

const SETTLES: Setting =
    Setting { rules: Rules::ALL, omitted: None, mishaps: 2, refusals: 1, owner: false, rests: false };
const RESTS: Setting = Setting { rests: true, ..SETTLES };

#[track_caller]
fn holds(name: &str, setting: Setting) {
    let started = std::time::Instant::now();
    let Searched { states, ends, wrong } = search(setting);
    println!("{name}: {states} states, {ends} ends, {:.1?}", started.elapsed());
    assert_eq!(wrong, None);
    assert!(ends > 0, "nobody ever comes to an end");
}

/// Without a rule something is wrong, and the search finds it.
#[track_caller]
fn fails(setting: Setting, how: &str) {
    let Searched { states, wrong, .. } = search(setting);
    let (what, way) = wrong.unwrap_or_else(|| panic!("nothing is wrong in {states} states: {setting:?}"));
    println!("{states} states, then {what}, by");
    way.iter().for_each(|happened| println!("  {happened:?}"));
    assert!(what.contains(how), "{what}");
}

const CALM: Setting = Setting { mishaps: 0, ..SETTLES };

#[test]
fn events_come_once_and_in_order_and_none_is_forgotten() {
    holds("settles", SETTLES);
    holds("rests", RESTS);
    holds("its owner acts", Setting { mishaps: 1, owner: true, ..SETTLES });
}

#[test]
fn what_was_read_before_the_lane_is_shared_again_needs_settling() {
    fails(Setting { rules: Rules::without(Broken::NoSettling), ..CALM }, "before the first one");
    fails(Setting { rules: Rules::without(Broken::NoSecondLook), ..CALM }, "before the first one");
}

#[test]
fn who_goes_to_rest_looks_again() {
    fails(Setting { rules: Rules::without(Broken::RestsUnseen), ..RESTS }, "nobody comes for it");
}

#[test]
fn who_parks_reads_the_lane_again() {
    fails(Setting { omitted: Some(Omitted::ReadingAgain), ..CALM }, "before the first one");
}

/// As it was: the park was emptied into the queue.
#[test]
fn what_goes_back_through_the_queue_is_overtaken() {
    fails(Setting { omitted: Some(Omitted::SendingItself), ..CALM }, "before the first one");
}

/// As it was: who parked and who sent what was parked did not know of each other.
#[test]
fn who_sends_what_is_parked_asks_the_log() {
    fails(Setting { omitted: Some(Omitted::AskingTheLog), ..SETTLES }, "twice");
}

/// Found by this search: who is taken for dead takes out what somebody else has parked and acknowledged.
#[test]
fn who_takes_out_leaves_what_others_have_parked() {
    fails(Setting { omitted: Some(Omitted::LeavingOthersPart), ..SETTLES }, "lost");
}

#[test]
fn a_lane_that_rests_is_called() {
    assert_eq!((parked(RESTING), parked(OWN)), (Parked::Call, Parked::Done));
}
