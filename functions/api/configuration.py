"""What the reader is told by its environment."""

from collections.abc import Mapping
from typing import NamedTuple

from shared.configuration import required, retention, whole_number
from shared.domain.retention import Retention


class ReaderConfiguration(NamedTuple):
    """``poll_interval_seconds`` is the schedule's: health is judged by it."""

    table_name: str
    retention: Retention
    poll_interval_seconds: int


def read_configuration(environ: Mapping[str, str]) -> ReaderConfiguration:
    """Raises :class:`shared.configuration.ConfigurationError` that names the variable and what is wrong."""
    return ReaderConfiguration(
        table_name=required(environ, "TABLE_NAME"),
        retention=retention(environ),
        poll_interval_seconds=whole_number(environ, "POLL_INTERVAL_SECONDS", default=300, low=1, high=86_400),
    )
