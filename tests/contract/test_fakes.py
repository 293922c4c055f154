"""The DynamoDB in memory answers the store as ministack does: the same items, the same page ends, the same
writes, the same refusals.
"""

import json
import random
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from local.emulator import create_table
from shared.domain.attribution import make_identities
from shared.domain.filters import Filters
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES
from shared.domain.poll_report import PollReport
from shared.domain.retention import Retention
from shared.store import identities as stored_identities
from shared.store.digests import read_digests, store_digests
from shared.store.entries import commit_entry
from shared.store.identities import read_identities, store_identities
from shared.store.incidents import Span, count_incidents, of_employee, read_incidents
from shared.store.keys import INCIDENTS, after_employee, incident_key
from shared.store.projection import project_committed
from shared.store.records import known_ids
from shared.store.signing_keys import rotate_signing_keys
from shared.store.state import read_state, record_attempt, record_attributed_with
from shared.store.table import Item, Table
from shared.store.unattributed import read_open
from tests.contract.model import COMMITTED_AT, EVERY_KIND, make_entries
from tests.fakes import MAX_LIMIT, MemoryDynamoDB, item_size

EMPLOYEES = ("0", "7", "10", "100", "9" * 20)
TIMESTAMPS = ("999", "4000000000", "4000000000.5", "4000000001.25", "4000000002.0000001")
NAME = "fake-and-ministack"


def make_items() -> list[Item]:
    """Incidents of five employees, of every type and priority, laid out at sequences 1 to 5."""
    dice = random.Random(7)  # noqa: S311 - no secret
    items: list[Item] = []
    for number in range(60):
        timestamp = dice.choice(TIMESTAMPS)
        pk, sk = incident_key(dice.choice(EMPLOYEES), timestamp, f"{dice.getrandbits(128):032x}")
        items.append(
            {
                "pk": {"S": pk},
                "sk": {"S": sk},
                "json": {"S": f'{{"ünï":{number}}}'},
                "priority": {"S": dice.choice(PRIORITIES)},
                "type": {"S": dice.choice(INCIDENT_TYPES)},
                "timestamp": {"N": timestamp},
                "sequence": {"N": str(dice.randint(1, 5))},
            }
        )
    return items


ITEMS = make_items()
SORT_KEYS = sorted(item["sk"]["S"] for item in ITEMS)


@pytest.fixture(scope="module")
def real_client(dynamodb: Any) -> Iterator[Any]:
    """Ministack with one table, which has the items."""
    create_table(dynamodb, NAME)
    Table(NAME, client=dynamodb).put_many(ITEMS)
    yield dynamodb
    dynamodb.delete_table(TableName=NAME)


@pytest.fixture(scope="module")
def tables(real_client: Any) -> tuple[Table, Table]:
    """Two tables of the same items: ministack's and the one in memory."""
    fake = MemoryDynamoDB(NAME)
    fake.load(ITEMS)
    return Table(NAME, client=real_client), Table(NAME, client=fake)  # type: ignore[arg-type]  # a stand-in for the client


def some_of(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), unique=True, max_size=3).map(tuple)


FILTERS = st.builds(
    Filters,
    some_of(PRIORITIES),
    some_of(INCIDENT_TYPES),
    st.none() | st.sampled_from(TIMESTAMPS),
    st.none() | st.sampled_from(TIMESTAMPS),
)
SPANS = st.one_of(
    st.just(Span()),
    st.sampled_from([*EMPLOYEES, "8"]).map(of_employee),
    st.sampled_from(SORT_KEYS).map(Span),
    st.sampled_from(EMPLOYEES).map(after_employee).map(Span),
)


