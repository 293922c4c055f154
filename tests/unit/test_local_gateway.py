"""API Gateway as the local run plays it: routes, events, answers."""

import base64
import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from local.gateway import Gateway, MalformedAnswerError, read_answer
from local.lambda_context import Function
from local.proxy_event import build_event, match_route
from local.template import Limits, Route

ROUTES = (
    Route("GET", "/incidents"),
    Route("HEAD", "/incidents"),
    Route("GET", "/employees/{employee_id}/incidents"),
    Route("GET", "/employees/all/incidents"),
    Route("ANY", "/health"),
)

# From the developer guide of API Gateway, "Input format of a Lambda function for proxy integration"; without
# `authorizer` and `clientCert`, which only appear where there are such.
DOCUMENTED = {
    "resource": "/incidents",
    "path": "/incidents",
    "httpMethod": "GET",
    "headers": {"header1": "value1"},
    "multiValueHeaders": {"header1": ["value1"]},
    "queryStringParameters": {"parameter1": "value1"},
    "multiValueQueryStringParameters": {"parameter1": ["value1"]},
    "requestContext": {
        "accountId": "123456789012",
        "apiId": "id",
        "domainName": "id.execute-api.us-east-1.amazonaws.com",
        "domainPrefix": "id",
        "extendedRequestId": "request-id",
        "httpMethod": "GET",
        "identity": {
            "accessKey": None,
            "accountId": None,
            "caller": None,
            "cognitoAuthenticationProvider": None,
            "cognitoAuthenticationType": None,
            "cognitoIdentityId": None,
            "cognitoIdentityPoolId": None,
            "principalOrgId": None,
            "sourceIp": "IP",
            "user": None,
            "userAgent": "user-agent",
            "userArn": None,
        },
        "path": "/incidents",
        "protocol": "HTTP/1.1",
        "requestId": "id=",
        "requestTime": "04/Mar/2020:19:15:17 +0000",
        "requestTimeEpoch": 1583349317135,
        "resourceId": "/incidents",
        "resourcePath": "/incidents",
        "stage": "$default",
    },
    "pathParameters": None,
    "stageVariables": None,
    "body": None,
    "isBase64Encoded": False,
}


def make_environ(target: str, method: str = "GET", **headers: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": method,
        "REQUEST_URI": target,
        "QUERY_STRING": target.partition("?")[2],
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_PORT": "9000",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "HTTP_HOST": "127.0.0.1:9000",
        "HTTP_USER_AGENT": "test",
        **headers,
    }


