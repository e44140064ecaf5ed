"""What changes a stack as a whole: messages back to their queues, versions, deletion, adoption."""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import yaml
from botocore.exceptions import ClientError

from operations.stack import Failure, Stack

FUNCTIONS = ("api", "fanout", "deliver", "lanes")
TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"
PATIENCE_SECONDS = 900


def _arn(stack: Stack, url: str) -> str:
    return stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def redrive(stack: Stack, arguments: argparse.Namespace) -> int:
    """The destination is named: what a function has set aside itself has no source that AWS could find."""
    name = arguments.queue.title()
    source, target = stack.output(f"{name}DlqUrl"), stack.output(f"{name}QueueUrl")
    try:
        stack.client("sqs").start_message_move_task(SourceArn=_arn(stack, source), DestinationArn=_arn(stack, target))
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if not any(
            word in code for word in ("InvalidAction", "UnknownOperation", "UnsupportedOperation", "NotImplemented", "UnknownAction")
        ):
            raise
    else:
        print("AWS moves the messages; `operate.py dlq` shows what is left.")
        return 0
    print(f"{_move(stack.client('sqs'), source, target, arguments.limit)} messages moved")
    return 0


def _move(sqs: Any, source: str, target: str, limit: int) -> int:
    """One at a time and in order: a message is deleted when the other queue has it."""
    moved = 0
    while moved < limit:
        received = sqs.receive_message(
            QueueUrl=source, MaxNumberOfMessages=1, VisibilityTimeout=30, WaitTimeSeconds=0, AttributeNames=["All"]
        ).get("Messages", [])
        if not received:
            break
        (message,) = received
        attributes = message["Attributes"]
        # The id by which the queue knows copies would make it forget a message that it has seen within five minutes.
        sqs.send_message(
            QueueUrl=target,
            MessageBody=message["Body"],
            MessageGroupId=attributes["MessageGroupId"],
            MessageDeduplicationId=message["MessageId"],
        )
        sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
        moved += 1
    return moved


def rollback(stack: Stack, arguments: argparse.Namespace) -> int:
    function = stack.output(f"{arguments.function.title()}FunctionName")
    lambdas = stack.client("lambda")
    before = lambdas.get_alias(FunctionName=function, Name="live")["FunctionVersion"]
    lambdas.get_function_configuration(FunctionName=function, Qualifier=arguments.version)
    lambdas.update_alias(FunctionName=function, Name="live", FunctionVersion=arguments.version)
    print(f"{function}: live was {before} and is {arguments.version}. It moves on with the next deployment that changes the function.")
    return 0


def delete(stack: Stack, arguments: argparse.Namespace) -> int:
    """Keys first: IAM does not delete a user that has some, and the stack would be stuck."""
    if stack.describe() is None:
        raise Failure(f"There is no stack {stack.name} here.")
    iam, user = stack.client("iam"), stack.outputs.get("AgentUserName")
    keys = iam.list_access_keys(UserName=user)["AccessKeyMetadata"] if user else []
    tables = {name: stack.output(name) for name in ("ExchangeTable", "StateTable")}
    for found in keys:
        print(f"access key {found['AccessKeyId']} of {user}: deleted; its agents stop")
    print(f"stack {stack.name}: deleted")
    print(f"tables {', '.join(tables.values())}: kept")
    if not arguments.yes:
        print("Nothing was done. It is done with --yes.")
        return 0
    for found in keys:
        iam.delete_access_key(UserName=user, AccessKeyId=found["AccessKeyId"])
    stack.client("cloudformation").delete_stack(StackName=stack.name)
    _wait(stack, lambda status: status in (None, "DELETE_COMPLETE"))
    print("Done. A stack of the same name can be made after 60 seconds, because its queues have the same names. To take the tables over:")
    print(f"  operate.py --stack {stack.name} adopt --exchange {tables['ExchangeTable']} --state {tables['StateTable']} --yes")
    return 0


def _wait(stack: Stack, done: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = stack.describe()
        status = found["StackStatus"] if found else None
        if done(status):
            return
        if status and not status.endswith("_IN_PROGRESS"):
            raise Failure(f"The stack ended as {status}: look at its events.")
        time.sleep(1)
    raise Failure(f"The stack was not ready within {PATIENCE_SECONDS} s.")


class _Tags(yaml.SafeLoader):
    """Reads the template without CloudFormation's tags, which the tables need none of but one."""


_Tags.add_multi_constructor("!", lambda _loader, _suffix, _node: None)


def tables_only(protected: dict[str, bool]) -> dict[str, Any]:
    """A template with the tables alone: CloudFormation imports into a new stack only what is all of it."""
    template = yaml.load(TEMPLATE.read_text(encoding="utf-8"), Loader=_Tags)
    resources = {name: resource for name, resource in template["Resources"].items() if resource["Type"] == "AWS::DynamoDB::Table"}
    for name, resource in resources.items():
        resource["Properties"]["DeletionProtectionEnabled"] = protected[name]
    return {"AWSTemplateFormatVersion": "2010-09-09", "Description": template["Description"], "Resources": resources}


def adopt(stack: Stack, arguments: argparse.Namespace) -> int:
    if stack.describe():
        raise Failure(f"A stack {stack.name} is there already. Tables can only be adopted by a new one.")
    names = {"ExchangeTable": arguments.exchange, "StateTable": arguments.state}
    described = {name: stack.tables.describe_table(TableName=table)["Table"] for name, table in names.items()}
    protected = {name: bool(table.get("DeletionProtectionEnabled")) for name, table in described.items()}
    template = tables_only(protected)
    for name, table in described.items():
        print(f"{name}: {names[name]}, about {table.get('ItemCount', 0)} items")
    if not arguments.yes:
        print("Nothing was done. It is done with --yes.")
        return 0
    cloudformation = stack.client("cloudformation")
    change_set = cloudformation.create_change_set(
        StackName=stack.name,
        ChangeSetName=f"adopt-{int(time.time())}",
        ChangeSetType="IMPORT",
        TemplateBody=json.dumps(template),
        ResourcesToImport=[
            {"ResourceType": "AWS::DynamoDB::Table", "LogicalResourceId": name, "ResourceIdentifier": {"TableName": table}}
            for name, table in names.items()
        ],
    )["Id"]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (state := cloudformation.describe_change_set(ChangeSetName=change_set))["Status"] != "CREATE_COMPLETE":
        if state["Status"] == "FAILED" or time.monotonic() > deadline:
            raise Failure(f"The tables cannot be adopted: {state.get('StatusReason', state['Status'])}")
        time.sleep(1)
    cloudformation.execute_change_set(ChangeSetName=change_set)
    _wait(stack, lambda status: status == "IMPORT_COMPLETE")
    print("The tables belong to the stack. Deploy it as usual now, with the same parameters as before.")
    return 0
