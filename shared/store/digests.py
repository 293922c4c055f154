"""A source's digests: which hours of its window are in the store already.

A cache that says "each id under this digest has a durable item of its own". It is written after the ids
were laid out, and only for hours that were taken in full; losing it costs reads, never data.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import batched

from shared.domain.window import DIGEST_BYTES
from shared.store.keys import digests_key
from shared.store.table import Table

# A week has 168; a window over years must not make an item that is too large to be stored (400 KB).
MAX_HOURS = 20_000
# Hours follow each other nearly always: a run says where it begins and how many there are.
_RUN = struct.Struct(">iH")
# How versions before this one wrote them.
_ROW = struct.Struct(f">i{DIGEST_BYTES}s")


def read_digests(table: Table, incident_type: str) -> Mapping[int, bytes]:
    """Digest by hour (epoch seconds // 3600), as of the last poll that stored them; empty if none did."""
    item = table.get(digests_key(incident_type))
    if item is None:
        return {}
    return dict(_unpack(item["runs"]["B"]) if "runs" in item else _ROW.iter_unpack(item["digests"]["B"]))


def store_digests(table: Table, incident_type: str, digests: Mapping[int, bytes], *, sequence: int) -> None:
    """Keep the digests, unless a later poll has stored its own."""
    pk, sk = digests_key(incident_type)
    newest = sorted(digests.items())[-MAX_HOURS:]
    table.put(
        {
            "pk": {"S": pk},
            "sk": {"S": sk},
            # Of a version before this one, which reads it and looks up more ids then.
            "digests": {"B": b""},
            "runs": {"B": _pack(newest)},
            "sequence": {"N": str(sequence)},
        },
        condition="attribute_not_exists(pk) OR #sequence <= :sequence",
        names={"#sequence": "sequence"},
        values={":sequence": {"N": str(sequence)}},
    )


def _pack(digests: Sequence[tuple[int, bytes]]) -> bytes:
    """The runs, then all digests; ``digests`` are in the order of the hours."""
    runs: list[tuple[int, int]] = []
    for hour, _ in digests:
        if runs and hour == sum(runs[-1]):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((hour, 1))
    heads = b"".join(_RUN.pack(*run) for run in runs)
    return struct.pack(">H", len(runs)) + heads + b"".join(digest for _, digest in digests)


def _unpack(packed: bytes) -> Iterator[tuple[int, bytes]]:
    (count,) = struct.unpack_from(">H", packed)
    end_of_runs = 2 + count * _RUN.size
    runs = _RUN.iter_unpack(packed[2:end_of_runs])
    hours = (hour for begin, length in runs for hour in range(begin, begin + length))
    digests = (bytes(each) for each in batched(packed[end_of_runs:], DIGEST_BYTES, strict=True))
    return zip(hours, digests, strict=True)
