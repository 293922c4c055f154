"""A walk shows the snapshot that it began with, whatever polls do between its pages."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

from functions.api import walker as walk_module
from shared.domain import journal
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES, SUBJECT_FIELDS
from shared.domain.retention import Retention
from tests.fakes import Clock, MemoryDynamoDB

DAY = 86_400
# In the future: ministack deletes what has expired, every minute, as time to live says.
BEGINNING = 4_000_000_000 + 1_234
EMPLOYEES = ("0", "7", "10", "11", "100", "4506", "1" + "0" * 19, "9" * 20)
IPS = tuple(f"10.0.0.{number}" for number in range(5))
# Seconds before the beginning; those of one day are at the edge of the shortest retention.
AGES = (0, 0.5, 0.25, 100, 100.0000001, 3_600, DAY - 3_600, DAY - 1_800, DAY + 1_234, DAY + 5_000, 3 * DAY)
PAGE_BYTES = 700
EMPLOYEE_BYTES = 1_500

RECORDS = st.lists(
    st.tuples(
        st.sampled_from(INCIDENT_TYPES),
        st.sampled_from(EMPLOYEES),
        st.sampled_from(IPS),
        st.sampled_from(PRIORITIES),
        st.sampled_from(AGES),
        st.booleans(),
    ),
    min_size=2,
    max_size=14,
)
IDENTITIES = st.dictionaries(st.sampled_from(IPS), st.sampled_from(EMPLOYEES), max_size=4)
BROKEN = st.frozensets(st.sampled_from([*INCIDENT_TYPES, "identities"]), max_size=2)
LIMITS = st.integers(1, 4)
MOMENTS = st.none() | st.sampled_from([f"{Decimal(BEGINNING) - Decimal(str(age)):f}" for age in AGES])


@dataclass(frozen=True)
class Asked:
    """Filters as a client sends them."""

    priority: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    with_commas: bool = False

    def query(self) -> dict[str, str | list[str]]:
        lists = {"priority": self.priority, "type": self.type}
        query: dict[str, str | list[str]] = {
            name: ",".join(values) if self.with_commas else list(values)
            for name, values in lists.items()
            if values
        }
        return query | {
            name: value for name, value in (("since", self.since), ("until", self.until)) if value
        }

    def same_as(self, other: "Asked") -> bool:
        return self.meaning() == other.meaning()

    def meaning(self) -> tuple[object, ...]:
        bounds = (None if each is None else Decimal(each) for each in (self.since, self.until))
        return (frozenset(self.priority), frozenset(self.type), *bounds)

    def let_through(self, incident: dict[str, Any]) -> bool:
        moment = Decimal(incident["timestamp"])
        return (
            (not self.priority or incident["priority"] in self.priority)
            and (not self.type or incident["type"] in self.type)
            and (self.since is None or moment >= Decimal(self.since))
            and (self.until is None or moment < Decimal(self.until))
        )


def asked_for() -> st.SearchStrategy[Asked]:
    def possible(asked: Asked) -> bool:
        return not (asked.since and asked.until) or Decimal(asked.since) < Decimal(asked.until)

    some = st.builds(
        Asked,
        st.lists(st.sampled_from(PRIORITIES), max_size=3).map(tuple),
        st.lists(st.sampled_from(INCIDENT_TYPES), max_size=4).map(tuple),
        MOMENTS,
        MOMENTS,
        st.booleans(),
    )
    return st.just(Asked()) | some.filter(possible)


@dataclass
class Walked:
    """A walk under way, and what it still has to show: by employee, then by time."""

    path: str
    asked: Asked
    began_at: float
    snapshot: dict[str, Any]
    counts: dict[str, dict[str, int]]
    rest: list[tuple[str, list[dict[str, Any]]]]
    limit: int
    cursor: str | None = None
    pages: int = 0
    last: str | None = None


@dataclass
class Tally:
    """What the runs came by, so that none of it is left out unseen."""

    things: dict[str, int] = field(default_factory=dict)

    def count(self, what: str, *, when: bool = True) -> None:
        self.things[what] = self.things.get(what, 0) + when


class Walks(RuleBasedStateMachine):
    """Polls and walks, in any order. The oracle is the journal's text, filtered and sorted here."""

    walks = Bundle("walks")

    def __init__(
        self, history: Any, make_reader: Callable[[], Any], tally: Tally, *, whole_employees: bool
    ) -> None:
        super().__init__()
        self.history = history
        self.clock = history.clock
        self.make_reader = make_reader
        self.reader = make_reader()
        self.tally = tally
        self.whole_employees = whole_employees
        self.open: list[Walked] = []

    # What polls do

    @initialize(records=RECORDS, identities=IDENTITIES)
    def begin(self, records: Sequence[Any], identities: dict[str, str]) -> None:
        assert self.reader.get("/incidents").json["code"] == "no_data_yet"
        self.serve(records, identities, frozenset())
        self.history.poll()

    @rule(records=RECORDS, identities=IDENTITIES, broken=BROKEN)
    def poll(self, records: Sequence[Any], identities: dict[str, str], broken: frozenset[str]) -> None:
        self.serve(records, identities, broken)
        summary = self.history.poll()
        self.tally.count("late attribution", when=bool(summary.attributed_late))

    @rule(records=RECORDS, identities=IDENTITIES, at=st.integers(1, 25), takes_effect=st.booleans())
    def poll_and_die(
        self, records: Sequence[Any], identities: dict[str, str], at: int, takes_effect: bool
    ) -> None:
        self.serve(records, identities, frozenset())
        self.history.poll_dying(at=at, takes_effect=takes_effect)
        dump = self.history.dump()
        projected = self.history.state()["projected"]
        committed = sum(pk == "JOURNAL" for pk, _ in dump)
        laid_out = {int(item["sequence"]["N"]) for (pk, _), item in dump.items() if pk == "INCIDENTS"}
        self.tally.count("committed, not laid out", when=committed > projected)
        self.tally.count("half laid out", when=projected + 1 in laid_out)

    @rule(records=RECORDS, more=RECORDS, identities=IDENTITIES, at=st.integers(1, 15))
    def polls_overlap(
        self, records: Sequence[Any], more: Sequence[Any], identities: dict[str, str], at: int
    ) -> None:
        self.serve(records, identities, frozenset())
        self.history.polls_overlapping(at=at, between=lambda: self.serve(more, {}, frozenset()))

    @rule(minutes=st.sampled_from([1, 20, 61, 300, 1_500, 3_000]))
    def time_passes(self, minutes: int) -> None:
        self.clock.now += 60 * minutes

    @rule()
    def time_to_live_takes_its_toll(self) -> None:
        before = len(self.history.dump())
        self.history.delete_expired()
        self.tally.count("expired", when=len(self.history.dump()) < before)

    @rule()
    def another_container(self) -> None:
        self.reader = self.make_reader()

    # What clients do

    @rule(target=walks, asked=st.just(Asked()) | asked_for(), limit=LIMITS)
    def walk(self, asked: Asked, limit: int) -> Any:
        answer = self.reader.get("/incidents", limit=str(limit), **asked.query())
        return self.begun(self.expect("/incidents", asked, limit), answer)

    @rule(target=walks, employee=st.sampled_from(EMPLOYEES), asked=asked_for())
    def walk_over_one(self, employee: str, asked: Asked) -> Any:
        path = f"/employees/{employee}/incidents"
        answer = self.reader.get(path, **asked.query())
        if not self.expect(path, Asked(), 1).rest:
            self.tally.count("nobody")
            assert (answer.status, answer.json["code"]) == (404, "employee_not_found")
            return multiple()
        return self.begun(self.expect(path, asked, 100), answer)

    @rule(target=walks, walked=consumes(walks), limit=st.none() | LIMITS, again=st.booleans())
    def go_on(self, walked: Walked, limit: int | None, again: bool) -> Any:
        query = walked.asked.query() if again else {}
        if limit and walked.path == "/incidents":
            query["limit"] = str(limit)
            walked.limit = limit
        if self.expired(walked, query):
            return multiple()
        self.check(walked, self.reader.get(walked.path, cursor=walked.cursor, **query))
        return walked if walked.cursor else multiple()

    @rule(walked=walks, other=asked_for())
    def other_filters(self, walked: Walked, other: Asked) -> None:
        assume(other.query() and not other.same_as(walked.asked))
        answer = self.reader.get(walked.path, cursor=walked.cursor, **other.query())
        assert (answer.status, answer.json["code"]) == (400, "cursor_mismatch")
        self.tally.count("other filters")

    @rule(walked=walks, employee=st.sampled_from(EMPLOYEES))
    def other_route(self, walked: Walked, employee: str) -> None:
        other = {"/incidents": f"/employees/{employee}/incidents"}.get(walked.path, "/incidents")
        answer = self.reader.get(other, cursor=walked.cursor)
        assert (answer.status, answer.json["code"]) == (400, "cursor_mismatch")
        self.tally.count("other route")

    def teardown(self) -> None:
        """Each walk that may still go on comes to its end, and all that it was to show has come."""
        for walked in self.open:
            while walked.cursor and not self.expired(walked, {}):
                self.check(walked, self.reader.get(walked.path, cursor=walked.cursor))
            if not walked.cursor:
                assert walked.rest == []

    # The promise

    def serve(self, records: Sequence[Any], identities: dict[str, str], broken: frozenset[str]) -> None:
        upstream = self.history.upstream
        upstream.broken = broken
        upstream.identities |= identities
        for kind, employee, ip, priority, age, by_ip in records:
            subject = SUBJECT_FIELDS[kind]
            named = kind in ("denial", "misuse", "unauthorized") or (kind == "other" and not by_ip)
            timestamp = f"{Decimal(BEGINNING) - Decimal(str(age)):f}"
            who = employee if named else f'"{ip}"'
            text = f'{{"priority":"{priority}","{subject}":{who},"note":"ü","timestamp":{timestamp}}}'
            upstream.records.setdefault(kind, []).append(text)

    def expect(self, path: str, asked: Asked, limit: int) -> Walked:
        """What a walk that begins now has to show."""
        state = self.history.state()
        as_of = int(self.clock()) // 3600 * 3600
        days = self.history.retention.days
        by_employee: dict[str, list[dict[str, Any]]] = {}
        committed_at = None
        for incident in self.history.attributed():
            sequence, ingested_at = int(incident.pop("sequence")), incident.pop("ingested_at")
            if sequence == state["projected"]:
                committed_at = ingested_at
            past = days and Decimal(incident["timestamp"]) < as_of - days * DAY
            here = path in ("/incidents", f"/employees/{incident['employee_id']}/incidents")
            if sequence <= state["projected"] and here and not past and asked.let_through(incident):
                by_employee.setdefault(incident["employee_id"], []).append(incident)
        fresh = all(state["report"]["sources"][kind]["state"] == "fresh" for kind in INCIDENT_TYPES)
        snapshot = {"sequence": str(state["projected"]), "committed_at": committed_at, "complete": fresh}
        return Walked(
            path=path,
            asked=asked,
            began_at=self.clock(),
            snapshot=snapshot,
            counts={
                employee: {each: sum(i["priority"] == each for i in incidents) for each in PRIORITIES}
                for employee, incidents in by_employee.items()
            },
            rest=[
                (employee, sorted(by_employee[employee], key=by_time))
                for employee in sorted(by_employee, key=int)
            ],
            limit=limit,
        )

    def begun(self, walked: Walked, answer: Any) -> Any:
        note(f"a walk over {walked.path} for {walked.asked.query()}: {walked.counts}")
        self.open.append(walked)
        self.check(walked, answer)
        return walked if walked.cursor else multiple()

    def expired(self, walked: Walked, query: dict[str, Any]) -> bool:
        if int(self.clock()) - int(walked.began_at) <= DAY:
            return False
        answer = self.reader.get(walked.path, cursor=walked.cursor, **query)
        assert (answer.status, answer.json["code"]) == (410, "cursor_expired")
        self.tally.count("expired cursor")
        self.open.remove(walked)
        return True

    def check(self, walked: Walked, answer: Any) -> None:
        """The next page is just what comes next, as much as there may be on it."""
        assert answer.status == 200, answer.text
        page = json.loads(answer.text, parse_float=str, parse_int=str)
        if walked.snapshot["committed_at"] is None:
            # An entry without any attributed incident: the oracle does not know its time.
            walked.snapshot["committed_at"] = page["snapshot"]["committed_at"]
        assert page["snapshot"] == walked.snapshot
        shown = list(page["incidents"].items())
        assert len(shown) <= walked.limit
        cut = False
        for number, (employee, groups) in enumerate(shown):
            expected_employee, incidents = walked.rest[0]
            assert employee == expected_employee
            assert list(groups) == list(PRIORITIES)
            here = [incident for group in groups.values() for incident in group["incidents"]]
            assert here, "an employee without any incident"
            assert sorted(here, key=by_time) == incidents[: len(here)]
            for priority, group in groups.items():
                assert group["count"] == str(walked.counts[employee][priority])
                assert group["incidents"] == [
                    each for each in incidents[: len(here)] if each["priority"] == priority
                ]
            self.tally.count("goes on with an employee", when=walked.last == employee)
            if len(here) < len(incidents):
                assert not self.whole_employees
                assert len(shown) == 1, "others are on the page of an employee who has to be cut"
                cut = True
                walked.rest[0] = (employee, incidents[len(here) :])
            else:
                del walked.rest[0]
            assert number == len(shown) - 1 or not cut
            walked.last = employee
        assert page["has_more"] is bool(walked.rest)
        assert (page["next_cursor"] is not None) is page["has_more"]
        if page["has_more"]:
            assert shown, "an empty page with a cursor"
            assert not self.whole_employees or len(shown) == walked.limit
        size = answer.text.index(',"next_cursor":')
        assert self.whole_employees or size < (PAGE_BYTES if len(shown) > 1 else EMPLOYEE_BYTES) + 30
        walked.cursor = page["next_cursor"]
        walked.pages += 1
        self.tally.count("pages after the first", when=walked.pages > 1)
        self.tally.count(
            "filtered pages after the first", when=walked.pages > 1 and bool(walked.asked.query())
        )
        newer = self.history.state()["projected"] > int(walked.snapshot["sequence"])
        self.tally.count("pages of an earlier snapshot", when=newer)


