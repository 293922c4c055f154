"""Signing and opening cursors with the keys in the table, which are read once and kept."""

import time
from collections.abc import Callable

from shared.domain.cursor import Cursor, SigningKey, open_cursor, sign_cursor
from shared.store.signing_keys import SigningKeys, read_signing_keys
from shared.store.table import Table

_REFRESH_SECONDS = 3600
# A made-up key id must not cost a read each time.
_UNKNOWN_KEY_SECONDS = 60


class NoSigningKeyError(Exception):
    """The poller has made no key, though it has stored data: the table was tampered with."""


class Cursors:
    """Gives cursors out and takes them back."""

    def __init__(self, table: Table, *, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._clock = clock
        self._keys = SigningKeys(())
        self._read_at = 0.0

    def give(self, cursor: Cursor) -> str:
        """The cursor as its client gets it, signed with the newest key."""
        self._refresh(_REFRESH_SECONDS)
        key = self._keys.newest
        if key is None:
            raise NoSigningKeyError("there is no key to sign cursors with")
        return sign_cursor(cursor, key)

    def take(self, text: str, *, query: str) -> Cursor:
        """The cursor that was given out; raises as :func:`shared.domain.cursor.open_cursor` does."""
        return open_cursor(text, find_key=self._find, query=query, now=self._clock())

    def _find(self, key_id: bytes) -> SigningKey | None:
        key = self._keys.find(key_id)
        if key is None:
            self._refresh(_UNKNOWN_KEY_SECONDS)
            key = self._keys.find(key_id)
        return key

    def _refresh(self, older_than: float) -> None:
        now = self._clock()
        if now - self._read_at > older_than:
            self._keys = read_signing_keys(self._table)
            self._read_at = now
