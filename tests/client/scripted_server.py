"""An HTTP server that answers what a test tells it to, however wrong that is."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.target).query, keep_blank_values=True, strict_parsing=True)


@dataclass(frozen=True)
class Reply:
    """A body of text is sent as it is, all else as JSON; ``cut`` ends it half-way, ``reset`` at once."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    reset: bool = False


def problem(status: int, code: str, detail: str = "said the server", **more: Any) -> Reply:
    """A problem document; ``retry_after`` becomes the header, ``errors`` a member."""
    after = more.pop("retry_after", None)
    document = {"status": status, "code": code, "detail": detail, "request_id": "r-1", **more}
    headers = {"Content-Type": "application/problem+json"} | (
        {} if after is None else {"Retry-After": str(after)}
    )
    return Reply(status, document, headers)


class ScriptedServer:
    """Answers with what ``respond`` makes of each request, and remembers these."""

    def __init__(self, respond: Callable[[Asked], Reply]) -> None:
        self.asked: list[Asked] = []
        self.respond = respond
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextlib.contextmanager
    def running(self) -> Iterator["ScriptedServer"]:
        thread = threading.Thread(target=self._server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


def in_turn(*replies: Reply) -> Callable[[Asked], Reply]:
    """One reply after the other; more requests than that are a fault of whoever asks."""
    left = list(replies)
    return lambda asked: (
        left.pop(0) if left else Reply(418, {"detail": f"nothing more was expected: {asked}"})
    )


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that end in the middle are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: ScriptedServer

    def do_GET(self) -> None:
        asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()})
        self.owner.asked.append(asked)
        reply = self.owner.respond(asked)
        if reply.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.connection.close()
            self.close_connection = True
            return
        body = reply.body.encode() if isinstance(reply.body, str) else json.dumps(reply.body).encode()
        if reply.status == 304:
            body = b""
        self.send_response(reply.status)
        for name, value in ({"Content-Type": "application/json"} | dict(reply.headers)).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body[: len(body) // 2] if reply.cut else body)
        self.close_connection = self.close_connection or reply.cut

    def log_message(self, format: str, *arguments: Any) -> None:
        """Tests print nothing."""