def by_time(incident: dict[str, Any]) -> tuple[Decimal, str]:
    return Decimal(incident["timestamp"]), incident["id"]


NEEDED = {"committed, not laid out", "half laid out", "pages after the first", "pages of an earlier snapshot"}


@pytest.mark.parametrize(
    ("days", "whole_employees"),
    [(0, True), (1, True), (1, False)],
    ids=["all is kept", "a day is kept", "a day is kept, and employees are large"],
)
def test_walks_are_true_to_their_snapshot(
    monkeypatch: pytest.MonkeyPatch,
    make_history: Callable[..., Any],
    make_reader: Callable[..., Any],
    days: int,
    whole_employees: bool,
) -> None:
    """Random polls, whole, dying and overlapping, between random pages of random walks, with any filters and
    limits, over hours, on both routes: a walk shows just what its snapshot held, once, in order, counted
    right; its cursor is refused with other filters, on other routes and after a day.
    """
    monkeypatch.setattr(journal, "MAX_ENTRY_RECORDS", 3)
    if not whole_employees:
        monkeypatch.setattr(walk_module, "MAX_PAGE_BYTES", PAGE_BYTES)
        monkeypatch.setattr(walk_module, "MAX_EMPLOYEE_BYTES", EMPLOYEE_BYTES)
    tally = Tally()

    def machine() -> Walks:
        retention = Retention(days)
        # Requests that read little, so that they end anywhere.
        history = make_history(MemoryDynamoDB(page_bytes=8_000), clock=Clock(BEGINNING), retention=retention)
        return Walks(
            history,
            lambda: make_reader(history.client, clock=history.clock, retention=retention),
            tally,
            whole_employees=whole_employees,
        )

    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=25, stateful_step_count=40, deadline=None, derandomize=True),
    )
    needed = NEEDED | ({"goes on with an employee"} if not whole_employees else set())
    assert {what for what in needed if not tally.things.get(what)} == set(), tally.things


