"""One request and the means to answer it, well or badly, down to the bytes on the socket."""

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from gzip import compress
from http import HTTPStatus
from threading import Lock
from typing import Final

from local.simulator.traffic import RequestRecord, Traffic

# How often a pause looks whether the connection is still there.
_LOOK_SECONDS: Final = 0.02


@dataclass(frozen=True)
class Reply:
    """An answer before it is encoded.

    headers: sent as they are, in this order and after the usual ones; a Content-Length, Content-Type or
        Content-Encoding among them replaces the usual one (a Content-Encoding: the body isn't gzipped).
    """

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"


class GzipCache:
    """The last gzipped body of each path, so that an unchanged one is compressed once."""

    def __init__(self) -> None:
        """Start empty."""
        self._lock = Lock()
        self._last: dict[str, tuple[bytes, bytes]] = {}

    def compressed(self, path: str, body: bytes) -> bytes:
        """`body` gzipped, always to the same bytes."""
        with self._lock:
            plain, packed = self._last.get(path, (None, b""))
        if plain is body:
            return packed
        packed = compress(body, compresslevel=1, mtime=0)
        with self._lock:
            self._last[path] = (body, packed)
        return packed


class Exchange:
    """One request: what it asked, the reply it would get, and the socket to answer on.

    A fault answers with `send` (a whole reply), or with `write` (any bytes) as often as it likes and then
    `end`, `close` or `reset`. What goes out first decides the status that is recorded.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        path: str,
        user_agent: str,
        with_credentials: bool,
        accepts_gzip: bool,
        usual_reply: Callable[[], Reply],
        traffic: Traffic,
        gzip_cache: GzipCache,
    ) -> None:
        """Count the request as under way, until `leave`."""
        self.path = path
        self.closed = False
        self._connection = connection
        self._user_agent = user_agent
        self._with_credentials = with_credentials
        self._accepts_gzip = accepts_gzip
        self._usual_reply = usual_reply
        self._usual: Reply | None = None
        self._traffic = traffic
        self._gzip_cache = gzip_cache
        self._came_in = time.monotonic()
        self._recorded = False
        self._left = False
        traffic.enter()

    @property
    def reply(self) -> Reply:
        """The reply that the request would get without a fault; made when first asked for."""
        if self._usual is None:
            self._usual = self._usual_reply()
        return self._usual

    def wire(self, reply: Reply) -> tuple[bytes, bytes]:
        """A reply's head (with its blank line) and body as they go out, gzipped if the client accepts it."""
        body = reply.body
        given = {name.lower() for name, _ in reply.headers}
        headers = [("Server", "simulator"), ("Date", formatdate(usegmt=True))]
        if "content-type" not in given:
            headers.append(("Content-Type", reply.content_type))
        if body and "content-encoding" not in given:
            headers.append(("Vary", "Accept-Encoding"))
            if self._accepts_gzip:
                body = self._gzip_cache.compressed(self.path, body)
                headers.append(("Content-Encoding", "gzip"))
        if "content-length" not in given and "transfer-encoding" not in given:
            headers.append(("Content-Length", str(len(body))))
        lines = [f"HTTP/1.1 {reply.status} {_phrase(reply.status)}"]
        lines += [f"{name}: {value}" for name, value in (*headers, *reply.headers)]
        return "\r\n".join((*lines, "", "")).encode("latin-1"), body

    def send(self, reply: Reply) -> None:
        """Answer with a whole reply."""
        head, body = self.wire(reply)
        if body:
            self.write(head + body[:-1])
            self.end(body[-1:])
        else:
            self.end(head)

    def write(self, data: bytes) -> None:
        """Send bytes as they are; raises ConnectionError when the client has gone."""
        if data:
            self._record(_status(data))
            self._connection.sendall(data)

    def end(self, data: bytes = b"") -> None:
        """Send the last bytes. The request no longer counts as under way when the client gets them."""
        if data:
            self._record(_status(data))
        self.leave()
        self.write(data)

    def pause(self, seconds: float) -> None:
        """Wait, less when the client goes away or the server shuts the connection down."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self._client_gone():
            time.sleep(min(left, _LOOK_SECONDS))

    def close(self) -> None:
        """End the connection in order, whatever was promised and not sent."""
        self._record(0)
        self.leave()
        self.closed = True

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.close()
        # Without lingering, closing sends a reset; detached, no orderly shutdown by the server precedes it.
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self._connection.detach())

    def leave(self) -> None:
        """The request is no longer under way; only the first call counts."""
        if not self._left:
            self._left = True
            self._traffic.leave()

    def hang(self, seconds: float) -> None:
        """Send nothing for so long, then end the connection."""
        # Recorded first: the client gives up, and looks at the record, long before this ends.
        self._record(0)
        self.pause(seconds)
        self.close()

    def _record(self, status: int) -> None:
        if not self._recorded:
            self._recorded = True
            self._traffic.record(
                RequestRecord(self._came_in, self.path, status, self._user_agent, self._with_credentials)
            )

    def _client_gone(self) -> bool:
        try:
            return not self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True


def _status(data: bytes) -> int:
    """The status in a status line, 0 when the bytes are not one."""
    digits = data[9:12] if data.startswith(b"HTTP/1.") else b""
    return int(digits) if len(digits) == 3 and digits.isdigit() else 0


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
