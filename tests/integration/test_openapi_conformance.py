"""What the real handlers answer is what openapi.yaml promises, for every status that it promises."""

import contextlib
import copy
import functools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from functions.api import composition, employees, routes, unattributed, walker
from functions.api.employees import EmployeesAnswers
from functions.api.handler import lambda_handler
from functions.api.unattributed import UnattributedAnswers
from functions.api.walker import Walker
from local.lambda_context import LambdaContext
from local.simulator import Simulator, SimulatorSettings, faults
from shared.domain.cursor import CURSOR_SECONDS, Cursor, sign_cursor
from shared.domain.filters import NO_FILTERS
from shared.domain.token import sign_token
from shared.store.signing_keys import read_signing_keys
from shared.store.table import Table
from tests.fuzz.conformance import TRANSPORT_HEADERS, Contract

CONTRACT = Contract()
PAGES = "/incidents"
EMPLOYEE = "/employees/{employee_id}/incidents"
WAITING = "/incidents/unattributed"
CHANGES = "/incidents/changes"
EMPLOYEES = "/employees"
SUMMARY = "/summary"
HEALTH = "/health"
DOCUMENT = "/openapi.json"
PATHS = (PAGES, EMPLOYEE, WAITING, CHANGES, EMPLOYEES, SUMMARY, HEALTH, DOCUMENT)
# Only the gateway in front of the service answers so.
GATEWAY_STATUSES = {"401", "403", "413", "429", "502", "504", "4XX", "5XX"}
# Shapes that are closed, and where they are served.
SHAPES = {
    "Page": PAGES,
    "Snapshot": PAGES,
    "EmployeeGroups": PAGES,
    "IncidentGroup": PAGES,
    "UnattributedPage": WAITING,
    "Changes": CHANGES,
    "DetectionFinding": CHANGES,
    "Problem": PAGES,
    "Employees": EMPLOYEES,
    "Summary": SUMMARY,
    "Scale": SUMMARY,
    "PriorityCounts": SUMMARY,
    "Health": HEALTH,
    "Source": HEALTH,
}
GATEWAY_CODES = {
    "missing_credentials",
    "invalid_signature",
    "expired_credentials",
    "invalid_api_key",
    "access_denied",
    "request_blocked",
    "unauthorized",
    "request_too_large",
    "throttled",
    "quota_exceeded",
    "bad_request",
    "bad_gateway",
    "gateway_timeout",
}


@dataclass(frozen=True)
class Taken:
    """An answer, and what it is the answer to. ``path`` is as the document writes it."""

    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: str
    ocsf: bool

    def faults(self, contract: Contract) -> list[str]:
        return contract.faults(self.method, self.path, self.status, self.headers, self.body, ocsf=self.ocsf)


@dataclass
class Asker:
    """Asks the reader's handler as API Gateway does, with GET and then with HEAD, and keeps every answer."""

    employee_id: str = "7"
    taken: list[Taken] = field(default_factory=list)

    def ask(self, path: str, *, accept: str = "", have: str = "", method: str = "GET", **query: Any) -> Taken:
        answer = self._once(method, path, accept, have, query)
        if method == "GET":
            head = self._once("HEAD", path, accept, have, query)
            assert head.status == answer.status
            assert head.headers.keys() == answer.headers.keys()
        return answer

    def everywhere(self, **more: Any) -> list[Taken]:
        return [self.ask(path, **more) for path in PATHS]

    def _once(self, method: str, path: str, accept: str, have: str, query: dict[str, Any]) -> Taken:
        headers = {name: text for name, text in (("Accept", accept), ("If-None-Match", have)) if text}
        values = {name: each if isinstance(each, list) else [str(each)] for name, each in query.items()}
        event = {
            "resource": path,
            "path": path.replace("{employee_id}", self.employee_id),
            "httpMethod": method,
            "headers": headers,
            "multiValueHeaders": {name: [text] for name, text in headers.items()},
            "queryStringParameters": {name: each[-1] for name, each in values.items()} or None,
            "multiValueQueryStringParameters": values or None,
            "pathParameters": None,
            "stageVariables": None,
            "requestContext": {"requestId": "a-request", "stage": "test", "httpMethod": method},
            "body": None,
            "isBase64Encoded": False,
        }
        context = LambdaContext(function_name="ApiFunction", memory_limit_in_mb=512, timeout_seconds=29)
        answer = lambda_handler(event, context)
        shown = {name: ", ".join(each) for name, each in answer["multiValueHeaders"].items()}
        # A path that the document does not have is held against the 404 of one that it has.
        told = path if path in PATHS else PAGES
        self.taken.append(
            Taken(method, told, answer["statusCode"], shown, answer["body"], query.get("schema") == "ocsf")
        )
        return self.taken[-1]


