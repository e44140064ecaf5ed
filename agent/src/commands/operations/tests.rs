//! Operations against two users, a queue and a few calls.

use std::sync::Arc;

use serde_json::{Value, json};
use shared::codes::Code;
use shared::destination::Rules;
use shared::ids::CallId;
use shared::numbering::DialPrefixes;
use shared::operation::{DialOptions, PageRequest, Reach};

use super::*;
use crate::calls::Calls;
use crate::calls::tests::{OTHER, PHONE, at, core, leg, play};
use crate::commands::jobs::{ExpectedState, PbxTask};
use crate::config::{DtmfRecv, Monitor};
use crate::pbx::rcc::UserInfo;
use crate::pbx::session::Session;

const QUEUE: &str = "00000000000000000000000000000077";

struct Scene {
    calls: Calls,
    session: Session,
    reach: Reach,
    dtmf_recv: DtmfRecv,
}

impl Scene {
    fn new() -> Self {
        let mut session = Session::new(1);
        let user = |guid: &str, extension: &str, pseudo: &str, devices: &[&str]| UserInfo {
            guid: guid.to_owned(),
            cn: format!("User {extension}"),
            e164: extension.to_owned(),
            pseudo: pseudo.to_owned(),
            devices: devices.iter().map(|hw| (*hw).to_owned()).collect(),
            ..UserInfo::default()
        };
        let prefixes = DialPrefixes { international: "000".to_owned(), ..DialPrefixes::default() };
        let users = [
            user(PHONE, "42", "", &["ip-42", "sip-42"]),
            user(OTHER, "43", "", &[]),
            user(QUEUE, "77", "waiting", &[]),
        ];
        for (handle, user) in (1..).zip(users) {
            session.on_user_info(user, &Monitor::default());
            session.monitor_next();
            session.monitored(None, handle, prefixes.clone());
        }
        session.note_13r3(true);
        Self { calls: core(), session, reach: Reach::default(), dtmf_recv: DtmfRecv::default() }
    }

    /// The prefixes of every user.
    fn dial_with(&mut self, prefixes: &DialPrefixes) {
        for handle in 1..=3 {
            self.session.restate_prefixes(handle, prefixes.clone());
        }
    }

    /// A call of user 42 in this state.
    fn call(&mut self, handle: u64, bits: u32) -> CallId {
        let conference = format!("conf {handle}");
        let before: Vec<CallId> = self.calls.all().map(|(call, _)| call).collect();
        play(&mut self.calls, 0.0, vec![leg(handle, bits).conf(&conference).peer("50")]);
        let new = self.calls.all().find(|(call, _)| !before.contains(call));
        new.expect("a call").0
    }

    fn plan(&mut self, operation: &Operation) -> Result<Plan, Refusal> {
        let Self { calls, session, reach, dtmf_recv } = self;
        Planner { calls, session, reach, dtmf_recv: *dtmf_recv, now: at(100.0) }.plan(operation)
    }

    #[track_caller]
    fn task(&mut self, operation: &Operation) -> PbxTask {
        match self.plan(operation) {
            Ok(Plan::Send(task)) => task,
            other => panic!("{other:?}"),
        }
    }

    /// The one frame of an operation, without what every request has.
    #[track_caller]
    fn frame(&mut self, operation: &Operation) -> Value {
        let task = self.task(operation);
        assert_eq!(task.frames.len(), 1);
        let mut frame: Value = serde_json::from_str(&task.frames[0]).expect("JSON");
        let fields = frame.as_object_mut().expect("an object");
        assert_eq!(fields.remove("api"), Some(json!("RCC")));
        assert_eq!(fields.remove("src"), Some(json!(task.request.src)));
        assert_eq!(fields["mt"], task.request.mt);
        frame
    }

    #[track_caller]
    fn refusal(&mut self, operation: &Operation) -> Code {
        self.plan(operation).expect_err("refused").code
    }

