"""Readers see one snapshot, by employee, then by time; a span holds one employee and nobody else; a filter
lets through what it says, to the last digit.
"""

import itertools
import json
import random
from collections import Counter
from collections.abc import Sequence
from copy import replace
from decimal import Decimal
from typing import Any

import pytest

from shared.domain.filters import NO_FILTERS, Filters
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES
from shared.domain.journal import Attributed, Decision
from shared.domain.retention import Retention
from shared.store.entries import commit_entry
from shared.store.incidents import (
    Span,
    StoredIncident,
    count_incidents,
    of_employee,
    read_incidents,
)
from shared.store.keys import after_employee, employee_of, incident_key
from shared.store.projection import project_committed
from shared.store.table import Table
from tests.contract.model import attributed, make_entries, rejected, unattributed

FOREVER = Retention(0)
EMPLOYEES = ("0", "1", "2", "7", "10", "11", "19", "20", "100", "1000000", "9" * 19, "1" + "0" * 19, "9" * 20)


def count_all(table: Table, span: Span, **conditions: Any) -> Counter[str]:
    """All requests of a count, added up."""
    counts: Counter[str] = Counter()
    after: str | None = None
    while True:
        counted, after = count_incidents(table, span, after=after, **conditions)
        counts += counted
        if after is None:
            return counts


def lay_out(table: Table, *portions: Sequence[Decision]) -> None:
    for entry in make_entries(*portions):
        commit_entry(table, entry, FOREVER)
    project_committed(table, FOREVER)


def walk(
    table: Table,
    span: Span | None = None,
    *,
    snapshot: int = 100,
    oldest_kept: float | None = None,
    limit: int | None = None,
    filters: Filters = NO_FILTERS,
) -> list[StoredIncident]:
    found: list[StoredIncident] = []
    after: str | None = None
    while True:
        page, after = read_incidents(
            table,
            span or Span(),
            after=after,
            snapshot=snapshot,
            oldest_kept=oldest_kept,
            limit=limit,
            filters=filters,
        )
        found.extend(page)
        if after is None:
            return found


def ids(found: Sequence[StoredIncident]) -> list[int]:
    return [int(json.loads(each.json)["id"], 16) for each in found]


def test_an_incident_is_read_as_it_was_laid_out(store: Table) -> None:
    """Where it stands, whose it is, its priority, and the JSON with the upstream's exact digits."""
    lay_out(store, [attributed(3, "4506", "1500020421.9333")])
    (found,) = walk(store)
    assert found.sort_key == f"{'4506':0>20}#1500020421.9333000#{3:032x}"
    assert (found.employee_id, found.priority) == ("4506", "critical")
    assert found.json.startswith('{"id":"00000000000000000000000000000003","employee_id":"4506",')
    assert found.json.endswith(',"timestamp":1500020421.9333}')


def test_only_incidents_that_have_an_employee_are_read(store: Table) -> None:
    """Unattributed and rejected records, the state and the journal are not among the incidents."""
    lay_out(store, [unattributed(1), rejected(2), attributed(3)])
    assert ids(walk(store)) == [3]


def test_employees_come_in_the_order_of_their_numbers(store: Table) -> None:
    """7 before 10 before 100, up to twenty digits."""
    lay_out(store, [attributed(number, each) for number, each in enumerate(reversed(EMPLOYEES))])
    assert [each.employee_id for each in walk(store)] == list(EMPLOYEES)


def test_an_employees_incidents_come_by_time_then_by_id(store: Table) -> None:
    """Timestamps in the order of time, however many digits they have; equal ones by id."""
    in_order = ["0", "1", "1.5", "9.9999999", "10", "999999999.9", "1000000000", "1000000000.0000001"]
    in_order += ["1500020421.9", "1500020421.93", "1500020421.9300001", "9999999999.9999999"]
    decisions = [attributed(50 + number, "7", each) for number, each in enumerate(in_order)]
    # The same moment, with one digit more that says nothing: by id.
    decisions += [attributed(number, "7", f"1500020421.9{'0' * (number % 3)}") for number in (9, 4, 3, 8)]
    lay_out(store, decisions[::-1])
    expected = [*range(50, 58), 3, 4, 8, 9, *range(58, 62)]
    assert ids(walk(store)) == expected


