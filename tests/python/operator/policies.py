"""AWS's evaluation of identity policies, for what the template uses: allow, deny, wildcards in actions and resources, no conditions."""

import fnmatch
from collections.abc import Iterator
from typing import Any

ACCOUNT, REGION = "123456789012", "eu-central-1"
_SERVICES = {"AWS::DynamoDB::Table": "dynamodb", "AWS::SQS::Queue": "sqs", "AWS::Logs::LogGroup": "logs"}


def arn(template: dict[str, Any], name: str) -> str:
    """The ARN of a resource of the stack; the names of those in other stacks never begin alike."""
    kind = template["Resources"][name]["Type"]
    separator = {"dynamodb": "table/", "sqs": "", "logs": "log-group:"}[_SERVICES[kind]]
    ending = ":*" if kind == "AWS::Logs::LogGroup" else ""
    return f"arn:aws:{_SERVICES[kind]}:{REGION}:{ACCOUNT}:{separator}stack-{name}{ending}"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _resolved(template: dict[str, Any], resource: Any) -> str:
    if isinstance(resource, str):
        return resource
    ((function, target),) = resource.items()
    name, attribute = target if isinstance(target, list) else target.split(".")
    assert (function, attribute) == ("Fn::GetAtt", "Arn"), resource
    return arn(template, name)


def statements(template: dict[str, Any], identity: str) -> list[dict[str, Any]]:
    """Everything that is granted to an identity: a role or user by its own policies and those it names, or a managed policy itself."""
    resource = template["Resources"][identity]
    properties = resource["Properties"]
    documents = [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
    documents += [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    found = [statement for document in documents for statement in _listed(document["Statement"])]
    for attached in properties.get("ManagedPolicyArns", []):
        found += statements(template, attached["Ref"])
    return found


def without_one(statement: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The statement without one of its actions, and without one of its resources, where it has several."""
    for part in ("Action", "Resource"):
        each = _listed(statement[part])
        for at in range(len(each) if len(each) > 1 else 0):
            yield statement | {part: each[:at] + each[at + 1 :]}


def allowed(template: dict[str, Any], granted: list[dict[str, Any]], action: str, resource: str) -> bool:
    """An explicit deny wins, and what nothing allows is refused."""
    decision = False
    for statement in granted:
        assert set(statement) <= {"Sid", "Effect", "Action", "Resource"}, f"this evaluator does not know {statement}"
        actions = any(fnmatch.fnmatchcase(action.lower(), pattern.lower()) for pattern in _listed(statement["Action"]))
        resources = any(fnmatch.fnmatchcase(resource, _resolved(template, each)) for each in _listed(statement["Resource"]))
        if actions and resources:
            if statement["Effect"] == "Deny":
                return False
            decision = True
    return decision
