"""The table as the store uses it: whole batches, walks to the end, conditions answered with yes or no."""

import threading
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from shared.store.table import Item, Table, ThrottledError
from tests.contract.disturbed import HandingBackClient, SteppingClient


def make_item(pk: str, sk: str, **attributes: str) -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}, **{name: {"S": text} for name, text in attributes.items()}}


def make_numbered(count: int, pk: str = "P") -> list[Item]:
    return [make_item(pk, f"{number:04}", text=str(number)) for number in range(count)]


def key_of(item: Item) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


class RecordingClient:
    """Notes every request on its way."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.requests: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(**request: Any) -> Any:
            self.requests.append((name, request))
            return method(**request)

        return call


def test_get_gives_the_item_or_none(store: Table) -> None:
    """What was put is there with all its attributes; what was not is None."""
    item = make_item("P", "a", text="ü") | {"data": {"B": b"\x00\xff"}, "number": {"N": "1.5"}}
    store.put_many([item])
    assert store.get(("P", "a")) == item
    assert store.get(("P", "b")) is None
    assert store.get(("Q", "a")) is None


def test_every_read_is_consistent(store: Table) -> None:
    """No read may show an older state than the last write: each asks for consistency."""
    client = RecordingClient(store._client)
    table = Table(store.name, client=client)  # type: ignore[arg-type]  # a stand-in for the client
    table.get(("P", "a"))
    table.get_many([("P", "a")], attributes=("pk",))
    list(table.query("P"))
    asked = [
        next(iter(request.get("RequestItems", {"": request}).values())).get("ConsistentRead")
        for _, request in client.requests
    ]
    assert [name for name, _ in client.requests] == ["get_item", "batch_get_item", "query"]
    assert asked == [True, True, True]


def test_get_many_takes_any_number_of_keys(store: Table) -> None:
    """Over 100 keys come in requests of at most 100; duplicates once, missing ones not at all."""
    items = make_numbered(230)
    store.put_many(items)
    keys = [key_of(item) for item in items]
    asked = [*keys, *keys[:50], *(("missing", str(number)) for number in range(30))]
    client = RecordingClient(store._client)
    found = Table(store.name, client=client).get_many(asked, attributes=("sk", "text"))  # type: ignore[arg-type]  # a stand-in for the client
    assert sorted(found, key=lambda item: item["sk"]["S"]) == [
        {"sk": item["sk"], "text": item["text"]} for item in items
    ]
    sizes = [len(request["RequestItems"][store.name]["Keys"]) for _, request in client.requests]
    assert sorted(sizes) == [60, 100, 100]


def test_get_many_of_nothing_asks_nothing(store: Table) -> None:
    """No keys: no request (DynamoDB refuses an empty one), no items."""
    client = RecordingClient(store._client)
    assert Table(store.name, client=client).get_many([], attributes=("pk",)) == []  # type: ignore[arg-type]  # a stand-in for the client
    assert client.requests == []


def test_get_many_knows_attributes_by_reserved_names(store: Table) -> None:
    """`sequence`, `timestamp` and `type` are words of DynamoDB's own; they can be asked for all the same."""
    store.put_many([make_item("P", "a", sequence="1", timestamp="2", type="3", other="4")])
    assert store.get_many([("P", "a")], attributes=("sequence", "timestamp", "type")) == [
        {"sequence": {"S": "1"}, "timestamp": {"S": "2"}, "type": {"S": "3"}}
    ]


def test_put_many_and_delete_many_take_any_number(store: Table, dump: Any) -> None:
    """Over 25 writes go in requests of at most 25, and all of them are there (gone) afterwards."""
    items = make_numbered(60)
    client = RecordingClient(store._client)
    table = Table(store.name, client=client)  # type: ignore[arg-type]  # a stand-in for the client
    table.put_many(items)
    assert dump(store) == {key_of(item): item for item in items}
    sizes = [len(request["RequestItems"][store.name]) for _, request in client.requests]
    assert sorted(sizes) == [10, 25, 25]

    client.requests.clear()
    table.delete_many([*(key_of(item) for item in items[:40]), ("never", "there")])
    assert dump(store) == {key_of(item): item for item in items[40:]}
    sizes = [len(request["RequestItems"][store.name]) for _, request in client.requests]
    assert sorted(sizes) == [16, 25]


def test_put_many_of_nothing_asks_nothing(store: Table) -> None:
    """Nothing to write: no request (DynamoDB refuses an empty one)."""
    client = RecordingClient(store._client)
    table = Table(store.name, client=client)  # type: ignore[arg-type]  # a stand-in for the client
    table.put_many([])
    table.delete_many([])
    table.put_each_new([])
    assert client.requests == []


