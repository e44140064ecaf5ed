"""What looks, and the access keys, which are looked at first."""

import argparse
import datetime
import json
import os
import time
import urllib.error
import urllib.request
from typing import Any

import boto3
from botocore.exceptions import ClientError

from operations.stack import Failure, Stack, ago, plain, table

STALE_MILLISECONDS = 30_000
OLD_KEY_DAYS = 90
# What the stack is made of, by the names of AWS's endpoints.
SERVICES = ("apigateway", "cloudformation", "cloudwatch", "dynamodb", "events", "lambda", "logs", "sqs")
NEW_ACCOUNT = 10
# Lambda keeps so many executions for functions that reserve none.
UNRESERVED = 100
QUEUES = ("EventsQueueUrl", "DeliveriesQueueUrl", "LanesQueueUrl", "EventsDlqUrl", "DeliveriesDlqUrl")


def preflight(stack: Stack, _arguments: argparse.Namespace) -> int:
    problems = 0
    identity = stack.client("sts").get_caller_identity()
    print(f"ok    credentials: {identity['Arn']}")
    region = stack.client("sqs").meta.region_name
    known = boto3.session.Session().get_available_regions
    missing = [service for service in SERVICES if region not in known(service)]
    print(
        f"{'ok   ' if not missing else 'LOOK '} region {region}"
        + (f": AWS's list of endpoints has no {', '.join(missing)} here" if missing else "")
    )

    try:
        limit = stack.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    except (ClientError, KeyError) as error:
        print(f"LOOK  executions: unknown ({error})")
    else:
        print(f"ok    executions of the account: {limit}; deploy with ConcurrencyAlarmAt={max(1, limit * 8 // 10)}")
        if limit <= NEW_ACCOUNT:
            print("LOOK  that is a new account's limit: ask AWS for 1000 (Service Quotas, Lambda). Until then deploy with MaxPolls=2")
        elif limit >= 2 * UNRESERVED:
            print(f"ok    up to {limit - UNRESERVED} can be reserved: ApiReservedConcurrency")

    found = stack.describe()
    if found:
        print(f"ok    stack {stack.name}: {found['StackStatus']}")
        if found["StackStatus"].endswith("FAILED") or found["StackStatus"] == "ROLLBACK_COMPLETE":
            print("STOP  a stack in this state cannot be updated: delete it first")
            problems += 1
    else:
        print(f"ok    there is no stack {stack.name}; this will be its first deployment")
        left = [name for name in stack.tables.list_tables()["TableNames"] if name.startswith(f"{stack.name}-")]
        if left:
            print(f"LOOK  tables of an earlier stack: {', '.join(left)}. `operate.py adopt` takes them over")
        queues = stack.client("sqs").list_queues(QueueNamePrefix=f"{stack.name}-").get("QueueUrls", [])
        if queues:
            print(f"STOP  queues of an earlier stack are still there: {', '.join(queues)}. Wait 60 seconds after its deletion")
            problems += 1
    return 1 if problems else 0


def status(stack: Stack, arguments: argparse.Namespace) -> int:
    found = stack.describe() or {}
    print(f"stack {stack.name}: {found.get('StackStatus', 'missing')}, API {stack.output('ApiUrl')}")
    print("queues")
    rows = []
    for name in QUEUES:
        attributes = stack.client("sqs").get_queue_attributes(
            QueueUrl=stack.output(name), AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        )["Attributes"]
        rows.append(
            (name.removesuffix("Url"), attributes["ApproximateNumberOfMessages"], attributes["ApproximateNumberOfMessagesNotVisible"])
        )
    table(rows, ("queue", "waiting", "being handled"))
    print("agents")
    online = agents(stack, arguments)
    print("webhooks that need somebody")
    webhooks(stack, arguments)
    return online


def agents(stack: Stack, _arguments: argparse.Namespace) -> int:
    """Exit code 0 if at least one could act."""
    now = time.time() * 1000
    rows, able = [], False
    for item in map(plain, stack.items("ExchangeTable", "AGENT")):
        fresh = now - item.get("updatedAt", 0) <= STALE_MILLISECONDS
        able = able or (fresh and item.get("pbx") == "up")
        vitals = item.get("vitals") or {}
        rows.append(
            (
                item.get("name"),
                "online" if fresh else "away",
                f"{item.get('pbxId') or '?'} {item.get('pbx')}",
                item.get("slot") or "",
                item.get("version"),
                ago(item.get("updatedAt")),
                item.get("visibleUsers"),
                item.get("liveCalls"),
                item.get("waitingEvents"),
                vitals.get("droppedEvents", 0),
                days_since(vitals.get("accessKeySince")),
                item.get("problem") or "",
            )
        )
    table(rows, ("agent", "is", "PBX", "slot", "version", "heard", "users", "calls", "waiting", "dropped", "key", "problem"))
    return 0 if able else 1


