"""`GET /employees` and `GET /summary`: what a plain count of all incidents says, over HTTP."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from benchmarks.data import Past, make_table
from benchmarks.scale import measure_polls
from functions.poller.poll import Poller
from local.simulator import Simulator, SimulatorSettings
from scripts.erase import erase
from shared.domain import overview as overviews_domain
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES
from shared.domain.overview import Basis
from shared.domain.retention import Retention
from shared.domain.risk import RiskScale
from shared.store import recount as recounting
from shared.store.employees import bury_employee
from tests.fakes import Clock, MemoryDynamoDB, item_size
from tests.integration.conftest import exact_json

DAY = 86_400
# Ten minutes past ten.
NOW = 1_795_428_600.0
WEIGHTS = dict(zip(PRIORITIES, (1, 3, 7, 15), strict=True))


def misuse(employee_id: int, days_ago: float, priority: str = "high") -> str:
    moment = NOW - days_ago * DAY
    return f'{{"employee_id":{employee_id},"priority":"{priority}","timestamp":{moment:.4f}}}'


@pytest.fixture
def history(make_history: Callable[..., Any]) -> Any:
    """A table that no poll has been at yet."""
    return make_history(clock=Clock(NOW))


@pytest.fixture
def reader(history: Any, make_reader: Callable[..., Any]) -> Any:
    """A reader of that table."""
    return make_reader(history.client, clock=history.clock, retention=history.retention)


def serve(history: Any, *records: str, kind: str = "misuse") -> None:
    history.upstream.records.setdefault(kind, []).extend(records)


def walk(reader: Any, between: Callable[[], object] = lambda: None, **query: str) -> list[dict[str, Any]]:
    """All employees of one walk by id."""
    rows: list[dict[str, Any]] = []
    query = {"sort": "employee_id", **query}
    while True:
        page = reader.get("/employees", **query)
        assert page.status == 200, page.text
        rows += page.json["employees"]
        assert page.json["has_more"] is (page.json["next_cursor"] is not None)
        assert page.json["employees"] or not page.json["has_more"]
        if not page.json["has_more"]:
            return rows
        query = {"cursor": page.json["next_cursor"]}
        between()


def plain_employees(
    incidents: Sequence[Mapping[str, Any]], as_of: float, weights: Mapping[str, int] = WEIGHTS, days: int = 30
) -> dict[str, dict[str, Any]]:
    """What the answer should say of each, worked out from the incidents alone."""
    theirs: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for incident in incidents:
        theirs[incident["employee_id"]].append(incident)
    return {
        employee_id: {
            "counts": {name: sum(it["priority"] == name for it in some) for name in PRIORITIES},
            "incidents": len(some),
            "last_incident_at": max((it["timestamp"] for it in some), key=Decimal),
            "risk": math.fsum(
                weights[it["priority"]]
                * 2 ** float((Decimal(it["timestamp"]) - Decimal(as_of)) / (days * DAY))
                for it in some
            ),
        }
        for employee_id, some in theirs.items()
    }


def check_employees(rows: Sequence[Mapping[str, Any]], expected: Mapping[str, Mapping[str, Any]]) -> None:
    assert len({row["employee_id"] for row in rows}) == len(rows)
    for row in rows:
        wanted = dict(expected[row["employee_id"]])
        assert float(row["risk"]) == pytest.approx(wanted.pop("risk"), rel=1e-8)
        assert {name: row[name] for name in wanted} == wanted


def check_summary(summary: Mapping[str, Any], incidents: Sequence[Mapping[str, Any]], now: float) -> None:
    """Every number of the answer against the incidents."""
    days = summary["period"]["days"]
    today = int(now) // DAY
    first = today - days + 1
    in_period = [each for each in incidents if int(Decimal(each["timestamp"])) // DAY >= first]
    assert summary["incidents"] == len(in_period)
    assert summary["by_priority"] == {
        name: sum(each["priority"] == name for each in in_period) for name in PRIORITIES
    }
    assert summary["by_type"] == {
        name: sum(each["type"] == name for each in in_period) for name in INCIDENT_TYPES
    }
    assert summary["employees_affected"] == len({each["employee_id"] for each in in_period})
    by_day = Counter(min(int(Decimal(each["timestamp"])) // DAY, today) for each in in_period)
    shown = [datetime.fromtimestamp(day * DAY, UTC).date().isoformat() for day in range(first, today + 1)]
    assert [row["day"] for row in summary["by_day"]] == shown
    assert [row["incidents"] for row in summary["by_day"]] == [by_day[day] for day in range(first, today + 1)]
    assert all(sum(row[name] for name in PRIORITIES) == row["incidents"] for row in summary["by_day"])


# ---------------------------------------------------------------- on real data


@pytest.mark.parametrize("source", ["capture", "generated"])
def test_all_numbers_of_a_whole_window(
    source: str, make_service: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    """Through both real handlers on an emulator: as many employees, counts and scores as a plain count of the
    walk over all incidents gives; those on top are those on top.
    """
    if source == "capture":
        simulator = Simulator(SimulatorSettings(folder=request.getfixturevalue("capture")))
    else:
        moment = Simulator().clock()
        simulator = Simulator(SimulatorSettings(seed=5), clock=lambda: moment)
    service = make_service(simulator)
    assert service.get("/employees").json["code"] == "no_data_yet"
    assert service.get("/summary").json["code"] == "no_data_yet"
    service.poll()
    service.poll()
    incidents = [
        incident
        for page in service.pages(limit="500")
        for employee in exact_json(json.dumps(page))["incidents"].values()
        for group in employee.values()
        for incident in group["incidents"]
    ]
    top = service.get("/employees", limit="500")
    scored_at = datetime.fromisoformat(top.json["scored_at"]).timestamp()
    expected = plain_employees(incidents, scored_at)
    rows = walk(service, limit="499")
    for row in rows:
        row["last_incident_at"] = str(row["last_incident_at"])
    assert [int(row["employee_id"]) for row in rows] == sorted(map(int, expected))
    for row in rows:
        wanted = expected[row["employee_id"]]
        assert Decimal(row["last_incident_at"]) == Decimal(wanted.pop("last_incident_at"))
        assert row["risk"] == pytest.approx(wanted.pop("risk"), rel=1e-8)
        assert {name: row[name] for name in wanted} == wanted
    if source == "capture":
        assert (len(rows), sum(row["incidents"] for row in rows)) == (1_727, 2_100)
    risks = {row["employee_id"]: row["risk"] for row in rows}
    assert [row["employee_id"] for row in top.json["employees"]] == sorted(
        risks, key=lambda each: (-risks[each], int(each))
    )[:500]
    assert (top.json["next_cursor"], top.json["has_more"]) == (None, False)
    for days in ("1", "7", "400"):
        summary = service.get("/summary", days=days).json
        check_summary(summary, incidents, scored_at)
        assert summary["top_employees"] == [
            {"employee_id": row["employee_id"], "risk": row["risk"]} for row in top.json["employees"][:10]
        ]
    if source == "generated":
        assert service.get("/summary").json["incidents"] > 2_000


# ---------------------------------------------------------------- as time passes


def test_scores_halve_and_counts_leave_with_retention(
    make_history: Callable[..., Any], make_reader: Callable[..., Any]
) -> None:
    """Without any write: a half-life later a score is half, and the order is as it was; past retention an
    incident is in no count, to the day, and an employee with nothing left is gone.
    """
    history = make_history(clock=Clock(NOW), retention=Retention(40), scale=RiskScale((1, 3, 7, 15), 10))
    reader = make_reader(history.client, clock=history.clock, retention=history.retention)
    serve(history, misuse(7, 1, "critical"), misuse(7, 20, "low"), misuse(8, 15, "medium"))
    history.poll()
    before = {row["employee_id"]: row for row in walk(reader)}
    history.clock.now += 10 * DAY
    after = {row["employee_id"]: row for row in walk(reader)}
    for employee_id, row in after.items():
        assert row["risk"] == pytest.approx(before[employee_id]["risk"] / 2, rel=1e-8)
        assert row["counts"] == before[employee_id]["counts"]
    assert [row["employee_id"] for row in reader.get("/employees").json["employees"]] == ["7", "8"]
    shown: list[tuple[int, int]] = []
    while history.clock.now < NOW + 45 * DAY:
        rows = {row["employee_id"]: row["incidents"] for row in walk(reader)}
        assert rows == {
            row["employee_id"]: row["incidents"] for row in reader.get("/employees").json["employees"]
        }
        summary = reader.get("/summary", days="400").json
        assert summary["incidents"] == sum(rows.values())
        assert summary["employees_affected"] == len(rows)
        for employee_id in ("7", "8"):
            answer = reader.get(f"/employees/{employee_id}/incidents")
            exact = (
                sum(it["count"] for it in answer.json["incidents"].get(employee_id, {}).values())
                if (answer.status == 200)
                else 0
            )
            assert 0 <= rows.get(employee_id, 0) - exact <= 1
        shown.append((rows.get("7", 0), rows.get("8", 0)))
        history.clock.now += DAY / 4
        if len(shown) % 9 == 0:
            history.delete_expired()
    assert list(dict.fromkeys(shown)) == [(2, 1), (1, 1), (1, 0), (0, 0)]


def test_what_is_dated_ahead_counts_as_todays(history: Any, reader: Any) -> None:
    """The upstream's clock may be ahead by up to a day; no incident is missing in the sum of the days."""
    serve(history, misuse(7, -0.9), misuse(8, 0.0))
    history.poll()
    summary = reader.get("/summary", days="1").json
    assert (summary["incidents"], summary["employees_affected"]) == (2, 2)
    assert [row["incidents"] for row in summary["by_day"]] == [2]
    assert summary["period"]["until"] == "2026-11-24T00:00:00Z"


