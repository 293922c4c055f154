"""How the health document judges what the polls have stored."""

import copy
from collections.abc import Mapping
from copy import replace
from typing import Any

import pytest

from functions.api.health import assess_health
from shared.domain.incident import INCIDENT_TYPES
from shared.domain.journal import Totals
from shared.domain.poll_report import ALL_SOURCES, PollError, PollReport, SourceReport
from shared.domain.rfc3339 import format_rfc3339
from shared.store.state import State
from shared.version import VERSION

NOW = 1_795_413_600.0
INTERVAL = 300


def state(age: float | None, **sources: SourceReport) -> State:
    success = None if age is None else NOW - age
    fresh = SourceReport(state="fresh", records=300, last_success_at=success)
    report = PollReport(
        attempted_at=NOW - 1,
        last_success_at=success,
        sources={source: sources.get(source, fresh) for source in ALL_SOURCES},
    )
    return State(projected=3, committed_at="2026-11-23T05:00:00Z", polls=4, report=report)


def assess(judged: State) -> dict[str, Any]:
    return assess_health(judged, now=NOW, poll_interval_seconds=INTERVAL)


@pytest.mark.parametrize(
    ("age", "status"),
    [
        (0, "pass"),
        (599, "pass"),
        (600, "warn"),
        (1199, "warn"),
        (1200, "fail"),
        (10**6, "fail"),
        (None, "fail"),
        # Clocks differ a little; one that is days ahead says nothing about the data.
        (-60, "pass"),
        (-61, "fail"),
        (-864_000, "fail"),
    ],
)
def test_the_age_of_the_data_decides(age: float | None, status: str) -> None:
    """Pass below two intervals, warn below four, fail beyond, without data, and when the age is nonsense."""
    document = assess(state(age))
    assert document["status"] == status
    assert document["checks"]["poller:dataAge"][0]["status"] == status
    assert document["data_age_seconds"] == (None if age is None else max(0, age))
    assert document["thresholds"] == {
        "poll_interval_seconds": 300,
        "warn_when_data_older_than_seconds": 600,
        "fail_when_data_older_than_seconds": 1200,
    }


@pytest.mark.parametrize("source", ALL_SOURCES)
@pytest.mark.parametrize("condition", ["stale", "never_taken"])
def test_one_source_that_is_not_fresh_is_a_warning(source: str, condition: Any) -> None:
    """Whatever the others do; the sentence names it; the data's own age still decides what is worse."""
    error = PollError("server_error", "the upstream answered 503", 503, NOW - 5)
    late = SourceReport(state=condition, last_error=error)
    document = assess(state(10, **{source: late}))
    assert document["status"] == "warn"
    assert source in document["output"]
    assert document["sources"][source]["last_error"] == {
        "class": "server_error",
        "status": 503,
        "message": "the upstream answered 503",
        "at": "2026-11-23T05:59:55Z",
    }
    assert document["checks"][f"{source}:responseTime"][0]["status"] == "warn"
    assert assess(state(2000, **{source: late}))["status"] == "fail"


@pytest.mark.parametrize("source", INCIDENT_TYPES)
@pytest.mark.parametrize(("ago", "told"), [(0, True), (86_399, True), (86_400, False), (10**7, False)])
def test_a_possible_gap_is_told(source: str, ago: int, told: bool) -> None:
    """In the sentence for a day, with its time for good; the status stays, because no poll can mend it."""
    gap = SourceReport(state="fresh", records=300, last_success_at=NOW, possible_gap_at=NOW - ago)
    document = assess(state(10, **{source: gap}))
    assert document["status"] == "pass"
    assert (f"may have been missed: {source}." in document["output"]) is told
    assert document["sources"][source]["possible_gap_at"] == format_rfc3339(NOW - ago)
    others = {each["possible_gap_at"] for name, each in document["sources"].items() if name != source}
    assert others == {None}


def test_counters_are_those_of_the_state() -> None:
    """The first version's counters, and the gauges beside them, are told as stored."""
    judged = state(10)
    sources = {**judged.report.sources, "other": SourceReport(state="fresh", rejected=3, too_old=2)}
    judged = replace(
        judged,
        polls=7,
        successful_updates=5,
        failed_updates=2,
        report=replace(judged.report, sources=sources, consecutive_failures=1),
    )
    document = assess(judged)
    names = ("polls", "successful_updates", "failed_updates", "consecutive_failures")
    assert [document[name] for name in names] == [7, 5, 2, 1]
    assert (document["rejected_records"], document["too_old_records"]) == (3, 2)
    assert document["last_attempt_at"] == "2026-11-23T05:59:59Z"


