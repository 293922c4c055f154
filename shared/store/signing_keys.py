"""The keys that sign cursors and tokens. They live beside the data that these lead to
(docs/decisions/0002-cursor-keys-in-the-table.md); the poller makes and rotates them, the reader only reads.
"""

import json
import secrets

from shared.domain.retention import Retention
from shared.domain.signing import KEY_ID_BYTES, SigningKey
from shared.store.keys import CURSOR_KEYS_KEY
from shared.store.table import Table

ROTATE_AFTER_SECONDS = 30 * 86_400
_SECRET_BYTES = 32
_TOLD_FOR_SECONDS = 366 * 86_400
# A reader asks again for a key that it does not know, but not within a minute of the last time: a key is
# used only once it is older than that, so that no reader can be without it.
_USED_AFTER_SECONDS = 120


class SigningKeys:
    """The keys in the table, newest first."""

    def __init__(self, keys: tuple[SigningKey, ...]) -> None:
        self.all = keys

    @property
    def newest(self) -> SigningKey | None:
        """The key that was made last; None before the first poll made one."""
        return self.all[0] if self.all else None

    def to_sign_with(self, now: float) -> SigningKey | None:
        """The newest key that every reader can know at ``now``; None before the first poll made one."""
        settled = (key for key in self.all if now - key.made_at >= _USED_AFTER_SECONDS)
        return next(settled, self.newest)

    def find(self, key_id: bytes) -> SigningKey | None:
        """The key of that id, or None if it is kept no longer or never was."""
        return next((key for key in self.all if key.id == key_id), None)


def read_signing_keys(table: Table) -> SigningKeys:
    """All keys that a cursor or a token may be signed with: one consistent read of one item."""
    item = table.get(CURSOR_KEYS_KEY)
    stored = json.loads(item["keys"]["S"]) if item else []
    return SigningKeys(
        tuple(
            SigningKey(bytes.fromhex(key["id"]), bytes.fromhex(key["secret"]), key["made_at"])
            for key in stored
        )
    )


def rotate_signing_keys(table: Table, *, now: float, retention: Retention) -> None:
    """Make the first key, or a new one when the newest is 30 days old (``now`` in epoch seconds).

    A key is kept as long as a token that it signed may come back: until what the token leads to is gone, and
    a year more, in which its reader is told that the token has expired, not that it is none.
    """
    keys = read_signing_keys(table).all
    if keys and now - keys[0].made_at < ROTATE_AFTER_SECONDS:
        return
    # A key signs for 30 days after it was made, or longer while no poll runs.
    successors = [now, *(key.made_at for key in keys)]
    kept = [
        key
        for key, replaced_at in zip(keys, successors, strict=False)
        if retention.is_kept(replaced_at + _TOLD_FOR_SECONDS, as_of=now)
    ]
    fresh = SigningKey(secrets.token_bytes(KEY_ID_BYTES), secrets.token_bytes(_SECRET_BYTES), now)
    text = json.dumps(
        [{"id": key.id.hex(), "secret": key.secret.hex(), "made_at": key.made_at} for key in (fresh, *kept)]
    )
    pk, sk = CURSOR_KEYS_KEY
    # If another poll rotates at this moment, its key serves as well.
    table.put(
        {"pk": {"S": pk}, "sk": {"S": sk}, "keys": {"S": text}, "rotated_at": {"N": f"{now:.6f}"}},
        condition="rotated_at = :previous" if keys else "attribute_not_exists(pk)",
        values={":previous": {"N": f"{keys[0].made_at:.6f}"}} if keys else None,
    )
