"""Walking over a snapshot, a page of whole employees at a time."""

from dataclasses import dataclass
from math import ceil

from shared.domain.grouping import EmployeeGroup
from shared.domain.retention import Retention
from shared.store.incidents import Span, StoredIncident, all_from, of_employee, read_incidents
from shared.store.keys import after_employee
from shared.store.table import Table

# The rest of 1 MB is for what stands around the employees.
MAX_PAGE_BYTES = 990_000
_FIRST_FOLLOW_UP_ITEMS = 16


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a walk sees: all that was laid out up to ``sequence``, retention judged at ``as_of`` (epoch s).

    ``complete`` says whether the poll before the walk took every source in.
    """

    sequence: int
    committed_at: str
    complete: bool
    as_of: int


@dataclass(frozen=True, slots=True)
class Page:
    """Whole employees in the order of their ids, and the sort key to go on from; None at the end."""

    groups: list[EmployeeGroup]
    go_on_from: str | None


class Walker:
    """Reads pages. It learns how many incidents an employee has, so as to read little more than a page."""

    def __init__(self, table: Table, retention: Retention) -> None:
        self._table = table
        self._retention = retention
        self._seen_employees = 100
        self._seen_incidents = 150

    def read_page(self, snapshot: Snapshot, *, go_on_from: str | None, limit: int) -> Page:
        """At most ``limit`` employees, and under 1 MB of them unless one alone is larger."""
        span = all_from(go_on_from) if go_on_from else Span()
        page = _GrowingPage(limit)
        after, at_least = None, 1
        while True:
            likely = ceil(page.employees_wanted * self._seen_incidents / self._seen_employees)
            incidents, after = self._request(snapshot, span, after, max(likely, at_least))
            if not all(page.take(incident) for incident in incidents):
                self._seen_employees += len(page.groups)
                self._seen_incidents += page.incidents
                return Page(page.groups, after_employee(page.groups[-1].employee_id))
            if after is None:
                return Page(page.groups, None)
            # Doubling: an employee with very many incidents must not cost very many requests.
            at_least = max(2 * at_least, _FIRST_FOLLOW_UP_ITEMS)

    def read_employee(self, snapshot: Snapshot, employee_id: str) -> EmployeeGroup | None:
        """All that the snapshot holds of one employee; None if that is nothing."""
        group = EmployeeGroup(employee_id)
        after, found = None, False
        while True:
            incidents, after = self._request(snapshot, of_employee(employee_id), after, None)
            for incident in incidents:
                group.add(incident.priority, incident.json)
                found = True
            if after is None:
                return group if found else None

    def _request(
        self, snapshot: Snapshot, span: Span, after: str | None, limit: int | None
    ) -> tuple[list[StoredIncident], str | None]:
        return read_incidents(
            self._table,
            span,
            after=after,
            snapshot=snapshot.sequence,
            oldest_kept=self._retention.oldest_kept(snapshot.as_of),
            limit=limit,
        )


class _GrowingPage:
    """A page while it is filled, in the order of the walk."""

    def __init__(self, limit: int) -> None:
        self.groups: list[EmployeeGroup] = []
        self.incidents = 0
        self._limit = limit
        self._size = 0

    @property
    def employees_wanted(self) -> int:
        """One more than the page can hold yet: seeing that one tells that there is a further page."""
        return self._limit + 1 - len(self.groups)

    def take(self, incident: StoredIncident) -> bool:
        """Take the next incident; False if the page is full without it, whole employees only.

        An incident that is refused is there all the same, so the page after this one is never empty.
        """
        if not self.groups or self.groups[-1].employee_id != incident.employee_id:
            if len(self.groups) == self._limit:
                return False
            self.groups.append(EmployeeGroup(incident.employee_id))
            self._size += self.groups[-1].size
        self.groups[-1].add(incident.priority, incident.json)
        self.incidents += 1
        self._size += len(incident.json)
        if self._size > MAX_PAGE_BYTES and len(self.groups) > 1:
            self.groups.pop()
            return False
        return True