def test_walks_are_true_to_their_snapshot_on_ministack(
    monkeypatch: pytest.MonkeyPatch,
    make_history: Callable[..., Any],
    make_reader: Callable[..., Any],
    make_table: Callable[[], Any],
    dynamodb: Any,
) -> None:
    """The same over an emulator's DynamoDB; fewer, because each request takes its time."""
    monkeypatch.setattr(journal, "MAX_ENTRY_RECORDS", 3)
    tally = Tally()

    def machine() -> Walks:
        name = make_table().name
        history = make_history(dynamodb, name, clock=Clock(BEGINNING))
        return Walks(
            history,
            lambda: make_reader(dynamodb, name, clock=history.clock),
            tally,
            whole_employees=True,
        )

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=15,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert tally.things["pages after the first"]


def record(employee: str, priority: str = "low", *, age: float = 0, note: str = "") -> str:
    """A record of the type `misuse`."""
    timestamp = f"{Decimal(BEGINNING) - Decimal(str(age)):f}"
    return f'{{"employee_id":{employee},"priority":"{priority}","note":"{note}","timestamp":{timestamp}}}'


@pytest.fixture
def history(make_history: Callable[..., Any]) -> Any:
    """Four employees with an incident of high and one of low priority each, one poll ago."""
    history = make_history(clock=Clock(BEGINNING))
    history.upstream.records["misuse"] = [
        record(employee, priority) for employee in ("1", "2", "3", "20") for priority in ("low", "high")
    ]
    history.poll()
    return history


