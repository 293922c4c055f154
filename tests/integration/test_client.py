"""The Python client and its command in front of the real reader, through the local gateway."""

import contextlib
import csv
import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from functions.api.formats import CSV as CSV_TYPE
from incidents_client import (
    Client,
    ExpiredTokenError,
    Notice,
    ProblemError,
    UnavailableError,
    UnknownEmployeeError,
    commands,
)
from incidents_client.cli import main
from local.gateway import Gateway
from local.lambda_context import load_function
from local.simulator import Simulator, SimulatorSettings
from local.template import load_template, read_minimum_compression, read_routes
from shared.domain import cursor as cursor_module
from tests.fakes import MemoryDynamoDB

SETTINGS = SimulatorSettings(seed=11, records_per_type=40, identities=60)
HOUR, DAY = 3_600, 86_400
STATE_KEY_ITEM = {"pk": {"S": "STATE"}, "sk": {"S": "STATE"}}


@pytest.fixture
def memory(request: pytest.FixtureRequest) -> MemoryDynamoDB:
    """The table; its queries end soon, so that the reader has to make several."""
    return MemoryDynamoDB(f"incidents-{request.node.name}", page_bytes=5_000)


@pytest.fixture
def make_polled(make_service: Callable[..., Any], memory: MemoryDynamoDB) -> Callable[..., Any]:
    """Makes a service whose upstream stands still five days ago."""

    def make(**settings: Any) -> Any:
        moment = Simulator().clock() - 5 * DAY
        return make_service(Simulator(replace(SETTINGS, **settings), clock=lambda: moment), memory)

    return make


@pytest.fixture
def service(make_polled: Callable[..., Any]) -> Any:
    """A service that has not polled yet."""
    return make_polled()


