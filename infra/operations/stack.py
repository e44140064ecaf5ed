"""A stack by its name: its outputs and the services it consists of."""

import functools
import time
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.exceptions import ClientError


class Failure(Exception):
    """What cannot be done, and what to do instead."""


class Stack:
    def __init__(self, name: str) -> None:
        self.name = name
        self._session = boto3.session.Session()
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._session.client(service)
        return self._clients[service]

    @property
    def tables(self) -> Any:
        return self.client("dynamodb")

    def describe(self) -> dict[str, Any] | None:
        try:
            return self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise

    @functools.cached_property
    def outputs(self) -> dict[str, str]:
        stack = self.describe()
        if stack is None:
            raise Failure(f"There is no stack {self.name} here. Set STACK_NAME or --stack, and the region.")
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def output(self, name: str) -> str:
        if name not in self.outputs:
            raise Failure(f"The stack {self.name} has no output {name}: it was deployed by another version or without that part.")
        return self.outputs[name]

    def items(self, table: str, pk: str) -> Iterator[dict[str, Any]]:
        """All items of a partition."""
        pages = self.tables.get_paginator("query").paginate(
            TableName=self.output(table),
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
            ConsistentRead=True,
        )
        for page in pages:
            yield from page["Items"]

    def scan(self, table: str) -> Iterator[dict[str, Any]]:
        for page in self.tables.get_paginator("scan").paginate(TableName=self.output(table), ConsistentRead=True):
            yield from page["Items"]


def plain(item: dict[str, Any]) -> dict[str, Any]:
    """An item without DynamoDB's types."""

    def value(typed: dict[str, Any]) -> Any:
        ((kind, inner),) = typed.items()
        if kind == "N":
            return float(inner) if "." in inner else int(inner)
        if kind == "M":
            return plain(inner)
        if kind == "L":
            return [value(each) for each in inner]
        return None if kind == "NULL" else inner

    return {name: value(typed) for name, typed in item.items()}


def ago(milliseconds: float | None) -> str:
    """How long ago that was, for people."""
    if not milliseconds:
        return "never"
    seconds = max(0, time.time() - milliseconds / 1000)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def table(rows: list[tuple[Any, ...]], header: tuple[str, ...]) -> None:
    """Prints rows below their header, in columns."""
    texts = [header, *(tuple("" if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(header))]
    for row in texts:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
