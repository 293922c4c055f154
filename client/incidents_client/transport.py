"""GET requests that outlast throttling, outages and cut-off answers, within bounds.

All requests only read, so that any of them may be repeated.
"""

import random
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from incidents_client.errors import (
    IncidentsError,
    MalformedAnswerError,
    ProblemError,
    SettingsError,
    UnavailableError,
    UnreachableError,
    problem_class,
)
from incidents_client.exact_json import JsonValue, parse
from incidents_client.version import VERSION

Query = Sequence[tuple[str, str]]
Auth = AuthBase | Callable[[requests.PreparedRequest], requests.PreparedRequest]

CONNECT_SECONDS = 10.0
# The gateway gives up after 29 seconds.
READ_SECONDS = 35.0
# Lambda's answers end at 6 MB, packed or not; more than this is not of this API.
MAX_BODY_BYTES = 64 * 1024 * 1024
# From the connection to the end of the body; timeouts are of single reads, and who drips is in time for each.
MAX_ANSWER_SECONDS = 120.0
# A server that never answered is rather a wrong address than an outage.
FIRST_PATIENCE_SECONDS = 10.0
LONGEST_BACKOFF_SECONDS = 20.0
# An answer that is not of this API may be one cut off; the same again and again is no accident.
MALFORMED_ATTEMPTS = 3
# Each goes on where the last one stopped, after 15 seconds.
MAX_SEARCHES = 1_000
SHORTEST_SEARCH_WAIT_SECONDS = 1.0
# What a server says about an error is for people to read.
MAX_SAID_CHARACTERS = 1_000


class UntrustedError(UnreachableError):
    """The server's certificate can't be trusted."""


@dataclass(frozen=True)
class Answer:
    """Status, ETag if there is one, and the body; None of a 304."""

    status: int
    etag: str | None
    document: JsonValue


