//! One makecall, repeated many times at once under one name. The end-to-end suite runs it for seconds, `make soak` for minutes.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{Stack, eventually};

const NAME: &str = "one-call";

#[derive(Clone, Copy, Debug)]
pub struct Repeats {
    pub count: usize,
    pub at_a_time: usize,
    /// How many of them have another body.
    pub other_bodies: usize,
}

/// Sends the repeats and returns the one final answer. Panics when two equal requests get different commands, or, once it is
/// known, different answers, or when a request with another body is not refused.
pub async fn repeat(stack: &Stack, repeats: &Repeats) -> Value {
    let every = repeats.count / repeats.other_bodies.max(1);
    let answers: Vec<(bool, u16, Value)> = stream::iter(0..repeats.count)
        .map(async |n| {
            let other = repeats.other_bodies > 0 && n % every == every / 2;
            let to = if other { "43" } else { "50" };
            let answer = stack.api.post_named("/rcc/makecall", NAME, &json!({"from": "77", "to": to})).await;
            (other, answer.status, answer.body)
        })
        .buffer_unordered(repeats.at_a_time)
        .collect()
        .await;

    let (others, same): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(other, ..)| *other);
    assert_eq!(others.len(), repeats.other_bodies);
    for (_, status, body) in &others {
        assert_eq!((*status, &body["code"]), (409, &json!("idempotency_conflict")), "{body}");
    }
    let commands: BTreeSet<String> = same.iter().map(|(_, _, body)| body["commandId"].to_string()).collect();
    assert_eq!(commands.len(), 1, "{commands:?}");
    let finals: BTreeSet<String> = same
        .iter()
        .filter(|(_, status, _)| *status != 202)
        .map(|(_, status, body)| format!("{status} {body}"))
        .collect();
    assert!(finals.len() <= 1, "{finals:?}");

    let last = eventually("the command is over", async || {
        match stack.api.post_named("/rcc/makecall", NAME, &json!({"from": "77", "to": "50"})).await {
            answer if answer.status == 202 => Err(answer.body.to_string()),
            answer => Ok(answer.ok()),
        }
    })
    .await;
    assert!(finals.iter().all(|known| *known == format!("200 {}", last.body)), "{finals:?}");
    last.body
}
