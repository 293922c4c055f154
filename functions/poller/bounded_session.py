"""A requests session that keeps to a deadline and to its own host, whatever the other side does.

requests' own time-outs begin anew with each byte, so a server that drips would hold a poll until Lambda
kills it. Here each receive waits until the deadline at most: for headers, bodies and chunks alike.
"""

import http.client
import io
import socket
import time
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

type Monotonic = Callable[[], float]


def make_session(deadline: float, *, monotonic: Monotonic = time.monotonic) -> requests.Session:
    """A session whose answers have to be there by ``deadline`` of the ``monotonic`` clock.

    What is late raises as a time-out does. Nothing is taken from the environment: a proxy that somebody set
    for other things must not see the upstream's credentials.
    """

    class Response(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
            super().__init__(sock, *args, **options)
            received: Any = self.fp
            self.fp = io.BufferedReader(_ReceiveUntil(received.detach(), sock, deadline, monotonic))

    class PlainConnection(HTTPConnection):
        response_class = Response

    class SecureConnection(HTTPSConnection):
        response_class = Response

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    adapter = HTTPAdapter()
    adapter.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    session = _Session()
    session.trust_env = False
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: else requests would read a redirect's body, of any size, and parse the address it gives."""


class _ReceiveUntil(io.RawIOBase):
    """What a socket receives until a deadline, however little comes at a time."""

    def __init__(
        self, received: io.RawIOBase, sock: socket.socket, deadline: float, monotonic: Monotonic
    ) -> None:
        self._received = received
        self._sock = sock
        self._deadline = deadline
        self._monotonic = monotonic

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - self._monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        self._sock.settimeout(min(left, self._sock.gettimeout() or left))
        count: int | None = self._received.readinto(buffer)
        return count

    def close(self) -> None:
        self._received.close()
        super().close()
