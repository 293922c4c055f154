"""`make console`: the page to look at (docs/console.md), for a deployment.

A web server of this machine alone. It serves the page, and asks the API for it with the person's own
credentials: the browser gets neither those nor the API's address. Takes its input from the environment: `ENV`
(dev, staging, prod), whose stack says where the API is, or `URL`; `PORT` (9010); and what the command
`incidents` takes for its credentials (client/README.md).

Exit status: 0 after Ctrl-C, 2 for what a person has to mend first.
"""

import contextlib
import hmac
import os
import re
import secrets
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import boto3
import requests
import waitress
from botocore.exceptions import BotoCoreError, ClientError

from incidents_client.errors import CredentialsError, IncidentsError
from incidents_client.settings import Options, find_deployment
from incidents_client.transport import Auth, is_loopback
from local.console_page import answer_console
from local.gateway import Answer, Headers, StartResponse, build_problem
from local.ports import PortTakenError, open_port
from local.proxy_event import Environ, match_route, read_path
from local.template import Route, load_template, read_routes
from scripts.environments import RefusedError, check_environment, identify, read_stack_name

_ROOT = Path(__file__).parents[1]
_PORT = 9010
# Connecting, and waiting: API Gateway gives up after 29 seconds.
_TIMEOUTS = (10.0, 35.0)
# Lambda's answers end at 6 MB; unpacked ones of anything else are not of this API.
_MAX_BODY_BYTES = 16 * 1024 * 1024
_SENT_ON = ("Accept", "If-None-Match")
_HANDED_BACK = (
    "Content-Type",
    "ETag",
    "Last-Modified",
    "Link",
    "Retry-After",
    "X-Data-Age-Seconds",
    "X-Data-Complete",
    "X-Request-Id",
)
_JSON = re.compile(r"application/(?:[a-z]+\+)?json(?:;|$)")
# What an employee's id may look like before the API judges it: nothing that could change the path.
_SEGMENT = re.compile(r"[0-9A-Za-z_-]{1,64}")
# Whatever an answer is: it is no page.
_GUARD: Headers = [
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
]


