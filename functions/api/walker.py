"""Walking over a snapshot, a page of whole employees at a time."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from typing import NamedTuple

from functions.api.density import Density
from functions.api.page import MAX_PAGE_BYTES, MAX_REQUEST_ITEMS, row_size, rows_size
from functions.api.searches import SEARCH_SECONDS, UNFINISHED, Searches, UnfinishedSearchError
from functions.api.walk import PageKey, Position, Walk
from shared.domain.filters import NO_FILTERS
from shared.domain.grouping import EMPTY_BYTES, EmployeeGroup
from shared.domain.retention import Retention
from shared.store.incidents import (
    Span,
    StoredIncident,
    count_incidents,
    of_employee,
    read_incidents,
)
from shared.store.keys import EMPLOYEE_WIDTH, after_employee, after_incident, employee_of
from shared.store.table import Table

# One employee alone may take this much; Lambda's limit of an answer is 6 MB, escapes included.
MAX_EMPLOYEE_BYTES = 4_900_000
# After the request for a page, one or two small ones bring the last few employees, where there are more
# incidents than was likely; more than that are of an employee who has very many.
_CLOSE_REQUESTS = 2


class Page(NamedTuple):
    """Employees in the order of their ids, and where the next page begins; None at the end."""

    groups: list[EmployeeGroup]
    next: Position | None


class Walker:
    """Reads pages. It learns how many incidents an employee has, so as to read little more than a page.

    A page that could not be filled in ``search_seconds`` is kept, the few newest of them, so that a client
    that asks again gets further. ``search_seconds`` is counted on the ``monotonic`` clock; ``clock`` gives
    epoch seconds.
    """

    def __init__(
        self,
        table: Table,
        retention: Retention,
        *,
        search_seconds: float = SEARCH_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._retention = retention
        self._search_seconds = search_seconds
        self._monotonic = monotonic
        self._density = Density()
        self._searches: Searches[_Search] = Searches(clock)

    def under_way(self, walk: Walk, *, limit: int) -> Walk | None:
        """:meth:`functions.api.searches.Searches.under_way` of these pages."""
        return self._searches.under_way(walk, limit=limit)

    def read_page(self, walk: Walk, start: Position | None, *, limit: int) -> Page:
        """The page of at most ``limit`` employees that begins at ``start`` (None: at the beginning).

        It is under 1 MB unless one employee alone is larger, and under 5 MB at all: an employee who is larger
        goes on on the next page. It is never empty unless nothing matches at all.
        Raises :class:`UnfinishedSearchError`.
        """
        key = PageKey(walk, start.sort_key if start else None, limit)
        search = self._searches.take(key) or _Search(_GrowingPage(limit, start))
        deadline = self._monotonic() + self._search_seconds
        while not search.filled and self._fill(walk, start, search):
            if self._monotonic() >= deadline:
                return self._stop(key, search)
        search.filled = True
        while search.needs_counting and self._count(walk, search):
            if self._monotonic() >= deadline:
                self._searches.keep(key, search)
                raise UnfinishedSearchError(UNFINISHED)
        return self._finish(walk, search)

    def _fill(self, walk: Walk, start: Position | None, search: "_Search") -> bool:
        """Make one request for the page; False when it is full or the walk is at its end."""
        incidents, search.after = read_incidents(
            self._table,
            _span(walk, start),
            after=search.after,
            snapshot=walk.snapshot.sequence,
            oldest_kept=self._retention.oldest_kept(walk.snapshot.as_of),
            limit=self._items_to_look_at(walk, search),
            filters=walk.filters,
        )
        self._density.learn_sizes(incidents)
        return search.page.take(incidents) and search.after is not None

    def _items_to_look_at(self, walk: Walk, search: "_Search") -> int | None:
        """As many as the employees still wanted are likely to have; None: as many as a request can.

        Doubling with each request, so that neither an employee with very many incidents nor a filter that
        lets few of them through costs very many requests.
        """
        if walk.employee_id is not None:
            return None
        likely = self._density.items_of(search.page.employees_wanted)
        items = min(max(likely, search.at_least), MAX_REQUEST_ITEMS)
        search.requests += 1
        if walk.filters != NO_FILTERS or search.requests > _CLOSE_REQUESTS:
            search.at_least = 2 * items
        return items

    def _stop(self, key: PageKey, search: "_Search") -> Page:
        """The time is up: the employees that are whole, if there is one more to begin the next page with."""
        if len(search.page.groups) > 1:
            search.page.groups.pop()
            return Page(search.page.groups, _after(search.page.groups[-1]))
        self._searches.keep(key, search)
        raise UnfinishedSearchError(UNFINISHED)

    def _finish(self, walk: Walk, search: "_Search") -> Page:
        page = search.page
        if page.cut_after is not None:
            group = page.groups[-1]
            group.counts = group.counts or search.counts
            return Page(page.groups, Position(after_incident(page.cut_after), group.counts))
        if not page.full:
            return Page(page.groups, None)
        if walk.filters == NO_FILTERS:
            self._density.learn([len(group) for group in page.groups])
        return Page(page.groups, _after(page.groups[-1]))

    def _count(self, walk: Walk, search: "_Search") -> bool:
        """Count a request's worth of the employee who had to be cut; False when all are counted."""
        counts, search.counted_up_to = count_incidents(
            self._table,
            of_employee(search.page.groups[-1].employee_id),
            after=search.counted_up_to,
            snapshot=walk.snapshot.sequence,
            oldest_kept=self._retention.oldest_kept(walk.snapshot.as_of),
            filters=walk.filters,
        )
        search.counts += counts
        return search.counted_up_to is not None

    def is_known(self, walk: Walk) -> bool:
        """Whether the walk's employee has any incident in its snapshot, whatever the filters hide."""
        after, limit = None, 1
        while True:
            incidents, after = read_incidents(
                self._table,
                of_employee(walk.employee_id or ""),
                after=after,
                snapshot=walk.snapshot.sequence,
                oldest_kept=self._retention.oldest_kept(walk.snapshot.as_of),
                limit=limit,
            )
            if incidents or after is None:
                return bool(incidents)
            limit = min(4 * limit, MAX_REQUEST_ITEMS)


