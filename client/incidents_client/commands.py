"""What each command does, once the command line is understood. Each gives its exit status."""

import errno
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

from incidents_client.client import LARGEST_PAGE, Client
from incidents_client.errors import (
    IncidentsError,
    MalformedAnswerError,
    ProblemError,
    UnavailableError,
    UnreachableError,
)
from incidents_client.exact_json import render
from incidents_client.files import check_replaceable, replacing, store, sync
from incidents_client.formats import (
    CsvOutput,
    IncidentTable,
    JsonOutput,
    NdjsonOutput,
    Output,
    print_employees,
    print_health,
)
from incidents_client.records import ChangesPage, Employee, Incident, Notice, Row
from incidents_client.terminal import Notes, Progress, is_terminal, sleep_while_read, standard_output

_T = TypeVar("_T")

DONE = 0
HEALTH = {"pass": 0, "warn": 1, "fail": 2}  # nosec B105 - a verdict, no password
# Done, but standard error tells of a gap, or of a walk that is not of one snapshot.
DONE_BUT = 3

# A table of more is no use to anybody who did not ask for it.
EMPLOYEES_IN_A_TABLE = 100
_CHUNK = 500
# The API's are base64url, some hundred characters.
_TOKEN = re.compile(r"[!-~]{1,2048}")
_LONGEST_OUTAGE_WAIT_SECONDS = 60.0
_LONGEST_ASKED_WAIT_SECONDS = 600.0


@dataclass(frozen=True)
class Filters:
    """Which incidents are meant."""

    priorities: Sequence[str] = ()
    types: Sequence[str] = ()
    since: str | None = None
    until: str | None = None

    def match(self, row: Row) -> bool:
        """Whether a row of the feed has one of the priorities and types; the feed itself has no filters."""
        return (not self.priorities or row.get("priority") in self.priorities) and (
            not self.types or row.get("type") in self.types
        )


class Reservations:
    """Hears the client's notices, tells them, and remembers those that lessen the result."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self.any = False

    def hear(self, notice: Notice) -> None:
        """Tell a notice."""
        if notice.kind == "waiting":
            self._notes.say(notice.text)
        else:
            self.any = True
            self._notes.complain(notice.text)

    def status(self) -> int:
        """The exit status of a command that has come to its end."""
        return DONE_BUT if self.any else DONE


def open_output(form: str, stream: BinaryIO | None = None) -> Output:
    """Where rows go: standard output, or a file that is open for bytes."""
    if form == "table":
        return IncidentTable(standard_output())
    out = stream or sys.stdout.buffer
    if form == "json":
        return JsonOutput(out)
    if form == "csv":
        return CsvOutput(out, on_terminal=stream is None and is_terminal(sys.stdout))
    return NdjsonOutput(out)


def list_employees(
    client: Client, notes: Notes, heard: Reservations, filters: Filters, *, form: str, limit: int | None
) -> int:
    """Employees in a table, or their incidents in another form; ``limit`` is in employees, None for all."""
    # Two more: the last of a page is held back until it is known to be whole, and one more tells of others.
    page_size = min(limit + 2, LARGEST_PAGE) if limit else LARGEST_PAGE
    walk = client.employees(
        priorities=filters.priorities,
        types=filters.types,
        since=filters.since,
        until=filters.until,
        page_size=page_size,
    )
    found = walk if limit is None else islice(walk, limit)
    if form == "table":
        with notes.progress() as progress:
            # The first chunk comes after a request or two; from then on the table itself shows how far it is.
            chunks = _chunks(found)
            first = next(chunks, [])
            progress.tell("")
        print_employees(_prepended(first, chunks), standard_output())
        standard_output().flush()
    else:
        output = open_output(form)
        with _told_rows(notes, to_file=False) as count:
            for employee in found:
                output.add([each.fields for each in employee.incidents])
                count(len(employee.incidents), 1)
        finish(output, notes)
    if limit is not None and next(walk, None) is not None:
        notes.say(f"these are the first {limit} employees; --all gives all, --limit another number")
    return heard.status()


def list_unattributed(
    client: Client, notes: Notes, heard: Reservations, filters: Filters, *, form: str, limit: int | None
) -> int:
    """Incidents that wait for their employee; ``limit`` is in incidents, None for all."""
    walk = _unattributed(client, filters)
    output = open_output(form)
    for chunk in _chunks(walk if limit is None else islice(walk, limit)):
        output.add([each.fields for each in chunk])
        output.flush()
    finish(output, notes)
    if limit is not None and next(walk, None) is not None:
        notes.say(f"these are the first {limit} incidents; --all gives all, --limit another number")
    return heard.status()


def show_employee(
    client: Client, notes: Notes, heard: Reservations, filters: Filters, *, form: str, employee_id: str
) -> int:
    """One employee's incidents."""
    employee = client.employee(
        employee_id,
        priorities=filters.priorities,
        types=filters.types,
        since=filters.since,
        until=filters.until,
    )
    output = open_output(form)
    output.add([each.fields for each in employee.incidents])
    finish(output, notes)
    if not employee.incidents:
        notes.say("none of this employee's incidents match")
    return heard.status()


