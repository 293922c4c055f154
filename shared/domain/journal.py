"""What one commit decided, and how it is written: an entry of the journal (docs/data-model.md).

An entry holds everything that a poll decided about its records, so that laying it out for reading
needs nothing else. Its text is final: later versions of the code read what earlier ones wrote.
"""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import batched
from typing import NamedTuple, cast

from shared.domain.exact_json import JsonNumber, JsonValue, parse, render
from shared.domain.incident import Incident

_ATTRIBUTED = "attributed"
_ATTRIBUTED_LATE = "attributed_late"
_ERASED = "erased"
MAX_ENTRY_RECORDS = 1_000
MAX_ENTRY_BYTES = 64 * 1024


class UnknownOutcomeError(Exception):
    """A later version of the code committed what this one must not guess at: a deployment is under way."""


class Attributed(NamedTuple):
    """An incident and whose it is. ``was_unattributed``: it waited for that in an earlier entry."""

    incident: Incident
    employee_id: str
    was_unattributed: bool = False

    @property
    def record_id(self) -> str:
        """The id of the record decided on."""
        return self.incident.id


class Unattributed(NamedTuple):
    """A valid incident whose IP nobody is known to have yet."""

    incident: Incident

    @property
    def record_id(self) -> str:
        """The id of the record decided on."""
        return self.incident.id


class Rejected(NamedTuple):
    """A record that can't be an incident: why, and its JSON text (the first 4,096 characters)."""

    id: str
    type: str
    code: str
    reason: str
    record: str

    @property
    def record_id(self) -> str:
        """The id of the record decided on."""
        return self.id


class Traces(NamedTuple):
    """Where a record is found that is to be erased.

    ``timestamp`` is the incident's exact text, empty for a record that was rejected. ``places`` are the
    decisions about it in older entries: (sequence, position).
    """

    employee_id: str
    timestamp: str = ""
    places: tuple[tuple[int, int], ...] = ()


class Erased(NamedTuple):
    """A record that must be forgotten, but for its id: whoever serves it again is told that it is known.

    In the entry that erases it, ``traces`` say where it is; they go, too, once nobody can bring it back. In
    place of the decisions that knew the record it stands without.
    """

    id: str
    traces: Traces | None = None

    @property
    def record_id(self) -> str:
        """The id of the record decided on."""
        return self.id


type Decision = Attributed | Unattributed | Rejected | Erased


