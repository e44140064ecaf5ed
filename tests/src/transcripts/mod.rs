//! Yesterday, kept: messages and items as earlier versions wrote them, and the proof that this version reads them.
//!
//! A queue holds messages and a table holds items that were written before a deployment. `tests/transcripts` has one of every
//! kind, made by the code that wrote them at the time. [`reading`] hands each to the code that reads it in production and compares
//! what comes of it with the value that was written. [`recorder`] adds what a later version writes; it never changes a file.

mod expected;
mod reading;
mod recorder;
mod shelf;
mod story;
mod values;

use std::path::PathBuf;

use serde_json::Value;

use crate::paths;

fn folder(name: &str) -> PathBuf {
    paths::repository().join("tests/transcripts").join(name)
}

/// The names of all files of a queue or table, in their order.
fn names(of: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder(of)).expect("the folder is there");
    let files = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    let mut names: Vec<String> = files.filter_map(|file| Some(file.strip_suffix(".json")?.to_owned())).collect();
    names.sort();
    names
}

fn read(of: &str, name: &str) -> Value {
    let path = folder(of).join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
