//! What each audience is shown: one file for makers of flows, and a designer that hides the rest.

use super::*;

fn ids(openapi: &Node) -> BTreeSet<&str> {
    operations(openapi).map(|(_, _, operation)| text(operation, "operationId")).collect()
}

/// Of the hand-written description, by tag.
fn ids_for<'a>(openapi: &'a Node, audience: &str) -> BTreeSet<&'a str> {
    let found = operations(openapi)
        .filter(|(_, _, operation)| makers::audience(openapi, operation).expect("an audience") == audience);
    found.map(|(_, _, operation)| text(operation, "operationId")).collect()
}

#[test]
fn every_operation_is_for_one_audience() {
    let openapi = api();
    let of_each = makers::AUDIENCES.map(|audience| ids_for(&openapi, audience));
    assert_eq!(of_each.iter().map(BTreeSet::len).sum::<usize>(), ids(&openapi).len());
    let [for_makers, for_administrators, experimental] = of_each;
    for id in ["MakeCall", "GetCommand", "GetUsers", "GetCalls", "CreateWebhook", "DeleteWebhook", "GetEvents"] {
        assert!(for_makers.contains(id), "{id}");
    }
    for id in ["CreateApiKey", "ListApiKeys", "DeleteApiKey", "GetAudit", "GetStatus", "RotateWebhookSecret"] {
        assert!(for_administrators.contains(id), "{id}");
    }
    assert_eq!(experimental, BTreeSet::from(["SendUserInfo", "SendInfo", "RemoteControl", "TransferMedia"]));
}

#[test]
fn makers_get_their_operations_and_what_these_refer_to() {
    let openapi = api();
    let [_, file, _] = derive().expect("the derived files");
    assert!(file.path.ends_with("makers.json"));
    assert!(file.text.len() < makers::LARGEST, "{} bytes", file.text.len());
    let made: Node = serde_json::from_str(&file.text).expect("JSON");
    assert_eq!(made.get("openapi"), openapi.get("openapi"));
    assert_eq!(ids(&made), ids_for(&openapi, makers::MAKERS));

    let (mut referred, mut there) = (BTreeSet::new(), BTreeSet::new());
    walk(&made, "", &mut |path, node| {
        if let Some(reference) = node.get("$ref").and_then(Node::text) {
            referred.insert(reference.to_owned());
        }
        assert!(!path.contains("/x-"), "{path} is for other tools");
    });
    for (kind, components) in made.get("components").expect("components").entries() {
        if kind != "securitySchemes" {
            there.extend(names(components).iter().map(|name| format!("#/components/{kind}/{name}")));
        }
    }
    assert_eq!(referred, there, "what is referred to, and only that");
}

/// The shorter file says less than the whole one, and nothing else.
#[test]
fn makers_are_told_nothing_that_is_not_so() {
    let openapi = api();
    let [_, file, _] = derive().expect("the derived files");
    let made: Node = serde_json::from_str(&file.text).expect("JSON");
    for (name, shorter) in made.at(&["components", "schemas"]).expect("schemas").entries() {
        let whole = schema(&openapi, name);
        let (properties, all) = (shorter.get("properties").expect("properties"), whole.get("properties"));
        let for_others = |property: &Node| property.get("x-audience").is_some();
        let all = all.expect("properties").entries().iter().filter(|(_, property)| !for_others(property));
        assert_eq!(names(properties), all.map(|(name, _)| name.as_str()).collect::<Vec<_>>(), "{name}");
        for (property, node) in properties.entries() {
            let whole = whole.at(&["properties", property]).expect("the same property");
            assert_eq!(node.get("type"), whole.get("type"), "{name}.{property}");
            let is_request = name.ends_with("Request");
            assert_eq!(node.get("description").is_some(), is_request || name == "WebhookHeader", "{name}.{property}");
        }
    }
    for (path, method, operation) in operations(&made) {
        let whole = openapi.at(&["paths", path, method]).expect("the same operation");
        for key in ["operationId", "summary", "tags"] {
            assert_eq!(operation.get(key), whole.get(key), "{path}");
        }
        let statuses = |node: &Node| names(node.get("responses").expect("responses")).join(" ");
        assert_eq!(statuses(operation), statuses(whole), "{path}");
        // A form needs the body's example, and a whole sentence.
        assert_eq!(
            operation.at(&["requestBody", "content", "application/json", "example"]),
            whole.at(&["requestBody", "content", "application/json", "example"]),
            "{path}"
        );
        assert!(text(operation, "description").ends_with('.'), "{path}: {}", text(operation, "description"));
    }
}

#[test]
fn the_designer_of_power_platform_hides_the_rest() {
    let openapi = api();
    let [_, _, swagger] = derive().expect("the derived files");
    let swagger: Node = serde_json::from_str(&swagger.text).expect("JSON");
    // Beside the operations a path has the notification of its trigger.
    let operations = swagger.get("paths").expect("paths").entries().iter().flat_map(|(_, item)| item.entries());
    let operations = operations.map(|(_, operation)| operation).filter(|node| node.get("operationId").is_some());
    let shown = operations.filter(|node| node.get("x-ms-visibility").and_then(Node::text) != Some("internal"));
    let shown: BTreeSet<&str> = shown.map(|operation| text(operation, "operationId")).collect();
    assert_eq!(shown, ids_for(&openapi, makers::MAKERS));
}
