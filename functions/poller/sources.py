"""Fetching all sources: a few at a time, each taken whole or not at all, none holding up the others."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from functions.poller.upstream import Answer, Upstream, UpstreamError
from shared.domain.attribution import Identities, MalformedIdentitiesError, parse_identities
from shared.domain.incident import INCIDENT_TYPES
from shared.domain.poll_report import IDENTITIES_SOURCE, PollError, SourceReport
from shared.domain.retention import Retention
from shared.domain.window import MalformedWindowError, Window, sort_out

# The identities come last: the later they are, the fewer new incidents have an address that they lack.
_IN_THIS_ORDER = (*INCIDENT_TYPES, IDENTITIES_SOURCE)


@dataclass(frozen=True, slots=True)
class TakenSources:
    """What could be taken, and how each source did."""

    windows: Mapping[str, Window]
    identities: Identities | None
    reports: Mapping[str, SourceReport]


def take_sources(
    upstream: Upstream,
    *,
    previous: Mapping[str, SourceReport],
    concurrency: int,
    deadline: float,
    now: float,
    retention: Retention,
) -> TakenSources:
    """Fetch every source, ``concurrency`` at once, until ``deadline`` (monotonic) at the latest.

    ``previous`` is how the sources did before; ``now`` is epoch seconds. No thread outlives the call.
    """

    def fetch(source: str) -> Answer | UpstreamError:
        try:
            return upstream.fetch(source, deadline=deadline)
        except UpstreamError as error:
            return error
        except Exception as error:  # whatever one source provokes must not take the others down
            return UpstreamError("internal", f"fetching ended with {type(error).__name__}")

    windows: dict[str, Window] = {}
    identities: Identities | None = None
    reports: dict[str, SourceReport] = {}
    with ThreadPoolExecutor(max_workers=concurrency) as threads:
        for source, answer in zip(_IN_THIS_ORDER, threads.map(fetch, _IN_THIS_ORDER), strict=True):
            report = previous[source]
            if isinstance(answer, UpstreamError):
                reports[source] = _failed(report, answer, now)
                continue
            try:
                if source == IDENTITIES_SOURCE:
                    identities = parse_identities(answer.value)
                    reports[source] = _taken(report, answer, now, records=len(identities.employee_by_ip))
                else:
                    window = sort_out(source, answer.value, now=now, retention=retention)
                    windows[source] = window
                    reports[source] = _taken(
                        report,
                        answer,
                        now,
                        records=window.records,
                        rejected=len(window.rejected),
                        too_old=window.too_old,
                    )
            except (MalformedIdentitiesError, MalformedWindowError) as error:
                reports[source] = report.failed(
                    PollError("malformed", str(error), None, now),
                    latency_ms=answer.latency_ms,
                    attempts=answer.attempts,
                )
    return TakenSources(windows, identities, reports)


def _taken(
    previous: SourceReport,
    answer: Answer,
    now: float,
    *,
    records: int,
    rejected: int = 0,
    too_old: int = 0,
) -> SourceReport:
    return SourceReport(
        state="fresh",
        records=records,
        rejected=rejected,
        too_old=too_old,
        latency_ms=answer.latency_ms,
        attempts=answer.attempts,
        last_success_at=now,
        last_error=previous.last_error,
    )


def _failed(previous: SourceReport, error: UpstreamError, now: float) -> SourceReport:
    return previous.failed(
        PollError(error.error_class, str(error), error.status, now),
        latency_ms=error.latency_ms,
        attempts=error.attempts,
    )
