//! From OpenAPI 3.0 to Swagger 2.0 as Power Platform connectors take it.
//!
//! What the older format cannot say is an error, never left out silently. What a connector must not see, by the rules of
//! <https://learn.microsoft.com/connectors/custom-connectors/certification-swagger-validator-rules>, goes: the bearer form of
//! the key (a connector knows keys in a query or a header), null among the values of an enum (they have one type) and as an example,
//! and all schemas of an operation's answers but one, which is what the designer shows. Callbacks become the notification of a
//! webhook trigger. Operations that are not for makers of flows stay usable, but the designer hides them.

use anyhow::{Context, bail, ensure};

use super::document::Node;
use super::makers;

#[cfg(test)]
mod tests;

const JSON: &str = "application/json";
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

/// Keywords of a schema that mean the same in both.
const SHARED: [&str; 21] = [
    "type",
    "format",
    "title",
    "description",
    "default",
    "example",
    "required",
    "readOnly",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];

pub(super) fn from_openapi(openapi: &Node) -> anyhow::Result<Node> {
    let converter = Converter { openapi };
    let mut notified = Vec::new();
    let mut paths = Vec::new();
    for (path, item) in part(openapi, "paths")?.entries() {
        paths.push((path.clone(), converter.path_item(item, &mut notified).with_context(|| format!("at {path}"))?));
    }
    let mut definitions = Vec::new();
    for (name, schema) in openapi.at(&["components", "schemas"]).map_or(&[][..], Node::entries) {
        definitions.push((name.clone(), schema_of(schema).with_context(|| format!("in schema {name}"))?));
    }
    let mut definitions = Node::Object(definitions);
    for property in &notified {
        property.mark(&mut definitions)?;
    }
    let paths = Node::Object(paths);
    let definitions = only_used(&definitions, &paths);

    let url = openapi.get("servers").and_then(|servers| servers.items().first()?.get("url")?.text());
    let (scheme, rest) = url.and_then(|url| url.split_once("://")).context("the first server needs an absolute URL")?;
    let (host, base) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let (schemes, security) = converter.security()?;
    Ok(Node::object([
        ("swagger", Node::from("2.0")),
        ("info", info(part(openapi, "info")?)),
        ("host", Node::from(host)),
        ("basePath", Node::from(base)),
        ("schemes", Node::texts([scheme])),
        ("consumes", Node::texts([JSON])),
        ("produces", Node::texts([JSON])),
        ("securityDefinitions", schemes),
        ("security", security),
        ("tags", openapi.get("tags").cloned().unwrap_or(Node::List(Vec::new()))),
        ("paths", paths),
        ("definitions", definitions),
    ]))
}

/// A connector's description is one short text, so it gets the first paragraph.
fn info(info: &Node) -> Node {
    let mut info = info.clone();
    if let Some(text) = info.get("description").and_then(Node::text) {
        info.set("description", Node::Text(makers::first_paragraph(text)));
    }
    info
}

/// The definitions that the paths refer to, directly or by way of others.
fn only_used(definitions: &Node, paths: &Node) -> Node {
    let mut used = Vec::new();
    let mut open = vec![paths];
    while let Some(node) = open.pop() {
        open.extend(node.items());
        open.extend(node.entries().iter().map(|(_, value)| value));
        let reference = node.get("$ref").and_then(Node::text).and_then(|text| text.strip_prefix("#/definitions/"));
        if let Some(name) = reference.filter(|name| !used.contains(name)) {
            used.push(name);
            open.extend(definitions.get(name));
        }
    }
    let used = definitions.entries().iter().filter(|(name, _)| used.contains(&name.as_str()));
    Node::Object(used.cloned().collect())
}

/// A property of a request body into which a connector puts the URL to be notified at.
#[derive(Debug)]
struct NotificationUrl {
    schema: String,
    property: String,
}

impl NotificationUrl {
    /// The connector fills the property by itself, so makers must not see it.
    fn mark(&self, definitions: &mut Node) -> anyhow::Result<()> {
        let Self { schema, property } = self;
        let found = definitions
            .get_mut(schema)
            .and_then(|schema| schema.get_mut("properties"))
            .and_then(|properties| properties.get_mut(property))
            .with_context(|| format!("a callback names property {property} of {schema}, which does not exist"))?;
        found.set("x-ms-notification-url", Node::Bool(true));
        found.set("x-ms-visibility", Node::from("internal"));
        Ok(())
    }
}

