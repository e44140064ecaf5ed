//! Examples can do nothing. Swagger UI, form designers and generators fill them in, and people send them without a second look.

use super::*;

/// Numbers that are reserved for fiction by Ofcom, with and without the prefixes with which the example's PBX shows them.
const FICTIONAL: &str = "442079460";
/// An extension that begins like the way to an outside line, so that nobody has it.
const NOBODY: &str = "000000";
/// Fields of requests that name who is called, who calls, or whose calls are meant.
const PARTIES: [&str; 9] = ["from", "to", "a", "b", "via", "at", "extension", "extensions", "callerNumber"];

/// Whether a text looks like a telephone number of a network, which has at least seven digits.
fn is_number(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    digits >= 7 && text.chars().all(|c| c.is_ascii_digit() || "+ -./()".contains(c))
}

fn is_fictional(number: &str) -> bool {
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_start_matches('0');
    digits.strip_prefix(FICTIONAL).is_some_and(|rest| rest.len() == 3)
}

/// Every text in a node, with the key under which it stands.
fn texts<'a>(key: &'a str, node: &'a Node, found: &mut Vec<(&'a str, &'a str)>) {
    found.extend(node.text().map(|text| (key, text)));
    node.items().iter().for_each(|item| texts(key, item, found));
    node.entries().iter().for_each(|(key, value)| texts(key, value, found));
}

/// Every example of the description, with the path that leads to it. A property may be called `example`, but none is.
fn every_example(openapi: &Node) -> Vec<(String, &Node)> {
    let mut found = Vec::new();
    walk(openapi, "", &mut |path, node| {
        if let Some(example) = node.get("example").filter(|_| !path.ends_with("/properties")) {
            found.push((path.to_owned(), example));
        }
    });
    found
}

/// Names of the schemas that requests are made of.
fn schemas_of_requests(openapi: &Node) -> BTreeSet<&str> {
    let mut open: Vec<&Node> =
        operations(openapi).filter_map(|(_, _, operation)| operation.get("requestBody")).collect();
    let mut found = BTreeSet::new();
    while let Some(node) = open.pop() {
        open.extend(node.items());
        open.extend(node.entries().iter().map(|(_, value)| value));
        let reference = node.get("$ref").and_then(Node::text);
        if let Some(name) = reference.and_then(|reference| reference.strip_prefix("#/components/schemas/"))
            && found.insert(name)
        {
            open.push(schema(openapi, name));
        }
    }
    found
}

/// Generators make defaults of them: a call would be made from a phone that nobody has, or would be taken for a repeat.
#[test]
fn only_what_has_to_be_given_has_an_example() {
    let openapi = api();
    let of_requests = schemas_of_requests(&openapi);
    for (name, schema) in openapi.at(&["components", "schemas"]).expect("schemas").entries() {
        let required = schema.get("required").map_or(&[][..], Node::items);
        for (property, node) in schema.get("properties").expect("properties").entries() {
            let wanted = !of_requests.contains(name.as_str()) || required.contains(&Node::from(property.as_str()));
            assert_eq!(node.get("example").is_some(), wanted, "{name}.{property}");
        }
    }
    let shared = openapi.at(&["components", "parameters"]).expect("parameters").entries().iter().map(|(_, node)| node);
    let own =
        operations(&openapi).flat_map(|(_, _, operation)| operation.get("parameters").map_or(&[][..], Node::items));
    for parameter in shared.chain(own).filter(|parameter| parameter.get("$ref").is_none()) {
        let required = parameter.get("required") == Some(&Node::Bool(true));
        assert_eq!(parameter.get("example").is_some(), required, "parameter {}", text(parameter, "name"));
    }
}

#[test]
fn numbers_and_hosts_are_nobodys() {
    let openapi = api();
    let (mut numbers, mut hosts) = (0, 0);
    for (path, example) in every_example(&openapi) {
        let mut found = Vec::new();
        texts("", example, &mut found);
        for (_, text) in found {
            if is_number(text) {
                assert!(is_fictional(text), "{path}: {text} may be somebody's number");
                numbers += 1;
            }
            if let Ok(url) = text.parse::<url::Url>()
                && let Some(host) = url.host_str()
            {
                let nobodys = host.ends_with(".invalid") || text.starts_with("https://easyconnect.example.com/");
                assert!(nobodys, "{path}: {host} may be somebody's host");
                hosts += 1;
            }
        }
    }
    assert!(numbers > 20 && hosts > 5, "only {numbers} numbers and {hosts} hosts");
    // Descriptions and what the API answers show numbers, too.
    walk(&openapi, "", &mut |path, node| {
        if let Some(text) = node.text().filter(|_| path.ends_with("/description")) {
            check_words(path, text);
        }
    });
    for code in Code::ALL {
        check_words(code.as_str(), code.meaning().hint);
    }
}

/// Looks for numbers in `+` form in a text for people.
fn check_words(place: &str, text: &str) {
    for rest in text.split('+').skip(1) {
        let number: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == ' ').collect();
        assert!(!is_number(&number) || is_fictional(&number), "{place}: +{number} may be somebody's number");
    }
}

/// "Try it out" with nothing changed.
#[test]
fn requests_that_are_filled_in_concern_nobody() {
    let openapi = api();
    let mut found = Vec::new();
    for (_, _, operation) in operations(&openapi) {
        if let Some(media) = operation.at(&["requestBody", "content", "application/json"]) {
            texts("", media.get("example").expect("an example"), &mut found);
        }
    }
    for name in schemas_of_requests(&openapi) {
        for (property, node) in schema(&openapi, name).get("properties").expect("properties").entries() {
            if let Some(example) = node.get("example") {
                texts(property, example, &mut found);
            }
        }
    }
    let parties: Vec<_> = found.iter().filter(|(key, _)| PARTIES.contains(key)).collect();
    assert!(parties.len() > 10, "{parties:?}");
    for (key, text) in parties {
        assert!(*text == NOBODY || is_fictional(text), "`{key}` is {text}");
    }
}

#[test]
fn real_numbers_are_found() {
    for number in ["+32 472 59 16 87", "00472591687", "0472/59.16.87", "+1 202 555 0123", "+44 20 7946 1234"] {
        assert!(is_number(number) && !is_fictional(number), "{number}");
    }
    for number in ["+44 20 7946 0123", "000442079460123"] {
        assert!(is_number(number) && is_fictional(number), "{number}");
    }
    for other in ["42", "2026-09-16T11:57:43.250Z", "577193ccf44465016826009033600110", "+32*"] {
        assert!(!is_number(other), "{other}");
    }
}
