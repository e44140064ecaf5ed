"""The template as CloudFormation gets it: read, transformed by SAM's own translator, and asked for what it refers to."""

import copy
import functools
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

REPOSITORY = Path(__file__).resolve().parents[3]
TEMPLATE = REPOSITORY / "template.yaml"
FUNCTIONS = ("Api", "Fanout", "Deliver", "Lanes")
# The translator asks for a region, and for nothing else.
os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")
# It complains that its own figures are sent to nobody.
logging.getLogger("samtranslator").setLevel(logging.ERROR)


class NoManagedPolicies:
    """The template names no managed policy of AWS, so nobody has to be asked for their ARNs."""

    def load(self) -> dict[str, str]:
        return {}


@functools.cache
def _source() -> dict[str, Any]:
    return yaml_parse(TEMPLATE.read_text(encoding="utf-8"))


def source() -> dict[str, Any]:
    return copy.deepcopy(_source())


@functools.cache
def _transformed(code: str, parameters: str) -> dict[str, Any]:
    template, artifacts = source(), json.loads(code)
    for resource in template["Resources"].values():
        uri = resource.get("Properties", {}).get("CodeUri")
        if uri:
            name = uri.rsplit("/", 1)[-1]
            resource["Properties"]["CodeUri"] = f"s3://artifacts/{artifacts.get(name, name)}.zip"
    return transform(template, json.loads(parameters), NoManagedPolicies())


def transformed(code: dict[str, str] | None = None, **parameters: str) -> dict[str, Any]:
    """What is deployed. `code` is the artifact of each function's folder."""
    return copy.deepcopy(_transformed(json.dumps(code or {}), json.dumps(parameters)))


def deployed() -> dict[str, Any]:
    return transformed()


def of_type(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {name: resource for name, resource in template["Resources"].items() if resource["Type"] == kind}


def versions(template: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """The version of each function: its logical id and the resource."""
    found = {}
    for name, resource in of_type(template, "AWS::Lambda::Version").items():
        found[resource["Properties"]["FunctionName"]["Ref"].removesuffix("Function")] = (name, resource)
    return found


def walk(value: Any) -> Iterator[Any]:
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from walk(each)


def references(value: Any) -> set[str]:
    """Whatever this refers to by name: parameters, resources, pseudo parameters."""
    found = set()
    for each in walk(value):
        if not isinstance(each, dict):
            continue
        if isinstance(each.get("Ref"), str):
            found.add(each["Ref"])
        if "Fn::GetAtt" in each:
            target = each["Fn::GetAtt"]
            found.add(target.split(".")[0] if isinstance(target, str) else target[0])
        if "Fn::Sub" in each:
            text = each["Fn::Sub"] if isinstance(each["Fn::Sub"], str) else each["Fn::Sub"][0]
            found.update(name.split(".")[0] for name in re.findall(r"\$\{([^!}]+)\}", text))
        if "Fn::If" in each:
            found.add(f"condition {each['Fn::If'][0]}")
    return found


def parameters_of(value: Any, template: dict[str, Any] | None = None) -> set[str]:
    """The parameters that decide what this is, through conditions, too."""
    template = template or source()
    found: set[str] = set()
    for name in references(value):
        if name.startswith("condition "):
            found |= parameters_of(template["Conditions"][name.removeprefix("condition ")], template)
        elif name in template["Parameters"]:
            found.add(name)
    return found
