"""What the poller is told by its environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.configuration import ConfigurationError, required, retention, whole_number
from shared.domain.retention import Retention


@dataclass(frozen=True, slots=True)
class PollerConfiguration:
    """``upstream_secret`` is the name or ARN of a secret with ``username`` and ``password``."""

    table_name: str
    upstream_base_url: str
    upstream_secret: str
    upstream_concurrency: int
    retention: Retention


def read_configuration(environ: Mapping[str, str]) -> PollerConfiguration:
    """Raises :class:`ConfigurationError` that names the variable and what is wrong with it."""
    return PollerConfiguration(
        table_name=required(environ, "TABLE_NAME"),
        upstream_base_url=_base_url(required(environ, "UPSTREAM_BASE_URL")),
        upstream_secret=required(environ, "UPSTREAM_SECRET_ARN"),
        upstream_concurrency=whole_number(environ, "UPSTREAM_CONCURRENCY", default=4, low=1, high=8),
        retention=retention(environ),
    )


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