class EnoughError(Exception):
    """Ends what would go on for ever."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def get_environ(self) -> Any:
        """As waitress has it."""
        return super().get_environ() | {"REQUEST_URI": self.path}

    def log_message(self, format: str, *arguments: Any) -> None:
        """Tests print nothing."""


class Gate:
    """The local gateway on one port, which can be closed and opened again."""

    def __init__(self, handler: Any = None) -> None:
        template = load_template()
        function = load_function(template, "ApiFunction")
        function = replace(function, handler=handler) if handler else function
        self._gateway = Gateway(function, read_routes(template), read_minimum_compression(template))
        self._running = contextlib.ExitStack()
        self._port = 0
        self.asked: list[str] = []
        self.answered: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def open(self) -> None:
        server = make_server("127.0.0.1", self._port, self._serve, _Server, _Handler)
        self._port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        for step in (server.server_close, thread.join, server.shutdown):
            self._running.callback(step)

    def close(self) -> None:
        self._running.close()

    def _serve(self, environ: Any, start_response: Any) -> Any:
        self.asked.append(f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}")

        def start(status: str, headers: Any) -> Any:
            self.answered.append(int(status[:3]))
            return start_response(status, headers)

        return self._gateway(environ, start)


@contextlib.contextmanager
def opened(gate: Gate) -> Iterator[Gate]:
    gate.open()
    try:
        yield gate
    finally:
        gate.close()


@pytest.fixture
def gate(service: Any) -> Iterator[Gate]:
    """The reader over HTTP."""
    with opened(Gate()) as gate:
        yield gate


@pytest.fixture
def client(gate: Gate) -> Iterator[Client]:
    with Client(gate.url, patience=5, sleep=lambda seconds: None) as client:
        yield client


def hours_pass(service: Any, hours: float = 6) -> int:
    """Time goes on upstream, and a poll takes in what is new; how many."""
    moment = service.simulator.clock() + HOUR * hours
    service.simulator.clock = lambda: moment
    new: int = service.poll()["new_incidents"]
    assert new > 0
    return new


def everything(service: Any) -> dict[str, Any]:
    """All incidents by id, to the digit, read without the client."""
    incidents = {}
    query: dict[str, str] = {}
    while True:
        page = json.loads(service.get("/incidents", limit="7", **query).text, parse_float=Decimal)
        for groups in page["incidents"].values():
            incidents |= {each["id"]: each for group in groups.values() for each in group["incidents"]}
        if not page["has_more"]:
            return incidents
        query = {"cursor": page["next_cursor"]}


def test_the_walk_has_every_incident_once(service: Any, client: Client, gate: Gate) -> None:
    """Over many pages, every field and digit, employees ascending; also while polls go on."""
    service.poll()
    expected = everything(service)
    assert len(expected) > 200
    walk = client.employees(page_size=9)
    employees = [next(walk)]
    hours_pass(service)
    employees += list(walk)
    numbers = [int(each.id) for each in employees]
    assert numbers == sorted(set(numbers))
    assert len(gate.asked) > 5
    found = [incident for each in employees for incident in each.incidents]
    assert len(found) == len(expected)
    for incident in found:
        assert expected[incident.id]["timestamp"] == incident.timestamp
        assert str(expected[incident.id]["timestamp"]) == str(incident.fields["timestamp"])
        assert incident.fields.keys() == expected[incident.id].keys()
    for each in employees:
        assert each.counts == {name: len(group) for name, group in each.by_priority.items()}


def test_filters_do_what_they_say(service: Any, client: Client) -> None:
    """By priority, type and time, on the walk and on one employee."""
    service.poll()
    expected = everything(service)
    middle = sorted(each["timestamp"] for each in expected.values())[len(expected) // 2]
    priorities, types = ["high", "critical"], ["other", "misuse"]
    found = {each.id for each in client.incidents(priorities=priorities, types=types, since=middle)}
    assert found == {
        each["id"]
        for each in expected.values()
        if each["priority"] in priorities and each["type"] in types and each["timestamp"] >= middle
    }
    assert found
    busiest, count = Counter(each["employee_id"] for each in expected.values()).most_common(1)[0]
    assert len(client.employee(busiest).incidents) == count
    assert client.employee(busiest, until=1).incidents == ()
    with pytest.raises(UnknownEmployeeError):
        client.employee("99999999999999999999")
    with pytest.raises(ProblemError, match=r"until: .*\[request [0-9a-f-]{36}\]") as caught:
        list(client.incidents(since=middle, until=middle))
    assert caught.value.code == "invalid_parameter"


def test_unattributed_ones_are_there_once(make_polled: Callable[..., Any]) -> None:
    """Over several pages; with those of the walk they are what the upstream has."""
    make_polled(identity_lag_seconds=30 * DAY, identity_lag_rate=0.5).poll()
    with opened(Gate()) as gate, Client(gate.url) as client:
        waiting = [each.id for each in client.unattributed(page_size=5)]
        walked = [each.id for each in client.incidents()]
    assert len(waiting) > 10
    assert len({*waiting, *walked}) == len(waiting) + len(walked) == 7 * SETTINGS.records_per_type


def test_a_walk_of_more_than_a_day_goes_on_in_a_newer_snapshot(service: Any, gate: Gate) -> None:
    """The reader itself says 410; every employee still comes once, and that it was so is told."""
    service.poll()
    before = everything(service)
    notices: list[Notice] = []
    with pytest.MonkeyPatch.context() as patch:

        def hear(notice: Notice) -> None:
            notices.append(notice)
            patch.undo()

        with Client(gate.url, on_notice=hear) as client:
            walk = client.employees(page_size=20)
            had = [next(walk) for _ in range(5)]
            hours_pass(service)
            patch.setattr(cursor_module, "CURSOR_SECONDS", -1)
            had += walk
    numbers = [int(each.id) for each in had]
    assert numbers == sorted(set(numbers))
    assert {each["employee_id"] for each in before.values()} <= {each.id for each in had}
    assert [notice.kind for notice in notices] == ["walk_began_anew"]
    assert gate.answered.count(410) == 1


def test_the_feed_delivers_what_polls_bring(service: Any, client: Client) -> None:
    """From a kept token exactly what is new, also with the tag of an older answer."""
    service.poll()
    first = list(client.changes(limit=50))
    known = {each.id for page in first for each in page.incidents}
    assert known == everything(service).keys()
    assert len(first) > 3
    end = client.changes_page(first[-1].next_token)
    assert end
    assert end.rows == ()
    hours_pass(service)
    page = client.changes_page(end.next_token, etag=end.etag)
    assert page
    new = [each.id for each in page.incidents]
    assert len(new) == len(set(new))
    assert set(new) == everything(service).keys() - known


def test_nothing_new_costs_one_small_read(
    service: Any, client: Client, gate: Gate, memory: MemoryDynamoDB
) -> None:
    """The tail's question with the tag of its last answer."""
    service.poll()
    *_, last = client.changes()
    page = client.changes_page(last.next_token)
    assert page
    requests = len(memory.requests)
    assert client.changes_page(last.next_token, etag=page.etag) is None
    assert gate.answered[-1] == 304
    assert [operation for operation, _ in memory.requests[requests:]] == ["GetItem"]


