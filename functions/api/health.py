"""The health document: the poller's state as stored, judged by the schedule (docs/api.md).

Its form is that of draft-inadarei-api-health-check-06.
"""

from typing import Any, Literal

from shared.domain.poll_report import ALL_SOURCES, PollError, SourceReport
from shared.domain.rfc3339 import format_rfc3339
from shared.store.state import State
from shared.version import VERSION

CONTENT_TYPE = "application/health+json"
WARN_AFTER_INTERVALS = 2
FAIL_AFTER_INTERVALS = 4
# A last success further ahead than this is of a clock that was wrong: nothing is known of the data's age.
_CLOCK_SKEW_SECONDS = 60
# Nothing mends a gap, so it is told for as long as somebody may not have seen it yet; its time stays.
_GAP_TOLD_SECONDS = 86_400

type Status = Literal["pass", "warn", "fail"]
_WORST_FIRST: tuple[Status, ...] = ("fail", "warn", "pass")


def assess_health(state: State, *, now: float, poll_interval_seconds: int) -> dict[str, Any]:
    """The document at ``now`` (epoch seconds), of a poller that runs every ``poll_interval_seconds``."""
    report = state.report
    age = None if report.last_success_at is None else int(now - report.last_success_at)
    age_status = _age_status(age, poll_interval_seconds)
    sources = {source: report.sources[source] for source in ALL_SOURCES}
    status = min([age_status, *(_source_status(each) for each in sources.values())], key=_WORST_FIRST.index)
    return {
        "status": status,
        "version": VERSION,
        "description": "Security incidents by employee, polled from the upstream",
        "output": _explain(status, age, sources, report.last_error) + _tell_gaps(sources, now),
        "polls": state.polls,
        "successful_updates": state.successful_updates,
        "failed_updates": state.failed_updates,
        "total_identified_incidents": state.totals.incidents,
        "unattributed_incidents": state.totals.unattributed,
        "rejected_records": report.rejected,
        "too_old_records": report.too_old,
        "last_attempt_at": format_rfc3339(report.attempted_at) if report.attempted_at else None,
        "last_success_at": _time(report.last_success_at),
        "last_poll_duration_ms": report.duration_ms,
        "last_error": _error(report.last_error),
        "data_age_seconds": None if age is None else max(0, age),
        "consecutive_failures": report.consecutive_failures,
        "snapshot": {
            "sequence": state.projected,
            "committed_at": state.committed_at or None,
            "complete": report.complete,
        },
        "thresholds": {
            "poll_interval_seconds": poll_interval_seconds,
            "warn_when_data_older_than_seconds": WARN_AFTER_INTERVALS * poll_interval_seconds,
            "fail_when_data_older_than_seconds": FAIL_AFTER_INTERVALS * poll_interval_seconds,
        },
        "sources": {source: _source(each) for source, each in sources.items()},
        "checks": {
            "poller:dataAge": [
                {
                    "componentType": "component",
                    "observedValue": None if age is None else max(0, age),
                    "observedUnit": "s",
                    "status": age_status,
                    "time": format_rfc3339(now),
                }
            ],
        }
        | {f"{source}:responseTime": [_check(each, now)] for source, each in sources.items()},
    }


def _age_status(age: int | None, poll_interval_seconds: int) -> Status:
    if age is None or age < -_CLOCK_SKEW_SECONDS or age >= FAIL_AFTER_INTERVALS * poll_interval_seconds:
        return "fail"
    return "warn" if age >= WARN_AFTER_INTERVALS * poll_interval_seconds else "pass"


def _source_status(source: SourceReport) -> Status:
    return "pass" if source.state == "fresh" else "warn"


def _explain(
    status: Status, age: int | None, sources: dict[str, SourceReport], error: PollError | None
) -> str:
    """One sentence for whoever was woken up by it."""
    if status == "pass":
        return "All sources are fresh."
    reason = f" The last poll failed: {error.message}." if error else ""
    if age is None:
        return f"No poll has succeeded yet.{reason}"
    if age < -_CLOCK_SKEW_SECONDS:
        return f"The last success is {-age} seconds ahead: a clock is or was wrong.{reason}"
    late = [source for source, each in sources.items() if each.state != "fresh"]
    behind = f" Not fresh: {', '.join(late)}." if late else ""
    return f"The data is {age} seconds old.{behind}{reason}"


def _tell_gaps(sources: dict[str, SourceReport], now: float) -> str:
    gaps = [
        source
        for source, each in sources.items()
        if each.possible_gap_at is not None and now - each.possible_gap_at < _GAP_TOLD_SECONDS
    ]
    return f" Incidents may have been missed: {', '.join(gaps)}." if gaps else ""


def _source(source: SourceReport) -> dict[str, Any]:
    return {
        "state": source.state,
        "records": source.records,
        "rejected": source.rejected,
        "too_old": source.too_old,
        "latency_ms": source.latency_ms,
        "attempts": source.attempts,
        "last_success_at": _time(source.last_success_at),
        "last_error": _error(source.last_error),
        "possible_gap_at": _time(source.possible_gap_at),
    }


def _check(source: SourceReport, now: float) -> dict[str, Any]:
    return {
        "componentType": "system",
        "observedValue": source.latency_ms,
        "observedUnit": "ms",
        "status": _source_status(source),
        "time": _time(source.last_success_at) or format_rfc3339(now),
    }


def _error(error: PollError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "class": error.error_class,
        "status": error.status,
        "message": error.message,
        "at": format_rfc3339(error.at),
    }


def _time(moment: float | None) -> str | None:
    return None if moment is None else format_rfc3339(moment)
