"""The journal as readers of the changes feed get it: attributed incidents, in the order of commits."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from shared.domain.change import Change
from shared.domain.journal import Attributed
from shared.store.entries import decode_entry
from shared.store.keys import JOURNAL, journal_key
from shared.store.table import Item, Table

# An entry may have 64 KB, a request 1 MB.
_ENTRIES_A_REQUEST = 16


class GoneError(LookupError):
    """The journal no longer holds the entry that was to come next: retention has passed over it."""


class OutOfTimeError(Exception):
    """The time was up; ``place`` is where to go on: all before it was given out."""

    def __init__(self, place: "Place") -> None:
        super().__init__(f"the time was up at entry {place.sequence}")
        self.place = place


class Place(NamedTuple):
    """The next decision to read: a sequence, and a position among that entry's decisions. Neither changes."""

    sequence: int
    position: int = 0


def oldest_place(table: Table, *, projected: int, now: float) -> Place:
    """The first entry from which on all are kept for sure at ``now`` (epoch seconds).

    DynamoDB deletes what has expired within days and in no order, so the journal may begin with gaps. What
    has not expired is whole; its beginning is found by halving, in some twenty small reads at most.
    """
    items, _ = table.query_page(
        JOURNAL, between=_between(1, projected), limit=1, attributes=("sk", "expires_at")
    )
    first = int(items[0]["sk"]["S"]) if items else projected + 1
    if not items or not _has_expired(items[0], now):
        return Place(first)
    low, high = first + 1, projected + 1
    while low < high:
        middle = (low + high) // 2
        item = table.get(journal_key(middle))
        if item is None or _has_expired(item, now):
            low = middle + 1
        else:
            high = middle
    return Place(low)


def read_changes(
    table: Table, place: Place, *, projected: int, has_time: Callable[[], bool] = lambda: True
) -> Iterator[tuple[Place, Change]]:
    """Each change from ``place`` up to the entry ``projected``, with its own place; lazily, in order.

    Raises :class:`GoneError` where an entry on the way is no longer there, and :class:`OutOfTimeError` when
    ``has_time``, which is asked after each request, says no before the end: many entries in a row may hold
    nothing that readers get.
    """
    expected, after = place.sequence, None
    while expected <= projected:
        items, after = table.query_page(
            JOURNAL,
            between=_between(place.sequence, projected),
            after=after,
            limit=_ENTRIES_A_REQUEST,
        )
        for item in items:
            entry = decode_entry(item)
            if entry.sequence != expected:
                raise GoneError(f"entry {expected} is no longer kept")
            for position, decision in enumerate(entry.decisions):
                first = place.position if entry.sequence == place.sequence else 0
                if isinstance(decision, Attributed) and position >= first:
                    yield (
                        Place(entry.sequence, position),
                        Change(decision.incident, decision.employee_id, entry.sequence, entry.committed_at),
                    )
            expected += 1
        if after is None and expected <= projected:
            raise GoneError(f"entry {expected} is no longer kept")
        if expected <= projected and not has_time():
            raise OutOfTimeError(Place(expected))


def _between(first: int, last: int) -> tuple[str, str]:
    return journal_key(first)[1], journal_key(last)[1]


def _has_expired(item: Item, now: float) -> bool:
    return "expires_at" in item and int(item["expires_at"]["N"]) <= now
