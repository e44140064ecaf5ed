//! Messages from the PBX, routed by `api` and `mt`. Each API reads its own messages in a module of its own.
//!
//! What is not understood is named and skipped, never an error: only a text that is no JSON object at all is.

use serde_json::{Map, Value};

use super::base::BaseFrame;
use super::fields::Fields;
use super::rcc::{self, RccFrame};

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("the PBX sent a text that is not a JSON object")]
    NotAnObject(#[from] serde_json::Error),
    #[error("the PBX sent a message without `mt`")]
    NoType,
}

#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all frames are of the large kind, and each is taken apart at once"
)]
pub enum Frame {
    Base(BaseFrame),
    Rcc(RccFrame),
    /// Anything else, by its name.
    Other(String),
}

impl Frame {
    pub fn parse(text: &str) -> Result<Self, FrameError> {
        let object: Map<String, Value> = serde_json::from_str(text)?;
        let fields = Fields(&object);
        let mt = fields.text("mt").ok_or(FrameError::NoType)?;
        let (api, src) = (fields.text("api").unwrap_or_default(), fields.text("src"));
        let rcc = |src| RccFrame::read(&mt, src, fields).map(Self::Rcc);
        let read = match api.as_str() {
            // Some firmware leaves the `api` out, and only one API sends what nobody has asked for.
            "" => BaseFrame::read(text, &mt, fields)?.map(Self::Base).or_else(|| rcc(src)),
            rcc::API => rcc(src),
            _ => None,
        };
        Ok(read.unwrap_or(Self::Other(mt)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::rcc::{CallInfo, OperationResult};
    use super::*;
    use crate::calls::{Phase, Relation, TAKEN_ELSEWHERE};
    use shared::event::Direction;

    fn call_info(text: &str) -> CallInfo {
        match Frame::parse(text) {
            Ok(Frame::Rcc(RccFrame::CallInfo(info))) => info,
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
        assert_eq!(name(&"é".repeat(300)), "é".repeat(128));
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
            Ok(Frame::Base(BaseFrame::Challenge(challenge))) => assert_eq!(challenge, expected),
            other => panic!("{other:?}"),
        };
        check(r#"{"mt":"AppChallengeResult","challenge":"0123456789abcdef"}"#, "0123456789abcdef");
        check(r#"{"mt":"AppChallengeResult","challenge":9007199254740993001}"#, "9007199254740993001");
        check(r#"{"challenge":123456789012345678901,"mt":"AppChallengeResult"}"#, "123456789012345678901");
    }

    #[test]
    fn users_and_results() {
        let Ok(Frame::Rcc(RccFrame::User(user))) = Frame::parse(
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
            Frame::Rcc(RccFrame::Devices {
                src: Some("d1".to_owned()),
                labels: vec![("p1".to_owned(), "Desk".to_owned()), ("p2".to_owned(), String::new())],
            })
        );
        for no_error in ["\"error\":\"\"", "\"error\":0", "\"error\":0,\"errorText\":\"\""] {
            let frame = Frame::parse(&format!("{{\"mt\":\"InitializeResult\",{no_error}}}")).expect("a frame");
            assert_eq!(frame, Frame::Rcc(RccFrame::InitializeResult { error: None }), "{no_error}");
        }
        assert_eq!(
            Frame::parse(r#"{"mt":"UserCallResult","src":"c7","call":0,"error":"not allowed"}"#).expect("a frame"),
            Frame::Rcc(RccFrame::Result(OperationResult {
                request: "UserCall".to_owned(),
                src: Some("c7".to_owned()),
                call: Some(0),
                error: Some("not allowed".to_owned())
            }))
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