struct Converter<'a> {
    openapi: &'a Node,
}

impl<'a> Converter<'a> {
    /// What a reference leads to, or the node itself.
    fn resolve(&self, node: &'a Node) -> anyhow::Result<&'a Node> {
        let Some(reference) = node.get("$ref").and_then(Node::text) else { return Ok(node) };
        let path: Vec<&str> = reference.strip_prefix("#/").unwrap_or_default().split('/').collect();
        self.openapi.at(&path).with_context(|| format!("{reference} leads nowhere"))
    }

    fn security(&self) -> anyhow::Result<(Node, Node)> {
        let mut schemes = Vec::new();
        for (name, scheme) in self.openapi.at(&["components", "securitySchemes"]).map_or(&[][..], Node::entries) {
            match scheme.get("type").and_then(Node::text) {
                Some("apiKey") => schemes.push((name.clone(), scheme.clone())),
                Some("http") => {} // The same key in a form that connectors do not know.
                other => bail!("security scheme {name} has type {other:?}"),
            }
        }
        let known = |name: &str| schemes.iter().any(|(scheme, _)| scheme == name);
        let wanted = self.openapi.get("security").map_or(&[][..], Node::items).iter();
        let security = wanted.filter(|one| one.entries().iter().all(|(name, _)| known(name))).cloned().collect();
        Ok((Node::Object(schemes), Node::List(security)))
    }

    fn path_item(&self, item: &'a Node, notified: &mut Vec<NotificationUrl>) -> anyhow::Result<Node> {
        let mut converted = Vec::new();
        let mut notification = None;
        for (key, value) in item.entries() {
            if METHODS.contains(&key.as_str()) {
                let operation = self.operation(value, notified, &mut notification);
                converted.push((key.clone(), operation.with_context(|| format!("in {key}"))?));
            } else if is_extension(key) {
                converted.push((key.clone(), value.clone()));
            } else {
                bail!("`{key}` is not handled");
            }
        }
        converted.extend(notification.map(|content| ("x-ms-notification-content".to_owned(), content)));
        Ok(Node::Object(converted))
    }

    fn operation(
        &self,
        operation: &'a Node,
        notified: &mut Vec<NotificationUrl>,
        notification: &mut Option<Node>,
    ) -> anyhow::Result<Node> {
        let mut converted = Vec::new();
        let mut parameters = Vec::new();
        let mut responses = Vec::new();
        for (key, value) in operation.entries() {
            match key.as_str() {
                "operationId" | "summary" | "description" | "tags" | "deprecated" => {
                    converted.push((key.clone(), value.clone()));
                }
                "parameters" => {
                    for parameter in value.items() {
                        parameters.push(self.parameter(parameter)?);
                    }
                }
                "requestBody" => {
                    converted.push(("consumes".to_owned(), Node::texts([JSON])));
                    parameters.push(self.body(value)?);
                }
                "responses" => {
                    let mut shown = false;
                    for (status, response) in value.entries() {
                        let response = self.response(response, shown || status == "default");
                        let response = response.with_context(|| format!("in response {status}"))?;
                        shown |= response.get("schema").is_some();
                        responses.push((status.clone(), response));
                    }
                }
                "callbacks" => {
                    let body = operation.get("requestBody").context("a callback without a request body")?;
                    let (content, url) = self.callback(value, body)?;
                    *notification = Some(content);
                    notified.push(url);
                }
                key if is_extension(key) => converted.push((key.to_owned(), value.clone())),
                other => bail!("`{other}` is not handled"),
            }
        }
        if !parameters.is_empty() {
            converted.push(("parameters".to_owned(), Node::List(parameters)));
        }
        converted.push(("responses".to_owned(), Node::Object(responses)));
        let mut converted = Node::Object(converted);
        if makers::audience(self.openapi, operation)? != makers::MAKERS {
            converted.set("x-ms-visibility", Node::from("internal"));
        }
        Ok(converted)
    }

    /// The schema moves up into the parameter.
    fn parameter(&self, parameter: &'a Node) -> anyhow::Result<Node> {
        let parameter = self.resolve(parameter)?;
        let mut converted = Vec::new();
        for (key, value) in parameter.entries() {
            match key.as_str() {
                "name" | "in" | "required" | "description" => converted.push((key.clone(), value.clone())),
                "schema" => converted.extend(plain(value)?),
                "example" => converted.push(("x-example".to_owned(), value.clone())),
                key if is_extension(key) => converted.extend(extension(key, value)),
                other => bail!("`{other}` of a parameter is not handled"),
            }
        }
        if parameter.get("in").and_then(Node::text) == Some("path") {
            converted.push(("x-ms-url-encoding".to_owned(), Node::from("single")));
        }
        Ok(Node::Object(converted))
    }

    fn body(&self, body: &'a Node) -> anyhow::Result<Node> {
        let body = self.resolve(body)?;
        let media = json_media(body)?.context("a request body without content")?;
        let mut converted = vec![("name".to_owned(), Node::from("body")), ("in".to_owned(), Node::from("body"))];
        for (key, value) in body.entries() {
            match key.as_str() {
                "required" | "description" => converted.push((key.clone(), value.clone())),
                "content" => {}
                key if is_extension(key) => converted.push((key.to_owned(), value.clone())),
                other => bail!("`{other}` of a request body is not handled"),
            }
        }
        let schema = part(media, "schema")?;
        if body.get("description").is_none() {
            // A body is a parameter there, and every parameter needs words.
            let description =
                self.resolve(schema)?.get("description").and_then(Node::text).map(makers::first_paragraph);
            converted.extend(description.map(|text| ("description".to_owned(), Node::Text(text))));
        }
        converted.push(("schema".to_owned(), schema_of(schema)?));
        converted.extend(media.get("example").map(|example| ("x-example".to_owned(), example.clone())));
        Ok(Node::Object(converted))
    }

    fn response(&self, response: &'a Node, without_schema: bool) -> anyhow::Result<Node> {
        let response = self.resolve(response)?;
        let mut converted = Vec::new();
        for (key, value) in response.entries() {
            match key.as_str() {
                "description" => converted.push((key.clone(), value.clone())),
                "headers" => {
                    let mut headers = Vec::new();
                    for (name, header) in value.entries() {
                        headers.push((name.clone(), self.header(header)?));
                    }
                    converted.push((key.clone(), Node::Object(headers)));
                }
                "content" => {}
                key if is_extension(key) => converted.push((key.to_owned(), value.clone())),
                other => bail!("`{other}` of a response is not handled"),
            }
        }
        if let Some(media) = json_media(response)?.filter(|_| !without_schema) {
            converted.push(("schema".to_owned(), schema_of(part(media, "schema")?)?));
            let example = media.get("example").map(|example| Node::object([(JSON, example.clone())]));
            converted.extend(example.map(|examples| ("examples".to_owned(), examples)));
        }
        Ok(Node::Object(converted))
    }

    fn header(&self, header: &'a Node) -> anyhow::Result<Node> {
        let header = self.resolve(header)?;
        let mut converted = Vec::new();
        for (key, value) in header.entries() {
            match key.as_str() {
                "description" => converted.push((key.clone(), value.clone())),
                "schema" => converted.extend(plain(value)?),
                "example" => converted.push(("x-example".to_owned(), value.clone())),
                "required" => {} // Headers of an answer are never required there.
                other => bail!("`{other}` of a header is not handled"),
            }
        }
        Ok(Node::Object(converted))
    }

    /// One callback to the URL in a property of the body: `{$request.body#/property}`.
    fn callback(&self, callbacks: &'a Node, body: &'a Node) -> anyhow::Result<(Node, NotificationUrl)> {
        let [(_, callback)] = callbacks.entries() else { bail!("a webhook trigger has exactly one callback") };
        let [(expression, item)] = callback.entries() else { bail!("a callback goes to exactly one URL") };
        let property = expression
            .strip_prefix("{$request.body#/")
            .and_then(|rest| rest.strip_suffix('}'))
            .with_context(|| format!("the callback's URL {expression} does not come from the body"))?;
        let sent = item.at(&["post", "requestBody"]).context("a callback that posts nothing")?;
        let schema =
            schema_of(part(json_media(self.resolve(sent)?)?.context("a callback without content")?, "schema")?)?;
        let taken = json_media(self.resolve(body)?)?.and_then(|media| media.at(&["schema", "$ref"])?.text());
        let name = taken.and_then(|reference| reference.strip_prefix("#/components/schemas/"));
        let url = NotificationUrl {
            schema: name.context("the body of a webhook trigger needs a named schema")?.to_owned(),
            property: property.to_owned(),
        };
        Ok((Node::object([("schema", schema)]), url))
    }
}

/// A schema without structure, as parameters and headers have it.
fn plain(schema: &Node) -> anyhow::Result<Vec<(String, Node)>> {
    let kind = schema.get("type").and_then(Node::text).unwrap_or("none");
    ensure!(!matches!(kind, "none" | "object" | "array"), "a parameter or header of type {kind} is not handled");
    match schema_of(schema)? {
        Node::Object(entries) => Ok(entries),
        _ => Ok(Vec::new()),
    }
}

fn schema_of(schema: &Node) -> anyhow::Result<Node> {
    if let Some(reference) = schema.get("$ref").and_then(Node::text) {
        ensure!(schema.entries().len() == 1, "what stands beside {reference} would be ignored");
        let name =
            reference.strip_prefix("#/components/schemas/").with_context(|| format!("{reference} is no schema"))?;
        return Ok(Node::object([("$ref", Node::Text(format!("#/definitions/{name}")))]));
    }
    let mut converted = Vec::new();
    for (key, value) in schema.entries() {
        match key.as_str() {
            "nullable" => converted.push(("x-nullable".to_owned(), value.clone())),
            "enum" => {
                let values = value.items().iter().filter(|value| **value != Node::Null).cloned().collect();
                converted.push((key.clone(), Node::List(values)));
            }
            // There is no null there, and it would not be among the values of an enum.
            "example" if *value == Node::Null => {}
            "properties" => {
                let mut properties = Vec::new();
                let required = schema.get("required").map_or(&[][..], Node::items);
                for (name, property) in value.entries() {
                    let mut converted = schema_of(property).with_context(|| format!("in property {name}"))?;
                    // Examples of whole answers have a null there, which an enum without it refuses.
                    let is_null_as_a_rule = property.get("example") == Some(&Node::Null);
                    if let Node::Object(entries) = &mut converted
                        && is_null_as_a_rule
                        && required.iter().any(|required| required.text() == Some(name))
                    {
                        entries.retain(|(key, _)| key != "enum");
                    }
                    properties.push((name.clone(), converted));
                }
                converted.push((key.clone(), Node::Object(properties)));
            }
            "items" => converted.push((key.clone(), schema_of(value)?)),
            "additionalProperties" => {
                let value = if matches!(value, Node::Bool(_)) { value.clone() } else { schema_of(value)? };
                converted.push((key.clone(), value));
            }
            key if SHARED.contains(&key) => converted.push((key.to_owned(), value.clone())),
            key if is_extension(key) => converted.extend(extension(key, value)),
            other => bail!("`{other}` has no place in Swagger 2.0"),
        }
    }
    Ok(Node::Object(converted))
}

/// The only media type of a body, JSON, if there is a body.
fn json_media(owner: &Node) -> anyhow::Result<Option<&Node>> {
    match owner.get("content").map_or(&[][..], Node::entries) {
        [] => Ok(None),
        [(name, media)] if name == JSON => Ok(Some(media)),
        _ => bail!("only {JSON} is handled"),
    }
}

fn part<'a>(node: &'a Node, key: &str) -> anyhow::Result<&'a Node> {
    node.get(key).with_context(|| format!("`{key}` is missing"))
}

fn is_extension(key: &str) -> bool {
    key.starts_with("x-")
}

/// An extension as it is. The values of a drop-down are described a second time in the newer form, as connectors should.
fn extension(key: &str, value: &Node) -> Vec<(String, Node)> {
    let mut entries = vec![(key.to_owned(), value.clone())];
    if key == "x-ms-dynamic-values" {
        let mut list = Vec::new();
        for (key, value) in value.entries() {
            let key = match key.as_str() {
                "value-collection" => "itemsPath",
                "value-path" => "itemValuePath",
                "value-title" => "itemTitlePath",
                other => other,
            };
            let literal = |(name, value): &(String, Node)| (name.clone(), Node::object([("value", value.clone())]));
            let value = match key {
                "parameters" => Node::Object(value.entries().iter().map(literal).collect()),
                _ => value.clone(),
            };
            list.push((key.to_owned(), value));
        }
        entries.push(("x-ms-dynamic-list".to_owned(), Node::Object(list)));
    }
    entries
}
