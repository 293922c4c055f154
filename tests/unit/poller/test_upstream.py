"""The upstream's client: asks right, retries what may pass, gives up in time, and lets no secret out."""

import gzip
import random
import socket
import threading
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

import pytest

from functions.poller import upstream as upstream_module
from functions.poller.credentials import Credentials, CredentialsError
from functions.poller.upstream import MAX_ATTEMPTS, Answer, Upstream, UpstreamError
from local.simulator import FAULTS, Exchange, Fault, Simulator, SimulatorSettings, faults, serve
from shared.domain.incident import INCIDENT_TYPES

pytestmark = pytest.mark.loopback

DENIAL = "/incidents/denial/"
USERNAME = "benutzerin"
PASSWORD = "geheim-pässwort-密"
FAR = 3_600.0


class Clock:
    """A clock that only moves when somebody sleeps on it or moves it."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


class FixedCredentials:
    """Credentials that stay, or are replaced once they have been refused; each look takes ``seconds``."""

    def __init__(
        self,
        username: str = USERNAME,
        password: str = PASSWORD,
        *,
        replaced_by: Credentials | None = None,
        clock: Clock | None = None,
        seconds: list[float] | None = None,
    ) -> None:
        self.credentials = Credentials(username, password)
        self.replaced_by = replaced_by
        self.refusals = 0
        self._clock = clock
        self._seconds = iter(seconds or [])

    def current(self) -> Credentials:
        if self._clock:
            self._clock.now += next(self._seconds, 0.0)
        return self.credentials

    def after_refusal(self, refused: Credentials) -> Credentials | None:
        self.refusals += 1
        if self.replaced_by is None or self.replaced_by == refused:
            return None
        self.credentials = self.replaced_by
        return self.credentials


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(
        SimulatorSettings(records_per_type=20, identities=50, username=USERNAME, password=PASSWORD)
    )


@pytest.fixture
def base_url(simulator: Simulator) -> Iterator[str]:
    with serve(simulator) as url:
        yield url


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(base_url: str, clock: Clock) -> Upstream:
    """A client that waits in no time; a read may take 0.3 s of true time."""
    return make_client(base_url, clock)


def make_client(base_url: str, clock: Clock, **others: object) -> Upstream:
    return Upstream(
        base_url,
        **{"credentials": FixedCredentials(), "read_timeout": 0.3} | others,  # type: ignore[arg-type]  # of many types
        monotonic=clock.monotonic,
        sleep=clock.sleep,
    )


def fetch(client: Upstream, source: str = "denial", *, within: float = FAR) -> Answer:
    """Fetch with ``within`` seconds until the deadline, on the client's own clock."""
    return client.fetch(source, deadline=client._monotonic() + within)


def failure(client: Upstream, source: str = "denial", *, within: float = FAR) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        fetch(client, source, within=within)
    return caught.value


def statuses(simulator: Simulator) -> list[int]:
    return [request.status for request in simulator.requests]


@dataclass
class RawServer:
    """Sends what a test tells it to and keeps the heads of the requests that came in."""

    base_url: str
    heads: list[str] = field(default_factory=list)


@contextmanager
def raw_server(answer: Callable[[socket.socket], None]) -> Iterator[RawServer]:
    """Let ``answer`` write to each connection after its request's head has come in, until it is done."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = RawServer(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def serve_connections() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    head = b""
                    while b"\r\n\r\n" not in head and (received := connection.recv(65_536)):
                        head += received
                    if head:
                        server.heads.append(head.decode("latin-1"))
                        answer(connection)

        thread = threading.Thread(target=serve_connections, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            assert not thread.is_alive()


def drip(prefix: bytes, piece: bytes, *, seconds: float) -> Callable[[socket.socket], None]:
    """Send ``prefix`` and then ``piece`` every 50 ms, for so long at most."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(prefix)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            connection.sendall(piece)
            time.sleep(0.05)

    return answer


# What is asked for


