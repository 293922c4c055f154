"""A source's rolling window: what it served, sorted out before anything is decided about it."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence, Set
from decimal import Decimal
from heapq import nlargest
from typing import NamedTuple

from shared.domain.exact_json import JsonValue, members
from shared.domain.incident import Incident, RejectedRecordError, normalise, rejected_id, write_rejected
from shared.domain.journal import Rejected
from shared.domain.retention import Retention

DIGEST_BYTES = 12
# Rejected records may have no time: they share a bucket that no hour of a timestamp can be.
_REJECTED_BUCKET = -1
_REJECTED_RECORD_CHARACTERS = 4_096
# Several, because one of them may have been taken back; few and short, because they stand in the state.
_NEWEST = 3
_NEWEST_CHARACTERS = 12


class MalformedWindowError(ValueError):
    """The source's answer is not ``{"results": [...]}``: it is not taken at all."""


class Window(NamedTuple):
    """One source's answer: by id what can be an incident and what can't, and how many are past their time.

    ``records`` counts what was served, equal records and too old ones included; ``past`` is how the ids of
    the too old ones begin.
    """

    type: str
    records: int
    incidents: Mapping[str, Incident]
    rejected: Mapping[str, Rejected]
    too_old: int
    past: Set[str] = frozenset()

    def ids_by_hour(self) -> Mapping[int, Sequence[str]]:
        """Ids by the hour of their timestamp (epoch seconds // 3600); rejected ones in one of their own."""
        by_hour: dict[int, list[str]] = defaultdict(list)
        for incident in self.incidents.values():
            by_hour[int(incident.timestamp.partition(".")[0]) // 3600].append(incident.id)
        if self.rejected:
            by_hour[_REJECTED_BUCKET].extend(self.rejected)
        return by_hour

    def newest(self) -> tuple[str, ...]:
        """How the newest incidents' ids begin: by them the next window is known to go on from this one."""
        newest = nlargest(
            _NEWEST, self.incidents.values(), key=lambda each: (Decimal(each.timestamp), each.id)
        )
        return tuple(incident.id[:_NEWEST_CHARACTERS] for incident in newest)

    def holds_any(self, newest: Collection[str]) -> bool:
        """Whether any of those that :meth:`newest` gave for another window is in this one."""
        return not self.past.isdisjoint(newest) or any(
            incident_id[:_NEWEST_CHARACTERS] in newest for incident_id in self.incidents
        )


def digest_ids(ids: Sequence[str]) -> bytes:
    """A digest of a set of ids: 96 bits, whatever their order."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).digest()[:DIGEST_BYTES]


def sort_out(incident_type: str, answer: JsonValue, *, now: float, retention: Retention) -> Window:
    """Make a window of a source's parsed answer, at ``now`` (epoch seconds).

    A record that can't be an incident is set aside with its reason; the rest goes on. Raises
    :class:`MalformedWindowError` when the answer as a whole is not what a source serves.
    """
    found = members(answer) if isinstance(answer, Mapping) else ()
    results, *others = [value for name, value in found if name == "results"] or [None]
    if others:
        raise MalformedWindowError("the answer has several lists of results")
    if not isinstance(results, list):
        raise MalformedWindowError("the answer is not an object with a list of results")
    incidents: dict[str, Incident] = {}
    rejected: dict[str, Rejected] = {}
    too_old = 0
    past: set[str] = set()
    for record in results:
        try:
            incident = normalise(incident_type, record, now=now)
        except RejectedRecordError as error:
            record_id = rejected_id(incident_type, record)
            excerpt = write_rejected(record)[:_REJECTED_RECORD_CHARACTERS]
            rejected[record_id] = Rejected(record_id, incident_type, error.code, str(error), excerpt)
            continue
        if retention.is_too_old(incident.timestamp, now):
            too_old += 1
            past.add(incident.id[:_NEWEST_CHARACTERS])
        else:
            incidents.setdefault(incident.id, incident)
    return Window(incident_type, len(results), incidents, rejected, too_old, past)
