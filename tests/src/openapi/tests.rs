//! The rules that the description keeps, so that every platform can import it as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use shared::codes::Code;
use shared::event::{CallChange, CallEvent, ExtendedEvent, Status};
use shared::notice::Notice;
use shared::webhook::Kind;

use super::contract::{Schemas, problems};
use super::*;

mod examples;
mod generators;
mod linter;
mod names;
mod shares;

/// What Salesforce keeps of a description.
const LONGEST_DESCRIPTION: usize = 1_333;
const LONGEST_SUMMARY: usize = 80;
/// What Power Platform takes.
const LARGEST_FILE: usize = 1_000_000;
/// By POST, because they do something; all that they need is in the path.
const WITHOUT_BODY: [&str; 6] =
    ["TestWebhook", "PauseWebhook", "ResumeWebhook", "PurgeWebhook", "RotateWebhookSecret", "ReplayDelivery"];
/// Routes for browsers, which are not part of the API.
const FOR_BROWSERS: [&str; 3] = ["/", "/swagger", "/swagger/{file}"];
/// `/rcc/users/{extension}` with a node, as the gateway hands it on: it decodes the slash.
const DECODED: &str = "GET /rcc/users/{node}/{extension}";

fn api() -> Node {
    source().expect("the description")
}

/// Every operation with its path, its method and itself.
fn operations(openapi: &Node) -> impl Iterator<Item = (&str, &str, &Node)> {
    let paths = openapi.get("paths").expect("paths").entries();
    paths.iter().flat_map(|(path, item)| {
        item.entries().iter().map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

fn text<'a>(node: &'a Node, key: &str) -> &'a str {
    node.get(key).and_then(Node::text).unwrap_or_else(|| panic!("`{key}` is missing in {}", node.to_json()))
}

fn schema<'a>(openapi: &'a Node, name: &str) -> &'a Node {
    openapi.at(&["components", "schemas", name]).unwrap_or_else(|| panic!("schema {name} is missing"))
}

/// Visits every node with the path that leads to it.
fn walk<'a>(node: &'a Node, path: &str, visit: &mut impl FnMut(&str, &'a Node)) {
    visit(path, node);
    for (key, value) in node.entries() {
        walk(value, &format!("{path}/{key}"), visit);
    }
    for (n, value) in node.items().iter().enumerate() {
        walk(value, &format!("{path}/{n}"), visit);
    }
}

