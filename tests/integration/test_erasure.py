"""An employee is forgotten while polls go on: they bring nothing back, and nobody else loses anything."""

import contextlib
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.emulator import aws_environment
from local.simulator import Simulator, SimulatorSettings
from scripts.erase import erase, main
from shared.domain.retention import Retention
from shared.store import erasure
from shared.store.erasure import SETTLED_AFTER_SECONDS
from shared.store.table import Table
from tests.contract.disturbed import DeathError, Process
from tests.integration.surroundings import (
    TABLE,
    Surroundings,
    misuse,
    probing,
    surround,
)

KEPT = Retention(400)


@pytest.fixture
def around(monkeypatch: pytest.MonkeyPatch, make_reader: Callable[..., Any]) -> Surroundings:
    """A table with incidents of 7, one of which waited for that, a rejected record of 7, and others."""
    it = surround(monkeypatch, make_reader)
    it.served.identities |= {"10.0.0.1": 7, "10.0.0.2": 12}
    it.served.records |= {
        "misuse": [
            misuse(1, 7, "critical"),
            misuse(2, 8),
            '{"employee_id":7,"priority":"none"}',
            misuse(3, 70),
        ],
        "probing": [
            probing(4, "10.0.0.1"),
            probing(5, "10.0.0.9"),
            probing(6, "10.0.0.8"),
            probing(7, "10.0.0.2"),
        ],
    }
    assert it.poll()
    it.served.identities["10.0.0.9"] = 7
    it.served.records["misuse"].append(misuse(8, 9))
    assert it.poll()
    return it


class WaitsError(Exception):
    """The command waits for a poll that is under way."""


def wait(seconds: float) -> None:
    raise WaitsError


def forget(around: Surroundings, employee_id: str = "7") -> int:
    """What `make erase` does to the table. Raises WaitsError instead of waiting for a poll."""
    table = Table(TABLE, client=around.memory)  # type: ignore[arg-type]  # a stand-in for the client
    return erase(table, employee_id, KEPT, ask=None, clock=around.clock, sleep=wait)


def ids_of(around: Surroundings, employee_id: str = "7") -> set[str]:
    """The employee's incidents that readers get."""
    return {each["id"] for each in around.view().incidents.values() if each["employee_id"] == employee_id}


def texts_with(around: Surroundings, *words: str) -> list[tuple[str, str]]:
    """Keys of all items that hold one of these, journal entries unpacked."""
    texts = {
        key: str(item) + (zlib.decompress(item["decisions"]["B"]).decode() if "decisions" in item else "")
        for key, item in around.dump().items()
        # Who has which address is the upstream's to say, each time anew.
        if key[0] != "IDENTITIES"
    }
    return [key for key, text in texts.items() if any(word in text for word in words)]


def test_polls_go_on_and_bring_nothing_back(around: Surroundings) -> None:
    """The upstream serves the same records for days. A new incident of the employee is a new one."""
    around.follow()
    before = around.view().incidents
    theirs = ids_of(around)
    assert len(theirs) == 3
    assert forget(around) == 0
    assert around.view().incidents == {key: each for key, each in before.items() if key not in theirs}
    for _ in range(3):
        summary = around.poll()
        assert summary
        assert (summary.outcome, summary.new_incidents, summary.new_rejected) == ("succeeded", 0, 0)
    assert ids_of(around) == set()
    around.served.records["misuse"].append(misuse(20, 7))
    around.poll()
    (new,) = ids_of(around)
    assert new not in theirs
    around.follow()
    followed = [each["id"] for each in around.followed]
    assert sorted(followed) == sorted([*before, new])


def test_in_the_end_only_the_ids_know(around: Surroundings) -> None:
    """Half an hour later polls have seen to it that no item names the employee or holds what was erased."""
    theirs = ids_of(around)
    words = ("'7'", '"7"', '"employee_id":7', "0007#", "10.0.0.9", "10.0.0.1'", '10.0.0.1"')
    assert texts_with(around, *words)
    assert forget(around) == 0
    around.poll(later=SETTLED_AFTER_SECONDS - 60)
    state = around.dump()["STATE", "STATE"]
    assert "settled" not in state
    around.poll(later=120)
    state = around.dump()["STATE", "STATE"]
    assert state["settled"] == state["erased"]
    assert not [key for key in around.dump() if key[0] == "ERASURES"]
    assert texts_with(around, *words) == []
    left = {key for key in around.dump() if key[0].removeprefix("ID#") in theirs}
    assert left == {(f"ID#{each}", "ID") for each in theirs}
    assert forget(around) == 0