def test_a_cursor_goes_with_its_own_filters_or_alone(history: Any, make_reader: Callable[..., Any]) -> None:
    """The same filters in another order or spelling, or none; any other ones are `cursor_mismatch`."""
    reader = make_reader(history.client, clock=history.clock)
    asked = {"priority": ["high", "low"], "type": "misuse", "since": str(BEGINNING - 60)}
    first = reader.get("/incidents", limit="1", **asked)
    cursor = first.json["next_cursor"]
    in_words = datetime.fromtimestamp(BEGINNING - 60, UTC).isoformat()
    for query in (
        {},
        {"limit": "1"},
        asked,
        {"type": ["misuse", "misuse"], "priority": "low,high", "since": f"{BEGINNING - 60}.000"},
        {"type": "misuse", "priority": "low,high", "since": in_words},
    ):
        answer = reader.get("/incidents", cursor=cursor, **query)
        assert answer.status == 200, answer.text
        assert list(answer.json["incidents"]) == ["2"]
    for query in (
        {"priority": "high"},
        {"type": "misuse"},
        {**asked, "type": ["misuse", "denial"]},
        {**asked, "priority": "low"},
        {**asked, "since": f"{BEGINNING - 60}.5"},
        {**asked, "until": str(BEGINNING + 60)},
        {"since": str(BEGINNING - 60)},
    ):
        answer = reader.get("/incidents", cursor=cursor, **query)
        assert (answer.status, answer.json["code"]) == (400, "cursor_mismatch"), query
    everything = reader.get("/incidents", limit="1").json["next_cursor"]
    answer = reader.get("/incidents", cursor=everything, priority="high")
    assert (answer.status, answer.json["code"]) == (400, "cursor_mismatch")


