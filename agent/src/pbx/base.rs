//! What the PBX says on the connection itself, outside of its APIs.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::fields::Fields;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseFrame {
    /// The challenge's literal characters, which is what gets hashed.
    Challenge(String),
    LoginResult {
        ok: bool,
        error: Option<String>,
    },
    /// Asks for nothing; that it came is a sign of life.
    KeepAlive,
}

impl BaseFrame {
    pub(super) fn read(text: &str, mt: &str, fields: Fields<'_>) -> Result<Option<Self>, serde_json::Error> {
        Ok(Some(match mt {
            "AppChallengeResult" => Self::Challenge(challenge(text)?),
            "AppLoginResult" => {
                let error = fields.text("errorText").or_else(|| fields.text("error"));
                Self::LoginResult { ok: fields.flag("ok"), error }
            }
            "KeepAlive" => Self::KeepAlive,
            _ => return Ok(None),
        }))
    }
}

/// The challenge as it stands in the text: a number must not lose digits on its way through a float.
fn challenge(text: &str) -> Result<String, serde_json::Error> {
    #[derive(Deserialize)]
    struct Challenge<'a> {
        #[serde(borrow)]
        challenge: &'a RawValue,
    }
    let raw = serde_json::from_str::<Challenge<'_>>(text)?.challenge.get();
    Ok(serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned()))
}

pub(super) fn keep_alive() -> String {
    json!({"mt": "KeepAlive"}).to_string()
}
