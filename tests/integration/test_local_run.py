"""`make run`, for real: every process of it, and that none is left."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.ports import find_free_port
from local.simulator import Simulator, SimulatorSettings, serve

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0
PROCESSES = ("ministack", "local.simulator", "local.gateway", "local.scheduler")

pytestmark = pytest.mark.enable_socket


@dataclass
class Run:
    """A local run: its process, its port, the file with what it prints, its folder for temporary files."""

    process: subprocess.Popen[bytes]
    port: int
    output: Path
    temporary: Path

    def printed(self) -> str:
        return self.output.read_text("utf-8")

    def ask(self, path: str) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.printed() or self.process.poll() is not None, text)
        assert text in self.printed(), self.printed()

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


def wait_until(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not ready():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.05)


def list_processes() -> dict[int, tuple[int, str]]:
    """From process id to parent and command, without those that have ended and wait for their parent."""
    listing = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,stat=,args="],  # noqa: S607 - wherever this system keeps it
        capture_output=True,
        text=True,
        check=True,
    )
    rows = (line.split(None, 3) for line in listing.stdout.splitlines())
    return {int(row[0]): (int(row[1]), row[3]) for row in rows if len(row) == 4 and "Z" not in row[2]}


def list_descendants(process_id: int) -> dict[int, str]:
    processes = list_processes()
    found: dict[int, str] = {}
    parents = {process_id}
    while parents:
        children = {child for child, (parent, _) in processes.items() if parent in parents} - found.keys()
        found |= {child: processes[child][1] for child in children}
        parents = children
    return found


def are_gone(process_ids: set[int]) -> bool:
    return not process_ids & list_processes().keys()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


type Starter = Callable[..., Run]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Starts local runs; one that a test leaves running is ended."""
    runs: list[Run] = []

    def start_run(project: Path = PROJECT, **settings: str) -> Run:
        temporary = tmp_path / f"tmp{len(runs)}"
        temporary.mkdir()
        port = find_free_port()
        inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        environment = inherited | {
            "TMPDIR": str(temporary),
            "PORT": str(port),
            "POLL_INTERVAL_SECONDS": "1",
            **settings,
        }
        output = tmp_path / f"output{len(runs)}"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "local.run"],
                cwd=project,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        runs.append(Run(process, port, output, temporary))
        return runs[-1]

    yield start_run
    for run in runs:
        if run.process.poll() is None:
            run.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.process.wait(PATIENCE_SECONDS)


def test_it_serves_and_leaves_nothing(start: Starter) -> None:
    """It polls the simulator into the emulator and serves what it found; Ctrl-C ends every process of it,
    frees the port and removes its files.
    """
    run = start()
    run.wait_for("all sources")
    status, health = run.ask("/health")
    assert (status, health["polls"] > 0) == (200, True)
    assert health["thresholds"]["poll_interval_seconds"] == 1
    status, page = run.ask("/incidents?limit=2")
    assert status == 200
    assert len(page["incidents"]) == 2
    employee = next(iter(page["incidents"]))
    status, own = run.ask(f"/employees/{employee}/incidents")
    assert (status, list(own["incidents"])) == (200, [employee])
    assert run.ask("/nowhere")[1]["code"] == "route_not_found"
    run.wait_for("poll 2:")
    assert f"curl http://127.0.0.1:{run.port}/health" in run.printed()

    children = list_descendants(run.process.pid)
    for name in PROCESSES:
        assert any(name in command for command in children.values()), f"{name} is not among {children}"
    assert list(run.temporary.iterdir())

    assert run.end(signal.SIGINT) == 0
    assert are_gone(set(children))
    wait_until(lambda: is_free(run.port), "the port")
    assert list(run.temporary.iterdir()) == []
    assert run.printed().rstrip().endswith("stopped: every process has ended")
    assert "Traceback" not in run.printed()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals(start: Starter, number: signal.Signals) -> None:
    """SIGTERM and a closed terminal end it like Ctrl-C does."""
    run = start()
    run.wait_for("poll 1:")
    children = list_descendants(run.process.pid)
    assert len(children) == len(PROCESSES)
    assert run.end(number) == 0
    assert are_gone(set(children))
    assert list(run.temporary.iterdir()) == []


