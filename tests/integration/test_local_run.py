"""`make run`, for real: every process of it, and that none is left."""

import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.ports import find_free_port
from local.simulator import Simulator, SimulatorSettings, serve
from tests.integration.local_runs import (
    PATIENCE_SECONDS,
    PROJECT,
    Starter,
    are_gone,
    is_free,
    list_descendants,
    list_processes,
    starter,
    wait_until,
)

PROCESSES = ("ministack", "local.simulator", "local.gateway", "local.scheduler")

pytestmark = pytest.mark.enable_socket


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Starts `make run`'s module."""
    with starter("local.run", tmp_path, POLL_INTERVAL_SECONDS="1") as start_run:
        yield start_run


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
    status, top = run.ask("/employees?limit=10")
    assert (status, len(top["employees"])) == (200, 10)
    status, numbers = run.ask("/summary?days=7")
    assert (status, len(numbers["by_day"])) == (200, 7)
    assert len(numbers["top_employees"]) == 10
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
