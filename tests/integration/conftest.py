"""The whole service on a table of its own: both functions called as Lambda calls them."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from functions.api import composition as api_composition
from functions.api.handler import lambda_handler as api_handler
from functions.poller import composition as poller_composition
from functions.poller import upstream
from functions.poller.handler import lambda_handler as poller_handler
from local.emulator import aws_environment
from local.lambda_context import LambdaContext
from local.simulator import Simulator, serve

PROJECT = Path(__file__).resolve().parents[2]
SCHEDULE_EVENT = json.loads((PROJECT / "events" / "schedule.json").read_text())
CAPTURE = PROJECT.parent / "shared" / "upstream-capture"


@dataclass(frozen=True)
class Answer:
    """What API Gateway would send on."""

    status: int
    headers: Mapping[str, str]
    text: str

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

    def get(self, path: str, method: str = "GET", **query: str) -> Answer:
        """One request through the reader's handler."""
        event = {
            "resource": path,
            "path": path,
            "httpMethod": method,
            "headers": {},
            "multiValueHeaders": {},
            "queryStringParameters": query or None,
            "multiValueQueryStringParameters": {name: [value] for name, value in query.items()} or None,
            "pathParameters": None,
            "stageVariables": None,
            "requestContext": {"requestId": "a-request", "stage": "test", "httpMethod": method},
            "body": None,
            "isBase64Encoded": False,
        }
        answer = api_handler(event, _context("ApiFunction", 29))
        headers = {name: values[0] for name, values in answer["multiValueHeaders"].items()}
        return Answer(answer["statusCode"], headers, answer["body"])

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
) -> Iterator[Callable[[Simulator], Service]]:
    """Makes a service in front of a simulated upstream; at most one at a time."""
    running: list[Any] = []

    def make(simulator: Simulator) -> Service:
        server = serve(simulator)
        base_url = server.__enter__()
        running.append(server)
        settings = simulator.settings
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
        boto3.setup_default_session()
        boto3.DEFAULT_SESSION.events.register(
            "provide-client-params.*.*",
            lambda params, model, **_: service.calls.append((model.name, params)),
        )
        service.forget_clients()
        return service

    yield make
    for server in running:
        server.__exit__(None, None, None)
    boto3.DEFAULT_SESSION = None
    poller_composition.built.cache_clear()
    api_composition.built.cache_clear()


def _context(name: str, timeout_seconds: int) -> LambdaContext:
    return LambdaContext(function_name=name, memory_limit_in_mb=512, timeout_seconds=timeout_seconds)
