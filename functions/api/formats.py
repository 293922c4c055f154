"""The changes feed as JSON, NDJSON or CSV."""

import csv
import io
import json
from collections.abc import Mapping, Sequence

from shared.domain.exact_json import JsonNumber, JsonValue, render

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"

# The forms of flat rows, and those that can hold nested ones.
FLAT = (JSON, NDJSON, CSV)
NESTED = (JSON, NDJSON)

type Row = Mapping[str, JsonValue]

# What every incident has comes first and in this order; upstream fields beside the known ones are in `other`.
_COLUMNS = (
    "id", "sequence", "ingested_at", "timestamp", "type", "priority", "employee_id",
    "source_ip", "internal_ip", "machine_ip", "ip", "identifier", "reported_by",
)  # fmt: skip
_OTHER = "other"
# A spreadsheet takes a cell that begins so for a formula (OWASP, CSV injection).
_FORMULA_STARTS = frozenset("=+-@＝＋－＠")  # noqa: RUF001 - the wide ones count as well


def size_in_answer(row: Row, media_type: str) -> int:
    """Bytes that the row takes in Lambda's answer, where the whole body is a JSON string."""
    text = _csv_lines([row]) if media_type == CSV else render(row)
    return len(json.dumps(text))


def render_json(rows: Sequence[Row], next_token: str, *, has_more: bool) -> str:
    """``{"data": [...], "next_token": "…", "has_more": …}``."""
    envelope = json.dumps({"next_token": next_token, "has_more": has_more}, separators=(",", ":"))
    return f'{{"data":[{",".join(render(row) for row in rows)}],{envelope[1:]}'


def render_ndjson(rows: Sequence[Row]) -> str:
    """One JSON object a line; the token travels in the headers."""
    return "".join(f"{render(row)}\n" for row in rows)


def render_csv(rows: Sequence[Row]) -> str:
    """RFC 4180 with a header line; no cell begins as a formula does; the token travels in the headers."""
    return ",".join((*_COLUMNS, _OTHER)) + "\r\n" + _csv_lines(rows)


def _csv_lines(rows: Sequence[Row]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    for row in rows:
        other = {name: value for name, value in row.items() if name not in _COLUMNS}
        cells = [_cell(row.get(name)) for name in _COLUMNS]
        writer.writerow([*cells, _cell(render(other)) if other else ""])
    return out.getvalue()


def _cell(value: JsonValue) -> str:
    match value:
        case None:
            return ""
        case JsonNumber(text):
            # A number with a minus is no formula; a text that begins with one could be.
            return text
        case str():
            # JSON can escape half a character, CSV can't.
            text = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            return f"'{text}" if _may_be_formula(text) else text
        case _:
            return render(value)


def _may_be_formula(text: str) -> bool:
    """Whether a spreadsheet may take it for one, after what it skips: blanks and what can't be printed."""
    first = next((character for character in text if character.isprintable() and not character.isspace()), "")
    return first in _FORMULA_STARTS or text.startswith(("\t", "\r", "\n"))
