//! Webhooks as requests describe them; how answers show them is `webhook_view`'s business.
//!
//! Secrets stay with the receiver that they were given for: a change keeps header values and password only while scheme, host and port of
//! the URL stay. Otherwise every key that may change webhooks could have them sent to an address of its own.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Uri;
use axum::http::header::AUTHORIZATION;
use jiff::Timestamp;
use serde_json::Value;
use shared::apikey::ApiKey;
use shared::codes::Code;
use shared::event::{Direction, Status};
use shared::webhook::{BasicAuth, Filter, Format, Kind, Method, PartyKind, Secret, Settings};
use url::{Origin, Url};

use crate::errors::ApiError;
use crate::field_name::FieldName;
use crate::fields::Fields;
use crate::given::{Given, extension, whole};

/// The fields of a webhook. The first one is also known by the names that platforms give it.
pub(crate) const FIELDS: [&str; 21] = [
    "url",
    "targetUrl",
    "hookUrl",
    "callbackUrl",
    "method",
    "format",
    "kinds",
    "extensions",
    "statuses",
    "direction",
    "missedOnly",
    "party",
    "numberPrefix",
    "minimumDuration",
    "headers",
    "basicAuthUser",
    "basicAuthPassword",
    "maxPerMinute",
    "maskNumbers",
    "description",
    "expiresAt",
];
const URL_NAMES: [&str; 4] = ["url", "targetUrl", "hookUrl", "callbackUrl"];
const LONGEST_URL: usize = 2_048;
const LONGEST_TEXT: usize = 256;
const LONGEST_SECRET: usize = 1_024;
const MOST_HEADERS: usize = 20;
const MOST_EXTENSIONS: usize = 200;
const LONGEST_PREFIX: usize = 32;
/// In seconds.
const LONGEST_CALL: i64 = 86_400;
/// A hundred a second, which is more than one request after the other can be.
const HIGHEST_LIMIT: i64 = 6_000;
/// What an entry of `headers` has.
const HEADER: [&str; 2] = ["name", "value"];
/// Headers that are the protocol's or EasyConnect's own.
const RESERVED: [&str; 14] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "content-encoding",
];

/// Reads what a request wants of a webhook. `known` is the webhook as it is, whose secrets stay where the request names them
/// without a value.
pub(crate) fn settings(fields: &Fields, known: Option<&Settings>, allow_http: bool) -> Result<Settings, ApiError> {
    let url = url(fields, allow_http)?;
    // Secrets are for the receiver that they were given for. Who changes the address elsewhere has to know them.
    let known = known.filter(|known| origin(&known.url) == origin(&url));
    let (headers, basic_auth) = (headers(fields, known)?, basic_auth(fields, known)?);
    if basic_auth.is_some() && headers.contains_key(AUTHORIZATION.as_str()) {
        return Err(ApiError::invalid(
            "Field `headers` has `authorization`, which `basicAuthUser` sets by itself; give one of them.",
        ));
    }
    Ok(Settings {
        url,
        method: fields.choice("method", &[("POST", Method::Post), ("GET", Method::Get)])?.unwrap_or_default(),
        format: fields
            .choice("format", &[("easyconnect", Format::Easyconnect), ("extended", Format::Extended)])?
            .unwrap_or_default(),
        kinds: kinds(fields)?,
        filter: filter(fields)?,
        headers,
        basic_auth,
        description: fields
            .optional("description", |fields, name| fields.text(name, LONGEST_TEXT))?
            .unwrap_or_default(),
        max_per_minute: above_zero(fields, "maxPerMinute", HIGHEST_LIMIT)?,
        mask_numbers: fields.flag("maskNumbers", false)?,
        expires_at: fields.optional("expiresAt", Fields::time)?.map(Timestamp::as_second),
    })
}

