"""Answers about incidents: the envelope around what a walk reads."""

import json
import time
from collections.abc import Callable

from functions.api.cursors import Cursors
from functions.api.parameters import DEFAULT_LIMIT, PageParameters
from functions.api.problems import NoDataYetError, UnknownEmployeeError
from functions.api.walk import Snapshot, Walker
from shared.domain.cursor import Cursor
from shared.domain.grouping import EmployeeGroup, render_groups
from shared.store.state import State, read_state
from shared.store.table import Table

_HOUR = 3600
_ALL = "incidents"


class IncidentAnswers:
    """Makes the bodies of `GET /incidents` and `GET /employees/{employee_id}/incidents`."""

    def __init__(
        self,
        table: Table,
        *,
        walker: Walker,
        cursors: Cursors,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._walker = walker
        self._cursors = cursors
        self._clock = clock

    def of_all(self, parameters: PageParameters) -> str:
        """A page of employees: the first of a new walk, or the one that the cursor leads to.

        Raises :class:`NoDataYetError` and what :meth:`Cursors.take` raises.
        """
        state = self._state()
        cursor = self._cursors.take(parameters.cursor, query=_ALL) if parameters.cursor else None
        snapshot = _snapshot_of(cursor) if cursor else self._current(state)
        limit = parameters.limit or (cursor.limit if cursor else DEFAULT_LIMIT)
        page = self._walker.read_page(snapshot, go_on_from=cursor.go_on_from if cursor else None, limit=limit)
        next_cursor = page.go_on_from and self._cursors.give(
            Cursor(
                query=_ALL,
                snapshot=snapshot.sequence,
                committed_at=snapshot.committed_at,
                complete=snapshot.complete,
                as_of=snapshot.as_of,
                go_on_from=page.go_on_from,
                limit=limit,
                issued_at=int(self._clock()),
            )
        )
        return _render(page.groups, next_cursor, snapshot)

    def of_employee(self, employee_id: str) -> str:
        """All of one employee's incidents; raises :class:`UnknownEmployeeError` where there is none."""
        snapshot = self._current(self._state())
        group = self._walker.read_employee(snapshot, employee_id)
        if group is None:
            raise UnknownEmployeeError("no incident of this employee is kept")
        return _render([group], None, snapshot)

    def _state(self) -> State:
        state = read_state(self._table)
        if state.projected == 0:
            raise NoDataYetError("no poll has succeeded yet: try again in a moment, or look at /health")
        return state

    def _current(self, state: State) -> Snapshot:
        return Snapshot(
            sequence=state.projected,
            committed_at=state.committed_at,
            complete=state.report.complete,
            as_of=int(self._clock()) // _HOUR * _HOUR,
        )


def _snapshot_of(cursor: Cursor) -> Snapshot:
    return Snapshot(cursor.snapshot, cursor.committed_at, cursor.complete, cursor.as_of)


def _render(groups: list[EmployeeGroup], next_cursor: str | None, snapshot: Snapshot) -> str:
    envelope = json.dumps(
        {
            "next_cursor": next_cursor,
            "has_more": next_cursor is not None,
            "snapshot": {
                "sequence": snapshot.sequence,
                "committed_at": snapshot.committed_at,
                "complete": snapshot.complete,
            },
        },
        separators=(",", ":"),
    )
    return f'{{"incidents":{render_groups(groups)},{envelope[1:]}'
