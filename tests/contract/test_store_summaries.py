"""Whatever is decided, erased and counted anew, and whoever dies, sleeps or repeats: summaries say what a
plain count of all incidents says.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from shared.domain import overview as overviews_domain
from shared.domain.employee_summary import (
    CountedIncident,
    EmployeeSummary,
    day_of,
    first_day_shown,
    kind_of,
)
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES, Incident
from shared.domain.journal import Attributed, Decision, Entry, Unattributed
from shared.domain.overview import Basis, DayCounts, Overview
from shared.domain.retention import Retention
from shared.domain.rfc3339 import format_rfc3339
from shared.domain.risk import DEFAULT_SCALE, RiskScale
from shared.store import recount as recounting
from shared.store.employees import pack_counts, read_all_employees, summary_at
from shared.store.entries import commit_entry, read_entry
from shared.store.erasure import SETTLED_AFTER_SECONDS, settle_erasures
from shared.store.overviews import pack_days, read_overview_at
from shared.store.projection import project_committed, project_entry
from shared.store.recount import recount
from shared.store.state import read_state
from shared.store.table import Table
from tests.contract.disturbed import CrashError, PausingPoll, crashing
from tests.contract.model import rejected
from tests.contract.test_store_erasure import find_traces
from tests.fakes import MemoryDynamoDB

DAY = 86_400
# Some whole day: 2096-10-02.
BEGIN = 4_000_060_800
EMPLOYEES = ("1", "2", "10", "11", "19", "30303")
SCALES = (RiskScale(), RiskScale((0, 1, 50, 1000), 1), RiskScale((3, 3, 3, 3), 3650))


@dataclass
class Service:
    """A table with its polls, and a plain list of all that it should hold."""

    table: Table
    basis: Basis
    now: float = BEGIN
    incidents: list[tuple[str, Incident, int]] = field(default_factory=list)
    erased: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, Incident] = field(default_factory=dict)
    sleepers: list[PausingPoll] = field(default_factory=list)
    number: int = 0

    def make(self, days_ago: float, priority: str, type: str) -> Incident:
        """An incident with an id of its own."""
        self.number += 1
        timestamp = f"{max(self.now - days_ago * DAY, 0) + self.number * 1e-7:.7f}".rstrip("0").rstrip(".")
        return Incident(
            f"{self.number:032x}", type, priority, timestamp, None, "10.0.0.1", {"ip": "10.0.0.1"}
        )

    def commit(self, decisions: Sequence[Decision]) -> None:
        """Commit what a poll decided, on top of all that is laid out."""
        state = read_state(self.table)
        entry = Entry(
            sequence=state.projected + 1,
            poll_id=f"poll-{state.projected}",
            committed_at=format_rfc3339(self.now),
            decisions=tuple(decisions),
            totals=state.totals.after(decisions),
        )
        commit_entry(self.table, entry, self.basis.retention)
        for each in decisions:
            if isinstance(each, Attributed):
                self.incidents.append((each.employee_id, each.incident, entry.sequence))
                self.waiting.pop(each.incident.id, None)
            elif isinstance(each, Unattributed):
                self.waiting[each.incident.id] = each.incident

    def erase(self, employee_id: str) -> None:
        """Commit an erasure."""
        found = find_traces(self.table, employee_id, up_to=read_state(self.table).projected)
        if found:
            self.commit(found)
            self.erased[employee_id] = read_state(self.table).projected + 1

    def project(self, table: Table | None = None) -> None:
        """Lay out what is committed."""
        project_committed(table or self.table, self.basis.retention)

    def recount(self, table: Table | None = None, *, portions: int = 10_000) -> bool:
        """Count anew what is to be, so many portions of it."""
        left = iter(range(portions))
        return recount(table or self.table, self.basis, has_time=lambda: next(left, None) is not None)

    def settle(self) -> None:
        """Nobody sleeps for so long."""
        self.wake()
        self.now += SETTLED_AFTER_SECONDS
        settle_erasures(self.table, state=read_state(self.table), now=self.now, has_time=lambda: True)

    def wake(self) -> None:
        """Let all that sleep go on to their ends."""
        for sleeper in self.sleepers:
            sleeper.wake()
        self.sleepers.clear()

    # ------------------------------------------------------------ what is read

    def overview(self) -> Overview | None:
        """What readers may use; None where they are told to wait."""
        state = read_state(self.table)
        found = read_overview_at(self.table, state.projected)
        return found if found and found.is_complete and found.name == state.summaries else None

    def employees(self, overview: Overview, as_of: float) -> Mapping[str, EmployeeSummary]:
        """What readers see of them."""
        first_day = first_day_shown(self.basis.retention, as_of)
        found = {}
        for stored in read_all_employees(self.table):
            assert stored.generation <= overview.generation
            if stored.generation == overview.generation:
                summary = summary_at(stored, overview.sequence)
                if summary and summary.last_day >= first_day:
                    found[stored.employee_id] = summary
        return found

    def check(self) -> bool:
        """All that is read is what is in the list; False where readers are told to wait."""
        overview = self.overview()
        if overview is None:
            return False
        if overview.basis != self.basis:
            # Of before a change of the parameters, and whole.
            return False
        first_day = first_day_shown(self.basis.retention, self.now)
        shown: dict[str, list[Incident]] = {}
        weighed: dict[str, float] = Counter()
        lasting: dict[str, float] = Counter()
        for employee_id, incident, sequence in self.incidents:
            if sequence > overview.sequence:
                continue
            if sequence < self.erased.get(employee_id, 0) <= overview.sequence:
                continue
            weight = self.basis.scale.weights[PRIORITIES.index(incident.priority)]
            half_lives = (Decimal(incident.timestamp) - Decimal(self.now)) / (
                self.basis.scale.half_life_days * DAY
            )
            decayed = weight * 2 ** float(half_lives)
            lasting[employee_id] += decayed
            if day(incident) >= first_day:
                shown.setdefault(employee_id, []).append(incident)
                weighed[employee_id] += decayed
        employees = self.employees(overview, self.now)
        assert employees.keys() == shown.keys()
        for employee_id, summary in employees.items():
            theirs = shown[employee_id]
            assert summary.by_priority(first_day) == {
                priority: sum(each.priority == priority for each in theirs) for priority in PRIORITIES
            }
            assert summary.last == max((each.timestamp for each in theirs), key=Decimal)
            risk = self.basis.scale.shown(summary.risk, self.now)
            assert weighed[employee_id] * (1 - 1e-9) <= risk <= lasting[employee_id] * (1 + 1e-9)
        self._check_days(overview, shown, first_day)
        true_top = sorted((-each.risk, f"{key:0>20}") for key, each in employees.items())
        top = [each for each in overview.top if each.last_day >= first_day]
        assert [each.place for each in top] == true_top[: len(top)]
        if overview.floor is None:
            assert len(top) == len(true_top)
        by_plain_risk = sorted(employees, key=lambda each: weighed[each])
        if not self.basis.retention.days:
            for lower, higher in pairwise(by_plain_risk):
                if weighed[lower] < weighed[higher] * (1 - 1e-9):
                    assert employees[lower].risk < employees[higher].risk
        return True

    def _check_days(
        self, overview: Overview, shown: Mapping[str, Sequence[Incident]], first_day: int
    ) -> None:
        today = int(self.now) // DAY
        for days in (1, 2, 7, 30, 400):
            first = max(today - days + 1, first_day)
            wanted = [each for theirs in shown.values() for each in theirs if day(each) >= first]
            rows = [counts for number, counts in overview.days.items() if number >= first]
            assert [sum(row.by_priority[n] for row in rows) for n in range(4)] == [
                sum(each.priority == priority for each in wanted) for priority in PRIORITIES
            ]
            assert [sum(row.by_type[n] for row in rows) for n in range(7)] == [
                sum(each.type == type for each in wanted) for type in INCIDENT_TYPES
            ]
            by_day = Counter(day(each) for each in wanted)
            assert {
                number: sum(row.by_priority)
                for number, row in overview.days.items()
                if number >= first and sum(row.by_priority)
            } == by_day
            affected = sum(any(day(each) >= first for each in theirs) for theirs in shown.values())
            assert sum(row.last_of for row in rows) == affected


def day(incident: Incident) -> int:
    return int(incident.timestamp.partition(".")[0]) // DAY


def in_memory() -> tuple[Table, MemoryDynamoDB]:
    memory = MemoryDynamoDB()
    return Table(memory.table_name, client=memory), memory  # type: ignore[arg-type]  # as much of a client as is needed


def numbers(memory: MemoryDynamoDB) -> Mapping[tuple[str, str], Any]:
    """All items that hold numbers."""
    return {key: item for key, item in memory.dump().items() if key[0] in ("EMPLOYEES", "SUMMARY")}


# ---------------------------------------------------------------- random histories

KINDS = st.tuples(
    st.sampled_from(EMPLOYEES),
    st.one_of(st.sampled_from([-0.9, 0.0, 0.2, 1.0, 29.5, 30.0, 31.0, 500.0]), st.floats(0, 60)),
    st.sampled_from(PRIORITIES),
    st.sampled_from(INCIDENT_TYPES),
    st.sampled_from("aaaau"),
)
HAPPENINGS = st.one_of(
    st.just(("nothing",)),
    st.tuples(st.just("crash"), st.integers(1, 25), st.booleans()),
    st.tuples(st.just("sleep"), st.integers(1, 25)),
    st.tuples(st.just("twice"), st.integers(1, 25)),
)
STEPS = st.one_of(
    st.tuples(st.just("poll"), st.lists(KINDS, max_size=8), HAPPENINGS),
    st.tuples(st.just("poll"), st.lists(KINDS, max_size=5), HAPPENINGS),
    st.tuples(st.just("attribute"), st.sampled_from(EMPLOYEES), HAPPENINGS),
    st.tuples(st.just("erase"), st.sampled_from(EMPLOYEES), HAPPENINGS),
    st.tuples(st.just("recount"), st.sampled_from(SCALES), HAPPENINGS, st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from([60.0, DAY / 2, DAY * 3.0, DAY * 40.0])),
    st.just(("wake",)),
    st.just(("settle",)),
    st.tuples(st.just("expire"), st.booleans()),
    st.just(("lose",)),
)


def lay_out(service: Service, work: Callable[[Table], object], happening: Sequence[Any]) -> None:
    """``work`` by a poll to which something happens, and by another one after it."""
    kind, *arguments = happening
    event(kind)
    if kind == "crash":
        at, takes_effect = arguments
        try:
            work(crashing(service.table, at=at, takes_effect=takes_effect))
        except CrashError:
            event("crashed")
    elif kind in ("sleep", "twice"):
        sleeper = PausingPoll(service.table, work, at=arguments[0])
        sleeper.start()
        if kind == "sleep":
            service.sleepers.append(sleeper)
        else:
            second = PausingPoll(service.table, work, at=arguments[0] + 2)
            second.start()
            sleeper.wake()
            second.wake()
    work(service.table)


@settings(
    max_examples=300,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    steps=st.lists(STEPS, min_size=1, max_size=14),
    scale=st.sampled_from(SCALES),
    days=st.sampled_from([0, 0, 30]),
    most=st.sampled_from([(1, 2), (2, 3), (500, 512)]),
    undisturbed_counting=st.booleans(),
)
def test_any_history_says_what_a_plain_count_says(
    monkeypatch: pytest.MonkeyPatch,
    steps: Sequence[Any],
    scale: RiskScale,
    days: int,
    most: tuple[int, int],
    undisturbed_counting: bool,
) -> None:
    """Polls, late attributions, erasures, changes of the scale, passing time, expiry, each with polls that
    die at any write, sleep there and wake up later, or do the same at the same time.
    """
    with monkeypatch.context() as patch:
        patch.setattr(overviews_domain, "SHOWN_ON_TOP", most[0])
        patch.setattr(overviews_domain, "MAX_ON_TOP", most[1])
        patch.setattr(recounting, "MAX_ON_TOP", most[1])
        patch.setattr(recounting, "_PORTION", 2)
        table, memory = in_memory()
        service = Service(table, Basis(scale, Retention(days)))
        if undisturbed_counting:
            assert service.recount()
        try:
            for step in steps:
                if undisturbed_counting and step[0] in ("recount", "lose"):
                    continue
                take_step(service, memory, step)
            service.project()
            assert service.check() or not undisturbed_counting
        finally:
            service.wake()
        service.project()
        service.check()
        service.settle()
        service.check()
        for _ in range(3):
            service.recount()
        assert service.check()
        overview = service.overview()
        assert overview
        assert overview.floor is None or len(overview.top) >= most[0]


def take_step(service: Service, memory: MemoryDynamoDB, step: Sequence[Any]) -> None:
    kind, *arguments = step
    event(kind)
    match kind:
        case "poll":
            service.project()
            decisions: list[Decision] = []
            for employee_id, days_ago, priority, type, outcome in arguments[0]:
                incident = service.make(days_ago, priority, type)
                decisions.append(
                    Unattributed(incident) if outcome == "u" else Attributed(incident, employee_id)
                )
            service.commit(decisions)
            lay_out(service, service.project, arguments[1])
        case "attribute":
            service.project()
            late = [Attributed(each, arguments[0], True) for each in service.waiting.values()]
            service.commit(late)
            lay_out(service, service.project, arguments[1])
        case "erase":
            service.project()
            service.erase(arguments[0])
            lay_out(service, service.project, arguments[1])
        case "recount":
            service.basis = Basis(arguments[0], service.basis.retention)
            lay_out(service, partial(service.recount, portions=arguments[2]), arguments[1])
        case "wait":
            # Whoever sleeps for longer than Lambda lets a function live is dead.
            if arguments[0] > 600:
                service.wake()
            service.now += arguments[0]
            forget_gone(service)
        case "wake":
            service.wake()
        case "settle":
            service.project()
            service.settle()
        case "expire":
            service.project()
            expire(service, memory, all_of_them=arguments[0])
        case "lose":
            service.wake()
            for number in "01":
                memory.delete_item(
                    TableName=memory.table_name, Key={"pk": {"S": "SUMMARY"}, "sk": {"S": number}}
                )
    if kind in ("poll", "attribute", "erase"):
        service.check()


def forget_gone(service: Service) -> None:
    """Incidents past their time are not decided on; those that wait would not be attributed any more."""
    service.waiting = {
        key: each
        for key, each in service.waiting.items()
        if not service.basis.retention.is_too_old(each.timestamp, service.now)
    }


def expire(service: Service, memory: MemoryDynamoDB, *, all_of_them: bool) -> None:
    """What time to live deletes, all that it may or some of it."""
    dice = random.Random(7)  # noqa: S311 - no secret
    for (pk, sk), item in memory.dump().items():
        expired = "expires_at" in item and int(item["expires_at"]["N"]) < service.now
        if expired and pk in ("INCIDENTS", "EMPLOYEES") and (all_of_them or dice.random() < 0.5):
            memory.delete_item(TableName=memory.table_name, Key={"pk": {"S": pk}, "sk": {"S": sk}})


# ---------------------------------------------------------------- one after the other, at every moment

DAYS_AGO = (0.0, 1.0, 2.0, 3.0, 40.0, 5.0, 0.5)
PAST = tuple(zip(EMPLOYEES * 2, DAYS_AGO * 2, PRIORITIES * 3, INCIDENT_TYPES * 2, strict=False))
MEANWHILE = ("entry", "half an entry", "erasure", "other basis", "same basis", "all")


def with_a_past(service: Service) -> Service:
    """Three entries, laid out."""
    for start in range(0, len(PAST), 4):
        service.commit([Attributed(service.make(*each[1:]), each[0]) for each in PAST[start : start + 4]])
        service.project()
        service.now += 60
    return service


def some_more(service: Service) -> None:
    service.commit([Attributed(service.make(*each[1:]), each[0]) for each in PAST[3:9]])


def test_the_same_on_a_real_backend(store: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted from the start, erased, counted anew on another basis a portion at a time, filled up."""
    monkeypatch.setattr(recounting, "_PORTION", 2)
    monkeypatch.setattr(overviews_domain, "SHOWN_ON_TOP", 3)
    monkeypatch.setattr(overviews_domain, "MAX_ON_TOP", 4)
    monkeypatch.setattr(recounting, "MAX_ON_TOP", 4)
    service = Service(store, Basis())
    assert service.recount()
    assert with_a_past(service).check()
    for employee_id in ("1", "10"):
        service.erase(employee_id)
        service.project()
        assert service.check()
    service.settle()
    service.basis = Basis(RiskScale((9, 1, 1, 1), 2), Retention())
    assert not service.recount(portions=1)
    some_more(service)
    service.project()
    assert not service.check(), "half of the employees are no answer"
    assert service.recount()
    assert service.check()


