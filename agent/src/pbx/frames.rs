//! Frames from the PBX, read as tolerantly as years of firmware demand.
//!
//! Every property is optional, numbers may come as text and text as numbers, arrays as single objects. What is not
//! understood is named and skipped, never an error: only a text that is no JSON object at all is.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use shared::event::Direction;
use shared::numbering::DialPrefixes;

use crate::calls::{LegId, LegReport, LegState, Party, Phase, Relation, TAKEN_ELSEWHERE};

/// What people read of a party is cut behind this: an event with a full history has to fit into a message of the queue.
const LONGEST_NAME: usize = 128;
const LONGEST_NUMBER: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("the PBX sent a text that is not a JSON object")]
    NotAnObject(#[from] serde_json::Error),
    #[error("the PBX sent a message without `mt`")]
    NoType,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// The challenge's literal characters, which is what gets hashed.
    Challenge(String),
    LoginResult {
        ok: bool,
        error: Option<String>,
    },
    /// The list of users is complete, or refused.
    InitializeResult {
        error: Option<String>,
    },
    User(UserInfo),
    UserInitializeResult {
        src: Option<String>,
        handle: u64,
        prefixes: DialPrefixes,
    },
    /// The labels of a user's devices.
    Devices {
        src: Option<String>,
        /// Hardware id and label.
        labels: Vec<(String, String)>,
    },
    CallInfo(CallInfo),
    /// The result of an operation on a call.
    Result(OperationResult),
    /// Anything else, by its name.
    Other(String),
}

/// A monitored or visible object, as a full snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    pub gone: bool,
    pub guid: String,
    pub cn: String,
    pub dn: String,
    pub h323: String,
    pub e164: String,
    pub pbx: String,
    pub pseudo: String,
    pub devices: Vec<String>,
    pub channels: Option<u32>,
    pub alerting: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CallInfo {
    pub user: u64,
    pub call: u64,
    pub message: String,
    pub state: Option<u32>,
    pub conference: Option<Arc<str>>,
    pub peer: Option<Party>,
    pub related: Vec<(Relation, Party)>,
    pub cause: Option<u16>,
    pub running_for: Option<u64>,
    pub last: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationResult {
    /// The request's name, without `Result`.
    pub request: String,
    pub src: Option<String>,
    pub call: Option<u64>,
    pub error: Option<String>,
}

impl Frame {
    pub fn parse(text: &str) -> Result<Self, FrameError> {
        let object: Map<String, Value> = serde_json::from_str(text)?;
        let fields = Fields(&object);
        let kind = fields.text("mt").ok_or(FrameError::NoType)?;
        Ok(match kind.as_str() {
            "AppChallengeResult" => Self::Challenge(challenge(text)?),
            "AppLoginResult" => {
                let error = fields.text("errorText").or_else(|| fields.text("error"));
                Self::LoginResult { ok: fields.flag("ok"), error }
            }
            "InitializeResult" => Self::InitializeResult { error: fields.error() },
            "UserInfo" => Self::User(UserInfo::read(fields)),
            "UserInitializeResult" => Self::UserInitializeResult {
                src: fields.text("src"),
                handle: fields.number("user").unwrap_or(0),
                prefixes: DialPrefixes {
                    international: fields.text("prefixIntl").unwrap_or_default(),
                    national: fields.text("prefixNtl").unwrap_or_default(),
                    subscriber: fields.text("prefixSubs").unwrap_or_default(),
                    area: fields.text("area").unwrap_or_default(),
                    country: fields.text("country").unwrap_or_default(),
                },
            },
            "DevicesResult" => Self::Devices {
                src: fields.text("src"),
                labels: fields
                    .list("devices")
                    .filter_map(|device| Some((device.text("hw")?, device.text("text").unwrap_or_default())))
                    .collect(),
            },
            "CallInfo" => match CallInfo::read(fields) {
                Some(info) => Self::CallInfo(info),
                None => Self::Other("CallInfo without handles".to_owned()),
            },
            result if result.starts_with("User") && result.ends_with("Result") => Self::Result(OperationResult {
                request: result.trim_end_matches("Result").to_owned(),
                src: fields.text("src"),
                call: fields.number("call"),
                error: fields.error(),
            }),
            other => Self::Other(other.to_owned()),
        })
    }
}

/// The challenge as it stands in the text: a number must not lose digits on its way through a float.
fn challenge(text: &str) -> Result<String, FrameError> {
    #[derive(Deserialize)]
    struct Challenge<'a> {
        #[serde(borrow)]
        challenge: &'a RawValue,
    }
    let raw = serde_json::from_str::<Challenge<'_>>(text)?.challenge.get();
    Ok(serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned()))
}

