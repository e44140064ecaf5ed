use serde_json::{Value, json};

use super::*;

fn info(guid: &str, cn: &str) -> UserInfo {
    UserInfo {
        guid: guid.to_owned(),
        cn: cn.to_owned(),
        e164: cn.to_owned(),
        pbx: "master".to_owned(),
        ..UserInfo::default()
    }
}

fn gone(guid: &str, cn: &str) -> UserInfo {
    UserInfo { gone: true, ..info(guid, cn) }
}

fn session(users: impl IntoIterator<Item = UserInfo>) -> Session {
    let mut session = Session::new(1);
    for user in users {
        session.on_user_info(user, &Monitor::default());
    }
    session.listed = true;
    session
}

fn report(src: Option<&str>, handle: u64) -> CallInfo {
    let mut text = json!({"api": "RCC", "mt": "CallInfo", "user": handle, "call": 1, "state": 129});
    if let Some(src) = src {
        text["src"] = src.into();
    }
    match crate::pbx::frames::Frame::parse(&text.to_string()) {
        Ok(crate::pbx::frames::Frame::Rcc(rcc::RccFrame::CallInfo(info))) => info,
        other => panic!("{other:?}"),
    }
}

/// The monitored user with this address, and the handle.
fn monitored<'a>(session: &'a Session, address: &str) -> Option<(&'a User, u64)> {
    let user = session.find(address, |_| true).ok()?;
    Some((user, user.handle?))
}

/// The values of a property in these frames.
fn values(frames: &[String], name: &str) -> Vec<Value> {
    let value = |frame: &String| serde_json::from_str::<Value>(frame).expect("JSON")[name].clone();
    frames.iter().map(value).collect()
}

#[test]
fn users_are_monitored_as_fast_as_the_pbx_answers() {
    let mut session = session((0..120).map(|n| info(&format!("g{n:03}"), &n.to_string())));
    assert_eq!(session.monitor_next().len(), 1, "nobody knows yet whether results name their requests");
    assert_eq!(session.monitor_next().len(), 0);
    session.monitored(Some("u1"), 101, DialPrefixes::default());
    assert_eq!(session.monitor_next().len(), MOST_MONITORS);
    for n in 2..=120u64 {
        session.monitored(Some(&format!("u{n}")), 100 + n, DialPrefixes::default());
        assert!(session.monitor_next().len() <= 1);
    }
    assert!(session.is_complete());
    assert_eq!(monitored(&session, "119").map(|(_, handle)| handle), Some(220));
}

#[test]
fn users_go_when_their_calls_have_ended() {
    let app = UserInfo { pseudo: "app".to_owned(), ..info("app", "EasyConnect") };
    let mut session = session([info("g1", "1"), info("g2", "2"), app]);
    assert_eq!(session.visible().count(), 2, "an App object that sees itself");
    session.monitor_next();
    session.monitored(None, 7, DialPrefixes::default());
    assert_eq!(session.user_of_handle(7).map(AsRef::as_ref), Some("g1"));
    session.on_user_info(gone("g1", "1"), &Monitor::default());
    assert!(monitored(&session, "1").is_none());
    assert!(session.release(|_| true).is_empty());
    assert_eq!(session.release(|_| false).len(), 1);
    assert!(session.user_of_handle(7).is_none());
    assert_eq!(session.user_of_report(&report(None, 7)), Reporter::Nobody);
    assert!(session.early_reports(7).is_empty(), "it was on its way");

    // The monitor of a user who leaves before the PBX has answered is ended as soon as it has.
    session.monitor_next();
    session.on_user_info(gone("g2", "2"), &Monitor::default());
    assert!(session.release(|_| false).is_empty());
    session.monitored(None, 9, DialPrefixes::default());
    assert_eq!(session.release(|_| false).len(), 1);
    assert!(session.user_of_handle(9).is_none());
}

