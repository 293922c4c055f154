"""Fetching all sources: a few at a time, each taken whole or not at all, none holding up the others."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import replace
from math import ceil
from typing import NamedTuple

from functions.poller.gaps import may_have_missed
from functions.poller.upstream import Answer, Upstream, UpstreamError
from shared.domain.attribution import Identities, MalformedIdentitiesError, parse_identities
from shared.domain.incident import INCIDENT_TYPES
from shared.domain.poll_report import IDENTITIES_SOURCE, PollError, SourceReport
from shared.domain.retention import Retention
from shared.domain.window import MalformedWindowError, Window, sort_out

# The identities come last: the later they are, the fewer new incidents have an address that they lack.
_IN_THIS_ORDER = (*INCIDENT_TYPES, IDENTITIES_SOURCE)
# One source may refuse credentials that are good for the others; two, and none that accepts them, say that
# they are wrong. Each more try brings the upstream nearer to locking the account.
_REFUSALS_ENOUGH = 2
_UNAUTHORIZED = 401


class TakenSources(NamedTuple):
    """What could be taken, and how each source did."""

    windows: Mapping[str, Window]
    identities: Identities | None
    reports: Mapping[str, SourceReport]
    possible_gaps: Sequence[str] = ()


def take_sources(
    upstream: Upstream,
    *,
    previous: Mapping[str, SourceReport],
    concurrency: int,
    deadline: float,
    now: float,
    retention: Retention,
    monotonic: Callable[[], float] = time.monotonic,
) -> TakenSources:
    """Fetch every source, ``concurrency`` at once, until ``deadline`` (of the ``monotonic`` clock) at the
    latest. A source may take what leaves as much to each round of those that come after it.

    ``previous`` is how the sources did before; ``now`` is epoch seconds. No thread outlives the call.

    Once two sources have refused the credentials and none has accepted them, no other is asked. Where all
    refused them the last time they are asked one by one, until the first accepts or the second refuses.
    """
    workers = 1 if _were_refused(previous) else concurrency
    accepted: list[str] = []
    refused: list[str] = []

    def fetch(source: str) -> Answer | UpstreamError:
        if len(refused) >= _REFUSALS_ENOUGH and not accepted:
            return _not_asked()
        try:
            answer = upstream.fetch(source, deadline=deadline_of(source))
            accepted.append(source)
            return answer
        except UpstreamError as error:
            if error.status == _UNAUTHORIZED:
                refused.append(source)
            return error
        except Exception as error:  # whatever one source provokes must not take the others down
            return UpstreamError("internal", f"fetching ended with {type(error).__name__}")

    def deadline_of(source: str) -> float:
        # Else a few that drip would take all the time that there is, and the others with them.
        rounds = ceil((len(_IN_THIS_ORDER) - _IN_THIS_ORDER.index(source)) / workers)
        started = monotonic()
        return started + (deadline - started) / rounds

    def take(source: str, answer: Answer) -> SourceReport:
        report = previous[source]
        if source == IDENTITIES_SOURCE:
            found = parse_identities(answer.value)
            if report.records and not found.employee_by_ip:
                # All employees gone at once is a fault far more often than the truth. The stored ones go on
                # attributing for a day; what comes after that waits.
                raise MalformedIdentitiesError("the identities are empty, which they were not before")
            identities.append(found)
            return _taken(report, answer, now, records=len(identities[0].employee_by_ip))
        window = sort_out(source, answer.value, now=now, retention=retention)
        windows[source] = window
        if is_gap := may_have_missed(report, window, now=now):
            gaps.append(source)
        return replace(
            _taken(report, answer, now, records=window.records),
            rejected=len(window.rejected),
            too_old=window.too_old,
            # Nothing in a window tells where the next one goes on: what an earlier one told stays.
            newest=window.newest() or report.newest,
            possible_gap_at=now if is_gap else report.possible_gap_at,
        )

    windows: dict[str, Window] = {}
    gaps: list[str] = []
    identities: list[Identities] = []
    reports: dict[str, SourceReport] = {}
    with ThreadPoolExecutor(max_workers=workers) as threads:
        for source, answer in _in_turn(fetch, threads, was_accepted=lambda: bool(accepted)):
            if isinstance(answer, UpstreamError):
                error = PollError(answer.error_class, str(answer), answer.status, now)
                reports[source] = _failed(previous[source], answer, error)
                continue
            try:
                reports[source] = take(source, answer)
            except (MalformedIdentitiesError, MalformedWindowError) as malformed:
                error = PollError("malformed", str(malformed), None, now)
                reports[source] = _failed(previous[source], answer, error)
            except Exception as surprise:  # whatever one source provokes must not take the others down
                error = PollError("internal", f"sorting out ended with {type(surprise).__name__}", None, now)
                reports[source] = _failed(previous[source], answer, error)
    return TakenSources(windows, identities[0] if identities else None, reports, gaps)


def _in_turn(
    fetch: Callable[[str], Answer | UpstreamError],
    threads: ThreadPoolExecutor,
    *,
    was_accepted: Callable[[], bool],
) -> Iterator[tuple[str, Answer | UpstreamError]]:
    """Each source with its answer. Those that were not asked are asked after all when the credentials turn
    out to be good: sources that refuse may be quicker than those that accept.
    """
    left_out: list[str] = []
    for source, answer in zip(_IN_THIS_ORDER, threads.map(fetch, _IN_THIS_ORDER), strict=True):
        if isinstance(answer, UpstreamError) and answer.attempts == 0 and answer.status == _UNAUTHORIZED:
            left_out.append(source)
        else:
            yield source, answer
    again = threads.map(fetch, left_out) if was_accepted() else (_not_asked() for _ in left_out)
    yield from zip(left_out, again, strict=True)


def _were_refused(previous: Mapping[str, SourceReport]) -> bool:
    """Whether the last poll found the credentials refused, wherever it asked."""
    return all(
        each.state != "fresh" and each.last_error is not None and each.last_error.status == _UNAUTHORIZED
        for each in previous.values()
    )


def _not_asked() -> UpstreamError:
    error = UpstreamError(
        "unauthorized",
        "not asked, because other sources refused the credentials (401): check the secret",
        status=_UNAUTHORIZED,
    )
    error.attempts = 0
    return error


def _taken(previous: SourceReport, answer: Answer, now: float, *, records: int) -> SourceReport:
    return SourceReport(
        state="fresh",
        records=records,
        latency_ms=answer.latency_ms,
        attempts=answer.attempts,
        last_success_at=now,
        last_error=previous.last_error,
    )


def _failed(previous: SourceReport, answer: Answer | UpstreamError, error: PollError) -> SourceReport:
    return previous.failed(error, latency_ms=answer.latency_ms, attempts=answer.attempts)
