"""From the upstream to the answer, through both real handlers, on the capture and on generated data."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.simulator import Simulator, SimulatorSettings
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES

SUBJECTS = {
    "denial": "reported_by",
    "intrusion": "internal_ip",
    "executable": "machine_ip",
    "misuse": "employee_id",
    "unauthorized": "employee_id",
    "probing": "ip",
    "other": "identifier",
}


@pytest.fixture(params=["capture", "generated"])
def simulator(request: pytest.FixtureRequest) -> Simulator:
    """An upstream that serves the capture, or what the simulator makes up."""
    if request.param == "capture":
        return Simulator(SimulatorSettings(folder=request.getfixturevalue("capture")))
    moment = Simulator().clock()
    return Simulator(SimulatorSettings(seed=11), clock=lambda: moment)


def served(simulator: Simulator, path: str) -> str:
    return simulator.usual_reply(path).body.decode()


def expected_employees(simulator: Simulator) -> dict[str, dict[str, list[tuple[str, str]]]]:
    """By employee and priority, (timestamp, type) in order: worked out without the service's code."""
    identities = json.loads(served(simulator, "/identities/"))
    employees: dict[str, dict[str, list[tuple[str, str]]]] = defaultdict(
        lambda: {"low": [], "medium": [], "high": [], "critical": []}
    )
    for kind, subject in SUBJECTS.items():
        for record in json.loads(served(simulator, f"/incidents/{kind}/"), parse_float=str)["results"]:
            who = str(record[subject])
            employee = str(identities[who]) if "." in who else who
            employees[employee][record["priority"]].append((str(record["timestamp"]), kind))
    for groups in employees.values():
        for incidents in groups.values():
            incidents.sort(key=lambda each: float(each[0]))
    return employees


def test_every_incident_is_there_once_under_its_employee_and_priority(
    simulator: Simulator, make_service: Callable[[Simulator], Any]
) -> None:
    """2,100 incidents, each under the right employee and priority, counted right and in order; nobody is
    called None; ten more polls of the same data change nothing and write no incident at all.
    """
    service = make_service(simulator)
    summary = service.poll()
    assert summary["outcome"] == "succeeded"
    assert summary["new_incidents"] == 2100
    assert len(service.incident_writes()) == 2100

    first = service.everybody()
    shown = {
        employee: {
            priority: [(json.dumps(each["timestamp"]), each["type"]) for each in group["incidents"]]
            for priority, group in groups.items()
        }
        for employee, groups in first.items()
    }
    expected = expected_employees(simulator)
    assert sum(len(group) for groups in expected.values() for group in groups.values()) == 2100
    assert {e: {p: [(float(t), k) for t, k in v] for p, v in g.items()} for e, g in shown.items()} == {
        e: {p: [(float(t), k) for t, k in v] for p, v in g.items()} for e, g in expected.items()
    }
    assert list(first) == sorted(first, key=int)
    assert all(re.fullmatch("[0-9]+", employee) for employee in first)
    for employee, groups in first.items():
        assert list(groups) == list(PRIORITIES)
        for priority, group in groups.items():
            assert group["count"] == len(group["incidents"])
            assert {(each["employee_id"], each["priority"]) for each in group["incidents"]} <= {
                (employee, priority)
            }

    service.calls.clear()
    for _ in range(10):
        again = service.poll()
        assert (again["outcome"], again["records"], again["new_incidents"]) == ("succeeded", 2100, 0)
    assert service.calls, "the recorder sees the calls to AWS"
    assert service.incident_writes() == []
    assert {name for name, _ in service.calls if name not in ("GetItem", "Query", "BatchGetItem")} == {
        "UpdateItem"
    }
    assert service.everybody() == first
    assert service.health()["total_identified_incidents"] == 2100


