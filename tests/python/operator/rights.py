"""What each identity of the stack needs, and what it has to be refused.

`NEEDED` names for each right the folder and the call that need it. Rights with a text instead are used by AWS itself on behalf of a function,
so their reason is a page of AWS.
"""

import functools
import re
from typing import Any

from stackfile import REPOSITORY

MAPPING = "AWS: the queue mapping, https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions"
LOGS = "AWS: the log writer, https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-loggroups.html"


def code(folder: str, call: str) -> tuple[str, str]:
    return folder, call


# One for each slot of a PBX.
COMMANDS = ("CommandsQueue", *(f"CommandsQueue{slot}" for slot in range(2, 9)))
API, FANOUT, DELIVER, AGENT = "functions/api/src", "functions/fanout/src", "functions/deliver/src", "agent/src"
# identity: resource: action: the folder that makes the call, and how it is called there.
NEEDED: dict[str, dict[str, dict[str, Any]]] = {
    "ApiRole": {
        "ApiLogGroup": {"logs:CreateLogStream": LOGS, "logs:PutLogEvents": LOGS},
        "ExchangeTable": {
            "dynamodb:GetItem": code(API, "exchange.command("),
            "dynamodb:PutItem": code(API, "exchange.insert("),
            "dynamodb:Query": code(API, "exchange.agents("),
            "dynamodb:UpdateItem": code(API, "exchange.expire("),
        },
        "StateTable": {
            "dynamodb:BatchGetItem": code(API, ".events_of("),
            "dynamodb:DeleteItem": code(API, ".delete_webhook("),
            "dynamodb:GetItem": code(API, "state.webhook("),
            "dynamodb:PutItem": code(API, ".put_new_webhook("),
            "dynamodb:Query": code(API, ".webhooks("),
            "dynamodb:UpdateItem": code(API, ".change_settings("),
        },
        **{queue: {"sqs:SendMessage": code(API, "doorbell.send(")} for queue in COMMANDS},
        "DeliveriesQueue": {"sqs:SendMessage": code(API, "deliveries.send_fifo(")},
        "LanesQueue": {"sqs:SendMessage": code(API, "lanes.send_fifo(")},
    },
    "FanoutRole": {
        "FanoutLogGroup": {"logs:CreateLogStream": LOGS, "logs:PutLogEvents": LOGS},
        "EventsQueue": {
            "sqs:ChangeMessageVisibility": code(FANOUT, ".renew("),
            "sqs:DeleteMessage": MAPPING,
            "sqs:GetQueueAttributes": MAPPING,
            "sqs:ReceiveMessage": MAPPING,
        },
        "EventsDlq": {"sqs:SendMessage": code(FANOUT, ".send_fifo(")},
        "DeliveriesQueue": {"sqs:SendMessage": code(FANOUT, ".send_fifo(")},
        "StateTable": {
            "dynamodb:GetItem": code(FANOUT, ".webhooks_version("),
            "dynamodb:PutItem": code(FANOUT, ".settle("),
            "dynamodb:Query": code(FANOUT, ".recorded("),
            "dynamodb:UpdateItem": code(FANOUT, ".reserve("),
        },
    },
    "DeliverRole": {
        "DeliverLogGroup": {"logs:CreateLogStream": LOGS, "logs:PutLogEvents": LOGS},
        "LanesLogGroup": {"logs:CreateLogStream": LOGS, "logs:PutLogEvents": LOGS},
        "DeliveriesQueue": {
            "sqs:ChangeMessageVisibility": code(DELIVER, ".renew("),
            "sqs:DeleteMessage": code(DELIVER, ".delete_all("),
            "sqs:GetQueueAttributes": MAPPING,
            "sqs:ReceiveMessage": MAPPING,
            "sqs:SendMessage": code(DELIVER, "deliveries.send_fifo("),
        },
        "LanesQueue": {
            "sqs:ChangeMessageVisibility": code(DELIVER, ".set_visibility("),
            "sqs:DeleteMessage": code(DELIVER, ".delete_all("),
            "sqs:GetQueueAttributes": MAPPING,
            "sqs:ReceiveMessage": MAPPING,
            "sqs:SendMessage": code(DELIVER, "lanes.send_fifo("),
        },
        "DeliveriesDlq": {"sqs:SendMessage": code(DELIVER, "deliveries_dlq.send_fifo(")},
        "StateTable": {
            "dynamodb:BatchGetItem": code(DELIVER, ".receivers("),
            "dynamodb:BatchWriteItem": code(DELIVER, ".put_delivery_logs("),
            "dynamodb:DeleteItem": code(DELIVER, ".remove_parked("),
            "dynamodb:GetItem": code(DELIVER, ".webhook("),
            "dynamodb:PutItem": code(DELIVER, ".put_parked_log("),
            "dynamodb:Query": code(DELIVER, ".webhooks("),
            "dynamodb:UpdateItem": code(DELIVER, ".note_look("),
        },
        "ExchangeTable": {"dynamodb:Query": code(DELIVER, "exchange.agents(")},
    },
    "AgentUser": {
        "EventsQueue": {"sqs:SendMessage": code(AGENT, ".send_fifo(")},
        **{
            queue: {
                "sqs:ChangeMessageVisibility": code(AGENT, ".set_visibility("),
                "sqs:DeleteMessage": code(AGENT, ".delete("),
                "sqs:GetQueueAttributes": code(AGENT, ".get_queue_attributes("),
                "sqs:ReceiveMessage": code(AGENT, ".receive("),
            }
            for queue in COMMANDS
        },
        "ExchangeTable": {
            "dynamodb:DeleteItem": code(AGENT, "exchange.forget("),
            "dynamodb:GetItem": code(AGENT, "exchange.command("),
            "dynamodb:PutItem": code(AGENT, ".beat("),
            "dynamodb:Query": code(AGENT, ".known_agents("),
            "dynamodb:UpdateItem": code(AGENT, ".claim("),
        },
    },
    "ApiSettings": {},
}
# What is tried of each identity on each resource of the stack, and on one of somebody else's.
ACTIONS = {
    "AWS::DynamoDB::Table": [
        "dynamodb:" + action
        for action in (
            "BatchGetItem BatchWriteItem DeleteItem GetItem PutItem Query Scan UpdateItem ConditionCheckItem PartiQLSelect PartiQLUpdate "
            "CreateTable DeleteTable DescribeTable UpdateTable UpdateTimeToLive UpdateContinuousBackups RestoreTableFromBackup "
            "ExportTableToPointInTime TagResource PutResourcePolicy"
        ).split()
    ],
    "AWS::SQS::Queue": [
        "sqs:" + action
        for action in (
            "ChangeMessageVisibility DeleteMessage GetQueueAttributes GetQueueUrl ReceiveMessage SendMessage PurgeQueue DeleteQueue "
            "SetQueueAttributes AddPermission StartMessageMoveTask ListDeadLetterSourceQueues TagQueue"
        ).split()
    ],
    "AWS::Logs::LogGroup": [
        "logs:" + action for action in "CreateLogStream PutLogEvents GetLogEvents FilterLogEvents DeleteLogGroup CreateLogGroup".split()
    ],
}
ELSEWHERE = {
    "iam:CreateAccessKey": "arn:aws:iam::123456789012:user/stack-AgentUser",
    "iam:PassRole": "arn:aws:iam::123456789012:role/stack-ApiRole",
    "iam:PutRolePolicy": "arn:aws:iam::123456789012:role/stack-ApiRole",
    "lambda:InvokeFunction": "arn:aws:lambda:eu-central-1:123456789012:function:stack-ApiFunction",
    "lambda:UpdateFunctionCode": "arn:aws:lambda:eu-central-1:123456789012:function:stack-ApiFunction",
    "cloudformation:UpdateStack": "arn:aws:cloudformation:eu-central-1:123456789012:stack/stack/1",
    "s3:GetObject": "arn:aws:s3:::somebody/key",
    "secretsmanager:GetSecretValue": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:x",
    "ssm:GetParameter": "arn:aws:ssm:eu-central-1:123456789012:parameter/x",
    "kms:Decrypt": "arn:aws:kms:eu-central-1:123456789012:key/x",
    "sts:AssumeRole": "arn:aws:iam::123456789012:role/other",
    "cloudwatch:PutMetricData": "*",
    "dynamodb:GetItem": "arn:aws:dynamodb:eu-central-1:123456789012:table/other",
    "dynamodb:Query": "arn:aws:dynamodb:eu-central-1:123456789012:table/other-StateTable",
    "sqs:SendMessage": "arn:aws:sqs:eu-central-1:123456789012:other",
    "sqs:ReceiveMessage": "arn:aws:sqs:eu-west-1:123456789012:stack-CommandsQueue",
    "logs:PutLogEvents": "arn:aws:logs:eu-central-1:123456789012:log-group:other:*",
}


