"""What is kept of everybody's incidents all together: counts by day, and who is on top.

All of it is worked out from what it was before and from what changed for which employee, so that nobody has
to read more than that.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from shared.domain.employee_summary import (
    DAY_SECONDS,
    Counts,
    EmployeeSummary,
    first_day_counted,
    first_day_shown,
)
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES
from shared.domain.retention import Retention
from shared.domain.risk import RiskScale

# `GET /employees` shows so many at most; the others are there for those who are erased or grow too old.
SHOWN_ON_TOP = 500
MAX_ON_TOP = 512
# Above all employee ids: everybody.
EVERYBODY = ":"
_WIDTH = 20
# After so many days in which nothing happened days go on being kept until something does.
_DAYS_WITHOUT = 2
_TYPES = len(INCIDENT_TYPES)


class DayCounts(NamedTuple):
    """One UTC day: incidents by priority and by type, and whose last incident it was: how many employees'."""

    by_priority: tuple[int, ...] = (0,) * len(PRIORITIES)
    by_type: tuple[int, ...] = (0,) * _TYPES
    last_of: int = 0


class Ranked(NamedTuple):
    """An employee with a stored score and the day of the last incident."""

    risk: int
    employee_id: str
    last_day: int

    @property
    def place(self) -> tuple[int, str]:
        """Whoever has the lower place ranks higher; among equals the lower id."""
        return -self.risk, f"{self.employee_id:0>{_WIDTH}}"


class Change(NamedTuple):
    """What an entry changed for one employee: the summary before and after, None where there is none.

    ``added`` is what came in; what was there before goes with an employee who is erased.
    """

    employee_id: str
    before: EmployeeSummary | None
    after: EmployeeSummary | None
    added: Counts


class Basis(NamedTuple):
    """What all that is counted rests on: if that changes, all is counted anew."""

    scale: RiskScale = RiskScale()
    retention: Retention = Retention()

    def to_text(self) -> str:
        """``"1,3,7,15/30/400"``."""
        return f"{self.scale.to_text()}/{self.retention.days}"

    @classmethod
    def from_text(cls, text: str) -> "Basis":
        """What :meth:`to_text` wrote."""
        scale, _, days = text.rpartition("/")
        return cls(RiskScale.from_text(scale), Retention(int(days)))


class Overview(NamedTuple):
    """Everything as of the entry ``sequence``.

    ``generation`` counts how often it was begun anew, ``revision`` how often it was changed without an
    entry. It is of the employees whose padded id is at most ``up_to``; the others are still to be counted.
    ``top`` are those on top, first the highest; ``floor`` is the place above which nobody is missing there,
    None if nobody is missing at all.
    """

    sequence: int
    basis: Basis
    generation: int = 1
    revision: int = 0
    up_to: str = ""
    days: Mapping[int, DayCounts] = {}
    top: Sequence[Ranked] = ()
    floor: tuple[int, str] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether everybody is counted."""
        return self.up_to == EVERYBODY

    @property
    def is_short(self) -> bool:
        """Whether fewer are on top than are shown, though there may be more."""
        return self.floor is not None and len(self.top) < SHOWN_ON_TOP

    @property
    def name(self) -> str:
        """Says which way of counting it is, and whether it was begun anew since."""
        return name_of(self.generation, self.basis)

    def holds(self, employee_id: str) -> bool:
        """Whether the employee is counted by now."""
        return f"{employee_id:0>{_WIDTH}}" <= self.up_to

    def after(self, sequence: int, changes: Iterable[Change], *, moment: float) -> "Overview":
        """The overview after the entry ``sequence``, of ``moment`` (epoch seconds), that made the changes."""
        made = list(changes)
        retention = self.basis.retention
        # A clock that was wrong by years must not make everything too old: the newest incident knows better.
        newest = max([*self.days, *(day for change in made for day, _ in change.added)], default=0)
        moment = min(moment, (newest + _DAYS_WITHOUT) * DAY_SECONDS)
        days = _Days(self.days, first_day_counted(retention, moment))
        for change in made:
            days.take(change)
        first_day = first_day_shown(retention, moment)
        changed = {change.employee_id for change in made}
        stay = [each for each in self.top if each.employee_id not in changed]
        come = [rank(change.employee_id, change.after) for change in made if change.after]
        above = [each for each in come if self.floor is None or each.place < self.floor]
        top, floor = choose_top((each for each in [*stay, *above] if each.last_day >= first_day), self.floor)
        revision = self.revision + 1 if sequence == self.sequence else 0
        return self._replace(sequence=sequence, revision=revision, days=days.counts(), top=top, floor=floor)


def name_of(generation: int, basis: Basis) -> str:
    """``"3:1,3,7,15/30/400"``."""
    return f"{generation}:{basis.to_text()}"


def has_basis(name: str, basis: Basis) -> bool:
    """Whether what is called ``name`` rests on this ``basis``."""
    return name.partition(":")[2] == basis.to_text()


def rank(employee_id: str, summary: EmployeeSummary) -> Ranked:
    """The employee among the others."""
    return Ranked(summary.risk, employee_id, summary.last_day)


def choose_top(
    employees: Iterable[Ranked], floor: tuple[int, str] | None
) -> tuple[tuple[Ranked, ...], tuple[int, str] | None]:
    """The highest of them, and the floor, which was ``floor`` before."""
    ordered = sorted(employees, key=lambda each: each.place)
    if len(ordered) > MAX_ON_TOP:
        floor = ordered[MAX_ON_TOP].place
    return tuple(ordered[:MAX_ON_TOP]), floor


class _Days:
    """Counts by day while they change: four priorities, seven types, and whose last day it is."""

    def __init__(self, before: Mapping[int, DayCounts], first_day: int) -> None:
        self._first_day = first_day
        self._rows = {
            day: [*counts.by_priority, *counts.by_type, counts.last_of]
            for day, counts in before.items()
            if day >= first_day
        }

    def take(self, change: Change) -> None:
        """Count what changed for one employee."""
        for (day, kind), count in change.added.items():
            self._add(day, kind, count)
        if change.before:
            self._add_last(change.before.last_day, -1)
            if change.after is None:
                for (day, kind), count in change.before.counts.items():
                    self._add(day, kind, -count)
        if change.after:
            self._add_last(change.after.last_day, 1)

    def counts(self) -> Mapping[int, DayCounts]:
        """The days with anything, in order."""
        split = len(PRIORITIES)
        return {
            day: DayCounts(tuple(row[:split]), tuple(row[split:-1]), row[-1])
            for day, row in sorted(self._rows.items())
            if any(row)
        }

    def _add(self, day: int, kind: int, count: int) -> None:
        if row := self._row(day):
            row[kind // _TYPES] += count
            row[len(PRIORITIES) + kind % _TYPES] += count

    def _add_last(self, day: int, count: int) -> None:
        if row := self._row(day):
            row[-1] += count

    def _row(self, day: int) -> list[int] | None:
        if day < self._first_day:
            return None
        return self._rows.setdefault(day, [0] * (len(PRIORITIES) + _TYPES + 1))
