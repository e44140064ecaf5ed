//! Jobs against a call core that is told what the PBX would tell.

use serde_json::{Value, json};

use super::*;
use crate::calls::tests::{OTHER, PHONE, at, core, guid, leg, play};

struct Bench {
    jobs: Jobs,
    calls: Calls,
    seconds: f64,
}

impl Bench {
    fn new() -> Self {
        Self { jobs: Jobs::default(), calls: core(), seconds: 0.0 }
    }

    /// Begins a job of the request `src` with one frame.
    fn begin(&mut self, mt: &'static str, src: &str, expected: ExpectedState) -> oneshot::Receiver<Finish> {
        let (reply, answer) = oneshot::channel();
        self.begin_for(mt, src, expected, JobOwner::Command(reply));
        answer
    }

    fn begin_for(&mut self, mt: &'static str, src: &str, expected: ExpectedState, owner: JobOwner) -> FrameBatch {
        let request = PbxRequest { mt, src: src.to_owned(), user: 1, objection: Code::NotParkable };
        let task = PbxTask { request, expected, frames: vec!["{}".to_owned()] };
        let mut out = FrameBatch::guarded(None);
        self.jobs.begin(task, owner, &mut self.calls, &mut out);
        out
    }

    /// The PBX answers; returns the frames that follow.
    fn result(&mut self, request: &str, src: Option<&str>, call: Option<u64>, error: Option<&str>) -> Vec<Value> {
        let result = OperationResult {
            request: request.to_owned(),
            src: src.map(str::to_owned),
            call,
            error: error.map(str::to_owned),
        };
        let mut out = Vec::new();
        self.jobs.on_result(&result, 1, &mut self.calls, &mut out);
        self.review(out)
    }

    /// The PBX reports; returns the frames that follow.
    fn report(&mut self, report: LegReport) -> Vec<Value> {
        self.seconds += 1.0;
        let taken = report.clone();
        for output in play(&mut self.calls, self.seconds, vec![report]) {
            if let crate::calls::Output::Event(event) = output {
                self.jobs.on_event(&event);
            }
        }
        let mut out = Vec::new();
        self.jobs.on_report(&taken, &mut self.calls, &mut out);
        self.review(out)
    }

    fn review(&mut self, mut out: Vec<FrameBatch>) -> Vec<Value> {
        self.jobs.review(&mut self.calls, &mut out);
        let frames = out.into_iter().flat_map(|out| out.frames);
        frames.map(|frame| serde_json::from_str(&frame).expect("JSON")).collect()
    }
}

fn code(answer: &mut oneshot::Receiver<Finish>) -> Option<Code> {
    match answer.try_recv() {
        Ok(Finish::Done(Err(refusal))) => Some(refusal.code),
        Ok(other) => panic!("not refused: {other:?}"),
        Err(_) => None,
    }
}

fn done(answer: &mut oneshot::Receiver<Finish>) -> Option<Value> {
    match answer.try_recv() {
        Ok(Finish::Done(outcome)) => Some(outcome.expect("not refused")),
        Ok(Finish::Expired) => panic!("too late"),
        Err(_) => None,
    }
}

#[test]
fn new_call_is_made_once_it_rings_and_has_a_name() {
    let mut bench = Bench::new();
    let mut answer = bench.begin("UserCall", "c1", ExpectedState::NewCall(NewCall::placed(false)));
    bench.result("UserCall", Some("c1"), Some(7), None);
    bench.report(leg(7, 1).conf("conf").peer("50"));
    assert_eq!(done(&mut answer), None);
    bench.report(leg(7, 4));
    let result = done(&mut answer).expect("made");
    assert_eq!(result["conferenceId"], "conf");
    assert!(result["CallId"].is_string());
}

