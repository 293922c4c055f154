"""A poll in numbers, written to the log in CloudWatch's embedded metric format."""

from collections.abc import Mapping
from types import MappingProxyType

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from functions.poller.notify import Told
from functions.poller.summary import PollSummary

# Where the environment names none, as in a call of the handler by hand.
DEFAULT_NAMESPACE = "SecurityIncidentApi"
_SERVICE = "poller"

METRICS: Mapping[str, MetricUnit] = MappingProxyType(
    {
        "Polls": MetricUnit.Count,
        "SuccessfulPolls": MetricUnit.Count,
        "FailedPolls": MetricUnit.Count,
        "PollDuration": MetricUnit.Milliseconds,
        "RecordsSeen": MetricUnit.Count,
        "NewIncidents": MetricUnit.Count,
        "AttributedLate": MetricUnit.Count,
        "NewUnattributed": MetricUnit.Count,
        "NewRejected": MetricUnit.Count,
        "PostponedRecords": MetricUnit.Count,
        "UpstreamRetries": MetricUnit.Count,
        "PossibleGaps": MetricUnit.Count,
        "CredentialFailures": MetricUnit.Count,
        "JournalLag": MetricUnit.Count,
        "NotifiedIncidents": MetricUnit.Count,
        "NotificationFailures": MetricUnit.Count,
        "SettlingFailures": MetricUnit.Count,
        "Unattributed": MetricUnit.Count,
        "StaleSources": MetricUnit.Count,
        "ConsecutiveFailures": MetricUnit.Count,
        "DataAge": MetricUnit.Seconds,
    }
)
# What the template's alarms watch.
ALARMED = frozenset(
    {
        "SuccessfulPolls",
        "ConsecutiveFailures",
        "DataAge",
        "StaleSources",
        "PossibleGaps",
        "NewRejected",
        "CredentialFailures",
        "NotificationFailures",
        "SettlingFailures",
    }
)
# By source and class of error besides; one for each that failed.
SOURCE_FAILURES = "SourceFailures"


class MetricsEmitter:
    """Writes a poll's numbers into ``namespace``; what no alarm watches only ``for_dashboard``.

    What is left out costs nothing, and stands in the poll's log line all the same.
    """

    def __init__(self, namespace: str, *, for_dashboard: bool = True) -> None:
        self._namespace = namespace
        self._for_dashboard = for_dashboard

    def emit_poll(self, summary: PollSummary) -> None:
        """Write one line with every number that the poll itself knows, and one for each source that failed.

        What the poll does not know, because it crashed or another poll reports in its place, is left out: a
        made-up 0 would clear an alarm.
        """
        self._emit(_values(summary))
        for source, error_class in summary.failures.items() if self._for_dashboard else ():
            failure = EphemeralMetrics(namespace=self._namespace, service=_SERVICE)
            failure.add_dimension("source", source)
            failure.add_dimension("error_class", error_class)
            failure.add_metric(SOURCE_FAILURES, MetricUnit.Count, 1)
            failure.flush_metrics()

    def emit_told(self, told: Told) -> None:
        """Write one line on what people were told of, after that."""
        self._emit({"NotifiedIncidents": told.incidents, "NotificationFailures": int(bool(told.error))})

    def emit_settled(self, error: str) -> None:
        """Write one line on whether erasures were settled, after that; ``error`` is empty if they were."""
        self._emit({"SettlingFailures": int(bool(error))})

    def _emit(self, values: Mapping[str, float | None]) -> None:
        metrics = EphemeralMetrics(namespace=self._namespace, service=_SERVICE)
        for name, value in values.items():
            if value is not None and (self._for_dashboard or name in ALARMED):
                metrics.add_metric(name, METRICS[name], value)
        metrics.flush_metrics()


def _values(summary: PollSummary) -> Mapping[str, float | None]:
    return {
        "Polls": 1,
        "SuccessfulPolls": int(summary.outcome == "succeeded"),
        "FailedPolls": int(summary.outcome in ("failed", "crashed")),
        "PollDuration": summary.duration_ms,
        "RecordsSeen": summary.records,
        "NewIncidents": summary.new_incidents,
        "AttributedLate": summary.attributed_late,
        "NewUnattributed": summary.new_unattributed,
        "NewRejected": summary.new_rejected,
        "PostponedRecords": summary.postponed,
        "UpstreamRetries": summary.retries,
        "PossibleGaps": len(summary.possible_gaps),
        "CredentialFailures": None if summary.credential_failure is None else int(summary.credential_failure),
        "JournalLag": summary.journal_lag,
        "Unattributed": summary.unattributed,
        "StaleSources": summary.stale_sources,
        "ConsecutiveFailures": summary.consecutive_failures,
        "DataAge": summary.data_age_seconds,
    }
