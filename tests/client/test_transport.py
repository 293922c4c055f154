"""Requests outlast what passes, end at what does not, and say in one line what it was."""

import socket
import time
from typing import Any

import pytest

from incidents_client import (
    Client,
    MalformedAnswerError,
    Notice,
    ProblemError,
    RefusedError,
    SettingsError,
    UnavailableError,
    UnreachableError,
)
from incidents_client import transport as transport_module
from tests.client.rows import employee, incident, page
from tests.client.scripted_server import Reply, in_turn, problem

GOOD = Reply(200, page({"7": employee(incident(1))}))
BAD_SINCE = problem(400, "invalid_parameter", errors=[{"parameter": "since", "reason": "is bad"}])


def ids(client: Client) -> list[str]:
    return [each.id for each in client.employees()]


@pytest.mark.parametrize(
    "fault",
    [
        problem(429, "throttled"),
        problem(503, "no_data_yet"),
        problem(500, "internal_error"),
        problem(504, "gateway_timeout"),
        Reply(502, "<html>bad gateway</html>", {"Content-Type": "text/html"}),
        problem(408, "bad_request"),
        Reply(200, page({}), cut=True),
        Reply(200, '{"incidents": {'),
        Reply(reset=True),
    ],
    ids=lambda reply: f"{reply.status}{'cut' * reply.cut}{'reset' * reply.reset}",
)
def test_what_passes_is_outlasted(
    serve: Any, make_client: Any, passing: Any, notices: list[Notice], fault: Reply
) -> None:
    """The same request again, after waits that grow and are told, and the walk has everybody."""
    server = serve(in_turn(fault, fault, GOOD))
    assert ids(make_client(server)) == ["7"]
    assert len({asked.target for asked in server.asked}) == 1
    assert 0.5 <= passing.slept[0] <= 1 <= passing.slept[1] <= 2
    assert [notice.kind for notice in notices] == ["waiting", "waiting"]


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (BAD_SINCE, ProblemError, r"^400 invalid_parameter: since: is bad \[request r-1\]$"),
        (problem(403, "access_denied", "no"), RefusedError, "execute-api:Invoke"),
        (Reply(403, {"message": "Forbidden"}), RefusedError, "^403: Forbidden .*--auth"),
        (Reply(401, {"message": "Unauthorized"}), RefusedError, "--auth"),
        (problem(429, "quota_exceeded"), UnavailableError, "today's quota"),
        (Reply(404, "no"), ProblemError, "ends with the stage"),
        (problem(400, "cursor_invalid"), ProblemError, "cursor_invalid"),
    ],
)  # fmt: skip
def test_what_does_not_pass_is_asked_once(
    serve: Any, make_client: Any, reply: Reply, kind: type[Exception], words: str
) -> None:
    """The error says in one line what was said, what to do, and the request's id."""
    server = serve(in_turn(reply))
    with pytest.raises(kind, match=words):
        ids(make_client(server))
    assert len(server.asked) == 1


def test_a_server_says_how_long_to_wait(serve: Any, make_client: Any, passing: Any) -> None:
    """Seconds and dates of Retry-After are kept to; what can't be understood is as if it were not there."""
    in_a_minute = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    answers = [problem(503, "no_data_yet", retry_after=each) for each in (30, in_a_minute, "soon")]
    assert ids(make_client(serve(in_turn(*answers, GOOD)))) == ["7"]
    assert 30 <= passing.slept[0] <= 31
    assert 57 <= passing.slept[1] <= 61
    assert passing.slept[2] <= 4


def test_patience_has_an_end(serve: Any, make_client: Any, passing: Any) -> None:
    """It fails no longer than it is told to; a wait that would be longer is not begun."""
    server = serve(lambda asked: problem(503, "no_data_yet", retry_after=30))
    with pytest.raises(UnavailableError, match="no_data_yet"):
        ids(make_client(server, patience=100))
    assert 90 <= passing.now <= 100
    assert len(server.asked) == 4
    passing.now = 0.0
    server = serve(lambda asked: problem(429, "throttled", retry_after=3_600))
    with pytest.raises(UnavailableError, match="throttled"):
        ids(make_client(server, patience=100))
    assert (passing.now, len(server.asked)) == (0.0, 1)


