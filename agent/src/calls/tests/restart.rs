//! An agent that was killed goes on with the calls that it knew.

use super::*;

/// An answered call, of which the agent knows until it is killed at second 20.
fn answered() -> (Disk, Vec<Output>) {
    let (mut calls, mut disk) = (core(), Disk::default());
    let told = play(&mut calls, 0.0, vec![leg(1, 129).conf("c1").peer("50"), leg(1, 132), leg(1, 133)]);
    disk.keep(&mut calls, at(20.0));
    (disk, told)
}

#[test]
fn call_that_goes_on_keeps_its_name_and_its_times() {
    let (disk, told) = answered();
    let mut calls = started(disk.restore(1, at(60.0)), at(60.0));
    assert_eq!(calls.live_calls(), 1);
    let found = play(&mut calls, 61.0, vec![leg(4, 133).session(2).conf("c1").running(3)]);
    assert!(events(&found).is_empty(), "{}", show(&found));
    let ended = play(&mut calls, 70.0, vec![leg(4, 134).session(2).del()]);
    let (before, after) = (events(&told), events(&ended));
    assert_eq!(before[1].call_id(), after[0].call_id());
    insta::assert_snapshot!(show(&ended));
}

#[test]
fn call_that_ended_meanwhile_gets_its_end() {
    let (mut disk, told) = answered();
    let mut calls = started(disk.restore(1, at(60.0)), at(60.0));
    assert_eq!(calls.users_with_missing_calls(), [guid(PHONE)]);
    // Another agent whose session began before this one was gone would have told the end.
    let other = settle(&mut calls, &guid(PHONE), Some(0), Some(at(10.0)), &[], at(65.0));
    assert!(events(&other).is_empty(), "{}", show(&other));
    let ended = settle(&mut calls, &guid(PHONE), Some(0), Some(at(30.0)), &[], at(66.0));
    assert_eq!(events(&told)[1].call_id(), events(&ended)[0].call_id());
    insta::assert_snapshot!(show(&ended));
    disk.keep(&mut calls, at(66.0));
    assert_eq!(disk.restore(2, at(90.0)).live_calls(), 0, "it does not come back");
}

#[test]
fn call_whose_end_another_agent_should_have_told_ends_at_last() {
    let (disk, told) = answered();
    let call = events(&told)[0].call_id();
    let mut calls = started(disk.restore(1, at(60.0)), at(60.0));
    assert_eq!(calls.view_of(call), CallView::Doubtful);
    // Another agent was there and has told the end, but its note about it was lost.
    for hours in [1.0, 2.0, 3.9] {
        let now = at(hours * 3600.0);
        assert!(settle(&mut calls, &guid(PHONE), Some(0), Some(at(10.0)), &[], now).is_empty());
        assert!(calls.tick(now).is_empty());
        assert_eq!(calls.live_calls(), 1);
    }
    // A second copy of the end reaches nobody.
    let ended = calls.tick(at(4.1 * 3600.0));
    assert_eq!((events(&ended).len(), events(&ended)[0].call_id(), events(&ended)[0].inferred), (1, call, true));
    assert_eq!((calls.live_calls(), calls.view_of(call)), (0, CallView::Unknown));
}

#[test]
fn end_is_told_of_a_user_who_is_out_of_sight() {
    let (disk, _) = answered();
    let mut calls = disk.restore(1, at(60.0));
    calls.session_started(at(60.0));
    assert!(settle(&mut calls, &guid(PHONE), None, None, &[], at(65.0)).is_empty(), "the PBX does not count the calls");
    let ended = calls.tick(at(4.1 * 3600.0));
    assert_eq!(events(&ended)[0].web_hook_event.monitored_extension, "42");
}

#[test]
fn next_call_of_a_conference_is_named_from_the_disk() {
    let (mut calls, mut disk) = (core(), Disk::default());
    let offer = |call| vec![leg(call, 129).conf("c1"), leg(call, 132), leg(call, 134).del()];
    let first = play(&mut calls, 0.0, offer(1));
    disk.keep(&mut calls, at(2.0));
    // The table is out of reach, so that only the disk can know.
    let mut calls = started(disk.restore(1, at(10.0)), at(10.0));
    let mut second = Vec::new();
    for (n, report) in (0i16..).zip(offer(2)) {
        let now = at(11.0 + f64::from(n));
        for output in calls.report(&guid(PHONE), report, now) {
            match output {
                Output::Ask(leg, _) => second.extend(calls.learn(leg, None, now)),
                other => second.push(other),
            }
        }
    }
    let named = |n| CallId::of_conference("master", PHONE, "c1", Direction::Incoming, n);
    assert_eq!(events(&first)[0].call_id(), named(0));
    assert_eq!(events(&second)[0].call_id(), named(1));
}

