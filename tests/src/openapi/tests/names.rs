//! Names that generated clients can use, and words for everything that has one.

use super::*;

/// Types and functions that openapi-generator's Go client has beside those of the description.
const OF_THE_GO_CLIENT: [&str; 9] = [
    "APIClient",
    "APIKey",
    "APIResponse",
    "BasicAuth",
    "Configuration",
    "GenericOpenAPIError",
    "MappedNullable",
    "ServerConfiguration",
    "ServerVariable",
];

/// The Go client has for a schema `X` the functions `NewX` and `NewXWithDefaults` and the type `NullableX`, for an operation `Y` the
/// type `ApiYRequest`. Beside them a schema of such a name does not compile.
fn collisions<'a>(schemas: &[&'a str], operations: &[&str]) -> BTreeSet<&'a str> {
    let mut taken: BTreeSet<String> = OF_THE_GO_CLIENT.iter().flat_map(|name| declared(name)).collect();
    taken.extend(operations.iter().map(|operation| format!("Api{operation}Request")));
    taken.extend(schemas.iter().flat_map(|name| declared(name).into_iter().skip(1)));
    schemas.iter().filter(|name| taken.contains(**name)).copied().collect()
}

/// The type first, then what is made for it.
fn declared(name: &str) -> Vec<String> {
    let mut all = vec![name.to_owned()];
    all.extend(["New", "Nullable", "NewNullable"].map(|prefix| format!("{prefix}{name}")));
    all.push(format!("New{name}WithDefaults"));
    all
}

#[test]
fn no_schema_is_called_like_what_generators_make_for_another() {
    let openapi = api();
    let schemas = names(openapi.at(&["components", "schemas"]).expect("schemas"));
    let operations: Vec<&str> = operations(&openapi).map(|(_, _, operation)| text(operation, "operationId")).collect();
    assert_eq!(collisions(&schemas, &operations), BTreeSet::new());
    // The names of modules and files have no upper case.
    let folded: BTreeSet<String> = schemas.iter().map(|name| name.to_ascii_lowercase()).collect();
    assert_eq!(folded.len(), schemas.len());

    let wrong = ["ApiKey", "NewApiKey", "NullableApiKey", "ApiMakeCallRequest", "APIClient", "MakeCallRequest"];
    let expected = BTreeSet::from(["NewApiKey", "NullableApiKey", "ApiMakeCallRequest", "APIClient"]);
    assert_eq!(collisions(&wrong, &["MakeCall"]), expected);
}

/// Two spellings of one name beside each other are two fields for a form and one variable for a generator.
#[test]
fn parameters_are_in_lower_camel_case_and_stand_in_their_paths() {
    let openapi = api();
    let is_lower_camel = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
    };
    for (path, _, operation) in operations(&openapi) {
        let in_path: BTreeSet<&str> = path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        let mut described = BTreeSet::new();
        for parameter in operation.get("parameters").map_or(&[][..], Node::items) {
            let shared = parameter.get("$ref").and_then(Node::text).and_then(|reference| reference.rsplit('/').next());
            let parameter = shared.map_or(parameter, |name| {
                openapi.at(&["components", "parameters", name]).expect("a parameter that is referred to")
            });
            let name = text(parameter, "name");
            match text(parameter, "in") {
                "header" => continue,
                "path" => _ = described.insert(name),
                _ => {}
            }
            assert!(is_lower_camel(name), "{path}: {name}");
        }
        assert_eq!(described, in_path, "{path}");
    }
}

/// Everything that a form, a generated client or a model shows by name, at every depth.
#[test]
fn everything_that_has_a_name_is_described() {
    let openapi = api();
    walk(&openapi, "", &mut |path, node| {
        let parent = path.rsplit('/').nth(1).unwrap_or_default();
        let is_named = matches!(parent, "properties" | "parameters" | "headers" | "responses" | "schemas" | "tags");
        // An element has its own words, or those of the schema to which it refers.
        let is_element = path.ends_with("/items") && parent != "properties";
        let is_example = path.contains("/example");
        if (is_named || is_element) && !is_example && node.get("$ref").is_none() && !node.entries().is_empty() {
            assert!(node.get("description").is_some_and(|text| text.text().is_some()), "{path} is not described");
        }
    });
    // A body is a parameter in Swagger 2.0.
    let [_, _, swagger] = derive().expect("the derived files");
    let swagger: Node = serde_json::from_str(&swagger.text).expect("JSON");
    walk(&swagger, "", &mut |path, node| {
        if path.contains("/parameters/") && node.get("in").is_some() {
            assert!(node.get("description").is_some(), "{path} of v2.json is not described");
        }
    });
    let contact = openapi.at(&["info", "contact"]).expect("a contact");
    assert!(!text(contact, "name").is_empty() && text(contact, "url").starts_with("https://"));
}
