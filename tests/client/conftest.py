"""The client in front of servers of this machine that do what a test tells them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from incidents_client import Client, Notice
from tests.client.scripted_server import Asked, Reply, ScriptedServer


class Time:
    """Passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Nothing of the person's own settings is seen."""
    for name in ("INCIDENTS_URL", "INCIDENTS_AUTH", "INCIDENTS_API_KEY", "INCIDENTS_TOKEN", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Asked], Reply]], ScriptedServer]]:
    """Starts servers; they end with the test."""
    with ExitStack() as running:
        yield lambda respond: running.enter_context(ScriptedServer(respond).running())


@pytest.fixture
def passing() -> Time:
    """Time in the test's hand."""
    return Time()


@pytest.fixture
def notices() -> list[Notice]:
    """What the client of `make_client` told."""
    return []


@pytest.fixture
def make_client(passing: Time, notices: list[Notice]) -> Iterator[Callable[..., Client]]:
    """Makes clients of a server whose waits take no time."""
    with ExitStack() as open_ones:

        def make(server: ScriptedServer, **settings: Any) -> Client:
            usual = {"sleep": passing.sleep, "clock": lambda: passing.now, "on_notice": notices.append}
            return open_ones.enter_context(Client(server.url, **(usual | settings)))

        yield make
