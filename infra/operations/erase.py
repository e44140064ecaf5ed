"""Overwrites a phone number wherever the tables have it. Items stay where they are: readers of the feed would wait for one that is gone.

A number is recognised at its end, because the PBX writes the digits of its trunk line before it. What DynamoDB keeps for recovery, what
receivers were sent, and the PBX itself have the number still.
"""

import argparse
import re
import zlib
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from operations.stack import Failure, Stack

ERASED = "erased"
# Fewer digits would be in too much else.
SHORTEST = 6
NUMBER = re.compile(r"(?<![0-9A-Za-z-])\+?[0-9]{%d,}(?![0-9A-Za-z-])" % SHORTEST)


def patterns(numbers: list[str]) -> tuple[str, ...]:
    """The ends of what has to go."""
    ends = tuple(re.sub(r"[^0-9]", "", number).removeprefix("00") for number in numbers)
    for number, end in zip(numbers, ends, strict=True):
        if len(end) < SHORTEST:
            raise Failure(f"{number} has fewer than {SHORTEST} digits: too much else would go with it.")
    return ends


def without(text: str, ends: tuple[str, ...]) -> str:
    return NUMBER.sub(lambda match: ERASED if match[0].endswith(ends) else match[0], text)


def rewritten(value: dict[str, Any], ends: tuple[str, ...]) -> dict[str, Any]:
    """The same value of an item without the number."""
    ((kind, inner),) = value.items()
    if kind == "S":
        return {"S": without(inner, ends)}
    if kind == "SS":
        return {"SS": sorted({without(each, ends) for each in inner})}
    if kind == "L":
        return {"L": [rewritten(each, ends) for each in inner]}
    if kind == "M":
        return {"M": {without(name, ends): rewritten(each, ends) for name, each in inner.items()}}
    if kind == "B":
        return {"B": _in_compressed(bytes(inner), lambda text: without(text, ends))}
    return value


def _in_compressed(packed: bytes, change: Callable[[str], str]) -> bytes:
    """Long texts are compressed (shared/src/tables/packed.rs). What is none stays as it is."""
    try:
        text = zlib.decompress(packed, wbits=-zlib.MAX_WBITS).decode()
    except (zlib.error, UnicodeDecodeError):
        return packed
    changed = change(text)
    if changed == text:
        return packed
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(changed.encode()) + compressor.flush()


def erase(stack: Stack, arguments: argparse.Namespace) -> int:
    ends = patterns(arguments.number)
    changed = missed = 0
    for table in ("StateTable", "ExchangeTable"):
        for item in stack.scan(table):
            key = {name: item[name] for name in ("pk", "sk")}
            new = {name: rewritten(value, ends) for name, value in item.items()}
            if new == item:
                continue
            changed += 1
            print(f"  {item['pk']['S'].split('#')[0]:<10} in {stack.output(table)}")
            if arguments.yes and not _replace(stack, stack.output(table), key, item, new):
                missed += 1
    if not arguments.yes:
        print(f"{changed} items have the number. Nothing was done. It is done with --yes.")
        return 0
    print(f"{changed - missed} items were changed" + (f"; {missed} changed meanwhile: run it again" if missed else ""))
    return 1 if missed else 0


def _replace(stack: Stack, table: str, key: dict[str, Any], old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Only what has not been changed since it was read."""
    if any(new[name] != old[name] for name in key):
        # A counter of calls between two numbers: it is worthless within the hour.
        stack.tables.delete_item(TableName=table, Key=key)
        return True
    names = [name for name in new if new[name] != old[name]]
    try:
        stack.tables.update_item(
            TableName=table,
            Key=key,
            UpdateExpression="SET " + ", ".join(f"#{at} = :new{at}" for at in range(len(names))),
            ConditionExpression=" AND ".join(f"#{at} = :old{at}" for at in range(len(names))),
            ExpressionAttributeNames={f"#{at}": name for at, name in enumerate(names)},
            ExpressionAttributeValues={
                **{f":new{at}": new[name] for at, name in enumerate(names)},
                **{f":old{at}": old[name] for at, name in enumerate(names)},
            },
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return False
    return True