impl UserInfo {
    fn read(fields: Fields<'_>) -> Self {
        let text = |name| fields.text(name).unwrap_or_default();
        let cn = text("cn");
        Self {
            gone: fields.text("update").is_some_and(|update| update == "del"),
            // The guid is the stable key; without one the long name, unique on the PBX, has to do.
            guid: fields.text("guid").filter(|guid| !guid.is_empty()).unwrap_or_else(|| cn.clone()),
            dn: bounded(&text("dn"), LONGEST_NAME),
            h323: text("h323"),
            e164: bounded(&text("e164"), LONGEST_NUMBER),
            pbx: text("pbx"),
            pseudo: text("pseudo"),
            devices: fields.list("regs").filter_map(|device| device.text("hw")).collect(),
            channels: fields.number("channel").and_then(|n| n.try_into().ok()),
            alerting: fields.number("alert").and_then(|n| n.try_into().ok()),
            cn,
        }
    }

    pub fn display_name(&self) -> String {
        bounded(if self.dn.is_empty() { &self.cn } else { &self.dn }, LONGEST_NAME)
    }
}

impl CallInfo {
    fn read(fields: Fields<'_>) -> Option<Self> {
        let message = fields.text("msg").unwrap_or_default();
        let info_cause = fields
            .list("info")
            .filter(|info| info.text("type").as_deref() == Some("cause"))
            .find_map(|info| info.number("vali"));
        Some(Self {
            user: fields.number("user")?,
            call: fields.number("call")?,
            state: fields.number("state").and_then(|state| state.try_into().ok()),
            conference: fields
                .text("conf")
                .map(|conf| bounded(&conf, LONGEST_NUMBER))
                .filter(|conf| !conf.is_empty())
                .map(Arc::from),
            peer: fields.object("peer").map(party),
            related: fields
                .list("no")
                .filter_map(|other| Some((relation(&other.text("type")?)?, party(other))))
                .collect(),
            cause: info_cause.or_else(|| fields.number("cause")).and_then(|cause| cause.try_into().ok()),
            running_for: fields.number("time"),
            last: fields.flag("del") || message == "del",
            message,
        })
    }

    /// The report for the call core; `session` tells handles of different connections apart.
    pub fn into_report(self, session: u64) -> LegReport {
        if let Some(sent_to) = self.related.iter().find(|(relation, _)| *relation == Relation::SentTo) {
            return self.departure(session, sent_to.clone());
        }
        LegReport {
            leg: LegId { session, user: self.user, call: self.call },
            state: self.state.and_then(|bits| {
                Some(LegState {
                    phase: Phase::from_state(bits)?,
                    direction: if bits & 0x80 == 0 { Direction::Outgoing } else { Direction::Incoming },
                    held_by_user: bits & 0x100 != 0,
                    held_by_peer: bits & 0x200 != 0,
                })
            }),
            conference: self.conference,
            peer: self.peer,
            related: self.related,
            peer_changed: self.message == "r-ct",
            cause: self.cause,
            running_for: self.running_for,
            last: self.last,
        }
    }

    /// The PBX reports the call on at the place to which the user has sent it. For this user that is the end of the leg.
    fn departure(&self, session: u64, sent_to: (Relation, Party)) -> LegReport {
        LegReport {
            leg: LegId { session, user: self.user, call: self.call },
            state: Some(LegState {
                phase: Phase::DisconnectSent,
                direction: Direction::Incoming,
                held_by_user: false,
                held_by_peer: false,
            }),
            conference: None,
            peer: None,
            related: vec![sent_to],
            peer_changed: false,
            cause: Some(TAKEN_ELSEWHERE),
            running_for: None,
            last: self.last,
        }
    }
}

fn party(fields: Fields<'_>) -> Party {
    let text = |name| fields.text(name).unwrap_or_default();
    let number = bounded(&text("e164"), LONGEST_NUMBER);
    let names = ["dn", "cn"].map(text);
    let mut name = names.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
    if name.is_empty() && number.is_empty() {
        name = text("h323"); // All that is known of who has no number.
    }
    let is_e164 = |norm: &String| {
        norm.len() <= LONGEST_NUMBER
            && norm.strip_prefix('+').is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
    };
    let object = ["h323", "cn"].map(text).iter().any(|name| !name.is_empty());
    Party { number, name: bounded(&name, LONGEST_NAME), e164: fields.text("norm").filter(is_e164), object }
}

/// A text for people, without control characters, which would take up six times their space in JSON. A tab or the end of a line keeps
/// words apart as a space.
fn bounded(text: &str, most: usize) -> String {
    let text = text.replace("\r\n", "\n");
    let spaced =
        text.chars().map(|character| if character.is_control() && character.is_whitespace() { ' ' } else { character });
    spaced.filter(|character| !character.is_control()).take(most).collect()
}

