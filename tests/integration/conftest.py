"""The whole service on a table of its own: both functions called as Lambda calls them."""

import contextlib
import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayRestResolver

from functions.api import composition as api_composition
from functions.api.changes import ChangesAnswers
from functions.api.employees import EmployeesAnswers
from functions.api.handler import lambda_handler as api_handler
from functions.api.incidents import IncidentAnswers
from functions.api.overviews import Overviews
from functions.api.page_cache import MAX_CACHE_BYTES, PageCache
from functions.api.page_requests import PageRequests
from functions.api.routes import Routes, add_routes
from functions.api.searches import SEARCH_SECONDS
from functions.api.signer import Signer
from functions.api.state_of_request import StateOfRequest
from functions.api.summary import SummaryAnswers
from functions.api.unattributed import UnattributedAnswers
from functions.api.walker import Walker
from functions.poller import composition as poller_composition
from functions.poller import upstream
from functions.poller.handler import lambda_handler as poller_handler
from functions.poller.notify import Notifier, Topic
from functions.poller.poll import Poller
from functions.poller.summary import PollSummary
from local.emulator import aws_environment
from local.lambda_context import LambdaContext
from local.simulator import Simulator, serve
from shared import aws
from shared.domain.retention import Retention
from shared.domain.risk import DEFAULT_SCALE, RiskScale
from shared.store.keys import STATE_KEY
from shared.store.table import Table
from tests.contract.disturbed import CrashError, PausingPoll, crashing
from tests.fakes import Clock, MemoryDynamoDB, MemorySNS, MemoryUpstream

PROJECT = Path(__file__).resolve().parents[2]
SCHEDULE_EVENT = json.loads((PROJECT / "events" / "schedule.json").read_text())
CAPTURE = PROJECT.parent / "shared" / "upstream-capture"


@dataclass(frozen=True)
class Answer:
    """What API Gateway would send on; ``proxy`` is what Lambda gave it."""

    status: int
    headers: Mapping[str, str]
    text: str
    proxy: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Service:
    """``calls`` are the requests to AWS so far: (operation, parameters)."""

    simulator: Simulator
    table_name: str
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def forget_clients(self) -> None:
        """Let the next invocation start cold, as in a new container."""
        poller_composition.built.cache_clear()
        api_composition.built.cache_clear()

    def poll(self) -> dict[str, Any]:
        """One scheduled poll."""
        return poller_handler(SCHEDULE_EVENT, _context("PollerFunction", 240))

    def get(
        self,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        **query: str | Sequence[str],
    ) -> Answer:
        """One request through the reader's handler."""
        event = proxy_event(path, method, headers, query)
        return _answer(api_handler(event, _context("ApiFunction", 29)))

    def health(self) -> Any:
        """The health document, whatever its status."""
        return self.get("/health").json

    def pages(self, between: Callable[[], object] = lambda: None, **query: str) -> Iterator[Any]:
        """All pages of one walk; ``between`` is called between them."""
        while True:
            page = self.get("/incidents", **query)
            assert page.status == 200, page.text
            yield page.json
            if not page.json["has_more"]:
                return
            query = {**query, "cursor": page.json["next_cursor"]}
            between()

    def everybody(self) -> dict[str, Any]:
        """All employees of one walk, each as the answer shows them."""
        employees: dict[str, Any] = {}
        for page in self.pages(limit="500"):
            assert not employees.keys() & page["incidents"].keys()
            employees |= page["incidents"]
        return employees

    def incidents(self) -> list[dict[str, Any]]:
        """All incidents of one walk, flat."""
        return [
            incident
            for employee in self.everybody().values()
            for group in employee.values()
            for incident in group["incidents"]
        ]

    def incident_writes(self) -> list[dict[str, Any]]:
        """Every incident that a request so far wrote (or tried to)."""
        written = []
        for _, parameters in self.calls:
            requests = [each for table in parameters.get("RequestItems", {}).values() for each in table]
            written += [each["PutRequest"]["Item"] for each in requests if "PutRequest" in each]
            written += [parameters["Item"]] if "Item" in parameters else []
        return [item for item in written if item["pk"]["S"] == "INCIDENTS"]


@pytest.fixture
def capture() -> Path:
    """The folder of the real upstream's capture; a test that reads it is skipped where it is missing."""
    if not CAPTURE.is_dir():
        pytest.skip("the upstream's capture lies beside the checkout only where the project is developed")
    return CAPTURE