fn names(node: &Node) -> Vec<&str> {
    node.entries().iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn derived_files_are_current() {
    for file in derive().expect("the derived files") {
        let found = std::fs::read_to_string(&file.path).unwrap_or_default();
        assert!(found == file.text, "{} is not what `make openapi` makes of api.yaml", file.path.display());
        assert!(file.text.len() < LARGEST_FILE, "{} is too large for Power Platform", file.path.display());
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn power_platform_takes_the_derived_file() {
    let path = paths::repository().join("../shared/lowcode/power-platform-swagger2.schema.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("left out: {} is not here, it is no part of the repository", path.display());
        return;
    };
    // The published file has lines that are comments, which JSON does not know, and names that are not valid in references.
    let text: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let text = text.replace(['<', '>'], "_");
    let schema: Value = serde_json::from_str(&text).expect("the schema is JSON");
    let validator = jsonschema::draft4::options().should_validate_formats(true).build(&schema).expect("a schema");
    let [_, _, swagger] = derive().expect("the derived files");
    let swagger = serde_json::from_str(&swagger.text).expect("JSON");
    problems(&validator, &swagger).expect("Power Platform takes the file");
    let unknown =
        serde_json::json!({"swagger": "2.0", "info": {"title": "t", "version": "1"}, "paths": {}, "servers": []});
    problems(&validator, &unknown).expect_err("the schema refuses what it does not know");
}

/// The router's own source, because a built router does not tell its routes.
#[test]
fn the_router_and_the_description_have_the_same_routes() {
    let mut routed = BTreeSet::new();
    let folder = paths::repository().join("functions/api/src/routes");
    let source = std::fs::read_to_string(folder.join("mod.rs")).expect("the routes");
    for call in source.split(".route(").skip(1) {
        let call = balanced(call);
        let path = call.split('"').nth(1).expect("a path");
        for method in ["get", "post", "put", "patch", "delete"] {
            let word = |at: usize| call[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if call.match_indices(&format!("{method}(")).any(|(at, _)| !word(at)) {
                routed.insert(format!("{} {path}", method.to_ascii_uppercase()));
            }
        }
    }
    routed.retain(|route| !FOR_BROWSERS.iter().any(|path| route.ends_with(&format!(" {path}"))) && route != DECODED);
    let openapi = api();
    let described: BTreeSet<String> =
        operations(&openapi).map(|(path, method, _)| format!("{} {path}", method.to_ascii_uppercase())).collect();
    let missing: Vec<_> = routed.difference(&described).collect();
    assert!(missing.is_empty(), "routes that api.yaml does not describe: {missing:?}");
    let unrouted: Vec<_> = described.difference(&routed).collect();
    assert!(unrouted.is_empty(), "operations of api.yaml without a route: {unrouted:?}");
}

/// The arguments of a call whose opening parenthesis has just been read.
fn balanced(text: &str) -> &str {
    let mut depth = 1;
    let end = text.find(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    &text[..end.expect("a closing parenthesis")]
}

#[test]
fn every_error_code_stands_in_one_table_and_in_the_enum() {
    let openapi = api();
    let expected: BTreeMap<&str, String> = Code::ALL
        .iter()
        .map(|code| {
            let meaning = code.meaning();
            let retry = if meaning.retryable { "yes" } else { "no" };
            (code.as_str(), format!("{} | {retry} | {}", meaning.status, meaning.message))
        })
        .collect();
    let mut found = BTreeMap::new();
    walk(&openapi, "", &mut |path, node| {
        for line in node.text().unwrap_or_default().lines().filter(|_| path.ends_with("/description")) {
            let Some((code, rest)) = line.strip_prefix("| `").and_then(|line| line.split_once("` | ")) else {
                continue;
            };
            if rest.starts_with(|c: char| c.is_ascii_digit()) {
                let rest = rest.trim_end().trim_end_matches('|').trim_end().to_owned();
                assert!(found.insert(code, rest).is_none(), "`{code}` stands in two tables");
            }
        }
    });
    assert_eq!(found, expected);
    let listed = schema(&openapi, "Error").at(&["properties", "code", "enum"]).expect("the enum").items();
    let listed: Vec<&str> = listed.iter().filter_map(Node::text).collect();
    assert_eq!(listed, Code::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>());
}

#[test]
fn codes_that_descriptions_name_exist() {
    let openapi = api();
    for (_, _, operation) in operations(&openapi) {
        let description = text(operation, "description");
        let Some((_, rest)) = description.split_once("Codes of its own:") else { continue };
        let named = rest.split("\n\n").next().unwrap_or_default().split('`').skip(1).step_by(2);
        for code in named {
            let known = Code::ALL.iter().any(|known| known.as_str() == code);
            assert!(known, "{} names `{code}`", text(operation, "operationId"));
        }
    }
}

/// What Power Platform takes as a name: it begins with a capital and ends with a letter or a digit.
fn is_title(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= LONGEST_SUMMARY
        && !text.contains('/')
}

#[test]
fn operations_are_named_and_described() {
    let openapi = api();
    let tags: Vec<&str> = openapi.get("tags").expect("tags").items().iter().map(|tag| text(tag, "name")).collect();
    let mut seen = BTreeSet::new();
    for (path, method, operation) in operations(&openapi) {
        let id = text(operation, "operationId");
        assert!(seen.insert(id), "`{id}` stands twice");
        let pascal = id.starts_with(|c: char| c.is_ascii_uppercase()) && id.chars().all(|c| c.is_ascii_alphanumeric());
        assert!(pascal, "`{id}` is not in PascalCase");
        let summary = text(operation, "summary");
        assert!(is_title(summary), "{id}: {summary}");
        let tagged = operation.get("tags").expect("tags").items();
        assert!(matches!(tagged, [tag] if tag.text().is_some_and(|tag| tags.contains(&tag))), "{id} has another tag");
        assert!(text(operation, "description").contains("Scope: "), "{id} does not tell its scope");
        let experimental = tagged.iter().any(|tag| tag.text() == Some("Experimental"));
        assert_eq!(experimental, summary.starts_with("Experimental: "), "{id}");
        let has_body = operation.get("requestBody").is_some();
        let takes_body = match method {
            "post" => !WITHOUT_BODY.contains(&id),
            "put" | "patch" => true,
            _ => false,
        };
        assert_eq!(has_body, takes_body, "{id}: a body belongs to POST, PUT and PATCH");
        assert!(!path.contains(['?', '#', '*']) && !path.ends_with('/'), "{path}");
    }
    // Two templates that differ only in a parameter's name are one for Power Platform.
    let templates: Vec<String> = openapi
        .get("paths")
        .expect("paths")
        .entries()
        .iter()
        .map(|(path, _)| {
            path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
        })
        .collect();
    assert_eq!(templates.iter().collect::<BTreeSet<_>>().len(), templates.len());
}

#[test]
fn descriptions_are_not_cut() {
    let openapi = api();
    walk(&openapi, "", &mut |path, node| {
        if let Some(text) = node.text().filter(|_| path.ends_with("/description")) {
            assert!(text.chars().count() <= LONGEST_DESCRIPTION, "{path} has {} characters", text.chars().count());
        }
    });
}

#[test]
fn makers_see_a_name_and_a_description_everywhere() {
    let openapi = api();
    let named = |place: &str, node: &Node| {
        let (title, description) = (text(node, "x-ms-summary"), text(node, "description"));
        assert!(is_title(title) && title != description, "{place}: {title}");
    };
    for (name, schema) in openapi.at(&["components", "schemas"]).expect("schemas").entries() {
        assert!(schema.get("description").is_some(), "{name} has no description");
        for (property, node) in schema.get("properties").expect("properties").entries() {
            named(&format!("{name}.{property}"), node);
        }
    }
    let shared = openapi.at(&["components", "parameters"]).expect("parameters").entries().iter().map(|(_, node)| node);
    let own =
        operations(&openapi).flat_map(|(_, _, operation)| operation.get("parameters").map_or(&[][..], Node::items));
    for parameter in shared.chain(own).filter(|parameter| parameter.get("$ref").is_none()) {
        let name = text(parameter, "name");
        named(name, parameter);
        // The first would become a field of every flow, the second belongs to Power Platform.
        assert!(!["apikey", "X-API-Key", "connectionId"].contains(&name), "{name}");
    }
}

#[test]
fn schemas_are_flat_and_closed() {
    let openapi = api();
    walk(&openapi, "", &mut |path, node| {
        let parent = path.rsplit('/').nth(1).unwrap_or_default();
        for keyword in ["allOf", "oneOf", "anyOf", "not", "discriminator"] {
            assert!(node.get(keyword).is_none() || parent == "properties", "`{keyword}` at {path}");
        }
    });
    for (name, schema) in openapi.at(&["components", "schemas"]).expect("schemas").entries() {
        assert_eq!(text(schema, "type"), "object", "{name}");
        assert_eq!(schema.get("additionalProperties"), Some(&Node::Bool(false)), "{name}");
        let properties = schema.get("properties").expect("properties");
        let required: Vec<&str> =
            schema.get("required").map_or(&[][..], Node::items).iter().filter_map(Node::text).collect();
        if name.ends_with("Request") {
            for (property, node) in properties.entries() {
                let optional = !required.contains(&property.as_str());
                let nullable = node.get("nullable") == Some(&Node::Bool(true));
                assert_eq!(optional, nullable, "{name}.{property}: null is as good as absent, and only then");
            }
        } else {
            assert_eq!(required, names(properties), "{name}: every property of an answer is always there");
        }
        for (property, node) in properties.entries() {
            let items = node.get("items").unwrap_or(node);
            assert!(items.get("properties").is_none(), "{name}.{property}: an object needs a name");
            assert!(items.get("items").is_none(), "{name}.{property}: no lists of lists");
            if let Some(values) = node.get("enum") {
                let null = values.items().contains(&Node::Null);
                assert_eq!(
                    node.get("nullable").is_some(),
                    null,
                    "{name}.{property}: null among the values of the enum"
                );
                let unique: BTreeSet<String> = values.items().iter().map(Node::to_json).collect();
                assert_eq!(unique.len(), values.items().len(), "{name}.{property}");
            }
        }
    }
}

#[test]
fn an_operation_has_one_success_schema_and_the_shared_error() {
    let openapi = api();
    for (_, _, operation) in operations(&openapi) {
        let id = text(operation, "operationId");
        let (mut successes, mut statuses) = (BTreeSet::new(), Vec::new());
        for (status, response) in operation.get("responses").expect("responses").entries() {
            if status == "default" {
                assert_eq!(text(response, "$ref"), "#/components/responses/Error", "{id}");
                continue;
            }
            let reference = response.at(&["content", "application/json", "schema", "$ref"]).and_then(Node::text);
            // Who asks for JSON gets an empty object instead of nothing.
            if status != "204" {
                successes.insert(reference);
            }
            statuses.push(status.as_str());
        }
        assert_eq!(successes.len(), 1, "{id}");
        let expected: &[&str] = match id {
            "CreateApiKey" | "CreateWebhook" => &["201"],
            "DeleteApiKey" | "DeleteWebhook" => &["200", "204"],
            "ReplayDeliveries" | "ReplayDelivery" => &["202"],
            "GetCallEvents"
            | "GetCommand"
            | "GetStats"
            | "GetStatus"
            | "GetOwnApiKey"
            | "ListApiKeys"
            | "GetAudit"
            | "ListWebhooks"
            | "GetWebhook"
            | "ChangeWebhook"
            | "PauseWebhook"
            | "ResumeWebhook"
            | "PurgeWebhook"
            | "RotateWebhookSecret"
            | "ListDeliveries"
            | "GetEvents"
            | "GetDelivery"
            | "ChangeApiKey"
            | "GetEventSample" => &["200"],
            _ => &["200", "202"],
        };
        assert_eq!(statuses, expected, "{id}");
        assert!(operation.at(&["responses", "default"]).is_some(), "{id} describes no error");
    }
}

#[test]
fn keys_are_offered_in_the_agreed_order() {
    let openapi = api();
    let schemes = names(openapi.at(&["components", "securitySchemes"]).expect("schemes"));
    assert_eq!(schemes, ["ApiKeyQuery", "ApiKeyHeader", "ApiKeyBearer"]);
    let order: Vec<_> = openapi.get("security").expect("security").items().iter().flat_map(names).collect();
    assert_eq!(order, schemes);
    let [_, _, swagger] = derive().expect("the derived files");
    let swagger: Node = serde_json::from_str(&swagger.text).expect("JSON");
    assert_eq!(names(swagger.get("securityDefinitions").expect("definitions")), ["ApiKeyQuery", "ApiKeyHeader"]);
}

#[test]
fn examples_fit_their_schemas() {
    let openapi = api();
    let schemas = Schemas::new(&openapi);
    let mut checked = 0;
    walk(&openapi, "", &mut |path, node| {
        let Some(example) = node.get("example").filter(|_| !path.ends_with("/properties")) else { return };
        let schema = node.get("schema").unwrap_or(node);
        if let Err(problem) = problems(&schemas.validator(&schema.to_value()), &example.to_value()) {
            panic!("the example at {path}: {problem}");
        }
        checked += 1;
    });
    assert!(checked > 200, "only {checked} examples");
}

#[test]
fn references_lead_somewhere() {
    let openapi = api();
    walk(&openapi, "", &mut |path, node| {
        if let Some(reference) = node.get("$ref").and_then(Node::text) {
            let keys: Vec<&str> = reference.strip_prefix("#/").expect("a place in this file").split('/').collect();
            assert!(openapi.at(&keys).is_some(), "{reference} at {path} leads nowhere");
        }
    });
}

/// Power Platform fills drop-downs from another operation; a path in it that does not exist would only show in the designer.
#[test]
fn drop_downs_are_filled_from_operations_that_can() {
    let openapi = api();
    let mut found = 0;
    walk(&openapi, "", &mut |path, node| {
        let Some(source) = node.get("x-ms-dynamic-values") else { return };
        found += 1;
        let id = text(source, "operationId");
        let operation = operations(&openapi).find(|(_, _, operation)| text(operation, "operationId") == id);
        let (_, _, operation) = operation.unwrap_or_else(|| panic!("{path}: there is no {id}"));
        let answer = operation.at(&["responses", "200", "content", "application/json", "schema", "$ref"]);
        let named = |node: &Node| node.text().and_then(|text| text.rsplit('/').next()).unwrap_or_default().to_owned();
        let list = schema(&openapi, &named(answer.expect("an answer")))
            .at(&["properties", text(source, "value-collection")])
            .unwrap_or_else(|| panic!("{path}: no such list"));
        assert_eq!(text(list, "type"), "array", "{path}");
        let item = schema(&openapi, &named(list.at(&["items", "$ref"]).expect("named items")));
        for key in ["value-path", "value-title"] {
            assert!(item.at(&["properties", text(source, key)]).is_some(), "{path}: {key}");
        }
    });
    assert!(found >= 6, "extensions are offered as drop-downs");
}

fn as_sent(value: &impl serde::Serialize) -> Node {
    serde_json::from_str(&serde_json::to_string(value).expect("JSON")).expect("JSON")
}

#[test]
fn events_are_described_as_they_are_sent() {
    let openapi = api();
    let call_id = "1ea84350-ef40-49c4-a3cd-b1d59c821b47".parse().expect("an id");
    let event = CallEvent::example(call_id, Status::Ringing, "2022-09-16T11:57:43.250Z".parse().expect("a time"));
    let web_hook_event = as_sent(&event.web_hook_event);
    let extended = as_sent(&ExtendedEvent::from(&event));
    let (published, beside) = (schema(&openapi, "WebHookEvent"), schema(&openapi, "CallEvent"));
    let (published, beside) =
        (published.get("properties").expect("properties"), beside.get("properties").expect("properties"));
    assert_eq!(names(published), names(&web_hook_event));
    assert_eq!(names(beside), names(&extended));
    assert_eq!(
        published.entries(),
        &beside.entries()[..published.entries().len()],
        "the same words for the same things"
    );
    let at = "2022-09-16T11:57:43.250Z".parse().expect("a time");
    let notice = Notice::new(Kind::AgentOffline, at, "It is gone.".to_owned(), None);
    let notice = as_sent(&notice.body());
    assert_eq!(names(schema(&openapi, "Notice").get("properties").expect("properties")), names(&notice));
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    let described = |path: &[&str]| -> Vec<String> {
        let listed = openapi.at(path).and_then(|node| node.get("enum")).unwrap_or_else(|| panic!("{path:?}"));
        listed.items().iter().filter_map(|item| item.text().map(str::to_owned)).collect()
    };
    for name in ["CreateWebhookRequest", "ChangeWebhookRequest", "Webhook", "WebhookWithSecret"] {
        assert_eq!(described(&["components", "schemas", name, "properties", "kinds", "items"]), kinds, "{name}");
    }
    assert_eq!(described(&["components", "schemas", "Notice", "properties", "type"]), kinds[2..]);
    assert_eq!(described(&["components", "schemas", "Delivery", "properties", "about"])[3..], kinds[1..]);
    let full = as_sent(&CallEvent::full_example(call_id, Status::Disconnected, at).web_hook_event);
    let update = as_sent(&ExtendedEvent::from(&CallEvent::update_example(call_id, at)));
    let changes: Vec<&str> = CallChange::ALL.iter().map(|change| change.as_str()).collect();
    assert_eq!(described(&["components", "schemas", "CallEvent", "properties", "change"])[..changes.len()], changes);
    let schemas = Schemas::new(&openapi);
    let sent = [
        ("WebHookEvent", &web_hook_event),
        ("WebHookEvent", &full),
        ("CallEvent", &extended),
        ("CallEvent", &update),
        ("Notice", &notice),
    ];
    for (name, value) in sent {
        let validator = schemas.validator(&serde_json::json!({"$ref": format!("#/components/schemas/{name}")}));
        problems(&validator, &value.to_value()).unwrap_or_else(|problem| panic!("{name}: {problem}"));
    }
}

/// The list of the answers that GetUser and GetCall repeat flat.
#[test]
fn one_user_and_one_call_have_the_properties_of_the_lists() {
    let openapi = api();
    for (one, listed) in [("GetUserAnswer", "User"), ("GetCallAnswer", "Call")] {
        let properties = |name: &str| names(schema(&openapi, name).get("properties").expect("properties")).join(" ");
        assert_eq!(properties(one), format!("commandId state {}", properties(listed)));
    }
    for (new, known, shown_once) in
        [("CreateApiKeyAnswer", "ApiKey", "key"), ("WebhookWithSecret", "Webhook", "secret")]
    {
        let entries = |name: &str| schema(&openapi, name).get("properties").expect("properties").entries().to_vec();
        let mut without = entries(new);
        without.retain(|(name, _)| name != shown_once);
        assert_eq!(
            entries(known).iter().map(|(name, _)| name).collect::<Vec<_>>(),
            without.iter().map(|(name, _)| name).collect::<Vec<_>>()
        );
    }
    let settings = |name: &str| names(schema(&openapi, name).get("properties").expect("properties"));
    assert_eq!(settings("CreateWebhookRequest"), settings("ChangeWebhookRequest"));
}

/// What Power Platform needs to make a trigger of it: it would import a file without, and offer no trigger.
#[test]
fn a_connector_gets_its_webhook_trigger() {
    let [_, _, swagger] = derive().expect("the derived files");
    let swagger: Value = serde_json::from_str(&swagger.text).expect("JSON");
    let path = &swagger["paths"]["/webhooks"];
    assert_eq!(path["x-ms-notification-content"]["schema"]["$ref"], "#/definitions/WebHookEvent");
    assert_eq!(path["post"]["x-ms-trigger"], "single");
    assert_eq!(path["post"]["responses"]["201"]["headers"]["Location"]["type"], "string");
    assert!(swagger["paths"]["/webhooks/{webhookId}"]["delete"].is_object());
    let marked = |name: &str| {
        let url = &swagger["definitions"][name]["properties"]["url"];
        (url["x-ms-notification-url"] == true, url["x-ms-visibility"] == "internal")
    };
    assert_eq!(marked("CreateWebhookRequest"), (true, true));
    assert_eq!(marked("ChangeWebhookRequest"), (false, false));
    assert_eq!(swagger["definitions"]["CreateWebhookRequest"]["required"], serde_json::json!(["url"]));
}

/// The served files replace it by the address at which they were asked for.
#[test]
fn the_server_stands_where_the_function_replaces_it() {
    const SERVER: &str = "https://easyconnect.example.com";
    let yaml = std::fs::read_to_string(folder().join("api.yaml")).expect("the description");
    let [json, makers, swagger] = derive().expect("the derived files");
    assert!(yaml.contains(&format!("  - url: {SERVER}\n")));
    assert!(json.text.contains(&format!("\"url\": \"{SERVER}\"")));
    assert!(makers.text.contains(&format!("\"url\":\"{SERVER}\"")));
    let host =
        "  \"host\": \"easyconnect.example.com\",\n  \"basePath\": \"/\",\n  \"schemes\": [\n    \"https\"\n  ],\n";
    assert!(swagger.text.contains(host));
}
