"""What is written: every digit, nothing that moves a terminal's cursor, and the API's own CSV."""

import io
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.api import formats as api_formats
from incidents_client import Incident, MalformedAnswerError, Number
from incidents_client.exact_json import parse, render
from incidents_client.formats import (
    CSV_COLUMNS,
    CsvOutput,
    IncidentTable,
    JsonOutput,
    NdjsonOutput,
    print_health,
)
from incidents_client.moments import to_utc
from incidents_client.terminal import Tables, escape
from shared.domain import exact_json as api_json
from tests.client.rows import incident

# What a hostile upstream would put into a field: controls, directions, halves of characters, formulas.
HOSTILE = st.text(
    st.characters(exclude_categories=[])
    | st.sampled_from("\x00\x07\x08\x1b\x7f\x9b\u202e\u2028=+-@\t\r\n'\",\uff1d")
)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False).map(lambda each: api_json.JsonNumber(str(each)))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | HOSTILE
    | st.integers().map(lambda each: api_json.JsonNumber(str(each)))
    | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE, inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(st.dictionaries(st.sampled_from(CSV_COLUMNS) | HOSTILE, VALUES, max_size=6), max_size=4)


@pytest.mark.parametrize(
    "text",
    ["1500020421.9333", "1658264566.2610762", "0.10", "1e400", "-0", "-0.0", "1E5", "12345678901234567890",
     "1e99999999999999999999", "9" * 5_000],
)  # fmt: skip
def test_numbers_keep_their_digits(text: str) -> None:
    """Read and written again they are the same text, however large or small."""
    assert render(parse(f'{{"a":[{text}]}}')) == f'{{"a":[{text}]}}'
    assert str(Number("0.10")) == "0.10"
    assert Number("0.10").decimal() == Decimal("0.1")


@pytest.mark.parametrize(
    "text", ["NaN", "[Infinity]", "[" * 100_000, "{", b"\xff", ""], ids=lambda each: str(each)[:9]
)
def test_what_is_no_json_is_one_kind_of_error(text: str | bytes) -> None:
    """ValueError, also for what is nested without end."""
    with pytest.raises(ValueError, match=r"."):
        parse(text)


@given(VALUES)
@example("\x7f\x80\u2028\ud800")
def test_what_the_api_writes_is_read_and_written_without_loss(value: Any) -> None:
    """Any value of a field: the same to a third reader, in printable ASCII alone."""
    text = api_json.render(value)
    ours = render(parse(text))
    exactly: Any = {"parse_float": str, "parse_int": str}
    assert json.loads(ours, **exactly) == json.loads(text, **exactly)
    assert all(" " <= character <= "~" for character in ours)


@given(ROWS)
def test_csv_is_the_apis(rows: list[dict[str, Any]]) -> None:
    """Byte for byte what the API's own CSV of the same rows is, formulas defused alike."""
    out = io.BytesIO()
    output = CsvOutput(out)
    output.add([parse(api_json.render(row)) for row in rows])
    output.finish()
    assert out.getvalue().decode() == api_formats.render_csv(rows)


def test_csv_says_how_many_cells_it_changed() -> None:
    """Three formulas, what a spreadsheet cuts the blanks off, and texts that are none of it."""
    output = CsvOutput(io.BytesIO())
    output.add([incident(1, ip="=1+1", identifier="@x", source_ip="\t-2", machine_ip="10.0.0.1")])
    output.add([incident(2, ip="\tx", identifier="x=1", source_ip=-2)])
    assert output.defused == 4


@given(HOSTILE)
def test_nothing_hostile_reaches_a_terminal(text: str) -> None:
    """Tables, and CSV on a terminal, hold printable characters and their own line ends alone; what can be
    printed stays as it is.
    """
    shown = escape(text)
    assert shown.isprintable()
    assert (shown == text) == text.isprintable()
    stream = io.StringIO()
    Tables(["A", "B"], stream).add([[text, text]])
    _, line = stream.getvalue().split("\n")[:2]
    assert line.isprintable()
    assert shown.strip() in line
    out = io.BytesIO()
    CsvOutput(out, on_terminal=True).add([incident(1, ip=text)])
    assert out.getvalue().decode().replace("\r\n", "").isprintable()


def test_markup_is_text() -> None:
    """What looks like a style or a link of the library that prints is shown as it is."""
    stream = io.StringIO()
    Tables(["A"], stream).add([["[red]x[/red]"], ["[link=http://evil]"], [":smile:"]])
    assert stream.getvalue() == "A\n[red]x[/red]\n[link=http://evil]\n:smile:\n"


def test_tables_never_cut_and_stay_aligned() -> None:
    """Wide characters take two places; a long cell keeps all of its text; a second batch has no header."""
    stream = io.StringIO()
    tables = Tables(["ONE", "TWO"], stream)
    tables.add([["日本", "a"], ["x" * 300, "b"]])
    tables.add([["y", "c"]])
    lines = stream.getvalue().splitlines()
    assert lines[0] == f"ONE{' ' * 299}TWO"
    assert lines[1] == f"日本{' ' * 298}a"
    assert lines[3] == f"y{' ' * 301}c"


def test_documents_and_lines_are_json() -> None:
    """A document with and without rows, and what stands beside them; a line each."""
    for rows in ([], [incident(1)], [incident(1), incident(2)]):
        out = io.BytesIO()
        document = JsonOutput(out)
        for row in rows:
            document.add([row])
        document.finish(next_token="t")
        assert json.loads(out.getvalue()) == {"data": rows, "next_token": "t"}
        out = io.BytesIO()
        lines = NdjsonOutput(out)
        lines.add(rows)
        lines.finish()
        assert [json.loads(line) for line in out.getvalue().splitlines()] == rows


def test_the_table_of_incidents_shows_every_field() -> None:
    """What has no column of its own is among the details, nested ones as JSON."""
    stream = io.StringIO()
    IncidentTable(stream).add([incident(1, None, "critical", ip="10.0.0.1", note={"a": [1]})])
    header, line = stream.getvalue().splitlines()
    assert header.split() == ["TIME", "EMPLOYEE", "PRIORITY", "TYPE", "ID", "DETAILS"]
    assert line.split() == [
        "2026-11-18", "11:06:41Z", "unknown", "critical", "misuse", f"{1:032x}",
        "ip=10.0.0.1", 'note={"a":[1]}',
    ]  # fmt: skip
    assert to_utc(Decimal("1795181602.9999999")) == "2026-11-20 13:33:22Z"


@pytest.mark.parametrize("timestamp", ["x", None, True, 10**10, Number("1e400"), Number("-1")])
def test_an_incident_without_a_moment_is_none(timestamp: Any) -> None:
    """Nor is one whose timestamp no clock can show."""
    with pytest.raises(MalformedAnswerError):
        Incident.read(incident(1) | {"timestamp": timestamp})


def test_health_is_shown_also_where_it_has_little() -> None:
    """A document without sources, or with other shapes in it, is no traceback."""
    for document in (
        {"status": "fail"},
        {"status": "warn", "sources": {"denial": None, "x": {"last_error": 3}}},
    ):
        stream = io.StringIO()
        print_health(document, stream)
        assert stream.getvalue().splitlines()[0].split() == ["HEALTH", document["status"]]