/// The fields in which settings differ. Of headers and passwords it is said that they differ, and nothing else.
pub(crate) fn differences(before: &Settings, after: &Settings) -> Vec<String> {
    let (old, new) = (&before.filter, &after.filter);
    let auth = |settings: &Settings| settings.basic_auth.clone().map(|auth| (auth.username, auth.password));
    let (old_auth, new_auth) = (auth(before).unzip(), auth(after).unzip());
    let differ = [
        ("url", before.url != after.url),
        ("method", before.method != after.method),
        ("format", before.format != after.format),
        ("kinds", before.kinds != after.kinds),
        ("extensions", old.extensions != new.extensions),
        ("statuses", old.statuses != new.statuses),
        ("direction", old.direction != new.direction),
        ("missedOnly", old.missed_only != new.missed_only),
        ("party", old.party != new.party),
        ("numberPrefix", old.number_prefix != new.number_prefix),
        ("minimumDuration", old.minimum_duration != new.minimum_duration),
        ("headers", before.headers != after.headers),
        ("basicAuthUser", old_auth.0 != new_auth.0),
        ("basicAuthPassword", old_auth.1 != new_auth.1),
        ("maxPerMinute", before.max_per_minute != after.max_per_minute),
        ("maskNumbers", before.mask_numbers != after.mask_numbers),
        ("description", before.description != after.description),
        ("expiresAt", before.expires_at != after.expires_at),
    ];
    differ.into_iter().filter(|(_, differ)| *differ).map(|(name, _)| name.to_owned()).collect()
}

/// A number for which 0 is as good as none: low-code tools send it for a field that was left empty.
fn above_zero(fields: &Fields, name: &str, most: i64) -> Result<Option<u32>, ApiError> {
    let number = fields.optional(name, |fields, name| fields.integer(name, 0, most))?;
    Ok(number.filter(|number| *number > 0).map(|number| number as u32))
}

/// Scheme, host and port.
fn origin(url: &str) -> Option<Origin> {
    Url::parse(url).ok().map(|url| url.origin())
}

