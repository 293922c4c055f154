"""A poll that is killed, wherever that is, loses nothing, doubles nothing, and shows nobody half of it."""

import contextlib
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from requests.adapters import HTTPAdapter

from functions.poller import composition, notify
from local.simulator import Simulator, SimulatorSettings
from shared import aws
from shared.domain import journal
from shared.store import identities
from tests.contract.disturbed import DeathError, Process
from tests.integration.surroundings import (
    Surroundings,
    View,
    bad,
    check_any_moment,
    check_complete,
    check_settled,
    decided,
    misuse,
    probing,
    surround,
)


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, make_reader: Callable[..., Any]) -> Surroundings:
    """An empty table."""
    return surround(monkeypatch, make_reader)


def begin(around: Surroundings) -> None:
    """What the upstream serves at first: of everything something."""
    around.served.identities |= {"10.0.0.1": 11, "10.0.0.2": 12}
    around.served.records |= {
        "misuse": [misuse(1, 7, "critical"), misuse(2, 8), bad(1), misuse(3, 7, "critical")],
        "probing": [
            probing(4, "10.0.0.1", "critical"),
            probing(5, "10.0.0.9"),
            probing(6, "10.0.0.8", "critical"),
        ],
        "executable": [],
    }


def go_on(around: Surroundings, first: int = 20) -> None:
    """More of everything, and somebody gets the IP of a record that waits."""
    records = around.served.records
    around.served.identities |= {"10.0.0.9": 19, "10.0.0.2": 22}
    records["misuse"] = [*records["misuse"][1:], misuse(first, 7, "critical"), bad(first)]
    records["probing"] = [
        *records["probing"],
        probing(first + 1, "10.0.0.7", "critical"),
        probing(first + 2, "10.0.0.2"),
        probing(first + 2, "10.0.0.2"),
    ]


def first_poll(around: Surroundings, _: pytest.MonkeyPatch) -> None:
    """A new table, and a bit of everything."""
    begin(around)


def several_entries(around: Surroundings, patch: pytest.MonkeyPatch) -> None:
    """A new table, and more than an entry, a message and an item of identities hold."""
    begin(around)
    patch.setattr(journal, "MAX_ENTRY_RECORDS", 3)
    patch.setattr(notify, "MAX_INCIDENTS", 2)
    patch.setattr(identities, "MAX_CHUNK_BYTES", 30)


def something_new(around: Surroundings, _: pytest.MonkeyPatch) -> None:
    """Some new, some newly waiting, some attributed late, some rejected."""
    begin(around)
    around.poll()
    go_on(around)


def nothing_new(around: Surroundings, _: pytest.MonkeyPatch) -> None:
    """All is known, the identities are other ones that help nobody, and those that wait are to be counted."""
    begin(around)
    around.poll()
    around.clock.now += 86_400
    around.served.identities["10.0.1.1"] = 30


def left_by_another(around: Surroundings, patch: pytest.MonkeyPatch) -> None:
    """An entry that a poll committed before it died, and new records besides."""
    begin(around)
    around.poll()
    go_on(around)
    dying = Process()
    commits = iter(range(100))
    watched = dying.call

    def die_after_the_commit(name: str, parts: Any) -> Any:
        before = len(decided(around.dump()))
        answers = watched(name, parts)
        if len(decided(around.dump())) > before and next(commits) == 0:
            dying.die()
        return answers

    patch.setattr(dying, "call", die_after_the_commit)
    assert around.poll(dying) is None
    assert around.view().totals[0] == 1
    assert len(decided(around.dump())) == 2
    go_on(around, first=30)


SCENARIOS = (first_poll, several_entries, something_new, nothing_new, left_by_another)


def undisturbed(around: Surroundings) -> tuple[int, list[View], Surroundings]:
    """How many moments the poll has, what readers see at each entry that it lays out, and how it ends."""
    twin = around.copy()
    views: list[View] = [twin.view()]

    def look() -> None:
        if (
            int(twin.dump().get(("STATE", "STATE"), {}).get("projected", {"N": "0"})["N"])
            > views[-1].totals[0]
        ):
            views.append(twin.view())

    process = Process(before_each=look)
    summary = twin.poll(process)
    assert summary
    assert summary.outcome == "succeeded"
    return process.moments, [*views, twin.view()], twin


def check_reads(around: Surroundings, views: list[View]) -> None:
    """Readers see the state as of one entry, whole, and a report as before or as after the poll."""
    seen = around.view()
    (entry,) = [each for each in views[:-1] if each.totals == seen.totals]
    assert (seen.incidents, seen.waiting) == (entry.incidents, entry.waiting)
    assert seen.report in (views[0].report, views[-1].report)
    if seen.report != views[0].report:
        assert seen.totals == views[-1].totals
    around.follow()
    assert Counter(each["id"] for each in around.followed) == Counter(entry.incidents.keys())