fn relation(kind: &str) -> Option<Relation> {
    Some(match kind {
        "leg2" => Relation::Diverting,
        "leg2orig" => Relation::FirstDiverting,
        "leg1" => Relation::ForwardingTo,
        "ct" => Relation::Transferring,
        "parked-to" => Relation::ParkedTo,
        "picking" => Relation::Picking,
        "xfer" => Relation::SentTo,
        _ => return None,
    })
}

/// The properties of a JSON object, whatever types the firmware gave them.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// Why a request was refused, if it was.
    fn error(self) -> Option<String> {
        let told = |name| self.text(name).filter(|error| !matches!(error.as_str(), "" | "0"));
        told("errorText").or_else(|| told("error"))
    }

    fn text(self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn number(self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn flag(self, name: &str) -> bool {
        match self.0.get(name) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::Number(number)) => number.as_i64() == Some(1),
            Some(Value::String(text)) => text == "true" || text == "1",
            _ => false,
        }
    }

    fn object(self, name: &str) -> Option<Fields<'a>> {
        self.0.get(name)?.as_object().map(Fields)
    }

    /// An array of objects, or the one object that stands in its place.
    fn list(self, name: &str) -> impl Iterator<Item = Fields<'a>> {
        let one = self.object(name);
        let many = self.0.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        one.into_iter().chain(many.iter().filter_map(Value::as_object).map(Fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call_info(text: &str) -> CallInfo {
        match Frame::parse(text) {
            Ok(Frame::CallInfo(info)) => info,
            other => panic!("not a CallInfo: {other:?}"),
        }
    }

    /// The one complete CallInfo that the vendor has published.
    #[test]
    fn the_published_call_info() {
        let info = call_info(
            r#"{"mt":"CallInfo","api":"RCC","user":1,"call":2,"state":6,"peer":{"e164":"444","h323":""},"msg":"r-disc",
                "info":[{"type":"cause","vali":1,"vals":"Unallocated (unassigned) number"}]}"#,
        );
        assert_eq!((info.user, info.call, info.state, info.cause, info.last), (1, 2, Some(6), Some(1), false));
        let report = info.into_report(3);
        assert_eq!(
            report.state.map(|state| (state.phase, state.direction)),
            Some((Phase::DisconnectSent, Direction::Outgoing))
        );
        assert_eq!(report.peer.map(|peer| peer.number), Some("444".to_owned()));
    }

    #[test]
    fn the_end_may_be_told_in_three_ways() {
        for text in [
            r#"{"mt":"CallInfo","user":1,"call":2,"msg":"del"}"#,
            r#"{"mt":"CallInfo","user":1,"call":2,"del":true}"#,
            r#"{"mt":"CallInfo","user":"1","call":"2","del":true,"msg":"del","cause":"26"}"#,
        ] {
            assert!(call_info(text).last, "{text}");
        }
    }

    #[test]
    fn info_may_be_an_object_and_numbers_may_be_text() {
        let info = call_info(
            r#"{"mt":"CallInfo","user":"1","call":2,"state":"645","info":{"type":"cause","vali":"17"},"no":{"type":"ct","e164":43},
                "peer":{"e164":444,"dn":"Four","norm":"+32444"},"something":{"new":[]}}"#,
        );
        assert_eq!((info.state, info.cause), (Some(645), Some(17)));
        assert_eq!(info.related.len(), 1);
        assert_eq!(info.related[0].0, Relation::Transferring);
        let peer = info.peer.expect("a peer");
        assert_eq!((peer.number.as_str(), peer.name.as_str(), peer.e164.as_deref()), ("444", "Four", Some("+32444")));
        let name = |peer: &str| {
            let info = call_info(&format!(r#"{{"mt":"CallInfo","user":1,"call":2,"peer":{peer}}}"#));
            info.peer.expect("a peer").name
        };
        assert_eq!(name(r#"{"e164":"","h323":"bob"}"#), "bob");
        assert_eq!(name(r#"{"e164":"50","h323":"bob"}"#), "");
    }

    #[test]
    fn white_space_in_names_stays_white_space_and_long_names_are_cut() {
        let name = |name: &str| {
            let frame = serde_json::json!({"mt": "CallInfo", "user": 1, "call": 2, "peer": {"dn": name}});
            call_info(&frame.to_string()).peer.expect("a peer").name
        };
        assert_eq!(name("line1\tline2\nline3\r\nline4\u{0}\u{a0}end"), "line1 line2 line3 line4\u{a0}end");
        assert_eq!(name(&"é".repeat(300)), "é".repeat(LONGEST_NAME));
    }

    /// With `xfer`, the PBX goes on to report a call at the place to which its user has sent it.
    #[test]
    fn report_from_elsewhere_is_the_end_of_the_leg() {
        let info = call_info(
            r#"{"mt":"CallInfo","user":1,"call":2,"state":133,"conf":"c9","peer":{"e164":"0472591687"},"msg":"x-conn",
                "no":[{"type":"ct","e164":"42"},{"type":"xfer","e164":"0031201234567"}]}"#,
        );
        let report = info.into_report(3);
        assert!(report.ends_leg() && !report.last);
        assert_eq!((report.cause, report.peer, report.conference), (Some(TAKEN_ELSEWHERE), None, None));
        let [(Relation::SentTo, place)] = &report.related[..] else { panic!("{:?}", report.related) };
        assert_eq!(place.number, "0031201234567");
    }

    #[test]
    fn objects_of_the_pbx_are_told_from_others() {
        let is_object = |peer: &str| {
            let info = call_info(&format!(r#"{{"mt":"CallInfo","user":1,"call":2,"peer":{peer}}}"#));
            info.peer.expect("a peer").object
        };
        assert!(is_object(r#"{"e164":"50","h323":"bob"}"#) && is_object(r#"{"e164":"","cn":"Door"}"#));
        assert!(!is_object(r#"{"e164":"0472591687","h323":"","dn":"Customer","norm":"+32472591687"}"#));
    }

    #[test]
    fn challenges_keep_their_literal_digits() {
        let check = |text: &str, expected: &str| match Frame::parse(text) {
            Ok(Frame::Challenge(challenge)) => assert_eq!(challenge, expected),
            other => panic!("{other:?}"),
        };
        check(r#"{"mt":"AppChallengeResult","challenge":"0123456789abcdef"}"#, "0123456789abcdef");
        check(r#"{"mt":"AppChallengeResult","challenge":9007199254740993001}"#, "9007199254740993001");
        check(r#"{"challenge":123456789012345678901,"mt":"AppChallengeResult"}"#, "123456789012345678901");
    }

    #[test]
    fn users_and_results() {
        let Ok(Frame::User(user)) = Frame::parse(
            r#"{"api":"RCC","mt":"UserInfo","src":"s","update":"del","guid":"g","cn":"Thomas De Wilde","e164":"42","regs":[{"hw":"p1"},{}],"channel":2}"#,
        ) else {
            panic!("not a user")
        };
        assert_eq!(
            (user.gone, user.display_name(), user.devices.len(), user.channels),
            (true, "Thomas De Wilde".to_owned(), 1, Some(2))
        );
        assert_eq!(
            Frame::parse(r#"{"mt":"DevicesResult","src":"d1","devices":[{"hw":"p1","text":"Desk"},{"hw":"p2"},{}]}"#)
                .expect("a frame"),
            Frame::Devices {
                src: Some("d1".to_owned()),
                labels: vec![("p1".to_owned(), "Desk".to_owned()), ("p2".to_owned(), String::new())],
            }
        );
        for no_error in ["\"error\":\"\"", "\"error\":0", "\"error\":0,\"errorText\":\"\""] {
            let frame = Frame::parse(&format!("{{\"mt\":\"InitializeResult\",{no_error}}}")).expect("a frame");
            assert_eq!(frame, Frame::InitializeResult { error: None }, "{no_error}");
        }
        assert_eq!(
            Frame::parse(r#"{"mt":"UserCallResult","src":"c7","call":0,"error":"not allowed"}"#).expect("a frame"),
            Frame::Result(OperationResult {
                request: "UserCall".to_owned(),
                src: Some("c7".to_owned()),
                call: Some(0),
                error: Some("not allowed".to_owned())
            })
        );
    }

    #[test]
    fn the_unknown_is_named_and_garbage_is_an_error() {
        assert_eq!(Frame::parse(r#"{"mt":"PbxInfo","x":1}"#).expect("a frame"), Frame::Other("PbxInfo".to_owned()));
        assert!(matches!(Frame::parse("{\"mt\":"), Err(FrameError::NotAnObject(_))));
        assert!(matches!(Frame::parse("[1]"), Err(FrameError::NotAnObject(_))));
        assert!(matches!(Frame::parse("{}"), Err(FrameError::NoType)));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,200}") {
            let _ = Frame::parse(&text);
        }

        #[test]
        fn any_types_are_survived(
            kind in proptest::sample::select(vec!["CallInfo", "UserInfo", "UserCallResult", "AppChallengeResult", "UserInitializeResult"]),
            name in proptest::sample::select(vec!["user", "call", "state", "peer", "no", "info", "conf", "del", "src", "challenge", "regs"]),
            value in proptest::sample::select(vec!["null", "-1", "1e99", "\"x\"", "[]", "{}", "[null,1,{}]", "{\"type\":1}", "true"]),
        ) {
            let _ = Frame::parse(&format!(r#"{{"mt":"{kind}","user":1,"call":1,"{name}":{value}}}"#));
        }
    }
}
