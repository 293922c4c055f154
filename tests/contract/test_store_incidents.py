"""Readers see one snapshot, by employee, then by time; a span holds one employee and nobody else."""

import json
from collections.abc import Sequence

import pytest

from shared.domain.journal import Attributed, Decision
from shared.domain.retention import Retention
from shared.store.entries import commit_entry
from shared.store.incidents import Span, StoredIncident, all_from, of_employee, read_incidents
from shared.store.keys import after_employee, employee_of, incident_key
from shared.store.projection import project_committed
from shared.store.table import Table
from tests.contract.model import attributed, make_entries, rejected, unattributed

FOREVER = Retention(0)
EMPLOYEES = ("0", "1", "2", "7", "10", "11", "19", "20", "100", "1000000", "9" * 19, "1" + "0" * 19, "9" * 20)


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
) -> list[StoredIncident]:
    found: list[StoredIncident] = []
    after: str | None = None
    while True:
        page, after = read_incidents(
            table, span or Span(), after=after, snapshot=snapshot, oldest_kept=oldest_kept, limit=limit
        )
        found.extend(page)
        if after is None:
            return found


def ids(found: Sequence[StoredIncident]) -> list[int]:
    return [int(json.loads(each.json)["id"], 16) for each in found]


def test_an_incident_is_read_as_it_was_laid_out(store: Table) -> None:
    """Whose it is, its priority, and the JSON with the upstream's exact digits."""
    lay_out(store, [attributed(3, "4506", "1500020421.9333")])
    (found,) = walk(store)
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


def test_all_from_a_key_begins_there(store: Table) -> None:
    """Both from the key of an incident (included) and from just after an employee, up to the very last."""
    decisions = {each: attributed(number, each) for number, each in enumerate(EMPLOYEES)}
    lay_out(store, list(decisions.values()))
    for number, (employee_id, decision) in enumerate(decisions.items()):
        _, key = incident_key(employee_id, decision.incident.timestamp, decision.incident.id)
        assert employee_of(key) == employee_id
        assert [each.employee_id for each in walk(store, all_from(key))] == list(EMPLOYEES[number:])
        rest = walk(store, all_from(after_employee(employee_id)))
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


def by_employee_and_time(decision: Attributed) -> tuple[int, float, str]:
    return int(decision.employee_id), float(decision.incident.timestamp), decision.incident.id


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
