"""A few hundred requests made of the contract, to the local run's gateway with the real handler behind it."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import waitress.server

from functions.api.handler import lambda_handler
from local.gateway import Gateway
from local.lambda_context import Function
from local.simulator import Simulator, SimulatorSettings
from local.template import Limits, load_template, read_routes
from tests.fuzz.driver import Fuzzer, excuse
from tests.integration.conftest import make_service

__all__ = ["make_service"]

ROUTES = read_routes(load_template())
UNTIL = b'{"code": "invalid_parameter", "errors": [{"parameter": "until"}]}'
LIMIT = b'{"code": "invalid_parameter", "errors": [{"parameter": "limit"}]}'
CURSOR = b'{"code": "invalid_parameter", "errors": [{"parameter": "cursor"}]}'


@pytest.fixture
def serve_api(make_service: Callable[[Simulator], Any]) -> Iterator[Callable[..., str]]:
    """Serves the API over HTTP with data in it; ``change`` may change what its handler answers."""
    service = make_service(Simulator(SimulatorSettings(seed=5, records_per_type=20, identities=300)))
    service.poll()
    servers = []

    def serve(change: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer) -> str:
        def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
            return change(lambda_handler(event, context))

        gateway = Gateway(Function("ApiFunction", handle, Limits(28, 512)), ROUTES, 1024)
        server = waitress.server.create_server(gateway, host="127.0.0.1", port=0, threads=4)
        threading.Thread(target=server.run, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.effective_port}"

    yield serve
    for server in servers:
        server.close()


@pytest.mark.filterwarnings("ignore")
def test_no_answer_breaks_the_contract(serve_api: Callable[..., str]) -> None:
    """Whatever a client sends, by the contract or against it, is answered as the contract says."""
    report = Fuzzer(serve_api()).run(requests=600, seconds=50)
    assert report.violations == {}, report.describe()
    assert report.errors == []
    assert report.requests >= 300
    assert {"200", "400", "404"} <= report.statuses.keys()
    assert sum(report.excused.values()) < report.requests


@pytest.mark.filterwarnings("ignore")
def test_a_broken_answer_is_found(serve_api: Callable[..., str]) -> None:
    """An undocumented field or header, a server error and a filter that lets all through are found."""

    def break_it(answer: dict[str, Any]) -> dict[str, Any]:
        if answer["statusCode"] == 400:
            return answer | {"statusCode": 200}
        if answer["statusCode"] == 404:
            return answer | {"statusCode": 500}
        answer["multiValueHeaders"]["X-New"] = ["1"]
        return answer | {"body": answer["body"].replace('{"incidents":{', '{"new":1,"incidents":{')}

    # The contract itself has to be readable.
    def keep_the_contract(answer: dict[str, Any]) -> dict[str, Any]:
        return answer if answer["body"].startswith('{"openapi"') else break_it(answer)

    report = Fuzzer(serve_api(keep_the_contract)).run(requests=300, seconds=40)
    found = " ".join(report.violations)
    for check in (
        "contract_conformance",
        "not_a_server_error",
        "negative_data_rejection",
        "response_schema_conformance",
    ):
        assert check in found, report.describe()


class _Response:
    def __init__(self, url: str, status: int, body: bytes) -> None:
        self.request = type("Request", (), {"url": url, "method": "GET"})()
        self.status_code = status
        self.content = body


@pytest.mark.parametrize(
    ("failure", "query", "status", "body", "excused"),
    [
        ("RejectedPositiveData", "cursor=x", 400, b'{"code": "cursor_invalid"}', True),
        ("RejectedPositiveData", "limit=7", 400, LIMIT, False),
        ("RejectedPositiveData", "since=2&until=1", 400, UNTIL, True),
        ("RejectedPositiveData", "since=1&until=2", 400, UNTIL, False),
        ("RejectedPositiveData", "sort=risk&cursor=x", 400, CURSOR, True),
        ("RejectedPositiveData", "sort=employee_id&cursor=x", 400, CURSOR, False),
        ("RejectedPositiveData", "since=2026-02-30T00:00:00Z", 400, b"", True),
        ("RejectedPositiveData", "since=2026-02-20T00:00:00Z", 400, b"", False),
        ("RejectedPositiveData", "cursor=x", 500, b"", False),
        ("AcceptedNegativeData", "cursor=x", 200, b"", False),
        ("ServerError", "cursor=x", 503, b"", False),
    ],
)  # fmt: skip
def test_only_what_the_contract_says_is_excused(
    failure: str, query: str, status: int, body: bytes, excused: bool
) -> None:
    """A cursor that was not given out, an until that is not later, a day of no calendar; nothing else."""
    response: Any = _Response(f"http://127.0.0.1/incidents?{query}", status, body)
    assert bool(excuse(failure, response)) is excused
