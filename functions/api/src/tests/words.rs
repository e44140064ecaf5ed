//! The console has words for everything that the API names.

use std::collections::BTreeSet;
use std::path::Path;

use shared::codes::Code;
use shared::kind::Kind;

use crate::routes::apikeys;
use crate::webhooks;

fn source(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("console").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names in a file of texts: `"name": "text"`, or `name: "text"`.
fn names(file: &str) -> BTreeSet<String> {
    let before_colon = |(at, _): (usize, &str)| {
        let name = file[..at].rsplit([',', '{', '\n']).next().unwrap_or_default().trim();
        name.trim_matches('"').to_owned()
    };
    file.match_indices(": \"").map(before_colon).filter(|name| !name.is_empty() && !name.contains(' ')).collect()
}

#[test]
fn what_the_api_names_has_words_in_both_languages() {
    let (en, de) = (source("texts-en.js"), source("texts-de.js"));
    let (in_english, in_german) = (names(&en), names(&de));
    let only_german: Vec<&String> =
        in_german.difference(&in_english).filter(|name| !name.starts_with("state.")).collect();
    assert!(only_german.is_empty(), "{only_german:?}");
    let untranslated: Vec<&String> =
        in_english.difference(&in_german).filter(|name| *name != "connection.back").collect();
    assert!(untranslated.is_empty(), "{untranslated:?}");
    let fields = webhooks::FIELDS.into_iter().chain(apikeys::FIELDS).map(|name| format!("field.{name}"));
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Call);
    let abouts = kinds.map(|kind| format!("about.{}", kind.as_str()));
    for name in fields.chain(abouts) {
        assert!(in_english.contains(&name), "{name}");
    }
    let refusals = source("problems-de.js");
    for code in Code::ALL {
        assert!(refusals.contains(&format!("\n  {}: [\"", code.as_str())), "{}", code.as_str());
    }
}

/// Texts in a source before its tests: those in quotes that are more than a word.
fn sayings(file: &str) -> Vec<String> {
    let code = file.split("#[cfg(test)]").next().unwrap_or_default();
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let quoted = code.split('"').skip(1).step_by(2);
    quoted.filter(|text| text.contains(' ') && text.starts_with(char::is_lowercase)).map(str::to_owned).collect()
}

/// Outcomes and reasons are written in English by the functions; the console knows all of them.
#[test]
fn what_receivers_did_is_said_in_german() {
    let german = source("problems-de.js");
    for (name, least) in
        [("../../deliver/src/failure.rs", 5), ("../src/webhook_view.rs", 5), ("../../deliver/src/worker/mod.rs", 1)]
    {
        let sayings = sayings(&source(name));
        assert!(sayings.len() >= least, "{name}: {sayings:?}");
        for text in sayings {
            let begin: String = text.split(['{', ';']).next().unwrap_or_default().chars().take(34).collect();
            assert!(german.contains(&format!("[/^{}", begin.trim_end())), "{text}");
        }
    }
}
