"""Moments as text and back (RFC 3339, UTC, whole seconds)."""

from datetime import UTC, datetime


def format_rfc3339(epoch_seconds: float) -> str:
    """``1795413600.7`` → ``"2026-11-23T06:00:00Z"``; what is below a second is cut off."""
    return datetime.fromtimestamp(int(epoch_seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: str) -> float:
    """Epoch seconds of a text that :func:`format_rfc3339` wrote; raises ValueError for any other."""
    seconds = datetime.fromisoformat(text).timestamp()
    # fromisoformat also takes other zones, fractions, dates alone and letters for the T.
    if format_rfc3339(seconds) != text:
        raise ValueError(f"not a time as this service writes it: {text!r}")
    return seconds