    #[track_caller]
    fn answer(&mut self, operation: &Operation) -> Value {
        match self.plan(operation) {
            Ok(Plan::Answer(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }
}

fn make_call(from: &str, to: &str, options: DialOptions) -> Operation {
    Operation::MakeCall { from: from.to_owned(), to: to.to_owned(), options }
}

fn only(extensions: &[&str]) -> Reach {
    Reach { extensions: Some(extensions.iter().map(|text| (*text).to_owned()).collect()), ..Reach::default() }
}

/// An outgoing call that waits for further digits.
const DIALS: u32 = 2;
const ALERTING: u32 = 132;
const TALKS: u32 = 133;
const TALKS_AND_HOLDS: u32 = 389;

#[test]
fn call_with_everything() {
    let mut scene = Scene::new();
    let options = DialOptions {
        caller_number: Some("+32 2 555".to_owned()),
        clir: true,
        ignore_forwarding: true,
        audio: true,
        remote_control: Some(2),
        device: None,
    };
    assert_eq!(
        scene.frame(&make_call("77", "+32 472", options)),
        json!({"mt": "UserCall", "user": 3, "e164": "00032472", "srce164": "r000322555", "ftyNoCF": true, "audio": true, "rc": 2})
    );
    let withheld = DialOptions { clir: true, ..DialOptions::default() };
    assert_eq!(scene.frame(&make_call("42", "50", withheld))["srce164"], "r");
    let plain = scene.frame(&make_call("42", "50", DialOptions::default()));
    assert_eq!(plain, json!({"mt": "UserCall", "user": 1, "e164": "50"}));
}

fn rules(allow: &[&str], deny: &[&str]) -> Rules {
    let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a pattern")).collect();
    Rules { allow: parse(allow), deny: parse(deny) }
}

/// The prefixes of a PBX in Brussels.
fn belgium() -> DialPrefixes {
    let text = |text: &str| text.to_owned();
    DialPrefixes {
        international: text("000"),
        national: text("00"),
        subscriber: text("0"),
        area: text("2"),
        country: text("32"),
    }
}

#[test]
fn patterns_are_applied_with_the_prefixes_of_this_pbx() {
    let mut scene = Scene::new();
    scene.dial_with(&belgium());
    scene.reach.rules = vec![rules(&["+32*"], &["+32900*"]), rules(&[], &["+32477*"])];
    let call = |to: &str| make_call("42", to, DialOptions::default());
    for (to, dialled) in [("+32 (0)472 59 16 87", "00032472591687"), ("+32 0472591687", "00032472591687"), ("43", "43")]
    {
        assert_eq!(scene.frame(&call(to))["e164"], dialled, "{to}");
    }
    for to in
        ["+33 1 23 45 67 89", "+32 900 12345", "00032090012345", "0090012345", "+32 477 123456", "0", "99", "*21#"]
    {
        assert_eq!(scene.refusal(&call(to)), Code::DestinationNotAllowed, "{to}");
    }
}

#[test]
fn a_caller_number_is_an_extension_in_reach_unless_the_key_may_show_it() {
    let mut scene = Scene::new();
    scene.dial_with(&belgium());
    let shown = |number: &str| {
        make_call("42", "50", DialOptions { caller_number: Some(number.to_owned()), ..DialOptions::default() })
    };
    assert_eq!(scene.frame(&shown("+32 2 555 12 34"))["srce164"], "0003225551234");
    scene.reach.own_caller_number = true;
    assert_eq!(scene.frame(&shown("43"))["srce164"], "43");
    for number in ["+32 2 555 12 34", "05551234", "99"] {
        assert_eq!(scene.refusal(&shown(number)), Code::CallerNumberNotAllowed, "{number}");
    }
    scene.reach.extensions = Some(["42".to_owned()].into());
    assert_eq!(scene.refusal(&shown("43")), Code::CallerNumberNotAllowed);
}

#[test]
fn digits_are_judged_with_the_number_that_they_complete() {
    let mut scene = Scene::new();
    scene.dial_with(&belgium());
    play(&mut scene.calls, 0.0, vec![leg(9, DIALS).conf("conf").peer("00032")]);
    let call = scene.calls.all().next().expect("a call").0;
    let info = |digits: Option<&str>, keypad: Option<&str>| Operation::SendInfo {
        call_id: call,
        digits: digits.map(str::to_owned),
        keypad: keypad.map(str::to_owned),
        display: None,
    };
    // Without patterns whatever is typed is dialled, in parts, too.
    assert_eq!(scene.frame(&info(Some("4"), None))["cdpn"], "4");
    scene.reach.rules = vec![rules(&["+32*"], &["+32490*"])];
    assert_eq!(scene.refusal(&info(Some("7"), None)), Code::DestinationNotAllowed, "+3247 is not complete");
    // What was sent counts, also while the PBX does not report it.
    assert_eq!(scene.refusal(&info(Some("9012345"), None)), Code::DestinationNotAllowed);
    assert_eq!(scene.refusal(&info(None, Some("9012345"))), Code::DestinationNotAllowed);
    assert_eq!(scene.frame(&info(Some("72591687"), None))["cdpn"], "72591687");
    assert_eq!(scene.refusal(&info(Some("12345"), None)), Code::DestinationNotAllowed, "more than 15 digits");
    let incoming = scene.call(10, TALKS);
    let digits = Operation::SendInfo { call_id: incoming, digits: Some("43".to_owned()), keypad: None, display: None };
    assert_eq!(scene.refusal(&digits), Code::DestinationNotAllowed, "nobody knows what that would dial");
}

#[test]
fn call_of_one_device_waits_for_its_monitor() {
    let mut scene = Scene::new();
    let with = |hw: &str| make_call("42", "50", DialOptions { device: Some(hw.to_owned()), ..DialOptions::default() });
    assert_eq!(scene.refusal(&with("ip-43")), Code::DeviceNotFound);
    let Ok(Plan::Later(frames)) = scene.plan(&with("sip-42")) else { panic!("not later") };
    let frame: Value = serde_json::from_str(&frames[0]).expect("JSON");
    assert_eq!(
        (&frame["mt"], &frame["cn"], &frame["hw"]),
        (&json!("UserInitialize"), &json!("User 42"), &json!("sip-42"))
    );
    assert!(matches!(scene.plan(&with("sip-42")), Ok(Plan::Later(frames)) if frames.is_empty()));
    scene.session.monitored(None, 9, DialPrefixes::default());
    assert_eq!(scene.frame(&with("sip-42"))["user"], 9);

    let Ok(Plan::Later(_)) = scene.plan(&with("ip-42")) else { panic!("not later") };
    scene.session.monitored(None, 0, DialPrefixes::default());
    assert_eq!(scene.refusal(&with("ip-42")), Code::DeviceNotFound);
}

#[test]
fn leg_that_two_monitors_tell_of_is_named_by_the_users_own() {
    let mut scene = Scene::new();
    scene.session.device(&Arc::from(PHONE), "ip-42");
    scene.session.monitored(None, 9, DialPrefixes::default());
    let call_id = scene.call(1, TALKS);
    play(&mut scene.calls, 1.0, vec![leg(2, TALKS).user_handle(9).conf("conf 1")]);
    let task = scene.task(&Operation::DisconnectCall { call_id, cause: Some(88) });
    assert_eq!(task.frames.len(), 1);
    let frame: Value = serde_json::from_str(&task.frames[0]).expect("JSON");
    assert_eq!((&frame["user"], &frame["call"], &frame["cause"]), (&json!(1), &json!(1), &json!(88)));
}

#[test]
fn hold_and_retrieve_look_at_the_state() {
    let mut scene = Scene::new();
    let (rings, talks, holds) = (scene.call(1, ALERTING), scene.call(2, TALKS), scene.call(3, TALKS_AND_HOLDS));
    let hold = |call_id, music| Operation::HoldCall { call_id, music };
    let retrieve = |call_id| Operation::RetrieveCall { call_id };
    assert_eq!(scene.refusal(&hold(rings, true)), Code::NotConnected);
    assert_eq!(scene.frame(&hold(talks, false)), json!({"mt": "UserHold", "user": 1, "call": 2, "remote": false}));
    assert_eq!(scene.answer(&hold(holds, true)), json!({}), "it is held already");
    assert_eq!(scene.refusal(&retrieve(talks)), Code::NotHeld);
    assert_eq!(scene.frame(&retrieve(holds)), json!({"mt": "UserRetrieve", "user": 1, "call": 3}));
}

#[test]
fn redirect_takes_what_rings_or_talks() {
    let mut scene = Scene::new();
    let (dials, rings, talks) = (scene.call(1, 3), scene.call(2, ALERTING), scene.call(3, TALKS));
    let redirect = |call_id, honour_forwarding, remote_control| Operation::RedirectCall {
        call_id,
        to: "+32 472".to_owned(),
        honour_forwarding,
        remote_control,
    };
    assert_eq!(scene.refusal(&redirect(dials, false, None)), Code::NotRedirectable);
    assert_eq!(
        scene.frame(&redirect(rings, false, Some(3))),
        json!({"mt": "UserRedirect", "user": 1, "call": 2, "e164": "00032472", "rc": 3})
    );
    assert_eq!(
        scene.frame(&redirect(talks, true, None)),
        json!({"mt": "UserReroute", "user": 1, "call": 3, "e164": "00032472"})
    );
    assert_eq!(scene.refusal(&redirect(talks, true, Some(3))), Code::InvalidRequest);
}

#[test]
fn park_and_pick_up() {
    let mut scene = Scene::new();
    let (rings, talks) = (scene.call(1, ALERTING), scene.call(2, TALKS));
    let park =
        |call_id, at: Option<&str>| Operation::ParkCall { call_id, at: at.map(str::to_owned), position: Some(7) };
    assert_eq!(scene.refusal(&park(rings, None)), Code::NotParkable);
    assert_eq!(scene.refusal(&park(talks, Some("99"))), Code::NotMonitored);
    assert_eq!(scene.frame(&park(talks, None)), json!({"mt": "UserPark", "user": 1, "call": 2, "position": 7}));
    let elsewhere = scene.task(&park(talks, Some("43")));
    assert!(elsewhere.frames[0].contains(r#""cn":"User 43""#), "{}", elsewhere.frames[0]);
    let ExpectedState::Parked(wanted) = elsewhere.expected else { panic!("no park") };
    assert_eq!((&*wanted.at, wanted.stays.len()), (OTHER, 0));
    let ExpectedState::Parked(own) = scene.task(&park(talks, Some("42"))).expected else { panic!("no park") };
    assert_eq!((&*own.at, own.stays.len()), (PHONE, 1));

    let pick = |call_id, at: Option<&str>| Operation::PickUpCall {
        extension: "43".to_owned(),
        call_id,
        at: at.map(str::to_owned),
    };
    assert_eq!(scene.frame(&pick(Some(rings), None)), json!({"mt": "UserPickup", "user": 2, "call": 1}));
    assert_eq!(scene.frame(&pick(None, Some("42"))), json!({"mt": "UserPickup", "user": 2, "cn": "User 42"}));
    assert_eq!(scene.refusal(&pick(Some(talks), None)), Code::NothingToPickUp);
    assert_eq!(scene.refusal(&pick(None, None)), Code::InvalidRequest);
}

#[test]
fn digits_go_to_the_other_party_unless_asked_otherwise() {
    let mut scene = Scene::new();
    let (rings, talks) = (scene.call(1, ALERTING), scene.call(2, TALKS));
    let dtmf = |call_id, to_own_party| Operation::SendDtmf { call_id, digits: "12#".to_owned(), to_own_party };
    assert_eq!(scene.refusal(&dtmf(rings, false)), Code::NotConnected);
    assert_eq!(
        scene.frame(&dtmf(talks, false)),
        json!({"mt": "UserDTMF", "user": 1, "call": 2, "dtmf": "12#", "recv": false})
    );
    assert_eq!(scene.frame(&dtmf(talks, true))["recv"], true);
    scene.dtmf_recv = DtmfRecv::Peer;
    assert_eq!(scene.frame(&dtmf(talks, false))["recv"], true);
}

#[test]
fn what_a_call_is_told() {
    let mut scene = Scene::new();
    let (a, b) = (scene.call(1, TALKS), scene.call(2, TALKS));
    let uui = Operation::SendUserInfo { call_id: a, uui: "a b".to_owned(), to_own_party: true };
    assert_eq!(scene.frame(&uui), json!({"mt": "UserUUI", "user": 1, "call": 1, "uui": "a%20b", "recv": true}));
    let info =
        Operation::SendInfo { call_id: a, digits: Some("1".to_owned()), keypad: None, display: Some("Hi".to_owned()) };
    assert_eq!(scene.frame(&info), json!({"mt": "UserInfo", "user": 1, "call": 1, "cdpn": "1", "dsp": "Hi"}));
    let rc = Operation::RemoteControl { call_id: a, code: 37 };
    assert_eq!(scene.frame(&rc), json!({"mt": "UserRc", "user": 1, "call": 1, "rc": 37}));
    let media = |call_id_b| Operation::TransferMedia { call_id_a: a, call_id_b, user: true, peer: false };
    assert_eq!(scene.frame(&media(b)), json!({"mt": "UserMediaTransfer", "a": 1, "b": 2, "user": true, "peer": false}));
    assert_eq!(scene.refusal(&media(a)), Code::NotTransferable);
}

#[test]
fn what_is_out_of_reach_does_not_exist() {
    let mut scene = Scene::new();
    let call_id = scene.call(1, TALKS);
    scene.reach = only(&["43"]);
    assert_eq!(scene.refusal(&Operation::HoldCall { call_id, music: true }), Code::CallNotFound);
    assert_eq!(scene.refusal(&Operation::GetCall { call_id }), Code::CallNotFound);
    assert_eq!(scene.refusal(&Operation::GetUser { extension: "42".to_owned() }), Code::UserNotFound);
    assert_eq!(scene.refusal(&make_call("42", "43", DialOptions::default())), Code::ExtensionNotAllowed);
    let pick = Operation::PickUpCall { extension: "43".to_owned(), call_id: None, at: Some("42".to_owned()) };
    assert_eq!(scene.refusal(&pick), Code::ExtensionNotAllowed);
    let page = PageRequest { cursor: None, limit: 10 };
    let users = scene.answer(&Operation::GetUsers { page: page.clone() });
    assert_eq!((&users["users"][0]["extension"], &users["users"][1]), (&json!("43"), &Value::Null));
    let calls = Operation::GetCalls { extension: None, page };
    assert_eq!(scene.answer(&calls), json!({"calls": [], "nextCursor": null}));
    scene.reach = only(&["42"]);
    assert_eq!(scene.answer(&calls)["calls"][0]["CallId"], json!(call_id));
    scene.task(&Operation::HoldCall { call_id, music: true });
}

#[test]
fn internal_destinations_are_extensions_of_visible_users() {
    let mut scene = Scene::new();
    scene.reach.internal_only = ["4 3", "*21", "50"].map(str::to_owned).into();
    let mut refused =
        |to: &str| scene.plan(&make_call("42", to, DialOptions::default())).err().map(|refusal| refusal.code);
    assert_eq!(refused("4 3"), None);
    assert_eq!(refused("*21"), Some(Code::DestinationNotAllowed));
    assert_eq!(refused("50"), Some(Code::DestinationNotAllowed));
    assert_eq!(refused("51"), None, "it has been judged already");
    let connect =
        Operation::ConnectParties { via: "77".to_owned(), a: "4 3".to_owned(), b: "50".to_owned(), ring_seconds: 45 };
    assert_eq!(scene.refusal(&connect), Code::DestinationNotAllowed);
}

#[test]
fn parties_are_only_looked_up() {
    let mut scene = Scene::new();
    let connect = |via: &str, b: &str| Operation::ConnectParties {
        via: via.to_owned(),
        a: "4-3".to_owned(),
        b: b.to_owned(),
        ring_seconds: 45,
    };
    assert_eq!(scene.answer(&connect("77", "+32 472")), json!({"via": "77", "numbers": ["43", "00032472"]}));
    assert_eq!(scene.refusal(&connect("99", "+32 472")), Code::NotMonitored);
    let refusal = scene.plan(&connect("77", "Thomas")).expect_err("no number");
    assert_eq!(refusal.code, Code::InvalidNumber);
    assert!(refusal.detail.is_some_and(|detail| detail.starts_with("field `b`")));
}

/// 42 exists in the nodes `a` and `b`, each with prefixes of its own.
fn two_nodes() -> Scene {
    let mut session = Session::new(1);
    let users = [(PHONE, "a", "42"), (OTHER, "b", "42"), (QUEUE, "b", "77")];
    for (handle, (guid, node, extension)) in (1..).zip(users) {
        let info = UserInfo {
            guid: guid.to_owned(),
            cn: format!("{extension} of {node}"),
            h323: format!("{node}.{extension}"),
            e164: extension.to_owned(),
            node: node.to_owned(),
            ..UserInfo::default()
        };
        session.on_user_info(info, &Monitor::default());
        session.monitor_next();
        let line = if node == "a" { "0" } else { "9" };
        let prefixes = DialPrefixes {
            international: format!("{line}00"),
            national: format!("{line}0"),
            subscriber: line.to_owned(),
            ..belgium()
        };
        session.monitored(None, handle, prefixes);
    }
    let mut calls = core();
    for (guid, identity) in session.identities().collect::<Vec<_>>() {
        calls.user_is(guid, identity);
    }
    Scene { calls, session, reach: Reach::default(), dtmf_recv: DtmfRecv::default() }
}

#[test]
fn who_acts_is_never_guessed() {
    let mut scene = two_nodes();
    let call = |from: &str| make_call(from, "+32 472 59 16 87", DialOptions::default());
    let refusal = scene.plan(&call("42")).expect_err("refused");
    assert_eq!(refusal.code, Code::AmbiguousExtension);
    assert_eq!(
        refusal.detail.as_deref(),
        Some("field `from`: 42 is the extension or name of more than one user or queue: a/42, b/42")
    );
    for (from, handle, dialled) in [
        ("a/42", 1, "00032472591687"),
        ("b/42", 2, "90032472591687"),
        ("b.42", 2, "90032472591687"),
        ("77", 3, "90032472591687"),
    ] {
        let frame = scene.frame(&call(from));
        assert_eq!((&frame["user"], &frame["e164"]), (&json!(handle), &json!(dialled)), "{from}");
    }
    assert_eq!(scene.frame(&call(OTHER))["user"], 2);
    assert_eq!(scene.refusal(&call("c/42")), Code::NotMonitored);
}

#[test]
fn what_is_judged_is_what_the_user_dials() {
    let mut scene = two_nodes();
    scene.reach.rules = vec![rules(&["+32*"], &["+32900*"])];
    let call = |from: &str, to: &str| make_call(from, to, DialOptions::default());
    // In node `b` it begins a call abroad; in node `a` it is nothing that can be judged.
    assert_eq!(scene.refusal(&call("b/42", "90033123456789")), Code::DestinationNotAllowed);
    assert_eq!(scene.frame(&call("b/42", "90032472591687"))["e164"], "90032472591687");
    assert_eq!(scene.refusal(&call("a/42", "90032472591687")), Code::DestinationNotAllowed);
    assert_eq!(scene.refusal(&call("a/42", "0090012345")), Code::DestinationNotAllowed);
    // The extension of another node is none that is reached by dialling it.
    assert_eq!(scene.frame(&call("b/42", "77"))["e164"], "77");
    assert_eq!(scene.refusal(&call("a/42", "77")), Code::DestinationNotAllowed);
}

#[test]
fn key_of_one_node_knows_nothing_of_the_other() {
    let mut scene = two_nodes();
    let own = scene.call(1, TALKS);
    let page = PageRequest { cursor: None, limit: 10 };
    let (users, calls) = (Operation::GetUsers { page: page.clone() }, Operation::GetCalls { extension: None, page });
    let user = |extension: &str| Operation::GetUser { extension: extension.to_owned() };
    let call = |from: &str| make_call(from, "50", DialOptions::default());
    for entry in ["a/42", "a.42", PHONE] {
        scene.reach = only(&[entry]);
        // For this key there is only one.
        for address in ["42", "a/42", "a.42", PHONE] {
            assert_eq!(scene.frame(&call(address))["user"], 1, "{entry} {address}");
            assert_eq!(scene.answer(&user(address))["user"]["node"], "a");
        }
        for address in ["b/42", "b.42", OTHER, "77"] {
            assert_eq!(scene.refusal(&call(address)), Code::ExtensionNotAllowed, "{entry} {address}");
            assert_eq!(scene.refusal(&user(address)), Code::UserNotFound);
        }
        assert_eq!(scene.answer(&users)["users"].as_array().map(Vec::len), Some(1));
        assert_eq!(scene.answer(&calls)["calls"][0]["CallId"], json!(own));
    }
    scene.reach = only(&["b/42"]);
    assert_eq!(scene.refusal(&Operation::GetCall { call_id: own }), Code::CallNotFound);
    assert_eq!(scene.answer(&calls)["calls"], json!([]));
    let shown = &scene.answer(&users)["users"][0];
    assert_eq!((&shown["address"], &shown["title"]), (&json!("b/42"), &json!("42 of b (42, b)")));
    // An extension alone that has become ambiguous means nobody.
    scene.reach = only(&["42"]);
    assert_eq!(scene.refusal(&call("42")), Code::AmbiguousExtension);
    assert_eq!(scene.refusal(&call("a/42")), Code::ExtensionNotAllowed);
    assert_eq!(scene.refusal(&Operation::GetCall { call_id: own }), Code::CallNotFound);
    assert_eq!(scene.answer(&users)["users"], json!([]));
}
