"""The upstream over HTTP: slow, now and then failing, and not to be trusted."""

import random
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import NamedTuple, Protocol

import requests
from requests.auth import HTTPBasicAuth
from urllib3.exceptions import ReadTimeoutError

from functions.poller.bounded_session import make_session
from functions.poller.credentials import Credentials, CredentialsError
from shared.domain.exact_json import JsonValue, MalformedJsonError, parse
from shared.domain.poll_report import IDENTITIES_SOURCE

MAX_ATTEMPTS = 4
# 100,000 records are about 13 MB.
MAX_BODY_BYTES = 32 * 1024 * 1024
# 100,000 records of four fields are 400,000.
MAX_VALUES = 1_200_000
CONNECT_TIMEOUT_SECONDS = 5.0
READ_TIMEOUT_SECONDS = 20.0
_CHUNK_BYTES = 64 * 1024
_FIRST_BACKOFF_SECONDS = 0.5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Beside 5xx: request time-out, too early, too many requests.
_RETRIED = frozenset({408, 425, 429})


class Answer(NamedTuple):
    """A source's answer, parsed. ``latency_ms`` is of the attempt that succeeded."""

    value: JsonValue
    latency_ms: int
    attempts: int


class UpstreamError(Exception):
    """A source could not be fetched: a class for counting and one sentence without any address or secret."""

    def __init__(
        self,
        error_class: str,
        message: str,
        *,
        status: int | None = None,
        retry: bool = True,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.status = status
        self.retry = retry
        self.retry_after = retry_after
        self.attempts = 1
        self.latency_ms = 0


class CredentialsReader(Protocol):
    """Where the credentials come from (functions/poller/credentials.py)."""

    def current(self) -> Credentials:
        """The credentials to send."""

    def after_refusal(self, refused: Credentials) -> Credentials | None:
        """Those that replaced the refused ones, if any did."""


class Upstream:
    """Fetches one source at a time; safe to call from several threads.

    Example: ``Upstream("https://…", credentials=source).fetch("denial", deadline=time.monotonic() + 60)``
    """

    def __init__(
        self,
        base_url: str,
        *,
        credentials: CredentialsReader,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        read_timeout: float = READ_TIMEOUT_SECONDS,
    ) -> None:
        self._base_url = base_url
        self._credentials = credentials
        self._monotonic = monotonic
        self._sleep = sleep
        self._read_timeout = read_timeout

    def fetch(self, source: str, *, deadline: float) -> Answer:
        """Fetch and parse a source (an incident type, or "identities"), with retries.

        Gives up at ``deadline`` (of the monotonic clock). Raises :class:`UpstreamError`.
        """
        # The last slash saves a redirect.
        path = "/identities/" if source == IDENTITIES_SOURCE else f"/incidents/{source}/"
        with make_session(deadline, monotonic=self._monotonic) as session:
            for attempt in range(1, MAX_ATTEMPTS + 1):
                started = self._monotonic()
                try:
                    value = self._fetch_with_credentials(session, self._base_url + path, deadline)
                except UpstreamError as error:
                    error.attempts = attempt
                    error.latency_ms = self._milliseconds_since(started)
                    if not error.retry or attempt == MAX_ATTEMPTS or not self._wait(error, attempt, deadline):
                        raise
                else:
                    return Answer(value, self._milliseconds_since(started), attempt)
        raise AssertionError("the last attempt returns or raises")

    def _wait(self, error: UpstreamError, attempt: int, deadline: float) -> bool:
        """Wait before the next attempt; False when the poll has no time for it."""
        pause = random.uniform(0, _FIRST_BACKOFF_SECONDS * 2 ** (attempt - 1))  # nosec B311  # noqa: S311 - no secret
        if error.retry_after is not None:
            pause += error.retry_after
        if self._monotonic() + pause >= deadline:
            return False
        self._sleep(pause)
        return True

    def _fetch_with_credentials(self, session: requests.Session, url: str, deadline: float) -> JsonValue:
        if self._monotonic() >= deadline:
            raise UpstreamError("timeout", "the poll's time was up", retry=False)
        try:
            credentials = self._credentials.current()
            try:
                return self._fetch_once(session, url, credentials, deadline)
            except UpstreamError as error:
                if error.status != requests.codes.unauthorized:
                    raise
                replaced = self._credentials.after_refusal(credentials)
                if replaced is None:
                    raise
                return self._fetch_once(session, url, replaced, deadline)
        except CredentialsError as error:
            raise UpstreamError("credentials", str(error), retry=False) from error

    def _fetch_once(
        self, session: requests.Session, url: str, credentials: Credentials, deadline: float
    ) -> JsonValue:
        left = deadline - self._monotonic()
        if left <= 0:
            raise UpstreamError("timeout", "the poll's time was up", retry=False)
        try:
            with session.get(
                url,
                auth=HTTPBasicAuth(credentials.username.encode(), credentials.password.encode()),
                headers={"Accept": "application/json", "User-Agent": "security-incident-api"},
                timeout=(min(CONNECT_TIMEOUT_SECONDS, left), min(self._read_timeout, left)),
                allow_redirects=False,
                stream=True,
            ) as response:
                _check_status(response)
                body = self._read_body(response, deadline)
                # Each value costs a hundred bytes once it is parsed, so a small body can fill the memory.
                if body.count(b",") > MAX_VALUES:
                    message = f"the body holds over {MAX_VALUES:,} values"
                    raise UpstreamError("too_large", message, retry=False)
                return parse(body, mark_flaws=True)
        except requests.Timeout:
            raise UpstreamError("timeout", "no answer in time") from None
        except requests.exceptions.SSLError:
            raise UpstreamError("tls", "the certificate can't be trusted", retry=False) from None
        except requests.exceptions.ContentDecodingError:
            raise UpstreamError("malformed", "the body can't be decompressed") from None
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            if error.args and isinstance(error.args[0], ReadTimeoutError):
                raise UpstreamError("timeout", "the body stopped in the middle") from None
            raise UpstreamError("connection", "the connection was refused, reset or cut off") from None
        except requests.RequestException as error:
            raise UpstreamError("request", f"the request failed ({type(error).__name__})") from None
        except MalformedJsonError as error:
            raise UpstreamError("malformed", f"the body is not JSON: {error}") from None

    def _read_body(self, response: requests.Response, deadline: float) -> bytes:
        body = bytearray()
        for chunk in response.iter_content(_CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise UpstreamError("too_large", f"the body is over {MAX_BODY_BYTES:,} bytes", retry=False)
            if self._monotonic() > deadline:
                raise UpstreamError("timeout", "the body did not end in time", retry=False)
        return bytes(body)

    def _milliseconds_since(self, started: float) -> int:
        return round((self._monotonic() - started) * 1000)


def _check_status(response: requests.Response) -> None:
    status = response.status_code
    if status == requests.codes.ok:
        return
    if status in {requests.codes.unauthorized, requests.codes.forbidden}:
        message = f"the upstream refused the credentials ({status}): check the secret"
        raise UpstreamError("unauthorized", message, status=status, retry=False)
    if status in _REDIRECTS:
        message = f"the upstream redirects ({status}), which is not followed: check UPSTREAM_BASE_URL"
        raise UpstreamError("redirect", message, status=status, retry=False)
    if status in _RETRIED or status >= requests.codes.server_error:
        error_class = "throttled" if status == requests.codes.too_many_requests else "server_error"
        message = f"the upstream answered {status}"
        raise UpstreamError(error_class, message, status=status, retry_after=_retry_after(response))
    raise UpstreamError("http", f"the upstream answered {status}", status=status, retry=False)


def _retry_after(response: requests.Response) -> float | None:
    """Seconds that the upstream asks to wait: given as such or as a date; None if it does not say."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None
