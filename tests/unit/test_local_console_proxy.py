"""`make console`: who may ask it, what it asks of a deployment, how it signs, and what it hands back."""

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError
from botocore.stub import Stubber

from incidents_client.auth import ApiKey, SigV4
from local.template import load_template, read_routes
from scripts import console
from scripts.console import Console, find_api
from scripts.environments import RefusedError
from tests.client.scripted_server import Reply, ScriptedServer, problem
from tests.client.test_auth import signature_of

ROUTES = read_routes(load_template())
KEY = "the-key-of-this-run"
JSON = {"Content-Type": "application/json"}
Make = Callable[..., "Asking"]


class Asking:
    """Asks the console as waitress would hand it a browser's requests."""

    def __init__(self, base_url: str, auth: Any) -> None:
        self._console = Console(base_url, auth, routes=ROUTES, place="prod", key=KEY, port=9010)

    def __call__(
        self, target: str, method: str = "GET", *, key: str = KEY, **more: str
    ) -> tuple[int, dict[str, str], bytes]:
        whole = f"/{key}{target}"
        environ = {
            "REQUEST_METHOD": method,
            "REQUEST_URI": whole,
            "QUERY_STRING": whole.partition("?")[2],
            "HTTP_HOST": "127.0.0.1:9010",
            "wsgi.input": io.BytesIO(),
            **more,
        }
        started: list[Any] = []
        body = b"".join(self._console(environ, lambda status, headers: started.append((status, headers))))
        ((status, headers),) = started
        assert len({name.lower() for name, _ in headers}) == len(headers)
        return int(status.split()[0]), {name.lower(): value for name, value in headers}, body


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A deployment's API."""
    with ScriptedServer(lambda asked: Reply(200, {"path": asked.path}, JSON)).running() as server:
        yield server


@pytest.fixture
def ask(server: ScriptedServer) -> Asking:
    """Asks a console whose requests carry an API key."""
    return Asking(f"{server.url}/prod", ApiKey("hush-1"))


def test_it_asks_the_api_for_the_page(ask: Asking, server: ScriptedServer) -> None:
    """A GET of a known route is sent on with its query, the credentials and nothing else of the browser's."""
    status, headers, body = ask(
        "/employees/4506/incidents?priority=high&since=2026-11-25T00%3A00%3A00Z&x=a%20b%2Bc",
        HTTP_ACCEPT="application/json",
        HTTP_IF_NONE_MATCH='W/"1"',
        HTTP_COOKIE="a=b",
        HTTP_AUTHORIZATION="Bearer of the browser",
        HTTP_USER_AGENT="browser",
    )
    assert (status, json.loads(body)) == (200, {"path": "/prod/employees/4506/incidents"})
    (asked,) = server.asked
    assert asked.query == [("priority", "high"), ("since", "2026-11-25T00:00:00Z"), ("x", "a b+c")]
    sent = {name.lower(): value for name, value in asked.headers.items()}
    assert sent["x-api-key"] == "hush-1"
    assert (sent["accept"], sent["if-none-match"]) == ("application/json", 'W/"1"')
    assert not {"cookie", "authorization"} & sent.keys()
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_it_signs_with_the_persons_credentials(server: ScriptedServer) -> None:
    """Each request carries the signature that AWS's description asks for, also for text that is easily
    encoded in two ways.
    """
    ask = Asking(f"{server.url}/prod", SigV4(Credentials("A", "s", "session"), "eu-west-1"))
    for target in (
        "/incidents",
        "/summary?days=30",
        "/incidents?cursor=a%2Bb%2Fc%3D&type=x%20y~&until=%C3%BC",
    ):
        assert ask(target)[0] == 200
        headers = {name.lower(): value for name, value in server.asked[-1].headers.items()}
        assert "Credential=A/" in headers["authorization"]
        assert "/eu-west-1/execute-api/aws4_request" in headers["authorization"]
        assert headers["x-amz-security-token"] == "session"
        assert headers["authorization"].endswith(f"Signature={signature_of(server.asked[-1], 's')}")


