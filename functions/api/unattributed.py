"""Answers about incidents that wait for their employee to become known: a flat list, a page at a time."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from functions.api import formats
from functions.api.answer import Answer
from functions.api.page import MAX_PAGE_BYTES, MAX_REQUEST_ITEMS, link_to_page, render_envelope, row_size
from functions.api.page_cache import PageCache, RenderedPage
from functions.api.page_requests import PageRequest, PageRequests
from functions.api.parameters import PageParameters
from functions.api.searches import SEARCH_SECONDS, UNFINISHED, Searches, UnfinishedSearchError
from functions.api.walk import PageKey, Position
from shared.domain.incident import Incident
from shared.domain.retention import Retention
from shared.store.keys import after_incident
from shared.store.table import Table
from shared.store.unattributed import read_waiting


class UnattributedAnswers:
    """Answers `GET /incidents/unattributed`.

    As in a walk over employees, a page is never empty unless nothing matches at all: it is searched for
    until ``search_seconds`` (on the ``monotonic`` clock) are over, and then kept for whoever asks again;
    ``clock`` gives epoch seconds.
    """

    def __init__(
        self,
        requests: PageRequests,
        table: Table,
        retention: Retention,
        *,
        cache: PageCache,
        search_seconds: float = SEARCH_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._requests = requests
        self._table = table
        self._retention = retention
        self._cache = cache
        self._search_seconds = search_seconds
        self._monotonic = monotonic
        self._searches: Searches[_Search] = Searches(clock)

    def prepare(self, parameters: PageParameters) -> PageRequest:
        """:meth:`functions.api.page_requests.PageRequests.prepare` for those without an employee."""
        return self._requests.prepare(parameters, unattributed=True, under_way=self._searches.under_way)

    def answer(self, request: PageRequest) -> Answer:
        """The page, in the order of the ids.

        Raises :class:`functions.api.searches.UnfinishedSearchError`.
        """
        page = self._cache.find(request, lambda: self._read(request))
        next_cursor = self._requests.cursor_to(page.next, request)
        body = f'{{"data":{page.rows},{render_envelope(next_cursor, request.walk.snapshot)}'
        return Answer(body, formats.JSON, headers=self.headers(request) | link_to_page(next_cursor))

    def headers(self, request: PageRequest) -> dict[str, str]:
        """The headers of the page that are known without reading it."""
        return self._requests.headers(request)

    def _read(self, request: PageRequest) -> RenderedPage:
        search = self._search(request)
        position = Position(after_incident(search.last_id)) if search.full else None
        return RenderedPage(f"[{','.join(search.rows)}]", position)

    def _search(self, request: PageRequest) -> "_Search":
        start = request.start.sort_key if request.start else None
        key = PageKey(request.walk, start, request.limit)
        search = self._searches.take(key) or _Search(items=request.limit + 1)
        deadline = self._monotonic() + self._search_seconds
        while self._fill(request, search):
            if self._monotonic() < deadline:
                continue
            if len(search.rows) > 1:
                # One less, because one more is needed to know that there is a next page.
                search.give_last_back()
                return search
            self._searches.keep(key, search)
            raise UnfinishedSearchError(UNFINISHED)
        return search

    def _fill(self, request: PageRequest, search: "_Search") -> bool:
        """Make one request for the page; False when it is full or there are no more."""
        waiting, search.after = read_waiting(
            self._table,
            start=request.start.sort_key if request.start else None,
            after=search.after,
            snapshot=request.walk.snapshot.sequence,
            limit=min(search.items, MAX_REQUEST_ITEMS),
        )
        search.items *= 2
        as_of = request.walk.snapshot.as_of
        for incident in waiting:
            is_kept = not self._retention.is_too_old(incident.timestamp, as_of)
            if is_kept and request.walk.filters.match(incident) and not search.take(incident, request.limit):
                return False
        return search.after is not None


@dataclass(slots=True)
class _Search:
    """A page under way: its rows as JSON, the id of the last one, and whether there is one more behind it.

    ``after`` is the sort key that was looked at last, ``items`` how many the next request looks at.
    """

    items: int
    rows: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    size: int = 0
    full: bool = False
    after: str | None = None

    @property
    def last_id(self) -> str:
        """The id of the last row."""
        return self.ids[-1]

    def take(self, incident: Incident, limit: int) -> bool:
        """Take the next one; False if the page is full without it."""
        row = incident.render(None)
        size = row_size(row)
        if self.rows and (len(self.rows) == limit or self.size + size > MAX_PAGE_BYTES):
            self.full = True
            return False
        self.rows.append(row)
        self.ids.append(incident.id)
        self.size += size
        return True

    def give_last_back(self) -> None:
        """Leave the last row to the next page."""
        self.rows.pop()
        self.ids.pop()
        self.full = True
