"""What the service makes of each fault of the simulator: a table, and one test that each row goes through.

A row says what is kept of the faulty source's new records, what is rejected and why, which class of error
`/health` names, and which alarms are raised if it lasts. docs/upstream-faults.md shows the same rows.
"""

import json
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import pytest

from functions.poller import composition, poll, upstream
from functions.poller.upstream import Upstream
from local.simulator import FAULTS, Simulator, SimulatorSettings
from shared.domain.incident import INCIDENT_TYPES
from shared.domain.poll_report import ALL_SOURCES
from tests.alarms import POLLER_METRICS, Datapoint, watch
from tests.fakes import MemoryDynamoDB
from tests.stack import STACK_NAME, Stack

# Enough for a window to be full (functions/poller/gaps.py), and for a dozen of new addresses in a day.
PER_TYPE = 48
DAY = 86_400.0
PAGE = Path(__file__).parents[2] / "docs" / "upstream-faults.md"
EVERY_SOURCE = "every source"
# As many as are asked at once.
FIRST_FOUR = "the first four"

# What becomes of the faulty source's records that are new in the faulty poll. `others`: all but the bad ones.
# `waiting`: they wait for their identity. `unseen`: they are not in what was served, and nobody can tell.
type Kept = Literal["all", "others", "none", "waiting", "unseen"]

STALE = frozenset({"StaleSourceAlarm"})
REJECTED = frozenset({"RejectedRecordsAlarm"})
GAP = frozenset({"PossibleGapAlarm"})
DOWN = frozenset(
    {
        "NoSuccessfulPollAlarm",
        "ConsecutiveFailuresAlarm",
        "DataAgeAlarm",
        "StaleSourceAlarm",
        "ServiceAlarm",
    }
)
PERHAPS_TOO_SLOW = 1.0
IN_TIME = 10.0


@dataclass(frozen=True)
class Row:
    """One fault of one source. Without `reported` the source is fresh.

    `bad` newest records are the ones that the fault spoils. `made_up` incidents look right, so they are
    served from then on, although the upstream takes them back; `waits` are such that wait for an identity.
    `patience`: how long a receive may take. `hurry`: the poll's time is over soon.
    """

    fault: str
    source: str
    kept: Kept
    rejected: Mapping[str, int] = field(default_factory=dict)
    reported: str = ""
    alarms: frozenset[str] = frozenset()
    bad: int = 1
    made_up: int = 0
    waits: int = 0
    patience: float = IN_TIME
    hurry: bool = False

    @property
    def faulty(self) -> tuple[str, ...]:
        """The sources that fail."""
        several = {EVERY_SOURCE: ALL_SOURCES, FIRST_FOUR: INCIDENT_TYPES[:4]}
        return several.get(self.source, (self.source,))


def gone(fault: str, source: str, reported: str, **more: Any) -> Row:
    """A source that can't be taken: it keeps what it had, and is stale."""
    alarms = DOWN if source == EVERY_SOURCE else STALE
    if source == EVERY_SOURCE and reported == "unauthorized":
        alarms |= {"CredentialsAlarm"}
    return Row(fault, source, "none", reported=reported, alarms=alarms, **more)


def set_aside(fault: str, source: str, code: str, count: int = 1, **more: Any) -> Row:
    """Records that are rejected, while the others of their source go in."""
    return Row(fault, source, "others", {code: count}, alarms=REJECTED, **more)


def unnoticed(fault: str, source: str, kept: Kept = "all", **more: Any) -> Row:
    """Nothing that anybody has to be told of."""
    return Row(fault, source, kept, **more)


