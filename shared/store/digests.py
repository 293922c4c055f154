"""A source's digests: which hours of its window are in the store already.

A cache that says "each id under this digest has a durable item of its own". It is written after the ids
were laid out, and only for hours that were taken in full; losing it costs reads, never data.
"""

import struct
from collections.abc import Mapping

from shared.domain.window import DIGEST_BYTES
from shared.store.keys import digests_key
from shared.store.table import Table

# A week has 168; a window over years must not make an item that is too large to be stored (400 KB).
MAX_HOURS = 20_000
_ROW = struct.Struct(f">i{DIGEST_BYTES}s")


def read_digests(table: Table, incident_type: str) -> Mapping[int, bytes]:
    """Digest by hour (epoch seconds // 3600), as of the last poll that stored them; empty if none did."""
    item = table.get(digests_key(incident_type))
    return dict(_ROW.iter_unpack(item["digests"]["B"])) if item else {}


def store_digests(table: Table, incident_type: str, digests: Mapping[int, bytes], *, sequence: int) -> None:
    """Keep the digests, unless a later poll has stored its own."""
    pk, sk = digests_key(incident_type)
    newest = sorted(digests.items())[-MAX_HOURS:]
    table.put(
        {
            "pk": {"S": pk},
            "sk": {"S": sk},
            "digests": {"B": b"".join(_ROW.pack(hour, digest) for hour, digest in newest)},
            "sequence": {"N": str(sequence)},
        },
        condition="attribute_not_exists(pk) OR #sequence <= :sequence",
        names={"#sequence": "sequence"},
        values={":sequence": {"N": str(sequence)}},
    )
