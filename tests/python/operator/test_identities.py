"""The rights of the deployed template on the local cloud, which evaluates policies by a program of its own: real requests with the
credentials of each identity. What a program calls is let through, everything else is refused, and without a statement something is missed.
"""

import json
import unittest
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from localstack import LocalStack
from rights import NEEDED
from stackfile import deployed, of_type

KEY = {"pk": {"S": "rights"}, "sk": {"S": "rights"}}
FIFO = {"MessageGroupId": "rights", "MessageDeduplicationId": "rights"}
# How each action is asked for, of a table or queue. What it would do by itself is harmless: it names nothing that is there.
TABLE = {
    "dynamodb:BatchGetItem": lambda client, table: client.batch_get_item(RequestItems={table: {"Keys": [KEY]}}),
    "dynamodb:BatchWriteItem": lambda client, table: client.batch_write_item(RequestItems={table: [{"DeleteRequest": {"Key": KEY}}]}),
    "dynamodb:DeleteItem": lambda client, table: client.delete_item(TableName=table, Key=KEY),
    "dynamodb:GetItem": lambda client, table: client.get_item(TableName=table, Key=KEY),
    "dynamodb:PutItem": lambda client, table: client.put_item(TableName=table, Item=KEY, ConditionExpression="attribute_exists(pk)"),
    "dynamodb:Query": lambda client, table: client.query(
        TableName=table, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": "rights"}}
    ),
    "dynamodb:Scan": lambda client, table: client.scan(TableName=table),
    "dynamodb:UpdateItem": lambda client, table: client.update_item(
        TableName=table, Key=KEY, UpdateExpression="REMOVE nothing", ConditionExpression="attribute_exists(pk)"
    ),
    "dynamodb:PartiQLSelect": lambda client, table: client.execute_statement(Statement=f"SELECT * FROM \"{table}\" WHERE pk = 'rights'"),
    "dynamodb:DescribeTable": lambda client, table: client.describe_table(TableName=table),
    "dynamodb:UpdateTable": lambda client, table: client.update_table(TableName=table, BillingMode="PAY_PER_REQUEST"),
    "dynamodb:DeleteTable": lambda client, table: client.delete_table(TableName=table),
}
QUEUE = {
    "sqs:ChangeMessageVisibility": lambda client, url: client.change_message_visibility(QueueUrl=url, ReceiptHandle="r", VisibilityTimeout=0),
    "sqs:DeleteMessage": lambda client, url: client.delete_message(QueueUrl=url, ReceiptHandle="r"),
    "sqs:GetQueueAttributes": lambda client, url: client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"]),
    "sqs:ReceiveMessage": lambda client, url: client.receive_message(QueueUrl=url, WaitTimeSeconds=0),
    # Without the group that a FIFO queue demands, or with one that no other queue takes, it is not sent.
    "sqs:SendMessage": lambda client, url: client.send_message(QueueUrl=url, MessageBody="x", **({} if url.endswith(".fifo") else FIFO)),
    "sqs:PurgeQueue": lambda client, url: client.purge_queue(QueueUrl=url),
    "sqs:SetQueueAttributes": lambda client, url: client.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"}),
    "sqs:DeleteQueue": lambda client, url: client.delete_queue(QueueUrl=url),
}
# Rights of log groups are not here: the local cloud takes a log stream's group for the resource, which no policy of AWS names.
CALLS = {"AWS::DynamoDB::Table": TABLE, "AWS::SQS::Queue": QUEUE}
# What is nobody's business.
ELSEWHERE = {
    "iam:CreateAccessKey": lambda session, names: session("iam").create_access_key(UserName=names["AgentUser"]),
    "iam:ListAccessKeys": lambda session, names: session("iam").list_access_keys(UserName=names["AgentUser"]),
    "iam:GetAccessKeyLastUsed": lambda session, names: session("iam").get_access_key_last_used(AccessKeyId=names["AccessKeyId"]),
    "iam:PutUserPolicy": lambda session, names: session("iam").put_user_policy(
        UserName=names["AgentUser"], PolicyName="more", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []})
    ),
    "iam:CreatePolicyVersion": lambda session, names: session("iam").create_policy_version(
        PolicyArn=names["AgentPolicy"], PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []})
    ),
    "sts:AssumeRole": lambda session, names: session("sts").assume_role(RoleArn=names["RoleArn"], RoleSessionName="rights"),
    "lambda:InvokeFunction": lambda session, names: session("lambda").invoke(FunctionName=names["ApiFunction"]),
    "lambda:GetFunction": lambda session, names: session("lambda").get_function(FunctionName=names["ApiFunction"]),
    "cloudformation:DescribeStacks": lambda session, names: session("cloudformation").describe_stacks(),
    "dynamodb:ListTables": lambda session, names: session("dynamodb").list_tables(),
    "sqs:ListQueues": lambda session, names: session("sqs").list_queues(),
    "s3:ListAllMyBuckets": lambda session, names: session("s3").list_buckets(),
    "cloudwatch:PutMetricData": lambda session, names: session("cloudwatch").put_metric_data(Namespace="x", MetricData=[{"MetricName": "x"}]),
}


