"""Who asks is shown to the deployment alone: signed as AWS reads it, and never told anybody else."""

import hashlib
import hmac
import logging
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import botocore.auth
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import SSOTokenLoadError
from hypothesis import given
from hypothesis import strategies as st
from requests import PreparedRequest, Request, Session

from incidents_client import (
    ApiKey,
    Bearer,
    Client,
    CredentialsError,
    ProblemError,
    SettingsError,
    SigV4,
)
from incidents_client.auth import read_region
from incidents_client.settings import Options, choose_auth, find_deployment
from incidents_client.transport import Transport
from tests.client.rows import employee, incident, page
from tests.client.scripted_server import Asked, Reply

ACCESS_KEY = "AKIDEXAMPLE"
# Of AWS's published test suite for Signature Version 4.
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
GOOD = Reply(200, page({"7": employee(incident(1))}))
OF_AWS = "https://a1b2.execute-api.eu-central-1.amazonaws.com/prod"
OWN_DOMAIN = "https://incidents.example.com"


def signature_of(asked: Asked, secret: str, *, service: str = "execute-api") -> str:
    """The signature that a request must have, worked out from AWS's description alone: the query is decoded
    and encoded again, as a gateway does that has read it.
    """
    authorization = asked.headers["authorization"]
    scope, signed_headers = re.search(r"Credential=[^/]+/(\S+), SignedHeaders=(\S+),", authorization).groups()
    date, region, of, end = scope.split("/")
    assert (of, end) == (service, "aws4_request")
    parts = urlsplit(asked.target)
    pairs = [pair.partition("=") for pair in parts.query.split("&") if pair]
    decoded = [
        (unquote(name.replace("+", " ")), unquote(value.replace("+", " "))) for name, _, value in pairs
    ]
    encoded = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in decoded)
    names = signed_headers.split(";")
    canonical = "\n".join(
        [
            "GET",
            quote(parts.path or "/", safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in encoded),
            *(f"{name}:{asked.headers[name].strip()}" for name in names),
            "",
            signed_headers,
            hashlib.sha256(b"").hexdigest(),
        ]
    )
    moment = asked.headers["x-amz-date"]
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (date, region, of, end):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


@pytest.mark.parametrize(
    ("query", "signature"),
    [
        ("", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    ],
    ids=["get-vanilla", "get-vanilla-query-order-key-case"],
)
def test_aws_published_vectors(monkeypatch: pytest.MonkeyPatch, query: str, signature: str) -> None:
    """What AWS publishes as right is what goes out, and what this file's own arithmetic says."""
    moment = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: moment)
    auth = SigV4(Credentials(ACCESS_KEY, SECRET_KEY), "us-east-1", "service")
    request = Request("GET", f"https://example.amazonaws.com/{query}", auth=auth).prepare()
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert headers["authorization"] == (
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={signature}"
    )
    asked = Asked(f"/{query}", headers | {"host": "example.amazonaws.com"})
    assert signature_of(asked, SECRET_KEY, service="service") == signature


NAMES = st.sampled_from(["priority", "since", "cursor", "a b", "ä"])


@given(st.lists(st.tuples(NAMES, st.text(max_size=12)), max_size=5))
def test_any_query_is_signed_as_it_is_read(query: list[tuple[str, str]]) -> None:
    """Repeated parameters, blanks, plus and percent signs, any character: whoever decodes the request has
    the query that was meant, and works out the same signature.
    """
    sent: list[PreparedRequest] = []

    def keep(request: PreparedRequest, **_: Any) -> None:
        sent.append(request)
        raise ConnectionResetError

    auth = SigV4(Credentials("A", "s", "session"), "eu-west-1")
    transport = Transport("http://127.0.0.1:9000/st", auth, patience=0, on_wait=lambda *_: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport._session, "send", keep)
        with pytest.raises(ConnectionResetError):
            transport.get("/incidents", query)
    (request,) = sent
    assert request.url
    headers = {name.lower(): str(value) for name, value in request.headers.items()}
    target = request.url.removeprefix("http://127.0.0.1:9000")
    asked = Asked(target, headers | {"host": "127.0.0.1:9000"})
    assert asked.query == query
    assert headers["authorization"].endswith(f"Signature={signature_of(asked, 's')}")
    assert "x-amz-security-token" in headers["authorization"]