def test_it_may_come_at_any_moment_of_a_poll(around: Surroundings) -> None:
    """A poll sleeps before and after each part of its calls while the employee is forgotten, then goes on:
    of what was there nothing comes back for good, and of all others nothing is lost or doubled.
    """
    around.served.records["misuse"] += [misuse(30, 7), misuse(31, 8)]
    around.served.identities["10.0.0.8"] = 7
    counting = Process()
    around.copy().poll(counting)
    came_back = waited = 0
    for moment in range(1, counting.moments + 1):
        twin = around.copy()
        erased: set[str] = set()

        def happen(twin: Surroundings = twin, erased: set[str] = erased) -> None:
            theirs = ids_of(twin)
            with contextlib.suppress(WaitsError):
                assert forget(twin) == 0
                erased |= theirs

        assert twin.poll(Process(at=moment, happens=happen)), "it went on"
        if not erased:
            # It waited until the poll had laid out what it had committed.
            waited += 1
            happen()
        assert len(erased) >= 3
        came_back += bool(ids_of(twin) & erased)
        for _ in range(3):
            assert twin.poll(later=SETTLED_AFTER_SECONDS)
        end = twin.view()
        assert not erased & end.incidents.keys()
        assert not erased & end.waiting
        others = {each["employee_id"] for each in end.incidents.values()} - {"7"}
        assert others == {"8", "9", "12", "70"}
        assert len([each for each in end.incidents.values() if each["employee_id"] == "8"]) == 2
        state = twin.dump()["STATE", "STATE"]
        assert state["settled"] == state["erased"]
    assert 0 < waited < counting.moments / 2
    print(
        f"{counting.moments} moments, at {waited} it waited; at {came_back} something came back for a while"
    )


def test_an_erasure_may_die_at_any_write(around: Surroundings) -> None:
    """A person's connection breaks: what is committed is finished by the next poll, else run it again."""
    theirs = ids_of(around)
    counting = Process()
    table = Table(TABLE, client=counting.watch("dynamodb", around.copy().memory))
    assert erase(table, "7", KEPT, ask=None, clock=around.clock) == 0
    for moment in range(1, counting.moments + 1, 3):
        twin = around.copy()
        dying = Process(at=moment)
        table = Table(TABLE, client=dying.watch("dynamodb", twin.memory))
        with pytest.raises(DeathError):
            erase(table, "7", KEPT, ask=None, clock=twin.clock)
        assert twin.poll()
        assert not {each["id"] for each in twin.view().incidents.values()} & theirs or forget(twin) == 0
        assert ids_of(twin) == set()
        twin.poll()
        assert ids_of(twin) == set()


def test_nobody_is_told_that_a_page_is_the_same(
    around: Surroundings, make_reader: Callable[..., Any]
) -> None:
    """A walk over an older snapshot goes on, without the employee; a page that had them has another ETag."""
    reader = make_reader(around.memory, clock=around.clock)
    first = reader.get("/incidents", limit="1")
    assert list(first.json["incidents"]) == ["7"]
    cursor = first.json["next_cursor"]
    second = reader.get("/incidents", cursor=cursor)
    again = reader.get("/incidents", cursor=cursor, headers={"If-None-Match": second.headers["ETag"]})
    assert again.status == 304
    assert forget(around) == 0
    assert forget(around, "8") == 0
    after = reader.get("/incidents", cursor=cursor, headers={"If-None-Match": second.headers["ETag"]})
    assert after.status == 200
    assert second.json["incidents"].keys() - after.json["incidents"].keys() == {"8"}
    assert reader.get("/employees/7/incidents").status == 404


def test_what_came_back_for_a_while_is_in_no_page_that_is_kept(
    around: Surroundings, make_reader: Callable[..., Any]
) -> None:
    """A poll that slept puts an item back and a reader keeps a page with it: once the item is deleted again
    the page is forgotten, also while another erasure waits for its time.
    """
    around.clock.now = around.clock.now // 3600 * 3600
    before = around.dump()
    assert forget(around) == 0
    around.memory.load([item for (pk, sk), item in before.items() if pk == "INCIDENTS" and "0007#" in sk])
    around.clock.now += SETTLED_AFTER_SECONDS - 120
    assert forget(around, "8") == 0
    reader = make_reader(around.memory, clock=around.clock)
    page = reader.get("/incidents")
    assert "7" in page.json["incidents"]
    around.poll(later=180)
    assert ids_of(around) == set()
    again = reader.get("/incidents", headers={"If-None-Match": page.headers["ETag"]})
    assert again.status == 200
    assert "7" not in again.json["incidents"]