def test_patience_is_for_each_request(serve: Any, make_client: Any, passing: Any) -> None:
    """A long walk may meet more trouble than one request."""
    wait = problem(503, "no_data_yet", retry_after=30)
    pages = [Reply(200, page({str(n): employee()}, str(n) if n < 5 else None)) for n in range(1, 6)]
    replies = [each for reply in pages for each in (wait, reply)]
    assert ids(make_client(serve(in_turn(*replies)), patience=40)) == ["1", "2", "3", "4", "5"]
    assert passing.now > 120


def test_an_unfinished_search_goes_on_beyond_all_patience(serve: Any, make_client: Any, passing: Any) -> None:
    """It is progress, not failure: the same request again, as soon as the server says."""
    unfinished = problem(503, "search_unfinished", retry_after=1)
    slower = problem(503, "search_unfinished", retry_after=10**8)
    server = serve(in_turn(*[unfinished] * 30, slower, GOOD))
    assert ids(make_client(server, patience=5)) == ["7"]
    assert passing.slept == [1.0] * 30 + [transport_module.LONGEST_BACKOFF_SECONDS]
    assert len({asked.target for asked in server.asked}) == 1


def test_an_answer_of_something_else_is_asked_for_three_times(serve: Any, make_client: Any) -> None:
    """What is not JSON again and again is no accident: a portal, or a wrong address."""
    server = serve(lambda asked: Reply(200, "<html>Welcome</html>", {"Content-Type": "text/html"}))
    with pytest.raises(MalformedAnswerError, match="is the URL right"):
        ids(make_client(server))
    assert len(server.asked) == 3


def test_a_wrong_address_is_told_soon(make_client: Any, passing: Any) -> None:
    """Where nothing ever answered, patience ends after ten seconds; the line has no path and no query."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        client = Client(url, sleep=passing.sleep, clock=lambda: passing.now)
        with pytest.raises(UnreachableError, match=r"^127\.0\.0\.1:\d+: nobody listens there \("):
            ids(client)
    assert 1 < passing.now <= transport_module.FIRST_PATIENCE_SECONDS


@pytest.mark.parametrize(("patience", "seconds"), [(0, 10), (10, 10), (20, 20), (600, 35)])
def test_a_single_answer_is_waited_for_as_patience_says(
    serve: Any, make_client: Any, monkeypatch: pytest.MonkeyPatch, patience: float, seconds: float
) -> None:
    """Little patience ends a single answer, too, but not before ten seconds; much waits for as long as the
    gateway may take.
    """
    client = make_client(serve(lambda asked: GOOD), patience=patience)
    waited: list[Any] = []
    real = client._transport._session.get
    monkeypatch.setattr(
        client._transport._session,
        "get",
        lambda url, timeout, **more: waited.append(timeout) or real(url, timeout=timeout, **more),
    )
    assert ids(client) == ["7"]
    assert waited == [(10.0, seconds)]


def test_no_proxy_leads_to_this_machine(
    serve: Any, make_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is set for the world outside would see what is asked here, or not find it."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert ids(make_client(serve(lambda asked: GOOD))) == ["7"]


def test_an_answer_may_not_be_endless(serve: Any, make_client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is larger than any of this API is given up, packed or not."""
    monkeypatch.setattr(transport_module, "MAX_BODY_BYTES", 100_000)
    server = serve(lambda asked: Reply(200, page({"7": employee(incident(1, note="x" * 200_000))})))
    with pytest.raises(MalformedAnswerError, match="MiB"):
        ids(make_client(server))


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://A1.execute-api.eu-west-1.amazonaws.com/dev/", "https://a1.execute-api.eu-west-1.amazonaws.com/dev"),
        ("https://host:443", "https://host"),
        ("http://[::1]:9000/", "http://[::1]:9000"),
    ],
)  # fmt: skip
def test_addresses_have_one_form(url: str, base: str) -> None:
    """That of the Host header, which is signed."""
    assert transport_module.check_base_url(url) == base


@pytest.mark.parametrize(
    "url",
    ["", "host/dev", "ftp://host", "https://", "https://u:p@host", "https://host/?a=1", "https://host/#x",
     "https://ho st/", "https://host:99999", "https://host/\x1b[2J", "https://[::1"],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    """Also one with credentials in it, which would end up in logs."""
    with pytest.raises(SettingsError, match="the URL must"):
        Client(url)
