"""What a page is asked for: the first one of a new walk, or the one that a cursor leads to."""

import time
from collections.abc import Callable
from typing import NamedTuple

from functions.api.answer import data_headers, validators
from functions.api.negotiation import make_etag
from functions.api.parameters import DEFAULT_LIMIT, PageParameters
from functions.api.problems import NoDataYetError
from functions.api.signer import Signer
from functions.api.walk import Position, Snapshot, Walk
from shared.domain.cursor import Cursor, ExpiredCursorError, open_cursor, sign_cursor
from shared.domain.retention import Retention
from shared.store.state import State

# Part of every ETag: to be raised when the same data are rendered differently.
_RENDERER = 1
_HOUR = 3600


class PageRequest(NamedTuple):
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


class PageRequests:
    """Makes them of parameters, and cursors of them; ``retention`` is what their pages are read by."""

    def __init__(
        self,
        *,
        signer: Signer,
        retention: Retention,
        read_state: Callable[[], State],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._signer = signer
        self._retention = retention
        self._read_state = read_state
        self._clock = clock

    def prepare(
        self,
        parameters: PageParameters,
        *,
        employee_id: str | None = None,
        unattributed: bool = False,
        under_way: Callable[..., Walk | None],
    ) -> PageRequest:
        """The page that is asked for; costs one small read.

        ``under_way`` tells of a search that is to go on (:class:`functions.api.searches.Searches`).
        Raises :class:`NoDataYetError` and what :func:`shared.domain.cursor.open_cursor` raises.
        """
        state = self._read_state()
        if state.projected == 0:
            raise NoDataYetError("no poll has succeeded yet: try again in a moment, or look at /health")
        erasures = (state.erased, state.settled)
        walk = Walk(self._current(state), parameters.filters, employee_id, unattributed, erasures)
        if parameters.cursor is None:
            limit = parameters.limit or DEFAULT_LIMIT
            walk, start = under_way(walk, limit=limit) or walk, None
            began_at = int(self._clock())
        else:
            cursor = self._open(parameters, walk.route, state)
            limit = parameters.limit or cursor.limit
            snapshot = Snapshot(cursor.snapshot, cursor.committed_at, cursor.complete, cursor.as_of)
            walk = Walk(snapshot, cursor.filters, employee_id, unattributed, erasures)
            start = Position(cursor.go_on_from, cursor.counts)
            began_at = cursor.began_at
        # Clients bring an ETag back after a deployment, which may have changed the retention.
        etag = make_etag(_RENDERER, self._retention, walk, start, limit)
        return PageRequest(state, walk, began_at, start, limit, etag)

    def headers(self, request: PageRequest) -> dict[str, str]:
        """The headers of the page that are known without reading it."""
        return data_headers(request.state, now=self._clock()) | validators(
            request.etag, request.walk.snapshot.committed_at
        )

    def cursor_to(self, position: Position | None, request: PageRequest) -> str | None:
        """The cursor that goes on from ``position``, after the page of ``request``."""
        if position is None:
            return None
        snapshot = request.walk.snapshot
        cursor = Cursor(
            route=request.walk.route,
            filters=request.walk.filters,
            snapshot=snapshot.sequence,
            committed_at=snapshot.committed_at,
            complete=snapshot.complete,
            as_of=snapshot.as_of,
            go_on_from=position.sort_key,
            counts=position.counts,
            limit=request.limit,
            began_at=request.began_at,
        )
        return sign_cursor(cursor, self._signer.newest())

    def _open(self, parameters: PageParameters, route: str, state: State) -> Cursor:
        cursor = open_cursor(
            parameters.cursor or "",
            find_key=self._signer.find,
            route=route,
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