class Transport:
    """Requests to one deployment.

    ``patience`` is how many seconds one request may go on failing. ``on_wait`` is told why and for how long
    before each wait.
    """

    def __init__(
        self,
        base_url: str,
        auth: Auth,
        *,
        patience: float,
        on_wait: Callable[[IncidentsError, float], None],
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.base_url = check_base_url(base_url)
        self._auth = auth
        self._patience = patience
        # Whoever has little patience does not wait longer for a single answer, but long enough for one.
        self._timeouts = (CONNECT_SECONDS, min(READ_SECONDS, max(CONNECT_SECONDS, patience)))
        self._answer_seconds = min(MAX_ANSWER_SECONDS, max(READ_SECONDS, patience))
        self._on_wait = on_wait
        self._sleep = sleep
        self._clock = clock
        self._ever_answered = False
        self._session = requests.Session()
        self._adapter = _Adapter()
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, self._adapter)
        # A proxy for the world outside is no way to this machine.
        self._session.trust_env = not is_loopback(self.base_url)
        self._session.headers.update({"User-Agent": f"incidents-client/{VERSION}"})

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def get(
        self,
        path: str,
        query: Query = (),
        *,
        accept: str = "application/json",
        etag: str | None = None,
        patience: float | None = None,
        wanted: Sequence[int] = (200,),
    ) -> Answer:
        """An answer with one of the ``wanted`` statuses, a problem document's never.

        Raises :class:`ProblemError`, :class:`UnreachableError` and :class:`MalformedAnswerError`.
        """
        patience = self._patience if patience is None else patience
        headers = {"Accept": accept} | ({"If-None-Match": etag} if etag else {})
        failing_since, attempts, searches = self._clock(), 0, 0
        while True:
            try:
                return self._attempt(path, query, headers, wanted)
            except (UnavailableError, UnreachableError, MalformedAnswerError) as error:
                cause = error
            if isinstance(cause, UnavailableError) and cause.code == "search_unfinished":
                # No failure: the same request goes on where this one stopped.
                failing_since, attempts, searches = self._clock(), 0, searches + 1
                asked = 1.0 if cause.retry_after is None else cause.retry_after
                wait = min(max(asked, SHORTEST_SEARCH_WAIT_SECONDS), LONGEST_BACKOFF_SECONDS)
                if searches == MAX_SEARCHES:
                    raise cause
            else:
                attempts += 1
                wait = _wait_after(cause, attempts)
                bound = patience
                if isinstance(cause, UnreachableError) and not self._ever_answered:
                    bound = min(bound, FIRST_PATIENCE_SECONDS)
                too_late = self._clock() - failing_since + wait > bound
                if too_late or not _is_worth_another(cause, attempts):
                    raise cause
            self._on_wait(cause, wait)
            self._sleep(wait)

    def _attempt(self, path: str, query: Query, headers: Mapping[str, str], wanted: Sequence[int]) -> Answer:
        # Percent-encoded as a signature's canonical query is, so that no one on the way has to guess.
        encoded = urlencode(query, quote_via=quote, safe="-_.~")
        url = self.base_url + path + (f"?{encoded}" if encoded else "")
        deadline = _Deadline(self._adapter, self._answer_seconds)
        late = UnreachableError(f"{_host(url)}: the answer took over {self._answer_seconds:.0f} seconds")
        try:
            with (
                deadline,
                self._session.get(
                    url,
                    headers=dict(headers),
                    auth=self._auth,
                    # A redirect could lead the credentials, or the reader, to another host.
                    allow_redirects=False,
                    timeout=self._timeouts,
                    stream=True,
                ) as response,
            ):
                body = self._read_body(response)
        # Not all that these libraries raise is of their own kinds: a name or a Location that can't be parsed.
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            if deadline.is_over:
                raise late from None
            names = _names_of_causes(error)
            if names & {"SSLCertVerificationError", "CertificateError"}:
                raise UntrustedError(
                    f"{_host(url)}: its certificate can't be trusted "
                    "(REQUESTS_CA_BUNDLE names another authority)"
                ) from None
            raise UnreachableError(f"{_host(url)}: {_say_what_failed(names)}") from None
        except OSError as error:
            # What `requests` says before it asks anything has no number; all that comes of sockets is above.
            if error.errno is None and "CA certificate" in str(error):
                raise SettingsError("the file that REQUESTS_CA_BUNDLE names is not there") from None
            raise
        if deadline.is_over:
            # Cut off among the headers it looks like an answer without a body.
            raise late
        self._ever_answered = True
        return self._judge(response, body, wanted)

    def _read_body(self, response: requests.Response) -> bytes:
        parts, size = [], 0
        for part in response.iter_content(64 * 1024):
            parts.append(part)
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise MalformedAnswerError(f"the answer is over {MAX_BODY_BYTES >> 20} MiB")
        return b"".join(parts)

    def _judge(self, response: requests.Response, body: bytes, wanted: Sequence[int]) -> Answer:
        status = response.status_code
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        etag = response.headers.get("ETag")
        if status == 304:
            return Answer(status, etag, None)
        if status in wanted and media_type != "application/problem+json":
            try:
                return Answer(status, etag, parse(body))
            except ValueError as error:
                raise MalformedAnswerError(f"the answer is not JSON ({error}): is the URL right?") from None
        if 300 <= status < 400:
            # Where it leads, and no more: the rest might be anything.
            where = _host(response.headers.get("Location", "")) or "elsewhere"
            raise ProblemError(status, detail=f"redirected to {where}, which is not followed: check the URL")
        raise _read_problem(response, body)


class _Adapter(HTTPAdapter):
    """Knows the connection that was opened last; one thread has one at a time."""

    connection: Any = None

    def get_connection_with_tls_context(self, *arguments: Any, **named: Any) -> Any:
        """The pool, also that of a proxy, with connections that tell of themselves."""
        pool: Any = super().get_connection_with_tls_context(*arguments, **named)
        if not issubclass(pool.ConnectionCls, _Known):
            pool.ConnectionCls = type("Known", (_Known, pool.ConnectionCls), {"adapter": self})
        return pool

    def shut_down(self) -> None:
        """Let whoever reads from the connection see its end."""
        opened = getattr(self.connection, "sock", None)
        if opened is not None:
            try:
                # Not TLS's own, which would change what the reader has in hand.
                socket.socket.shutdown(opened, socket.SHUT_RDWR)
            except OSError:
                # It has ended by itself.
                return


class _Known:
    """A connection that its adapter knows from before it is opened."""

    adapter: _Adapter

    def connect(self) -> None:
        self.adapter.connection = self
        super().connect()  # type: ignore[misc]  # of the class that it is mixed into


class _Deadline:
    """Ends the connection when the time is up."""

    def __init__(self, adapter: _Adapter, seconds: float) -> None:
        self.is_over = False
        self._adapter = adapter
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.is_over = True
        self._adapter.shut_down()


def check_base_url(text: str) -> str:
    """A deployment's address without a slash at its end. Raises :class:`SettingsError`."""
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https"):
        raise SettingsError("the URL must be like https://host/stage or http://127.0.0.1:9000")
    if (
        parts.username is not None
        or parts.query
        or parts.fragment
        or not text.isprintable()
        or " " in text.strip()
    ):
        raise SettingsError(
            "the URL must have no credentials, query or fragment in it: only where the API is"
        )
    # The same in the signature as in the Host header.
    netloc = f"[{host}]" if ":" in host else host
    netloc += f":{port}" if port and port != {"http": 80, "https": 443}[parts.scheme] else ""
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))


