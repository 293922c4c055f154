"""Polls that overlap, as slow and as many as may be: one commits, the others change nothing, none corrupts."""

import copy
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from functions.poller import notify
from functions.poller.summary import PollSummary
from shared.domain import journal
from tests.contract.disturbed import DeathError, Process
from tests.integration.surroundings import (
    Served,
    Surroundings,
    bad,
    check_any_moment,
    check_complete,
    check_digests,
    check_settled,
    misuse,
    probing,
    surround,
)

IPS = tuple(f"10.0.0.{number}" for number in range(6))
RECORDS = ("INCIDENTS", "UNATTRIBUTED", "REJECTED", "JOURNAL", "ID#")


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, make_reader: Callable[..., Any]) -> Surroundings:
    """An empty table."""
    return surround(monkeypatch, make_reader)


def begin(around: Surroundings) -> None:
    """Of everything something; two records wait."""
    around.served.identities |= {"10.0.0.1": 11, "10.0.0.2": 12}
    around.served.records |= {
        "misuse": [misuse(1, 7, "critical"), bad(1)],
        "probing": [probing(4, "10.0.0.1"), probing(5, "10.0.0.9"), probing(6, "10.0.0.8", "critical")],
    }


def go_on(around: Surroundings, number: int = 20) -> None:
    """Something new, also for IPs that others have now, and one that waited is found."""
    around.served.identities |= {"10.0.0.9": number, "10.0.0.2": number + 1, "10.0.0.1": number + 2}
    around.served.records["misuse"] += [misuse(number, 7, "critical"), bad(number)]
    around.served.records["probing"] += [
        probing(number + 1, "10.0.0.2"),
        probing(number + 2, f"10.0.1.{number}", "critical"),
    ]


def nobody(around: Surroundings) -> None:
    """Nothing happens: shows that the poll under test does its work."""


def the_same_again(around: Surroundings) -> None:
    """Another poll of the same."""
    assert around.poll(later=1)


def one_with_changes(around: Surroundings) -> None:
    """Another poll, of an upstream that has gone on; an IP has changed hands."""
    go_on(around, 40)
    assert around.poll(later=1)


def several_with_changes(around: Surroundings) -> None:
    """Polls one after the other, one of which dies, while identities come, change and come back."""
    before = dict(around.served.identities)
    go_on(around, 40)
    around.served.identities["10.0.0.8"] = 18
    assert around.poll(later=1)
    go_on(around, 60)
    assert around.poll(Process(at=30), later=1) is None
    around.served.identities.clear()
    around.served.identities.update(before)
    around.served.records["probing"] += [probing(70, "10.0.0.9"), probing(71, "10.0.1.40")]
    assert around.poll(later=1)
    assert around.poll(later=1)


def records_of(around: Surroundings) -> Mapping[Any, Any]:
    """All that is there of records, and the state but for its report."""
    dump = around.dump()
    state = {
        name: dump.get(("STATE", "STATE"), {}).get(name)
        for name in ("projected", "committed_at", "totals")
    }
    return {key: item for key, item in dump.items() if key[0].startswith(RECORDS)} | {"state": state}


def check_told(around: Surroundings, *, deaths: int = 0) -> None:
    """People were told of every critical incident, of each once but for deaths."""
    told = Counter(around.told())
    assert all(count == 1 for count in told.values()) or deaths
    assert told.total() - len(told) <= deaths * notify.MAX_INCIDENTS
    critical = {each["id"] for each in around.view().incidents.values() if each["priority"] == "critical"}
    assert critical <= told.keys()


