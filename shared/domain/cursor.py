"""Where a walk over a snapshot goes on: opaque to clients, signed so that none can be made up."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from shared.domain.filters import Filters
from shared.domain.signing import FindKey, InvalidSignatureError, SigningKey, sign, verify

CURSOR_SECONDS = 24 * 3600
_PURPOSE = "cursor"


class InvalidCursorError(ValueError):
    """The cursor was tampered with, cut off, or never ours."""


class MismatchedCursorError(ValueError):
    """The cursor is ours, but of another route or of other filters."""


class ExpiredCursorError(ValueError):
    """The cursor was good once; the walk has to begin anew."""


class Cursor(NamedTuple):
    """A walk under way.

    ``route`` is the path that the walk is over, ``filters`` what it asked for. ``snapshot`` is the sequence
    that it sees, ``committed_at`` and ``complete`` what its first page said of that; ``as_of`` the moment
    (epoch seconds, a whole hour) at which retention is judged for it. It goes on from the sort key
    ``go_on_from``, in the middle of an employee if there are ``counts`` of theirs by priority. ``limit`` is
    the page size in use. ``began_at`` (epoch seconds) is of the walk, not of the page: what it still shows
    is deleted two days after it grew too old, so no walk may go on for ever.
    """

    route: str
    filters: Filters
    snapshot: int
    committed_at: str
    complete: bool
    as_of: int
    go_on_from: str
    counts: Mapping[str, int] | None
    limit: int
    began_at: int


def sign_cursor(cursor: Cursor, key: SigningKey) -> str:
    """The cursor as clients get it."""
    payload = {
        "r": cursor.route,
        "f": cursor.filters.to_json(),
        "q": cursor.snapshot,
        "c": cursor.committed_at,
        "k": cursor.complete,
        "a": cursor.as_of,
        "g": cursor.go_on_from,
        "n": cursor.counts and dict(cursor.counts),
        "l": cursor.limit,
        "b": cursor.began_at,
    }
    return sign(json.dumps(payload, separators=(",", ":")).encode(), key=key, purpose=_PURPOSE)


def open_cursor(text: str, *, find_key: FindKey, route: str, filters: Filters, now: float) -> Cursor:
    """The cursor behind ``text``, for a request for ``route`` at ``now`` (epoch seconds).

    A request may send its filters again or leave them all out. Raises :class:`InvalidCursorError`,
    :class:`MismatchedCursorError` or :class:`ExpiredCursorError`.
    """
    try:
        cursor = _decode(json.loads(verify(text, find_key=find_key, purpose=_PURPOSE)))
    except InvalidSignatureError as error:
        raise InvalidCursorError(f"the cursor is not one that this service gave out: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError):
        # Ours, of another version: a deployment came between.
        raise InvalidCursorError(
            "the cursor is of another version of this service: begin a new walk"
        ) from None
    if cursor.route != route:
        raise MismatchedCursorError("the cursor belongs to another route")
    if filters not in (Filters(), cursor.filters):
        raise MismatchedCursorError(
            "the cursor belongs to other filters: send it alone, or with those of its first page"
        )
    if now - cursor.began_at > CURSOR_SECONDS:
        raise ExpiredCursorError("the walk began more than 24 hours ago: begin a new one")
    return cursor


def _decode(value: Mapping[str, Any]) -> Cursor:
    return Cursor(
        route=value["r"],
        filters=Filters.from_json(value["f"]),
        snapshot=value["q"],
        committed_at=value["c"],
        complete=value["k"],
        as_of=value["a"],
        go_on_from=value["g"],
        counts=value["n"],
        limit=value["l"],
        began_at=int(value["b"]),
    )
