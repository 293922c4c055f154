"""The command line: what it prints where, and what it ends with."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from incidents_client import Client, cli, commands, transport
from incidents_client.cli import STATUSES, main
from incidents_client.moments import to_parameter
from incidents_client.terminal import Notes
from tests.client.rows import changes, employee, incident, page
from tests.client.scripted_server import Asked, Reply, ScriptedServer, in_turn, problem

CLIENT = Path(__file__).parents[2] / "client"
GOOD = Reply(200, page({"7": employee(incident(1)), "8": employee(incident(2, "8"), incident(3, "8"))}))
HEALTH = {"Content-Type": "application/health+json"}


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for is tested elsewhere."""
    monkeypatch.setattr(transport.random, "uniform", lambda low, high: 0.001)


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command against a server; gives its status, output and errors."""

    def run_it(server: ScriptedServer | None, *arguments: str, **environ: str) -> tuple[int, str, str]:
        try:
            status = main(arguments, ({"INCIDENTS_URL": server.url} if server else {}) | environ)
        except SystemExit as ended:
            status = int(ended.code or 0)
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return status, out.decode(), err.decode()

    return run_it


class Process:
    """The command as a process of its own."""

    def __init__(self, server: ScriptedServer, *arguments: str, **streams: Any) -> None:
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CLIENT), "INCIDENTS_URL": server.url}
        program = "from incidents_client.cli import run; run()"
        self.process = subprocess.Popen(  # noqa: S603 - this project's own module
            [sys.executable, "-c", program, *arguments],
            env=environment,
            **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | streams),
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self.process

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def as_a_shell_has_it(returncode: int | None) -> int:
    """The exit status of a process, also of one that a signal ended."""
    assert returncode is not None
    return returncode if returncode >= 0 else 128 - returncode


def wait_until(ready: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.02)


def rows_of(lines: str) -> list[int]:
    return [int(json.loads(line)["id"], 16) for line in lines.splitlines()]


# ---------------------------------------------------------------- exit statuses


@pytest.mark.parametrize(
    ("reply", "arguments", "status"),
    [
        (GOOD, ["list"], 0),
        (GOOD, ["export"], 0),
        (Reply(200, {"status": "pass"}, HEALTH), ["health"], 0),
        (Reply(200, {"status": "warn"}, HEALTH), ["health"], 1),
        (Reply(503, {"status": "fail"}, HEALTH), ["health"], 2),
        (problem(503, "no_data_yet"), ["health", "--patience", "0"], 2),
        (problem(403, "access_denied"), ["health"], 2),
        (Reply(200, {"status": "UP"}), ["health"], 2),
        (Reply(reset=True), ["health", "--patience", "0"], 2),
        (problem(404, "employee_not_found"), ["employee", "7"], 4),
        (problem(400, "token_invalid"), ["changes", "--token", "x"], 64),
        (GOOD, ["list", "--priority", "urgent"], 64),
        (GOOD, ["list", "--since", "yesterday"], 64),
        (GOOD, ["list", "--limit", "0"], 64),
        (GOOD, ["lst"], 64),
        (GOOD, [], 64),
        (GOOD, ["list", "--prio", "low", "--unknown"], 64),
        (problem(429, "throttled", retry_after=999), ["list"], 69),
        (problem(500, "internal_error"), ["list", "--patience", "0"], 69),
        (Reply(reset=True), ["list", "--patience", "0"], 69),
        (GOOD, ["export", "nowhere/file.csv"], 74),
        (Reply(200, "<html>"), ["list"], 76),
        (problem(401, "unauthorized"), ["list"], 77),
        (problem(403, "invalid_api_key"), ["list"], 77),
        (GOOD, ["--help"], 0),
        (GOOD, ["tail", "--help"], 0),
        (GOOD, ["--version"], 0),
    ],
)  # fmt: skip
def test_scripts_can_tell_what_became_of_it(
    serve: Any, run: Any, reply: Reply, arguments: list[str], status: int
) -> None:
    """The exit status is the documented one; an error is one line without a traceback."""
    ended, _, err = run(serve(lambda asked: reply), *arguments)
    assert (ended, ended in STATUSES) == (status, True)
    assert "Traceback" not in err
    if status not in (0, 1, 2, 64):
        (line,) = [each for each in err.splitlines() if "tried again" not in each]
        assert line.startswith("incidents: ")


def test_credentials_that_are_missing_have_their_status(serve: Any, run: Any, monkeypatch: Any) -> None:
    """And a line that says what to do, which no secret is in."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    status, _, err = run(serve(lambda asked: GOOD), "list", "--auth", "aws", "--region", "eu-west-1")
    assert status == 77
    assert "aws sso login" in err
    status, _, err = run(None, "list")
    assert status == 64
    assert "INCIDENTS_URL" in err


