"""Forgetting an employee: all of theirs goes, wherever it is; nothing else moves; nothing brings it back."""

import json
import zlib
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.domain.journal import Attributed, Decision, Entry, Erased, Rejected, Unattributed
from shared.domain.retention import Retention
from shared.domain.rfc3339 import format_rfc3339, parse_rfc3339
from shared.store.changes import Place, read_changes
from shared.store.entries import commit_entry, read_entry
from shared.store.erasure import SETTLED_AFTER_SECONDS, TraceSearch, settle_erasures
from shared.store.projection import project_committed, project_entry
from shared.store.records import ids_with, known_ids
from shared.store.state import read_state
from shared.store.table import Table
from tests.contract.conftest import Backend
from tests.contract.disturbed import CrashError, PausingPoll, SteppingClient, crashing
from tests.contract.model import (
    COMMITTED_AT,
    DAY,
    Dump,
    attributed,
    attributed_late,
    check_never_ahead,
    expected_table,
    make_entries,
    rejected,
    unattributed,
    without_journal,
)
from tests.contract.test_store_replay import decision_portions

FOREVER = Retention(0)
ERASED_AT = COMMITTED_AT + DAY
# Of employee 7: an incident, one that waited, one of a later entry, two rejected records.
HISTORY: Sequence[Sequence[Decision]] = (
    (attributed(1, "7"), unattributed(2), attributed(3, "70"), unattributed(4), rejected(5, "7")),
    (attributed_late(2, "7"), rejected(6), rejected(7, "17"), attributed_late(4, "17")),
    (attributed(8, "17"), attributed(9, "7", "3999990001.5"), unattributed(10), rejected(11, "7")),
)
OF_7 = {f"{number:032x}" for number in (1, 2, 5, 9, 11)}


def take_in(table: Table, portions: Sequence[Sequence[Decision]] = HISTORY) -> list[Entry]:
    entries = make_entries(*portions)
    for entry in entries:
        commit_entry(table, entry, FOREVER)
        project_entry(table, entry, FOREVER)
    return entries


def find_traces(table: Table, employee_id: str, *, up_to: int) -> Sequence[Erased]:
    return TraceSearch(table, employee_id).go_on(up_to)


def commit_erasure(table: Table, employee_id: str) -> Entry:
    """The entry that erases the employee, committed and not laid out."""
    state = read_state(table)
    entry = Entry(
        sequence=state.projected + 1,
        poll_id="erasure",
        committed_at=format_rfc3339(ERASED_AT),
        decisions=tuple(find_traces(table, employee_id, up_to=state.projected)),
        totals=state.totals,
        attributed_with=state.attributed_with,
    )
    commit_entry(table, entry, FOREVER)
    return entry


def settle(table: Table, *, after: float = SETTLED_AFTER_SECONDS) -> None:
    settle_erasures(table, state=read_state(table), now=ERASED_AT + after, has_time=lambda: True)


def expected(entries: Sequence[Entry], erasure: Entry, *, settled: bool) -> Dump:
    """The table without its journal; once settled the erasure itself is known by its sequence alone."""
    table = dict(expected_table([*entries, erasure]))
    if not erasure.decisions:
        return table
    sequence = {"N": str(erasure.sequence)}
    state = {**table["STATE", "STATE"], "erased": sequence}
    if settled:
        del table["ERASURES", f"{erasure.sequence:020}"]
        for employee_id in {
            each.traces.employee_id for each in erasure.decisions if isinstance(each, Erased) and each.traces
        }:
            del table["EMPLOYEES", f"{employee_id:0>20}"]
        state["settled"] = sequence
    return table | {("STATE", "STATE"): state}


def texts_of(everything: Dump) -> str:
    """All that the table holds, the journal's entries unpacked."""
    return json.dumps(
        [
            {**item, "decisions": zlib.decompress(bytes(item["decisions"]["B"])).decode()}
            if "decisions" in item
            else item
            for item in everything.values()
        ]
    )


def test_everything_about_the_employee_is_found(store: Table) -> None:
    """Incidents, those that waited, rejected records, with every place in the journal; of nobody else."""
    take_in(store)
    found = find_traces(store, "7", up_to=3)
    assert {each.id for each in found} == OF_7
    places = {int(each.id, 16): each.traces.places for each in found if each.traces}
    assert places == {1: ((1, 0),), 2: ((1, 1), (2, 0)), 5: ((1, 4),), 9: ((3, 1),), 11: ((3, 3),)}
    assert find_traces(store, "8", up_to=3) == []


