"""The changes feed: every attributed incident once, in the order of commits, from any place on."""

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import pytest

from shared.domain.change import Change
from shared.domain.journal import MAX_ENTRY_RECORDS, Attributed, Decision, Entry, decode_decisions
from shared.domain.retention import Retention
from shared.store.changes import GoneError, Place, oldest_place, read_changes
from shared.store.entries import commit_entry
from shared.store.keys import journal_key
from shared.store.table import Table
from tests.contract.model import (
    EVERY_KIND,
    attributed,
    attributed_late,
    make_entries,
    rejected,
    unattributed,
)

FOREVER = Retention(0)

type Read = list[tuple[Place, Change]]


NOW = 1_795_413_600.0


class CountingClient:
    """Counts the queries and the journal entries that they return; all else passes."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.queries = 0
        self.entries: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def query(self, **request: Any) -> Any:
        self.queries += 1
        answer = self._client.query(**request)
        self.entries += [int(item["sk"]["S"]) for item in answer["Items"]]
        return answer


def counting(table: Table) -> tuple[Table, CountingClient]:
    client = CountingClient(table._client)
    return Table(table.name, client=client), client  # type: ignore[arg-type]  # a stand-in for the client


def commit(table: Table, *portions: Sequence[Decision]) -> list[Entry]:
    """Entries 1, 2, … in the journal, not laid out: the feed reads the journal alone."""
    entries = make_entries(*portions)
    for entry in entries:
        commit_entry(table, entry, FOREVER)
    return entries


def read(table: Table, place: Place, projected: int) -> Read:
    return list(read_changes(table, place, projected=projected))


def expected(entries: Sequence[Entry], place: Place, projected: int) -> Read:
    """The same, said a second time: all attributed decisions at or after the place."""
    return [
        (
            Place(entry.sequence, position),
            Change(decision.incident, decision.employee_id, entry.sequence, entry.committed_at),
        )
        for entry in entries
        for position, decision in enumerate(entry.decisions)
        if isinstance(decision, Attributed)
        and place.sequence <= entry.sequence <= projected
        and (entry.sequence, position) >= (place.sequence, place.position)
    ]


def numbers(changes: Read) -> list[int]:
    return [int(change.incident.id, 16) for _, change in changes]


def drop(table: Table, *sequences: int) -> None:
    """What time to live does to entries that are past their time."""
    table.delete_many(journal_key(sequence) for sequence in sequences)


def test_in_the_order_of_the_journal(store: Table) -> None:
    """Entry by entry, and in each in the order of its decisions, whatever their timestamps and employees."""
    commit(
        store,
        [attributed(5, "9", "3000"), attributed(3, "1", "1000"), attributed(4, "5", "2000")],
        [attributed(1, "9", "1"), attributed(2, "1", "4000000001")],
    )
    changes = read(store, Place(1), 2)
    assert numbers(changes) == [5, 3, 4, 1, 2]
    assert [place for place, _ in changes] == [
        Place(1, 0),
        Place(1, 1),
        Place(1, 2),
        Place(2, 0),
        Place(2, 1),
    ]


def test_each_with_its_entrys_sequence_and_time(store: Table) -> None:
    """A change is the incident as it was decided, whose it is, and the entry that says so."""
    (entry,) = commit(store, [attributed(3, "4506", "1500020421.9333")])
    ((place, change),) = read(store, Place(1), 1)
    assert place == Place(1, 0)
    decision = entry.decisions[0]
    assert isinstance(decision, Attributed)
    assert change == Change(decision.incident, "4506", 1, "2096-10-02T07:07:40Z")
    assert change.incident.timestamp == "1500020421.9333"


def test_only_attributed_ones(store: Table) -> None:
    """Unattributed and rejected records are no changes; their positions stay theirs."""
    entries = commit(store, *EVERY_KIND)
    changes = read(store, Place(1), 3)
    assert numbers(changes) == [1, 5, 2, 8, 9]
    assert [(place.sequence, place.position) for place, _ in changes] == [
        (1, 0),
        (2, 0),
        (2, 1),
        (3, 1),
        (3, 2),
    ]
    assert changes == expected(entries, Place(1), 3)


def test_a_late_attribution_comes_when_it_was_decided(store: Table) -> None:
    """An incident that waited is told once, at the entry that found its employee, with that entry's time."""
    commit(
        store,
        [unattributed(1), unattributed(2)],
        [attributed(3)],
        [attributed_late(2, "77")],
        [attributed_late(1, "88"), rejected(4)],
    )
    changes = read(store, Place(1), 4)
    assert [(change.sequence, change.employee_id) for _, change in changes] == [
        (2, "7"),
        (3, "77"),
        (4, "88"),
    ]
    assert numbers(changes) == [3, 2, 1]
    assert len({change.ingested_at for _, change in changes}) == 3
    assert changes[1][1].incident.ip is not None


