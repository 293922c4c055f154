"""Committing what a poll decided: an entry after the other, each laid out before the next."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from shared.domain.journal import Decision, Entry, Totals, split_decisions
from shared.domain.retention import Retention
from shared.domain.rfc3339 import format_rfc3339
from shared.store.entries import CommitConflictError, commit_entry
from shared.store.projection import project_entry
from shared.store.state import State
from shared.store.table import Table


class Commit(NamedTuple):
    """What went in: the decisions, the last sequence, the totals after it.

    ``postponed`` decisions found no time; the next poll decides on their records anew. ``superseded``:
    another poll committed in between, and the rest was thrown away.
    """

    sequence: int
    totals: Totals
    decisions: Sequence[Decision] = ()
    postponed: int = 0
    superseded: bool = False


def commit_decisions(
    table: Table,
    state: State,
    decisions: Sequence[Decision],
    *,
    poll_id: str,
    tried_with: str,
    even_if_empty: bool,
    retention: Retention,
    clock: Callable[[], float],
    has_time: Callable[[], bool],
) -> Commit:
    """Commit ``decisions`` on top of ``state``, in their order, while there is time: at least one entry.

    ``tried_with`` is the digest of the identities that all unattributed records were tried with
    (docs/decisions/0004-identities-tried-with.md). ``even_if_empty`` commits an entry without decisions.
    """
    portions: list[tuple[Decision, ...]] = list(split_decisions(decisions))
    if not portions and even_if_empty:
        portions = [()]
    done = Commit(state.projected, state.totals)
    for portion in portions:
        left = len(decisions) - len(done.decisions)
        if done.decisions and not has_time():
            return Commit(done.sequence, done.totals, done.decisions, postponed=left)
        entry = Entry(
            sequence=done.sequence + 1,
            poll_id=poll_id,
            committed_at=format_rfc3339(clock()),
            decisions=portion,
            totals=done.totals.after(portion),
            attributed_with=tried_with if left == len(portion) else "",
        )
        try:
            commit_entry(table, entry, retention)
        except CommitConflictError:
            return Commit(done.sequence, done.totals, done.decisions, superseded=True)
        project_entry(table, entry, retention)
        done = Commit(entry.sequence, entry.totals, [*done.decisions, *portion])
    return done
