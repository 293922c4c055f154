"""What neither hostile servers, nor slips of the hand, nor broken streams may do to whoever runs it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from requests import Request

from incidents_client import Client, CredentialsError, MalformedAnswerError, UnreachableError, cli, transport
from incidents_client.auth import SigV4
from incidents_client.settings import Options, find_deployment
from tests.client.rows import changes, employee, incident, page
from tests.client.scripted_server import Asked, Reply, ScriptedServer, problem
from tests.client.test_commands import HEALTH, Process, reading, rows_of, run, wait_until

__all__ = ["run"]
GOOD = Reply(200, page({"7": employee(incident(1))}))
# Deeper than Python's own calls may go, and no more than its reader of JSON takes.
DEEP = "[" * 5_000 + "]" * 5_000


@contextmanager
def raw_server(answer: Callable[[], Iterator[bytes]]) -> Iterator[str]:
    """Sends what it is told to, HTTP or not."""
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(65_536)
                    for part in answer():
                        if ended.is_set():
                            break
                        connection.sendall(part)
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            ended.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


# ---------------------------------------------------------------- servers


def dripping(first: bytes, drop: bytes) -> Callable[[], Iterator[bytes]]:
    def answer() -> Iterator[bytes]:
        yield first
        while True:
            time.sleep(0.02)
            yield drop

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b" "),
        dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n", b" "),
        dripping(b"HTTP/1.1 200 OK\r\nX: ", b"a"),
        dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["body", "chunk", "header", "continue"],
)
def test_an_answer_that_drips_is_given_up(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[], Iterator[bytes]]
) -> None:
    """Each read may be in time, the whole has to be as well."""
    monkeypatch.setattr(transport, "MAX_ANSWER_SECONDS", 0.5)
    started = time.monotonic()
    with (
        raw_server(answer) as url,
        Client(url, patience=0) as client,
        pytest.raises(UnreachableError, match="took over"),
    ):
        client.health()
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, f'{{"status": "pass", "x": {DEEP}}}', HEALTH),
        Reply(429, {}, {"Retry-After": "Mon, 01 Jan 99999999999 00:00:00 GMT"}),
        Reply(429, {}, {"Retry-After": "Mon, 01 Jan 2026 00:00:00 +99999999999999"}),
        Reply(302, {}, {"Location": "http://[::1"}),
        Reply(302, {}, {"Location": "https://elsewhere.invalid/"}),
        Reply(404, "<html>"),
        problem(400, "unknown_parameter"),
    ],
)
def test_no_answer_makes_health_other_than_failed(serve: Any, run: Any, reply: Reply) -> None:
    """Python's own status after a traceback is 1, the verdict `warn`; whatever was answered, it is 2."""
    status, out, err = run(serve(lambda asked: reply), "health", "--patience", "0")
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("incidents: ")


def test_what_is_nested_too_deeply_is_no_answer_of_this_api(serve: Any, run: Any) -> None:
    """It can be read, and not be written."""
    body = json.dumps(page({"7": employee(incident(1, x="DEEP"))})).replace('"DEEP"', DEEP)
    status, out, err = run(serve(lambda asked: Reply(200, body)), "list")
    assert (status, out, err) == (76, "", "incidents: the answer is nested too deeply\n")


def test_a_server_says_no_more_than_a_person_reads(serve: Any, run: Any) -> None:
    """Megabytes of detail stay out of terminals and logs."""
    faults = [{"parameter": "p" * 5_000, "reason": "r" * 5_000}] * 1_000
    for reply in (problem(400, "x", "d" * 3_000_000), problem(400, "x", errors=faults)):
        status, _, err = run(serve(lambda asked, reply=reply: reply), "list")
        assert status == 64
        assert len(err) < 25_000


@pytest.mark.parametrize("host", ["a" * 70 + ".invalid", "a..invalid"])
def test_a_host_that_is_no_name_is_told(run: Any, host: str) -> None:
    """In a line; the libraries raise other errors for it than their own."""
    status, _, err = run(None, "list", "--auth", "none", "--patience", "0", "--url", f"https://{host}")
    assert (status, err) == (69, f"incidents: {host}: the URL is not valid\n")


def test_who_speaks_no_tls_is_not_accused_of_its_certificate(serve: Any, run: Any) -> None:
    """And may be asked again: a handshake that was broken off passes."""
    server = serve(lambda asked: GOOD)
    url = server.url.replace("http:", "https:")
    status, _, err = run(None, "list", "--url", url, "--patience", "0")
    assert status == 69
    assert "speaks no TLS" in err


def test_a_missing_bundle_of_authorities_is_named(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that is wrong, not `OSError`."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/bundle")
    status, _, err = run(None, "list", "--auth", "none", "--url", "https://elsewhere.invalid")
    assert (status, err) == (64, "incidents: the file that REQUESTS_CA_BUNDLE names is not there\n")


