"""Incidents as they are laid out for reading: by employee, then by (timestamp, id)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from shared.domain.filters import NO_FILTERS, Filters
from shared.store.keys import INCIDENTS, after_employee, before_employee, employee_of
from shared.store.table import Item, Table

# Sort keys begin with a digit: one below all of them and one above.
FIRST = "0"
_LAST = ":"

# A filter expression, its names and its values.
type _Conditions = tuple[str, Mapping[str, str], Item]


class StoredIncident(NamedTuple):
    """One incident: where it stands, its priority, and the JSON that clients get."""

    sort_key: str
    priority: str
    json: str

    @property
    def employee_id(self) -> str:
        """Whose it is."""
        return employee_of(self.sort_key)


class Span(NamedTuple):
    """A stretch of sort keys, both ends included."""

    low: str = FIRST
    high: str = _LAST


def of_employee(employee_id: str) -> Span:
    """All incidents of one employee."""
    return Span(before_employee(employee_id), after_employee(employee_id))


def read_incidents(
    table: Table,
    span: Span,
    *,
    after: str | None,
    snapshot: int,
    oldest_kept: float | None,
    limit: int | None,
    filters: Filters = NO_FILTERS,
) -> tuple[list[StoredIncident], str | None]:
    """One request of a walk over a span: what the snapshot holds of it, and the key to go on after, if any.

    ``snapshot`` is the sequence that the walk sees, ``oldest_kept`` the earliest timestamp that it shows,
    ``limit`` the most items that the request looks at (None: as many as one request can).
    """
    items, go_on_after = _read(
        table, span, after, limit, _conditions(snapshot, oldest_kept, filters), ("sk", "priority", "json")
    )
    found = [StoredIncident(item["sk"]["S"], item["priority"]["S"], item["json"]["S"]) for item in items]
    return found, go_on_after


def count_incidents(
    table: Table,
    span: Span,
    *,
    after: str | None,
    snapshot: int,
    oldest_kept: float | None,
    filters: Filters,
) -> tuple[Counter[str], str | None]:
    """How many incidents of each priority one request finds, and the key to go on after, as above."""
    items, go_on_after = _read(
        table, span, after, None, _conditions(snapshot, oldest_kept, filters), ("priority",)
    )
    return Counter(item["priority"]["S"] for item in items), go_on_after


def _read(
    table: Table,
    span: Span,
    after: str | None,
    limit: int | None,
    conditions: _Conditions,
    attributes: Sequence[str],
) -> tuple[list[Item], str | None]:
    where, names, values = conditions
    return table.query_page(
        INCIDENTS,
        between=(span.low, span.high),
        after=after,
        limit=limit,
        where=where,
        names=names,
        values=values,
        attributes=attributes,
    )


def _conditions(snapshot: int, oldest_kept: float | None, filters: Filters) -> _Conditions:
    parts = ["#sequence <= :snapshot"]
    values: Item = {":snapshot": {"N": str(snapshot)}}
    for attribute, allowed in (("priority", filters.priorities), ("type", filters.types)):
        if allowed:
            placeholders = {f":{attribute}{number}": each for number, each in enumerate(allowed)}
            parts.append(f"#{attribute} IN ({', '.join(placeholders)})")
            values |= {name: {"S": each} for name, each in placeholders.items()}
    bounds = (
        (">= :oldest", None if oldest_kept is None else str(oldest_kept)),
        (">= :since", filters.since),
        ("< :until", filters.until),
    )
    for comparison, bound in bounds:
        if bound is not None:
            parts.append(f"#timestamp {comparison}")
            values[comparison.split()[1]] = {"N": bound}
    where = " AND ".join(parts)
    names = {
        f"#{name}": name for name in ("sequence", "priority", "type", "timestamp") if f"#{name}" in where
    }
    return where, names, values