def test_every_digit_and_field_of_the_upstream_reaches_the_client(
    simulator: Simulator, make_service: Callable[[Simulator], Any]
) -> None:
    """Timestamps keep their digits from the upstream's bytes to the answer's bytes, and no field is lost."""
    service = make_service(simulator)
    service.poll()
    answered: Counter[str] = Counter()
    fields: Counter[str] = Counter()
    query = {"limit": "500"}
    while True:
        answer = service.get("/incidents", **query)
        answered.update(re.findall(r'"timestamp":([^,}]+)', answer.text))
        fields.update(
            re.findall(r'"(source_ip|reported_by|internal_ip|machine_ip|ip|identifier)":', answer.text)
        )
        if not answer.json["has_more"]:
            break
        query = {"cursor": answer.json["next_cursor"]}
    bodies = [served(simulator, f"/incidents/{kind}/") for kind in INCIDENT_TYPES]
    sent = Counter(digits for body in bodies for digits in re.findall(r'"timestamp": ?([^,}]+)', body))
    assert sum(sent.values()) == 2100
    assert answered == sent
    names = r'"(source_ip|reported_by|internal_ip|machine_ip|ip|identifier)":'
    assert fields == Counter(name for body in bodies for name in re.findall(names, body))


def test_one_employees_incidents_are_those_of_the_walk(
    simulator: Simulator, make_service: Callable[[Simulator], Any]
) -> None:
    """`/employees/{id}/incidents` shows what the walk shows of that employee; 404 for one with none."""
    service = make_service(simulator)
    service.poll()
    everybody = service.everybody()
    busiest = max(everybody, key=lambda each: sum(group["count"] for group in everybody[each].values()))
    answer = service.get(f"/employees/{busiest}/incidents")
    assert answer.status == 200
    assert answer.json["incidents"] == {busiest: everybody[busiest]}
    assert (answer.json["has_more"], answer.json["next_cursor"]) == (False, None)
    assert service.get(f"/employees/00{busiest}/incidents").json["incidents"].keys() == {busiest}

    missing = service.get("/employees/999999999999/incidents")
    assert missing.status == 404
    assert missing.headers["Content-Type"] == "application/problem+json"
    assert missing.json["code"] == "employee_not_found"


def test_before_the_first_poll_nobody_takes_silence_for_safety(
    make_service: Callable[[Simulator], Any],
) -> None:
    """503 `no_data_yet` until a poll has succeeded; an empty upstream is a success, of no employees."""
    simulator = Simulator(SimulatorSettings(records_per_type=0))
    service = make_service(simulator)
    for path in ("/incidents", "/employees/7/incidents"):
        answer = service.get(path)
        assert (answer.status, answer.json["code"]) == (503, "no_data_yet")
        assert int(answer.headers["Retry-After"]) > 0
    assert service.get("/health").status == 503
    assert service.health()["status"] == "fail"

    assert service.poll()["outcome"] == "succeeded"
    answer = service.get("/incidents")
    assert answer.status == 200
    assert answer.json["incidents"] == {}
    assert (answer.json["next_cursor"], answer.json["has_more"]) == (None, False)
    assert answer.json["snapshot"]["complete"] is True
    assert service.health()["status"] == "pass"


def test_a_walk_gives_every_employee_once_while_polls_go_on(
    make_service: Callable[[Simulator], Any],
) -> None:
    """With limit=7 each employee of the snapshot comes exactly once and in order, also when polls commit
    new incidents between any two pages; a walk begun afterwards shows these too.
    """
    start = Simulator().clock() - 3 * 86_400
    simulator = Simulator(SimulatorSettings(seed=3, records_per_type=30, identities=400), clock=lambda: start)
    service = make_service(simulator)
    service.poll()
    before = service.everybody()
    hours = iter(range(6, 10_000, 6))

    def poll_later() -> None:
        moment = start + next(hours) * 3600
        simulator.clock = lambda: min(moment, start + 2.9 * 86_400)
        service.poll()

    pages = list(service.pages(poll_later, limit="7"))
    walked = [employee for page in pages for employee in page["incidents"]]
    assert len(pages) > 10
    assert all(len(page["incidents"]) == 7 for page in pages[:-1])
    assert walked == list(before)
    assert {e: g for page in pages for e, g in page["incidents"].items()} == before
    assert {json.dumps(page["snapshot"]) for page in pages} == {json.dumps(pages[0]["snapshot"])}
    after = service.incidents()
    assert len({each["id"] for each in after}) == len(after)
    assert len(after) > 210
    assert service.get("/incidents").json["snapshot"]["sequence"] > pages[0]["snapshot"]["sequence"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"limit": "7.0"}, "limit"),
        ({"limit": "seven"}, "limit"),
        ({"limit": ""}, "limit"),
        ({"priorty": "high"}, "priorty"),
        ({"cursor": ""}, "cursor"),
    ],
)
def test_a_parameter_that_cannot_be_served_is_named(
    query: dict[str, str], parameter: str, make_service: Callable[[Simulator], Any]
) -> None:
    """A bad value or an unknown parameter is a 400 that names it, never a full answer."""
    service = make_service(Simulator(SimulatorSettings(records_per_type=1)))
    service.poll()
    answer = service.get("/incidents", **query)
    assert answer.status == 400
    assert answer.json["code"] == "invalid_parameter"
    assert [fault["parameter"] for fault in answer.json["errors"]] == [parameter]
    assert "a-request" in (answer.json["request_id"], answer.headers["X-Request-Id"])


