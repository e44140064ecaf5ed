//! Somebody who pages through `GET /events`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::Method;
use cloud_sim::story::Ledger;
use serde_json::Value as Json;
use tokio::time::sleep;

use crate::api::Api;
use crate::machine::Chance;
use crate::receivers::event_of;

const SHORTEST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A feed that shows nothing may wait for a writer that died. So often, with the longest pause between, it has to show nothing until
/// that is the end.
const LOOKS_IN_VAIN: u32 = 8;

#[derive(Debug)]
pub(crate) struct Poller {
    pub(crate) name: String,
    api: Api,
    ledger: Ledger,
    chance: Chance,
    cursor: String,
    /// Nothing more will come.
    last_round: Arc<AtomicBool>,
}

impl Poller {
    pub(crate) fn new(name: &str, api: &Api, ledger: &Ledger, chance: &Chance, last_round: &Arc<AtomicBool>) -> Self {
        Self {
            name: name.to_owned(),
            api: api.clone(),
            ledger: ledger.clone(),
            chance: chance.clone(),
            cursor: "0".to_owned(),
            last_round: last_round.clone(),
        }
    }

    /// Polls, with long polls and short ones, until nothing more comes.
    pub(crate) async fn run(mut self) {
        let (mut in_vain, mut pause) = (0, SHORTEST_PAUSE);
        loop {
            let is_last = self.last_round.load(Ordering::SeqCst);
            // It asks quickly while something comes, and waits when nothing does.
            let waits = !is_last && pause > SHORTEST_PAUSE * 10 && self.chance.happens(0.5);
            let wait = if waits { self.chance.number(1, 20) } else { 0 };
            let limit = self.chance.number(1, 20);
            let came = self.look(wait, limit).await;
            in_vain = if is_last && came == Some(0) { in_vain + 1 } else { 0 };
            if in_vain == LOOKS_IN_VAIN {
                return;
            }
            pause = match came {
                Some(1..) => SHORTEST_PAUSE,
                _ if is_last => LONGEST_PAUSE,
                _ => (pause * 2).min(LONGEST_PAUSE),
            };
            sleep(pause).await;
        }
    }

    /// One page; returns how many events were on it, if it came.
    async fn look(&mut self, wait: u64, limit: u64) -> Option<usize> {
        let path = format!("/events?after={}&wait={wait}&limit={limit}", self.cursor);
        let (status, page) = self.api.ask(Method::GET, &path, None).await?;
        if status != 200 {
            assert_eq!(page["retryable"], true, "{path}: {status} {page}");
            return None;
        }
        let events = page["events"].as_array().expect("events");
        for event in events {
            let (call, number) = event_of(event).expect("an event");
            self.ledger.accepted(&format!("{} {call}", self.name), number);
        }
        self.cursor = page["cursor"].as_str().expect("a cursor").to_owned();
        Some(events.len())
    }
}

/// Everything that the feed has, from its beginning.
pub(crate) async fn whole_feed(api: &Api) -> Vec<Json> {
    whole_feed_of(api, "call").await
}

/// The same of these kinds.
pub(crate) async fn whole_feed_of(api: &Api, kinds: &str) -> Vec<Json> {
    let (mut events, mut cursor, mut in_vain) = (Vec::new(), "0".to_owned(), 0);
    while in_vain < LOOKS_IN_VAIN {
        let mut page = api.get(&format!("/events?after={cursor}&limit=200&kinds={kinds}")).await;
        let Json::Array(found) = page["events"].take() else { panic!("no events in {page}") };
        if found.is_empty() {
            in_vain += 1;
            sleep(LONGEST_PAUSE).await;
        }
        events.extend(found);
        cursor = page["cursor"].as_str().expect("a cursor").to_owned();
    }
    events
}