#[test]
fn clock_that_was_set_back_makes_no_negative_times() {
    let (disk, _) = answered();
    let mut calls = started(disk.restore(1, at(-500.0)), at(-500.0));
    let ended = settle(&mut calls, &guid(PHONE), Some(0), None, &[], at(-495.0));
    let event = &events(&ended)[0];
    assert_eq!((event.web_hook_event.conversation_time, event.occurred_at), (0, at(1.0)), "{}", show(&ended));
}

#[test]
fn what_can_be_read_only_after_the_start_is_taken_in() {
    let (disk, told) = answered();
    let mut calls = started(Disk::default().restore(1, at(60.0)), at(60.0));
    play(&mut calls, 61.0, vec![leg(4, 129).session(2).conf("c2"), leg(4, 132).session(2)]);
    calls.recall(disk.records());
    assert_eq!(calls.live_calls(), 2);
    let ended = settle(&mut calls, &guid(PHONE), Some(1), None, &[], at(70.0));
    let shown: Vec<_> = events(&ended).iter().map(|event| (event.call_id(), event.status())).collect();
    assert_eq!(shown, [(events(&told)[0].call_id(), Status::Disconnected)], "the call that rings goes on");
}

#[test]
fn what_the_core_has_found_out_itself_is_newer() {
    let (disk, told) = answered();
    let mut calls = started(Disk::default().restore(1, at(60.0)), at(60.0));
    // It found the call by itself, under the same name.
    play(&mut calls, 61.0, vec![leg(4, 133).session(2).conf("c1").running(41)]);
    calls.recall(disk.records());
    assert_eq!((calls.live_calls(), calls.users_with_missing_calls()), (1, Vec::new()));
    let ended = play(&mut calls, 70.0, vec![leg(4, 134).session(2).del()]);
    assert_eq!(events(&ended)[0].call_id(), events(&told)[0].call_id());
}

#[test]
fn count_that_can_be_read_only_later_still_counts() {
    let (mut calls, mut disk) = (core(), Disk::default());
    let offer = |call| vec![leg(call, 129).conf("c1"), leg(call, 132), leg(call, 134).del()];
    for call in 1..4u32 {
        play(&mut calls, f64::from(call), offer(call.into()));
    }
    disk.keep(&mut calls, at(20.0));
    let mut calls = started(Disk::default().restore(1, at(60.0)), at(60.0));
    play(&mut calls, 61.0, offer(4));
    calls.recall(disk.records());
    let next = play(&mut calls, 70.0, offer(5));
    assert_eq!(events(&next)[0].call_id(), CallId::of_conference("master", PHONE, "c1", Direction::Incoming, 3));
}

#[test]
fn records_of_an_earlier_version_are_taken_over_under_their_new_keys() {
    let (mut calls, mut disk) = (core(), Disk::default());
    let first = play(&mut calls, 0.0, vec![leg(1, 129).conf("c1").peer("50"), leg(1, 134).del()]);
    disk.keep(&mut calls, at(1.0));
    let spot = Spot { user: guid(PHONE), conference: Arc::from("c1"), direction: Direction::Incoming };
    let key = RecordKey::Spot(spot.id().to_string());
    let earlier = RecordKey::Spot(serde_json::to_string(&spot).expect("JSON"));
    let text = disk.texts.remove(&key).expect("what is known of the spot");
    disk.texts.insert(earlier.clone(), text);

    let mut calls = started(disk.restore(1, at(60.0)), at(60.0));
    disk.keep(&mut calls, at(61.0));
    assert_eq!((disk.texts.contains_key(&key), disk.texts.contains_key(&earlier)), (true, false));
    // The queue offers the same call again: it is another one for its user.
    let second =
        play(&mut calls, 62.0, vec![leg(1, 129).session(2).conf("c1").peer("50"), leg(1, 134).session(2).del()]);
    assert_ne!(events(&first)[0].call_id(), events(&second)[0].call_id());
}

/// Agents of later versions find by it what this one has written.
#[test]
fn digest_of_a_spot_stays_as_it_is() {
    let spot = |direction| Spot { user: guid(PHONE), conference: Arc::from("c1"), direction };
    insta::assert_snapshot!(format!("{} {}", spot(Direction::Incoming).id(), spot(Direction::Outgoing).id()));
}
