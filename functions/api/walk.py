"""What is walked over, and where a page of it begins."""

from collections.abc import Mapping
from typing import NamedTuple

from shared.domain.filters import NO_FILTERS, Filters


class Snapshot(NamedTuple):
    """What a walk sees: all that was laid out up to ``sequence``, retention judged at ``as_of`` (epoch s).

    ``complete`` says whether the poll before the walk took every source in.
    """

    sequence: int
    committed_at: str
    complete: bool
    as_of: int


class Walk(NamedTuple):
    """What is walked over: a snapshot, filtered; one employee's incidents or everybody's, or with
    ``unattributed`` those that nobody is known to have yet.

    ``erasures`` is what has been erased by now, as the state tells it: nothing that was read before, and is
    kept somewhere, is of the same walk.
    """

    snapshot: Snapshot
    filters: Filters = NO_FILTERS
    employee_id: str | None = None
    unattributed: bool = False
    erasures: tuple[int, int] = (0, 0)

    @property
    def route(self) -> str:
        """The path that is asked for; cursors are bound to it."""
        if self.unattributed:
            return "/incidents/unattributed"
        return "/incidents" if self.employee_id is None else f"/employees/{self.employee_id}/incidents"


class Position(NamedTuple):
    """Where a page begins: at a sort key, and if that is in the middle of an employee with their counts.

    ``counts`` is how many incidents of each priority the employee has in all.
    """

    sort_key: str
    counts: Mapping[str, int] | None = None


class PageKey(NamedTuple):
    """One page of one walk: where it begins (a sort key, None at the beginning) and how large it may be."""

    walk: Walk
    start: str | None
    limit: int