def code(taken: Taken) -> str:
    name: str = json.loads(taken.body)["code"]
    return name


@pytest.fixture
def taken(make_service: Callable[[Simulator], Any], monkeypatch: pytest.MonkeyPatch) -> list[Taken]:
    """Answers of every kind that the service has, from its first second to its last."""
    simulator = Simulator(
        SimulatorSettings(
            seed=5, records_per_type=12, identities=12, identity_lag_seconds=3e8, identity_lag_rate=0.5
        )
    )
    service = make_service(simulator)
    asker = Asker()
    ask = asker.ask

    assert [each.status for each in asker.everywhere()] == [503] * 7 + [200]

    simulator.faults.add("/incidents/denial/", faults.status(503), times=None)
    service.poll()
    assert json.loads(ask(HEALTH).body)["status"] == "warn"
    simulator.faults.clear()
    service.poll()
    first = ask(PAGES, limit=2)
    page = json.loads(first.body)
    assert page["has_more"]
    assert "Link" in first.headers
    asker.employee_id = next(iter(page["incidents"]))
    ask(PAGES, cursor=page["next_cursor"], limit=500)
    ask(PAGES, priority=["high,low", "critical"], type="denial", since="0", until="2100-01-01T00:00:00Z")
    assert json.loads(ask(PAGES, until="0.5").body)["incidents"] == {}
    ask(EMPLOYEE)
    # As if one of them were larger than an answer may be.
    everybody = json.loads(ask(PAGES, limit=500).body)["incidents"]
    largest = max(everybody, key=lambda each: sum(group["count"] for group in everybody[each].values()))
    asker.employee_id = largest
    with monkeypatch.context() as patch:
        patch.setattr(walker, "MAX_EMPLOYEE_BYTES", 100)
        part = ask(EMPLOYEE)
    assert json.loads(part.body)["has_more"]
    assert "Link" in part.headers
    ask(EMPLOYEE, cursor=json.loads(part.body)["next_cursor"])
    ask(HEALTH, accept="application/json")
    ask(DOCUMENT)
    for schema, forms in (("native", ("json", "x-ndjson", "csv")), ("ocsf", ("json", "x-ndjson"))):
        for form in forms:
            accept = "text/csv" if form == "csv" else f"application/{form}"
            ask(CHANGES, accept=accept, schema=schema, limit=1000)
            ask(CHANGES, accept=accept, schema=schema, limit=3)
    token = json.loads(ask(CHANGES, limit=1000).body)["next_token"]
    assert json.loads(ask(CHANGES, token=token).body)["data"] == []

    top = json.loads(ask(EMPLOYEES).body)
    assert top["employees"]
    by_id = ask(EMPLOYEES, sort="employee_id", limit=2)
    assert "Link" in by_id.headers
    rest = json.loads(ask(EMPLOYEES, cursor=json.loads(by_id.body)["next_cursor"], limit=500).body)
    assert len(rest["employees"]) == len(top["employees"]) - 2
    assert code(ask(EMPLOYEES, cursor=page["next_cursor"])) == "cursor_mismatch"
    assert code(ask(EMPLOYEES, sort="risk", cursor="any")) == "invalid_parameter"
    assert json.loads(ask(SUMMARY, days=400).body)["incidents"]
    assert code(ask(SUMMARY, days=0)) == "invalid_parameter"
    with uncounted(service):
        for path in (EMPLOYEES, SUMMARY):
            assert code(ask(path)) == "summaries_not_ready"

    for path in (PAGES, EMPLOYEE, WAITING, CHANGES, EMPLOYEES, SUMMARY):
        assert ask(path, have=ask(path).headers["ETag"]).status == 304
    assert {code(each) for each in asker.everywhere(limits="1")} == {"invalid_parameter"}
    waiting = ask(WAITING, limit=2)
    assert json.loads(waiting.body)["has_more"]
    assert "Link" in waiting.headers
    ask(WAITING, cursor=json.loads(waiting.body)["next_cursor"], limit=500)
    assert json.loads(ask(WAITING, until="0.5").body)["data"] == []
    for path in (PAGES, EMPLOYEE, WAITING, EMPLOYEES):
        assert code(ask(path, cursor="forged")) == "cursor_invalid"
        assert (
            code(ask(path, limit=0) if path != EMPLOYEE else ask(path, type="flood")) == "invalid_parameter"
        )
    assert code(ask(PAGES, cursor=page["next_cursor"], type="misuse")) == "cursor_mismatch"
    assert code(ask(EMPLOYEE, cursor=page["next_cursor"])) == "cursor_mismatch"
    assert code(ask(CHANGES, token=page["next_cursor"])) == "token_invalid"
    assert {each.status for each in asker.everywhere(accept="image/png")} == {406}
    assert ask(CHANGES, accept="text/csv", schema="ocsf").status == 406
    for method in routes._OTHER_METHODS:
        assert {each.status for each in asker.everywhere(method=method)} == {405}
    assert code(ask("/nowhere")) == "route_not_found"

    employee_id, asker.employee_id = asker.employee_id, "99999999999999999999"
    assert code(ask(EMPLOYEE)) == "employee_not_found"
    asker.employee_id = "nobody"
    assert code(ask(EMPLOYEE)) == "invalid_parameter"
    asker.employee_id = employee_id

    key = read_signing_keys(Table(service.table_name, client=_client(service))).newest
    assert key
    for path in (PAGES, EMPLOYEE, WAITING, EMPLOYEES):
        assert (
            code(ask(path, cursor=_old_cursor(path.replace("{employee_id}", employee_id), key)))
            == "cursor_expired"
        )
    assert code(ask(CHANGES, token=sign_token(10**6, 0, key))) == "token_expired"

    with monkeypatch.context() as patch:
        patch.setattr(composition, "Walker", functools.partial(Walker, search_seconds=0.0))
        service.forget_clients()
        assert code(ask(PAGES, limit=1, until="1")) == "search_unfinished"
        patch.setattr(Table, "query_page", functools.partialmethod(_one_at_a_time, Table.query_page))
        assert code(ask(EMPLOYEE)) == "search_unfinished"
        patch.setattr(employees, "EmployeesAnswers", functools.partial(EmployeesAnswers, search_seconds=0.0))
        service.forget_clients()
        assert code(ask(EMPLOYEES, sort="employee_id", limit=9)) == "search_unfinished"
        patch.setattr(
            unattributed, "UnattributedAnswers", functools.partial(UnattributedAnswers, search_seconds=0.0)
        )
        service.forget_clients()
        assert code(ask(WAITING, until="1")) == "search_unfinished"
    with monkeypatch.context() as patch:
        # Old data of a poller that should have come by four times since.
        patch.setenv("POLL_INTERVAL_SECONDS", "1")
        service.forget_clients()
        time.sleep(4.1)
        assert "X-Data-Age-Seconds" in ask(HEALTH).headers
        assert json.loads(ask(HEALTH).body)["status"] == "fail"
    with monkeypatch.context() as patch:
        patch.setenv("TABLE_NAME", "no-such-table")
        patch.setattr(routes, "_OPENAPI_PATH", routes._OPENAPI_PATH / "missing")
        service.forget_clients()
        assert {code(each) for each in asker.everywhere()} == {"internal_error"}
    return asker.taken


