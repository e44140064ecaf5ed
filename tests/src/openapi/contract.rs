//! Holds answers of the API to its description.

use std::fmt::Write as _;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::document::Node;

/// An answer as a caller saw it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub method: &'a str,
    /// Without base path and query.
    pub path: &'a str,
    pub status: u16,
    pub content_type: Option<&'a str>,
    /// Whether the answer has this header.
    pub headers: &'a [&'a str],
    pub body: &'a str,
}

/// The described operations, ready to judge.
#[derive(Debug)]
pub struct Contract {
    operations: Vec<Operation>,
    error: Validator,
}

#[derive(Debug)]
struct Operation {
    name: String,
    method: String,
    template: String,
    responses: Vec<Response>,
}

#[derive(Debug)]
struct Response {
    /// `None` = every status that has no entry of its own.
    status: Option<u16>,
    /// `None` = no body.
    body: Option<Validator>,
    headers: Vec<String>,
}

impl Contract {
    /// The description in this repository.
    pub fn published() -> &'static Self {
        static PUBLISHED: OnceLock<Contract> = OnceLock::new();
        PUBLISHED.get_or_init(|| Self::new(&super::source().expect("the API description can be read")))
    }

    /// Panics when a schema cannot be used, for then nothing can be judged.
    fn new(openapi: &Node) -> Self {
        let schemas = Schemas::new(openapi);
        let mut operations = Vec::new();
        for (template, item) in openapi.get("paths").map_or(&[][..], Node::entries) {
            for (method, operation) in item.entries() {
                let responses = operation.get("responses").map_or(&[][..], Node::entries).iter();
                operations.push(Operation {
                    name: operation.get("operationId").and_then(Node::text).unwrap_or_default().to_owned(),
                    method: method.to_ascii_uppercase(),
                    template: template.clone(),
                    responses: responses
                        .map(|(status, response)| schemas.response(openapi, status, response))
                        .collect(),
                });
            }
        }
        Self { operations, error: schemas.validator(&json!({"$ref": "#/components/schemas/Error"})) }
    }

    /// Panics with what differs when an answer is not as described. What has no description has to be an error.
    #[track_caller]
    pub fn check(&self, seen: &Seen<'_>) {
        if let Err(problem) = self.judge(seen) {
            let Seen { method, path, status, body, .. } = seen;
            panic!(
                "{method} {path} answered {status}, but not as functions/api/openapi/api.yaml says: {problem}\n{body}"
            );
        }
    }

    /// What is wrong with an answer.
    pub fn judge(&self, seen: &Seen<'_>) -> Result<(), String> {
        let Some(operation) = self.operation(seen.method, seen.path) else {
            if seen.status < 400 {
                return Err("no such operation is described".to_owned());
            }
            return conforms(Some(&self.error), seen).map_err(|problem| format!("(no operation, so Error) {problem}"));
        };
        let name = &operation.name;
        let exact = operation.responses.iter().find(|response| response.status == Some(seen.status));
        // The default response is the error, so a success needs an entry of its own.
        let other = operation.responses.iter().find(|response| response.status.is_none() && seen.status >= 400);
        let response = exact.or(other).ok_or_else(|| format!("({name}) the status is not described"))?;
        for header in &response.headers {
            if !seen.headers.iter().any(|given| given.eq_ignore_ascii_case(header)) {
                return Err(format!("({name}) header {header} is missing"));
            }
        }
        conforms(response.body.as_ref(), seen).map_err(|problem| format!("({name}) {problem}"))
    }

    fn operation(&self, method: &str, path: &str) -> Option<&Operation> {
        // A slash behind a path means nothing.
        let path = path.trim_end_matches('/');
        let fitting = self.operations.iter().filter(|operation| operation.method == method);
        // A literal segment wins over a parameter.
        fitting
            .filter(|operation| matches(&operation.template, path))
            .min_by_key(|found| found.template.matches('{').count())
    }
}

fn matches(template: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) if wanted == given || (wanted.starts_with('{') && !given.is_empty()) => {}
            _ => return false,
        }
    }
}

fn conforms(body: Option<&Validator>, seen: &Seen<'_>) -> Result<(), String> {
    let Some(validator) = body else {
        return if seen.body.is_empty() { Ok(()) } else { Err("there should be no body".to_owned()) };
    };
    let content_type = seen.content_type.unwrap_or("(none)");
    if content_type != "application/json" {
        return Err(format!("the content type is {content_type}"));
    }
    let value: Value = serde_json::from_str(seen.body).map_err(|error| format!("the body is not JSON: {error}"))?;
    problems(validator, &value)
}

/// Every way in which a value differs from its schema.
pub(super) fn problems(validator: &Validator, value: &Value) -> Result<(), String> {
    let mut found = String::new();
    for error in validator.iter_errors(value) {
        let _ = write!(found, "\n  {}: {error}", error.instance_path());
    }
    if found.is_empty() { Ok(()) } else { Err(found) }
}

/// The schemas of the description in the words of JSON Schema.
#[derive(Debug)]
pub(super) struct Schemas(Value);