@pytest.mark.parametrize("takes_effect", [False, True])
@pytest.mark.parametrize("erases", [False, True])
def test_numbers_are_the_same_to_the_byte_wherever_a_poll_dies(erases: bool, takes_effect: bool) -> None:
    """Before and after each write of an entry, also twice in a row, and laid out again when all is done."""

    def prepare() -> tuple[Service, MemoryDynamoDB]:
        table, memory = in_memory()
        service = Service(table, Basis())
        service.recount()
        with_a_past(service)
        if erases:
            service.erase("10")
        else:
            some_more(service)
        return service, memory

    undisturbed, memory = prepare()
    undisturbed.project()
    assert undisturbed.check()
    wanted = numbers(memory)
    assert len(wanted) == 8
    deaths = 0
    for at in range(1, 60):
        service, memory = prepare()
        for again in (0, 1):
            try:
                service.project(crashing(service.table, at=max(at - again, 1), takes_effect=takes_effect))
            except CrashError:
                deaths += 1
                # An erasure is the one thing that shows before all of it is done.
                assert erases or service.check(), "readers see the entry before, whole"
        service.project()
        entry = read_entry(service.table, read_state(service.table).projected)
        assert entry
        project_entry(service.table, entry, Retention())
        assert numbers(memory) == wanted
    assert deaths > 20


