"""Deciding whose incident it is."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from shared.domain.exact_json import JsonNumber, JsonValue, members
from shared.domain.incident import Incident, canonical_employee_id, canonical_ip


class MalformedIdentitiesError(ValueError):
    """The answer is not a map of addresses to employee ids."""


class Identities(NamedTuple):
    """Which employee has which IP address, as the upstream said at one moment.

    ``digest`` tells two states apart: it is over the content, whatever its order.
    ``ignored`` counts entries that are no address or no employee id.
    """

    employee_by_ip: Mapping[str, str]
    digest: str
    ignored: int = 0


def parse_identities(value: JsonValue) -> Identities:
    """Take ``{"<ip>": <employee id>}``; raises :class:`MalformedIdentitiesError` for anything else."""
    if not isinstance(value, Mapping):
        raise MalformedIdentitiesError("the identities are not a JSON object")
    employee_by_ip: dict[str, str] = {}
    disputed: set[str] = set()
    for raw_ip, raw_id in members(value):
        ip = canonical_ip(raw_ip)
        text = raw_id.text if isinstance(raw_id, JsonNumber) else raw_id
        employee_id = canonical_employee_id(text) if isinstance(text, str) else None
        if ip and employee_id and employee_by_ip.setdefault(ip, employee_id) != employee_id:
            disputed.add(ip)
    # One address twice, or in two spellings, with two employees: it says nothing about whose it is.
    for ip in disputed:
        del employee_by_ip[ip]
    if value and not employee_by_ip:
        raise MalformedIdentitiesError("none of the identities is an address with an employee id")
    return make_identities(employee_by_ip, ignored=len(value) - len(employee_by_ip))


def make_identities(employee_by_ip: Mapping[str, str], *, ignored: int = 0) -> Identities:
    """Identities of canonical addresses and employee ids."""
    text = "\n".join(f"{ip} {employee_by_ip[ip]}" for ip in sorted(employee_by_ip))
    return Identities(employee_by_ip, hashlib.sha256(text.encode()).hexdigest()[:32], ignored)


def attribute(incident: Incident, identities: Identities | None) -> str | None:
    """The employee whom the incident is about, or None while its IP is unknown."""
    if incident.employee_id is not None:
        return incident.employee_id
    if identities is None or incident.ip is None:
        return None
    return identities.employee_by_ip.get(incident.ip)
