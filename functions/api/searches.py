"""Searches that found nothing in time, kept for a client that asks again."""

from collections.abc import Callable
from copy import replace

from functions.api.walk import PageKey, Walk

# API Gateway gives up after 29 seconds; the last request may take some of them.
SEARCH_SECONDS = 15.0
UNFINISHED = "the time was up: ask again, and the search goes on"
_MAX_UNFINISHED = 8
# Retry-After says one second.
_RESUMED_WITHIN_SECONDS = 120.0


class UnfinishedSearchError(Exception):
    """The time was up before a page could be filled; asked again, the search goes on where it stopped."""


class Searches[Search]:
    """The newest few searches, by the page that they are for; in this container alone.

    ``clock`` gives epoch seconds: they go on while a Lambda is frozen, a monotonic clock may not.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: dict[PageKey, tuple[float, Search]] = {}

    def take(self, page: PageKey) -> Search | None:
        """The search for the page, if there is one; it is no longer kept then."""
        kept = self._kept.pop(page, None)
        return kept[1] if kept else None

    def keep(self, page: PageKey, search: Search) -> None:
        """Keep the search for whoever asks again; to them :data:`UNFINISHED` is to be told."""
        self._kept[page] = self._clock(), search
        if len(self._kept) > _MAX_UNFINISHED:
            del self._kept[next(iter(self._kept))]

    def under_way(self, walk: Walk, *, limit: int) -> Walk | None:
        """The walk of the same query whose first page could not be filled just now, at its own snapshot.

        Not one that was given up: whoever asks later wants the snapshot of their own time.
        """
        now = self._clock()
        for page, (kept_at, _) in self._kept.items():
            same_query = replace(page.walk, snapshot=walk.snapshot) == walk
            first_page = page.start is None and page.limit == limit
            if first_page and same_query and 0 <= now - kept_at <= _RESUMED_WITHIN_SECONDS:
                return page.walk
        return None
