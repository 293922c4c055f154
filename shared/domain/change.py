"""One line of the changes feed: an incident as the journal took it in."""

from collections.abc import Mapping
from typing import NamedTuple

from shared.domain.exact_json import JsonNumber, JsonValue
from shared.domain.incident import Incident


class Change(NamedTuple):
    """An attributed incident, the sequence of the entry that says so, and when that was committed.

    ``ingested_at`` is RFC 3339.
    """

    incident: Incident
    employee_id: str
    sequence: int
    ingested_at: str

    def flat(self) -> Mapping[str, JsonValue]:
        """The incident as readers of the feed get it: one flat object, every upstream field kept."""
        return {
            "id": self.incident.id,
            "employee_id": self.employee_id,
            "type": self.incident.type,
            "priority": self.incident.priority,
            **self.incident.fields,
            "timestamp": JsonNumber(self.incident.timestamp),
            "sequence": JsonNumber(str(self.sequence)),
            "ingested_at": self.ingested_at,
        }
