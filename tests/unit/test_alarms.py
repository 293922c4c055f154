"""The template's alarms do what they are for: each is raised by its trouble, none by a healthy service."""

import itertools
import json
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from functions.poller.configuration import read_configuration
from functions.poller.metrics import ALARMED
from local.template import load_template, read_limits
from tests.alarms import (
    POLLER_METRICS,
    SOURCE_METRICS,
    Datapoint,
    History,
    State,
    judge,
    names_in_rule,
    watch,
)
from tests.stack import ACCOUNT_ID, REGION, STACK_NAME, Stack

TEMPLATE = load_template()
INTERVALS = TEMPLATE["Parameters"]["PollIntervalMinutes"]["AllowedValues"]
STACK = Stack()
ALARMS = STACK.of_type("AWS::CloudWatch::Alarm")
COMPOSITES = STACK.of_type("AWS::CloudWatch::CompositeAlarm")
# Metrics of AWS that alarms and the dashboard may use, with their dimensions as AWS documents them.
AWS_METRICS = {
    "AWS/Lambda": ({"Duration", "Errors", "Throttles"}, ("FunctionName",)),
    "AWS/ApiGateway": ({"Count", "4XXError", "5XXError", "Latency"}, ("ApiName", "Stage")),
    "AWS/DynamoDB": (
        {
            "ReadThrottleEvents",
            "WriteThrottleEvents",
            "ConsumedReadCapacityUnits",
            "ConsumedWriteCapacityUnits",
        },
        ("TableName",),
    ),
    "AWS/SQS": ({"ApproximateNumberOfMessagesVisible"}, ("QueueName",)),
}
PARAMETERS_OF_ALARMS = {
    "FailedPollsToAlarm",
    "MaxDataAgeSeconds",
    "StaleSourcesToAlarm",
    "RejectedRecordsToAlarm",
    "FaultsToAlarm",
    "MaxPollMilliseconds",
    "ThrottlesToAlarm",
    "ApiErrorShareToAlarm",
    "MaxApiMilliseconds",
}
# One a poll is all that there can be of these: another number would turn the alarm off.
COUNTED_BY_POLL = {
    "NoSuccessfulPollAlarm",
    "PollerErrorsAlarm",
    "NotificationFailuresAlarm",
    "SettlingFailuresAlarm",
    "CredentialsAlarm",
}
PAGING = {
    "NoSuccessfulPollAlarm",
    "ConsecutiveFailuresAlarm",
    "DataAgeAlarm",
    "ApiErrorsAlarm",
    "ApiThrottlesAlarm",
}
HOUR = 3600.0
POLLER = {"FunctionName": f"{STACK_NAME}-PollerFunction"}
READER = {"FunctionName": f"{STACK_NAME}-ApiFunction"}
API = {"ApiName": STACK_NAME, "Stage": "dev"}
TABLE = {"TableName": f"{STACK_NAME}-IncidentTable"}
QUEUE = {"QueueName": f"{STACK_NAME}-DeadLetterQueue"}


# ---------------------------------------------------------------- what a service says of itself


def poll(at: float, **values: float) -> Iterator[Datapoint]:
    """What one poll that ends at `at` says of itself; `values` other than those of a healthy one."""
    healthy = {"Polls": 1, "SuccessfulPolls": 1, "PollDuration": 9_000, "DataAge": 9, "RecordsSeen": 2_100}
    assert values.keys() <= set(POLLER_METRICS)
    for metric in POLLER_METRICS:
        yield Datapoint(at, metric, values.get(metric, healthy.get(metric, 0)))
    yield Datapoint(at, "Duration", 9_400, POLLER, "AWS/Lambda")
    for metric in ("Errors", "Throttles"):
        yield Datapoint(at, metric, 0, POLLER, "AWS/Lambda")


def failed_poll(at: float, failures: int, data_age: float) -> Iterator[Datapoint]:
    """A poll that took no source, the `failures`-th in a row."""
    gauges = {"ConsecutiveFailures": failures, "DataAge": data_age, "StaleSources": 8}
    return poll(at, SuccessfulPolls=0, FailedPolls=1, **gauges)


