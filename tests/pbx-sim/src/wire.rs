//! The last step of a message on its way out: what firmware does to all messages alike, and the bytes.

use serde_json::{Value, json};

use crate::quirks::{Names, Quirks};

/// Stands in a JSON text for a byte that is no UTF-8. It is nobody's character.
const LATIN1: char = '\u{e0fc}';
const LATIN1_BYTE: u8 = 0xfc;
const LONG: usize = 3_000;
/// Written as numbers when they are digits alone.
const NUMBERS: [&str; 8] = ["e164", "norm", "prefixIntl", "prefixNtl", "prefixSubs", "area", "country", "dtmf"];
/// Opaque, or with a switch of its own.
const UNTOUCHED: [&str; 2] = ["src", "challenge"];

/// The bytes of a message as this PBX writes it.
pub(crate) fn encode(message: &Value, quirks: &Quirks) -> Vec<u8> {
    let mut message = message.clone();
    dress(&mut message, quirks);
    if quirks.unknown_properties {
        message["zz-new"] = json!({"list": [1, null, "text"], "deep": {"er": true}});
    }
    let text = message.to_string();
    let mut place = [0; 4];
    let place = LATIN1.encode_utf8(&mut place).as_bytes();
    let mut bytes = text.into_bytes();
    while let Some(at) = bytes.windows(place.len()).position(|window| window == place) {
        bytes.splice(at..at + place.len(), [LATIN1_BYTE]);
    }
    bytes
}

fn dress(value: &mut Value, quirks: &Quirks) {
    match value {
        Value::Object(fields) => {
            if quirks.omit_empty {
                fields.retain(|name, value| value != "" || UNTOUCHED.contains(&name.as_str()));
            }
            let is_party = fields.contains_key("h323");
            for (name, value) in fields.iter_mut().filter(|(name, _)| !UNTOUCHED.contains(&name.as_str())) {
                if name == "dn" {
                    rename(value, quirks.names);
                }
                if quirks.text_as_numbers && NUMBERS.contains(&name.as_str()) {
                    as_number(value);
                } else {
                    dress(value, quirks);
                }
            }
            if quirks.unknown_properties && is_party {
                fields.insert("zz-flags".to_owned(), 3.into());
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| dress(value, quirks)),
        Value::Number(number) if quirks.numbers_as_text => *value = number.to_string().into(),
        _ => {}
    }
}

fn rename(name: &mut Value, names: Names) {
    let Value::String(text) = name else { return };
    match names {
        Names::Plain => {}
        Names::Latin1 => text.push(LATIN1),
        Names::Long => text.extend(std::iter::repeat_n('x', LONG.saturating_sub(text.chars().count()))),
        Names::Control => text.push_str("\tand\nmore"),
    }
}

/// Only where nothing is lost: a leading zero and a plus are part of a number.
fn as_number(value: &mut Value) {
    let number = value.as_str().and_then(|text| text.parse::<u64>().ok().filter(|number| number.to_string() == text));
    if let Some(number) = number {
        *value = number.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_switch_changes_what_it_says() {
        let quirks = Quirks {
            unknown_properties: true,
            numbers_as_text: true,
            text_as_numbers: true,
            omit_empty: true,
            names: Names::Latin1,
            ..Quirks::default()
        };
        let message =
            json!({"mt": "X", "src": 1, "call": 7, "peer": {"e164": "42", "h323": "bob", "dn": "B", "cn": ""}});
        let bytes = encode(&message, &quirks);
        assert!(std::str::from_utf8(&bytes).is_err());
        let read: Value = serde_json::from_str(&String::from_utf8_lossy(&bytes)).expect("JSON otherwise");
        assert_eq!((&read["src"], &read["call"]), (&json!(1), &json!("7")));
        // A number that text was turned into stays one.
        assert_eq!(read["peer"], json!({"e164": 42, "h323": "bob", "dn": "B\u{fffd}", "zz-flags": 3}));
        assert!(read["zz-new"].is_object());
    }
}
