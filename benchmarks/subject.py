"""What is measured, each in a process of its own: its memory and its garbage are nobody else's, as in Lambda.

`python -m benchmarks.subject MODULE FUNCTION` calls the function with the members of the JSON in the first
line of its standard input and measures what it returns; :class:`Subject` is the other end. Several subjects
are measured in turn, so that a machine that is busy for a while is so for all of them.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.measuring import peak_memory_mb, spread

_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Work:
    """What a subject does over and over; ``before`` is done before each time and not measured.

    ``work`` returns how many bytes came of it, so that a run that does nothing is seen.
    """

    work: Callable[[], int]
    before: Callable[[], object] = lambda: None


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds of CPU (all threads, kernel included) and of wall time of each run.

    ``bytes`` is what came of the last run, ``log_bytes`` what a run wrote to the standard output,
    ``memory_mb`` the most memory that the process has had so far.
    """

    cpu_ms: Sequence[float]
    wall_ms: Sequence[float]
    bytes: int
    log_bytes: float
    memory_mb: float

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, the times in short."""
        return {
            "cpu_ms": spread(self.cpu_ms).to_json(),
            "wall_ms": spread(self.wall_ms).to_json(),
            "bytes": self.bytes,
            "log_bytes": self.log_bytes,
            "memory_mb": self.memory_mb,
        }


class Subject:
    """A process that does one thing when it is told to. ``python`` is the interpreter, default this one."""

    def __init__(
        self,
        module: str,
        function: str,
        arguments: Mapping[str, Any],
        *,
        environment: Mapping[str, str] | None = None,
        python: str | Path = sys.executable,
    ) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - composed in this package
            [str(python), "-m", "benchmarks.subject", module, function],
            cwd=_ROOT,
            env=dict(environment or os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._tell(json.dumps(arguments))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate()

    def run(self, times: int = 1) -> Measured:
        """Do it so many times. Raises RuntimeError if the process died."""
        self._tell(str(times))
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError("the subject died: see its traceback above")
        return Measured(**json.loads(line))

    def _tell(self, line: str) -> None:
        if self._process.stdin:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()


def measure_in_turn(
    subjects: Mapping[str, Subject], *, rounds: int, times: int, warm: int = 20
) -> dict[str, Measured]:
    """Let each get warm, then run all in turn, ``times`` a turn, for so many ``rounds``. Ends them."""
    with ExitStack() as running:
        for subject in subjects.values():
            running.enter_context(subject)
            subject.run(warm)
        turns = [{name: subject.run(times) for name, subject in subjects.items()} for _ in range(rounds)]
    return {name: _together([turn[name] for turn in turns]) for name in subjects}


def _together(turns: Sequence[Measured]) -> Measured:
    return replace(
        turns[-1],
        cpu_ms=[each for turn in turns for each in turn.cpu_ms],
        wall_ms=[each for turn in turns for each in turn.wall_ms],
    )


def main(arguments: Sequence[str]) -> None:
    """Make the work, then do it as often as each line of the standard input says."""
    module, function = arguments
    # The handlers log to the standard output.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    log = tempfile.TemporaryFile()  # noqa: SIM115 - until the process ends
    os.dup2(log.fileno(), sys.stdout.fileno())
    work: Work = getattr(importlib.import_module(module), function)(**json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        cpu: list[float] = []
        wall: list[float] = []
        size = 0
        logged = log.tell()
        for _ in range(int(line)):
            work.before()
            wall_began, cpu_began = time.perf_counter_ns(), time.process_time_ns()
            size = work.work()
            cpu_ended, wall_ended = time.process_time_ns(), time.perf_counter_ns()
            cpu.append((cpu_ended - cpu_began) / 1e6)
            wall.append((wall_ended - wall_began) / 1e6)
        sys.stdout.flush()
        answer = {
            "cpu_ms": cpu,
            "wall_ms": wall,
            "bytes": size,
            "log_bytes": (log.tell() - logged) / int(line),
            "memory_mb": peak_memory_mb(),
        }
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
