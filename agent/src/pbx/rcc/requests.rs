//! Requests of the RCC API. A request's `src` names it, so that its result finds back.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::calls::LegId;

/// The `src` of the list of users.
pub const USERS_SRC: &str = "users";

/// The PBX lists this many users at a time, which is also its default.
const USERS_PER_TICK: usize = 50;

/// Q.850 cause of an ordinary hang-up.
pub const NORMAL_CLEARING: u16 = 16;

fn request(mt: &str, src: &str, fields: Value) -> String {
    let mut frame = json!({"api": super::API, "mt": mt, "src": src});
    if let (Some(frame), Value::Object(fields)) = (frame.as_object_mut(), fields) {
        frame.extend(fields);
    }
    frame.to_string()
}

/// Lists the visible users: by group, or everybody with access to the App.
pub fn initialize(by_group: bool) -> String {
    request("Initialize", USERS_SRC, json!({"grp": by_group, "limit": USERS_PER_TICK}))
}

/// `src` comes back with every CallInfo of this user; with `hw`, only of that device. `xfer` makes the PBX say where a call went that the
/// user has sent elsewhere.
pub fn user_initialize(src: &str, cn: &str, hw: Option<&str>) -> String {
    let mut fields = json!({"cn": cn, "xfer": true, "disc": false});
    if let Some(hw) = hw {
        fields["hw"] = hw.into();
    }
    request("UserInitialize", src, fields)
}

pub fn user_end(src: &str, user: u64) -> String {
    request("UserEnd", src, json!({"user": user}))
}

/// Asks for the labels of a user's devices.
pub fn devices(src: &str, cn: &str) -> String {
    request("Devices", src, json!({"cn": cn}))
}

/// What a new call is like. What is not set leaves the PBX to its own ways.
#[derive(Debug, Default)]
pub struct CallOptions {
    /// The number shown instead of the extension; one that begins with `r` is withheld.
    pub shown_number: Option<String>,
    pub ignore_forwarding: bool,
    pub audio: bool,
    pub remote_control: Option<u8>,
}

pub fn call(src: &str, user: u64, e164: &str, options: &CallOptions) -> String {
    let mut fields = json!({"user": user, "e164": e164});
    if let Some(number) = &options.shown_number {
        fields["srce164"] = number.as_str().into();
    }
    for (name, set) in [("ftyNoCF", options.ignore_forwarding), ("audio", options.audio)] {
        if set {
            fields[name] = true.into();
        }
    }
    if let Some(code) = options.remote_control {
        fields["rc"] = code.into();
    }
    request("UserCall", src, fields)
}

/// A request about one existing call. RCC names it by `call`; working clients send `user`, too, and so does this one.
fn on_call(mt: &str, src: &str, leg: LegId, fields: Value) -> String {
    let mut all = json!({"user": leg.user, "call": leg.call});
    if let (Some(all), Value::Object(fields)) = (all.as_object_mut(), fields) {
        all.extend(fields);
    }
    request(mt, src, all)
}

pub fn clear(src: &str, leg: LegId, cause: u16) -> String {
    on_call("UserClear", src, leg, json!({"cause": cause}))
}

pub fn answer(src: &str, leg: LegId) -> String {
    on_call("UserConnect", src, leg, json!({}))
}

/// With `music`, only the held party hears something.
pub fn hold(src: &str, leg: LegId, music: bool) -> String {
    on_call("UserHold", src, leg, json!({"remote": music}))
}

pub fn retrieve(src: &str, leg: LegId) -> String {
    on_call("UserRetrieve", src, leg, json!({}))
}

pub fn transfer(src: &str, a: LegId, b: LegId) -> String {
    request("UserTransfer", src, json!({"user": a.user, "a": a.call, "b": b.call}))
}

/// Sends the call on to a number whose forwardings do not apply.
pub fn redirect(src: &str, leg: LegId, e164: &str, remote_control: Option<u8>) -> String {
    let mut fields = json!({"e164": e164});
    if let Some(code) = remote_control {
        fields["rc"] = code.into();
    }
    on_call("UserRedirect", src, leg, fields)
}

/// Sends the call on to a number whose forwardings apply.
pub fn reroute(src: &str, leg: LegId, e164: &str) -> String {
    on_call("UserReroute", src, leg, json!({"e164": e164}))
}

