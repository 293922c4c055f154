"""The one small item that says where the store is and how the poller does."""

import json
from collections.abc import Callable
from typing import NamedTuple

from shared.domain.journal import Entry, Erased, Totals
from shared.domain.poll_report import PollReport
from shared.store.keys import STATE_KEY
from shared.store.table import Item, Table

_FAR_AHEAD_SECONDS = 3600
# Others report in between once in a blue moon.
_REPORT_TRIES = 5


class State(NamedTuple):
    """What the reader serves from: the last sequence laid out, and the last poll's report.

    ``projected`` is 0 before the first poll that took anything in; ``committed_at`` is empty until then.
    ``erased`` is the sequence of the last entry that erased anything: what was read before, at whatever
    snapshot, may hold it still. Those up to ``settled`` nobody can undo any more. ``summaries`` is the name
    of the overview that readers may use (:mod:`shared.store.overviews`), empty while there is none, ``"3:"``
    while the third generation is counted.
    """

    projected: int = 0
    committed_at: str = ""
    totals: Totals = Totals()
    attributed_with: str = ""
    erased: int = 0
    settled: int = 0
    summaries: str = ""
    polls: int = 0
    successful_updates: int = 0
    failed_updates: int = 0
    report: PollReport = PollReport()


def read_state(table: Table) -> State:
    """The state: one consistent read of one item; an empty table has the empty state."""
    return decode_state(table.get(STATE_KEY))


def decode_state(item: Item | None) -> State:
    """The state in its item; that of an empty table where there is none."""
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
    names = _names("projected", "committed_at", "totals", "attributed_with")
    expression = (
        "SET #projected = :sequence, #committed_at = :committed_at, #totals = :totals,"
        " #attributed_with = :attributed_with"
    )
    if any(isinstance(each, Erased) for each in entry.decisions):
        names |= _names("erased")
        expression += ", #erased = :sequence"
    return table.update(
        STATE_KEY,
        expression=expression,
        condition="attribute_not_exists(#projected)" if first else "#projected = :previous",
        names=names,
        values=values,
    )


def record_attempt(table: Table, report: PollReport, *, on_top_of: PollReport | None = None) -> bool:
    """Take in the report of a poll, counters included. False if a later attempt has reported already.

    ``on_top_of`` is the report that this one was made from: False also if that is not the latest any more. An
    attempt of more than an hour ahead is of a clock that was wrong: it does not stop the reports after it.
    """
    succeeded = report.last_error is None
    values: Item = {
        ":report": {"S": json.dumps(report.to_json(), separators=(",", ":"))},
        ":attempt": {"N": f"{report.attempted_at:.6f}"},
        ":one": {"N": "1"},
    }
    far_ahead = report.attempted_at + _FAR_AHEAD_SECONDS
    if on_top_of is None:
        condition = "attribute_not_exists(#attempt) OR #attempt < :attempt OR #attempt > :far_ahead"
        values[":far_ahead"] = {"N": f"{far_ahead:.6f}"}
    elif report.attempted_at <= on_top_of.attempted_at <= far_ahead:
        return False
    elif on_top_of.attempted_at:
        condition = "#attempt = :latest"
        values[":latest"] = {"N": f"{on_top_of.attempted_at:.6f}"}
    else:
        condition = "attribute_not_exists(#attempt)"
    return table.update(
        STATE_KEY,
        expression="SET #report = :report, #attempt = :attempt ADD #polls :one, #outcome :one",
        condition=condition,
        names={
            **_names("report", "attempt", "polls"),
            "#outcome": "successful_updates" if succeeded else "failed_updates",
        },
        values=values,
    )


def record_report(
    table: Table, make: Callable[[PollReport], PollReport], *, attempted_at: float
) -> tuple[State, PollReport]:
    """Take in the report that ``make`` makes on top of the latest one, as :func:`record_attempt` does.

    It is made anew when another poll has reported since the latest was read: what that one knows stays.
    Returns the state before, and the report.
    """
    for _ in range(_REPORT_TRIES):
        state = read_state(table)
        if state.report.attempted_at == attempted_at:
            return state, state.report
        report = make(state.report)
        if record_attempt(table, report, on_top_of=state.report) or state.report.attempted_at > attempted_at:
            return state, report
    record_attempt(table, report)
    return state, report


def record_attributed_with(table: Table, digest: str, *, at: int) -> bool:
    """Say that all that is unattributed at sequence ``at`` was tried with the identities of ``digest``."""
    return table.update(
        STATE_KEY,
        expression="SET #attributed_with = :digest",
        condition="#projected = :at",
        names=_names("attributed_with", "projected"),
        values={":digest": {"S": digest}, ":at": {"N": str(at)}},
    )


def record_settled(table: Table, sequence: int) -> bool:
    """Say that all erasures up to ``sequence`` are settled; False if that, or more, is said already."""
    return table.update(
        STATE_KEY,
        expression="SET #settled = :sequence",
        condition="attribute_not_exists(#settled) OR #settled < :sequence",
        names=_names("settled"),
        values={":sequence": {"N": str(sequence)}},
    )


def record_summaries(table: Table, name: str, *, at: int) -> bool:
    """Say that at the sequence ``at`` the overview of this name is whole; False if the state is further."""
    return table.update(
        STATE_KEY,
        expression="SET #summaries = :name",
        condition="#projected = :at" if at else "attribute_not_exists(#projected)",
        names=_names("summaries", "projected"),
        values={":name": {"S": name}, **({":at": {"N": str(at)}} if at else {})},
    )


def _names(*attributes: str) -> dict[str, str]:
    return {f"#{attribute}": attribute for attribute in attributes}


def _decode(item: Item) -> State:
    return State(
        projected=_number(item, "projected"),
        committed_at=item["committed_at"]["S"] if "committed_at" in item else "",
        totals=Totals.from_text(item["totals"]["S"]) if "totals" in item else Totals(),
        attributed_with=item["attributed_with"]["S"] if "attributed_with" in item else "",
        erased=_number(item, "erased"),
        settled=_number(item, "settled"),
        summaries=item["summaries"]["S"] if "summaries" in item else "",
        polls=_number(item, "polls"),
        successful_updates=_number(item, "successful_updates"),
        failed_updates=_number(item, "failed_updates"),
        report=PollReport.from_json(json.loads(item["report"]["S"])) if "report" in item else PollReport(),
    )


def _number(item: Item, attribute: str) -> int:
    return int(item[attribute]["N"]) if attribute in item else 0
