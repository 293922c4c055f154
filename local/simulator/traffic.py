"""How many requests are under way, what they cost each other, and a record of each."""

import time
from collections import deque
from threading import Condition
from typing import Final, NamedTuple

_REQUESTS_KEPT: Final = 100_000


class RequestRecord(NamedTuple):
    """One request that was answered, or that a fault left without an answer.

    time: seconds on `time.monotonic()` when it came in: differences are the waits between retries.
    path: without the query.
    status: of the status line that went out, 0 when none did.
    user_agent: the header, "" without one.
    with_credentials: whether it carried an Authorization header, right or wrong.
    """

    time: float
    path: str
    status: int
    user_agent: str
    with_credentials: bool


class Traffic:
    """Counts the requests under way and slows them all down together. Safe to use from several threads."""

    def __init__(self, slowdown: float) -> None:
        """`slowdown` is what each other request adds to a pause, as a share of it."""
        self._slowdown = slowdown
        self._changed = Condition()
        self._closed = False
        self._active = 0
        self._highest = 0
        self._requests: deque[RequestRecord] = deque(maxlen=_REQUESTS_KEPT)
        # Seconds of work done by each request until `_since`: it grows slower the more are active.
        self._progress = 0.0
        self._since = time.monotonic()

    @property
    def under_way(self) -> int:
        """How many requests are under way now."""
        with self._changed:
            return self._active

    @property
    def highest_at_once(self) -> int:
        """The highest number of requests that were under way at once."""
        with self._changed:
            return self._highest

    @property
    def requests(self) -> list[RequestRecord]:
        """A copy of the records so far, in the order of their answers; the newest 100,000."""
        with self._changed:
            return list(self._requests)

    def record(self, request: RequestRecord) -> None:
        """Keep a request's record."""
        with self._changed:
            self._requests.append(request)

    def enter(self) -> None:
        """A request comes in."""
        with self._changed:
            self._advance()
            self._active += 1
            self._highest = max(self._highest, self._active)
            self._changed.notify_all()

    def leave(self) -> None:
        """A request is done with."""
        with self._changed:
            self._advance()
            self._active -= 1
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Wait as long as `seconds` of work take, longer while others are under way too; ends when closed."""
        if seconds <= 0:
            return
        with self._changed:
            self._advance()
            target = self._progress + seconds
            while not self._closed and (left := (target - self._progress) * self._factor()) > 0:
                self._changed.wait(left)
                self._advance()

    def open(self) -> None:
        """Let pauses last as long as they should."""
        with self._changed:
            self._closed = False

    def close(self) -> None:
        """End all pauses at once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _factor(self) -> float:
        return 1.0 + self._slowdown * max(0, self._active - 1)

    def _advance(self) -> None:
        now = time.monotonic()
        self._progress += (now - self._since) / self._factor()
        self._since = now