#[test]
fn device_has_a_monitor_of_its_own_from_its_first_use_on() {
    let guid: UserGuid = Arc::from("g1");
    let mut session = session([UserInfo { devices: vec!["p1".to_owned()], ..info("g1", "1") }]);
    // The monitor of the user, and the labels of the devices.
    assert_eq!(session.monitor_next().len(), 2);
    assert_eq!(session.monitored(Some("u1"), 7, DialPrefixes::default()), Some(guid.clone()));

    let (monitor, frame) = session.device(&guid, "p1").expect("a user");
    assert_eq!((monitor, frame.is_some()), (DeviceMonitor::Asked, true));
    assert_eq!(session.device(&guid, "p1"), Some((DeviceMonitor::Asked, None)));
    assert_eq!(session.monitored(None, 8, DialPrefixes::default()), None, "nobody new is watched");
    assert_eq!(session.device(&guid, "p1"), Some((DeviceMonitor::Open(8), None)));
    assert_eq!(session.user_of_handle(8), Some(&guid));
    assert!(session.is_of_one_device(8) && !session.is_of_one_device(7));

    session.on_user_info(gone("g1", "1"), &Monitor::default());
    assert_eq!(session.release(|_| false).len(), 2);
    assert!(session.user_of_handle(8).is_none());
}

#[test]
fn queue_is_monitored_with_its_long_name_as_device() {
    let queue = UserInfo { pseudo: "waiting".to_owned(), ..info("g1", "Sales") };
    let mut session = session([queue, info("g2", "2")]);
    let mut frames = session.monitor_next();
    session.monitored(Some("u1"), 7, DialPrefixes::default());
    frames.extend(session.monitor_next());
    assert_eq!(values(&frames, "hw"), [json!("Sales"), Value::Null]);
    assert!(!session.is_of_one_device(7));
}

#[test]
fn labels_are_asked_for_once_per_set_of_devices() {
    let with =
        |devices: &[&str]| UserInfo { devices: devices.iter().map(|hw| (*hw).to_owned()).collect(), ..info("g1", "1") };
    let mut session = session([with(&["p1"])]);
    let asked = |session: &mut Session| values(&session.monitor_next(), "mt").contains(&json!("Devices"));
    assert!(asked(&mut session));
    session.on_user_info(with(&["p1"]), &Monitor::default());
    assert!(!asked(&mut session), "the answer is on its way, or never comes");
    session.labelled(None, vec![("p2".to_owned(), "Softphone".to_owned())]);
    session.on_user_info(with(&["p1"]), &Monitor::default());
    assert!(!asked(&mut session), "p1 has no label");
    session.on_user_info(with(&["p1", "p2", "p3"]), &Monitor::default());
    assert!(asked(&mut session), "p3 is new");
    let user = session.find("1", |_| true).expect("visible");
    let described = user.describe(&session.names_of(user));
    assert_eq!(
        described["devices"],
        json!([{"hw": "p1", "text": ""}, {"hw": "p2", "text": "Softphone"}, {"hw": "p3", "text": ""}])
    );
    assert_eq!(described["registered"], true);
}

#[test]
fn only_listed_users_are_monitored() {
    let mut session = Session::new(1);
    let monitor = Monitor::List(vec!["a".to_owned()]);
    assert!(session.on_user_info(info("1", "a"), &monitor).is_some());
    assert!(session.on_user_info(info("2", "b"), &monitor).is_none());
    assert_eq!(session.monitor_next().len(), 1);
}

#[test]
fn users_of_another_pbx_are_left_to_it() {
    let elsewhere = |cn: &str| UserInfo { pbx: "branch".to_owned(), ..info("g1", cn) };
    let mut session = session([elsewhere("1"), info("g2", "2")]);
    session.at_home_at(Some("master".to_owned()));
    assert_eq!(values(&session.monitor_next(), "cn"), [json!("2")]);
    session.monitored(Some("u1"), 7, DialPrefixes::default());
    assert!(session.is_complete());
    assert_eq!(session.visible().count(), 2);
    // It moves here, and away again.
    session.on_user_info(info("g1", "1"), &Monitor::default());
    assert_eq!(values(&session.monitor_next(), "cn"), [json!("1")]);
    session.monitored(Some("u2"), 8, DialPrefixes::default());
    session.on_user_info(elsewhere("1"), &Monitor::default());
    assert_eq!(values(&session.release(|_| false), "mt"), [json!("UserEnd")]);
    assert_eq!((session.visible().count(), session.user_of_handle(8)), (2, None));
    session.on_user_info(gone("g1", "1"), &Monitor::default());
    session.release(|_| false);
    assert_eq!(session.visible().count(), 1);
}

