"""What an incident is: seven differently shaped upstream records made one (docs/data-model.md)."""

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

from shared.domain.exact_json import (
    JsonNumber,
    JsonValue,
    MalformedJsonError,
    NotJson,
    NotJsonError,
    RepeatedKeysError,
    members,
    render,
)

PRIORITIES = ("low", "medium", "high", "critical")

# The field of each type that says whom it is about. `source_ip` is the attacker, never the employee.
SUBJECT_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "denial": "reported_by",
        "intrusion": "internal_ip",
        "executable": "machine_ip",
        "misuse": "employee_id",
        "unauthorized": "employee_id",
        "probing": "ip",
        "other": "identifier",
    }
)
INCIDENT_TYPES = tuple(SUBJECT_FIELDS)
_EMPLOYEE_TYPES = frozenset({"denial", "misuse", "unauthorized"})
_IP_TYPES = frozenset({"intrusion", "executable", "probing"})
_SOURCE_IP_TYPES = frozenset({"denial", "intrusion"})

# Names that the service gives to an incident; an upstream field of such a name moves aside, it is not lost.
_OWN_NAMES = frozenset({"id", "employee_id", "type", "priority", "timestamp", "sequence", "ingested_at"})

MAX_INCIDENT_BYTES = 16_384
MAX_RECORD_DEPTH = 50
MAX_SECONDS_AHEAD = 24 * 3600
_TIMESTAMP = re.compile(r"[0-9]{1,10}(\.[0-9]{1,7})?")
_EMPLOYEE_ID = re.compile(r"[0-9]{1,20}")
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_CANONICAL_IPV4 = re.compile(rf"(?:{_BYTE}\.){{3}}{_BYTE}")
# A character takes twelve bytes of JSON at most, as two \uXXXX; a name and its value have seven besides.
_BYTES_A_CHARACTER = 12
_BYTES_A_FIELD = 7


class RejectedRecordError(ValueError):
    """The record can't be an incident. ``code`` is one word for counting; the message names the field."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Incident(NamedTuple):
    """One normalised upstream record, before anybody decided whose it is.

    ``timestamp`` is the exact text of the upstream (epoch seconds, up to seven decimals). Just one of
    ``employee_id`` (digits without leading zeros) and ``ip`` (canonical text) says whom it is about.
    ``fields`` are the upstream's other fields under the names that the answer gives them.
    """

    id: str
    type: str
    priority: str
    timestamp: str
    employee_id: str | None
    ip: str | None
    fields: Mapping[str, JsonValue]

    def render(self, employee_id: str | None) -> str:
        """The JSON that clients get, attributed to ``employee_id`` (None: nobody is known to have the IP)."""
        return render(
            {
                "id": self.id,
                "employee_id": employee_id,
                "type": self.type,
                "priority": self.priority,
                **self.fields,
                "timestamp": JsonNumber(self.timestamp),
            }
        )


def normalise(incident_type: str, record: JsonValue, *, now: float) -> Incident:
    """Make an incident of one record of the source ``incident_type``, at ``now`` (epoch seconds).

    Raises :class:`RejectedRecordError` for a record that can't be an incident (docs/data-model.md).
    """
    if not isinstance(record, Mapping):
        raise RejectedRecordError("not_an_object", "the record is not a JSON object")
    _check_storable(record)
    priority = _priority(_required(record, "priority"))
    timestamp = _timestamp(_required(record, "timestamp"), now)
    subject_field = SUBJECT_FIELDS[incident_type]
    employee_id, ip = _subject(incident_type, subject_field, _required(record, subject_field))
    source_ip = record.get("source_ip")
    return Incident(
        id=_incident_id(incident_type, priority, timestamp, employee_id or f"ip:{ip}", source_ip),
        type=incident_type,
        priority=priority,
        timestamp=timestamp,
        employee_id=employee_id,
        ip=ip,
        fields=_other_fields(record, subject_field, employee_id),
    )


def rejected_id(incident_type: str, record: JsonValue) -> str:
    """The id of a record that can't be an incident: 128 bits over what can be written of it, as hex."""
    text = write_rejected(record)
    return hashlib.sha256(f"rejected:{incident_type}:{text}".encode()).hexdigest()[:32]


def write_rejected(record: JsonValue) -> str:
    """The record as it came, without needless blanks; of one too deep to be written what is not nested,
    behind a word that says so.
    """
    try:
        return render(record, with_flaws=True)
    except MalformedJsonError:
        all_members = members(record) if isinstance(record, Mapping) else ()
        flat = {name: value for name, value in all_members if not _is_nested(value)}
        return f"too deep: {render(flat, with_flaws=True)}"


def canonical_employee_id(text: str) -> str | None:
    """Digits without leading zeros, or None if ``text`` is not 1 to 20 digits."""
    return (text.lstrip("0") or "0") if _EMPLOYEE_ID.fullmatch(text) else None


