"""An incident as an OCSF Detection Finding, class 2004 of the schema's version 1.3.0 (schema.ocsf.io)."""

from collections.abc import Mapping
from decimal import Decimal
from ipaddress import ip_address

from shared.domain.change import Change
from shared.domain.exact_json import JsonNumber, JsonValue
from shared.domain.incident import SUBJECT_FIELDS
from shared.domain.rfc3339 import parse_rfc3339

OCSF_VERSION = "1.3.0"
_CREATE = 1
_FINDINGS = 2
_DETECTION_FINDING = 2004
_NEW = 1
_SEVERITY_IDS: Mapping[str, int] = {"low": 2, "medium": 3, "high": 4, "critical": 5}
# Observable types of the schema.
_IP_ADDRESS = 2
_RESOURCE_UID = 10


def to_detection_finding(change: Change, *, version: str) -> Mapping[str, JsonValue]:
    """The finding, made by this ``version`` of the service.

    Times are epoch milliseconds, as the schema wants them; what it has no place for, the upstream's fields
    and the timestamp's exact digits included, is under ``unmapped``.
    """
    incident = change.incident
    happened = _number(int(Decimal(incident.timestamp) * 1000))
    title = f"{incident.type.capitalize()} incident of employee {change.employee_id}"
    return {
        "activity_id": _number(_CREATE),
        "activity_name": "Create",
        "category_uid": _number(_FINDINGS),
        "category_name": "Findings",
        "class_uid": _number(_DETECTION_FINDING),
        "class_name": "Detection Finding",
        "type_uid": _number(_DETECTION_FINDING * 100 + _CREATE),
        "type_name": "Detection Finding: Create",
        "time": happened,
        "severity_id": _number(_SEVERITY_IDS[incident.priority]),
        "severity": incident.priority.capitalize(),
        "status_id": _number(_NEW),
        "status": "New",
        "message": title,
        "metadata": {
            "version": OCSF_VERSION,
            "uid": incident.id,
            "sequence": _number(change.sequence),
            "logged_time": _number(int(parse_rfc3339(change.ingested_at) * 1000)),
            "original_time": incident.timestamp,
            "product": {
                "name": "Security Incident API",
                "vendor_name": "Security Incident API",
                "version": version,
            },
        },
        "finding_info": {
            "uid": incident.id,
            "title": title,
            "types": [incident.type],
            "created_time": happened,
        },
        "resources": [{"type": "employee", "uid": change.employee_id}],
        "observables": _observables(change),
        "unmapped": change.flat(),
    }


def _observables(change: Change) -> list[JsonValue]:
    observables: list[JsonValue] = [
        {
            "name": "resources.uid",
            "type_id": _number(_RESOURCE_UID),
            "type": "Resource UID",
            "value": change.employee_id,
        }
    ]
    for name in ("source_ip", SUBJECT_FIELDS[change.incident.type]):
        value = change.incident.fields.get(name)
        is_address = name == "source_ip" or change.incident.ip is not None
        if is_address and isinstance(value, str) and _is_ip(value):
            observables.append(
                {
                    "name": f"unmapped.{name}",
                    "type_id": _number(_IP_ADDRESS),
                    "type": "IP Address",
                    "value": value,
                }
            )
    return observables


def _is_ip(text: str) -> bool:
    """Whether this is an address as consumers parse it; ``source_ip`` is whatever the upstream sends."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _number(value: int) -> JsonNumber:
    return JsonNumber(str(value))
