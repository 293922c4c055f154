"""Counting anew, from the incidents themselves: a table that is older than the summaries, another scale of
scores, another retention, or an overview that got lost.

It goes on where it stopped, in the order of the employees' ids, while entries are laid out: the overview says
up to whom all is counted, and entries change those alone. Readers get no numbers until the end is reached.
"""

from collections.abc import Callable, Iterator, Sequence
from heapq import nsmallest
from itertools import groupby
from operator import itemgetter

from shared.domain.employee_summary import CountedIncident, add_incidents, first_day_shown
from shared.domain.overview import (
    EVERYBODY,
    MAX_ON_TOP,
    Basis,
    Change,
    Overview,
    Ranked,
    choose_top,
    has_basis,
    rank,
)
from shared.domain.rfc3339 import parse_rfc3339
from shared.store.employees import (
    StoredSummary,
    TooNewError,
    read_all_employees,
    read_employees,
    summary_at,
    write_counted_anew,
)
from shared.store.incidents import FIRST
from shared.store.keys import EMPLOYEE_WIDTH, INCIDENTS, after_employee, employee_of
from shared.store.overviews import change_overview, read_overview
from shared.store.state import State, read_state, record_summaries
from shared.store.table import Item, Table

# Counted at once: in a second or so of a small function. Whoever has more incidents makes a portion alone.
_PORTION = 1_000
_PORTION_INCIDENTS = 20_000
# Few employees have several incidents; what is read beyond a portion is read again.
_ITEMS_A_REQUEST = 2 * _PORTION
# Above all sort keys, which begin with a digit.
_LAST = ":"
_ATTRIBUTES = ("sk", "priority", "type", "json")


class _NoTimeLeftError(Exception):
    """The rest of the poll's time is for others."""


def is_current(state: State, basis: Basis) -> bool:
    """Whether readers have numbers that rest on this basis, so far as the state says."""
    return has_basis(state.summaries, basis)


def recount(table: Table, basis: Basis, *, has_time: Callable[[], bool]) -> bool:
    """See to it that everybody is counted, on this ``basis``; returns whether that is so.

    Stops when the time is over or another poll does the same: the next one goes on. Until an erasure is
    settled nobody is counted: a poll that slept may have brought incidents back that go once more.
    """
    state = read_state(table)
    moment = parse_rfc3339(state.committed_at) if state.projected else 0.0
    overview = _find_or_begin(table, state, basis)
    while overview and not overview.is_complete:
        if state.erased != state.settled or not has_time():
            return False
        overview = _count_portion(table, overview, moment)
    if overview and overview.is_short:
        overview = _fill_top(table, overview, moment, has_time)
    if overview is None:
        return False
    return overview.name == state.summaries or record_summaries(table, overview.name, at=state.projected)


def _find_or_begin(table: Table, state: State, basis: Basis) -> Overview | None:
    here = read_overview(table, state.projected)
    known = int(state.summaries.partition(":")[0] or 0)
    is_of_entry = here is not None and here.sequence == state.projected
    if here and is_of_entry and here.basis == basis and here.generation >= known:
        return here
    other = read_overview(table, state.projected + 1)
    generation = max([known, *(each.generation for each in (here, other) if each)])
    revision = here.revision + 1 if here and is_of_entry else 0
    return _begin(table, Overview(state.projected, basis, generation + 1, revision))


def _begin(table: Table, begun: Overview) -> Overview | None:
    """Begin a generation; None if others have changed something meanwhile.

    The state knows of it first: a poll may be about to make the next overview from the one before, while
    employees are of this generation already. Nobody may take that overview for whole.
    """
    is_known = record_summaries(table, f"{begun.generation}:", at=begun.sequence)
    return begun if is_known and change_overview(table, begun) else None


