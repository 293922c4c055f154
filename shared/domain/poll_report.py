"""What a poll says of itself and of each source: what `/health` and the alarms live on."""

from collections.abc import Mapping
from copy import replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from shared.domain.incident import INCIDENT_TYPES

IDENTITIES_SOURCE = "identities"
ALL_SOURCES = (IDENTITIES_SOURCE, *INCIDENT_TYPES)

type SourceState = Literal["fresh", "stale", "never_taken"]


class PollError(NamedTuple):
    """Why something failed: a class for counting, the HTTP status if there was one, and one sentence.

    Never a URL, a credential, a record or a traceback. ``at`` is epoch seconds.
    """

    error_class: str
    message: str
    status: int | None
    at: float


class SourceReport(NamedTuple):
    """One source, as of the last poll.

    ``records``, ``rejected`` and ``too_old`` are gauges of the last window that was taken, ``newest`` is how
    its newest ids begin. ``latency_ms`` and ``attempts`` are of the last poll. ``possible_gap_at``: when a
    window last had nothing in common with the one before it, though it should. Times are epoch seconds.
    """

    state: SourceState = "never_taken"
    records: int = 0
    rejected: int = 0
    too_old: int = 0
    latency_ms: int = 0
    attempts: int = 0
    last_success_at: float | None = None
    last_error: PollError | None = None
    newest: tuple[str, ...] = ()
    possible_gap_at: float | None = None

    def failed(self, error: PollError, *, latency_ms: int, attempts: int) -> "SourceReport":
        """The source after a poll could not take it: its last data stay, marked stale."""
        return replace(
            self,
            state="never_taken" if self.last_success_at is None else "stale",
            latency_ms=latency_ms,
            attempts=attempts,
            last_error=error,
        )

    def on_top_of(self, latest: "SourceReport") -> "SourceReport":
        """The report of a poll on the source, where another poll may have reported since it began.

        If this one could not take the source, what the other one took stays as the last data. A gap that the
        other one saw stays known.
        """
        if self.state == "fresh" or latest.last_success_at is None:
            gaps = [at for at in (self.possible_gap_at, latest.possible_gap_at) if at is not None]
            return replace(self, possible_gap_at=max(gaps, default=None))
        return latest.failed(
            self.last_error or latest.last_error or PollError("unknown", "no reason was noted", None, 0.0),
            latency_ms=self.latency_ms,
            attempts=self.attempts,
        )


class PollReport(NamedTuple):
    """The last poll. A poll succeeds when it took at least one source of incidents in and stored it.

    ``last_error`` is None after a success. ``identities_digest`` is of the identities last fetched, at
    ``sources["identities"].last_success_at``. Times are epoch seconds.
    """

    attempted_at: float = 0.0
    duration_ms: int = 0
    last_success_at: float | None = None
    consecutive_failures: int = 0
    last_error: PollError | None = None
    identities_digest: str = ""
    sources: Mapping[str, SourceReport] = MappingProxyType(dict.fromkeys(ALL_SOURCES, SourceReport()))

    @property
    def rejected(self) -> int:
        """Records in the last windows that can't be incidents."""
        return sum(self.sources[source].rejected for source in INCIDENT_TYPES)

    @property
    def too_old(self) -> int:
        """Records in the last windows that were older than the retention."""
        return sum(self.sources[source].too_old for source in INCIDENT_TYPES)

    @property
    def complete(self) -> bool:
        """Whether the last poll took every source of incidents in."""
        return all(self.sources[source].state == "fresh" for source in INCIDENT_TYPES)

    def crashed(self, error: PollError, *, duration_ms: int) -> "PollReport":
        """The report after a poll that failed on this side: the sources are as they were."""
        return replace(
            self,
            attempted_at=error.at,
            duration_ms=duration_ms,
            consecutive_failures=self.consecutive_failures + 1,
            last_error=error,
        )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        sources = {
            source: report._asdict() | {"last_error": _to_json(report.last_error)}
            for source, report in self.sources.items()
        }
        return self._asdict() | {"last_error": _to_json(self.last_error), "sources": sources}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "PollReport":
        """What :meth:`to_json` made, by this version or by its neighbour during a deployment."""
        sources = value.get("sources", {})
        known = {source: _source_report(sources.get(source)) for source in ALL_SOURCES}
        return cls(
            **_known(cls, value) | {"last_error": _poll_error(value.get("last_error")), "sources": known}
        )


def _to_json(error: PollError | None) -> dict[str, Any] | None:
    return error._asdict() if error else None


def _poll_error(value: Mapping[str, Any] | None) -> PollError | None:
    return PollError(**_known(PollError, value)) if value else None


def _source_report(value: Mapping[str, Any] | None) -> SourceReport:
    if not value:
        return SourceReport()
    return SourceReport(
        **_known(SourceReport, value)
        | {"last_error": _poll_error(value.get("last_error")), "newest": tuple(value.get("newest", ()))}
    )


def _known(cls: type[NamedTuple], value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name in cls._fields}