@pytest.mark.parametrize(
    "more",
    [
        {"HTTP_HOST": "evil.test:9010"},
        {"HTTP_HOST": "127.0.0.1.evil.test:9010"},
        {"HTTP_HOST": "127.0.0.1:9000"},
        {"HTTP_HOST": "127.0.0.1"},
        {"HTTP_HOST": ""},
        {"HTTP_SEC_FETCH_SITE": "cross-site"},
        {"HTTP_SEC_FETCH_SITE": "same-site"},
        {"key": "another"},
        {"key": ""},
        {"key": f"{KEY}x"},
        {"key": "schlüssel"},
    ],
)
def test_nobody_else_may_ask(ask: Asking, server: ScriptedServer, more: dict[str, str]) -> None:
    """Another name for this machine, another site, and whoever does not know the address get nothing: neither
    the page nor an incident; and the API is not asked.
    """
    for target in ("/", "/incidents", "/console/console.js"):
        status, headers, body = ask(target, **more)
        assert status in (403, 404, 421)
        assert b"incidents" not in body
        assert "access-control-allow-origin" not in headers
    assert server.asked == []


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("POST", "/incidents", 405),
        ("PUT", "/", 405),
        ("DELETE", "/employees/1/incidents", 405),
        ("OPTIONS", "/incidents", 405),
        ("TRACE", "/incidents", 405),
        ("GET", "/docs", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/employees/..%2f..%2fhealth/incidents", 404),
        ("GET", "/employees/../incidents", 404),
        ("GET", "/employees/%2e%2e/incidents", 404),
        ("GET", "/employees/a%3Fb/incidents", 404),
        ("GET", "//evil.test/incidents", 404),
        ("GET", "/http://evil.test/incidents", 404),
    ],
)
def test_it_asks_for_nothing_else(
    ask: Asking, server: ScriptedServer, method: str, target: str, status: int
) -> None:
    """Only GET and HEAD, and only the routes of the contract, reach the API."""
    assert ask(target, method)[0] == status
    assert server.asked == []


def test_head(ask: Asking, server: ScriptedServer) -> None:
    """HEAD answers without a body."""
    assert ask("/", "HEAD")[2] == b""
    assert ask("/nowhere", "HEAD")[2] == b""


def test_the_page(ask: Asking, server: ScriptedServer) -> None:
    """The page and its files come from here, and stay in no cache."""
    status, headers, body = ask("/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"<title>Security incidents</title>" in body
    assert headers["cache-control"] == "no-store"
    assert json.loads(ask("/console/place.json")[2]) == {"name": "prod"}
    assert server.asked == []


def test_what_is_handed_back(ask: Asking, server: ScriptedServer) -> None:
    """Problems, validators and ages are handed on; cookies and whatever else is not."""
    server.respond = lambda asked: problem(429, "throttled", retry_after=7)
    status, headers, body = ask("/incidents")
    assert (status, headers["retry-after"], json.loads(body)["code"]) == (429, "7", "throttled")
    more = {
        "ETag": 'W/"2"',
        "X-Data-Age-Seconds": "9",
        "Set-Cookie": "a=b",
        "X-Api-Key": "hush",
        "Server": "x",
    }
    server.respond = lambda asked: Reply(200, {}, JSON | more)
    _, headers, _ = ask("/incidents")
    assert (headers["etag"], headers["x-data-age-seconds"]) == ('W/"2"', "9")
    assert not {"set-cookie", "x-api-key", "server", "access-control-allow-origin"} & headers.keys()
    server.respond = lambda asked: Reply(304, "", {"ETag": 'W/"2"'})
    status, headers, body = ask("/incidents", HTTP_IF_NONE_MATCH='W/"2"')
    assert (status, headers["etag"], body) == (304, 'W/"2"', b"")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(302, "", {"Location": "http://127.0.0.1:1/elsewhere"}), "redirect"),
        (Reply(307, {}, JSON | {"Location": "/incidents"}), "redirect"),
        (Reply(200, "<script>alert(1)</script>", {"Content-Type": "text/html"}), "none of this API"),
        (Reply(200, "x", {"Content-Type": "application/jsonx"}), "none of this API"),
        (Reply(200, "x" * (console._MAX_BODY_BYTES + 1), JSON), "too large"),
        (Reply(reset=True), "can't be reached"),
        (Reply(200, {"a": "b" * 5000}, JSON, cut=True), "can't be reached"),
    ],
)
def test_a_strange_answer_goes_no_further(
    ask: Asking, server: ScriptedServer, reply: Reply, said: str
) -> None:
    """A redirect is not followed, another kind of content is not shown, and what fails is told in a few words
    that have neither the API's address nor the credentials.
    """
    server.respond = lambda asked: reply
    status, headers, body = ask("/incidents")
    assert (status, headers["content-type"]) == (502, "application/problem+json")
    assert said in json.loads(body)["title"]
    assert len(server.asked) == 1
    assert not re.search(rb"hush|127\.0\.0\.1|alert", body)


