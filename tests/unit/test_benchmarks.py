"""What measures is right where it can be wrong without anybody noticing: arithmetic, stand-ins, the page."""

import json
import re
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results
from benchmarks.__main__ import parse_arguments
from benchmarks.budgets import BUDGETS, judge
from benchmarks.data import Past, make_table
from benchmarks.dynalite import make_client
from benchmarks.dynamodb import CountingDynamoDB, serve
from benchmarks.first_version import FirstVersion
from benchmarks.functions import make_event, read_next_cursor
from benchmarks.load import describe
from benchmarks.measuring import percentile, percentile_of_counts, spread
from benchmarks.page import PAGE, render_page
from benchmarks.polling import best_seconds
from benchmarks.readers import make_advance
from benchmarks.subject import Subject, measure_in_turn
from benchmarks.units import read_units, units_of_bytes, write_units
from local.simulator import INCIDENT_TYPES
from shared.store.incidents import Span, read_incidents
from shared.store.keys import INCIDENTS, STATE_KEY
from shared.store.state import read_state
from shared.store.table import Table

NOW = 1_795_000_000.0
MEASURED = results.load()


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (1, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)])
def test_a_percentile_is_a_value_that_was_measured(percent: float, value: float) -> None:
    """Nearest rank: never a number in between, also where each value is only counted."""
    values = list(range(100, 0, -1))
    assert percentile(values, percent) == value
    assert percentile_of_counts(dict.fromkeys(map(float, values), 3), percent) == value
    assert percentile([7], percent) == percentile_of_counts({7: 1}, percent) == 7


def test_no_value_has_no_percentile() -> None:
    """A run that measured nothing does not look like one that took no time."""
    with pytest.raises(ValueError, match="no value"):
        percentile([], 50)
    with pytest.raises(ValueError, match="no value"):
        percentile_of_counts({}, 50)
    assert spread([3, 1, 2]).to_json() == {"count": 3, "minimum": 1, "median": 2, "p99": 3, "maximum": 3}


@pytest.mark.parametrize(("size", "units"), [(0, 1), (1, 1), (4096, 1), (4097, 2), (40_960, 10)])
def test_a_read_costs_a_unit_for_each_4_kb(size: int, units: int) -> None:
    """And one at least, also where nothing is."""
    assert read_units(size) == units


@pytest.mark.parametrize(
    ("before", "after", "units"), [(0, 1, 1), (0, 1024, 1), (0, 1025, 2), (5000, 10, 5), (5000, 0, 5)]
)
def test_a_write_costs_a_unit_for_each_kb_of_the_larger(before: int, after: int, units: int) -> None:
    """What is overwritten or deleted counts as much as what is written."""
    assert write_units(before, after) == units
    assert units_of_bytes([2048, 2048, 1024]) == 1.25


def test_the_table_in_memory_counts_what_dynamodb_would() -> None:
    """A put, an overwrite by something smaller, a look-up of keys that are not there."""
    table = CountingDynamoDB()
    big, small = ({"pk": {"S": "P"}, "sk": {"S": "S"}, "text": {"S": "x" * size}} for size in (2_000, 10))
    condition = {"ConditionExpression": "attribute_exists(pk) OR attribute_not_exists(pk)"}
    table.put_item(TableName="incidents", Item=big, **condition)
    assert table.write_units == 2
    table.put_item(TableName="incidents", Item=small, **condition)
    assert table.write_units == 4
    wanted = {
        "Keys": [{"pk": {"S": pk}, "sk": {"S": "S"}} for pk in "PQR"],
        "ConsistentRead": True,
        "ProjectionExpression": "#0",
        "ExpressionAttributeNames": {"#0": "pk"},
    }
    assert len(table.batch_get_item(RequestItems={"incidents": wanted})["Responses"]["incidents"]) == 1
    assert table.read_units == 3


@pytest.fixture(scope="module")
def past() -> Past:
    """210 incidents, as the simulator serves them."""
    return Past(210, now=NOW)


@pytest.fixture(scope="module")
def memory(past: Past) -> CountingDynamoDB:
    """The table that holds them."""
    return make_table(past)


def test_a_table_holds_the_past_as_the_poller_would_have_taken_it_in(
    past: Past, memory: CountingDynamoDB
) -> None:
    """Every incident, in the order of its key, with its id, its entry and the state; nothing counted yet."""
    table = Table("incidents", client=memory)  # type: ignore[arg-type]  # as much of one as is needed
    assert (memory.read_units, memory.write_units) == (0, 0)
    keys = [item["sk"]["S"] for item in memory.items_of(INCIDENTS)]
    assert len(keys) == 210
    assert keys == sorted(keys)
    assert len(list(memory.items_of("ID#"))) == 210
    assert read_state(table).totals.incidents == 210
    served = {
        re.findall(r'"timestamp": ([0-9.]+)', text)[0]
        for kind in INCIDENT_TYPES
        for text in past.texts(kind, newest=30)
    }
    assert {item["timestamp"]["N"] for item in memory.items_of(INCIDENTS)} == served


