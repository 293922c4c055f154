"""Laying the journal out for reading.

A function of the entry alone: each write has a key and a content made from the entry, so doing it twice,
or late, or beside another poll that does the same, changes nothing. Entries are laid out in order and
completely before the state moves on; readers see none of it until then.
"""

from shared.domain.journal import Attributed, Entry, Rejected, Unattributed
from shared.domain.retention import Retention
from shared.domain.rfc3339 import parse_rfc3339
from shared.store import unattributed
from shared.store.entries import read_entry
from shared.store.erasure import lay_out_erased
from shared.store.expiry import expiry
from shared.store.keys import REJECTED, Key, incident_key, record_key
from shared.store.state import State, advance_state, read_state
from shared.store.summaries import lay_out_summaries
from shared.store.table import Item, Table


def project_committed(table: Table, retention: Retention, *, state: State | None = None) -> State:
    """Lay out all entries that are committed and not laid out yet; returns the state after them.

    ``state`` is the state before, if it was just read.
    """
    state = state or read_state(table)
    while entry := read_entry(table, state.projected + 1):
        project_entry(table, entry, retention)
        state = read_state(table)
    return state


def project_entry(table: Table, entry: Entry, retention: Retention) -> None:
    """Lay out one entry, the one after the last that was, and move the state on to it.

    The ids come after the records' own items: an id that is known says that its record is durable.
    """
    attributed = [each for each in entry.decisions if isinstance(each, Attributed)]
    waiting = [each for each in entry.decisions if isinstance(each, Unattributed)]
    rejected = [each for each in entry.decisions if isinstance(each, Rejected)]
    committed_at = parse_rfc3339(entry.committed_at)

    table.put_many(_incident_item(each, entry.sequence, retention) for each in attributed)
    table.put_many(_rejected_item(each, entry, retention) for each in rejected)
    unattributed.add(table, [each.incident for each in waiting], sequence=entry.sequence, retention=retention)
    unattributed.resolve(
        table,
        [each.incident.id for each in attributed if each.was_unattributed],
        sequence=entry.sequence,
        resolved_at=committed_at,
    )

    table.put_many(
        _item(record_key(each.incident.id), "incident", entry.sequence)
        | expiry(retention, float(each.incident.timestamp))
        for each in attributed
    )
    table.put_many(
        _item(record_key(each.id), "rejected", entry.sequence) | expiry(retention, committed_at)
        for each in rejected
    )
    # Only these can be overtaken: a poll that wakes up late must not make an attributed id wait again.
    table.put_each_new(
        _item(record_key(each.incident.id), "unattributed", entry.sequence)
        | expiry(retention, float(each.incident.timestamp))
        for each in waiting
    )
    lay_out_erased(table, entry)
    lay_out_summaries(table, entry)
    advance_state(table, entry)


def _item(key: Key, outcome: str, sequence: int) -> Item:
    pk, sk = key
    return {"pk": {"S": pk}, "sk": {"S": sk}, "outcome": {"S": outcome}, "sequence": {"N": str(sequence)}}


def _incident_item(decision: Attributed, sequence: int, retention: Retention) -> Item:
    incident = decision.incident
    pk, sk = incident_key(decision.employee_id, incident.timestamp, incident.id)
    item: Item = {
        "pk": {"S": pk},
        "sk": {"S": sk},
        "json": {"S": incident.render(decision.employee_id)},
        "priority": {"S": incident.priority},
        "type": {"S": incident.type},
        "timestamp": {"N": incident.timestamp},
        "sequence": {"N": str(sequence)},
    }
    return item | expiry(retention, float(incident.timestamp))


def _rejected_item(decision: Rejected, entry: Entry, retention: Retention) -> Item:
    item: Item = {
        "pk": {"S": REJECTED},
        "sk": {"S": decision.id},
        "type": {"S": decision.type},
        "code": {"S": decision.code},
        "reason": {"S": decision.reason},
        "record": {"S": decision.record},
        "sequence": {"N": str(entry.sequence)},
        "rejected_at": {"S": entry.committed_at},
    }
    return item | expiry(retention, parse_rfc3339(entry.committed_at))
