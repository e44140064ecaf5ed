"""The slots of PBXs: each PBX that the stack serves has one, with a commands queue of its own."""

import argparse
import time

from botocore.exceptions import ClientError

from operations.look import STALE_MILLISECONDS
from operations.stack import Failure, Stack, plain, table

SLOTS = 8
KEY = {"pk": {"S": "PBX"}, "sk": {"S": "PBX"}}


def _attribute(slot: int) -> str:
    return "pbxId" if slot == 1 else f"pbxId{slot}"


def slots(stack: Stack, arguments: argparse.Namespace) -> int:
    item = next((plain(found) for found in stack.items("ExchangeTable", "PBX")), {})
    holders = {slot: item[_attribute(slot)] for slot in range(1, SLOTS + 1) if item.get(_attribute(slot))}
    now, online = time.time() * 1000, dict[str, int]()
    for agent in map(plain, stack.items("ExchangeTable", "AGENT")):
        if now - agent.get("updatedAt", 0) <= STALE_MILLISECONDS and agent.get("pbxId"):
            online[agent["pbxId"]] = online.get(agent["pbxId"], 0) + 1
    if arguments.free is None:
        rows = [(slot, holders.get(slot, "free"), online.get(holders.get(slot, ""), 0)) for slot in range(1, SLOTS + 1)]
        table(rows, ("slot", "PBX", "agents online"))
        return 0

    slot = next((slot for slot, pbx in holders.items() if pbx == arguments.free), None)
    if slot is None:
        raise Failure(f"No slot is that of a PBX {arguments.free}. `operate.py slots` lists them.")
    if online.get(arguments.free):
        raise Failure(f"Agents of PBX {arguments.free} are online and would go on listening at slot {slot}: stop them first.")
    print(f"slot {slot} of PBX {arguments.free}: freed; the next new PBX takes it")
    if not arguments.yes:
        print("Nothing was done. It is done with --yes.")
        return 0
    # Agents of earlier versions take the first slot from a PBX that was last heard of long ago.
    change = "REMOVE #slot SET updatedAt = :long_ago" if slot == 1 else "REMOVE #slot"
    values = {":pbx": {"S": arguments.free}, **({":long_ago": {"N": "0"}} if slot == 1 else {})}
    try:
        stack.tables.update_item(
            TableName=stack.output("ExchangeTable"),
            Key=KEY,
            UpdateExpression=change,
            ConditionExpression="#slot = :pbx",
            ExpressionAttributeNames={"#slot": _attribute(slot)},
            ExpressionAttributeValues=values,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        raise Failure(f"Slot {slot} is not that of PBX {arguments.free} any more.") from error
    return 0
