//! Conditions and filters: read, checked, and asked of an item.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::path::Path;
use super::placeholders::Placeholders;
use super::tokens::Tokens;
use crate::error::{Answer, ApiError};
use crate::number::Number;
use crate::value::{Attributes, Value};

const MOST_IN_A_LIST: usize = 100;
const COMPARATORS: [&str; 6] = ["=", "<>", "<=", ">=", "<", ">"];

#[derive(Clone, Debug)]
pub(crate) enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    Compare(Operand, &'static str, Operand),
    Between(Operand, Operand, Operand),
    In(Operand, Vec<Operand>),
    Exists(Path),
    NotExists(Path),
    HasType(Operand, String),
    BeginsWith(Operand, Operand),
    Contains(Operand, Operand),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operand {
    Path(Path),
    Literal(Value),
    Size(Path),
}

impl Condition {
    pub(crate) fn parse(kind: &'static str, text: &str, placeholders: &Placeholders) -> Answer<Self> {
        let mut tokens = Tokens::new(kind, text, placeholders)?;
        let (condition, _) = alternatives(&mut tokens)?;
        if tokens.is_at_end() { Ok(condition) } else { Err(tokens.unexpected()) }
    }

    /// Whether it holds for an item; one that does not exist has no attributes.
    pub(crate) fn holds(&self, item: &Attributes) -> bool {
        match self {
            Self::And(a, b) => a.holds(item) && b.holds(item),
            Self::Or(a, b) => a.holds(item) || b.holds(item),
            Self::Not(inner) => !inner.holds(item),
            Self::Compare(a, comparator, b) => compare(a.of(item).as_ref(), comparator, b.of(item).as_ref()),
            Self::Between(value, low, high) => {
                let value = value.of(item);
                compare(value.as_ref(), ">=", low.of(item).as_ref())
                    && compare(value.as_ref(), "<=", high.of(item).as_ref())
            }
            Self::In(value, list) => {
                let value = value.of(item);
                list.iter().any(|other| compare(value.as_ref(), "=", other.of(item).as_ref()))
            }
            Self::Exists(path) => path.get(item).is_some(),
            Self::NotExists(path) => path.get(item).is_none(),
            Self::HasType(operand, kind) => operand.of(item).is_some_and(|value| value.kind() == kind),
            Self::BeginsWith(value, start) => match (value.of(item), start.of(item)) {
                (Some(Value::S(value)), Some(Value::S(start))) => value.starts_with(&start),
                (Some(Value::B(value)), Some(Value::B(start))) => value.starts_with(&start),
                _ => false,
            },
            Self::Contains(value, part) => contains(value.of(item), part.of(item)),
        }
    }

    /// The attributes it looks at; a filter must not look at the key.
    pub(crate) fn attributes(&self) -> BTreeSet<&str> {
        match self {
            Self::And(a, b) | Self::Or(a, b) => a.attributes().into_iter().chain(b.attributes()).collect(),
            Self::Not(inner) => inner.attributes(),
            Self::Compare(a, _, b) | Self::BeginsWith(a, b) | Self::Contains(a, b) => names([a, b]),
            Self::Between(a, b, c) => names([a, b, c]),
            Self::In(value, list) => names(std::iter::once(value).chain(list)),
            Self::HasType(operand, _) => names([operand]),
            Self::Exists(path) | Self::NotExists(path) => BTreeSet::from([path.attribute()]),
        }
    }
}

fn names<'a>(operands: impl IntoIterator<Item = &'a Operand>) -> BTreeSet<&'a str> {
    operands.into_iter().filter_map(Operand::path).map(Path::attribute).collect()
}

impl Operand {
    fn of(&self, item: &Attributes) -> Option<Value> {
        match self {
            Self::Path(path) => path.get(item).cloned(),
            Self::Literal(value) => Some(value.clone()),
            Self::Size(path) => Some(Value::N(Number::from(path.get(item)?.length()? as u64))),
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) | Self::Size(path) => Some(path),
            Self::Literal(_) => None,
        }
    }
}