def ticks(interval: float, until: float, seed: int = 1) -> list[float]:
    """When polls end: the rule fires up to a minute late, a poll takes 5 to 45 seconds."""
    draw = random.Random(seed)  # noqa: S311 - jitter, no secret
    count = int((until - 105) // interval)
    return [number * interval + draw.uniform(0, 60) + draw.uniform(5, 45) for number in range(count + 1)]


def healthy(interval: float, until: float, seed: int = 1) -> Iterator[Datapoint]:
    return itertools.chain.from_iterable(map(poll, ticks(interval, until, seed)))


def with_some(interval: float, until: float, other: dict[int, dict[str, float]]) -> list[Datapoint]:
    """Healthy polls, but for those whose number is in `other`."""
    ends = ticks(interval, until)
    return [each for number, at in enumerate(ends) for each in poll(at, **other.get(number, {}))]


def of_every_minute(first: int, last: int, metric: str, value: float, **where: Any) -> list[Datapoint]:
    return [Datapoint(60.0 * minute, metric, value, **where) for minute in range(first, last)]


def after_the_start(history: History, settled: float) -> set[str]:
    """The alarms that were raised after `settled` seconds."""
    return {
        alarm
        for alarm, changes in history.changes.items()
        if any(state == "ALARM" and time > settled for time, state in changes)
    }


# ---------------------------------------------------------------- the judge


@pytest.mark.parametrize(
    ("points", "breaching", "not_breaching", "ignore"),
    [
        ("0-X-X", "OK", "OK", "OK"),
        ("0----", "OK", "OK", "OK"),
        ("-----", "ALARM", "OK", "INSUFFICIENT_DATA"),
        ("0XX-X", "ALARM", "ALARM", "ALARM"),
        ("--X--", "ALARM", "OK", "INSUFFICIENT_DATA"),
    ],
)
def test_three_of_three_are_judged_as_cloudwatch_says(
    points: str, breaching: State, not_breaching: State, ignore: State
) -> None:
    """The first table of CloudWatch's guide: three points evaluated, three to alarm, five asked for."""
    assert judged(points, 3, "breaching") == breaching
    assert judged(points, 3, "notBreaching") == not_breaching
    assert judged(points, 3, "ignore") == ignore


@pytest.mark.parametrize(
    ("points", "breaching", "not_breaching", "ignore"),
    [
        ("0-X-X", "ALARM", "ALARM", "ALARM"),
        ("00X0X", "ALARM", "ALARM", "ALARM"),
        ("0-X--", "ALARM", "OK", "OK"),
        ("----0", "ALARM", "OK", "OK"),
        ("---X-", "ALARM", "OK", "INSUFFICIENT_DATA"),
    ],
)
def test_two_of_three_are_judged_as_cloudwatch_says(
    points: str, breaching: State, not_breaching: State, ignore: State
) -> None:
    """The second table of CloudWatch's guide: three points evaluated, two to alarm."""
    assert judged(points, 2, "breaching") == breaching
    assert judged(points, 2, "notBreaching") == not_breaching
    assert judged(points, 2, "ignore") == ignore


def judged(points: str, to_alarm: int, missing: str) -> State:
    return judge(
        [{"0": False, "X": True, "-": None}[point] for point in points],
        evaluated=3,
        to_alarm=to_alarm,
        missing=missing,
        current="INSUFFICIENT_DATA",
    )


def test_what_is_not_known_is_refused() -> None:
    """An alarm that the judge could only guess at is an error, not a wrong answer."""
    with pytest.raises(ValueError, match="missing is not known"):
        judged("-----", 3, "missing")
    with pytest.raises(ValueError, match="another form"):
        names_in_rule('ALARM("a") AND ALARM("b")')
    with pytest.raises(ValueError, match="PollInterval"):
        Stack({"PollInterval": "5"})
    with pytest.raises(ValueError, match="PollIntervalMinutes"):
        Stack({"PollIntervalMinutes": "7"})


# ---------------------------------------------------------------- a healthy service


@pytest.mark.parametrize("minutes", INTERVALS)
@pytest.mark.parametrize("more_periods", [0, 2, 5])
def test_a_healthy_service_raises_no_alarm(minutes: str, more_periods: int) -> None:
    """Whatever the interval and however late a tick comes, polls that succeed keep everything quiet."""
    interval = 60.0 * int(minutes)
    until = 12 * interval + HOUR
    stack = Stack({"PollIntervalMinutes": minutes})
    requests = [
        *of_every_minute(0, int(until / 60), "Latency", 30, dimensions=API, namespace="AWS/ApiGateway"),
        *of_every_minute(0, int(until / 60), "5XXError", 0, dimensions=API, namespace="AWS/ApiGateway"),
    ]
    for seed in range(3):
        polls = healthy(interval, until, seed)
        history = watch(stack, [*polls, *requests], until=until, more_periods=more_periods)
        # Until the first poll has ended there is nothing to be had; that is no false alarm.
        assert after_the_start(history, interval) == set()
        assert history.states["NoSuccessfulPollAlarm"] == history.states["DataAgeAlarm"] == "OK"


@pytest.mark.parametrize("minutes", INTERVALS)
def test_one_failed_poll_raises_nothing(minutes: str) -> None:
    """The upstream fails now and then; a poll that takes nothing, between others, is nobody's business."""
    interval = 60.0 * int(minutes)
    until = 12 * interval + HOUR
    failed = {
        "SuccessfulPolls": 0,
        "FailedPolls": 1,
        "ConsecutiveFailures": 1,
        "StaleSources": 8,
        "DataAge": interval + 60,
    }
    history = watch(
        Stack({"PollIntervalMinutes": minutes}), with_some(interval, until, {6: failed}), until=until
    )
    assert after_the_start(history, interval) == set()


# ---------------------------------------------------------------- no polls, or none that succeed


@pytest.mark.parametrize("minutes", INTERVALS)
def test_a_poller_that_never_runs_is_noticed(minutes: str) -> None:
    """A schedule that is off, a deployment that broke the function: silence is an alarm, and it pages."""
    history = watch(Stack({"PollIntervalMinutes": minutes}), [], until=4 * 60 * int(minutes))
    assert history.states["NoSuccessfulPollAlarm"] == "ALARM"
    assert history.raised == {"NoSuccessfulPollAlarm", "ServiceAlarm"}


@pytest.mark.parametrize("minutes", INTERVALS)
@pytest.mark.parametrize("more_periods", [0, 2, 5])
def test_a_poller_that_stops_is_noticed_after_three_intervals(minutes: str, more_periods: int) -> None:
    """Three intervals after its last success, plus the few minutes that CloudWatch looks further back."""
    interval = 60.0 * int(minutes)
    until = 10 * interval
    last = ticks(interval, until)[-1]
    stack = Stack({"PollIntervalMinutes": minutes})
    polls = list(healthy(interval, until))
    history = watch(stack, polls, until=until + 5 * interval + 600, more_periods=more_periods)
    (raised,) = [
        t for t, state in history.changes["NoSuccessfulPollAlarm"] if state == "ALARM" and t > interval
    ]
    assert 3 * interval <= raised - last <= 3 * interval + 60 * (more_periods + 2)
    assert history.states["ServiceAlarm"] == "ALARM"


@pytest.mark.parametrize("minutes", INTERVALS)
def test_polls_that_all_fail_page(minutes: str) -> None:
    """The upstream is away: the poller runs and takes nothing, and at the third poll people are told."""
    interval = 60.0 * int(minutes)
    until = 12 * interval
    ends = ticks(interval, until)
    good, bad = ends[:4], ends[4:]
    polls = [each for at in good for each in poll(at)]
    for number, at in enumerate(bad, start=1):
        polls += failed_poll(at, number, at - good[-1])
    history = watch(Stack({"PollIntervalMinutes": minutes}), polls, until=until)
    assert {"ConsecutiveFailuresAlarm", "NoSuccessfulPollAlarm", "StaleSourceAlarm"} <= history.raised
    assert history.states["ServiceAlarm"] == "ALARM"
    later = [t for t, state in history.changes["ConsecutiveFailuresAlarm"] if state == "ALARM"]
    assert later == [60 * (bad[2] // 60 + 1)]


def test_what_is_over_is_told() -> None:
    """One success after a long failure takes the alarms back."""
    ends = ticks(300, 2 * HOUR)
    polls = [
        each
        for number, at in enumerate(ends, start=1)
        for each in (failed_poll(at, number, at) if number < 20 else poll(at))
    ]
    history = watch(STACK, polls, until=2 * HOUR)
    expected = {"NoSuccessfulPollAlarm", "ConsecutiveFailuresAlarm", "DataAgeAlarm", "StaleSourceAlarm"}
    assert history.raised == expected | {"ServiceAlarm"}
    assert {history.states[alarm] for alarm in history.raised} == {"OK"}


def test_old_data_pages_although_polls_succeed_between_failures() -> None:
    """The age is judged by itself: readers care for it, however the polls are counted."""
    history = watch(STACK, with_some(300, HOUR, {5: {"DataAge": 3600}}), until=HOUR)
    assert after_the_start(history, 300) == {"DataAgeAlarm", "ServiceAlarm"}


# ---------------------------------------------------------------- trouble that can wait until the morning


@pytest.mark.parametrize("minutes", INTERVALS)
def test_a_source_that_no_poll_takes_is_noticed_and_does_not_page(minutes: str) -> None:
    """Three intervals without a source are told; the upstream keeps a week, nobody has to get up."""
    interval = 60.0 * int(minutes)
    until = 14 * interval
    stale = {number: {"StaleSources": 1.0} for number in range(4, 20)}
    history = watch(Stack({"PollIntervalMinutes": minutes}), with_some(interval, until, stale), until=until)
    assert after_the_start(history, interval) == {"StaleSourceAlarm"}
    first_stale = ticks(interval, until)[4]
    assert history.raised_at("StaleSourceAlarm") > first_stale + interval


@pytest.mark.parametrize(
    ("alarm", "value"),
    [
        ("PossibleGapAlarm", {"PossibleGaps": 1}),
        ("RejectedRecordsAlarm", {"NewRejected": 1}),
    ],
)
def test_what_is_counted_once_stays_for_an_hour(alarm: str, value: dict[str, float]) -> None:
    """The next poll counts zero again: whoever looks half an hour later still sees the alarm."""
    polls = with_some(300, 4 * HOUR, {12: value})
    at = ticks(300, 4 * HOUR)[12]
    history = watch(STACK, polls, until=4 * HOUR)
    assert after_the_start(history, 300) == {alarm}
    assert watch(STACK, polls, until=at + 1800).states[alarm] == "ALARM"
    assert history.states[alarm] == "OK"


@pytest.mark.parametrize("metric", ["NotificationFailures", "SettlingFailures"])
def test_what_the_next_poll_tries_again_is_told_when_two_have_failed(metric: str) -> None:
    """The second poll that can't publish, or settle, raises the alarm, the first does not."""
    once = with_some(300, 2 * HOUR, {8: {metric: 4}})
    twice = with_some(300, 2 * HOUR, {8: {metric: 1}, 9: {metric: 1}})
    assert after_the_start(watch(STACK, once, until=2 * HOUR), 300) == set()
    assert after_the_start(watch(STACK, twice, until=2 * HOUR), 300) == {f"{metric}Alarm"}


@pytest.mark.parametrize(
    ("alarm", "point"),
    [
        ("PollerErrorsAlarm", Datapoint(1800, "Errors", 1, POLLER, "AWS/Lambda")),
        ("PollerThrottlesAlarm", Datapoint(1800, "Throttles", 1, POLLER, "AWS/Lambda")),
        ("PollDurationAlarm", Datapoint(1800, "Duration", 192_000, POLLER, "AWS/Lambda")),
        (
            "DeadLetterQueueAlarm",
            Datapoint(1800, "ApproximateNumberOfMessagesVisible", 1, QUEUE, "AWS/SQS"),
        ),
        ("TableReadThrottlesAlarm", Datapoint(1800, "ReadThrottleEvents", 10, TABLE, "AWS/DynamoDB")),
        ("TableWriteThrottlesAlarm", Datapoint(1800, "WriteThrottleEvents", 10, TABLE, "AWS/DynamoDB")),
    ],
)
def test_one_fault_is_told_and_does_not_page(alarm: str, point: Datapoint) -> None:
    """What should never happen is told the first time; as long as polls succeed it can wait."""
    history = watch(STACK, [*healthy(300, HOUR), point], until=HOUR)
    assert after_the_start(history, 300) == {alarm}
    less = watch(STACK, [*healthy(300, HOUR), point._replace(value=point.value - 1)], until=HOUR)
    assert after_the_start(less, 300) == set()


def test_a_dead_letter_is_not_forgotten_when_sqs_goes_silent() -> None:
    """Six hours after its last use a queue reports nothing: the message is still there, so is the alarm."""
    where = {"dimensions": QUEUE, "namespace": "AWS/SQS"}
    seen = of_every_minute(30, 390, "ApproximateNumberOfMessagesVisible", 1, **where)
    history = watch(STACK, [*healthy(300, 12 * HOUR), *seen], until=12 * HOUR)
    assert history.states["DeadLetterQueueAlarm"] == "ALARM"
    emptied = of_every_minute(600, 605, "ApproximateNumberOfMessagesVisible", 0, **where)
    history = watch(STACK, [*healthy(300, 12 * HOUR), *seen, *emptied], until=12 * HOUR)
    assert history.states["DeadLetterQueueAlarm"] == "OK"


# ---------------------------------------------------------------- readers


@pytest.mark.parametrize(
    ("alarm", "metric", "value", "where"),
    [
        ("ApiThrottlesAlarm", "Throttles", 2.0, {"dimensions": READER, "namespace": "AWS/Lambda"}),
    ],
)
def test_readers_without_answers_page(alarm: str, metric: str, value: float, where: dict[str, Any]) -> None:
    """Ten minutes of errors page; a burst that is over after two minutes does not."""
    polls = list(healthy(300, HOUR))
    steady = of_every_minute(20, 32, metric, value, **where)
    assert after_the_start(watch(STACK, [*polls, *steady], until=HOUR), 300) == {alarm, "ServiceAlarm"}
    burst = of_every_minute(20, 22, metric, 4 * value, **where)
    assert after_the_start(watch(STACK, [*polls, *burst], until=HOUR), 300) == set()


def test_readers_who_get_errors_page_and_single_errors_do_not() -> None:
    """Ten minutes in which a fifth of the answers are errors page; a client that is told every few seconds
    that its search goes on, among others that get their answers, does not.
    """
    polls = list(healthy(300, HOUR))
    where = {"dimensions": API, "namespace": "AWS/ApiGateway"}

    def answers(good: int) -> list[Datapoint]:
        """Each minute one error and so many good answers, for a quarter of an hour."""
        return [
            point
            for value in (1.0, *[0.0] * good)
            for point in of_every_minute(20, 35, "5XXError", value, **where)
        ]

    bad, single = answers(4), answers(9)
    assert after_the_start(watch(STACK, [*polls, *bad], until=HOUR), 300) == {
        "ApiErrorsAlarm",
        "ServiceAlarm",
    }
    assert after_the_start(watch(STACK, [*polls, *single], until=HOUR), 300) == set()


def test_slow_answers_are_told_and_do_not_page() -> None:
    """A quarter of an hour of slow answers raises the alarm; one slow answer among quick ones does not."""
    polls = list(healthy(300, HOUR))
    where = {"dimensions": API, "namespace": "AWS/ApiGateway"}
    slow = of_every_minute(20, 36, "Latency", 6_000, **where)
    assert after_the_start(watch(STACK, [*polls, *slow], until=HOUR), 300) == {"ApiLatencyAlarm"}
    once = [*of_every_minute(0, 60, "Latency", 30, **where), Datapoint(1810, "Latency", 20_000, **where)]
    assert after_the_start(watch(STACK, [*polls, *once], until=HOUR), 300) == set()


# ---------------------------------------------------------------- how alarms are made


def test_the_alarms_are_those_that_people_know() -> None:
    """A new alarm is added here, and to the situations above, on purpose."""
    assert ALARMS.keys() == PAGING | {
        "StaleSourceAlarm",
        "PossibleGapAlarm",
        "RejectedRecordsAlarm",
        "PollDurationAlarm",
        "PollerErrorsAlarm",
        "PollerThrottlesAlarm",
        "NotificationFailuresAlarm",
        "SettlingFailuresAlarm",
        "CredentialsAlarm",
        "DeadLetterQueueAlarm",
        "TableReadThrottlesAlarm",
        "TableWriteThrottlesAlarm",
        "ApiLatencyAlarm",
    }
    assert COMPOSITES.keys() == {"ServiceAlarm"}


@pytest.mark.parametrize("name", [*ALARMS, *COMPOSITES])
def test_every_alarm_tells_a_person_what_to_do(name: str) -> None:
    """It goes to the one topic, also when it is over, and says what it means and where to read on."""
    alarm = {**ALARMS, **COMPOSITES}[name]
    topic = [f"{STACK_NAME}-AlarmTopic"]
    assert alarm["AlarmActions"] == alarm["OKActions"] == topic
    assert alarm["AlarmName"] == f"{STACK_NAME}-{name}"
    meaning, link = alarm["AlarmDescription"].split(" See ")
    assert link == f"docs/runbook.md#{name.lower()}."
    assert 40 < len(meaning) < 300
    assert meaning.endswith(".")


@pytest.mark.parametrize("name", ALARMS)
@pytest.mark.parametrize("minutes", INTERVALS)
def test_cloudwatch_accepts_the_periods(name: str, minutes: str) -> None:
    """Periods are whole minutes, at most a day is evaluated, and what silence means is said."""
    alarm = Stack({"PollIntervalMinutes": minutes}).of_type("AWS::CloudWatch::Alarm")[name]
    period, evaluated = int(alarm["Period"]), int(alarm["EvaluationPeriods"])
    assert period > 0
    assert period % 60 == 0
    assert 1 <= int(alarm["DatapointsToAlarm"]) <= evaluated
    assert period * evaluated <= 86_400
    assert alarm["TreatMissingData"] in ("breaching", "notBreaching", "ignore")


@pytest.mark.parametrize("name", ALARMS)
def test_every_threshold_is_a_parameter(name: str) -> None:
    """What one finds too loud or too quiet can be changed at the next deployment."""
    threshold = TEMPLATE["Resources"][name]["Properties"]["Threshold"]
    if name in COUNTED_BY_POLL:
        assert threshold == 1
    else:
        assert threshold["Ref"] in PARAMETERS_OF_ALARMS
        assert TEMPLATE["Parameters"][threshold["Ref"]]["Type"] == "Number"


def test_every_threshold_parameter_is_used() -> None:
    """A parameter that no alarm reads would promise what it does not do."""
    used = {
        TEMPLATE["Resources"][name]["Properties"]["Threshold"]["Ref"]
        for name in ALARMS.keys() - COUNTED_BY_POLL
    }
    assert used == PARAMETERS_OF_ALARMS


def test_a_polls_duration_is_judged_by_its_time_out() -> None:
    """Alarm at 80 % of the time-out, and never beyond it; the dashboard draws the same lines."""
    milliseconds = 1000 * read_limits(TEMPLATE, "PollerFunction").timeout_seconds
    parameter = TEMPLATE["Parameters"]["MaxPollMilliseconds"]
    assert parameter["Default"] == 0.8 * milliseconds
    assert parameter["MaxValue"] == milliseconds
    assert f"{milliseconds:,}" in parameter["Description"]
    (widget,) = [each for each in widgets() if each.get("title", "").startswith("Poll duration")]
    assert [each["value"] for each in widget["annotations"]["horizontal"]] == [
        milliseconds,
        0.8 * milliseconds,
    ]


def test_the_service_alarm_is_made_of_what_pages() -> None:
    """Data that does not come in, or readers without answers: nothing else wakes anybody."""
    (service,) = COMPOSITES.values()
    names = names_in_rule(service["AlarmRule"])
    assert sorted(names) == sorted(f"{STACK_NAME}-{name}" for name in PAGING)


def test_an_emulator_can_do_without_the_service_alarm() -> None:
    """Switched off, nothing refers to it any more; all others stay."""
    stack = Stack({"ServiceAlarmEnabled": "false"})
    assert stack.of_type("AWS::CloudWatch::CompositeAlarm") == {}
    assert stack.of_type("AWS::CloudWatch::Alarm").keys() == ALARMS.keys()
    (alarm_widget,) = [each for each in widgets(stack) if "alarms" in each]
    assert len(alarm_widget["alarms"]) == len(ALARMS)


# ---------------------------------------------------------------- metrics that exist


def faults_of_metric(namespace: str, metric: str, dimensions: dict[str, str]) -> str:
    """Empty for a metric that somebody emits with these dimensions."""
    if namespace == STACK_NAME:
        known = metric in POLLER_METRICS and dimensions == {"service": "poller"}
        return "" if known else f"the poller does not emit {metric} {dimensions}"
    metrics, names = AWS_METRICS.get(namespace, (set(), ()))
    return (
        ""
        if metric in metrics and tuple(dimensions) == names
        else f"AWS has no {namespace} {metric} {dimensions}"
    )


@pytest.mark.parametrize("name", ALARMS)
def test_every_alarm_watches_a_metric_that_is_there(name: str) -> None:
    """An alarm on a misspelt metric would be silent for ever."""
    alarm = ALARMS[name]
    dimensions = {each["Name"]: each["Value"] for each in alarm["Dimensions"]}
    assert faults_of_metric(alarm["Namespace"], alarm["MetricName"], dimensions) == ""
    assert faults_of_metric(alarm["Namespace"], alarm["MetricName"] + "s", dimensions) != ""
    assert faults_of_metric(alarm["Namespace"], alarm["MetricName"], dimensions | {"Other": "x"}) != ""


def widgets(stack: Stack = STACK) -> list[dict[str, Any]]:
    """The properties of the dashboard's widgets."""
    (dashboard,) = stack.of_type("AWS::CloudWatch::Dashboard").values()
    found: list[dict[str, Any]] = [
        each["properties"] for each in json.loads(dashboard["DashboardBody"])["widgets"]
    ]
    return found


@pytest.mark.parametrize("minutes", INTERVALS)
@pytest.mark.parametrize("service_alarm", ["true", "false"])
def test_the_dashboard_is_json_and_nothing_overlaps(minutes: str, service_alarm: str) -> None:
    """For every interval, with and without the conditional alarm, all widgets have a place of their own."""
    stack = Stack({"PollIntervalMinutes": minutes, "ServiceAlarmEnabled": service_alarm})
    (dashboard,) = stack.of_type("AWS::CloudWatch::Dashboard").values()
    body = json.loads(dashboard["DashboardBody"])
    places = [
        (x, y)
        for each in body["widgets"]
        for x in range(each["x"], each["x"] + each["width"])
        for y in range(each["y"], each["y"] + each["height"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) == 23
    assert not re.search(r"\$\{(?!PROP)", dashboard["DashboardBody"])


def test_the_dashboard_shows_every_alarm_and_metrics_that_are_there() -> None:
    """What a person on call looks at is complete, and none of its graphs stays empty for a misspelt name."""
    shown = [each for widget in widgets() for each in widget.get("alarms", [])]
    assert shown == [f"arn:aws:test:{name}" for name in [*COMPOSITES, *ALARMS]]
    searched, drawn = [], []
    for widget in widgets():
        assert "alarms" in widget or widget["region"] == REGION
        for metric in widget.get("metrics", []):
            if isinstance(metric[0], dict):
                searched.append(metric[0]["expression"])
                continue
            names = [each for each in metric if isinstance(each, str)]
            namespace, name, *rest = names
            assert faults_of_metric(namespace, name, dict(itertools.batched(rest, 2, strict=True))) == ""
            drawn.append(name)
    (search,) = searched
    found = re.fullmatch(
        r"""SEARCH\('\{"([\w-]+)",service,source,error_class\} MetricName="(\w+)"', 'Sum', 300\)""", search
    )
    assert found
    assert (found[1], found[2]) == (STACK_NAME, *SOURCE_METRICS)
    watched = {alarm["MetricName"] for alarm in ALARMS.values() if alarm["Namespace"] != "AWS/Lambda"}
    assert watched - set(drawn) == {"SuccessfulPolls"}


def test_without_a_dashboard_every_alarm_keeps_its_metric() -> None:
    """What the poller leaves out then is what no alarm watches, and the template's parameter reaches it."""
    lean = Stack({"DashboardEnabled": "false"})
    assert not lean.of_type("AWS::CloudWatch::Dashboard")
    watched = {each["MetricName"] for each in ALARMS.values() if each.get("Namespace") == STACK_NAME}
    assert watched == ALARMED
    for stack, expected in ((STACK, True), (lean, False)):
        (variables,) = (
            each["Environment"]["Variables"]
            for each in stack.of_type("AWS::Serverless::Function").values()
            if "DASHBOARD_METRICS" in each["Environment"]["Variables"]
        )
        environ = {name: str(value) for name, value in variables.items()} | {
            "TABLE_NAME": "t",
            "UPSTREAM_BASE_URL": "https://u",
            "UPSTREAM_SECRET_ARN": "s",
        }
        assert read_configuration(environ).dashboard_metrics is expected


# ---------------------------------------------------------------- topics and queue


def statements(policy: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["Sid"]: each for each in policy["PolicyDocument"]["Statement"]}


def test_alarms_of_this_stack_alone_may_publish() -> None:
    """CloudWatch publishes for this account's alarms of this stack; no key that would lock it out."""
    policy = STACK.of_type("AWS::SNS::TopicPolicy")["AlarmTopicPolicy"]
    allow = statements(policy)["OwnAlarmsPublish"]
    assert allow["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert (allow["Effect"], allow["Action"]) == ("Allow", "sns:Publish")
    assert allow["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT_ID}
    own = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT_ID}:alarm:{STACK_NAME}-"
    assert allow["Condition"]["ArnLike"] == {"aws:SourceArn": f"{own}*"}
    assert all(
        alarm["AlarmName"].startswith(f"{STACK_NAME}-") for alarm in [*ALARMS.values(), *COMPOSITES.values()]
    )
    assert "KmsMasterKeyId" not in STACK.of_type("AWS::SNS::Topic")["AlarmTopic"]


def test_notifications_of_incidents_are_encrypted() -> None:
    """They name employees; nobody but identities of this account with permission may publish."""
    assert STACK.of_type("AWS::SNS::Topic")["IncidentTopic"]["KmsMasterKeyId"] == "alias/aws/sns"
    assert statements(STACK.of_type("AWS::SNS::TopicPolicy")["IncidentTopicPolicy"]).keys() == {"OnlyOverTls"}


@pytest.mark.parametrize(
    ("policy_type", "policy", "members", "resource", "actions"),
    [
        ("AWS::SNS::TopicPolicy", "AlarmTopicPolicy", "Topics", "AlarmTopic", "sns:Publish"),
        ("AWS::SNS::TopicPolicy", "IncidentTopicPolicy", "Topics", "IncidentTopic", "sns:Publish"),
        ("AWS::SQS::QueuePolicy", "DeadLetterQueuePolicy", "Queues", "DeadLetterQueue", "sqs:*"),
    ],
)
def test_nothing_is_sent_in_the_clear(
    policy_type: str, policy: str, members: str, resource: str, actions: str
) -> None:
    """Each topic and the queue refuse what does not come over TLS, whoever sends it."""
    properties = STACK.of_type(policy_type)[policy]
    assert properties[members] == [f"{STACK_NAME}-{resource}"]
    deny = statements(properties)["OnlyOverTls"]
    assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", "*", actions)
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    for each in statements(properties).values():
        assert each["Resource"] in (f"{STACK_NAME}-{resource}", f"arn:aws:test:{resource}")


def test_a_tick_that_comes_to_nothing_is_kept() -> None:
    """What EventBridge could not deliver and what Lambda could not run goes to the queue, for 14 days."""
    queue = STACK.of_type("AWS::SQS::Queue")["DeadLetterQueue"]
    assert queue["SqsManagedSseEnabled"] is True
    assert queue["MessageRetentionPeriod"] == 14 * 86_400
    poller = STACK.resources["PollerFunction"]["Properties"]
    assert poller["EventInvokeConfig"]["DestinationConfig"] == {
        "OnFailure": {"Type": "SQS", "Destination": "arn:aws:test:DeadLetterQueue"}
    }
    schedule = poller["Events"]["PollSchedule"]["Properties"]
    assert schedule["DeadLetterConfig"] == {"Arn": "arn:aws:test:DeadLetterQueue"}
    allow = statements(STACK.of_type("AWS::SQS::QueuePolicy")["DeadLetterQueuePolicy"])["ScheduleSends"]
    assert (allow["Effect"], allow["Action"]) == ("Allow", "sqs:SendMessage")
    assert allow["Principal"] == {"Service": "events.amazonaws.com"}
    # SAM calls the rule after the function and its event.
    assert allow["Condition"] == {"ArnEquals": {"aws:SourceArn": "arn:aws:test:PollerFunctionPollSchedule"}}


@pytest.mark.parametrize(
    ("parameter", "subscription", "topic"),
    [
        ("AlarmEmail", "AlarmSubscription", "AlarmTopic"),
        ("IncidentEmail", "IncidentSubscription", "IncidentTopic"),
    ],
)
def test_an_address_is_subscribed_only_if_there_is_one(parameter: str, subscription: str, topic: str) -> None:
    """Without an address a stack deploys all the same, and nobody gets mail."""
    assert STACK.of_type("AWS::SNS::Subscription") == {}
    stack = Stack({parameter: "on-call@example.com"})
    assert stack.of_type("AWS::SNS::Subscription") == {
        subscription: {
            "TopicArn": f"{STACK_NAME}-{topic}",
            "Protocol": "email",
            "Endpoint": "on-call@example.com",
        }
    }


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        ("", True),
        ("on-call@example.com", True),
        ("a@b@c", False),
        ("nobody", False),
        ("a b@example.com", False),
    ],
)
def test_an_address_looks_like_one(value: str, accepted: bool) -> None:
    """A typing error is refused at the deployment, not found out by a missing alarm."""
    for name in ("AlarmEmail", "IncidentEmail"):
        assert bool(re.fullmatch(TEMPLATE["Parameters"][name]["AllowedPattern"], value)) is accepted


@pytest.mark.parametrize("priority", TEMPLATE["Parameters"]["NotifyPriority"]["AllowedValues"])
def test_notifications_can_be_switched_off(priority: str) -> None:
    """The poller gets the topic and the priority; with `off` no topic, and still a priority that is one."""
    stack = Stack({"NotifyPriority": priority})
    variables = stack.resources["PollerFunction"]["Properties"]["Environment"]["Variables"]
    given = (variables["NOTIFICATION_TOPIC_ARN"], variables["NOTIFY_PRIORITY"])
    on = (f"{STACK_NAME}-IncidentTopic", priority)
    assert given == (("", "critical") if priority == "off" else on)
