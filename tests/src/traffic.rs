//! Calls as a busy hour has them: they overlap, half of them are answered. And what somebody was told of them.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use crate::Pbx;

/// Who is called, and whether somebody picks up.
const DESKS: [(&str, bool); 4] = [("42", false), ("43", true), ("44", false), ("50", true)];
const PICK_UP_AFTER_MS: u64 = 200;
/// How long a caller waits or talks. Several calls are open at any moment, also at the same desk.
const LASTS: Duration = Duration::from_secs(1);

/// Places calls one after the other, and returns when the last one has ended.
pub async fn place(pbx: &Pbx, calls: usize, every: Duration) {
    for (desk, picks_up) in DESKS {
        let mode = if picks_up { "answer" } else { "ring" };
        pbx.control("/behaviour", &json!({"extension": desk, "mode": mode, "after_ms": PICK_UP_AFTER_MS}));
    }
    let begun = Instant::now();
    join_all((0..calls).map(async |n| {
        sleep_until(begun + every * n as u32).await;
        let (desk, picks_up) = DESKS[n % DESKS.len()];
        let caller = format!("+3249{n:07}");
        pbx.call(&caller, desk);
        pbx.until_leg(&caller, if picks_up { "connected" } else { "alerting" }).await;
        sleep(LASTS).await;
        pbx.hang_up(&caller);
    }))
    .await;
    pbx.until_idle().await;
}

/// The statuses of each call, in the order in which they were told.
pub fn by_call<'a>(events: impl IntoIterator<Item = &'a Value>) -> BTreeMap<String, Vec<String>> {
    let mut calls: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in events {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        calls.entry(text("CallId")).or_default().push(text("status"));
    }
    calls
}

/// What is wrong with what was told of these calls: each status of each call is to come once, and in order.
pub fn complaint(told: &BTreeMap<String, Vec<String>>, calls: usize) -> Option<String> {
    const MISSED: [&str; 2] = ["ringing", "disconnected"];
    const ANSWERED: [&str; 3] = ["ringing", "connected", "disconnected"];
    let wrong: Vec<_> = told.iter().filter(|(_, statuses)| **statuses != MISSED && **statuses != ANSWERED).collect();
    let answered = told.values().filter(|statuses| **statuses == ANSWERED).count();
    if !wrong.is_empty() {
        return Some(format!("{wrong:?}"));
    }
    (told.len() != calls || answered != calls / 2)
        .then(|| format!("{} of {calls} calls, {answered} answered", told.len()))
}
