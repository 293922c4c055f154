"""DynamoDB deletes what is past its time, and never before every walk that may show it is over."""

from typing import Any

import pytest

from shared.domain.attribution import make_identities
from shared.domain.poll_report import PollReport
from shared.domain.retention import Retention
from shared.store.digests import store_digests
from shared.store.entries import commit_entry
from shared.store.identities import store_identities
from shared.store.projection import project_committed
from shared.store.signing_keys import rotate_signing_keys
from shared.store.state import record_attempt
from shared.store.table import Table
from tests.contract.model import COMMITTED_AT, DAY, EVERY_KIND, MOMENT, Dump, make_entries

NOW = COMMITTED_AT + 0.75
KEPT = {
    ("STATE", "STATE"),
    ("CURSOR_KEYS", "CURSOR_KEYS"),
    ("SOURCE#denial", "DIGESTS"),
    ("IDENTITIES", "LATEST"),
}


def fill(table: Table, retention: Retention) -> None:
    """A table with an item of every kind that the store ever writes."""
    for entry in make_entries(*EVERY_KIND):
        commit_entry(table, entry, retention)
    project_committed(table, retention)
    record_attempt(table, PollReport(attempted_at=NOW))
    store_digests(table, "denial", {1: b"x" * 12}, sequence=3)
    rotate_signing_keys(table, now=NOW, retention=retention)
    store_identities(table, make_identities({"10.0.0.1": "7"}), fetched_at=NOW)


def moment_of(key: tuple[str, str], everything: Dump) -> float:
    """When what the item is about happened: the incident's time, or that of the entry."""
    pk, sk = key
    item = everything[key]
    if pk == "JOURNAL":
        return COMMITTED_AT + 60 * int(sk)
    if "timestamp" in item:
        return float(item["timestamp"]["N"])
    if pk == "UNATTRIBUTED" or item.get("outcome", {}).get("S") == "unattributed":
        return float(MOMENT)
    if item.get("outcome", {}).get("S") == "incident":
        record_id = pk.removeprefix("ID#")
        (own,) = [
            each for (pk, sk), each in everything.items() if pk == "INCIDENTS" and sk.endswith(record_id)
        ]
        return float(own["timestamp"]["N"])
    return COMMITTED_AT + 60 * int(item["sequence"]["N"])


def is_resolved(item: Any) -> bool:
    return "resolved_sequence" in item


def is_chunk(key: tuple[str, str]) -> bool:
    """Part of the identities, which the next ones replace."""
    return key[1].startswith("CHUNK#")


@pytest.mark.parametrize("days", [1, 30, 400])
def test_with_a_retention_everything_expires_two_days_after_it(store: Table, dump: Any, days: int) -> None:
    """Each item about a record or a commit expires, 48 hours after the retention's end at the earliest
    (to the second that time to live counts in) and not a day later. State, keys and caches never do.
    """
    fill(store, Retention(days))
    everything = dump(store)
    expiring = {key: item for key, item in everything.items() if not is_resolved(item) and not is_chunk(key)}
    assert {key for key, item in expiring.items() if "expires_at" not in item} == KEPT
    assert {key[0].partition("#")[0] for key in expiring.keys() - KEPT} == {
        "ID", "INCIDENTS", "JOURNAL", "REJECTED", "UNATTRIBUTED",
    }  # fmt: skip
    for key in expiring.keys() - KEPT:
        kept_for = int(everything[key]["expires_at"]["N"]) - int(moment_of(key, everything))
        # An entry has a month more: it must not go before it is laid out.
        extra = 30 if key[0] == "JOURNAL" else 0
        assert (days + 2 + extra) * DAY <= kept_for < (days + 3 + extra) * DAY, key


def test_without_a_retention_nothing_expires(store: Table, dump: Any) -> None:
    """Retention 0 keeps everything, but for unattributed ones that an employee was found for since."""
    fill(store, Retention(0))
    everything = dump(store)
    # Entries, ids, records (one of them both unattributed and, later, an incident), and what is beside.
    assert len(everything) == 3 + 9 + 10 + 5
    expiring = {key for key, item in everything.items() if "expires_at" in item}
    assert expiring == {("UNATTRIBUTED", f"{2:032x}")}


@pytest.mark.parametrize("days", [0, 1, 400])
def test_a_resolved_one_expires_two_days_after_it_was(store: Table, dump: Any, days: int) -> None:
    """From the commit that resolved it: a walk that began just before shows it for as long as it lasts."""
    fill(store, Retention(days))
    resolved = [item for item in dump(store).values() if is_resolved(item)]
    assert [item["expires_at"] for item in resolved] == [{"N": str(COMMITTED_AT + 60 * 2 + 2 * DAY)}]


def test_an_id_lives_as_long_as_its_record(store: Table, dump: Any) -> None:
    """Neither can go without the other: an id that went first would let its record be taken in again."""
    fill(store, Retention(30))
    everything = dump(store)
    own = {sk.rpartition("#")[2]: item for (pk, sk), item in everything.items() if pk == "INCIDENTS"}
    own |= {sk: item for (pk, sk), item in everything.items() if pk == "REJECTED"}
    own |= {
        sk: item for (pk, sk), item in everything.items() if pk == "UNATTRIBUTED" and not is_resolved(item)
    }
    ids = {pk.removeprefix("ID#"): item for (pk, _), item in everything.items() if pk.startswith("ID#")}
    assert ids.keys() == own.keys()
    assert len(ids) == 9
    assert {key: item["expires_at"] for key, item in ids.items()} == {
        key: item["expires_at"] for key, item in own.items()
    }


@pytest.mark.ministack_only(reason="one emulator is enough to see that the template names the attribute")
def test_the_tables_time_to_live_looks_at_expires_at(store: Table) -> None:
    """The template turns time to live on, for the attribute that the store writes."""
    described = store._client.describe_time_to_live(TableName=store.name)["TimeToLiveDescription"]
    assert described == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