def test_the_first_versions_stand_in_has_the_same_incidents(past: Past, memory: CountingDynamoDB) -> None:
    """Side by side they are worth comparing only if both answer with everything. Of a timestamp the first
    version has what a float can hold.
    """
    first = FirstVersion()
    first.take({kind: past.texts(kind, newest=30) for kind in INCIDENT_TYPES}, past.identities())
    theirs = {
        (employee, incident["type"], priority, incident["timestamp"])
        for employee, groups in json.loads(first.answer()).items()
        for priority, group in groups.items()
        for incident in group["incidents"]
    }
    table = Table("incidents", client=memory)  # type: ignore[arg-type]  # as much of one as is needed
    found, _ = read_incidents(table, Span(), after=None, snapshot=9, oldest_kept=None, limit=None)
    ours = {
        (each.employee_id, incident["type"], each.priority, incident["timestamp"])
        for each in found
        if (incident := json.loads(each.json))
    }
    assert len(ours) == 210
    assert theirs == ours
    counts = [group["count"] for groups in first.employees.values() for group in groups.values()]
    assert sum(counts) == 210


@pytest.mark.loopback
def test_the_table_answers_over_http_as_in_memory_and_counts(memory: CountingDynamoDB) -> None:
    """A real client gets the same items, bytes included; what it costs is counted, also when the answer was
    kept from the last time, and what is written is seen at once.
    """
    with serve(memory) as server:
        client = make_client(server.url)
        there, here = Table("incidents", client=client), Table("incidents", client=memory)  # type: ignore[arg-type]  # what the test made up
        assert list(there.query(INCIDENTS)) == list(here.query(INCIDENTS))
        assert list(there.query("JOURNAL")) == list(here.query("JOURNAL"))
        assert server.count().requests == 2
        for _ in range(2):
            there.get(STATE_KEY)
            counts = server.count()
            assert (counts.requests, counts.read_units) == (1, 1)
            assert counts.last[0][0] == "GetItem"
        advance = make_advance(server.url)
        before = read_state(there).projected
        advance()
        assert read_state(there).projected > before
        # The state is over a KB.
        assert server.count().write_units == 2
        assert not there.put_new({"pk": {"S": "STATE"}, "sk": {"S": "STATE"}})


def test_a_subject_does_its_work_in_a_process_of_its_own() -> None:
    """As often as it is told, with a time for each; one that dies is not taken for one that was quick."""
    arguments = {
        "records": {"misuse": ['{"priority":"low","employee_id":7,"timestamp":1.5}']},
        "identities": {},
    }
    subjects = {
        name: Subject("benchmarks.first_version", "answer_from_memory", arguments)
        for name in ("one", "other")
    }
    measured = measure_in_turn(subjects, rounds=2, times=3, warm=1)
    for each in measured.values():
        assert len(each.cpu_ms) == len(each.wall_ms) == 6
        assert each.bytes > 100
        assert each.memory_mb > 1
        assert each.log_bytes == 0
    with (
        Subject("benchmarks.first_version", "no_such_function", {}) as broken,
        pytest.raises(RuntimeError, match="died"),
    ):
        broken.run()


@pytest.mark.parametrize(
    ("seconds", "at_once", "slowdown", "best"),
    [
        ([2.0], 4, 0.23, 2.0),
        ([1.0, 2.0, 3.0], 1, 0.5, 6.0),
        # Nobody disturbs anybody: as good as two piles can be.
        ([3.0, 3.0, 2.0, 2.0, 2.0], 2, 0.0, 6.0),
        # Both at half the speed until the short one is done, the rest alone.
        ([1.0, 2.0], 2, 1.0, 3.0),
    ],
)
def test_the_best_schedule_is_the_best(
    seconds: list[float], at_once: int, slowdown: float, best: float
) -> None:
    """Worked out by hand, and no order of the calls changes it."""
    for order in permutations(seconds):
        assert best_seconds(order, at_once, slowdown) == pytest.approx(best)


def test_events_are_as_the_gateway_makes_them() -> None:
    """Path parameters, repeated query parameters, and a cursor found without parsing the page."""
    event = make_event("/employees/7/incidents", "type=denial&type=misuse")
    assert event["pathParameters"] == {"employee_id": "7"}
    assert event["multiValueQueryStringParameters"] == {"type": ["denial", "misuse"]}
    assert read_next_cursor('{"incidents":{"1":{}},"next_cursor":"a_b","has_more":true}') == "a_b"
    assert read_next_cursor('{"incidents":{},"next_cursor":null,"has_more":false}') is None


def test_without_a_section_all_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """But the load, which is `make load`; a section that is not there is told, and nothing is measured."""
    assert [*parse_arguments([]).sections, "load"] == list(results.SECTIONS)
    assert parse_arguments(["page"]).sections == ["page"]
    assert parse_arguments(["scale", "--large"]).large
    with pytest.raises(SystemExit):
        parse_arguments(["reading", "writing"])
    assert "no such section: writing" in capsys.readouterr().err


