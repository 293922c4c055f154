"""CloudWatch's judgement of the template's alarms, over values that a test makes up.

```python
history = watch(Stack(), [Datapoint(60.0, "SuccessfulPolls", 1)], until=3600.0)
assert history.states["NoSuccessfulPollAlarm"] == "ALARM"
```

As the CloudWatch user guide tells it ("Alarm evaluation", "Configuring how CloudWatch alarms treat missing
data"): each alarm is evaluated every minute, over periods that end at that minute. CloudWatch asks for more
periods than the alarm evaluates, and when values are missing it takes older ones before it treats any as
missing. How many more it does not say; three periods and two more is its example.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from functions.poller.metrics import METRICS, SOURCE_FAILURES
from tests.stack import STACK_NAME, Stack

# What the poller emits once a poll, with the dimension `service`.
POLLER_METRICS = tuple(METRICS)
# What it emits with the dimensions `service`, `source` and `error_class`.
SOURCE_METRICS = (SOURCE_FAILURES,)

POLLER: Mapping[str, str] = {"service": "poller"}
MINUTE = 60
MORE_PERIODS = 2

type State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]


class Datapoint(NamedTuple):
    """One value of a metric at `time`, in seconds from when the stack was made; by default the poller's."""

    time: float
    metric: str
    value: float
    dimensions: Mapping[str, str] = POLLER
    namespace: str = STACK_NAME


@dataclass
class History:
    """What became of each alarm, by logical id: `changes` as `(time, state)`, from the first state on."""

    changes: dict[str, list[tuple[float, State]]] = field(default_factory=dict)

    @property
    def states(self) -> dict[str, State]:
        """The state of each alarm at the end."""
        return {alarm: changes[-1][1] for alarm, changes in self.changes.items()}

    @property
    def raised(self) -> set[str]:
        """The alarms that were in ALARM at any time."""
        return {
            alarm for alarm, changes in self.changes.items() if any(state == "ALARM" for _, state in changes)
        }

    def raised_at(self, alarm: str) -> float:
        """When the alarm was raised first. Raises StopIteration if it never was."""
        return next(time for time, state in self.changes[alarm] if state == "ALARM")

    def note(self, alarm: str, time: float, state: State) -> None:
        changes = self.changes.setdefault(alarm, [])
        if not changes or changes[-1][1] != state:
            changes.append((time, state))


def watch(
    stack: Stack, datapoints: Iterable[Datapoint], *, until: float, more_periods: int = MORE_PERIODS
) -> History:
    """Evaluate all alarms of a stack every minute from 0 to `until`.

    Raises ValueError for an alarm that is made in a way that is not known here.
    """
    series: dict[str, tuple[list[int], list[float]]] = {}
    alarms = stack.of_type("AWS::CloudWatch::Alarm")
    given = sorted(datapoints, key=lambda each: each.time)
    for name, alarm in alarms.items():
        wanted = (alarm["Namespace"], alarm["MetricName"], _dimensions(alarm))
        own = [each for each in given if (each.namespace, each.metric, dict(each.dimensions)) == wanted]
        # CloudWatch keeps minutes.
        series[name] = ([int(each.time // MINUTE) for each in own], [each.value for each in own])
    composites = stack.of_type("AWS::CloudWatch::CompositeAlarm")
    history = History()
    states: dict[str, State] = dict.fromkeys([*alarms, *composites], "INSUFFICIENT_DATA")
    for minute in range(1, int(until // MINUTE) + 1):
        for name, alarm in alarms.items():
            points = _read_periods(
                alarm, *series[name], minute, int(alarm["EvaluationPeriods"]) + more_periods
            )
            states[name] = judge(
                [None if value is None else _breaches(alarm, value) for value in points],
                evaluated=int(alarm["EvaluationPeriods"]),
                to_alarm=int(alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"])),
                missing=_missing_treated_as(alarm),
                current=states[name],
            )
        by_name = {alarm["AlarmName"]: states[name] for name, alarm in alarms.items()}
        for name, composite in composites.items():
            states[name] = "ALARM" if _rule_holds(composite["AlarmRule"], by_name) else "OK"
        for name, state in states.items():
            history.note(name, minute * MINUTE, state)
    return history


def judge(
    points: Sequence[bool | None], *, evaluated: int, to_alarm: int, missing: str, current: State
) -> State:
    """The next state of an alarm: `points` from old to new, True for breaching, None for missing."""
    real = [point for point in points if point is not None]
    if len(real) >= evaluated:
        return "ALARM" if sum(real[-evaluated:]) >= to_alarm else "OK"
    lacking = evaluated - len(real)
    match missing:
        case "breaching":
            return "ALARM" if sum(real) + lacking >= to_alarm else "OK"
        case "notBreaching":
            return "ALARM" if sum(real) >= to_alarm else "OK"
        case "ignore":
            if sum(real) >= to_alarm:
                return "ALARM"
            return current if all(real) else "OK"
    raise ValueError(f"TreatMissingData {missing} is not known here")


def names_in_rule(rule: str) -> list[str]:
    """The names of the alarms in a composite alarm's rule. Raises ValueError for one that is no plain OR."""
    terms = [re.fullmatch(r'ALARM\("([^"]+)"\)', term) for term in re.split(r"\s+OR\s+", rule.strip())]
    names = [term[1] for term in terms if term]
    if len(names) < len(terms):
        raise ValueError(f"a rule of another form than ALARM(…) OR ALARM(…): {rule}")
    return names


def _rule_holds(rule: str, states: Mapping[str, State]) -> bool:
    return any(states[name] == "ALARM" for name in names_in_rule(rule))


def _dimensions(alarm: Mapping[str, Any]) -> dict[str, str]:
    return {each["Name"]: each["Value"] for each in alarm["Dimensions"]}


def _missing_treated_as(alarm: Mapping[str, Any]) -> str:
    # "Alarms that evaluate metrics in the AWS/DynamoDB namespace always ignore missing data."
    return "ignore" if alarm["Namespace"] == "AWS/DynamoDB" else str(alarm["TreatMissingData"])


def _read_periods(
    alarm: Mapping[str, Any], minutes: list[int], values: list[float], now: int, count: int
) -> list[float | None]:
    """The statistic of each of the last `count` periods, from old to new; None for one without a value."""
    length = int(alarm["Period"]) // MINUTE
    periods = []
    for number in range(count, 0, -1):
        first = bisect_left(minutes, now - number * length)
        behind = bisect_left(minutes, now - (number - 1) * length)
        periods.append(_statistic(alarm, values[first:behind]))
    return periods


def _statistic(alarm: Mapping[str, Any], values: list[float]) -> float | None:
    if not values:
        return None
    match alarm.get("Statistic") or alarm["ExtendedStatistic"]:
        case "Sum":
            return sum(values)
        case "Average":
            return sum(values) / len(values)
        case "Maximum":
            return max(values)
        case "Minimum":
            return min(values)
        case "p99":
            return sorted(values)[int(len(values) * 0.99)]
        case other:
            raise ValueError(f"statistic {other} is not known here")


def _breaches(alarm: Mapping[str, Any], value: float) -> bool:
    threshold = float(alarm["Threshold"])
    match alarm["ComparisonOperator"]:
        case "GreaterThanOrEqualToThreshold":
            return value >= threshold
        case "LessThanThreshold":
            return value < threshold
        case other:
            raise ValueError(f"{other} is not known here")