def test_a_cursor_is_good_for_its_walk_only(make_service: Callable[[Simulator], Any]) -> None:
    """A cursor works again, alone and with another limit; changed by a character it is `cursor_invalid`."""
    service = make_service(Simulator(SimulatorSettings(seed=5, records_per_type=20)))
    service.poll()
    first = service.get("/incidents", limit="3").json
    cursor = first["next_cursor"]
    second = service.get("/incidents", cursor=cursor).json
    assert len(second["incidents"]) == 3
    assert service.get("/incidents", cursor=cursor).json["incidents"] == second["incidents"]
    longer = service.get("/incidents", cursor=cursor, limit="5").json["incidents"]
    assert list(longer)[:3] == list(second["incidents"])
    assert len(longer) == 5
    others = [cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in (0, 40)]
    for changed in (cursor[:-1], cursor + "A", *others, "x"):
        answer = service.get("/incidents", cursor=changed)
        assert (answer.status, answer.json["code"]) == (400, "cursor_invalid")


def test_head_is_get_without_the_body(make_service: Callable[[Simulator], Any]) -> None:
    """HEAD answers as GET does, on every route; the gateway leaves the body out (test_local_gateway.py)."""
    service = make_service(Simulator(SimulatorSettings(records_per_type=2)))
    service.poll()
    somebody = next(iter(service.everybody()))
    for path in ("/incidents", f"/employees/{somebody}/incidents", "/health", "/employees/1/incidents"):
        head, get = service.get(path, "HEAD"), service.get(path)
        assert (head.status, head.headers) == (get.status, get.headers)
        assert get.text