def test_credentials_that_have_ended(server: ScriptedServer) -> None:
    """A session that has ended is told, and no request is made without a signature."""

    class Ended:
        def get_frozen_credentials(self) -> None:
            raise BotoCoreError

    status, _, body = Asking(server.url, SigV4(Ended(), "eu-west-1"))("/incidents")
    assert status == 502
    assert json.loads(body)["title"].startswith("AWS credentials can't be ")
    assert server.asked == []


# ---------------------------------------------------------------- which deployment


def stack(*outputs: tuple[str, str]) -> dict[str, Any]:
    """CloudFormation's description."""
    return {
        "Stacks": [
            {
                "StackName": "security-incident-api-dev",
                "CreationTime": "2026-11-25T00:00:00Z",
                "StackStatus": "UPDATE_COMPLETE",
                "Outputs": [{"OutputKey": name, "OutputValue": value} for name, value in outputs],
            }
        ]
    }


@pytest.fixture
def cloudformation(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """The stacks of an account."""
    session = boto3.Session(region_name="eu-west-1")
    client = session.client("cloudformation")
    monkeypatch.setattr(session, "client", lambda name: client)
    monkeypatch.setattr("scripts.console.boto3.Session", lambda **_: session)
    monkeypatch.setattr("scripts.console.identify", lambda session: "1")
    with Stubber(client) as stubber:
        yield stubber


def test_the_stack_says_where_the_api_is(cloudformation: Stubber) -> None:
    """`ENV` is enough for a deployment of `make deploy`."""
    url = "https://abc.execute-api.eu-west-1.amazonaws.com/dev"
    cloudformation.add_response("describe_stacks", stack(("ApiUrl", url), ("Other", "x")))
    assert find_api({"ENV": "dev"}) == ("dev · eu-west-1", url, "eu-west-1")


def test_what_a_person_has_to_mend(cloudformation: Stubber) -> None:
    """No environment, no stack and a stack without an API are told in a sentence."""
    with pytest.raises(RefusedError, match="ENV is missing"):
        find_api({})
    with pytest.raises(RefusedError, match="ENV is live"):
        find_api({"ENV": "live"})
    cloudformation.add_client_error("describe_stacks", "ValidationError", "Stack does not exist")
    with pytest.raises(RefusedError, match="can't be asked where the API is"):
        find_api({"ENV": "dev"})
    cloudformation.add_response("describe_stacks", stack(("Other", "x")))
    with pytest.raises(RefusedError, match="make deploy ENV=dev"):
        find_api({"ENV": "dev"})


def test_an_address_instead(capsys: pytest.CaptureFixture[str]) -> None:
    """`URL` needs no stack; one that would send credentials in the clear is refused, and so is a bad port."""
    assert find_api({"URL": "https://incidents.example.com/v1"}) == (
        "incidents.example.com", "https://incidents.example.com/v1", None,
    )  # fmt: skip
    for environ, said in (
        ({"URL": "http://incidents.example.com", "INCIDENTS_API_KEY": "hush-2"}, "https"),
        ({"URL": "https://incidents.example.com", "PORT": "http"}, "PORT is 'http'"),
        ({"URL": "https://incidents.example.com", "PORT": "70000"}, "PORT"),
        ({}, "ENV is missing"),
    ):
        assert console.main(environ) == 2
        told = capsys.readouterr().err
        assert said in told
        assert "hush-2" not in told


def test_it_tells_the_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It listens on 127.0.0.1 alone; the address, another one each time, is printed and not opened: a
    browser's command line is seen by all users of the machine.
    """
    served: list[Any] = []

    def serve(app: Any, *, sockets: list[Any], **_: Any) -> None:
        assert [each.getsockname()[0] for each in sockets] == ["127.0.0.1"]
        served.append(app)
        for each in sockets:
            each.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(console.waitress, "serve", serve)
    monkeypatch.setattr("webbrowser.open", lambda *_: pytest.fail("a browser was opened"))
    keys = set()
    for _ in range(2):
        assert console.main({"URL": "http://127.0.0.1:9000", "PORT": "0"}) == 0
        found = re.search(r"http://127\.0\.0\.1:\d+/([\w-]{32})/$", capsys.readouterr().out, re.MULTILINE)
        assert found
        keys.add(found[1])
    assert len(keys) == len(served) == 2
