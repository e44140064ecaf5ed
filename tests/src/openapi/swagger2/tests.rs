//! What the conversion makes of small descriptions.

use serde_json::Value;

use super::*;

fn openapi(paths: &str, schemas: &str) -> Node {
    let indent =
        |text: &str, by: usize| text.lines().map(|line| format!("{}{line}\n", " ".repeat(by))).collect::<String>();
    let text = format!(
        "openapi: 3.0.3\ninfo: {{title: t, version: '1'}}\nservers: [{{url: 'https://a.test/base'}}]\n\
         tags: [{{name: T, x-audience: makers}}, {{name: A, x-audience: administrators}}]\npaths:\n{}\
         components:\n  schemas:\n{}",
        indent(paths, 2),
        indent(schemas, 4)
    );
    Node::from_yaml(&text).expect("YAML")
}

#[test]
fn a_webhook_becomes_a_trigger() {
    let paths = r"
/webhooks:
  post:
    operationId: CreateWebhook
    tags: [T]
    x-ms-trigger: single
    requestBody:
      required: true
      content: {application/json: {schema: {$ref: '#/components/schemas/CreateWebhookRequest'}}}
    responses:
      '201':
        description: Made.
        headers: {Location: {required: true, schema: {type: string, format: uri}}}
    callbacks:
      event:
        '{$request.body#/url}':
          post:
            requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/Event'}}}}
            responses: {'204': {description: Taken.}}
";
    let schemas = r"
CreateWebhookRequest: {type: object, properties: {url: {type: string, x-ms-visibility: important}}}
Event: {type: object, properties: {status: {type: string, nullable: true, enum: [ringing, null], example: null}}}
";
    let swagger = from_openapi(&openapi(paths, schemas)).expect("it fits").to_value();
    assert_eq!((&swagger["host"], &swagger["basePath"]), (&"a.test".into(), &"/base".into()));
    let path = &swagger["paths"]["/webhooks"];
    assert_eq!(path["x-ms-notification-content"]["schema"]["$ref"], "#/definitions/Event");
    assert_eq!(path["post"]["x-ms-trigger"], "single");
    assert!(path["post"].get("callbacks").is_none());
    let location = serde_json::json!({"type": "string", "format": "uri"});
    assert_eq!(path["post"]["responses"]["201"]["headers"]["Location"], location);
    let url = serde_json::json!({"type": "string", "x-ms-visibility": "internal", "x-ms-notification-url": true});
    assert_eq!(swagger["definitions"]["CreateWebhookRequest"]["properties"]["url"], url);
    let status = serde_json::json!({"type": "string", "x-nullable": true, "enum": ["ringing"]});
    assert_eq!(swagger["definitions"]["Event"]["properties"]["status"], status);
}

#[test]
fn the_designer_sees_one_schema_and_nothing_superfluous() {
    let answer = |name: &str| {
        format!(
            "{{description: d, content: {{application/json: {{schema: {{$ref: '#/components/schemas/{name}'}}}}}}}}"
        )
    };
    let paths = format!(
        "/users/{{id}}:\n  get:\n    tags: [T]\n    parameters: [{{name: id, in: path, required: true, schema: {{type: string}}, \
         x-ms-dynamic-values: {{operationId: L, parameters: {{limit: 200}}, value-collection: c, value-path: p, \
         value-title: t}}}}]\n    responses: {{'200': {}, '202': {}, default: {}}}",
        answer("A"),
        answer("A"),
        answer("E")
    );
    let schemas =
        "A: {type: object, properties: {b: {$ref: '#/components/schemas/B'}}}\nB: {type: object}\nE: {type: object}";
    let swagger = from_openapi(&openapi(&paths, schemas)).expect("it fits").to_value();
    let operation = &swagger["paths"]["/users/{id}"]["get"];
    let with_schema = operation["responses"].as_object().expect("responses").iter();
    let with_schema: Vec<&str> =
        with_schema.filter(|(_, answer)| answer.get("schema").is_some()).map(|(status, _)| status.as_str()).collect();
    assert_eq!(with_schema, ["200"]);
    let definitions: Vec<&String> = swagger["definitions"].as_object().expect("definitions").keys().collect();
    assert_eq!(definitions, ["A", "B"]);
    let parameter = &operation["parameters"][0];
    assert_eq!(parameter["x-ms-url-encoding"], "single");
    let list = serde_json::json!({"operationId": "L", "parameters": {"limit": {"value": 200}}, "itemsPath": "c",
        "itemValuePath": "p", "itemTitlePath": "t"});
    assert_eq!(parameter["x-ms-dynamic-list"], list);
}

#[test]
fn the_designer_hides_what_is_not_for_makers() {
    let operation = |tag: &str| format!("{{operationId: X, tags: [{tag}], responses: {{'204': {{description: d}}}}}}");
    let hidden = |tag: &str| {
        let swagger = from_openapi(&openapi(&format!("/x: {{get: {}}}", operation(tag)), "A: {type: object}"));
        swagger.map(|swagger| swagger.to_value()["paths"]["/x"]["get"]["x-ms-visibility"].clone())
    };
    assert_eq!(hidden("T").expect("it fits"), Value::Null);
    assert_eq!(hidden("A").expect("it fits"), "internal");
    let error = hidden("U").expect_err("nobody knows who it is for");
    assert!(format!("{error:#}").contains("the tag of X does not say who it is for"), "{error:#}");
}

#[test]
fn what_does_not_fit_is_an_error() {
    let check = |schema: &str, expected: &str| {
        let error = from_openapi(&openapi("/x: {}", &format!("A: {schema}"))).expect_err("it does not fit");
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    };
    check("{oneOf: [{type: string}]}", "in schema A: `oneOf` has no place in Swagger 2.0");
    check("{type: object, properties: {b: {not: {}}}}", "in property b: `not` has no place");
    check("{$ref: '#/components/schemas/B', nullable: true}", "would be ignored");
}