fn url(fields: &Fields, allow_http: bool) -> Result<String, ApiError> {
    let mut given = URL_NAMES.into_iter().filter(|name| fields.has(name));
    let name = given.next().unwrap_or("url");
    if let Some(other) = given.next() {
        return Err(ApiError::invalid(format!("Fields `{name}` and `{other}` mean the same; give one of them.")));
    }
    let text = fields.text(name, LONGEST_URL)?;
    let url: Url = text.trim().parse().map_err(|_| {
        ApiError::invalid(format!("Field `{name}` takes a whole URL, such as https://example.invalid/hook."))
    })?;
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => {
            let message = format!("Field `{name}` takes a URL with https; the operator does not allow http.");
            return Err(ApiError::invalid(message));
        }
        _ => return Err(ApiError::invalid(format!("Field `{name}` takes a URL with https."))),
    }
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        return Err(ApiError::invalid(format!("Field `{name}` names no host.")));
    };
    // Requests are made of a stricter kind of URL, which has no place for what a template leaves behind, such as braces.
    if Uri::try_from(url.as_str()).is_err() {
        return Err(ApiError::invalid(format!("Field `{name}` names the host `{host}`, which cannot be one.")));
    }
    // What is not ASCII is written longer than it was given, and it is this form that is requested.
    if url.as_str().len() > LONGEST_URL {
        return Err(ApiError::invalid(format!(
            "Field `{name}` takes a URL of at most {LONGEST_URL} characters, with everything that has to be written as `%` and two digits."
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ApiError::invalid(format!(
            "Field `{name}` has a user name or password; give `basicAuthUser` and `basicAuthPassword` instead."
        )));
    }
    Ok(url.into())
}

fn kinds(fields: &Fields) -> Result<BTreeSet<Kind>, ApiError> {
    let known = Kind::ALL.map(|kind| (kind.as_str(), kind));
    let kinds: BTreeSet<Kind> = fields.list("kinds", known.len(), |entry| entry.choice(&known))?.into_iter().collect();
    Ok(if kinds.is_empty() { BTreeSet::from([Kind::Call]) } else { kinds })
}

/// The kinds of call events that a question for events is about: statuses only, unless it says otherwise.
pub(crate) fn event_kinds(fields: &Fields) -> Result<BTreeSet<Kind>, ApiError> {
    let known = EVENT_KINDS.map(|kind| (kind.as_str(), kind));
    let kinds: BTreeSet<Kind> = fields.list("kinds", known.len(), |entry| entry.choice(&known))?.into_iter().collect();
    Ok(if kinds.is_empty() { BTreeSet::from([Kind::Call]) } else { kinds })
}

/// What is about calls; the rest are notices.
pub(crate) const EVENT_KINDS: [Kind; 2] = [Kind::Call, Kind::CallUpdated];

/// The filters of a webhook, or of a question for events.
pub(crate) fn filter(fields: &Fields) -> Result<Filter, ApiError> {
    Ok(Filter {
        extensions: fields.list("extensions", MOST_EXTENSIONS, extension)?.into_iter().collect(),
        statuses: fields.list("statuses", STATUSES.len(), |entry| entry.choice(&STATUSES))?.into_iter().collect(),
        direction: fields.choice("direction", &DIRECTIONS)?,
        missed_only: fields.flag("missedOnly", false)?,
        party: fields.choice("party", &PARTIES)?,
        number_prefix: fields.given("numberPrefix").map(|given| given.number_prefix(LONGEST_PREFIX)).transpose()?,
        minimum_duration: above_zero(fields, "minimumDuration", LONGEST_CALL)?,
    })
}

pub(crate) const STATUSES: [(&str, Status); 3] =
    [("ringing", Status::Ringing), ("connected", Status::Connected), ("disconnected", Status::Disconnected)];
const DIRECTIONS: [(&str, Direction); 2] = [("incoming", Direction::Incoming), ("outgoing", Direction::Outgoing)];
const PARTIES: [(&str, PartyKind); 2] = [("internal", PartyKind::Internal), ("external", PartyKind::External)];

fn headers(fields: &Fields, known: Option<&Settings>) -> Result<BTreeMap<String, Secret>, ApiError> {
    let Some(given) = fields.given("headers") else { return Ok(BTreeMap::new()) };
    let headers = match given.object() {
        None => given.list(MOST_HEADERS, |entry| listed_header(entry, known))?,
        Some(header) if header.contains_key("name") && header.keys().all(|key| HEADER.contains(&key.as_str())) => {
            return Err(given.place.refuse(
                "is one object with `name` and `value`; give a list of such objects, or an object such as \
                 {\"X-Api-Key\": \"4f1c\"}.",
            ));
        }
        Some(object) if object.len() > MOST_HEADERS => {
            return Err(given.place.refuse(format_args!("takes at most {MOST_HEADERS} headers.")));
        }
        Some(object) => {
            let headers = object.iter().map(|(name, value)| header(given.place, name, value, known));
            headers.collect::<Result<_, _>>()?
        }
    };
    let count = headers.len();
    let headers: BTreeMap<String, Secret> = headers.into_iter().collect();
    if headers.len() < count {
        return Err(given.place.refuse("has one name twice."));
    }
    Ok(headers)
}

fn listed_header(entry: Given<'_>, known: Option<&Settings>) -> Result<(String, Secret), ApiError> {
    let Some(object) = entry.object() else {
        let takes = "takes a list of objects with `name` and `value`, or an object such as {\"X-Api-Key\": \"4f1c\"}.";
        return Err(entry.place.refuse(takes));
    };
    if let Some(unknown) = object.keys().find(|key| !HEADER.contains(&key.as_str())) {
        let has = format_args!("has an entry with `{unknown}`; an entry has `name` and `value`.");
        return Err(entry.place.refuse(has));
    }
    let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
    header(entry.place, name, object.get("value").unwrap_or(&Value::Null), known)
}

/// A header that is sent along. Without a value it keeps the one that it has.
fn header(
    place: FieldName<'_>,
    name: &str,
    value: &Value,
    known: Option<&Settings>,
) -> Result<(String, Secret), ApiError> {
    let refused = |what: String| Err(place.refuse(what));
    let name = name.trim().to_ascii_lowercase();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > LONGEST_TEXT || !name.bytes().all(token) {
        return refused(format!("has `{name}`, which cannot be the name of a header."));
    }
    if RESERVED.contains(&name.as_str()) || name.starts_with("webhook-") {
        return refused(format!("has `{name}`, which EasyConnect sets by itself."));
    }
    let known = || known.and_then(|known| known.headers.get(&name));
    let value = match value {
        Value::String(value) => Some(Secret::new(value.clone())),
        Value::Null => match known() {
            Some(value) => Some(value.clone()),
            None => return refused(format!("gives no value for `{name}`, and none for this host is known.")),
        },
        Value::Number(number) => whole(number).map(Secret::new),
        _ => None,
    };
    let Some(value) = value else { return refused(format!("has a value for `{name}` that is not text.")) };
    // A line break would let a value add headers of its own.
    let sendable = |byte: u8| (0x20..0x7f).contains(&byte);
    if value.expose().len() > LONGEST_SECRET || !value.expose().bytes().all(sendable) {
        return refused(format!(
            "has a value for `{name}` with more than {LONGEST_SECRET} characters, or others than printable ASCII."
        ));
    }
    Ok((name, value))
}

fn basic_auth(fields: &Fields, known: Option<&Settings>) -> Result<Option<BasicAuth>, ApiError> {
    let username = fields.optional("basicAuthUser", |fields, name| fields.text(name, LONGEST_TEXT))?;
    let password = fields.optional("basicAuthPassword", |fields, name| fields.text(name, LONGEST_SECRET))?;
    match (username, password) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(ApiError::invalid("Field `basicAuthPassword` needs `basicAuthUser`.")),
        (Some(username), _) if username.contains(':') => {
            Err(ApiError::invalid("Field `basicAuthUser` has a colon, which basic authentication does not allow."))
        }
        (Some(username), Some(password)) => Ok(Some(BasicAuth { username, password: Secret::new(password) })),
        (Some(username), None) => match known.and_then(|known| known.basic_auth.as_ref()) {
            Some(known) => Ok(Some(BasicAuth { username, password: known.password.clone() })),
            None => {
                Err(ApiError::invalid("Field `basicAuthUser` needs `basicAuthPassword`; none for this host is known."))
            }
        },
    }
}

