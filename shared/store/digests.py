"""A source's digests: which hours of its window are in the store already.

A cache that says "each id under this digest has a durable item of its own". It is written after the ids
were laid out, and only for hours that were taken in full; losing it costs reads, never data.

Hours that change, at both ends of the window, have digests of their own; of those between, four have one
together. So a usual window's digests fit into one write unit.
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import batched
from typing import NamedTuple

from shared.domain.window import DIGEST_BYTES
from shared.store.keys import digests_key
from shared.store.table import Table

# A week has 168; a window over years must not make an item that is too large to be stored (400 KB).
MAX_HOURS = 20_000
_HOURS_TOGETHER = 4
# New records come within hours, and within hours the oldest ones leave.
_HOURS_APART = 12
_HOUR = struct.Struct(">i")
# Blocks follow each other nearly always: where the first begins, how many hours each has, how many there are.
_RUN = struct.Struct(">iBH")
_COUNT = struct.Struct(">H")
# How versions before this one wrote them.
_ROW = struct.Struct(f">i{DIGEST_BYTES}s")


class Block(NamedTuple):
    """``hours`` hours from ``first`` on (epoch seconds // 3600), and a digest of all of them."""

    first: int
    hours: int
    digest: bytes


class StoredDigests(NamedTuple):
    """What the last poll that stored digests knew."""

    blocks: Sequence[Block] = ()

    def known(self, digests: Mapping[int, bytes]) -> set[int]:
        """Those hours of a window all of whose ids are in the store: it has them just as they are."""
        known: set[int] = set()
        for first, hours, digest in self.blocks:
            there = [hour for hour in range(first, first + hours) if hour in digests]
            if there and _together(there, digests) == digest:
                known.update(there)
        return known


def read_digests(table: Table, incident_type: str) -> StoredDigests:
    """The digests as of the last poll that stored them; none if none did."""
    item = table.get(digests_key(incident_type))
    if item is None:
        return StoredDigests()
    if "blocks" in item:
        return StoredDigests(tuple(_unpack(item["blocks"]["B"])))
    return StoredDigests(tuple(Block(hour, 1, each) for hour, each in _ROW.iter_unpack(item["digests"]["B"])))


def store_digests(table: Table, incident_type: str, digests: Mapping[int, bytes], *, sequence: int) -> None:
    """Keep the digests by hour, unless a later poll has stored its own."""
    pk, sk = digests_key(incident_type)
    newest = dict(sorted(digests.items())[-MAX_HOURS:])
    table.put(
        {
            "pk": {"S": pk},
            "sk": {"S": sk},
            # Of a version before this one, which reads it and looks up more ids then.
            "digests": {"B": b""},
            "blocks": {"B": _pack(list(_make_blocks(newest)))},
            "sequence": {"N": str(sequence)},
        },
        condition="attribute_not_exists(pk) OR #sequence <= :sequence",
        names={"#sequence": "sequence"},
        values={":sequence": {"N": str(sequence)}},
    )


def _make_blocks(digests: Mapping[int, bytes]) -> Iterator[Block]:
    """``digests`` are in the order of the hours. That of what has no hour is below all of them."""
    hours = [hour for hour in digests if hour >= 0]
    low, high = (hours[0] + _HOURS_APART, hours[-1] - _HOURS_APART) if hours else (0, 0)
    blocks: dict[tuple[int, int], list[int]] = {}
    for hour in digests:
        first = hour - hour % _HOURS_TOGETHER
        if low <= first and first + _HOURS_TOGETHER <= high:
            blocks.setdefault((first, _HOURS_TOGETHER), []).append(hour)
        else:
            blocks[hour, 1] = [hour]
    for (first, length), some in blocks.items():
        yield Block(first, length, _together(some, digests))


def _together(hours: Sequence[int], digests: Mapping[int, bytes]) -> bytes:
    if len(hours) == 1:
        return digests[hours[0]]
    text = b"".join(_HOUR.pack(hour) + digests[hour] for hour in hours)
    return hashlib.sha256(text).digest()[:DIGEST_BYTES]


def _pack(blocks: Sequence[Block]) -> bytes:
    """How many runs, the runs, then all digests."""
    runs: list[tuple[int, int, int]] = []
    for first, hours, _ in blocks:
        if runs and hours == runs[-1][1] and first == runs[-1][0] + hours * runs[-1][2]:
            runs[-1] = (runs[-1][0], hours, runs[-1][2] + 1)
        else:
            runs.append((first, hours, 1))
    heads = b"".join(_RUN.pack(*run) for run in runs)
    return _COUNT.pack(len(runs)) + heads + b"".join(block.digest for block in blocks)


def _unpack(packed: bytes) -> Iterator[Block]:
    (count,) = _COUNT.unpack_from(packed)
    end_of_runs = _COUNT.size + count * _RUN.size
    places = (
        (begin + number * hours, hours)
        for begin, hours, length in _RUN.iter_unpack(packed[_COUNT.size : end_of_runs])
        for number in range(length)
    )
    digests = batched(packed[end_of_runs:], DIGEST_BYTES, strict=True)
    for (first, hours), digest in zip(places, digests, strict=True):
        yield Block(first, hours, bytes(digest))