def test_each_attempt_is_signed_anew_over_the_wire(serve: Any, make_client: Any) -> None:
    """What arrives verifies, on every request, with the credentials of that moment."""
    keys = iter(["one", "two", "two"])

    class Renewed:
        def get_frozen_credentials(self) -> Any:
            return Credentials("A", next(keys)).get_frozen_credentials()

    replies = iter([Reply(503, {}), Reply(200, page({"1": employee()}, "c+/=&")), GOOD])
    server = serve(lambda asked: next(replies))
    client = make_client(server, auth=SigV4(Renewed(), "eu-west-1"))
    assert [each.id for each in client.employees(priorities=["low", "high"], since="2026-11-23")] == [
        "1",
        "7",
    ]
    for asked, key in zip(server.asked, ["one", "two", "two"], strict=True):
        assert asked.headers["authorization"].endswith(f"Signature={signature_of(asked, key)}")


def test_keys_and_tokens_travel_in_their_headers(serve: Any, make_client: Any) -> None:
    """And nothing else does; none sends nothing."""
    server = serve(lambda asked: GOOD)
    for auth in (ApiKey("k-1"), Bearer("t-1"), None):
        list(make_client(server, auth=auth).employees())
    key, bearer, none = (asked.headers for asked in server.asked)
    assert (key["x-api-key"], key.get("authorization")) == ("k-1", None)
    assert (bearer["authorization"], bearer.get("x-api-key")) == ("Bearer t-1", None)
    assert not {"authorization", "x-api-key"} & none.keys()


def test_nothing_of_netrc_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """`requests` by itself would take from it what somebody keeps there for the host."""
    Path("~/.netrc").expanduser().write_text("machine incidents.example.com login me password hush\n")
    sent: list[PreparedRequest] = []

    def keep(self: Session, request: PreparedRequest, **_: Any) -> None:
        sent.append(request)
        raise ConnectionResetError

    monkeypatch.setattr(Session, "send", keep)
    for auth in (None, ApiKey("k-1")):
        with pytest.raises(ConnectionResetError):
            Client(OWN_DOMAIN, auth).health()
    assert len(sent) == 2
    assert not any("Authorization" in request.headers for request in sent)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_by_nothing(serve: Any, make_client: Any, status: int) -> None:
    """Not with credentials and not without; the message names the host alone."""
    other = serve(lambda asked: GOOD)
    moved = Reply(status, "", {"Location": f"{other.url}/x?secret=1"})
    client = make_client(serve(lambda asked: moved), auth=ApiKey("k-1"))
    with pytest.raises(ProblemError, match=r"redirected to 127\.0\.0\.1:\d+, which is not followed"):
        list(client.employees())
    assert other.asked == []


@pytest.mark.parametrize("auth", [ApiKey("k-1"), Bearer("t-1"), SigV4(Credentials("A", "s"), "eu-west-1")])
def test_credentials_never_travel_in_the_clear(auth: Any) -> None:
    """Over http only to this machine."""
    with pytest.raises(SettingsError, match="over https alone"):
        Client("http://incidents.example.com", auth)
    Client("http://127.0.0.1:9000", auth)
    Client("http://incidents.example.com")


