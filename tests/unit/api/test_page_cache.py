"""The page cache keeps to its bytes, keeps what is asked for, and forgets all when somebody was erased."""

from collections import Counter

import pytest

from functions.api.page_cache import MAX_CACHE_BYTES, PageCache, RenderedPage
from functions.api.page_requests import PageRequest
from functions.api.walk import Snapshot, Walk
from shared.store.state import State

KILOBYTE = 1_024


class Pages:
    """Pages of a size, read through a cache; ``read`` counts how often each was."""

    def __init__(self, max_bytes: int, rows: int = 20 * KILOBYTE) -> None:
        self.cache = PageCache(max_bytes=max_bytes)
        self.rows = rows
        self.read: Counter[str] = Counter()

    def ask(self, etag: str, *, erasures: int = 0) -> RenderedPage:
        walk = Walk(Snapshot(1, "", True, 0), erasures=(erasures, 0))
        request = PageRequest(State(), walk, 0, None, 100, etag)

        def read() -> RenderedPage:
            self.read[etag] += 1
            return RenderedPage(f"{etag:x<{self.rows}}", None)

        page = self.cache.find(request, read)
        assert page.rows.startswith(etag)
        return page

    def kept(self, *etags: str) -> list[str]:
        """Those that need no reading. What is not kept is read, and pushes others out: ask for few."""
        before = self.read.copy()
        for etag in etags:
            self.ask(etag)
        return [etag for etag in etags if self.read[etag] == before[etag]]


def test_the_same_page_is_read_once() -> None:
    """Asked for again, however often, the page is the very same."""
    pages = Pages(MAX_CACHE_BYTES)
    first = pages.ask("a")
    assert all(pages.ask("a") is first for _ in range(5))
    assert pages.read == {"a": 1}


def test_what_was_asked_for_last_stays() -> None:
    """Over its bytes the cache forgets what nobody has asked for the longest, and no more than it must."""
    pages = Pages(100 * KILOBYTE)
    for etag in "abcd":
        pages.ask(etag)
    pages.ask("a")
    pages.ask("e")
    assert pages.kept("a", "c", "d", "e") == ["a", "c", "d", "e"]
    assert pages.kept("b") == []


@pytest.mark.parametrize("rows", [0, 100, 10 * KILOBYTE, 24_000, 90 * KILOBYTE])
def test_the_cache_never_takes_more_than_its_bytes(rows: int) -> None:
    """However many pages of whatever size: what is kept is no more than was allowed."""
    limit = 100 * KILOBYTE
    pages = Pages(limit, rows)
    etags = [f"{number:04}" for number in range(500)]
    for etag in etags:
        pages.ask(etag)
    kept = 0
    for etag in reversed(etags):
        if not pages.kept(etag):
            break
        kept += 1
    assert kept * max(rows, 4) <= limit
    assert kept >= (0 if rows > limit / 4 else limit // (rows + 2 * KILOBYTE))


def test_the_largest_pages_push_nobody_out() -> None:
    """A page of more than a quarter of the bytes is not kept, so the others are not lost for it."""
    pages = Pages(100 * KILOBYTE)
    pages.ask("a")
    pages.rows = 30 * KILOBYTE
    pages.ask("large")
    assert pages.kept("a") == ["a"]
    assert pages.kept("large") == []


def test_a_page_that_could_not_be_read_is_not_kept() -> None:
    """What reading raises goes to whoever asked; the next one reads again."""
    pages = Pages(MAX_CACHE_BYTES)
    request = PageRequest(State(), Walk(Snapshot(1, "", True, 0)), 0, None, 100, "a")

    def fail() -> RenderedPage:
        raise TimeoutError

    for _ in range(2):
        with pytest.raises(TimeoutError):
            pages.cache.find(request, fail)
    pages.ask("a")
    assert pages.read == {"a": 1}


def test_an_erasure_empties_the_cache() -> None:
    """The first request that knows of another erasure finds nothing, whatever it asks for."""
    pages = Pages(MAX_CACHE_BYTES)
    pages.ask("a")
    pages.ask("b", erasures=1)
    assert pages.read == {"a": 1, "b": 1}
    pages.ask("a", erasures=1)
    assert pages.read == {"a": 2, "b": 1}
    pages.ask("a", erasures=1)
    assert pages.read["a"] == 2
