"""What the journal holds about one employee who is to be forgotten."""

import re
from collections.abc import Sequence

from shared.domain.exact_json import JsonNumber, MalformedJsonError, parse
from shared.domain.incident import SUBJECT_FIELDS, canonical_employee_id
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

    The text may be no JSON, or cut off after 4,096 characters: then it is looked at as text.
    """
    field = SUBJECT_FIELDS[rejected.type]
    try:
        record = parse(rejected.record)
    except MalformedJsonError:
        return bool(re.search(rf'"{field}":"?0*{employee_id}(?![0-9])', rejected.record))
    value = record.get(field) if isinstance(record, dict) else None
    text = value.text if isinstance(value, JsonNumber) else value
    return isinstance(text, str) and canonical_employee_id(text) == employee_id