class Console:
    """A WSGI app: the page and, for it, the API's GET routes, all below a secret first part of the path.

    Any program and any page on this machine can reach the port. So `key` is what the terminal alone was told,
    the Host must be this machine (against names of others that lead here), and other sites' requests are
    refused.
    """

    def __init__(
        self, base_url: str, auth: Auth, *, routes: Sequence[Route], place: str, key: str, port: int
    ) -> None:
        self._base_url = base_url
        self._auth = auth
        self._routes = routes
        self._place = place
        self._key = key.encode()
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._of_thread = threading.local()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        answer = self._answer(environ)
        is_bodiless = answer.status == HTTPStatus.NOT_MODIFIED
        length = [] if is_bodiless else [("Content-Length", str(len(answer.body)))]
        phrase = HTTPStatus(answer.status).phrase if answer.status in HTTPStatus else "Unknown"
        start_response(f"{answer.status} {phrase}", [*answer.headers, *length])
        return [] if environ["REQUEST_METHOD"] == "HEAD" or is_bodiless else [answer.body]

    def _answer(self, environ: Environ) -> Answer:
        if environ.get("HTTP_HOST", "") not in self._hosts:
            return _refuse(421, "wrong_host", "This is not served under that name")
        _, key, rest = [*read_path(environ).split("/", 2), "", ""][:3]
        if not hmac.compare_digest(key.encode(), self._key):
            return _refuse(404, "route_not_found", "Open the address that `make console` printed")
        if environ.get("HTTP_SEC_FETCH_SITE", "none") not in ("same-origin", "none"):
            return _refuse(403, "other_site", "Another site may not ask this")
        method, path = environ["REQUEST_METHOD"], f"/{rest}"
        if method not in ("GET", "HEAD"):
            refusal = _refuse(405, "method_not_allowed", "Only GET and HEAD")
            return Answer(405, [*refusal.headers, ("Allow", "GET, HEAD")], refusal.body)
        page = answer_console(method, path, self._place)
        if page is not None:
            headers = {**page.headers, "Cache-Control": "no-store"}
            return Answer(page.status, list(headers.items()), page.body)
        return self._ask(method, path, environ)

    def _ask(self, method: str, path: str, environ: Environ) -> Answer:
        match = match_route(self._routes, method, path)
        if match is None or not all(map(_SEGMENT.fullmatch, match.path_parameters.values())):
            return _refuse(404, "route_not_found", "Nothing is served here")
        known = match.route.path.format(**match.path_parameters)
        # As a signature's canonical query is, so that no one on the way has to guess.
        pairs = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True, errors="replace")
        query = urlencode(pairs, quote_via=quote, safe="-_.~")
        names = {name: f"HTTP_{name.upper().replace('-', '_')}" for name in _SENT_ON}
        headers = {name: environ[key] for name, key in names.items() if environ.get(key)}
        try:
            return self._fetch(method, f"{self._base_url}{known}{'?' if query else ''}{query}", headers)
        except CredentialsError as error:
            return _refuse(502, "bad_gateway", str(error))
        except requests.RequestException as error:
            # Its text may hold more than should be on a page.
            return _refuse(502, "bad_gateway", f"The API can't be reached: {type(error).__name__}")

    def _fetch(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        with self._session().request(
            method,
            url,
            headers=dict(headers),
            auth=self._auth,
            # A redirect could lead the credentials to another host.
            allow_redirects=False,
            timeout=_TIMEOUTS,
            stream=True,
        ) as response:
            body = b""
            for chunk in response.iter_content(65_536):
                body += chunk
                if len(body) > _MAX_BODY_BYTES:
                    return _refuse(502, "bad_gateway", "The answer is too large for one of this API")
            content_type = response.headers.get("Content-Type", "")
            if 300 <= response.status_code < 400 and response.status_code != 304:
                return _refuse(502, "bad_gateway", "The API answers with a redirect, which is not followed")
            if body and not _JSON.match(content_type):
                return _refuse(502, "bad_gateway", f"The answer ({response.status_code}) is none of this API")
            found = [(name, response.headers[name]) for name in _HANDED_BACK if name in response.headers]
            return Answer(response.status_code, [*found, *_GUARD], body)

    def _session(self) -> requests.Session:
        """A thread's own, with its connections."""
        if not hasattr(self._of_thread, "session"):
            session = requests.Session()
            # A proxy for the world outside is no way to this machine.
            session.trust_env = not is_loopback(self._base_url)
            self._of_thread.session = session
        session_of_thread: requests.Session = self._of_thread.session
        return session_of_thread


def _refuse(status: int, code: str, title: str) -> Answer:
    refusal = build_problem(status, code, title, "the server on this machine says so, not the API", "")
    return Answer(status, [("Content-Type", "application/problem+json"), *_GUARD], refusal.body)


def find_api(environ: Mapping[str, str]) -> tuple[str, str, str | None]:
    """What the page calls it, the API's base URL and, if that is known, the region. Raises RefusedError."""
    if url := environ.get("URL"):
        return urlsplit(url).hostname or url, url, None
    environment = check_environment(_ROOT, environ.get("ENV", ""))
    name = read_stack_name(_ROOT, environment)
    session = boto3.Session(region_name=environ.get("AWS_REGION") or None)
    identify(session)
    try:
        (stack,) = session.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except (BotoCoreError, ClientError) as error:
        raise RefusedError(f"the stack {name} can't be asked where the API is: {error}") from error
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}
    if "ApiUrl" not in outputs:
        raise RefusedError(f"the stack {name} has no output ApiUrl: `make deploy ENV={environment}` first")
    return f"{environment} · {session.region_name}", outputs["ApiUrl"], session.region_name


def main(environ: Mapping[str, str]) -> int:
    """Serve the page until Ctrl-C."""
    port_text = environ.get("PORT") or str(_PORT)
    try:
        if not (port_text.isascii() and port_text.isdigit()) or int(port_text) > 65_535:
            raise RefusedError(f"PORT is {port_text!r}: set it to a whole number from 0 to 65535")
        place, url, region = find_api(environ)
        known = {**environ, "AWS_REGION": region} if region else environ
        deployment = find_deployment(Options(url=url), known)
        listener = open_port(int(port_text), "console")
    except (RefusedError, IncidentsError, PortTakenError) as error:
        print(f"make console: {error}", file=sys.stderr)
        return 2
    port = listener.getsockname()[1]
    key = secrets.token_urlsafe(24)
    console = Console(
        deployment.url,
        deployment.auth,
        routes=read_routes(load_template(_ROOT / "template.yaml")),
        place=place,
        key=key,
        port=port,
    )
    # Not opened by itself: every user of this machine sees a browser's command line.
    print(
        f"The incidents of {place}, until Ctrl-C:\n\n  http://127.0.0.1:{port}/{key}/\n\n"
        "Who has this address reads them with your credentials, on this machine only.",
        flush=True,
    )
    with contextlib.suppress(KeyboardInterrupt):
        waitress.serve(console, sockets=[listener], threads=8, ident=None, _quiet=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
