//! The core stories at a PBX that is harder than real ones: each statement about the protocol that nobody has proved is a switch of the
//! simulated PBX, and whatever they are set to, the events are the same.
//!
//! In `make test` the stories are told under a covering array: at most twenty settings, in which every two values of any two switches
//! meet. In `make soak` they are told under each switch alone, too.

mod covering;
mod dialling;
mod faults;
mod plots;
mod rig;

use std::sync::{Mutex, PoisonError};
use std::thread;

use cloud_sim::Faults;
use cloud_sim::story::{Violation, tell};
use pbx_sim::quirks::{Quirks, Switch};
use serde_json::{Map, Value as Json};

use covering::Factor;
use faults::{KNOWN_FAULTS, KnownFault};
use plots::{PLOTS, Plot, Setting};

const MOST_ROWS: usize = 20;
/// Each explanation takes as long as some dozens of stories.
const MOST_EXPLAINED: usize = 10;

/// What came of a story.
struct Outcome {
    complaints: Vec<String>,
}

/// A story that went wrong.
struct Wrong {
    name: String,
    plot: Plot,
    setting: Setting,
    complaints: Vec<String>,
}

/// Tells a story once.
fn told(plot: Plot, setting: &Setting) -> Outcome {
    let quirks = setting.clone();
    let ended = tell(1, Faults::latency_only(), |cloud, ledger| async move { plot.tell(cloud, ledger, &quirks).await });
    let violations = ended.err().map(|failure| failure.violations).unwrap_or_default();
    let text = |violation: Violation| match violation {
        Violation::Wrong { what } => what,
        other => format!("{other:?}"),
    };
    // What follows is the stack of an error.
    let shortly = |text: String| text.lines().next().unwrap_or_default().to_owned();
    Outcome { complaints: violations.into_iter().map(text).map(shortly).collect() }
}

