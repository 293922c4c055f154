"""Incidents as they are laid out for reading: by employee, then by (timestamp, id)."""

from dataclasses import dataclass

from shared.store.keys import INCIDENTS, after_employee, before_employee, employee_of
from shared.store.table import Item, Table

# Sort keys begin with a digit: one below all of them and one above.
FIRST = "0"
_LAST = ":"


@dataclass(frozen=True, slots=True)
class StoredIncident:
    """One incident: whose it is, its priority, and the JSON that clients get."""

    employee_id: str
    priority: str
    json: str


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of sort keys, both ends included."""

    low: str = FIRST
    high: str = _LAST


def all_from(low: str) -> Span:
    """From ``low`` to the end of the incidents."""
    return Span(low, _LAST)


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
) -> tuple[list[StoredIncident], str | None]:
    """One request of a walk over a span: what the snapshot holds of it, and the key to go on after, if any.

    ``snapshot`` is the sequence that the walk sees, ``oldest_kept`` the earliest timestamp that it shows,
    ``limit`` the most items that the request looks at (None: as many as one request can).
    """
    where = "#sequence <= :snapshot"
    names = {"#sequence": "sequence"}
    values: Item = {":snapshot": {"N": str(snapshot)}}
    if oldest_kept is not None:
        where += " AND #timestamp >= :oldest"
        names["#timestamp"] = "timestamp"
        values[":oldest"] = {"N": str(oldest_kept)}
    items, go_on_after = table.query_page(
        INCIDENTS,
        between=(span.low, span.high),
        after=after,
        limit=limit,
        where=where,
        names=names,
        values=values,
        attributes=("sk", "priority", "json"),
    )
    found = [
        StoredIncident(employee_of(item["sk"]["S"]), item["priority"]["S"], item["json"]["S"])
        for item in items
    ]
    return found, go_on_after
