//! The fields of a body and the parameters of a query, by name: the first problem is reported by the name of its field.

use jiff::Timestamp;
use serde_json::Value;
use shared::ids::CallId;

use crate::body::{self, Values};
use crate::errors::ApiError;
use crate::field_name::{FieldName, Source};
use crate::given::{Given, is_blank, kind};

/// The key has its own reader. `_` is what scripts add so that no cache answers.
const NOT_READ: [&str; 2] = ["apikey", "_"];

/// Names with their values, each as it was given.
#[derive(Debug)]
pub(crate) struct Fields {
    source: Source,
    values: Values,
}

impl Fields {
    /// The fields of a body in JSON, none of them unknown.
    pub(crate) fn json(text: &str, known: &[&str]) -> Result<Self, ApiError> {
        let refused = |what: &str| {
            let takes = listed(known);
            Err(ApiError::invalid(format!("The body is {what}; this operation takes a JSON object with {takes}.")))
        };
        if text.is_empty() {
            return refused("empty");
        }
        match body::json(text)? {
            Value::Object(values) => Self { source: Source::Json, values }.only(known),
            other => refused(kind(&other)),
        }
    }

    /// The fields of a form-encoded body, none of them unknown.
    pub(crate) fn form(text: &str, known: &[&str]) -> Result<Self, ApiError> {
        Self { source: Source::Form, values: body::form(text, Source::Form)? }.only(known)
    }

    /// The parameters of a query string, known or not, but for those that are no operation's.
    pub(crate) fn query(text: &str) -> Result<Self, ApiError> {
        let mut values = body::form(text, Source::Query)?;
        values.retain(|name, _| !NOT_READ.contains(&name.as_str()));
        Ok(Self { source: Source::Query, values })
    }

    pub(crate) fn none() -> Self {
        Self { source: Source::Query, values: Values::new() }
    }

    fn only(self, known: &[&str]) -> Result<Self, ApiError> {
        self.require_known(known)?;
        Ok(self)
    }

    /// Refuses a name that the operation does not take, and names the one that may be meant.
    pub(crate) fn require_known(&self, known: &[&str]) -> Result<(), ApiError> {
        let Some(name) = self.values.keys().find(|name| !known.contains(&name.as_str())) else { return Ok(()) };
        let known: Vec<&str> = match self.source {
            Source::Query => ["apikey"].into_iter().chain(known.iter().copied()).collect(),
            _ => known.to_vec(),
        };
        let (place, takes) = (FieldName::new(self.source, name), listed(&known));
        Err(match nearest(name, &known) {
            Some(near) => place
                .refuse(format_args!("is unknown; did you mean `{near}`? This operation takes {takes}."))
                .with_hint(format!("Use `{near}` if that is meant, and send the request again.")),
            None => place.refuse(format_args!("is unknown; this operation takes {takes}.")),
        })
    }

    /// The names of the fields that have a value.
    pub(crate) fn names(&self) -> Vec<String> {
        self.values.keys().filter(|name| self.has(name)).cloned().collect()
    }

    /// A value that is there. Null, and text without content alone or in a list, are as good as absent.
    pub(crate) fn given<'a>(&'a self, name: &'a str) -> Option<Given<'a>> {
        let value = self.values.get(name).filter(|value| !value.is_null() && !is_blank(value))?;
        Some(Given::new(FieldName::new(self.source, name), value))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.given(name).is_some()
    }

    /// Whether there is a value other than an empty list.
    pub(crate) fn has_entries(&self, name: &str) -> bool {
        self.has(name) && !self.values.get(name).and_then(Value::as_array).is_some_and(Vec::is_empty)
    }

    /// Refuses text without content, for a field that means one thing when it is empty and another when it is left out.
    pub(crate) fn refuse_blank(&self, name: &str, instead: &str) -> Result<(), ApiError> {
        match self.values.get(name) {
            Some(value) if is_blank(value) => {
                Err(FieldName::new(self.source, name).refuse(format_args!("is empty; {instead}.")))
            }
            _ => Ok(()),
        }
    }