@pytest.mark.parametrize("limit", [1, 2, 3, None])
def test_the_span_of_an_employee_never_touches_its_neighbours(store: Table, limit: int | None) -> None:
    """1, 10, 11, 19, 2, 20…: each gets its own incidents, all of them, whatever the neighbours are."""
    of = {
        each: [attributed(100 * number + n, each, f"{n}.5") for n in range(2)]
        for number, each in enumerate(EMPLOYEES)
    }
    lay_out(store, [decision for decisions in of.values() for decision in decisions])
    for employee_id, decisions in of.items():
        found = walk(store, of_employee(employee_id), limit=limit)
        assert [each.employee_id for each in found] == [employee_id] * 2
        assert ids(found) == [int(decision.incident.id, 16) for decision in decisions]
    for nobody in ("3", "12", "99", "9" * 18):
        assert walk(store, of_employee(nobody), limit=limit) == []


def test_a_span_from_a_key_begins_there(store: Table) -> None:
    """Both from the key of an incident (included) and from just after an employee, up to the very last."""
    decisions = {each: attributed(number, each) for number, each in enumerate(EMPLOYEES)}
    lay_out(store, list(decisions.values()))
    for number, (employee_id, decision) in enumerate(decisions.items()):
        _, key = incident_key(employee_id, decision.incident.timestamp, decision.incident.id)
        assert employee_of(key) == employee_id
        assert [each.employee_id for each in walk(store, Span(key))] == list(EMPLOYEES[number:])
        rest = walk(store, Span(after_employee(employee_id)))
        assert [each.employee_id for each in rest] == list(EMPLOYEES[number + 1 :])


@pytest.mark.parametrize("limit", [1, 3, None])
def test_a_snapshot_shows_nothing_later(store: Table, limit: int | None) -> None:
    """A walk at a sequence sees what the entries up to it laid out, also after later ones came in."""
    portions = [
        [attributed(10 * sequence + number, str(number), f"{1000 - sequence}") for number in range(3)]
        for sequence in range(1, 5)
    ]
    lay_out(store, *portions)
    for snapshot in range(6):
        seen = [decision for portion in portions[:snapshot] for decision in portion]
        expected = sorted(seen, key=by_employee_and_time)
        assert ids(walk(store, snapshot=snapshot, limit=limit)) == [
            int(decision.incident.id, 16) for decision in expected
        ]


def by_employee_and_time(decision: Attributed) -> tuple[int, Decimal, str]:
    return int(decision.employee_id), Decimal(decision.incident.timestamp), decision.incident.id


def test_a_page_looks_at_no_more_than_its_limit(store: Table) -> None:
    """A page may hold fewer than it looked at (later ones are filtered out): it says where to go on."""
    lay_out(
        store,
        [attributed(number, "7", str(number)) for number in (1, 4)],
        [attributed(number, "7", str(number)) for number in (0, 2, 3)],
    )
    page, after = read_incidents(store, Span(), after=None, snapshot=1, oldest_kept=None, limit=3)
    assert ids(page) == [1]
    assert after == incident_key("7", "2", f"{2:032x}")[1]
    page, _ = read_incidents(store, Span(), after=after, snapshot=1, oldest_kept=None, limit=2)
    assert ids(page) == [4]


@pytest.mark.parametrize(
    ("oldest_kept", "expected"),
    [
        (None, [1, 2, 3, 4]),
        (0.0, [1, 2, 3, 4]),
        (1699990000.0, [2, 3, 4]),
        (1699990000.5, [3, 4]),
        (1699990001.0, [4]),
        (1699990001.5, []),
    ],
)
def test_what_is_past_its_time_is_not_shown(
    store: Table, oldest_kept: float | None, expected: list[int]
) -> None:
    """From the earliest moment that is kept, that one included; compared as numbers, not as text."""
    timestamps = ("999999999.9", "1699990000", "1699990000.5", "1699990001.0")
    lay_out(store, [attributed(number, "7", each) for number, each in enumerate(timestamps, start=1)])
    assert ids(walk(store, oldest_kept=oldest_kept)) == expected
    assert ids(walk(store, of_employee("7"), oldest_kept=oldest_kept, limit=1)) == expected


def test_a_retention_longer_than_time_shows_all(store: Table) -> None:
    """An earliest moment before 1970 is a moment as well."""
    lay_out(store, [attributed(1, "7", "0"), attributed(2, "7", "5.5")])
    oldest = Retention(100_000).oldest_kept(1_700_000_000.0)
    assert oldest is not None
    assert oldest < 0
    assert ids(walk(store, oldest_kept=oldest)) == [1, 2]


