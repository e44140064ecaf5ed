//! What a call came to: missed, taken by somebody else, abandoned, sent elsewhere.

use shared::event::{CallDetails, ConferenceEventKind, PartyKind, Presentation};

use super::*;

/// What happens at several phones at once, a tenth of a second apart.
struct Scene {
    calls: Calls,
    now: f64,
    out: Vec<Output>,
}

impl Scene {
    fn new() -> Self {
        Self { calls: core(), now: 0.0, out: Vec::new() }
    }

    /// The leg's handle is its own at each user.
    fn at(&mut self, user: &str, report: LegReport) -> &mut Self {
        self.now += 0.1;
        let handle = user[30..].parse().expect("an extension");
        let outputs = self.calls.report(&guid(user), report.user_handle(handle), at(self.now));
        self.out.extend(settle_questions(&mut self.calls, outputs, at(self.now)));
        self
    }

    fn all(&mut self, user: &str, reports: impl IntoIterator<Item = LegReport>) -> &mut Self {
        for report in reports {
            self.at(user, report);
        }
        self
    }

    fn wait(&mut self, seconds: f64) -> &mut Self {
        self.now += seconds;
        let outputs = self.calls.tick(at(self.now));
        self.out.extend(outputs);
        self
    }

    fn end(&self, user: &str) -> &CallEvent {
        let is_it = |event: &&&CallEvent| &*event.user_guid == user && event.status() == Status::Disconnected;
        let events = events(&self.out);
        let mut ends = events.iter().filter(is_it);
        let end = *ends.next().unwrap_or_else(|| panic!("no end at {user}\n{}", show(&self.out)));
        assert!(ends.next().is_none(), "several ends\n{}", show(&self.out));
        end
    }

    fn details(&self, user: &str) -> CallDetails {
        self.end(user).details.clone().expect("details")
    }

    /// Missed, answered elsewhere, abandoned.
    fn flags(&self, user: &str) -> [bool; 3] {
        let CallDetails { missed, answered_elsewhere, abandoned, .. } = self.details(user);
        [missed, answered_elsewhere, abandoned]
    }
}

const NOT: [bool; 3] = [false; 3];
const MISSED: [bool; 3] = [true, false, false];
const ELSEWHERE: [bool; 3] = [false, true, false];
const ABANDONED: [bool; 3] = [true, false, true];

fn rings(conference: &str) -> [LegReport; 2] {
    [leg(1, 129).conf(conference).peer("0472591687"), leg(1, 132)]
}

fn released(cause: u16) -> [LegReport; 2] {
    [leg(1, 134).cause(cause), leg(1, 134).del()]
}

fn sent_to(number: &str) -> LegReport {
    leg(1, 134).cause(TAKEN_ELSEWHERE).related(Relation::SentTo, number)
}

#[test]
fn call_that_nobody_answers_is_missed() {
    let mut scene = Scene::new();
    scene.all(PHONE, rings("c1")).all(PHONE, released(16));
    assert_eq!(scene.flags(PHONE), MISSED);
    let ringing = events(&scene.out)[0].details.clone().expect("details");
    assert!(!ringing.missed, "it may still be answered");
}

#[test]
fn answered_failed_and_placed_calls_are_not_missed() {
    let mut scene = Scene::new();
    scene.all(PHONE, rings("c1")).at(PHONE, leg(1, 133)).all(PHONE, released(16));
    scene.all(OTHER, [leg(1, 1).conf("c2").peer("50"), leg(1, 6).cause(17), leg(1, 6).del()]);
    assert_eq!((scene.flags(PHONE), scene.flags(OTHER)), (NOT, NOT));
}

#[test]
fn call_of_a_queue_is_missed_by_nobody_when_one_operator_takes_it() {
    let mut scene = Scene::new();
    scene.all(QUEUE, rings("c1")).all(PHONE, rings("c1")).all(OTHER, rings("c1"));
    scene.at(PHONE, leg(1, 133)).at(QUEUE, leg(1, 133)).all(OTHER, released(26));
    scene.all(PHONE, released(16)).all(QUEUE, released(16));
    assert_eq!((scene.flags(PHONE), scene.flags(OTHER), scene.flags(QUEUE)), (NOT, ELSEWHERE, NOT));
}

#[test]
fn call_that_another_phone_has_is_answered_elsewhere_without_a_cause() {
    let mut scene = Scene::new();
    scene.all(PHONE, rings("c1")).all(OTHER, rings("c1")).at(PHONE, leg(1, 133)).at(OTHER, leg(1, 134).del());
    assert_eq!(scene.flags(OTHER), ELSEWHERE);
}

