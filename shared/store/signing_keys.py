"""The keys that sign cursors. They live beside the data that a cursor leads to
(docs/decisions/0002-cursor-keys-in-the-table.md); the poller makes and rotates them, the reader only reads.
"""

import json
import secrets
from collections.abc import Mapping

from shared.domain.cursor import KEY_ID_BYTES, SigningKey
from shared.store.keys import CURSOR_KEYS_KEY
from shared.store.table import Table

ROTATE_AFTER_SECONDS = 30 * 86_400
_SECRET_BYTES = 32
# The newest signs; the one before it is kept for the walks that it began.
_KEPT = 2


class SigningKeys:
    """The keys in the table, newest first."""

    def __init__(self, keys: tuple[SigningKey, ...]) -> None:
        self._keys = keys

    @property
    def newest(self) -> SigningKey | None:
        """The key to sign with; None before the first poll made one."""
        return self._keys[0] if self._keys else None

    def find(self, key_id: bytes) -> SigningKey | None:
        """The key of that id, or None if it was rotated away or never was."""
        return next((key for key in self._keys if key.id == key_id), None)


def read_signing_keys(table: Table) -> SigningKeys:
    """All keys that a cursor may be signed with: one consistent read of one item."""
    item = table.get(CURSOR_KEYS_KEY)
    stored: list[Mapping[str, str]] = json.loads(item["keys"]["S"]) if item else []
    return SigningKeys(
        tuple(SigningKey(bytes.fromhex(key["id"]), bytes.fromhex(key["secret"])) for key in stored)
    )


def rotate_signing_keys(table: Table, *, now: float) -> None:
    """Make the first key, or a new one when the newest is 30 days old (``now`` in epoch seconds)."""
    item = table.get(CURSOR_KEYS_KEY)
    if item and now - float(item["rotated_at"]["N"]) < ROTATE_AFTER_SECONDS:
        return
    fresh = {"id": secrets.token_hex(KEY_ID_BYTES), "secret": secrets.token_hex(_SECRET_BYTES)}
    kept = json.loads(item["keys"]["S"])[: _KEPT - 1] if item else []
    pk, sk = CURSOR_KEYS_KEY
    # If another poll rotates at this moment, its key serves as well.
    table.put(
        {
            "pk": {"S": pk},
            "sk": {"S": sk},
            "keys": {"S": json.dumps([fresh, *kept])},
            "rotated_at": {"N": f"{now:.6f}"},
        },
        condition="rotated_at = :previous" if item else "attribute_not_exists(pk)",
        values={":previous": item["rotated_at"]} if item else None,
    )