/// A user of a node.
fn in_node(guid: &str, node: &str, extension: &str) -> UserInfo {
    let cn = format!("{extension} of {node}");
    UserInfo {
        node: node.to_owned(),
        h323: format!("{node}.{extension}"),
        e164: extension.to_owned(),
        ..info(guid, &cn)
    }
}

#[test]
fn extension_of_two_nodes_is_nobodys_alone() {
    let mut session = session([in_node("g1", "root", "42"), in_node("g2", "paris", "42"), in_node("g3", "root", "43")]);
    let found =
        |session: &Session, address: &str| session.find(address, |_| true).map(|user| user.info.guid.clone()).ok();
    assert!(matches!(session.find("42", |_| true), Err(AddressError::Several(users)) if users.len() == 2));
    for (address, guid) in
        [("root/42", "g1"), ("paris/42", "g2"), ("paris.42", "g2"), ("g2", "g2"), ("43", "g3"), ("root/43", "g3")]
    {
        assert_eq!(found(&session, address).as_deref(), Some(guid), "{address}");
    }
    assert_eq!(found(&session, "paris/43"), None);
    // Who counts decides whether it is one.
    assert_eq!(session.find("42", |names| names.node == "paris").expect("one").info.guid, "g2");
    assert_eq!(session.in_node("paris", "42").map(|user| user.info.guid.as_str()), Some("g2"));

    let shared = |session: &mut Session| -> Vec<(String, bool)> {
        session.changed_identities().into_iter().map(|(guid, user)| (guid.to_string(), user.is_shared)).collect()
    };
    let told =
        |list: &[(&str, bool)]| list.iter().map(|(guid, shared)| ((*guid).to_owned(), *shared)).collect::<Vec<_>>();
    assert_eq!(shared(&mut session), told(&[("g1", true), ("g2", true), ("g3", false)]));
    session.on_user_info(in_node("g2", "paris", "44"), &Monitor::default());
    assert_eq!(shared(&mut session), told(&[("g1", false), ("g2", false)]));
    session.on_user_info(in_node("g2", "paris", "43"), &Monitor::default());
    assert_eq!(shared(&mut session), told(&[("g2", true), ("g3", true)]));
    session.on_user_info(UserInfo { gone: true, ..in_node("g2", "paris", "43") }, &Monitor::default());
    assert_eq!(shared(&mut session), told(&[("g3", false)]));
}

#[test]
fn prefixes_are_those_of_the_user() {
    let mut session = session([in_node("g1", "root", "42"), in_node("g2", "paris", "42")]);
    let prefixes = |international: &str| DialPrefixes { international: international.to_owned(), ..Default::default() };
    session.monitor_next();
    session.monitored(None, 1, prefixes("000"));
    assert_eq!(session.common_prefixes(), prefixes("000"));
    session.monitor_next();
    session.monitored(None, 2, prefixes("900"));
    let of = |session: &Session, address: &str| session.find(address, |_| true).expect("a user").prefixes.clone();
    assert_eq!((of(&session, "root/42"), of(&session, "paris/42")), (prefixes("000"), prefixes("900")));
    assert_eq!(session.common_prefixes(), DialPrefixes::default());
    // A monitor of one device changes nothing.
    session.device(&Arc::from("g1"), "ip-42");
    session.monitored(None, 3, prefixes("900"));
    assert_eq!(of(&session, "root/42"), prefixes("000"));
}

#[tokio::test(start_paused = true)]
async fn late_answer_still_counts() {
    let mut session = session([info("1", "5")]);
    session.monitor_next();
    tokio::time::advance(ANSWER_WITHIN * 2).await;
    session.on_tick();
    assert!(session.is_complete(), "nobody waits for it");
    assert_eq!(session.refusals().next().expect("refused").1.reason, "the PBX does not answer");
    assert!(session.monitored(Some("u1"), 7, DialPrefixes::default()).is_some());
    assert_eq!(monitored(&session, "5").map(|(_, handle)| handle), Some(7));
    assert!(session.refusals().next().is_none());
    assert!(session.monitored(Some("u1"), 8, DialPrefixes::default()).is_none(), "it has had its answer");
}

