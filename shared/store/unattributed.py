"""Incidents that wait for their IP to become known."""

from collections.abc import Iterator, Sequence

from shared.domain.exact_json import parse, render
from shared.domain.incident import Incident
from shared.domain.journal import decode_incident, encode_incident
from shared.domain.retention import Retention
from shared.store.expiry import expiry
from shared.store.keys import UNATTRIBUTED
from shared.store.table import Item, Table

# A walk over them that began before one was resolved still shows it, for the 24 hours that a cursor is
# good; kept twice as long.
_RESOLVED_KEPT_SECONDS = 48 * 3600
# Sort keys are hexadecimal digits: one below all of them and one above.
_FIRST = "0"
_LAST = "g"


def add(table: Table, incidents: Sequence[Incident], *, sequence: int, retention: Retention) -> None:
    """Keep them, unless they are there (perhaps resolved since: a late replay must not undo that)."""
    table.put_each_new(_encode(incident, sequence, retention) for incident in incidents)


def resolve(table: Table, incident_ids: Sequence[str], *, sequence: int, resolved_at: float) -> None:
    """Mark them as attributed by entry ``sequence``; they go away two days after ``resolved_at``."""

    def mark(incident_id: str) -> bool:
        return table.update(
            (UNATTRIBUTED, incident_id),
            expression="SET resolved_sequence = :sequence, expires_at = :expires_at",
            condition="attribute_exists(pk)",
            values={
                ":sequence": {"N": str(sequence)},
                ":expires_at": {"N": str(int(resolved_at) + _RESOLVED_KEPT_SECONDS)},
            },
        )

    table.at_once(mark, incident_ids)


def read_open(table: Table) -> Iterator[Incident]:
    """All that wait still. Read only when the identities have changed: it costs what there is."""
    for item in table.query(UNATTRIBUTED, where="attribute_not_exists(resolved_sequence)"):
        yield _decode(item)


def read_waiting(
    table: Table, *, start: str | None, after: str | None, snapshot: int, limit: int
) -> tuple[list[Incident], str | None]:
    """One request of a walk over those that wait at ``snapshot`` (a sequence), and the key to go on after.

    ``start`` is the sort key that the walk begins at, ``limit`` how many items the request looks at at most.
    """
    items, go_on_after = table.query_page(
        UNATTRIBUTED,
        between=(start or _FIRST, _LAST),
        after=after,
        limit=limit,
        # Written twice because AND binds closer than OR.
        where="#sequence <= :snapshot AND attribute_not_exists(resolved_sequence)"
        " OR #sequence <= :snapshot AND resolved_sequence > :snapshot",
        names={"#sequence": "sequence"},
        values={":snapshot": {"N": str(snapshot)}},
    )
    return [_decode(item) for item in items], go_on_after


def _decode(item: Item) -> Incident:
    return decode_incident(parse(item["incident"]["S"]), None)  # type: ignore[arg-type]  # an object, as it was written


def _encode(incident: Incident, sequence: int, retention: Retention) -> Item:
    item: Item = {
        "pk": {"S": UNATTRIBUTED},
        "sk": {"S": incident.id},
        "incident": {"S": render(encode_incident(incident))},
        "sequence": {"N": str(sequence)},
    }
    return item | expiry(retention, float(incident.timestamp))