@pytest.mark.parametrize("source", [*INCIDENT_TYPES, "identities"])
def test_each_source_takes_one_request(simulator: Simulator, client: Upstream, source: str) -> None:
    """Every source is asked for by its path with the last slash: one request, no redirect."""
    answer = fetch(client, source)

    path = "/identities/" if source == "identities" else f"/incidents/{source}/"
    assert [(each.path, each.status) for each in simulator.requests] == [(path, 200)]
    assert answer.attempts == 1
    assert len(answer.value) == 50 if source == "identities" else len(answer.value["results"]) == 20


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("simulator", "simulator"),
        ("bjørn", "pässwört-密码-🔑"),
        ("a", "with:colon and space"),
        ("u", '"\\%00'),
    ],
)
def test_basic_auth_carries_any_password(username: str, password: str) -> None:
    """Credentials go out as UTF-8 Basic auth, whatever characters they have."""
    simulator = Simulator(SimulatorSettings(records_per_type=1, username=username, password=password))
    with serve(simulator) as base_url:
        client = make_client(base_url, Clock(), credentials=FixedCredentials(username, password))
        assert fetch(client).attempts == 1
        other = make_client(base_url, Clock(), credentials=FixedCredentials(username, password + "x"))
        assert failure(other).status == 401


def test_json_and_gzip_are_asked_for_and_nothing_tells_on_us() -> None:
    """A request says that JSON is wanted, compressed, and not which library version asks."""
    body = gzip.compress(b'{"results": []}')
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with raw_server(lambda connection: connection.sendall(head + body)) as server:
        assert fetch(make_client(server.base_url, Clock())).value == {"results": []}
    [request] = server.heads
    lines = request.lower().splitlines()
    assert lines[0] == "get /incidents/denial/ http/1.1"
    assert "accept: application/json" in lines
    [encodings] = [line for line in lines if line.startswith("accept-encoding:")]
    assert "gzip" in encodings
    assert "user-agent: security-incident-api" in lines


def test_numbers_keep_their_digits(simulator: Simulator, client: Upstream) -> None:
    """What is fetched is parsed exactly: a timestamp is not a float on its way in."""
    simulator.replace(DENIAL, b'{"results": [{"timestamp": 1658264566.26107620}]}')
    assert fetch(client).value["results"][0]["timestamp"].text == "1658264566.26107620"


# What passes when it is tried again

FLEETING = {
    "500": (faults.status(500), "server_error", 500),
    "502": (faults.status(502), "server_error", 502),
    "503": (faults.status(503), "server_error", 503),
    "504": (faults.status(504), "server_error", 504),
    "429": (faults.status(429), "throttled", 429),
    "no answer in time": (faults.hang(5), "timeout", None),
    "body stops in the middle": (faults.slow_body(50), "timeout", None),
    "reset": (faults.reset(), "connection", None),
    "reset in the body": (faults.reset(after=0.5), "connection", None),
    "cut off": (faults.cut_off(0.5), "connection", None),
    "cut off at the last byte": (faults.cut_off(1.0), "connection", None),
    "closed without an answer": (faults.hang(0), "connection", None),
    "not HTTP": (faults.raw(b"SSH-2.0-simulator\r\n"), "connection", None),
    "lengths that disagree": (
        faults.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
        "request",
        None,
    ),
    "empty": (faults.body(b""), "malformed", None),
    "html": (FAULTS["html"], "malformed", None),
    "half of the JSON": (FAULTS["half of the JSON"], "malformed", None),
    "not UTF-8": (faults.body(b'{"results": ["\xff"]}'), "malformed", None),
    "nan": (faults.body(b'{"results": [nan]}'), "malformed", None),
    "nested without end": (faults.body(b"[" * 500_000), "malformed", None),
    "not gzip though it says so": (
        faults.body(b'{"results": []}', headers={"Content-Encoding": "gzip"}),
        "malformed",
        None,
    ),
}


def mostly_incompressible(simulator: Simulator) -> bytes:
    """A body that stays large when it is gzipped."""
    noise = random.Random(1).randbytes(60_000).hex()  # noqa: S311 - noise, no secret
    body = b'{"results": [], "noise": "' + noise.encode() + b'"}'
    simulator.replace(DENIAL, body)
    return body


@pytest.mark.parametrize("name", FLEETING)
def test_fleeting_failure_is_tried_again(
    simulator: Simulator, client: Upstream, clock: Clock, name: str
) -> None:
    """After one failure that may pass, the second attempt brings the answer, after a short random pause."""
    simulator.faults.add(DENIAL, FLEETING[name][0])
    answer = fetch(client)
    assert answer.attempts == 2
    assert len(answer.value["results"]) == 20
    assert len(simulator.requests) == 2
    assert len(clock.pauses) == 1
    assert 0 <= clock.pauses[0] <= 0.5