def test_what_is_not_a_route_is_a_problem(make_service: Callable[[Simulator], Any]) -> None:
    """An unknown path is told as problem+json too."""
    service = make_service(Simulator(SimulatorSettings(records_per_type=0)))
    for path, method in (("/", "GET"), ("/incident", "GET"), ("/incident", "POST")):
        answer = service.get(path, method)
        assert (answer.status, answer.json["code"]) == (404, "route_not_found")
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_the_steady_poll_and_the_small_one_keep_to_their_budget(
    make_service: Callable[[Simulator], Any], dynamodb: Any
) -> None:
    """A poll with nothing new writes one item and reads at most 30 units; one with n new ones writes at most
    3n + 30 units. Counted from the items' sizes, as DynamoDB does.
    """
    moment = Simulator().clock() - 86_400
    simulator = Simulator(SimulatorSettings(seed=2), clock=lambda: moment)
    service = make_service(simulator)
    service.poll()
    service.calls.clear()
    service.poll()
    assert [name for name, _ in service.calls if name.startswith(("Put", "Update", "BatchWrite"))] == [
        "UpdateItem"
    ]
    assert Counter(name for name, _ in service.calls if name != "GetSecretValue") == {
        "GetItem": 13,
        "UpdateItem": 1,
    }
    table = service.calls[0][1]["TableName"]
    sizes = item_sizes(dynamodb, table)
    keys = [
        (key["pk"]["S"], key["sk"]["S"])
        for name, call in service.calls
        for key in ([call["Key"]] if name == "GetItem" else [])
    ]
    batch = [call for name, call in service.calls if name == "BatchGetItem"]
    assert not batch, "nothing was unsure, so no id was looked up"
    read_units = sum(max(1, -(-sizes.get(key, 0) // 4096)) for key in keys)
    assert keys
    assert read_units <= 30
    assert -(-sizes[("STATE", "STATE")] // 1024) <= 3

    simulator.clock = lambda: moment + 3600
    service.calls.clear()
    new = service.poll()["new_incidents"]
    assert new > 0
    sizes = item_sizes(dynamodb, table)
    assert sum(write_units(name, call, sizes) for name, call in service.calls) <= 3 * new + 30


def test_items_and_answers_stay_small(make_service: Callable[[Simulator], Any], dynamodb: Any) -> None:
    """What 2,100 incidents take in the table and in the answers, and how many calls bring them: read units,
    storage and traffic follow from these. As they were when this was written, and a tenth.
    """
    moment = Simulator().clock()
    service = make_service(Simulator(SimulatorSettings(seed=2), clock=lambda: moment))
    service.poll()
    table = next(call["TableName"] for _, call in service.calls if "TableName" in call)
    kinds: dict[str, list[int]] = defaultdict(list)
    for (pk, _), size in item_sizes(dynamodb, table).items():
        kinds[pk.split("#")[0]].append(size)
    assert len(kinds["INCIDENTS"]) == len(kinds["ID"]) == 2_100
    means = {kind: sum(sizes) / len(sizes) for kind, sizes in kinds.items()}
    print(means)
    assert means["INCIDENTS"] <= 330
    assert means["ID"] <= 75
    assert means["STATE"] <= 2_430
    assert sum(kinds["JOURNAL"]) / 2_100 <= 55
    service.calls.clear()
    pages = [service.get("/incidents", limit="500")]
    while cursor := pages[-1].json["next_cursor"]:
        pages.append(service.get("/incidents", cursor=cursor, limit="500"))
    print(sum(len(page.text) for page in pages), len(pages), Counter(name for name, _ in service.calls))
    assert sum(len(page.text) for page in pages) / 2_100 <= 310
    calls = Counter(name for name, _ in service.calls)
    # The state for each page, and the keys that cursors are signed with.
    assert calls["GetItem"] == len(pages) + 1
    assert calls["Query"] <= 2 * len(pages)
    assert set(calls) == {"GetItem", "Query"}


def item_sizes(dynamodb: Any, table: str) -> dict[tuple[str, str], int]:
    """Bytes of every item, about as DynamoDB counts them: names and values."""
    sizes = {}
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            sizes[(item["pk"]["S"], item["sk"]["S"])] = sum(
                len(name) + len(next(iter(value.values()))) for name, value in item.items()
            )
    return sizes


def write_units(name: str, call: dict[str, Any], sizes: dict[tuple[str, str], int]) -> int:
    """What a request costs: a unit for each begun KB of each item that it writes."""
    items = [each for each in [call.get("Item"), call.get("Key")] if each and name != "GetItem"]
    if name == "BatchWriteItem":
        items = [each["PutRequest"]["Item"] for each in next(iter(call["RequestItems"].values()))]
    return sum(-(-sizes[(item["pk"]["S"], item["sk"]["S"])] // 1024) for item in items)


def test_the_projects_own_data_are_not_the_capture(capture: Path) -> None:
    """The generator makes its own records: none of the capture's timestamps is among them."""
    simulator = Simulator(SimulatorSettings(seed=1), clock=lambda: 1_658_870_000.0)
    for kind in INCIDENT_TYPES:
        captured = set(re.findall(r'"timestamp": ?([^,}]+)', (capture / f"{kind}.json").read_text()))
        made = set(re.findall(r'"timestamp": ?([^,}]+)', served(simulator, f"/incidents/{kind}/")))
        assert len(captured) == len(made) == 300
        assert not captured & made