@pytest.mark.parametrize("happening", MEANWHILE)
def test_whoever_counts_anew_may_sleep_anywhere(happening: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each write: what others do meanwhile stays, and in the end all is counted once."""
    monkeypatch.setattr(recounting, "_PORTION", 2)
    slept = 0
    for at in range(1, 25):
        table, _ = in_memory()
        service = with_a_past(Service(table, Basis()))
        sleeper = PausingPoll(table, service.recount, at=at)
        slept += sleeper.start()
        if happening in ("entry", "all"):
            some_more(service)
            service.project()
        if happening == "half an entry":
            some_more(service)
            with pytest.raises(CrashError):
                service.project(crashing(table, at=4, takes_effect=True))
        if happening in ("erasure", "all"):
            service.erase("10")
            service.project()
        if happening in ("other basis", "all"):
            service.basis = Basis(RiskScale((5, 5, 5, 1), 3), Retention())
        if happening != "half an entry":
            service.recount()
        service.check()
        sleeper.wake()
        service.check()
        service.project()
        service.check()
        service.settle()
        for _ in range(3):
            service.recount()
        assert service.check()
    assert slept >= 8


@pytest.mark.parametrize("portions", [1, 3, 50])
def test_a_basis_that_is_taken_back_while_a_poll_sleeps(
    portions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll makes the next overview from one of before the other count, which has come to some employees by
    then: nobody takes the old overview for whole beside them.
    """
    monkeypatch.setattr(recounting, "_PORTION", 2)
    for employee_id in ("1", "30303"):
        for at in range(1, 9):
            table, _ = in_memory()
            service = Service(table, Basis())
            service.recount()
            with_a_past(service)
            service.commit([Attributed(service.make(0, "high", "other"), employee_id)])
            sleeper = PausingPoll(table, service.project, at=at)
            sleeper.start()
            before, service.basis = service.basis, Basis(RiskScale((5, 5, 5, 1), 3), Retention())
            service.recount(portions=portions)
            service.check()
            sleeper.wake()
            service.project()
            service.check()
            service.basis = before
            service.check()
            for _ in range(3):
                service.recount()
            assert service.check()


def test_half_an_entry_is_not_counted_twice() -> None:
    """Its incidents are in the table already when everything is counted as of the entry before."""
    table, _ = in_memory()
    service = with_a_past(Service(table, Basis()))
    some_more(service)
    with pytest.raises(CrashError):
        service.project(crashing(table, at=5, takes_effect=True))
    assert service.recount()
    service.project()
    assert service.check()


def test_what_a_sleeping_poll_brings_back_is_not_counted() -> None:
    """A poll lays out an entry, sleeps, and puts an incident of an employee who was erased meanwhile: nobody
    counts that in, for it goes once more.
    """
    brought_back = 0
    for at in range(1, 14):
        table, memory = in_memory()
        service = with_a_past(Service(table, Basis()))
        some_more(service)
        sleeper = PausingPoll(table, service.project, at=at)
        sleeper.start()
        service.project()
        service.erase("10")
        service.project()
        sleeper.wake()
        brought_back += any("0010#" in sk for pk, sk in memory.dump() if pk == "INCIDENTS")
        assert not service.recount(), "counted though what is there may go"
        service.settle()
        assert service.recount()
        assert service.check()
        assert not [sk for _, sk in numbers(memory) if sk == f"{10:020}"]
    assert brought_back


def test_who_is_on_top_is_looked_for_when_too_few_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those below the floor are unknown: nobody takes a place there before all have been looked at."""
    monkeypatch.setattr(overviews_domain, "SHOWN_ON_TOP", 2)
    monkeypatch.setattr(overviews_domain, "MAX_ON_TOP", 3)
    monkeypatch.setattr(recounting, "MAX_ON_TOP", 3)
    table, _ = in_memory()
    service = Service(table, Basis())
    service.recount()
    for employee_id, priority in zip("123456", ("critical",) * 3 + ("high",) * 3, strict=True):
        service.commit([Attributed(service.make(0, priority, "other"), employee_id)])
        service.project()
    overview = service.overview()
    assert overview
    assert {each.employee_id for each in overview.top} == {"1", "2", "3"}
    service.erase("1")
    service.project()
    service.erase("2")
    service.project()
    service.commit([Attributed(service.make(0, "low", "other"), "7")])
    service.project()
    assert service.check()
    overview = service.overview()
    assert overview
    assert [each.employee_id for each in overview.top] == ["3"]
    assert overview.is_short
    assert service.recount()
    assert service.check()
    overview = service.overview()
    assert overview
    assert len(overview.top) == 3
    assert not overview.is_short


def test_a_clock_that_is_wrong_for_one_poll_costs_nothing() -> None:
    """Ten years ahead, then back: what happened before is still counted, on its days."""
    table, _ = in_memory()
    service = Service(table, Basis(DEFAULT_SCALE, Retention(400)))
    service.recount()
    assert with_a_past(service).check()
    right = service.now
    service.now += 3_650 * DAY
    service.commit([rejected(1)])
    service.project()
    service.now = right + 60
    assert service.check()
    some_more(service)
    service.project()
    assert service.check()


def test_what_is_taken_in_by_a_clock_that_is_wrong_counts_on_its_days() -> None:
    """Ten years ahead where all is kept: it counts as any other, and goes with an erasure."""
    table, _ = in_memory()
    service = Service(table, Basis())
    service.recount()
    with_a_past(service)
    right = service.now
    incident = service.make(0, "high", "other")
    service.now += 3_650 * DAY
    service.commit([Attributed(incident, "1")])
    service.project()
    service.now = right + 60
    assert service.check()
    service.erase("1")
    service.project()
    assert service.check()


def test_a_portion_is_not_more_than_can_be_counted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where employees have many incidents, there are fewer employees in it; whoever has more than a portion
    makes one alone.
    """
    monkeypatch.setattr(recounting, "_PORTION_INCIDENTS", 4)
    table, _ = in_memory()
    service = Service(table, Basis())
    for employee_id, count in zip("123456", (1, 3, 1, 9, 1, 1), strict=True):
        many = [Attributed(service.make(n, "low", "other"), employee_id) for n in range(count)]
        service.commit(many)
        service.project()
    up_to = []
    while not service.recount(portions=1):
        overview = read_overview_at(table, read_state(table).projected)
        assert overview
        up_to.append(overview.up_to.lstrip("0"))
    assert up_to == ["2", "3", "4"]
    assert service.check()


def test_looking_for_who_is_on_top_ends_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are counted; that fewer are on top than could be is no reason to let Lambda end the poll."""
    monkeypatch.setattr(overviews_domain, "SHOWN_ON_TOP", 3)
    monkeypatch.setattr(overviews_domain, "MAX_ON_TOP", 3)
    monkeypatch.setattr(recounting, "MAX_ON_TOP", 3)
    table, _ = in_memory()
    service = Service(table, Basis())
    service.recount()
    with_a_past(service)
    for employee_id in ("10", "30303"):
        service.erase(employee_id)
        service.project()
    assert service.recount(portions=1)
    overview = service.overview()
    assert overview
    assert overview.is_short
    assert service.recount()
    overview = service.overview()
    assert overview
    assert not overview.is_short
    assert service.check()


def test_what_is_stored_of_kinds_is_fixed() -> None:
    """Numbers in the table stand for priorities and types by their places, and rows have as many columns: a
    name that comes, goes or moves makes all that is stored wrong, unless all is counted anew.
    """
    counted = [CountedIncident("high", "other", "86400.5"), CountedIncident("low", "denial", "172800")]
    counts = {(day_of(each.timestamp), kind_of(each)): 3 for each in counted}
    assert pack_counts(counts).hex() == "011403010003"
    row = DayCounts((1, 2, 3, 4), (5, 6, 7, 8, 9, 10, 11), 12)
    assert pack_days({7: row}).hex() == "01070102030405060708090a0b0c"
    assert PRIORITIES == ("low", "medium", "high", "critical")
    assert ",".join(INCIDENT_TYPES) == "denial,intrusion,executable,misuse,unauthorized,probing,other"
