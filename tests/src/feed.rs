//! What may happen to numbers of the feed, done to the table by hand, step by step.

use std::collections::HashMap;
use std::slice;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use shared::event::message::{self, EventMessage};
use shared::event::{CallEvent, Status};
use shared::feed::Writer;
use shared::ids::CallId;
use shared::tables::{FeedPart, StateTable};
use uuid::Uuid;

use crate::eventually;

/// The number of the oldest event that is left.
pub const OLDEST: u64 = 30_000;

struct Feed<'a> {
    client: &'a Client,
    table: &'a str,
    state: StateTable,
}

/// Puts into an empty table what writers that died, late repeats and an older version leave, and panics unless each event comes
/// once and in order. It leaves these events in the feed.
pub async fn tell(client: &Client, table: &str) -> Vec<CallEvent> {
    let feed = Feed { client, table, state: StateTable::new(client.clone(), table.to_owned()) };
    let mut all = feed.transaction_leaves_whole_events().await;
    all.extend(feed.batch_reserves_once().await);
    feed.repeat_leaves_a_gap(&all[1..]).await;
    all.extend(feed.writer_meets_a_tombstone().await);
    all.extend(feed.writer_dies_before_the_slot().await);
    assert_eq!(feed.read_all().await, all);
    all.push(feed.pause_of_weeks_is_forgotten().await);
    feed.places_are_found(&all).await;
    all
}

