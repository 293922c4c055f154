"""Ways to answer badly, and the script that says which request meets which.

A fault is a `play` function over an `Exchange`. Most are made by one of the functions here, or of
`content_faults.py` where the content is what is wrong. `known_faults.py` has the table of them.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from threading import Lock
from typing import Final

from local.simulator.exchange import Exchange, Reply

_SLOW_PIECES: Final = 10


@dataclass(frozen=True)
class Fault:
    """One way to answer badly: `play` answers a request; `description` is for people."""

    description: str
    play: Callable[[Exchange], None]


def status(
    code: int, headers: Mapping[str, str] | None = None, content: bytes = b'{"error": true}\n'
) -> Fault:
    """Answer with a status, and headers such as Retry-After."""
    return _always(f"status {code}", Reply(code, content, tuple((headers or {}).items())))


def body(
    content: bytes,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
    code: int = 200,
) -> Fault:
    """Answer with other content. `headers` are sent even if they lie about its length or encoding."""
    return _always("other content", Reply(code, content, tuple((headers or {}).items()), content_type))


def mangled(description: str, change: Callable[[bytes], bytes]) -> Fault:
    """Answer with the true body after `change`, in an otherwise sound reply."""
    return Fault(
        description, lambda exchange: exchange.send(replace(exchange.reply, body=change(exchange.reply.body)))
    )


def redirect(location: str, code: int = 301) -> Fault:
    """Send the client somewhere else."""
    return status(code, {"Location": location}, content=b"")


def reset(after: float = 0.0) -> Fault:
    """Reset the connection after a share of the body (0: before anything is sent)."""

    def play(exchange: Exchange) -> None:
        if after:
            exchange.write(_first_part(exchange, after))
        exchange.reset()

    return Fault(f"reset after {after:g} of the body", play)


def cut_off(fraction: float = 0.5) -> Fault:
    """Promise the whole body, send a share of it (0 to 1; never its last byte) and close the connection."""

    def play(exchange: Exchange) -> None:
        exchange.write(_first_part(exchange, fraction))
        exchange.close()

    return Fault(f"cut off after {fraction:g} of the body", play)


def hang(seconds: float) -> Fault:
    """Send nothing for so long, then close the connection."""
    return Fault(f"hang for {seconds:g} s", lambda exchange: exchange.hang(seconds))


def slow_body(seconds: float) -> Fault:
    """Send the head at once and the whole body in pieces over so many seconds."""

    def play(exchange: Exchange) -> None:
        head, content = exchange.wire(exchange.reply)
        exchange.write(head)
        size = max(1, -(-len(content) // _SLOW_PIECES))
        pieces = [content[start : start + size] for start in range(0, len(content), size)]
        for piece in pieces[:-1]:
            exchange.write(piece)
            exchange.pause(seconds / (len(pieces) - 1))
        exchange.end(pieces[-1] if pieces else b"")

    return Fault(f"body over {seconds:g} s", play)


def stuck(fraction: float, seconds: float) -> Fault:
    """Promise the whole body, send a share of it and then nothing for so long."""

    def play(exchange: Exchange) -> None:
        exchange.write(_first_part(exchange, fraction))
        exchange.pause(seconds)
        exchange.close()

    return Fault(f"nothing after {fraction:g} of the body for {seconds:g} s", play)


def dripping(start: bytes, drop: bytes, *, every: float, seconds: float) -> Fault:
    """Send `start`, then a drop again and again: each wait is short, and there is no end for so long."""

    def play(exchange: Exchange) -> None:
        exchange.write(start)
        for _ in range(int(seconds / every)):
            exchange.write(drop)
            exchange.pause(every)
        exchange.close()

    return Fault(f"drops for {seconds:g} s", play)


def slow_start(seconds: float) -> Fault:
    """Answer as usual, but so many seconds late."""

    def play(exchange: Exchange) -> None:
        exchange.pause(seconds)
        exchange.send(exchange.reply)

    return Fault(f"answer after {seconds:g} s", play)


def raw(content: bytes) -> Fault:
    """Send these bytes instead of an HTTP answer and close the connection."""

    def play(exchange: Exchange) -> None:
        exchange.write(content)
        exchange.close()

    return Fault("raw bytes", play)


class ScriptedFaults:
    """Which requests are to fail, and how. Safe to use from several threads."""

    def __init__(self) -> None:
        """Start without any."""
        self._lock = Lock()
        self._scripts: dict[str, deque[tuple[Fault, int | None]]] = {}

    def add(self, path: str, fault: Fault, times: int | None = 1) -> None:
        """Let `times` requests for a path fail (None: all until removed), after what is already scripted."""
        if times is not None and times < 1:
            raise ValueError(f"a fault happens once or more, not {times} times")
        with self._lock:
            self._scripts.setdefault(path, deque()).append((fault, times))

    def remove(self, path: str) -> None:
        """Forget what is scripted for a path."""
        with self._lock:
            self._scripts.pop(path, None)

    def clear(self) -> None:
        """Forget what is scripted for all paths."""
        with self._lock:
            self._scripts.clear()

    def pending(self, path: str) -> bool:
        """Whether the next request for a path will fail."""
        with self._lock:
            return bool(self._scripts.get(path))

    def take(self, path: str) -> Fault | None:
        """The fault for a request that has come in, if one is scripted."""
        with self._lock:
            script = self._scripts.get(path)
            if not script:
                return None
            fault, times = script[0]
            if times is not None:
                script.popleft()
                if times > 1:
                    script.appendleft((fault, times - 1))
            return fault


def drawn_fault(failure_rate: float, hang_seconds: float, *name: object) -> Fault | None:
    """A fault with probability `failure_rate`, else None; always the same for the same `name`."""
    if draw("fails", *name) >= failure_rate:
        return None
    kinds = (status(500), status(502), status(503), reset(), cut_off(draw("cut", *name)), hang(hang_seconds))
    return kinds[int(draw("kind", *name) * len(kinds))]


def draw(*name: object) -> float:
    """A number from 0 to below 1, evenly spread over names and always the same for the same name."""
    digest = blake2b("/".join(map(str, name)).encode(), digest_size=8).digest()
    # 53 bits, what a float holds: 64 could round up to 1.
    return (int.from_bytes(digest) >> 11) / (1 << 53)


def _always(description: str, reply: Reply) -> Fault:
    return Fault(description, lambda exchange: exchange.send(reply))


def _first_part(exchange: Exchange, fraction: float) -> bytes:
    head, content = exchange.wire(exchange.reply)
    return head + content[: min(int(len(content) * fraction), len(content) - 1)]
