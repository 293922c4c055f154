"""The changes feed in each of its forms: every field, every digit, and nothing that a reader would run."""

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.api.formats import CSV, FLAT, JSON, NDJSON, NESTED, render_csv, render_json, render_ndjson
from shared.domain.change import Change
from shared.domain.exact_json import JsonNumber, JsonValue, parse, render
from shared.domain.incident import INCIDENT_TYPES, SUBJECT_FIELDS, normalise

type Row = dict[str, JsonValue]

NOW = 1_795_415_000
HEADER = [
    "id", "sequence", "ingested_at", "timestamp", "type", "priority", "employee_id", "source_ip",
    "internal_ip", "machine_ip", "ip", "identifier", "reported_by", "other",
]  # fmt: skip
ROW: Row = {
    "id": "9f2c",
    "employee_id": "4506",
    "type": "executable",
    "priority": "medium",
    "machine_ip": "17.99.238.86",
    "timestamp": JsonNumber("1500020421.9330000"),
    "sequence": JsonNumber("42"),
    "ingested_at": "2026-11-23T06:00:00Z",
}
DIGITS = (
    '{"a":1.10,"b":123456789012345678901234567890,"c":1e400,"d":-0.0,"e":[1.0,{"f":0.10000000000000001}]}'
)


def read_csv(text: str) -> list[dict[str, str]]:
    """The rows as a reader of RFC 4180 gets them, after checking the header."""
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert rows[0] == HEADER
    assert all(len(row) == len(HEADER) for row in rows)
    return [dict(zip(HEADER, row, strict=True)) for row in rows[1:]]


def csv_cell(value: JsonValue, column: str = "source_ip") -> str:
    """How a value of a column comes back from a CSV."""
    (row,) = read_csv(render_csv([{**ROW, column: value}]))
    return row[column]


def test_media_types() -> None:
    """The forms under their registered names; nested rows have no CSV."""
    assert (JSON, NDJSON, CSV) == ("application/json", "application/x-ndjson", "text/csv")
    assert FLAT == (JSON, NDJSON, CSV)
    assert NESTED == (JSON, NDJSON)


# ---------------------------------------------------------------- JSON and NDJSON


def test_json_envelope() -> None:
    """`data`, `next_token` and `has_more`, in that order and in one line, with and without rows."""
    assert render_json([], "tok", has_more=False) == '{"data":[],"next_token":"tok","has_more":false}'
    text = render_json([ROW, ROW], "tok", has_more=True)
    assert text == f'{{"data":[{render(ROW)},{render(ROW)}],"next_token":"tok","has_more":true}}'
    assert list(json.loads(text)) == ["data", "next_token", "has_more"]


def test_ndjson_lines_parse_one_by_one() -> None:
    """Each line is an object by itself and ends with a newline; no rows are no lines."""
    assert render_ndjson([]) == ""
    rows = [
        {**ROW, "note": text} for text in ("a", "line\nbreak", "\r\n", "\u2028\u2029\x85\x0b\x0c\x1c", "é")
    ]
    text = render_ndjson(rows)
    assert text.endswith("}\n")
    assert text.isascii()
    lines = text.splitlines()
    assert len(lines) == len(rows)
    assert [json.loads(line)["note"] for line in lines] == [row["note"] for row in rows]
    assert [parse(line) for line in lines] == rows


def test_digits_are_exact_in_every_form() -> None:
    """Numbers go out as they came in: no rounding, no lost zero, no exponent made or undone."""
    extra = parse(DIGITS)
    row = {**ROW, "extra": extra}
    for text in (render_json([row], "t", has_more=False), render_ndjson([row])):
        assert f'"extra":{DIGITS}' in text
        assert '"timestamp":1500020421.9330000,' in text
    (cells,) = read_csv(render_csv([row]))
    assert cells["timestamp"] == "1500020421.9330000"
    assert cells["other"] == f'{{"extra":{DIGITS}}}'


# ---------------------------------------------------------------- CSV


def test_csv_header_and_columns() -> None:
    """What every incident has first, the known upstream fields next, the rest in `other`; CRLF line ends."""
    assert render_csv([]) == ",".join(HEADER) + "\r\n"
    assert render_csv([ROW]) == (
        ",".join(HEADER)
        + "\r\n9f2c,42,2026-11-23T06:00:00Z,1500020421.9330000,executable,medium,4506,,,17.99.238.86,,,,\r\n"
    )


