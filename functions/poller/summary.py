"""What a poll did, in counts, and what it reports for `/health`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from functions.poller.sources import TakenSources
from shared.domain.incident import INCIDENT_TYPES
from shared.domain.journal import Attributed, Decision, Rejected
from shared.domain.poll_report import PollError, PollReport

type Outcome = Literal["succeeded", "failed", "superseded"]


@dataclass(frozen=True, slots=True)
class PollSummary:
    """What a poll did, for the log and for the caller of the function.

    ``outcome``: it ``succeeded`` (took in at least one source), ``failed`` (took none), or was
    ``superseded`` by another poll, which committed in between; what it had committed before that stays in
    and is counted here. ``postponed`` decisions found no time; the next poll goes on with them.
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
    unattributed: int = 0
    duration_ms: int = 0
    sources: Mapping[str, str] = field(default_factory=dict)


def count_decisions(decisions: Sequence[Decision]) -> dict[str, int]:
    """How many of each kind, under the names that the summary has for them."""
    counts = Counter(map(_counted_as, decisions))
    names = ("new_incidents", "attributed_late", "new_unattributed", "new_rejected")
    return {name: counts[name] for name in names}


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
        case _:
            return "new_unattributed"


def _why_none(taken: TakenSources, at: float) -> PollError:
    """Why no source could be taken: the sources' common reason, or that they had several."""
    errors = [error for kind in INCIDENT_TYPES if (error := taken.reports[kind].last_error)]
    if len({error.error_class for error in errors}) == 1:
        return errors[0]
    return PollError("several", "no source could be taken, for several reasons: see the sources", None, at)
