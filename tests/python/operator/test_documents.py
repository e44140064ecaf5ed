"""What the pages for operators say is true: commands run, tables add up, named tests and links exist."""

import os
import re
import shlex
import sys
import tempfile
import unittest
from pathlib import Path

from localstack import LocalStack, run
from stackfile import REPOSITORY, deployed, of_type, source

INFRA = REPOSITORY / "infra"
PAGES = [INFRA / name for name in ("README.md", "runbook.md", "capacity.md", "threat-model.md")]
PAGES += [REPOSITORY / name for name in ("SECURITY.md", "CONTRIBUTING.md")]
UNPROVEN = "# AWS only, unproven: https://"
OPERATE = "python3 infra/operate.py"
# Run by others: this runner would run itself, and the rest takes a build (`tests/e2e/local_stack.rs`).
ELSEWHERE = {"make up", "make test", "make help", "make build", "make down"}
# There is something that they tell by their exit code: no agent is there, and no such table.
FINDS = {"agents", "status", "adopt"}
# What a person puts in for what stands in the page.
PLACES = {"<table>": "no-such-table"}


def blocks(page):
    """The lines of each shell block, without comments."""
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        lines = block.replace("\\\n", " ").splitlines()
        proven = not lines[0].startswith(UNPROVEN)
        yield proven, [line for line in (re.sub(r"\s+#.*|^#.*", "", line).strip() for line in lines) if line]


def commands():
    """Every command of the pages that is to work without AWS, in the order of the pages."""
    found = {}
    for page in PAGES:
        for proven, lines in blocks(page):
            if proven:
                found.update(dict.fromkeys(lines, page.name))
        for inline in re.findall(r"`(python3 infra/operate\.py [^`]*)`", page.read_text(encoding="utf-8")):
            found.setdefault(inline, page.name)
    return found


class Commands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = LocalStack.of(cls)

    def test_every_command_runs(self):
        folder = Path(tempfile.mkdtemp(prefix="easyconnect-pages-", dir=self.stack.folder))
        for command, page in commands().items():
            if command in ELSEWHERE or command.startswith("export PATH="):
                continue
            for place, value in PLACES.items():
                command = command.replace(place, value)
            with self.subTest(page=page, command=command):
                words = [word.replace("/tmp/", f"{folder}/") for word in shlex.split(command)]
                self.assertTrue(self.ran(words), f"{page}: nothing here runs `{command}`, nor is it marked as {UNPROVEN}")

    def ran(self, words):
        if words[:2] == ["python3", "infra/operate.py"]:
            shown = self.stack.operate(*words[2:], code=int(words[2] in FINDS))
            self.assertNotIn("Traceback", shown)
            print(f"  ran  {shlex.join(words)}")
            return True
        if words[:2] == [".venv/bin/python", "infra/local/stack.py"]:
            more = [] if "--dir" in words else ["--dir", str(self.stack.root)]
            if words[2] == "up":
                more += ["--cloud-only", "--bin-dir", str(self.stack.folder / "bin"), "--owner", str(os.getpid())]
                down = [sys.executable, REPOSITORY / words[1], "down", "--dir", (words + more)[(words + more).index("--dir") + 1]]
                self.addCleanup(run, down, {})
            run([sys.executable, REPOSITORY / words[1], *words[2:], *(option for option in more if option not in words)], {})
            print(f"  ran  {shlex.join(words)}")
            return True
        if words == ["make", "key"]:
            self.assertIn("ec_", run(["make", "-C", REPOSITORY, "key"], {}))
            print("  ran  make key")
            return True
        return False

    def test_what_needs_aws_names_its_document(self):
        for page in PAGES:
            for proven, lines in blocks(page):
                for line in lines:
                    if line.split()[0] in ("aws", "sam"):
                        self.assertFalse(proven, f"{page.name}: {line}")
            # In running text nobody sees whether it was tried.
            self.assertEqual(re.findall(r"`aws [^`]*`", page.read_text(encoding="utf-8")), [], page.name)


