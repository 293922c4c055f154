"""How far people have been told of new incidents: a pointer into the journal, and who is telling just now."""

from typing import NamedTuple

from shared.store.keys import NOTIFIED_KEY
from shared.store.table import Item, Table

# Twice the longest that Lambda lets a function run.
_LONGEST_LEASE_SECONDS = 1_800
_NAMES = {"#sequence": "sequence", "#position": "position"}


class Notified(NamedTuple):
    """All entries up to ``sequence`` are dealt with, and of the next one the first ``position`` decisions."""

    sequence: int
    position: int = 0


def read_notified(table: Table) -> Notified | None:
    """How far it went; None if no poll was here yet."""
    item = table.get(NOTIFIED_KEY)
    return Notified(int(item["sequence"]["N"]), int(item["position"]["N"])) if item else None


def start_notified(table: Table, notified: Notified) -> None:
    """Begin there, unless another poll has begun already."""
    pk, sk = NOTIFIED_KEY
    item: Item = {"pk": {"S": pk}, "sk": {"S": sk}, "lease_by": {"S": ""}, "lease_until": {"N": "0"}}
    table.put_new(item | _place(notified, prefix=""))


def claim(table: Table, seen: Notified, *, poll_id: str, now: float, until: float) -> bool:
    """Take the lease at the pointer that was ``seen``; False if another poll has it or has moved the pointer.

    A poll that dies loses it by time: ``until`` (epoch seconds) is when this one is over at the latest. One
    whose claim is repeated, because the answer had got lost, has it already. A lease for longer than any poll
    can last is of a clock that was wrong, and holds nobody up.
    """
    return table.update(
        NOTIFIED_KEY,
        expression="SET lease_by = :poll_id, lease_until = :until",
        condition="#sequence = :sequence AND #position = :position AND lease_until < :now"
        " OR #sequence = :sequence AND #position = :position AND lease_until > :far_ahead"
        " OR lease_by = :poll_id",
        names=_NAMES,
        values={
            ":poll_id": {"S": poll_id},
            ":until": {"N": f"{until:.3f}"},
            ":now": {"N": f"{now:.3f}"},
            ":far_ahead": {"N": f"{now + _LONGEST_LEASE_SECONDS:.3f}"},
            **_place(seen),
        },
    )


def move(table: Table, notified: Notified, *, poll_id: str, until: float) -> bool:
    """Move the pointer and keep the lease ``until`` then; False if another poll has the lease by now.

    Only forward: a request that was given up as lost may arrive after those that followed it.
    """
    return table.update(
        NOTIFIED_KEY,
        expression="SET #sequence = :sequence, #position = :position, lease_until = :until",
        condition="lease_by = :poll_id AND #sequence < :sequence"
        " OR lease_by = :poll_id AND #sequence = :sequence AND #position <= :position",
        names=_NAMES,
        values={":poll_id": {"S": poll_id}, ":until": {"N": f"{until:.3f}"}, **_place(notified)},
    )


def _place(notified: Notified, *, prefix: str = ":") -> Item:
    return {
        f"{prefix}sequence": {"N": str(notified.sequence)},
        f"{prefix}position": {"N": str(notified.position)},
    }
