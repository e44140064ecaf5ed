//! How people name a user or a queue: by extension (`42`), `node/extension` (`paris/42`), name (`thomas`) or guid.
//!
//! The same extension may exist in several numbering nodes, so an extension alone may name more than one object. Which of them is
//! meant is never guessed: what more than one object answers to is refused with the candidates. What consists of digits, `*` and
//! `#` is always an extension, so an object whose name is somebody else's extension is not mistaken for it.

use std::collections::BTreeSet;
use std::fmt;

/// An address as it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address<'a> {
    Extension(&'a str),
    InNode { node: &'a str, extension: &'a str },
    Name(&'a str),
    Guid(&'a str),
}

const GUID_DIGITS: usize = 32;

impl<'a> Address<'a> {
    pub fn read(text: &'a str) -> Self {
        if let Some((node, extension)) = text.rsplit_once('/') {
            return Self::InNode { node, extension };
        }
        // A guid may consist of decimal digits; no extension is as long as that.
        if text.len() == GUID_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Self::Guid(text);
        }
        if is_extension(text) {
            return Self::Extension(text);
        }
        Self::Name(text)
    }
}

/// Whether a text can be dialled within a node.
pub fn is_extension(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'*' | b'#'))
}

/// Everything that an object answers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectNames<'a> {
    pub extension: &'a str,
    /// Numbering node; empty where it is not known.
    pub node: &'a str,
    /// The object's Name, by which phones register.
    pub name: &'a str,
    pub guid: &'a str,
    /// An object of another node has the same extension.
    pub is_shared: bool,
}

impl ObjectNames<'_> {
    pub fn answers_to(&self, address: Address<'_>) -> bool {
        match address {
            Address::Extension(extension) => self.extension == extension,
            Address::InNode { node, extension } => self.extension == extension && self.node == node,
            // Names and guids have no upper and lower case on the PBX.
            Address::Name(name) => !self.name.is_empty() && self.name.to_lowercase() == name.to_lowercase(),
            Address::Guid(guid) => self.guid.eq_ignore_ascii_case(guid),
        }
    }

    /// Whether an entry of a list can only mean this object.
    pub fn is_meant_by(&self, entry: &str) -> bool {
        let address = Address::read(entry);
        match address {
            Address::Extension(_) => self.answers_to(address) && !self.is_shared,
            _ => self.answers_to(address),
        }
    }

    /// Whether one of the entries of a list means this object.
    pub fn is_in(&self, list: &BTreeSet<String>) -> bool {
        // Most lists and most objects are of systems with one node.
        (!self.is_shared && list.contains(self.extension)) || list.iter().any(|entry| self.is_meant_by(entry))
    }
}

/// The shortest text that tells the object from those of other nodes.
impl fmt::Display for ObjectNames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.node, self.extension) {
            ("", extension) if !extension.is_empty() && !self.is_shared => f.write_str(extension),
            // Where no node is told, an extension that others have says too little.
            (_, "") | ("", _) => f.write_str(if self.name.is_empty() { self.guid } else { self.name }),
            (node, extension) => write!(f, "{node}/{extension}"),
        }
    }
}

/// Candidates in an error text, so that people can choose one: at most so many.
const MOST_CANDIDATES: usize = 8;

/// What is said to who gave an address to which several objects answer.
pub fn ambiguous<'a>(what: &str, address: &str, candidates: impl IntoIterator<Item = ObjectNames<'a>>) -> String {
    let names: BTreeSet<String> = candidates.into_iter().map(|names| names.to_string()).collect();
    let shown: Vec<&str> = names.iter().take(MOST_CANDIDATES).map(String::as_str).collect();
    let more = if names.len() > shown.len() { ", …" } else { "" };
    format!("{what}: {address} is the extension or name of more than one user or queue: {}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "3954ae7854c96301c9dd009033400109";

    fn thomas() -> ObjectNames<'static> {
        ObjectNames { extension: "42", node: "root", name: "thomas", guid: GUID, is_shared: false }
    }

    #[test]
    fn an_object_answers_to_what_it_is_called() {
        for text in ["42", "root/42", "thomas", "Thomas", GUID, &GUID.to_uppercase()] {
            assert!(thomas().answers_to(Address::read(text)), "{text}");
            assert!(thomas().is_meant_by(text), "{text}");
        }
        for text in ["43", "paris/42", "/42", "root/", "tom", "", "3954ae7854c96301c9dd00903340010a"] {
            assert!(!thomas().answers_to(Address::read(text)), "{text}");
            assert!(!thomas().is_meant_by(text), "{text}");
        }
    }

    #[test]
    fn a_shared_extension_alone_means_nobody() {
        let shared = ObjectNames { is_shared: true, ..thomas() };
        assert!(shared.answers_to(Address::read("42")));
        let list = |entry: &str| BTreeSet::from([entry.to_owned()]);
        assert!(!shared.is_in(&list("42")) && shared.is_in(&list("root/42")) && shared.is_in(&list(GUID)));
        assert!(thomas().is_in(&list("42")));
    }

    #[test]
    fn a_name_of_digits_is_nobodys_address() {
        let imposter = ObjectNames { extension: "77", name: "42", ..ObjectNames::default() };
        assert!(!imposter.is_meant_by("42"));
        // Nodes may have names with a stroke.
        let nested = ObjectNames { extension: "42", node: "a/b", ..ObjectNames::default() };
        assert!(nested.is_meant_by("a/b/42"));
        let nameless = ObjectNames { extension: "42", ..ObjectNames::default() };
        assert!(nameless.is_meant_by("/42") && !nameless.is_meant_by(""));
    }

    #[test]
    fn guid_of_digits_only() {
        let guid = "12345678901234567890123456789012";
        assert!(ObjectNames { extension: "42", guid, ..ObjectNames::default() }.is_meant_by(guid));
    }

    #[test]
    fn candidates_are_named_as_they_can_be_given() {
        let other = ObjectNames { node: "paris", ..thomas() };
        assert_eq!(
            ambiguous("field `from`", "42", [thomas(), other]),
            "field `from`: 42 is the extension or name of more than one user or queue: paris/42, root/42"
        );
        assert_eq!(ObjectNames { extension: "", ..thomas() }.to_string(), "thomas");
        assert_eq!(ObjectNames { node: "", ..thomas() }.to_string(), "42");
        assert_eq!(ObjectNames { node: "", is_shared: true, ..thomas() }.to_string(), "thomas");
    }
}