#[test]
fn result_may_come_behind_what_it_names() {
    let mut bench = Bench::new();
    let mut answer = bench.begin("UserPickup", "c1", ExpectedState::NewCall(NewCall::picked_up()));
    bench.report(leg(6, 132).conf("another"));
    bench.report(leg(7, 133).conf("conf").peer("50"));
    assert_eq!(done(&mut answer), None);
    bench.result("UserPickup", None, Some(7), None);
    assert_eq!(done(&mut answer).expect("made")["conferenceId"], "conf");

    // A queue's call that has failed by then is cleared, as nobody else would.
    let mut answer = bench.begin("UserCall", "c2", ExpectedState::NewCall(NewCall::placed(true)));
    bench.report(leg(8, 1).conf("third").peer("50"));
    bench.report(leg(8, 6).cause(17));
    let frames = bench.result("UserCall", Some("c2"), Some(8), None);
    assert_eq!((&frames[0]["mt"], &frames[0]["call"]), (&json!("UserClear"), &json!(8)));
    assert_eq!(code(&mut answer), Some(Code::UserBusy));
}

#[test]
fn result_of_another_kind_is_not_its_own() {
    let mut bench = Bench::new();
    let mut answer = bench.begin("UserCall", "c1", ExpectedState::NewCall(NewCall::placed(false)));
    bench.result("UserClear", Some("c1"), None, Some("no such call"));
    bench.result("UserCall", Some("c1"), Some(7), None);
    bench.report(leg(7, 1).conf("conf").peer("50"));
    bench.report(leg(7, 4));
    assert!(done(&mut answer).is_some());
}

#[test]
fn cause_may_come_before_the_end() {
    let mut bench = Bench::new();
    let mut answer = bench.begin("UserCall", "c1", ExpectedState::NewCall(NewCall::placed(false)));
    bench.result("UserCall", Some("c1"), Some(7), None);
    bench.report(leg(7, 1).conf("conf").peer("50"));
    bench.report(leg(7, 2).cause(17));
    bench.report(LegReport { state: None, ..leg(7, 0) }.del());
    assert_eq!(code(&mut answer), Some(Code::UserBusy));
}

#[test]
fn refused_call_of_a_queue_is_cleared() {
    let mut bench = Bench::new();
    let mut answer = bench.begin("UserCall", "c1", ExpectedState::NewCall(NewCall::placed(true)));
    bench.result("UserCall", Some("c1"), Some(7), None);
    bench.report(leg(7, 1).conf("conf").peer("50"));
    let frames = bench.report(leg(7, 6).cause(17));
    assert_eq!((&frames[0]["mt"], &frames[0]["call"]), (&json!("UserClear"), &json!(7)));
    assert_eq!(code(&mut answer), Some(Code::UserBusy));
}

#[test]
fn busy_tone_of_a_queue_is_cleared_also_when_its_command_has_succeeded() {
    let mut bench = Bench::new();
    let mut answer = bench.begin("UserCall", "c1", ExpectedState::NewCall(NewCall::placed(true)));
    bench.result("UserCall", Some("c1"), Some(7), None);
    bench.report(leg(7, 1).conf("conf").peer("50"));
    bench.report(leg(7, 4));
    assert!(done(&mut answer).is_some());
    let frames = bench.report(leg(7, 6).cause(17));
    assert_eq!((&frames[0]["mt"], &frames[0]["call"]), (&json!("UserClear"), &json!(7)));
    assert!(bench.report(leg(7, 6)).is_empty(), "once is enough");
}

#[test]
fn call_that_nobody_waits_for_any_more_is_cleared_when_the_pbx_names_it() {
    let mut bench = Bench::new();
    let (progress, heard) = mpsc::unbounded_channel();
    bench.begin_for("UserCall", "c1", ExpectedState::NewCall(NewCall::placed(true)), JobOwner::TwoParty(progress));
    drop(heard);
    assert!(bench.review(Vec::new()).is_empty(), "its handle is not known");
    let frames = bench.result("UserCall", Some("c1"), Some(7), None);
    assert_eq!((&frames[0]["mt"], &frames[0]["call"]), (&json!("UserClear"), &json!(7)));
}

#[tokio::test(start_paused = true)]
async fn request_that_is_never_answered_takes_no_later_result() {
    let mut bench = Bench::new();
    drop(bench.begin("UserCall", "c1", ExpectedState::NewCall(NewCall::placed(false))));
    assert!(bench.review(Vec::new()).is_empty(), "it is given up");
    tokio::time::advance(ANSWERED_AT_ALL_WITHIN).await;
    let mut answer = bench.begin("UserCall", "c2", ExpectedState::NewCall(NewCall::placed(false)));
    assert!(bench.result("UserCall", None, Some(7), None).is_empty(), "this call is not cleared");
    bench.report(leg(7, 1).conf("conf").peer("50"));
    bench.report(leg(7, 4));
    assert!(done(&mut answer).is_some());
}

