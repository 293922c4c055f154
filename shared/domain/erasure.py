"""What the journal holds about one employee who is to be forgotten."""

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from shared.domain.exact_json import JsonNumber, JsonValue, MalformedJsonError, members, parse
from shared.domain.incident import SUBJECT_FIELDS
from shared.domain.journal import Attributed, Entry, Erased, Rejected, Traces, Unattributed


class TraceCollector:
    """Goes through entries, in their order, and collects all records about one employee."""

    def __init__(self, employee_id: str) -> None:
        self._employee_id = employee_id
        # Of whom an incident is that waited shows in a later entry.
        self._waiting: dict[str, tuple[int, int]] = {}
        self._found: dict[str, Traces] = {}

    def look_at(self, entry: Entry) -> None:
        """Take in the next entry."""
        for position, decision in enumerate(entry.decisions):
            here = (entry.sequence, position)
            match decision:
                case Unattributed(incident):
                    self._waiting[incident.id] = here
                case Attributed(incident, employee_id):
                    waited = self._waiting.pop(incident.id, None)
                    if employee_id == self._employee_id:
                        self._add(incident.id, incident.timestamp, *((waited,) if waited else ()), here)
                case Rejected():
                    self._add_rejected(decision, here)
                case Erased(record_id):
                    self._found.pop(record_id, None)

    def add_stored_incident(self, incident_id: str, timestamp: str) -> None:
        """Take in one of the employee's incidents as the table has it, which no entry may know any more."""
        if incident_id not in self._found:
            self._add(incident_id, timestamp)

    def add_stored_rejected(self, rejected: Rejected) -> None:
        """Take in a rejected record as the table has it, if it is about the employee."""
        if rejected.id not in self._found:
            self._add_rejected(rejected)

    def found(self) -> Sequence[Erased]:
        """What there is to be erased, each record once."""
        return [Erased(record_id, traces) for record_id, traces in self._found.items()]

    def _add_rejected(self, rejected: Rejected, *places: tuple[int, int]) -> None:
        if is_about(rejected, self._employee_id):
            self._add(rejected.id, "", *places)

    def _add(self, record_id: str, timestamp: str, *places: tuple[int, int]) -> None:
        self._found[record_id] = Traces(self._employee_id, timestamp, places)


def is_about(rejected: Rejected, employee_id: str) -> bool:
    """Whether the field that names the employee names this one, in a record that is wrong in some way.

    The id may be written in another way (`42.0`, `" 042"`), the field may be there several times. The text
    may be no JSON, or cut off after 4,096 characters: then it is looked at as text.
    """
    field = SUBJECT_FIELDS[rejected.type]
    try:
        record = parse(rejected.record, mark_flaws=True)
    except MalformedJsonError:
        # Something has to follow: of digits at the very end more may be cut off.
        return bool(re.search(rf'"{field}":"?\s*0*{employee_id}[^0-9]', rejected.record))
    values = (value for name, value in members(record) if name == field) if isinstance(record, dict) else ()
    return any(_is_number(value, employee_id) for value in values)


def _is_number(value: JsonValue, employee_id: str) -> bool:
    text = value.text if isinstance(value, JsonNumber) else value
    try:
        return isinstance(text, str) and Decimal(text.strip()) == Decimal(employee_id)
    except InvalidOperation:
        return False
