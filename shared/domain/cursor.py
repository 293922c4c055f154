"""Where a walk over a snapshot goes on: opaque to clients, signed so that none can be made up.

A cursor is base64url of ``key id (4 bytes) | HMAC-SHA-256 (32 bytes) | JSON``. The key id says which key
signed it, so that keys rotate without breaking walks under way.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

MAX_CURSOR_CHARACTERS = 2_048
CURSOR_SECONDS = 24 * 3600
KEY_ID_BYTES = 4
_MAC_BYTES = 32
_PURPOSE = b"security-incident-api cursor v1\n"


class InvalidCursorError(ValueError):
    """The cursor was tampered with, cut off, or never ours."""


class MismatchedCursorError(ValueError):
    """The cursor is ours, but of another route or of other filters."""


class ExpiredCursorError(ValueError):
    """The cursor was good once; the walk has to begin anew."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A walk under way.

    ``query`` is what the walk asked for, route and filters, in one canonical text. ``snapshot`` is the
    sequence it sees and ``as_of`` the moment (epoch seconds, a whole hour) at which retention is judged
    for it. ``go_on_from`` is the sort key from which it goes on, ``limit`` the page size in use,
    ``issued_at`` epoch seconds. ``committed_at`` and ``complete`` are what the walk's first page said.
    """

    query: str
    snapshot: int
    committed_at: str
    complete: bool
    as_of: int
    go_on_from: str
    limit: int
    issued_at: int


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A secret of 32 bytes and the 4 bytes that name it in a cursor."""

    id: bytes
    secret: bytes


def sign_cursor(cursor: Cursor, key: SigningKey) -> str:
    """The cursor as clients get it."""
    payload = json.dumps(list(asdict(cursor).values()), separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(key.id + _mac(key, payload) + payload).decode().rstrip("=")


def open_cursor(
    text: str, *, find_key: Callable[[bytes], SigningKey | None], query: str, now: float
) -> Cursor:
    """The cursor behind ``text``, of a walk that asked for ``query``.

    ``find_key`` gives the key of an id, or None. Raises :class:`InvalidCursorError`,
    :class:`MismatchedCursorError` or :class:`ExpiredCursorError`.
    """
    signed = _decode(text)
    key_id, mac, payload = (
        signed[:KEY_ID_BYTES],
        signed[KEY_ID_BYTES : KEY_ID_BYTES + _MAC_BYTES],
        signed[KEY_ID_BYTES + _MAC_BYTES :],
    )
    key = find_key(key_id)
    if key is None or not hmac.compare_digest(mac, _mac(key, payload)):
        raise InvalidCursorError("the cursor is not one that this service gave out")
    cursor = Cursor(*json.loads(payload))
    if cursor.query != query:
        raise MismatchedCursorError("the cursor belongs to another route or to other filters")
    if now - cursor.issued_at > CURSOR_SECONDS:
        raise ExpiredCursorError("the cursor is older than 24 hours")
    return cursor


def _mac(key: SigningKey, payload: bytes) -> bytes:
    return hmac.digest(key.secret, _PURPOSE + key.id + payload, hashlib.sha256)


def _decode(text: str) -> bytes:
    if len(text) > MAX_CURSOR_CHARACTERS:
        raise InvalidCursorError("the cursor is too long to be ours")
    try:
        signed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidCursorError("the cursor is not base64url") from None
    # Bits that base64 leaves unused would let one cursor have several spellings.
    if base64.urlsafe_b64encode(signed).decode().rstrip("=") != text:
        raise InvalidCursorError("the cursor is not base64url as this service writes it")
    return signed
