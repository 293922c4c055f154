"""Clients of others, each as programs of its own, against the service."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from local.simulator import Simulator, SimulatorSettings
from tests.integration.clients.service import HOUR, PATIENCE_SECONDS, Pulled, serve
from tests.integration.conftest import PROJECT, Service

CLIENTS = PROJECT / ".tools/clients/bin"
BYTECODE = PROJECT / ".tools/clients/bytecode"
INTEGRATIONS = PROJECT / "integrations"
# So long what a client has been given is let sink in before it is killed.
SINK_IN_SECONDS = 0.5

type Command = list[str | Path]


@dataclass
class Programs:
    """Runs programs of `.tools/clients` in a folder of the test's own; they reach this machine alone."""

    folder: Path
    pulled: Pulled
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, command: Command, *, status: int = 0) -> str:
        """Run to the end, which has to be this one; give what it printed."""
        process = self._start(command)
        ended = process.wait(PATIENCE_SECONDS)
        printed = (self.folder / "printed").read_text()
        assert ended == status, (self.folder / "errors").read_text()[-4000:] + printed[-2000:]
        return printed

    def run_killed(self, command: Command, answers: int) -> str:
        """Give it so many answers, and kill it, with all that it started, while it waits for the next one."""
        self.pulled.hold_from(answers + 1)
        process = self._start(command)
        while not self.pulled.is_holding(0.1):
            assert process.poll() is None, (self.folder / "errors").read_text()[-4000:]
        time.sleep(SINK_IN_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
        self.pulled.let_go()
        return (self.folder / "printed").read_text()

    def _start(self, command: Command) -> "subprocess.Popen[bytes]":
        program, *arguments = command
        with (self.folder / "printed").open("w") as printed, (self.folder / "errors").open("w") as errors:
            return subprocess.Popen(  # noqa: S603 - what this test installed
                [CLIENTS / program, *arguments],
                cwd=self.folder,
                env=self._environment(),
                stdout=printed,
                stderr=errors,
                start_new_session=True,
            )

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{CLIENTS}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            # Whatever they would send home ends here.
            "HTTP_PROXY": "http://127.0.0.1:9",
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": "127.0.0.1",
            # Installing compiled nothing: without this each start compiles thousands of modules.
            "PYTHONPYCACHEPREFIX": str(BYTECODE),
            **self.variables,
        }


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    """Fails where the clients are missing: there is nothing to skip to."""
    if not (CLIENTS / "python").exists():
        pytest.fail("the clients are not in .tools/clients: run `make clients`", pytrace=False)


@pytest.fixture
def pulled(make_service: Callable[..., Service]) -> Iterator[Pulled]:
    """The service after its first poll, of an upstream whose clock is half a day late."""
    simulator = Simulator(SimulatorSettings(records_per_type=30, identities=60))
    past = time.time() - 12 * HOUR
    simulator.clock = lambda: past
    with serve(make_service(simulator)) as running:
        running.poll()
        yield running


@pytest.fixture
def programs(tmp_path: Path, pulled: Pulled) -> Programs:
    """What pulls from `pulled`."""
    return Programs(tmp_path, pulled)