class Totals(NamedTuple):
    """What the whole store holds after an entry: absolute, so that a replay adds nothing twice."""

    incidents: int = 0
    unattributed: int = 0

    def after(self, decisions: Sequence[Decision]) -> "Totals":
        """The totals once ``decisions`` are in. Erasing takes away nothing that was counted."""
        incidents, unattributed = self.incidents, self.unattributed
        for decision in decisions:
            match decision:
                case Attributed(was_unattributed=waited):
                    incidents += 1
                    unattributed -= waited
                case Unattributed():
                    unattributed += 1
        return Totals(incidents, unattributed)

    def to_text(self) -> str:
        """As JSON."""
        return json.dumps(self._asdict(), separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> "Totals":
        """What :meth:`to_text` wrote, by this version of the code or an earlier one."""
        value = json.loads(text)
        return cls(incidents=value["incidents"], unattributed=value["unattributed"])


class Entry(NamedTuple):
    """One item of the journal.

    ``committed_at`` is RFC 3339. ``attributed_with`` is the digest of the identities that every record
    still unattributed after this entry was tried with; empty where that can't be said.
    """

    sequence: int
    poll_id: str
    committed_at: str
    decisions: tuple[Decision, ...]
    totals: Totals
    attributed_with: str = ""


def forget(decisions: Sequence[Decision]) -> tuple[Decision, ...]:
    """The same positions, each with its record's id alone."""
    return tuple(Erased(decision.record_id) for decision in decisions)


def split_decisions(decisions: Sequence[Decision]) -> Iterator[tuple[Decision, ...]]:
    """Cut what a poll decided into the portions that one entry each can hold, in order."""
    for portion in batched(decisions, MAX_ENTRY_RECORDS, strict=False):
        yield from _halve_until_small(portion)


def encode_decisions(decisions: Sequence[Decision]) -> bytes:
    """The decisions as compressed JSON; their positions are part of the readers' tokens and never change."""
    return zlib.compress(render([_encode(decision) for decision in decisions]).encode(), 9)


def decode_decisions(data: bytes) -> tuple[Decision, ...]:
    """What :func:`encode_decisions` wrote, by this version of the code or an earlier one."""
    records = cast("Sequence[Mapping[str, JsonValue]]", parse(zlib.decompress(data)))
    return tuple(_decode(record) for record in records)


def encode_incident(incident: Incident) -> dict[str, JsonValue]:
    """An incident with all that it takes to have it back."""
    encoded: dict[str, JsonValue] = {
        "id": incident.id,
        "type": incident.type,
        "priority": incident.priority,
        "timestamp": JsonNumber(incident.timestamp),
        "fields": incident.fields,
    }
    if incident.ip is not None:
        encoded["ip"] = incident.ip
    return encoded


def decode_incident(record: Mapping[str, JsonValue], employee_id: str | None) -> Incident:
    """The incident back; one that names its employee gets it from the decision around it."""
    ip = cast("str | None", record.get("ip"))
    return Incident(
        id=cast("str", record["id"]),
        type=cast("str", record["type"]),
        priority=cast("str", record["priority"]),
        timestamp=cast("JsonNumber", record["timestamp"]).text,
        employee_id=employee_id if ip is None else None,
        ip=ip,
        fields=cast("Mapping[str, JsonValue]", record["fields"]),
    )


def _halve_until_small(portion: tuple[Decision, ...]) -> Iterator[tuple[Decision, ...]]:
    if len(portion) == 1 or len(encode_decisions(portion)) <= MAX_ENTRY_BYTES:
        yield portion
        return
    middle = len(portion) // 2
    yield from _halve_until_small(portion[:middle])
    yield from _halve_until_small(portion[middle:])


def _encode(decision: Decision) -> dict[str, JsonValue]:
    match decision:
        case Attributed(incident, employee_id, was_unattributed):
            outcome = _ATTRIBUTED_LATE if was_unattributed else _ATTRIBUTED
            return {"outcome": outcome, "employee_id": employee_id, "incident": encode_incident(incident)}
        case Unattributed(incident):
            return {"outcome": "unattributed", "incident": encode_incident(incident)}
        case Rejected(id, type, code, reason, record):
            return {
                "outcome": "rejected",
                "id": id,
                "type": type,
                "code": code,
                "reason": reason,
                "record": record,
            }
        case Erased(id, traces):
            return {"outcome": _ERASED, "id": id} | (_encode_traces(traces) if traces else {})


def _encode_traces(traces: Traces) -> dict[str, JsonValue]:
    places = [[JsonNumber(str(sequence)), JsonNumber(str(position))] for sequence, position in traces.places]
    return {"employee_id": traces.employee_id, "timestamp": traces.timestamp, "places": places}


def _decode_erased(record: Mapping[str, JsonValue]) -> Erased:
    record_id = cast("str", record["id"])
    if "employee_id" not in record:
        return Erased(record_id)
    places = cast("Sequence[tuple[JsonNumber, JsonNumber]]", record["places"])
    return Erased(
        record_id,
        Traces(
            employee_id=cast("str", record["employee_id"]),
            timestamp=cast("str", record["timestamp"]),
            places=tuple((int(sequence.text), int(position.text)) for sequence, position in places),
        ),
    )


def _decode(record: Mapping[str, JsonValue]) -> Decision:
    outcome = record["outcome"]
    if outcome == "rejected":
        return Rejected(*(cast("str", record[name]) for name in ("id", "type", "code", "reason", "record")))
    if outcome == _ERASED:
        return _decode_erased(record)
    if outcome not in ("unattributed", _ATTRIBUTED, _ATTRIBUTED_LATE):
        raise UnknownOutcomeError(
            f"an entry has a decision of kind {outcome!r}, which this version can't lay out"
        )
    incident = cast("Mapping[str, JsonValue]", record["incident"])
    if outcome == "unattributed":
        return Unattributed(decode_incident(incident, None))
    employee_id = cast("str", record["employee_id"])
    return Attributed(decode_incident(incident, employee_id), employee_id, outcome == _ATTRIBUTED_LATE)