@contextlib.contextmanager
def uncounted(service: Any) -> Iterator[None]:
    """As long as it lasts nobody has counted what is there."""
    key = {"pk": {"S": "STATE"}, "sk": {"S": "STATE"}}
    state = _client(service).get_item(TableName=service.table_name, Key=key)["Item"]
    _client(service).put_item(
        TableName=service.table_name,
        Item={name: each for name, each in state.items() if name != "summaries"},
    )
    yield
    _client(service).put_item(TableName=service.table_name, Item=state)


def _one_at_a_time(table: Table, query_page: Callable[..., Any], *key: Any, **request: Any) -> Any:
    """As if the items were so large that a request could look at one of them."""
    return query_page(table, *key, **{**request, "limit": 1})


def _client(service: Any) -> Any:
    return boto3.client("dynamodb")


def _old_cursor(route: str, key: Any) -> str:
    return sign_cursor(
        Cursor(
            route=route,
            filters=NO_FILTERS,
            snapshot=1,
            committed_at="2026-11-23T06:00:00Z",
            complete=True,
            as_of=0,
            go_on_from="0",
            counts=None,
            limit=1,
            began_at=int(time.time()) - CURSOR_SECONDS - 60,
        ),
        key,
    )


def promised() -> set[tuple[str, str, int]]:
    """(method, path, status) of every answer that the service itself is to give."""
    return {
        (method, path, int(status))
        for method, path, operation in CONTRACT.operations()
        for status in operation["responses"]
        if status not in GATEWAY_STATUSES | {"405"} and (status != "404" or path in (PAGES, EMPLOYEE))
    }


def served_headers(taken: list[Taken]) -> set[tuple[str, int, str]]:
    return {
        (each.path, each.status, name.lower())
        for each in taken
        for name in each.headers
        if name.lower() not in TRANSPORT_HEADERS
    }


