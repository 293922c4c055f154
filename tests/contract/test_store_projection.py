"""Laying the journal out is a function of its entries: again, late, twice at once or interrupted, the
table ends up the same, and at no moment does it say more than it holds.
"""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from shared.domain.journal import Entry
from shared.domain.retention import Retention
from shared.store.entries import commit_entry
from shared.store.projection import project_committed, project_entry
from shared.store.records import known_ids
from shared.store.state import State, read_state
from shared.store.table import Table
from tests.contract.conftest import Backend
from tests.contract.disturbed import CrashError, PausingPoll, SteppingClient, crashing
from tests.contract.model import (
    EVERY_KIND,
    attributed,
    attributed_late,
    check_never_ahead,
    expected_table,
    make_entries,
    rejected,
    unattributed,
    without_journal,
)

FOREVER = Retention(0)
RETENTIONS = [0, 30]
ENTRIES = make_entries(*EVERY_KIND)


def commit(table: Table, entries: list[Entry], retention: Retention = FOREVER) -> None:
    for entry in entries:
        commit_entry(table, entry, retention)


@pytest.mark.parametrize("days", RETENTIONS)
def test_all_that_is_committed_is_laid_out(store: Table, dump: Any, days: int) -> None:
    """Each decision becomes exactly the items that it should, and the state tells the last entry."""
    commit(store, ENTRIES, Retention(days))
    state = project_committed(store, Retention(days))
    assert without_journal(dump(store)) == expected_table(ENTRIES, days)
    assert state == read_state(store) == State(3, ENTRIES[2].committed_at, ENTRIES[2].totals, "digest-3")
    assert known_ids(store, [f"{number:032x}" for number in range(12)]) == {
        f"{number:032x}" for number in range(1, 10)
    }


def test_nothing_committed_changes_nothing(store: Table, dump: Any) -> None:
    """Projecting an empty journal, or one that is laid out already, writes nothing at all."""
    client = SteppingClient(store._client)
    table = Table(store.name, client=client)  # type: ignore[arg-type]  # a stand-in for the client
    assert project_committed(table, FOREVER) == State()
    assert dump(store) == {}
    commit(store, ENTRIES)
    done = project_committed(store, FOREVER)
    assert project_committed(table, FOREVER) == done
    assert client.steps == 0


def test_entries_are_laid_out_in_order_and_completely(store: Table, dump: Any) -> None:
    """After every single write: no entry is called projected before all of it is there, no id known
    before its record is; and the sequences are taken one after the other.
    """
    commit(store, ENTRIES)
    seen: list[int] = []
    cut_short = 0

    def check(step: int) -> None:
        nonlocal cut_short
        everything = dump(store)
        check_never_ahead(everything, ENTRIES)
        seen.append(int(everything.get(("STATE", "STATE"), {}).get("projected", {"N": "0"})["N"]))
        started = {int(item["sequence"]["N"]) for item in everything.values() if "sequence" in item}
        assert max(started, default=0) <= seen[-1] + 1, "an entry was begun before the one before it ended"
        cut_short += max(started, default=0) > seen[-1]

    client = SteppingClient(store._client, after=check)
    project_committed(Table(store.name, client=client), FOREVER)  # type: ignore[arg-type]  # a stand-in for the client
    assert sorted(set(seen)) == [0, 1, 2, 3]
    assert seen == sorted(seen)
    assert cut_short > 10


def test_a_gap_in_the_journal_is_not_passed(store: Table, dump: Any) -> None:
    """What comes after a missing entry waits for it."""
    commit(store, [ENTRIES[0], ENTRIES[2]])
    assert project_committed(store, FOREVER).projected == 1
    assert without_journal(dump(store)) == expected_table(ENTRIES[:1])


@pytest.mark.parametrize("days", RETENTIONS)
def test_projecting_an_entry_twice_changes_nothing(store: Table, dump: Any, days: int) -> None:
    """The same entry once more, as its own poll does after a lost answer: the table stays as it is."""
    retention = Retention(days)
    for number, entry in enumerate(ENTRIES, start=1):
        commit(store, [entry], retention)
        project_entry(store, entry, retention)
        before = dump(store)
        assert without_journal(before) == expected_table(ENTRIES[:number], days)
        project_entry(store, entry, retention)
        assert dump(store) == before


FIRST_AND_LATER = {
    "attributed": ((attributed(1),), (attributed(2), unattributed(3), rejected(4))),
    "attributed_late": ((unattributed(1),), (attributed_late(1),), (attributed(2), unattributed(3))),
    "unattributed": ((unattributed(1),), (attributed(2),), (unattributed(3),)),
    "unattributed, resolved since": ((unattributed(1),), (attributed_late(1),), (rejected(4),)),
    "rejected": ((rejected(1),), (attributed(2),), (rejected(3),)),
}


@pytest.mark.parametrize("days", RETENTIONS)
@pytest.mark.parametrize("kind", FIRST_AND_LATER)
def test_a_poll_that_wakes_up_late_changes_nothing(store: Table, dump: Any, kind: str, days: int) -> None:
    """For every kind of decision: its entry again, after all later ones, in any order of replays."""
    retention = Retention(days)
    entries = make_entries(*FIRST_AND_LATER[kind])
    commit(store, entries, retention)
    project_committed(store, retention)
    before = dump(store)
    assert without_journal(before) == expected_table(entries, days)
    for entry in (*entries, *reversed(entries), entries[0]):
        project_entry(store, entry, retention)
        assert dump(store) == before


