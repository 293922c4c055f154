"""Telling people of new incidents that can't wait: what a message says."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from shared.domain.exact_json import JsonNumber, JsonValue, render
from shared.domain.incident import PRIORITIES, Incident
from shared.domain.journal import Attributed, Entry, Unattributed

# At some 250 bytes each well below the 256 KB that a message may have.
MAX_INCIDENTS = 250


class Notable(NamedTuple):
    """An incident that somebody is to be told of, and its place in the journal.

    ``employee_id`` is None while nobody knows it.
    """

    incident: Incident
    employee_id: str | None
    sequence: int
    position: int


class Message(NamedTuple):
    """What is published: a subject line, a JSON body, and the highest priority in it, to filter by."""

    subject: str
    body: str
    highest_priority: str


def find_notable(entry: Entry, priorities: Sequence[str]) -> Iterator[Notable]:
    """The incidents of an entry that are new and have one of the priorities.

    One whose employee is unknown is told of at once: it may stay unknown for long, and an attack does not
    wait. When its employee becomes known it is not new.
    """
    for position, decision in enumerate(entry.decisions):
        match decision:
            case Attributed(incident, employee_id, was_unattributed=False):
                notable = Notable(incident, employee_id, entry.sequence, position)
            case Unattributed(incident):
                notable = Notable(incident, None, entry.sequence, position)
            case _:
                continue
        if incident.priority in priorities:
            yield notable


def make_message(notables: Sequence[Notable]) -> Message:
    """One message for all of them, in their order; no more of each than it takes to look it up."""
    counts = Counter(each.incident.priority for each in notables)
    told = [priority for priority in reversed(PRIORITIES) if counts[priority]]
    return Message(
        subject=f"New security incidents: {', '.join(f'{counts[each]} {each}' for each in told)}",
        body=render(
            {"count": JsonNumber(str(len(notables))), "incidents": [_tell(each) for each in notables]}
        ),
        highest_priority=told[0],
    )


def _tell(notable: Notable) -> dict[str, JsonValue]:
    incident = notable.incident
    told: dict[str, JsonValue] = {
        "id": incident.id,
        "employee_id": notable.employee_id,
        "type": incident.type,
        "priority": incident.priority,
        "timestamp": JsonNumber(incident.timestamp),
        "sequence": JsonNumber(str(notable.sequence)),
    }
    # Without an employee the address is all there is to look for.
    if notable.employee_id is None:
        told["ip"] = incident.ip
    return told
