//! The part of the description that makers of flows need: the operations for them, and what these refer to.
//!
//! Some tools take little, and a language model reads all of it with every question, so the file stays below [`LARGEST`]. What a
//! maker fills in is described as in the whole file. What comes back has its names, types and values only; `api.json` has the rest.

use anyhow::{Context, bail, ensure};

use super::document::Node;

pub(super) const AUDIENCES: [&str; 3] = [MAKERS, "administrators", "experimental"];
pub(super) const MAKERS: &str = "makers";
/// 40 kB. A test holds the file to it.
#[cfg(test)]
pub(super) const LARGEST: usize = 40_000;

/// What is left out of every schema: the API checks it anyway, and its refusal names the field. Examples are those of whole bodies.
const LEFT_OUT: [&str; 5] = ["additionalProperties", "example", "maxLength", "minLength", "pattern"];
/// What is left out of an answer beside that: all but names, types and values.
const LEFT_OUT_OF_ANSWERS: [&str; 5] = ["description", "format", "maximum", "minimum", "required"];
/// What is left out of a request beside that: an optional field may be null, but it can as well be absent.
const LEFT_OUT_OF_REQUESTS: [&str; 1] = ["nullable"];

/// Who an operation is for, by its tag.
pub(super) fn audience<'a>(openapi: &'a Node, operation: &Node) -> anyhow::Result<&'a str> {
    let id = operation.get("operationId").and_then(Node::text).unwrap_or_default();
    let [tag] = operation.get("tags").map_or(&[][..], Node::items) else { bail!("{id} needs exactly one tag") };
    let tags = openapi.get("tags").map_or(&[][..], Node::items);
    let known = tags.iter().find(|known| known.get("name") == Some(tag));
    let audience = known.and_then(|tag| tag.get("x-audience")?.text());
    let audience = audience.with_context(|| format!("the tag of {id} does not say who it is for"))?;
    ensure!(AUDIENCES.contains(&audience), "the tag of {id} is for {audience}, which is nobody known");
    Ok(audience)
}

pub(super) fn from_openapi(openapi: &Node) -> anyhow::Result<Node> {
    let mut paths = Vec::new();
    for (path, item) in openapi.get("paths").context("`paths` is missing")?.entries() {
        let mut operations = Vec::new();
        for (method, operation) in item.entries() {
            if audience(openapi, operation)? == MAKERS {
                operations.push((method.clone(), shortened_operation(openapi, operation)));
            }
        }
        if !operations.is_empty() {
            paths.push((path.clone(), Node::Object(operations)));
        }
    }
    let paths = Node::Object(paths);
    let tags = openapi.get("tags").map_or(&[][..], Node::items).iter();
    let tags = tags.filter(|tag| tag.get("x-audience").and_then(Node::text) == Some(MAKERS));
    let mut made = [
        ("info", info(openapi)?),
        ("tags", Node::List(tags.map(|tag| without_extensions(&first_sentences(tag))).collect())),
        ("components", components(openapi, &paths)?),
        ("paths", paths),
    ];
    // In the order of the whole file.
    let kept = openapi.entries().iter().map(|(key, value)| {
        let made = made.iter_mut().find(|(name, _)| name == key);
        (key.clone(), made.map_or_else(|| value.clone(), |(_, value)| std::mem::replace(value, Node::Null)))
    });
    Ok(Node::Object(kept.collect()))
}

fn info(openapi: &Node) -> anyhow::Result<Node> {
    let mut info = first_sentences(openapi.get("info").context("`info` is missing")?);
    let server = openapi.get("servers").and_then(|servers| servers.items().first()?.get("url")?.text());
    let whole = format!("{}/swagger/api.json", server.context("a server is missing")?);
    let text = info.get("description").and_then(Node::text).unwrap_or_default();
    let text = format!("{text} This file has what flows need. The whole description is {whole}.");
    info.set("description", Node::Text(text));
    Ok(info)
}

/// Parameters that a designer does not show are left out, and so is the schema of a 202 beside that of a 200: it is the same.
fn shortened_operation(openapi: &Node, operation: &Node) -> Node {
    let shown = |node: &&Node| resolve(openapi, node).get("x-ms-visibility").and_then(Node::text) != Some("internal");
    let parameters = operation.get("parameters").map_or(&[][..], Node::items).iter().filter(shown);
    let parameters: Vec<Node> =
        parameters.map(|parameter| without(&without_extensions(&first_sentences(parameter)), &[])).collect();
    let mut operation = without_extensions(&first_sentences(operation));
    if operation.get("parameters").is_some() {
        operation.set("parameters", Node::List(parameters));
    }
    if let Some(Node::Object(responses)) = operation.get_mut("responses")
        && responses.iter().any(|(status, _)| status == "200")
        && let Some((_, Node::Object(accepted))) = responses.iter_mut().find(|(status, _)| status == "202")
    {
        accepted.retain(|(key, _)| key != "content");
    }
    operation
}

