"""Forgetting one employee: an entry of the journal that says what, laid out by taking it away.

A poll that sleeps while it lays an older entry out could bring an item back. It can't sleep for longer than
Lambda lets it live, so each erasure is done a second time when no such poll can be alive any more; then the
entry itself forgets whom it was about.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import chain, starmap

from shared.domain.erasure import TraceCollector
from shared.domain.journal import Decision, Entry, Erased, Rejected, Traces, forget
from shared.domain.rfc3339 import parse_rfc3339
from shared.store.entries import decode_entry, read_entry, rewrite_entry
from shared.store.incidents import of_employee
from shared.store.keys import (
    ERASURES,
    INCIDENTS,
    JOURNAL,
    REJECTED,
    UNATTRIBUTED,
    Key,
    erasure_key,
    incident_key,
    journal_key,
    record_key,
)
from shared.store.state import State, record_settled
from shared.store.summaries import forget_erased
from shared.store.table import Item, Table

# Lambda ends a function after 15 minutes at most; the clock that an entry was committed by may be another
# 15 wrong, or AWS would not have taken its signature.
SETTLED_AFTER_SECONDS = 1_800.0
_REJECTED_ATTRIBUTES = ("sk", "type", "code", "reason", "record")


class TraceSearch:
    """Finds all records about one employee, and later those that have come in since."""

    def __init__(self, table: Table, employee_id: str) -> None:
        self._table = table
        self._employee_id = employee_id
        self._collector = TraceCollector(employee_id)
        self._read_up_to = 0

    def go_on(self, up_to: int, *, look: Callable[[int], object] = lambda sequence: None) -> Sequence[Erased]:
        """What is to be erased as of the sequence ``up_to``; what was erased since is left out.

        The first time it reads the whole journal and all rejected records, later the new entries alone.
        ``look`` is told the sequence of each entry read.
        """
        is_first = not self._read_up_to
        if up_to > self._read_up_to:
            between = journal_key(self._read_up_to + 1)[1], journal_key(up_to)[1]
            for item in self._table.query(JOURNAL, between=between):
                entry = decode_entry(item)
                self._collector.look_at(entry)
                look(entry.sequence)
            self._read_up_to = up_to
        if is_first:
            self._look_into_the_table()
        return self._collector.found()

    def _look_into_the_table(self) -> None:
        span = of_employee(self._employee_id)
        for item in self._table.query(INCIDENTS, between=(span.low, span.high), attributes=("sk",)):
            _, timestamp, incident_id = item["sk"]["S"].split("#")
            self._collector.add_stored_incident(incident_id, timestamp)
        for item in self._table.query(REJECTED, attributes=_REJECTED_ATTRIBUTES):
            id, type, code, reason, record = (item[name]["S"] for name in _REJECTED_ATTRIBUTES)
            self._collector.add_stored_rejected(Rejected(id, type, code, reason, record))


def is_erasure(entry: Entry) -> bool:
    """Whether all that the entry does is to take away: no harm comes of laying it out at any later time."""
    return bool(entry.decisions) and all(isinstance(each, Erased) for each in entry.decisions)


def lay_out_erased(table: Table, entry: Entry) -> None:
    """Take away what the entry says, wherever it is; what is gone already stays gone.

    The ids are marked first: at no moment does one say that its record is there when it is not.
    """
    traces = {each.id: each.traces for each in entry.decisions if isinstance(each, Erased) and each.traces}
    if not traces:
        return
    table.at_once(lambda record_id: _mark(table, record_id, entry.sequence), traces)
    table.delete_many(chain.from_iterable(starmap(_keys, traces.items())))
    places: dict[int, dict[int, str]] = defaultdict(dict)
    for record_id, each in traces.items():
        for sequence, position in each.places:
            places[sequence][position] = record_id
    table.at_once(lambda place: _forget_decisions(table, *place), places.items())
    table.put_many([_erasure_item(entry)])


def settle_erasures(table: Table, *, state: State, now: float, has_time: Callable[[], bool]) -> None:
    """Do those of long enough ago once more, and let their entries forget whom they were about.

    Costs nothing where all are settled. ``now`` is epoch seconds.
    """
    if state.erased == state.settled:
        return
    for item in table.query(ERASURES):
        if now - parse_rfc3339(item["committed_at"]["S"]) < SETTLED_AFTER_SECONDS or not has_time():
            return
        sequence = int(item["sk"]["S"])
        # It may have expired: then so has all that it erased.
        if entry := read_entry(table, sequence):
            lay_out_erased(table, entry)
            forget_erased(table, entry)
            rewrite_entry(table, sequence, forget)
        table.delete_many([erasure_key(sequence)])
        # Each by itself: what readers keep of before must not wait for an erasure that came later.
        record_settled(table, sequence)
    record_settled(table, state.erased)


def _keys(record_id: str, traces: Traces) -> Sequence[Key]:
    """The items that hold the record, of which not all need to be there."""
    if not traces.timestamp:
        return [(REJECTED, record_id)]
    incident = incident_key(traces.employee_id, traces.timestamp, record_id)
    return [incident, (UNATTRIBUTED, record_id)]


def _mark(table: Table, record_id: str, sequence: int) -> None:
    """The id stays, as long as it would have: else the upstream's next answer would bring the record back."""
    table.update(
        record_key(record_id),
        expression="SET outcome = :erased, #sequence = :sequence",
        condition="attribute_exists(pk)",
        names={"#sequence": "sequence"},
        values={":erased": {"S": "erased"}, ":sequence": {"N": str(sequence)}},
    )


def _forget_decisions(table: Table, sequence: int, ids: dict[int, str]) -> None:
    def without(decisions: Sequence[Decision]) -> Sequence[Decision]:
        return [
            Erased(decision.record_id) if ids.get(position) == decision.record_id else decision
            for position, decision in enumerate(decisions)
        ]

    rewrite_entry(table, sequence, without)


def _erasure_item(entry: Entry) -> Item:
    pk, sk = erasure_key(entry.sequence)
    return {"pk": {"S": pk}, "sk": {"S": sk}, "committed_at": {"S": entry.committed_at}}