def test_no_option_takes_a_secret() -> None:
    """Arguments are seen by everybody on the machine: secrets come from files and variables."""
    taken = {flag for each in all_flags().values() for flag in each}
    assert {flag for flag in taken if re.search(r"key|secret|bearer|password", flag)} == {
        "--api-key-file",
        "--bearer-file",
    }


def all_flags() -> dict[str, set[str]]:
    """The long options of each command."""
    (made,) = cli.build_parser()._subparsers._group_actions  # type: ignore[union-attr]  # argparse has no public way
    return {
        name: {flag for action in each._actions for flag in action.option_strings if flag.startswith("--")}
        for name, each in made.choices.items()  # type: ignore[union-attr]  # see above
    }


# ---------------------------------------------------------------- what is printed


def test_pipes_get_lines_and_all_of_them(serve: Any, run: Any) -> None:
    """Without a terminal: NDJSON, a line an incident, nothing else; a limit is told on standard error."""
    server = serve(lambda asked: GOOD)
    status, out, err = run(server, "list")
    assert (status, rows_of(out), err) == (0, [1, 2, 3], "")
    status, out, err = run(server, "list", "--limit", "1")
    assert (status, rows_of(out)) == (0, [1])
    assert "the first 1 employees; --all" in err
    assert run(server, "list", "--limit", "1", "--quiet")[2] == ""
    assert run(server, "list", "--limit", "2")[2] == ""


@pytest.mark.parametrize("form", ["table", "json", "ndjson", "csv"])
@pytest.mark.parametrize(
    "command", [["list"], ["employee", "7"], ["changes"], ["tail"], ["list", "--unattributed"]]
)
def test_every_command_has_every_form(serve: Any, run: Any, form: str, command: list[str]) -> None:
    """Also without any incident."""

    def respond(asked: Asked) -> Reply:
        flat = {"data": rows, "next_cursor": None, "next_token": "t", "has_more": False}
        grouped = page({"7": employee(*rows)} if rows else {})
        return Reply(
            200,
            grouped
            if asked.path.endswith(("/employees/7/incidents", "s/incidents")) or asked.path == "/incidents"
            else flat,
        )

    for rows in ([incident(1), incident(2)], []):
        status, out, _ = run(serve(respond), *command, "-o", form)
        assert status == 0
        match form:
            case "json":
                assert json.loads(out)["data"] == rows
            case "ndjson":
                assert [json.loads(line) for line in out.splitlines()] == rows
            case "csv":
                assert [line.split(",")[0] for line in out.splitlines()] == [
                    "id",
                    *(row["id"] for row in rows),
                ]
            case "table":
                assert ("7" in out.split()) == bool(rows)


def test_digits_come_out_as_they_went_in(serve: Any, run: Any) -> None:
    """Seven decimals and odd exponents, in every form for programs."""
    text = json.dumps(page({"7": employee(incident(1, note="N"))}))
    text = text.replace("1795000001", "1795181602.7148470").replace('"N"', "1.50e+02")
    for form in ("json", "ndjson", "csv"):
        _, out, _ = run(serve(lambda asked: Reply(200, text)), "list", "-o", form)
        assert "1795181602.7148470" in out
        assert "1.50e+02" in out


def test_a_table_has_a_hundred_employees_unless_told_otherwise(serve: Any, run: Any) -> None:
    """More are told of, and come with --all or --limit."""
    many = {str(number): employee(incident(number, str(number))) for number in range(1, 131)}
    server = serve(lambda asked: Reply(200, page(many)))
    for arguments, count in (([], 100), (["--all"], 130), (["--limit", "110"], 110)):
        _, out, err = run(server, "list", "-o", "table", *arguments)
        assert len(out.splitlines()) == count + 1
        assert ("--all" in err) == (count < 130)