/// What does not exist equals nothing, so it differs from everything.
fn compare(a: Option<&Value>, comparator: &str, b: Option<&Value>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return comparator == "<>" };
    match comparator {
        "=" => a == b,
        "<>" => a != b,
        _ => a.order(b).is_some_and(|order| match comparator {
            "<" => order == Ordering::Less,
            "<=" => order != Ordering::Greater,
            ">" => order == Ordering::Greater,
            _ => order != Ordering::Less,
        }),
    }
}

fn contains(value: Option<Value>, part: Option<Value>) -> bool {
    match (value, part) {
        (Some(Value::S(value)), Some(Value::S(part))) => value.contains(&part),
        (Some(Value::B(value)), Some(Value::B(part))) => {
            part.is_empty() || value.windows(part.len()).any(|window| window == part)
        }
        (Some(Value::L(values)), Some(part)) => values.contains(&part),
        (Some(Value::Ss(values)), Some(Value::S(part))) => values.contains(&part),
        (Some(Value::Ns(values)), Some(Value::N(part))) => values.contains(&part),
        (Some(Value::Bs(values)), Some(Value::B(part))) => values.contains(&part),
        _ => false,
    }
}

/// A condition, and whether it stood in brackets of its own.
type Read = (Condition, bool);

fn alternatives(tokens: &mut Tokens<'_>) -> Answer<Read> {
    let (mut condition, mut bracketed) = conjunction(tokens)?;
    while tokens.takes_word("OR") {
        condition = Condition::Or(Box::new(condition), Box::new(conjunction(tokens)?.0));
        bracketed = false;
    }
    Ok((condition, bracketed))
}

fn conjunction(tokens: &mut Tokens<'_>) -> Answer<Read> {
    let (mut condition, mut bracketed) = negation(tokens)?;
    while tokens.takes_word("AND") {
        condition = Condition::And(Box::new(condition), Box::new(negation(tokens)?.0));
        bracketed = false;
    }
    Ok((condition, bracketed))
}

fn negation(tokens: &mut Tokens<'_>) -> Answer<Read> {
    if tokens.takes_word("NOT") {
        return Ok((Condition::Not(Box::new(negation(tokens)?.0)), false));
    }
    if tokens.takes("(") {
        let (inner, bracketed) = alternatives(tokens)?;
        tokens.expect(")")?;
        if bracketed {
            return Err(tokens.error("The expression has redundant parentheses;"));
        }
        return Ok((inner, true));
    }
    Ok((predicate(tokens)?, false))
}

fn predicate(tokens: &mut Tokens<'_>) -> Answer<Condition> {
    let value = match tokens.function() {
        Some(name) if name == "size" => size(tokens)?,
        Some(name) => return function(tokens, &name),
        None => operand(tokens)?,
    };
    if let Some(comparator) = tokens.takes_any(&COMPARATORS) {
        let other = operand_or_size(tokens)?;
        distinct(tokens, comparator, &value, std::slice::from_ref(&other))?;
        if !matches!(comparator, "=" | "<>") {
            ordered(tokens, comparator, [&value, &other])?;
        }
        return Ok(Condition::Compare(value, comparator, other));
    }
    if tokens.takes_word("BETWEEN") {
        let low = operand_or_size(tokens)?;
        if !tokens.takes_word("AND") {
            return Err(tokens.unexpected());
        }
        let high = operand_or_size(tokens)?;
        ordered(tokens, "BETWEEN", [&value, &low, &high])?;
        if let (Operand::Literal(low), Operand::Literal(high)) = (&low, &high) {
            if low.kind() != high.kind() {
                return Err(tokens.error(format!(
                    "The BETWEEN operator requires same data type for lower and upper bounds; \
                     lower bound operand: AttributeValue: {{{}}}, upper bound operand: AttributeValue: {{{}}}",
                    low.kind(),
                    high.kind()
                )));
            }
            if low.order(high) == Some(Ordering::Greater) {
                return Err(tokens
                    .error("The BETWEEN operator requires upper bound to be greater than or equal to lower bound"));
            }
        }
        return Ok(Condition::Between(value, low, high));
    }
    if tokens.takes_word("IN") {
        tokens.expect("(")?;
        let mut list = vec![operand_or_size(tokens)?];
        while tokens.takes(",") {
            list.push(operand_or_size(tokens)?);
        }
        tokens.expect(")")?;
        if list.len() > MOST_IN_A_LIST {
            return Err(tokens.error(format!(
                "The IN operator is provided with too many operands; number of operands: {}",
                list.len()
            )));
        }
        distinct(tokens, "IN", &value, &list)?;
        return Ok(Condition::In(value, list));
    }
    Err(tokens.unexpected())
}