def test_put_many_replaces(store: Table, dump: Any) -> None:
    """A put of a key that is there replaces the whole item."""
    store.put_many([make_item("P", "a", old="1")])
    store.put_many([make_item("P", "a", new="2")])
    assert dump(store) == {("P", "a"): make_item("P", "a", new="2")}


def test_put_new_never_replaces(store: Table) -> None:
    """The first put of a key stays, and the second says that it did nothing."""
    first, second = make_item("P", "a", text="1"), make_item("P", "a", text="2")
    assert store.put_new(first) is True
    assert store.put_new(second) is False
    assert store.get(("P", "a")) == first
    assert store.put_new(make_item("P", "b")) is True


def test_put_each_new_puts_those_that_are_not_there(store: Table, dump: Any) -> None:
    """Of many, what exists stays as it is and the rest is put."""
    there = [make_item("P", f"{number:04}", text="there") for number in range(0, 20, 2)]
    store.put_many(there)
    store.put_each_new(make_numbered(20))
    expected = {key_of(item): item for item in [*make_numbered(20), *there]}
    assert dump(store) == expected


def test_put_answers_whether_its_condition_held(store: Table) -> None:
    """True and written, or False and untouched: a condition that fails is an answer, not an error."""
    condition: Any = {
        "condition": "attribute_not_exists(pk) OR #text < :text",
        "names": {"#text": "text"},
    }
    for text, held, left in (("5", True, "5"), ("7", True, "7"), ("6", False, "7"), ("7", False, "7")):
        answer = store.put(make_item("P", "a", text=text), values={":text": {"S": text}}, **condition)
        assert answer is held
        assert store.get(("P", "a")) == make_item("P", "a", text=left)


def test_update_answers_whether_its_condition_held(store: Table) -> None:
    """True and changed, or False and untouched; what the update does not name stays."""
    store.put_many([make_item("P", "a", text="1", other="x")])
    update: Any = {"expression": "SET #text = :new", "names": {"#text": "text"}}
    condition = "#text = :old"
    assert store.update(
        ("P", "a"), condition=condition, values={":new": {"S": "2"}, ":old": {"S": "1"}}, **update
    )
    assert not store.update(
        ("P", "a"), condition=condition, values={":new": {"S": "3"}, ":old": {"S": "1"}}, **update
    )
    assert store.get(("P", "a")) == make_item("P", "a", text="2", other="x")
    assert not store.update(
        ("P", "b"), condition="attribute_exists(pk)", values={":new": {"S": "3"}}, **update
    )
    assert store.get(("P", "b")) is None
    assert store.update(("P", "b"), values={":new": {"S": "3"}}, **update)
    assert store.get(("P", "b")) == make_item("P", "b", text="3")


def test_other_errors_of_a_write_are_raised(store: Table) -> None:
    """Only a failed condition means no: whatever else DynamoDB says is not taken for it."""
    with pytest.raises(ClientError) as raised:
        store.put({"pk": {"S": "P"}}, condition="attribute_not_exists(pk)")
    assert raised.value.response["Error"]["Code"] == "ValidationException"
    missing = Table("there-is-no-such-table", client=store._client)
    with pytest.raises(ClientError) as raised:
        missing.put_new(make_item("P", "a"))
    assert raised.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_a_page_is_in_the_order_of_bytes_and_of_its_partition(store: Table) -> None:
    """Sort keys come in the order of their bytes ('#', '$', digits, ':', letters); no other partition's."""
    sort_keys = ["#", "$", "0", "09", "1", "1#", "1#a", "1$", "10", "9", ":", "A", "a", "ü"]
    store.put_many(make_item("P", sk) for sk in reversed(sort_keys))
    store.put_many(make_item(pk, "1") for pk in ("O", "P#", "PP", "Q"))
    items, after = store.query_page("P")
    assert [item["sk"]["S"] for item in items] == sort_keys
    assert {item["pk"]["S"] for item in items} == {"P"}
    assert after is None


@pytest.mark.parametrize(
    ("low", "high", "first", "last"),
    [("0003", "0007", 3, 7), ("0005", "0005", 5, 5), ("", "0000", 0, 0), ("0008x", "z", 9, 9)],
)
def test_both_ends_of_between_are_included(store: Table, low: str, high: str, first: int, last: int) -> None:
    """A span holds the items at both of its ends and none beyond them."""
    store.put_many(make_numbered(10))
    items, after = store.query_page("P", between=(low or "0", high))
    assert [item["sk"]["S"] for item in items] == [f"{number:04}" for number in range(first, last + 1)]
    assert after is None
    assert store.query_page("P", between=("0008x", "0008z")) == ([], None)


