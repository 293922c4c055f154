"""The page in a real browser, in front of the local run's gateway and the real handlers."""

import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from functions.api.handler import lambda_handler
from local.gateway import Gateway
from local.lambda_context import Function
from local.simulator import Simulator, SimulatorSettings
from local.simulator.faults import reset
from local.simulator.generator import INCIDENT_TYPES
from local.template import Limits, load_template, read_minimum_compression, read_routes
from tests.fakes import MemoryDynamoDB
from tests.integration.conftest import capture, make_service

__all__ = ["capture", "make_service"]

ROOT = Path(__file__).parents[2]
# Pictures of each run; what CI keeps.
PICTURES = ROOT / ".local/browser"
TEMPLATE = load_template()
ROUTES = read_routes(TEMPLATE)
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Which root can't have; the only page that is loaded is ours.
    "--no-sandbox",
]
# For what takes a moment; a busy machine may take longer over it.
PATIENCE_MS = 20_000
expect.set_options(timeout=PATIENCE_MS)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def get_environ(self) -> Any:
        """As waitress has it."""
        return super().get_environ() | {"REQUEST_URI": self.path}

    def log_message(self, format: str, *arguments: Any) -> None:
        """Tests print nothing."""


def serve_app(app: Any, port: int = 0) -> WSGIServer:
    """Serve a WSGI app on 127.0.0.1 (port 0: a free one) from a thread, until it is stopped."""
    server = make_server("127.0.0.1", port, app, server_class=_Server, handler_class=_Handler)
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    return server


def stop_serving(server: WSGIServer) -> None:
    """Answer no more, and give the port back."""
    server.shutdown()
    server.server_close()


@dataclass
class Site:
    """The gateway, which can be stopped and started under the same address; ``answer`` may be replaced."""

    answer: Callable[[dict[str, Any], Any], Any] = lambda_handler
    asked: list[str] = field(default_factory=list)
    port: int = 0
    _server: Any = None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> "Site":
        """Serve from now on."""
        function = Function("ApiFunction", self._handle, Limits(28, 512))
        self._server = serve_app(Gateway(function, ROUTES, read_minimum_compression(TEMPLATE)), self.port)
        self.port = self._server.server_port
        return self

    def stop(self) -> None:
        """No longer answer."""
        if self._server:
            stop_serving(self._server)
            self._server = None

    def _handle(self, event: dict[str, Any], context: Any) -> Any:
        query = event["multiValueQueryStringParameters"] or {}
        self.asked.append(event["path"] + ("?" + json.dumps(query) if query else ""))
        return self.answer(event, context)


@pytest.fixture
def site() -> Iterator[Site]:
    """The gateway with the real reader, which reads what the test's service has stored."""
    site = Site().start()
    yield site
    site.stop()


@dataclass
class Upstream:
    """A simulated upstream whose windows a test writes, and the service that polls it."""

    simulator: Simulator
    service: Any
    records: dict[str, list[str]] = field(default_factory=dict)

    def add(self, source: str, *records: dict[str, Any] | str) -> None:
        """More records in a source's window; texts are JSON as it is."""
        window = self.records.setdefault(source, [])
        window += [each if isinstance(each, str) else json.dumps(each) for each in records]
        self.simulator.replace(f"/incidents/{source}/", f'{{"results": [{", ".join(window)}]}}'.encode())

    def poll(self) -> dict[str, Any]:
        """One poll."""
        summary: dict[str, Any] = self.service.poll()
        return summary

    def turn_off(self) -> None:
        """From now on every connection is reset."""
        for source in INCIDENT_TYPES:
            self.simulator.faults.add(f"/incidents/{source}/", reset(), times=None)
        self.simulator.faults.add("/identities/", reset(), times=None)


@pytest.fixture
def make_upstream(
    make_service: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Upstream]:
    """Makes an upstream without incidents, or as its settings say, and a service with a table in memory.

    The service believes to be polled each ``interval`` seconds.
    """

    def make(*, interval: int = 8, settings: SimulatorSettings | None = None) -> Upstream:
        simulator = Simulator(settings or SimulatorSettings(records_per_type=0, identities=10))
        service = make_service(simulator, MemoryDynamoDB(f"incidents-{uuid.uuid4().hex}"))
        monkeypatch.setenv("POLL_INTERVAL_SECONDS", str(interval))
        service.forget_clients()
        return Upstream(simulator, service)

    return make


@pytest.fixture
def moved_capture(capture: Path, tmp_path: Path) -> Path:
    """The capture of the real upstream, moved in time so that its newest incident is half an hour old."""
    bodies = {
        name: json.loads((capture / f"{name}.json").read_text(), parse_float=str) for name in INCIDENT_TYPES
    }
    newest = max(Decimal(str(each["timestamp"])) for body in bodies.values() for each in body["results"])
    # Whole seconds, so that all digits stay.
    later = int(time.time()) - 1800 - int(newest)
    for name, body in bodies.items():
        for each in body["results"]:
            each["timestamp"] = str(Decimal(str(each["timestamp"])) + later)
        text = ", ".join(
            json.dumps(each).replace(f'"{each["timestamp"]}"', each["timestamp"]) for each in body["results"]
        )
        (tmp_path / f"{name}.json").write_text(f'{{"results": [{text}]}}')
    shutil.copy(capture / "identities.json", tmp_path)
    return tmp_path


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium of this machine, one for all tests here; it ends with them, and so does its event loop."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        complaint = "no chromium here: `make browser` installs it where it may, else install it yourself"
        if os.environ.get("CI"):
            pytest.fail(complaint, pytrace=False)
        pytest.skip(complaint)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def make_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages in contexts of their own. What the page complains about fails the test.

    ``expected`` are parts of complaints that belong to the test.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []
    allowed: list[str] = []

    def make(*, expected: tuple[str, ...] = (), **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        allowed.extend(expected)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on(
            "console",
            lambda message: (
                complaints.append(f"{message.type}: {message.text}")
                if message.type in ("error", "warning")
                else None
            ),
        )
        # Whatever the page does, it asks this machine alone.
        page.on(
            "request",
            lambda request: (
                complaints.append(f"request: {request.url}")
                if not request.url.startswith(("http://127.0.0.1:", "blob:http://127.0.0.1:"))
                else None
            ),
        )
        return page

    yield make
    for context in contexts:
        context.close()
    unexpected = [each for each in complaints if not any(part in each for part in allowed)]
    assert unexpected == []


@pytest.fixture
def picture() -> Callable[[Page, str], None]:
    """Takes a picture of all of a page, for people."""

    def take(page: Page, name: str) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png", full_page=True)

    return take
