"""Pages as they were read, for whoever asks for the same one again."""

from collections.abc import Callable
from sys import getsizeof
from typing import NamedTuple

from functions.api.page_requests import PageRequest
from functions.api.walk import Position

# Of a function with 256 MB; the incidents of the upstream's whole window are 0.7 MB.
MAX_CACHE_BYTES = 12 * 2**20
# The largest pages would push out all others.
_MAX_PAGE_SHARE = 4
# A position, an ETag and what a dictionary takes for them.
_BYTES_BESIDE_ROWS = 1_000


class RenderedPage(NamedTuple):
    """A page's rows as JSON (an object or a list), and where the next page begins; None at the end.

    Nothing of it depends on who asks, nor on when: ages, cursors and envelopes are made for each request.
    """

    rows: str
    next: Position | None


class PageCache:
    """The pages that were asked for last, by ETag, up to ``max_bytes``.

    All that a page depends on is in its ETag and what is laid out at one snapshot never changes: so a page
    that is kept is right for as long as it is asked for. Only an erasure changes what old snapshots show:
    with the first request that knows of one more, all pages are forgotten.
    """

    def __init__(self, *, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._pages: dict[str, RenderedPage] = {}
        self._bytes = 0
        self._erasures = (0, 0)

    def find(self, request: PageRequest, read: Callable[[], RenderedPage]) -> RenderedPage:
        """The page of the request: the one that is kept, or what ``read`` gives, which is kept from now on.

        What ``read`` raises is passed on.
        """
        if request.walk.erasures != self._erasures:
            self.clear()
            self._erasures = request.walk.erasures
        page = self._pages.pop(request.etag, None)
        if page is not None:
            # A dictionary keeps the order in which things were put in: those asked for last are at its end.
            self._pages[request.etag] = page
            return page
        page = read()
        if _size(page) <= self._max_bytes // _MAX_PAGE_SHARE:
            self._pages[request.etag] = page
            self._bytes += _size(page)
            while self._bytes > self._max_bytes:
                self._bytes -= _size(self._pages.pop(next(iter(self._pages))))
        return page

    def clear(self) -> None:
        """Forget all pages."""
        self._pages.clear()
        self._bytes = 0


def _size(page: RenderedPage) -> int:
    return getsizeof(page.rows) + _BYTES_BESIDE_ROWS