class _GrowingPage:
    """A page while it is filled, in the order of the walk.

    ``full``: a further incident was refused, so there is a further page. ``cut_after``: the sort key after
    which the last employee had to be cut.
    """

    def __init__(self, limit: int, start: Position | None) -> None:
        self.groups: list[EmployeeGroup] = []
        self.full = False
        self.cut_after: str | None = None
        self._limit = limit
        self._start = start
        self._size = 0
        self._last_sort_key = ""
        # No sort key begins with it.
        self._employee = "#"

    @property
    def employees_wanted(self) -> int:
        """One more than the page can hold yet: seeing that one tells that there is a further page."""
        return self._limit + 1 - len(self.groups)

    def take(self, incidents: Sequence[StoredIncident]) -> bool:
        """Take the next incidents, in their order; False if the page is full before the last of them.

        An incident that is refused is there all the same, so the page after this one is never empty.
        """
        texts = [incident.json for incident in incidents]
        size = rows_size(texts)
        if self._size + size + EMPTY_BYTES * len(texts) > min(MAX_PAGE_BYTES, MAX_EMPLOYEE_BYTES):
            return self._take_each(incidents, map(row_size, texts))
        # Most pages are far from any limit: there is room for all of them, whatever each one takes.
        self._size += size
        return self._take_each(incidents, repeat(0))

    def _take_each(self, incidents: Iterable[StoredIncident], sizes: Iterable[int]) -> bool:
        for (sort_key, priority, text), size in zip(incidents, sizes, strict=False):
            if not sort_key.startswith(self._employee):
                if len(self.groups) == self._limit:
                    return self._refuse()
                self._begin(sort_key)
            if size and not self._is_room_for(size):
                return self._refuse()
            self._add(priority, text)
            self._size += size
            self._last_sort_key = sort_key
        return True

    def _begin(self, sort_key: str) -> None:
        """Begin with the employee of an incident."""
        self._employee = sort_key[:EMPLOYEE_WIDTH]
        employee_id = employee_of(sort_key)
        group = EmployeeGroup(employee_id, self._counts_of(employee_id))
        self.groups.append(group)
        self._add = group.add
        self._size += EMPTY_BYTES

    def _is_room_for(self, size: int) -> bool:
        """Whether an incident of this size may be added; where not, its employee is left out, or cut."""
        size += self._size
        if size > MAX_PAGE_BYTES and len(self.groups) > 1:
            self.groups.pop()
            return False
        if size > MAX_EMPLOYEE_BYTES and self._last_sort_key:
            self.cut_after = self._last_sort_key
            return False
        return True

    def _counts_of(self, employee_id: str) -> Mapping[str, int] | None:
        """Those of an employee whom the page before has cut; another comes first if that one was erased."""
        is_cut = self._start and employee_of(self._start.sort_key) == employee_id
        return self._start.counts if self._start and is_cut else None

    def _refuse(self) -> bool:
        self.full = True
        return False


class _Search:
    """A page under way: what it has, the sort key that was looked at last, the size of the next request.

    Where its last employee had to be cut, also the counts of their incidents so far, and up to which key.
    """

    def __init__(self, page: _GrowingPage) -> None:
        self.page = page
        self.after: str | None = None
        self.at_least = 1
        self.requests = 0
        self.filled = False
        self.counts: Counter[str] = Counter()
        self.counted_up_to: str | None = None

    @property
    def needs_counting(self) -> bool:
        """Whether the page ends in the middle of an employee whose counts no earlier page has brought."""
        return self.page.cut_after is not None and self.page.groups[-1].counts is None


def _span(walk: Walk, start: Position | None) -> Span:
    span = of_employee(walk.employee_id) if walk.employee_id else Span()
    return Span(start.sort_key, span.high) if start else span


def _after(group: EmployeeGroup) -> Position:
    return Position(after_employee(group.employee_id))