@settings(max_examples=80, deadline=None)
@given(
    span=SPANS,
    filters=FILTERS,
    snapshot=st.integers(0, 6),
    oldest_kept=st.none() | st.sampled_from([-1.5, 0.0, 4000000000.0, 4000000000.5, 4000000003.0]),
    limit=st.none() | st.sampled_from([1, 2, 3, 7, 59, 60, 61]),
)
def test_a_walk_of_the_reader_is_the_same_on_both(
    tables: tuple[Table, Table],
    span: Span,
    filters: Filters,
    snapshot: int,
    oldest_kept: float | None,
    limit: int | None,
) -> None:
    """Every request of every walk finds the same and ends at the same key; counts are the same too."""
    walks = []
    for table in tables:
        pages = []
        after: str | None = None
        while True:
            found, after = read_incidents(
                table,
                span,
                after=after,
                snapshot=snapshot,
                oldest_kept=oldest_kept,
                limit=limit,
                filters=filters,
            )
            pages.append((found, after))
            if after is None:
                break
        counts, after = count_incidents(
            table, span, after=None, snapshot=snapshot, oldest_kept=oldest_kept, filters=filters
        )
        assert after is None
        walks.append((pages, counts))
        assert counts.total() == sum(len(found) for found, _ in pages)
    event(f"{min(len(walks[0][0]), 3)} requests, {'some' if walks[0][1] else 'none'} found")
    assert walks[0] == walks[1]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 390_000), min_size=3, max_size=12), st.integers(1, 4))
def test_a_page_ends_before_one_megabyte_on_both(
    dynamodb: Any, make_table: Callable[[], Table], sizes: list[int], snapshot: int
) -> None:
    """The item that would make it more than 1 MB stays out; what the filter takes away counts as well."""
    table = make_table()
    fake = MemoryDynamoDB(table.name)
    items: list[Item] = [
        {
            "pk": {"S": INCIDENTS},
            "sk": {"S": f"{number:04}"},
            "text": {"S": "x" * size},
            "n": {"N": str(number % 4)},
        }
        for number, size in enumerate(sizes)
    ]
    table.put_many(items)
    fake.load(items)
    ends = []
    for each in (table, Table(table.name, client=fake)):  # type: ignore[arg-type]  # a stand-in for the client
        after: str | None = None
        ends.append([])
        while True:
            found, after = each.query_page(
                INCIDENTS,
                after=after,
                where="#n <= :n",
                names={"#n": "n"},
                values={":n": {"N": str(snapshot)}},
                attributes=("sk",),
            )
            ends[-1].append((found, after))
            if after is None:
                break
    assert ends[0] == ends[1]
    total = sum(item_size(item) for item in items)
    assert len(ends[0]) > 1 or total <= 1_048_576
    whole, rest = divmod(fake.read_units, 1)
    assert total / 4096 <= whole <= total / 4096 + len(ends[1])
    assert rest == 0


