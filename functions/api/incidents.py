"""Answers about incidents: pages of employees, what stands around them, and whether anything changed."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from functions.api.answer import Answer, data_headers, link_to_next, validators
from functions.api.negotiation import make_etag
from functions.api.parameters import DEFAULT_LIMIT, PageParameters
from functions.api.problems import NoDataYetError, UnknownEmployeeError
from functions.api.signer import Signer
from functions.api.walk import Page, Position, Snapshot, Walk, Walker
from shared.domain.cursor import Cursor, ExpiredCursorError, open_cursor, sign_cursor
from shared.domain.grouping import render_groups
from shared.store.state import State

CONTENT_TYPE = "application/json"
# Part of every ETag: to be raised when the same data are rendered differently.
_RENDERER = 1
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One page, so far as it can be told from the state alone.

    ``began_at`` is when its walk began (epoch seconds). ``etag`` is of all that the page depends on: who has
    that one has this page.
    """

    state: State
    walk: Walk
    began_at: int
    start: Position | None
    limit: int
    etag: str


class IncidentAnswers:
    """Answers `GET /incidents` and `GET /employees/{employee_id}/incidents`."""

    def __init__(
        self,
        *,
        walker: Walker,
        signer: Signer,
        read_state: Callable[[], State],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._walker = walker
        self._signer = signer
        self._read_state = read_state
        self._clock = clock

    def prepare(self, parameters: PageParameters, employee_id: str | None = None) -> PageRequest:
        """What is asked for: the first page of a new walk, or the one that the cursor leads to.

        Costs one small read. Raises :class:`NoDataYetError` and what
        :func:`shared.domain.cursor.open_cursor` raises.
        """
        state = self._read_state()
        if state.projected == 0:
            raise NoDataYetError("no poll has succeeded yet: try again in a moment, or look at /health")
        if parameters.cursor is None:
            limit = parameters.limit or DEFAULT_LIMIT
            new = Walk(self._current(state), parameters.filters, employee_id)
            walk, start = self._walker.under_way(new, limit=limit) or new, None
            began_at = int(self._clock())
        else:
            cursor = self._open(parameters, employee_id, state)
            limit = parameters.limit or cursor.limit
            snapshot = Snapshot(cursor.snapshot, cursor.committed_at, cursor.complete, cursor.as_of)
            walk = Walk(snapshot, cursor.filters, employee_id)
            start = Position(cursor.go_on_from, cursor.counts)
            began_at = cursor.began_at
        return PageRequest(state, walk, began_at, start, limit, make_etag(_RENDERER, walk, start, limit))

    def answer(self, request: PageRequest) -> Answer:
        """The page; raises :class:`UnknownEmployeeError` where a single employee has nothing at all."""
        page = self._walker.read_page(request.walk, request.start, limit=request.limit)
        if request.walk.employee_id and not page.groups and not self._walker.is_known(request.walk):
            raise UnknownEmployeeError("no incident of this employee is kept")
        next_cursor = self._next_cursor(request, page)
        return Answer(
            _render(page, next_cursor, request.walk.snapshot),
            CONTENT_TYPE,
            headers=self.headers(request) | (link_to_next(cursor=next_cursor) if next_cursor else {}),
        )

    def headers(self, request: PageRequest) -> dict[str, str]:
        """The headers of the page that are known without reading it."""
        return data_headers(request.state, now=self._clock()) | validators(
            request.etag, request.walk.snapshot.committed_at
        )

    def _open(self, parameters: PageParameters, employee_id: str | None, state: State) -> Cursor:
        cursor = open_cursor(
            parameters.cursor or "",
            find_key=self._signer.find,
            route=_route(employee_id),
            filters=parameters.filters,
            now=self._clock(),
        )
        if cursor.snapshot > state.projected:
            raise ExpiredCursorError("the table was restored to a time before this walk: begin a new one")
        return cursor

    def _current(self, state: State) -> Snapshot:
        return Snapshot(
            sequence=state.projected,
            committed_at=state.committed_at,
            complete=state.report.complete,
            as_of=int(self._clock()) // _HOUR * _HOUR,
        )

    def _next_cursor(self, request: PageRequest, page: Page) -> str | None:
        if page.next is None:
            return None
        snapshot = request.walk.snapshot
        cursor = Cursor(
            route=_route(request.walk.employee_id),
            filters=request.walk.filters,
            snapshot=snapshot.sequence,
            committed_at=snapshot.committed_at,
            complete=snapshot.complete,
            as_of=snapshot.as_of,
            go_on_from=page.next.sort_key,
            counts=page.next.counts,
            limit=request.limit,
            began_at=request.began_at,
        )
        return sign_cursor(cursor, self._signer.newest())


def _route(employee_id: str | None) -> str:
    return "/incidents" if employee_id is None else f"/employees/{employee_id}/incidents"


def _render(page: Page, next_cursor: str | None, snapshot: Snapshot) -> str:
    envelope = json.dumps(
        {
            "next_cursor": next_cursor,
            "has_more": next_cursor is not None,
            "snapshot": {
                "sequence": snapshot.sequence,
                "committed_at": snapshot.committed_at,
                "complete": snapshot.complete,
            },
        },
        separators=(",", ":"),
    )
    return f'{{"incidents":{render_groups(page.groups)},{envelope[1:]}'