#[test]
fn call_that_comes_from_who_had_it_can_be_missed() {
    let mut scene = Scene::new();
    scene.all(PHONE, rings("c1")).at(PHONE, leg(1, 133)).all(OTHER, rings("c1"));
    scene.at(PHONE, sent_to("43")).at(OTHER, leg(1, 134).cause(16).del());
    assert_eq!((scene.flags(PHONE), scene.flags(OTHER)), (NOT, MISSED));
}

#[test]
fn call_that_ends_in_the_announcement_of_a_queue_is_abandoned() {
    let mut scene = Scene::new();
    scene.all(QUEUE, rings("c1")).at(QUEUE, leg(1, 133)).wait(3.0).all(QUEUE, released(16));
    assert!(scene.end(QUEUE).web_hook_event.connected);
    assert_eq!(scene.flags(QUEUE), ABANDONED);
}

#[test]
fn call_that_ends_before_the_queue_answers_is_abandoned() {
    let mut scene = Scene::new();
    scene.all(QUEUE, rings("c1")).all(PHONE, rings("c1")).all(PHONE, released(16)).all(QUEUE, released(16));
    assert_eq!((scene.flags(QUEUE), scene.flags(PHONE)), (ABANDONED, MISSED));
}

#[test]
fn operator_who_takes_a_call_from_the_announcement_saves_it() {
    let mut scene = Scene::new();
    scene.all(QUEUE, rings("c1")).at(QUEUE, leg(1, 133)).all(PHONE, rings("c1")).at(PHONE, leg(1, 133));
    // The operator's leg ends first.
    scene.all(PHONE, released(16)).wait(2.0).all(QUEUE, released(16));
    assert_eq!(scene.flags(QUEUE), NOT);
}

#[test]
fn call_that_a_queue_sends_on_is_not_abandoned() {
    let mut scene = Scene::new();
    scene.all(QUEUE, rings("c1")).at(QUEUE, leg(1, 133)).at(QUEUE, sent_to("60"));
    assert_eq!(scene.flags(QUEUE), NOT);
}

#[test]
fn call_of_a_queue_whose_end_nobody_saw_is_not_called_abandoned() {
    let mut scene = Scene::new();
    scene.all(QUEUE, rings("c1")).at(QUEUE, leg(1, 133));
    let id = scene.calls.all().next().expect("a call").0;
    scene.calls.end(id, at(60.0), true, &mut scene.out);
    assert_eq!(scene.flags(QUEUE), NOT);
}

#[test]
fn redirected_before_the_answer_says_where_it_went() {
    let mut scene = Scene::new();
    scene.all(PHONE, rings("c1")).at(PHONE, sent_to("0031201234567"));
    assert_eq!(scene.flags(PHONE), NOT);
    // The place goes on to be reported under this handle.
    let end = show(&scene.out);
    scene.at(PHONE, leg(1, 133)).at(PHONE, leg(1, 134).related(Relation::SentTo, "0031201234567").del());
    assert_eq!(show(&scene.out), end);
    insta::assert_snapshot!(end);
}

#[test]
fn redirected_call_with_several_phones_is_redirected_by_the_last_one_too() {
    let mut scene = Scene::new();
    let ring = |call| [leg(call, 129).conf("c1").peer("0472591687"), leg(call, 132)];
    scene.all(PHONE, ring(1)).all(PHONE, ring(2)).at(PHONE, sent_to("60")).at(PHONE, leg(2, 134).cause(26).del());
    assert_eq!(scene.flags(PHONE), NOT);
    assert_eq!(scene.end(PHONE).web_hook_event.conference_events.len(), 1);
}

#[test]
fn what_goes_on_elsewhere_and_was_never_here_is_no_call() {
    let mut scene = Scene::new();
    scene.at(PHONE, sent_to("60")).wait(60.0);
    assert!(scene.out.is_empty(), "{}", show(&scene.out));
}

#[test]
fn picked_up_by_another_is_answered_elsewhere() {
    let mut scene = Scene::new();
    scene.all(PHONE, rings("c1"));
    scene.at(OTHER, leg(1, 129).conf("c1").peer("0472591687").related(Relation::Picking, ""));
    scene.at(OTHER, leg(1, 133)).all(PHONE, released(26)).all(OTHER, released(16));
    assert_eq!((scene.flags(PHONE), scene.flags(OTHER)), (ELSEWHERE, NOT));
}

#[test]
fn call_parked_at_a_phone_is_not_missed_there() {
    for cause in [26, 16] {
        let mut scene = Scene::new();
        scene.at(PHONE, leg(1, 136).conf("c1").peer("0472591687")).all(PHONE, released(cause));
        assert_eq!(scene.flags(PHONE), NOT, "{cause}");
    }
}

