//! Who uses the table: functions with a batch each, and receivers that ask. What each may do next, and what must never be.

use std::collections::VecDeque;

use super::fingerprint::{Fingerprint, Part, fingerprint};
use super::model::{EVENTS, Event, Table};
use crate::feed::rules::FeedRules;
use crate::feed::writer::standing_by;
use crate::feed::{Next, Page, Reader, Request, Slot, Standing, Writer};

/// What is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Setting {
    pub(super) rules: FeedRules,
    /// Whether an event comes in a batch with what follows it, or only when the one before is acknowledged.
    pub(super) together: bool,
    /// Whether there is a second call, whose event comes in one batch with those of the first.
    pub(super) second_call: bool,
    /// How often somebody crashes, gives up, or is taken for dead while it lives.
    pub(super) mishaps: u8,
    /// Whether the last request of who crashes may arrive at any later time.
    pub(super) late_requests: bool,
    pub(super) readers: usize,
    /// Slots that a reader asks for at once. They are read one by one.
    pub(super) page: u64,
    /// Nobody reserves a number above this one.
    pub(super) last_number: u64,
}

impl Setting {
    fn call(event: Event) -> usize {
        usize::from(event == 2)
    }

    /// The position of an event in its call.
    fn sequence(event: Event) -> u8 {
        if event == 1 { 2 } else { 1 }
    }

    fn events(self) -> &'static [Event] {
        if self.second_call { &EVENTS } else { &EVENTS[..2] }
    }
}

/// What somebody did, for the way to a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Receives { writer: usize, events: usize },
    Looks { writer: usize, event: Event },
    Asks { writer: usize, request: Request },
    Acknowledges { writer: usize },
    Crashes { writer: usize },
    GivesUp { writer: usize },
    ArrivesLate { request: Request },
    ReadsHead { reader: usize, head: u64 },
    ReadsEmptySlot { reader: usize, n: u64 },
    Settles { reader: usize, n: u64 },
    Waits { reader: usize, n: u64 },
    Restarts { reader: usize },
}

/// A running function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Function {
    batch: Vec<Event>,
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// It reads what is recorded, event by event, the last one first.
    Looking { found: Vec<(Event, Option<u64>)> },
    /// It reserves numbers for all calls of the batch at once.
    Reserving(Vec<(Vec<Event>, Writer)>),
    /// Each call goes its way.
    Writing(Vec<(Vec<Event>, Writer)>),
}

/// A receiver that asks again and again, from where the last answer ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Receiver {
    cursor: u64,
    /// The events that it was told.
    told: Vec<Event>,
    look: Option<Look>,
}

/// A request of a receiver, as it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Look {
    Reading { last: u64, slots: VecDeque<(u64, Slot<Event>)>, next: u64 },
    Settling { reader: Reader, page: Page<Event>, n: u64, found: Vec<Event> },
}

#[derive(Clone, Debug)]
pub(super) struct World {
    setting: Setting,
    table: Table,
    functions: [Option<Part<Function>>; 2],
    acknowledged: [bool; EVENTS.len()],
    mishaps: u8,
    /// A request whose sender is gone, and the events that it was about.
    late: Option<(Request, Vec<Event>)>,
    receivers: Vec<Part<Receiver>>,
}

impl World {
    pub(super) fn new(setting: Setting) -> Self {
        let receiver = Receiver { cursor: 0, told: Vec::new(), look: None };
        Self {
            setting,
            table: Table::default(),
            functions: [None, None],
            acknowledged: [false; EVENTS.len()],
            mishaps: setting.mishaps,
            late: None,
            receivers: vec![Part::new(receiver); setting.readers],
        }
    }