@pytest.fixture
def make_service(
    monkeypatch: pytest.MonkeyPatch,
    emulator_url: str,
    make_table: Callable[[], Any],
    secretsmanager: Any,
) -> Iterator[Callable[..., Service]]:
    """Makes a service in front of a simulated upstream; at most one at a time.

    Its table is one of ministack, or in ``memory``.
    """
    running: list[Any] = []

    def make(simulator: Simulator, memory: MemoryDynamoDB | None = None) -> Service:
        server = serve(simulator)
        base_url = server.__enter__()
        running.append(server)
        settings = simulator.settings
        if memory:
            table_name = memory.table_name
            for composition in (poller_composition, api_composition):
                monkeypatch.setattr(composition, "make_dynamodb", lambda **_: memory)
        else:
            table_name = make_table().name
        secret = secretsmanager.create_secret(
            Name=table_name,
            SecretString=json.dumps({"username": settings.username, "password": settings.password}),
        )
        environment = aws_environment(emulator_url) | {
            "TABLE_NAME": table_name,
            "UPSTREAM_BASE_URL": base_url,
            "UPSTREAM_SECRET_ARN": secret["ARN"],
            "POWERTOOLS_SERVICE_NAME": "incidents",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        for name in ("RETENTION_DAYS", "POLL_INTERVAL_SECONDS", "UPSTREAM_CONCURRENCY"):
            monkeypatch.delenv(name, raising=False)
        # Waiting for a simulated upstream proves nothing.
        monkeypatch.setattr(upstream, "_FIRST_BACKOFF_SECONDS", 0.001)
        service = Service(simulator, table_name)
        # A session of this environment; those of tests before are of others.
        aws.session.cache_clear()
        aws.session().register(
            "provide-client-params.*.*",
            lambda params, model, **_: service.calls.append((model.name, params)),
        )
        service.forget_clients()
        return service

    yield make
    for server in running:
        server.__exit__(None, None, None)
    aws.session.cache_clear()
    poller_composition.built.cache_clear()
    api_composition.built.cache_clear()


@pytest.fixture(scope="session")
def make_reader() -> Callable[..., Any]:
    """Makes a reader with its clocks in the test's hand: :class:`Reader` says what it takes."""
    return Reader


@pytest.fixture(scope="session")
def make_history() -> Callable[..., Any]:
    """Makes a table in memory and its poller: :class:`History` says what it takes."""
    return History


class Reader:
    """One container of the reader: its routes as the handler has them, over any client.

    ``clock`` gives epoch seconds; ``search_seconds`` are counted on the ``monotonic`` clock. ``cache_bytes``
    is how large its page cache may become.
    """

    def __init__(
        self,
        client: Any,
        table_name: str = "incidents",
        *,
        clock: Callable[[], float] = time.time,
        retention: Retention | None = None,
        search_seconds: float = SEARCH_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        cache_bytes: int = MAX_CACHE_BYTES,
    ) -> None:
        table = Table(table_name, client=client)
        cache = PageCache(max_bytes=cache_bytes)
        signer = Signer(table, clock=clock)
        kept = retention or Retention(0)
        walker = Walker(table, kept, search_seconds=search_seconds, monotonic=monotonic, clock=clock)
        self._app = APIGatewayRestResolver()
        state = StateOfRequest(self._app, lambda: table.get(STATE_KEY))
        overviews = Overviews(table, state, kept, clock=clock)
        requests = PageRequests(signer=signer, retention=kept, read_state=state.read, clock=clock)
        unattributed = UnattributedAnswers(
            requests,
            table,
            kept,
            cache=cache,
            search_seconds=search_seconds,
            monotonic=monotonic,
            clock=clock,
        )
        changes = ChangesAnswers(
            table, signer=signer, read_state=state.read, clock=clock, monotonic=monotonic
        )
        employees = EmployeesAnswers(
            overviews,
            table,
            signer=signer,
            clock=clock,
            search_seconds=search_seconds,
            monotonic=monotonic,
        )
        routes = Routes(
            self._app,
            state=state,
            incidents=IncidentAnswers(requests, walker=walker, cache=cache),
            unattributed=lambda: unattributed,
            changes=lambda: changes,
            employees=lambda: employees,
            summary=lambda: SummaryAnswers(overviews),
            poll_interval_seconds=300,
            clock=clock,
        )
        add_routes(self._app, routes, logger=Logger(service="incidents"))

    def get(
        self,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        **query: str | Sequence[str],
    ) -> Answer:
        """One request."""
        event = proxy_event(path, method, headers, query)
        return _answer(self._app.resolve(event, _context("ApiFunction", 29)))


class History:
    """Real polls of an upstream in memory, whole, dying and overlapping ones; and what they committed,
    read from the table's items without the service's code.
    """

    def __init__(
        self,
        client: Any = None,
        table_name: str = "incidents",
        *,
        clock: Clock,
        retention: Retention | None = None,
        scale: RiskScale = DEFAULT_SCALE,
        priorities: Sequence[str] = ("critical",),
    ) -> None:
        self.client = client or MemoryDynamoDB(table_name)
        self.sns = MemorySNS()
        self.priorities = priorities
        self.summaries: list[PollSummary] = []
        self.monotonic: Callable[[], float] = time.monotonic
        self.upstream = MemoryUpstream()
        self.clock = clock
        self.retention = retention or Retention(0)
        self.scale = scale
        self._table = Table(table_name, client=self.client)

    def poll(self) -> PollSummary:
        """One whole poll."""
        return self._poll(self._table)

    def poll_dying(self, *, at: int, takes_effect: bool) -> None:
        """A poll that dies at its write number ``at``, before or after that takes effect."""
        with contextlib.suppress(CrashError):
            self._poll(crashing(self._table, at=at, takes_effect=takes_effect))

    def polls_overlapping(self, *, at: int, between: Callable[[], object] = lambda: None) -> None:
        """A poll that stands still before its write number ``at`` while another one does all of its work.

        ``between`` is called before that other one begins.
        """
        slow = PausingPoll(self._table, self._poll, at=at)
        slow.start()
        between()
        self.poll()
        slow.wake()

    def delete_expired(self) -> None:
        """What DynamoDB's time to live does, at once and to all."""
        for (pk, sk), item in self.dump().items():
            if "expires_at" in item and int(item["expires_at"]["N"]) < self.clock():
                self.client.delete_item(TableName=self._table.name, Key={"pk": {"S": pk}, "sk": {"S": sk}})

    def dump(self) -> Mapping[tuple[str, str], Any]:
        """All items by key."""
        if isinstance(self.client, MemoryDynamoDB):
            return self.client.dump()
        pages = self.client.get_paginator("scan").paginate(TableName=self._table.name, ConsistentRead=True)
        return {(item["pk"]["S"], item["sk"]["S"]): item for page in pages for item in page["Items"]}

    def state(self) -> Mapping[str, Any]:
        """The state: ``projected``, and the last poll's ``report``."""
        item = self.dump().get(("STATE", "STATE"), {})
        return {
            "projected": int(item.get("projected", {"N": "0"})["N"]),
            "report": json.loads(item.get("report", {"S": "null"})["S"]),
        }

    def attributed(self) -> list[dict[str, Any]]:
        """Every incident of the journal that has an employee, flat and in order; numbers are their text.

        Also those of entries that are not laid out yet.
        """
        entries = sorted((sk, item) for (pk, sk), item in self.dump().items() if pk == "JOURNAL")
        return [
            {
                "id": decision["incident"]["id"],
                "employee_id": decision["employee_id"],
                "type": decision["incident"]["type"],
                "priority": decision["incident"]["priority"],
                **decision["incident"]["fields"],
                "timestamp": decision["incident"]["timestamp"],
                "sequence": str(int(sk)),
                "ingested_at": item["committed_at"]["S"],
            }
            for sk, item in entries
            for decision in exact_json(zlib.decompress(_bytes(item["decisions"]["B"])))
            if decision["outcome"].startswith("attributed")
        ]

    def _poll(self, table: Table) -> PollSummary:
        poller = Poller(
            table=table,
            upstream=self.upstream,
            notifier=Notifier(table, Topic("arn:topic", client=self.sns), self.priorities),  # type: ignore[arg-type]  # a stand-in for the client
            observe=self.summaries.append,
            monotonic=lambda: self.monotonic(),
            retention=self.retention,
            scale=self.scale,
            concurrency=1,
            clock=self.clock,  # type: ignore[arg-type]  # a stand-in
        )
        return poller.poll(seconds_left=240)


def exact_json(text: str | bytes) -> Any:
    """JSON with each number as its text."""
    return json.loads(text, parse_float=str, parse_int=str)


def proxy_event(
    path: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str | Sequence[str]] | None = None,
) -> dict[str, Any]:
    """A request as API Gateway's proxy integration hands it on."""
    values = {name: [each] if isinstance(each, str) else list(each) for name, each in (query or {}).items()}
    return {
        "resource": path,
        "path": path,
        "httpMethod": method,
        "headers": dict(headers or {}),
        "multiValueHeaders": {name: [value] for name, value in (headers or {}).items()},
        "queryStringParameters": {name: each[-1] for name, each in values.items()} or None,
        "multiValueQueryStringParameters": values or None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {"requestId": "a-request", "stage": "test", "httpMethod": method},
        "body": None,
        "isBase64Encoded": False,
    }


def _answer(proxy: Mapping[str, Any]) -> Answer:
    headers = {name: values[0] for name, values in proxy["multiValueHeaders"].items()}
    return Answer(proxy["statusCode"], headers, proxy["body"], proxy)


def _bytes(value: Any) -> bytes:
    return bytes(getattr(value, "value", value))


def _context(name: str, timeout_seconds: int) -> LambdaContext:
    return LambdaContext(function_name=name, memory_limit_in_mb=512, timeout_seconds=timeout_seconds)
