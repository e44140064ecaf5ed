//! A place in an item: an attribute, or something inside of one.

use std::fmt;

use crate::value::{Attributes, Value};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Name(String),
    Index(usize),
}

/// Begins with a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path(pub(crate) Vec<Step>);

/// How two places of one item stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Apart,
    /// One is the other, or lies within it.
    Overlap,
    /// One takes as a map what the other takes as a list.
    Conflict,
}

impl Path {
    pub(crate) fn attribute(&self) -> &str {
        match self.0.first() {
            Some(Step::Name(name)) => name,
            _ => "",
        }
    }

    /// Whether it is a whole attribute.
    pub(crate) fn is_attribute(&self) -> bool {
        self.0.len() == 1
    }

    pub(crate) fn get<'a>(&self, item: &'a Attributes) -> Option<&'a Value> {
        let mut value = item.get(self.attribute())?;
        for step in &self.0[1..] {
            value = match (step, value) {
                (Step::Name(name), Value::M(fields)) => fields.get(name)?,
                (Step::Index(index), Value::L(values)) => values.get(*index)?,
                _ => return None,
            };
        }
        Some(value)
    }

    pub(crate) fn relation(&self, other: &Self) -> Relation {
        for (a, b) in self.0.iter().zip(&other.0) {
            match (a, b) {
                (Step::Name(_), Step::Index(_)) | (Step::Index(_), Step::Name(_)) => return Relation::Conflict,
                _ if a != b => return Relation::Apart,
                _ => {}
            }
        }
        Relation::Overlap
    }
}

impl fmt::Display for Path {
    /// As AWS's errors show it: `[a, b, [0]]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (n, step) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            match step {
                Step::Name(name) => write!(f, "{comma}{name}")?,
                Step::Index(index) => write!(f, "{comma}[{index}]")?,
            }
        }
        f.write_str("]")
    }
}
