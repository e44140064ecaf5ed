"""What each identity may do is exactly what its program calls, and everything else is refused: by an evaluator over the template.

The same on the local cloud, whose evaluator is another one, is in `test_identities.py`.
"""

import re
import unittest

import policies
from rights import ACTIONS, ELSEWHERE, NEEDED, place, requests_of
from stackfile import deployed, of_type


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
        by_aws, by_code = [], {}
        for identity, resources in NEEDED.items():
            for resource, actions in resources.items():
                for action, why in actions.items():
                    if isinstance(why, str):
                        by_aws.append((identity, action, resource, why))
                        continue
                    folder, call = why
                    where = place(folder, call)
                    self.assertIsNotNone(where, f"{identity} {action} {resource}: nothing in {folder} calls {call}")
                    method = re.split(r"\W", call.rstrip("("))[-1]
                    self.assertIn(action.split(":")[1], requests_of(method), f"{identity} {resource}: {method}")
                    by_code.setdefault((identity, action, where, call), []).append(resource)
        print("  called by:")
        for (identity, action, where, call), resources in by_code.items():
            print(f"    {identity:<12} {action:<28} {resources[0] + '…' * (len(resources) > 1):<16} {where} {call}…)")
        print("  used by AWS itself:")
        for identity, action, resource, why in by_aws:
            print(f"    {identity:<12} {action:<28} {resource:<16} {why}")

    def test_a_right_taken_away_is_missed(self):
        """Without a statement, or one action or resource of it, something is refused that the program calls."""
        taken = 0
        for identity, needed in NEEDED.items():
            granted = policies.statements(self.template, identity)
            for at, statement in enumerate(granted):
                if statement["Effect"] == "Deny":
                    continue
                for less in (None, *policies.without_one(statement)):
                    rest = granted[:at] + [less] * (less is not None) + granted[at + 1 :]
                    lost = [
                        (action, resource)
                        for resource, actions in needed.items()
                        for action in actions
                        if not policies.allowed(self.template, rest, action, policies.arn(self.template, resource))
                    ]
                    self.assertNotEqual(lost, [], f"{identity}: {statement} instead of {less} grants nothing that is needed")
                    taken += 1
        print(f"  {taken} statements, actions and resources taken away, each is missed")
        self.assertGreater(taken, 80)

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
