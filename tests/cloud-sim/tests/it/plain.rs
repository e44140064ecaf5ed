//! Items as plain JSON: `"a"` is a text, `1` a number, `{"SS": [..]}` a set, everything else a document.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value as Json, json};

pub(crate) type Item = HashMap<String, AttributeValue>;

pub(crate) fn item(json: Json) -> Item {
    let Json::Object(fields) = json else { panic!("{json} is not an item") };
    fields.into_iter().map(|(name, json)| (name, value(json))).collect()
}

pub(crate) fn value(json: Json) -> AttributeValue {
    let texts = |json: &Json| -> Vec<String> {
        json.as_array().expect("a set").iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
    };
    match json {
        Json::String(text) => AttributeValue::S(text),
        Json::Number(number) => AttributeValue::N(number.to_string()),
        Json::Bool(value) => AttributeValue::Bool(value),
        Json::Null => AttributeValue::Null(true),
        Json::Array(values) => AttributeValue::L(values.into_iter().map(value).collect()),
        Json::Object(fields) => match (fields.get("SS"), fields.get("NS")) {
            (Some(set), _) => AttributeValue::Ss(texts(set)),
            (_, Some(set)) => AttributeValue::Ns(texts(set)),
            _ => AttributeValue::M(item(Json::Object(fields))),
        },
    }
}

pub(crate) fn plain(item: &Item) -> Json {
    item.iter().map(|(name, value)| (name.clone(), plain_value(value))).collect::<serde_json::Map<_, _>>().into()
}

fn plain_value(value: &AttributeValue) -> Json {
    let sorted = |set: &[String]| {
        let mut set = set.to_vec();
        set.sort();
        set
    };
    match value {
        AttributeValue::S(text) => json!(text),
        AttributeValue::N(number) => serde_json::from_str(number).expect("a number"),
        AttributeValue::Bool(value) => json!(value),
        AttributeValue::Null(_) => Json::Null,
        AttributeValue::L(values) => values.iter().map(plain_value).collect(),
        AttributeValue::M(fields) => plain(fields),
        AttributeValue::Ss(set) => json!({"SS": sorted(set)}),
        AttributeValue::Ns(set) => json!({"NS": sorted(set)}),
        other => panic!("{other:?} has no plain form"),
    }
}
