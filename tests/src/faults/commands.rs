//! A program that places calls all the while, and what became of each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::json;
use shared::command::{ACT_WITHIN, CommandState};
use shared::ids::CommandId;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Scene;
use crate::Answer;

/// Frames reach the simulator's log a moment after they were written, and the clocks tell milliseconds.
const ON_THE_WAY: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Placed {
    number: String,
    answer: Answer,
    /// To the command that was to end the call.
    end: Option<Answer>,
}

/// Places calls from the queue 77 until told to stop, each to a number of its own, and hangs up what comes of it.
pub(super) async fn place(
    scene: Arc<Scene>,
    every: Duration,
    mut choices: StdRng,
    mut stopped: watch::Receiver<bool>,
) -> Vec<Placed> {
    let mut placed = JoinSet::new();
    for n in 0.. {
        if *stopped.borrow() {
            break;
        }
        let wait = choices.random_range(0..=8);
        let scene = scene.clone();
        placed.spawn(async move {
            let number = format!("+3248{n:07}");
            let body = json!({"from": "77", "to": number});
            let answer = scene.stack.api.post(&format!("/rcc/makecall?wait={wait}"), body).await;
            sleep(Duration::from_secs(1)).await;
            // Every other call is ended by a command, too; the agent that placed it may be gone by then.
            let call = answer.text("CallId");
            let end = if n % 2 == 0 && !call.is_empty() {
                Some(scene.stack.api.post("/rcc/disconnect", json!({"CallId": call})).await)
            } else {
                None
            };
            let _ = scene.pbx.0.control("/hangup", json!({"extension": number}));
            Placed { number, answer, end }
        });
        tokio::select! {
            () = sleep(every) => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    }
    placed.join_all().await
}

/// Panics if a command acted twice, late, or not as was said.
pub(super) async fn judge(scene: &Scene, commands: &[Placed]) {
    let mut acted: HashMap<String, Vec<i64>> = HashMap::new();
    for entry in scene.ledger.user_calls() {
        let digits = entry["frame"]["e164"].as_str().unwrap_or_default();
        // As a queue dials abroad: the trunk, the international prefix, the number.
        let number = format!("+{}", digits.trim_start_matches('0'));
        acted.entry(number).or_default().push(entry["at"].as_i64().expect("a time"));
    }
    let mut complaints = Vec::new();
    let mut succeeded = 0;
    let mut ended = 0;
    for Placed { number, answer, end } in commands {
        if let Some(end) = end {
            ended += usize::from(end.status == 200);
            if end.status >= 500 {
                complaints.push(format!("{number}: {} {}", end.status, end.body));
            }
        }
        let frames = acted.remove(number).unwrap_or_default();
        if frames.len() > 1 {
            complaints.push(format!("{number} was called {} times: {}", frames.len(), answer.body));
        }
        if answer.status >= 500 {
            complaints.push(format!("{number}: {} {}", answer.status, answer.body));
        }
        let state = match answer.text("commandId").parse::<CommandId>() {
            Ok(id) => {
                // A look is what ends a command that nobody took.
                let shown = scene.stack.api.get(&format!("/rcc/commands/{id}")).await;
                let command = scene.stack.exchange.command(id).await.expect("the table answers").expect("a command");
                let latest = command.created_at + (ACT_WITHIN + ON_THE_WAY).as_millis() as i64;
                if let Some(at) = frames.iter().find(|at| **at > latest) {
                    complaints.push(format!("{number} was called {} ms after the command", at - command.created_at));
                }
                Some((command.state, shown.text("state").to_owned()))
            }
            Err(_) => None,
        };
        let done = answer.status == 200 && answer.text("state") == "succeeded";
        succeeded += usize::from(done);
        if done && frames.is_empty() {
            complaints.push(format!("{number} was not called, but the answer was {}", answer.body));
        }
        // An expired command, and one that was refused before it was written, is the promise that nothing has happened.
        let never = state.as_ref().is_none_or(|(state, _)| *state == CommandState::Expired);
        if never && !frames.is_empty() {
            complaints.push(format!("{number} was called, but the command ended as {state:?}: {}", answer.body));
        }
        if state.is_some_and(|(_, shown)| shown == "queued") {
            complaints.push(format!("{number}: the command waits for ever: {}", answer.body));
        }
    }
    if !acted.is_empty() {
        complaints.push(format!("nobody asked for these calls: {acted:?}"));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(succeeded > 0 && ended > 0, "not one of {} calls was placed, or ended by a command", commands.len());
}