def test_a_page_goes_on_after_a_key_within_its_span(store: Table) -> None:
    """`after` is left out itself, need not be the key of an item, and the span's end still holds."""
    store.put_many(make_numbered(10))
    for after, first in (("0004", 5), ("0004x", 5), ("0002", 3)):
        items, _ = store.query_page("P", between=("0002", "0007"), after=after)
        assert [item["sk"]["S"] for item in items] == [f"{number:04}" for number in range(first, 8)]


@pytest.mark.parametrize("limit", [1, 3, 4, 10, 11, 500])
def test_a_walk_with_a_limit_gives_each_item_once(store: Table, limit: int) -> None:
    """However the pages are cut, the walk gives every item once, in order, and then ends."""
    items = make_numbered(10)
    store.put_many(items)
    pages, after = [], None
    while True:
        page, after = store.query_page("P", after=after, limit=limit)
        pages.append(page)
        if after is None:
            break
        assert len(page) == limit
        assert after == page[-1]["sk"]["S"]
    assert [item for page in pages for item in page] == items
    assert list(store.query("P", limit=limit)) == items


@pytest.mark.ministack_only(reason="moto gives no LastEvaluatedKey at an exact Limit")
def test_a_page_that_ends_exactly_at_its_limit_says_to_go_on(store: Table) -> None:
    """DynamoDB does not look ahead: after a full last page it takes one more, empty one to see the end."""
    items = make_numbered(4)
    store.put_many(items)
    assert store.query_page("P", limit=4) == (items, "0003")
    assert store.query_page("P", limit=4, after="0003") == ([], None)


def test_where_filters_what_was_evaluated(store: Table) -> None:
    """A filter takes items out of a page, not out of its limit: a page may be empty and the walk go on."""
    store.put_many(make_item("P", f"{n:04}", kind="odd" if n % 2 else "even", text=str(n)) for n in range(10))
    condition: Any = {
        "where": "#kind = :kind",
        "names": {"#kind": "kind"},
        "values": {":kind": {"S": "odd"}},
        "attributes": ("sk",),
    }
    assert store.query_page("P", limit=1, **condition) == ([], "0000")
    assert store.query_page("P", limit=3, **condition) == ([{"sk": {"S": "0001"}}], "0002")
    found = [item["sk"]["S"] for item in store.query("P", limit=3, **condition)]
    assert found == ["0001", "0003", "0005", "0007", "0009"]
    within = store.query_page("P", between=("0003", "0007"), after="0003", **condition)
    assert within == ([{"sk": {"S": "0005"}}, {"sk": {"S": "0007"}}], None)


def test_a_walk_goes_on_over_a_megabyte(store: Table) -> None:
    """A request ends at 1 MB whatever its limit; the walk goes on and gives each item once."""
    items = [make_item("P", f"{number:04}", text=f"{number}" * 100_000) for number in range(1, 10)]
    items += [make_item("P", f"{number:04}", text="x" * 300_000) for number in range(10, 13)]
    store.put_many(items)
    page, after = store.query_page("P", limit=1_000)
    assert 0 < len(page) < len(items)
    assert after == page[-1]["sk"]["S"]
    assert [item["sk"]["S"] for item in store.query("P", attributes=("sk",))] == [
        item["sk"]["S"] for item in items
    ]
    assert list(store.query("P")) == items