def test_what_locust_counts_is_told_in_short() -> None:
    """Its histogram becomes percentiles, its failures errors."""
    stats = {
        "name": "/health",
        "num_requests": 100,
        "num_failures": 2,
        "response_times": {"5": 60, "10": 39, "900": 1},
    }
    assert describe(stats, 20) == {
        "name": "/health",
        "requests": 100,
        "per_second": 5.0,
        "p50_ms": 5.0,
        "p99_ms": 10.0,
        "errors": 2,
    }


# ---------------------------------------------------------------- docs/performance.md


def test_the_page_is_what_was_measured() -> None:
    """Nobody has edited it, or the numbers below it: `python -m benchmarks page` makes it anew."""
    assert render_page(MEASURED) == PAGE.read_text("utf-8")


def test_every_section_was_measured() -> None:
    """None stands there without figures; each says when and on what, and tells nobody the machine's name."""
    assert tuple(MEASURED) == results.SECTIONS
    for section in MEASURED.values():
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", section["measured_on"])
        assert section["machine"].keys() >= {"processor", "memory", "python", "boto3"}
    # They take long, so no run without LARGE=1 has them: they stay from the last one that had.
    assert "1000000" in MEASURED["scale"]["results"]["sizes"]
    assert "700000" in MEASURED["polling"]["results"]["windows"]
    assert "not measured" not in PAGE.read_text("utf-8").lower()


def test_every_budget_is_judged() -> None:
    """The table has each budget once, with what was measured, and whether it is met."""
    table = PAGE.read_text("utf-8").partition("## Budgets")[2].partition("\n## ")[0]
    rows = [line.strip("| \n").split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    assert [row[0] for row in rows] == [budget.what for budget in BUDGETS]
    assert len(rows) == 9
    assert {row[3] for row in rows} <= {"met", "**missed**"}
    assert all(re.search(r"\d", row[2]) for row in rows)


def test_what_was_not_measured_is_said_so() -> None:
    """A page without any figures makes no claim."""
    page = render_page({})
    assert page.count("| not measured |") == len(BUDGETS)
    assert page.count("Not measured yet") == len(results.SECTIONS)


STEADY = {"new": 0, "read_units": 13, "write_units": 3, "incident_writes": 0}


@pytest.mark.parametrize(
    ("poll", "verdict"),
    [
        (STEADY, "met"),
        (STEADY | {"write_units": 4}, "**missed**"),
        (STEADY | {"read_units": 31}, "**missed**"),
        (STEADY | {"incident_writes": 1}, "**missed**"),
    ],
)
def test_a_budget_that_is_broken_is_missed(poll: dict[str, int], verdict: str) -> None:
    """At any size: one poll over it is enough."""
    sizes = {"2000": {"polls": {"0": STEADY}}, "20000": {"polls": {"0": poll}}}
    assert judge(BUDGETS[0], {"scale": {"results": {"sizes": sizes}}})[1] == verdict


def pages_of_100(read_units: int, first_page: int) -> dict[str, Any]:
    return {
        "pages_of_100": {"read_units": read_units, "pages": 12, "units_of_bytes": 100},
        "reads": {"first page": {"read_units": first_page}},
    }


@pytest.mark.parametrize(
    ("large", "verdict"),
    [
        (pages_of_100(137, 13), "met"),
        (pages_of_100(138, 13), "**missed**"),
        (pages_of_100(137, 20), "**missed**"),
    ],
)
def test_a_page_that_grows_with_the_table_misses_its_budget(large: dict[str, Any], verdict: str) -> None:
    """More than 1.25 of its bytes' units, the state's apart, or more in the large table than in the small."""
    sizes = {"2000": pages_of_100(130, 13), "1000000": large}
    assert judge(BUDGETS[2], {"scale": {"results": {"sizes": sizes}}})[1] == verdict


def test_results_keep_four_digits_and_no_more(tmp_path: Path) -> None:
    """A new run changes what has changed, and what is kept can be read back."""
    results.save("reading", {"a": 1.23456789, "b": [123456.789, 5], "c": {2100: "x"}}, tmp_path)
    assert results.load_results("reading", tmp_path) == {"a": 1.235, "b": [123500.0, 5], "c": {"2100": "x"}}
    assert results.load_results("scale", tmp_path) == {}


def test_pictures_are_small_and_say_nothing_of_when() -> None:
    """Every picture of the page is there, its text is text, and each is under 60 KB."""
    named = re.findall(r"\]\((performance/[\w-]+\.svg)\)", PAGE.read_text("utf-8"))
    assert len(named) == 5
    for name in named:
        picture = (PAGE.parent / name).read_text("utf-8")
        assert "<text" in picture
        assert "dc:date" not in picture
        assert len(picture) < 60_000
