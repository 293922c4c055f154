"""The overview that goes with the state of a request, and what answers made from it have in common."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from functions.api.answer import data_headers, validators
from functions.api.negotiation import make_etag
from functions.api.problems import NoDataYetError, SummariesNotReadyError
from functions.api.state_of_request import StateOfRequest
from functions.api.walk import Snapshot
from shared.domain.employee_summary import first_day_shown
from shared.domain.incident import PRIORITIES
from shared.domain.overview import Overview
from shared.domain.retention import Retention
from shared.domain.risk import RiskScale
from shared.store.employees import TooNewError
from shared.store.overviews import read_overview
from shared.store.state import State
from shared.store.table import Table

# Part of every ETag: to be raised when the same data are rendered differently.
_RENDERER = 1
_HOUR = 3600
# The state moves on at most once a second or so; reading takes milliseconds.
_TRIES = 5
_NOT_READY = "incidents are being counted: try again in a while; all other routes answer"


class OverviewRequest(NamedTuple):
    """What is asked for, so far as it can be told from the state alone.

    ``as_of`` (epoch seconds, a whole hour) is when scores and retention are judged, ``asked`` all that the
    answer depends on besides. Who has ``etag`` has the answer.
    """

    state: State
    as_of: int
    asked: tuple[object, ...]
    etag: str

    @property
    def snapshot(self) -> Snapshot:
        """What the answer is of."""
        return Snapshot(self.state.projected, self.state.committed_at, self.state.report.complete, self.as_of)


class Overviews:
    """Reads the overview as of the state, and both anew where the state has moved on in between."""

    def __init__(
        self,
        table: Table,
        state: StateOfRequest,
        retention: Retention,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._state = state
        self._retention = retention
        self._clock = clock

    def prepare(self, *asked: object) -> OverviewRequest:
        """A request for the answer to what is ``asked``; costs one small read.

        Raises :class:`NoDataYetError` and :class:`SummariesNotReadyError`.
        """
        return self._prepare(self._state.read(), asked)

    def answer[T](self, request: OverviewRequest, make: Callable[[OverviewRequest, Overview], T]) -> T:
        """What ``make`` makes of the overview; it is called anew where it raises TooNewError.

        Raises :class:`SummariesNotReadyError`.
        """
        current = request
        for _ in range(_TRIES):
            overview = read_overview(self._table, current.state.projected)
            if overview is None or overview.sequence < current.state.projected:
                break
            if overview.sequence == current.state.projected:
                if not overview.is_complete or overview.name != current.state.summaries:
                    break
                try:
                    return make(current, overview)
                except TooNewError:
                    pass
            current = self._prepare(self._state.read_again(), request.asked)
        raise SummariesNotReadyError(_NOT_READY)

    def headers(self, request: OverviewRequest) -> dict[str, str]:
        """The headers of the answer that are known without reading more."""
        return data_headers(request.state, now=self._clock()) | validators(
            request.etag, request.state.committed_at
        )

    def first_day(self, request: OverviewRequest, overview: Overview) -> int:
        """The first UTC day that retention leaves: this one's, and the one that was counted with."""
        both = self._retention, overview.basis.retention
        return max(first_day_shown(each, request.as_of) for each in both)

    def _prepare(self, state: State, asked: tuple[object, ...]) -> OverviewRequest:
        if state.projected == 0:
            raise NoDataYetError("no poll has succeeded yet: try again in a moment, or look at /health")
        if not state.summaries:
            raise SummariesNotReadyError(_NOT_READY)
        as_of = int(self._clock()) // _HOUR * _HOUR
        seen = (state.projected, state.committed_at, state.report.complete, state.totals, state.summaries)
        erasures = (state.erased, state.settled)
        # Clients bring an ETag back after a deployment, which may have changed the retention.
        etag = make_etag(_RENDERER, self._retention, asked, as_of, seen, erasures)
        return OverviewRequest(state, as_of, asked, etag)


def describe_scale(scale: RiskScale) -> Mapping[str, object]:
    """What clients are told of how scores are made."""
    weights = dict(zip(PRIORITIES, scale.weights, strict=True))
    return {"half_life_days": scale.half_life_days, "weights": weights}


def shown_risk(scale: RiskScale, risk: int, as_of: float) -> float:
    """A stored score as clients get it: nine digits."""
    return float(f"{scale.shown(risk, as_of):.9g}")