def test_before_the_first_poll_it_waits(service: Any, client: Client, gate: Gate) -> None:
    """`no_data_yet` is waited for as long as the reader says, and no longer than patience lasts."""
    with pytest.raises(UnavailableError, match=r"no_data_yet.*incidents health"):
        list(client.employees())
    assert client.health().status == "fail"
    slept: list[float] = []

    def poll_meanwhile(seconds: float) -> None:
        slept.append(seconds)
        service.poll()

    with Client(gate.url, patience=60, sleep=poll_meanwhile) as waiting:
        assert len([*waiting.incidents()]) == len(everything(service))
    assert [30 <= each <= 31 for each in slept] == [True]


def test_a_search_that_is_not_finished_goes_on(
    service: Any, memory: MemoryDynamoDB, make_reader: Callable[..., Any]
) -> None:
    """A filter that lets little through, and a reader with time for one query: the same request again until
    there is something, and nothing is lost.
    """
    service.poll()
    kinds = Counter((each["type"], each["priority"]) for each in everything(service).values())
    (kind, priority), count = kinds.most_common()[-1]
    reader = make_reader(memory, memory.table_name, search_seconds=0.0)
    slept: list[float] = []
    with (
        opened(Gate(reader._app.resolve)) as gate,
        Client(gate.url, patience=0, sleep=slept.append) as client,
    ):
        found = [each.id for each in client.incidents(types=[kind], priorities=[priority])]
    assert len(found) == len(set(found)) == count
    assert gate.answered.count(503) == len(slept) > 3
    assert set(slept) == {1.0}


# ---------------------------------------------------------------- the command


def run(capfd: pytest.CaptureFixture[str], gate: Gate, *arguments: str) -> tuple[int, str, str]:
    # What polls print is not the command's.
    capfd.readouterr()
    status = main(arguments, {"INCIDENTS_URL": gate.url})
    out, err = capfd.readouterr()
    return status, out, err