class Client:
    """Calls a gateway over WSGI; keeps the events that reached the handler."""

    def __init__(
        self, handle: Callable[[dict[str, Any]], Any], minimum_compression: int | None = 1024
    ) -> None:
        self.events: list[dict[str, Any]] = []
        self.remaining: list[int] = []

        def handler(event: dict[str, Any], context: Any) -> Any:
            self.events.append(event)
            self.remaining.append(context.get_remaining_time_in_millis())
            return handle(event)

        self._gateway = Gateway(Function("api", handler, Limits(28, 512)), ROUTES, minimum_compression)

    def ask(self, target: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        started: list[tuple[str, list[tuple[str, str]]]] = []
        body = b"".join(
            self._gateway(
                make_environ(target, method, **headers),
                lambda status, sent: started.append((status, sent)),
            )
        )
        ((status, sent),) = started
        return int(status.split()[0]), {name.lower(): value for name, value in sent}, body


def answer(body: Any = "{}", **more: Any) -> dict[str, Any]:
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": body, **more}


def shape(value: Any) -> Any:
    """An event's names, without those of headers and parameters."""
    free = ("headers", "multiValueHeaders", "queryStringParameters", "multiValueQueryStringParameters")
    if not isinstance(value, dict):
        return type(value).__name__
    return {name: "free" if name in free else shape(item) for name, item in value.items()}


def test_event_has_the_documented_shape() -> None:
    """A handler that works on a documented event works on these: same names, same types, nothing more."""
    match = match_route(ROUTES, "GET", "/incidents")
    assert match is not None
    event = build_event(make_environ("/incidents?parameter1=value1"), match, "id=")
    assert shape(event) == shape(DOCUMENTED)
    assert event["queryStringParameters"] == DOCUMENTED["queryStringParameters"]
    assert event["multiValueQueryStringParameters"] == DOCUMENTED["multiValueQueryStringParameters"]
    assert event["headers"]["Host"] == "127.0.0.1:9000"
    assert event["headers"]["X-Forwarded-For"] == "127.0.0.1"
    assert event["multiValueHeaders"]["User-Agent"] == ["test"]
    assert json.loads(json.dumps(event)) == event


def test_query_parameters() -> None:
    """The last of repeated values wins, all of them are listed, empty ones stay, escapes are decoded once."""
    client = Client(lambda event: answer())
    client.ask("/incidents?type=a&type=b&limit=&q=x+y%2526&priority=%FF")
    (event,) = client.events
    assert event["queryStringParameters"] == {"type": "b", "limit": "", "q": "x y%26", "priority": "\ufffd"}
    assert event["multiValueQueryStringParameters"]["type"] == ["a", "b"]


def test_absent_things_are_null() -> None:
    """Without query, path parameters or body there is null, as in API Gateway, and no empty object."""
    client = Client(lambda event: answer())
    client.ask("/incidents")
    (event,) = client.events
    for name in (
        "queryStringParameters",
        "multiValueQueryStringParameters",
        "pathParameters",
        "stageVariables",
        "body",
    ):
        assert event[name] is None


@pytest.mark.parametrize(
    ("method", "path", "route", "parameters"),
    [
        ("GET", "/incidents", "/incidents", {}),
        ("GET", "/incidents/", "/incidents", {}),
        ("GET", "/%69ncidents", "/incidents", {}),
        ("GET", "/employees/4506/incidents", "/employees/{employee_id}/incidents", {"employee_id": "4506"}),
        (
            "GET",
            "/employees/a%2Fb%20c/incidents",
            "/employees/{employee_id}/incidents",
            {"employee_id": "a/b c"},
        ),
        ("GET", "/employees/%252F/incidents", "/employees/{employee_id}/incidents", {"employee_id": "%2F"}),
        ("GET", "/employees/all/incidents", "/employees/all/incidents", {}),
        ("DELETE", "/health", "/health", {}),
    ],
)
def test_routes(method: str, path: str, route: str, parameters: dict[str, str]) -> None:
    """Paths reach the route that API Gateway would choose, their parameters decoded once."""
    match = match_route(ROUTES, method, path)
    assert match is not None
    assert match.route.path == route
    assert match.path_parameters == parameters


@pytest.mark.parametrize(("method", "chosen"), [("GET", "GET"), ("HEAD", "ANY"), ("POST", "ANY")])
def test_a_named_method_goes_before_any(method: str, chosen: str) -> None:
    """Where a path has both, whatever comes first in the template, `ANY` takes only what has no name."""
    routes = (Route("ANY", "/health"), Route("GET", "/health"))
    for order in (routes, routes[::-1]):
        match = match_route(order, method, "/health")
        assert match is not None
        assert match.route.method == chosen


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/incident"),
        ("GET", "//incidents"),
        ("GET", "/employees//incidents"),
        ("GET", "/employees/1/2/incidents"),
        ("GET", "/employees%2F1%2Fincidents"),
        ("POST", "/incidents"),
        ("HEAD", "/employees/1/incidents"),
    ],
)
def test_no_route(method: str, target: str) -> None:
    """What is no route gets a problem document and never reaches the handler."""
    client = Client(lambda event: answer())
    status, headers, body = client.ask(target, method)
    assert client.events == []
    assert status == 404
    assert headers["content-type"] == "application/problem+json"
    if method == "HEAD":
        assert body == b""
        return
    problem = json.loads(body)
    assert problem.keys() == {"type", "title", "status", "detail", "code", "request_id"}
    assert (problem["code"], problem["status"]) == ("route_not_found", 404)
    assert problem["request_id"] == headers["x-request-id"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9000", 200),
        ("localhost:9000", 200),
        ("[::1]:9000", 200),
        ("127.0.0.1", 200),
        ("evil.test:9000", 421),
        ("127.0.0.1.evil.test", 421),
        ("evil.test:127.0.0.1", 421),
        ("", 421),
    ],
)
def test_another_name_for_this_machine(host: str, status: int) -> None:
    """A name of others that leads to this machine would make their pages this server's: it answers to none,
    neither with data nor with a page.
    """
    client = Client(lambda event: answer())
    for target in ("/incidents", "/", "/docs"):
        assert client.ask(target, HTTP_HOST=host)[0] == status
    assert bool(client.events) == (status == 200)


