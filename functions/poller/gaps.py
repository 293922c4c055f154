"""Telling that incidents may have come and gone unseen between two polls."""

from shared.domain.poll_report import SourceReport
from shared.domain.window import Window

# A source with fewer records than this has all of a quiet week in its window, not the newest of a busy one.
_LEAST_FULL = 20
# What an incident may be gone after, however few there are.
_REMEMBERED_SECONDS = 7 * 86_400


def may_have_missed(previous: SourceReport, window: Window, *, now: float) -> bool:
    """Whether incidents of a source may have rolled out of its window since it was ``previous``-ly taken.

    A window rolls: the newest records of the last one are in this one as well, unless more than a whole
    window came since (then this one is full: no smaller than the last one), or the source was not taken for
    as long as it remembers.
    """
    if not previous.newest or window.holds_any(previous.newest):
        return False
    is_full = window.records >= max(previous.records, _LEAST_FULL)
    return is_full or now - (previous.last_success_at or now) >= _REMEMBERED_SECONDS