@pytest.mark.parametrize("name", FLEETING)
def test_lasting_failure_is_given_up_after_four_attempts(
    simulator: Simulator, client: Upstream, clock: Clock, name: str
) -> None:
    """A failure that stays is reported as what it is, after four attempts and three growing pauses."""
    fault, error_class, status = FLEETING[name]
    if error_class == "timeout":
        client = make_client(client._base_url, clock, read_timeout=0.1)
    simulator.faults.add(DENIAL, fault, times=None)
    error = failure(client)
    assert (error.error_class, error.status, error.attempts) == (error_class, status, MAX_ATTEMPTS)
    assert len(simulator.requests) == MAX_ATTEMPTS == 4
    assert len(clock.pauses) == 3
    for pause, bound in zip(clock.pauses, (0.5, 1.0, 2.0), strict=True):
        assert 0 <= pause <= bound


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("end", [faults.cut_off, faults.reset])
def test_cut_off_gzip_is_never_taken(
    simulator: Simulator, client: Upstream, fraction: float, end: Callable[[float], Fault]
) -> None:
    """A compressed body that ends too soon, be it by a byte, is not taken; the next whole one is."""
    body = mostly_incompressible(simulator)
    simulator.faults.add(DENIAL, end(fraction))
    answer = fetch(client)
    assert answer.attempts == 2
    assert len(answer.value["noise"]) > len(body) / 2


def test_cut_off_identity_body_is_never_taken() -> None:
    """An uncompressed body shorter than promised is not taken, even where its start is JSON by itself."""
    with raw_server(
        lambda connection: connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"results": []}')
    ) as server:
        assert failure(make_client(server.base_url, Clock())).error_class == "connection"
    assert len(server.heads) == 4


@pytest.mark.parametrize("kept", [10, -9, -1])
def test_truncated_gzip_of_unknown_length_is_not_half_taken(kept: int) -> None:
    """Gzip that breaks off with the connection as its only end fails, or has brought the whole JSON."""
    noise = random.Random(2).randbytes(500).hex().encode()  # noqa: S311 - noise, no secret
    text = b'{"results": [], "noise": "' + noise + b'"}'
    packed = gzip.compress(text)[:kept]
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
    with raw_server(lambda connection: connection.sendall(head + packed)) as server:
        client = make_client(server.base_url, Clock())
        if kept == 10:
            assert failure(client).error_class == "malformed"
        else:
            with suppress(UpstreamError):
                assert len(fetch(client).value["noise"]) == 1_000


def test_cut_off_chunks_are_never_taken() -> None:
    """A chunked body without its last chunk is not taken, even where what came is JSON by itself."""
    reply = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nf\r\n{"results": []}\r\n'
    with raw_server(lambda connection: connection.sendall(reply)) as server:
        assert failure(make_client(server.base_url, Clock())).error_class == "connection"
    with raw_server(lambda connection: connection.sendall(reply + b"0\r\n\r\n")) as server:
        assert fetch(make_client(server.base_url, Clock())).value == {"results": []}


def test_three_different_failures_then_good(simulator: Simulator, client: Upstream) -> None:
    """The fourth attempt is still made, and its answer counts four attempts."""
    for fault in (faults.status(500), faults.reset(), faults.cut_off()):
        simulator.faults.add(DENIAL, fault)
    assert fetch(client).attempts == 4
    assert statuses(simulator) == [500, 0, 200, 200]


def test_connection_refused_is_tried_again(clock: Clock) -> None:
    """Nobody listening is a failure like others: four attempts, then it is said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = failure(make_client(f"http://127.0.0.1:{port}", clock))
    assert (error.error_class, error.status, error.attempts) == ("connection", None, 4)


def test_pauses_are_random_and_grow(simulator: Simulator, client: Upstream, clock: Clock) -> None:
    """Over many failures the pauses fill their bounds, so that eight sources don't come back together."""
    simulator.faults.add(DENIAL, faults.status(500), times=None)
    for _ in range(30):
        failure(client)
    for number, bound in enumerate((0.5, 1.0, 2.0)):
        pauses = clock.pauses[number::3]
        assert len(pauses) == 30
        assert max(pauses) <= bound
        assert max(pauses) > bound * 0.6
        assert min(pauses) < bound * 0.4


