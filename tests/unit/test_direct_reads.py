"""A read past botocore's client brings the same; where anything goes wrong, the client is asked."""

import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, NoCredentialsError, ReadTimeoutError

from shared import aws
from shared.direct_reads import REST_SECONDS, DirectReads, _open_session
from shared.repeated_get import SIGNED_FOR_SECONDS, RepeatedGet
from tests.canned import CannedAnswer, CannedDynamoDB
from tests.fakes import Clock

NOW = 1_800_000_000.0
KEY = {"pk": {"S": "STATE"}, "sk": {"S": "STATE"}}
GET: dict[str, Any] = {"TableName": "incidents", "Key": KEY, "ConsistentRead": True}
QUERY: dict[str, Any] = {
    "TableName": "incidents",
    "KeyConditionExpression": "pk = :pk",
    "ExpressionAttributeValues": {":pk": {"S": 'Zo\u00eb "B"'}},
    "Limit": 3,
}


class Wire:
    """DynamoDB behind two connections: botocore's client's and the one past it. Says what went where."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock(NOW)
        self.value = 0
        self.direct: list[AWSPreparedRequest] = []
        self.opened = 0
        self.fault: Callable[[], CannedAnswer] | None = None
        self.credentials: Any = Credentials("AKIDEXAMPLE", "secret")
        self.dynamodb = CannedDynamoDB(lambda _: self.now())
        self.client = self.dynamodb.client()
        self.client.meta.events.unregister("before-send.dynamodb", self.dynamodb.respond)
        self.client.meta.events.register("before-send.dynamodb", self._respond)
        monkeypatch.setattr("shared.direct_reads.session", lambda: self)
        self.reads = DirectReads(self.client, monotonic=self.clock, open_session=self._open)  # type: ignore[arg-type]  # a stand-in
        self.get = RepeatedGet(self.reads, table_name="incidents", key=("STATE", "STATE"), clock=self.clock)

    def get_credentials(self) -> Any:
        return self.credentials

    def now(self) -> CannedAnswer:
        item = {"value": {"N": str(self.value)}}
        return CannedAnswer(json.dumps({"Item": item, "Items": [item]}).encode())

    def read(self, way: Callable[[], Any] | None = None) -> None:
        """A new value each time: nothing may be remembered of an earlier answer."""
        self.value += 1
        assert (way or self.get)() == {"value": {"N": str(self.value)}}

    def ways(self) -> list[Callable[[], Any]]:
        return [
            self.get,
            lambda: self.reads.get_item(**GET)["Item"],
            lambda: self.reads.query(**QUERY)["Items"][0],
        ]

    @property
    def by_client(self) -> int:
        return len(self.dynamodb.sent)

    def _respond(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        # botocore's client gives each of its requests an id.
        return self.dynamodb.respond(request) if "amz-sdk-invocation-id" in request.headers else None

    def _open(self, url: str) -> "Wire":
        assert url.startswith("https://dynamodb.eu-central-1.")
        self.opened += 1
        return self

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        self.direct.append(request)
        return (self.fault() if self.fault else self.now()).to(request)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    return Wire(monkeypatch)


def test_a_request_is_what_botocores_client_would_send(wire: Wire) -> None:
    """The same address, the same operation, the same JSON, signed as SigV4 says."""
    for operation, parameters in (("GetItem", GET), ("Query", QUERY)):
        direct = wire.reads.sign(operation, parameters)
        assert direct
        getattr(wire.client, {"GetItem": "get_item", "Query": "query"}[operation])(**parameters)
        theirs = wire.dynamodb.sent[-1]
        assert (direct.method, direct.url) == (theirs.method, theirs.url)
        assert json.loads(direct.body) == json.loads(theirs.body) == parameters
        same = ("X-Amz-Target", "Content-Type")
        assert [_text(direct.headers[name]) for name in same] == [
            _text(theirs.headers[name]) for name in same
        ]
        assert "/eu-central-1/dynamodb/aws4_request" in _text(direct.headers["Authorization"])
        assert _text(direct.headers["Authorization"]).endswith(f"Signature={_signature(direct)}")


def test_one_connection_and_no_client(wire: Wire) -> None:
    """From the first read on: a cold start makes one connection, not two."""
    for way in wire.ways() * 10:
        wire.read(way)
    assert (wire.by_client, wire.opened, len(wire.direct)) == (0, 1, 30)


def test_the_same_read_is_signed_once_a_minute(wire: Wire) -> None:
    """The first one's request is sent again, for a minute; the next minute begins with a new signature."""
    for _ in range(20):
        wire.read()
    assert all(request is wire.direct[0] for request in wire.direct)
    wire.clock.now += SIGNED_FOR_SECONDS
    for _ in range(20):
        wire.read()
    assert wire.direct[20] is not wire.direct[0]
    assert all(request is wire.direct[20] for request in wire.direct[20:])
    # A clock that is set back says nothing of the signature's age.
    wire.clock.now -= 10 * SIGNED_FOR_SECONDS
    wire.read()
    assert wire.direct[-1] is not wire.direct[20]


