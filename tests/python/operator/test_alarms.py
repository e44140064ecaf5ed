"""Each alarm watches a figure that exists, fires on a bad series, stays quiet on a healthy one, goes to somebody and is in the runbook."""

import json
import re
import unittest

import cloudwatch
from stackfile import REPOSITORY, deployed, of_type, source

RUNBOOK = REPOSITORY / "infra/runbook.md"

# What AWS lists: metrics with their dimensions, and where.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
OF_AWS = {
    "AWS/SQS": {("QueueName",): {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"}},
    "AWS/ApiGateway": {("ApiId",): {"4xx", "5xx", "Count", "IntegrationLatency", "Latency"}},
    "AWS/Lambda": {
        ("FunctionName",): {"Invocations", "Errors", "Throttles", "Duration", "ConcurrentExecutions"},
        (): {"ConcurrentExecutions", "Throttles", "UnreservedConcurrentExecutions"},
    },
    "AWS/DynamoDB": {("TableName",): {"ReadThrottleEvents", "WriteThrottleEvents"}},
}

QUIET: list = []
# Of each alarm: minutes of a healthy stack, and minutes after which it has to fire. A minute is the list of what was sent in it.
SERIES = {
    "Agents": ([[1.0]] * 9 + [QUIET] + [[0.0]] + [[1.0]] * 9, [[1.0]] * 9 + [QUIET] * 3),
    "Pbx": ([QUIET] * 5 + [[1.0]] * 2 + [QUIET] * 5, [QUIET] * 5 + [[1.0]] * 3),
    "OutboxAge": ([QUIET, [800.0], [119_000.0], [125_000.0], QUIET, QUIET], [[130_000.0], [190_000.0], [250_000.0]]),
    "EventsAge": ([[0.0], [3.0], [121.0], [2.0]], [[125.0], [185.0]]),
    "DeliveriesAge": ([[0.0], [31.0], [45.0], [80.0], [12.0], [31.0]] * 3, [[60.0], [120.0], [180.0], [240.0], [300.0]]),
    "EventsDlq": ([[0.0]] * 5, [[0.0], [1.0]]),
    "DeliveriesDlq": ([[0.0]] * 5, [[0.0], [2.0]]),
    "ApiErrors": ([[0.0], [1.0], QUIET, [0.0], [2.0], [0.0], [0.0]], [[0.0], [3.0], [0.0], [1.0], [9.0]]),
    "ApiThrottles": ([[0.0], [4.0], [0.0], [0.0], [1.0], [0.0]], [[0.0], [2.0], [2.0], [2.0], [0.0]]),
    "FanoutThrottles": ([QUIET, [4.0], QUIET, QUIET, [1.0], QUIET], [QUIET, [2.0], [2.0], [2.0], QUIET]),
    "DeliverThrottles": ([QUIET, [4.0], QUIET, QUIET, [1.0], QUIET], [QUIET, [2.0], [2.0], [2.0], QUIET]),
    "LanesThrottles": ([QUIET, [4.0], QUIET, QUIET, [1.0], QUIET], [QUIET, [2.0], [2.0], [2.0], QUIET]),
    "Concurrency": ([[3.0], [7.0], [8.0], [5.0], [9.0], [2.0], [7.0]], [[8.0], [7.0], [9.0], [10.0], [6.0]]),
    "EventsDropped": ([QUIET] * 5, [QUIET, [12.0]]),
    "AccessKeyAge": (
        [*[[90.0]] * 170, *[QUIET] * 190],
        # Also when the agent was away for more than an hour.
        [*[[91.0]] * 60, *[QUIET] * 120],
    ),
    "WebhooksFailing": ([QUIET, [1.0], [1.0], QUIET, QUIET], [[1.0], [1.0], [2.0]]),
    "OwnLanes": ([[1.0]] * 24 + [QUIET] * 12, [[1.0]] * 30),
    "ParkedAge": ([[70_000.0], [3_500_000.0], QUIET] * 7 + [[3_700_000.0]] * 9, [[3_700_000.0], *[QUIET] * 4] * 6),
    "Expired": ([[2.0]] * 15 + [[30.0]] * 5 + [QUIET] * 10, [[3.0]] * 15),
    "Failed": ([[2.0]] * 15 + [[30.0]] * 5 + [QUIET] * 10, [[3.0]] * 15),
    "Commands": ([[1.0]] + [QUIET] * 4 + [[2.0]] + [QUIET] * 9, [[4.0]] + [QUIET] * 4 + [[2.0], [3.0]] + [QUIET] * 8),
    "CommandTime": ([[200.0] * 30 + [6_000.0]] * 20, [[200.0] * 10 + [5_000.0] * 3] * 15),
    "FeedGaps": ([[10.0], *[QUIET] * 30, [10.0], [10.0], *[QUIET] * 27, *[QUIET] * 60], [[10.0], *[QUIET] * 14] * 4),
    "ExchangeReadThrottles": ([QUIET, [4.0], QUIET, QUIET, [1.0], QUIET], [QUIET, [2.0], [2.0], [2.0], QUIET]),
    "ExchangeWriteThrottles": ([QUIET, [4.0], QUIET, QUIET, [1.0], QUIET], [QUIET, [2.0], [2.0], [2.0], QUIET]),
    "StateReadThrottles": ([QUIET, [4.0], QUIET, QUIET, [1.0], QUIET], [QUIET, [2.0], [2.0], [2.0], QUIET]),
    "StateWriteThrottles": ([QUIET, [4.0], QUIET, QUIET, [1.0], QUIET], [QUIET, [2.0], [2.0], [2.0], QUIET]),
}


def alarms():
    return {name.removesuffix("Alarm"): alarm for name, alarm in of_type(deployed(), "AWS::CloudWatch::Alarm").items()}


def emitted():
    """The names of figures in the code: what is a literal there, and not just a detail."""
    names = set()
    for folder in ("api", "fanout", "deliver"):
        for file in (REPOSITORY / "functions" / folder / "src").rglob("*.rs"):
            text = file.read_text(encoding="utf-8").split("#[cfg(test)]")[0]
            names.update(re.findall(r'(?:\.|^|\s)(?:count|level|lasting|span)\(\s*"([A-Z]\w+)"', text))
            # `deliver` counts what became of a delivery under the name of its state.
            names.update(re.findall(r'DeliveryState::\w+ => "(\w+)"', text))
    return names


def dimension_names(metric):
    return tuple(dimension["Name"] for dimension in metric.get("Dimensions", ()))


class Alarms(unittest.TestCase):
    def check_metric(self, namespace, name, dimensions, where):
        if namespace == "EasyConnect":
            self.assertEqual(dimensions, ("Stack",), where)
            self.assertIn(name, emitted(), where)
        else:
            self.assertIn(name, OF_AWS[namespace][dimensions], where)

    def test_dimension_of_our_figures(self):
        text = (REPOSITORY / "shared/src/metrics.rs").read_text(encoding="utf-8")
        self.assertIn('const NAMESPACE: &str = "EasyConnect"', text)
        self.assertIn('"Dimensions": [["Stack"]]', text)
        for function in of_type(deployed(), "AWS::Lambda::Function").values():
            self.assertEqual(function["Properties"]["Environment"]["Variables"]["STACK_NAME"], {"Ref": "AWS::StackName"})

    def test_metrics_exist(self):
        for name, alarm in alarms().items():
            properties = alarm["Properties"]
            self.check_metric(properties["Namespace"], properties["MetricName"], dimension_names(properties), name)

    def test_every_figure_is_described(self):
        readme = (REPOSITORY / "infra/README.md").read_text(encoding="utf-8")
        self.assertGreater(len(emitted()), 15)
        self.assertEqual({name for name in emitted() if f"`{name}`" not in readme}, set())

    def test_the_dashboard_draws_what_exists(self):
        body = deployed()["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
        widgets = json.loads(re.sub(r"\$\{[^}]*\}", "x", body))["widgets"]
        self.assertGreater(len(widgets), 9)
        for widget in widgets:
            for metric in widget["properties"]["metrics"]:
                parts = [part for part in metric if isinstance(part, str)]
                self.check_metric(parts[0], parts[1], tuple(parts[2::2]), widget["properties"]["title"])

    def test_they_fire_and_they_stay_quiet(self):
        self.assertEqual(set(SERIES), set(alarms()))
        parameters = source()["Parameters"]
        for name, alarm in sorted(alarms().items()):
            properties = alarm["Properties"]
            threshold = properties["Threshold"]
            if isinstance(threshold, dict):
                threshold = float(parameters[threshold["Ref"]]["Default"])
            healthy, bad = SERIES[name]
            quiet, fired = (cloudwatch.states(properties, series, threshold) for series in (healthy, bad))
            self.assertEqual(set(quiet), {"OK"}, name)
            self.assertEqual(fired[-1], "ALARM", name)
            where = "page" if "AlarmTopicArn" in str(properties["AlarmActions"]) else "ticket"
            needed, of = properties.get("DatapointsToAlarm", properties["EvaluationPeriods"]), properties["EvaluationPeriods"]
            how = f"{properties['ComparisonOperator']} {threshold:g}, {needed} of {of} x {properties['Period']} s"
            print(f"  {name:<24} {where:<7} {properties['MetricName']:<36} {how}")

    def test_no_agent_pages_within_three_minutes_also_without_data(self):
        agents = alarms()["Agents"]["Properties"]
        for gone in ([0.0], QUIET):
            self.assertEqual(cloudwatch.states(agents, [[1.0]] * 3 + [gone] * 3), ["OK", "OK", "OK", "ALARM"])

    def test_somebody_is_told_of_the_beginning_and_the_end(self):
        for name, alarm in alarms().items():
            properties, condition = alarm["Properties"], alarm.get("Condition")
            self.assertEqual(properties["AlarmActions"], properties["OKActions"], name)
            topics = [topic for topic in ("AlarmTopicArn", "TicketTopicArn") if topic in str(properties["AlarmActions"])]
            self.assertEqual(len(topics), 1, name)
            if condition:
                self.assertEqual(condition, {"AlarmTopicArn": "WithAlarmTopic", "TicketTopicArn": "WithTicketTopic"}[topics[0]], name)

    def test_thresholds_follow_the_parameters(self):
        found = {name: alarm["Properties"]["Threshold"] for name, alarm in alarms().items()}
        self.assertEqual(found["DeliveriesAge"], {"Ref": "FastLaneSeconds"})
        self.assertEqual(found["Concurrency"], {"Ref": "ConcurrencyAlarmAt"})

    def test_each_is_in_the_runbook(self):
        sections = re.split(r"(?m)^### ", RUNBOOK.read_text(encoding="utf-8"))[1:]
        described = {section.split("\n", 1)[0].strip("` "): section for section in sections}
        self.assertEqual(set(alarms()) - set(described), set())
        for name in alarms():
            for word in ("**Meaning.**", "**First look.**", "**Fix.**"):
                self.assertIn(word, described[name], name)
        self.assertEqual({name for name in described if name.isidentifier()} - set(alarms()), set(), "a section without an alarm")


if __name__ == "__main__":
    unittest.main()