@pytest.mark.parametrize(
    ("incidents", "words"), [({}, "leads nowhere"), ({"7": employee(incident(1))}, "than are counted")]
)
def test_a_walk_that_never_ends_is_given_up(
    serve: Any, make_client: Any, incidents: dict[str, Any], words: str
) -> None:
    """New cursors for ever, without anybody new: neither time nor memory is spent on it without end."""
    server: ScriptedServer = serve(lambda asked: Reply(200, page(incidents, f"c{len(server.asked)}")))
    with pytest.raises(MalformedAnswerError, match=words):
        list(make_client(server).employees())
    assert len(server.asked) <= 100


def test_an_unfinished_search_is_not_asked_for_without_a_pause(
    serve: Any, make_client: Any, passing: Any
) -> None:
    """Also where the server says that it may be."""
    replies = [problem(503, "search_unfinished", retry_after=0)] * 5
    server = serve(lambda asked: replies.pop() if replies else GOOD)
    list(make_client(server).employees())
    assert passing.now >= 5


# ---------------------------------------------------------------- credentials


@pytest.mark.parametrize(
    "argument", ["--api-key", "--bearer", "--password=", "--api-key-file", "--bearer-file"]
)
def test_a_secret_in_the_wrong_place_is_not_repeated(run: Any, argument: str) -> None:
    """Whoever gives it as an argument does not find it in the log as well."""
    given = [f"{argument}SECRET"] if argument.endswith("=") else [argument, "SECRET"]
    status, _, err = run(None, "list", "--url", "https://elsewhere.invalid", *given)
    assert status == 64
    assert argument.rstrip("=") in err
    assert "SECRET" not in err


def test_a_secret_from_a_closed_standard_input_is_an_error(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a traceback."""
    monkeypatch.setattr(sys, "stdin", None)
    status, _, err = run(None, "list", "--url", "https://elsewhere.invalid", "--api-key-file", "-")
    assert status == 64
    assert "standard input is closed" in err


def test_options_are_not_guessed(serve: Any, run: Any) -> None:
    """A script's `--unattr` would come to mean something else as soon as there are two."""
    assert run(serve(lambda asked: GOOD), "list", "--unattr", "-o", "json")[0] == 64


def test_a_role_that_may_not_be_assumed_is_told(serve: Any, make_client: Any) -> None:
    """STS refuses by another kind of error than botocore's own."""

    class Refused:
        def get_frozen_credentials(self) -> Any:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "AssumeRole")

    with pytest.raises(CredentialsError, match=r"AccessDenied.*AssumeRole"):
        list(make_client(serve(lambda asked: GOOD), auth=SigV4(Refused(), "eu-west-1")).employees())


@pytest.mark.parametrize("program", ["/nowhere/program", "echo SECRET"])
def test_a_program_for_credentials_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """One that is not there, and one that prints no JSON; what it printed is not told."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "config"
    config.write_text(f"[profile audit]\nregion=eu-north-1\ncredential_process={program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    url = "https://a1.execute-api.eu-central-1.amazonaws.com/dev"
    with pytest.raises(CredentialsError, match="AWS credentials can't be") as raised:
        find_deployment(Options(url=url, profile="audit"), {}).auth(Request("GET", url).prepare())
    assert "SECRET" not in str(raised.value)


# ---------------------------------------------------------------- token files


@pytest.mark.parametrize("content", [b"\xff\xfe\0", b"two\nlines\n", b"x" * 3_000])
@pytest.mark.parametrize("command", ["changes", "tail"])
def test_a_file_that_holds_no_token_is_sent_nowhere(
    serve: Any, run: Any, tmp_path: Path, content: bytes, command: str
) -> None:
    """A wrong name after --token-file neither leaves the machine nor is overwritten."""
    file = tmp_path / "other"
    file.write_bytes(content)
    server = serve(lambda asked: Reply(200, changes(next_token="t")))
    status, _, err = run(server, command, "--token-file", str(file))
    assert (status, err) == (74, f"incidents: {file}: it is there, but holds no token\n")
    assert (server.asked, file.read_bytes()) == ([], content)


@pytest.mark.parametrize("command", ["changes", "tail"])
def test_where_no_token_can_be_kept_nothing_is_delivered(
    serve: Any, run: Any, tmp_path: Path, command: str
) -> None:
    """Otherwise every run would deliver the same once more."""
    server = serve(lambda asked: Reply(200, changes(incident(1), next_token="t")))
    status, out, _ = run(server, command, "--token-file", str(tmp_path / "nowhere/token"))
    assert (status, out, server.asked) == (74, "", [])


# ---------------------------------------------------------------- streams and signals


def test_a_fault_of_the_program_is_no_verdict(serve: Any, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says where, without the error's text, which may hold anything."""

    def fail(self: Any) -> Any:
        raise TypeError("SECRET")

    monkeypatch.setattr(Client, "health", fail)
    monkeypatch.setattr(Client, "changes", lambda *_, **__: fail(None))
    for command, expected in (("health", 2), ("changes", 70)):
        status, _, err = run(serve(lambda asked: GOOD), command)
        assert status == expected
        assert "TypeError at test_trouble.py:" in err
        assert "SECRET" not in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_what_cannot_be_told_changes_no_status(serve: Any) -> None:
    """Standard error that is full, or that nobody reads: Python by itself would end with 120."""
    server = serve(lambda asked: problem(403, "access_denied"))
    gone, writing = os.pipe()
    os.close(gone)
    with Path("/dev/full").open("wb") as full:
        for stream in (full, writing):
            with Process(server, "list", stderr=stream) as process:
                assert process.wait(30) == 77
    os.close(writing)


