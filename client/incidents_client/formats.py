"""Incidents as tables for people, as JSON, NDJSON and CSV for programs."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, BinaryIO, Protocol

from incidents_client.exact_json import JsonValue, Number, render
from incidents_client.moments import to_utc
from incidents_client.records import PRIORITIES, Employee, Incident, Row
from incidents_client.terminal import Tables, escape

FORMATS = ("table", "json", "ndjson", "csv")

# Those of the API's own CSV (docs/api.md), so that both can be loaded alike.
CSV_COLUMNS = (
    "id", "sequence", "ingested_at", "timestamp", "type", "priority", "employee_id",
    "source_ip", "internal_ip", "machine_ip", "ip", "identifier", "reported_by",
)  # fmt: skip
_OTHER = "other"
# A spreadsheet takes a cell that begins so for a formula (OWASP, CSV injection).
_FORMULA_STARTS = frozenset("=+-@＝＋－＠")  # noqa: RUF001 - the wide ones count as well
_IN_COLUMNS_OF_THE_TABLE = frozenset({"id", "timestamp", "type", "priority", "employee_id", "sequence"})


class Output(Protocol):
    """Where rows go. What was added before :meth:`flush` has left this process after it."""

    complete_at_any_time: bool
    """Whether what is flushed is of use without the rest; a JSON document is not."""

    def add(self, rows: Sequence[Row]) -> None:
        """Write some rows."""

    def flush(self) -> None:
        """Let nothing wait."""

    def finish(self, **members: JsonValue) -> None:
        """Write what is left; ``members`` stand beside the rows where the form has a place for them."""


class NdjsonOutput:
    """A JSON object a line."""

    complete_at_any_time = True

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def add(self, rows: Sequence[Row]) -> None:
        """Write some lines."""
        self._stream.write("".join(f"{render(row)}\n" for row in rows).encode())

    def flush(self) -> None:
        """Let nothing wait."""
        self._stream.flush()

    def finish(self, **members: JsonValue) -> None:
        """Let nothing wait; lines have no place for anything else."""
        self.flush()


class JsonOutput:
    """One document, ``{"data": [...]}``, a row a line."""

    complete_at_any_time = False

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._separator = '{"data": [\n'

    def add(self, rows: Sequence[Row]) -> None:
        """Write some rows."""
        for row in rows:
            self._stream.write((self._separator + render(row)).encode())
            self._separator = ",\n"

    def flush(self) -> None:
        """Let nothing wait."""
        self._stream.flush()

    def finish(self, **members: JsonValue) -> None:
        """Close the document."""
        end = "\n]" if self._separator == ",\n" else '{"data": []'
        more = "".join(f", {render(name)}: {render(value)}" for name, value in members.items())
        self._stream.write(f"{end}{more}}}\n".encode())
        self.flush()


class CsvOutput:
    """RFC 4180 with a header line, in the columns of the API's own CSV.

    A cell that a spreadsheet may take for a formula gets a `'` in front, as in the API's; ``defused`` counts
    them. On a terminal, control characters are written out; in files and pipes they are what they were.
    """

    complete_at_any_time = True

    def __init__(self, stream: BinaryIO, *, on_terminal: bool = False) -> None:
        self._stream = stream
        self._on_terminal = on_terminal
        self._has_header = False
        self.defused = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Write some lines."""
        text = io.StringIO()
        writer = csv.writer(text)
        if not self._has_header:
            writer.writerow([*CSV_COLUMNS, _OTHER])
            self._has_header = True
        for row in rows:
            other = {name: value for name, value in row.items() if name not in CSV_COLUMNS}
            cells = [self._cell(row.get(name)) for name in CSV_COLUMNS]
            writer.writerow([*cells, self._cell(render(other)) if other else ""])
        self._stream.write(text.getvalue().encode())

    def flush(self) -> None:
        """Let nothing wait."""
        self._stream.flush()

    def finish(self, **members: JsonValue) -> None:
        """Without any row: the header alone."""
        if not self._has_header:
            self.add([])
        self.flush()

    def _cell(self, value: JsonValue) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            return render(value)
        # JSON can escape half a character, CSV can't.
        text = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        text = escape(text) if self._on_terminal else text
        if _may_be_formula(text):
            self.defused += 1
            return f"'{text}"
        return text


def _may_be_formula(text: str) -> bool:
    """Whether a spreadsheet may take it for one, after what it skips: blanks and what can't be printed."""
    first = next((character for character in text if character.isprintable() and not character.isspace()), "")
    return first in _FORMULA_STARTS or text.startswith(("\t", "\r", "\n"))


class IncidentTable:
    """A line an incident, for people."""

    complete_at_any_time = True

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        columns = ["TIME", "EMPLOYEE", "PRIORITY", "TYPE", "ID", "DETAILS"]
        self._tables = Tables(columns, stream, widths=[20, 8, 8, 12, 32])

    def add(self, rows: Sequence[Row]) -> None:
        """Print some lines."""
        if rows:
            self._tables.add([_cells(Incident.read(row)) for row in rows])

    def flush(self) -> None:
        """Let nothing wait."""
        self._stream.flush()

    def finish(self, **members: JsonValue) -> None:
        """Let nothing wait."""
        self.flush()


def print_employees(employees: Iterable[Sequence[Employee]], stream: IO[str]) -> None:
    """A line an employee: incidents of each priority, and when the last one was; a chunk at a time."""
    columns = ["EMPLOYEE", *(priority.upper() for priority in PRIORITIES), "LAST"]
    tables = Tables(columns, stream)
    for chunk in employees:
        tables.add([_count(employee) for employee in chunk])


def _count(employee: Employee) -> list[str]:
    last = max((each.timestamp for each in employee.incidents), default=None)
    counts = [str(employee.counts[priority]) for priority in PRIORITIES]
    return [employee.id, *counts, "" if last is None else to_utc(last)]


def _cells(incident: Incident) -> list[str]:
    details = [
        f"{name}={value if isinstance(value, str) else render(value)}"
        for name, value in incident.fields.items()
        if name not in _IN_COLUMNS_OF_THE_TABLE
    ]
    employee = "unknown" if incident.employee_id is None else incident.employee_id
    moment = to_utc(incident.timestamp)
    return [moment, employee, incident.priority, incident.type, incident.id, " ".join(details)]


def print_health(document: Row, stream: IO[str]) -> None:
    """The verdict and why, the counters, and a line for each source."""
    facts = Tables(["HEALTH", _text(document.get("status"))], stream)
    names = (
        "output", "data_age_seconds", "last_attempt_at", "last_success_at", "consecutive_failures",
        "total_identified_incidents", "unattributed_incidents", "rejected_records", "version",
    )  # fmt: skip
    labels = {"output": "why"}
    facts.add([[labels.get(name, name.replace("_", " ")), _text(document.get(name))] for name in names])
    sources = document.get("sources")
    if isinstance(sources, Mapping):
        stream.write("\n")
        columns = ["SOURCE", "STATE", "RECORDS", "LATENCY MS", "ATTEMPTS", "LAST SUCCESS", "LAST ERROR"]
        Tables(columns, stream).add([_source(name, each) for name, each in sources.items()])


def _source(name: str, value: JsonValue) -> list[str]:
    source = value if isinstance(value, Mapping) else {}
    error = source.get("last_error")
    told = f"{_text(error.get('class'))}, {_text(error.get('at'))}" if isinstance(error, Mapping) else ""
    fields = ("state", "records", "latency_ms", "attempts", "last_success_at")
    return [name, *(_text(source.get(field)) for field in fields), told]


def _text(value: JsonValue) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, str | Number) else render(value)
