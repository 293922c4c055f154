"""The processes that the local run starts: all of them end when it ends, however it ends."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

PROJECT_PATH = Path(__file__).resolve().parents[1]

# How long a process may take to end by itself after SIGTERM.
GRACE_SECONDS = 5.0
_LOOK_SECONDS = 0.05
_PR_SET_PDEATHSIG = 1


class InterruptedRunError(Exception):
    """SIGINT, SIGTERM or SIGHUP asked for the end."""


class ProcessError(Exception):
    """A process died, or did not get ready; the text names it, its log and the log's last line."""


@dataclass(frozen=True)
class Child:
    """A running process: its name for people, where its output goes, whether it ends by itself."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    is_to_end: bool = False

    def describe_end(self) -> str:
        """One line about how it ended, with the last line of its log."""
        status = self.process.returncode
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"the {self.name} {how}; its log is {_shorten(self.log)}{_last_line(self.log)}"


class Children:
    """The processes started through it, ended in reverse order at the end of its `with` block.

    Each is the leader of a session of its own: Ctrl-C in a terminal reaches only this process, which then
    decides in which order the others go. On Linux they also die when this process is killed with SIGKILL;
    start them from the main thread, because Linux looks at the thread that started them.
    """

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._interrupted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end_on_signals(self) -> None:
        """From now on SIGINT, SIGTERM and SIGHUP make `wait_until` raise InterruptedRunError.

        A flag, no exception from the handler: that could strike between a start and its bookkeeping.
        """
        signal.signal(signal.SIGINT, self._interrupt)
        signal.signal(signal.SIGTERM, self._interrupt)
        # Under nohup, SIGHUP is to stay ignored.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._interrupt)

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        log: Path,
        output: Path | None = None,
        on_terminal: bool = False,
        pass_fds: Sequence[int] = (),
        is_to_end: bool = False,
    ) -> Child:
        """Start a process in the project's folder; stderr goes to `log`, stdout there, to `output` or to the
        terminal.

        With `is_to_end` its end is no failure. Raises ProcessError if its program can't be started.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as errors, (output or Path(os.devnull)).open("wb") as apart:
            try:
                process = subprocess.Popen(  # nosec B603  # noqa: S603 - commands are composed in this package
                    [str(part) for part in command],
                    cwd=PROJECT_PATH,
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=None if on_terminal else apart if output else errors,
                    stderr=errors,
                    start_new_session=True,
                    pass_fds=pass_fds,
                    preexec_fn=_die_with_parent(),
                )
            except OSError as error:
                raise ProcessError(f"the {name} can't be started: {command[0]}: {error.strerror}") from error
        child = Child(name, process, log, is_to_end)
        self._children.append(child)
        return child

    def run(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        log: Path,
        output: Path | None = None,
    ) -> Child:
        """Start a process that is to end by itself, and give it once it has ended, with whatever status.

        Raises ProcessError when another one dies, InterruptedRunError on a signal.
        """
        child = self.start(name, command, environment=environment, log=log, output=output, is_to_end=True)
        self.wait_until(lambda: child.process.poll() is not None, name)
        self._children.remove(child)
        return child

    def wait_until(self, ready: Callable[[], bool], what: str, seconds: float | None = None) -> None:
        """Return as soon as `ready()` is true; `seconds` None waits for ever.

        Raises ProcessError when a process dies or the time is up, InterruptedRunError on a signal.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            if self._interrupted:
                raise InterruptedRunError
            for child in self._children:
                if not child.is_to_end and child.process.poll() is not None:
                    raise ProcessError(child.describe_end())
            if ready():
                return
            if deadline is not None and time.monotonic() > deadline:
                raise ProcessError(
                    f"{what} did not answer within {seconds:.0f} seconds; the logs are in .local/"
                )
            time.sleep(_LOOK_SECONDS)

    def watch(self) -> None:
        """Wait for ever: ends only by ProcessError or InterruptedRunError."""
        self.wait_until(lambda: False, "the end")

    def end(self) -> None:
        """End every process and what it has started itself: SIGTERM, a grace period, SIGKILL."""
        while self._children:
            child = self._children.pop()
            _signal_group(child.process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(GRACE_SECONDS)
            # Also where it has ended: a process that it had started may be left in its group.
            _signal_group(child.process.pid, signal.SIGKILL)
            child.process.wait()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True


def _signal_group(process_id: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process_id, number)


def _die_with_parent() -> Callable[[], None] | None:
    """What a new process does first so that the kernel ends it with its parent; None where it can't."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask_for_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before the kernel was asked.
        if os.getppid() != parent:
            os._exit(1)

    return ask_for_signal


def _shorten(path: Path) -> Path:
    return path.relative_to(PROJECT_PATH) if path.is_relative_to(PROJECT_PATH) else path


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text("utf-8", "replace").split("\n")
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f" (last line: {last[:300]})" if last else ""
