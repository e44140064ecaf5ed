use jiff::SignedDuration;
use proptest::prelude::*;
use shared::delivery::Delivery;
use shared::envelope;
use shared::event::{CallChange, CallEvent, CallUpdate, Status, message};
use shared::ids::{DeliveryId, EventId, WebhookId};
use shared::webhook::{Secret, Settings};

use super::*;

fn now() -> Timestamp {
    "2022-09-16T11:57:50Z".parse().expect("a time")
}

fn call_id(call: u8) -> CallId {
    format!("00000000-0000-4000-8000-0000000000{call:02x}").parse().expect("an id")
}

fn event(call: u8, status: Status) -> CallEvent {
    CallEvent::example(call_id(call), status, now())
}

fn record(id: &str, group: &str) -> FifoRecord {
    let sent_at = Some(now() - SignedDuration::from_secs(4));
    let (receipt, group) = (format!("receipt-{id}"), group.to_owned());
    FifoRecord { id: id.to_owned(), receipt, group, sent_at, queue: None, receives: 1 }
}

/// What an agent sends: the group is the call.
fn sent(id: &str, call: u8, status: Status) -> FifoMessage {
    let event = event(call, status);
    FifoMessage { record: record(id, &event.call_id().to_string()), body: message::seal(&event).expect("json") }
}