def test_a_cursor_goes_with_its_own_route(
    monkeypatch: pytest.MonkeyPatch, history: Any, make_reader: Callable[..., Any]
) -> None:
    """Everybody's cursor, one employee's and another's are three: on any other route `cursor_mismatch`."""
    monkeypatch.setattr(walk_module, "MAX_EMPLOYEE_BYTES", 300)
    reader = make_reader(history.client, clock=history.clock)
    paths = ("/incidents", "/employees/2/incidents", "/employees/20/incidents")
    cursors = {path: reader.get(path).json["next_cursor"] for path in paths}
    assert all(cursors.values())
    for path in paths:
        for of, cursor in cursors.items():
            answer = reader.get(path, cursor=cursor)
            if path == of:
                assert answer.status == 200
            else:
                assert (answer.status, answer.json["code"]) == (400, "cursor_mismatch")
    assert reader.get("/employees/0002/incidents", cursor=cursors[paths[1]]).status == 200


def test_a_walk_may_take_a_day_and_no_longer(history: Any, make_reader: Callable[..., Any]) -> None:
    """Its cursors are good for 24 hours from its beginning, in any container; then 410 `cursor_expired`.

    A page on the way does not prolong it.
    """
    reader = make_reader(history.client, clock=history.clock)
    first = reader.get("/incidents", limit="1").json["next_cursor"]
    history.clock.now = BEGINNING + DAY
    other = make_reader(history.client, clock=history.clock)
    answer = other.get("/incidents", cursor=first)
    assert list(answer.json["incidents"]) == ["2"]
    history.clock.now += 1
    for cursor in (first, answer.json["next_cursor"]):
        answer = other.get("/incidents", cursor=cursor)
        assert (answer.status, answer.json["code"]) == (410, "cursor_expired")


