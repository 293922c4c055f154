"""Laying an entry out in the summaries: of the employees that it is about, and of all together.

A function of the entry and of the overview before it. The order is what makes it safe to die anywhere:
employees first, who remember what the entry changed; then the overview as of the entry, once; then nothing is
left of those whom the entry erases. Readers see none of it before the state moves on.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from shared.domain.employee_summary import CountedIncident, add_incidents
from shared.domain.journal import Attributed, Entry, Erased
from shared.domain.overview import Change, Overview
from shared.domain.rfc3339 import parse_rfc3339
from shared.store.employees import (
    StoredSummary,
    bury_employee,
    read_employees,
    remove_grave,
    write_employee,
)
from shared.store.overviews import read_overview_at, write_overview
from shared.store.table import Table

# Each time another poll has written some of the same; what it has written stays.
_TRIES = 5


class _DisturbedError(Exception):
    """Others write the same items: what was read is not what is there any more."""


def lay_out_summaries(table: Table, entry: Entry) -> None:
    """Lay out ``entry``, the one after the last that was; for any other nothing comes of it.

    Where there is no overview as of the entry before, nothing is counted: somebody has to count anew
    (:mod:`shared.store.recount`). Readers get no numbers until then.
    """
    erased = employees_erased(entry)
    for _ in range(_TRIES):
        base = read_overview_at(table, entry.sequence - 1)
        if base is None:
            break
        try:
            changes = [*_change_employees(table, entry, base, erased), *_look_at_erased(table, base, erased)]
        except _DisturbedError:
            continue
        moment = parse_rfc3339(entry.committed_at)
        write_overview(table, base.after(entry.sequence, changes, moment=moment))
        break
    _bury(table, entry, erased)


def employees_erased(entry: Entry) -> Sequence[str]:
    """Whom the entry erases, as long as it says so."""
    traces = [each.traces for each in entry.decisions if isinstance(each, Erased) and each.traces]
    return list(dict.fromkeys(each.employee_id for each in traces))


def forget_erased(table: Table, entry: Entry) -> None:
    """Let nothing say any more that the entry erased these employees: no poll can bring them back by now."""
    for employee_id in employees_erased(entry):
        remove_grave(table, employee_id, sequence=entry.sequence)


def _change_employees(table: Table, entry: Entry, base: Overview, erased: Sequence[str]) -> Sequence[Change]:
    """Bring each employee's summary up to the entry; returns what that changes. Raises _DisturbedError."""
    by_employee = _incidents_by_employee(entry, base, erased)
    stored = read_employees(table, by_employee)
    wanted = {
        employee_id: brought_up
        for employee_id, incidents in by_employee.items()
        if (brought_up := _bring_up(entry, base, employee_id, incidents, stored.get(employee_id)))
    }
    to_write = [each for employee_id, each in wanted.items() if each != stored.get(employee_id)]
    written = table.at_once(lambda each: write_employee(table, each, base.basis.retention), to_write)
    if not all(written):
        raise _DisturbedError
    return [Change(employee_id, each.before, each.now, each.added) for employee_id, each in wanted.items()]


def _incidents_by_employee(
    entry: Entry, base: Overview, erased: Sequence[str]
) -> Mapping[str, Sequence[CountedIncident]]:
    """Those of the entry's employees who are counted by now; the others will be with their old incidents."""
    by_employee: dict[str, list[CountedIncident]] = defaultdict(list)
    for each in entry.decisions:
        if isinstance(each, Attributed) and each.employee_id not in erased and base.holds(each.employee_id):
            incident = each.incident
            counted = CountedIncident(incident.priority, incident.type, incident.timestamp)
            by_employee[each.employee_id].append(counted)
    return by_employee


def _bring_up(
    entry: Entry,
    base: Overview,
    employee_id: str,
    incidents: Sequence[CountedIncident],
    stored: StoredSummary | None,
) -> StoredSummary | None:
    """The summary since the entry, the stored one if that is it; None if nothing of the entry counts."""
    before, sequence_before = None, 0
    if stored:
        if stored.generation > base.generation or stored.sequence > entry.sequence:
            raise _DisturbedError
        if stored.generation == base.generation:
            if stored.sequence == entry.sequence:
                return stored
            before, sequence_before = stored.now, stored.sequence
    added = add_incidents(
        before,
        incidents,
        scale=base.basis.scale,
        retention=base.basis.retention,
        moment=parse_rfc3339(entry.committed_at),
    )
    if added is None:
        return None
    return StoredSummary(
        employee_id, base.generation, entry.sequence, added[0], added[1], sequence_before, before
    )


def _look_at_erased(table: Table, base: Overview, erased: Sequence[str]) -> Sequence[Change]:
    """What it changes that these go. If they are gone already, so is what they counted for."""
    there = read_employees(table, filter(base.holds, erased))
    if any(each.generation > base.generation for each in there.values()):
        raise _DisturbedError
    return [
        Change(employee_id, each.now, None, {})
        for employee_id, each in there.items()
        if each.generation == base.generation and each.now
    ]


def _bury(table: Table, entry: Entry, erased: Sequence[str]) -> None:
    moment = parse_rfc3339(entry.committed_at)
    table.at_once(
        lambda employee_id: bury_employee(table, employee_id, sequence=entry.sequence, moment=moment), erased
    )
