//! An expression as tokens, and what all expressions have in common: paths, values, errors.

use super::path::{Path, Step};
use super::placeholders::Placeholders;
use super::reserved::is_reserved;
use crate::error::{Answer, ApiError};
use crate::value::Value;

const LONGEST: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A word, a number, `#name` or `:value`.
    Word(String),
    Symbol(&'static str),
    End,
}

const SYMBOLS: [&str; 14] = ["<>", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ",", ".", "+", "-"];

/// Reads an expression from left to right.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    /// What kind of expression it is: `ConditionExpression`.
    kind: &'static str,
    tokens: Vec<Token>,
    at: usize,
    placeholders: &'a Placeholders,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(kind: &'static str, text: &str, placeholders: &'a Placeholders) -> Answer<Self> {
        let mut expression = Self { kind, tokens: Vec::new(), at: 0, placeholders };
        if text.trim().is_empty() {
            return Err(expression.error("The expression can not be empty;"));
        }
        if text.len() > LONGEST {
            return Err(expression.error(format!(
                "Expression size has exceeded the maximum allowed size; expression size: {}",
                text.len()
            )));
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if is_word(first) || matches!(first, '#' | ':') {
                let marked = usize::from(!is_word(first));
                let length = rest[marked..].find(|c| !is_word(c)).map_or(rest.len(), |length| length + marked);
                if length == marked && marked == 1 {
                    return Err(expression.error(format!("Syntax error; token: \"{first}\", near: \"{rest}\"")));
                }
                expression.tokens.push(Token::Word(rest[..length].to_owned()));
                length
            } else if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
                expression.tokens.push(Token::Symbol(symbol));
                symbol.len()
            } else {
                return Err(expression.error(format!("Syntax error; token: \"{first}\", near: \"{rest}\"")));
            };
            rest = rest[length..].trim_start();
        }
        Ok(expression)
    }

    pub(super) fn error(&self, cause: impl std::fmt::Display) -> ApiError {
        ApiError::validation(format!("Invalid {}: {cause}", self.kind))
    }

    pub(super) fn unexpected(&self) -> ApiError {
        let token = match self.peek() {
            Token::Word(word) => word,
            Token::Symbol(symbol) => symbol.to_owned(),
            Token::End => "<EOF>".to_owned(),
        };
        self.error(format!("Syntax error; token: \"{token}\""))
    }

    pub(super) fn peek(&self) -> Token {
        self.tokens.get(self.at).cloned().unwrap_or(Token::End)
    }

    fn behind(&self) -> Token {
        self.tokens.get(self.at + 1).cloned().unwrap_or(Token::End)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.peek() == Token::End
    }

    /// Takes a symbol if it comes next.
    pub(super) fn takes(&mut self, symbol: &str) -> bool {
        let is_next = matches!(self.peek(), Token::Symbol(next) if next == symbol);
        self.at += usize::from(is_next);
        is_next
    }

    pub(super) fn expect(&mut self, symbol: &str) -> Answer<()> {
        if self.takes(symbol) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Takes a keyword if it comes next, in whatever case.
    pub(super) fn takes_word(&mut self, keyword: &str) -> bool {
        let is_next = matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(is_next);
        is_next
    }

    pub(super) fn takes_any(&mut self, symbols: &[&'static str]) -> Option<&'static str> {
        symbols.iter().copied().find(|symbol| self.takes(symbol))
    }

    /// The name of a function, if one begins here; behind it comes what is in the brackets.
    pub(super) fn function(&mut self) -> Option<String> {
        match (self.peek(), self.behind()) {
            (Token::Word(word), Token::Symbol("(")) if !word.starts_with(['#', ':']) => {
                self.at += 2;
                Some(word)
            }
            _ => None,
        }
    }

    pub(super) fn value(&mut self) -> Answer<Option<Value>> {
        let Token::Word(word) = self.peek() else { return Ok(None) };
        if !word.starts_with(':') {
            return Ok(None);
        }
        self.at += 1;
        let value = self.placeholders.value(&word).cloned();
        value.map(Some).ok_or_else(|| {
            self.error(format!(
                "An expression attribute value used in expression is not defined; attribute value: {word}"
            ))
        })
    }

    pub(super) fn path(&mut self) -> Answer<Path> {
        let mut steps = vec![Step::Name(self.attribute_name()?)];
        loop {
            if self.takes(".") {
                steps.push(Step::Name(self.attribute_name()?));
            } else if self.takes("[") {
                let Token::Word(word) = self.peek() else { return Err(self.unexpected()) };
                steps.push(Step::Index(word.parse().map_err(|_| self.unexpected())?));
                self.at += 1;
                self.expect("]")?;
            } else {
                return Ok(Path(steps));
            }
        }
    }

    fn attribute_name(&mut self) -> Answer<String> {
        let Token::Word(word) = self.peek() else { return Err(self.unexpected()) };
        let name = if word.starts_with('#') {
            let name = self.placeholders.name(&word).map(str::to_owned);
            name.ok_or_else(|| {
                self.error(format!(
                    "An expression attribute name used in the document path is not defined; attribute name: {word}"
                ))
            })?
        } else if word.starts_with(|c: char| !c.is_ascii_alphabetic()) {
            return Err(self.unexpected());
        } else if is_reserved(&word) {
            return Err(self.error(format!("Attribute name is a reserved keyword; reserved keyword: {word}")));
        } else {
            word
        };
        self.at += 1;
        Ok(name)
    }
}
