"""What the poller is told by its environment."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from functions.poller.metrics import DEFAULT_NAMESPACE
from shared.configuration import ConfigurationError, required, retention, truth, whole_number
from shared.domain.incident import PRIORITIES
from shared.domain.retention import Retention
from shared.domain.risk import DEFAULT_SCALE, MAX_HALF_LIFE_DAYS, MAX_WEIGHT, RiskScale

NOTIFICATIONS_OFF = "off"


class PollerConfiguration(NamedTuple):
    """``upstream_secret`` is the name or ARN of a secret with ``username`` and ``password``.

    ``notification_topic`` is the ARN of an SNS topic, or empty; ``notify_priorities`` are the priorities that
    it is told of, none if notifications are off. ``dashboard_metrics``: whether the metrics are emitted, too,
    that no alarm watches.
    """

    table_name: str
    upstream_base_url: str
    upstream_secret: str
    upstream_concurrency: int
    retention: Retention
    risk_scale: RiskScale
    notification_topic: str
    notify_priorities: tuple[str, ...]
    metrics_namespace: str
    dashboard_metrics: bool


def read_configuration(environ: Mapping[str, str]) -> PollerConfiguration:
    """Raises :class:`ConfigurationError` that names the variable and what is wrong with it."""
    return PollerConfiguration(
        table_name=required(environ, "TABLE_NAME"),
        upstream_base_url=_base_url(required(environ, "UPSTREAM_BASE_URL")),
        upstream_secret=required(environ, "UPSTREAM_SECRET_ARN"),
        upstream_concurrency=whole_number(environ, "UPSTREAM_CONCURRENCY", default=4, low=1, high=8),
        retention=retention(environ),
        risk_scale=_risk_scale(environ),
        notification_topic=environ.get("NOTIFICATION_TOPIC_ARN", "").strip(),
        notify_priorities=_priorities_from(environ.get("NOTIFY_PRIORITY", "").strip() or "critical"),
        metrics_namespace=environ.get("POWERTOOLS_METRICS_NAMESPACE", "").strip() or DEFAULT_NAMESPACE,
        dashboard_metrics=truth(environ, "DASHBOARD_METRICS", default=True),
    )


def _priorities_from(lowest: str) -> tuple[str, ...]:
    """``lowest`` and those above it."""
    if lowest == NOTIFICATIONS_OFF:
        return ()
    if lowest not in PRIORITIES:
        raise ConfigurationError(
            f"NOTIFY_PRIORITY must be {', '.join(PRIORITIES)} or {NOTIFICATIONS_OFF}, not {lowest[:40]!r}"
        )
    return PRIORITIES[PRIORITIES.index(lowest) :]


def _base_url(text: str) -> str:
    """The address without its last slash. No message quotes it: it may hold what belongs into the secret."""
    if any(character in text for character in "@?#") or any(map(str.isspace, text)):
        raise ConfigurationError(
            "UPSTREAM_BASE_URL must have no credentials, query, fragment or blanks; credentials go into the"
            " secret"
        )
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError("UPSTREAM_BASE_URL must be an address such as https://incidents.example.com")
    return text.rstrip("/")


def _risk_scale(environ: Mapping[str, str]) -> RiskScale:
    """``RISK_WEIGHTS`` (one a priority, the lowest first) and ``RISK_HALF_LIFE_DAYS``."""
    text = environ.get("RISK_WEIGHTS", "").strip() or ",".join(map(str, DEFAULT_SCALE.weights))
    weights = [each.strip() for each in text.split(",")]
    fits = all(each.isascii() and each.isdigit() and len(each) <= len(str(MAX_WEIGHT)) for each in weights)
    if not fits or len(weights) != len(PRIORITIES) or max(map(int, weights)) > MAX_WEIGHT:
        raise ConfigurationError(
            f"RISK_WEIGHTS must be {len(PRIORITIES)} whole numbers from 0 to {MAX_WEIGHT} with commas between"
            f" them, for {', '.join(PRIORITIES)}; not {text[:40]!r}"
        )
    half_life_days = whole_number(
        environ, "RISK_HALF_LIFE_DAYS", default=DEFAULT_SCALE.half_life_days, low=1, high=MAX_HALF_LIFE_DAYS
    )
    return RiskScale(tuple(map(int, weights)), half_life_days)
