//! Projections: the parts of an item that are asked for.

use super::path::{Path, Relation, Step};
use super::placeholders::Placeholders;
use super::tokens::Tokens;
use crate::error::Answer;
use crate::value::{Attributes, Value};

#[derive(Clone, Debug)]
pub(crate) struct Projection(Vec<Path>);

impl Projection {
    pub(crate) fn parse(text: &str, placeholders: &Placeholders) -> Answer<Self> {
        let mut tokens = Tokens::new("ProjectionExpression", text, placeholders)?;
        let mut paths: Vec<Path> = Vec::new();
        loop {
            let path = tokens.path()?;
            let clash = paths.iter().find(|other| other.relation(&path) != Relation::Apart);
            if let Some(other) = clash {
                return Err(tokens.error(format!(
                    "Two document paths overlap with each other; must remove or rewrite one of these paths; \
                     path one: {other}, path two: {path}"
                )));
            }
            paths.push(path);
            if !tokens.takes(",") {
                break;
            }
        }
        if tokens.is_at_end() { Ok(Self(paths)) } else { Err(tokens.unexpected()) }
    }

    pub(crate) fn of(&self, item: &Attributes) -> Attributes {
        project(&self.0, item)
    }
}

/// What of an item lies at these paths. Of a list, the elements asked for stand close together.
pub(super) fn project(paths: &[Path], item: &Attributes) -> Attributes {
    let steps: Vec<&[Step]> = paths.iter().map(|path| path.0.as_slice()).collect();
    fields(&steps, item)
}

fn fields(paths: &[&[Step]], item: &Attributes) -> Attributes {
    let part = |(name, value): (&String, &Value)| {
        let inner: Vec<&[Step]> = paths
            .iter()
            .filter(|path| matches!(path.first(), Some(Step::Name(first)) if first == name))
            .map(|path| &path[1..])
            .collect();
        Some((name.clone(), inside(&inner, value)?))
    };
    item.iter().filter_map(part).collect()
}

fn inside(paths: &[&[Step]], value: &Value) -> Option<Value> {
    if paths.is_empty() {
        return None;
    }
    if paths.iter().any(|path| path.is_empty()) {
        return Some(value.clone());
    }
    match value {
        Value::M(map) => Some(Value::M(fields(paths, map))).filter(|value| value.length() != Some(0)),
        Value::L(values) => {
            let part = |(n, value): (usize, &Value)| {
                let inner: Vec<&[Step]> =
                    paths.iter().filter(|path| path.first() == Some(&Step::Index(n))).map(|path| &path[1..]).collect();
                inside(&inner, value)
            };
            Some(Value::L(values.iter().enumerate().filter_map(part).collect()))
                .filter(|value| value.length() != Some(0))
        }
        _ => None,
    }
}
