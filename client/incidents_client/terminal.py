"""What a terminal is shown. Everything from the upstream is hostile: none of it may move a cursor."""

import os
import select
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from rich.console import Console
from rich.text import Text

# Lines are never cut: a terminal that is too narrow wraps them by itself.
_ENDLESS = 100_000
_STYLES = {
    "critical": "bold red",
    "high": "red",
    "medium": "yellow",
    "fail": "bold red",
    "warn": "yellow",
    "pass": "green",  # nosec B105 - a verdict, no password
    "stale": "yellow",
    "never_taken": "red",
    "fresh": "green",
}


def escape(text: str) -> str:
    r"""The text with what is not printable written out: `\x1b`, `\u202e`, `\n` as `\x0a`."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _written_out(ord(each)) for each in text)


def _written_out(code: int) -> str:
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


class _Console(Console):
    """Rich's own would end the process with a status that means something else here."""

    def on_broken_pipe(self) -> None:
        """Let whoever began it see that nobody reads any more."""
        raise BrokenPipeError


class Tables:
    """Tables on standard output, a few rows at a time with columns as wide as the widest so far."""

    def __init__(self, columns: Sequence[str], stream: IO[str], *, widths: Sequence[int] = ()) -> None:
        self._columns = columns
        self._console = _Console(file=stream, width=_ENDLESS, highlight=False, soft_wrap=True)
        wanted = [*widths, *[0] * (len(columns) - len(widths))]
        self._widths = [max(len(name), width) for name, width in zip(columns, wanted, strict=True)]
        self._has_header = False

    def add(self, rows: Sequence[Sequence[str]]) -> None:
        """Print some rows, the header before the first."""
        lines = [[Text(escape(cell), style=_STYLES.get(cell, "")) for cell in row] for row in rows]
        if not self._has_header:
            lines.insert(0, [Text(name, style="bold") for name in self._columns])
            self._has_header = True
        for line in lines:
            self._widths = [max(width, cell.cell_len) for width, cell in zip(self._widths, line, strict=True)]
        for line in lines:
            for cell, width in zip(line[:-1], self._widths, strict=False):
                cell.pad_right(width - cell.cell_len)
            self._console.print(Text("  ").join(line))


class Notes:
    """What is said on standard error: notes, one line each, and a line that tells how far it is.

    The line is shown where standard error is a terminal and standard output is not one, or nothing comes yet.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = _Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

    def say(self, text: str) -> None:
        """A note; nothing where all should be quiet."""
        if not self._quiet:
            self.complain(text)

    def complain(self, text: str) -> None:
        """Why it ends, or what must not be missed; also where all should be quiet."""
        try:
            self._console.print(Text(f"incidents: {escape(text)}"))
        except OSError:
            # That nobody can be told changes neither the work nor its exit status.
            let_go(sys.stderr)

    @contextmanager
    def progress(self, *, shown: bool = True) -> Iterator["Progress"]:
        """Show how far it is, while that lasts."""
        # Not as rich judges it: FORCE_COLOR makes no log a terminal.
        if not shown or self._quiet or not is_terminal(sys.stderr):
            yield Progress()
            return
        # In ASCII: not every terminal has more.
        with self._console.status("asking", spinner="line") as status:
            yield Progress(status.update)


class Progress:
    """How far it is: some text, nowhere by default."""

    def __init__(self, show: Callable[[str], object] = lambda text: None) -> None:
        self._show = show

    def tell(self, text: str) -> None:
        """Show this instead of what was there."""
        self._show(escape(text))


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether people look at it; standard streams may be closed."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def let_go(stream: IO[str] | None) -> None:
    """Write what is still in a buffer, or drop it where that fails: it must not fail again at the end."""
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())


def sleep_while_read(seconds: float) -> None:
    """Sleep; raises BrokenPipeError as soon as nobody reads standard output any more.

    Who only writes would see that no sooner than there is something to write: `tail -f | head` has to end.
    """
    try:
        number = sys.stdout.fileno()
        kind = os.fstat(number).st_mode
    except (OSError, ValueError):
        kind = 0
    if not hasattr(select, "poll") or not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        time.sleep(seconds)
        return
    watched = select.poll()
    # No event is asked for: errors are always told.
    watched.register(number, 0)
    if watched.poll(seconds * 1_000):
        raise BrokenPipeError


def standard_output() -> IO[str]:
    """Standard output as text that never fails on a character that the terminal does not have."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="backslashreplace")
    return sys.stdout
