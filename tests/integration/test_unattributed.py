"""Incidents whose employee is not known: kept, shown, and attributed as soon as somebody has the address."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from shared.domain.incident import PRIORITIES, SUBJECT_FIELDS
from shared.domain.retention import Retention
from tests.fakes import Clock

BEGINNING = 1_795_413_600.0
PATH = "/incidents/unattributed"
CHANGES = "/incidents/changes"
TYPES = ("intrusion", "executable", "probing", "other")


def record(number: int, ip: str | None = None, **more: str) -> str:
    kind = kind_of(number)
    fields = {
        SUBJECT_FIELDS[kind]: f'"{ip or address(number)}"',
        "priority": f'"{PRIORITIES[number % 4]}"',
        "timestamp": f"{int(BEGINNING) - 100_000 + number}.5000000",
        **more,
    }
    return "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"


def kind_of(number: int) -> str:
    return TYPES[number // 4 % 4]


def address(number: int) -> str:
    return f"10.0.{number // 250}.{number % 250 + 1}"


@pytest.fixture
def history(make_history: Callable[..., Any]) -> Any:
    """A table that no poll has been at yet."""
    return make_history(clock=Clock(BEGINNING))


def serve(history: Any, numbers: Sequence[int], **more: str) -> None:
    for number in numbers:
        history.upstream.records.setdefault(kind_of(number), []).append(record(number, **more))


def walk(reader: Any, between: Callable[[], object] = lambda: None, **query: str) -> list[dict[str, Any]]:
    """All rows of one walk; ``between`` is called between its pages."""
    rows: list[dict[str, Any]] = []
    while True:
        page = reader.get(PATH, **query)
        assert page.status == 200, page.text
        rows += page.json["data"]
        assert page.json["has_more"] is (page.json["next_cursor"] is not None)
        assert page.json["data"] or not page.json["has_more"]
        if not page.json["has_more"]:
            return rows
        query = {**query, "cursor": page.json["next_cursor"]}
        between()


def test_who_waits_is_shown_with_every_field(history: Any, make_reader: Callable[..., Any]) -> None:
    """Flat, in the order of the ids, without an employee, each digit and unknown field as it came."""
    serve(history, range(16), note='{"deep": [1.50]}')
    history.upstream.identities = {address(number): str(number) for number in range(8)}
    history.poll()
    rows = walk(make_reader(history.client, clock=history.clock))
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    assert {row[SUBJECT_FIELDS[row["type"]]] for row in rows} == {address(number) for number in range(8, 16)}
    for row in rows:
        assert row["employee_id"] is None
        assert row["note"] == {"deep": [1.5]}
    text = make_reader(history.client, clock=history.clock).get(PATH).text
    assert '"timestamp":1795313608.5000000' in text
    assert '"note":{"deep":[1.50]}' in text


def test_an_identity_attributes_within_one_poll(history: Any, make_reader: Callable[..., Any]) -> None:
    """The first poll that sees it moves the incident from here to its employee and to the end of the feed."""
    reader = make_reader(history.client, clock=history.clock)
    serve(history, [8])
    history.poll()
    token = reader.get(CHANGES).json["next_token"]
    assert reader.get(CHANGES).json["data"] == []
    (waiting,) = walk(reader)
    history.upstream.identities[address(8)] = "4506"
    history.poll()
    assert walk(reader) == []
    (change,) = reader.get(CHANGES, token=token).json["data"]
    assert (change["id"], change["employee_id"]) == (waiting["id"], "4506")
    assert reader.get("/employees/4506/incidents").json["incidents"]["4506"]["low"]["count"] == 1
    assert reader.get("/health").json["unattributed_incidents"] == 0


def test_an_address_that_moves_never_rewrites_history(history: Any, make_reader: Callable[..., Any]) -> None:
    """What was attributed stays with whom it was; only what comes later is the new employee's."""
    reader = make_reader(history.client, clock=history.clock)
    serve(history, [8])
    history.upstream.identities[address(8)] = "1"
    history.poll()
    history.upstream.identities[address(8)] = "2"
    serve(history, [9], ip=address(8))
    history.poll()
    history.poll()
    rows = reader.get(CHANGES).json["data"]
    assert [(row["employee_id"], row["timestamp"] - BEGINNING) for row in rows] == [
        ("1", -99_991.5),
        ("2", -99_990.5),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_a_walk_shows_its_snapshot_whatever_is_attributed_meanwhile(
    make_history: Callable[..., Any], make_reader: Callable[..., Any], seed: int
) -> None:
    """Between two pages some become known and others come: the walk equals what waited when it began, in
    filters and limits of all sizes.
    """
    draw = random.Random(seed)  # noqa: S311 - which example it is
    history = make_history(clock=Clock(BEGINNING))
    reader = make_reader(history.client, clock=history.clock)
    numbers = iter(draw.sample(range(400), 400))
    serve(history, [next(numbers) for _ in range(draw.randrange(1, 60))])
    history.poll()
    filters = draw.choice(
        [{}, {"priority": "high,critical"}, {"type": "probing"}, {"since": f"{BEGINNING - 99_900}"}]
    )

    def poll_in_between() -> None:
        serve(history, [next(numbers) for _ in range(draw.randrange(3))])
        known = draw.sample(range(400), 40)
        history.upstream.identities |= {address(number): "7" for number in known}
        history.clock.now += 300
        if draw.random() < 0.7:
            history.poll()

    at_once = walk(reader, limit="500", **filters)
    limit = str(draw.randrange(1, 12))
    assert walk(reader, poll_in_between, limit=limit, **filters) == at_once
    everything = walk(reader, limit="500")
    for row in everything:
        assert row["employee_id"] is None
    assert walk(reader, limit="3", **filters) == [
        row for row in everything if row in walk(reader, limit="500", **filters)
    ]


def test_filters_let_through_what_they_name(history: Any, make_reader: Callable[..., Any]) -> None:
    """By priority, type and time, alone and together, against a plain look at all of them."""
    serve(history, range(160))
    history.poll()
    reader = make_reader(history.client, clock=history.clock)
    everything = walk(reader, limit="500")
    assert len(everything) == 160
    begin, end = BEGINNING - 99_960, BEGINNING - 99_900
    questions: list[tuple[dict[str, str], Callable[[dict[str, Any]], bool]]] = [
        ({"priority": "critical"}, lambda row: row["priority"] == "critical"),
        ({"type": "other,probing"}, lambda row: row["type"] in ("other", "probing")),
        ({"since": f"{begin}"}, lambda row: row["timestamp"] >= begin),
        ({"until": f"{end + 0.5}"}, lambda row: row["timestamp"] < end + 0.5),
        (
            {"priority": "low,high", "type": "intrusion", "since": f"{begin}", "until": f"{end}"},
            lambda row: (
                row["priority"] in ("low", "high")
                and row["type"] == "intrusion"
                and begin <= row["timestamp"] < end
            ),
        ),
        ({"type": "misuse"}, lambda row: False),
    ]
    for query, is_wanted in questions:
        assert walk(reader, limit="7", **query) == [row for row in everything if is_wanted(row)], query
    assert reader.get(PATH, priority="urgent").json["code"] == "invalid_parameter"
    assert reader.get(PATH, token="x").json["code"] == "invalid_parameter"


def test_a_cursor_is_of_this_list_and_its_filters(history: Any, make_reader: Callable[..., Any]) -> None:
    """Neither another route's nor with other filters; a forged one not at all."""
    serve(history, range(40))
    history.upstream.identities = {address(number): str(number) for number in range(8)}
    history.poll()
    reader = make_reader(history.client, clock=history.clock)
    mine = reader.get(PATH, limit="3", priority="low").json["next_cursor"]
    theirs = reader.get("/incidents", limit="3").json["next_cursor"]
    assert reader.get("/incidents", cursor=mine).json["code"] == "cursor_mismatch"
    assert reader.get(PATH, cursor=theirs).json["code"] == "cursor_mismatch"
    assert reader.get(PATH, cursor=mine, priority="high").json["code"] == "cursor_mismatch"
    assert reader.get(PATH, cursor=mine[:-1]).json["code"] == "cursor_invalid"
    assert reader.get(PATH, cursor=mine).status == 200
    history.clock.now += 24 * 3600 + 1
    assert reader.get(PATH, cursor=mine).json["code"] == "cursor_expired"


def test_one_among_many_is_on_the_first_page(history: Any, make_reader: Callable[..., Any]) -> None:
    """However selective the filter is, and though each request looks at few: no empty page with a cursor."""
    serve(history, range(2_000))
    history.poll()
    reader = make_reader(history.client, clock=history.clock)
    wanted = f"{BEGINNING - 100_000 + 1_234}"
    page = reader.get(PATH, since=wanted, until=f"{BEGINNING - 100_000 + 1_235}", limit="1").json
    assert [row["timestamp"] for row in page["data"]] == [float(wanted) + 0.5]
    assert page["has_more"] is False


def test_a_search_that_finds_no_time_goes_on(history: Any, make_reader: Callable[..., Any]) -> None:
    """503 `search_unfinished` until it is found, at the snapshot of its beginning; with something in hand
    already, that is the page.
    """
    serve(history, range(2_000))
    history.poll()
    # Each look at the clock is a minute later.
    now = iter(range(0, 10**9, 60))
    reader = make_reader(history.client, clock=history.clock, monotonic=lambda: float(next(now)))
    query = {
        "since": f"{BEGINNING - 100_000 + 1_234}",
        "until": f"{BEGINNING - 100_000 + 1_235}",
        "limit": "1",
    }
    answers = [reader.get(PATH, **query) for _ in range(3)]
    assert (answers[0].status, answers[0].json["code"]) == (503, "search_unfinished")
    assert answers[0].headers["Retry-After"] == "1"
    for _ in range(20):
        if answers[-1].status == 200:
            break
        answers.append(reader.get(PATH, **query))
    assert len(answers[-1].json["data"]) == 1
    rows = []
    query = {"priority": "low", "limit": "100"}
    for _ in range(300):
        page = reader.get(PATH, **query)
        if page.status == 503:
            continue
        rows += page.json["data"]
        if not page.json["has_more"]:
            break
        query["cursor"] = page.json["next_cursor"]
    assert rows == walk(make_reader(history.client, clock=history.clock), priority="low", limit="500")


def test_pages_stay_under_a_megabyte(history: Any, make_reader: Callable[..., Any]) -> None:
    """Of the largest records that there are: whole pages of them, and each one once."""
    serve(history, range(200), note='"' + "\\u00fc" * 2_600 + '"')
    history.poll()
    reader = make_reader(history.client, clock=history.clock)
    sizes, query, ids = [], {"limit": "500"}, []
    while True:
        answer = reader.get(PATH, **query)
        sizes.append(len(answer.text))
        ids += [row["id"] for row in answer.json["data"]]
        if not answer.json["has_more"]:
            break
        query = {"cursor": answer.json["next_cursor"]}
    assert len(ids) == len(set(ids)) == 200
    assert len(sizes) > 2
    assert max(sizes) < 1_000_000
    assert min(sizes[:-1]) > 800_000


def test_what_is_past_its_time_is_not_shown(
    make_history: Callable[..., Any], make_reader: Callable[..., Any]
) -> None:
    """Retention is judged at the hour in which the walk began, as for all incidents."""
    history = make_history(clock=Clock(BEGINNING), retention=Retention(2))
    reader = make_reader(history.client, clock=history.clock, retention=Retention(2))
    serve(history, [8, 9])
    history.poll()
    cursor = reader.get(PATH, limit="1").json["next_cursor"]
    history.clock.now += 2 * 86_400
    assert walk(reader) == []
    history.clock.now -= 86_400 + 10_000
    assert len(reader.get(PATH, cursor=cursor).json["data"]) == 1


def test_who_has_it_already_costs_one_small_read(history: Any, make_reader: Callable[..., Any]) -> None:
    """304 for the same snapshot; an attribution changes the tag."""
    serve(history, [8, 9])
    history.poll()
    reader = make_reader(history.client, clock=history.clock)
    tag = reader.get(PATH).headers["ETag"]
    before = len(history.client.requests)
    assert reader.get(PATH, headers={"If-None-Match": tag}).status == 304
    assert [name for name, _ in history.client.requests[before:]] == ["GetItem"]
    assert reader.get("/incidents").headers["ETag"] != tag
    history.upstream.identities[address(8)] = "7"
    history.poll()
    assert reader.get(PATH, headers={"If-None-Match": tag}).status == 200


def test_what_retention_takes_is_not_counted_for_ever(
    make_history: Callable[..., Any], make_reader: Callable[..., Any]
) -> None:
    """Once a day those that still wait are counted anew: one whose time is over leaves the count, though
    nothing decides about it, and it is not attributed any more.
    """
    history = make_history(clock=Clock(BEGINNING), retention=Retention(2))
    reader = make_reader(history.client, clock=history.clock, retention=Retention(2))
    for number, age in ((8, 86_000), (9, -40_000)):
        history.upstream.records[kind_of(number)] = [
            *history.upstream.records.get(kind_of(number), []),
            f'{{"ip":"{address(number)}","priority":"low","timestamp":{BEGINNING - age}}}',
        ]
    history.poll()
    history.upstream.records.clear()
    counts = []
    for _ in range(6):
        history.clock.now += 43_200
        history.poll()
        history.delete_expired()
        counts.append(reader.get("/health").json["unattributed_incidents"])
    # Past their time after 24 and 59 hours; days begin 18 hours after the first poll.
    assert counts == [2, 2, 2, 1, 1, 0]
    history.upstream.identities = {address(number): "7" for number in (8, 9)}
    history.poll()
    assert reader.get(CHANGES).json["data"] == []
    assert walk(reader) == []


def test_counting_anew_costs_one_look_a_day(make_history: Callable[..., Any]) -> None:
    """Those that wait are read when the identities have changed and once a day, not at every poll."""
    history = make_history(clock=Clock(BEGINNING), retention=Retention(30))
    serve(history, range(8))
    history.poll()
    looks = 0
    for _ in range(96):
        history.clock.now += 1_800
        before = len(history.client.requests)
        history.poll()
        looks += sum(
            name == "Query" and request["ExpressionAttributeValues"][":pk"] == {"S": "UNATTRIBUTED"}
            for name, request in history.client.requests[before:]
        )
    assert looks == 2
    assert history.state()["projected"] == 1