def refused(ask: Any, *details: Any) -> bool:
    """Whether a request fails for want of a right. Any other error comes behind that question."""
    try:
        ask(*details)
    except ClientError as error:
        return error.response["Error"]["Code"] in {"AccessDenied", "AccessDeniedException"}
    return False


class Identities(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = LocalStack.of(cls)
        cls.iam = cls.stack.client("iam")
        cls.template = deployed()
        resources = cls.stack.client("cloudformation").describe_stack_resources(StackName=cls.stack.environment["STACK_NAME"])
        cls.names = {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in resources["StackResources"]}
        cls.names["RoleArn"] = cls.iam.get_role(RoleName=cls.names["ApiRole"])["Role"]["Arn"]
        cls.clients = {}
        cls.needed = {
            identity: {resource: actions for resource, actions in resources.items() if cls.template["Resources"][resource]["Type"] in CALLS}
            for identity, resources in NEEDED.items()
        }
        cls.credentials = {identity: cls.credentials_of(identity) for identity in NEEDED if identity != "ApiSettings"}

    @classmethod
    def credentials_of(cls, identity):
        """Of the user by a key of its own; of a role as Lambda gets them, whose place root takes here."""
        if identity.endswith("User"):
            key = cls.iam.create_access_key(UserName=cls.names[identity])["AccessKey"]
            cls.names["AccessKeyId"] = key["AccessKeyId"]
            return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        role = cls.iam.get_role(RoleName=cls.names[identity])["Role"]["Arn"]
        session = cls.stack.client("sts").assume_role(RoleArn=role, RoleSessionName="rights")["Credentials"]
        return {
            "aws_access_key_id": session["AccessKeyId"],
            "aws_secret_access_key": session["SecretAccessKey"],
            "aws_session_token": session["SessionToken"],
        }

    def session(self, identity):
        def client(service):
            if (identity, service) not in self.clients:
                self.clients[identity, service] = boto3.client(
                    service,
                    endpoint_url=self.stack.environment["AWS_ENDPOINT_URL"],
                    region_name=self.stack.environment["AWS_REGION"],
                    config=Config(retries={"total_max_attempts": 1}),
                    **self.credentials[identity],
                )
            return self.clients[identity, service]

        return client

    def is_refused(self, identity, resource, action):
        calls = CALLS[self.template["Resources"][resource]["Type"]]
        return refused(calls[action], self.session(identity)(action.split(":")[0]), self.names[resource])

    def test_each_may_do_what_it_calls_and_nothing_else(self):
        for identity in self.credentials:
            done = {True: 0, False: 0}
            for kind, calls in CALLS.items():
                for resource in of_type(self.template, kind):
                    for action in calls:
                        needed = action in self.needed[identity].get(resource, {})
                        found = self.is_refused(identity, resource, action)
                        self.assertEqual(found, not needed, f"{identity} {action} {resource}")
                        done[found] += 1
            for action, ask in ELSEWHERE.items():
                self.assertTrue(refused(ask, self.session(identity), self.names), f"{identity} {action}")
                done[True] += 1
            print(f"  {identity:<12} {done[False]:>3} let through, {done[True]:>4} refused")
            self.assertEqual(done[False], sum(map(len, self.needed[identity].values())))

    def test_a_statement_taken_away_is_missed(self):
        for identity in self.credentials:
            document, put = self.policy_of(identity)
            self.addCleanup(put, document)
            for at, statement in enumerate(document["Statement"]):
                if "logs:" in str(statement["Action"]):
                    continue
                put(document | {"Statement": document["Statement"][:at] + document["Statement"][at + 1 :]})
                lost = self.refused_of_needed(identity)
                self.assertNotEqual(lost, [], f"{identity}: {statement}")
                print(f"  {identity:<12} without statement {at + 1} refused: {', '.join(lost[:3])}{', …' * (len(lost) > 3)}")
            put(document)
            self.assertEqual(self.refused_of_needed(identity), [])

    def refused_of_needed(self, identity):
        needed = [(resource, action) for resource, actions in self.needed[identity].items() for action in actions]
        return [f"{action} {resource}" for resource, action in needed if self.is_refused(identity, resource, action)]

    def policy_of(self, identity):
        """The policy of an identity, and what replaces it."""
        if identity.endswith("User"):
            (attached,) = self.iam.list_attached_user_policies(UserName=self.names[identity])["AttachedPolicies"]
            arn = attached["PolicyArn"]
            version = self.iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            document = self.iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]

            def put(new):
                versions = self.iam.list_policy_versions(PolicyArn=arn)["Versions"]
                for old in versions:
                    if not old["IsDefaultVersion"]:
                        self.iam.delete_policy_version(PolicyArn=arn, VersionId=old["VersionId"])
                self.iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(new), SetAsDefault=True)

        else:
            role = self.names[identity]
            (name,) = self.iam.list_role_policies(RoleName=role)["PolicyNames"]
            document = self.iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]

            def put(new):
                self.iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(new))

        return document if isinstance(document, dict) else json.loads(document), put


if __name__ == "__main__":
    unittest.main()
