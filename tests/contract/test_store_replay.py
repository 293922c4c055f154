"""Whatever is decided, however it is cut into entries, and whoever dies, pauses or repeats: one table."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from shared.domain.journal import Attributed, Decision, Rejected, Unattributed
from shared.domain.retention import Retention
from shared.store.entries import CommitConflictError, commit_entry
from shared.store.projection import project_committed, project_entry
from shared.store.state import read_state
from shared.store.table import Table
from shared.store.unattributed import read_open
from tests.contract.conftest import Backend
from tests.contract.disturbed import CrashError, crashing
from tests.contract.model import (
    attributed,
    attributed_late,
    check_never_ahead,
    expected_table,
    make_entries,
    rejected,
    unattributed,
    without_journal,
)

EMPLOYEES = st.sampled_from(["1", "2", "10", "11", "19"])
TIMESTAMPS = st.sampled_from(["3999990000", "3999990000.5", "3999990000.0000001", "4000000001.25"])


@st.composite
def decision_portions(draw: st.DrawFn) -> list[list[Decision]]:
    """What polls decided, one list an entry: new ids each time, and of those that wait some are found."""
    numbers = itertools.count(1)
    waiting: dict[int, str] = {}
    portions: list[list[Decision]] = []
    for _ in range(draw(st.integers(1, 4))):
        # Late ones first: who waits was unattributed in an earlier entry.
        found = draw(st.sets(st.sampled_from(sorted(waiting)))) if waiting else set()
        portion: list[Decision] = [
            attributed_late(number, draw(EMPLOYEES), waiting.pop(number)) for number in sorted(found)
        ]
        for kind in draw(st.lists(st.sampled_from("aaur"), max_size=6)):
            number = next(numbers)
            if kind == "r":
                portion.append(rejected(number))
                continue
            timestamp = draw(TIMESTAMPS)
            if kind == "a":
                portion.append(attributed(number, draw(EMPLOYEES), timestamp))
            else:
                portion.append(unattributed(number, timestamp))
                waiting[number] = timestamp
        portions.append(draw(st.permutations(portion)))
    return portions


@dataclass(frozen=True)
class Crash:
    """A projector that dies at its write number ``at``."""

    at: int
    takes_effect: bool


@dataclass(frozen=True)
class Replay:
    """A paused poll that wakes up and lays out an entry of its own, ``back`` before the last."""

    back: int


@dataclass(frozen=True)
class CommitAgain:
    """The entry just committed, once more: by its own poll, or by another one."""

    by_another: bool


type Disturbance = Crash | Replay | CommitAgain

DISTURBANCES = st.lists(
    st.one_of(
        st.builds(Crash, st.integers(1, 9), st.booleans()),
        st.builds(Replay, st.integers(0, 3)),
        st.builds(CommitAgain, st.booleans()),
    ),
    max_size=4,
)


@pytest.mark.ministack_only(reason="one backend is enough for the random cases; it answers as fast as moto")
@settings(
    max_examples=30,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    portions=decision_portions(),
    disturbances=st.lists(DISTURBANCES, min_size=4, max_size=4),
    days=st.sampled_from([0, 30]),
    one_by_one=st.booleans(),
)
def test_any_history_ends_in_the_table_of_the_undisturbed_run(
    backend: Backend,
    portions: Sequence[Sequence[Decision]],
    disturbances: Sequence[Sequence[Disturbance]],
    days: int,
    one_by_one: bool,
) -> None:
    """Random decisions in random entries, with crashes, replays and repeated commits at random moments:
    the table equals that of one projector that nothing ever happened to, and never said too much.
    """
    retention = Retention(days)
    entries = make_entries(*portions)
    strangers = make_entries(*portions, poll_id="stranger")
    undisturbed, disturbed = backend.make(), backend.make()
    for entry in entries:
        commit_entry(undisturbed, entry, retention)
        project_entry(undisturbed, entry, retention)

    for entry, stranger, happening in zip(entries, strangers, disturbances, strict=False):
        commit_entry(disturbed, entry, retention)
        for each in happening:
            event(type(each).__name__)
            match each:
                case Crash(at, takes_effect):
                    dying: Table = crashing(disturbed, at=at, takes_effect=takes_effect)
                    try:
                        project_committed(dying, retention)
                    except CrashError:
                        event("died")
                case Replay(back):
                    # Only what was laid out once, or is next, can be in anybody's hands.
                    last = min(read_state(disturbed).projected + 1, entry.sequence)
                    project_entry(disturbed, entries[max(last - 1 - back, 0)], retention)
                case CommitAgain(by_another=True):
                    with pytest.raises(CommitConflictError):
                        commit_entry(disturbed, stranger, retention)
                case CommitAgain():
                    commit_entry(disturbed, entry, retention)
            check_never_ahead(backend.dump(disturbed), entries)
        if one_by_one:
            project_committed(disturbed, retention)
    state = project_committed(disturbed, retention)

    everything = backend.dump(disturbed)
    assert everything == backend.dump(undisturbed)
    assert without_journal(everything) == expected_table(entries, days)
    decisions = [decision for entry in entries for decision in entry.decisions]
    late = {each.incident.id for each in decisions if isinstance(each, Attributed) and each.was_unattributed}
    waiting = {each.incident.id for each in decisions if isinstance(each, Unattributed)} - late
    assert {incident.id for incident in read_open(disturbed)} == waiting
    assert state.projected == len(entries)
    assert state.totals.unattributed == len(waiting)
    assert state.totals.incidents == sum(isinstance(each, Attributed) for each in decisions)
    rejected_ids = {each.id for each in decisions if isinstance(each, Rejected)}
    assert {sk for pk, sk in everything if pk == "REJECTED"} == rejected_ids
    for table in (undisturbed, disturbed):
        backend.client.delete_table(TableName=table.name)