def test_a_sort_key_leads_back_to_its_incident(store: Table) -> None:
    """A walk that goes on from the key of any incident begins with that one: cursors are made of them."""
    lay_out(store, [attributed(number, each) for number, each in enumerate(EMPLOYEES)])
    everything = walk(store)
    assert len(everything) == len(EMPLOYEES)
    for number, each in enumerate(everything):
        assert walk(store, Span(each.sort_key)) == everything[number:]


# ---------------------------------------------------------------- filters

TIMESTAMPS = ("999999999.9", "1500000000", "1500000000.0000001", "1500000000.1", "1500000001", "2000000000.5")


def make_kinds() -> list[Attributed]:
    """An incident of each type, priority and timestamp: 168, of three employees, in no order."""
    kinds = itertools.product(INCIDENT_TYPES, PRIORITIES, TIMESTAMPS)
    decisions = [
        Attributed(
            replace(
                attributed(number, employee_id, timestamp).incident,
                type=incident_type,
                priority=priority,
            ),
            employee_id,
        )
        for number, (incident_type, priority, timestamp) in enumerate(kinds)
        for employee_id in [("1", "10", "2")[number % 3]]
    ]
    random.Random(3).shuffle(decisions)  # noqa: S311 - repeatable, not secret
    return decisions


def lets_through(filters: Filters, decision: Attributed) -> bool:
    """The rule said a second time, with numbers that have all their digits."""
    incident = decision.incident
    moment = Decimal(incident.timestamp)
    return (
        (not filters.priorities or incident.priority in filters.priorities)
        and (not filters.types or incident.type in filters.types)
        and (filters.since is None or Decimal(filters.since) <= moment)
        and (filters.until is None or moment < Decimal(filters.until))
    )


BOUNDS = ((None, None), ("1500000000.0000001", None), (None, "1500000001"), ("1500000000", "1500000000.1"))
SOME_FILTERS = [
    Filters(tuple(priorities), tuple(types), since, until)
    for priorities in ((), ("low",), ("medium", "critical"), PRIORITIES)
    for types in ((), ("denial",), ("intrusion", "probing", "other"), INCIDENT_TYPES)
    for since, until in BOUNDS
]


def test_every_combination_of_filters(store: Table) -> None:
    """Priority, type, since and until, each alone and all together: just what matches, in order; the counts
    are those of what is read.
    """
    kinds = make_kinds()
    lay_out(store, kinds)
    sizes = set()
    for filters in SOME_FILTERS:
        matching = sorted((each for each in kinds if lets_through(filters, each)), key=by_employee_and_time)
        found = walk(store, filters=filters)
        assert ids(found) == [int(each.incident.id, 16) for each in matching], filters
        counts = count_all(store, Span(), snapshot=100, oldest_kept=None, filters=filters)
        assert counts == Counter(each.incident.priority for each in matching)
        assert counts == Counter(each.priority for each in found)
        sizes.add(len(found))
    assert len(SOME_FILTERS) == 64
    assert len(kinds) in sizes
    assert len(sizes) > 15, "the filters differ in what they let through"


def test_each_priority_and_each_type_alone(store: Table) -> None:
    """No value that can be asked for is a word that the store takes for something else."""
    lay_out(store, make_kinds())
    for priority in PRIORITIES:
        assert {each.priority for each in walk(store, filters=Filters((priority,)))} == {priority}
        assert len(walk(store, filters=Filters((priority,)))) == 42
    for incident_type in INCIDENT_TYPES:
        found = walk(store, filters=Filters(types=(incident_type,)))
        assert {json.loads(each.json)["type"] for each in found} == {incident_type}
        assert len(found) == 24


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("1500000000.1234567", None, [2, 3, 4, 5]),
        ("1500000000.1234566", None, [1, 2, 3, 4, 5]),
        ("1500000000.1234568", None, [3, 4, 5]),
        (None, "1500000000.1234567", [0, 1]),
        (None, "1500000000.1234568", [0, 1, 2]),
        ("1500000000.1234566", "1500000000.1234567", [1]),
        ("1500000000.1234567", "1500000000.1234568", [2]),
        ("1500000000.123457", "1500000000.5", []),
        ("1500000000.5", "1500000000.5000001", [4]),
        ("1500000000.5000001", None, [5]),
        ("0", None, [0, 1, 2, 3, 4, 5]),
        (None, "0", []),
        (None, "0.0000001", []),
        ("9999999999.9999999", None, [5]),
        (None, "9999999999.9999999", [0, 1, 2, 3, 4]),
    ],
)
def test_bounds_are_exact_to_seven_decimals(
    store: Table, since: str | None, until: str | None, expected: list[int]
) -> None:
    """Since is included, until is not; a tenth of a microsecond tells moments apart, which a float can't;
    numbers are compared, not texts (999999999.9 is before 1500000000).
    """
    timestamps = (
        "999999999.9",
        "1500000000.1234566",
        "1500000000.1234567",
        "1500000000.1234568",
        "1500000000.5000000",
        "9999999999.9999999",
    )
    assert len({float(each) for each in timestamps[1:4]}) < 3, "else a float would do"
    lay_out(store, [attributed(number, "7", each) for number, each in enumerate(timestamps)])
    filters = Filters(since=since, until=until)
    for limit in (1, None):
        assert ids(walk(store, filters=filters, limit=limit)) == expected
    counts = count_all(store, of_employee("7"), snapshot=100, oldest_kept=None, filters=filters)
    assert counts.total() == len(expected)


