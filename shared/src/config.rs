//! Variables as values: configuration is read through a trait, so that tests never touch the process environment.

use std::collections::HashMap;
use std::str::FromStr;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("variable `{0}` is not set")]
    Missing(&'static str),
    #[error("variable `{name}` is `{value}`: {reason}")]
    Invalid { name: &'static str, value: String, reason: String },
}

pub trait Vars {
    /// The variable's value; an empty one counts as absent.
    fn get(&self, name: &str) -> Option<String>;

    fn required(&self, name: &'static str) -> Result<String, ConfigError> {
        self.get(name).ok_or(ConfigError::Missing(name))
    }

    fn parsed<T>(&self, name: &'static str, default: T) -> Result<T, ConfigError>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        match self.get(name) {
            None => Ok(default),
            Some(value) => {
                value.parse().map_err(|reason: T::Err| ConfigError::Invalid { name, reason: reason.to_string(), value })
            }
        }
    }

    /// A comma-separated list; absent is empty.
    fn list<T>(&self, name: &'static str) -> Result<Vec<T>, ConfigError>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let text = self.get(name).unwrap_or_default();
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| {
                part.parse().map_err(|reason: T::Err| ConfigError::Invalid {
                    name,
                    reason: reason.to_string(),
                    value: part.to_owned(),
                })
            })
            .collect()
    }
}

/// The process environment.
#[derive(Clone, Copy, Debug)]
pub struct Env;

impl Vars for Env {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

impl Vars for HashMap<&str, &str> {
    fn get(&self, name: &str) -> Option<String> {
        HashMap::get(self, name).filter(|value| !value.is_empty()).map(|value| (*value).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_variable() {
        let vars = HashMap::from([("A", "x"), ("B", ""), ("C", "1, 2,")]);
        assert_eq!(vars.required("B").expect_err("empty").to_string(), "variable `B` is not set");
        assert_eq!(
            vars.parsed::<u32>("A", 1).expect_err("not a number").to_string(),
            "variable `A` is `x`: invalid digit found in string"
        );
        assert_eq!(vars.parsed("B", 7).expect("the default"), 7);
        assert_eq!(vars.list::<u32>("C").expect("a list"), [1, 2]);
    }
}