class Statements(unittest.TestCase):
    def test_every_parameter_is_described(self):
        text = (INFRA / "README.md").read_text(encoding="utf-8")
        table = re.findall(r"(?m)^\| (`[^|]*`) \|", text.split("| parameter | meaning |", 1)[1])
        described = {name for cell in table for name in re.findall(r"`(\w+)`", cell)}
        self.assertEqual(
            set(source()["Parameters"]) - described,
            {"FanoutConcurrency", "DeliverConcurrency", "LanesConcurrency", "ApiReservedConcurrency"},
        )

    def test_named_tests_exist(self):
        names = set()
        for folder in ("agent", "functions", "shared", "tests"):
            for file in (*(REPOSITORY / folder).rglob("*.rs"), *(REPOSITORY / folder).rglob("test_*.py")):
                names.update(re.findall(r"(?:fn|def) (\w+)\(", file.read_text(encoding="utf-8")))
        page = (INFRA / "threat-model.md").read_text(encoding="utf-8")
        rows = [row.split("|") for row in page.splitlines() if re.search(r"\*\*[STRIDE]\*\*", row)]
        self.assertGreater(len(rows), 20)
        for row in rows:
            tests = re.findall(r"`(\w+)`", row[4])
            self.assertNotEqual(tests, [], row[2])
            self.assertEqual(set(tests) - names, set(), row[2])

    def test_links_lead_somewhere(self):
        for page in PAGES:
            for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
                if not link.startswith("http"):
                    self.assertTrue((page.parent / link).exists(), f"{page.name}: {link}")

    def test_outputs_that_pages_name_exist(self):
        outputs = set(deployed()["Outputs"])
        for page in PAGES:
            named = set(re.findall(r"`(\w+(?:QueueUrl|DlqUrl|FunctionName|UserName|PolicyArn|Target))`", page.read_text(encoding="utf-8")))
            self.assertEqual(named - outputs, set(), page.name)


class Cost(unittest.TestCase):
    """The tables of capacity.md follow from its own counts, and these from the template."""

    def setUp(self):
        self.page = (INFRA / "capacity.md").read_text(encoding="utf-8")

    def rows(self, header):
        lines = self.page.split(header, 1)[1].splitlines()[2:]
        table = lines[: next(at for at, line in enumerate(lines) if not line.startswith("|"))]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]

    def number(self, text):
        return float(text.replace(",", "").replace("$", ""))

    def test_the_bill_adds_up(self):
        counted = self.rows("| of a call | with two webhooks | for each webhook more | price of a million |")
        per_call = sum(self.number(row[1]) * self.number(row[3]) / 1e6 for row in counted)
        prices = {row[0].split(",")[0]: self.number(row[3]) for row in counted} | {"standard requests": 0.40}
        idle = sum(self.number(amount) * prices[what] / 1e6 * 720 for what, amount in self.rows("| of an hour without calls | amount |"))
        alarms = of_type(deployed(), "AWS::CloudWatch::Alarm").values()
        always = sum("Condition" not in alarm for alarm in alarms)
        self.assertIn(f"{len(alarms) - always} alarms more", self.page)
        for row in self.rows("| calls an hour | calls a month | calls |"):
            hourly, monthly, calls, nothing, figures, fixed, more, total = map(self.number, row)
            self.assertEqual(monthly, hourly * 720)
            self.assertAlmostEqual(calls, monthly * per_call, delta=0.01 + calls / 1000)
            self.assertAlmostEqual(nothing, idle, delta=0.01)
            self.assertAlmostEqual(figures, 6 * 0.30, delta=0.001)
            self.assertAlmostEqual(fixed, always * 0.10, delta=0.001)
            self.assertAlmostEqual(more, (len(alarms) - always) * 0.10, delta=0.001)
            self.assertAlmostEqual(total, calls + nothing + figures + fixed + more, delta=0.011)
            print(f"  {hourly:>9,.0f} calls an hour: ${total:,.2f} a month")

    def test_executions_follow_from_the_rate(self):
        defaults = {name: source()["Parameters"][name]["Default"] for name in ("FanoutConcurrency", "DeliverConcurrency")}
        for hourly, events, fanout, deliver, account in (map(self.number, row) for row in self.rows("| calls an hour | events a second |")):
            rate = hourly * 3 / 3600
            self.assertAlmostEqual(events, rate, delta=0.05)
            # Each second of a receiver is shared by ten deliveries of a batch; fanout takes 60 events a second and execution.
            self.assertGreaterEqual(fanout, max(defaults["FanoutConcurrency"], rate / 60))
            self.assertGreaterEqual(deliver, max(defaults["DeliverConcurrency"], rate * 2 * 1.0 / 10))
            self.assertLessEqual(fanout + deliver + 2, account)


if __name__ == "__main__":
    unittest.main()