def days_since(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{max(0, int(time.time() - milliseconds / 1000)) // 86_400} d"


def webhooks(stack: Stack, _arguments: argparse.Namespace) -> int:
    rows = []
    for item in map(plain, stack.items("StateTable", "WEBHOOK")):
        state, lane = item.get("state", "active"), item.get("lane", "shared")
        if item.get("pausedAt"):
            state = "paused"
        elif state == "active" and lane != "shared":
            state = "slow"
        if state != "active":
            since = item.get("pausedAt") or item.get("stateSince") or item.get("laneSince")
            rows.append(
                (item["sk"], state, ago(since), item.get("reason") or item.get("laneReason"), item.get("url"), item.get("description"))
            )
    table(rows, ("webhook", "state", "since", "reason", "URL", "description"))
    return 0


def dead_letters(stack: Stack, arguments: argparse.Namespace) -> int:
    """Shows messages and leaves them: they are hidden from others for a few seconds only. No phone numbers are shown."""
    sqs, total = stack.client("sqs"), 0
    for queue in ("EventsDlqUrl", "DeliveriesDlqUrl"):
        url = stack.output(queue)
        seen: dict[str, Any] = {}
        while len(seen) < arguments.limit:
            received = sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=5, WaitTimeSeconds=0, AttributeNames=["All"]
            ).get("Messages", [])
            new = [message for message in received if message["MessageId"] not in seen]
            if not new:
                break
            seen.update((message["MessageId"], message) for message in new)
        print(f"{queue.removesuffix('Url')}: {len(seen)}{' or more' if len(seen) >= arguments.limit else ''}")
        for message in list(seen.values())[: arguments.limit]:
            attributes = message.get("Attributes", {})
            sent = ago(float(attributes.get("SentTimestamp", 0)))
            print(
                f"  {message['MessageId']}  {sent}, received {attributes.get('ApproximateReceiveCount')} times, {_in_short(message['Body'])}"
            )
        for message in seen.values():
            sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
        total += len(seen)
    return 1 if total else 0


def _in_short(body: str) -> str:
    try:
        message = json.loads(body)
    except ValueError:
        return f"{len(body)} bytes that are no JSON"
    if not isinstance(message, dict):
        return f"JSON that is no object, {len(body)} bytes"
    event = message.get("event") if isinstance(message.get("event"), dict) else message
    hook = event.get("webHookEvent") if isinstance(event.get("webHookEvent"), dict) else {}
    parts = [f"version {message.get('v', '?')}", *(str(hook[name]) for name in ("CallId", "status") if name in hook)]
    parts += [f"for webhook {message['subscriptionId']}"] if "subscriptionId" in message else []
    return ", ".join(parts)


def events(_stack: Stack, arguments: argparse.Namespace) -> int:
    base, api_key = os.environ.get("EASYCONNECT_URL"), os.environ.get("EASYCONNECT_APIKEY")
    if not (base and api_key):
        raise Failure("Set EASYCONNECT_URL and EASYCONNECT_APIKEY.")
    after = None
    while True:
        wait = 0 if arguments.once else 20
        query = f"?wait={wait}&limit=100" + (f"&after={after}" if after else "")
        request = urllib.request.Request(f"{base}/events{query}", headers={"X-API-Key": api_key})
        try:
            with urllib.request.urlopen(request, timeout=35) as answer:
                page = json.load(answer)
        except urllib.error.HTTPError as error:
            raise Failure(f"The API answers {error.code}: {error.read().decode(errors='replace')}") from error
        for event in page["events"]:
            hook = event.get("webHookEvent", event)
            print(json.dumps({name: hook[name] for name in hook if not isinstance(hook[name], dict | list)}), flush=True)
        if arguments.once and (not page["events"] or after is None):
            return 0
        after = page["cursor"]


def access_keys(stack: Stack, arguments: argparse.Namespace) -> int:
    """Exit code 1 if one is older than three months."""
    user, rows, old = stack.output("AgentUserName"), [], False
    if arguments.new:
        made = stack.client("iam").create_access_key(UserName=user)["AccessKey"]
        print(f"aws_access_key_id = {made['AccessKeyId']}\naws_secret_access_key = {made['SecretAccessKey']}")
        return 0
    if arguments.delete:
        stack.client("iam").delete_access_key(UserName=user, AccessKeyId=arguments.delete)
        print(f"{arguments.delete} of {user} is deleted; agents that use it stop")
        return 0
    for found in stack.client("iam").list_access_keys(UserName=user)["AccessKeyMetadata"]:
        days = (datetime.datetime.now(datetime.UTC) - found["CreateDate"]).days
        old = old or (days > OLD_KEY_DAYS and found["Status"] == "Active")
        rows.append((found["AccessKeyId"], found["Status"], f"{days} days", "replace it" if days > OLD_KEY_DAYS else ""))
    table(rows, ("access key", "status", "age", ""))
    return 1 if old else 0


def versions(stack: Stack, _arguments: argparse.Namespace) -> int:
    lambdas, rows = stack.client("lambda"), []
    for name in ("Api", "Fanout", "Deliver", "Lanes"):
        function = stack.output(f"{name}FunctionName")
        live = lambdas.get_alias(FunctionName=function, Name="live")["FunctionVersion"]
        for page in lambdas.get_paginator("list_versions_by_function").paginate(FunctionName=function):
            for version in page["Versions"]:
                if version["Version"] != "$LATEST":
                    mark = "live" if version["Version"] == live else ""
                    rows.append((name.lower(), version["Version"], mark, version["LastModified"], version["CodeSha256"][:12]))
    table(rows, ("function", "version", "", "published", "code"))
    return 0
