"""API Gateway on this machine: a WSGI app that serves a Lambda handler under the template's routes."""

import base64
import gzip
import json
import re
import socket
import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import waitress

from local.console_page import answer_console
from local.docs_page import answer_docs
from local.lambda_context import Function, load_function
from local.proxy_event import Environ, build_event, match_route, read_path
from local.template import Route, load_template, read_minimum_compression, read_routes

# Lambda's own limits, in bytes.
LARGEST_ANSWER = 6 * 1024 * 1024
LARGEST_REQUEST = 6 * 1024 * 1024
THREADS = 16
# What the page calls this service.
PLACE = "local run"
_ANSWER_KEYS = {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}
_BODILESS = (204, 304)
# What a browser may call this machine: other names that lead here would let others' pages read the answers.
_OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")

type Headers = list[tuple[str, str]]
type StartResponse = Callable[[str, Headers], Any]


class MalformedAnswerError(Exception):
    """A handler's answer that API Gateway would refuse; the text says what is wrong with it."""


@dataclass(frozen=True)
class Answer:
    """What goes back to the client."""

    status: int
    headers: Headers
    body: bytes


class Gateway:
    """A WSGI app that turns requests into proxy events, calls the handler and turns its answers back.

    `minimum_compression` is in bytes; None never compresses.
    """

    def __init__(self, function: Function, routes: Sequence[Route], minimum_compression: int | None) -> None:
        self._function = function
        self._routes = routes
        self._minimum_compression = minimum_compression
        # A Lambda container handles one event at a time, and handlers rely on it.
        self._one_at_a_time = threading.Lock()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        answer = self._compress(environ, self._answer(environ))
        headers = answer.headers
        if answer.status not in _BODILESS:
            headers = [*headers, ("Content-Length", str(len(answer.body)))]
        start_response(f"{answer.status} {_phrase(answer.status)}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" or answer.status in _BODILESS else [answer.body]

    def _answer(self, environ: Environ) -> Answer:
        method, path = environ["REQUEST_METHOD"], read_path(environ)
        request_id = str(uuid.uuid4())
        if re.sub(r":\d*$", "", environ.get("HTTP_HOST", "localhost")) not in _OWN_NAMES:
            detail = "nothing is served under this name, only under 127.0.0.1 and localhost"
            return build_problem(421, "wrong_host", "This is not the host that was asked", detail, request_id)
        page = answer_docs(method, path) or answer_console(method, path, PLACE)
        if page is not None:
            return Answer(page.status, list(page.headers.items()), page.body)
        match = match_route(self._routes, method, path)
        if match is None:
            detail = "nothing is served under this path and method"
            return build_problem(404, "route_not_found", "Nothing is served here", detail, request_id)
        try:
            event = build_event(environ, match, request_id)
            with self._one_at_a_time:
                result = self._function.handler(event, self._function.new_context())
            return read_answer(result, request_id)
        except Exception:  # API Gateway turns whatever a function fails with into 502, too
            # For whoever runs it: the client must not see the inside.
            traceback.print_exc(file=sys.stderr)
            title = "Something went wrong on our side"
            return build_problem(502, "bad_gateway", title, "the function failed to answer", request_id)

    def _compress(self, environ: Environ, answer: Answer) -> Answer:
        smallest = self._minimum_compression
        encoded = any(name.lower() == "content-encoding" for name, _ in answer.headers)
        if smallest is None or encoded or len(answer.body) < smallest or not accepts_gzip(environ):
            return answer
        body = gzip.compress(answer.body, compresslevel=6, mtime=0)
        return Answer(answer.status, [*answer.headers, ("Content-Encoding", "gzip")], body)


def build_problem(status: int, code: str, title: str, detail: str, request_id: str) -> Answer:
    """One of the gateway's own errors, as `application/problem+json` (RFC 9457)."""
    problem = {
        "type": f"urn:security-incident-api:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }
    headers = [("Content-Type", "application/problem+json"), ("X-Request-Id", request_id)]
    return Answer(status, headers, json.dumps(problem).encode())


def read_answer(result: Any, request_id: str) -> Answer:
    """What a handler returned, as an answer. Raises MalformedAnswerError where API Gateway answers 502."""
    if not isinstance(result, dict):
        raise MalformedAnswerError(f"a {type(result).__name__} instead of an object")
    if unknown := result.keys() - _ANSWER_KEYS:
        raise MalformedAnswerError(f"unknown keys {sorted(map(str, unknown))}")
    status = result.get("statusCode")
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise MalformedAnswerError("statusCode is not a number from 200 to 599")
    text = result.get("body")
    if not isinstance(text, str | None):
        raise MalformedAnswerError("body is not text")
    try:
        body = base64.b64decode(text or "", validate=True) if result.get("isBase64Encoded") else None
    except ValueError as error:
        raise MalformedAnswerError("body is not base64") from error
    if body is None:
        body = (text or "").encode()
    if len(body) > LARGEST_ANSWER:
        raise MalformedAnswerError(f"the answer is larger than {LARGEST_ANSWER} bytes")
    headers = _read_answer_headers(result)
    names = {name.lower() for name, _ in headers}
    if "content-type" not in names and body:
        headers.append(("Content-Type", "application/json"))
    headers.append(("x-amzn-RequestId", request_id))
    return Answer(status, headers, body)


def accepts_gzip(environ: Environ) -> bool:
    """Whether a client's `Accept-Encoding` allows gzip (RFC 9110, 12.5.3)."""
    for choice in environ.get("HTTP_ACCEPT_ENCODING", "").lower().split(","):
        name, _, weight = choice.partition(";")
        if name.strip() in ("gzip", "x-gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _read_answer_headers(result: Mapping[str, Any]) -> Headers:
    single, multiple = result.get("headers") or {}, result.get("multiValueHeaders") or {}
    if not isinstance(single, dict) or not isinstance(multiple, dict):
        raise MalformedAnswerError("headers are not an object")
    if not all(isinstance(values, list) for values in multiple.values()):
        raise MalformedAnswerError("multiValueHeaders holds something else than lists")
    # A name in both counts once, with its list.
    listed = {str(name).lower() for name in multiple}
    pairs = [(name, value) for name, value in single.items() if str(name).lower() not in listed]
    pairs += [(name, value) for name, values in multiple.items() for value in values]
    headers = [(str(name), _read_header_value(value)) for name, value in pairs]
    # The gateway counts the bytes itself, and connections are its own business.
    return [pair for pair in headers if pair[0].lower() not in ("content-length", "connection")]


def _read_header_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise MalformedAnswerError("a header is neither text nor number")
    text = str(value)
    if any(ord(character) < 32 or ord(character) > 255 for character in text):
        raise MalformedAnswerError("a header holds a control character or one outside of Latin-1")
    return text


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus else "Unknown"


def main() -> None:
    """Serve the template's `ApiFunction` on the listening socket whose descriptor is the only argument."""
    template = load_template()
    gateway = Gateway(
        load_function(template, "ApiFunction"), read_routes(template), read_minimum_compression(template)
    )
    listener = socket.socket(fileno=int(sys.argv[1]))
    waitress.serve(
        gateway,
        sockets=[listener],
        threads=THREADS,
        ident=None,
        max_request_body_size=LARGEST_REQUEST,
        _quiet=True,
    )


if __name__ == "__main__":
    main()
