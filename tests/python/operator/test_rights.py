"""What each identity may do is exactly what its program calls, and everything else is refused.

`NEEDED` names for each right the file and the call that need it. Rights marked `AWS` are used by AWS itself on behalf of a function: the
local cloud does not evaluate them, so their reason is a page of AWS.
"""

import functools
import re
import unittest

import policies
from stackfile import REPOSITORY, deployed, of_type

MAPPING = "AWS: the queue mapping, https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions"
LOGS = "AWS: the log writer, https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-loggroups.html"


def code(file, call):
    return file, call


# One for each slot of a PBX.
COMMANDS = ("CommandsQueue", *(f"CommandsQueue{slot}" for slot in range(2, 9)))
API, FANOUT, DELIVER, AGENT = "functions/api/src", "functions/fanout/src", "functions/deliver/src", "agent/src"
# identity: resource: action: the folder that makes the call, and how it is called there.
NEEDED = {
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
            "dynamodb:DeleteItem": code(AGENT, ".forget("),
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


def requests_of(method):
    """The requests to AWS that a method of `shared`, or of the agent's check, leads to, by names alone."""
    found, seen, todo = set(), set(), {method}
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
def bodies():
    """The bodies of the functions of `shared`, by name."""
    found = {}
    for file in sorted((REPOSITORY / "shared/src").rglob("*.rs")):
        parts = re.split(r"(?m)^\s*(?:pub(?:\(\w+\))? )?(?:async )?fn (\w+)", file.read_text(encoding="utf-8").split("#[cfg(test)]")[0])
        for name, body in zip(parts[1::2], parts[2::2], strict=True):
            found.setdefault(name, []).append(body)
    return found


class Rights(unittest.TestCase):
    def setUp(self):
        self.template = deployed()

    def test_every_identity_is_judged(self):
        identities = {
            name for kind in ("AWS::IAM::Role", "AWS::IAM::User", "AWS::IAM::ManagedPolicy") for name in of_type(self.template, kind)
        }
        self.assertEqual(identities, set(NEEDED) | {"AgentPolicy"})
        # SAM makes a role for a function that names none, and its rights are too wide.
        for name, function in of_type(self.template, "AWS::Lambda::Function").items():
            self.assertIn(function["Properties"]["Role"]["Fn::GetAtt"][0], NEEDED, name)

    def test_each_may_do_what_it_calls_and_nothing_else(self):
        tried = 0
        for identity, needed in NEEDED.items():
            granted = policies.statements(self.template, identity)
            refused = 0
            for kind, actions in ACTIONS.items():
                for resource in of_type(self.template, kind):
                    for action in actions:
                        expected = action in needed.get(resource, {})
                        found = policies.allowed(self.template, granted, action, policies.arn(self.template, resource))
                        self.assertEqual(found, expected, f"{identity} {action} {resource}")
                        tried, refused = tried + 1, refused + (not expected)
            for action, resource in ELSEWHERE.items():
                self.assertFalse(policies.allowed(self.template, granted, action, resource), f"{identity} {action} {resource}")
                tried, refused = tried + 1, refused + 1
            rights = sum(len(actions) for actions in needed.values())
            print(f"  {identity:<12} {rights:>3} allowed, {refused:>4} refused")
        self.assertGreater(tried, 500)

    def test_no_statement_is_wide(self):
        for identity in NEEDED:
            for statement in policies.statements(self.template, identity):
                if statement["Effect"] == "Allow":
                    self.assertNotIn("*", str(statement), identity)

    def test_each_right_has_its_call(self):
        texts = {
            folder: "\n".join(file.read_text(encoding="utf-8") for file in (REPOSITORY / folder).rglob("*.rs"))
            for folder in (API, FANOUT, DELIVER, AGENT)
        }
        # A chain of calls may be broken into lines.
        joined = {folder: re.sub(r"\s*\n\s*\.", ".", text) for folder, text in texts.items()}
        by_aws = []
        for identity, resources in NEEDED.items():
            for resource, actions in resources.items():
                for action, why in actions.items():
                    if isinstance(why, str):
                        by_aws.append((identity, action, resource, why))
                    else:
                        self.assertIn(why[1], joined[why[0]], f"{identity} {action} {resource}: nothing in {why[0]} calls {why[1]}")
                        method = re.split(r"\W", why[1].rstrip("("))[-1]
                        self.assertIn(action.split(":")[1], requests_of(method), f"{identity} {resource}: {method}")
        print("  only AWS evaluates:")
        for identity, action, resource, why in by_aws:
            print(f"    {identity:<12} {action:<24} {resource:<16} {why}")

    def test_a_right_taken_away_is_missed(self):
        """The evaluator itself: without a statement, what it granted is refused."""
        for identity, needed in NEEDED.items():
            granted = policies.statements(self.template, identity)
            for at, statement in enumerate(granted):
                if statement["Effect"] == "Deny":
                    continue
                rest = granted[:at] + granted[at + 1 :]
                lost = [
                    (action, resource)
                    for resource, actions in needed.items()
                    for action in actions
                    if not policies.allowed(self.template, rest, action, policies.arn(self.template, resource))
                ]
                self.assertNotEqual(lost, [], f"{identity}: {statement} grants nothing that is needed")

    def test_others_may_call_the_functions_only_as_they_should(self):
        permissions = of_type(self.template, "AWS::Lambda::Permission")
        principals = {permission["Properties"]["Principal"] for permission in permissions.values()}
        self.assertEqual(principals, {"apigateway.amazonaws.com", "events.amazonaws.com"})
        for name, permission in permissions.items():
            self.assertIn("SourceArn", permission["Properties"], name)
        for name, role in of_type(self.template, "AWS::IAM::Role").items():
            (statement,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
            self.assertEqual(statement["Principal"], {"Service": "lambda.amazonaws.com"}, name)


if __name__ == "__main__":
    unittest.main()
