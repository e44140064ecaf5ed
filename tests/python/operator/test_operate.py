"""The operator's tool on the local cloud, from the first deployment to an adopted table."""

import json
import time
import unittest
import zlib

from localstack import LocalStack

NUMBER = "+32472591687"
OTHER = "+32472591688"


def packed(text):
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(text.encode()) + compressor.flush()


class Operate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        topics = [f"{name}=arn:aws:sns:us-east-1:000000000000:{name}" for name in ("AlarmTopicArn", "TicketTopicArn")]
        cls.stack = LocalStack.of(cls, *topics)
        cls.tables = cls.stack.client("dynamodb")

    def setUp(self):
        self.state, self.exchange = (self.stack.environment[name] for name in ("STATE_TABLE", "EXCHANGE_TABLE"))

    def put(self, table, pk, sk, **attributes):
        self.tables.put_item(TableName=table, Item={"pk": {"S": pk}, "sk": {"S": sk}, "v": {"N": "1"}, **attributes})

    def get(self, table, pk, sk):
        return self.tables.get_item(TableName=table, Key={"pk": {"S": pk}, "sk": {"S": sk}}, ConsistentRead=True).get("Item")

    def test_preflight_tells_what_to_deploy_with(self):
        shown = self.stack.operate("preflight")
        self.assertRegex(shown, r"ConcurrencyAlarmAt=\d+")
        self.assertIn("CREATE_COMPLETE", shown)
        self.assertIn("first deployment", self.stack.operate("--stack", "another", "preflight"))

    def test_a_key_fits_its_parameter(self):
        first, second = self.stack.operate_as_a_program("key").splitlines()
        self.assertRegex(first, r"ec_[0-9a-f]{72}$")
        self.assertRegex(second, r" [0-9a-f]{64}$")

    def test_agents_are_listed_and_decide_the_exit_code(self):
        self.stack.operate("agents", code=1)
        now = int(time.time() * 1000)
        vitals = {"M": {"droppedEvents": {"N": "3"}, "accessKeySince": {"N": str(now - 92 * 86_400_000)}}}
        beat = {"name": {"S": "one"}, "pbx": {"S": "up"}, "pbxId": {"S": "main"}, "slot": {"N": "2"}, "version": {"S": "1.2.3"}, "vitals": vitals}
        self.put(self.exchange, "AGENT", "one#1", updatedAt={"N": str(now)}, **beat)
        self.addCleanup(self.tables.delete_item, TableName=self.exchange, Key={"pk": {"S": "AGENT"}, "sk": {"S": "one#1"}})
        shown = self.stack.operate("agents")
        self.assertRegex(shown, r"one +online +main up +2 +1\.2\.3 +\d+ s ago .* 3 +92 d")
        self.assertIn("EventsDlq", self.stack.operate("status"))
        self.put(self.exchange, "AGENT", "one#1", updatedAt={"N": str(now - 31_000)}, **beat)
        self.assertIn("away", self.stack.operate("agents", code=1))

    def test_a_slot_is_freed_when_nobody_listens_there(self):
        holders = {"pbxId": {"S": "main"}, "updatedAt": {"N": "253402300799999"}, "pbxId3": {"S": "branch"}}
        self.put(self.exchange, "PBX", "PBX", **holders)
        self.addCleanup(self.tables.delete_item, TableName=self.exchange, Key={"pk": {"S": "PBX"}, "sk": {"S": "PBX"}})
        beat = {"name": {"S": "two"}, "pbx": {"S": "up"}, "pbxId": {"S": "branch"}}
        self.put(self.exchange, "AGENT", "two#1", updatedAt={"N": str(int(time.time() * 1000))}, **beat)
        shown = self.stack.operate("slots")
        self.assertRegex(shown, r"1 +main +0\n +2 +free +0\n +3 +branch +1\n")
        self.assertIn("stop them first", self.stack.operate("slots", "--free", "branch", "--yes", code=1))
        self.assertIn("No slot", self.stack.operate("slots", "--free", "other", "--yes", code=1))
        self.tables.delete_item(TableName=self.exchange, Key={"pk": {"S": "AGENT"}, "sk": {"S": "two#1"}})
        self.assertIn("Nothing was done", self.stack.operate("slots", "--free", "branch"))
        for pbx in ("branch", "main"):
            self.assertIn("freed", self.stack.operate("slots", "--free", pbx, "--yes"))
        left = self.get(self.exchange, "PBX", "PBX")
        self.assertEqual({name for name in left if name.startswith("pbxId")}, set())
        self.assertEqual(left["updatedAt"], {"N": "0"})

    def test_webhooks_that_need_somebody_are_listed(self):
        self.put(self.state, "WEBHOOK", "good", url={"S": "https://good.example"})
        self.put(self.state, "WEBHOOK", "bad", url={"S": "https://bad.example"}, state={"S": "failing"}, reason={"S": "answered 503"})
        self.put(self.state, "WEBHOOK", "slow", url={"S": "https://slow.example"}, lane={"S": "own"})
        for name in ("good", "bad", "slow"):
            self.addCleanup(self.tables.delete_item, TableName=self.state, Key={"pk": {"S": "WEBHOOK"}, "sk": {"S": name}})
        shown = self.stack.operate("webhooks")
        self.assertNotIn("good.example", shown)
        self.assertRegex(shown, r"bad +failing .*answered 503")
        self.assertRegex(shown, r"slow +slow")

    def test_dead_letters_are_shown_without_numbers_and_brought_back(self):
        sqs, dlq = self.stack.client("sqs"), self.stack.environment["EVENTS_DLQ_URL"]
        body = {"v": 9, "webHookEvent": {"CallId": "1ea84350", "status": "ringing", "remoteNumber": NUMBER}}
        for n in range(3):
            sqs.send_message(QueueUrl=dlq, MessageBody=json.dumps(body), MessageGroupId="call", MessageDeduplicationId=str(n))
        shown = self.stack.operate("dlq", code=1)
        self.assertIn("EventsDlq: 3", shown)
        self.assertIn("version 9, 1ea84350, ringing", shown)
        self.assertNotIn(NUMBER.lstrip("+"), shown)
        # Looking takes nothing away.
        self.assertIn("EventsDlq: 3", self.stack.operate("dlq", code=1))
        self.assertIn("3 messages moved", self.stack.operate("redrive", "events"))
        self.assertIn("EventsDlq: 0", self.stack.operate("dlq"))

    def test_a_number_is_erased_wherever_it_is(self):
        event = json.dumps({"remoteNumber": "000" + NUMBER.lstrip("+"), "other": OTHER, "at": "2026-11-28T23:00:00Z"})
        self.put(self.state, "CALL#1", "1", event={"S": event})
        self.put(self.state, "CALL#1", "2", event={"B": packed(event)})
        self.put(
            self.state, "AUDIT#2026-11-28", "1", to={"S": NUMBER}, list={"L": [{"M": {"n": {"S": NUMBER}}}]}, set={"SS": [NUMBER, "x"]}
        )
        self.put(self.state, f"PAIR#42#{NUMBER}", "minutes", n={"N": "1"})
        self.put(self.exchange, "COMMAND#1", "command", command={"S": json.dumps({"to": "0472591687"})})
        self.put(self.state, "CALL#2", "1", event={"S": json.dumps({"remoteNumber": OTHER})})
        before = self.get(self.state, "CALL#1", "1")
        self.assertIn("5 items have the number. Nothing was done", self.stack.operate("erase", NUMBER, "0472591687"))
        self.assertEqual(self.get(self.state, "CALL#1", "1"), before)

        self.assertIn("5 items were changed", self.stack.operate("erase", NUMBER, "0472591687", "--yes"))
        expected = {"remoteNumber": "erased", "other": OTHER, "at": "2026-11-28T23:00:00Z"}
        self.assertEqual(json.loads(self.get(self.state, "CALL#1", "1")["event"]["S"]), expected)
        stored = self.get(self.state, "CALL#1", "2")["event"]["B"]
        self.assertEqual(json.loads(zlib.decompress(bytes(stored), wbits=-zlib.MAX_WBITS)), expected)
        audit = self.get(self.state, "AUDIT#2026-11-28", "1")
        self.assertEqual((audit["to"], audit["list"]["L"][0]["M"]["n"]), ({"S": "erased"}, {"S": "erased"}))
        self.assertIsNone(self.get(self.state, f"PAIR#42#{NUMBER}", "minutes"))
        self.assertIn(OTHER, str(self.get(self.state, "CALL#2", "1")))
        self.assertIn("0 items", self.stack.operate("erase", NUMBER, "0472591687", "--yes"))
        self.assertIn("fewer than 6 digits", self.stack.operate("erase", "42", code=1))

    def test_keys_and_webhooks_move_to_another_stack(self):
        self.put(self.state, "APIKEY", "a" * 64, id={"S": "a" * 16}, scopes={"L": [{"S": "admin"}]})
        self.put(self.state, "WEBHOOK", "moved", url={"S": "https://x"}, secret={"S": "whsec_x"}, state={"S": "failing"}, lane={"S": "own"})
        self.put(self.state, "WEBHOOK", "resting", url={"S": "https://y"}, lane={"S": "own"}, pausedAt={"N": "1"})
        file = self.stack.folder / "backup.json"
        self.assertIn("2 of WEBHOOK", self.stack.operate("export", file))
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        self.assertIn("0 written, 3 were there already", self.stack.operate("import", file))
        for pk, sk in (("APIKEY", "a" * 64), ("WEBHOOK", "moved"), ("WEBHOOK", "resting")):
            self.tables.delete_item(TableName=self.state, Key={"pk": {"S": pk}, "sk": {"S": sk}})
        before = int(self.get(self.state, "WEBHOOKS", "version")["n"]["N"])
        self.assertIn("3 written", self.stack.operate("import", file))
        self.assertEqual(int(self.get(self.state, "WEBHOOKS", "version")["n"]["N"]), before + 1)
        moved, resting = (self.get(self.state, "WEBHOOK", name) for name in ("moved", "resting"))
        self.assertEqual((moved["secret"], "state" in moved, "lane" in moved), ({"S": "whsec_x"}, False, False))
        self.assertEqual((resting["lane"], resting["pausedAt"]), ({"S": "own"}, {"N": "1"}))
        for pk, sk in (("APIKEY", "a" * 64), ("WEBHOOK", "moved"), ("WEBHOOK", "resting")):
            self.tables.delete_item(TableName=self.state, Key={"pk": {"S": pk}, "sk": {"S": sk}})

    def test_access_keys_have_an_age(self):
        self.assertRegex(self.stack.operate("access-keys"), r"Active +0 days")
        made = self.stack.operate("access-keys", "--new")
        self.assertRegex(made, r"aws_access_key_id = \w+\naws_secret_access_key = \S+")
        new = made.split()[2]
        self.assertIn(new, self.stack.operate("access-keys"))
        self.stack.operate("access-keys", "--delete", new)
        self.assertNotIn(new, self.stack.operate("access-keys"))

    def test_mistakes_are_told_in_a_line(self):
        self.assertIn("There is no stack nobody here", self.stack.operate("--stack", "nobody", "agents", code=1))
        self.assertIn("Set EASYCONNECT_URL", self.stack_without("EASYCONNECT_URL", "events", "--once"))

    def stack_without(self, variable, *arguments):
        kept = dict(self.stack.environment)
        try:
            del self.stack.environment[variable]
            return self.stack.operate(*arguments, code=1)
        finally:
            self.stack.environment = kept

    def test_z_a_life_from_update_to_adoption(self):
        """Last, because it takes the stack away."""
        self.stack.up("LogLevel=debug", "ApiRateLimit=50")
        shown = self.stack.operate("versions")
        for function in ("api", "fanout", "deliver", "lanes"):
            self.assertRegex(shown, rf"{function} +1 ", "the version before stays")
            self.assertRegex(shown, rf"{function} +2 +live")
        # Only the functions that read it get a version.
        self.stack.up("LogLevel=debug", "FailingAfterSeconds=600")
        shown = self.stack.operate("versions")
        self.assertRegex(shown, r"deliver +3 +live")
        self.assertRegex(shown, r"lanes +3 +live")
        self.assertRegex(shown, r"api +2 +live")
        self.assertRegex(shown, r"fanout +2 +live")
        self.assertIn("live was 3 and is 2", self.stack.operate("rollback", "deliver", "2"))
        self.stack.operate("rollback", "deliver", "99", code=1)

        self.put(self.state, "APIKEY", "kept", id={"S": "kept"})
        self.assertIn("Nothing was done", self.stack.operate("delete"))
        self.assertIn("CREATE_COMPLETE", self.stack.operate("preflight").replace("UPDATE", "CREATE"))
        self.assertIn("60 seconds", self.stack.operate("delete", "--yes"))
        self.assertIn("adopt", self.stack.operate("preflight"))
        taken = ("--exchange", self.exchange, "--state", self.state)
        self.assertIn("Nothing was done", self.stack.operate("adopt", *taken))
        self.assertIn("belong to the stack", self.stack.operate("adopt", *taken, "--yes"))
        self.stack.up()
        self.assertEqual((self.stack.environment["STATE_TABLE"], self.stack.environment["EXCHANGE_TABLE"]), (self.state, self.exchange))
        self.assertIsNotNone(self.get(self.state, "APIKEY", "kept"))


if __name__ == "__main__":
    unittest.main()
