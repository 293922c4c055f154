"""HTTP requests as the events that a REST API of API Gateway makes of them (proxy integration, version 1)."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from local.emulator import ACCOUNT_ID
from local.template import Route

type Environ = dict[str, Any]
type ProxyEvent = dict[str, Any]

STAGE = "local"
API_ID = "local"
_NO_IDENTITY = dict.fromkeys(
    (
        "accessKey",
        "accountId",
        "caller",
        "cognitoAuthenticationProvider",
        "cognitoAuthenticationType",
        "cognitoIdentityId",
        "cognitoIdentityPoolId",
        "principalOrgId",
        "user",
        "userArn",
    )
)


@dataclass(frozen=True)
class Match:
    """A route that a request took, with the decoded values of its path's parameters."""

    route: Route
    path_parameters: dict[str, str]


def match_route(routes: Sequence[Route], method: str, path: str) -> Match | None:
    """The route of a request, or None. `path` is still percent-encoded.

    As API Gateway does it: literal segments win over parameters and a named method over `ANY`, a parameter is
    one segment and never empty, an encoded slash does not split, a slash at the end makes no difference.
    """
    segments = path.removesuffix("/").split("/") if path != "/" else [""]
    found: list[tuple[tuple[int, bool], Match]] = []
    for route in routes:
        parameters = _match_segments(route.path, segments)
        if parameters is not None and route.method in (method, "ANY"):
            found.append(((len(parameters), route.method == "ANY"), Match(route, parameters)))
    return min(found, key=lambda scored: scored[0])[1] if found else None


def _match_segments(template: str, segments: Sequence[str]) -> dict[str, str] | None:
    wanted = template.removesuffix("/").split("/") if template != "/" else [""]
    if len(wanted) != len(segments):
        return None
    parameters = {}
    for name, segment in zip(wanted, segments, strict=True):
        if name.startswith("{") and name.endswith("}"):
            if not segment:
                return None
            parameters[name[1:-1]] = unquote(segment, errors="replace")
        elif name != unquote(segment, errors="replace"):
            return None
    return parameters


def read_path(environ: Environ) -> str:
    """The request's path as it came, percent-encoded, from a WSGI environment of waitress's."""
    target: str = environ["REQUEST_URI"].partition("?")[0]
    # A client that takes this for a proxy sends the whole URL.
    return target if target.startswith("/") else urlsplit(target).path or "/"


def build_event(environ: Environ, match: Match, request_id: str) -> ProxyEvent:
    """The event for a request. Absent things are None, as there; the last of repeated query values wins.

    The path stays percent-encoded, its parameters do not. `requestContext.path` has no stage in front, as
    behind a custom domain.
    """
    path = read_path(environ)
    headers = _read_headers(environ)
    query = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True, errors="replace")
    multiple: dict[str, list[str]] = {}
    for name, value in query:
        multiple.setdefault(name, []).append(value)
    body = None if environ["REQUEST_METHOD"] in ("GET", "HEAD") else _read_body(environ)
    now = time.time()
    return {
        "resource": match.route.path,
        "path": path,
        "httpMethod": environ["REQUEST_METHOD"],
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {name: values[-1] for name, values in multiple.items()} or None,
        "multiValueQueryStringParameters": multiple or None,
        "pathParameters": match.path_parameters or None,
        "stageVariables": None,
        "requestContext": {
            "accountId": ACCOUNT_ID,
            "apiId": API_ID,
            "domainName": environ.get("HTTP_HOST", "127.0.0.1").rpartition(":")[0] or "127.0.0.1",
            "domainPrefix": API_ID,
            "extendedRequestId": request_id,
            "httpMethod": environ["REQUEST_METHOD"],
            "identity": {
                **_NO_IDENTITY,
                "sourceIp": environ.get("REMOTE_ADDR", "127.0.0.1"),
                "userAgent": environ.get("HTTP_USER_AGENT"),
            },
            "path": path,
            "protocol": environ.get("SERVER_PROTOCOL", "HTTP/1.1"),
            "requestId": request_id,
            "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "requestTimeEpoch": int(now * 1000),
            "resourceId": match.route.path,
            "resourcePath": match.route.path,
            "stage": STAGE,
        },
        "body": body,
        "isBase64Encoded": False,
    }


def _read_headers(environ: Environ) -> dict[str, str]:
    """The headers in the spelling of HTTP/1.1 clients, with those that the gateway adds."""
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").title(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") or (name in ("CONTENT_TYPE", "CONTENT_LENGTH") and value)
    }
    return headers | {
        "X-Amzn-Trace-Id": f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]}",
        "X-Forwarded-For": environ.get("REMOTE_ADDR", "127.0.0.1"),
        "X-Forwarded-Port": str(environ.get("SERVER_PORT", "")),
        "X-Forwarded-Proto": environ.get("wsgi.url_scheme", "http"),
    }


def _read_body(environ: Environ) -> str | None:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    content: bytes = environ["wsgi.input"].read(length) if length else b""
    return content.decode("utf-8", "replace") or None
