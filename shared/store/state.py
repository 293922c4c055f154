"""The one small item that says where the store is and how the poller does."""

import json
from dataclasses import dataclass, field

from shared.domain.journal import Entry, Totals
from shared.domain.poll_report import PollReport
from shared.store.keys import STATE_KEY
from shared.store.table import Item, Table

_FAR_AHEAD_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class State:
    """What the reader serves from: the last sequence laid out, and the last poll's report.

    ``projected`` is 0 before the first poll that took anything in; ``committed_at`` is empty until then.
    """

    projected: int = 0
    committed_at: str = ""
    totals: Totals = field(default_factory=Totals)
    attributed_with: str = ""
    polls: int = 0
    successful_updates: int = 0
    failed_updates: int = 0
    report: PollReport = field(default_factory=PollReport)


def read_state(table: Table) -> State:
    """The state: one consistent read of one item; an empty table has the empty state."""
    item = table.get(STATE_KEY)
    return _decode(item) if item else State()


def advance_state(table: Table, entry: Entry) -> bool:
    """Say that ``entry`` is laid out. False if another poll said so first (or is further)."""
    values: Item = {
        ":sequence": {"N": str(entry.sequence)},
        ":committed_at": {"S": entry.committed_at},
        ":totals": {"S": entry.totals.to_text()},
        ":attributed_with": {"S": entry.attributed_with},
    }
    first = entry.sequence == 1
    if not first:
        values[":previous"] = {"N": str(entry.sequence - 1)}
    return table.update(
        STATE_KEY,
        expression="SET #projected = :sequence, #committed_at = :committed_at, #totals = :totals,"
        " #attributed_with = :attributed_with",
        condition="attribute_not_exists(#projected)" if first else "#projected = :previous",
        names=_names("projected", "committed_at", "totals", "attributed_with"),
        values=values,
    )


def record_attempt(table: Table, report: PollReport) -> bool:
    """Take in the report of a poll, counters included. False if a later attempt has reported already.

    An attempt of more than an hour ahead is of a clock that was wrong: it does not stop the reports after it.
    """
    succeeded = report.last_error is None
    return table.update(
        STATE_KEY,
        expression="SET #report = :report, #attempt = :attempt ADD #polls :one, #outcome :one",
        condition="attribute_not_exists(#attempt) OR #attempt < :attempt OR #attempt > :far_ahead",
        names={
            **_names("report", "attempt", "polls"),
            "#outcome": "successful_updates" if succeeded else "failed_updates",
        },
        values={
            ":report": {"S": json.dumps(report.to_json(), separators=(",", ":"))},
            ":attempt": {"N": f"{report.attempted_at:.6f}"},
            ":far_ahead": {"N": f"{report.attempted_at + _FAR_AHEAD_SECONDS:.6f}"},
            ":one": {"N": "1"},
        },
    )


def record_attributed_with(table: Table, digest: str, *, at: int) -> bool:
    """Say that all that is unattributed at sequence ``at`` was tried with the identities of ``digest``."""
    return table.update(
        STATE_KEY,
        expression="SET #attributed_with = :digest",
        condition="#projected = :at",
        names=_names("attributed_with", "projected"),
        values={":digest": {"S": digest}, ":at": {"N": str(at)}},
    )


def _names(*attributes: str) -> dict[str, str]:
    return {f"#{attribute}": attribute for attribute in attributes}


def _decode(item: Item) -> State:
    return State(
        projected=_number(item, "projected"),
        committed_at=item["committed_at"]["S"] if "committed_at" in item else "",
        totals=Totals.from_text(item["totals"]["S"]) if "totals" in item else Totals(),
        attributed_with=item["attributed_with"]["S"] if "attributed_with" in item else "",
        polls=_number(item, "polls"),
        successful_updates=_number(item, "successful_updates"),
        failed_updates=_number(item, "failed_updates"),
        report=PollReport.from_json(json.loads(item["report"]["S"])) if "report" in item else PollReport(),
    )


def _number(item: Item, attribute: str) -> int:
    return int(item[attribute]["N"]) if attribute in item else 0