def test_who_follows_ends_when_nobody_reads_any_more(serve: Any) -> None:
    """`incidents tail -f | head -1` ends at once, not with the next incident."""
    server = serve(lambda asked: Reply(200, changes(incident(1), next_token="t")))
    with Process(server, "tail", "-f", "--interval", "60") as process:
        assert process.stdout
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(10) == -signal.SIGPIPE


def test_what_is_ignored_stays_ignored(serve: Any, tmp_path: Path) -> None:
    """`nohup incidents tail -f` outlives its terminal."""
    server = serve(lambda asked: Reply(200, changes(incident(1), next_token="t")))

    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with (
        Process(server, "tail", "-f", "--interval", "1", preexec_fn=ignore) as process,
        reading(process) as (out, _),
    ):
        wait_until(lambda: out, "the last one")
        process.send_signal(signal.SIGHUP)
        before = len(server.asked)
        wait_until(lambda: len(server.asked) > before + 1, "it to go on")
        assert process.poll() is None


def test_a_loop_of_a_shell_ends_with_ctrl_c(serve: Any) -> None:
    """A shell goes on after a program that took Ctrl-C for an answer; so it has to be seen to die of it."""
    server = serve(lambda asked: Reply(200, changes(incident(1), next_token="t")))
    with Process(server, "tail", "-f") as process, reading(process) as (out, _):
        wait_until(lambda: out, "the last one")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == -signal.SIGINT


def test_a_second_ctrl_c_ends_what_waits_for_its_reader(serve: Any) -> None:
    """Output that nobody takes is not waited for twice."""
    rows = [incident(number, note="x" * 1_000) for number in range(1_000)]
    server = serve(lambda asked: Reply(200, changes(*rows, next_token="t")))
    with Process(server, "changes") as process:
        wait_until(lambda: server.asked, "the question")
        time.sleep(1)
        for _ in range(50):
            process.send_signal(signal.SIGINT)
            try:
                assert process.wait(0.2) == -signal.SIGINT
                break
            except subprocess.TimeoutExpired:
                continue
        assert process.poll() is not None
        assert process.stderr
        assert process.stderr.read() == b""


def test_colours_that_are_forced_make_no_terminal(serve: Any, tmp_path: Path) -> None:
    """As CI does it: no line that moves gets into its log."""
    server = serve(lambda asked: GOOD)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    environment |= {"INCIDENTS_URL": server.url, "FORCE_COLOR": "1"}
    done = subprocess.run(  # noqa: S603 - this project's own module
        [
            sys.executable,
            "-c",
            "from incidents_client.cli import run; run()",
            "export",
            str(tmp_path / "a.csv"),
        ],
        env=environment,
        capture_output=True,
        check=True,
    )
    assert b"\x1b" not in done.stderr


def test_a_run_that_is_killed_goes_on_where_its_output_ended(serve: Any, tmp_path: Path) -> None:
    """Between two stretches of the feed, by what nothing can catch: the next run asks from the token on."""
    let_go = threading.Event()

    def respond(asked: Asked) -> Reply:
        if dict(asked.query).get("token") != "a":
            return Reply(200, changes(incident(1), next_token="a", has_more=True))
        let_go.wait(30)
        return Reply(200, changes(incident(2), next_token="b"))

    server = serve(respond)
    arguments = ["changes", "--token-file", str(tmp_path / "token")]
    with Process(server, *arguments) as process:
        assert process.stdout
        assert rows_of(process.stdout.readline().decode()) == [1]
        wait_until(lambda: len(server.asked) == 2, "the second question")
        process.kill()
        process.wait(30)
    let_go.set()
    with Process(server, *arguments) as process:
        out, _ = process.communicate(timeout=30)
    assert rows_of(out.decode()) == [2]