@pytest.mark.parametrize("entry_records", [2, 1000])
@pytest.mark.parametrize("meanwhile", [the_same_again, one_with_changes, several_with_changes])
def test_a_poll_may_sleep_at_any_moment(
    surroundings: Surroundings,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Callable[[Surroundings], None],
    entry_records: int,
) -> None:
    """Before each call of a poll and after each part of it, others do all of their work: before it decides,
    with an old decision in hand, in the middle of laying out, with caches, a report or a message to write.
    When it wakes up nothing of what they did changes, and the next poll has everything exactly once.
    """
    monkeypatch.setattr(journal, "MAX_ENTRY_RECORDS", entry_records)
    begin(surroundings)
    assert surroundings.poll()
    go_on(surroundings)
    outcomes: Counter[str] = Counter()
    for moment in range(1, 1000):
        around = surroundings.copy()
        around.follow()
        slept: list[Mapping[Any, Any]] = []

        def sleep(around: Surroundings = around, slept: list[Any] = slept) -> None:
            meanwhile(around)
            check_any_moment(around)
            around.follow()
            slept.append(records_of(around))

        summary = around.poll(Process(at=moment, happens=sleep))
        assert summary
        if not slept:
            break
        outcomes[summary.outcome] += 1
        assert records_of(around) == slept[0]
        check_any_moment(around)
        report = around.view().report
        assert report["polls"] == report["successful_updates"]
        last = around.poll()
        assert last
        assert last.outcome == "succeeded"
        end = check_settled(around)
        check_complete(around, around.served)
        check_told(around, deaths=int(meanwhile is several_with_changes))
        assert end.health["status"] == "pass"
        assert end.report["polls"] == report["polls"] + 1
    print(f"{meanwhile.__name__}: slept at each of {moment - 1} moments: {dict(outcomes)}")
    assert outcomes["superseded"] > 10
    assert outcomes["succeeded"] > 10


class Turns:
    """Lets one of several processes make one call at a time, as dice say: now and then many in a row."""

    def __init__(self, count: int, dice: random.Random) -> None:
        self._dice = dice
        self._condition = threading.Condition()
        self._running = set(range(count))
        self._waiting: set[int] = set()
        self._next: int | None = None
        self._stay = 0.0

    def wait(self, number: int) -> None:
        """Until it is this one's turn."""
        with self._condition:
            self._waiting.add(number)
            self._choose(number)
            assert self._condition.wait_for(lambda: self._next == number, timeout=60)
            self._next = None
            self._waiting.discard(number)

    def end(self, number: int) -> None:
        """This one has nothing more to do."""
        with self._condition:
            self._running.discard(number)
            self._choose(number)

    def _choose(self, last: int) -> None:
        if self._next is not None or self._waiting != self._running or not self._running:
            return
        if last not in self._waiting or self._dice.random() >= self._stay:
            last = self._dice.choice(sorted(self._running))
            self._stay = self._dice.choice([0.0, 0.5, 0.95])
        self._next = last
        self._condition.notify_all()


class Company:
    """An upstream that goes on from round to round; each poller sees it at a moment of its own."""

    def __init__(self, around: Surroundings, dice: random.Random) -> None:
        self.around = around
        self.dice = dice
        self._numbers = iter(range(1, 80_000))
        self._had: dict[str, set[int]] = {}
        self.everything = around.served

    def goes_on(self) -> None:
        """Some more records, and identities that come, go and change hands."""
        dice, records = self.dice, self.everything.records
        for _ in range(dice.randint(0, 6)):
            kind = dice.choice(["misuse", "probing", "probing", "bad"])
            number, priority = next(self._numbers), dice.choice(["low", "critical"])
            if kind == "misuse":
                records.setdefault(kind, []).append(misuse(number, dice.randint(1, 4), priority))
            elif kind == "probing":
                records.setdefault(kind, []).append(probing(number, dice.choice(IPS), priority))
            else:
                records.setdefault("misuse", []).append(bad(number))
        for ip in dice.sample(IPS, dice.randint(0, 3)):
            self.everything.identities.pop(ip, None)
            if dice.random() < 0.7:
                employee_id = dice.randint(5, 9)
                self.everything.identities[ip] = employee_id
                self._had.setdefault(ip, set()).add(employee_id)

    def seen(self) -> Served:
        """What somebody sees who asked a bit earlier than others."""
        seen = copy.deepcopy(self.everything)
        for texts in seen.records.values():
            del texts[len(texts) - min(self.dice.randint(0, 3), len(texts)) :]
        return seen

    def settles(self, *, deaths: int) -> None:
        """An undisturbed poll later all is there, once; then what is old rolls out of the windows."""
        around = self.around
        last = around.poll()
        assert last
        assert last.outcome == "succeeded"
        end = check_settled(around)
        check_complete(around, self.everything)
        check_told(around, deaths=deaths)
        assert end.health["status"] == "pass"
        for incident in end.incidents.values():
            if incident["type"] == "probing":
                assert int(incident["employee_id"]) in self._had[incident["ip"]]
        if self.dice.random() < 0.3:
            for texts in self.everything.records.values():
                del texts[: self.dice.randint(0, len(texts))]


