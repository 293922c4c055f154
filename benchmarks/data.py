"""Tables of as many incidents as one likes, taken in as the poller takes them in.

The incidents are the simulator's. There are as many people as incidents, so an employee who has any has 1.6
of them.
"""

import time
from collections.abc import Iterator
from heapq import merge
from itertools import batched
from typing import Any, cast

from benchmarks.dynamodb import CountingDynamoDB, compact
from benchmarks.functions import TABLE_NAME
from local.simulator import INCIDENT_TYPES, Generator, SimulatorSettings
from shared.domain.attribution import Identities, attribute, make_identities
from shared.domain.exact_json import parse
from shared.domain.incident import Incident, normalise
from shared.domain.journal import MAX_ENTRY_RECORDS, Attributed, Decision, Entry, Totals
from shared.domain.overview import Basis
from shared.domain.poll_report import PollReport
from shared.domain.retention import Retention
from shared.domain.rfc3339 import format_rfc3339
from shared.domain.risk import DEFAULT_SCALE
from shared.store.entries import commit_entry
from shared.store.keys import INCIDENTS
from shared.store.projection import project_entry
from shared.store.recount import recount
from shared.store.signing_keys import rotate_signing_keys
from shared.store.state import record_report
from shared.store.table import Table
from tests.fakes import Item

KEEP_ALL = Retention(0)
_KINDS_OF_MANY = (INCIDENTS, "ID#")


class Past:
    """What the upstream has served up to now: ``size`` incidents, newest last, and who has which address."""

    def __init__(self, size: int, *, now: float | None = None) -> None:
        self.now = time.time() if now is None else now
        self.size = size
        self._settings = SimulatorSettings(seed=1, identities=max(size, 100))
        self._generator = Generator(self._settings)
        self._slot_seconds = self._settings.window_seconds / (self._settings.records_per_type + 2)

    def texts(self, incident_type: str, *, newest: int, upcoming: int = 0) -> list[str]:
        """The JSON of the ``newest`` records of a type, of which ``upcoming`` have not happened yet."""
        end = int(self.now / self._slot_seconds) + upcoming
        return [self._generator.incident(incident_type, index).text for index in range(end - newest, end)]

    def identities(self) -> dict[str, str]:
        """Everybody's address."""
        people = parse(self._generator.identities_body(self.now))
        return {ip: employee.text for ip, employee in cast("dict[str, Any]", people).items()}

    def incidents(self) -> Iterator[Incident]:
        """All of them, in the order of time."""
        each_has, over = divmod(self.size, len(INCIDENT_TYPES))
        return merge(
            *(
                self._incidents_of(kind, each_has + (number < over))
                for number, kind in enumerate(INCIDENT_TYPES)
            ),
            key=lambda each: each.timestamp,
        )

    def _incidents_of(self, kind: str, number: int) -> Iterator[Incident]:
        end = int(self.now / self._slot_seconds)
        for index in range(end - number, end):
            yield normalise(kind, parse(self._generator.incident(kind, index).text), now=self.now)


class _Loader(CountingDynamoDB):
    """Takes what is there in great numbers aside, to be put in order of its keys, which is much quicker."""

    def __init__(self) -> None:
        super().__init__()
        self._aside: list[Item] | None = []

    def batch_write_item(self, **request: Any) -> dict[str, Any]:
        """BatchWriteItem."""
        parts = request["RequestItems"][TABLE_NAME]
        items = [part["PutRequest"]["Item"] for part in parts if "PutRequest" in part]
        if self._aside is None or not items or not items[0]["pk"]["S"].startswith(_KINDS_OF_MANY):
            return super().batch_write_item(**request)
        self._aside.extend(compact(item) for item in items)
        return {"UnprocessedItems": {}}

    def settle(self) -> None:
        """Put in what was set aside, and be a table like any other from now on, of which nothing is counted
        yet.
        """
        items, self._aside = self._aside or [], None
        items.sort(key=lambda item: (item["pk"]["S"], item["sk"]["S"]))
        self.load_for_free(items)
        self.requests.clear()
        self.read_units = self.write_units = 0


def make_table(past: Past) -> CountingDynamoDB:
    """A table that holds all of the past, in entries of a thousand, with its state and its keys."""
    loader = _Loader()
    table = Table(TABLE_NAME, client=loader)  # type: ignore[arg-type]  # as much of one as the store needs
    identities = make_identities(past.identities())
    totals = Totals()
    # Counted from the first entry on.
    recount(table, Basis(DEFAULT_SCALE, KEEP_ALL), has_time=lambda: True)
    for sequence, incidents in enumerate(batched(past.incidents(), MAX_ENTRY_RECORDS, strict=False), start=1):
        decisions = tuple(_attributed(each, identities) for each in incidents)
        totals = totals.after(decisions)
        entry = Entry(sequence, f"poll-{sequence}", format_rfc3339(past.now), decisions, totals)
        commit_entry(table, entry, KEEP_ALL)
        project_entry(table, entry, KEEP_ALL)
        loader.requests.clear()
    rotate_signing_keys(table, now=past.now - 600, retention=KEEP_ALL)
    record_report(table, lambda _: PollReport(past.now, 1, past.now), attempted_at=past.now)
    loader.settle()
    return loader


def _attributed(incident: Incident, identities: Identities) -> Decision:
    employee_id = attribute(incident, identities)
    if employee_id is None:
        raise ValueError("the past has an address that nobody has")
    return Attributed(incident, employee_id)