def test_no_secret_is_told(serve: Any, make_client: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Not in an error, a representation, nor a log line of any library, refused or not."""
    caplog.set_level(logging.DEBUG)
    server = serve(lambda asked: Reply(403, {"message": "Forbidden"}))
    for auth in (
        ApiKey("hush-1"),
        Bearer("hush-2"),
        SigV4(Credentials("A", "hush-3", "hush-4"), "eu-west-1"),
    ):
        client = make_client(server, auth=auth)
        with pytest.raises(ProblemError) as caught:
            list(client.employees())
        assert "hush" not in f"{caught.value}{caught.value!r}{auth!r}{client!r}"
    with pytest.raises(SettingsError) as refused:
        ApiKey("hush\r\nX: y")
    assert "hush" not in str(refused.value)
    told = [record.getMessage() for record in caplog.records]
    assert any("GET /incidents" in each for each in told)
    assert not any("hush-1" in each or "hush-2" in each or "hush-3" in each for each in told)


# ---------------------------------------------------------------- which kind


@pytest.mark.parametrize(
    ("options", "environ", "url", "kind"),
    [
        ({}, {}, "http://127.0.0.1:9000", "none"),
        ({}, {}, "http://localhost:9000", "none"),
        ({}, {"AWS_PROFILE": "p"}, "http://[::1]:9000", "none"),
        ({}, {}, OF_AWS, "aws"),
        ({}, {}, OWN_DOMAIN, "none"),
        ({}, {"AWS_PROFILE": "p"}, OWN_DOMAIN, "aws"),
        ({}, {"AWS_ACCESS_KEY_ID": "A"}, OWN_DOMAIN, "aws"),
        ({"profile": "p"}, {"INCIDENTS_TOKEN": "t"}, "http://127.0.0.1:9000", "aws"),
        ({}, {"INCIDENTS_API_KEY": "k", "AWS_PROFILE": "p"}, OF_AWS, "api-key"),
        ({}, {"INCIDENTS_TOKEN": "t"}, OF_AWS, "bearer"),
        ({"api_key_file": "f"}, {"INCIDENTS_TOKEN": "t"}, OF_AWS, "api-key"),
        ({"bearer_file": "f"}, {}, OWN_DOMAIN, "bearer"),
        ({"auth": "none"}, {"INCIDENTS_API_KEY": "k"}, OF_AWS, "none"),
        ({}, {"INCIDENTS_AUTH": "aws", "INCIDENTS_API_KEY": "k"}, OWN_DOMAIN, "aws"),
    ],
)
def test_the_kind_of_auth_is_what_one_would_think(
    options: dict[str, str], environ: dict[str, str], url: str, kind: str
) -> None:
    """A name, else options, else variables, else the host."""
    assert choose_auth(Options(**options), environ, url) == kind


@pytest.mark.parametrize(
    ("options", "environ"),
    [
        ({"profile": "p", "bearer_file": "f"}, {}),
        ({}, {"INCIDENTS_API_KEY": "k", "INCIDENTS_TOKEN": "t"}),
    ],
)
def test_two_kinds_at_once_are_a_question(options: dict[str, str], environ: dict[str, str]) -> None:
    """Whoever gives two has to say which."""
    with pytest.raises(SettingsError, match="say which to use by --auth"):
        choose_auth(Options(**options), environ, OF_AWS)


@pytest.mark.parametrize(
    ("url", "region"),
    [
        (OF_AWS, "eu-central-1"),
        ("https://a-vpce-1.execute-api.us-gov-west-1.amazonaws.com/x", "us-gov-west-1"),
        ("https://a.execute-api.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("https://a.execute-api.eu-west-1.amazonaws.com.evil.example", None),
        ("https://evil.example/a.execute-api.eu-west-1.amazonaws.com", None),
        (OWN_DOMAIN, None),
    ],
)
def test_the_region_is_in_the_host(url: str, region: str | None) -> None:
    """Of API Gateway's own hosts alone, not of names that look like them."""
    assert read_region(url) == region


def test_secrets_come_out_of_files_and_variables(tmp_path: Path) -> None:
    """A line end around them does not count; what is missing or no text is told without its content."""
    file = tmp_path / "key"
    file.write_text("k-1\n")
    request = Request("GET", OF_AWS)
    for options, environ in (
        (Options(url=OF_AWS, api_key_file=str(file)), {}),
        (Options(url=OF_AWS), {"INCIDENTS_API_KEY": "k-1"}),
    ):
        prepared = request.prepare()
        find_deployment(options, environ).auth(prepared)
        assert prepared.headers["X-Api-Key"] == "k-1"
    with pytest.raises(SettingsError, match="can't be read: No such file"):
        find_deployment(Options(url=OF_AWS, bearer_file=str(tmp_path / "none")), {})
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="it is no text"):
        find_deployment(Options(url=OF_AWS, api_key_file=str(file)), {})
    with pytest.raises(SettingsError, match="set INCIDENTS_TOKEN"):
        find_deployment(Options(url=OF_AWS, auth="bearer"), {})
    with pytest.raises(SettingsError, match="--url or INCIDENTS_URL"):
        find_deployment(Options(), {})


def test_the_profile_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials and region come from the profile that is named; without any, one line says what to do."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
    ):
        monkeypatch.delenv(name)
    config = tmp_path / "config"
    config.write_text(
        "[profile audit]\nregion=eu-north-1\naws_access_key_id=AUDIT\naws_secret_access_key=s\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))

    def sign(url: str, **options: str) -> str:
        prepared = Request("GET", url).prepare()
        find_deployment(Options(url=url, **options), {}).auth(prepared)
        return prepared.headers["Authorization"]

    assert "Credential=AUDIT/" in sign(OF_AWS, profile="audit")
    assert "/eu-central-1/execute-api/" in sign(OF_AWS, profile="audit")
    assert "/eu-north-1/execute-api/" in sign(OWN_DOMAIN, profile="audit")
    assert "/us-west-2/execute-api/" in sign(OF_AWS, profile="audit", region="us-west-2")
    with pytest.raises(CredentialsError, match="nobody"):
        sign(OF_AWS, profile="nobody")
    with pytest.raises(CredentialsError, match="aws sso login"):
        sign(OF_AWS)


def test_credentials_that_cannot_be_renewed_are_told(serve: Any, make_client: Any) -> None:
    """An SSO session that has ended is no traceback, and no attempt is made without a signature."""

    class Ended:
        def get_frozen_credentials(self) -> Any:
            raise SSOTokenLoadError(error_msg="the token has expired")

    server = serve(lambda asked: GOOD)
    with pytest.raises(CredentialsError, match="can't be got"):
        list(make_client(server, auth=SigV4(Ended(), "eu-west-1")).employees())
    assert server.asked == []