def test_a_few_employees_cost_one_request(serve: Any, run: Any) -> None:
    """Also to know that there are more."""

    def respond(asked: Asked) -> Reply:
        size = int(dict(asked.query)["limit"])
        return Reply(
            200, page({str(each): employee(incident(each, str(each))) for each in range(1, size + 1)}, "c")
        )

    server = serve(respond)
    status, out, err = run(server, "list", "--limit", "3")
    assert (status, rows_of(out), len(server.asked)) == (0, [1, 2, 3], 1)
    assert "--all" in err


def test_hostile_fields_do_nothing_to_the_terminal(serve: Any, run: Any) -> None:
    """Not in a table, and not in an error that quotes the server."""
    evil = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e"
    server = serve(lambda asked: Reply(200, page({"7": employee(incident(1, ip=evil, type=evil))})))
    _, out, _ = run(server, "employee", "7", "-o", "table")
    assert out.replace("\n", "").isprintable()
    assert r"\x1b[2J" in out
    refused = serve(lambda asked: problem(400, "invalid_parameter", evil))
    _, _, err = run(refused, "list")
    assert err.replace("\n", "").isprintable()
    assert r"\x1b[2J" in err


def test_filters_arrive(serve: Any, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeated, by commas, and moments before now as epoch seconds, the same on all pages of a walk."""
    server = serve(lambda asked: GOOD)
    run(
        server, "list", "--priority", "high,low", "--priority", "critical", "--type", "other", "--since", "2h"
    )
    asked = server.asked[0].query
    assert [value for name, value in asked if name == "priority"] == ["high", "low", "critical"]
    assert abs(time.time() - 7_200 - int(dict(asked)["since"])) < 60
    for text, sent in {"90s": "910", "2w": "0", "2026-11-23": "2026-11-23T00:00:00Z", "17.5": "17.5"}.items():
        assert to_parameter(text, clock=lambda: 1_000.5) == sent


# ---------------------------------------------------------------- changes


def test_the_next_token_is_kept_only_after_the_output(
    serve: Any, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page: when the file changes, the rows before are out. What dies in between comes again."""
    file = tmp_path / "token"
    pages = {
        None: changes(incident(1), next_token="a", has_more=True),
        "a": changes(incident(2), next_token="b", has_more=True),
        "b": changes(incident(3), next_token="c"),
    }
    server = serve(lambda asked: Reply(200, pages[dict(asked.query).get("token")]))
    order: list[str] = []
    monkeypatch.setattr(cli.commands, "sync", lambda stream: order.append("output"))
    real_store = cli.commands.store

    def store(path: Path, text: str) -> None:
        order.append(text.strip())
        if text == "b\n" and not file.with_suffix(".died").exists():
            file.with_suffix(".died").touch()
            raise OSError(28, "No space left on device")
        real_store(path, text)

    monkeypatch.setattr(cli.commands, "store", store)
    status, out, err = run(server, "changes", "--token-file", str(file))
    assert (status, rows_of(out)) == (74, [1, 2])
    assert "No space left" in err
    assert file.read_text() == "a\n"
    status, out, _ = run(server, "changes", "--token-file", str(file))
    assert (status, rows_of(out), file.read_text()) == (0, [2, 3], "c\n")
    assert order == ["output", "a", "output", "b", "output", "b", "output", "c"]
    assert file.stat().st_mode & 0o077 == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["token", "token.died"]


def test_a_document_keeps_its_token_at_its_end(serve: Any, run: Any, tmp_path: Path) -> None:
    """Half a JSON document is nothing: its token is kept when it is whole, and stands in it."""
    file = tmp_path / "token"
    replies = [
        Reply(200, changes(incident(1), next_token="a", has_more=True)),
        problem(500, "internal_error"),
        Reply(200, changes(incident(1), next_token="a", has_more=True)),
        Reply(200, changes(incident(2), next_token="b")),
    ]
    server = serve(in_turn(*replies))
    arguments = ["changes", "-o", "json", "--token-file", str(file), "--patience", "0"]
    assert run(server, *arguments)[0] == 69
    assert not file.exists()
    status, out, _ = run(server, *arguments)
    assert (status, json.loads(out)["next_token"], file.read_text()) == (0, "b", "b\n")


def test_without_a_file_the_next_token_is_told(serve: Any, run: Any) -> None:
    """On standard error, so that it is not among the incidents."""
    server = serve(lambda asked: Reply(200, changes(incident(1), next_token="b")))
    assert "next token: b" in run(server, "changes", "--token", "a")[2]
    assert dict(server.asked[0].query)["token"] == "a"


def test_a_gap_is_told_and_shows_in_the_status(serve: Any, run: Any, tmp_path: Path) -> None:
    """Also where all should be quiet; what is kept is delivered, and the next run is an ordinary one."""
    file = tmp_path / "token"
    file.write_text("old\n")
    fresh = Reply(200, changes(incident(5), next_token="b"))
    server = serve(in_turn(problem(410, "token_expired", "no longer kept"), fresh, fresh))
    status, out, err = run(server, "changes", "--token-file", str(file), "--quiet")
    assert (status, rows_of(out), file.read_text()) == (3, [5], "b\n")
    assert "may be a gap" in err
    assert run(server, "changes", "--token-file", str(file))[0] == 0


def test_ocsf_is_handed_through(serve: Any, run: Any) -> None:
    """As NDJSON by itself; in a form that has no room for it, it is refused."""
    row = {"class_uid": 2004, "finding_info": {"uid": "x"}}
    server = serve(lambda asked: Reply(200, changes(row, next_token="b")))
    _, out, _ = run(server, "changes", "--schema", "ocsf")
    assert json.loads(out) == row
    assert dict(server.asked[0].query)["schema"] == "ocsf"
    assert run(server, "changes", "--schema", "ocsf", "-o", "csv")[0] == 64


# ---------------------------------------------------------------- tail


class Feed:
    """A feed that grows; it can be told to fail."""

    def __init__(self) -> None:
        self.rows = [incident(number) for number in range(1, 6)]
        self.fault: Reply | None = None
        self.unchanged = 0

    def __call__(self, asked: Asked) -> Reply:
        if self.fault:
            return self.fault
        start = int(dict(asked.query).get("token", "0"))
        rows = self.rows[start : start + 3]
        end = start + len(rows)
        tag = f'W/"{start}-{len(self.rows)}"'
        if asked.headers.get("if-none-match") == tag:
            self.unchanged += 1
            return Reply(304)
        has_more = end < len(self.rows)
        return Reply(200, changes(*rows, next_token=str(end), has_more=has_more), {"ETag": tag})


def test_tail_has_the_last(serve: Any, run: Any) -> None:
    """In their order, with filters, and none where none are wanted."""
    feed = Feed()
    server = serve(feed)
    assert rows_of(run(server, "tail", "-n", "2")[1]) == [4, 5]
    assert rows_of(run(server, "tail")[1]) == [1, 2, 3, 4, 5]
    assert run(server, "tail", "-n", "0")[1] == ""
    feed.rows[1]["priority"] = "critical"
    assert rows_of(run(server, "tail", "-n", "2", "--priority", "critical,high")[1]) == [2]
    assert run(server, "tail", "--type", "probing")[1] == ""


@contextlib.contextmanager
def reading(process: subprocess.Popen[bytes]) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """What a process prints, as it comes: lines of output, and of errors."""
    lines: tuple[list[bytes], list[bytes]] = ([], [])
    threads = [
        threading.Thread(target=lambda stream, into: into.extend(iter(stream.readline, b"")), args=each)
        for each in zip((process.stdout, process.stderr), lines, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        yield lines
    finally:
        process.kill()
        for thread in threads:
            thread.join()


def test_tail_follows_over_outages(serve: Any, tmp_path: Path) -> None:
    """New ones come as they are taken in, each once; nothing new costs a 304; an outage is told once, and its
    end; Ctrl-C ends it without a word, and the next one goes on where this one was.
    """
    feed = Feed()
    server = serve(feed)
    file = tmp_path / "token"
    arguments = ["tail", "-f", "-n", "1", "--interval", "1", "--token-file", str(file)]
    with Process(server, *arguments) as process, reading(process) as (out, err):
        wait_until(lambda: feed.unchanged >= 1, "a 304")
        assert rows_of(b"".join(out).decode()) == [5]
        feed.fault = Reply(503, {"message": "Service Unavailable"})
        wait_until(lambda: err, "the outage being told")
        feed.rows += [incident(6), incident(7), incident(8), incident(9)]
        time.sleep(1.5)
        feed.fault = None
        wait_until(lambda: len(out) == 5, "what came meanwhile")
        assert rows_of(b"".join(out).decode()) == [5, 6, 7, 8, 9]
        wait_until(lambda: file.read_text() == "9\n", "the token")
        process.send_signal(signal.SIGINT)
        assert as_a_shell_has_it(process.wait(10)) == 130
    told = [line.decode() for line in err]
    assert len(told) == 2
    assert "503" in told[0]
    assert "answers again, after" in told[1]
    feed.rows.append(incident(10))
    with Process(server, *arguments) as process, reading(process) as (out, err):
        wait_until(lambda: out, "what came between the runs")
        process.send_signal(signal.SIGTERM)
        assert as_a_shell_has_it(process.wait(10)) == 143
    assert rows_of(b"".join(out).decode()) == [10]
    assert err == []


def test_a_tag_is_sent_only_for_what_it_was_given_for(serve: Any) -> None:
    """A server whose tag is that of the whole feed would take the next stretch for known."""

    def respond(asked: Asked) -> Reply:
        if asked.headers.get("if-none-match"):
            return Reply(304)
        start = int(dict(asked.query)["token"])
        rows = [incident(start + 1)] if start < 3 else []
        return Reply(200, changes(*rows, next_token=str(min(start + 1, 3))), {"ETag": 'W/"1"'})

    class EnoughError(Exception):
        """Ends what would go on for ever."""

    naps = iter(range(8))

    def sleep(seconds: float) -> None:
        if next(naps) == 7:
            raise EnoughError

    server, found = serve(respond), []
    settings: Any = {"interval": 1, "sleep": sleep, "clock": lambda: 0.0}
    with Client(server.url) as client, contextlib.suppress(EnoughError):
        for page_of_it in commands.follow_changes(client, Notes(), "0", **settings):
            found += [int(each.id, 16) for each in page_of_it.incidents]
    assert found == [1, 2, 3]
    assert [asked.headers.get("if-none-match") for asked in server.asked][3:5] == [None, 'W/"1"']


def test_tail_ends_where_waiting_does_not_help(serve: Any) -> None:
    """Credentials that are refused while it follows are no outage."""
    feed = Feed()
    with Process(serve(feed), "tail", "-f", "--interval", "1") as process, reading(process) as (out, err):
        wait_until(lambda: len(out) == 5, "the last ones")
        feed.fault = problem(403, "expired_credentials")
        assert process.wait(30) == 77
    assert b"aws sso login" in err[-1]


# ---------------------------------------------------------------- export


@pytest.mark.parametrize(
    ("name", "first"), [("a.csv", "id,seq"), ("a.json", '{"data"'), ("a.jsonl", '{"id"'), ("a", '{"id"')]
)
def test_an_export_takes_its_form_from_the_name(
    serve: Any, run: Any, tmp_path: Path, name: str, first: str
) -> None:
    """Nothing goes to standard output; the number is told; the file is for its owner alone."""
    status, out, err = run(serve(lambda asked: GOOD), "export", name)
    assert (status, out) == (0, "")
    assert "3 incidents of 2 employees" in err
    file = tmp_path / name
    assert file.read_text().startswith(first)
    assert file.stat().st_mode & 0o777 == 0o600
    assert run(serve(lambda asked: GOOD), "export", "-")[1].count("\n") == 3


def test_half_an_export_has_no_name(serve: Any, run: Any, tmp_path: Path) -> None:
    """One that fails leaves the file that was there, and nothing beside it; one that succeeds keeps its mode,
    and a link stays one.
    """
    real, file = tmp_path / "real.ndjson", tmp_path / "all.ndjson"
    real.write_text("yesterday's\n")
    real.chmod(0o640)
    file.symlink_to(real)
    half = Reply(200, page({"7": employee(incident(1))}, "c"))
    server = serve(in_turn(half, problem(403, "access_denied")))
    assert run(server, "export", str(file))[0] == 77
    assert real.read_text() == "yesterday's\n"
    assert run(serve(lambda asked: GOOD), "export", str(file))[0] == 0
    assert rows_of(real.read_text()) == [1, 2, 3]
    assert (real.stat().st_mode & 0o777, file.is_symlink()) == (0o640, True)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["all.ndjson", "real.ndjson"]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_export_that_is_ended_leaves_nothing(serve: Any, tmp_path: Path, number: int, status: int) -> None:
    """Whichever signal ends it in the middle, without a traceback."""
    going_on = threading.Event()

    def respond(asked: Asked) -> Reply:
        if "cursor" in dict(asked.query):
            going_on.set()
            time.sleep(0.5)
            return problem(503, "no_data_yet", retry_after=100)
        return Reply(200, page({"7": employee(incident(1))}, "c"))

    with Process(serve(respond), "export", str(tmp_path / "all.csv")) as process:
        assert going_on.wait(30)
        assert [each.suffix for each in tmp_path.iterdir()] == [".part"]
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert as_a_shell_has_it(process.returncode) == status
    assert status in STATUSES
    assert b"Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_an_export_says_when_it_is_not_of_one_snapshot(serve: Any, run: Any) -> None:
    """It is whole, has everybody once, and ends with a status of its own."""
    first = Reply(200, page({"7": employee(incident(1)), "8": employee(incident(2, "8"))}, "c"))
    status, out, err = run(serve(in_turn(first, problem(410, "cursor_expired"), GOOD)), "export")
    assert (status, rows_of(out)) == (3, [1, 2, 3])
    assert "newer snapshot" in err


# ---------------------------------------------------------------- terminals and pipes


@pytest.mark.parametrize(
    "arguments", [["list"], ["list", "-o", "table", "--all"], ["export", "-o", "csv"], ["changes"]]
)
def test_a_reader_that_stops_ends_it_quietly(serve: Any, arguments: list[str]) -> None:
    """As `| head` does."""
    many = {str(number): employee(*[incident(number, str(number))] * 20) for number in range(1, 400)}
    rows = [incident(number) for number in range(8_000)]
    flat = changes(*rows, next_token="b") | {"next_cursor": None}
    server = serve(lambda asked: Reply(200, flat if "changes" in asked.path else page(many)))
    with Process(server, *arguments) as process:
        process.stdout.readline()  # type: ignore[union-attr]  # it has one
        process.stdout.close()  # type: ignore[union-attr]  # it has one
        err = process.stderr.read()  # type: ignore[union-attr]  # it has one
        assert as_a_shell_has_it(process.wait(30)) == 141
    assert err == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_told_and_keeps_the_token(serve: Any, tmp_path: Path) -> None:
    """What could not be written is not taken for delivered, and the status is that of a file."""
    file = tmp_path / "token"
    server = serve(lambda asked: Reply(200, changes(incident(1), next_token="b")))
    arguments = ["changes", "--token-file", str(file)]
    with Path("/dev/full").open("wb") as full, Process(server, *arguments, stdout=full) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 74
    assert err.decode().splitlines() == ["incidents: No space left on device"]
    assert not file.exists()


def test_an_export_needs_no_standard_output(serve: Any, tmp_path: Path) -> None:
    """It may be closed; and a file that it was appended to is not replaced under its name in /dev."""
    server = serve(lambda asked: GOOD)
    file = tmp_path / "all.ndjson"
    with Process(server, "export", str(file), stdout=None, preexec_fn=lambda: os.close(1)) as process:
        assert process.wait(30) == 0
    assert rows_of(file.read_text()) == [1, 2, 3]
    log = tmp_path / "log"
    log.write_text("before\n")
    with log.open("ab") as out, Process(server, "export", "/dev/stdout", stdout=out) as process:
        assert process.wait(30) == 0
    assert log.read_text().startswith("before\n{")


def on_a_terminal(server: ScriptedServer, *arguments: str) -> str:
    """What a person would see."""
    ours, theirs = pty.openpty()
    with Process(server, *arguments, stdout=theirs, stderr=theirs, stdin=theirs) as process:
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):
            while part := os.read(ours, 65_536):
                seen += part
        process.wait(30)
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", seen.decode())


def test_people_get_tables(serve: Any) -> None:
    """On a terminal: a table by itself; CSV there has its control characters written out."""
    server = serve(lambda asked: Reply(200, page({"7": employee(incident(1, ip="\x1b[2J"))})))
    assert "EMPLOYEE  LOW  MEDIUM  HIGH  CRITICAL  LAST" in on_a_terminal(server, "list")
    assert r"\x1b[2J" in on_a_terminal(server, "list", "-o", "csv")


def test_progress_is_for_terminals(serve: Any, run: Any, tmp_path: Path) -> None:
    """An export shows there how far it is, unless its rows are shown there; in a log there is none of it."""
    server = serve(lambda asked: GOOD)
    assert "a second" in on_a_terminal(server, "export", str(tmp_path / "a.csv"))
    assert "a second" not in on_a_terminal(server, "export")
    assert "a second" not in run(server, "export", str(tmp_path / "a.csv"))[2]