def test_answer_goes_back_as_it_is() -> None:
    """Status, single and repeated headers and the body reach the client; the time left is the template's."""
    more = {"multiValueHeaders": {"Link": ["<a>", "<b>"]}, "statusCode": 203}
    client = Client(lambda event: answer('{"é": 1}', **more))
    status, headers, body = client.ask("/incidents")
    assert (status, body) == (203, '{"é": 1}'.encode())
    assert headers["content-type"] == "application/json"
    assert headers["link"] == "<b>"
    assert headers["content-length"] == "9"
    assert 27_000 < client.remaining[0] <= 28_000


def test_head_is_get_without_body() -> None:
    """HEAD reaches the handler as HEAD; its answer's headers come back, the length included, but no body."""
    client = Client(lambda event: answer("abc"))
    status, headers, body = client.ask("/incidents", "HEAD")
    assert client.events[0]["httpMethod"] == "HEAD"
    assert (status, headers["content-length"], body) == (200, "3", b"")


def test_not_modified_has_no_body() -> None:
    """A 304 carries neither body nor length, whatever the handler put in."""
    client = Client(lambda event: answer("abc", statusCode=304))
    status, headers, body = client.ask("/incidents")
    assert (status, body) == (304, b"")
    assert "content-length" not in headers


def test_body_of_a_request() -> None:
    """A body reaches the handler as text, but never one of a GET."""
    client = Client(lambda event: answer())
    sent = {"CONTENT_LENGTH": "2", "wsgi.input": io.BytesIO(b"{}")}
    match = match_route(ROUTES, "POST", "/health")
    assert match is not None
    assert build_event(make_environ("/health", "POST") | sent, match, "id")["body"] == "{}"
    client.ask("/incidents", CONTENT_LENGTH="2")
    assert client.events[0]["body"] is None


@pytest.mark.parametrize(
    ("accepted", "length", "compressed"),
    [
        ("gzip", 1024, True),
        ("br;q=1.0, gzip;q=0.8", 5000, True),
        ("*", 5000, True),
        ("gzip", 1023, False),
        ("gzip;q=0, identity", 5000, False),
        ("br", 5000, False),
        ("", 5000, False),
    ],
)
def test_gzip(accepted: str, length: int, compressed: bool) -> None:
    """From the template's minimum size on, and only for clients that accept it, answers are compressed."""
    client = Client(lambda event: answer("a" * length))
    _, headers, body = client.ask("/incidents", HTTP_ACCEPT_ENCODING=accepted)
    assert headers["content-length"] == str(len(body))
    assert ("content-encoding" in headers) is compressed
    assert (gzip.decompress(body) if compressed else body) == b"a" * length


def test_no_compression_without_a_minimum_size() -> None:
    """An API without MinimumCompressionSize sends everything as it is."""
    client = Client(lambda event: answer("a" * 5000), minimum_compression=None)
    assert client.ask("/incidents", HTTP_ACCEPT_ENCODING="gzip")[2] == b"a" * 5000


def test_base64_body() -> None:
    """A body marked as base64 is decoded."""
    client = Client(lambda event: answer(base64.b64encode(b"\x00\xff").decode(), isBase64Encoded=True))
    assert client.ask("/incidents")[2] == b"\x00\xff"


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "text",
        {},
        answer(statusCode="200"),
        answer(statusCode=True),
        answer(statusCode=99),
        answer(body={"a": 1}),
        answer(headers=["a"]),
        answer(headers={"a": {"b": 1}}),
        answer(headers={"a": "line\r\nSet-Cookie: x"}),
        answer(multiValueHeaders={"a": "b"}),
        answer(body="a" * (6 * 1024 * 1024 + 1)),
        answer(body="%%%", isBase64Encoded=True),
        answer(cookies=[]),
    ],
)
def test_wrong_answers(wrong: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """What API Gateway would refuse is refused here with 502, and the log says why."""
    with pytest.raises(MalformedAnswerError):
        read_answer(wrong, "id")
    status, headers, body = Client(lambda event: wrong).ask("/incidents")
    assert status == 502
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["code"] == "bad_gateway"
    assert "MalformedAnswerError" in capsys.readouterr().err


def test_an_exception_stays_inside(capsys: pytest.CaptureFixture[str]) -> None:
    """A handler that raises gives 502; its traceback is in the log and nothing of it in the answer."""

    def fail(event: dict[str, Any]) -> None:
        raise RuntimeError("table incidents-prod")

    status, _, body = Client(fail).ask("/incidents")
    assert status == 502
    assert b"incidents-prod" not in body
    assert b"Traceback" not in body
    assert "RuntimeError: table incidents-prod" in capsys.readouterr().err