def test_each_signature_is_made_with_the_credentials_of_the_time(wire: Wire) -> None:
    """They are renewed while a container lives; a token goes with those that have one."""
    wire.credentials = Credentials("AKIDNEW", "secret", "a token")
    wire.reads.query(**QUERY)
    assert "Credential=AKIDNEW/" in _text(wire.direct[-1].headers["Authorization"])
    assert _text(wire.direct[-1].headers["X-Amz-Security-Token"]) == "a token"
    wire.credentials.access_key = "AKIDNEWER"
    wire.reads.query(**QUERY)
    assert "Credential=AKIDNEWER/" in _text(wire.direct[-1].headers["Authorization"])


def test_without_credentials_botocore_says_so(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes out unsigned."""

    def refuse(**_: Any) -> None:
        raise NoCredentialsError

    wire.credentials = None
    wire.client.meta.events.register("before-sign.dynamodb", refuse)
    for way in wire.ways():
        with pytest.raises(NoCredentialsError):
            way()
    assert not wire.direct


def time_out() -> CannedAnswer:
    raise ReadTimeoutError(endpoint_url="https://dynamodb")


def crash() -> CannedAnswer:
    raise RuntimeError("nobody thought of this")


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize(
    "fault",
    [
        lambda: CannedAnswer(b'{"__type":"x#ExpiredTokenException"}', 400),
        lambda: CannedAnswer(b'{"__type":"x#ProvisionedThroughputExceededException"}', 400),
        lambda: CannedAnswer(b"", 500),
        lambda: CannedAnswer(b'{"Item":{"value":{"N":"666"}}}', checksum=1),
        lambda: CannedAnswer(b'{"Item":'),
        lambda: CannedAnswer(b""),
        lambda: CannedAnswer(b"[]"),
    ],
)
def test_what_goes_wrong_past_the_client_is_nobodys_concern(
    wire: Wire, fault: Callable[[], CannedAnswer], number: int
) -> None:
    """An error, a cut-off or changed body: botocore's client makes the same read at once, with a signature of
    its own, and the next read is tried with another one.
    """
    way = wire.ways()[number]
    wire.read(way)
    wire.fault = fault
    wire.read(way)
    assert (wire.by_client, len(wire.direct)) == (1, 2)
    wire.fault = None
    wire.read(way)
    assert (wire.by_client, len(wire.direct)) == (1, 3)
    assert wire.direct[2] is not wire.direct[1]


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("fault", [time_out, crash])
def test_a_connection_that_fails_is_left_alone_for_a_while(
    wire: Wire, fault: Callable[[], CannedAnswer], number: int
) -> None:
    """A read that found no answer costs its time once: until half a minute later the client is asked."""
    way = wire.ways()[number]
    wire.fault = fault
    wire.read(way)
    wire.fault = None
    for _ in range(5):
        wire.read(way)
    assert (wire.by_client, len(wire.direct)) == (6, 1)
    wire.clock.now += REST_SECONDS
    wire.read(way)
    assert (wire.by_client, len(wire.direct)) == (6, 2)


def test_botocores_errors_come_through(wire: Wire) -> None:
    """If the client fails as well, that is told as ever, and nothing is kept of it."""
    wire.fault = lambda: CannedAnswer(b"", 400)
    wire.dynamodb.answer = lambda _: CannedAnswer(b'{"__type":"x#AccessDeniedException","message":"no"}', 400)
    for way in wire.ways():
        with pytest.raises(ClientError, match="AccessDenied"):
            way()


def test_no_item_is_none(wire: Wire) -> None:
    """An answer without an item is an answer: nobody is asked twice."""
    wire.fault = lambda: CannedAnswer(b"{}")
    assert [wire.get(), wire.reads.get_item(**GET), wire.reads.query(**QUERY)] == [None, {}, {}]
    assert wire.by_client == 0


def test_bytes_are_left_to_botocore(wire: Wire) -> None:
    """A value of bytes travels as base64 text: the client decodes it."""
    wire.fault = lambda: CannedAnswer(b'{"Item":{"digests":{"B":"AAEC"}}}')
    wire.dynamodb.answer = lambda _: CannedAnswer(b'{"Item":{"digests":{"B":"AAEC"}}}')
    assert wire.reads.get_item(**GET)["Item"] == {"digests": {"B": b"\x00\x01\x02"}}


def test_whoever_counts_calls_counts_these(wire: Wire) -> None:
    """The client's event provide-client-params tells of each read, however it is made."""
    calls: list[Any] = []
    wire.client.meta.events.register(
        "provide-client-params.dynamodb.*", lambda params, model, **_: calls.append((model.name, params))
    )
    for way in wire.ways() * 2:
        wire.read(way)
    assert calls == [("GetItem", GET), ("GetItem", GET), ("Query", QUERY)] * 2


def test_a_stand_in_of_botocores_answers_these_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler of before-send that answers (moto's, a test's) is asked instead of the network."""
    dynamodb = CannedDynamoDB(lambda _: CannedAnswer(b'{"Item":{"a":{"S":"b"}}}'))

    def refuse(_: str) -> Any:
        raise AssertionError("opened a connection")

    reads = DirectReads(dynamodb.client(), open_session=refuse)
    get = RepeatedGet(reads, table_name="incidents", key=("a", "b"))
    for _ in range(10):
        assert get() == reads.get_item(**GET)["Item"] == {"a": {"S": "b"}}
    assert len(dynamodb.sent) == 20


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"AWS_CA_BUNDLE": "one"},
        {"REQUESTS_CA_BUNDLE": "two"},
        {"AWS_CA_BUNDLE": "one", "REQUESTS_CA_BUNDLE": "two"},
        {"AWS_CONFIG_FILE": "config"},
        {"HTTPS_PROXY": "http://proxy.example:3128"},
        {"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": "amazonaws.com"},
    ],
)
def test_its_own_connection_trusts_whom_botocores_trusts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Whoever narrows down by environment or configuration which certificates are good, or names a proxy, has
    done so for both connections.
    """
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config").write_text(f"[default]\nca_bundle = {tmp_path / 'three'}\n", "utf-8")
    for name, value in environment.items():
        monkeypatch.setenv(name, value if "PROXY" in name else str(tmp_path / value))
    aws.session.cache_clear()
    client: Any = aws.make_dynamodb(read_timeout=1, attempts=1)
    theirs: Any = client._endpoint.http_session
    ours: Any = _open_session(client.meta.endpoint_url)
    aws.session.cache_clear()
    assert ours._verify == theirs._verify
    assert ours._proxy_config._proxies == theirs._proxy_config._proxies


def _signature(request: AWSPreparedRequest) -> str:
    """By "Create a signed AWS API request" of the IAM User Guide, step by step."""
    signed = ("content-type", "host", "x-amz-date", "x-amz-target")
    values = {name.lower(): _text(value) for name, value in request.headers.items()}
    values["host"] = "dynamodb.eu-central-1.amazonaws.com"
    lines = ["POST", "/", "", *(f"{name}:{values[name]}" for name in signed), "", ";".join(signed)]
    canonical = "\n".join([*lines, hashlib.sha256(request.body).hexdigest()])
    moment = values["x-amz-date"]
    scope = [moment[:8], "eu-central-1", "dynamodb", "aws4_request"]
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", moment, "/".join(scope), hashed])
    key = b"AWS4secret"
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
