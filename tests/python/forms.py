"""What form-based tools may write instead of what the OpenAPI file says, for schemathesis: to send it, and to know it again.

The file names one way to write each value, because its readers have no use for composition; `functions/api/src/given.rs` has the
rule. Some ways of writing are sent as valid ones. Whatever else the API takes, although the file forbids it, has to be valid in the
file's own words.
"""

import copy
import json
import re
import unicodedata
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jsonschema_rs
from schemathesis import Case, Response

# Fields with a telephone number.
NUMBERS = ("from", "to", "callerNumber", "via", "a", "b", "at", "extension", "digits", "keypad")
FLAGS = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False, "1": True, "0": False}
# Parameters that are no operation's.
NOT_READ = ("apikey", "_")

Schema = dict[str, Any]
# The description as it was before it was widened.
DESCRIPTION: Schema = {}


def widen(raw_schema: Schema) -> None:
    """Adds to the properties of all requests what else their values may be."""
    DESCRIPTION.update(copy.deepcopy(raw_schema))
    for schema in raw_schema["components"]["schemas"].values():
        properties, required = schema.get("properties", {}), schema.get("required", ())
        # A request: every property of an answer is required.
        if set(properties) != set(required):
            for name, value in properties.items():
                if spellings := list(other_spellings(name, value, name in required)):
                    properties[name] = {"anyOf": [value, *spellings]}


def other_spellings(name: str, schema: Schema, required: bool) -> list[Schema]:
    found: list[Schema] = []
    match schema.get("type"):
        case "string" if name in NUMBERS or not {"enum", "pattern", "format"} & schema.keys():
            found.append({"type": "integer", "minimum": 0, "maximum": 2**64 - 1})
        case "boolean":
            found.append({"enum": [*FLAGS, 0, 1]})
        case "integer" if "enum" in schema:
            found.append({"enum": [str(value) for value in schema["enum"] if value is not None]})
        case "integer":
            found.append({"enum": [str(schema["minimum"]), f" {schema['maximum']}"]})
        case "array" if "enum" in schema.get("items", {}):
            known = schema["items"]["enum"]
            found.append({"enum": [known[0], ", ".join(known)]})
        case "array" if name == "headers":
            value = resolved(schema["items"])["properties"]["value"]
            found.append({"type": "object", "additionalProperties": value, "maxProperties": schema["maxItems"]})
    if not required and schema.get("type") != "array":
        found.append({"enum": ["", " "]})
    return found


def given(values: Schema, name: str) -> bool:
    """Whether a field is there, neither null nor empty."""
    value = values.get(name)
    return value is not None and str(value).strip() != ""


def is_valid(case: Case, response: Response) -> bool:
    """Whether what was sent is what the OpenAPI file asks for, once every value is in the file's own words."""
    operation = DESCRIPTION["paths"][case.operation.path].get(case.method.lower())
    if operation is None:
        return False
    parameters = [resolved(parameter) for parameter in operation.get("parameters", ())]
    query = parse_qs(urlsplit(response.request.url).query, keep_blank_values=True)
    query = {name.removesuffix("[]"): values for name, values in query.items() if name not in NOT_READ}
    if set(query) - {parameter["name"] for parameter in parameters if parameter["in"] == "query"}:
        return False
    for parameter in parameters:
        name, schema = parameter["name"], parameter["schema"]
        match parameter["in"]:
            case "query":
                value = ",".join(query[name]) if name in query else None
            case "path":
                value = unquote(str(case.path_parameters[name]))
            case _:
                value = response.request.headers.get(name)
        if not fits(canonical(value, schema), schema, parameter.get("required", False)):
            return False
    if "requestBody" not in operation:
        return True
    try:
        body = json.loads(response.request.body)
    except (TypeError, ValueError):
        return False
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return isinstance(body, dict) and fits(canonical(body, schema), schema, True)


def fits(value: Any, schema: Schema, required: bool) -> bool:
    if value is None:
        return not required
    document = {"components": DESCRIPTION["components"], "allOf": [schema]}
    return jsonschema_rs.validator_for(document, validate_formats=True).is_valid(value)


def canonical(value: Any, schema: Schema) -> Any:
    """A value in the words of its schema, as far as the API's readers bring it there. None is what was not given."""
    schema = resolved(schema)
    if isinstance(value, str) and not value.strip():
        return None
    match schema.get("type"), value:
        case "boolean", str():
            return FLAGS.get(value.strip().lower(), value)
        case "boolean", int() | float() if not isinstance(value, bool) and value in (0, 1):
            return bool(value)
        case "integer", str() if re.fullmatch(r"[+-]?[0-9]{1,19}", value.strip()):
            return int(value)
        case "string", int() | float() if not isinstance(value, bool) and value % 1 == 0:
            return canonical(str(int(value)), schema)
        case "string", str():
            return text(value, schema)
        case "array", dict() if "name" not in value:
            return [{"name": name, "value": canonical(header, {"type": "string"}) or ""} for name, header in value.items()]
        case "array", str():
            return entries(value.split(","), schema)
        case "array", int():
            return entries([value], schema)
        case "array", list():
            return entries(value, schema)
        case "object", dict():
            properties = schema.get("properties", {})
            values = {name: canonical(member, properties.get(name, {})) for name, member in value.items()}
            return {name: member for name, member in values.items() if member is not None}
    return value


def entries(values: list[Any], schema: Schema) -> list[Any]:
    found = (canonical(value, schema.get("items", {})) for value in values)
    return [value for value in found if value is not None]


def text(value: str, schema: Schema) -> str:
    if "enum" in schema:
        known = {str(name).lower(): name for name in schema["enum"]}
        return known.get(value.strip().lower(), value)
    match schema.get("format"):
        case "uuid":
            return value.strip()
        case "date-time":
            value = re.sub(r" *\(UTC\)$", "Z", value.strip())
            value = re.sub(r"(:[0-9.:]*) ([0-9]{2}):?([0-9]{2})$", r"\1+\2:\3", value)
            return value if "T" in value else value.replace(" ", "T", 1)
    if "pattern" in schema:
        return re.sub("^tel:(//)?", "", plain(value), flags=re.IGNORECASE)
    return value


def plain(value: str) -> str:
    def character(character: str) -> str:
        match unicodedata.category(character):
            case "Cf":
                return ""
            case "Pd":
                return "-"
            case "Nd":
                return str(unicodedata.digit(character))
        if 0xFF01 <= ord(character) <= 0xFF5E:
            return chr(ord(character) - 0xFEE0)
        if 0xFE00 <= ord(character) <= 0xFE0F:
            return ""
        return {"\u2212": "-"}.get(character, " " if character.isspace() else character)

    return "".join(map(character, value)).strip()


def resolved(schema: Schema) -> Schema:
    if reference := schema.get("$ref"):
        schema = DESCRIPTION
        for name in reference.removeprefix("#/").split("/"):
            schema = schema[name]
    return schema