def check_the_end(
    around: Surroundings, undisturbed_end: Surroundings, *, deaths: int = 1, idle: bool = True
) -> None:
    """Everything is there once, as if nobody had died; people were told of it, of a message's worth twice
    for each death; and (``idle``) the next poll finds nothing more to do.
    """
    end = check_settled(around)
    check_complete(around, around.served)
    wanted = undisturbed_end.view()
    assert end.incidents == wanted.incidents
    assert end.totals[1:] == wanted.totals[1:]
    assert end.health["status"] == "pass"
    told, should_be = Counter(around.told()), Counter(undisturbed_end.told())
    assert told.keys() == should_be.keys()
    repeated = told.total() - should_be.total()
    assert repeated <= deaths * notify.MAX_INCIDENTS
    if idle:
        published, before = len(around.sns.published), around.dump()
        assert around.poll()
        after = around.dump()
        assert {key for key in after if after[key] != before.get(key)} == {("STATE", "STATE")}
        assert len(around.sns.published) == published


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__)
def test_a_poll_may_die_at_any_moment(
    surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch, scenario: Callable[..., None]
) -> None:
    """Killed before each call that it makes, and after each part of one took effect: until the next poll
    readers have what was before or what is after, and then everything is there exactly once.
    """
    scenario(surroundings, monkeypatch)
    surroundings.follow()
    moments, views, end = undisturbed(surroundings)
    for moment in range(1, moments + 1):
        around = surroundings.copy()
        process = Process(at=moment, order=random.Random(moment))  # noqa: S311 - no secret
        assert around.poll(process) is None
        check_any_moment(around)
        check_reads(around, views)
        summary = around.poll()
        assert summary
        assert summary.outcome == "succeeded"
        check_the_end(around, end, idle=moment % 4 == 0)
    print(f"{scenario.__name__}: a poll of {len(process.calls)} calls, killed at each of {moments} moments")


def test_a_poll_may_die_twice_in_a_row(surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The poll that clears up after a dead one may die as well, anywhere, and so may the one after it; and
    when a process dies, so do its threads.
    """
    monkeypatch.setattr("shared.store.table._BATCH_THREADS", 8)
    chance = random.Random(3)  # noqa: S311 - no secret
    deaths = 0
    for scenario in (several_entries, something_new):
        base = surroundings.copy()
        scenario(base, monkeypatch)
        base.follow()
        moments, views, end = undisturbed(base)
        for _ in range(25):
            around = base.copy()
            died = 0
            for _ in range(3):
                process = Process(at=chance.randint(1, moments), order=chance)
                around.poll(process)
                died += process.died
                check_any_moment(around)
                assert around.view().incidents in [each.incidents for each in views]
                around.follow()
            assert around.poll()
            check_the_end(around, end, deaths=died, idle=False)
            deaths += died
    print(f"{deaths} polls killed in rows of up to three")
    assert deaths > 60


def test_on_an_emulator_too(
    make_service: Callable[[Simulator], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler in one container after the other, real clients, HTTP: killed here and there on the way
    through a poll, with new data each time; a walk and the feed have all of it exactly once.
    """
    moment = Simulator().clock() - 86_400
    simulator = Simulator(SimulatorSettings(seed=3, records_per_type=4, identities=60), clock=lambda: moment)
    service = make_service(simulator)
    monkeypatch.setenv("UPSTREAM_CONCURRENCY", "1")
    monkeypatch.setattr("shared.store.table._BATCH_THREADS", 1)
    processes: list[Process] = []
    topic = boto3.client("sns").create_topic(Name="incidents")["TopicArn"]
    monkeypatch.setenv("NOTIFICATION_TOPIC_ARN", topic)
    monkeypatch.setenv("NOTIFY_PRIORITY", "low")
    make_client, send = aws.make_client, HTTPAdapter.send

    def make_watched(name: str, **options: Any) -> Any:
        client = make_client(name, **options)
        return processes[-1].watch(name, client) if processes else client

    def send_watched(self: HTTPAdapter, request: Any, **options: Any) -> Any:
        if not processes:
            return send(self, request, **options)
        return processes[-1].call(f"GET {request.path_url}", [lambda: send(self, request, **options)])[0]

    monkeypatch.setattr(aws, "make_client", make_watched)
    monkeypatch.setattr(HTTPAdapter, "send", send_watched)

    def poll(process: Process) -> None:
        composition.built.cache_clear()
        processes.append(process)
        with contextlib.suppress(DeathError):
            service.poll()
        processes.clear()

    first = Process(whole_batches=True)
    service.calls.clear()
    poll(first)
    to_aws = [name for name in first.calls if not name.startswith("GET ")]
    assert len(to_aws) == len(service.calls), "a call to AWS went past the test"
    assert {name.partition(" ")[0] for name in to_aws} == {"dynamodb", "secretsmanager", "sns"}
    token, followed, seen = "", [], service.incidents()
    deaths = 0
    # Every third moment, until a poll has fewer than that.
    for number in range(1, 100):
        simulator.clock = lambda number=number: moment + number * 7200  # type: ignore[misc]  # the default binds the loop's value
        dying = Process(at=3 * number)
        poll(dying)
        before, between = seen, service.incidents()
        poll(Process())
        seen = service.incidents()
        assert between in (before, seen)
        assert len({each["id"] for each in seen}) == len(seen)
        answer = service.get("/incidents/changes", **({"token": token} if token else {})).json
        followed += answer["data"]
        token = answer["next_token"]
        assert Counter(each["id"] for each in followed) == Counter(each["id"] for each in seen)
        if not dying.died:
            break
        deaths += 1
    assert 10 < deaths < 99
    assert len(seen) > deaths
    print(f"on the emulator: killed at {deaths} moments")
