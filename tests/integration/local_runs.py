"""Local runs as processes, for tests: started as a person would, asked, ended, and looked for afterwards."""

import contextlib
import json
import os
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

from local.ports import find_free_port

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0


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

    def wait_for(self, text: str, seconds: float = PATIENCE_SECONDS) -> None:
        wait_until(lambda: text in self.printed() or self.process.poll() is not None, text, seconds)
        assert text in self.printed(), self.printed()

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


def wait_until(ready: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.05)


def list_processes() -> dict[int, tuple[int, str]]:
    """From process id to parent and command, without those that have ended and wait for their parent."""
    listing = subprocess.run(
        ["ps", "-axwwo", "pid=,ppid=,stat=,args="],  # noqa: S607 - wherever this system keeps it
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


@contextlib.contextmanager
def starter(module: str, folder: Path, **usual: str) -> Iterator[Starter]:
    """Starts local runs by a module of `local` with `usual` settings; one that is left running is ended."""
    runs: list[Run] = []

    def start_run(project: Path = PROJECT, **settings: str) -> Run:
        temporary = folder / f"tmp{len(runs)}"
        temporary.mkdir()
        port = find_free_port()
        inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        environment = inherited | {
            "TMPDIR": str(temporary),
            "PORT": str(port),
            **usual,
            **settings,
        }
        output = folder / f"output{len(runs)}"
        with output.open("wb") as file:
            process = subprocess.Popen(  # noqa: S603 - a module of this project
                [sys.executable, "-m", module],
                cwd=project,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        runs.append(Run(process, port, output, temporary))
        return runs[-1]

    try:
        yield start_run
    finally:
        for run in runs:
            if run.process.poll() is None:
                run.process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    run.process.wait(PATIENCE_SECONDS)