def _count_portion(table: Table, overview: Overview, moment: float) -> Overview | None:
    """Count the next employees; None if others have changed something meanwhile."""
    portion, up_to = _read_portion(table, overview)
    counted: list[StoredSummary] = []
    for employee_id, incidents in portion:
        added = add_incidents(
            None,
            incidents,
            scale=overview.basis.scale,
            retention=overview.basis.retention,
            moment=moment,
        )
        if added:
            counted.append(
                StoredSummary(employee_id, overview.generation, overview.sequence, added[0], {}, 0, None)
            )
    retention = overview.basis.retention
    written = table.at_once(lambda each: write_counted_anew(table, each, retention), counted)
    if not all(written):
        return _begin_above(table, overview, [each.employee_id for each in counted])
    changes = [Change(each.employee_id, None, each.now, each.now.counts) for each in counted if each.now]
    after = overview.after(overview.sequence, changes, moment=moment)._replace(up_to=up_to)
    return after if change_overview(table, after) else None


def _begin_above(table: Table, overview: Overview, employee_ids: Sequence[str]) -> Overview | None:
    """Begin anew if these are of a later generation, whose overview got lost; None if others are at it."""
    generation = max(each.generation for each in read_employees(table, employee_ids).values())
    if generation <= overview.generation:
        return None
    return _begin(table, Overview(overview.sequence, overview.basis, generation + 1, overview.revision + 1))


def _read_portion(
    table: Table, overview: Overview
) -> tuple[Sequence[tuple[str, Sequence[CountedIncident]]], str]:
    """The next employees with their incidents, and up to whom all are counted with them."""
    portion: list[tuple[str, Sequence[CountedIncident]]] = []
    incidents_read = 0
    for employee_id, incidents in _read_employees_incidents(table, overview):
        incidents_read += len(incidents)
        if portion and incidents_read > _PORTION_INCIDENTS:
            return portion, f"{portion[-1][0]:0>{EMPLOYEE_WIDTH}}"
        portion.append((employee_id, incidents))
        if len(portion) == _PORTION:
            return portion, f"{employee_id:0>{EMPLOYEE_WIDTH}}"
    return portion, EVERYBODY


def _read_employees_incidents(
    table: Table, overview: Overview
) -> Iterator[tuple[str, Sequence[CountedIncident]]]:
    """Each employee who is not counted yet, with all incidents as of the overview's entry."""
    low = after_employee(overview.up_to) if overview.up_to else FIRST
    items = table.query(
        INCIDENTS,
        between=(low, _LAST),
        where="#sequence <= :sequence",
        names={"#sequence": "sequence"},
        values={":sequence": {"N": str(overview.sequence)}},
        limit=_ITEMS_A_REQUEST,
        attributes=_ATTRIBUTES,
    )
    by_employee = ((employee_of(item["sk"]["S"]), _counted(item)) for item in items)
    for employee_id, group in groupby(by_employee, key=itemgetter(0)):
        yield employee_id, [incident for _, incident in group]


def _counted(item: Item) -> CountedIncident:
    # The number's own attribute has lost zeros at its end; in the JSON it comes last.
    timestamp = item["json"]["S"].rpartition(":")[2].removesuffix("}")
    return CountedIncident(item["priority"]["S"], item["type"]["S"], timestamp)


def _fill_top(
    table: Table, overview: Overview, moment: float, has_time: Callable[[], bool]
) -> Overview | None:
    """Look for who is on top among all employees; None if others have changed something meanwhile.

    Those who are on top are the right ones: where the time is over before all are looked at, they stay alone.
    """
    first_day = first_day_shown(overview.basis.retention, moment)

    def ranked() -> Iterator[Ranked]:
        for stored in read_all_employees(table):
            if not has_time():
                raise _NoTimeLeftError
            if stored.generation != overview.generation:
                continue
            summary = summary_at(stored, overview.sequence)
            if summary and summary.last_day >= first_day:
                yield rank(stored.employee_id, summary)

    try:
        highest = nsmallest(MAX_ON_TOP + 1, ranked(), key=lambda each: each.place)
    except TooNewError:
        return None
    except _NoTimeLeftError:
        return overview
    top, floor = choose_top(highest, None)
    filled = overview._replace(top=top, floor=floor, revision=overview.revision + 1)
    return filled if change_overview(table, filled) else None