    /// What must never be.
    pub(super) fn wrong(&self) -> Option<String> {
        let all = self.setting.events();
        for receiver in &self.receivers {
            let told = &receiver.told;
            if (1..told.len()).any(|at| told[..at].contains(&told[at])) {
                return Some(format!("a reader was told an event twice: {told:?}"));
            }
            for n in 1..=receiver.cursor {
                if let Some(Slot::Entry(event)) = self.table.slot(n)
                    && !told.contains(&event)
                {
                    return Some(format!("a reader has passed number {n} and was not told the event there: {told:?}"));
                }
            }
            let of_first_call: Vec<Event> = told.iter().copied().filter(|event| Setting::call(*event) == 0).collect();
            if !of_first_call.is_sorted() || of_first_call.first() == Some(&1) {
                return Some(format!(
                    "a reader was told a call's second event, and not the first one before: {told:?}"
                ));
            }
            if self.is_at_rest() && told.len() < all.len() {
                return Some(format!("all is acknowledged and read, and a reader was told only {told:?}"));
            }
        }
        None
    }

    /// All events are acknowledged, and everybody has read everything.
    pub(super) fn is_at_rest(&self) -> bool {
        self.setting.events().iter().all(|event| self.acknowledged[*event])
            && self.functions.iter().all(Option::is_none)
            && self.late.is_none()
            && self.receivers.iter().all(|receiver| receiver.look.is_none() && receiver.cursor == self.table.head)
    }

