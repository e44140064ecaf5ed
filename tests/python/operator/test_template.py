"""What CloudFormation makes of the template, as far as SAM's translator and AWS's schemas tell without an account."""

import json
import re
import tomllib
import unittest

import cfnlint.api
from cfnlint.config import ManualArgs
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

import stackfile
from stackfile import REPOSITORY, of_type, parameters_of, source, transformed, versions

REGION = "eu-central-1"
# Parameters that reach a function otherwise than by its settings. A function is built for its processor, so its code changes as well.
CHANGES_CODE = {"Architecture"}
# What Lambda does not count to a version: publishing one that differs in nothing else fails.
NOT_OF_A_VERSION = {"ReservedConcurrentExecutions", "Tags"}


def schema(kind):
    return PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema


def longest(text, template):
    """How long a description can become with the longest values of its parameters."""

    def length(match):
        name = match[1]
        parameter = template["Parameters"][name]
        if "AllowedValues" in parameter:
            return "x" * max(len(str(value)) for value in parameter["AllowedValues"])
        if parameter["Type"] == "Number":
            return "x" * len(str(parameter["MaxValue"]))
        if "MaxLength" in parameter:
            return "x" * parameter["MaxLength"]
        # `{64}` and an optional second one.
        assert name == "AdminKeyHashes", f"{name} has no MaxLength"
        return "x" * (64 + 1 + 64)

    return len(re.sub(r"\$\{(\w+)\}", length, text))


class Versions(unittest.TestCase):
    def setUp(self):
        self.template = source()
        self.deployed = transformed()

    def settings(self, function):
        """What a version freezes, but for its code."""
        properties = self.deployed["Resources"][f"{function}Function"]["Properties"]
        return {name: value for name, value in properties.items() if name not in NOT_OF_A_VERSION}

    def described(self, function):
        description = versions(self.deployed)[function][1]["Properties"]["Description"]
        carrier = self.deployed["Resources"].get(description.get("Ref", ""))
        return carrier["Properties"]["Description"] if carrier else description

    def test_the_version_before_stays(self):
        found = versions(self.deployed)
        self.assertEqual(set(found), set(stackfile.FUNCTIONS))
        for name, version in found.values():
            self.assertEqual((version["DeletionPolicy"], version["UpdateReplacePolicy"]), ("Retain", "Retain"), name)

    def test_a_parameter_changes_exactly_the_versions_that_read_it(self):
        self.assertIn("/properties/Description", schema("AWS::Lambda::Version")["createOnlyProperties"])
        self.assertIn("/properties/Description", schema("AWS::IAM::ManagedPolicy")["createOnlyProperties"])
        for function in stackfile.FUNCTIONS:
            read = parameters_of(self.settings(function)) - CHANGES_CODE
            self.assertEqual(parameters_of(self.described(function)), read, function)

    def test_descriptions_fit_with_the_longest_values(self):
        for name, resource in self.deployed["Resources"].items():
            text = resource.get("Properties", {}).get("Description")
            if text and resource["Type"] in ("AWS::Lambda::Version", "AWS::IAM::ManagedPolicy"):
                text = text if isinstance(text, str) else text.get("Fn::Sub", "")
                self.assertLessEqual(longest(text, self.template), schema(resource["Type"])["properties"]["Description"]["maxLength"], name)

    def test_tags_and_concurrency_make_no_version(self):
        """Lambda publishes nothing when only these change, and the stack would fail."""
        before = {function: name for function, (name, _) in versions(self.deployed).items()}
        with_values = transformed(ApiReservedConcurrency="100", FanoutConcurrency="9", AlarmTopicArn="arn:aws:sns:eu-central-1:1:topic")
        self.assertEqual({function: name for function, (name, _) in versions(with_values).items()}, before)
        self.assertNotIn("Tags", str(self.template))

    def test_code_makes_a_version(self):
        before = {function: name for function, (name, _) in versions(self.deployed).items()}
        changed = versions(transformed(code={"deliver": "other"}))
        same = {function for function, (name, _) in changed.items() if name == before[function]}
        self.assertEqual(same, {"Api", "Fanout"})

    def test_both_programs_of_deliver_get_the_same(self):
        deliver, lanes = (self.deployed["Resources"][f"{name}Function"]["Properties"] for name in ("Deliver", "Lanes"))
        self.assertEqual(deliver["Environment"], lanes["Environment"])
        self.assertEqual(deliver["Role"], lanes["Role"])

    def test_everything_points_to_the_alias(self):
        for name, mapping in of_type(self.deployed, "AWS::Lambda::EventSourceMapping").items():
            self.assertIn("Aliaslive", str(mapping["Properties"]["FunctionName"]), name)
        for name, rule in of_type(self.deployed, "AWS::Events::Rule").items():
            self.assertIn("Aliaslive", str(rule["Properties"]["Targets"]), name)
        for name, invoke in of_type(self.deployed, "AWS::Lambda::EventInvokeConfig").items():
            self.assertEqual(
                (invoke["Properties"]["MaximumRetryAttempts"], invoke["Properties"]["MaximumEventAgeInSeconds"]), (0, 60), name
            )


