"""How long things are kept, counted from when they happened."""

from decimal import Decimal
from typing import NamedTuple

_DAY = 86_400
# A walk that began just before an incident grew too old goes on for up to 24 hours: what it may still
# show must not be deleted under it.
_GRACE = 2 * _DAY


class Retention(NamedTuple):
    """Keep what is up to ``days`` old; 0 keeps everything."""

    days: int = 0

    def oldest_kept(self, as_of: float) -> float | None:
        """The earliest moment (epoch seconds) that is kept at ``as_of``, or None if all of them are."""
        return as_of - self.days * _DAY if self.days else None

    def is_too_old(self, timestamp: str, as_of: float) -> bool:
        """Whether an incident of this timestamp is past its time at ``as_of`` (epoch seconds)."""
        oldest = self.oldest_kept(as_of)
        return oldest is not None and Decimal(timestamp) < Decimal(oldest)

    def is_kept(self, moment: float, *, as_of: float) -> bool:
        """Whether what is of ``moment`` may still be there at ``as_of`` (both epoch seconds)."""
        expires_at = self.expires_at(moment)
        return expires_at is None or expires_at >= as_of

    def expires_at(self, moment: float) -> int | None:
        """When DynamoDB may delete what is of ``moment`` (both epoch seconds), or None for never."""
        return int(moment) + self.days * _DAY + _GRACE if self.days else None