fn poison(id: &str, call: u8) -> FifoMessage {
    FifoMessage { record: record(id, &call_id(call).to_string()), body: r#"{"v":99}"#.to_owned() }
}

fn nothing_recorded() -> HashMap<CallId, RecordedCall> {
    HashMap::new()
}

fn recorded(statuses: &[(u8, Option<u64>)]) -> RecordedCall {
    RecordedCall { statuses: statuses.to_vec(), ..RecordedCall::default() }
}

fn update(id: &str, call: u8, from: &str, seconds: i64) -> FifoMessage {
    let mut event = event(call, Status::Connected);
    event.update = Some(CallUpdate { change: CallChange::Parties, revision: 0 });
    event.web_hook_event.from = from.to_owned();
    event.occurred_at += SignedDuration::from_secs(seconds);
    event.event_id = EventId::of_snapshot(event.call_id(), from, &seconds.to_string());
    FifoMessage { record: record(id, &event.call_id().to_string()), body: message::seal(&event).expect("json") }
}

fn webhook(n: u128) -> Webhook {
    let id = format!("{n:032x}").parse::<WebhookId>().expect("an id");
    let settings = Settings::new("https://example.com/hook".to_owned());
    Webhook::new(id, settings, Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"), now())
}

/// Takes steps until none is left; `refuse` names the records whose deliveries are not accepted.
fn run(batch: &mut Batch, refuse: &[usize]) -> Vec<Vec<usize>> {
    let mut steps = Vec::new();
    loop {
        let step = batch.next_step();
        if step.is_empty() {
            return steps;
        }
        for at in &step {
            match (refuse.contains(at), batch.entry(*at).message.is_ok()) {
                (true, _) => batch.fail(*at),
                (false, true) => batch.fanned_out(*at),
                (false, false) => batch.done(*at),
            }
        }
        steps.push(step);
    }
}

fn record_all(batch: &mut Batch) {
    for at in batch.to_record() {
        batch.done(at);
    }
}

fn returned(batch: &Batch) -> Vec<(String, u64)> {
    let back = batch.going_back(now(), || 0.0);
    back.ids().iter().cloned().zip(back.visibility().iter().map(|(_, delay)| delay.as_secs())).collect()
}

#[test]
fn calls_go_together_and_each_in_order() {
    let messages = [
        sent("1", 1, Status::Ringing),
        sent("2", 2, Status::Ringing),
        sent("3", 1, Status::Connected),
        sent("4", 1, Status::Disconnected),
        sent("5", 2, Status::Disconnected),
    ];
    let mut batch = Batch::read(&messages);
    assert_eq!(batch.calls(), [call_id(1), call_id(2)]);
    assert_eq!(batch.find_repeats(&nothing_recorded()), Repeats::default());
    assert_eq!(run(&mut batch, &[]), [vec![0, 1], vec![2, 4], vec![3]]);
    assert_eq!(batch.to_record(), [0, 1, 2, 3, 4]);
    record_all(&mut batch);
    assert!(batch.going_back(now(), || 0.0).is_empty());
}

#[test]
fn copies_and_superseded_events_are_acknowledged_without_a_delivery() {
    let messages = [
        sent("1", 1, Status::Connected),
        sent("copy", 1, Status::Connected),
        sent("late", 1, Status::Ringing),
        sent("known", 2, Status::Connected),
        sent("older", 2, Status::Ringing),
        sent("new", 2, Status::Disconnected),
    ];
    let mut batch = Batch::read(&messages);
    let repeats = batch.find_repeats(&HashMap::from([(call_id(2), recorded(&[(2, None)]))]));
    assert_eq!(repeats, Repeats { copies: 1, superseded: 3 });
    assert_eq!(run(&mut batch, &[]), [[0, 5]]);
    record_all(&mut batch);
    assert_eq!(returned(&batch), []);
}

#[test]
fn a_repeat_of_a_whole_batch_needs_no_delivery_but_is_settled() {
    let messages = [sent("1", 1, Status::Ringing), sent("2", 1, Status::Connected), sent("3", 2, Status::Ringing)];
    let mut batch = Batch::read(&messages);
    let known =
        HashMap::from([(call_id(1), recorded(&[(2, Some(8)), (1, Some(5))])), (call_id(2), recorded(&[(1, Some(6))]))]);
    assert_eq!(batch.find_repeats(&known), Repeats { copies: 0, superseded: 3 });
    assert!(batch.next_step().is_empty());
    // Whoever recorded them may have died before they were in the feed: until that is known they are not acknowledged.
    assert_eq!(batch.to_record_by_call(), [vec![0, 1], vec![2]]);
    assert_eq!([0, 1, 2].map(|at| batch.entry(at).number), [Some(5), Some(8), Some(6)]);
    assert_eq!(returned(&batch).len(), 3);
    record_all(&mut batch);
    assert_eq!(returned(&batch), []);
}

#[test]
fn what_a_transaction_recorded_is_settled() {
    let messages = [sent("1", 1, Status::Ringing), sent("2", 1, Status::Connected)];
    let mut batch = Batch::read(&messages);
    let known = HashMap::from([(call_id(1), recorded(&[(2, None), (1, None)]))]);
    assert_eq!(batch.find_repeats(&known), Repeats { copies: 0, superseded: 2 });
    assert!(batch.to_record().is_empty());
    assert_eq!(returned(&batch), []);
}

#[test]
fn a_late_event_is_superseded_by_what_is_recorded_and_by_what_is_before_it() {
    let messages = [sent("1", 1, Status::Ringing), sent("2", 2, Status::Disconnected), sent("3", 2, Status::Connected)];
    let mut batch = Batch::read(&messages);
    let known = HashMap::from([(call_id(1), recorded(&[(3, Some(9))]))]);
    assert_eq!(batch.find_repeats(&known), Repeats { copies: 0, superseded: 2 });
    assert_eq!(run(&mut batch, &[]), [[1]]);
    assert_eq!(batch.to_record(), [1]);
}

#[test]
fn a_failure_in_the_middle_stops_its_call_only() {
    let messages = [
        sent("1", 1, Status::Ringing),
        sent("2", 2, Status::Ringing),
        sent("3", 1, Status::Connected),
        sent("4", 2, Status::Connected),
        sent("5", 1, Status::Disconnected),
    ];
    let mut batch = Batch::read(&messages);
    batch.find_repeats(&nothing_recorded());
    assert_eq!(run(&mut batch, &[2]), [vec![0, 1], vec![2, 3]]);
    assert_eq!(batch.to_record(), [0, 1, 3], "neither the failed event nor the one behind it");
    record_all(&mut batch);
    // Sent 4 s ago, so it waits for another 4 s, and its follower appears right behind it.
    assert_eq!(returned(&batch), [("3".to_owned(), 4), ("5".to_owned(), 0)]);
}

#[test]
fn an_event_that_was_not_recorded_takes_the_rest_of_its_call_along() {
    let messages = [
        sent("1", 1, Status::Ringing),
        sent("2", 1, Status::Connected),
        sent("3", 2, Status::Ringing),
        sent("copy", 1, Status::Connected),
    ];
    let mut batch = Batch::read(&messages);
    batch.find_repeats(&nothing_recorded());
    run(&mut batch, &[]);
    batch.fail(0);
    assert_eq!(batch.to_record(), [2]);
    batch.done(2);
    assert_eq!(returned(&batch), [("1".to_owned(), 4), ("2".to_owned(), 0), ("copy".to_owned(), 0)]);
}

#[test]
fn updates_are_numbered_in_their_order_and_supersede_no_status() {
    let messages = [
        sent("1", 1, Status::Connected),
        update("2", 1, "50", 1),
        update("again", 1, "50", 2),
        update("3", 1, "51", 3),
        sent("4", 1, Status::Disconnected),
        update("late", 1, "52", 4),
    ];
    let mut batch = Batch::read(&messages);
    assert_eq!(batch.calls_with_updates(), HashSet::from([call_id(1)]));
    assert_eq!(batch.find_repeats(&nothing_recorded()), Repeats { copies: 0, superseded: 2 });
    assert_eq!(run(&mut batch, &[]), [[0], [1], [3], [4]]);
    let revision = |at: usize| batch.entry(at).message.as_ref().expect("a message").event.update.map(|u| u.revision);
    assert_eq!([0, 1, 3, 4].map(revision), [None, Some(1), Some(2), None]);
    let ids = [1, 3].map(|at| batch.entry(at).message.as_ref().expect("a message").tag.dedup);
    assert_eq!(ids, [1, 2].map(|revision| EventId::of_update(call_id(1), revision)));
    assert_eq!(batch.to_record(), [0, 1, 3, 4]);
    record_all(&mut batch);
    assert_eq!(returned(&batch), []);
}

#[test]
fn what_cannot_be_read_is_a_step_of_its_own() {
    let messages = [sent("1", 1, Status::Ringing), poison("2", 1), sent("3", 1, Status::Connected), poison("4", 2)];
    let mut batch = Batch::read(&messages);
    batch.find_repeats(&nothing_recorded());
    assert!(matches!(batch.entry(1).message, Err(EnvelopeError::UnknownVersion(99))));
    assert_eq!(run(&mut batch, &[]), [vec![0, 3], vec![1], vec![2]]);
    assert_eq!(batch.to_record(), [0, 2]);
    record_all(&mut batch);
    assert_eq!(returned(&batch), []);

    // The dead-letter queue does not take it: the group stops there, like at any failure.
    let mut batch = Batch::read(&messages);
    batch.find_repeats(&nothing_recorded());
    run(&mut batch, &[1]);
    record_all(&mut batch);
    assert_eq!(returned(&batch), [("2".to_owned(), 4), ("3".to_owned(), 0)]);
}

#[test]
fn an_untouched_batch_goes_back_whole() {
    let messages = [sent("1", 1, Status::Ringing), sent("2", 1, Status::Connected), poison("3", 2)];
    let batch = Batch::read(&messages);
    assert_eq!(returned(&batch), [("1".to_owned(), 4), ("2".to_owned(), 0), ("3".to_owned(), 4)]);
}

#[test]
fn after_hours_of_an_outage_records_come_more_rarely() {
    let often = |receives| {
        let FifoMessage { record, body } = sent("1", 1, Status::Ringing);
        let sent_at = Some(now() - SignedDuration::from_hours(10));
        returned(&Batch::read(&[FifoMessage { record: FifoRecord { receives, sent_at, ..record }, body }]))[0].1
    };
    assert_eq!([1, 100, 101, 151].map(often), [30, 30, 300, 1800]);
}

#[test]
fn what_another_receiver_has_is_left_to_it_and_its_followers_wait() {
    let messages = [
        sent("1", 1, Status::Ringing),
        sent("2", 1, Status::Connected),
        sent("3", 1, Status::Disconnected),
        sent("4", 2, Status::Ringing),
    ];
    let mut batch = Batch::read(&messages);
    batch.leave([0, 2]);
    assert_eq!(batch.calls(), [call_id(2)]);
    batch.find_repeats(&HashMap::from([(call_id(1), recorded(&[(1, Some(7))]))]));
    assert_eq!(run(&mut batch, &[]), [[3]]);
    record_all(&mut batch);
    let back = batch.going_back(now(), || 0.0);
    assert_eq!(back.ids(), ["1", "2", "3"]);
    assert_eq!(back.visibility(), [("receipt-2".to_owned(), Duration::ZERO)]);
}

#[test]
fn a_call_that_somebody_spread_over_groups_keeps_its_order() {
    let other =
        |id, status| FifoMessage { record: record(id, id), body: message::seal(&event(1, status)).expect("json") };
    let messages = [other("1", Status::Ringing), other("2", Status::Connected)];
    let mut batch = Batch::read(&messages);
    batch.find_repeats(&nothing_recorded());
    assert_eq!(batch.next_step(), [0]);
    assert_eq!(run(&mut batch, &[0]), [[0]]);
    assert_eq!(returned(&batch), [("1".to_owned(), 4), ("2".to_owned(), 4)]);
}

#[test]
fn each_webhook_gets_its_own_message() {
    let webhooks = [webhook(1), webhook(2)];
    let event = event(1, Status::Ringing);
    let sealed = message::seal(&event).expect("json");
    let messages = deliveries(&EventMessage::open(&sealed).expect("a message"), None, &webhooks, now());
    for (message, webhook) in messages.iter().zip(&webhooks) {
        let delivery: Delivery = envelope::open(&message.body).expect("a delivery");
        let fanned_out_at = Some(now().as_millisecond());
        assert_eq!(delivery, Delivery { fanned_out_at, ..Delivery::of_call(event.clone(), webhook.id) });
        assert_eq!(message.group, format!("{}.{}", webhook.id, event.call_id()));
        assert_eq!(message.dedup, format!("{}#0", DeliveryId::new(event.event_id, webhook.id)));
    }
    assert_eq!(messages.len(), 2);
}

#[test]
fn who_does_not_want_an_event_gets_none() {
    let mut picky = webhook(1);
    picky.settings.filter.statuses = [Status::Disconnected].into();
    let mut expired = webhook(2);
    expired.settings.expires_at = Some(now().as_second());
    let webhooks = [picky, expired];
    let count = |status| {
        let sealed = message::seal(&event(1, status)).expect("json");
        deliveries(&EventMessage::open(&sealed).expect("a message"), None, &webhooks, now()).len()
    };
    assert_eq!([count(Status::Ringing), count(Status::Disconnected)], [0, 1]);
}

fn any_status() -> impl Strategy<Value = Status> {
    prop_oneof![Just(Status::Ringing), Just(Status::Connected), Just(Status::Disconnected)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever arrives and whatever fails: each call's events go out in order, nothing is fanned out twice or behind a
    /// failure, and every record is either finished or returned.
    #[test]
    fn order_holds_and_nothing_is_lost(
        records in prop::collection::vec((0..4u8, any_status(), prop::bool::weighted(0.1)), 0..20),
        refused in prop::collection::vec(0..20usize, 0..4),
    ) {
        let message = |(n, (call, status, bad)): (usize, &(u8, Status, bool))| {
            let id = n.to_string();
            if *bad { poison(&id, *call) } else { sent(&id, *call, *status) }
        };
        let messages: Vec<FifoMessage> = records.iter().enumerate().map(message).collect();
        let mut batch = Batch::read(&messages);
        batch.find_repeats(&nothing_recorded());
        let steps = run(&mut batch, &refused);
        let order: Vec<usize> = steps.concat();
        for call in 0..4u8 {
            let of_call: Vec<usize> = order.iter().copied().filter(|at| records[*at].0 == call).collect();
            prop_assert!(of_call.is_sorted());
            let sequences: Vec<u8> =
                of_call.iter().filter(|at| !records[**at].2).map(|at| records[*at].1.sequence()).collect();
            prop_assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
            let first_failure = of_call.iter().position(|at| refused.contains(at));
            prop_assert!(first_failure.is_none_or(|at| at == of_call.len() - 1));
        }
        let to_record = batch.to_record();
        prop_assert!(to_record.iter().all(|at| order.contains(at) && !refused.contains(at)));
        record_all(&mut batch);
        let back = batch.going_back(now(), || 0.0);
        for (n, (call, ..)) in records.iter().enumerate() {
            let failed_before = order.iter().any(|at| *at <= n && records[*at].0 == *call && refused.contains(at));
            prop_assert_eq!(back.ids().contains(&n.to_string()), failed_before);
        }
    }
}
