"""Which records are about an employee."""

import pytest

from shared.domain.erasure import TraceCollector, is_about
from shared.domain.journal import Erased, Rejected, Traces
from tests.contract.model import attributed, attributed_late, make_entries, rejected, unattributed


def bad(record: str, incident_type: str = "misuse") -> Rejected:
    return Rejected("0" * 32, incident_type, "unknown_priority", "priority is none of …", record)


@pytest.mark.parametrize(
    ("record", "incident_type"),
    [
        ('{"employee_id":42}', "misuse"),
        ('{"employee_id":"42"}', "unauthorized"),
        ('{"employee_id":"0042","priority":null}', "misuse"),
        ('{"reported_by":42}', "denial"),
        ('{"identifier":"42"}', "other"),
        # Cut off, or never JSON.
        ('{"employee_id":42,"note":"a long te', "misuse"),
        ('{"employee_id":"042","note":"a long te', "misuse"),
        ('{"note":NaN,"employee_id":42}', "misuse"),
        ('too deep: {"employee_id":42}', "misuse"),
        ('{"employee_id":42,"employee_id":43}x', "misuse"),
        ('{"employee_id":42,"employee_id":43}', "misuse"),
        ('{"employee_id":43,"employee_id":"42"}', "misuse"),
        ('{"employee_id":42.0}', "misuse"),
        ('{"employee_id":4.2e1}', "misuse"),
        ('{"employee_id":" 042 "}', "misuse"),
    ],
)
def test_a_rejected_record_that_names_the_employee_is_theirs(record: str, incident_type: str) -> None:
    """By the field that names the employee, as number or text, whole or cut off."""
    assert is_about(bad(record, incident_type), "42")


@pytest.mark.parametrize(
    ("record", "incident_type"),
    [
        ('{"employee_id":420}', "misuse"),
        ('{"employee_id":142}', "misuse"),
        ('{"employee_id":"42x"}', "misuse"),
        ('{"employee_id":4.2}', "misuse"),
        ('{"employee_id":[42]}', "misuse"),
        ('{"reported_by":42}', "misuse"),
        ('{"ip":"42"}', "denial"),
        ("42", "misuse"),
        ("null", "misuse"),
        ('{"employee_id":420,"note":"a long te', "misuse"),
        ('{"note":"42', "misuse"),
        # More digits may have been cut off.
        ('{"note":"a long text","employee_id":42', "misuse"),
        ('{"employee_id":NaN}', "misuse"),
        ('{"employee_id":"Infinity"}', "misuse"),
        ('{"employee_id":"EMP42"}', "misuse"),
        ("", "misuse"),
    ],
)
def test_a_rejected_record_of_others_is_left_alone(record: str, incident_type: str) -> None:
    """Another number, another field, no number at all, no record."""
    assert not is_about(bad(record, incident_type), "42")


def test_a_record_that_waited_is_found_in_both_its_places() -> None:
    """Only a later entry says whose it is; one that went to another employee is not found."""
    collector = TraceCollector("7")
    for entry in make_entries(
        (unattributed(1), unattributed(2), attributed(3, "7")),
        (rejected(4, "7"), attributed_late(1, "7"), attributed_late(2, "8")),
    ):
        collector.look_at(entry)
    moment = attributed(3).incident.timestamp
    assert collector.found() == [
        Erased(f"{3:032x}", Traces("7", moment, ((1, 2),))),
        Erased(f"{4:032x}", Traces("7", "", ((2, 0),))),
        Erased(f"{1:032x}", Traces("7", moment, ((1, 0), (2, 1)))),
    ]


def test_what_was_erased_since_is_not_found() -> None:
    """An entry that erases comes after those that it erases from."""
    collector = TraceCollector("7")
    for entry in make_entries(
        (attributed(1, "7"), attributed(2, "7")), (Erased(f"{1:032x}"), rejected(3, "7"), Erased(f"{9:032x}"))
    ):
        collector.look_at(entry)
    assert [int(each.id, 16) for each in collector.found()] == [2, 3]


def test_what_is_found_in_the_table_besides_counts_once() -> None:
    """The journal's places count, where an entry knows the record."""
    collector = TraceCollector("7")
    (entry,) = make_entries((attributed(3, "7"), rejected(4, "7")))
    collector.look_at(entry)
    before = list(collector.found())
    collector.add_stored_incident(f"{3:032x}", "3999990000.1234567")
    collector.add_stored_rejected(rejected(4, "7"))
    collector.add_stored_rejected(rejected(5, "8"))
    assert collector.found() == before
    collector.add_stored_incident(f"{6:032x}", "3999990000.5000000")
    collector.add_stored_rejected(rejected(7, "7"))
    assert collector.found() == [
        *before,
        Erased(f"{6:032x}", Traces("7", "3999990000.5000000")),
        Erased(f"{7:032x}", Traces("7")),
    ]
