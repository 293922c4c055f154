"""Moments as people write them."""

import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from incidents_client.errors import SettingsError

Moment = str | int | Decimal | datetime

_AGO = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EPOCH_SECONDS = re.compile(r"[0-9]{1,10}(\.[0-9]{1,7})?")
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,7})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def to_parameter(moment: Moment, clock: Callable[[], float] = time.time) -> str:
    """A moment as `since` and `until` take it: `7d` (ago; s, m, h, d, w), a date (its midnight in UTC), epoch
    seconds, RFC 3339, or a datetime with a zone. Raises :class:`SettingsError`.
    """
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise SettingsError("a datetime without a zone may mean any: give it one")
        return moment.isoformat()
    text = format(moment, "f") if isinstance(moment, Decimal) else str(moment).strip()
    if ago := _AGO.fullmatch(text):
        return str(max(0, int(clock()) - int(ago[1]) * _UNITS[ago[2]]))
    if _DATE.fullmatch(text):
        return f"{text}T00:00:00Z"
    if _EPOCH_SECONDS.fullmatch(text) or _RFC3339.fullmatch(text):
        return text
    raise SettingsError(
        f"{text!r} is no moment: write 7d (ago; s, m, h, d, w), 2026-11-23, 2026-11-23T06:00:00Z, "
        "or epoch seconds"
    )


def to_utc(timestamp: Decimal) -> str:
    """``1795181602.7148474`` → ``"2026-11-20 13:33:22Z"``; what is below a second is left out."""
    return f"{datetime.fromtimestamp(0, timezone.utc) + timedelta(seconds=int(timestamp)):%Y-%m-%d %H:%M:%SZ}"
