"""Answers of the changes feed: what the journal took in since a reader was here last."""

import time
from collections.abc import Callable
from typing import NamedTuple

from functions.api import formats
from functions.api.answer import Answer, data_headers, link_to_next, validators
from functions.api.formats import Row, size_in_answer
from functions.api.negotiation import make_etag
from functions.api.parameters import ChangesParameters
from functions.api.problems import NoDataYetError
from functions.api.signer import Signer
from shared.domain.change import Change
from shared.domain.ocsf import to_detection_finding
from shared.domain.token import ExpiredTokenError, open_token, sign_token
from shared.store.changes import GoneError, OutOfTimeError, Place, oldest_place, read_changes
from shared.store.state import State
from shared.store.table import Table
from shared.version import VERSION

_RENDERER = 1
# Lambda's limit of an answer is 6 MB.
_MAX_BYTES = 5_000_000
# API Gateway gives up after 29 seconds; the last request may take some of them.
READ_SECONDS = 15.0


class ChangesRequest(NamedTuple):
    """A stretch of the feed, so far as it can be told from the state alone."""

    state: State
    parameters: ChangesParameters
    place: Place | None
    media_type: str
    etag: str


class ChangesAnswers:
    """Answers `GET /incidents/changes`."""

    def __init__(
        self,
        table: Table,
        *,
        signer: Signer,
        read_state: Callable[[], State],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._signer = signer
        self._read_state = read_state
        self._clock = clock
        self._monotonic = monotonic

    def prepare(self, parameters: ChangesParameters, media_type: str) -> ChangesRequest:
        """What is asked for; costs one small read.

        Raises :class:`NoDataYetError`, :class:`shared.domain.token.InvalidTokenError` and
        :class:`ExpiredTokenError`.
        """
        state = self._read_state()
        if state.projected == 0:
            raise NoDataYetError("no poll has succeeded yet: try again in a moment, or look at /health")
        # A restored table comes to the same sequence again, at another time; findings name the version.
        etag = make_etag(_RENDERER, VERSION, parameters, media_type, state.projected, state.committed_at)
        return ChangesRequest(state, parameters, self._place(parameters.token, state), media_type, etag)

    def answer(self, request: ChangesRequest) -> Answer:
        """The changes from the token on, or from the oldest kept; always with a token to come back with.

        Raises :class:`ExpiredTokenError`.
        """
        rows, next_place, has_more = self._read(request)
        token = sign_token(next_place.sequence, next_place.position, self._signer.newest())
        if request.media_type == formats.NDJSON:
            body = formats.render_ndjson(rows)
        elif request.media_type == formats.CSV:
            body = formats.render_csv(rows)
        else:
            body = formats.render_json(rows, token, has_more=has_more)
        headers = {
            "X-Next-Token": token,
            "X-Has-More": "true" if has_more else "false",
            **(_link_to_next(request.parameters, token) if has_more else {}),
        }
        return Answer(body, request.media_type, headers=self.headers(request) | headers)

    def headers(self, request: ChangesRequest) -> dict[str, str]:
        """The headers of the answer that are known without reading the journal."""
        return data_headers(request.state, now=self._clock()) | validators(
            request.etag, request.state.committed_at
        )

    def _place(self, token: str | None, state: State) -> Place | None:
        if token is None:
            return None
        place = Place(*open_token(token, find_key=self._signer.find))
        if place.sequence > state.projected + 1:
            raise ExpiredTokenError("the table was restored to a time before this token: begin without one")
        return place

    def _read(self, request: ChangesRequest) -> tuple[list[Row], Place, bool]:
        """The rows of one answer, where the next one begins, and whether there is more to read already.

        If the time is up before any is found there are none, but the next answer begins further on: unlike
        an empty page of a walk this loses nothing, because whoever stops here comes back with the token.
        """
        projected = request.state.projected
        place = request.place or oldest_place(self._table, projected=projected, now=self._clock())
        rows: list[Row] = []
        size = 0
        deadline = self._monotonic() + READ_SECONDS
        try:
            for here, change in read_changes(
                self._table, place, projected=projected, has_time=lambda: self._monotonic() < deadline
            ):
                row = _to_row(change, request.parameters.schema)
                size += size_in_answer(row, request.media_type)
                if rows and (len(rows) == request.parameters.limit or size > _MAX_BYTES):
                    return rows, here, True
                rows.append(row)
        except OutOfTimeError as out_of_time:
            return rows, out_of_time.place, True
        except GoneError as error:
            raise ExpiredTokenError(f"{error}: begin without a token, with the oldest that is") from None
        return rows, Place(projected + 1), False


def _to_row(change: Change, schema: str) -> Row:
    return to_detection_finding(change, version=VERSION) if schema == "ocsf" else change.flat()


def _link_to_next(parameters: ChangesParameters, token: str) -> dict[str, str]:
    """The token alone says where, not how much nor in which form."""
    return link_to_next(token=token, limit=str(parameters.limit), schema=parameters.schema)