    fn required<'a>(&'a self, name: &'a str) -> Result<Given<'a>, ApiError> {
        let place = FieldName::new(self.source, name);
        match self.values.get(name) {
            None => Err(place.refuse("is missing.")),
            Some(Value::Null) => Err(place.refuse("is null; it is required.")),
            Some(value) => Ok(Given::new(place, value)),
        }
    }

    /// Reads a field that may be left out.
    pub(crate) fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Self, &str) -> Result<T, ApiError>,
    ) -> Result<Option<T>, ApiError> {
        if self.has(name) { read(self, name).map(Some) } else { Ok(None) }
    }

    pub(crate) fn text(&self, name: &str, longest: usize) -> Result<String, ApiError> {
        self.required(name)?.text(longest).map(Into::into)
    }

    /// A flag that is `default` when it is left out.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, ApiError> {
        self.given(name).map_or(Ok(default), Given::flag)
    }

    pub(crate) fn integer(&self, name: &str, least: i64, most: i64) -> Result<i64, ApiError> {
        self.required(name)?.integer(least, most)
    }

    pub(crate) fn extension(&self, name: &str) -> Result<String, ApiError> {
        self.required(name)?.extension()
    }

    pub(crate) fn destination(&self, name: &str) -> Result<String, ApiError> {
        self.required(name)?.destination()
    }

    pub(crate) fn digits(&self, name: &str, letters: bool) -> Result<String, ApiError> {
        self.required(name)?.digits(letters)
    }

    pub(crate) fn call_id(&self, name: &str) -> Result<CallId, ApiError> {
        self.required(name)?.call_id()
    }

    pub(crate) fn time(&self, name: &str) -> Result<Timestamp, ApiError> {
        self.required(name)?.time()
    }

    /// The value of one of these names; `None` when the field is left out.
    pub(crate) fn choice<T: Copy>(&self, name: &str, known: &[(&str, T)]) -> Result<Option<T>, ApiError> {
        self.given(name).map(|given| given.choice(known)).transpose()
    }

    /// A list, read entry by entry; left out, it is empty.
    pub(crate) fn list<T>(
        &self,
        name: &str,
        longest: usize,
        read: impl Fn(Given<'_>) -> Result<T, ApiError>,
    ) -> Result<Vec<T>, ApiError> {
        self.given(name).map_or(Ok(Vec::new()), |given| given.list(longest, read))
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The name that is meant by one that is not known: the same but for case and separators, or else with few other letters.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    const LONGEST: usize = 64;
    let letters = |name: &str| -> String {
        name.chars().take(LONGEST).filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let wanted = letters(name);
    let distance = |known: &&str| {
        let known = letters(known);
        let distance = strsim::osa_distance(&known, &wanted);
        (distance <= known.chars().count().max(wanted.chars().count()) / 3).then_some(distance)
    };
    let near = known.iter().filter_map(|known| Some((distance(known)?, *known)));
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::extension;

    const FIELDS: &[&str] = &["from", "to"];

    fn numbers(body: &str) -> Result<(String, String), String> {
        let parsed =
            Fields::json(body, FIELDS).and_then(|fields| Ok((fields.extension("from")?, fields.destination("to")?)));
        parsed.map_err(|error| error.message)
    }

    fn accepts(body: &str, from: &str, to: &str) {
        assert_eq!(numbers(body), Ok((from.to_owned(), to.to_owned())), "{body}");
    }

    fn refuses(body: &str, message: &str) {
        assert_eq!(numbers(body), Err(message.to_owned()), "{body}");
    }

    #[test]
    fn numbers_come_as_people_and_tools_write_them() {
        accepts(r#"{"from":"77","to":"+32 (0)472/59.16.87"}"#, "77", "+32472591687");
        accepts("{\"from\":77,\"to\":50}\n", "77", "50");
        accepts(r##"{"from":" *7# ","to":"0472-591687"}"##, "*7#", "0472591687");
        accepts("{\"from\":\"\u{200e}４２\u{202c}\",\"to\":\"tel:+32-472-59-16-87\"}", "42", "+32472591687");
        accepts(r#"{"from":77.0,"to":"+32 472 59 16 87\u202c"}"#, "77", "+32472591687");
    }

    #[test]
    fn problems_are_named() {
        let takes = "this operation takes a JSON object with `from`, `to`.";
        refuses("", &format!("The body is empty; {takes}"));
        refuses("[1]", &format!("The body is a list; {takes}"));
        refuses("null", &format!("The body is null; {takes}"));
        refuses(r#"{"from":"42",}"#, "The body is not valid JSON: trailing comma at line 1 column 14.");
        refuses(
            r#"{"from":"42","too":"1"}"#,
            "Field `too` is unknown; did you mean `to`? This operation takes `from`, `to`.",
        );
        refuses(r#"{"from":"42","phone":"1"}"#, "Field `phone` is unknown; this operation takes `from`, `to`.");
        refuses(r#"{"from":"42","to":"50","from":"44"}"#, "Field `from` stands twice.");
        refuses(r#"{"from":"42"}"#, "Field `to` is missing.");
        refuses(r#"{"from":null,"to":"1"}"#, "Field `from` is null; it is required.");
        refuses(r#"{"from":["42"],"to":"1"}"#, r#"Field `from` is a list; it takes text with a number, such as "42"."#);
        refuses(r#"{"from":4.2,"to":"1"}"#, r#"Field `from` is a number; it takes text with a number, such as "42"."#);
        refuses(r#"{"from":-42,"to":"1"}"#, r#"Field `from` is a number; it takes text with a number, such as "42"."#);
        refuses(r#"{"from":" ","to":"1"}"#, "Field `from` is empty; it takes the extension of a user or queue.");
        refuses(
            r#"{"from":"+3242","to":"1"}"#,
            "Field `from` must be the extension of a user or queue (up to 32 digits, `*` and `#`), `node/extension`, a name or a guid.",
        );
        refuses(r#"{"from":"42","to":""}"#, "Field `to` is empty.");
        let takes = "use digits, `*`, `#`, an optional leading `+` and the separators space - . / ( ).";
        refuses(r#"{"from":"42","to":"Thomas"}"#, &format!("Field `to` contains `T` (U+0054); {takes}"));
        refuses(r#"{"from":"42","to":"5\u00070"}"#, &format!("Field `to` contains `U+0007`; {takes}"));
    }

    #[test]
    fn unknown_names_get_the_nearest_known_one() {
        let known = ["CallId", "targetUrl", "to", "from", "minimumDuration", "a", "b"];
        let cases = [
            ("target_url", Some("targetUrl")),
            ("TARGET-URL", Some("targetUrl")),
            ("call_id", Some("CallId")),
            ("callid", Some("CallId")),
            ("minDuration", Some("minimumDuration")),
            ("form", Some("from")),
            ("x", None),
            ("", None),
            ("phone", None),
        ];
        for (name, expected) in cases {
            assert_eq!(nearest(name, &known), expected, "{name}");
        }
        let error = Fields::json(r#"{"target_url":"https://example.com"}"#, &known).expect_err("refused");
        assert_eq!(error.hint.as_deref(), Some("Use `targetUrl` if that is meant, and send the request again."));
    }

    #[test]
    fn what_is_empty_was_not_given() {
        let fields =
            Fields::json(r#"{"a":"","b":" \t","to":null,"from":["",""]}"#, &["a", "b", "to", "from"]).expect("fields");
        assert_eq!(fields.optional("a", Fields::destination), Ok(None));
        assert_eq!(fields.optional("b", Fields::call_id), Ok(None));
        assert_eq!(fields.flag("b", true), Ok(true));
        assert_eq!(fields.list("a", 1, extension), Ok(Vec::new()));
        assert_eq!(fields.names(), [""; 0]);
        let error = fields.refuse_blank("a", "leave it out").expect_err("refused");
        assert_eq!(error.message, "Field `a` is empty; leave it out.");
        assert_eq!(fields.refuse_blank("to", "leave it out"), Ok(()));
    }

    #[test]
    fn parameters_that_are_no_operations_are_ignored() {
        let query = Fields::query("apikey=k&_=1795849000&_=2&wait=").expect("a query");
        assert_eq!(query.require_known(&["wait"]), Ok(()));
        assert!(!query.has("wait"));
        let error = Fields::query("api_key=k").expect("a query").require_known(&[]).expect_err("refused");
        assert_eq!(
            error.message,
            "Query parameter `api_key` is unknown; did you mean `apikey`? This operation takes `apikey`."
        );
    }
}
