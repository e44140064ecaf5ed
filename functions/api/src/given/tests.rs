use proptest::prelude::*;
use serde_json::json;
use shared::time::from_millis;

use super::*;

const JSON: FieldName<'static> = FieldName { source: Source::Json, name: "x" };
const FORM: FieldName<'static> = FieldName { source: Source::Form, name: "x" };
const QUERY: FieldName<'static> = FieldName { source: Source::Query, name: "x" };

fn told<T>(result: Result<T, ApiError>) -> Result<T, String> {
    result.map_err(|error| error.message)
}

fn refusal<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
    result.expect_err("refused").message
}

/// A list as it is written in a body, in a form and in a query.
fn lists(entries: &[&str]) -> Vec<(FieldName<'static>, Value)> {
    let (list, text) = (json!(entries), json!(entries.join(",")));
    vec![(JSON, list.clone()), (JSON, text.clone()), (FORM, list.clone()), (QUERY, text), (QUERY, list)]
}

#[test]
fn a_call_id_is_a_uuid() {
    let read = |value: Value| told(Given::new(JSON, &value).call_id().map(|id| id.to_string()));
    let id = "6f1d0b0e-3c55-5a0f-9a5e-1f3f0a6f2b11";
    assert_eq!(read(json!(format!(" {}", id.to_uppercase()))), Ok(id.to_owned()));
    let message = "Field `x` must be a UUID, as MakeCall and the webhooks give it.";
    assert_eq!(read(json!("7")), Err(message.to_owned()));
    assert_eq!(read(json!(7)), Err("Field `x` is a number; it takes text with a UUID.".to_owned()));
}

#[test]
fn numbers_and_text_stand_for_each_other() {
    let text = |value: Value| told(Given::new(JSON, &value).text(5)).map(Cow::into_owned);
    assert_eq!(text(json!(4711)), Ok("4711".to_owned()));
    assert_eq!(text(json!(4711.0)), Ok("4711".to_owned()));
    assert_eq!(text(json!(" a ")), Ok(" a ".to_owned()));
    let longer = "Field `x` takes text of 1 to 5 characters.";
    assert_eq!(text(json!(471_111)), Err(longer.to_owned()));
    assert_eq!(text(json!("")), Err(longer.to_owned()));
    for (uncertain, is) in [(json!(4.5), "a number"), (json!(1e20), "a number"), (json!(true), "a boolean")] {
        assert_eq!(text(uncertain), Err(format!("Field `x` is {is}; it takes text.")));
    }

    let integer = |value: Value| told(Given::new(JSON, &value).integer(1, 127));
    for ten in [json!(10), json!(10.0), json!("10"), json!(" 10 "), json!("010"), json!("+10")] {
        assert_eq!(integer(ten), Ok(10));
    }
    let takes = "Field `x` takes a whole number from 1 to 127.";
    for other in
        [json!(0), json!(1.5), json!(1e300), json!("128"), json!("1.5"), json!("1e1"), json!("1,000"), json!("ten")]
    {
        assert_eq!(integer(other), Err(takes.to_owned()));
    }
    let boolean = "Field `x` is a boolean; it takes a whole number from 1 to 127.";
    assert_eq!(integer(json!(true)), Err(boolean.to_owned()));
}

#[test]
fn flags_have_words() {
    let flag = |value: Value| told(Given::new(QUERY, &value).flag());
    for (text, expected) in FLAGS {
        assert_eq!(flag(json!(format!(" {}", text.to_uppercase()))), Ok(expected));
    }
    assert_eq!((flag(json!(true)), flag(json!(1)), flag(json!(0.0))), (Ok(true), Ok(true), Ok(false)));
    let maybe = "Query parameter `x` has `maybe`; it takes true or false.";
    assert_eq!(flag(json!("maybe")), Err(maybe.to_owned()));
    assert_eq!(flag(json!(2)), Err("Query parameter `x` has `2`; it takes true or false.".to_owned()));
    assert_eq!(flag(json!(["true", "true"])), Err("Query parameter `x` stands twice.".to_owned()));
}

#[test]
fn keys_are_those_of_a_telephone() {
    let digits = |text: &str, letters: bool| told(Given::new(JSON, &json!(text)).digits(letters));
    assert_eq!(digits("12#A", true), Ok("12#A".to_owned()));
    assert_eq!(digits("12#A", false), Err("Field `x` takes 1 to 32 digits, `*` and `#`.".to_owned()));
    assert!(digits("1 2", true).is_err(), "a space may be a pause");
}

#[test]
fn a_lost_plus_is_found_only_where_nothing_else_can_be_meant() {
    let space = json!(" 32472591687");
    let message = "Field `x` begins with a space, which may have been a plus; write a plus as `%2B`.";
    assert_eq!(refusal(Given::new(FORM, &space).destination()), message);
    assert_eq!(Given::new(JSON, &space).destination(), Ok("32472591687".to_owned()));
    let prefix = |place, text: &str| Given::new(place, &json!(text)).number_prefix(32).expect("a prefix");
    assert_eq!(prefix(QUERY, " 32"), "+32");
    assert_eq!(prefix(JSON, "+32 (472) 59"), "+3247259");
    assert_eq!(prefix(JSON, "Front-Desk "), "Front-Desk");
}

