"""What is kept of one employee's incidents all together: a score, the last one, counts by day and kind."""

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from shared.domain.incident import INCIDENT_TYPES, PRIORITIES
from shared.domain.retention import Retention
from shared.domain.risk import RiskScale

DAY_SECONDS = 86_400
# `GET /summary` counts so many days at most; two more, lest clocks that differ matter.
MAX_DAYS = 400
_DAYS_KEPT = MAX_DAYS + 2
# Where everything is kept, what is older than that is counted as of this day.
LONG_AGO = 0

# A UTC day (epoch seconds // 86,400) and a kind, a priority and a type as one number.
type Counts = Mapping[tuple[int, int], int]


class CountedIncident(NamedTuple):
    """As much of an incident as counts; ``timestamp`` is its exact text."""

    priority: str
    type: str
    timestamp: str


class EmployeeSummary(NamedTuple):
    """``risk`` is a stored score (:mod:`shared.domain.risk`), ``last`` the last incident's exact timestamp.

    The score is of all incidents that were ever counted, those past their time included: what half-lives
    have left of them.
    """

    risk: int
    last: str
    counts: Counts

    @property
    def last_day(self) -> int:
        """The UTC day of the last incident."""
        return day_of(self.last)

    def by_priority(self, first_day: int) -> dict[str, int]:
        """How many incidents of each priority there are from the day ``first_day`` on."""
        found = dict.fromkeys(PRIORITIES, 0)
        for (day, kind), count in self.counts.items():
            if day >= first_day:
                found[priority_of(kind)] += count
        return found


def day_of(timestamp: str) -> int:
    """The UTC day of a timestamp."""
    return int(timestamp.partition(".")[0]) // DAY_SECONDS


def kind_of(incident: CountedIncident) -> int:
    """Priority and type as one number."""
    priority, type = PRIORITIES.index(incident.priority), INCIDENT_TYPES.index(incident.type)
    return priority * len(INCIDENT_TYPES) + type


def priority_of(kind: int) -> str:
    """The priority in a kind."""
    return PRIORITIES[kind // len(INCIDENT_TYPES)]


def type_of(kind: int) -> str:
    """The type in a kind."""
    return INCIDENT_TYPES[kind % len(INCIDENT_TYPES)]


def first_day_shown(retention: Retention, as_of: float) -> int:
    """The first UTC day of which anything is kept at ``as_of`` (epoch seconds); that day counts in full."""
    oldest = retention.oldest_kept(as_of)
    return LONG_AGO if oldest is None else max(int(oldest) // DAY_SECONDS, LONG_AGO)


def first_day_kept(retention: Retention, moment: float) -> int:
    """The first day that an employee's summary keeps at ``moment``: one more than is shown.

    What is deleted by time to live is older: nothing may depend on whether that has happened yet.
    """
    return max(first_day_shown(retention, moment) - 1, LONG_AGO)


def first_day_counted(retention: Retention, moment: float) -> int:
    """The first day that is counted over all employees at ``moment``."""
    return max(first_day_kept(retention, moment), int(moment) // DAY_SECONDS - _DAYS_KEPT)


def add_incidents(
    before: EmployeeSummary | None,
    incidents: Sequence[CountedIncident],
    *,
    scale: RiskScale,
    retention: Retention,
    moment: float,
) -> tuple[EmployeeSummary, Counts] | None:
    """The summary after these incidents, and what they have added; None if none of them counts.

    ``moment`` (epoch seconds) is when they were taken in: by it retention is judged, never by a clock, so
    that whoever does this again comes to the same.
    """
    shown = first_day_shown(retention, moment)
    counted = [each for each in incidents if day_of(each.timestamp) >= shown]
    if not counted:
        return None
    first_day = first_day_kept(retention, moment)
    if before and before.last_day < first_day:
        before = None
    risk = before.risk if before else 0
    for incident in counted:
        risk = scale.add(risk, incident.priority, incident.timestamp)
    last = max([*([before.last] if before else []), *(each.timestamp for each in counted)], key=Decimal)
    # A clock that was wrong by years must not make everything too old: the last incident knows better.
    today = min(int(moment) // DAY_SECONDS, day_of(last))
    long_ago = 0 if retention.days else today - _DAYS_KEPT
    added = Counter(
        (day if (day := day_of(each.timestamp)) >= long_ago else LONG_AGO, kind_of(each)) for each in counted
    )
    counts = Counter(added)
    for (day, kind), count in before.counts.items() if before else ():
        if day >= first_day:
            counts[day if day >= long_ago else LONG_AGO, kind] += count
    return EmployeeSummary(risk, last, counts), added


def take_back(now: EmployeeSummary, added: Counts, *, risk: int, last: str) -> EmployeeSummary:
    """The summary before ``added`` was added to it, when it had this ``risk`` and ``last``."""
    counts = Counter(now.counts)
    counts.subtract(added)
    return EmployeeSummary(risk, last, +counts)