def test_exports_have_everything(
    service: Any, gate: Gate, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In each form every incident once, with every digit."""
    service.poll()
    expected = {each["id"]: str(each["timestamp"]) for each in everything(service).values()}
    exact: Any = {"parse_float": str, "parse_int": str}
    for name in ("a.ndjson", "a.json", "a.csv"):
        assert run(capfd, gate, "export", str(tmp_path / name))[0] == 0
    lines = [json.loads(line, **exact) for line in (tmp_path / "a.ndjson").read_text().splitlines()]
    document = json.loads((tmp_path / "a.json").read_text(), **exact)["data"]
    table = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    for rows in (lines, document, table):
        assert {each["id"]: each["timestamp"] for each in rows} == expected
        assert len(rows) == len(expected)
    assert lines == document


def test_changes_as_csv_is_the_readers_own_csv(
    service: Any, gate: Gate, capfd: pytest.CaptureFixture[str]
) -> None:
    """Byte for byte, so that both can be loaded alike."""
    service.poll()
    theirs = service.get("/incidents/changes", headers={"Accept": CSV_TYPE}, limit="1000").text
    _, ours, _ = run(capfd, gate, "changes", "-o", "csv")
    assert ours.replace("\r\n", "\n") == theirs.replace("\r\n", "\n")


def test_changes_again_and_again_are_every_incident_once(
    service: Any, gate: Gate, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As a cron job calls it: polls in between, some runs without anything new."""
    file, had = str(tmp_path / "token"), []
    service.poll()
    for number in range(4):
        status, out, _ = run(capfd, gate, "changes", "--token-file", file)
        assert status == 0
        had += [json.loads(line)["id"] for line in out.splitlines()]
        if number % 2:
            hours_pass(service)
    status, out, _ = run(capfd, gate, "changes", "--token-file", file)
    had += [json.loads(line)["id"] for line in out.splitlines()]
    assert len(had) == len(set(had))
    assert set(had) == everything(service).keys()


def test_a_token_that_the_reader_no_longer_keeps_is_a_gap(
    service: Any, gate: Gate, memory: MemoryDynamoDB, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of a table that was restored to a time before the token: 410, and the feed from its beginning."""
    service.poll()
    file = tmp_path / "token"
    assert run(capfd, gate, "changes", "--token-file", str(file))[0] == 0
    before = memory.get_item(TableName=memory.table_name, Key=STATE_KEY_ITEM, ConsistentRead=True)["Item"]
    known = everything(service).keys()
    hours_pass(service)
    hours_pass(service)
    assert run(capfd, gate, "changes", "--token-file", str(file))[0] == 0
    memory.put_item(TableName=memory.table_name, Item=before)
    token = file.read_text().strip()
    with Client(gate.url) as client, pytest.raises(ExpiredTokenError):
        list(client.changes(token))
    status, out, err = run(capfd, gate, "changes", "--token-file", str(file))
    assert status == 3
    assert "may be a gap" in err
    assert {json.loads(line)["id"] for line in out.splitlines()} == known
    assert file.read_text().strip() != token


def test_health_is_an_exit_status(service: Any, gate: Gate, capfd: pytest.CaptureFixture[str]) -> None:
    """Before the first poll, after it, and where nobody answers."""
    assert run(capfd, gate, "health")[0] == 2
    moment = Simulator().clock()
    service.simulator.clock = lambda: moment
    service.poll()
    status, out, _ = run(capfd, gate, "health")
    assert (status, json.loads(out)["status"]) == (0, "pass")
    status, out, _ = run(capfd, gate, "health", "-o", "table")
    assert [line.split()[1] for line in out.splitlines() if line.startswith("probing")] == ["fresh"]
    gate.close()
    assert run(capfd, gate, "health", "--patience", "0")[0] == 2


def test_the_tail_sees_each_poll_over_an_outage(service: Any, gate: Gate) -> None:
    """What polls bring in while it follows comes once each, also what came while the API was away."""
    service.poll()
    known = everything(service).keys()
    with Client(gate.url) as client:
        *_, last = client.changes()
    naps = iter(["poll", "nothing", "nothing", "close", "poll", "open", "nothing", "nothing"])
    told: list[str] = []

    def sleep(seconds: float) -> None:
        match next(naps, "end"):
            case "poll":
                hours_pass(service)
            case "close":
                gate.close()
            case "open":
                gate.open()
            case "end":
                raise EnoughError

    class Notes(commands.Notes):
        def say(self, text: str) -> None:
            told.append(text)

    found: list[str] = []
    with Client(gate.url) as client, contextlib.suppress(EnoughError):
        for page in commands.follow_changes(
            client, Notes(), last.next_token, interval=1, sleep=sleep, clock=lambda: 0.0
        ):
            found += [each.id for each in page.incidents]
    assert len(found) == len(set(found))
    assert set(found) == everything(service).keys() - known
    assert 304 in gate.answered
    assert len(told) == 2
    assert "refused" in told[0]