/// Tells each of these stories, side by side on the machine's cores; in their order.
fn all_told(stories: &[(Plot, Setting)]) -> Vec<Outcome> {
    let next = Mutex::new(0..stories.len());
    let outcomes: Vec<Mutex<Option<Outcome>>> = stories.iter().map(|_| Mutex::default()).collect();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let n = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(n) = n else { return };
                    let outcome = told(stories[n].0, &stories[n].1);
                    *outcomes[n].lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
                }
            });
        }
    });
    outcomes.into_iter().filter_map(|outcome| outcome.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

/// Tells all stories under each setting, prints what held, and returns what did not.
fn told_under(settings: &[(String, Setting)]) -> Vec<Wrong> {
    let all = settings.iter().flat_map(|(_, setting)| PLOTS.map(|plot| (plot, setting.clone())));
    let is_known = |(plot, setting): &(Plot, Setting)| KNOWN_FAULTS.iter().any(|fault| fault.explains(*plot, setting));
    let (known, stories): (Vec<_>, Vec<_>) = all.partition(is_known);
    let mut outcomes = stories.iter().zip(all_told(&stories));
    let names: Vec<String> = PLOTS.iter().map(|plot| format!("{plot:?}")).collect();
    let widest = settings.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    println!("{:widest$}  {}", "", names.join(" "));
    let mut wrong = Vec::new();
    for (name, setting) in settings {
        let mut cells = Vec::new();
        for (plot, title) in PLOTS.iter().zip(&names) {
            let word = if known.contains(&(*plot, setting.clone())) {
                "known"
            } else {
                let (_, outcome) = outcomes.next().expect("every story was told");
                if outcome.complaints.is_empty() {
                    "holds"
                } else {
                    let (plot, setting) = (*plot, setting.clone());
                    wrong.push(Wrong { name: name.clone(), plot, setting, complaints: outcome.complaints });
                    "FAILS"
                }
            };
            cells.push(format!("{word:width$}", width = title.len()));
        }
        println!("{name:widest$}  {}", cells.join(" "));
    }
    wrong
}

/// The fewest switches of a setting with which a story still goes wrong.
fn least(plot: Plot, setting: &Setting) -> Setting {
    let plain = Quirks::default().values();
    let mut left: Vec<(String, Json)> = setting
        .iter()
        .filter(|(name, value)| plain[*name] != **value)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    // Halves first, then ever smaller parts.
    let mut part = left.len().div_ceil(2);
    while part > 0 {
        let mut at = 0;
        while at < left.len() {
            let without: Vec<_> = left.iter().enumerate().filter(|(n, _)| !(at..at + part).contains(n)).collect();
            let without: Vec<(String, Json)> = without.into_iter().map(|(_, one)| one.clone()).collect();
            if told(plot, &without.iter().cloned().collect()).complaints.is_empty() {
                at += part;
            } else {
                left = without;
            }
        }
        part = if part == 1 { 0 } else { part.div_ceil(2) };
    }
    left.into_iter().collect()
}

/// Every value of every switch that is not plain, alone.
fn alone() -> Vec<(String, Setting)> {
    let table = Quirks::default().table();
    let values = table.iter().flat_map(|switch| {
        let others = switch.values.iter().filter(|value| **value != switch.default);
        others.map(|value| Map::from_iter([(switch.name.to_owned(), value.clone())]))
    });
    values.map(|setting| (name_of(&setting), setting)).collect()
}

fn name_of(setting: &Setting) -> String {
    let parts: Vec<String> = setting.iter().map(|(name, value)| format!("{name}={value}")).collect();
    parts.join(" ")
}

/// The rows of the covering array, without what is known to fail.
fn rows() -> Vec<(String, Setting)> {
    let forbidden: Vec<Setting> = KNOWN_FAULTS.iter().map(KnownFault::setting).collect();
    let is_fault = |name: &str, value: &Json| forbidden.contains(&Map::from_iter([(name.to_owned(), value.clone())]));
    let factor = |switch: Switch| {
        let (plain, others) = (switch.default, switch.values);
        let others = others.into_iter().filter(|value| *value != plain && !is_fault(switch.name, value));
        Factor { name: switch.name.to_owned(), values: std::iter::once(plain.clone()).chain(others).collect() }
    };
    let factors: Vec<Factor> = Quirks::default().table().into_iter().map(factor).collect();
    let rows = covering::rows(&factors, &forbidden, MOST_ROWS).expect("every two values meet in so many rows");
    rows.into_iter().enumerate().map(|(n, setting)| (format!("row {}", n + 1), setting)).collect()
}

/// Fails if a story went wrong; says with which switches the first few did.
fn verdict(wrong: &[Wrong]) {
    for Wrong { name, plot, setting, complaints } in wrong.iter().take(MOST_EXPLAINED) {
        println!("{name}: {plot:?} with {}: {}", name_of(&least(*plot, setting)), complaints.join("; "));
    }
    assert!(wrong.is_empty(), "{} stories went wrong", wrong.len());
}

#[test]
fn plain_pbx_and_every_two_values_together() {
    let mut settings = vec![("plain".to_owned(), Map::new())];
    settings.extend(rows());
    verdict(&told_under(&settings));
}

#[test]
#[ignore = "takes minutes; `make soak` runs it"]
fn each_switch_alone() {
    verdict(&told_under(&alone()));
}

/// What is in the list of known faults is one. A fault that is mended has to leave it.
#[test]
fn known_faults_still_are() {
    let all = KNOWN_FAULTS.iter().flat_map(|fault| fault.plots.iter().map(move |plot| (fault, *plot)));
    let all: Vec<(&KnownFault, Plot)> = all.collect();
    let stories: Vec<(Plot, Setting)> = all.iter().map(|(fault, plot)| (*plot, fault.setting())).collect();
    let told = all.iter().zip(all_told(&stories)).filter(|(_, outcome)| outcome.complaints.is_empty());
    let text = |(fault, plot): &(&KnownFault, Plot)| {
        format!("{plot:?} holds with {}, where {}", name_of(&fault.setting()), fault.what)
    };
    let mended: Vec<String> = told.map(|(story, _)| text(story)).collect();
    assert!(mended.is_empty(), "take out of the list what is mended: {mended:#?}");
}
