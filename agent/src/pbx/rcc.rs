//! Requests of the RCC API. A request's `src` names it, so that its result finds back.

use serde_json::{Value, json};

use crate::calls::LegId;

/// The `src` of the list of users.
pub const USERS_SRC: &str = "users";

/// At most this many users are asked for at a time, as the PBX does itself when it lists them.
pub const USERS_PER_TICK: usize = 50;

/// Q.850 cause of an ordinary hang-up.
pub const NORMAL_CLEARING: u16 = 16;

fn request(mt: &str, src: &str, fields: Value) -> String {
    let mut frame = json!({"api": "RCC", "mt": mt, "src": src});
    if let (Some(frame), Value::Object(fields)) = (frame.as_object_mut(), fields) {
        frame.extend(fields);
    }
    frame.to_string()
}

/// Lists the visible users: by group, or everybody with access to the App.
pub fn initialize(by_group: bool) -> String {
    request("Initialize", USERS_SRC, json!({"grp": by_group, "limit": USERS_PER_TICK}))
}

/// `src` comes back with every CallInfo of this user.
pub fn user_initialize(src: &str, cn: &str) -> String {
    request("UserInitialize", src, json!({"cn": cn, "xfer": false, "disc": false}))
}

pub fn user_end(src: &str, user: u64) -> String {
    request("UserEnd", src, json!({"user": user}))
}

pub fn call(src: &str, user: u64, e164: &str) -> String {
    request("UserCall", src, json!({"user": user, "e164": e164}))
}

pub fn clear(src: &str, leg: LegId, cause: u16) -> String {
    request("UserClear", src, json!({"user": leg.user, "call": leg.call, "cause": cause}))
}

pub fn connect(src: &str, leg: LegId) -> String {
    request("UserConnect", src, json!({"user": leg.user, "call": leg.call}))
}

pub fn transfer(src: &str, a: LegId, b: LegId) -> String {
    request("UserTransfer", src, json!({"user": a.user, "a": a.call, "b": b.call}))
}