fn function(tokens: &mut Tokens<'_>, name: &str) -> Answer<Condition> {
    let condition = match name {
        "attribute_exists" => Condition::Exists(tokens.path()?),
        "attribute_not_exists" => Condition::NotExists(tokens.path()?),
        "attribute_type" | "begins_with" | "contains" => {
            let value = operand(tokens)?;
            tokens.expect(",")?;
            let other = operand(tokens)?;
            distinct(tokens, name, &value, std::slice::from_ref(&other))?;
            match (name, other) {
                ("contains", other) => Condition::Contains(value, other),
                ("begins_with", other) => {
                    for operand in [&value, &other] {
                        if let Operand::Literal(literal) = operand
                            && !matches!(literal, Value::S(_) | Value::B(_))
                        {
                            return Err(incorrect(tokens, name, literal));
                        }
                    }
                    Condition::BeginsWith(value, other)
                }
                (_, Operand::Literal(Value::S(kind))) => {
                    if !["S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS", "BS"].contains(&kind.as_str()) {
                        return Err(tokens.error(format!("Invalid attribute type name found; type: {kind}")));
                    }
                    Condition::HasType(value, kind)
                }
                (_, Operand::Literal(literal)) => return Err(incorrect(tokens, name, &literal)),
                _ => return Err(tokens.unexpected()),
            }
        }
        "if_not_exists" | "list_append" => {
            return Err(
                tokens.error(format!("The function is not allowed in a condition expression; function: {name}"))
            );
        }
        _ => return Err(tokens.error(format!("Invalid function name; function: {name}"))),
    };
    if tokens.takes(",") {
        return Err(tokens
            .error(format!("Incorrect number of operands for operator or function; operator or function: {name}")));
    }
    tokens.expect(")")?;
    Ok(condition)
}

fn size(tokens: &mut Tokens<'_>) -> Answer<Operand> {
    let path = tokens.path()?;
    tokens.expect(")")?;
    Ok(Operand::Size(path))
}

fn operand(tokens: &mut Tokens<'_>) -> Answer<Operand> {
    match tokens.value()? {
        Some(value) => Ok(Operand::Literal(value)),
        None => tokens.path().map(Operand::Path),
    }
}

fn operand_or_size(tokens: &mut Tokens<'_>) -> Answer<Operand> {
    match tokens.function() {
        Some(name) if name == "size" => size(tokens),
        Some(name) => {
            Err(tokens
                .error(format!("The function is not allowed to be used this way in an expression; function: {name}")))
        }
        None => operand(tokens),
    }
}

fn incorrect(tokens: &Tokens<'_>, name: &str, literal: &Value) -> ApiError {
    tokens.error(format!(
        "Incorrect operand type for operator or function; operator or function: {name}, operand type: {}",
        literal.kind()
    ))
}

/// A literal that has no order cannot be compared by one.
fn ordered<const N: usize>(tokens: &Tokens<'_>, name: &str, operands: [&Operand; N]) -> Answer<()> {
    for operand in operands {
        if let Operand::Literal(literal) = operand
            && !matches!(literal, Value::S(_) | Value::N(_) | Value::B(_))
        {
            return Err(incorrect(tokens, name, literal));
        }
    }
    Ok(())
}

fn distinct(tokens: &Tokens<'_>, name: &str, first: &Operand, others: &[Operand]) -> Answer<()> {
    match first {
        Operand::Path(path) if others.contains(first) => Err(tokens.error(format!(
            "The first operand must be distinct from the remaining operands for this operator or function; \
             operator: {name}, first operand: {path}"
        ))),
        _ => Ok(()),
    }
}