#[test]
fn long_command_hears_of_its_call_to_its_end() {
    let mut bench = Bench::new();
    let (progress, mut heard) = mpsc::unbounded_channel();
    bench.begin_for("UserCall", "c1", ExpectedState::NewCall(NewCall::placed(true)), JobOwner::TwoParty(progress));
    bench.result("UserCall", Some("c1"), Some(7), None);
    bench.report(leg(7, 1).conf("conf").peer("50"));
    bench.report(leg(7, 5));
    let Ok(CallProgress::Placed(call)) = heard.try_recv() else { panic!("not placed") };
    assert_eq!(heard.try_recv(), Ok(CallProgress::Answered));
    bench.report(leg(8, 1).conf("other").peer("51"));
    bench.report(leg(8, 7).cause(16).del());
    bench.report(leg(7, 6).cause(16).del());
    assert_eq!(heard.try_recv(), Ok(CallProgress::Ended(Some(16))));
    assert_eq!(heard.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    assert!(!bench.calls.knows(call));
}

#[test]
fn lost_session_tells_a_long_command_nothing_more() {
    let mut bench = Bench::new();
    let (progress, mut heard) = mpsc::unbounded_channel();
    bench.begin_for("UserCall", "c1", ExpectedState::NewCall(NewCall::placed(true)), JobOwner::TwoParty(progress));
    let mut answer = bench.begin("UserDTMF", "c2", ExpectedState::Agreed);
    bench.jobs.interrupt_all();
    assert_eq!(heard.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    assert_eq!(code(&mut answer), Some(Code::Interrupted));
}

#[test]
fn picked_up_call_has_to_be_connected_and_is_never_cleared() {
    let mut bench = Bench::new();
    let mut answer = bench.begin("UserPickup", "c1", ExpectedState::NewCall(NewCall::picked_up()));
    bench.result("UserPickup", Some("c1"), Some(7), None);
    bench.report(leg(7, 129).conf("conf").peer("50"));
    bench.report(leg(7, 132));
    assert_eq!(done(&mut answer), None);
    drop(answer);
    assert!(bench.review(Vec::new()).is_empty());

    let mut answer = bench.begin("UserPickup", "c2", ExpectedState::NewCall(NewCall::picked_up()));
    bench.result("UserPickup", Some("c2"), Some(8), None);
    bench.report(leg(8, 133).conf("conf2").peer("51"));
    assert!(done(&mut answer).is_some());
}

#[test]
fn hold_shows_in_the_state_and_not_in_the_result() {
    let mut bench = Bench::new();
    bench.report(leg(1, 133).conf("conf").peer("50"));
    let call = bench.calls.all().next().expect("a call").0;
    let mut answer = bench.begin("UserHold", "c1", ExpectedState::Held(call, true));
    bench.result("UserHold", Some("c1"), None, None);
    assert_eq!(done(&mut answer), None);
    bench.report(leg(1, 389));
    assert!(done(&mut answer).is_some());

    let mut answer = bench.begin("UserRetrieve", "c2", ExpectedState::Held(call, false));
    bench.report(leg(1, 134).cause(16).del());
    assert_eq!(code(&mut answer), Some(Code::CallNotFound));
}

#[test]
fn two_hang_ups_are_no_transfer() {
    let mut bench = Bench::new();
    bench.report(leg(1, 5).conf("a").peer("50"));
    bench.report(leg(2, 5).conf("b").peer("51"));
    let ids: Vec<CallId> = bench.calls.all().map(|(call, _)| call).collect();
    let mut answer = bench.begin("UserTransfer", "c1", ExpectedState::Joined(ids[0], ids[1]));
    bench.report(leg(1, 6).cause(16).del());
    bench.report(leg(2, 6).cause(16).del());
    assert_eq!(done(&mut answer), None);
    bench.result("UserTransfer", Some("c1"), None, Some("no such call"));
    assert_eq!(code(&mut answer), Some(Code::NotParkable));
}

#[test]
fn park_at_the_own_place_is_the_same_call_and_elsewhere_another() {
    let park = |user: &str| Park {
        at: guid(user),
        conference: "conf".to_owned(),
        handle: None,
        leg: leg(1, 0).leg,
        stays: if user == PHONE { vec![leg(1, 0).leg] } else { Vec::new() },
    };
    let mut bench = Bench::new();
    bench.report(leg(1, 133).conf("conf").peer("50"));
    let call = bench.calls.all().next().expect("a call").0;
    let mut answer = bench.begin("UserPark", "c1", ExpectedState::Parked(park(PHONE)));
    bench.result("UserPark", Some("c1"), Some(2), None);
    bench.report(leg(1, 134).del());
    assert!(bench.calls.knows(call), "it is on its way into the park");
    assert_eq!(done(&mut answer), None);
    bench.report(leg(2, 136).conf("conf").peer("50"));
    assert_eq!(done(&mut answer).expect("parked")["CallId"], json!(call));

    // Another user's park of the same conference; `play` only tells of the first user.
    let mut answer = bench.begin("UserPark", "c2", ExpectedState::Parked(park(OTHER)));
    bench.result("UserPark", Some("c2"), Some(3), None);
    let parked = leg(3, 136).user_handle(2).conf("conf").peer("50");
    let asked = bench.calls.report(&guid(OTHER), parked, at(20.0));
    crate::calls::tests::settle_questions(&mut bench.calls, asked, at(20.0));
    bench.review(Vec::new());
    assert_ne!(done(&mut answer).expect("parked")["CallId"], json!(call));
}

#[test]
fn refused_park_leaves_the_end_of_its_leg_an_end() {
    let mut bench = Bench::new();
    bench.report(leg(1, 133).conf("conf").peer("50"));
    let own = leg(1, 0).leg;
    let park = Park { at: guid(PHONE), conference: "conf".to_owned(), handle: None, leg: own, stays: vec![own] };
    let mut answer = bench.begin("UserPark", "c1", ExpectedState::Parked(park));
    bench.result("UserPark", Some("c1"), Some(0), Some("the parking place is taken"));
    assert_eq!(code(&mut answer), Some(Code::NotParkable));
    bench.report(leg(1, 134).del());
    assert_eq!(bench.calls.live_calls(), 0);
}

#[test]
fn one_of_several_frames_may_be_refused() {
    let mut bench = Bench::new();
    bench.report(leg(1, 132).conf("conf").peer("50"));
    let call = bench.calls.all().next().expect("a call").0;
    let (reply, mut answer) = oneshot::channel();
    let request = PbxRequest { mt: "UserClear", src: "c1".to_owned(), user: 1, objection: Code::Refused };
    let task = PbxTask { request, expected: ExpectedState::Ended(call), frames: vec![String::new(), String::new()] };
    let mut out = FrameBatch::guarded(None);
    bench.jobs.begin(task, JobOwner::Command(reply), &mut bench.calls, &mut out);
    bench.result("UserClear", Some("c1"), None, Some("no such call"));
    bench.result("UserClear", Some("c1"), None, None);
    assert_eq!(code(&mut answer), None);
    bench.report(leg(1, 135).del());
    assert!(done(&mut answer).is_some());
}

#[test]
fn results_without_src_belong_to_the_oldest_request_of_their_kind() {
    let mut bench = Bench::new();
    let mut first = bench.begin("UserDTMF", "c1", ExpectedState::Agreed);
    let mut other = bench.begin("UserRc", "c2", ExpectedState::Agreed);
    let mut second = bench.begin("UserDTMF", "c3", ExpectedState::Agreed);
    bench.result("UserDTMF", None, None, None);
    assert_eq!((done(&mut first).is_some(), done(&mut second), done(&mut other)), (true, None, None));
    bench.result("UserDTMF", None, None, Some("the call is not connected"));
    assert_eq!(code(&mut second), Some(Code::NotParkable));
}

#[test]
fn what_is_overdue_is_judged_by_what_it_wanted() {
    let mut calls = core();
    play(&mut calls, 0.0, vec![leg(1, 133).conf("conf").peer("50")]);
    let call = calls.all().next().expect("a call").0;
    let now = Instant::now();
    let code = |expected: &ExpectedState| match expected.too_late(&calls, true, now) {
        JobOutcome::Failed(refusal) => Some(refusal.code),
        _ => None,
    };
    assert_eq!(code(&ExpectedState::Agreed), Some(Code::PbxTimeout));
    assert_eq!(code(&ExpectedState::Held(call, true)), Some(Code::PbxTimeout));
    assert_eq!(code(&ExpectedState::NewCall(NewCall::placed(false))), Some(Code::PbxTimeout));
    assert_eq!(code(&ExpectedState::Moved(leg(1, 0).leg)), Some(Code::PbxTimeout));
    // The PBX never answered, but the leg has gone: that has to do.
    assert_eq!(code(&ExpectedState::Moved(leg(9, 0).leg)), None);
    // It agreed and took the call from its leg, but shows no parked call.
    let park = |handle| Park {
        at: guid(OTHER),
        conference: "conf".to_owned(),
        handle: None,
        leg: leg(handle, 0).leg,
        stays: Vec::new(),
    };
    assert_eq!(code(&ExpectedState::Parked(park(9))), None);
    assert_eq!(code(&ExpectedState::Parked(park(1))), Some(Code::PbxTimeout));
}

#[test]
fn command_that_came_too_late_has_done_nothing() {
    let mut bench = Bench::new();
    let (reply, mut answer) = oneshot::channel();
    let out =
        bench.begin_for("UserCall", "c1", ExpectedState::NewCall(NewCall::placed(false)), JobOwner::Command(reply));
    for job in out.jobs {
        bench.jobs.too_late(job, &mut bench.calls);
    }
    assert!(matches!(answer.try_recv(), Ok(Finish::Expired)));
    assert!(bench.result("UserCall", Some("c1"), Some(7), None).is_empty());
}

#[test]
fn call_of_a_command_is_no_two_party_command_s_until_it_has_ended() {
    let mut bench = Bench::new();
    let mut answer = bench.begin("UserCall", "c1", ExpectedState::NewCall(NewCall::placed(false)));
    bench.result("UserCall", Some("c1"), Some(7), None);
    bench.report(leg(7, 4).conf("conf").peer("50"));
    let made = done(&mut answer).expect("it rings");
    let call: CallId = serde_json::from_value(made["CallId"].clone()).expect("a name");
    assert!(bench.jobs.has_placed_for_another(call));
    bench.report(leg(7, 7).conf("conf").peer("50").del());
    assert!(!bench.jobs.has_placed_for_another(call));
}

#[test]
fn calls_of_queues_are_told_to_other_agents_until_they_have_ended() {
    let mut bench = Bench::new();
    let place = |bench: &mut Bench, n: u64, phoneless: bool| -> CallId {
        let src = format!("c{n}");
        let mut answer = bench.begin("UserCall", &src, ExpectedState::NewCall(NewCall::placed(phoneless)));
        bench.result("UserCall", Some(&src), Some(n), None);
        bench.report(leg(n, 4).conf(&format!("conf{n}")).peer("50"));
        let made = done(&mut answer).expect("it rings");
        serde_json::from_value(made["CallId"].clone()).expect("a name")
    };
    place(&mut bench, 1, false);
    let calls: Vec<CallId> = (2..30).map(|n| place(&mut bench, n, true)).collect();
    let told = |bench: &Bench| bench.jobs.placed_by_queues().iter().copied().collect::<Vec<_>>();
    assert_eq!(told(&bench), calls[calls.len() - MOST_TOLD..], "the latest ones, and none of a phone");
    bench.report(leg(29, 7).conf("conf29").peer("50").del());
    assert_eq!(told(&bench).last(), calls.get(calls.len() - 2));
    // Ends of which another agent has told come without an event.
    bench.calls = core();
    let last = place(&mut bench, 40, true);
    assert_eq!(told(&bench), [last]);
    assert!(!bench.jobs.has_placed_for_another(calls[0]), "nothing is kept of calls that are gone");
}