    /// The same for states that differ only in which of two functions, or of two readers, does what.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut functions = self.functions.each_ref().map(|function| function.as_ref().map(Part::fingerprint));
        functions.sort_unstable();
        let mut receivers: Vec<Fingerprint> = self.receivers.iter().map(Part::fingerprint).collect();
        receivers.sort_unstable();
        fingerprint(&(self.table.digest(), functions, self.acknowledged, self.mishaps, &self.late, receivers))
    }

    /// Everything that may happen next.
    pub(super) fn steps(&self) -> Vec<(Step, Self)> {
        let mut steps = Vec::new();
        for at in 0..self.functions.len() {
            self.steps_of_function(at, &mut steps);
        }
        for at in 0..self.receivers.len() {
            self.steps_of_receiver(at, &mut steps);
        }
        if let Some((request, events)) = &self.late {
            let mut next = self.clone();
            next.late = None;
            next.table.perform(*request, events);
            steps.push((Step::ArrivesLate { request: *request }, next));
        }
        steps.retain(|(_, next)| next.table.head <= self.setting.last_number);
        for (_, next) in &mut steps {
            next.read_what_is_settled();
        }
        steps
    }

    /// What a slot holds never changes. So it makes no difference when a reader reads it, or tries to settle it, and only one
    /// moment has to be looked at.
    fn read_what_is_settled(&mut self) {
        for receiver in &mut self.receivers {
            if receiver.can_read(&self.table) {
                let mut changed = Receiver::clone(receiver);
                while changed.can_read(&self.table) {
                    changed.read(self.setting.rules, &self.table);
                }
                *receiver = Part::new(changed);
            }
        }
    }

    fn steps_of_function(&self, at: usize, steps: &mut Vec<(Step, Self)>) {
        let Some(function) = &self.functions[at] else {
            if self.functions[..at].iter().all(Option::is_some) {
                self.receives(at, steps);
            }
            return;
        };
        let mut goes_on = |step: Step, change: &dyn Fn(&mut Self)| {
            let mut next = self.clone();
            change(&mut next);
            steps.push((step, next));
        };
        let on = |next: &mut Self, stage: Stage| {
            next.functions[at] = Some(Part::new(Function { batch: function.batch.clone(), stage }));
        };
        let mut requests: Vec<(Request, Vec<Event>)> = Vec::new();
        match &function.stage {
            Stage::Looking { found } => {
                let event = function.batch[function.batch.len() - 1 - found.len()];
                let mut found = found.clone();
                found.push((event, self.table.recorded[event]));
                goes_on(Step::Looks { writer: at, event }, &|next| {
                    let is_last = found.len() == function.batch.len();
                    let looking = Stage::Looking { found: found.clone() };
                    on(next, if is_last { self.begin(&function.batch, &found) } else { looking });
                });
            }
            Stage::Reserving(parts) => {
                let count = parts.iter().map(|(_, writer)| writer.numbers_wanted()).sum();
                let request = Request::Reserve { count };
                goes_on(Step::Asks { writer: at, request }, &|next| {
                    let mut parts = parts.clone();
                    let mut first = next.table.head + 1;
                    next.table.perform(request, &[]);
                    for (_, writer) in &mut parts {
                        let wanted = writer.numbers_wanted();
                        writer.give(first..first + wanted);
                        first += wanted;
                    }
                    on(next, Stage::Writing(parts));
                });
            }
            Stage::Writing(parts) => {
                for (part, (events, writer)) in parts.iter().enumerate() {
                    let Some(request) = writer.next() else { continue };
                    requests.push((request, events.clone()));
                    goes_on(Step::Asks { writer: at, request }, &|next| {
                        let answer = next.table.perform(request, events);
                        let mut parts = parts.clone();
                        parts[part].1.take(answer);
                        on(next, Stage::Writing(parts));
                    });
                }
                if requests.is_empty() {
                    goes_on(Step::Acknowledges { writer: at }, &|next| {
                        function.batch.iter().for_each(|event| next.acknowledged[*event] = true);
                        next.functions[at] = None;
                    });
                }
            }
        }
        if self.mishaps == 0 {
            return;
        }
        goes_on(Step::Crashes { writer: at }, &|next| {
            next.mishaps -= 1;
            next.functions[at] = None;
        });
        if let Stage::Writing(parts) = &function.stage {
            // An error: what is settled is acknowledged, the rest goes back.
            goes_on(Step::GivesUp { writer: at }, &|next| {
                next.mishaps -= 1;
                next.functions[at] = None;
                for (events, writer) in parts {
                    events[..writer.settled()].iter().for_each(|event| next.acknowledged[*event] = true);
                }
            });
        }
        if self.setting.late_requests && self.late.is_none() {
            for request in &requests {
                goes_on(Step::Crashes { writer: at }, &|next| {
                    next.mishaps -= 1;
                    next.functions[at] = None;
                    next.late = Some(request.clone());
                });
            }
        }
    }

    /// The queue hands out what is not acknowledged, a call's events in their order. What somebody holds it hands out again only
    /// when it takes him for dead.
    fn receives(&self, at: usize, steps: &mut Vec<(Step, Self)>) {
        let open = |call: usize| -> Vec<Event> {
            let of_call = self.setting.events().iter().copied().filter(|event| Setting::call(*event) == call);
            of_call.filter(|event| !self.acknowledged[*event]).collect()
        };
        let first_call = open(0);
        let most = if self.setting.together { first_call.len() } else { first_call.len().min(1) };
        for count in if self.setting.second_call { most..=most } else { most.min(1)..=most } {
            let batch: Vec<Event> = first_call[..count].iter().copied().chain(open(1)).collect();
            let held = |event: &Event| self.functions.iter().flatten().any(|other| other.batch.contains(event));
            let is_repeat = batch.iter().any(held);
            if batch.is_empty() || (is_repeat && self.mishaps == 0) {
                continue;
            }
            let mut next = self.clone();
            next.mishaps -= u8::from(is_repeat);
            let events = batch.len();
            next.functions[at] = Some(Part::new(Function { batch, stage: Stage::Looking { found: Vec::new() } }));
            steps.push((Step::Receives { writer: at, events }, next));
        }
    }

    /// What a function makes of what it has read.
    fn begin(&self, batch: &[Event], found: &[(Event, Option<u64>)]) -> Stage {
        let mut parts: Vec<(Vec<Event>, Writer)> = Vec::new();
        for call in 0..2 {
            let recorded: Vec<(u8, Option<u64>)> = found
                .iter()
                .filter(|(event, n)| Setting::call(*event) == call && n.is_some())
                .map(|(event, n)| (Setting::sequence(*event), *n))
                .collect();
            let of_call = batch.iter().copied().filter(|event| Setting::call(*event) == call);
            let (mut events, mut known) = (Vec::new(), Vec::new());
            for event in of_call {
                match standing_by(self.setting.rules, Setting::sequence(event), &recorded) {
                    Standing::New => known.push(None),
                    Standing::Recorded(n) => known.push(Some(n)),
                    Standing::Settled | Standing::Superseded => continue,
                }
                events.push(event);
            }
            if !events.is_empty() {
                parts.push((events, Writer::by(self.setting.rules, known)));
            }
        }
        let wanted: u64 = parts.iter().map(|(_, writer)| writer.numbers_wanted()).sum();
        if wanted > 0 { Stage::Reserving(parts) } else { Stage::Writing(parts) }
    }

    fn steps_of_receiver(&self, at: usize, steps: &mut Vec<(Step, Self)>) {
        let receiver = &self.receivers[at];
        let mut goes_on = |step: Step, table: Table, change: &dyn Fn(&mut Receiver)| {
            let mut next = Self { table, ..self.clone() };
            let mut changed = Receiver::clone(receiver);
            change(&mut changed);
            next.receivers[at] = Part::new(changed);
            steps.push((step, next));
        };
        match &receiver.look {
            None => {
                let head = self.table.head;
                if receiver.cursor < head {
                    goes_on(Step::ReadsHead { reader: at, head }, self.table, &|next| {
                        let last = head.min(receiver.cursor + self.setting.page);
                        let slots = VecDeque::new();
                        next.look = Some(Look::Reading { last, slots, next: receiver.cursor + 1 });
                    });
                }
                return;
            }
            Some(Look::Reading { last, slots, next: n }) => {
                goes_on(Step::ReadsEmptySlot { reader: at, n: *n }, self.table, &|next| {
                    next.look = Some(Look::Reading { last: *last, slots: slots.clone(), next: n + 1 });
                });
            }
            // Whether a number is old depends on clocks: it may be so at any time.
            Some(Look::Settling { reader, page, n, found }) => {
                let mut table = self.table;
                let slot = table.settle(*n);
                goes_on(Step::Settles { reader: at, n: *n }, table, &|next| {
                    let (mut reader, mut page) = (reader.clone(), page.clone());
                    reader.settled(&mut page, *n, slot.clone());
                    next.pass(reader, page, found.clone());
                });
                goes_on(Step::Waits { reader: at, n: *n }, self.table, &|next| {
                    next.pass(reader.clone(), Page { old: 0, ..page.clone() }, found.clone());
                });
            }
        }
        // The answer gets lost: the receiver asks again from where it was.
        goes_on(Step::Restarts { reader: at }, self.table, &|next| next.look = None);
    }
}

