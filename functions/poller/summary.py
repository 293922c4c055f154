"""What a poll did, in counts, and what it reports for `/health`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from functions.poller.sources import TakenSources
from shared.domain.incident import INCIDENT_TYPES
from shared.domain.journal import Attributed, Decision, Erased, Rejected, Unattributed
from shared.domain.poll_report import PollError, PollReport

type Outcome = Literal["succeeded", "failed", "superseded", "crashed"]


@dataclass(frozen=True, slots=True)
class PollSummary:
    """What a poll did, for the log and for the caller of the function.

    ``outcome``: it ``succeeded`` (took in at least one source), ``failed`` (took none), was ``superseded``
    by another poll, which committed in between, or ``crashed``, which is a failure on this side; what it
    had committed before that stays in and, unless it crashed, is counted here. ``postponed`` decisions
    found no time; the next poll goes on with them. ``journal_lag`` is how many entries an earlier poll had
    committed and not laid out. ``failures`` are the classes of the errors of the sources that failed;
    ``settling_error`` is the name of the error that kept erasures from being settled by this poll,
    ``recount_error`` of the one that kept it from counting anew what `/employees` and `/summary` tell.
    ``credential_failure``: they all failed for want of credentials that the upstream takes.

    What is None is not known to this poll.
    """

    poll_id: str
    outcome: Outcome
    sequence: int = 0
    records: int = 0
    new_incidents: int = 0
    new_unattributed: int = 0
    new_rejected: int = 0
    attributed_late: int = 0
    postponed: int = 0
    journal_lag: int = 0
    retries: int = 0
    possible_gaps: Sequence[str] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    credential_failure: bool | None = None
    notified: int = 0
    notification_error: str = ""
    settling_error: str = ""
    recount_error: str = ""
    unattributed: int | None = None
    stale_sources: int | None = None
    consecutive_failures: int | None = None
    data_age_seconds: float | None = None
    duration_ms: int = 0
    sources: Mapping[str, str] = field(default_factory=dict)


def count_decisions(decisions: Sequence[Decision]) -> dict[str, Any]:
    """How many of each kind, under the names that the summary has for them."""
    counts = Counter(map(_counted_as, decisions))
    names = ("new_incidents", "attributed_late", "new_unattributed", "new_rejected")
    return {name: counts[name] for name in names}


def describe_sources(taken: TakenSources) -> dict[str, Any]:
    """How the sources did in this poll, under the names that the summary has for it."""
    return {
        "records": sum(window.records for window in taken.windows.values()),
        "retries": sum(max(0, each.attempts - 1) for each in taken.reports.values()),
        "possible_gaps": taken.possible_gaps,
        "credential_failure": lacks_credentials(taken),
        "failures": {
            source: each.last_error.error_class
            for source, each in taken.reports.items()
            if each.state != "fresh" and each.last_error
        },
    }


def lacks_credentials(taken: TakenSources) -> bool:
    """Whether nothing was taken because there are no credentials, or the upstream refuses them."""
    errors = [error.error_class for each in taken.reports.values() if (error := each.last_error)]
    return not taken.windows and bool(errors) and set(errors) <= {"credentials", "unauthorized"}


def describe_report(report: PollReport, *, now: float) -> dict[str, Any]:
    """What the report says of the whole service, at ``now``, under the names that the summary has for it."""
    last_success_at = report.last_success_at
    return {
        "sources": {source: each.state for source, each in report.sources.items()},
        "stale_sources": sum(each.state != "fresh" for each in report.sources.values()),
        "consecutive_failures": report.consecutive_failures,
        "data_age_seconds": None if last_success_at is None else round(max(0.0, now - last_success_at), 3),
    }


def make_report(
    latest: PollReport, taken: TakenSources, *, attempted_at: float, duration_ms: int
) -> PollReport:
    """The report of a poll that ended, on top of the ``latest`` one: another poll may have reported since
    this one began, and what that one knows better stays.
    """
    error = None if taken.windows else _why_none(taken, attempted_at)
    return PollReport(
        attempted_at=attempted_at,
        duration_ms=duration_ms,
        last_success_at=latest.last_success_at if error else attempted_at,
        consecutive_failures=latest.consecutive_failures + 1 if error else 0,
        last_error=error,
        identities_digest=taken.identities.digest if taken.identities else latest.identities_digest,
        sources={
            source: report.on_top_of(latest.sources[source]) for source, report in taken.reports.items()
        },
    )


def _counted_as(decision: Decision) -> str:
    match decision:
        case Attributed(was_unattributed=waited):
            return "attributed_late" if waited else "new_incidents"
        case Rejected():
            return "new_rejected"
        case Unattributed():
            return "new_unattributed"
        case Erased():
            return "erased"


def _why_none(taken: TakenSources, at: float) -> PollError:
    """Why no source could be taken: the sources' common reason, or that they had several."""
    errors = [error for kind in INCIDENT_TYPES if (error := taken.reports[kind].last_error)]
    if len({error.error_class for error in errors}) == 1:
        return errors[0]
    return PollError("several", "no source could be taken, for several reasons: see the sources", None, at)