/// A key with a list of extensions may have webhooks for these only: it has to name them. Notices concern the whole stack.
pub(crate) fn require_own(key: &ApiKey, settings: &Settings) -> Result<(), ApiError> {
    let message = if !has_own_extensions(key, settings) {
        "The API key has a list of extensions; `extensions` has to name some of them, and no others."
    } else if !has_own_kinds(key, settings) {
        "The API key has a list of extensions; `kinds` can only be `call` and `call.updated`."
    } else {
        return Ok(());
    };
    Err(ApiError::with_message(Code::ExtensionNotAllowed, message))
}

pub(crate) fn is_own(key: &ApiKey, settings: &Settings) -> bool {
    has_own_extensions(key, settings) && has_own_kinds(key, settings)
}

fn has_own_extensions(key: &ApiKey, settings: &Settings) -> bool {
    let wanted = &settings.filter.extensions;
    key.extensions.as_ref().is_none_or(|allowed| !wanted.is_empty() && wanted.is_subset(allowed))
}

fn has_own_kinds(key: &ApiKey, settings: &Settings) -> bool {
    key.extensions.is_none() || settings.kinds.iter().all(|kind| EVENT_KINDS.contains(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Settings, String> {
        let fields = Fields::json(body, &FIELDS).map_err(|error| error.message)?;
        settings(&fields, None, false).map_err(|error| error.message)
    }

    #[test]
    fn platforms_name_the_address_in_their_own_way() {
        for name in URL_NAMES {
            let settings = read(&format!(r#"{{"{name}":"https://example.com/a?b=c"}}"#)).expect("settings");
            assert_eq!(settings, Settings::new("https://example.com/a?b=c".to_owned()));
        }
        let both = read(r#"{"url":"https://a.example","hookUrl":"https://b.example"}"#);
        assert_eq!(both, Err("Fields `url` and `hookUrl` mean the same; give one of them.".to_owned()));
    }

    #[test]
    fn everything_can_be_said() {
        let settings = read(
            r#"{"url":"https://example.com","method":"get","format":"extended","kinds":["call","agent.offline"],
                "extensions":["42",43],"statuses":["ringing"],"direction":"incoming","missedOnly":true,"party":"external",
                "numberPrefix":"+32","minimumDuration":5,"headers":[{"name":"X-Make-ApiKey","value":"k"}],
                "basicAuthUser":"u","basicAuthPassword":"p","maxPerMinute":"6000","maskNumbers":"yes","description":"CRM",
                "expiresAt":"2030-01-01T00:00:00Z"}"#,
        );
        let settings = settings.expect("settings");
        assert_eq!((settings.method, settings.format, settings.kinds.len()), (Method::Get, Format::Extended, 2));
        assert!(settings.mask_numbers && settings.filter.missed_only && settings.headers.contains_key("x-make-apikey"));
        assert_eq!((settings.max_per_minute, settings.expires_at), (Some(6_000), Some(1_893_456_000)));
    }

    #[test]
    fn what_differs_is_named_field_by_field() {
        let minimal = read(r#"{"url":"https://example.com"}"#).expect("settings");
        let full = read(
            r#"{"url":"https://example.com/b","method":"GET","format":"extended","kinds":["agent.offline"],"extensions":["42"],
                "statuses":["ringing"],"direction":"incoming","missedOnly":true,"party":"external","numberPrefix":"+32",
                "minimumDuration":5,"headers":{"x":"1"},"basicAuthUser":"u","basicAuthPassword":"p","maxPerMinute":60,
                "maskNumbers":true,"description":"CRM","expiresAt":"2030-01-01T00:00:00Z"}"#,
        );
        let full = full.expect("settings");
        // All but the other names of the address.
        let all: Vec<&str> = FIELDS.into_iter().filter(|name| *name == "url" || !URL_NAMES.contains(name)).collect();
        assert_eq!(differences(&minimal, &full), all);
        let renamed = Settings { description: "ERP".to_owned(), ..full.clone() };
        assert_eq!(differences(&full, &renamed), ["description"]);
        let password = BasicAuth { username: "u".to_owned(), password: Secret::new("q") };
        assert_eq!(differences(&full, &Settings { basic_auth: Some(password), ..full.clone() }), ["basicAuthPassword"]);
        assert!(differences(&full, &full).is_empty());
    }

    #[test]
    fn forms_say_the_same_as_json() {
        let expected = read(
            r#"{"url":"https://example.com","statuses":["disconnected"],"extensions":["42","77"],"missedOnly":true,
                "minimumDuration":10,"numberPrefix":"+32","headers":[{"name":"X-A","value":"b"},{"name":"X-B","value":"7"}]}"#,
        );
        let spelled = read(
            r#"{"url":"https://example.com","statuses":"Disconnected","extensions":"42, 77","missedOnly":"true",
                "minimumDuration":"10","numberPrefix":"+32 ","headers":{"X-A":"b","X-B":7}}"#,
        );
        assert!(expected.is_ok() && spelled == expected, "{spelled:?}");

        let form = "targetUrl=https%3A%2F%2Fexample.com&statuses=disconnected&extensions=42&extensions=77&missedOnly=yes\
                    &minimumDuration=10&numberPrefix=%2B32&kinds[]=call&direction=&description=";
        let form = Fields::form(form, &FIELDS).and_then(|fields| settings(&fields, None, false)).expect("settings");
        assert_eq!(form, Settings { headers: BTreeMap::new(), ..expected.expect("settings") });
    }

    #[test]
    fn fields_that_a_platform_left_empty_filter_nothing() {
        let settings = read(
            r#"{"url":"https://example.com","kinds":[],"extensions":[],"statuses":null,"direction":null,"missedOnly":null,
                "minimumDuration":0,"headers":[],"maxPerMinute":0,"maskNumbers":null,"expiresAt":null}"#,
        );
        assert_eq!(settings, Ok(Settings::new("https://example.com/".to_owned())));
        let empty: String = FIELDS[4..].iter().map(|name| format!(r#","{name}":"""#)).collect();
        let settings = read(&format!(r#"{{"url":"https://example.com","targetUrl":" "{empty}}}"#));
        assert_eq!(settings, Ok(Settings::new("https://example.com/".to_owned())));
    }

    #[test]
    fn problems_are_named() {
        let refuses = |rest: &str, part: &str| {
            let told = read(&format!(r#"{{"url":"https://example.com",{rest}}}"#)).expect_err(rest);
            assert!(told.contains(part), "{told}");
        };
        refuses(r#""method":"PUT""#, "Field `method` has `PUT`; it takes `POST`, `GET`.");
        refuses(r#""statuses":["ring"]"#, "it takes `ringing`, `connected`, `disconnected`.");
        refuses(r#""headers":[{"name":"Host","value":"x"}]"#, "`host`, which EasyConnect sets by itself");
        refuses(r#""headers":[{"name":"webhook-id","value":"x"}]"#, "which EasyConnect sets by itself");
        refuses(r#""headers":[{"name":"a b","value":"x"}]"#, "cannot be the name of a header");
        refuses(r#""headers":[{"name":"x","value":"a\r\nb: c"}]"#, "others than printable ASCII");
        refuses(r#""headers":[{"name":"x"}]"#, "gives no value for `x`");
        refuses(r#""headers":[{"name":"x","value":"1"},{"name":"X","value":"2"}]"#, "one name twice");
        refuses(r#""headers":{"x":"1","X":"2"}"#, "one name twice");
        refuses(r#""headers":{"name":"x","value":"1"}"#, "is one object with `name` and `value`; give a list");
        refuses(r#""headers":{"x":["1"]}"#, "a value for `x` that is not text");
        refuses(r#""headers":{"x":true}"#, "a value for `x` that is not text");
        refuses(r#""headers":"x: 1""#, "or an object such as");
        refuses(r#""basicAuthUser":"u""#, "needs `basicAuthPassword`");
        refuses(r#""maxPerMinute":6001"#, "Field `maxPerMinute` takes a whole number from 0 to 6000.");
        refuses(r#""maxPerMinute":-1"#, "Field `maxPerMinute` takes a whole number from 0 to 6000.");
        refuses(
            r#""headers":[{"name":"Authorization","value":"x"}],"basicAuthUser":"u","basicAuthPassword":"p""#,
            "`authorization`, which `basicAuthUser` sets by itself",
        );
        assert!(read(r#"{"url":"https://{tenant}.example.com"}"#).expect_err("a template").contains("cannot be one"));
        assert!(read(r#"{"url":"http://example.com"}"#).expect_err("http").contains("does not allow http"));
        assert!(read(r#"{"url":"example.com"}"#).expect_err("no scheme").contains("a whole URL"));
        assert!(read(r#"{"url":"https://u:p@example.com"}"#).expect_err("user").contains("basicAuthUser"));
        assert_eq!(read("{}").expect_err("no url"), "Field `url` is missing.");
        let long = |path: String| read(&format!(r#"{{"url":"https://example.com/{path}"}}"#));
        assert!(long("é".repeat(400)).is_err_and(|message| message.contains("at most 2048 characters")));
        assert!(long("é".repeat(300)).is_ok() && long("x".repeat(2_000)).is_ok());
    }

    #[test]
    fn a_change_keeps_the_secrets_that_it_does_not_name() {
        let known = read(
            r#"{"url":"https://example.com","headers":[{"name":"x","value":"1"}],
                             "basicAuthUser":"u","basicAuthPassword":"p"}"#,
        );
        let known = known.expect("settings");
        let body = r#"{"url":"https://example.com","headers":[{"name":"x","value":null}],"basicAuthUser":"v"}"#;
        let fields = Fields::json(body, &FIELDS).expect("fields");
        let changed = settings(&fields, Some(&known), false).expect("settings");
        assert_eq!(changed.headers["x"].expose(), "1");
        let auth = changed.basic_auth.expect("basic authentication");
        assert_eq!((auth.username.as_str(), auth.password.expose()), ("v", "p"));
    }

    #[test]
    fn secrets_do_not_go_to_another_receiver() {
        let known = read(r#"{"url":"https://example.com/a","headers":[{"name":"x","value":"1"}]}"#).expect("settings");
        let change = |url: &str| {
            let body = format!(r#"{{"url":"{url}","headers":[{{"name":"x"}}]}}"#);
            let fields = Fields::json(&body, &FIELDS).expect("fields");
            settings(&fields, Some(&known), false).map_err(|error| error.message)
        };
        assert_eq!(change("https://example.com/b").expect("settings").headers["x"].expose(), "1");
        for elsewhere in ["https://example.org/a", "https://example.com:8443/a"] {
            assert!(change(elsewhere).expect_err(elsewhere).contains("gives no value for `x`"));
        }
    }
}
