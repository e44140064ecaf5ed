//! People at phones: they call, wait, pick up, hold, hand over and hang up, several at a time. A PBX that forgets their call surprises
//! nobody: they go on with the next one.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Scene;

const DESKS: [&str; 10] = ["42", "43", "44", "50", "1000", "1001", "1002", "1003", "1004", "1005"];
const QUEUE: &str = "78";

/// What two people and their phones do, with how long each step takes.
#[derive(Clone, Copy, Debug)]
enum Script {
    Missed,
    Answered,
    Held,
    Outgoing,
    Redirected,
    Transferred,
    Queued,
}

const SCRIPTS: [Script; 12] = [
    Script::Missed,
    Script::Missed,
    Script::Answered,
    Script::Answered,
    Script::Answered,
    Script::Held,
    Script::Outgoing,
    Script::Outgoing,
    Script::Outgoing,
    Script::Redirected,
    Script::Transferred,
    Script::Queued,
];

/// Begins calls until told to stop, and returns how many when the last one has ended.
pub(super) async fn call(
    scene: Arc<Scene>,
    every: Duration,
    mut choices: StdRng,
    mut stopped: watch::Receiver<bool>,
) -> usize {
    let mut conversations = JoinSet::new();
    let mut begun = 0;
    while !*stopped.borrow() {
        let script = SCRIPTS[choices.random_range(0..SCRIPTS.len())];
        let desk = choices.random_range(0..DESKS.len());
        let other = (desk + choices.random_range(1..DESKS.len())) % DESKS.len();
        let steps = std::array::from_fn(|_| Duration::from_millis(choices.random_range(200..2500)));
        // One in eight talks for long, so that its call outlives several faults.
        let talks = if choices.random_ratio(1, 8) { 8000..25_000 } else { 300..3000 };
        let talks = Duration::from_millis(choices.random_range(talks));
        // No number is used twice, so that a call is known by it.
        let number = format!("+3249{begun:07}");
        let party = Party { scene: scene.clone(), number, desk: DESKS[desk], other: DESKS[other] };
        conversations.spawn(async move { party.play(script, steps, talks).await });
        begun += 1;
        tokio::select! {
            () = sleep(every) => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    }
    while let Some(ended) = conversations.join_next().await {
        ended.expect("a conversation ends well");
    }
    begun
}

struct Party {
    scene: Arc<Scene>,
    /// Of the one outside.
    number: String,
    desk: &'static str,
    other: &'static str,
}

impl Party {
    async fn play(&self, script: Script, steps: [Duration; 3], talks: Duration) {
        let (from, to) = match script {
            Script::Outgoing => (self.desk, self.number.as_str()),
            Script::Queued => (self.number.as_str(), QUEUE),
            _ => (self.number.as_str(), self.desk),
        };
        if matches!(script, Script::Missed | Script::Answered | Script::Held | Script::Outgoing) {
            self.scene.ledger.expect(&self.number, self.desk);
        }
        let Some(call) = self.act("/call", json!({"from": from, "to": to})) else { return };
        let id = &call["id"];
        sleep(steps[0]).await;
        match script {
            Script::Missed => {}
            Script::Answered => {
                self.act("/answer", json!({"extension": self.desk, "id": id}));
                sleep(talks).await;
            }
            Script::Outgoing => {
                self.act("/answer", json!({"extension": self.number}));
                sleep(talks).await;
            }
            Script::Held => {
                self.act("/answer", json!({"extension": self.desk, "id": id}));
                sleep(steps[1]).await;
                self.act("/hold", json!({"extension": self.desk, "id": id}));
                sleep(steps[2]).await;
                self.act("/retrieve", json!({"extension": self.desk, "id": id}));
                sleep(talks).await;
            }
            Script::Redirected => {
                self.act("/redirect", json!({"extension": self.desk, "to": self.other, "id": id}));
                sleep(steps[1]).await;
                self.act("/answer", json!({"extension": self.other, "id": id}));
                sleep(talks).await;
            }
            Script::Transferred => self.consult(id, steps, talks).await,
            Script::Queued => {
                // It is offered for ten seconds, and again after two; nobody but sometimes 42 takes it.
                sleep(talks * 2).await;
                self.act("/answer", json!({"extension": "42", "id": id}));
                sleep(steps[1]).await;
            }
        }
        self.act("/hangup", json!({"extension": self.number}));
    }

    /// The desk asks a colleague and joins the two: the later call's conference gives way.
    async fn consult(&self, id: &Value, steps: [Duration; 3], talks: Duration) {
        self.act("/answer", json!({"extension": self.desk, "id": id}));
        sleep(steps[1]).await;
        self.act("/hold", json!({"extension": self.desk, "id": id}));
        if let Some(second) = self.act("/call", json!({"from": self.desk, "to": self.other})) {
            sleep(steps[2]).await;
            self.act("/answer", json!({"extension": self.other, "id": second["id"]}));
            sleep(steps[1]).await;
            self.act("/transfer", json!({"extension": self.desk}));
            sleep(talks).await;
            self.act("/hangup", json!({"extension": self.other, "id": second["id"]}));
        }
    }

    /// What a key does, if the PBX lets it.
    fn act(&self, key: &str, body: Value) -> Option<Value> {
        self.scene.pbx.0.control(key, body).ok()
    }
}