#[test]
fn times_have_a_zone() {
    let time = |text: &str| Given::new(QUERY, &json!(text)).time();
    let expected = "2026-11-28T07:00:00Z".parse().expect("a time");
    for text in [
        "2026-11-28T08:00:00+01:00",
        "2026-11-28T08:00:00 01:00",
        "2026-11-28 08:00:00.000 0100",
        " 2026-11-28 08:00 01 ",
        "2026-11-28 07:00:00 (UTC)",
        "2026-11-28T07:00:00Z",
    ] {
        assert_eq!(time(text), Ok(expected), "{text}");
    }
    for text in ["2026-11-28", "2026-11-28 08:00", "2026-11-28T08:00:00", "2026-11-28T08:00:00 1:00", "(UTC)", "+01:00"]
    {
        let message = refusal(time(text));
        assert!(message.starts_with("Query parameter `x` takes a time in ISO 8601 with its zone"), "{text}: {message}");
    }
    assert!(
        refusal(Given::new(JSON, &json!(1_795_849_000)).time()).starts_with("Field `x` is a number; it takes a time")
    );
}

#[test]
fn lists_come_in_several_ways() {
    let read = |place, value: Value| told(Given::new(place, &value).list(3, extension));
    for (place, value) in lists(&["42", "43"]) {
        assert_eq!(read(place, value), Ok(vec!["42".to_owned(), "43".to_owned()]));
    }
    assert_eq!(read(JSON, json!([42, "", "43"])), Ok(vec!["42".to_owned(), "43".to_owned()]));
    assert_eq!(read(JSON, json!(42)), Ok(vec!["42".to_owned()]));
    assert_eq!(read(FORM, json!(["42,43", "44"])).map(|list| list.len()), Ok(3));
    assert_eq!(read(JSON, json!(" 42 , , 43,")).map(|list| list.len()), Ok(2));
    assert_eq!(read(JSON, json!("1,2,3,4")), Err("Field `x` takes a list of at most 3 entries.".to_owned()));
    assert_eq!(read(JSON, json!(" , ")), Err("Field `x` has nothing between its commas.".to_owned()));
    assert_eq!(read(JSON, json!([])), Ok(Vec::new()));
    assert_eq!(read(JSON, json!({"a": 1})), Err("Field `x` is an object; it takes a list.".to_owned()));
    // Nobody knows what separates here: an unescaped plus is a space, too.
    assert!(read(QUERY, json!("42 43")).is_err() && read(JSON, json!(["42,43"])).is_err());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[0-9+ :TZ().,-]{0,30}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn whole_numbers_are_the_same_in_every_spelling(number in -9_999_999_i64..9_999_999, zeros in 0..3_usize) {
        let padded = format!("{}{}{}", if number < 0 { "-" } else { "" }, "0".repeat(zeros), number.abs());
        let mut spellings = vec![json!(number), json!(number as f64), json!(number.to_string()), json!(format!(" {padded}\n"))];
        if number >= 0 {
            spellings.push(json!(format!("+{padded}")));
        }
        for spelling in &spellings {
            for place in [JSON, FORM, QUERY] {
                prop_assert_eq!(Given::new(place, spelling).integer(-10_000_000, 10_000_000), Ok(number));
            }
        }
        prop_assert_eq!(Given::new(JSON, &spellings[0]).text(9).expect("text"), number.to_string());
        let uncertain = [json!(number as f64 + 0.5), json!(format!("{number}.0")), json!(format!("{number}e0"))];
        for uncertain in uncertain {
            prop_assert!(Given::new(JSON, &uncertain).integer(-10_000_000, 10_000_000).is_err());
        }
    }

    #[test]
    fn times_are_the_same_in_every_zone_and_spelling(seconds in 0..4_000_000_000_i64, minutes in 0..14 * 60_i64) {
        let time = from_millis(seconds * 1_000);
        let local = (time + jiff::SignedDuration::from_mins(minutes)).to_string();
        let local = local.trim_end_matches('Z');
        let zone = format!("{:02}:{:02}", minutes / 60, minutes % 60);
        for spelling in [
            time.to_string(),
            format!("{local}+{zone}"),
            format!("{local} {zone}"),
            format!("{} {}", local.replace('T', " "), zone.replace(':', "")),
            format!("{} (UTC)", time.to_string().replace('T', " ").trim_end_matches('Z')),
        ] {
            prop_assert_eq!(Given::new(QUERY, &json!(spelling)).time(), Ok(time), "{}", spelling);
        }
        prop_assert!(Given::new(QUERY, &json!(local)).time().is_err(), "without a zone");
    }

    #[test]
    fn lists_are_the_same_in_every_spelling(entries in prop::collection::vec("[0-9*#]{1,32}", 1..5)) {
        for (place, value) in lists(&entries.iter().map(String::as_str).collect::<Vec<_>>()) {
            let list = Given::new(place, &value).list(5, extension);
            prop_assert_eq!(list.as_ref(), Ok(&entries), "{:?} {}", place, value);
        }
    }

    #[test]
    fn numbers_are_the_same_in_json_and_text(number: u64) {
        let (given, text) = (json!(number), number.to_string());
        prop_assert_eq!(Given::new(JSON, &given).extension(), Ok(text.clone()));
        prop_assert_eq!(Given::new(JSON, &given).destination(), Ok(text.clone()));
        prop_assert_eq!(Given::new(FORM, &json!(text)).destination(), Ok(text));
    }

    #[test]
    fn whatever_is_given_nothing_panics_and_refusals_name_the_place(value in any_json()) {
        for place in [JSON, FORM, QUERY] {
            let given = Given::new(place, &value);
            let results = [
                given.text(5).err(),
                given.flag().err(),
                given.integer(-1, 127).err(),
                given.extension().err(),
                given.destination().err(),
                given.number_prefix(32).err(),
                given.digits(true).err(),
                given.call_id().err(),
                given.time().err(),
                given.choice(&FLAGS).err(),
                given.list(3, |entry| entry.text(3).map(Cow::into_owned)).err(),
            ];
            for error in results.into_iter().flatten() {
                let named = error.message.starts_with(&place.to_string()) && error.message.ends_with('.');
                prop_assert!(named, "{}", error.message);
            }
        }
    }
}
