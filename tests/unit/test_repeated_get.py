"""A request that is sent again brings what a new one would; where anything goes wrong, a new one is made."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError, ReadTimeoutError

from shared import aws
from shared.repeated_get import SIGNED_FOR_SECONDS, WORTH_A_CONNECTION, RepeatedGet, _open_session
from tests.canned import CannedAnswer, CannedDynamoDB
from tests.fakes import Clock

NOW = 1_800_000_000.0


class Wire:
    """DynamoDB behind two connections: botocore's own and that of repeated requests. Says what went where."""

    def __init__(self) -> None:
        self.clock = Clock(NOW)
        self.value = 0
        self.repeated: list[AWSPreparedRequest] = []
        self.opened = 0
        self.fault: Callable[[], CannedAnswer] | None = None
        self.dynamodb = CannedDynamoDB(lambda _: self.now())
        self.client = self.dynamodb.client()
        self.client.meta.events.unregister("before-send.dynamodb", self.dynamodb.respond)
        self.client.meta.events.register("before-send.dynamodb", self._respond)
        self.get = RepeatedGet(
            self.client,
            table_name="incidents",
            key=("STATE", "STATE"),
            clock=self.clock,
            open_session=self._open,  # type: ignore[arg-type]  # a stand-in for the client
        )

    def now(self) -> CannedAnswer:
        return CannedAnswer(json.dumps({"Item": {"value": {"N": str(self.value)}}}).encode())

    def read(self) -> int:
        """A new value each time: nothing may be remembered of an earlier answer."""
        self.value += 1
        item = self.get()
        assert item == {"value": {"N": str(self.value)}}
        return self.value

    def be_busy(self) -> None:
        for _ in range(WORTH_A_CONNECTION):
            self.read()
        assert not self.repeated

    @property
    def signed(self) -> int:
        return len(self.dynamodb.sent)

    def _respond(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        # botocore makes a request for each call; a repeated one is the same object again.
        if any(request is each for each in self.dynamodb.sent):
            return None
        return self.dynamodb.respond(request)

    def _open(self, url: str) -> "Wire":
        assert url.startswith("https://dynamodb.eu-central-1.")
        self.opened += 1
        return self

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        self.repeated.append(request)
        return (self.fault() if self.fault else self.now()).to(request)


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_a_quiet_reader_opens_no_second_connection(wire: Wire) -> None:
    """Few reads a minute, for however long, go botocore's way alone."""
    for _ in range(5 * WORTH_A_CONNECTION):
        wire.read()
        wire.clock.now += SIGNED_FOR_SECONDS / (WORTH_A_CONNECTION - 1)
    assert (wire.opened, wire.repeated) == (0, [])


def test_a_busy_reader_signs_once_a_minute(wire: Wire) -> None:
    """From the eleventh read on the first one's request is sent again, for a minute; the next minute begins
    with a new signature and goes on repeating at once.
    """
    wire.be_busy()
    for _ in range(20):
        wire.read()
    assert (wire.signed, len(wire.repeated), wire.opened) == (WORTH_A_CONNECTION, 20, 1)
    assert all(request is wire.dynamodb.sent[0] for request in wire.repeated)
    wire.clock.now += SIGNED_FOR_SECONDS
    for _ in range(20):
        wire.read()
    assert (wire.signed, len(wire.repeated), wire.opened) == (WORTH_A_CONNECTION + 1, 20 + 19, 1)
    assert wire.repeated[-1] is wire.dynamodb.sent[-1]
    # A clock that is set back says nothing of the signature's age.
    wire.clock.now -= 10 * SIGNED_FOR_SECONDS
    wire.read()
    assert wire.signed == WORTH_A_CONNECTION + 2


def time_out() -> CannedAnswer:
    raise ReadTimeoutError(endpoint_url="https://dynamodb")


def crash() -> CannedAnswer:
    raise RuntimeError("nobody thought of this")


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
        time_out,
        crash,
    ],
)
def test_what_goes_wrong_with_a_repeated_request_is_nobodys_concern(
    wire: Wire, fault: Callable[[], CannedAnswer]
) -> None:
    """An error, a cut-off or changed body, no answer: the same read is made anew by botocore at once, and it
    takes ten more good ones before a request is repeated again.
    """
    wire.be_busy()
    wire.read()
    wire.fault = fault
    wire.read()
    assert (wire.signed, len(wire.repeated)) == (WORTH_A_CONNECTION + 1, 2)
    for _ in range(WORTH_A_CONNECTION):
        wire.read()
    assert len(wire.repeated) == 2
    wire.fault = None
    wire.read()
    assert len(wire.repeated) == 3
    assert wire.repeated[-1] is not wire.repeated[0]


def test_botocores_errors_come_through(wire: Wire) -> None:
    """If the new request fails as well, that is told as ever, and nothing is kept of it."""
    wire.be_busy()
    wire.fault = lambda: CannedAnswer(b"", 400)
    wire.dynamodb.answer = lambda _: CannedAnswer(b'{"__type":"x#AccessDeniedException","message":"no"}', 400)
    with pytest.raises(ClientError, match="AccessDenied"):
        wire.get()


def test_no_item_is_none(wire: Wire) -> None:
    """A table without the item gives None on both ways."""
    wire.dynamodb.answer = lambda _: CannedAnswer(b"{}")
    wire.fault = lambda: CannedAnswer(b"{}")
    assert [wire.get() for _ in range(2 * WORTH_A_CONNECTION)] == [None] * (2 * WORTH_A_CONNECTION)
    assert wire.repeated


def test_only_its_own_requests_are_repeated(wire: Wire) -> None:
    """Another read through the same client, in between or before, is never taken for this one."""
    other = {"TableName": "incidents", "Key": {"pk": {"S": "CURSOR_KEYS"}, "sk": {"S": "CURSOR_KEYS"}}}
    wire.client.get_item(**other)
    wire.be_busy()
    wire.client.get_item(**other)
    wire.read()
    (repeated,) = wire.repeated
    assert json.loads(repeated.body)["Key"] == {"pk": {"S": "STATE"}, "sk": {"S": "STATE"}}
    assert json.loads(repeated.body)["ConsistentRead"] is True


def test_whoever_counts_calls_counts_repeated_ones(wire: Wire) -> None:
    """The client's event provide-client-params tells of each read, however it is made."""
    calls: list[Any] = []
    wire.client.meta.events.register(
        "provide-client-params.dynamodb.*",
        lambda params, model, **_: calls.append((model.name, params["Key"])),
    )
    for _ in range(2 * WORTH_A_CONNECTION):
        wire.read()
    assert wire.repeated
    assert calls == [("GetItem", {"pk": {"S": "STATE"}, "sk": {"S": "STATE"}})] * (2 * WORTH_A_CONNECTION)


def test_a_stand_in_of_botocores_answers_repeated_requests_too() -> None:
    """A handler of before-send that answers (moto's, a test's) is asked instead of the network."""
    dynamodb = CannedDynamoDB(lambda _: CannedAnswer(b'{"Item":{"a":{"S":"b"}}}'))

    def refuse(_: str) -> Any:
        raise AssertionError("opened a connection")

    get = RepeatedGet(dynamodb.client(), table_name="incidents", key=("a", "b"), open_session=refuse)
    for _ in range(3 * WORTH_A_CONNECTION):
        assert get() == {"a": {"S": "b"}}
    assert len(dynamodb.sent) == 3 * WORTH_A_CONNECTION
    assert len({id(request) for request in dynamodb.sent}) == WORTH_A_CONNECTION


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
