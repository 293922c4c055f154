"""The upstream's credentials: read rarely, again when they were refused, and never quoted."""

import json
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from functions.poller.credentials import Credentials, CredentialsError, CredentialsSource
from functions.poller.upstream import Upstream, UpstreamError
from local.simulator import Simulator, SimulatorSettings, serve

NAME = "upstream-credentials"
OLD = Credentials("alte-benutzerin", "altes-geheimnis")
NEW = Credentials("neue-benutzerin", "neues-geheimnis-密")


# One for all tests: to make it is most of what making a client takes.
SESSION = boto3.Session(
    aws_access_key_id="testing", aws_secret_access_key="testing", region_name="eu-central-1"
)


def make_client() -> Any:
    return SESSION.client("secretsmanager")


class Secret:
    """A secret in moto's Secrets Manager, and how often it was read."""

    def __init__(self) -> None:
        self.client = make_client()
        self.reads = 0
        self.client.meta.events.register("before-call.secretsmanager.GetSecretValue", self._count)
        self.source = CredentialsSource(NAME, client=self.client)

    def _count(self, **_: object) -> None:
        self.reads += 1

    def create(self, value: str | bytes) -> None:
        self.client.create_secret(
            Name=NAME, **{"SecretString" if isinstance(value, str) else "SecretBinary": value}
        )

    def put(self, credentials: Credentials) -> None:
        self.client.put_secret_value(SecretId=NAME, SecretString=as_json(credentials))


def as_json(credentials: Credentials) -> str:
    return json.dumps(credentials._asdict())


@pytest.fixture
def secret() -> Iterator[Secret]:
    with mock_aws():
        yield Secret()


@pytest.fixture
def filled(secret: Secret) -> Secret:
    secret.create(as_json(OLD))
    return secret


def failure(act: Callable[[], object]) -> CredentialsError:
    with pytest.raises(CredentialsError) as caught:
        act()
    return caught.value


def assert_quotes_nothing(error: BaseException, *secrets: str) -> None:
    everything = "\n".join([str(error), repr(error), *traceback.format_exception(error)])
    for secret in (*OLD, *NEW, *secrets):
        assert secret not in everything


def test_credentials_are_those_of_the_secret(filled: Secret) -> None:
    """User name and password are what the secret holds; other members of it don't matter."""
    assert filled.source.current() == OLD
    filled.client.put_secret_value(
        SecretId=NAME, SecretString=json.dumps({"engine": "x", **NEW._asdict(), "port": 1})
    )
    assert CredentialsSource(NAME, client=filled.client).current() == NEW


def test_nothing_is_read_before_it_is_needed(filled: Secret) -> None:
    """Making a source reads nothing: a cold start that never polls needs no secret."""
    assert filled.reads == 0
    filled.source.current()
    assert filled.reads == 1


def test_one_read_serves_eight_threads(filled: Secret) -> None:
    """Eight threads that start together read the secret once."""
    barrier = threading.Barrier(8)
    seen: list[Credentials] = []

    def look() -> None:
        barrier.wait(5)
        seen.append(filled.source.current())

    def slow(**_: object) -> None:
        time.sleep(0.1)

    filled.client.meta.events.register("before-call.secretsmanager.GetSecretValue", slow)
    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == [OLD] * 8
    assert filled.reads == 1


def test_credentials_are_kept_for_five_minutes(filled: Secret) -> None:
    """Within five minutes the secret is not read again; after them it is, and the new value counts."""
    seconds = 1_000.0
    source = CredentialsSource(NAME, client=filled.client, monotonic=lambda: seconds)
    source.current()
    filled.put(NEW)
    seconds += 299
    assert source.current() == OLD
    assert filled.reads == 1
    seconds += 2
    assert source.current() == NEW
    assert filled.reads == 2


def test_refused_credentials_are_read_again(filled: Secret) -> None:
    """After a refusal the rotated secret is read at once, and stays in use without another read."""
    assert filled.source.current() == OLD
    filled.put(NEW)
    assert filled.source.after_refusal(OLD) == NEW
    assert filled.source.current() == NEW
    assert filled.reads == 2


def test_refusals_of_eight_threads_cost_one_read(filled: Secret) -> None:
    """When the secret was rotated, the first thread that is refused reads it for the others."""
    filled.source.current()
    filled.put(NEW)
    assert [filled.source.after_refusal(OLD) for _ in range(8)] == [NEW] * 8
    assert filled.reads == 2


def test_refused_credentials_that_stay_are_not_given_again(filled: Secret) -> None:
    """When the secret holds what was refused, there is nothing to try again with: one read says so."""
    assert filled.source.current() == OLD
    assert filled.source.after_refusal(OLD) is None
    assert filled.reads == 2


@pytest.mark.loopback
def test_poll_goes_on_after_a_rotation(filled: Secret) -> None:
    """A secret rotated between two polls costs one refused request, and no source."""
    simulator = Simulator(SimulatorSettings(records_per_type=3, username=NEW.username, password=NEW.password))
    filled.source.current()
    filled.put(NEW)
    # moto answers only what botocore sends: the simulator is reached over a true socket.
    with mock_aws_passing_through(), serve(simulator) as base_url:
        upstream = Upstream(base_url, credentials=filled.source)
        for source in ("denial", "other"):
            answer = upstream.fetch(source, deadline=time.monotonic() + 10)
            assert answer.attempts == 1
            assert len(answer.value["results"]) == 3
    assert [request.status for request in simulator.requests] == [401, 200, 200]
    assert filled.reads == 2


