"""API keys and webhooks as a file, to bring them into another stack. The file has the webhooks' secrets and the keys' hashes: keep it like
a key. Events, deliveries and what waits for a webhook are not in it."""

import argparse
import json
import os
from typing import Any

from botocore.exceptions import ClientError

from operations.stack import Failure, Stack

KINDS = ("APIKEY", "WEBHOOK")
FORMAT = 1
# How a webhook was doing where it came from (`Health` in shared/src/webhook.rs) says nothing about the new place.
HEALTH = {
    "state", "stateSince", "reason", "lane", "laneSince", "slowSince", "laneReason", "nextLookAt", "nextAttemptAt", "slowAt", "refusedAt",
    "refusals", "refusedFor", "lastProbed", "purgedBefore", "lastSuccessAt", "refusingSince", "pendingNotices", "expiryWarned", "expiryTold",
}  # fmt: skip


def export(stack: Stack, arguments: argparse.Namespace) -> int:
    items = [item for kind in KINDS for item in stack.items("StateTable", kind)]
    handle = os.open(arguments.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, "stack": stack.name, "items": items}, file, indent=1)
    for kind in KINDS:
        print(f"{sum(item['pk']['S'] == kind for item in items)} of {kind}")
    print(f"in {arguments.file}, which has secrets: keep it like a key")
    return 0


def fresh(item: dict[str, Any]) -> dict[str, Any]:
    """A webhook at its beginning; one that is paused or spaced out keeps the lane that goes with it."""
    if item["pk"]["S"] != "WEBHOOK":
        return item
    keeps = {"lane", "laneSince"} if "pausedAt" in item or "maxPerMinute" in item else set()
    return {name: value for name, value in item.items() if name not in HEALTH - keeps}


def restore(stack: Stack, arguments: argparse.Namespace) -> int:
    content = json.loads(arguments.file.read_text(encoding="utf-8"))
    if content.get("format") != FORMAT:
        raise Failure(f"{arguments.file} is no export of this version.")
    items, table = content["items"], stack.output("StateTable")
    if any(item["pk"]["S"] not in KINDS for item in items):
        raise Failure(f"{arguments.file} has items that are neither keys nor webhooks.")
    written = 0
    for item in items:
        condition = {} if arguments.overwrite else {"ConditionExpression": "attribute_not_exists(pk)"}
        try:
            stack.tables.put_item(TableName=table, Item=fresh(item), **condition)
            written += 1
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
    # `fanout` reads the webhooks again when their version changes.
    stack.tables.update_item(
        TableName=table,
        Key={"pk": {"S": "WEBHOOKS"}, "sk": {"S": "version"}},
        UpdateExpression="ADD n :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )
    print(f"{written} written, {len(items) - written} were there already")
    return 0
