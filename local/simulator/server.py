"""The simulated upstream: which request gets which reply, and the HTTP server around it."""

import base64
import hmac
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Lock, Thread
from typing import Final, Protocol
from urllib.parse import urlsplit

from local.simulator.exchange import Exchange, GzipCache, Reply
from local.simulator.faults import ScriptedFaults, draw, drawn_fault
from local.simulator.folder import Folder
from local.simulator.generator import INCIDENT_TYPES, Generator
from local.simulator.settings import SimulatorSettings
from local.simulator.traffic import RequestRecord, Traffic

HOST: Final = "127.0.0.1"
IDENTITIES_PATH: Final = "/identities/"
# On the real upstream a redirect takes 0.3 s where a call takes from 1.7 s.
_REDIRECT_SHARE: Final = 0.15

_UNAUTHORIZED: Final = Reply(
    401, b'{"detail": "Wrong or no credentials."}\n', (("WWW-Authenticate", 'Basic realm="simulator"'),)
)
_NOT_FOUND: Final = Reply(404, b'{"detail": "Not found."}\n')


class Content(Protocol):
    """Where bodies come from: the generator or a folder."""

    def incidents_body(self, incident_type: str, now: float) -> bytes:
        """The body of `/incidents/{type}/` at `now` (epoch seconds)."""
        ...

    def identities_body(self, now: float) -> bytes:
        """The body of `/identities/` at `now` (epoch seconds)."""
        ...


