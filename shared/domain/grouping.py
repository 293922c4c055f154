"""Incidents of one employee by priority, as the JSON that clients get."""

from collections.abc import Iterable, Mapping

from shared.domain.incident import PRIORITIES

# What one employee takes without any incident.
EMPTY_BYTES = 160


def _render(counts: Mapping[str, int], incidents: Mapping[str, str]) -> str:
    """All four priorities, in order."""
    groups = ",".join(
        f'"{priority}":{{"count":{counts.get(priority, 0)},"incidents":[{incidents.get(priority, "")}]}}'
        for priority in PRIORITIES
    )
    return f"{{{groups}}}"


def _around(priority: str) -> tuple[str, str]:
    before, _, after = _render({priority: 1}, {priority: "|"}).partition("|")
    return before, after


# What stands before and behind the only incident of an employee. Most employees have just one.
_AROUND_ONE = {priority: _around(priority) for priority in PRIORITIES}


class EmployeeGroup:
    """One employee's incidents by priority, filled in the order (timestamp, id).

    Incidents come and go as rendered JSON: on the way from the store to the client nothing parses them.
    ``counts`` is how many they have of each priority in all, where this is a part only.
    """

    __slots__ = ("_incidents", "counts", "employee_id")

    def __init__(self, employee_id: str, counts: Mapping[str, int] | None = None) -> None:
        self.employee_id = employee_id
        self.counts = counts
        self._incidents: list[tuple[str, str]] = []

    @property
    def size(self) -> int:
        """How many bytes of ASCII :meth:`render` will write, give or take a few."""
        return EMPTY_BYTES + sum(len(incident) + len(",") for _, incident in self._incidents)

    def add(self, priority: str, incident: str) -> None:
        """Take one rendered incident; KeyError for a priority that there is not."""
        if priority not in _AROUND_ONE:
            raise KeyError(priority)
        self._incidents.append((priority, incident))

    def render(self) -> str:
        """``"<employee id>":{"low":{"count":0,"incidents":[]},…}``: always all four priorities, in order."""
        if len(self._incidents) == 1 and self.counts is None:
            ((priority, incident),) = self._incidents
            before, after = _AROUND_ONE[priority]
            return f'"{self.employee_id}":{before}{incident}{after}'
        by_priority: dict[str, list[str]] = {}
        for priority, incident in self._incidents:
            by_priority.setdefault(priority, []).append(incident)
        counts = self.counts
        if counts is None:
            counts = {priority: len(incidents) for priority, incidents in by_priority.items()}
        incidents = {priority: ",".join(incidents) for priority, incidents in by_priority.items()}
        return f'"{self.employee_id}":{_render(counts, incidents)}'


def render_groups(groups: Iterable[EmployeeGroup]) -> str:
    """One JSON object: each employee with what is theirs."""
    return "{" + ",".join([group.render() for group in groups]) + "}"