/// 42 talks to a caller from outside and to 50.
fn consulting() -> Scene {
    let mut scene = Scene::new();
    scene.all(PHONE, rings("c1")).at(PHONE, leg(1, 133)).at(PHONE, leg(1, 389));
    scene.all(PHONE, [leg(2, 1).conf("c2").peer("50"), leg(2, 4), leg(2, 5)]);
    scene
}

#[test]
fn two_calls_of_a_transfer_name_each_other() {
    let mut scene = consulting();
    scene.at(PHONE, leg(1, 134).cause(26)).at(PHONE, leg(2, 6).cause(26)).wait(2.0);
    insta::assert_snapshot!(show(&scene.out));
    let ends: Vec<_> =
        events(&scene.out).into_iter().filter(|event| event.status() == Status::Disconnected).cloned().collect();
    let other = |n: usize| ends[n].details.as_ref().and_then(|details| details.transfer_call_id);
    assert_eq!((other(0), other(1)), (Some(ends[1].call_id()), Some(ends[0].call_id())));
}

#[test]
fn transfer_is_known_by_where_one_of_the_calls_went() {
    let mut scene = consulting();
    scene.at(PHONE, sent_to("50")).at(PHONE, leg(2, 6).cause(16).del()).wait(2.0);
    let events = events(&scene.out);
    let kinds: Vec<_> = events.iter().filter_map(|event| event.web_hook_event.conference_events.last()).collect();
    assert_eq!(kinds.iter().filter(|last| last.kind == ConferenceEventKind::Transferred).count(), 2);
}

#[test]
fn call_that_goes_on_elsewhere_while_another_one_stays_has_its_end_after_a_moment() {
    let mut scene = consulting();
    scene.at(PHONE, sent_to("60"));
    let told = events(&scene.out).len();
    let ended = scene.now;
    scene.wait(1.2);
    let events = events(&scene.out);
    let end = &events[told];
    assert_eq!((events.len(), end.occurred_at), (told + 1, at(ended)), "at the moment at which it ended");
    assert_eq!(end.details.as_ref().and_then(|details| details.transfer_call_id), None);
    assert_eq!(scene.calls.live_calls(), 1);
}

#[test]
fn end_that_waits_for_the_other_call_is_told_when_the_session_is_lost() {
    let mut scene = consulting();
    scene.at(PHONE, sent_to("60"));
    let told = scene.calls.session_lost(at(scene.now + 0.1));
    assert_eq!(events(&told)[0].status(), Status::Disconnected);
    assert!(!events(&told)[0].inferred);
}

#[test]
fn parties_are_told_apart() {
    let check = |peer: Party, expected: (PartyKind, Presentation)| {
        let mut scene = Scene::new();
        let setup = LegReport { peer: Some(peer.clone()), ..leg(1, 129).conf("c1") };
        scene.at(PHONE, setup).at(PHONE, leg(1, 132));
        let details = events(&scene.out)[0].details.clone().expect("details");
        assert_eq!((details.party, details.presentation), (Some(expected.0), Some(expected.1)), "{peer:?}");
    };
    let named = |name: &str| Party { name: name.to_owned(), ..Party::default() };
    let e164 = Some("+32472591687".to_owned());
    check(Party { e164, ..party("00472591687") }, (PartyKind::External, Presentation::Shown));
    check(Party { object: true, ..party("50") }, (PartyKind::Internal, Presentation::Shown));
    check(party("50"), (PartyKind::Internal, Presentation::Shown));
    check(Party { object: true, ..named("Door") }, (PartyKind::Internal, Presentation::Unknown));
    check(Party { object: true, ..named("Anonymous") }, (PartyKind::External, Presentation::Withheld));
    check(Party::default(), (PartyKind::External, Presentation::Unknown));
}

#[test]
fn caller_from_this_pbx_without_a_number_withholds_it() {
    let mut scene = Scene::new();
    scene.at(OTHER, leg(1, 1).conf("c1").peer("42")).all(PHONE, [leg(1, 129).conf("c1"), leg(1, 132)]);
    scene.at(OTHER, leg(1, 7).del()).at(PHONE, leg(1, 134).del());
    let told: Vec<_> = events(&scene.out).into_iter().filter(|event| &*event.user_guid == PHONE).collect();
    assert_eq!(told.len(), 2);
    for event in told {
        let CallDetails { party, presentation, .. } = event.details.clone().expect("details");
        assert_eq!((party, presentation), (Some(PartyKind::Internal), Some(Presentation::Withheld)));
    }
}