@pytest.fixture
def full_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pause is as long as it may get."""
    monkeypatch.setattr("shared.store.table.random.uniform", lambda low, high: high)


@pytest.mark.usefixtures("full_jitter")
def test_what_a_write_hands_back_is_written_later(store: Table, dump: Any) -> None:
    """Parts that DynamoDB does not take are tried again, after longer and longer pauses, until all are in."""
    items = make_numbered(25)
    client = HandingBackClient(store._client, times=3)
    pauses: list[float] = []
    Table(store.name, client=client, sleep=pauses.append).put_many(items)  # type: ignore[arg-type]  # a stand-in for the client
    assert dump(store) == {key_of(item): item for item in items}
    assert client.sizes == [25, 17, 12, 8]
    assert pauses == [0.05, 0.1, 0.2]


@pytest.mark.usefixtures("full_jitter")
def test_what_a_read_hands_back_is_read_later(store: Table) -> None:
    """Keys that DynamoDB does not read are asked for again, with pauses; each item comes once."""
    items = make_numbered(30)
    store.put_many(items)
    client = HandingBackClient(store._client, times=3)
    pauses: list[float] = []
    table = Table(store.name, client=client, sleep=pauses.append)  # type: ignore[arg-type]  # a stand-in for the client
    found = table.get_many([key_of(item) for item in items], attributes=("pk", "sk", "text"))
    assert sorted(found, key=key_of) == items
    assert client.sizes == [30, 20, 14, 10]
    assert pauses == [0.05, 0.1, 0.2]


def test_parts_handed_back_to_several_threads_are_all_done(store: Table, dump: Any) -> None:
    """A throttle in the middle of many batches at once loses none of them."""
    items = make_numbered(230)
    client = HandingBackClient(store._client, times=6)
    table = Table(store.name, client=client, sleep=lambda _: None)  # type: ignore[arg-type]  # a stand-in for the client
    table.put_many(items)
    assert dump(store) == {key_of(item): item for item in items}
    client = HandingBackClient(store._client, times=5)
    table = Table(store.name, client=client, sleep=lambda _: None)  # type: ignore[arg-type]  # a stand-in for the client
    found = table.get_many([key_of(item) for item in items], attributes=("pk", "sk", "text"))
    assert sorted(found, key=key_of) == items
    assert len(client.sizes) == 8


@pytest.mark.usefixtures("full_jitter")
@pytest.mark.parametrize("work", ["put_many", "delete_many", "get_many"])
def test_a_throttle_that_never_ends_is_an_error(store: Table, work: str) -> None:
    """After ten attempts, about twenty seconds at most, the call gives up and says so."""
    items = make_numbered(3)
    pauses: list[float] = []
    table = Table(store.name, client=HandingBackClient(store._client), sleep=pauses.append)  # type: ignore[arg-type]  # a stand-in for the client
    calls = {
        "put_many": lambda: table.put_many(items),
        "delete_many": lambda: table.delete_many(key_of(item) for item in items),
        "get_many": lambda: table.get_many([key_of(item) for item in items], attributes=("pk",)),
    }
    with pytest.raises(ThrottledError, match=r"3 .* unprocessed in 10 attempts"):
        calls[work]()
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 6.4]


def test_pauses_are_random_from_zero(store: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pollers that were throttled together do not come back together: each pause is drawn from 0 up."""
    drawn: list[tuple[float, float]] = []
    monkeypatch.setattr(
        "shared.store.table.random.uniform", lambda low, high: drawn.append((low, high)) or 0.0
    )
    table = Table(store.name, client=HandingBackClient(store._client, times=2), sleep=lambda _: None)  # type: ignore[arg-type]  # a stand-in for the client
    table.put_many(make_numbered(5))
    assert drawn == [(0, 0.05), (0, 0.1)]


class TestThreads:
    """A warm Lambda goes on where it was frozen: a thread left over would write long after its poll."""

    def test_they_run_at_once_and_end_with_the_call(self, store: Table) -> None:
        """A batch of many parts has threads while it runs and none when it has returned."""
        before = set(threading.enumerate())
        seen: set[threading.Thread] = set()
        client = SteppingClient(store._client, before=lambda step: seen.add(threading.current_thread()))
        Table(store.name, client=client).put_each_new(make_numbered(40))  # type: ignore[arg-type]  # a stand-in for the client
        assert seen - before, "it ran in no thread of its own"
        assert set(threading.enumerate()) <= before

    @pytest.mark.parametrize("failing", [1, 9, 20])
    def test_they_end_when_a_part_raises(self, store: Table, failing: int) -> None:
        """The error comes out, parts not begun are dropped, and nothing writes once the call has raised."""
        before = set(threading.enumerate())
        written: list[int] = []

        def work(part: int) -> None:
            if part == failing:
                raise KeyError(part)
            time.sleep(0.01)
            store.put_new(make_item("P", f"{part:04}"))
            written.append(part)

        with pytest.raises(KeyError, match=str(failing)):
            store.at_once(work, range(1, 200))
        assert set(threading.enumerate()) <= before
        at_the_end = len(written)
        assert at_the_end < 150
        time.sleep(0.05)
        assert len(written) == at_the_end

    def test_answers_come_in_the_order_of_the_parts(self, store: Table) -> None:
        """What each part answered stands where the part stood, however long it took."""

        def work(part: int) -> int:
            time.sleep(0.001 * (part % 5))
            return part * part

        assert store.at_once(work, range(50)) == [part * part for part in range(50)]
        assert store.at_once(work, [3]) == [9]
        assert store.at_once(work, []) == []