@pytest.mark.parametrize("step", ["starting the AWS emulator", "starting the upstream simulator"])
def test_interrupted_while_starting(start: Starter, step: str) -> None:
    """Ctrl-C in the middle of the start leaves as little as one at its end."""
    run = start()
    run.wait_for(step)
    wait_until(lambda: bool(list_descendants(run.process.pid)), "a child")
    children = list_descendants(run.process.pid)
    assert run.end(signal.SIGINT) == 0
    assert are_gone(set(children))
    assert list(run.temporary.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_killed(start: Starter) -> None:
    """Even SIGKILL, which no process can answer, leaves no process behind."""
    run = start()
    run.wait_for("poll 1:")
    children = set(list_descendants(run.process.pid))
    assert len(children) == len(PROCESSES)
    assert run.end(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: are_gone(children), "the children's end")
    wait_until(lambda: is_free(run.port), "the port")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("local.simulator", "the simulator"),
        ("ministack", "the emulator"),
        ("local.scheduler", "the scheduler"),
    ],
)
def test_a_part_dies(start: Starter, name: str, said: str) -> None:
    """When one process dies by itself, the run says which and where its log is, ends the rest and fails."""
    run = start()
    run.wait_for("poll 1:")
    children = list_descendants(run.process.pid)
    (victim,) = (process_id for process_id, command in children.items() if name in command)
    os.kill(victim, signal.SIGKILL)
    assert run.process.wait(PATIENCE_SECONDS) == 1
    assert f"{said} was ended by SIGKILL; its log is .local/" in run.printed()
    assert are_gone(set(children))
    wait_until(lambda: is_free(run.port), "the port")


def test_handler_that_can_not_start(start: Starter, tmp_path: Path) -> None:
    """A start that fails half-way says which part failed and why, in one line, and leaves nothing."""
    project = tmp_path / "project"
    for folder in ("local", "functions", "shared"):
        shutil.copytree(PROJECT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "template.yaml", project)
    (project / ".tools").symlink_to(PROJECT / ".tools")
    (project / "functions" / "api" / "handler.py").write_text("raise RuntimeError('broken on purpose')\n")
    run = start(project)
    assert run.process.wait(PATIENCE_SECONDS) == 1
    last = run.printed().splitlines()[-1]
    assert "the gateway ended with status 1" in last
    assert ".local/api.log" in last
    assert "RuntimeError: broken on purpose" in last
    assert "Traceback" not in run.printed()
    wait_until(lambda: is_free(run.port), "the port")
    assert list(run.temporary.iterdir()) == []
    assert not [command for _, command in list_processes().values() if str(project) in command]


def test_taken_port(start: Starter) -> None:
    """A port in use is one line that names it and says what to do; nothing is started for it."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        run = start(PORT=str(port))
        assert run.process.wait(PATIENCE_SECONDS) == 2
    (line,) = run.printed().splitlines()
    assert str(port) in line
    assert "PORT=" in line


def test_unusable_settings(start: Starter) -> None:
    """A setting that can't be used is one line with status 2, before anything is started."""
    run = start(SIMULATOR="off")
    assert run.process.wait(PATIENCE_SECONDS) == 2
    (line,) = run.printed().splitlines()
    assert "UPSTREAM_BASE_URL" in line


def test_own_upstream(start: Starter) -> None:
    """With an address and credentials the run polls that service, and starts no simulator of its own."""
    settings = SimulatorSettings(username="reader", password="do-not-print", records_per_type=3, seed=77)
    simulator = Simulator(settings)
    with serve(simulator) as base_url:
        run = start(UPSTREAM_BASE_URL=base_url, UPSTREAM_USERNAME="reader", UPSTREAM_PASSWORD="do-not-print")
        run.wait_for("poll 1: 21 seen, 21 new")
        assert {request.status for request in simulator.requests if request.with_credentials} == {200}
        status, health = run.ask("/health")
        assert (status, health["total_identified_incidents"]) == (200, 21)
        assert not [
            command for command in list_descendants(run.process.pid).values() if "local.simulator" in command
        ]
        assert run.end(signal.SIGINT) == 0
        assert "do-not-print" not in run.printed()


def test_unreachable_upstream(start: Starter) -> None:
    """An upstream that can't be reached is said once; each poll fails in one line, the API still answers."""
    run = start(
        UPSTREAM_BASE_URL=f"http://127.0.0.1:{find_free_port()}",
        UPSTREAM_USERNAME="reader",
        UPSTREAM_PASSWORD="do-not-print",
    )
    run.wait_for("poll 1: failed")
    assert run.printed().count("UPSTREAM_BASE_URL can't be reached now: no connection") == 1
    status, health = run.ask("/health")
    assert (status, health["status"]) == (503, "fail")
    status, problem = run.ask("/incidents")
    assert (status, problem["code"]) == (503, "no_data_yet")
    assert not [
        command for command in list_descendants(run.process.pid).values() if "local.simulator" in command
    ]
    assert run.end(signal.SIGINT) == 0
    assert "do-not-print" not in run.printed()
    assert "Traceback" not in run.printed()
    for log in (PROJECT / ".local").glob("*.log"):
        assert "do-not-print" not in log.read_text("utf-8", "replace")
