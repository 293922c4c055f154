"""Every poll leaves its numbers in the log, as CloudWatch reads them."""

import json
from copy import replace
from typing import Any

import pytest

from functions.poller.metrics import ALARMED, METRICS, SOURCE_FAILURES, MetricsEmitter
from functions.poller.notify import Told
from functions.poller.summary import PollSummary

# Known only once the poll has published.
NOTIFICATIONS = {"NotifiedIncidents", "NotificationFailures"}
AFTER_THE_POLL = NOTIFICATIONS | {"SettlingFailures"}
SUCCESS = PollSummary(
    poll_id="p",
    outcome="succeeded",
    sequence=7,
    records=2_100,
    new_incidents=20,
    new_unattributed=3,
    new_rejected=2,
    attributed_late=1,
    postponed=4,
    journal_lag=5,
    retries=6,
    possible_gaps=("denial",),
    failures={"misuse": "server_error", "identities": "timeout"},
    notified=8,
    unattributed=9,
    stale_sources=2,
    consecutive_failures=0,
    data_age_seconds=1.5,
    credential_failure=False,
    duration_ms=9_120,
)


def emitted(summary: PollSummary, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    MetricsEmitter("a-stack").emit_poll(summary)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def values_of(blob: dict[str, Any]) -> dict[str, float]:
    """What CloudWatch makes of a line: each metric that its directive names, with the value beside it."""
    (directive,) = blob["_aws"]["CloudWatchMetrics"]
    return {each["Name"]: value_of(blob[each["Name"]]) for each in directive["Metrics"]}


def value_of(value: Any) -> float:
    return float(value[0] if isinstance(value, list) else value)


def test_a_line_has_every_number(capsys: pytest.CaptureFixture[str]) -> None:
    """All metrics, each with its value and unit, in the stack's namespace, by service alone."""
    blob = emitted(SUCCESS, capsys)[0]
    assert values_of(blob) == {
        "Polls": 1,
        "SuccessfulPolls": 1,
        "FailedPolls": 0,
        "PollDuration": 9_120,
        "RecordsSeen": 2_100,
        "NewIncidents": 20,
        "AttributedLate": 1,
        "NewUnattributed": 3,
        "NewRejected": 2,
        "PostponedRecords": 4,
        "UpstreamRetries": 6,
        "PossibleGaps": 1,
        "CredentialFailures": 0,
        "JournalLag": 5,
        "Unattributed": 9,
        "StaleSources": 2,
        "ConsecutiveFailures": 0,
        "DataAge": 1.5,
    }
    assert values_of(blob).keys() == METRICS.keys() - AFTER_THE_POLL
    (directive,) = blob["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "a-stack"
    assert directive["Dimensions"] == [["service"]]
    assert blob["service"] == "poller"
    units = {each["Name"]: each["Unit"] for each in directive["Metrics"]}
    assert units == {name: METRICS[name].value for name in METRICS.keys() - AFTER_THE_POLL}


def test_failures_are_counted_by_source_and_class(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each source that failed."""
    failures = emitted(SUCCESS, capsys)[1:]
    assert [(each["source"], each["error_class"], values_of(each)) for each in failures] == [
        ("misuse", "server_error", {SOURCE_FAILURES: 1}),
        ("identities", "timeout", {SOURCE_FAILURES: 1}),
    ]
    for each in failures:
        (directive,) = each["_aws"]["CloudWatchMetrics"]
        assert sorted(directive["Dimensions"][0]) == ["error_class", "service", "source"]


@pytest.mark.parametrize(
    ("outcome", "successes", "failures"),
    [("succeeded", 1, 0), ("failed", 0, 1), ("crashed", 0, 1), ("superseded", 0, 0)],
)
def test_each_poll_counts_as_what_it_was(
    outcome: Any, successes: int, failures: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that another poll has overtaken is neither a success nor a failure."""
    values = values_of(emitted(replace(SUCCESS, outcome=outcome), capsys)[0])
    assert (values["Polls"], values["SuccessfulPolls"], values["FailedPolls"]) == (1, successes, failures)


def test_what_is_not_known_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A poll that crashed at once knows neither the age of the data nor what waits: no number is made up."""
    values = values_of(emitted(PollSummary(poll_id="p", outcome="crashed", duration_ms=12), capsys)[0])
    assert values.keys() == METRICS.keys() - AFTER_THE_POLL - {
        "CredentialFailures",
        "Unattributed",
        "StaleSources",
        "ConsecutiveFailures",
        "DataAge",
    }


@pytest.mark.parametrize(("error", "failures"), [("", 0), ("NotFound", 1), ("ReadTimeoutError", 1)])
def test_what_people_were_told_of_is_a_line_of_its_own(
    error: str, failures: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """How many incidents, and whether it failed, whatever the error was."""
    MetricsEmitter("a-stack").emit_told(Told(8, error))
    (blob,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert values_of(blob) == {"NotifiedIncidents": 8, "NotificationFailures": failures}
    assert values_of(blob).keys() == NOTIFICATIONS


@pytest.mark.parametrize(("error", "failures"), [("", 0), ("ThrottlingException", 1)])
def test_whether_erasures_could_be_settled_is_a_line_of_its_own(
    error: str, failures: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A zero ends the alarm, and a poll that was superseded has nothing to say of it."""
    MetricsEmitter("a-stack").emit_settled(error)
    (blob,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert values_of(blob) == {"SettlingFailures": failures}


def test_without_a_dashboard_only_what_alarms_watch_is_emitted(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with the value that it has otherwise; of sources that failed there is no line."""
    lean = MetricsEmitter("a-stack", for_dashboard=False)
    lean.emit_poll(SUCCESS)
    lean.emit_told(Told(8, "NotFound"))
    lean.emit_settled("")
    poll, told, settled = (values_of(json.loads(line)) for line in capsys.readouterr().out.splitlines())
    full = values_of(emitted(SUCCESS, capsys)[0])
    assert poll == {name: full[name] for name in ALARMED & full.keys()}
    assert (told, settled) == ({"NotificationFailures": 1}, {"SettlingFailures": 0})
    assert poll.keys() | told.keys() | settled.keys() == ALARMED


def test_no_line_says_whose_or_where(capsys: pytest.CaptureFixture[str]) -> None:
    """Metrics are numbers, names of sources and classes of errors; CloudWatch has no room for secrets."""
    texts = {value for blob in emitted(SUCCESS, capsys) for value in blob.values() if isinstance(value, str)}
    assert texts == {"poller", "misuse", "server_error", "identities", "timeout"}
