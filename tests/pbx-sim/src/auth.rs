//! Login: challenge, digest, and who somebody is afterwards.
//!
//! The digest covers the `info` object as the text that was received, so the raw slice of the frame is kept: a parsed
//! and printed copy could differ in the order of its properties.

use rand::RngExt as _;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::json;
use crate::switch::{ObjectId, Switch};
use crate::world::AppSpec;

/// Who a connection acts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// An app object.
    App(String),
    /// One user's own resources; `None` if the name in `sip` belongs to nobody, which then sees nothing.
    User(Option<ObjectId>),
}

/// A successful login.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) identity: Identity,
    /// Name to show in `/state`.
    pub(crate) name: String,
    pub(crate) apis: Vec<String>,
}

/// APIs that remain when a login acts for a user account.
const USER_APIS: [&str; 5] = ["RCC", "PbxApi", "PbxSignal", "EpSignal", "Messages"];

/// The `info` object of a login frame, exactly as it was sent.
#[derive(Deserialize)]
struct RawInfo<'a> {
    #[serde(borrow, default)]
    info: Option<&'a RawValue>,
}

/// A challenge of at most 16 digits. Without a leading zero, so that it survives being sent as a number.
pub(crate) fn challenge(digits: usize) -> String {
    let mut random = rand::rng();
    (0..digits).map(|at| char::from(b'0' + random.random_range(u8::from(at == 0)..10))).collect()
}

/// `SHA256(app:domain:sip:guid:dn[:info]:challenge:password)` in lower-case hex.
pub(crate) fn digest(fields: [&str; 5], info: Option<&str>, challenge: &str, password: &str) -> String {
    let mut parts = fields.to_vec();
    parts.extend(info);
    parts.extend([challenge, password]);
    hex::encode(Sha256::digest(parts.join(":")))
}

/// Checks an `AppLogin`. `None` means no.
pub(crate) fn check(frame: &str, login: &Value, challenge: &str, apps: &[AppSpec], switch: &Switch) -> Option<Login> {
    let field = |key| json::text(login, key).unwrap_or_default();
    let (app, domain, sip) = (field("app"), field("domain"), field("sip"));
    let (guid, dn) = (field("guid"), field("dn"));
    let info = serde_json::from_str::<RawInfo<'_>>(frame).ok()?.info.map(RawValue::get);
    let account = || switch.find_h323(&sip).or_else(|| switch.find_cn(&sip));
    let (password, apis) = if app.is_empty() {
        (switch.object(account()?)?.password.clone()?, crate::world::all_apis())
    } else {
        let spec = apps.iter().find(|spec| spec.name == app)?;
        (spec.password.clone(), spec.apis.clone())
    };
    let expected = digest([&app, &domain, &sip, &guid, &dn], info, challenge, &password);
    if !field("digest").eq_ignore_ascii_case(&expected) {
        return None;
    }
    Some(if sip.is_empty() {
        Login { identity: Identity::App(app.clone()), name: app, apis }
    } else {
        let apis = apis.into_iter().filter(|api| USER_APIS.contains(&api.as_str())).collect();
        Login { identity: Identity::User(account()), name: format!("{app} for {sip}"), apis }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{UserSpec, World};

    fn check_vector(hashed: [&str; 5], info: Option<&str>, challenge: &str, password: &str, expected: &str) {
        assert_eq!(digest(hashed, info, challenge, password), expected);
    }

    #[test]
    fn published_vectors() {
        let admin = ["pbxadminapi", "", "", "", ""];
        let nonce = "0123456789abcdef";
        for (info, expected) in [
            (None, "a205299ed2ef2786c311e0be1b14db343f2cadd906a6ae7b564eee34bda5e9a1"),
            (Some("{}"), "57b23fe824b9222a7ac879597cb509bcdc865a1bfeb057d9d12118cef0c3ba34"),
            (Some(r#"{"cn":"Test User"}"#), "96db3c3f657230c2b68194becc6d2a77f05de9f79f01fc81e9ca0fb196b10d9d"),
        ] {
            check_vector(admin, info, nonce, "pwd", expected);
        }
        check_vector(
            [
                "innovaphone-users",
                "example.com",
                "administrator",
                "0123456789abcdef0123456789abcdef",
                "Administrator User",
            ],
            Some(concat!(
                r#"{"appobj":"users","apps":[{"name":"users"},{"name":"profile"}],"#,
                r#""appurl":"https://1.2.3.4/example.com/usersapp/innovaphone-users","unlicensed":true}"#
            )),
            nonce,
            "pwd",
            "ef1b811ffaa8f9255c39c653d8fb26b4687b2d8c4d9ac91b4821bff6bae3ff44",
        );
        check_vector(
            ["test", "test.com", "", "", ""],
            None,
            "0",
            "secret",
            "66ee3f52256a8eed034603b98cbaf98890bab6f42adb4a34de928e1885d68293",
        );
    }

    #[test]
    fn recorded_logins_of_a_real_pbx() {
        check_vector(
            ["searchapi", "fritz.box", "go-search", "3954ae7854c96301c9dd009033400109", "go-search"],
            Some(concat!(
                r#"{"appobj":"go-search","appdn":"go-search","#,
                r#""appurl":"http://192.168.178.29:5000/fritz.box/go/instance/searchapi","#,
                r#""pbx":"pbx-main","cn":"go-search","unlicensed":true,"apps":[]}"#
            )),
            "16d7dbbcccb63612",
            "go",
            "130f168773ff760701b74e629eca2544c6e62d5354e92e6f821001a982eb8951",
        );
        check_vector(
            ["admin", "fritz.box", "go", "8e7ca6fabbc5630170e9009033400109", "go"],
            Some(concat!(
                r#"{"appobj":"go","appdn":"go","appurl":"http://192.168.178.29:5000/fritz.box/go/instance/admin","#,
                r#""pbx":"pbx-main","cn":"go","unlicensed":true,"apps":[]}"#
            )),
            "aeaaebe781e80289",
            "go",
            "8f802873dcdee7cef6144017a6112289298ad69e77474a4c37cfdb68a83640c0",
        );
    }

    #[test]
    fn info_is_hashed_as_it_was_received() {
        let world = World { users: vec![UserSpec::new("42", "Thomas De Wilde")], ..World::empty() };
        let switch = Switch::new(&world, 1);
        // The order of properties and the escape are the sender's own; printing the parsed object would change both.
        let info = r#"{"z":1,"a":"caf\u00e9"}"#;
        let good = digest(["easyconnect", "", "", "", ""], Some(info), "1234", "secret-app-pw");
        let frame = format!(r#"{{"mt":"AppLogin","app":"easyconnect","info":{info},"digest":"{good}"}}"#);
        let login = serde_json::from_str(&frame).expect("JSON");
        let accepted = check(&frame, &login, "1234", &world.apps, &switch).expect("a login");
        assert_eq!(accepted.identity, Identity::App("easyconnect".to_owned()));
        assert!(check(&frame, &login, "4321", &world.apps, &switch).is_none());
    }
}