# Retry-After


@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_in_seconds(simulator: Simulator, client: Upstream, clock: Clock, code: int) -> None:
    """The upstream is not asked again before the seconds are over that it wants to be left alone."""
    simulator.faults.add(DENIAL, faults.status(code, {"Retry-After": "7"}))
    assert fetch(client).attempts == 2
    assert len(clock.pauses) == 1
    assert 7.0 <= clock.pauses[0] <= 7.5


def test_retry_after_as_a_date(simulator: Simulator, client: Upstream, clock: Clock) -> None:
    """A date is as good as seconds; one that is over means none."""
    simulator.faults.add(
        DENIAL, faults.status(429, {"Retry-After": formatdate(time.time() + 60, usegmt=True)})
    )
    simulator.faults.add(DENIAL, faults.status(429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}))
    assert fetch(client).attempts == 3
    assert 55.0 <= clock.pauses[0] <= 60.5
    assert 0 <= clock.pauses[1] <= 1.0


@pytest.mark.parametrize("text", ["", "soon", "-5", "1.5", "٣", "Mon, 99 Foo 1 1 1"])
def test_retry_after_that_says_nothing(
    simulator: Simulator, client: Upstream, clock: Clock, text: str
) -> None:
    """A Retry-After that is neither seconds nor a date is as if it were not there."""
    value = text.encode().decode("latin-1")
    simulator.faults.add(DENIAL, faults.status(503, {"Retry-After": value}))
    assert fetch(client).attempts == 2
    assert len(clock.pauses) == 1
    assert 0 <= clock.pauses[0] <= 0.5


@pytest.mark.parametrize(
    "text",
    ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 2026 00:00:00 +99999999999999"],
)
def test_retry_after_beyond_all_dates(
    simulator: Simulator, client: Upstream, clock: Clock, text: str
) -> None:
    """A date that no calendar holds is as if it were not there."""
    simulator.faults.add(DENIAL, faults.status(503, {"Retry-After": text}))
    assert fetch(client).attempts == 2


