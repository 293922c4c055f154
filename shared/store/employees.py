"""One summary item an employee, which changes once an entry of the journal.

An item says which entry it was last changed by, and what that added: so it can be had as of the entry before,
and whoever lays the same entry out again finds out what the entry changed. Writes are conditional on that
sequence: a poll that slept can't put an older summary back.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from shared.domain.employee_summary import Counts, EmployeeSummary, take_back
from shared.domain.retention import Retention
from shared.store.expiry import expiry
from shared.store.keys import EMPLOYEES, employee_key, employee_of
from shared.store.packing import pack, unpack
from shared.store.table import Item, Table

_NUMBERS = ("generation", "sequence", "risk", "sequence_before", "risk_before")
ATTRIBUTES = ("sk", *_NUMBERS, "last", "counts", "added", "last_before")
_NAMES = {"#generation": "generation", "#sequence": "sequence"}
# Readers look at one that was erased for no longer than the erasure takes; two days are for its expiry.
_GRAVE_SECONDS = 2 * 86_400
# Sort keys begin with a digit: one below all of them and one above.
_FIRST = "0"
_LAST = ":"


class StoredSummary(NamedTuple):
    """``now`` is the summary since the entry ``sequence``, ``before`` what it was until then.

    ``now`` is None where the employee was erased, ``before`` where there was nothing. ``added`` is what the
    entry added. ``generation`` is the overview's that it belongs to (:mod:`shared.store.overviews`).
    """

    employee_id: str
    generation: int
    sequence: int
    now: EmployeeSummary | None
    added: Counts
    sequence_before: int
    before: EmployeeSummary | None


class TooNewError(Exception):
    """The item has changed more than once since the sequence that was asked for."""


def summary_at(stored: StoredSummary, sequence: int) -> EmployeeSummary | None:
    """The summary as of an entry, the last one that is laid out or the next; raises :class:`TooNewError`."""
    if stored.sequence <= sequence or stored.now is None:
        return stored.now
    if stored.sequence_before > sequence:
        raise TooNewError
    return stored.before


def read_employees(table: Table, employee_ids: Iterable[str]) -> dict[str, StoredSummary]:
    """Those that have an item, by id."""
    items = table.get_many(map(employee_key, employee_ids), attributes=ATTRIBUTES)
    return {stored.employee_id: stored for stored in map(_decode, items)}


def read_all_employees(table: Table) -> Iterator[StoredSummary]:
    """Every item, a request at a time, in the order of the ids."""
    return map(_decode, table.query(EMPLOYEES, attributes=ATTRIBUTES))


def read_employees_page(
    table: Table, *, after: str | None, generation: int, limit: int
) -> tuple[list[StoredSummary], str | None]:
    """One request of a walk by id: those that are not left from an earlier generation, and the key to go on
    after. ``limit`` is how many items the request looks at at most.
    """
    items, go_on_after = table.query_page(
        EMPLOYEES,
        between=(_FIRST, _LAST),
        after=after,
        limit=limit,
        where="#generation >= :generation",
        names={"#generation": "generation"},
        values={":generation": {"N": str(generation)}},
        attributes=ATTRIBUTES,
    )
    return [_decode(item) for item in items], go_on_after


def write_employee(table: Table, stored: StoredSummary, retention: Retention) -> bool:
    """Write what an entry made of a summary; False if that entry or a later one was there before."""
    return table.put(
        _encode(stored, retention),
        condition="attribute_not_exists(pk) OR #sequence < :sequence AND #generation <= :generation"
        " OR #sequence = :sequence AND #generation < :generation",
        names=_NAMES,
        values=_of_condition(stored),
    )


def write_counted_anew(table: Table, stored: StoredSummary, retention: Retention) -> bool:
    """Write what was counted anew as of an entry; False if a later one, or a later generation, was there."""
    return table.put(
        _encode(stored, retention),
        condition="attribute_not_exists(pk) OR #sequence <= :sequence AND #generation <= :generation",
        names=_NAMES,
        values=_of_condition(stored),
    )


def bury_employee(table: Table, employee_id: str, *, sequence: int, moment: float) -> None:
    """Leave nothing of the summary but that the entry ``sequence`` erased it, unless it is known already.

    Without that a poll that slept could put it back.
    """
    table.put(
        {
            **_key(employee_id),
            "generation": {"N": "0"},
            "sequence": {"N": str(sequence)},
            "expires_at": {"N": str(int(moment) + _GRAVE_SECONDS)},
        },
        condition="attribute_not_exists(pk) OR #sequence < :sequence",
        names={"#sequence": "sequence"},
        values={":sequence": {"N": str(sequence)}},
    )


def remove_grave(table: Table, employee_id: str, *, sequence: int) -> None:
    """Delete what :func:`bury_employee` left, unless there is a summary again."""
    table.delete(
        employee_key(employee_id),
        condition="#sequence = :sequence AND attribute_not_exists(risk)",
        names={"#sequence": "sequence"},
        values={":sequence": {"N": str(sequence)}},
    )


def _key(employee_id: str) -> Item:
    pk, sk = employee_key(employee_id)
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _of_condition(stored: StoredSummary) -> Item:
    return {":sequence": {"N": str(stored.sequence)}, ":generation": {"N": str(stored.generation)}}


def _encode(stored: StoredSummary, retention: Retention) -> Item:
    if stored.now is None:
        raise ValueError("a summary that is erased is buried")
    item: Item = {
        **_key(stored.employee_id),
        "generation": {"N": str(stored.generation)},
        "sequence": {"N": str(stored.sequence)},
        "risk": {"N": str(stored.now.risk)},
        "last": {"S": stored.now.last},
        "counts": {"B": pack_counts(stored.now.counts)},
        "added": {"B": pack_counts(stored.added)},
        **expiry(retention, float(stored.now.last)),
    }
    if stored.before:
        item["sequence_before"] = {"N": str(stored.sequence_before)}
        item["risk_before"] = {"N": str(stored.before.risk)}
        item["last_before"] = {"S": stored.before.last}
    return item


def _decode(item: Item) -> StoredSummary:
    generation, sequence, risk, sequence_before, risk_before = (
        int(item[name]["N"]) if name in item else 0 for name in _NUMBERS
    )
    employee_id = employee_of(item["sk"]["S"])
    if "risk" not in item:
        return StoredSummary(employee_id, generation, sequence, None, {}, 0, None)
    now = EmployeeSummary(risk, item["last"]["S"], unpack_counts(item["counts"]["B"]))
    added = unpack_counts(item["added"]["B"])
    before = None
    if "last_before" in item:
        before = take_back(now, added, risk=risk_before, last=item["last_before"]["S"])
    return StoredSummary(employee_id, generation, sequence, now, added, sequence_before, before)


def pack_counts(counts: Counts) -> bytes:
    """Days and kinds with how many of each, the days as their distances."""
    numbers: list[int] = []
    last_day = 0
    for (day, kind), count in sorted(counts.items()):
        numbers += (day - last_day, kind, count)
        last_day = day
    return pack(numbers)


def unpack_counts(packed: bytes) -> Counts:
    """What :func:`pack_counts` made."""
    counts: dict[tuple[int, int], int] = {}
    day = 0
    numbers = unpack(packed)
    for distance, kind, count in zip(numbers, numbers, numbers, strict=True):
        day += distance
        counts[day, kind] = count
    return counts