def requests_of(method: str) -> set[str]:
    """The requests to AWS that a method of `shared`, or of the agent's check, leads to, by names alone."""
    found: set[str] = set()
    seen: set[str] = set()
    todo = {method}
    while todo:
        name = todo.pop()
        seen.add(name)
        for body in bodies().get(name, [f".{name}()"]):
            found.update(
                re.findall(
                    r"\.((?:batch_)?(?:get|put|write|update|delete)_item|query|(?:send|receive|delete)_message"
                    r"(?:_batch)?|change_message_visibility(?:_batch)?|get_queue_attributes)\(\)",
                    body,
                )
            )
            todo |= {called for called in re.findall(r"(?:self|Self)(?:\.|::)(\w+)\(", body) if called in bodies()} - seen
    return {re.sub("_batch$", "", request).title().replace("_", "") for request in found}


@functools.cache
def bodies() -> dict[str, list[str]]:
    """The bodies of the functions of `shared`, by name."""
    found: dict[str, list[str]] = {}
    for file in sorted((REPOSITORY / "shared/src").rglob("*.rs")):
        parts = re.split(r"(?m)^\s*(?:pub(?:\(\w+\))? )?(?:async )?fn (\w+)", file.read_text(encoding="utf-8").split("#[cfg(test)]")[0])
        for name, body in zip(parts[1::2], parts[2::2], strict=True):
            found.setdefault(name, []).append(body)
    return found


def place(folder: str, call: str) -> str | None:
    """The first place in a folder's programs, not in their tests, that makes a call. A chain of calls may be broken into lines."""
    pattern = re.compile(r"\s*\.".join(map(re.escape, call.split("."))))
    for name, text in programs(folder):
        found = pattern.search(text)
        if found:
            return f"{name}:{text.count(chr(10), 0, found.end()) + 1}"
    return None


@functools.cache
def programs(folder: str) -> list[tuple[str, str]]:
    """The files of a folder without tests, each with its text."""
    files = sorted(file for file in (REPOSITORY / folder).rglob("*.rs") if "tests" not in (*file.parts, file.stem))
    return [(str(file.relative_to(REPOSITORY)), file.read_text(encoding="utf-8").split("#[cfg(test)]\nmod tests {")[0]) for file in files]