@pytest.mark.parametrize("text", ["31", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_retry_after_beyond_the_deadline_gives_up_at_once(
    simulator: Simulator, client: Upstream, clock: Clock, text: str
) -> None:
    """Nobody waits for a time that the poll does not have."""
    simulator.faults.add(DENIAL, faults.status(429, {"Retry-After": text}), times=None)
    error = failure(client, within=30)
    assert (error.error_class, error.status, error.attempts) == ("throttled", 429, 1)
    assert clock.pauses == []
    assert statuses(simulator) == [429]


def test_retries_stop_at_the_deadline(simulator: Simulator, client: Upstream, clock: Clock) -> None:
    """Pauses are spent only while there is time for another attempt after them."""
    simulator.faults.add(DENIAL, faults.status(503, {"Retry-After": "10"}), times=None)
    started = clock.now
    error = failure(client, within=25)
    assert error.attempts == 3
    assert statuses(simulator) == [503, 503, 503]
    assert clock.now - started < 25


# What is not tried again


@pytest.mark.parametrize(
    ("code", "error_class"),
    [
        (401, "unauthorized"),
        (403, "unauthorized"),
        (404, "http"),
        (400, "http"),
        (204, "http"),
        (206, "http"),
        (304, "http"),
        (418, "http"),
    ],
)
def test_final_statuses_are_not_tried_again(
    simulator: Simulator, client: Upstream, clock: Clock, code: int, error_class: str
) -> None:
    """What another attempt can't change is reported after the first, with its status."""
    content = b"" if code in {204, 304} else b'{"results": []}'
    simulator.faults.add(DENIAL, faults.status(code, {"Retry-After": "1"}, content=content), times=None)
    error = failure(client)
    assert (error.error_class, error.status, error.attempts) == (error_class, code, 1)
    assert statuses(simulator) == [code]
    assert clock.pauses == []


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_never_followed(
    simulator: Simulator, client: Upstream, clock: Clock, code: int
) -> None:
    """No redirect is followed, to another host or the same: credentials go where they were meant to go."""
    with serve(Simulator()) as stranger_url:
        for location in (f"{stranger_url}{DENIAL}", f"//{stranger_url[7:]}{DENIAL}", "/identities/"):
            simulator.faults.add(DENIAL, faults.redirect(location, code))
            error = failure(client)
            assert (error.error_class, error.status, error.attempts) == ("redirect", code, 1)
            assert "UPSTREAM_BASE_URL" in str(error)
    assert statuses(simulator) == [code] * 3
    assert {each.path for each in simulator.requests} == {DENIAL}
    assert clock.pauses == []


def test_stranger_sees_nothing(simulator: Simulator, client: Upstream) -> None:
    """The host that a redirect points at gets no request at all, let alone credentials."""
    stranger = Simulator()
    with serve(stranger) as stranger_url:
        simulator.faults.add(DENIAL, faults.redirect(f"{stranger_url}{DENIAL}"))
        failure(client)
        assert stranger.requests == []
        # The stranger does count: what was not seen would have been.
        with suppress(UpstreamError):
            fetch(make_client(stranger_url, Clock()))
        assert [request.with_credentials for request in stranger.requests] == [True]


@pytest.mark.parametrize("location", ["http://[", "http://[::1", "/caf\u00e9"])
def test_redirect_to_nonsense_is_a_redirect(simulator: Simulator, client: Upstream, location: str) -> None:
    """A Location that is no address is reported as a redirect; it does not end the poll."""
    simulator.faults.add(DENIAL, faults.redirect(location))
    error = failure(client)
    assert (error.error_class, error.status) == ("redirect", 301)


# The deadline, in true time


def true_time_client(base_url: str, read_timeout: float = 30.0) -> Upstream:
    return Upstream(base_url, credentials=FixedCredentials(), read_timeout=read_timeout)


def assert_kept(client: Upstream, within: float = 0.4, slack: float = 0.6) -> UpstreamError:
    started = time.monotonic()
    error = failure(client, within=within)
    took = time.monotonic() - started
    assert took < within + slack
    assert error.error_class == "timeout"
    assert error.status is None
    return error


def test_deadline_is_kept_when_the_upstream_hangs(simulator: Simulator, base_url: str) -> None:
    """An upstream that takes the request and stays silent is left at the deadline."""
    simulator.faults.add(DENIAL, faults.hang(20), times=None)
    error = assert_kept(true_time_client(base_url))
    assert error.attempts == 1
    assert error.latency_ms >= 350
    assert len(simulator.requests) == 1


def test_deadline_is_kept_when_nobody_takes_the_request() -> None:
    """A server whose connections are accepted and never served is left at the deadline."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert_kept(true_time_client(f"http://127.0.0.1:{listener.getsockname()[1]}"))


def test_deadline_is_kept_when_the_body_stops(simulator: Simulator, base_url: str) -> None:
    """A body that stops in the middle is left at the deadline."""
    simulator.faults.add(DENIAL, faults.slow_body(200), times=None)
    assert_kept(true_time_client(base_url))


def test_deadline_is_kept_with_short_chunks_that_drip_for_ever() -> None:
    """A chunked body that goes on and on, a little at a time, is left at the deadline."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with raw_server(drip(head, b"1\r\n \r\n", seconds=2)) as server:
        assert_kept(true_time_client(server.base_url))
    assert len(server.heads) == 1


DRIPS = {
    "body of a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" "),
    "body of no length": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" "),
    "long chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n", b" "),
    "headers": (b"HTTP/1.1 200 OK\r\nX: ", b"a"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "redirect's body": (
        b"HTTP/1.1 301 Moved\r\nLocation: /x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1\r\n \r\n",
    ),
}


@pytest.mark.parametrize("name", DRIPS)
def test_deadline_is_kept_with_anything_that_drips_for_ever(name: str) -> None:
    """An upstream that sends a byte now and then, wherever in its answer, is left at the deadline."""
    prefix, piece = DRIPS[name]
    with raw_server(drip(prefix, piece, seconds=0.7)) as server:
        started = time.monotonic()
        error = failure(true_time_client(server.base_url), within=0.2)
        assert time.monotonic() - started < 0.6
    assert error.error_class in {"timeout", "redirect"}


def test_deadline_is_kept_when_the_head_comes_late_and_the_body_never() -> None:
    """The time that the head took is gone for the body."""

    def answer(connection: socket.socket) -> None:
        time.sleep(0.3)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
        time.sleep(0.6)

    with raw_server(answer) as server:
        started = time.monotonic()
        assert failure(true_time_client(server.base_url), within=0.4).error_class == "timeout"
        assert time.monotonic() - started < 0.65


def test_passed_deadline_costs_no_request(simulator: Simulator, client: Upstream) -> None:
    """When the time is up before a source's turn, the upstream is not asked any more."""
    error = failure(client, within=0.0)
    assert (error.error_class, error.attempts) == ("timeout", 1)
    assert simulator.requests == []


def test_passed_deadline_costs_no_look_at_the_secret(base_url: str, clock: Clock) -> None:
    """When the time is up, Secrets Manager, which may hang as well, is not asked any more either."""
    credentials = FixedCredentials(clock=clock, seconds=[15.0])
    before = clock.now
    failure(make_client(base_url, clock, credentials=credentials), within=0.0)
    assert clock.now == before


# Limits of size


def test_body_over_the_limit_is_refused(
    simulator: Simulator, client: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte too many fails the source at once; a body of just the limit is taken."""
    body = b'{"results": []}' + b" " * 10_000
    simulator.replace(DENIAL, body)
    monkeypatch.setattr(upstream_module, "MAX_BODY_BYTES", len(body))
    assert fetch(client).value == {"results": []}
    monkeypatch.setattr(upstream_module, "MAX_BODY_BYTES", len(body) - 1)
    error = failure(client)
    assert (error.error_class, error.attempts) == ("too_large", 1)
    assert len(simulator.requests) == 2


@pytest.mark.parametrize("body", [b"[" + b"[]," * 2_000_000 + b"[]]", b"[" + b"0," * 2_000_000 + b"0]"])
def test_body_of_very_many_values_is_not_parsed(simulator: Simulator, client: Upstream, body: bytes) -> None:
    """A few megabytes can hold millions of values, which would fill the memory once they are parsed."""
    simulator.replace(DENIAL, body)
    assert len(body) < upstream_module.MAX_BODY_BYTES
    peak = peak_of(lambda: failure(client))
    assert peak < 3 * len(body)
    assert failure(client).error_class == "too_large"


MEGABYTE = 1 << 20


def endless(head: bytes, piece: bytes) -> Fault:
    """Send the same piece until the client goes away, or 64 MB."""

    def play(exchange: Exchange) -> None:
        exchange.write(head)
        for _ in range(64 * MEGABYTE // len(piece)):
            exchange.write(piece)
        exchange.close()

    return Fault("endless", play)


def gzip_bomb() -> bytes:
    """256 MB of nothing much in 256 KB."""
    part = gzip.compress(b" " * (16 * MEGABYTE))
    return part * 16


GREEDY = {
    "endless": endless(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" " * 65_536),
    "endless of a length": endless(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n", b" " * 65_536),
    "endless in chunks": endless(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65_536 + b"\r\n"
    ),
    "one huge chunk": endless(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4000000\r\n", b" " * 65_536
    ),
    "gzip bomb": faults.body(gzip_bomb(), headers={"Content-Encoding": "gzip"}),
    "gzip bomb in one member": faults.body(
        gzip.compress(b" " * (64 * MEGABYTE)), headers={"Content-Encoding": "gzip"}
    ),
    "deflate bomb": faults.body(
        gzip.zlib.compress(b" " * (64 * MEGABYTE)), headers={"Content-Encoding": "deflate"}
    ),
    "gzip in gzip": faults.body(
        gzip.compress(gzip.compress(b" " * (64 * MEGABYTE))), headers={"Content-Encoding": "gzip, gzip"}
    ),
}


def peak_of(action: Callable[[], object]) -> int:
    """The most memory that Python held during ``action`` beyond what it held before, in bytes."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        action()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", GREEDY)
def test_greedy_body_is_refused_in_little_memory(
    simulator: Simulator, base_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """However much an upstream sends or packs, the client holds little over its limit and does not retry."""
    monkeypatch.setattr(upstream_module, "MAX_BODY_BYTES", MEGABYTE)
    simulator.faults.add(DENIAL, GREEDY[name], times=None)
    client = make_client(base_url, clock, read_timeout=5)
    errors: list[UpstreamError] = []
    peak = peak_of(lambda: errors.append(failure(client)))
    assert [(each.error_class, each.attempts) for each in errors] == [("too_large", 1)]
    assert peak < 6 * MEGABYTE


def test_greedy_redirect_is_refused_in_little_memory(
    simulator: Simulator, base_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirect's body is not read: it could be of any size."""
    monkeypatch.setattr(upstream_module, "MAX_BODY_BYTES", MEGABYTE)
    head = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nConnection: close\r\n\r\n"
    simulator.faults.add(DENIAL, endless(head, b" " * 65_536))
    client = make_client(base_url, clock, read_timeout=5)
    errors: list[UpstreamError] = []
    peak = peak_of(lambda: errors.append(failure(client)))
    assert errors[0].error_class == "redirect"
    assert peak < 6 * MEGABYTE


@pytest.mark.parametrize("code", [401, 404, 503])
def test_greedy_error_is_not_read(simulator: Simulator, base_url: str, clock: Clock, code: int) -> None:
    """The body of an error is not read."""
    head = f"HTTP/1.1 {code} No\r\nConnection: close\r\n\r\n".encode()
    simulator.faults.add(DENIAL, endless(head, b" " * 65_536), times=None)
    client = make_client(base_url, clock, read_timeout=5)
    peak = peak_of(lambda: failure(client))
    assert peak < 2 * MEGABYTE
    assert set(statuses(simulator)) == {code}


# What is said of a failure


def test_latency_is_of_the_last_attempt(base_url: str, simulator: Simulator, clock: Clock) -> None:
    """The latency tells how slow the upstream was the last time, not how long retries took in all."""
    simulator.faults.add(DENIAL, faults.status(500))
    credentials = FixedCredentials(clock=clock, seconds=[30.0, 2.0, 5.0])
    client = make_client(base_url, clock, credentials=credentials)
    answer = fetch(client)
    assert (answer.attempts, answer.latency_ms) == (2, 2_000)

    simulator.faults.add(DENIAL, faults.status(404))
    error = failure(client)
    assert (error.attempts, error.latency_ms) == (1, 5_000)


def test_latency_is_measured(simulator: Simulator, base_url: str) -> None:
    """Latency is the true time of the call, in milliseconds."""
    simulator.faults.add(DENIAL, faults.slow_start(0.25))
    answer = fetch(true_time_client(base_url))
    assert 250 <= answer.latency_ms < 1_500


SPILLING = {
    **{name: fault for name, (fault, _, _) in FLEETING.items() if name != "nested without end"},
    "401": faults.status(401, {"WWW-Authenticate": 'Basic realm="x"'}),
    "403": faults.status(403),
    "404": faults.status(404),
    "redirect": faults.redirect("/elsewhere"),
    "too large": endless(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" " * 65_536),
}


@pytest.mark.parametrize("name", SPILLING)
def test_no_error_tells_a_secret_or_an_address(
    simulator: Simulator,
    base_url: str,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Message, repr and traceback of an error hold neither the user, the password nor any address."""
    monkeypatch.setattr(upstream_module, "MAX_BODY_BYTES", MEGABYTE)
    simulator.faults.add(DENIAL, SPILLING[name], times=None)
    error = failure(make_client(base_url, clock, read_timeout=0.1))
    assert_tells_nothing(error, base_url)


def test_no_error_of_a_connection_tells_a_secret_or_an_address(clock: Clock) -> None:
    """Nor does it when nobody listens, where the libraries' own messages hold the whole address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert_tells_nothing(failure(make_client(base_url, clock)), base_url)


def assert_tells_nothing(error: UpstreamError, base_url: str) -> None:
    told = [str(error), repr(error), repr(error.args), *traceback.format_exception(error)]
    assert str(error)
    everything = "\n".join(told)
    assert "UpstreamError" in everything
    for secret in (USERNAME, PASSWORD, ascii(PASSWORD)[1:-1], base_url, base_url[7:], "127.0.0.1", DENIAL):
        assert secret not in everything


# Credentials on their way


def test_rotated_secret_succeeds_at_once(simulator: Simulator, base_url: str, clock: Clock) -> None:
    """After a refusal the replaced credentials are sent at once, within the same attempt."""
    credentials = FixedCredentials("old", "old", replaced_by=Credentials(USERNAME, PASSWORD))
    answer = fetch(make_client(base_url, clock, credentials=credentials))
    assert answer.attempts == 1
    assert credentials.refusals == 1
    assert statuses(simulator) == [401, 200]
    assert clock.pauses == []


def test_same_secret_is_not_sent_twice(simulator: Simulator, base_url: str, clock: Clock) -> None:
    """Refused credentials that nobody replaced are not sent again."""
    credentials = FixedCredentials("old", "old")
    error = failure(make_client(base_url, clock, credentials=credentials))
    assert (error.error_class, error.status, error.attempts) == ("unauthorized", 401, 1)
    assert "secret" in str(error)
    assert credentials.refusals == 1
    assert statuses(simulator) == [401]


def test_replaced_secret_that_is_refused_too_ends_it(
    simulator: Simulator, base_url: str, clock: Clock
) -> None:
    """Two refusals are enough: no loop, however often a secret changes."""
    credentials = FixedCredentials("old", "old", replaced_by=Credentials("new", "also wrong"))
    error = failure(make_client(base_url, clock, credentials=credentials))
    assert (error.error_class, error.status) == ("unauthorized", 401)
    assert statuses(simulator) == [401, 401]


def test_forbidden_is_no_reason_to_read_the_secret_again(
    simulator: Simulator, base_url: str, clock: Clock
) -> None:
    """403 says that the credentials are known and not allowed: reading them again would not help."""
    simulator.faults.add(DENIAL, faults.status(403))
    credentials = FixedCredentials(replaced_by=Credentials("new", "new"))
    assert failure(make_client(base_url, clock, credentials=credentials)).status == 403
    assert credentials.refusals == 0


@pytest.mark.parametrize("when", ["current", "after_refusal"])
def test_missing_credentials_fail_the_source_without_a_request(
    simulator: Simulator, base_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Credentials that can't be read are this source's failure; it is not tried again."""
    credentials = FixedCredentials("old", "old")

    def fail(*_: object) -> Credentials:
        raise CredentialsError("the secret is not filled")

    monkeypatch.setattr(credentials, when, fail)
    error = failure(make_client(base_url, clock, credentials=credentials))
    assert (error.error_class, error.status, error.attempts) == ("credentials", None, 1)
    assert str(error) == "the secret is not filled"
    assert statuses(simulator) == ([] if when == "current" else [401])
    assert clock.pauses == []


# The environment


def test_netrc_does_not_replace_credentials(
    simulator: Simulator, client: Upstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A .netrc that lies about has no say in what is sent."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\ndefault login other password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert fetch(client).attempts == 1
    simulator.faults.add(DENIAL, faults.redirect("http://127.0.0.1:9/"))
    assert failure(client).error_class == "redirect"
    assert statuses(simulator) == [200, 301]


@pytest.fixture
def _no_proxy_is_exempt(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def refuse_proxying(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.mark.usefixtures("_no_proxy_is_exempt")
def test_proxy_of_the_environment_gets_no_credentials(
    client: Upstream, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP_PROXY of a laptop or a container does not get to see the upstream's password."""
    with raw_server(refuse_proxying) as proxy:
        monkeypatch.setenv("http_proxy", proxy.base_url)
        with suppress(UpstreamError):
            fetch(client)
    assert [head for head in proxy.heads if "authorization" in head.lower()] == []


@pytest.mark.usefixtures("_no_proxy_is_exempt")
def test_proxy_of_https_sees_no_credentials(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS_PROXY, if it is used at all, sees the upstream's name and nothing of the request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        base_url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    with raw_server(refuse_proxying) as proxy:
        monkeypatch.setenv("https_proxy", proxy.base_url)
        error = failure(make_client(base_url, clock))
    assert (error.error_class, error.attempts) == ("connection", 4)
    assert len(proxy.heads) in {0, 4}
    for head in proxy.heads:
        assert head.startswith(f"CONNECT {base_url[8:]} ")
        assert "authorization" not in head.lower()


# Several at once


def test_one_client_serves_many_threads(simulator: Simulator, base_url: str) -> None:
    """Eight threads share a client, and each gets its own source's answer."""
    client = true_time_client(base_url)
    sources = [*INCIDENT_TYPES, "identities"]
    answers: dict[str, Answer] = {}
    threads = [
        threading.Thread(target=lambda source=source: answers.update({source: fetch(client, source)}))
        for source in sources
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    expected = {source: fetch(client, source).value for source in sources}
    assert {source: answer.value for source, answer in answers.items()} == expected
