"""CloudWatch's rules for alarms on one metric, as its user guide has them, on a series of data of a minute each."""

import operator
from collections.abc import Sequence
from typing import Any

COMPARISONS = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}

# What a minute has: the values that were sent in it.
Minute = Sequence[float]


def statistic(name: str, values: Minute) -> float:
    if name.startswith("p"):
        ordered = sorted(values)
        return ordered[min(len(ordered) - 1, int(len(ordered) * float(name[1:]) / 100))]
    return {"Sum": sum, "Maximum": max, "Minimum": min, "Average": lambda v: sum(v) / len(v), "SampleCount": len}[name](values)


def states(alarm: dict[str, Any], minutes: Sequence[Minute], threshold: float | None = None) -> list[str]:
    """The state of the alarm after each of its periods, oldest first."""
    threshold = alarm["Threshold"] if threshold is None else threshold
    per_period = alarm["Period"] // 60
    periods = [[value for minute in minutes[at : at + per_period] for value in minute] for at in range(0, len(minutes), per_period)]
    name = alarm.get("Statistic") or alarm["ExtendedStatistic"]
    breaches: list[bool | None] = [
        COMPARISONS[alarm["ComparisonOperator"]](statistic(name, values), threshold) if values else None for values in periods
    ]
    missing = {"breaching": True, "notBreaching": False}[alarm["TreatMissingData"]]
    considered, needed = alarm["EvaluationPeriods"], alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"])
    found = []
    for at in range(considered, len(breaches) + 1):
        window = breaches[at - considered : at]
        # CloudWatch looks further back than the window before it makes up data, so this is the quickest that it can be.
        bad = sum(missing if breach is None else breach for breach in window)
        found.append("ALARM" if bad >= needed else "OK")
    return found
