"""Answers `GET /employees`: employees with counts and a risk score, those on top or all of them by id."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from functions.api import formats
from functions.api.answer import Answer
from functions.api.negotiation import make_etag
from functions.api.overviews import OverviewRequest, Overviews, describe_scale, shown_risk
from functions.api.page import MAX_REQUEST_ITEMS, describe_snapshot, link_to_page
from functions.api.parameters import DEFAULT_LIMIT, EmployeesParameters
from functions.api.problems import SummariesNotReadyError
from functions.api.searches import SEARCH_SECONDS, UNFINISHED, UnfinishedSearchError
from functions.api.signer import Signer
from shared.domain.cursor import Cursor, ExpiredCursorError, open_cursor, sign_cursor
from shared.domain.employee_summary import EmployeeSummary
from shared.domain.filters import NO_FILTERS
from shared.domain.overview import Overview
from shared.domain.rfc3339 import format_rfc3339
from shared.store.employees import StoredSummary, read_employees, read_employees_page, summary_at
from shared.store.keys import employee_key
from shared.store.table import Table

_ROUTE = "/employees"
# One request's worth of items by their keys.
_BATCH = 100


class _Found(NamedTuple):
    employee_id: str
    summary: EmployeeSummary


class EmployeesRequest(NamedTuple):
    """What is asked for: ``cursor`` is the page before's, opened; None at the beginning."""

    overview: OverviewRequest
    sort: str
    limit: int
    cursor: Cursor | None

    @property
    def etag(self) -> str:
        """Who has that one has the answer."""
        return self.overview.etag