def test_a_search_that_goes_on_is_not_of_before(
    around: Surroundings, make_reader: Callable[..., Any]
) -> None:
    """A reader keeps what it found when the time was up: who is erased meanwhile is not in it."""
    seconds = iter(range(0, 1000, 10))
    reader = make_reader(
        around.memory, clock=around.clock, search_seconds=5, monotonic=lambda: float(next(seconds))
    )
    around.memory._page_bytes = 200
    for path in ("/incidents", "/incidents/unattributed"):
        answer = reader.get(path, priority="critical,medium")
        assert answer.json["code"] == "search_unfinished"
    forget(around)
    around.memory._page_bytes = 10**6
    assert list(reader.get("/incidents", priority="critical,medium").json["incidents"]) == ["12"]


def test_nobody_gets_the_counts_of_an_erased_employee(
    around: Surroundings, make_reader: Callable[..., Any]
) -> None:
    """A cursor into the middle of an employee carries their counts; whoever comes next has their own."""
    reader = make_reader(around.memory, clock=around.clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("functions.api.walker.MAX_EMPLOYEE_BYTES", 400)
        first = reader.get("/incidents")
    assert list(first.json["incidents"]) == ["7"]
    assert sum(group["count"] for group in first.json["incidents"]["7"].values()) == 3
    assert sum(len(group["incidents"]) for group in first.json["incidents"]["7"].values()) < 3
    forget(around)
    second = reader.get("/incidents", cursor=first.json["next_cursor"]).json["incidents"]
    assert list(second) == ["8", "9", "12", "70"]
    for groups in second.values():
        assert all(group["count"] == len(group["incidents"]) for group in groups.values())


def test_the_command_lays_out_nothing_but_erasures(around: Surroundings) -> None:
    """It may sleep for days, on a laptop that is closed: what it laid out then would never be settled."""
    around.served.records["misuse"].append(misuse(50, 7))
    process = Process()
    commits = iter(range(100))
    watched = process.call

    def die_after_the_commit(name: str, parts: Any) -> Any:
        answers = watched(name, parts)
        if name.endswith("put_item") and next(commits) == 0:
            process.die()
        return answers

    process.call = die_after_the_commit  # type: ignore[method-assign]  # what is disturbed
    assert around.poll(process) is None
    before = around.dump()
    assert int(max(sk for pk, sk in before if pk == "JOURNAL")) == 3
    with pytest.raises(WaitsError):
        forget(around)
    assert around.dump() == before
    assert around.poll()
    assert forget(around) == 0
    assert ids_of(around) == set()


def test_a_poll_that_cant_settle_has_succeeded_all_the_same(
    around: Surroundings, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it took in is in and people are told; the summary names the error and the metric counts it, and
    the next poll settles.
    """

    def counted() -> list[list[float]]:
        lines = [line for line in capsys.readouterr().out.splitlines() if "SettlingFailures" in line]
        return [json.loads(line)["SettlingFailures"] for line in lines]

    forget(around)

    def throttle(**request: Any) -> Any:
        if request["ExpressionAttributeValues"][":pk"]["S"] == "ERASURES":
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, "Query")
        return query(**request)

    query = around.memory.query
    around.memory.query = throttle  # type: ignore[method-assign]  # what is disturbed
    around.served.records["misuse"].append(misuse(60, 8, "critical"))
    summary = around.poll(later=SETTLED_AFTER_SECONDS)
    assert summary
    assert (summary.outcome, summary.settling_error) == ("succeeded", "ThrottlingException")
    assert summary.notified == 1
    assert counted() == [[1]]
    around.memory.query = query  # type: ignore[method-assign]  # what is disturbed
    summary = around.poll()
    assert summary
    assert summary.settling_error == ""
    assert counted() == [[0]]
    state = around.dump()["STATE", "STATE"]
    assert state["settled"] == state["erased"]


# ---------------------------------------------------------------- the command


@pytest.fixture
def service(make_service: Callable[[Simulator], Any]) -> Any:
    """A table of the emulator with incidents."""
    it = make_service(Simulator(SimulatorSettings(seed=3, records_per_type=10, identities=20)))
    it.poll()
    return it


@pytest.fixture
def environ(service: Any, emulator_url: str) -> dict[str, str]:
    """What the command is given."""
    return aws_environment(emulator_url) | {"TABLE_NAME": service.table_name, "RETENTION_DAYS": "0"}


def test_the_command_asks_first(
    service: Any, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what it found; only the id typed once more erases, and only that employee."""
    before = service.everybody()
    employee_id = next(iter(before))
    environ["EMPLOYEE"] = f"0{employee_id}"
    questions: list[str] = []

    def answer(text: str) -> Callable[[str], str]:
        return lambda question: questions.append(question) or text  # type: ignore[func-returns-value]  # None, so the text

    assert main(environ, ask=answer("yes")) == 1
    assert service.everybody() == before
    count = sum(group["count"] for group in before[employee_id].values())
    assert f"Found {count:,} incidents" in capsys.readouterr().out
    assert main(environ, ask=answer(employee_id)) == 0
    assert service.everybody() == {key: each for key, each in before.items() if key != employee_id}
    assert len(questions) == 2
    assert main(environ, ask=answer("never asked")) == 0
    assert len(questions) == 2
    assert f"No incident and no rejected record of employee {employee_id}" in capsys.readouterr().out
    service.poll()
    assert employee_id not in service.everybody()


def test_nothing_of_the_employees_numbers_is_left(
    service: Any, environ: dict[str, str], dynamodb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once they are in no answer, half an hour later in no key: the poller deletes their grave."""
    employee_id, groups = next(iter(service.everybody().items()))
    count = sum(group["count"] for group in groups.values())
    before = service.get("/summary", days="400").json
    assert main(environ | {"EMPLOYEE": employee_id, "YES": "1"}) == 0
    after = service.get("/summary", days="400").json
    assert after["incidents"] == before["incidents"] - count
    assert after["employees_affected"] == before["employees_affected"] - 1
    for sort in ("risk", "employee_id"):
        rows = service.get("/employees", sort=sort, limit="500").json["employees"]
        assert employee_id not in [row["employee_id"] for row in rows]
        assert len(rows) == before["employees_affected"] - 1
    key = {"pk": {"S": "EMPLOYEES"}, "sk": {"S": f"{employee_id:0>20}"}}
    there = dynamodb.get_item(TableName=service.table_name, Key=key)["Item"]
    assert there.keys() == {"pk", "sk", "generation", "sequence", "expires_at"}
    monkeypatch.setattr(erasure, "SETTLED_AFTER_SECONDS", 0.0)
    assert service.poll()["settling_error"] == ""
    assert "Item" not in dynamodb.get_item(TableName=service.table_name, Key=key)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"EMPLOYEE": ""}, "EMPLOYEE is missing"),
        ({"EMPLOYEE": "ann"}, "an employee id of 1 to 20 digits"),
        ({"RETENTION_DAYS": ""}, "RETENTION_DAYS is not set"),
        ({"TABLE_NAME": "", "ENV": "production"}, "ENV is production: say ENV=dev"),
        ({"TABLE_NAME": "no-such-table"}, "ResourceNotFoundException"),
    ],
)
def test_what_a_person_has_to_mend_is_told(
    environ: dict[str, str], changed: dict[str, str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, and one sentence that says what."""
    assert main({"EMPLOYEE": "7", "YES": "1"} | environ | changed) == 2
    assert told in capsys.readouterr().err


def test_polls_that_come_in_between_cost_a_round(around: Surroundings) -> None:
    """Whoever loses the sequence to a poll looks again, and gives up after some, saying so."""
    table = Table(TABLE, client=around.memory)  # type: ignore[arg-type]  # a stand-in for the client
    number = 40

    def poll_in_between(times: int) -> Callable[[], float]:
        left = [times]

        def clock() -> float:
            nonlocal number
            if left[0]:
                left[0] -= 1
                number += 1
                around.served.records["misuse"].append(misuse(number, 8))
                assert around.poll()
            return around.clock()

        return clock

    assert erase(table, "7", KEPT, ask=None, clock=poll_in_between(100), sleep=wait) == 1
    assert ids_of(around)
    assert erase(table, "7", KEPT, ask=None, clock=poll_in_between(2), sleep=wait) == 0
    assert ids_of(around) == set()