@pytest.mark.parametrize(("takes_effect", "days"), [(False, 0), (True, 30)], ids=["before", "after"])
def test_a_crash_at_any_write_is_made_good(backend: Backend, days: int, takes_effect: bool) -> None:
    """A process that dies at its k-th write, for every k: the next poll ends in the same table as if
    nothing had happened, and what the dead one left says no more than it holds.
    """
    retention = Retention(days)
    entries = ENTRIES[:2]
    step = 0
    while True:
        step += 1
        store = backend.make()
        commit(store, entries, retention)
        dying = crashing(store, at=step, takes_effect=takes_effect)
        try:
            project_committed(dying, retention)
        except CrashError:
            check_never_ahead(backend.dump(store), entries)
        else:
            break
        project_committed(store, retention)
        assert without_journal(backend.dump(store)) == expected_table(entries, days)
        backend.client.delete_table(TableName=store.name)
    # Four records, their ids and the state; three, one of them resolved, their ids and the state.
    assert step == 9 + 8 + 1


def test_a_crash_of_the_one_that_makes_good_is_made_good(backend: Backend) -> None:
    """Two deaths in turn, each at any write of the first two entries, still end in the same table."""
    entries = make_entries((unattributed(1), attributed(2)), (attributed_late(1), rejected(3)))
    for first in range(1, 11, 2):
        for second in range(1, 9, 2):
            store = backend.make()
            commit(store, entries)
            for at, takes_effect in ((first, False), (second, True)):
                dying = crashing(store, at=at, takes_effect=takes_effect)
                try:
                    project_committed(dying, FOREVER)
                except CrashError:
                    check_never_ahead(backend.dump(store), entries)
            project_committed(store, FOREVER)
            assert without_journal(backend.dump(store)) == expected_table(entries)


def interleaved(
    backend: Backend,
    entries: list[Entry],
    work: Callable[[Table], object],
    *,
    meanwhile: Callable[[Table], object],
) -> int:
    """Pause ``work`` before each of its writes in turn, do ``meanwhile``, wake it; the number of pauses."""
    pauses = 0
    while True:
        store = backend.make()
        commit(store, entries)
        paused = PausingPoll(store, work, at=pauses + 1)
        reached = paused.start()
        meanwhile(store)
        check_never_ahead(backend.dump(store), entries)
        paused.wake()
        assert without_journal(backend.dump(store)) == expected_table(entries)
        backend.client.delete_table(TableName=store.name)
        if not reached:
            return pauses
        pauses += 1


def test_a_projector_that_is_overtaken_changes_nothing(backend: Backend) -> None:
    """One is paused before its k-th write, for every k; another lays out everything; the first wakes up."""
    pauses = interleaved(
        backend,
        ENTRIES[:2],
        lambda table: project_committed(table, FOREVER),
        meanwhile=lambda table: project_committed(table, FOREVER),
    )
    assert pauses == 9 + 8


def test_a_projector_that_dies_while_another_is_paused_leaves_no_trace(backend: Backend) -> None:
    """One paused, the next one dead half-way through: the first still ends in the same table."""
    entries = make_entries((unattributed(1), attributed(2)), (attributed_late(1), rejected(3)))

    def die_half_way(table: Table) -> None:
        dying = crashing(table, at=7, takes_effect=True)
        with pytest.raises(CrashError):
            project_committed(dying, FOREVER)

    first = 0
    for at in range(1, 5):
        store = backend.make()
        commit(store, entries)
        paused = PausingPoll(store, lambda table: project_committed(table, FOREVER), at=at)
        assert paused.start()
        die_half_way(store)
        paused.wake()
        assert without_journal(backend.dump(store)) == expected_table(entries)
        first += 1
    assert first == 4


@pytest.mark.ministack_only(reason="moto checks a condition and writes in two steps; threads get between")
def test_projectors_at_once_end_in_the_same_table(backend: Backend) -> None:
    """Four projectors race over the same entries, ten times: all return, and the table is as it should be."""
    for _ in range(10):
        store = backend.make()
        commit(store, ENTRIES)
        gate = threading.Barrier(4)
        states: list[State] = []

        def race(store: Table = store, gate: threading.Barrier = gate, states: list[State] = states) -> None:
            gate.wait(10)
            states.append(project_committed(store, FOREVER))

        threads = [threading.Thread(target=race) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert [state.projected for state in states] == [3, 3, 3, 3]
        assert without_journal(backend.dump(store)) == expected_table(ENTRIES)


def test_an_entry_of_many_records_is_laid_out(store: Table, dump: Any) -> None:
    """More than a batch of each kind (a batch has 25 writes): all of them, and the totals are theirs."""
    entries = make_entries(
        [
            *(attributed(number, str(number)) for number in range(60)),
            *(unattributed(number) for number in range(100, 160)),
            *(rejected(number) for number in range(200, 260)),
        ],
        [*(attributed_late(number, "3") for number in range(100, 160))],
    )
    commit(store, entries)
    state = project_committed(store, FOREVER)
    assert without_journal(dump(store)) == expected_table(entries)
    assert (state.totals.incidents, state.totals.unattributed) == (120, 0)


def test_known_is_what_was_laid_out(store: Table) -> None:
    """An id of an entry that is committed but not laid out is not known; of any outcome, afterwards it is."""
    ids = [f"{number:032x}" for number in range(1, 10)]
    commit(store, ENTRIES)
    assert known_ids(store, ids) == set()
    project_entry(store, ENTRIES[0], FOREVER)
    assert known_ids(store, ids) == set(ids[:4])
    assert known_ids(store, []) == set()