class Kept(unittest.TestCase):
    def test_tables_outlive_the_stack_but_not_a_failed_creation(self):
        tables = of_type(transformed(), "AWS::DynamoDB::Table")
        self.assertEqual(set(tables), {"ExchangeTable", "StateTable"})
        for name, table in tables.items():
            self.assertEqual((table["DeletionPolicy"], table["UpdateReplacePolicy"]), ("RetainExceptOnCreate", "Retain"), name)
            self.assertEqual(table["Properties"]["DeletionProtectionEnabled"], {"Fn::If": ["WithProtectedTables", True, False]}, name)
            self.assertEqual(table["Properties"]["SSESpecification"], {"SSEEnabled": True}, name)
            # A kept table must not block a new stack.
            self.assertNotIn("TableName", table["Properties"], name)
        # Protection would prevent the removal after a failed creation.
        self.assertEqual(source()["Parameters"]["ProtectTables"]["Default"], "false")

    def test_queues_are_encrypted_and_named_after_the_stack_alone(self):
        for name, queue in of_type(transformed(), "AWS::SQS::Queue").items():
            self.assertTrue(queue["Properties"]["SqsManagedSseEnabled"], name)
            given = queue["Properties"].get("QueueName", {"Fn::Sub": "${AWS::StackName}"})
            self.assertTrue(given["Fn::Sub"].startswith("${AWS::StackName}"), name)
        readme = (REPOSITORY / "infra/README.md").read_text(encoding="utf-8")
        self.assertIn("60 seconds", readme, "the wait before a stack of the same name can be made again")

    def test_logs_end(self):
        groups = of_type(transformed(), "AWS::Logs::LogGroup")
        for name, group in groups.items():
            self.assertEqual(group["Properties"]["RetentionInDays"], {"Ref": "LogRetentionDays"}, name)
        for name, function in of_type(transformed(), "AWS::Lambda::Function").items():
            logging = function["Properties"]["LoggingConfig"]
            self.assertIn(logging["LogGroup"]["Ref"], groups, name)
            self.assertEqual((logging["LogFormat"], logging["SystemLogLevel"]), ("JSON", "WARN"), name)


class Whole(unittest.TestCase):
    def test_the_transformed_template_is_valid(self):
        # Warnings are looked at in the template itself; of some that SAM causes nobody can get rid.
        checked = cfnlint.api.lint(json.dumps(transformed()), config=ManualArgs(regions=[REGION, "us-east-1"], ignore_checks=["W", "I"]))
        self.assertEqual([str(match) for match in checked], [])

    def test_no_aliases_of_yaml(self):
        """The consoles and StackSets refuse them."""
        for file in (stackfile.TEMPLATE, REPOSITORY / "infra/front.yaml"):
            text = file.read_text(encoding="utf-8")
            self.assertEqual(re.findall(r"(?m)(?:^|[:\-\[{,] )[&*][A-Za-z]\w*", text), [], file)

    def test_the_access_log_has_no_query_string(self):
        """The API key may be in it."""
        stage = transformed()["Resources"]["HttpApiStage"]["Properties"]
        known = {"requestId", "requestTime", "identity.sourceIp", "httpMethod", "path", "status", "responseLength", "responseLatency"}
        known |= {"integrationLatency", "integrationErrorMessage"}
        self.assertEqual(set(re.findall(r"\$context\.([\w.]+)", stage["AccessLogSettings"]["Format"])), known)

    def test_every_role_and_user_takes_the_boundary(self):
        deployed = transformed()
        for kind in ("AWS::IAM::Role", "AWS::IAM::User"):
            for name, identity in of_type(deployed, kind).items():
                boundary = identity["Properties"]["PermissionsBoundary"]
                self.assertEqual(boundary["Fn::If"][:2], ["WithBoundary", {"Ref": "PermissionsBoundaryArn"}], name)

    def test_a_role_has_one_policy_that_no_parameter_changes(self):
        for name, role in of_type(transformed(), "AWS::IAM::Role").items():
            properties = role["Properties"]
            self.assertEqual(len(properties["Policies"]), 1, name)
            self.assertNotIn("ManagedPolicyArns", properties, name)
            self.assertEqual(parameters_of(properties["Policies"]), set(), name)

    def test_the_agents_policy_stays_the_same(self):
        """A changed description or name would make another policy, and agents with a role of their own would lose theirs."""
        policy = transformed()["Resources"]["AgentPolicy"]["Properties"]
        self.assertEqual(policy["Description"], "What the EasyConnect agent may do")
        self.assertNotIn("ManagedPolicyName", policy)

    def test_default_architecture_is_the_tested_one_or_is_named(self):
        default = source()["Parameters"]["Architecture"]["Default"]
        readme = (REPOSITORY / "infra/README.md").read_text(encoding="utf-8")
        self.assertIn(f"`{default}` (default)", readme)


class Build(unittest.TestCase):
    def test_sam_does_not_cache(self):
        """Its cache looks at a function's own folder only."""
        config = tomllib.loads((REPOSITORY / "infra/samconfig.toml").read_text(encoding="utf-8"))
        settings = config["default"].get("build", {}).get("parameters", {})
        self.assertNotIn("cached", settings)
        self.assertEqual(config["default"]["deploy"]["parameters"]["capabilities"], "CAPABILITY_IAM")

    def test_shared_code_is_in_all_three_programs(self):
        for name in ("api", "fanout", "deliver"):
            manifest = tomllib.loads((REPOSITORY / "functions" / name / "Cargo.toml").read_text(encoding="utf-8"))
            self.assertIn("shared", manifest["dependencies"], name)
        functions = [resource for resource in source()["Resources"].values() if resource["Type"] == "AWS::Serverless::Function"]
        for function in functions:
            built = function["Metadata"]
            self.assertEqual(built["BuildMethod"], "rust-cargolambda")
            self.assertEqual(function["Properties"]["CodeUri"], f"functions/{built['BuildProperties']['Binary']}")


if __name__ == "__main__":
    unittest.main()