def test_what_only_the_projection_holds_is_found_as_well(store: Table, backend: Backend) -> None:
    """Entries may be gone before what they laid out, after a change of the retention."""
    take_in(store)
    for sequence in (1, 2, 3):
        backend.client.delete_item(
            TableName=store.name, Key={"pk": {"S": "JOURNAL"}, "sk": {"S": f"{sequence:020}"}}
        )
    found = find_traces(store, "7", up_to=3)
    assert {each.id for each in found} == OF_7
    assert all(each.traces and each.traces.places == () for each in found)
    commit_erasure(store, "7")
    project_committed(store, FOREVER)
    assert find_traces(store, "7", up_to=4) == []


def test_a_search_goes_on_where_it_stopped(store: Table) -> None:
    """It reads the journal once. What has come in since is found, what was erased since is not, and a record
    that waited before and was attributed since has both its places.
    """
    entries = take_in(store, HISTORY[:1])
    search = TraceSearch(store, "7")
    read: list[int] = []
    assert {int(each.id, 16) for each in search.go_on(1, look=read.append)} == {1, 5}
    assert {int(each.id, 16) for each in search.go_on(1, look=read.append)} == {1, 5}
    for entry in make_entries(*HISTORY)[1:]:
        commit_entry(store, entry, FOREVER)
        project_entry(store, entry, FOREVER)
    found = {int(each.id, 16): each.traces for each in search.go_on(3, look=read.append)}
    assert found.keys() == {int(each, 16) for each in OF_7}
    assert found[2]
    assert found[2].places == ((1, 1), (2, 0))
    commit_erasure(store, "7")
    project_committed(store, FOREVER)
    assert search.go_on(4, look=read.append) == []
    assert read == [1, 2, 3, 4]
    assert entries


def test_nothing_is_left_but_the_ids(store: Table, dump: Callable[[Table], Dump]) -> None:
    """Item by item the table is as it should be, and once settled no text in it names the employee."""
    entries = take_in(store)
    erasure = commit_erasure(store, "7")
    project_committed(store, FOREVER)
    assert without_journal(dump(store)) == expected(entries, erasure, settled=False)
    settle(store)
    everything = dump(store)
    assert without_journal(everything) == expected(entries, erasure, settled=True)
    assert '"7"' not in texts_of(everything)
    assert "0007#" not in texts_of(everything)
    assert find_traces(store, "7", up_to=4) == []
    ids = {f"{number:032x}" for number in range(1, 12)}
    assert known_ids(store, ids) == ids
    assert ids_with(store, "erased", ids) == OF_7


def test_positions_in_the_journal_stay(store: Table) -> None:
    """A reader of the feed goes on from any token it has, and gets of the others what it would have got."""
    entries = take_in(store)
    before = [(place, change) for place, change in read_changes(store, Place(1), projected=3)]
    commit_erasure(store, "7")
    project_committed(store, FOREVER)
    settle(store)
    after = list(read_changes(store, Place(1), projected=4))
    assert after == [(place, change) for place, change in before if change.employee_id != "7"]
    assert len(after) == 3
    for entry in entries:
        kept = read_entry(store, entry.sequence)
        assert kept
        assert [each.record_id for each in kept.decisions] == [each.record_id for each in entry.decisions]
        assert [isinstance(each, Erased) for each in kept.decisions] == [
            each.record_id in OF_7 for each in entry.decisions
        ]


def test_it_may_die_at_any_write(backend: Backend) -> None:
    """Laid out in part, before or after each write: the next one that comes finishes it, to the same end;
    settling as well; and no id says that its record is there when it is not.
    """
    whole = backend.make()
    entries = take_in(whole)
    erasure = commit_erasure(whole, "7")
    client = SteppingClient(whole._client)
    project_committed(Table(whole.name, client=client), FOREVER)  # type: ignore[arg-type]  # a stand-in for the client
    writes = client.steps
    assert writes > 15
    for at in range(1, writes + 1, 2):
        table = backend.make()
        take_in(table)
        commit_erasure(table, "7")
        with pytest.raises(CrashError):
            project_committed(crashing(table, at=at, takes_effect=bool(at % 4 == 1)), FOREVER)
        check_never_ahead(backend.dump(table), entries[:0])
        project_committed(table, FOREVER)
        assert without_journal(backend.dump(table)) == expected(entries, erasure, settled=False)
        with pytest.raises(CrashError):
            settle(crashing(table, at=at, takes_effect=bool(at % 4 == 1)))
        settle(table)
        assert without_journal(backend.dump(table)) == expected(entries, erasure, settled=True)
        assert backend.dump(table).keys() - without_journal(backend.dump(table)).keys()