def canonical_ip(text: str) -> str | None:
    """The one spelling of an IPv4 or IPv6 address, or None if ``text`` is none (zones are none)."""
    # Thousands a poll, nearly all in that spelling: ipaddress would take a third of the processor time.
    if _CANONICAL_IPV4.fullmatch(text):
        return text
    try:
        return str(ipaddress.ip_address(text)) if "%" not in text else None
    except ValueError:
        return None


def _is_nested(value: JsonValue) -> bool:
    return not isinstance(value, str | bool | JsonNumber | NotJson | None)


def _check_storable(record: Mapping[str, JsonValue]) -> None:
    if _is_surely_storable(record):
        return
    try:
        text = render(record, max_depth=MAX_RECORD_DEPTH)
    except NotJsonError:
        raise RejectedRecordError("not_json", "NaN or Infinity is no JSON value") from None
    except RepeatedKeysError:
        raise RejectedRecordError(
            "repeated_field", "a field is there several times, with different values"
        ) from None
    except MalformedJsonError:
        raise RejectedRecordError("too_deep", f"nested deeper than {MAX_RECORD_DEPTH}") from None
    if len(text) > MAX_INCIDENT_BYTES:
        raise RejectedRecordError(
            "too_large", f"{len(text):,} bytes of JSON; {MAX_INCIDENT_BYTES:,} are allowed"
        )


def _is_surely_storable(record: Mapping[str, JsonValue]) -> bool:
    """Whether a record is flat and so small that it need not be written to know: nearly all are."""
    # Not a subclass, which may hold more than its items show.
    if type(record) is not dict:
        return False
    size = 2
    for name, value in record.items():
        text = value.text if isinstance(value, JsonNumber) else value
        if isinstance(text, str):
            size += _BYTES_A_CHARACTER * (len(name) + len(text)) + _BYTES_A_FIELD
        else:
            return False
    return size <= MAX_INCIDENT_BYTES


def _required(record: Mapping[str, JsonValue], field: str) -> JsonValue:
    value = record.get(field)
    if value is None:
        raise RejectedRecordError("missing_field", f"{field} is missing or null")
    return value


def _priority(value: JsonValue) -> str:
    if isinstance(value, str) and value in PRIORITIES:
        return value
    raise RejectedRecordError("unknown_priority", f"priority is none of {', '.join(PRIORITIES)}")


def _timestamp(value: JsonValue, now: float) -> str:
    if not isinstance(value, JsonNumber) or not _TIMESTAMP.fullmatch(value.text):
        raise RejectedRecordError(
            "invalid_timestamp", "timestamp is not a number of epoch seconds with at most seven decimals"
        )
    if Decimal(value.text) > Decimal(now) + MAX_SECONDS_AHEAD:
        raise RejectedRecordError("timestamp_in_future", "timestamp is more than 24 hours ahead")
    return value.text


def _subject(incident_type: str, field: str, value: JsonValue) -> tuple[str | None, str | None]:
    """(employee id, None) or (None, IP), by the type's rule; `other` carries either."""
    text = value.text if isinstance(value, JsonNumber) else value
    if isinstance(text, str):
        if incident_type not in _IP_TYPES and (employee_id := canonical_employee_id(text)):
            return employee_id, None
        if incident_type not in _EMPLOYEE_TYPES and (ip := canonical_ip(text)):
            return None, ip
    if incident_type in _EMPLOYEE_TYPES:
        raise RejectedRecordError("invalid_employee_id", f"{field} is not an employee id of 1 to 20 digits")
    if incident_type in _IP_TYPES:
        raise RejectedRecordError("invalid_ip", f"{field} is not an IP address")
    raise RejectedRecordError("invalid_identifier", f"{field} is neither an IP address nor an employee id")


def _incident_id(
    incident_type: str, priority: str, timestamp: str, subject: str, source_ip: JsonValue
) -> str:
    """128 bits over the documented fields only, as hex.

    A field that the upstream adds one day does not make a new incident of an old one.
    """
    documented = [incident_type, priority, timestamp, subject]
    if incident_type in _SOURCE_IP_TYPES:
        documented.append(render(source_ip))
    return hashlib.sha256("\n".join(documented).encode()).hexdigest()[:32]


def _other_fields(
    record: Mapping[str, JsonValue], subject_field: str, employee_id: str | None
) -> Mapping[str, JsonValue]:
    """The upstream's fields that the incident does not show under names of its own; none is lost."""
    shown = {"priority", "timestamp"}
    if subject_field == "employee_id" and record["employee_id"] in (
        employee_id,
        JsonNumber(employee_id or ""),
    ):
        shown.add("employee_id")
    fields: dict[str, JsonValue] = {}
    for name, value in record.items():
        if name in shown:
            continue
        free = name
        while free in _OWN_NAMES or free in fields or (free != name and free in record):
            free = f"upstream_{free}"
        fields[free] = value
    return fields