def test_entries_without_a_change(store: Table) -> None:
    """Empty entries and those of others' decisions only are passed over, at the ends and between."""
    portions: list[list[Decision]] = [
        [],
        [unattributed(1)],
        [attributed(2)],
        [],
        [rejected(3)],
        [attributed(4)],
        [],
    ]
    entries = commit(store, *portions)
    for first in range(1, 9):
        assert read(store, Place(first), 7) == expected(entries, Place(first), 7)
    assert numbers(read(store, Place(1), 7)) == [2, 4]


def test_from_every_place_on(store: Table) -> None:
    """From the middle of an entry too, its end and beyond: just what is at or after the place, once."""
    entries = commit(store, *EVERY_KIND, (rejected(20),), (attributed(21), attributed(22)))
    seen = set()
    for sequence in range(1, 7):
        for position in range(6):
            place = Place(sequence, position)
            changes = read(store, place, 5)
            assert changes == expected(entries, place, 5)
            seen.add(tuple(numbers(changes)))
    assert len(seen) == 8, "each change more or less makes a difference"


def test_what_was_read_can_be_read_on(store: Table) -> None:
    """Cut anywhere and gone on from the place of the next one: together it is all, in order, once."""
    entries = commit(
        store, *[[attributed(10 * n + m) for m in range(n)] + [unattributed(500 + n)] for n in range(6)]
    )
    everything = expected(entries, Place(1), 6)
    assert len(everything) == 15
    for size in range(1, 16):
        found: Read = []
        place: Place | None = Place(1)
        while place:
            part = list(islice(read_changes(store, place, projected=6), size + 1))
            found += part[:size]
            place = part[size][0] if len(part) > size else None
        assert found == everything


def test_later_entries_change_no_place(store: Table) -> None:
    """What was read at a place is read there again, after more has come in behind it."""
    entries = make_entries([attributed(1), rejected(2), attributed(3)], [attributed(4)], [attributed(5)])
    commit_entry(store, entries[0], FOREVER)
    before = read(store, Place(1), 1)
    for entry in entries[1:]:
        commit_entry(store, entry, FOREVER)
    after = read(store, Place(1), 3)
    assert after[: len(before)] == before
    assert numbers(after) == [1, 3, 4, 5]
    # A reader at the end goes on with what is new, without a gap.
    assert numbers(read(store, Place(2), 3)) == [4, 5]


def test_beyond_projected_nothing_is_read(store: Table) -> None:
    """What is committed and not laid out yet is not told, nor even asked for."""
    entries = commit(store, *[[attributed(number)] for number in range(1, 41)])
    for projected in (0, 1, 15, 16, 17, 32, 39):
        table, client = counting(store)
        for place in (Place(1), Place(projected or 1)):
            assert read(table, place, projected) == expected(entries, place, projected)
        assert max(client.entries, default=0) <= projected


def test_at_the_end_nothing_is_read(store: Table) -> None:
    """A reader who is up to date costs no request; nor does one from a time to come."""
    commit(store, [attributed(1)], [attributed(2)])
    table, client = counting(store)
    assert read(table, Place(3), 2) == []
    assert read(table, Place(3, 5), 2) == []
    assert read(table, Place(10**19), 2) == []
    assert client.queries == 0


def test_many_small_entries(store: Table) -> None:
    """More entries than a request takes: all of them, each once, and no request for each."""
    entries = commit(store, *[[attributed(number), rejected(1000 + number)] for number in range(1, 60)])
    table, client = counting(store)
    assert read(table, Place(1), 59) == expected(entries, Place(1), 59)
    assert sorted(client.entries) == list(range(1, 60))
    assert client.queries <= 5
    assert numbers(read(store, Place(16, 1), 59)) == list(range(17, 60))
    assert numbers(read(store, Place(17), 33)) == list(range(17, 34))


@pytest.mark.parametrize("count", [15, 16, 17, 31, 32, 33])
def test_whole_requests(store: Table, count: int) -> None:
    """The last request may end at the very end of the journal, or of what is laid out."""
    entries = commit(store, *[[attributed(number)] for number in range(1, count + 1)])
    assert read(store, Place(1), count) == expected(entries, Place(1), count)
    assert read(store, Place(1), count - 1) == expected(entries, Place(1), count - 1)
    with pytest.raises(GoneError):
        read(store, Place(1), count + 1)


def large(number: int) -> Attributed:
    """An incident that hardly compresses."""
    chance = random.Random(number)  # noqa: S311 - repeatable, not secret
    decision = attributed(number)
    decision.incident.fields["text"] = chance.randbytes(6_000).hex()  # type: ignore[index]  # a Mapping to everybody else
    return decision


@pytest.mark.ministack_only(reason="moto does not end a request's answer where DynamoDB does, at 1 MB")
def test_few_large_entries(store: Table) -> None:
    """More than a request can hold: 20 entries of some 60 KB, read over several, all of them and in order."""
    entries = commit(store, *[[large(100 * n + m) for m in range(10)] for n in range(20)])
    table, client = counting(store)
    assert read(table, Place(1), 20) == expected(entries, Place(1), 20)
    assert client.queries >= 2
    assert read(table, Place(15, 7), 20) == expected(entries, Place(15, 7), 20)


