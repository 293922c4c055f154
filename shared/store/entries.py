"""The journal in the table: append-only, one item an entry."""

from collections.abc import Callable, Sequence

from shared.domain.journal import Decision, Entry, Totals, decode_decisions, encode_decisions
from shared.domain.retention import Retention
from shared.domain.rfc3339 import parse_rfc3339
from shared.store.expiry import expiry
from shared.store.keys import journal_key
from shared.store.table import Item, Table

# An entry must not expire before it is laid out, which takes the next poll: weeks, if nobody looks after it.
_PROJECTED_WITHIN_SECONDS = 30 * 86_400


class CommitConflictError(Exception):
    """Another poll committed at this sequence first: what this one decided rests on an old state."""


def read_entry(table: Table, sequence: int) -> Entry | None:
    """The entry at ``sequence``, or None if nothing is committed there yet."""
    item = table.get(journal_key(sequence))
    return decode_entry(item) if item else None


def commit_entry(table: Table, entry: Entry, retention: Retention) -> None:
    """Append ``entry``: it takes effect whole or not at all.

    Raises :class:`CommitConflictError` when the sequence is taken by another poll. When it is taken by
    this very poll, an answer had got lost on the way and the entry is in.
    """
    if table.put_new(_encode(entry, retention)):
        return
    there = read_entry(table, entry.sequence)
    if there is None or there.poll_id != entry.poll_id:
        raise CommitConflictError(f"sequence {entry.sequence} was committed by another poll")


def rewrite_entry(
    table: Table, sequence: int, change: Callable[[Sequence[Decision]], Sequence[Decision]]
) -> None:
    """Put what ``change`` makes of the entry's decisions in their place, if it is still there.

    Only for erasing: positions stay. Others may rewrite the same entry at the same time; none undoes another.
    """
    while item := table.get(journal_key(sequence)):
        before = item["decisions"]["B"]
        decisions = decode_decisions(before)
        changed = tuple(change(decisions))
        if changed == decisions or table.update(
            journal_key(sequence),
            expression="SET decisions = :after",
            condition="decisions = :before",
            values={":before": {"B": before}, ":after": {"B": encode_decisions(changed)}},
        ):
            return


def _encode(entry: Entry, retention: Retention) -> Item:
    pk, sk = journal_key(entry.sequence)
    item: Item = {
        "pk": {"S": pk},
        "sk": {"S": sk},
        "poll_id": {"S": entry.poll_id},
        "committed_at": {"S": entry.committed_at},
        "decisions": {"B": encode_decisions(entry.decisions)},
        "totals": {"S": entry.totals.to_text()},
        "attributed_with": {"S": entry.attributed_with},
    }
    return item | expiry(retention, parse_rfc3339(entry.committed_at) + _PROJECTED_WITHIN_SECONDS)


def decode_entry(item: Item) -> Entry:
    """The entry in an item of the journal."""
    return Entry(
        sequence=int(item["sk"]["S"]),
        poll_id=item["poll_id"]["S"],
        committed_at=item["committed_at"]["S"],
        decisions=decode_decisions(item["decisions"]["B"]),
        totals=Totals.from_text(item["totals"]["S"]),
        attributed_with=item["attributed_with"]["S"],
    )