@pytest.mark.parametrize("chunk_bytes", [350_000, 10])
def test_whatever_the_poller_writes_is_the_same_on_both(
    monkeypatch: pytest.MonkeyPatch, dynamodb: Any, make_table: Callable[[], Table], chunk_bytes: int
) -> None:
    """Entries, projections, late replays, digests, identities, keys, reports: every item and every answer."""
    monkeypatch.setattr(stored_identities, "MAX_CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(secrets, "token_bytes", lambda size: b"k" * size)
    table = make_table()
    fake = MemoryDynamoDB(table.name)

    def work(each: Table) -> list[object]:
        answers: list[object] = []
        retention = Retention(400)
        for entry in make_entries(*EVERY_KIND):
            commit_entry(each, entry, retention)
            answers.append(each.put_new({"pk": {"S": "JOURNAL"}, "sk": {"S": f"{entry.sequence:020}"}}))
            answers.append(project_committed(each, retention))
            answers.append([incident.id for incident in read_open(each)])
            answers.append(known_ids(each, {f"{number:032x}" for number in range(12)}))
        for moment, ips in ((2.0, {"10.0.0.1": "7", "10.0.0.2": "8"}), (1.0, {}), (3.5, {"10.0.0.3": "9"})):
            store_identities(each, make_identities(ips), fetched_at=COMMITTED_AT + moment)
            answers.append(read_identities(each))
            report = PollReport(attempted_at=COMMITTED_AT + moment)
            answers.append(record_attempt(each, report))
            rotate_signing_keys(each, now=COMMITTED_AT + moment * 86_400 * 20, retention=retention)
        for sequence in (3, 2, 4):
            store_digests(each, "probing", {sequence: b"d" * 12}, sequence=sequence)
            answers.append(read_digests(each, "probing"))
        answers += [record_attributed_with(each, "x", at=at) for at in (2, 3)]
        answers.append(read_state(each))
        each.delete_many([("IDENTITIES", "LATEST"), ("IDENTITIES", "never")])
        answers.append(read_identities(each))
        return answers

    real_answers, fake_answers = work(table), work(Table(table.name, client=fake))  # type: ignore[arg-type]  # a stand-in for the client
    assert real_answers == fake_answers
    assert {False, True} <= {each for each in real_answers if isinstance(each, bool)}
    pages = dynamodb.get_paginator("scan").paginate(TableName=table.name, ConsistentRead=True)
    items = {(item["pk"]["S"], item["sk"]["S"]): item for page in pages for item in page["Items"]}
    assert plain(items) == plain(fake.dump())
    assert len(items) >= 25


def plain(items: Any) -> Any:
    """DynamoDB writes a number without zeros that say nothing."""
    return {
        key: {
            name: {"N": format(float(value["N"]), "f")} if "N" in value else value
            for name, value in item.items()
        }
        for key, item in items.items()
    }


RANGE = {
    "KeyConditionExpression": "pk = :pk AND sk BETWEEN :low AND :high",
    "ExpressionAttributeValues": {":pk": {"S": INCIDENTS}, ":low": {"S": "1"}, ":high": {"S": "2"}},
}


@pytest.mark.parametrize(
    "changes",
    [
        {"Limit": 0},
        {"ExpressionAttributeValues": {":pk": {"S": INCIDENTS}, ":low": {"S": "2"}, ":high": {"S": "1"}}},
        {"ExpressionAttributeValues": {":pk": {"S": INCIDENTS}, ":low": {"S": "2"}}},
        {"ExpressionAttributeValues": {**RANGE["ExpressionAttributeValues"], ":more": {"S": "1"}}},  # type: ignore[dict-item]  # nested deeper than its type says
        {"ExpressionAttributeNames": {"#unused": "json"}},
        {"FilterExpression": "#unknown = :low"},
        {"ExclusiveStartKey": {"pk": {"S": INCIDENTS}, "sk": {"S": "3"}}},
        {"TableName": "nowhere"},
    ],
    ids=lambda changes: json.dumps(changes)[:50],
)
def test_what_ministack_refuses_is_refused(tables: tuple[Table, Table], changes: dict[str, Any]) -> None:
    """A query that DynamoDB would not take fails on both."""
    for table in tables:
        request = {"TableName": NAME, "ConsistentRead": True, **RANGE}
        assert table._client.query(**request)["Items"] == []  # type: ignore[arg-type]  # its many types
        with pytest.raises((ClientError, ParamValidationError)):
            table._client.query(**request | changes)


def test_what_only_the_real_one_refuses_is_refused() -> None:
    """Filters on a key, and a Limit that no Integer can hold, which ministack takes (LOCAL-AWS.md)."""
    client = MemoryDynamoDB(NAME)
    request = {"TableName": NAME, "ConsistentRead": True, **RANGE}
    assert client.query(**request, Limit=MAX_LIMIT)["Items"] == []
    for changes in ({"Limit": MAX_LIMIT + 1}, {"FilterExpression": "sk > :low"}):
        with pytest.raises(ClientError):
            client.query(**request | changes)


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"a": {"S": "xyz"}}, 4),
        ({"ab": {"S": "ü"}}, 4),
        ({"a": {"B": b"\x00\x01"}}, 3),
        ({"a": {"N": "0"}}, 2),
        ({"a": {"N": "1"}}, 3),
        ({"a": {"N": "12"}}, 3),
        ({"a": {"N": "123"}}, 4),
        ({"a": {"N": "-123"}}, 5),
        ({"a": {"N": "100"}}, 3),
        ({"a": {"N": "1500020421.9333"}}, 9),
        ({"a": {"N": "0.5"}}, 3),
        ({"a": {"S": ""}, "b": {"S": "x"}}, 3),
    ],
)
def test_bytes_are_counted_as_the_developer_guide_says(item: Any, size: int) -> None:
    """Names and values; a number takes a byte for two digits, and one more."""
    assert item_size(item) == size