/// Everything that the paths refer to, directly or by way of others, in the order of the whole file.
fn components(openapi: &Node, paths: &Node) -> anyhow::Result<Node> {
    let asked = bodies(paths);
    let asked = references(openapi, &asked)?;
    let used = references(openapi, &[paths])?;
    let mut components = Vec::new();
    for (kind, all) in openapi.get("components").context("`components` is missing")?.entries() {
        let mut kept = Vec::new();
        for (name, component) in all.entries() {
            let reference = format!("#/components/{kind}/{name}");
            let component = without_extensions(&for_makers(component));
            if kind == "securitySchemes" {
                kept.push((name.clone(), component));
            } else if asked.contains(&reference) {
                kept.push((name.clone(), without(&first_sentences(&component), &LEFT_OUT_OF_REQUESTS)));
            } else if used.contains(&reference) {
                let left_out = if kind == "schemas" { &LEFT_OUT_OF_ANSWERS[..] } else { &[] };
                kept.push((name.clone(), without(&first_sentences(&component), left_out)));
            }
        }
        if !kept.is_empty() {
            components.push((kind.clone(), Node::Object(kept)));
        }
    }
    Ok(Node::Object(components))
}

/// What is sent to the API, not what callbacks send.
fn bodies(paths: &Node) -> Vec<&Node> {
    let items = paths.entries().iter().flat_map(|(_, item)| item.entries());
    items.filter_map(|(_, operation)| operation.get("requestBody")).collect()
}

/// All references in some nodes and in what they lead to.
fn references(openapi: &Node, nodes: &[&Node]) -> anyhow::Result<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    let mut open = nodes.to_vec();
    while let Some(node) = open.pop() {
        open.extend(node.items());
        open.extend(node.entries().iter().map(|(_, value)| value));
        let reference = node.get("$ref").and_then(Node::text);
        if let Some(reference) = reference.filter(|reference| !found.iter().any(|known| known == reference)) {
            let target = resolve(openapi, node);
            ensure!(target != node, "{reference} leads nowhere");
            found.push(reference.to_owned());
            open.push(target);
        }
    }
    Ok(found)
}

/// What a reference leads to, or the node itself.
fn resolve<'a>(openapi: &'a Node, node: &'a Node) -> &'a Node {
    let path = node.get("$ref").and_then(Node::text).and_then(|reference| reference.strip_prefix("#/"));
    let path = path.map(|path| path.split('/').collect::<Vec<_>>());
    path.and_then(|path| openapi.at(&path)).unwrap_or(node)
}

/// Without the properties of a schema that are for somebody else. The API takes them, and its answers may have more than is described.
fn for_makers(node: &Node) -> Node {
    match node {
        Node::Object(entries) => {
            let is_for_others = |property: &Node| {
                property.get("x-audience").and_then(Node::text).is_some_and(|audience| audience != MAKERS)
            };
            let kept = entries.iter().filter(|(_, value)| !is_for_others(value));
            Node::Object(kept.map(|(key, value)| (key.clone(), for_makers(value))).collect())
        }
        Node::List(items) => Node::List(items.iter().map(for_makers).collect()),
        other => other.clone(),
    }
}

/// Without what is Power Platform's and this repository's own.
fn without_extensions(node: &Node) -> Node {
    match node {
        Node::Object(entries) => {
            let kept = entries.iter().filter(|(key, _)| !key.starts_with("x-"));
            Node::Object(kept.map(|(key, value)| (key.clone(), without_extensions(value))).collect())
        }
        Node::List(items) => Node::List(items.iter().map(without_extensions).collect()),
        other => other.clone(),
    }
}

/// A schema without these keywords and those of [`LEFT_OUT`], at every depth. A property may have the name of a keyword.
fn without(schema: &Node, keywords: &[&str]) -> Node {
    let Node::Object(entries) = schema else { return schema.clone() };
    let mut kept = Vec::new();
    for (key, value) in entries {
        let left_out = keywords.iter().chain(&LEFT_OUT).any(|keyword| keyword == key);
        let width = key == "format" && value.text().is_some_and(|format| format.starts_with("int"));
        if !left_out && !width {
            let value = match key.as_str() {
                "properties" => {
                    let properties = value.entries().iter();
                    let shorter = properties.map(|(name, property)| (name.clone(), without(property, keywords)));
                    Node::Object(shorter.collect())
                }
                "items" | "schema" => without(value, keywords),
                "enum" if keywords.contains(&"nullable") => {
                    Node::List(value.items().iter().filter(|value| **value != Node::Null).cloned().collect())
                }
                _ => value.clone(),
            };
            kept.push((key.clone(), value));
        }
    }
    Node::Object(kept)
}

/// Every description in it, cut behind its first sentence. A property may be called `description`, but is no text.
fn first_sentences(node: &Node) -> Node {
    match node {
        Node::Object(entries) => {
            let shorter = entries.iter().map(|(key, value)| match value {
                Node::Text(text) if key == "description" => (key.clone(), Node::Text(first_sentence(text))),
                other => (key.clone(), first_sentences(other)),
            });
            Node::Object(shorter.collect())
        }
        Node::List(items) => Node::List(items.iter().map(first_sentences).collect()),
        other => other.clone(),
    }
}

/// It ends where a full stop is followed by the beginning of another one.
fn first_sentence(text: &str) -> String {
    let paragraph = first_paragraph(text);
    let begins = |rest: &str| rest.starts_with(|c: char| c.is_ascii_uppercase() || c == '`');
    let end = paragraph.match_indices(". ").find(|(at, stop)| begins(&paragraph[at + stop.len()..]));
    end.map_or(paragraph.as_str(), |(at, _)| &paragraph[..=at]).to_owned()
}

/// On one line, as its line breaks are those of the source.
pub(super) fn first_paragraph(text: &str) -> String {
    text.split("\n\n").next().unwrap_or_default().trim().replace('\n', " ")
}