class EmployeesAnswers:
    """By risk: the first so many, whoever they are by now. By id: each once, as they are when they are read.

    A walk by id is none over a snapshot: each page is of the state as of its own request.
    """

    def __init__(
        self,
        overviews: Overviews,
        table: Table,
        *,
        signer: Signer,
        clock: Callable[[], float] = time.time,
        search_seconds: float = SEARCH_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._overviews = overviews
        self._table = table
        self._signer = signer
        self._clock = clock
        self._search_seconds = search_seconds
        self._monotonic = monotonic

    def prepare(self, parameters: EmployeesParameters) -> EmployeesRequest:
        """What is asked for; costs one small read.

        Raises what :meth:`functions.api.overviews.Overviews.prepare` and
        :func:`shared.domain.cursor.open_cursor` raise.
        """
        cursor = self._open(parameters.cursor) if parameters.cursor else None
        limit = parameters.limit or (cursor.limit if cursor else DEFAULT_LIMIT)
        after = cursor.go_on_from if cursor else None
        request = self._overviews.prepare("employees", parameters.sort, limit, after)
        if cursor and cursor.snapshot > request.state.projected:
            raise ExpiredCursorError("the table was restored to a time before this walk: begin a new one")
        return EmployeesRequest(request, parameters.sort, limit, cursor)

    def answer(self, request: EmployeesRequest) -> Answer:
        """The employees; raises :class:`functions.api.problems.SummariesNotReadyError` and
        :class:`functions.api.searches.UnfinishedSearchError`.
        """

        def make(current: OverviewRequest, overview: Overview) -> Answer:
            again = request._replace(overview=current)
            if request.sort == "risk":
                return self._render(again, overview, self._read_top(again, overview), has_more=False)
            found, has_more = self._read_page(again, overview)
            return self._render(again, overview, found, has_more=has_more)

        return self._overviews.answer(request.overview, make)

    def headers(self, request: EmployeesRequest) -> dict[str, str]:
        """The headers of the answer that are known without reading more."""
        return self._overviews.headers(request.overview)

    def _open(self, text: str) -> Cursor:
        return open_cursor(
            text, find_key=self._signer.find, route=_ROUTE, filters=NO_FILTERS, now=self._clock()
        )

    def _read_top(self, request: EmployeesRequest, overview: Overview) -> list[_Found]:
        """Those on top: the overview says who and in which order, their own items the rest."""
        first_day = self._overviews.first_day(request.overview, overview)
        candidates = iter([each.employee_id for each in overview.top if each.last_day >= first_day])
        found: list[_Found] = []
        # Who is erased just now is on top still: the next one takes the place.
        while wanted := list(islice(candidates, min(request.limit - len(found), _BATCH))):
            stored = read_employees(self._table, wanted)
            found += self._shown((stored[each] for each in wanted if each in stored), overview, first_day)
        return found

    def _read_page(self, request: EmployeesRequest, overview: Overview) -> tuple[list[_Found], bool]:
        """The next employees by id, and whether there are more behind them."""
        first_day = self._overviews.first_day(request.overview, overview)
        deadline = self._monotonic() + self._search_seconds
        after = request.cursor.go_on_from if request.cursor else None
        found: list[_Found] = []
        items = request.limit + 1
        while True:
            stored, after = read_employees_page(
                self._table,
                after=after,
                generation=overview.generation,
                limit=min(items, MAX_REQUEST_ITEMS),
            )
            found += self._shown(iter(stored), overview, first_day)
            if len(found) > request.limit:
                return found[: request.limit], True
            if after is None:
                return found, False
            if self._monotonic() >= deadline:
                if len(found) > 1:
                    # One less, because one more is needed to know that there is a next page.
                    return found[:-1], True
                raise UnfinishedSearchError(UNFINISHED)
            items *= 2

    def _shown(self, many: Iterator[StoredSummary], overview: Overview, first_day: int) -> Iterator[_Found]:
        """What they are as of the overview, but for those of whom nothing is kept any more."""
        for stored in many:
            if stored.generation > overview.generation:
                raise SummariesNotReadyError("incidents are being counted anew: try again in a while")
            summary = summary_at(stored, overview.sequence)
            if stored.generation == overview.generation and summary and summary.last_day >= first_day:
                yield _Found(stored.employee_id, summary)

    def _render(
        self, request: EmployeesRequest, overview: Overview, found: list[_Found], *, has_more: bool
    ) -> Answer:
        as_of = request.overview.as_of
        scale = overview.basis.scale
        first_day = self._overviews.first_day(request.overview, overview)
        next_cursor = self._sign(request, found[-1].employee_id) if has_more else None
        rows = []
        for employee_id, summary in found:
            counts = summary.by_priority(first_day)
            rows.append(
                f'{{"employee_id":"{employee_id}","risk":{shown_risk(scale, summary.risk, as_of)!r},'
                f'"counts":{_compact(counts)},"incidents":{sum(counts.values())},'
                # The upstream's own digits.
                f'"last_incident_at":{summary.last}}}'
            )
        envelope = _compact(
            {
                "sort": request.sort,
                "next_cursor": next_cursor,
                "has_more": has_more,
                "scored_at": format_rfc3339(as_of),
                "scale": describe_scale(scale),
                "snapshot": describe_snapshot(request.overview.snapshot),
            }
        )
        body = f'{{"employees":[{",".join(rows)}],{envelope[1:]}'
        headers = self.headers(request) | link_to_page(next_cursor)
        if request.sort == "risk" and overview.is_short and len(found) < request.limit:
            # It is filled up without an entry: its own ETag, that no later request is found to have already.
            headers["ETag"] = make_etag(request.etag, len(found))
        return Answer(body, formats.JSON, headers=headers)

    def _sign(self, request: EmployeesRequest, last_employee_id: str) -> str:
        snapshot = request.overview.snapshot
        cursor = Cursor(
            route=_ROUTE,
            filters=NO_FILTERS,
            snapshot=snapshot.sequence,
            committed_at=snapshot.committed_at,
            complete=snapshot.complete,
            as_of=snapshot.as_of,
            go_on_from=employee_key(last_employee_id)[1],
            counts=None,
            limit=request.limit,
            began_at=request.cursor.began_at if request.cursor else int(self._clock()),
        )
        return sign_cursor(cursor, self._signer.newest())


def _compact(value: Mapping[str, object]) -> str:
    return json.dumps(value, separators=(",", ":"))
