//! Every interleaving of writers, readers and crashes that the protocol allows, breadth first, with the code that runs.
//!
//! [`model`] is the table: its operations are atomic, and nothing else is. [`world`] are those who use it. The search is bounded by
//! the numbers that may be reserved, because a reader without patience and a writer can go on for ever, and by how often
//! somebody crashes, gives up, or is taken for dead. Within these bounds it looks at everything.

mod fingerprint;
mod model;
mod tests;
mod world;

use std::collections::HashMap;
use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use fingerprint::Fingerprint;
use world::{Step, World};

/// What a search came to.
#[derive(Debug, PartialEq, Eq)]
struct Searched {
    states: usize,
    /// States in which everybody is done.
    ends: usize,
    /// What is wrong, and by which shortest way it comes to it.
    wrong: Option<(String, Vec<Step>)>,
}

fn search(start: World) -> Searched {
    let mut seen: HashMap<Fingerprint, Option<(Fingerprint, Step)>> = HashMap::from([(start.fingerprint(), None)]);
    let mut todo = VecDeque::from([(start.fingerprint(), start)]);
    let mut ends = 0;
    while let Some((here, world)) = todo.pop_front() {
        if let Some(what) = world.wrong() {
            let mut way: Vec<Step> = Vec::new();
            let mut at = here;
            while let Some(Some((before, step))) = seen.get(&at) {
                way.push(*step);
                at = *before;
            }
            way.reverse();
            return Searched { states: seen.len(), ends, wrong: Some((what, way)) };
        }
        ends += usize::from(world.is_at_rest());
        for (step, next) in world.steps() {
            let there = next.fingerprint();
            if let Entry::Vacant(new) = seen.entry(there) {
                new.insert(Some((here, step)));
                todo.push_back((there, next));
            }
        }
    }
    Searched { states: seen.len(), ends, wrong: None }
}