def test_a_poll_that_slept_brings_nothing_back_for_good(store: Table, dump: Callable[[Table], Dump]) -> None:
    """One that sleeps at any write of an older entry, and wakes up after the erasure: until the erasure is
    settled its items may be seen again, then no more.
    """
    portions = HISTORY
    slept = 0
    for at in range(1, 30, 3):
        table = Table(store.name, client=store._client)
        for key in dump(store):
            store.delete_many([key])
        entries = make_entries(*portions)
        for entry in entries[:-1]:
            commit_entry(table, entry, FOREVER)
            project_entry(table, entry, FOREVER)
        commit_entry(table, entries[-1], FOREVER)
        sleeper = PausingPoll(table, partial(project_entry, entry=entries[-1], retention=FOREVER), at=at)
        slept += sleeper.start()
        project_committed(table, FOREVER)
        erasure = commit_erasure(table, "7")
        project_committed(table, FOREVER)
        sleeper.wake()
        settle(table, after=SETTLED_AFTER_SECONDS - 1)
        assert ("ERASURES", f"{4:020}") in dump(table), "settled too early"
        settle(table)
        assert without_journal(dump(table)) == expected(entries, erasure, settled=True)
    assert slept >= 3


def test_two_erasures_at_once_undo_nothing_of_each_other(store: Table) -> None:
    """Both rewrite the same entries: one that slept between reading and writing does not put back what the
    other took out.
    """
    take_in(store)
    commit_erasure(store, "7")
    sleeper = PausingPoll(store, lambda it: project_committed(it, FOREVER), at=14)
    assert sleeper.start()
    project_committed(store, FOREVER)
    commit_erasure(store, "17")
    project_committed(store, FOREVER)
    sleeper.wake()
    for sequence in (1, 2, 3):
        entry = read_entry(store, sequence)
        assert entry
        for decision in entry.decisions:
            assert not (isinstance(decision, Attributed) and decision.employee_id in ("7", "17"))


def test_settling_costs_nothing_where_nothing_was_erased(store: Table) -> None:
    """Every poll does it."""
    take_in(store)
    client = SteppingClient(None)
    settle_erasures(
        Table(store.name, client=client),  # type: ignore[arg-type]  # a stand-in for the client
        state=read_state(store),
        now=ERASED_AT,
        has_time=lambda: True,
    )
    assert client.steps == 0


def test_settling_stops_when_the_time_is_up(store: Table, dump: Callable[[Table], Dump]) -> None:
    """The next poll goes on with it."""
    take_in(store)
    commit_erasure(store, "7")
    state = project_committed(store, FOREVER)
    now = ERASED_AT + SETTLED_AFTER_SECONDS
    settle_erasures(store, state=state, now=now, has_time=lambda: False)
    assert read_state(store) == state
    settle_erasures(store, state=state, now=now, has_time=lambda: True)
    assert read_state(store).settled == state.erased == 4


@pytest.mark.ministack_only(reason="one backend is enough for the random cases; it answers as fast as moto")
@settings(
    max_examples=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    portions=decision_portions(),
    employee_id=st.sampled_from(["1", "2", "10", "11", "19"]),
    dies_at=st.integers(1, 30),
    replayed=st.lists(st.integers(0, 3), max_size=3),
)
def test_any_history_without_the_employee(
    backend: Backend,
    portions: Sequence[Sequence[Decision]],
    employee_id: str,
    dies_at: int,
    replayed: Sequence[int],
) -> None:
    """Random histories, a crash while the erasure is laid out, older entries laid out late by polls that
    slept: once settled the table is what the model says, and the employee is in no text of it.
    """
    table = backend.make()
    entries = take_in(table, portions)
    erasure = commit_erasure(table, employee_id)
    theirs = {
        decision.record_id
        for entry in entries
        for decision in entry.decisions
        if isinstance(decision, Attributed) and decision.employee_id == employee_id
    }
    assert {each.record_id for each in erasure.decisions} == theirs
    try:
        project_committed(crashing(table, at=dies_at, takes_effect=True), FOREVER)
    except CrashError:
        project_committed(table, FOREVER)
    for number in replayed:
        project_entry(table, entries[min(number, len(entries) - 1)], FOREVER)
    settle(table)
    everything = backend.dump(table)
    assert without_journal(everything) == expected(entries, erasure, settled=True)
    assert f"{employee_id:0>20}#" not in texts_of(everything)
    for entry in entries:
        kept = read_entry(table, entry.sequence)
        assert kept
        for before, after in zip(entry.decisions, kept.decisions, strict=True):
            assert after == (Erased(before.record_id) if before.record_id in theirs else before)
            assert isinstance(after, Attributed | Unattributed | Rejected | Erased)
    backend.client.delete_table(TableName=table.name)
    assert parse_rfc3339(erasure.committed_at) == ERASED_AT