ROWS = (
    # Another status than 200.
    gone("status 204", "denial", "http"),
    gone("status 206", "misuse", "http"),
    gone("status 401", "denial", "unauthorized"),
    gone("status 401", EVERY_SOURCE, "unauthorized"),
    gone("status 403", "identities", "unauthorized"),
    gone("status 404", "other", "http"),
    gone("status 408", "probing", "server_error"),
    gone("status 429", "intrusion", "throttled"),
    gone("status 429 for an hour", "executable", "throttled"),
    gone("status 429 until a date", "misuse", "throttled"),
    gone("status 429 until whenever", "denial", "throttled"),
    gone("status 500", "unauthorized", "server_error"),
    gone("status 502", "identities", "server_error"),
    gone("status 503", "probing", "server_error"),
    gone("status 503", EVERY_SOURCE, "server_error"),
    gone("status 504", "other", "server_error"),
    gone("redirect to itself", "denial", "redirect"),
    gone("redirect to another path", "misuse", "redirect"),
    gone("redirect to another host", "identities", "redirect"),
    # The connection.
    gone("reset", "denial", "connection"),
    gone("reset", EVERY_SOURCE, "connection"),
    gone("reset in the body", "intrusion", "connection"),
    gone("cut off", "identities", "connection"),
    gone("closed without an answer", "misuse", "connection"),
    gone("no answer", "denial", "timeout", patience=PERHAPS_TOO_SLOW),
    gone("stuck in the body", "probing", "timeout", patience=PERHAPS_TOO_SLOW),
    unnoticed("slow body", "executable"),
    unnoticed("slow start", "identities"),
    gone("dripping body", "other", "timeout", hurry=True),
    gone("dripping body", FIRST_FOUR, "timeout", hurry=True),
    gone("dripping headers", "denial", "timeout", hurry=True),
    gone("100 Continue without end", "misuse", "timeout", hurry=True),
    # HTTP.
    gone("not HTTP", "denial", "connection"),
    gone("a header of 100 KB", "probing", "connection"),
    gone("200 headers", "other", "connection"),
    gone("Content-Length too long", "misuse", "connection"),
    gone("Content-Length too short", "intrusion", "malformed"),
    gone("Content-Length twice", "denial", "request"),
    unnoticed("Content-Length no number", "misuse"),
    gone("chunks of no size", "executable", "connection"),
    gone("chunks without an end", "unauthorized", "connection"),
    gone("gzip cut off", "denial", "malformed"),
    unnoticed("gzip without its checksum", "misuse"),
    gone("gzip with a wrong checksum", "other", "malformed"),
    gone("gzip bomb", "identities", "too_large"),
    gone("not gzip though it says so", "probing", "malformed"),
    # The body as a whole.
    gone("empty body", "denial", "malformed"),
    gone("html", "identities", "malformed"),
    gone("html as JSON", "misuse", "malformed"),
    gone("half of the JSON", "intrusion", "malformed"),
    gone("something behind the JSON", "other", "malformed"),
    gone("UTF-16", "executable", "malformed"),
    gone("Latin-1", "unauthorized", "malformed"),
    gone("a BOM", "probing", "malformed"),
    gone("100,000 open lists", "denial", "malformed"),
    gone("two million values", "misuse", "too_large"),
    gone("a list", "other", "malformed"),
    gone("an error with status 200", "intrusion", "malformed"),
    gone("an error with status 200", "identities", "malformed"),
    gone("results are an object", "denial", "malformed"),
    gone("results are null", "misuse", "malformed"),
    gone("results twice", "probing", "malformed"),
    # The window.
    unnoticed("an empty window", "denial", "unseen"),
    unnoticed("the older half", "misuse", "unseen"),
    unnoticed("the newer half", "probing"),
    unnoticed("unsorted", "intrusion"),
    unnoticed("each record three times", "other"),
    Row("all records replaced", "denial", "none", alarms=GAP, made_up=PER_TYPE),
    Row(
        "records of another type",
        "executable",
        "none",
        {"missing_field": PER_TYPE},
        alarms=REJECTED | GAP,
    ),
    unnoticed("a clock an hour ahead", "misuse", "others", made_up=1),
    set_aside("a clock two days ahead", "unauthorized", "timestamp_in_future"),
    # One record.
    Row("records that are no objects", "denial", "all", {"not_an_object": 5}, alarms=REJECTED),
    set_aside("NaN", "misuse", "not_json"),
    set_aside("Infinity", "probing", "not_json"),
    set_aside("a timestamp of 1e400", "other", "invalid_timestamp"),
    set_aside("a negative timestamp", "denial", "invalid_timestamp"),
    set_aside("a timestamp in milliseconds", "intrusion", "invalid_timestamp"),
    set_aside("a timestamp in 2100", "executable", "timestamp_in_future"),
    set_aside("a timestamp of 5,000 digits", "unauthorized", "invalid_timestamp"),
    set_aside("a timestamp as text", "misuse", "invalid_timestamp"),
    set_aside("no timestamp", "probing", "missing_field"),
    set_aside("a timestamp that is null", "other", "missing_field"),
    set_aside("an unknown priority", "denial", "unknown_priority"),
    set_aside("a priority in capitals", "misuse", "unknown_priority"),
    set_aside("a priority with a line break", "intrusion", "unknown_priority"),
    set_aside("no priority", "executable", "missing_field"),
    set_aside("nobody", "unauthorized", "missing_field"),
    set_aside("null for whom it is about", "probing", "missing_field"),
    set_aside("a list for whom it is about", "other", "invalid_identifier"),
    set_aside("an employee of 31 digits", "denial", "invalid_employee_id"),
    set_aside("an employee with decimals", "misuse", "invalid_employee_id"),
    set_aside("a negative employee", "unauthorized", "invalid_employee_id"),
    set_aside("control characters in an id", "denial", "invalid_employee_id"),
    set_aside("a key's separator in an id", "misuse", "invalid_employee_id"),
    set_aside("digits of another script", "other", "invalid_identifier"),
    set_aside("an id of 10 MB", "unauthorized", "too_large"),
    unnoticed("an IPv6 address", "probing", "others", waits=1),
    set_aside("an IPv6 address with a zone", "intrusion", "invalid_ip"),
    set_aside("an IP padded with zeros", "executable", "invalid_ip"),
    set_aside("an IP padded with blanks", "other", "invalid_identifier"),
    set_aside("an IP with a port", "probing", "invalid_ip"),
    set_aside("an IP as a number", "intrusion", "invalid_ip"),
    set_aside("a record nested 60 deep", "denial", "too_deep"),
    set_aside("two records nested 500 deep", "misuse", "too_deep", 2, bad=2),
    set_aside("a record of 20 KB", "executable", "too_large"),
    set_aside("a key twice", "unauthorized", "repeated_field"),
    unnoticed("a key twice, alike", "probing"),
    set_aside("whom it is about twice", "denial", "repeated_field"),
    unnoticed("unknown fields", "other"),
    # The identities.
    gone("identities: empty", "identities", "malformed"),
    unnoticed("identities: half of them", "identities", "waiting"),
    gone("identities: a list", "identities", "malformed"),
    gone("identities: nobody", "identities", "malformed"),
    unnoticed("identities: some rubbish", "identities"),
)

