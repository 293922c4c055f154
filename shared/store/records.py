"""What became of each record that was ever decided on: how a poll knows what it has already."""

from collections.abc import Collection

from shared.store.keys import record_key
from shared.store.table import Table


def known_ids(table: Table, record_ids: Collection[str]) -> set[str]:
    """Those of the ids that an entry already laid out has decided on. Costs a read unit an id that exists."""
    items = table.get_many((record_key(record_id) for record_id in record_ids), attributes=("pk",))
    return {item["pk"]["S"].removeprefix("ID#") for item in items}


def ids_with(table: Table, outcome: str, record_ids: Collection[str]) -> set[str]:
    """Those of the ids that were decided on with this outcome, ``unattributed`` say."""
    items = table.get_many((record_key(record_id) for record_id in record_ids), attributes=("pk", "outcome"))
    return {item["pk"]["S"].removeprefix("ID#") for item in items if item["outcome"]["S"] == outcome}
