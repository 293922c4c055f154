"""What all pages have in common: how large they may be, and what stands around their rows."""

import json
from collections.abc import Sequence

from functions.api.answer import link_to_next
from functions.api.walk import Snapshot

# The rest of 1 MB is for what stands around the rows.
MAX_PAGE_BYTES = 990_000
# More than a request of 1 MB can hold.
MAX_REQUEST_ITEMS = 10_000


def row_size(row: str) -> int:
    """Bytes of a row of JSON in Lambda's answer, where the body is a JSON string: quotes are escaped."""
    return len(row) + row.count('"') + row.count("\\") + len(",")


def rows_size(rows: Sequence[str]) -> int:
    """What :func:`row_size` gives for all of them together."""
    return row_size("".join(rows)) + (len(rows) - 1) * len(",")


def render_envelope(next_cursor: str | None, snapshot: Snapshot) -> str:
    """What stands behind the rows, up to the page's last brace."""
    envelope = json.dumps(
        {
            "next_cursor": next_cursor,
            "has_more": next_cursor is not None,
            "snapshot": describe_snapshot(snapshot),
        },
        separators=(",", ":"),
    )
    return envelope[1:]


def describe_snapshot(snapshot: Snapshot) -> dict[str, object]:
    """What clients are told of a snapshot."""
    return {
        "sequence": snapshot.sequence,
        "committed_at": snapshot.committed_at,
        "complete": snapshot.complete,
    }


def link_to_page(next_cursor: str | None) -> dict[str, str]:
    """The Link header of a page that has one after it."""
    return link_to_next(cursor=next_cursor) if next_cursor else {}
