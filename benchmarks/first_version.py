"""A stand-in for the first version of this service, to be measured beside it: everything in a dictionary,
written as JSON for each request. By itself it is nothing to serve: it loses all with its process.
"""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.subject import Work

_SUBJECTS = {
    "denial": "reported_by",
    "intrusion": "internal_ip",
    "executable": "machine_ip",
    "misuse": "employee_id",
    "unauthorized": "employee_id",
    "probing": "ip",
    "other": "identifier",
}


class FirstVersion:
    """Employees by id; each has four priorities, each of those a count and incidents in the order of time."""

    def __init__(self) -> None:
        self.employees: dict[str, dict[str, dict[str, Any]]] = {}

    def take(self, records: Mapping[str, Sequence[str]], identities: Mapping[str, str]) -> None:
        """One poll: the upstream's records by type, as JSON texts; who has which IP."""
        for incident_type, texts in records.items():
            for incident in map(json.loads, texts):
                who = str(incident[_SUBJECTS[incident_type]])
                groups = self.employees.setdefault(identities.get(who, who), _no_incidents())
                group = groups[incident["priority"]]
                group["count"] += 1
                group["incidents"].append({"type": incident_type, **incident})
        for groups in self.employees.values():
            for group in groups.values():
                group["incidents"].sort(key=lambda each: each["timestamp"])

    def answer(self) -> str:
        """The body of `GET /incidents`: everybody."""
        return json.dumps(self.employees)


def answer_from_memory(records: Mapping[str, Sequence[str]], identities: Mapping[str, str]) -> Work:
    """Writing the answer and no more."""
    service = FirstVersion()
    service.take(records, identities)
    return Work(lambda: len(service.answer()))


def answer_through_flask(records: Mapping[str, Sequence[str]], identities: Mapping[str, str]) -> Work:
    """The same as the first version did it, through Flask and its `jsonify`."""
    from flask import Flask, jsonify
    from werkzeug.test import EnvironBuilder

    service = FirstVersion()
    service.take(records, identities)
    app = Flask(__name__)
    app.add_url_rule("/incidents", view_func=lambda: jsonify(service.employees))
    environ = EnvironBuilder("/incidents").get_environ()

    def ask() -> int:
        environ["wsgi.input"] = io.BytesIO()
        return sum(map(len, app.wsgi_app(dict(environ), lambda status, headers, error=None: _nowhere)))

    return Work(ask)


def _nowhere(data: bytes) -> None:
    pass


def _no_incidents() -> dict[str, dict[str, Any]]:
    return {priority: {"count": 0, "incidents": []} for priority in ("low", "medium", "high", "critical")}