def is_loopback(base_url: str) -> bool:
    """Whether it is this machine."""
    host = urlsplit(base_url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def check_secrecy(base_url: str) -> None:
    """Raises :class:`SettingsError` where credentials would travel in the clear."""
    if urlsplit(base_url).scheme != "https" and not is_loopback(base_url):
        raise SettingsError("credentials are sent over https alone: this URL would show them on the way")


def _read_problem(response: requests.Response, body: bytes) -> ProblemError:
    try:
        document = parse(body)
    except ValueError:
        document = None
    row = document if isinstance(document, Mapping) else {}

    def text(name: str) -> str:
        value = row.get(name)
        return value[:MAX_SAID_CHARACTERS] if isinstance(value, str) else ""

    faults = row.get("errors")
    errors = [
        (str(each.get("parameter"))[:MAX_SAID_CHARACTERS], str(each.get("reason"))[:MAX_SAID_CHARACTERS])
        for each in (faults[:10] if isinstance(faults, list) else [])
        if isinstance(each, Mapping)
    ]
    # API Gateway's own form, where a deployment has no gateway responses of its own.
    detail = text("detail") or text("title") or text("message") or text("Message")
    status = response.status_code
    return problem_class(status, text("code"))(
        status,
        text("code"),
        detail,
        request_id=text("request_id") or response.headers.get("X-Request-Id", ""),
        errors=errors,
        retry_after=_read_retry_after(response.headers.get("Retry-After")),
    )


def _read_retry_after(text: str | None) -> float | None:
    """Seconds to wait (RFC 9110, 10.2.3), None where it says nothing that can be understood."""
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        return None
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def _wait_after(cause: IncidentsError, attempts: int) -> float:
    # Spread, so that those who failed together don't come back together.
    spread = random.uniform(0.5, 1.0)  # nosec B311  # noqa: S311 - nothing hangs on guessing it
    asked = cause.retry_after if isinstance(cause, ProblemError) else None
    if asked is not None:
        return asked + spread
    return float(min(LONGEST_BACKOFF_SECONDS, 0.5 * 2 ** min(attempts, 10))) * spread


def _is_worth_another(cause: IncidentsError, attempts: int) -> bool:
    if isinstance(cause, MalformedAnswerError):
        return attempts < MALFORMED_ATTEMPTS
    if isinstance(cause, ProblemError):
        # Back tomorrow; and 501 says that it never will be.
        return cause.code != "quota_exceeded" and cause.status not in (501, 505)
    return not isinstance(cause, UntrustedError)


def _host(url: str) -> str:
    """What may be told of an address."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port}" if parts.hostname and parts.port else parts.hostname or ""
    except ValueError:
        return ""


def _names_of_causes(error: BaseException) -> set[str]:
    """The classes of all exceptions in the chain."""
    seen: list[BaseException] = []
    left: list[BaseException] = [error]
    while left:
        here = left.pop()
        if here in seen:
            continue
        seen.append(here)
        chained = [here.__cause__, here.__context__, getattr(here, "reason", None), *here.args]
        left.extend(each for each in chained if isinstance(each, BaseException))
    return {kind.__name__ for each in seen for kind in type(each).__mro__}


def _say_what_failed(names: set[str]) -> str:
    """In a few words; the library's own have the whole address in them, cursors and all."""
    for name, words in _WORDS.items():
        if name in names:
            return words
    return "the connection failed"


# By the class of any exception in the chain; the first that is there says it.
_WORDS: Mapping[str, str] = {
    "InvalidURL": "the URL is not valid",
    "LocationParseError": "the URL is not valid",
    "gaierror": "this name can't be resolved",
    "NameResolutionError": "this name can't be resolved",
    "ProxyError": "the proxy can't be reached (HTTP_PROXY, HTTPS_PROXY)",
    "ConnectionRefusedError": "nobody listens there (connection refused)",
    "ConnectTimeout": "no connection in time",
    "ReadTimeout": "no answer in time",
    "ReadTimeoutError": "the answer stopped on the way",
    "IncompleteRead": "the answer was cut off",
    "InvalidChunkLength": "the answer was cut off",
    "ContentDecodingError": "the answer can't be unpacked",
    "DecodeError": "the answer can't be unpacked",
    "ConnectionResetError": "the connection was reset",
    "SSLError": "it speaks no TLS, or broke it off: check the URL",
    "RemoteDisconnected": "the connection was closed without an answer",
}