type Key = tuple[str, str]


@pytest.fixture
def simulator() -> Simulator:
    """An upstream as of yesterday."""
    moment = Simulator().clock() - DAY
    settings = SimulatorSettings(seed=3, records_per_type=PER_TYPE, identities=200)
    return Simulator(settings, clock=lambda: moment)


@pytest.fixture
def memory() -> MemoryDynamoDB:
    """A table of its own: what goes wrong upstream is no matter of the table's, and the rows are many."""
    return MemoryDynamoDB(f"incidents-{uuid.uuid4().hex}")


@pytest.fixture
def service(
    simulator: Simulator,
    memory: MemoryDynamoDB,
    make_service: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    made = make_service(simulator, memory)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", STACK_NAME)
    # How often a fault is tried again is told in tests/unit/poller/test_upstream.py.
    monkeypatch.setattr(upstream, "MAX_ATTEMPTS", 2)
    return made


class Consumer:
    """Somebody who follows the changes feed from a stored token."""

    def __init__(self, service: Any) -> None:
        self._service = service
        self._token: dict[str, str] = {}

    def read(self) -> Counter[Key]:
        """What has come since the last call, however often."""
        seen: Counter[Key] = Counter()
        while True:
            answer = self._service.get("/incidents/changes", limit="1000", **self._token)
            assert answer.status == 200, answer.text
            page = exact(answer.text)
            seen.update(map(key_of, page["data"]))
            self._token = {"token": page["next_token"]}
            if not page["has_more"]:
                return seen


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.fault}, {row.source}")
def test_what_comes_of_a_fault(
    row: Row,
    simulator: Simulator,
    memory: MemoryDynamoDB,
    service: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After a good poll, the fault: what is good is served, what is not is told. It lasts: nothing more comes
    of it. It ends: everything is there, once.
    """
    consumer = Consumer(service)
    service.poll()
    before = served(simulator)
    assert consumer.read() == Counter(before)
    healthy = metrics_of(capsys)

    now = simulator.clock() + DAY
    simulator.clock = lambda: now
    new = served(simulator) - before
    assert all(any(kind == each for kind, _ in new) for each in INCIDENT_TYPES)
    for source in row.faulty:
        simulator.faults.add(path_of(source), FAULTS[row.fault], times=None)
    options = {"read_timeout": row.patience, "sleep": lambda seconds: None}
    monkeypatch.setattr(composition, "Upstream", partial(Upstream, **options))
    if row.hurry:
        monkeypatch.setattr(poll, "_FETCH_SHARE", 0.01)
    service.forget_clients()

    summary = service.poll()
    first = metrics_of(capsys)
    expected = before | new - missing(row, new)
    incidents = keys_served(service)
    assert incidents.total() == len(incidents)
    assert len(incidents.keys() - expected) == row.made_up
    if row.kept == "waiting":
        assert 0 < summary["new_unattributed"] == len(expected - incidents.keys())
    else:
        assert expected <= incidents.keys()
        assert summary["new_unattributed"] == row.waits
    fed = consumer.read()
    assert Counter(before) + fed == incidents
    assert rejected_codes(memory) == row.rejected
    check_health(row, service)
    check_all_forms(service)

    assert service.poll()["outcome"] == summary["outcome"]
    later = metrics_of(capsys)
    assert keys_served(service) == incidents
    assert rejected_codes(memory) == row.rejected
    assert alarms_if_it_lasts(healthy, first, later) == row.alarms

    simulator.faults.clear()
    service.poll()
    fed += consumer.read()
    everything = keys_served(service)
    assert Counter(before) + fed == everything
    assert everything.total() == len(everything) == len(before | new) + row.made_up
    assert everything.keys() >= before | new
    health = service.health()
    assert {each["state"] for each in health["sources"].values()} == {"fresh"}
    assert (health["rejected_records"], health["unattributed_incidents"]) == (0, row.waits)
    assert service.poll()["new_incidents"] == 0


def check_health(row: Row, service: Any) -> None:
    """`/health` names the sources that failed, with the class of error; its text tells no address."""
    health = service.get("/health")
    assert "127.0.0.1" not in health.text
    sources = health.json["sources"]
    stale = {source for source, each in sources.items() if each["state"] != "fresh"}
    assert stale == (set(row.faulty) if row.reported else set())
    assert {sources[source]["last_error"]["class"] for source in stale} == ({row.reported} - {""})
    assert health.json["status"] == ("warn" if row.reported else "pass")
    assert health.json["rejected_records"] == sum(row.rejected.values())
    gaps = {source for source, each in sources.items() if each["possible_gap_at"]}
    assert gaps == (set(row.faulty) if row.alarms >= GAP else set())


def check_all_forms(service: Any) -> None:
    """Whatever came in can be written in each form."""
    for accept in ("application/x-ndjson", "text/csv"):
        assert service.get("/incidents/changes", headers={"Accept": accept}).status == 200
    assert service.get("/incidents/changes", schema="ocsf").status == 200


def missing(row: Row, new: set[Key]) -> set[Key]:
    """Of the new records those that the faulty poll does not bring."""
    if row.kept in ("all", "waiting"):
        return set()
    theirs = sorted(key for key in new if key[0] in row.faulty)
    return set(theirs[-row.bad :] if row.kept == "others" else theirs)


def served(simulator: Simulator) -> set[Key]:
    """What the upstream serves now, if nothing goes wrong."""
    return {
        (kind, record["timestamp"])
        for kind in INCIDENT_TYPES
        for record in exact(simulator.usual_reply(path_of(kind)).body)["results"]
    }


def keys_served(service: Any) -> Counter[Key]:
    """What the service serves, however often."""
    page = exact(service.get("/incidents", limit="500").text)
    assert page["has_more"] is False
    return Counter(
        key_of(incident)
        for employee in page["incidents"].values()
        for group in employee.values()
        for incident in group["incidents"]
    )


def rejected_codes(memory: MemoryDynamoDB) -> Mapping[str, int]:
    """Why records were set aside, and how many."""
    return Counter(item["code"]["S"] for (pk, _), item in memory.dump().items() if pk == "REJECTED")


def path_of(source: str) -> str:
    return "/identities/" if source == "identities" else f"/incidents/{source}/"


def key_of(incident: Mapping[str, Any]) -> Key:
    """No two records of a type have the same time."""
    return incident["type"], incident["timestamp"]


def exact(text: str | bytes) -> Any:
    """JSON with each number as its text."""
    return json.loads(text, parse_float=str, parse_int=str)


# ---------------------------------------------------------------- alarms


def metrics_of(capsys: pytest.CaptureFixture[str]) -> Mapping[str, float]:
    """What CloudWatch gets of the poll that has just ended."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    # One on the poll, one on what people were told of then, one on erasures.
    of_poll = [each for each in lines if "source" not in each]
    assert len(of_poll) == 3
    for line in of_poll:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == STACK_NAME
    together = of_poll[0] | of_poll[1] | of_poll[2]
    return {metric: float(together[metric][0]) for metric in POLLER_METRICS if metric in together}


def alarms_if_it_lasts(
    healthy: Mapping[str, float], first: Mapping[str, float], later: Mapping[str, float]
) -> set[str]:
    """The template's alarms, over polls that are `healthy` for an hour, then as `first`, then as `later` for
    three hours. What grows from poll to poll while none succeeds goes on growing.
    """
    interval = 300.0
    lasting = list(growing(first, later, interval))
    polls = [healthy] * 12 + lasting
    points = [
        Datapoint(number * interval + 30.0, metric, value)
        for number, values in enumerate(polls)
        for metric, value in values.items()
    ]
    until = len(polls) * interval
    changes = watch(default_stack(), points, until=until).changes
    return {
        alarm
        for alarm, states in changes.items()
        if any(state == "ALARM" and at >= 12 * interval for at, state in states)
    }


def growing(
    first: Mapping[str, float], later: Mapping[str, float], interval: float
) -> Iterator[Mapping[str, float]]:
    succeeds = bool(later["SuccessfulPolls"])
    assert later["ConsecutiveFailures"] == (0 if succeeds else first["ConsecutiveFailures"] + 1)
    yield first
    for number in range(2, 38):
        if succeeds:
            yield later
        else:
            age = later["DataAge"] + number * interval
            yield {**later, "ConsecutiveFailures": number, "DataAge": age}


@cache
def default_stack() -> Stack:
    return Stack()


# ---------------------------------------------------------------- the table


def test_every_fault_of_the_simulator_has_its_row() -> None:
    """The table names each fault that the simulator has, and no other; there are at least 40."""
    assert {row.fault for row in ROWS} == set(FAULTS)
    assert len({(row.fault, row.source) for row in ROWS}) == len(ROWS)
    assert len(FAULTS) >= 40


@pytest.mark.parametrize("source", ALL_SOURCES)
def test_every_source_fails_in_some_row(source: str) -> None:
    """No source is left out."""
    assert any(row.source == source for row in ROWS)


def test_the_page_shows_the_rows() -> None:
    """docs/upstream-faults.md has just these rows; after a change, put in what this prints."""
    shown = [line for line in PAGE.read_text("utf-8").splitlines() if re.match(r"\|", line)]
    assert shown == rendered(), "\n".join(["the table should be:", *rendered()])


def rendered() -> list[str]:
    header = ["| fault | of | kept | rejected | reported | alarms if it lasts |", "|---|---|---|---|---|---|"]
    return header + ["| " + " | ".join(cells(row)) + " |" for row in ROWS]


def cells(row: Row) -> tuple[str, ...]:
    rejected = ", ".join(f"{count} `{code}`" for code, count in row.rejected.items())
    reported = f"`{row.reported}`" if row.reported else "`possible_gap_at`" if row.alarms >= GAP else ""
    alarms = ", ".join(sorted(row.alarms))
    return row.fault, row.source, kept_in_words(row), rejected or "-", reported or "-", alarms or "-"


def kept_in_words(row: Row) -> str:
    words = {
        "all": "all",
        "others": "the others",
        "none": "what was there",
        "waiting": "all; some wait",
        "unseen": "what was served",
    }
    more = [f"{row.made_up} made up"] if row.made_up else []
    more += [f"{row.waits} waits"] if row.waits else []
    return "; ".join([words[row.kept], *more])