/// Parks a call at an object, or at its own one; without a position, at any.
pub fn park(src: &str, leg: LegId, cn: Option<&str>, position: Option<u16>) -> String {
    let mut fields = json!({"position": position.map_or(-1, i32::from)});
    if let Some(cn) = cn {
        fields["cn"] = cn.into();
    }
    on_call("UserPark", src, leg, fields)
}

pub fn pick_up(src: &str, user: u64, leg: LegId) -> String {
    request("UserPickup", src, json!({"user": user, "call": leg.call}))
}

/// Takes whatever rings or is parked at an object.
pub fn pick_up_at(src: &str, user: u64, cn: &str) -> String {
    request("UserPickup", src, json!({"user": user, "cn": cn}))
}

pub fn dtmf(src: &str, leg: LegId, digits: &str, recv: bool) -> String {
    on_call("UserDTMF", src, leg, json!({"dtmf": digits, "recv": recv}))
}

/// User-to-user information travels percent-encoded since firmware 13r3, and as it is before that.
pub fn user_to_user(src: &str, leg: LegId, uui: &str, recv: bool, encodes: bool) -> String {
    let uui = if encodes { percent_encoded(uui) } else { uui.to_owned() };
    on_call("UserUUI", src, leg, json!({"uui": uui, "recv": recv}))
}

/// Digits of the called number, keypad digits and a text for the display; each may be left out.
pub fn info(src: &str, leg: LegId, cdpn: Option<&str>, key: Option<&str>, dsp: Option<&str>) -> String {
    let given = [("cdpn", cdpn), ("key", key), ("dsp", dsp)].into_iter().filter_map(|(name, text)| Some((name, text?)));
    on_call("UserInfo", src, leg, given.map(|(name, text)| (name.to_owned(), Value::from(text))).collect())
}

pub fn remote_control(src: &str, leg: LegId, code: u8) -> String {
    on_call("UserRc", src, leg, json!({"rc": code}))
}

/// Takes the media of two calls from their users, their peers or both; from neither undoes it.
pub fn transfer_media(src: &str, a: LegId, b: LegId, user: bool, peer: bool) -> String {
    // `user` is a handle elsewhere; here it is one of the two flags.
    request("UserMediaTransfer", src, json!({"a": a.call, "b": b.call, "user": user, "peer": peer}))
}

/// Everything but the unreserved characters of RFC 3986, byte by byte.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEG: LegId = LegId { session: 1, user: 2, call: 3 };

    fn check(frame: &str, expected: &Value) {
        let frame: Value = serde_json::from_str(frame).expect("JSON");
        assert_eq!(&frame, expected);
    }

    #[test]
    fn what_is_not_asked_for_is_left_out() {
        check(
            &call("c1", 2, "50", &CallOptions::default()),
            &json!({"api": "RCC", "mt": "UserCall", "src": "c1", "user": 2, "e164": "50"}),
        );
        let options = CallOptions {
            shown_number: Some("r100".to_owned()),
            ignore_forwarding: true,
            audio: true,
            remote_control: Some(0),
        };
        check(
            &call("c1", 2, "50", &options),
            &json!({"api": "RCC", "mt": "UserCall", "src": "c1", "user": 2, "e164": "50", "srce164": "r100",
                    "ftyNoCF": true, "audio": true, "rc": 0}),
        );
        check(
            &info("c1", LEG, None, Some("*1"), None),
            &json!({"api": "RCC", "mt": "UserInfo", "src": "c1", "user": 2, "call": 3, "key": "*1"}),
        );
        check(
            &park("c1", LEG, None, None),
            &json!({"api": "RCC", "mt": "UserPark", "src": "c1", "user": 2, "call": 3, "position": -1}),
        );
    }

    #[test]
    fn user_information_is_percent_encoded() {
        assert_eq!(percent_encoded("Order-7_a.b~"), "Order-7_a.b~");
        assert_eq!(percent_encoded("50 %\u{e9}&"), "50%20%25%C3%A9%26");
        for (encodes, uui) in [(true, "50%25"), (false, "50%")] {
            let expected =
                json!({"api": "RCC", "mt": "UserUUI", "src": "c1", "user": 2, "call": 3, "uui": uui, "recv": true});
            check(&user_to_user("c1", LEG, "50%", true, encodes), &expected);
        }
    }
}