@pytest.mark.parametrize("incident_type", INCIDENT_TYPES)
def test_the_subject_of_every_type_has_a_column(incident_type: str) -> None:
    """Whom an incident of any type is about stands in a column of its own, nothing is left for `other`."""
    subject = SUBJECT_FIELDS[incident_type]
    value = '"10.0.0.1"' if subject.endswith("ip") else "4506"
    text = f'{{"{subject}":{value},"source_ip":"1.2.3.4","priority":"low","timestamp":1.50}}'
    incident = normalise(incident_type, parse(text), now=NOW)
    change = Change(incident, incident.employee_id or "7", 42, "2026-11-23T06:00:00Z")
    (cells,) = read_csv(render_csv([change.flat()]))
    assert cells[subject] == json.loads(value if value.startswith('"') else f'"{value}"')
    assert cells["source_ip"] == "1.2.3.4"
    assert cells["timestamp"] == "1.50"
    assert cells["type"] == incident_type
    assert cells["other"] == ""


def test_unknown_and_nested_fields_are_in_other() -> None:
    """Whatever the upstream adds is one JSON object in the last column, whole and exact."""
    extra: Row = {
        "note": 'say "hi", ü',
        "nested": {"a": [JsonNumber("1.10"), None, True]},
        "": "",
        "=1": "=1",
    }
    (cells,) = read_csv(render_csv([{**ROW, **extra}]))
    assert parse(cells["other"]) == extra
    assert {name: cells[name] for name in ROW} == {
        name: value.text if isinstance(value, JsonNumber) else value for name, value in ROW.items()
    }


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        ("", ""),
        (True, "true"),
        (False, "false"),
        (JsonNumber("5"), "5"),
        # A number is none of a spreadsheet's formulas: it stays a number.
        (JsonNumber("-5"), "-5"),
        (JsonNumber("-1.50e-7"), "-1.50e-7"),
        ("plain", "plain"),
        ('a "b", c', 'a "b", c'),
        ('"', '"'),
        ("a\nb", "a\nb"),
        ("a\rb", "a\rb"),
        ("a\r\nb", "a\r\nb"),
        (",", ","),
        ("a=b", "a=b"),
        ("1-2", "1-2"),
        ("a@b", "a@b"),
        ("'", "'"),
        ("é😀", "é😀"),
        (["=1"], '["=1"]'),
        ({"=": "="}, '{"=":"="}'),
        ([], "[]"),
        ({}, "{}"),
    ],
)
def test_how_a_value_comes_back(value: JsonValue, cell: str) -> None:
    """Through a CSV reader each value is the text that it was; null and nothing are an empty cell."""
    assert csv_cell(value) == cell


@pytest.mark.parametrize("text", ['"', '""', ",", "\n", "\r", "\r\n", 'a"b', 'a,"b"\r\nc', '"a"'])
def test_quoting_is_that_of_rfc_4180(text: str) -> None:
    """A cell with a comma, a quote or a line break is quoted, and its quotes are doubled."""
    quoted = '"{}"'.format(text.replace('"', '""'))
    line = render_csv([{**ROW, "identifier": f"x{text}"}]).split("17.99.238.86,,", 1)[1]
    assert line == f'"x{quoted[1:]},,\r\n'


DANGEROUS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://x","y")',
    "-",
    "=",
    "@",
    "+",
]
FULL_WIDTH = ["\uff1d", "\uff0b", "\uff0d", "\uff20"]
# What spreadsheets take away, or do not show, before they look for a formula.
SKIPPED = [
    " ", "  ", "\t", "\r", "\n", "\r\n", "\0", "\x0b", "\x0c", "\x1f", "\x7f", "\u00a0", "\u2003", "\u3000",
    "\ufeff", "\u200b", "\u200e", "\u2028", "\u00ad", " \t", "\t ", "\ufeff ", " \u00a0\r",
]  # fmt: skip


def is_harmless(cell: str) -> bool:
    """Whether the cell, as a spreadsheet shows it, begins with the apostrophe that makes it a text."""
    return cell.startswith("'")


@pytest.mark.parametrize("column", [name for name in HEADER if name not in ("other", "id", "sequence")])
@pytest.mark.parametrize("text", DANGEROUS)
def test_no_text_becomes_a_formula(text: str, column: str) -> None:
    """A text that would be run begins with an apostrophe, and is whole behind it; in every column."""
    assert csv_cell(text, column) == f"'{text}"


@pytest.mark.parametrize("skipped", SKIPPED, ids=ascii)
def test_no_text_becomes_a_formula_after_what_is_skipped(skipped: str) -> None:
    """Neither behind what spreadsheets skip or trim on their way to the first character."""
    for text in (*DANGEROUS, *(f"{start}1" for start in FULL_WIDTH)):
        cell = csv_cell(f"{skipped}{text}")
        assert is_harmless(cell), ascii(cell)
        assert cell == f"'{skipped}{text}"