def test_an_entry_of_a_thousand(store: Table) -> None:
    """The largest entry, cut anywhere."""
    entries = commit(store, [attributed(number) for number in range(MAX_ENTRY_RECORDS)], [attributed(5000)])
    for position in (0, 1, 500, 998, 999, 1000):
        changes = read(store, Place(1, position), 2)
        assert numbers(changes) == [*range(position, 1000), 5000]
    assert read(store, Place(1), 2) == expected(entries, Place(1), 2)


def test_it_is_lazy(store: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who takes a few costs a request, and unpacks no entry behind them."""
    commit(store, *[[attributed(number)] for number in range(1, 50)])
    unpacked = []

    def count(data: bytes) -> tuple[Decision, ...]:
        unpacked.append(len(data))
        return decode_decisions(data)

    monkeypatch.setattr("shared.store.entries.decode_decisions", count)
    table, client = counting(store)
    changes: Iterator[tuple[Place, Change]] = read_changes(table, Place(1), projected=49)
    assert client.queries == 0
    assert numbers(list(islice(changes, 3))) == [1, 2, 3]
    assert (client.queries, len(unpacked)) == (1, 3)


# ---------------------------------------------------------------- what is no longer kept


@pytest.mark.parametrize("gone", [1, 2, 15, 16, 17, 32, 33, 40])
def test_an_entry_that_is_missing_is_told(store: Table, gone: int) -> None:
    """Wherever on the way it was, first, last or at a request's end: all before it, then the truth. A gap
    that is passed over in silence would be a lost incident.
    """
    entries = commit(store, *[[attributed(number)] for number in range(1, 41)])
    drop(store, gone)
    found: Read = []
    with pytest.raises(GoneError, match=rf"entry {gone} is no longer kept"):
        found.extend(read_changes(store, Place(1), projected=40))
    assert found == expected(entries, Place(1), gone - 1)
    # A reader who is past it goes on, one who would stop before it too.
    assert read(store, Place(gone + 1), 40) == expected(entries, Place(gone + 1), 40)
    assert read(store, Place(1), gone - 1) == expected(entries, Place(1), gone - 1)


def test_a_journal_that_is_gone(store: Table) -> None:
    """Nothing left where something should be is told as well, not read as "nothing new"."""
    for place in (Place(1), Place(3), Place(5, 2)):
        with pytest.raises(GoneError, match=f"entry {place.sequence} "):
            read(store, place, 5)


def test_a_place_whose_entry_is_gone(store: Table) -> None:
    """A token that leads to what retention has taken away is told so, whatever its position."""
    commit(store, *[[attributed(number), attributed(100 + number)] for number in range(1, 7)])
    drop(store, 1, 2, 3)
    for place in (Place(1), Place(2, 1), Place(3, 5)):
        with pytest.raises(GoneError):
            read(store, place, 6)
    assert numbers(read(store, Place(4, 1), 6)) == [104, 5, 105, 6, 106]


# ---------------------------------------------------------------- the oldest


def test_the_oldest_place(store: Table) -> None:
    """The first entry that is still there; once time to live has gone by, a later one."""
    entries = commit(store, *[[attributed(number)] for number in range(1, 8)])
    assert oldest_place(store, projected=7, now=NOW) == Place(1, 0)
    for gone in range(1, 7):
        drop(store, gone)
        place = oldest_place(store, projected=7, now=NOW)
        assert place == Place(gone + 1, 0)
        assert read(store, place, 7) == expected(entries, place, 7)


def test_the_oldest_place_of_nothing(store: Table) -> None:
    """Where all of the journal is gone, the oldest is what comes next; a reader there is up to date."""
    commit(store, [attributed(1)], [attributed(2)])
    drop(store, 1, 2)
    place = oldest_place(store, projected=2, now=NOW)
    assert place == Place(3, 0)
    assert read(store, place, 2) == []


def test_the_oldest_place_is_laid_out(store: Table) -> None:
    """An entry that is committed and not laid out is not the oldest."""
    commit(store, [attributed(1)], [attributed(2)], [attributed(3)])
    drop(store, 1)
    assert oldest_place(store, projected=1, now=NOW) == Place(2, 0)
    assert read(store, Place(2, 0), 1) == []


def test_the_oldest_place_costs_one_small_request(store: Table) -> None:
    """However long the journal is."""
    commit(store, *[[large(number)] for number in range(1, 30)])
    table, client = counting(store)
    assert oldest_place(table, projected=29, now=NOW) == Place(1)
    assert (client.queries, client.entries) == (1, [1])


def test_a_reader_who_begins_at_the_oldest_gets_on(store: Table) -> None:
    """Time to live deletes what is past its time in any order: of four such entries the second and third
    are gone already. Who begins at the oldest must not be told to begin at the oldest.
    """
    commit(store, *[[attributed(number)] for number in range(1, 6)])
    drop(store, 2, 3)
    for sequence in (1, 4):
        store.update(
            journal_key(sequence),
            expression="SET expires_at = :past",
            values={":past": {"N": str(int(NOW) - 1)}},
        )
    changes = read(store, oldest_place(store, projected=5, now=NOW), 5)
    assert changes
    assert numbers(changes)[-1] == 5