def check_round(around: Surroundings, summaries: list[PollSummary], views: list[Served], entries: int) -> None:
    """Whoever was superseded or had nothing new added nothing: each new entry is of one poll that says so."""
    check_any_moment(around)
    for served in views:
        check_digests(around.dump(), served, around.clock.now)
    assert {each.outcome for each in summaries} <= {"succeeded", "superseded"}
    journalled = [item for (pk, _), item in sorted(around.dump().items()) if pk == "JOURNAL"][entries:]
    for summary in summaries:
        own = [json.loads(each["totals"]["S"]) for each in journalled if each["poll_id"]["S"] == summary.poll_id]
        added = summary.new_incidents + summary.attributed_late + summary.new_unattributed + summary.new_rejected
        assert bool(own) == bool(added) or not entries


def take_part(poller: Any, summaries: list[PollSummary], end: Callable[[], object]) -> None:
    """One poll in a thread."""
    try:
        summaries.append(poller.poll(seconds_left=240))
    except DeathError:
        pass
    finally:
        end()


@pytest.mark.parametrize("seed", range(12))
def test_calls_of_many_polls_in_any_order(
    surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Two to eight polls, each call of which waits for its turn, as dice say; some of them die. Whatever the
    order is, all is there exactly once afterwards.
    """
    monkeypatch.setattr(journal, "MAX_ENTRY_RECORDS", [2, 5, 1000][seed % 3])
    dice = random.Random(seed)  # noqa: S311 - no secret
    company = Company(surroundings, dice)
    deaths = 0
    for _ in range(6):
        company.goes_on()
        entries = sum(pk == "JOURNAL" for pk, _ in surroundings.dump())
        count = dice.randint(2, 8)
        turns = Turns(count, dice)
        summaries: list[PollSummary] = []
        views, threads, processes = [], [], []
        surroundings.clock.now += 60
        for number in range(count):
            if dice.random() < 0.5:
                company.goes_on()
            views.append(company.seen())
            process = Process(
                at=dice.randint(1, 90) if dice.random() < 0.15 else 0,
                before_each=lambda turns=turns, number=number: turns.wait(number),
                order=dice,
            )
            processes.append(process)
            poller = surroundings.poller(process, views[-1], at=surroundings.clock.now + dice.random())
            end = lambda turns=turns, number=number: turns.end(number)  # noqa: E731
            threads.append(threading.Thread(target=take_part, args=(poller, summaries, end)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        deaths += sum(process.died for process in processes)
        assert len(summaries) == count - sum(process.died for process in processes)
        check_round(surroundings, summaries, views, entries)
        surroundings.follow()
        if dice.random() < 0.5:
            company.settles(deaths=deaths)
    company.settles(deaths=deaths)


@pytest.mark.parametrize("count", range(2, 9))
def test_real_threads_at_once(
    surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Two to eight polls start at the same moment and run as they can, with threads of their own: of those
    that decide for one sequence a single one commits.
    """
    monkeypatch.setattr("shared.store.table._BATCH_THREADS", 8)
    company = Company(surroundings, random.Random(count))  # noqa: S311 - no secret
    for _ in range(5):
        company.goes_on()
        entries = sum(pk == "JOURNAL" for pk, _ in surroundings.dump())
        barrier = threading.Barrier(count)
        summaries: list[PollSummary] = []
        views = [company.seen() for _ in range(count)]
        surroundings.clock.now += 60
        pollers = [
            surroundings.poller(Process(), served, at=surroundings.clock.now + number / 100)
            for number, served in enumerate(views)
        ]

        def start(poller: Any, barrier: threading.Barrier = barrier, into: list[Any] = summaries) -> None:
            barrier.wait(20)
            take_part(poller, into, lambda: None)

        threads = [threading.Thread(target=start, args=(poller,)) for poller in pollers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert len(summaries) == count
        check_round(surroundings, summaries, views, entries)
        surroundings.follow()
        company.settles(deaths=0)
