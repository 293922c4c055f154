"""One poll: lay out what is committed, fetch, decide, commit, lay out, report (docs/data-model.md)."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from functions.poller.decide import decide
from functions.poller.sources import TakenSources, take_sources
from functions.poller.upstream import Upstream
from shared.domain.attribution import Identities
from shared.domain.incident import INCIDENT_TYPES
from shared.domain.journal import Attributed, Decision, Entry, Rejected, Unattributed, split_decisions
from shared.domain.poll_report import IDENTITIES_SOURCE, PollError, PollReport
from shared.domain.retention import Retention
from shared.domain.rfc3339 import format_rfc3339
from shared.domain.window import Window, digest_ids
from shared.store.digests import read_digests, store_digests
from shared.store.entries import CommitConflictError, commit_entry
from shared.store.identities import read_identities, store_identities
from shared.store.projection import project_committed, project_entry
from shared.store.records import known_ids
from shared.store.signing_keys import rotate_signing_keys
from shared.store.state import State, read_state, record_attempt, record_attributed_with
from shared.store.table import Table
from shared.store.unattributed import read_open

# The rest of the invocation's time is for storing what was fetched.
_FETCH_SHARE = 0.6
_IDENTITIES_GOOD_FOR_SECONDS = 24 * 3600
# Looking up more ids than this costs more than storing the digests that would have spared it.
_LOOKUPS_WORTH_DIGESTS = 100


@dataclass(frozen=True, slots=True)
class PollSummary:
    """What a poll did, in counts: for the log and for the caller of the function.

    ``outcome``: it ``succeeded`` (took in at least one source), ``failed`` (took none), or was
    ``superseded`` by another poll, which decided first; then it changed nothing.
    """

    poll_id: str
    outcome: Literal["succeeded", "failed", "superseded"]
    sequence: int = 0
    records: int = 0
    new_incidents: int = 0
    new_unattributed: int = 0
    new_rejected: int = 0
    attributed_late: int = 0
    unattributed: int = 0
    duration_ms: int = 0
    sources: Mapping[str, str] = field(default_factory=dict)


class Poller:
    """Brings what is new from the upstream into the table, exactly once."""

    def __init__(
        self,
        *,
        table: Table,
        upstream: Upstream,
        retention: Retention,
        concurrency: int,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._upstream = upstream
        self._retention = retention
        self._concurrency = concurrency
        self._clock = clock
        self._monotonic = monotonic

    def poll(self, *, seconds_left: float) -> PollSummary:
        """Run one poll within ``seconds_left``.

        An upstream that fails is part of the summary and of the state. What fails on this side (the
        table, say) is noted in the state where that is still possible, and raised.
        """
        # Never the event's id: EventBridge may deliver an event twice, and these would take each other for
        # themselves.
        poll_id = uuid.uuid4().hex
        attempt = _Attempt(self._clock(), self._monotonic(), seconds_left)
        try:
            return self._poll(poll_id, attempt)
        except CommitConflictError:
            return PollSummary(poll_id, "superseded", duration_ms=self._milliseconds_since(attempt))
        except Exception as error:
            self._report_crash(attempt, error)
            raise

    def _poll(self, poll_id: str, attempt: "_Attempt") -> PollSummary:
        state = project_committed(self._table, self._retention)
        rotate_signing_keys(self._table, now=attempt.at)
        taken = take_sources(
            self._upstream,
            previous=state.report.sources,
            concurrency=self._concurrency,
            deadline=attempt.started + attempt.seconds_left * _FETCH_SHARE,
            now=attempt.at,
            retention=self._retention,
        )
        identities = taken.identities or self._stored_identities(state, attempt.at)
        unsure = {kind: self._unsure_ids(window) for kind, window in taken.windows.items()}
        all_unsure = set(chain.from_iterable(unsure.values()))
        # Records wait until the identities say something that they were not tried with yet.
        tried_with = identities.digest if identities else ""
        retry = bool(identities and state.totals.unattributed and state.attributed_with != tried_with)
        decisions = decide(
            taken.windows.values(),
            new_ids=all_unsure - known_ids(self._table, all_unsure),
            waiting=read_open(self._table) if retry else (),
            identities=identities,
        )
        entries = self._commit(state, decisions, poll_id, tried_with, first_data=bool(taken.windows))
        if retry and not entries:
            record_attributed_with(self._table, tried_with, at=state.projected)
        sequence = entries[-1].sequence if entries else state.projected
        self._store_digests(taken, unsure, sequence, committed=bool(decisions))
        if taken.identities and taken.identities.digest != state.report.identities_digest:
            store_identities(self._table, taken.identities, fetched_at=attempt.at)
        report = self._report(state, taken, attempt)
        record_attempt(self._table, report)
        return self._summary(poll_id, report, taken, decisions, state if not entries else entries[-1])

    def _stored_identities(self, state: State, now: float) -> Identities | None:
        """The last good identities, if they are fresh enough to attribute by."""
        stored = read_identities(self._table)
        if stored is None:
            return None
        identities, fetched_at = stored
        confirmed_at = state.report.sources[IDENTITIES_SOURCE].last_success_at
        if confirmed_at and identities.digest == state.report.identities_digest:
            fetched_at = max(fetched_at, confirmed_at)
        return identities if now - fetched_at <= _IDENTITIES_GOOD_FOR_SECONDS else None

    def _unsure_ids(self, window: Window) -> set[str]:
        """Ids of those hours of the window that are not, as they are, in the store already."""
        stored = read_digests(self._table, window.type)
        hours = window.ids_by_hour().items()
        return {each for hour, ids in hours if stored.get(hour) != digest_ids(ids) for each in ids}

    def _commit(
        self, state: State, decisions: Sequence[Decision], poll_id: str, tried_with: str, *, first_data: bool
    ) -> list[Entry]:
        """Commit the decisions, an entry after the other, each laid out before the next."""
        portions = list(split_decisions(decisions))
        if not portions and first_data and state.projected == 0:
            # An empty upstream is a success too: from the first entry on there is data, of no incidents.
            portions = [()]
        entries: list[Entry] = []
        totals = state.totals
        for number, portion in enumerate(portions, start=1):
            totals = totals.after(portion)
            entry = Entry(
                sequence=state.projected + number,
                poll_id=poll_id,
                committed_at=format_rfc3339(self._clock()),
                decisions=portion,
                totals=totals,
                attributed_with=tried_with if number == len(portions) else "",
            )
            commit_entry(self._table, entry, self._retention)
            project_entry(self._table, entry, self._retention)
            entries.append(entry)
        return entries

    def _store_digests(
        self, taken: TakenSources, unsure: Mapping[str, set[str]], sequence: int, *, committed: bool
    ) -> None:
        for kind, window in taken.windows.items():
            if unsure[kind] and (committed or len(unsure[kind]) > _LOOKUPS_WORTH_DIGESTS):
                digests = {hour: digest_ids(ids) for hour, ids in window.ids_by_hour().items()}
                store_digests(self._table, kind, digests, sequence=sequence)

    def _report(self, state: State, taken: TakenSources, attempt: "_Attempt") -> PollReport:
        error = None if taken.windows else _why_none(taken, attempt.at)
        return PollReport(
            attempted_at=attempt.at,
            duration_ms=self._milliseconds_since(attempt),
            last_success_at=state.report.last_success_at if error else attempt.at,
            consecutive_failures=state.report.consecutive_failures + 1 if error else 0,
            last_error=error,
            identities_digest=taken.identities.digest if taken.identities else state.report.identities_digest,
            sources=taken.reports,
        )

    def _report_crash(self, attempt: "_Attempt", error: Exception) -> None:
        """Say in the state that this poll failed on our side, if the state can be written at all."""
        try:
            report = read_state(self._table).report
            record_attempt(
                self._table,
                report.crashed(
                    PollError("internal", f"the poll ended with {type(error).__name__}", None, attempt.at),
                    duration_ms=self._milliseconds_since(attempt),
                ),
            )
        except Exception as second:
            error.add_note(f"The failure could not be noted in the state: {type(second).__name__}")

    def _summary(
        self,
        poll_id: str,
        report: PollReport,
        taken: TakenSources,
        decisions: Sequence[Decision],
        after: State | Entry,
    ) -> PollSummary:
        late = sum(isinstance(each, Attributed) and each.was_unattributed for each in decisions)
        return PollSummary(
            poll_id=poll_id,
            outcome="failed" if report.last_error else "succeeded",
            sequence=after.projected if isinstance(after, State) else after.sequence,
            records=sum(window.records for window in taken.windows.values()),
            new_incidents=sum(isinstance(each, Attributed) for each in decisions) - late,
            new_unattributed=sum(isinstance(each, Unattributed) for each in decisions),
            new_rejected=sum(isinstance(each, Rejected) for each in decisions),
            attributed_late=late,
            unattributed=after.totals.unattributed,
            duration_ms=report.duration_ms,
            sources={source: each.state for source, each in report.sources.items()},
        )

    def _milliseconds_since(self, attempt: "_Attempt") -> int:
        return round((self._monotonic() - attempt.started) * 1000)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """When a poll began, on the wall (epoch seconds) and on the monotonic clock, and its time in seconds."""

    at: float
    started: float
    seconds_left: float


def _why_none(taken: TakenSources, at: float) -> PollError:
    """Why no source could be taken: the sources' common reason, or that they had several."""
    errors = [error for kind in INCIDENT_TYPES if (error := taken.reports[kind].last_error)]
    if len({error.error_class for error in errors}) == 1:
        return errors[0]
    return PollError("several", "no source could be taken, for several reasons: see the sources", None, at)