def promised_headers() -> set[tuple[str, int, str]]:
    return {
        (path, status, name.lower())
        for method, path, status in promised()
        for name in (CONTRACT.response(method, path, status) or {})["headers"]
    }


def test_answers_are_as_promised_and_promises_are_kept(taken: list[Taken]) -> None:
    """Every answer has a documented status, documented headers and a body of the documented shape; and every
    documented status, header, media type and problem code was seen in an answer.
    """
    assert [fault for each in taken for fault in each.faults(CONTRACT)] == []
    assert len(taken) > 140

    assert {
        (each.method, each.path, each.status) for each in taken if each.method in ("GET", "HEAD")
    } == promised()
    assert {each.path for each in taken if each.status == 405} == set(PATHS)
    others = {place for place in served_headers(taken) if place[1] == 405}
    assert served_headers(taken) - others == promised_headers()

    media_types = {(each.path, each.status, each.headers.get("Content-Type", "")) for each in taken}
    assert {place for place in media_types if place[2] and place[1] != 405} == {
        (path, status, media_type)
        for method, path, status in promised()
        for media_type in (CONTRACT.response(method, path, status) or {}).get("content", {})
    } - {(HEALTH, 503, "application/json")}

    codes = {
        json.loads(each.body)["code"] for each in taken if "problem" in each.headers.get("Content-Type", "")
    }
    told = CONTRACT.document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    assert codes == set(told) - GATEWAY_CODES

    incidents = [
        # Of a type none may have an employee at this hour.
        row
        for each in taken
        if each.path in (CHANGES, WAITING) and (each.method, each.status) == ("GET", 200)
        for row in _native_rows(each)
    ]
    assert {row["type"] for row in incidents} == set(
        CONTRACT.document["components"]["schemas"]["IncidentType"]["enum"]
    )


def _native_rows(taken: Taken) -> list[dict[str, Any]]:
    if taken.ocsf or taken.headers["Content-Type"] != "application/json":
        return []
    rows: list[dict[str, Any]] = json.loads(taken.body)["data"]
    return rows


def told_by(path: str, status: int, method: str) -> str:
    """The name of the response component that tells an answer."""
    item = CONTRACT.document["paths"][path]
    reference: str = item["get" if method not in ("GET", "HEAD") else method.lower()]["responses"][
        str(status)
    ]["$ref"]
    return reference.rpartition("/")[2]


def worse_contracts(taken: list[Taken]) -> Iterator[tuple[str, Contract, list[Taken]]]:
    """The document with one thing of a response, of a header or of a schema missing or wrong, in turn; and
    the answers that should tell.
    """

    def without(*way: str) -> Contract:
        document = copy.deepcopy(CONTRACT.document)
        inner: Any = document
        for name in way[:-1]:
            inner = inner[name]
        del inner[way[-1]]
        return Contract(document)

    for place in sorted(promised()):
        method, path, status = place
        if status != 404 or path == EMPLOYEE:
            near = [each for each in taken if (each.method, each.path, each.status) == place]
            yield (f"{place}", without("paths", path, method.lower(), "responses", str(status)), near)
    by_response: dict[str, list[Taken]] = {}
    for each in taken:
        by_response.setdefault(told_by(each.path, each.status, each.method), []).append(each)
    for name, near in by_response.items():
        response = CONTRACT.document["components"]["responses"][name]
        for header in response["headers"]:
            yield f"{name} {header}", without("components", "responses", name, "headers", header), near
        for media_type in response.get("content", {}):
            if (name, media_type) != ("Unhealthy", "application/json"):
                worse = without("components", "responses", name, "content", media_type)
                yield f"{name} {media_type}", worse, near
    for name, path in SHAPES.items():
        near = [each for each in taken if each.path == path]
        for field_name in CONTRACT.document["components"]["schemas"][name]["properties"]:
            worse = without("components", "schemas", name, "properties", field_name)
            yield f"{name}.{field_name}", worse, near
    for header in CONTRACT.document["components"]["headers"]:
        if not header.endswith("-Of-Gateway"):
            document = copy.deepcopy(CONTRACT.document)
            document["components"]["headers"][header]["schema"] = {"const": "something else"}
            yield f"header {header}", Contract(document), taken


def test_a_document_that_is_wrong_is_found_out(taken: list[Taken]) -> None:
    """Whatever is taken out of the document (a status, a header, a type, a field) is missed by an answer."""
    worse = list(worse_contracts(taken))
    assert len(worse) > 180
    unseen = [what for what, contract, near in worse if not any(each.faults(contract) for each in near)]
    assert unseen == []
