"""EventBridge as the local run plays it."""

import io
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest

from functions.poller.poll import PollSummary
from local.lambda_context import Function, LambdaContext
from local.scheduler import _COUNTS, build_scheduled_event, describe_summary, run_poll, run_schedule
from local.template import Limits

# From the user guide of EventBridge, "Scheduled events".
DOCUMENTED = {
    "version": "0",
    "id": "89d1a02d-5ec7-412e-82f5-13505f849b41",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",
    "time": "2016-12-30T18:44:49Z",
    "region": "us-east-1",
    "resources": ["arn:aws:events:us-east-1:123456789012:rule/SampleRule"],
    "detail": {},
}


def make_function(handler: Any) -> Function:
    return Function("PollerFunction", handler, Limits(240, 512))


def test_event_has_the_documented_shape() -> None:
    """The poller gets what EventBridge sends: the same names, the time in UTC without fraction, a new id."""
    moment = datetime(2016, 12, 30, 18, 44, 49, 250_000, tzinfo=UTC)
    first, second = build_scheduled_event(moment), build_scheduled_event(moment)
    varying = ("id", "account", "resources")
    assert first.keys() == DOCUMENTED.keys()
    assert {name: first[name] for name in first if name not in varying} == {
        name: DOCUMENTED[name] for name in DOCUMENTED if name not in varying
    }
    assert len(first["id"]) == len(DOCUMENTED["id"])
    assert first["id"] != second["id"]


def test_context_counts_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time left starts at the template's timeout, falls with the clock and ends at 0."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    context = LambdaContext("PollerFunction", 512, 240, started=100.0)
    assert context.get_remaining_time_in_millis() == 240_000
    now = 130.5
    assert context.get_remaining_time_in_millis() == 209_500
    now = 1000.0
    assert context.get_remaining_time_in_millis() == 0
    assert context.invoked_function_arn.endswith(":function:PollerFunction")
    assert context.memory_limit_in_mb == 512


def test_poll_says_what_it_saw() -> None:
    """A poll is one line with its number, and the handler got a scheduled event and a fresh context."""
    calls: list[tuple[dict[str, Any], LambdaContext]] = []

    def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        calls.append((event, context))
        return {"outcome": "succeeded", "records": 2100, "new_incidents": 0, "sources": {"denial": "fresh"}}

    line = run_poll(make_function(handler), 3)
    assert line.startswith("poll 3: 2,100 seen, 0 new, all sources fresh (")
    assert "\n" not in line
    run_poll(make_function(handler), 4)
    assert calls[0][0]["detail-type"] == "Scheduled Event"
    assert calls[0][1].aws_request_id != calls[1][1].aws_request_id


def test_failing_poll_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A poll that fails ends nothing: one line names the error's class, the traceback is in the log only."""

    def handler(event: Any, context: Any) -> None:
        raise ConnectionError("https://reader:hush@upstream")

    line = run_poll(make_function(handler), 1)
    assert line.startswith("poll 1: failed with ConnectionError, see .local/poller.log (")
    assert "hush" not in line
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" in captured.err


def test_summaries_speak_of_what_the_poller_counts() -> None:
    """Each count that the line is made of is one that the real poller returns."""
    assert {"outcome", "sources", *_COUNTS} <= {each.name for each in fields(PollSummary)}


def test_a_summary_that_is_not_json_fails() -> None:
    """Lambda refuses an answer that is not JSON: so does the local run."""
    assert "failed with TypeError" in run_poll(make_function(lambda event, context: {"seen": {1}}), 1)


@pytest.mark.parametrize(
    ("summary", "text"),
    [
        (None, "done"),
        ({}, "done"),
        ({"records": 1}, "1 seen"),
        ({"records": 0, "new_incidents": 0, "unattributed": 0, "new_rejected": 0}, "0 seen, 0 new"),
        (
            {"records": 5, "new_incidents": 2, "attributed_late": 4, "unattributed": 1, "new_rejected": 3},
            "5 seen, 2 new, 4 attributed late, 1 unattributed, 3 rejected",
        ),
        (
            {"sources": {"denial": "stale", "other": "fresh", "misuse": "never_taken"}},
            "denial stale, misuse never taken",
        ),
        (
            {"outcome": "failed", "records": 0, "sources": {"denial": "never_taken", "other": "never_taken"}},
            "failed, 0 seen, all sources never taken",
        ),
        ({"outcome": "superseded", "records": 9}, "superseded by another poll, changed nothing"),
    ],
)
def test_summaries(summary: Any, text: str) -> None:
    """Whatever a summary lacks is left out of the line; a source that is not fresh is named."""
    assert describe_summary(summary) == text


def test_polls_start_at_fixed_intervals_and_never_overlap() -> None:
    """The first poll starts at once, the next an interval after the last start; a late one at once."""
    now = 0.0
    durations = [1.0, 12.0, 2.0, 0.0]
    starts: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        assert seconds >= 0
        now += seconds

    def poll(number: int) -> str:
        nonlocal now
        starts.append(now)
        now += durations[number - 1]
        return f"poll {number}"

    terminal = io.StringIO()
    run_schedule(poll, 5.0, terminal, clock=lambda: now, sleep=sleep, polls=4)
    assert starts == [0.0, 5.0, 17.0, 22.0]
    assert terminal.getvalue() == "poll 1\npoll 2\npoll 3\npoll 4\n"