impl Feed<'_> {
    /// What an older version has written: the event twice, no number under the call, a head without a time. Of what was before, nothing
    /// is left.
    async fn transaction_leaves_whole_events(&self) -> Vec<CallEvent> {
        let event = call().remove(0);
        let now = Timestamp::now();
        let whole = |pk: String, sk: String| {
            HashMap::from([
                text("pk", pk),
                text("sk", sk),
                text("eventId", event.event_id.to_string()),
                text("occurredAt", event.occurred_at.to_string()),
                number("recordedAt", now.as_millisecond()),
                text("event", serde_json::to_string(&event).expect("JSON")),
                number("expiresAt", now.as_second() + 1000),
            ])
        };
        self.put(whole(format!("CALL#{}", event.call_id()), "1".to_owned())).await;
        self.put(whole("FEED#3".to_owned(), format!("{OLDEST:020}"))).await;
        self.put(HashMap::from([text("pk", "FEED"), text("sk", "head"), number("n", OLDEST as i64)])).await;

        assert_eq!(self.recorded(&event).await, [(1, None)]);
        assert_eq!(self.state.call_events(event.call_id()).await.expect("events"), slice::from_ref(&event));
        // A repeat that does not know it finds it done.
        self.settle(vec![None], &[&event]).await;
        assert_eq!(self.recorded(&event).await, [(1, None)]);
        assert_eq!(self.read_all().await, slice::from_ref(&event));
        vec![event]
    }

    async fn batch_reserves_once(&self) -> Vec<CallEvent> {
        let (one, two) = (call(), call());
        let first = self.state.reserve(4, &[]).await.expect("numbers");
        let mut writers = [Writer::new(vec![None; 3]), Writer::new(vec![None])];
        writers[0].give(first..first + 3);
        writers[1].give(first + 3..first + 4);
        let [of_one, of_two] = &mut writers;
        // The later numbers first: a reader waits for those before.
        self.settle_by(of_two, &[&two[0]]).await;
        let before = self.part(first - 1).await;
        assert_eq!((before.entries.len(), before.cursor, before.waits), (0, first - 1, true));
        self.settle_by(of_one, &one.iter().collect::<Vec<_>>()).await;
        assert_eq!(self.recorded(&one[0]).await, [3, 2, 1].map(|n: u8| (n, Some(first + u64::from(n) - 1))));
        assert_eq!(self.state.call_events(one[0].call_id()).await.expect("events"), one);
        one.into_iter().chain([two[0].clone()]).collect()
    }

    /// Of events that are recorded, by somebody who does not know it.
    async fn repeat_leaves_a_gap(&self, events: &[CallEvent]) {
        let head = self.state.feed_head().await.expect("a head").n;
        self.settle(vec![None; 3], &events.iter().take(3).collect::<Vec<_>>()).await;
        assert_eq!(self.state.feed_head().await.expect("a head").n, head + 3);
        assert!(self.part(head).await.waits, "nobody knows yet what the numbers are for");
        let passed = self.read_behind(head).await;
        assert_eq!(passed, [], "they are settled, and nothing is there");
    }

    /// Of a call whose numbers were reserved too long ago.
    async fn writer_meets_a_tombstone(&self) -> Vec<CallEvent> {
        let events = call();
        let first = self.state.reserve(2, &[]).await.expect("numbers");
        assert_eq!(self.read_behind(first - 1).await, [], "a reader settles both");
        let mut writer = Writer::new(vec![None; 2]);
        writer.give(first..first + 2);
        self.settle_by(&mut writer, &[&events[0], &events[1]]).await;
        assert_eq!(self.recorded(&events[0]).await, [(2, Some(first + 3)), (1, Some(first + 2))]);
        events[..2].to_vec()
    }

    /// And a repeat that reads what is recorded settles it.
    async fn writer_dies_before_the_slot(&self) -> Vec<CallEvent> {
        let event = call().remove(0);
        let n = self.state.reserve(1, &[]).await.expect("a number");
        self.put(HashMap::from([
            text("pk", format!("CALL#{}", event.call_id())),
            text("sk", "1"),
            number("v", 1),
            number("n", n as i64),
            text("body", serde_json::to_string(&event).expect("JSON")),
        ]))
        .await;
        let known = self.recorded(&event).await;
        assert_eq!(known, [(1, Some(n))]);
        self.settle(vec![known[0].1], &[&event]).await;
        let part = self.part(n - 1).await;
        assert_eq!((part.entries.len(), part.cursor), (1, n));
        vec![event]
    }

    /// Of thousands of numbers nothing is left; nobody settles them one by one.
    async fn pause_of_weeks_is_forgotten(&self) -> CallEvent {
        let (before, after) = (self.state.feed_head().await.expect("a head").n, 39_000);
        let weeks_ago = Timestamp::now() - SignedDuration::from_hours(16 * 24);
        let (n, at) = (number("n", after as i64), number("reservedAt", weeks_ago.as_millisecond()));
        self.put(HashMap::from([text("pk", "FEED"), text("sk", "head"), n, at])).await;
        assert_eq!(self.part(before).await.cursor, after);
        let event = call().remove(0);
        self.settle(vec![None], &[&event]).await;
        assert_eq!(self.recorded(&event).await, [(1, Some(after + 1))]);
        let part = self.part(before).await;
        assert_eq!((part.cursor, part.entries.len()), (after + 1, 1));
        event
    }

    async fn places_are_found(&self, all: &[CallEvent]) {
        let head = self.state.feed_head().await.expect("a head");
        let (tail, first) = self.state.feed_tail(0, 4, head).await.expect("the tail");
        assert_eq!(tail.cursor, head.n);
        let mut found = self.state.feed_before(first, 0, 100).await.expect("what is before");
        found.reverse();
        found.extend(tail.entries);
        assert_eq!(self.state.events_of(found).await.expect("events"), all);
        let early = self.state.feed_since(Timestamp::UNIX_EPOCH, 0, head).await.expect("a number");
        let late = Timestamp::now() + SignedDuration::from_mins(5);
        let late = self.state.feed_since(late, 0, head).await.expect("a number");
        assert_eq!((early, late), (0, head.n));
    }

    async fn settle(&self, known: Vec<Option<u64>>, events: &[&CallEvent]) {
        self.settle_by(&mut Writer::new(known), events).await;
    }

    async fn settle_by(&self, writer: &mut Writer, events: &[&CallEvent]) {
        let sealed: Vec<String> = events.iter().map(|event| message::seal(event).expect("JSON")).collect();
        let messages: Vec<EventMessage<'_>> =
            sealed.iter().map(|text| EventMessage::open(text).expect("a message")).collect();
        let messages: Vec<&EventMessage<'_>> = messages.iter().collect();
        self.state.settle(writer, &messages).await.expect("they are settled");
    }

    async fn recorded(&self, event: &CallEvent) -> Vec<(u8, Option<u64>)> {
        self.state.recorded(event.call_id(), false).await.expect("what is recorded").statuses
    }

    async fn part(&self, after: u64) -> FeedPart {
        let head = self.state.feed_head().await.expect("a head");
        self.state.feed(after, 100, head).await.expect("a part of the feed")
    }

    async fn read_all(&self) -> Vec<CallEvent> {
        self.read_behind(0).await
    }

    async fn read_behind(&self, after: u64) -> Vec<CallEvent> {
        read_behind(&self.state, after).await
    }

    async fn put(&self, item: HashMap<String, AttributeValue>) {
        self.client.put_item().table_name(self.table).set_item(Some(item)).send().await.expect("it is put");
    }
}

/// Everything behind a number. Numbers whose owner is gone are settled on the way, when they are old enough.
pub async fn read_behind(state: &StateTable, after: u64) -> Vec<CallEvent> {
    let (mut entries, mut after) = (Vec::new(), after);
    eventually("the feed is read to its end", async || {
        let head = state.feed_head().await.map_err(|error| error.to_string())?;
        let part = state.feed(after, 100, head).await.map_err(|error| error.to_string())?;
        after = part.cursor;
        entries.extend(part.entries);
        if after == head.n { Ok(()) } else { Err(format!("{after} of {head:?}")) }
    })
    .await;
    state.events_of(entries).await.expect("the table answers")
}

/// The three events of a call, now: its times are told in whole seconds.
fn call() -> Vec<CallEvent> {
    let call = CallId::from_uuid(Uuid::new_v4());
    let now = Timestamp::from_second(Timestamp::now().as_second()).expect("a time");
    let statuses = [Status::Ringing, Status::Connected, Status::Disconnected];
    statuses.map(|status| CallEvent::full_example(call, status, now)).to_vec()
}

fn text(name: &str, value: impl Into<String>) -> (String, AttributeValue) {
    (name.to_owned(), AttributeValue::S(value.into()))
}

fn number(name: &str, value: i64) -> (String, AttributeValue) {
    (name.to_owned(), AttributeValue::N(value.to_string()))
}