def read_changes(
    client: Client,
    notes: Notes,
    heard: Reservations,
    *,
    form: str,
    token: str | None,
    token_file: Path | None,
    schema: str,
) -> int:
    """What is new since the token, up to now.

    The next token goes into ``token_file`` only after the rows before it were written and flushed, to disk
    where they go there: whatever ends this process, the next one delivers what may be missing.
    """
    if token_file is not None:
        token = load_token(token_file)
    output = open_output(form)
    next_token = token or ""
    with _told_rows(notes, to_file=False) as count:
        for page in client.changes(token, schema=schema, go_on_after_gap=True):
            output.add(page.rows)
            count(len(page.rows), 0)
            next_token = page.next_token
            if token_file is not None and output.complete_at_any_time:
                _deliver(output)
                store(token_file, f"{next_token}\n")
    finish(output, notes, next_token=next_token)
    if token_file is None:
        if form != "json":
            notes.say(f"next token: {next_token}")
    elif not output.complete_at_any_time:
        _deliver(output)
        store(token_file, f"{next_token}\n")
    return heard.status()


def tail(
    client: Client,
    notes: Notes,
    heard: Reservations,
    filters: Filters,
    *,
    form: str,
    last: int,
    follow: bool,
    interval: float,
    token_file: Path | None,
    sleep: Callable[[float], object] = sleep_while_read,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """The ``last`` incidents that were taken in, and with ``follow`` each new one as it comes.

    With a ``token_file`` that is there already: all that is new since, as `changes`.
    """
    output = open_output(form)
    token = load_token(token_file) if token_file else None
    if token is None:
        newest: deque[Row] = deque(maxlen=last)
        with _told_rows(notes, to_file=False, before_output=True) as count:
            for page in client.changes(go_on_after_gap=True):
                newest.extend(filter(filters.match, page.rows))
                count(len(page.rows), 0)
                token = page.next_token
        output.add(list(newest))
    else:
        for page in client.changes(token, go_on_after_gap=True):
            output.add(list(filter(filters.match, page.rows)))
            token = page.next_token
            _deliver(output)
            if token_file:
                store(token_file, f"{token}\n")
    _deliver(output)
    if token_file and token:
        store(token_file, f"{token}\n")
    if not follow:
        finish(output, notes)
        return heard.status()
    for page in follow_changes(client, notes, token, interval=interval, sleep=sleep, clock=clock):
        rows = list(filter(filters.match, page.rows))
        if rows:
            output.add(rows)
            _deliver(output)
        if token_file:
            store(token_file, f"{page.next_token}\n")
    return heard.status()


def follow_changes(
    client: Client,
    notes: Notes,
    token: str | None,
    *,
    interval: float,
    sleep: Callable[[float], object],
    clock: Callable[[], float],
) -> Iterator[ChangesPage]:
    """Pages with something new in them, for ever; outages are told once and outlasted.

    Where nothing is new the server answers 304, which costs it one small read.
    """
    etag: str | None = None
    down_since: float | None = None
    failures = 0
    while True:
        try:
            page = client.changes_page(token, etag=etag, go_on_after_gap=True, patience=0)
        except (UnavailableError, UnreachableError, MalformedAnswerError) as error:
            if down_since is None:
                down_since = clock()
                notes.say(f"{error}; goes on as soon as it answers")
            failures += 1
            sleep(_outage_wait(error, interval, failures))
            continue
        if down_since is not None:
            notes.say(f"answers again, after {clock() - down_since:.0f} s")
            down_since, failures = None, 0
        has_more = False
        if page is not None:
            # A tag is of one request, and the next token makes another one.
            etag = page.etag if page.next_token == token else None
            is_news = bool(page.rows) or page.next_token != token
            token, has_more = page.next_token, page.has_more
            if is_news:
                yield page
        if not has_more:
            sleep(interval)


def show_health(client: Client, *, form: str) -> int:
    """The health document; the exit status is its verdict."""
    health = client.health()
    out = standard_output()
    if form == "table":
        print_health(health.document, out)
    else:
        out.write(render(health.document) + "\n")
    out.flush()
    return HEALTH[health.status]


def export(
    client: Client,
    notes: Notes,
    heard: Reservations,
    filters: Filters,
    *,
    form: str,
    file: Path | None,
    unattributed: bool,
) -> int:
    """All incidents that match, into a file that is there whole or not at all, or to standard output."""
    started = time.monotonic()
    incidents = total = 0
    with replacing(file) if file else nullcontext() as stream:
        output = open_output(form, stream)
        with _told_rows(notes, to_file=file is not None) as count:
            if unattributed:
                for chunk in _chunks(_unattributed(client, filters)):
                    output.add([each.fields for each in chunk])
                    count(len(chunk), 0)
                    incidents += len(chunk)
            else:
                for employee in client.employees(
                    priorities=filters.priorities,
                    types=filters.types,
                    since=filters.since,
                    until=filters.until,
                ):
                    output.add([each.fields for each in employee.incidents])
                    count(len(employee.incidents), 1)
                    incidents += len(employee.incidents)
                    total += 1
        finish(output, notes)
    if file:
        of_whom = "" if unattributed else f" of {total:,} employees"
        notes.say(f"{file}: {incidents:,} incidents{of_whom} in {time.monotonic() - started:.0f} s")
    return heard.status()


def load_token(path: Path) -> str | None:
    """The token that a file holds; None where there is no such file, or nothing in it.

    Raises OSError, also where the next token could not be kept, before anything is delivered: else each run
    would deliver the same. What is no token is some other file, and sent nowhere.
    """
    check_replaceable(path)
    try:
        with path.open("rb") as file:
            text = file.read(4_096).decode("latin-1").strip()
    except FileNotFoundError:
        return None
    if text and not _TOKEN.fullmatch(text):
        raise OSError(errno.EINVAL, "it is there, but holds no token", str(path))
    return text or None


def finish(output: Output, notes: Notes, **members: str) -> None:
    """End what was written, and say what was changed in it."""
    output.finish(**members)
    if isinstance(output, CsvOutput) and output.defused:
        notes.say(
            f"{output.defused} cells that a spreadsheet may take for formulas have a ' in front; "
            "JSON has them as they are"
        )


def _deliver(output: Output) -> None:
    output.flush()
    sync(sys.stdout.buffer)


def _outage_wait(error: IncidentsError, interval: float, failures: int) -> float:
    wait = min(_LONGEST_OUTAGE_WAIT_SECONDS, interval * (1 << min(failures - 1, 10)))
    asked = error.retry_after if isinstance(error, ProblemError) else None
    return max(wait, interval, min(asked or 0.0, _LONGEST_ASKED_WAIT_SECONDS))


def _unattributed(client: Client, filters: Filters) -> Iterator[Incident]:
    return client.unattributed(
        priorities=filters.priorities, types=filters.types, since=filters.since, until=filters.until
    )


@contextmanager
def _told_rows(
    notes: Notes, *, to_file: bool, before_output: bool = False
) -> Iterator[Callable[[int, int], None]]:
    """Tells how many rows there were so far, where a person can see it and it does not run into the rows."""
    shown = to_file or before_output or not is_terminal(sys.stdout)
    started = time.monotonic()
    incidents = employees = 0

    with notes.progress(shown=shown) as progress:

        def count(rows: int, of_employees: int) -> None:
            nonlocal incidents, employees
            incidents += rows
            employees += of_employees
            _tell(progress, incidents, employees, time.monotonic() - started)

        yield count


def _tell(progress: Progress, incidents: int, employees: int, seconds: float) -> None:
    of_whom = f" of {employees:,} employees" if employees else ""
    progress.tell(f"{incidents:,} incidents{of_whom}, {incidents / max(seconds, 0.001):,.0f} a second")


def _chunks(walk: Iterator[_T]) -> Iterator[list[_T]]:
    while chunk := list(islice(walk, _CHUNK)):
        yield chunk


def _prepended(first: list[Employee], rest: Iterator[list[Employee]]) -> Iterator[list[Employee]]:
    yield first
    yield from rest
