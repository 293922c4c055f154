"""What people are told of: new incidents at or above a priority, each once, and no more than needed."""

import json
from typing import Any

import pytest

from functions.poller.notification import MAX_INCIDENTS, Notable, find_notable, make_message
from shared.domain.exact_json import parse
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES, SUBJECT_FIELDS, Incident, normalise
from shared.domain.journal import Attributed, Decision, Entry, Rejected, Totals, Unattributed

NOW = 1_795_413_600.0


def incident(kind: str, subject: str, priority: str = "critical", **more: Any) -> Incident:
    fields = json.dumps({SUBJECT_FIELDS[kind]: subject, "priority": priority, **more})
    return normalise(kind, parse(f'{fields[:-1]},"timestamp":1795413512.0263000}}'), now=NOW)


def entry(*decisions: Decision, sequence: int = 42) -> Entry:
    return Entry(sequence, "poll", "2026-11-23T06:00:00Z", decisions, Totals())


def test_new_incidents_of_the_priorities_are_told_of() -> None:
    """Attributed and unattributed ones, each at its place in the entry; a rejected record is none, and one
    that was told of when it came in is not new when its employee becomes known.
    """
    first, second, third = incident("misuse", "7"), incident("probing", "10.0.0.1"), incident("misuse", "8")
    found = find_notable(
        entry(
            Rejected("r", "misuse", "not_an_object", "…", "null"),
            Attributed(first, "7"),
            Attributed(incident("misuse", "7", "high"), "7"),
            Unattributed(second),
            Attributed(third, "9", was_unattributed=True),
        ),
        ("critical",),
    )
    assert list(found) == [Notable(first, "7", 42, 1), Notable(second, None, 42, 3)]


@pytest.mark.parametrize("number", range(5))
def test_only_the_priorities_asked_for(number: int) -> None:
    """Whatever they are; with none, nothing."""
    wanted = PRIORITIES[number:]
    found = find_notable(
        entry(*(Attributed(incident("misuse", "7", each), "7") for each in PRIORITIES)), wanted
    )
    assert [each.incident.priority for each in found] == list(wanted)


def test_a_message_tells_no_more_than_needed() -> None:
    """Who, what, when and how bad; nothing else of the record. The address only of an unknown employee."""
    secret = {"source_ip": "203.0.113.7", "note": "a name", "deep": {"x": 1}}
    known = Notable(incident("intrusion", "10.0.0.1", "high", **secret), "7", 42, 0)
    unknown = Notable(incident("intrusion", "10.0.0.1", "critical", **secret), None, 43, 1)
    message = make_message([known, unknown])
    assert json.loads(message.body, parse_float=str) == {
        "count": 2,
        "incidents": [
            {
                "id": known.incident.id,
                "employee_id": "7",
                "type": "intrusion",
                "priority": "high",
                "timestamp": "1795413512.0263000",
                "sequence": 42,
            },
            {
                "id": unknown.incident.id,
                "employee_id": None,
                "type": "intrusion",
                "priority": "critical",
                "timestamp": "1795413512.0263000",
                "sequence": 43,
                "ip": "10.0.0.1",
            },
        ],
    }
    assert (message.subject, message.highest_priority) == (
        "New security incidents: 1 critical, 1 high",
        "critical",
    )


@pytest.mark.parametrize("kind", INCIDENT_TYPES)
def test_the_largest_message_is_one_that_sns_takes(kind: str) -> None:
    """As many incidents as a message has, with the longest ids and addresses there are: below 256 KB, and a
    subject of at most 100 printable ASCII characters.
    """
    subject = "9" * 20
    if kind in ("intrusion", "executable", "probing"):
        subject = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    each = incident(kind, subject)
    employee_id = each.employee_id if each.ip is None else None
    notables = [
        Notable(incident(kind, subject, PRIORITIES[number % 4]), employee_id, 10**19, 999)
        for number in range(MAX_INCIDENTS)
    ]
    message = make_message(notables)
    assert len(message.body.encode()) < 262_144 / 2
    assert len(message.subject) <= 100
    assert message.subject.isascii()
    assert message.subject.isprintable()
