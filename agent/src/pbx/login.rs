//! The challenge-response login of an App object.

use serde_json::json;
use sha2::{Digest, Sha256};

/// The identity that an app presents. An agent leaves everything but the app's name empty: since firmware 13r3 a `sip` would
/// narrow the connection to one user's own resources.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claims<'a> {
    pub app: &'a str,
    pub domain: &'a str,
    pub sip: &'a str,
    pub guid: &'a str,
    pub dn: &'a str,
    /// The JSON text of the `info` object, exactly as it is sent; an empty object counts as present.
    pub info: Option<&'a str>,
}

pub fn digest(claims: Claims<'_>, challenge: &str, password: &str) -> String {
    let Claims { app, domain, sip, guid, dn, info } = claims;
    let mut parts = vec![app, domain, sip, guid, dn];
    parts.extend(info);
    parts.extend([challenge, password]);
    hex::encode(Sha256::digest(parts.join(":")))
}

pub fn challenge_request() -> String {
    json!({"mt": "AppChallenge"}).to_string()
}

pub fn login_request(app: &str, challenge: &str, password: &str) -> String {
    let digest = digest(Claims { app, ..Claims::default() }, challenge, password);
    json!({"mt": "AppLogin", "app": app, "domain": "", "sip": "", "guid": "", "dn": "", "digest": digest}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &str = "0123456789abcdef";

    /// The vectors of the AppWebsocket page of the innovaphone SDK.
    #[test]
    fn published_vectors() {
        let check = |claims, expected| assert_eq!(digest(claims, CHALLENGE, "pwd"), expected);
        let admin = Claims { app: "pbxadminapi", ..Claims::default() };
        check(admin, "a205299ed2ef2786c311e0be1b14db343f2cadd906a6ae7b564eee34bda5e9a1");
        check(Claims { info: Some("{}"), ..admin }, "57b23fe824b9222a7ac879597cb509bcdc865a1bfeb057d9d12118cef0c3ba34");
        check(
            Claims { info: Some(r#"{"cn":"Test User"}"#), ..admin },
            "96db3c3f657230c2b68194becc6d2a77f05de9f79f01fc81e9ca0fb196b10d9d",
        );
        check(
            Claims {
                app: "innovaphone-users",
                domain: "example.com",
                sip: "administrator",
                guid: "0123456789abcdef0123456789abcdef",
                dn: "Administrator User",
                info: Some(
                    r#"{"appobj":"users","apps":[{"name":"users"},{"name":"profile"}],"appurl":"https://1.2.3.4/example.com/usersapp/innovaphone-users","unlicensed":true}"#,
                ),
            },
            "ef1b811ffaa8f9255c39c653d8fb26b4687b2d8c4d9ac91b4821bff6bae3ff44",
        );
        assert_eq!(
            digest(Claims { app: "test", domain: "test.com", ..Claims::default() }, "0", "secret"),
            "66ee3f52256a8eed034603b98cbaf98890bab6f42adb4a34de928e1885d68293"
        );
    }

    /// Logins recorded from a PBX, published in the tests of go-myapps.
    #[test]
    fn recorded_logins() {
        let info = |dn: &str, url: &str| {
            format!(
                r#"{{"appobj":"{dn}","appdn":"{dn}","appurl":"http://192.168.178.29:5000/fritz.box/go/instance/{url}","pbx":"pbx-main","cn":"{dn}","unlicensed":true,"apps":[]}}"#,
            )
        };
        let search = info("go-search", "searchapi");
        assert_eq!(
            digest(
                Claims {
                    app: "searchapi",
                    domain: "fritz.box",
                    sip: "go-search",
                    guid: "3954ae7854c96301c9dd009033400109",
                    dn: "go-search",
                    info: Some(&search)
                },
                "16d7dbbcccb63612",
                "go"
            ),
            "130f168773ff760701b74e629eca2544c6e62d5354e92e6f821001a982eb8951"
        );
        let admin = info("go", "admin");
        assert_eq!(
            digest(
                Claims {
                    app: "admin",
                    domain: "fritz.box",
                    sip: "go",
                    guid: "8e7ca6fabbc5630170e9009033400109",
                    dn: "go",
                    info: Some(&admin)
                },
                "aeaaebe781e80289",
                "go"
            ),
            "8f802873dcdee7cef6144017a6112289298ad69e77474a4c37cfdb68a83640c0"
        );
    }
}