class Simulator:
    """The upstream's behaviour, without a socket; `serve` puts it on one.

    clock: gives epoch seconds; may be replaced at any time to let incidents roll.
    faults: what goes wrong with the next requests for a path.

        simulator = Simulator(SimulatorSettings(records_per_type=10))
        simulator.faults.add("/incidents/denial/", status(503, {"Retry-After": "2"}), times=2)
        with serve(simulator) as base_url:
            ...
        assert [request.status for request in simulator.requests] == [503, 503, 200]
    """

    def __init__(
        self, settings: SimulatorSettings | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Prepare the content; raises SettingsError when the settings name a folder that can't be served."""
        self.settings = settings or SimulatorSettings()
        self.clock = clock
        self.faults = ScriptedFaults()
        self.traffic = Traffic(self.settings.slowdown)
        self.gzip_cache = GzipCache()
        self._content: Content = (
            Generator(self.settings) if self.settings.folder is None else Folder(self.settings.folder)
        )
        self._lock = Lock()
        self._numbers: Counter[str] = Counter()
        self._replaced: dict[str, bytes] = {}
        credentials = f"{self.settings.username}:{self.settings.password}".encode()
        self._credentials = b"basic " + base64.b64encode(credentials)

    @property
    def requests(self) -> list[RequestRecord]:
        """A copy of the records of the requests answered so far, in order."""
        return self.traffic.requests

    @property
    def highest_at_once(self) -> int:
        """The highest number of requests that were under way at once."""
        return self.traffic.highest_at_once

    def replace(self, path: str, content: bytes | None) -> None:
        """Serve these bytes for a path, with status 200; None serves the usual ones again."""
        with self._lock:
            if content is None:
                self._replaced.pop(path, None)
            else:
                self._replaced[path] = content

    def usual_reply(self, path: str) -> Reply:
        """What a request with good credentials gets now if nothing goes wrong."""
        with self._lock:
            replaced = self._replaced.get(path)
        if replaced is not None:
            return Reply(200, replaced)
        now = self.clock()
        if path == IDENTITIES_PATH:
            return Reply(200, self._content.identities_body(now))
        if path in _TYPE_BY_PATH:
            return Reply(200, self._content.incidents_body(_TYPE_BY_PATH[path], now))
        if _is_redirected(path):
            return Reply(301, headers=(("Location", f"{path}/"),))
        return _NOT_FOUND

    def answer(self, exchange: Exchange, authorization: str) -> None:
        """Answer a request that carries this Authorization header ("" without one)."""
        if not self._is_authorized(authorization):
            exchange.send(_UNAUTHORIZED)
            return
        fault = self.faults.take(exchange.path)
        if exchange.path in _PATHS or _is_redirected(exchange.path):
            # Numbered by path, so that a seed means the same however the paths' requests interleave.
            name = (self.settings.seed, exchange.path, self._next_number(exchange.path))
            self.traffic.pause(self._latency(exchange.path, draw("latency", *name)))
            fault = fault or drawn_fault(self.settings.failure_rate, self.settings.hang_seconds, *name)
        if fault is None:
            exchange.send(exchange.reply)
        else:
            fault.play(exchange)

    def _is_authorized(self, authorization: str) -> bool:
        scheme, _, credentials = authorization.partition(" ")
        given = f"{scheme.lower()} {credentials.strip()}".encode("latin-1", "replace")
        return hmac.compare_digest(given, self._credentials)

    def _next_number(self, path: str) -> int:
        with self._lock:
            self._numbers[path] += 1
            return self._numbers[path]

    def _latency(self, path: str, drawn: float) -> float:
        low, high = self.settings.latency
        return (low + (high - low) * drawn) * (_REDIRECT_SHARE if _is_redirected(path) else 1.0)


@contextmanager
def serve(simulator: Simulator, port: int = 0, host: str = HOST) -> Iterator[str]:
    """Serve on ``host`` (port 0: a free one) from a daemon thread; gives the base URL, without a last slash.

    Raises OSError when they can't be listened on. At the end all connections are closed.
    """
    server = _Server(simulator, port, host)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.stop()
        thread.join()


# What socketserver calls a request: with TCP always a socket.
type _Connection = socket.socket | tuple[bytes, socket.socket]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # The default of 5 would refuse clients that come all at once.
    request_queue_size = 128

    def __init__(self, simulator: Simulator, port: int, host: str) -> None:
        self.simulator = simulator
        self._lock = Lock()
        self._connections: set[socket.socket] = set()
        super().__init__((host, port), _Handler)
        simulator.traffic.open()

    def server_bind(self) -> None:
        # HTTPServer would ask the DNS for its own name, which takes seconds on some networks.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: _Connection, client_address: object) -> None:
        with self._lock:
            if isinstance(request, socket.socket):
                self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: _Connection) -> None:
        with self._lock:
            if isinstance(request, socket.socket):
                self._connections.discard(request)
        super().shutdown_request(request)

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            # One that a fault has reset is no longer there to shut down.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        # Only now: who waits would otherwise answer early instead of not at all.
        self.simulator.traffic.close()

    def handle_error(self, request: _Connection, client_address: object) -> None:
        # A client that goes away, or a connection shut down at the end, is no error of the simulator's.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A reply's last byte goes out on its own; it would wait 40 ms for the first part to be acknowledged.
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        simulator = self.server.simulator
        path = urlsplit(self.path).path
        authorization = self.headers.get("Authorization", "")
        exchange = Exchange(
            self.connection,
            path=path,
            user_agent=self.headers.get("User-Agent", ""),
            with_credentials=bool(authorization),
            accepts_gzip=_accepts_gzip(self.headers.get("Accept-Encoding", "")),
            usual_reply=lambda: simulator.usual_reply(path),
            traffic=simulator.traffic,
            gzip_cache=simulator.gzip_cache,
        )
        try:
            simulator.answer(exchange, authorization)
        except ConnectionError:
            exchange.close()
        finally:
            exchange.leave()
        if exchange.closed:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: `Simulator.requests` is the log."""


_TYPE_BY_PATH: Final = {f"/incidents/{name}/": name for name in INCIDENT_TYPES}
_PATHS: Final = frozenset((*_TYPE_BY_PATH, IDENTITIES_PATH))


def _is_redirected(path: str) -> bool:
    return f"{path}/" in _PATHS


def _accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header lists gzip with a weight above 0."""
    for item in accept_encoding.lower().split(","):
        coding, _, parameters = item.partition(";")
        if coding.strip() in ("gzip", "x-gzip", "*"):
            weight = parameters.replace(" ", "").removeprefix("q=")
            return weight.strip("0.") != "" if parameters else True
    return False
