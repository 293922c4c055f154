"""Incidents of one employee by priority, as the JSON that clients get."""

import json
from collections.abc import Iterable, Mapping

from shared.domain.incident import PRIORITIES

# What one employee takes without any incident.
_EMPTY_BYTES = 160


class EmployeeGroup:
    """One employee's incidents by priority, filled in the order (timestamp, id).

    Incidents come and go as rendered JSON: on the way from the store to the client nothing parses them.
    ``counts`` is how many they have of each priority in all, where this is a part only. ``size`` is how many
    bytes of ASCII :meth:`render` will write, give or take a few.
    """

    def __init__(self, employee_id: str, counts: Mapping[str, int] | None = None) -> None:
        self.employee_id = employee_id
        self.counts = counts
        self._by_priority: dict[str, list[str]] = {priority: [] for priority in PRIORITIES}
        self.size = _EMPTY_BYTES

    def add(self, priority: str, incident: str) -> None:
        """Take one rendered incident."""
        self._by_priority[priority].append(incident)
        self.size += len(incident) + len(",")

    def render(self) -> str:
        """``"<employee id>":{"low":{"count":0,"incidents":[]},…}``: always all four priorities, in order."""
        groups = ",".join(
            f'"{priority}":{{"count":{self._count(priority)},"incidents":[{",".join(incidents)}]}}'
            for priority, incidents in self._by_priority.items()
        )
        return f"{json.dumps(self.employee_id)}:{{{groups}}}"

    def _count(self, priority: str) -> int:
        return len(self._by_priority[priority]) if self.counts is None else self.counts.get(priority, 0)


def render_groups(groups: Iterable[EmployeeGroup]) -> str:
    """One JSON object: each employee with what is theirs."""
    return "{" + ",".join(group.render() for group in groups) + "}"
