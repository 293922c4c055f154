"""A page that was read before comes from memory, at the price of one small read, and is always right."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.api.page_cache import MAX_CACHE_BYTES
from shared.domain.exact_json import render
from shared.domain.incident import PRIORITIES, Incident
from shared.domain.journal import encode_incident
from shared.domain.retention import Retention
from shared.store.table import Item
from tests.fakes import Clock, MemoryDynamoDB
from tests.integration.test_bounded_pages import NOW, make_client, make_item, project

HOUR = 3600
ROUTES = ("/incidents", "/employees/7/incidents", "/employees/404/incidents", "/incidents/unattributed")


def operations(client: MemoryDynamoDB) -> list[str]:
    """What the table was asked since the last time."""
    asked = [operation for operation, _ in client.requests]
    client.requests.clear()
    return asked


def make_table() -> MemoryDynamoDB:
    client = make_client(
        make_item(number, str(number % 50), priority=PRIORITIES[number % 4]) for number in range(100)
    )
    client.load(make_waiting(number) for number in range(5))
    client.requests.clear()
    return client


def make_waiting(number: int, sequence: int = 1) -> Item:
    """An incident whose IP nobody is known to have, as the projection lays it out."""
    incident = Incident(
        id=f"{number:032x}",
        type="probing",
        priority="low",
        timestamp=str(1_700_000_000 + number),
        employee_id=None,
        ip="10.0.0.1",
        fields={"ip": "10.0.0.1"},
    )
    return {
        "pk": {"S": "UNATTRIBUTED"},
        "sk": {"S": incident.id},
        "incident": {"S": render(encode_incident(incident))},
        "sequence": {"N": str(sequence)},
    }


@pytest.mark.parametrize("path", ["/incidents", "/employees/7/incidents", "/incidents/unattributed"])
def test_the_same_page_again_costs_one_small_read(make_reader: Callable[..., Any], path: str) -> None:
    """The state is read, one item, and nothing else; body and ETag are the same, the age is of now."""
    client, clock = make_table(), Clock(NOW)
    reader = make_reader(client, clock=clock)
    first = reader.get(path)
    assert first.json[next(iter(first.json))]
    assert operations(client).count("Query") >= 1
    for _ in range(3):
        again = reader.get(path)
        assert operations(client) == ["GetItem"]
        assert (again.text, again.headers) == (first.text, first.headers)


def test_a_cached_page_lets_each_walk_have_its_day(make_reader: Callable[..., Any]) -> None:
    """The cursor of a cached page is made anew: it is good for 24 hours from this request on."""
    client, clock = make_table(), Clock(NOW // HOUR * HOUR)
    reader = make_reader(client, clock=clock)
    early = reader.get("/incidents", limit="10").json["next_cursor"]
    clock.now += HOUR - 1
    client.requests.clear()
    late = reader.get("/incidents", limit="10").json["next_cursor"]
    assert operations(client) == ["GetItem"]
    clock.now += 23 * HOUR + 2
    assert reader.get("/incidents", cursor=early).status == 410
    assert reader.get("/incidents", cursor=late).status == 200


def test_the_next_snapshot_and_the_next_hour_are_other_pages(make_reader: Callable[..., Any]) -> None:
    """What a poll laid out is shown at once; a walk that began before gets its own pages, cached too."""
    client, clock = make_table(), Clock(NOW // HOUR * HOUR)
    reader = make_reader(client, clock=clock)
    first = reader.get("/incidents", limit="10")
    second = reader.get("/incidents", limit="10", cursor=first.json["next_cursor"])
    client.load([make_item(1_000, "0", sequence=2), make_item(1_001, "11", sequence=2)])
    operations(client)
    # Laid out in part: the state has not moved, so nobody sees it.
    assert reader.get("/incidents", limit="10").text == first.text
    assert operations(client) == ["GetItem"]
    project(client, 2)
    moved = reader.get("/incidents", limit="10")
    assert operations(client).count("Query") >= 1
    assert moved.headers["ETag"] != first.headers["ETag"]
    assert len(moved.json["incidents"]["0"]["low"]["incidents"]) == 2
    again = reader.get("/incidents", limit="10", cursor=first.json["next_cursor"])
    assert operations(client) == ["GetItem"]
    assert (again.text, again.headers["ETag"]) == (second.text, second.headers["ETag"])
    clock.now += HOUR
    reader.get("/incidents", limit="10")
    assert "Query" in operations(client)


def test_what_is_no_page_is_not_kept(make_reader: Callable[..., Any]) -> None:
    """That there is no such employee is looked up each time."""
    client = make_table()
    reader = make_reader(client, clock=Clock(NOW))
    for _ in range(2):
        assert reader.get("/employees/404/incidents").status == 404
        assert "Query" in operations(client)


@pytest.mark.parametrize("path", ["/incidents", "/employees/7/incidents", "/incidents/unattributed"])
def test_another_retention_is_another_page(make_reader: Callable[..., Any], path: str) -> None:
    """Who has the page from before a deployment that keeps less (or more) is not told that it is the same."""
    client, clock = make_table(), Clock(NOW)
    before = make_reader(client, clock=clock)
    after = make_reader(client, clock=clock, retention=Retention(400))
    had = {"If-None-Match": before.get(path).headers["ETag"]}
    assert before.get(path, headers=had).status == 304
    # All that there is, is older than 400 days.
    assert after.get(path, headers=had).status in (200, 404)


STEPS = st.one_of(
    st.tuples(
        st.just("get"),
        st.sampled_from(ROUTES),
        st.sampled_from([{}, {"limit": "3"}, {"priority": "low"}, {"priority": "low,high"}]),
        st.integers(0, 3),
    ),
    st.tuples(st.just("poll"), st.integers(0, 60), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from([1, 600, HOUR])),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(STEPS, min_size=4, max_size=25), st.sampled_from([MAX_CACHE_BYTES, 12_000]))
def test_cached_and_uncached_answers_are_equal(
    make_reader: Callable[..., Any], steps: list[tuple[Any, ...]], cache_bytes: int
) -> None:
    """Whatever is asked in whatever order while polls go on: a reader with a cache, roomy or tight, and one
    without give the same status, headers and bytes; cursors of either serve at both.
    """
    client, clock = make_table(), Clock(NOW)
    cached = make_reader(client, clock=clock, cache_bytes=cache_bytes)
    uncached = make_reader(client, clock=clock, cache_bytes=0)
    cursors: dict[str, list[str]] = {route: [] for route in ROUTES}
    sequence = 1
    for step in steps:
        match step:
            case ("poll", employee, priority):
                sequence += 1
                item = make_item(
                    1_000 + sequence, str(employee), priority=PRIORITIES[priority], sequence=sequence
                )
                client.load([item, make_waiting(1_000 + sequence, sequence)])
                project(client, sequence)
            case ("wait", seconds):
                clock.now += seconds
            case ("get", route, query, number):
                if "limit" in query and route.startswith("/employees"):
                    query = {}
                if number and cursors[route]:
                    query = {"cursor": cursors[route][-number % len(cursors[route])]}
                first = cached.get(route, **query)
                for other in (uncached.get(route, **query), cached.get(route, **query)):
                    assert (other.status, other.text, other.headers) == (
                        first.status, first.text, first.headers,
                    )  # fmt: skip
                if cursor := json.loads(first.text).get("next_cursor"):
                    cursors[route].append(cursor)