#[tokio::test(start_paused = true)]
async fn refused_monitor_keeps_its_reason_and_is_asked_for_again_rarely() {
    let mut session = session([info("1", "5")]);
    session.monitor_next();
    session.refused(Some("u1"), Some("not allowed".to_owned()));
    assert!(monitored(&session, "5").is_none() && session.is_complete());
    assert_eq!(session.refusals().next().expect("refused").1.reason, "not allowed");
    session.on_user_info(info("1", "5"), &Monitor::default());
    assert!(session.monitor_next().is_empty(), "each change of a user would ask again");
    let mut requests = 0;
    for _ in 0..24 * 60 {
        tokio::time::advance(Duration::from_secs(60)).await;
        session.on_tick();
        for src in values(&session.monitor_next(), "src") {
            requests += 1;
            session.refused(src.as_str(), None);
        }
    }
    assert!((25..=35).contains(&requests), "{requests} in a day");
}

#[test]
fn report_before_the_handle_is_kept_for_it() {
    let mut session = session([info("g1", "1")]);
    session.monitor_next();
    assert_eq!(session.user_of_report(&report(Some("u1"), 7)), Reporter::Nobody);
    session.monitored(None, 7, DialPrefixes::default());
    let early = session.early_reports(7);
    assert_eq!(early.len(), 1);
    let known = Reporter::Known { user: Arc::from("g1"), newly_watched: false };
    assert_eq!(session.user_of_report(&early[0]), known);
}

#[tokio::test(start_paused = true)]
async fn early_report_says_whose_result_comes_late() {
    let mut session = session([info("g1", "1"), info("g2", "2")]);
    session.monitor_next();
    tokio::time::advance(ANSWER_WITHIN * 2).await;
    session.on_tick();
    session.monitor_next();
    session.user_of_report(&report(Some("u1"), 7));
    assert_eq!(session.monitored(None, 7, DialPrefixes::default()).as_deref(), Some("g1"));
    assert_eq!(session.monitored(None, 8, DialPrefixes::default()).as_deref(), Some("g2"), "still waited for");
}

#[tokio::test(start_paused = true)]
async fn report_says_whose_handle_it_is() {
    let mut session = session([info("g1", "1"), info("g2", "2")]);
    session.monitor_next();
    tokio::time::advance(ANSWER_WITHIN * 2).await;
    session.on_tick();
    session.monitor_next();
    // The answer to the first request comes when the second one is waited for.
    session.monitored(None, 7, DialPrefixes::default());
    assert_eq!(monitored(&session, "2").map(|(_, handle)| handle), Some(7));
    let known = Reporter::Known { user: Arc::from("g1"), newly_watched: true };
    assert_eq!(session.user_of_report(&report(Some("u1"), 7)), known);
    assert_eq!(monitored(&session, "1").map(|(_, handle)| handle), Some(7));
    assert!(monitored(&session, "2").is_none());
    assert_eq!(values(&session.monitor_next(), "cn"), [json!("2")]);
}

#[tokio::test(start_paused = true)]
async fn pbx_that_knows_no_labels_is_not_asked_for_ever() {
    let phone = |n: u32| UserInfo { devices: vec!["p".to_owned()], ..info(&format!("g{n}"), &n.to_string()) };
    let mut session = session((0..50).map(phone));
    let mut asked = 0;
    for _ in 0..50 {
        asked += values(&session.monitor_next(), "mt").iter().filter(|mt| **mt == "Devices").count();
        tokio::time::advance(ANSWER_WITHIN + Duration::from_secs(1)).await;
        session.on_tick();
    }
    assert_eq!(asked, MOST_SILENT_LABELS as usize);
}

#[test]
fn firmware_shows_in_what_it_tells() {
    let mut session = session([info("g1", "1")]);
    session.user_of_report(&report(None, 1));
    assert!(!session.encodes_user_to_user());
    session.user_of_report(&CallInfo { running_for: Some(0), ..report(None, 1) });
    assert!(session.encodes_user_to_user());
}