@pytest.mark.parametrize("start", FULL_WIDTH, ids=ascii)
def test_full_width_starts_are_formulas_as_well(start: str) -> None:
    """Spreadsheets of East Asian locales take the full-width forms of = + - @ for the plain ones (OWASP)."""
    assert is_harmless(csv_cell(f"{start}1"))


@pytest.mark.parametrize("text", ["\t", "\r", "\n", "\tx", "\rx", "\nx"])
def test_what_opens_a_cell_with_a_break_is_a_text(text: str) -> None:
    """Tab, carriage return and line feed at the beginning count as formula starts (OWASP)."""
    assert csv_cell(text) == f"'{text}"


def test_other_is_never_a_formula() -> None:
    """The JSON of the last column begins with a brace, whatever the names and values in it are."""
    for name in (*DANGEROUS, *SKIPPED):
        (cells,) = read_csv(render_csv([{**ROW, name: name}]))
        assert cells["other"].startswith("{")
        assert json.loads(cells["other"]) == {name: name}


def test_nothing_a_hostile_upstream_sends_opens_a_new_cell() -> None:
    """Quotes, commas and line breaks of a value stay in its cell: no row and no cell is made up."""
    attack = 'x","=1+1"\r\n"=2","y'
    rows = read_csv(render_csv([{**ROW, "source_ip": attack, "note": attack}, ROW]))
    assert len(rows) == 2
    assert rows[0]["source_ip"] == attack
    assert json.loads(rows[0]["other"]) == {"note": attack}


@pytest.mark.parametrize("form", [JSON, NDJSON, CSV])
@pytest.mark.parametrize("column", ["source_ip", "note"])
@pytest.mark.parametrize(
    "half", ["a\\ud800", "\\ud800a", "\\udfffa", "a\\udc00\\ud800b", "\\ud800", "\\ud800=1"]
)
def test_half_a_character_does_not_stop_the_feed(form: str, column: str, half: str) -> None:
    r"""JSON can carry half of a character ("\ud800"), UTF-8 can't: the answer can be sent all the same.

    Else one such record of a hostile upstream would be the end of the feed for every reader of that form.
    """
    record = parse(f'{{"value":"before {half} after"}}')
    assert isinstance(record, dict)
    rows = [{**ROW, column: record["value"]}]
    body = {JSON: render_json(rows, "t", has_more=False), NDJSON: render_ndjson(rows), CSV: render_csv(rows)}
    sent = body[form].encode("utf-8")
    assert b"before " in sent
    assert b" after" in sent


def test_whole_characters_stay_whole() -> None:
    """What can be sent is sent as it is, whichever script it is in, up to the last code point."""
    for text in ("é", "\u4e2d", "😀", "\U0010ffff", "a\ufeffb", "\u0301"):
        assert csv_cell(f"x{text}") == f"x{text}"


texts = st.text(max_size=12) | st.text(alphabet="=+-@\t\r\n \",'a", max_size=8)
numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,9})?", fullmatch=True).map(JsonNumber)
json_values = st.recursive(
    st.none() | st.booleans() | texts | numbers,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
any_rows = st.lists(
    st.builds(
        lambda known, unknown: {**unknown, **ROW, **known},
        st.dictionaries(st.sampled_from(HEADER[7:-1]), json_values, max_size=4),
        st.dictionaries(texts, json_values, max_size=3),
    ),
    max_size=4,
)


@settings(deadline=None, max_examples=500)
@given(any_rows)
def test_round_trip(rows: list[Row]) -> None:
    """Whatever the rows hold: JSON and NDJSON give them back as they were, a CSV every cell as its text."""
    envelope = parse(render_json(rows, "t", has_more=False))
    assert isinstance(envelope, dict)
    assert envelope["data"] == rows
    assert [parse(line) for line in render_ndjson(rows).splitlines()] == rows
    read = read_csv(render_csv(rows))
    assert len(read) == len(rows)
    for cells, row in zip(read, rows, strict=True):
        other = {name: value for name, value in row.items() if name not in HEADER[:-1]}
        assert (parse(cells["other"]) if cells["other"] else {}) == other
        for column in HEADER[:-1]:
            value = row.get(column)
            cell = cells[column]
            match value:
                case None:
                    assert cell == ""
                case JsonNumber(text):
                    assert cell == text
                case str():
                    assert cell in (value, f"'{value}")
                    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
                case _:
                    assert parse(cell) == value


def test_a_row_of_its_own_named_other_is_not_lost() -> None:
    """An upstream field called `other` stands in the column of that name like any unknown one."""
    (cells,) = read_csv(render_csv([{**ROW, "other": "=x"}]))
    assert json.loads(cells["other"]) == {"other": "=x"}