def test_a_filter_never_shows_what_is_hidden_otherwise(store: Table) -> None:
    """Filters come on top of the snapshot, the retention and the span: they widen none of them."""
    kinds = make_kinds()
    lay_out(store, kinds[:60], kinds[60:120], kinds[120:])
    for filters in SOME_FILTERS[::9]:
        for snapshot, oldest_kept, employee_id in itertools.product(
            (1, 2), (None, 1500000000.0), ("1", None)
        ):
            span = of_employee(employee_id) if employee_id else Span()
            matching = [
                each
                for each in kinds[: 60 * snapshot]
                if lets_through(filters, each)
                and (oldest_kept is None or Decimal(each.incident.timestamp) >= Decimal(oldest_kept))
                and employee_id in (None, each.employee_id)
            ]
            found = walk(store, span, snapshot=snapshot, oldest_kept=oldest_kept, filters=filters)
            assert ids(found) == [
                int(each.incident.id, 16) for each in sorted(matching, key=by_employee_and_time)
            ]
            counts = count_all(store, span, snapshot=snapshot, oldest_kept=oldest_kept, filters=filters)
            assert counts == Counter(each.incident.priority for each in matching)


@pytest.mark.parametrize("limit", [1, 2, 7, None])
def test_a_filter_that_little_passes_loses_nothing(store: Table, limit: int | None) -> None:
    """A request may find nothing in all that it looks at: the walk goes on to the few that match."""
    kinds = make_kinds()
    lay_out(store, kinds)
    filters = Filters(("critical",), ("misuse",), "1500000001", None)
    expected = sorted((each for each in kinds if lets_through(filters, each)), key=by_employee_and_time)
    assert len(expected) == 2
    assert ids(walk(store, filters=filters, limit=limit)) == [int(each.incident.id, 16) for each in expected]


def test_counting_a_span(store: Table) -> None:
    """One employee's, by priority, and nobody else's; priorities that there are none of count nothing."""
    lay_out(
        store,
        [attributed(number, "1") for number in (0, 4, 8, 3)],
        [attributed(number, "10") for number in (1, 2)] + [attributed(12, "1")],
    )

    def count(span: Span, snapshot: int = 100) -> Counter[str]:
        return count_all(store, span, snapshot=snapshot, oldest_kept=None, filters=NO_FILTERS)

    assert count(of_employee("1")) == {"low": 4, "critical": 1}
    assert count(of_employee("1"), snapshot=1) == {"low": 3, "critical": 1}
    assert count(of_employee("10")) == {"medium": 1, "high": 1}
    assert count(of_employee("100")) == {}
    assert count(Span()) == {"low": 4, "medium": 1, "high": 1, "critical": 1}
    assert count(of_employee("1"))["medium"] == 0


@pytest.mark.ministack_only(reason="moto does not end a request's answer where DynamoDB does, at 1 MB")
def test_counting_goes_over_several_requests(store: Table) -> None:
    """An employee with more than a request can read (1 MB) is counted to the end."""
    decisions = [attributed(number, "7", f"{number}") for number in range(1, 120)]
    for each in decisions:
        each.incident.fields["text"] = "x" * 12_000  # type: ignore[index]  # a Mapping to everybody else
    lay_out(store, decisions)
    _, after = read_incidents(store, Span(), after=None, snapshot=1, oldest_kept=None, limit=None)
    assert after is not None, "else one request was enough"
    counts = count_all(store, of_employee("7"), snapshot=1, oldest_kept=None, filters=NO_FILTERS)
    assert counts == Counter(each.incident.priority for each in decisions)
