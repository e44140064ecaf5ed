//! Updates: SET, REMOVE, ADD and DELETE, all of them computed from the item as it was before.

use super::path::{Path, Relation, Step};
use super::placeholders::Placeholders;
use super::projection::project;
use super::tokens::Tokens;
use crate::error::{Answer, ApiError};
use crate::value::{Attributes, Value};

#[derive(Clone, Debug)]
pub(crate) struct Update {
    actions: Vec<(Path, Action)>,
}

#[derive(Clone, Debug)]
enum Action {
    Set(Term),
    Remove,
    Add(Value),
    Delete(Value),
}

#[derive(Clone, Debug)]
enum Term {
    Path(Path),
    Literal(Value),
    IfNotExists(Path, Box<Term>),
    ListAppend(Box<Term>, Box<Term>),
    Plus(Box<Term>, Box<Term>),
    Minus(Box<Term>, Box<Term>),
}

impl Update {
    pub(crate) fn parse(text: &str, placeholders: &Placeholders) -> Answer<Self> {
        let mut tokens = Tokens::new("UpdateExpression", text, placeholders)?;
        let (mut actions, mut seen) = (Vec::new(), Vec::new());
        while !tokens.is_at_end() {
            let clause = ["SET", "REMOVE", "ADD", "DELETE"].into_iter().find(|clause| tokens.takes_word(clause));
            let clause = clause.ok_or_else(|| tokens.unexpected())?;
            if seen.contains(&clause) {
                return Err(
                    tokens.error(format!("The \"{clause}\" section can only be used once in an update expression;"))
                );
            }
            seen.push(clause);
            loop {
                let path = tokens.path()?;
                let action = match clause {
                    "SET" => {
                        tokens.expect("=")?;
                        Action::Set(sum(&mut tokens)?)
                    }
                    "REMOVE" => Action::Remove,
                    _ => {
                        let value = tokens.value()?.ok_or_else(|| tokens.unexpected())?;
                        check_operand(&tokens, clause, &value)?;
                        if clause == "ADD" { Action::Add(value) } else { Action::Delete(value) }
                    }
                };
                actions.push((path, action));
                if !tokens.takes(",") {
                    break;
                }
            }
        }
        for (n, (path, _)) in actions.iter().enumerate() {
            for (other, _) in &actions[..n] {
                let what = match other.relation(path) {
                    Relation::Apart => continue,
                    Relation::Overlap => "overlap",
                    Relation::Conflict => "conflict",
                };
                return Err(tokens.error(format!(
                    "Two document paths {what} with each other; must remove or rewrite one of these paths; \
                     path one: {other}, path two: {path}"
                )));
            }
        }
        Ok(Self { actions })
    }

    /// The attributes it writes; those of the key must not be among them.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = &str> {
        self.actions.iter().map(|(path, _)| path.attribute())
    }

    /// Whether it only takes away: then an item that does not exist stays so.
    pub(crate) fn only_removes(&self) -> bool {
        self.actions.iter().all(|(_, action)| matches!(action, Action::Remove | Action::Delete(_)))
    }

    /// What of an item it has written, for `UPDATED_OLD` and `UPDATED_NEW`.
    pub(crate) fn touched(&self, item: &Attributes) -> Attributes {
        let paths: Vec<Path> = self.actions.iter().map(|(path, _)| path.clone()).collect();
        project(&paths, item)
    }

    pub(crate) fn apply(&self, before: &Attributes) -> Answer<Attributes> {
        let mut after = before.clone();
        let mut removed = Vec::new();
        for (path, action) in &self.actions {
            match action {
                Action::Set(term) => set(&mut after, path, term.of(before)?)?,
                Action::Remove => removed.push(path),
                Action::Add(value) => set(&mut after, path, add(path.get(before), value)?)?,
                Action::Delete(value) => match path.get(before).map(|old| subtract(old, value)).transpose()? {
                    Some(Some(rest)) => set(&mut after, path, rest)?,
                    Some(None) => removed.push(path),
                    None => {}
                },
            }
        }
        // The last elements of a list first, so that the indices of the others stay true.
        removed.sort();
        for path in removed.into_iter().rev() {
            remove(&mut after, path)?;
        }
        Ok(after)
    }
}

fn check_operand(tokens: &Tokens<'_>, clause: &str, value: &Value) -> Answer<()> {
    let is_set = matches!(value, Value::Ss(_) | Value::Ns(_) | Value::Bs(_));
    if is_set || (clause == "ADD" && matches!(value, Value::N(_))) {
        return Ok(());
    }
    let kind = value.kind();
    Err(tokens
        .error(format!("Incorrect operand type for operator or function; operator: {clause}, operand type: {kind}")))
}

fn sum(tokens: &mut Tokens<'_>) -> Answer<Term> {
    let first = term(tokens)?;
    match tokens.takes_any(&["+", "-"]) {
        Some("+") => Ok(Term::Plus(Box::new(first), Box::new(term(tokens)?))),
        Some(_) => Ok(Term::Minus(Box::new(first), Box::new(term(tokens)?))),
        None => Ok(first),
    }
}