@pytest.mark.loopback
def test_wrong_secret_is_read_once_more_and_not_again_and_again(filled: Secret) -> None:
    """A secret that is simply wrong costs one refused request and one more read, then it is said."""
    simulator = Simulator(SimulatorSettings(records_per_type=3))
    with mock_aws_passing_through(), serve(simulator) as base_url:
        upstream = Upstream(base_url, credentials=filled.source)
        with pytest.raises(UpstreamError) as caught:
            upstream.fetch("denial", deadline=time.monotonic() + 10)
    assert (caught.value.error_class, caught.value.status) == ("unauthorized", 401)
    assert_quotes_nothing(caught.value)
    assert [request.status for request in simulator.requests] == [401]
    assert filled.reads == 2


def mock_aws_passing_through() -> Any:
    return mock_aws(config={"core": {"passthrough": {"urls": [r"http://127\.0\.0\.1.*"]}}})


UNUSABLE = {
    "not JSON": ("geheim:geheimer", "not JSON"),
    "empty": (" ", "not JSON"),
    "JSON that breaks off": ('{"username": "geheim', "not JSON"),
    "array": ('["geheim", "geheimer"]', "not a JSON object"),
    "string": ('"geheim"', "not a JSON object"),
    "number": ("4711", "not a JSON object"),
    "null": ("null", "not a JSON object"),
    "empty object": ("{}", "not filled"),
    "no password": ('{"username": "geheim"}', "not filled"),
    "no username": ('{"password": "geheim"}', "not filled"),
    "empty username": ('{"username": "", "password": "geheim"}', "not filled"),
    "empty password": ('{"username": "geheim", "password": ""}', "not filled"),
    "null password": ('{"username": "geheim", "password": null}', "not filled"),
    "number as password": ('{"username": "geheim", "password": 4711}', "not filled"),
    "other names": ('{"user": "geheim", "pass": "geheimer"}', "not filled"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_secret_is_said_to_be_so(secret: Secret, name: str) -> None:
    """A secret without credentials is named as the fault, with what it needs, and nothing of it is quoted."""
    value, reason = UNUSABLE[name]
    secret.create(value)
    error = failure(secret.source.current)
    assert "the upstream's secret" in str(error)
    assert reason in str(error)
    assert "username and password" in str(error)
    assert_quotes_nothing(error, "geheim", "4711")


def test_secret_that_is_mended_is_used_at_once(secret: Secret) -> None:
    """A faulty secret is not kept: the next look finds what was filled in meanwhile."""
    secret.create("{}")
    failure(secret.source.current)
    secret.put(NEW)
    assert secret.source.current() == NEW


def test_secret_that_breaks_after_a_refusal_is_said_to_be_so(filled: Secret) -> None:
    """A rotation gone wrong is a failure of the secret, not of the upstream."""
    filled.source.current()
    filled.client.put_secret_value(SecretId=NAME, SecretString="geheim")
    error = failure(lambda: filled.source.after_refusal(OLD))
    assert "not JSON" in str(error)
    assert_quotes_nothing(error, "geheim")


def test_binary_secret_is_as_good(secret: Secret) -> None:
    """A secret stored as bytes is read like one stored as text."""
    secret.create(as_json(NEW).encode())
    assert secret.source.current() == NEW


def test_missing_secret_is_said_to_be_missing(secret: Secret) -> None:
    """A secret that does not exist is an error that says what it needs."""
    error = failure(secret.source.current)
    assert secret.reads == 1
    assert "not filled (or does not exist)" in str(error)
    assert NAME not in str(error)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("AccessDeniedException", 400),
        ("ResourceNotFoundException", 400),
        ("DecryptionFailure", 400),
        ("InvalidRequestException", 400),
        ("UnrecognizedClientException", 400),
    ],
)
def test_secret_that_may_not_be_read_is_said_to_be_so(code: str, status: int) -> None:
    """AWS's refusal becomes an error that says what to look at; ARNs, roles and key ids stay out of it."""
    client = make_client()
    message = "User: arn:aws:sts::123456789012:assumed-role/poller is not authorized to read geheim"
    with Stubber(client) as stubber:
        stubber.add_client_error("get_secret_value", code, message, status)
        error = failure(CredentialsSource(NAME, client=client).current)
        stubber.assert_no_pending_responses()
    empty = code == "ResourceNotFoundException"
    told = (
        ("not filled", "FillUpstreamSecretCommand")
        if empty
        else ("can't be read", "role must allow it", "key")
    )
    for part in ("the upstream's secret", *told):
        assert part in str(error)
    assert_quotes_nothing(error, "geheim", "arn:aws", "123456789012")


def test_credentials_are_not_shown() -> None:
    """Credentials that get into a log line by accident show nothing."""
    shown = [repr(OLD), str(OLD), f"{OLD}", f"{[OLD]}", f"{ {'a': OLD} }"]
    assert shown[0]
    for text in shown:
        assert OLD.username not in text
        assert OLD.password not in text


@pytest.mark.parametrize(
    "credentials", [Credentials("geheim", "\ud800"), Credentials("user:geheim", "geheim")]
)
def test_credentials_that_can_not_be_sent_are_refused(secret: Secret, credentials: Credentials) -> None:
    """What Basic auth can't carry, half a character or a user name with a colon, is a fault of the secret."""
    secret.create(as_json(credentials))
    assert_quotes_nothing(failure(secret.source.current), "geheim")
