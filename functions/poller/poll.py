"""One poll: lay out what is committed, fetch, decide, commit, lay out, report (docs/data-model.md)."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from copy import replace
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from functions.poller.decide import decide
from functions.poller.notify import Notifier, Told, name_error
from functions.poller.sources import TakenSources, take_sources
from functions.poller.summary import (
    Outcome,
    PollSummary,
    count_decisions,
    describe_report,
    describe_sources,
    make_report,
)
from functions.poller.upstream import Upstream
from shared.domain.attribution import Identities
from shared.domain.incident import Incident
from shared.domain.journal import Decision
from shared.domain.overview import Basis
from shared.domain.poll_report import IDENTITIES_SOURCE, PollError, PollReport
from shared.domain.retention import Retention
from shared.domain.risk import DEFAULT_SCALE, RiskScale
from shared.domain.window import Window, digest_ids
from shared.store.commit import Commit, commit_decisions
from shared.store.digests import read_digests, store_digests
from shared.store.erasure import settle_erasures
from shared.store.identities import read_identities, store_identities
from shared.store.notifications import Notified
from shared.store.projection import project_committed
from shared.store.records import ids_with, known_ids
from shared.store.recount import is_current, recount
from shared.store.signing_keys import rotate_signing_keys
from shared.store.state import State, read_state, record_attributed_with, record_report
from shared.store.table import Table, ThrottledError
from shared.store.unattributed import read_open

# Fetching gets this share of the invocation's time; the last seconds are for the report.
_FETCH_SHARE = 0.6
_REPORT_SECONDS = 15.0
# Telling of new incidents may take of these, but for the last.
_LAST_SECONDS = 12.0
_IDENTITIES_GOOD_FOR_SECONDS = 24 * 3600
_DAY_SECONDS = 24 * 3600
# Looking up more ids than this costs more than storing the digests that would have spared it.
_LOOKUPS_WORTH_DIGESTS = 100


class Poller:
    """Brings what is new from the upstream into the table, exactly once."""

    def __init__(
        self,
        *,
        table: Table,
        upstream: Upstream,
        retention: Retention,
        concurrency: int,
        scale: RiskScale = DEFAULT_SCALE,
        notifier: Notifier | None = None,
        observe: Callable[[PollSummary], None] = lambda summary: None,
        observe_told: Callable[[Told], None] = lambda told: None,
        observe_settled: Callable[[str], None] = lambda error: None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._upstream = upstream
        self._retention = retention
        self._basis = Basis(scale, retention)
        self._concurrency = concurrency
        self._notifier = notifier or Notifier(table, None, ())
        self._observe = observe
        self._observe_told = observe_told
        self._observe_settled = observe_settled
        self._clock = clock
        self._monotonic = monotonic
        # The entry up to which this very poller has found everybody counted.
        self._counted_at: int | None = None

    def poll(self, *, seconds_left: float) -> PollSummary:
        """Run one poll within ``seconds_left``.

        An upstream that fails is part of the summary and of the state. What fails on this side (the
        table, say) is noted in the state where that is still possible, and raised. ``observe`` gets the
        summary of every poll, of a crashed one too, ``observe_told`` what people were told of,
        ``observe_settled`` the name of the error that kept erasures from being settled, or nothing.
        """
        # Never the event's id: EventBridge may deliver an event twice, and these would take each other for
        # themselves.
        attempt = _Attempt(uuid.uuid4().hex, self._clock(), self._monotonic(), seconds_left)
        try:
            summary = self._poll(attempt)
        except Exception as error:  # raised again: whatever it is, health must tell that the poll failed
            self._observe(self._report_crash(attempt, error))
            raise
        # First, because Lambda may cut a poll off while it waits for the topic.
        self._observe(summary)
        if summary.outcome == "superseded":
            # Whoever committed tells.
            return summary
        told = self._notifier.tell(
            attempt.notified,
            summary.sequence,
            poll_id=attempt.poll_id,
            now=self._clock(),
            until=attempt.at + seconds_left,
            has_time=lambda: self._monotonic() < attempt.started + seconds_left - _LAST_SECONDS,
        )
        self._observe_told(told)
        settling_error = self._settle_erasures(attempt)
        self._observe_settled(settling_error)
        return replace(
            summary,
            notified=told.incidents,
            notification_error=told.error,
            settling_error=settling_error,
            recount_error=self._recount(attempt, summary.sequence),
        )

    def _poll(self, attempt: "_Attempt") -> PollSummary:
        before = read_state(self._table)
        state = project_committed(self._table, self._retention, state=before)
        attempt.state = state
        attempt.journal_lag = state.projected - before.projected
        attempt.notified = self._notifier.begin(before.projected)
        if state.projected == 0:
            # There is nothing to count yet: what comes is counted from the first entry on.
            recount(self._table, self._basis, has_time=partial(self._has_time, attempt))
        rotate_signing_keys(self._table, now=attempt.at, retention=self._retention)
        taken = take_sources(
            self._upstream,
            previous=state.report.sources,
            concurrency=self._concurrency,
            deadline=attempt.started + attempt.seconds_left * _FETCH_SHARE,
            now=attempt.at,
            retention=self._retention,
            monotonic=self._monotonic,
        )
        attempt.taken = taken
        look_ups = {kind: self._look_up(window) for kind, window in taken.windows.items()}
        new_ids = set(chain.from_iterable(each.new_ids for each in look_ups.values()))
        commit = self._decide_and_commit(attempt, state, taken, new_ids)
        attempt.committed = commit.decisions
        if commit.superseded:
            # Whoever committed reports; what this poll knows is as old as its decisions.
            return self._summary(attempt, "superseded", taken, commit, None)
        self._store_digests(taken, look_ups, commit)
        if taken.identities:
            store_identities(self._table, taken.identities, fetched_at=attempt.at)
        _, report = record_report(
            self._table,
            lambda latest: make_report(
                latest, taken, attempted_at=attempt.at, duration_ms=self._milliseconds_since(attempt)
            ),
            attempted_at=attempt.at,
        )
        outcome: Outcome = "failed" if report.last_error else "succeeded"
        return self._summary(attempt, outcome, taken, commit, report)

    def _settle_erasures(self, attempt: "_Attempt") -> str:
        """The name of the error that ended it, if one did: the next poll goes on, and this one is over."""
        try:
            has_time = partial(self._has_time, attempt)
            settle_erasures(self._table, state=attempt.state, now=self._clock(), has_time=has_time)
        except (BotoCoreError, ClientError, ThrottledError) as error:
            return name_error(error)
        return ""

    def _recount(self, attempt: "_Attempt", sequence: int) -> str:
        """Count anew where that is due, and name the error that ended it, if one did: the next poll goes on.

        Once all is counted, a poll that finds it as it was looks no further: a begun count must not wait for
        news, nor what an erasure or another version has left.
        """
        if sequence == self._counted_at and is_current(attempt.state, self._basis):
            return ""
        try:
            if recount(self._table, self._basis, has_time=partial(self._has_time, attempt)):
                self._counted_at = sequence
        except (BotoCoreError, ClientError, ThrottledError) as error:
            return name_error(error)
        return ""

    def _look_up(self, window: Window) -> "_LookUp":
        """Ask the store for the window's ids, but for those of hours that it holds just as they are."""
        hours = window.ids_by_hour()
        digests = {hour: digest_ids(ids) for hour, ids in hours.items()}
        known = read_digests(self._table, window.type).known(digests)
        unsure = {each for hour, ids in hours.items() if hour not in known for each in ids}
        return _LookUp(new_ids=unsure - known_ids(self._table, unsure), asked_for=len(unsure))

    def _decide_and_commit(
        self, attempt: "_Attempt", state: State, taken: TakenSources, new_ids: set[str]
    ) -> Commit:
        identities = taken.identities or self._stored_identities(state, attempt.at)
        tried_with = identities.digest if identities else ""
        # Records wait until the identities say something that they were not tried with yet.
        try_again = bool(identities and state.totals.unattributed and state.attributed_with != tried_with)
        waiting: Sequence[Incident] = ()
        counted = state
        if try_again or (taken.windows and self._is_recount_due(state, attempt.at)):
            waiting = self._read_waiting(state, attempt.at)
            counted = replace(state, totals=replace(state.totals, unattributed=len(waiting)))
        decisions = decide(taken.windows.values(), new_ids=new_ids, waiting=waiting, identities=identities)
        commit = commit_decisions(
            self._table,
            counted,
            decisions,
            poll_id=attempt.poll_id,
            tried_with=tried_with,
            # An empty upstream is a success too: from the first entry on there is data, of no incidents.
            even_if_empty=counted != state or bool(taken.windows and state.projected == 0),
            retention=self._retention,
            clock=self._clock,
            has_time=partial(self._has_time, attempt),
        )
        if try_again and commit.sequence == state.projected and not commit.superseded:
            record_attributed_with(self._table, tried_with, at=state.projected)
        return commit

    def _is_recount_due(self, state: State, now: float) -> bool:
        """Whether those that wait have to be counted: retention takes them without a word, so once a day."""
        last_day, day = (int(moment) // _DAY_SECONDS for moment in (state.report.attempted_at, now))
        return bool(self._retention.days and last_day != day)

    def _read_waiting(self, state: State, now: float) -> Sequence[Incident]:
        """All that wait and are not past their time; DynamoDB deletes those that are, in its own time.

        Until an erasure is settled a poll that slept may have made one wait again whose id knows better.
        """
        waiting = [
            incident
            for incident in read_open(self._table)
            if not self._retention.is_too_old(incident.timestamp, now)
        ]
        if state.erased == state.settled:
            return waiting
        really = ids_with(self._table, "unattributed", [each.id for each in waiting])
        return [incident for incident in waiting if incident.id in really]

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

    def _store_digests(self, taken: TakenSources, look_ups: Mapping[str, "_LookUp"], commit: Commit) -> None:
        """Remember the hours all of whose records are in the store now: nobody looks them up again."""
        committed = {decision.record_id for decision in commit.decisions}
        for kind, look_up in look_ups.items():
            worth_it = bool(committed) or look_up.asked_for > _LOOKUPS_WORTH_DIGESTS
            if look_up.asked_for and worth_it:
                missing = look_up.new_ids - committed
                digests = {
                    hour: digest_ids(ids)
                    for hour, ids in taken.windows[kind].ids_by_hour().items()
                    if missing.isdisjoint(ids)
                }
                store_digests(self._table, kind, digests, sequence=commit.sequence)

    def _report_crash(self, attempt: "_Attempt", error: Exception) -> PollSummary:
        """Say in the state that this poll failed on our side, if the state can be written at all."""
        crash = PollError("internal", f"the poll ended with {type(error).__name__}", None, attempt.at)
        duration_ms = self._milliseconds_since(attempt)
        known: dict[str, Any] = {}
        try:
            state, report = record_report(
                self._table,
                lambda latest: latest.crashed(crash, duration_ms=duration_ms),
                attempted_at=attempt.at,
            )
            known = describe_report(report, now=self._clock()) | {"unattributed": state.totals.unattributed}
        except Exception as second:  # the first error is the one to be raised
            error.add_note(f"The failure could not be noted in the state: {type(second).__name__}")
        if attempt.taken:
            known |= describe_sources(attempt.taken)
        return PollSummary(
            poll_id=attempt.poll_id,
            outcome="crashed",
            journal_lag=attempt.journal_lag,
            duration_ms=duration_ms,
            **count_decisions(attempt.committed),
            **known,
        )

    def _summary(
        self,
        attempt: "_Attempt",
        outcome: Outcome,
        taken: TakenSources,
        commit: Commit,
        report: PollReport | None,
    ) -> PollSummary:
        """``report`` is None if this poll has none to make."""
        known: dict[str, Any] = {}
        if report:
            known = describe_report(report, now=self._clock()) | {"unattributed": commit.totals.unattributed}
        return PollSummary(
            poll_id=attempt.poll_id,
            outcome=outcome,
            sequence=commit.sequence,
            postponed=commit.postponed,
            journal_lag=attempt.journal_lag,
            duration_ms=self._milliseconds_since(attempt),
            **describe_sources(taken),
            **count_decisions(commit.decisions),
            **known,
        )

    def _has_time(self, attempt: "_Attempt") -> bool:
        """Whether there is time for more than the report."""
        return self._monotonic() < attempt.started + attempt.seconds_left - _REPORT_SECONDS

    def _milliseconds_since(self, attempt: "_Attempt") -> int:
        return round((self._monotonic() - attempt.started) * 1000)


@dataclass(slots=True)
class _Attempt:
    """A poll under way: when it began, on the wall (epoch seconds) and on the monotonic clock, and its time.

    ``seconds_left`` counts from then. ``state`` is what it began from, ``journal_lag`` how many entries it
    found committed, not laid out.
    ``taken`` and ``committed`` are what it has got so far, for the case that it crashes.
    """

    poll_id: str
    at: float
    started: float
    seconds_left: float
    state: State = field(default_factory=State)
    journal_lag: int = 0
    notified: Notified = field(default_factory=lambda: Notified(0))
    taken: TakenSources | None = None
    committed: Sequence[Decision] = ()


class _LookUp(NamedTuple):
    """Which ids of a window the store does not have, and how many it was asked for."""

    new_ids: set[str]
    asked_for: int