fn term(tokens: &mut Tokens<'_>) -> Answer<Term> {
    if let Some(name) = tokens.function() {
        let term = match name.as_str() {
            "if_not_exists" => {
                let path = tokens.path()?;
                tokens.expect(",")?;
                Term::IfNotExists(path, Box::new(term(tokens)?))
            }
            "list_append" => {
                let first = term(tokens)?;
                tokens.expect(",")?;
                Term::ListAppend(Box::new(first), Box::new(term(tokens)?))
            }
            "attribute_exists" | "attribute_not_exists" | "attribute_type" | "begins_with" | "contains" | "size" => {
                return Err(
                    tokens.error(format!("The function is not allowed in an update expression; function: {name}"))
                );
            }
            _ => return Err(tokens.error(format!("Invalid function name; function: {name}"))),
        };
        tokens.expect(")")?;
        return Ok(term);
    }
    match tokens.value()? {
        Some(value) => Ok(Term::Literal(value)),
        None => tokens.path().map(Term::Path),
    }
}

fn wrong_type() -> ApiError {
    ApiError::validation("An operand in the update expression has an incorrect data type")
}

fn wrong_path() -> ApiError {
    ApiError::validation("The document path provided in the update expression is invalid for update")
}

impl Term {
    fn of(&self, item: &Attributes) -> Answer<Value> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Path(path) => path.get(item).cloned().ok_or_else(|| {
                ApiError::validation("The provided expression refers to an attribute that does not exist in the item")
            }),
            Self::IfNotExists(path, otherwise) => path.get(item).cloned().map_or_else(|| otherwise.of(item), Ok),
            Self::ListAppend(first, second) => match (first.of(item)?, second.of(item)?) {
                (Value::L(mut values), Value::L(more)) => {
                    values.extend(more);
                    Ok(Value::L(values))
                }
                _ => Err(wrong_type()),
            },
            Self::Plus(a, b) | Self::Minus(a, b) => {
                let (Value::N(a), Value::N(b)) = (a.of(item)?, b.of(item)?) else { return Err(wrong_type()) };
                let sum = if matches!(self, Self::Plus(..)) { a.add(b) } else { a.subtract(b) };
                sum.map(Value::N).map_err(|error| ApiError::validation(error.to_string()))
            }
        }
    }
}

fn add(old: Option<&Value>, value: &Value) -> Answer<Value> {
    Ok(match (old, value) {
        (None, value) => value.clone(),
        (Some(Value::N(old)), Value::N(more)) => {
            Value::N(old.add(*more).map_err(|error| ApiError::validation(error.to_string()))?)
        }
        (Some(Value::Ss(old)), Value::Ss(more)) => Value::Ss(old | more),
        (Some(Value::Ns(old)), Value::Ns(more)) => Value::Ns(old | more),
        (Some(Value::Bs(old)), Value::Bs(more)) => Value::Bs(old | more),
        _ => return Err(wrong_type()),
    })
}

/// The set without these elements; none if nothing is left, because there are no empty sets.
fn subtract(old: &Value, value: &Value) -> Answer<Option<Value>> {
    let rest = match (old, value) {
        (Value::Ss(old), Value::Ss(less)) => Value::Ss(old - less),
        (Value::Ns(old), Value::Ns(less)) => Value::Ns(old - less),
        (Value::Bs(old), Value::Bs(less)) => Value::Bs(old - less),
        _ => return Err(wrong_type()),
    };
    Ok(Some(rest).filter(|rest| rest.length() != Some(0)))
}

/// The map or list that a path's last step is in.
fn parent<'a>(item: &'a mut Attributes, path: &Path) -> Answer<&'a mut Value> {
    let mut value = item.get_mut(path.attribute()).ok_or_else(wrong_path)?;
    for step in &path.0[1..path.0.len() - 1] {
        value = match (step, value) {
            (Step::Name(name), Value::M(fields)) => fields.get_mut(name),
            (Step::Index(index), Value::L(values)) => values.get_mut(*index),
            _ => None,
        }
        .ok_or_else(wrong_path)?;
    }
    Ok(value)
}

fn set(item: &mut Attributes, path: &Path, value: Value) -> Answer<()> {
    let Some(last) = path.0.last().filter(|_| !path.is_attribute()) else {
        item.insert(path.attribute().to_owned(), value);
        return Ok(());
    };
    match (last, parent(item, path)?) {
        (Step::Name(name), Value::M(fields)) => {
            fields.insert(name.clone(), value);
        }
        // Beyond its end a list only grows by one.
        (Step::Index(index), Value::L(values)) => match values.get_mut(*index) {
            Some(place) => *place = value,
            None => values.push(value),
        },
        _ => return Err(wrong_path()),
    }
    Ok(())
}

fn remove(item: &mut Attributes, path: &Path) -> Answer<()> {
    let Some(last) = path.0.last().filter(|_| !path.is_attribute()) else {
        item.remove(path.attribute());
        return Ok(());
    };
    match (last, parent(item, path)?) {
        (Step::Name(name), Value::M(fields)) => {
            fields.remove(name);
        }
        (Step::Index(index), Value::L(values)) if *index < values.len() => {
            values.remove(*index);
        }
        (Step::Index(_), Value::L(_)) => {}
        _ => return Err(wrong_path()),
    }
    Ok(())
}
