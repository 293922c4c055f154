"""The service as clients meet it, in a test's hand: the real functions behind the local gateway."""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl

from waitress import wasyncore
from waitress.server import create_server

from local.gateway import Gateway, build_problem
from local.lambda_context import load_function
from local.template import load_template, read_minimum_compression, read_routes
from tests.integration.conftest import Service

API_KEY = "a-made-up-key"
CHANGES, INCIDENTS = "/incidents/changes", "/incidents"
HOUR = 3_600.0
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Trouble:
    """What is answered instead of what the service would."""

    status: int
    code: str
    headers: Mapping[str, str] = field(default_factory=dict)


# As the reader answers it, and API Gateway by the template's gateway responses.
UNFINISHED = Trouble(503, "search_unfinished", {"Retry-After": "1"})
THROTTLED = Trouble(429, "throttled", {"Retry-After": "1"})
EXPIRED = Trouble(410, "token_expired")
# Stands in a token that a page without incidents gave out, before the one that it was asked with.
_AGAIN = "again-"
_FORM = [("Content-Type", "application/json")]


@dataclass
class Request:
    """One request, and the status of its answer, 0 before there is one."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    status: int = 0


@dataclass
class Pulled:
    """A service that clients pull from, at ``url``. ``requests`` are what came so far, in order."""

    service: Service
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    _troubles: dict[int, Trouble] = field(default_factory=dict)
    _empty: set[int] = field(default_factory=set)
    _held_from: int | None = None
    _is_holding: threading.Event = field(default_factory=threading.Event)
    _let_go: threading.Event = field(default_factory=threading.Event)

    def wsgi(self, gateway: Gateway) -> Any:
        """The gateway, with the troubles before it."""

        def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            headers = {
                name[5:].lower().replace("_", "-"): value
                for name, value in environ.items()
                if name.startswith("HTTP_")
            }
            request = Request(environ["PATH_INFO"], dict(parse_qsl(environ["QUERY_STRING"])), headers)
            self.requests.append(request)
            number = len(self.requests)
            if self._held_from is not None and number >= self._held_from:
                self._is_holding.set()
                self._let_go.wait(PATIENCE_SECONDS)

            def remember(status: str, answered: list[tuple[str, str]]) -> Any:
                request.status = int(status.split()[0])
                return start_response(status, answered)

            if number in self._empty:
                return _answer_nothing(request, remember)
            environ["QUERY_STRING"] = environ["QUERY_STRING"].replace(_AGAIN, "")
            trouble = self._troubles.pop(number, None)
            if trouble is None:
                return gateway(environ, remember)
            problem = build_problem(trouble.status, trouble.code, "Trouble", "made up by a test", "an-id")
            remember(f"{trouble.status} Trouble", [*problem.headers, *trouble.headers.items()])
            return [problem.body]

        return answer

    def trouble(self, what: Trouble, *numbers: int) -> Self:
        """Answer the requests of these numbers, counted from the next one on as 1, with it."""
        before = len(self.requests)
        self._troubles |= {before + number: what for number in numbers}
        return self

    def empty(self, number: int) -> Self:
        """Answer this request of the feed, counted likewise, with no incidents, though there are more."""
        self._empty.add(len(self.requests) + number)
        return self

    def hold_from(self, number: int) -> None:
        """Let this request, counted from the next one on as 1, and all after it wait for `let_go`."""
        self._is_holding.clear()
        self._let_go.clear()
        self._held_from = len(self.requests) + number

    def is_holding(self, seconds: float) -> bool:
        """Whether a client waits for an answer, by now or before so long."""
        return self._is_holding.wait(seconds)

    def let_go(self) -> None:
        """Hold no more requests."""
        self._held_from = None
        self._let_go.set()

    def forget_requests(self) -> list[Request]:
        """Give the requests so far, and begin anew."""
        requests, self.requests = self.requests, []
        return requests

    def poll(self, later_hours: float = 0) -> None:
        """A poll, after incidents have come and gone at the upstream for so long."""
        simulator = self.service.simulator
        now = simulator.clock() + later_hours * HOUR
        simulator.clock = lambda: now
        assert self.service.poll()["outcome"] == "succeeded"

    def walk(self) -> dict[str, dict[str, Any]]:
        """All incidents by id, as the feed itself gives them; numbers as their texts."""
        found: dict[str, dict[str, Any]] = {}
        query: dict[str, str] = {"limit": "1000"}
        while True:
            answer = self.service.get(CHANGES, **query)
            page = json.loads(answer.text, parse_float=str)
            for incident in page["data"]:
                assert incident["id"] not in found
                found[incident["id"]] = incident
            if not page["has_more"]:
                return found
            query["token"] = page["next_token"]


def _answer_nothing(request: Request, start_response: Any) -> Iterable[bytes]:
    """A page of the feed where the journal holds nothing but records that wait: the next token leads on."""
    token = _AGAIN + request.query["token"]
    start_response("200 OK", [*_FORM, ("X-Next-Token", token), ("X-Has-More", "true")])
    is_lines = request.headers.get("accept") == "application/x-ndjson"
    return [b"" if is_lines else json.dumps({"data": [], "next_token": token, "has_more": True}).encode()]


@contextmanager
def serve(service: Service) -> Iterator[Pulled]:
    """On a free port of 127.0.0.1, as `make run` does."""
    template = load_template()
    pulled = Pulled(service)
    function = load_function(template, "ApiFunction")
    gateway = Gateway(function, read_routes(template), read_minimum_compression(template))
    server = create_server(pulled.wsgi(gateway), host="127.0.0.1", port=0, threads=4)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    pulled.url = f"http://127.0.0.1:{server.effective_port}"
    try:
        yield pulled
    finally:
        pulled.let_go()
        server.task_dispatcher.shutdown()
        # In the thread that has them.
        server.trigger.pull_trigger(lambda: wasyncore.close_all(server._map))
        thread.join(PATIENCE_SECONDS)