HEALTHY = State(
    projected=42,
    committed_at="2026-11-23T05:40:00Z",
    totals=Totals(incidents=2_087, unattributed=13),
    polls=1_200,
    successful_updates=1_190,
    failed_updates=10,
    report=PollReport(
        attempted_at=NOW - 42.5,
        duration_ms=9_120,
        last_success_at=NOW - 42.5,
        sources={
            source: SourceReport(
                "fresh",
                records=300 + number,
                rejected=number,
                too_old=2 * number,
                latency_ms=1_700 + number,
                attempts=1,
                last_success_at=NOW - 42.5,
            )
            for number, source in enumerate(ALL_SOURCES)
        },
    ),
)
HEALTHY_DOCUMENT: dict[str, Any] = {
    "status": "pass",
    "version": VERSION,
    "description": "Security incidents by employee, polled from the upstream",
    "output": "All sources are fresh.",
    "polls": 1_200,
    "successful_updates": 1_190,
    "failed_updates": 10,
    "total_identified_incidents": 2_087,
    "unattributed_incidents": 13,
    "rejected_records": 28,
    "too_old_records": 56,
    "last_attempt_at": "2026-11-23T05:59:17Z",
    "last_success_at": "2026-11-23T05:59:17Z",
    "last_poll_duration_ms": 9_120,
    "last_error": None,
    "data_age_seconds": 42,
    "consecutive_failures": 0,
    "snapshot": {"sequence": 42, "committed_at": "2026-11-23T05:40:00Z", "complete": True},
    "thresholds": {
        "poll_interval_seconds": 300,
        "warn_when_data_older_than_seconds": 600,
        "fail_when_data_older_than_seconds": 1_200,
    },
    "sources": {
        source: {
            "state": "fresh",
            "records": 300 + number,
            "rejected": number,
            "too_old": 2 * number,
            "latency_ms": 1_700 + number,
            "attempts": 1,
            "last_success_at": "2026-11-23T05:59:17Z",
            "last_error": None,
            "possible_gap_at": None,
        }
        for number, source in enumerate(ALL_SOURCES)
    },
    "checks": {
        "poller:dataAge": [
            {
                "componentType": "component",
                "observedValue": 42,
                "observedUnit": "s",
                "status": "pass",
                "time": "2026-11-23T06:00:00Z",
            }
        ],
        **{
            f"{source}:responseTime": [
                {
                    "componentType": "system",
                    "observedValue": 1_700 + number,
                    "observedUnit": "ms",
                    "status": "pass",
                    "time": "2026-11-23T05:59:17Z",
                }
            ]
            for number, source in enumerate(ALL_SOURCES)
        },
    },
}


def changed(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The document with other values at dotted paths."""
    copied = copy.deepcopy(dict(document))
    for path, value in changes.items():
        *way, last = path.split(".")
        inner: Any = copied
        for name in way:
            inner = inner[int(name) if name.isdigit() else name]
        assert last in inner, path
        inner[last] = value
    return copied


def test_every_field_when_all_is_well() -> None:
    """`pass`: the whole document, each field with the value that the polls have stored."""
    assert assess(HEALTHY) == HEALTHY_DOCUMENT


def test_every_field_when_a_source_is_stale() -> None:
    """`warn`: just what tells of the stale source and of the gap is different; its last data stay."""
    error = PollError("server_error", "the upstream answered 503", 503, NOW - 42.5)
    probing = HEALTHY.report.sources["probing"].failed(error, latency_ms=30_000, attempts=4)
    probing = replace(probing, last_success_at=NOW - 900, possible_gap_at=NOW - 900)
    report = replace(HEALTHY.report, sources={**HEALTHY.report.sources, "probing": probing})
    assert assess(replace(HEALTHY, report=report)) == changed(
        HEALTHY_DOCUMENT,
        {
            "status": "warn",
            "output": "The data is 42 seconds old. Not fresh: probing."
            " Incidents may have been missed: probing.",
            "snapshot.complete": False,
            "sources.probing.state": "stale",
            "sources.probing.latency_ms": 30_000,
            "sources.probing.attempts": 4,
            "sources.probing.last_success_at": "2026-11-23T05:45:00Z",
            "sources.probing.last_error": {
                "class": "server_error",
                "status": 503,
                "message": "the upstream answered 503",
                "at": "2026-11-23T05:59:17Z",
            },
            "sources.probing.possible_gap_at": "2026-11-23T05:45:00Z",
            "checks.probing:responseTime.0.observedValue": 30_000,
            "checks.probing:responseTime.0.status": "warn",
            "checks.probing:responseTime.0.time": "2026-11-23T05:45:00Z",
        },
    )


def test_every_field_when_polls_fail() -> None:
    """`fail`: the data have grown old, the last poll's error is told, sources are as they were left."""
    crash = PollError("internal", "the poll ended with ClientError", None, NOW - 10)
    report = replace(HEALTHY.report, last_success_at=NOW - 1_200).crashed(crash, duration_ms=77)
    report = replace(report, consecutive_failures=4)
    assert assess(replace(HEALTHY, report=report, polls=1_204, failed_updates=14)) == changed(
        HEALTHY_DOCUMENT,
        {
            "status": "fail",
            "output": "The data is 1200 seconds old. The last poll failed: the poll ended with ClientError.",
            "polls": 1_204,
            "failed_updates": 14,
            "last_attempt_at": "2026-11-23T05:59:50Z",
            "last_success_at": "2026-11-23T05:40:00Z",
            "last_poll_duration_ms": 77,
            "last_error": {
                "class": "internal",
                "status": None,
                "message": "the poll ended with ClientError",
                "at": "2026-11-23T05:59:50Z",
            },
            "data_age_seconds": 1_200,
            "consecutive_failures": 4,
            "checks.poller:dataAge.0.observedValue": 1_200,
            "checks.poller:dataAge.0.status": "fail",
        },
    )


def test_before_the_first_poll() -> None:
    """An empty table fails, says that no poll has succeeded, and has no times."""
    document = assess(State())
    assert (document["status"], document["polls"]) == ("fail", 0)
    assert "No poll has succeeded yet" in document["output"]
    assert [document[name] for name in ("last_attempt_at", "last_success_at", "data_age_seconds")] == [
        None
    ] * 3