def test_a_late_attribution_counts_when_it_happened(history: Any, reader: Any) -> None:
    """It waits in no number but `unattributed`; then it counts on its own day."""
    record = f'{{"ip":"10.0.0.9","priority":"critical","timestamp":{NOW - 3 * DAY:.3f}}}'
    serve(history, record, kind="probing")
    history.poll()
    assert reader.get("/summary").json["unattributed"] == 1
    assert reader.get("/employees").json["employees"] == []
    history.upstream.identities["10.0.0.9"] = 7
    history.clock.now += 60
    history.poll()
    summary = reader.get("/summary", days="7").json
    assert (summary["unattributed"], summary["incidents"], summary["employees_affected"]) == (0, 1, 1)
    assert [row["critical"] for row in summary["by_day"]] == [0, 0, 0, 1, 0, 0, 0]


# ---------------------------------------------------------------- counted anew


def test_an_older_table_is_counted_once(history: Any, reader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a version that knew no summaries: 503 that says so, never a part; all other routes answer."""
    serve(history, *(misuse(number, number / 10) for number in range(1, 10)))
    history.poll()
    wanted = walk(reader)
    assert len(wanted) == 9
    old = {key: item for key, item in history.dump().items() if key[0] not in ("EMPLOYEES", "SUMMARY")}
    del old["STATE", "STATE"]["summaries"]
    history.client = MemoryDynamoDB()
    history.client.load(old.values())
    history._table._client = history.client
    reader = type(reader)(history.client, clock=history.clock)
    monkeypatch.setattr(recounting, "_PORTION", 2)
    for path in ("/employees", "/summary"):
        answer = reader.get(path)
        assert (answer.status, answer.json["code"]) == (503, "summaries_not_ready")
        assert answer.headers["Retry-After"] == "30"
        assert reader.get(path, headers={"If-None-Match": "*"}).status == 503
    assert reader.get("/incidents").status == 200
    serve(history, misuse(77, 0.5))
    history.clock.now += 60
    summary = history.poll()
    assert (summary.outcome, summary.recount_error) == ("succeeded", "")
    assert [row["employee_id"] for row in walk(reader)] == [*(row["employee_id"] for row in wanted), "77"]
    assert reader.get("/summary").json["incidents"] == 10


def test_another_scale_counts_everything_anew(history: Any, reader: Any) -> None:
    """The poll that is told of it; the answer says which scale it is, and no two are ever mixed."""
    serve(history, misuse(7, 1, "low"), misuse(7, 2, "low"), misuse(8, 1, "high"))
    history.poll()
    first = reader.get("/employees")
    assert first.json["scale"] == {"half_life_days": 30, "weights": WEIGHTS}
    assert [row["employee_id"] for row in first.json["employees"]] == ["8", "7"]
    history.scale = RiskScale((50, 3, 7, 15), 3)
    history.poll()
    second = reader.get("/employees", headers={"If-None-Match": first.headers["ETag"]})
    assert second.status == 200, "another scale is another answer"
    assert second.json["scale"] == {"half_life_days": 3, "weights": WEIGHTS | {"low": 50}}
    assert [row["employee_id"] for row in second.json["employees"]] == ["7", "8"]
    as_of = NOW // 3600 * 3600
    expected = plain_employees(history.attributed(), as_of, WEIGHTS | {"low": 50}, 3)
    for row in second.json["employees"]:
        assert row["risk"] == pytest.approx(expected[row["employee_id"]]["risk"], rel=1e-8)


# ---------------------------------------------------------------- as all routes


@pytest.mark.parametrize("path", ["/employees", "/summary"])
def test_the_conventions_of_all_routes(path: str, history: Any, reader: Any) -> None:
    """ETag and 304, HEAD, Accept, the headers of data, unknown parameters."""
    serve(history, misuse(7, 1))
    history.poll()
    full = reader.get(path)
    assert full.status == 200
    assert full.headers["X-Data-Age-Seconds"] == "0"
    assert full.headers["X-Data-Complete"] == "true"
    assert full.headers["Cache-Control"] == "private, no-cache"
    assert "Last-Modified" in full.headers
    requests = len(history.client.requests)
    same = reader.get(path, headers={"If-None-Match": full.headers["ETag"]})
    assert (same.status, same.text) == (304, "")
    assert len(history.client.requests) == requests + 1, "one small read"
    head = reader.get(path, "HEAD")
    assert (head.status, head.headers["ETag"]) == (200, full.headers["ETag"])
    assert reader.get(path, headers={"Accept": "text/csv"}).status == 406
    assert reader.get(path, "POST").status == 405
    answer = reader.get(path, prioriti="high")
    assert (answer.status, answer.json["errors"][0]["parameter"]) == (400, "prioriti")
    serve(history, misuse(8, 1))
    history.clock.now += 60
    history.poll()
    changed = reader.get(path, headers={"If-None-Match": full.headers["ETag"]})
    assert changed.status == 200
    assert changed.headers["ETag"] != full.headers["ETag"]


@pytest.mark.parametrize(
    ("path", "query", "parameter"),
    [
        ("/employees", {"sort": "name"}, "sort"),
        ("/employees", {"limit": "0"}, "limit"),
        ("/employees", {"limit": "501"}, "limit"),
        ("/employees", {"sort": "risk", "cursor": "x"}, "cursor"),
        ("/employees", {"cursor": ""}, "cursor"),
        ("/summary", {"days": "0"}, "days"),
        ("/summary", {"days": "401"}, "days"),
        ("/summary", {"days": "-1"}, "days"),
        ("/summary", {"limit": "1"}, "limit"),
    ],
)
def test_what_can_not_be_asked_is_named(
    path: str, query: dict[str, str], parameter: str, reader: Any
) -> None:
    """Before anything is read."""
    answer = reader.get(path, **query)
    assert (answer.status, answer.json["code"]) == (400, "invalid_parameter")
    assert parameter in [each["parameter"] for each in answer.json["errors"]]


def test_cursors_are_of_this_route_alone(history: Any, reader: Any) -> None:
    """Neither is one of /incidents good here nor the other way round, nor one that was changed."""
    serve(history, *(misuse(number, 1) for number in range(1, 6)))
    history.poll()
    here = reader.get("/employees", sort="employee_id", limit="2")
    there = reader.get("/incidents", limit="2")
    assert here.headers["Link"].endswith('rel="next"')
    cursor = here.json["next_cursor"]
    assert reader.get("/employees", cursor=there.json["next_cursor"]).json["code"] == "cursor_mismatch"
    assert reader.get("/incidents", cursor=cursor).json["code"] == "cursor_mismatch"
    assert reader.get("/employees", cursor=cursor[:-2] + "AA").json["code"] == "cursor_invalid"
    page = reader.get("/employees", sort="employee_id", cursor=cursor)
    assert [row["employee_id"] for row in page.json["employees"]] == ["3", "4"]
    history.clock.now += 25 * 3600
    assert reader.get("/employees", cursor=cursor).json["code"] == "cursor_expired"


def test_a_walk_by_id_gives_each_employee_once(history: Any, reader: Any) -> None:
    """While polls come between its pages: whoever was there is there once, as they are by then."""
    serve(history, *(misuse(number, 2, "low") for number in range(1, 40)))
    history.poll()
    numbers = iter(range(100))

    def poll_between() -> None:
        number = next(numbers)
        history.clock.now += 60
        serve(history, misuse(1 + number, 1), misuse(39 - number, 1), misuse(100 + number, 1))
        history.poll()

    rows = walk(reader, poll_between, limit="4")
    ids = [int(row["employee_id"]) for row in rows]
    assert ids == sorted(set(ids))
    assert set(range(1, 40)) <= set(ids)


def test_nobody_sees_an_entry_that_is_laid_out_in_part(history: Any, reader: Any) -> None:
    """A poll that dies at any of its writes: numbers are those of before or of after, never in between."""
    serve(history, misuse(7, 1), misuse(8, 2))
    history.poll()
    before = reader.get("/employees").json["employees"], reader.get("/summary").json["incidents"]
    kept = history.dump()
    serve(history, misuse(7, 0.5, "critical"), misuse(9, 1), misuse(8, 0.7))
    seen = set()
    for at in range(1, 40):
        history.client._partitions.clear()
        history.client.load(kept.values())
        history.poll_dying(at=at, takes_effect=bool(at % 2))
        now = reader.get("/employees").json["employees"], reader.get("/summary").json["incidents"]
        seen.add(now[1])
        if now[1] == before[1]:
            assert now == before
        else:
            assert now[1] == 5
            assert {row["employee_id"]: row["incidents"] for row in now[0]} == {"7": 2, "8": 2, "9": 1}
        history.poll()
        assert {row["employee_id"]: row["incidents"] for row in walk(reader)} == {"7": 2, "8": 2, "9": 1}
        assert reader.get("/summary").json["incidents"] == 5
    assert seen == {2, 5}


# ---------------------------------------------------------------- what it costs


def test_polls_keep_to_their_budget() -> None:
    """Of a window of 2,100 with as many employees: nothing new writes 3 units and reads 30 at most, n new
    ones of n employees and all seven sources write 3n + 30 at most. Counted from the items' sizes.
    """
    past = Past(3_000, now=NOW)
    memory = make_table(past)
    polls = measure_polls(memory, past, new=(0, 1, 20))
    assert [each["new"] for each in polls.values()] == [0, 1, 20]
    assert polls["0"]["write_units"] <= 3
    assert polls["0"]["read_units"] <= 30
    assert polls["1"]["write_units"] <= 3 + 30
    assert polls["20"]["write_units"] <= 3 * 20 + 30
    assert all(item_size(item) <= 1024 for item in memory.items_of("EMPLOYEES"))
    assert len(list(memory.items_of("SUMMARY"))) == 2


# ---------------------------------------------------------------- between one state and the next


def test_who_is_gone_already_makes_room_for_the_next(history: Any, reader: Any) -> None:
    """An erasure shows before the state moves on: those behind move up, nobody of them is left out."""
    serve(history, *(misuse(number, number / 1_000) for number in range(1, 111)))
    history.poll()
    bury_employee(history._table, "2", sequence=history.state()["projected"] + 1, moment=NOW)
    rows = reader.get("/employees", limit="4").json["employees"]
    assert [row["employee_id"] for row in rows] == ["1", "3", "4", "5"]


@pytest.mark.parametrize("path", ["/employees", "/summary"])
def test_another_retention_is_another_answer(
    path: str, history: Any, reader: Any, make_reader: Callable[..., Any]
) -> None:
    """From the deployment on: clients bring ETags of before."""
    serve(history, misuse(7, 1), misuse(8, 20))
    history.poll()
    etag = reader.get(path).headers["ETag"]
    after = make_reader(history.client, clock=history.clock, retention=Retention(10))
    assert after.get(path, headers={"If-None-Match": etag}).status == 200


def test_what_the_shorter_retention_has_left_is_not_shown(
    make_history: Callable[..., Any], make_reader: Callable[..., Any]
) -> None:
    """Until all is counted anew for a longer one: of two employees with the same past none has more."""
    history = make_history(clock=Clock(NOW), retention=Retention(10))
    serve(history, misuse(7, 5), misuse(7, 1), misuse(8, 5), misuse(8, 1))
    history.poll()
    history.clock.now += 8 * DAY
    serve(history, misuse(8, -8))
    history.poll()
    reader = make_reader(history.client, clock=history.clock, retention=Retention(400))
    for rows in (walk(reader), reader.get("/employees").json["employees"]):
        assert {row["employee_id"]: row["incidents"] for row in rows} == {"7": 1, "8": 2}
    assert reader.get("/summary", days="400").json["incidents"] == 3


def test_an_answer_that_is_short_for_a_moment_is_never_not_modified(
    history: Any, reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is filled up without an entry: whoever asks with its ETag would not learn of that for an hour."""
    monkeypatch.setattr(overviews_domain, "SHOWN_ON_TOP", 3)
    monkeypatch.setattr(overviews_domain, "MAX_ON_TOP", 3)
    monkeypatch.setattr(recounting, "MAX_ON_TOP", 3)
    serve(history, *(misuse(number, number) for number in range(1, 6)))
    history.poll()
    assert erase(history._table, "1", history.retention, ask=None, clock=history.clock) == 0
    short = reader.get("/employees", limit="3")
    assert [row["employee_id"] for row in short.json["employees"]] == ["2", "3"]
    etag = short.headers["ETag"]
    assert reader.get("/employees", "HEAD", limit="3").headers["ETag"] == etag
    assert recounting.recount(history._table, Basis(), has_time=lambda: True)
    full = reader.get("/employees", headers={"If-None-Match": etag}, limit="3")
    assert [row["employee_id"] for row in full.json["employees"]] == ["2", "3", "4"]
    etag = full.headers["ETag"]
    assert reader.get("/employees", headers={"If-None-Match": etag}, limit="3").status == 304


def test_a_scale_that_is_taken_back_is_counted_without_news(
    history: Any, reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment that fails is rolled back: the numbers of before come back with the next poll, though the
    other count was only begun and the upstream has nothing new.
    """
    serve(history, misuse(7, 1), misuse(8, 2))
    history.poll()
    before = reader.get("/employees").json["employees"]
    right, history.scale = history.scale, RiskScale((50, 3, 7, 15), 3)
    with monkeypatch.context() as patch:
        patch.setattr(recounting, "_count_portion", lambda *_: None)
        history.poll()
    assert reader.get("/employees").json["code"] == "summaries_not_ready"
    history.scale = right
    history.clock.now += 60
    history.poll()
    assert reader.get("/employees").json["employees"] == before


def test_a_count_goes_on_without_news_and_then_costs_nothing(
    history: Any, reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An overview that is begun anew on the same basis looks current from the state alone."""
    serve(history, misuse(7, 1), misuse(8, 2))
    history.poll()
    for number in "01":
        history.client.delete_item(
            TableName=history.client.table_name, Key={"pk": {"S": "SUMMARY"}, "sk": {"S": number}}
        )
    poller = Poller(
        table=history._table,
        upstream=history.upstream,
        retention=history.retention,
        concurrency=1,
        clock=history.clock,
    )
    with monkeypatch.context() as patch:
        patch.setattr(recounting, "_count_portion", lambda *_: None)
        poller.poll(seconds_left=240)
    assert reader.get("/summary").json["code"] == "summaries_not_ready"
    for requests_about_numbers in (True, False):
        history.clock.now += 60
        history.client.requests.clear()
        poller.poll(seconds_left=240)
        assert reader.get("/summary").json["incidents"] == 2
        assert ("INCIDENTS" in str(history.client.requests)) is requests_about_numbers