def test_retention_is_judged_as_of_the_beginning(
    make_history: Callable[..., Any], make_reader: Callable[..., Any]
) -> None:
    """What a walk could show at its beginning it shows 24 hours later too, after time to live has taken what
    it takes; a new walk does not show it. The hour that has begun is the one that counts.
    """
    retention = Retention(7)
    into_the_hour = BEGINNING % 3600
    history = make_history(clock=Clock(BEGINNING), retention=retention)
    history.upstream.records["misuse"] = [
        record("1"),
        record("2", age=7 * DAY - 0.1),
        record("3", age=7 * DAY - 10),
        record("3", age=7 * DAY - 20),
    ]
    history.poll()
    history.clock.now += 3
    history.upstream.records["misuse"] = [record("3", age=7 * DAY - 3600)]
    history.poll()
    reader = make_reader(history.client, clock=history.clock, retention=retention)
    first = reader.get("/incidents", limit="1")
    assert list(first.json["incidents"]) == ["1"]
    history.clock.now += 3600 - into_the_hour - 4
    assert reader.get("/incidents").json["incidents"].keys() == {"1", "2", "3"}
    history.clock.now += 1
    assert reader.get("/incidents").json["incidents"]["3"]["low"]["count"] == 1
    history.clock.now = BEGINNING + 3 + DAY
    assert reader.get("/incidents").json["incidents"].keys() == {"1"}
    history.delete_expired()
    rest = reader.get("/incidents", cursor=first.json["next_cursor"], limit="500").json["incidents"]
    assert {employee: groups["low"]["count"] for employee, groups in rest.items()} == {"2": 1, "3": 3}
    history.clock.now += 2 * DAY
    before = len(history.dump())
    history.delete_expired()
    assert len(history.dump()) < before, "nothing ever expires here"