impl Schemas {
    pub(super) fn new(openapi: &Node) -> Self {
        let mut schemas = openapi.at(&["components", "schemas"]).map(Node::to_value).unwrap_or_default();
        in_json_schema(&mut schemas);
        Self(schemas)
    }

    pub(super) fn validator(&self, schema: &Value) -> Validator {
        let mut root = schema.clone();
        in_json_schema(&mut root);
        root["components"] = json!({"schemas": self.0});
        jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&root)
            .expect("a schema that can be used")
    }

    fn response(&self, openapi: &Node, status: &str, response: &Node) -> Response {
        let named =
            response.get("$ref").and_then(Node::text).and_then(|name| name.strip_prefix("#/components/responses/"));
        let response = named.map_or(response, |name| {
            openapi.at(&["components", "responses", name]).expect("a response that is referred to")
        });
        let headers = response.get("headers").map_or(&[][..], Node::entries).iter();
        let required = headers.filter(|(_, header)| header.get("required") == Some(&Node::Bool(true)));
        let schema = response.at(&["content", "application/json", "schema"]);
        Response {
            status: status.parse().ok(),
            body: schema.map(|schema| self.validator(&schema.to_value())),
            headers: required.map(|(name, _)| name.clone()).collect(),
        }
    }
}

/// OpenAPI 3.0 says `nullable: true` where JSON Schema lists null among the types.
fn in_json_schema(schema: &mut Value) {
    match schema {
        Value::Object(entries) => {
            entries.values_mut().for_each(in_json_schema);
            if entries.get("nullable") == Some(&Value::Bool(true))
                && let Some(kind @ Value::String(_)) = entries.get("type").cloned()
            {
                entries.insert("type".to_owned(), json!([kind, "null"]));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(in_json_schema),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1ea84350-ef40-49c4-a3cd-b1d59c821b47";

    fn judge(method: &str, path: &str, status: u16, body: &Value) -> Result<(), String> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        Contract::published().judge(&Seen {
            method,
            path,
            status,
            content_type: Some("application/json"),
            headers: &[],
            body: &body,
        })
    }

    fn refuses(found: Result<(), String>, expected: &str) {
        let found = found.expect_err("refused");
        assert!(found.contains(expected), "{found}");
    }

    #[test]
    fn answers_are_held_to_their_operation_and_status() {
        let answer = json!({"commandId": ID, "state": "succeeded", "CallId": null, "conferenceId": null});
        assert_eq!(judge("POST", "/rcc/makecall", 200, &answer), Ok(()));
        assert_eq!(judge("POST", "/rcc/makecall", 202, &answer), Ok(()));
        refuses(judge("POST", "/rcc/makecall", 201, &answer), "(MakeCall) the status is not described");
        refuses(judge("POST", "/rcc/answer", 200, &answer), "Additional properties are not allowed");
        refuses(judge("POST", "/rcc/makecall", 409, &answer), "\"code\" is a required property");
        refuses(judge("GET", "/rcc/makecall", 200, &answer), "no such operation is described");
        let wrong = json!({"commandId": "7", "state": "done", "CallId": null, "conferenceId": 7});
        let found = judge("POST", "/rcc/makecall", 200, &wrong).expect_err("refused");
        for place in ["/commandId", "/state", "/conferenceId"] {
            assert!(found.contains(place), "{found}");
        }
    }

    #[test]
    fn errors_need_no_operation() {
        let error = json!({"code": "not_found", "message": "m", "retryable": false, "hint": "h", "commandId": null,
            "retryAfter": null});
        assert_eq!(judge("GET", "/nowhere", 404, &error), Ok(()));
        assert_eq!(judge("PUT", "/status", 405, &error), Ok(()));
        assert_eq!(judge("GET", "/status", 503, &error), Ok(()));
        refuses(judge("GET", "/nowhere", 404, &json!({"code": "not_found"})), "required property");
        refuses(judge("GET", "/nowhere", 404, &json!({"code": "new"})), "/code");
    }

    #[test]
    fn what_stands_around_the_body_counts_too() {
        assert_eq!(judge("DELETE", "/apikeys/9f86d081884c7d65", 204, &Value::Null), Ok(()));
        refuses(judge("DELETE", "/apikeys/9f86d081884c7d65", 204, &json!({})), "no body");
        refuses(judge("POST", "/apikeys", 201, &json!({})), "header Location is missing");
        let seen = Seen { method: "GET", path: "/status", status: 200, content_type: None, headers: &[], body: "{}" };
        refuses(Contract::published().judge(&seen), "content type is (none)");
    }

    #[test]
    fn paths_fit_templates_segment_by_segment() {
        assert!(matches("/rcc/calls/{CallId}/events", "/rcc/calls/7/events"));
        for path in ["/rcc/calls/7", "/rcc/calls//events", "/rcc/calls/7/events/", "/x/rcc/calls/7/events"] {
            assert!(!matches("/rcc/calls/{CallId}/events", path), "{path}");
        }
    }
}