impl Receiver {
    /// Whether the next thing that it does is the same at any time.
    fn can_read(&self, table: &Table) -> bool {
        match &self.look {
            Some(Look::Reading { last, next, .. }) => next > last || table.slot(*next).is_some(),
            Some(Look::Settling { n, .. }) => table.slot(*n).is_some(),
            None => false,
        }
    }

    fn read(&mut self, rules: FeedRules, table: &Table) {
        match self.look.take() {
            Some(Look::Reading { last, mut slots, next }) if next <= last => {
                slots.extend(table.slot(next).map(|slot| (next, slot)));
                self.look = Some(Look::Reading { last, slots, next: next + 1 });
            }
            Some(Look::Reading { last, slots, .. }) => {
                let page = Page { slots, last, old: last, forgotten: 0 };
                self.pass(Reader::by(rules, self.cursor), page, Vec::new());
            }
            Some(Look::Settling { mut reader, mut page, n, found }) => {
                if let Some(slot) = table.slot(n) {
                    reader.settled(&mut page, n, slot);
                }
                self.pass(reader, page, found);
            }
            None => {}
        }
    }

    /// Passes what can be passed without asking the table, and answers when nothing else is left to do.
    fn pass(&mut self, mut reader: Reader, mut page: Page<Event>, mut found: Vec<Event>) {
        loop {
            match reader.next(&mut page) {
                Next::Entry(_, event) => found.push(event),
                Next::Settle(n) => {
                    self.look = Some(Look::Settling { reader, page, n, found });
                    return;
                }
                Next::Wait | Next::End => break,
            }
        }
        self.cursor = reader.cursor();
        self.told.append(&mut found);
        self.look = None;
    }
}
