"""Signing what clients bring back, with the keys in the table, which are read once and kept."""

import time
from collections.abc import Callable

from shared.domain.signing import SigningKey
from shared.store.signing_keys import SigningKeys, read_signing_keys
from shared.store.table import Table

_REFRESH_SECONDS = 3600
# A made-up key id must not cost a read each time.
_UNKNOWN_KEY_SECONDS = 60


class NoSigningKeyError(Exception):
    """The poller has made no key, though it has stored data: the table was tampered with."""


class Signer:
    """The newest key to sign with, and the key of an id."""

    def __init__(self, table: Table, *, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._clock = clock
        self._keys = SigningKeys(())
        self._read_at = 0.0

    def newest(self) -> SigningKey:
        """The key to sign with; at most an hour behind the table."""
        self._refresh(_REFRESH_SECONDS if self._keys.all else _UNKNOWN_KEY_SECONDS)
        key = self._keys.to_sign_with(self._clock())
        if key is None:
            raise NoSigningKeyError("there is no key to sign with")
        return key

    def find(self, key_id: bytes) -> SigningKey | None:
        """The key of an id, or None."""
        key = self._keys.find(key_id)
        if key is None:
            self._refresh(_UNKNOWN_KEY_SECONDS)
            key = self._keys.find(key_id)
        return key

    def _refresh(self, older_than: float) -> None:
        now = self._clock()
        # What was read at a later time was read by a clock that was wrong.
        if not 0 <= now - self._read_at <= older_than:
            self._keys = read_signing_keys(self._table)
            self._read_at = now
