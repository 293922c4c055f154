"""Incidents of one employee by priority, as the JSON that clients get."""

from collections.abc import Iterable, Mapping, Sequence

from shared.domain.incident import PRIORITIES

# What one employee takes without any incident.
EMPTY_BYTES = 160


# Most employees have nothing of most priorities, and just one incident.
_NONE = {priority: f'"{priority}":{{"count":0,"incidents":[]}}' for priority in PRIORITIES}


def _render_some(priority: str, count: int, incidents: Sequence[str]) -> str:
    return f'"{priority}":{{"count":{count},"incidents":[{",".join(incidents)}]}}'


def _around_one(priority: str) -> tuple[str, str]:
    """What stands before and behind an employee's only incident."""
    groups = _NONE | {priority: _render_some(priority, 1, ["|"])}
    before, _, after = ",".join(groups.values()).partition("|")
    return f"{{{before}", f"{after}}}"


_AROUND_ONE = {priority: _around_one(priority) for priority in PRIORITIES}


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

    def __len__(self) -> int:
        """How many incidents it was given."""
        return len(self._incidents)

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
        by_priority: dict[str, list[str]] = {priority: [] for priority in self.counts or ()}
        for priority, incident in self._incidents:
            by_priority.setdefault(priority, []).append(incident)
        groups = _NONE | {
            priority: _render_some(priority, self._count(priority, incidents), incidents)
            for priority, incidents in by_priority.items()
        }
        return f'"{self.employee_id}":{{{",".join(groups.values())}}}'

    def _count(self, priority: str, incidents: Sequence[str]) -> int:
        return len(incidents) if self.counts is None else self.counts.get(priority, 0)


def render_groups(groups: Iterable[EmployeeGroup]) -> str:
    """One JSON object: each employee with what is theirs."""
    return "{" + ",".join([group.render() for group in groups]) + "}"
