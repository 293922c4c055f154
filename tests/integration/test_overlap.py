"""Polls that overlap, however slow and many: one commits, the others change nothing, none corrupts."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from functions.poller.summary import PollSummary
from shared.domain import journal
from shared.domain.incident import INCIDENT_TYPES
from shared.domain.poll_report import ALL_SOURCES
from shared.domain.rfc3339 import format_rfc3339
from tests.contract.disturbed import Process
from tests.integration.surroundings import (
    Company,
    Served,
    Surroundings,
    bad,
    check_any_moment,
    check_complete,
    check_digests,
    check_settled,
    check_told,
    decided,
    misuse,
    probing,
    surround,
)

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
    # Also what waits since the very entry that the sleeping poll may be laying out.
    around.served.identities |= {"10.0.0.8": 18, "10.0.1.20": 120}
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
        name: dump.get(("STATE", "STATE"), {}).get(name) for name in ("projected", "committed_at", "totals")
    }
    return {key: item for key, item in dump.items() if key[0].startswith(RECORDS)} | {"state": state}


@pytest.mark.parametrize(
    ("meanwhile", "entry_records"),
    [(the_same_again, 1000), (one_with_changes, 2), (several_with_changes, 3)],
    ids=lambda each: getattr(each, "__name__", None),
)
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


def check_round(around: Surroundings, summaries: list[PollSummary], views: list[Served]) -> None:
    """Each poll added what it says: to the journal the entries that it committed, and nothing else; whoever
    committed nothing was superseded or had nothing new.
    """
    check_any_moment(around)
    dump = around.dump()
    for served in views:
        check_digests(dump, served, around.clock.now)
    by_poll: Counter[str] = Counter()
    for sequence, decisions in decided(dump):
        by_poll[dump["JOURNAL", f"{sequence:020}"]["poll_id"]["S"]] += len(decisions)
    for summary in summaries:
        assert summary.outcome in {"succeeded", "superseded"}
        added = summary.new_incidents + summary.attributed_late + summary.new_unattributed
        assert by_poll[summary.poll_id] == added + summary.new_rejected


def test_reports_of_polls_that_overlap_are_all_kept(surroundings: Surroundings) -> None:
    """A poll finds the upstream down; wherever it stands still, one that began earlier and was slow ends
    meanwhile, and that one took everything. Health tells both: the failure, and what was taken when.
    """
    begin(surroundings)
    assert surroundings.poll()
    go_on(surroundings)
    for moment in range(1, 1000):
        around = surroundings.copy()
        slept: list[float] = []

        def sleep(around: Surroundings = around, slept: list[float] = slept) -> None:
            slept.append(around.clock.now - 1)
            poller = around.poller(Process(), at=slept[0])
            assert poller.poll(seconds_left=240).outcome == "succeeded"

        down = Process(at=moment, happens=sleep)
        summary = around.poll(down, Served(down=frozenset(ALL_SOURCES)))
        assert summary
        assert summary.outcome == "failed"
        report = around.view().report
        # From its own report on, which is of a later attempt, the earlier one has nothing more to say.
        if not slept or report["polls"] == 2:
            break
        assert (report["polls"], report["successful_updates"], report["failed_updates"]) == (3, 2, 1), moment
        assert report["consecutive_failures"] == 1
        assert report["last_success_at"] == format_rfc3339(slept[0])
        for kind in INCIDENT_TYPES:
            source = report[kind]
            assert (source["state"], source["last_success_at"]) == ("stale", format_rfc3339(slept[0]))
        assert report["misuse"]["records"] == 4
    assert slept
    assert moment > 30


def test_identities_that_go_and_come_back(surroundings: Surroundings) -> None:
    """A poll that found nothing by its identities stands still; meanwhile an IP leaves them, a record of that
    IP comes in and waits, and the identities are again what they were: it is attributed all the same.
    """
    begin(surroundings)
    assert surroundings.poll()
    surroundings.served.identities["10.0.7.7"] = 77
    for moment in range(1, 1000):
        around = surroundings.copy()
        slept: list[bool] = []

        def sleep(around: Surroundings = around, slept: list[bool] = slept) -> None:
            slept.append(True)
            del around.served.identities["10.0.7.7"]
            around.served.records["probing"] += [probing(50, "10.0.7.7")]
            assert around.poll(later=1)
            around.served.identities["10.0.7.7"] = 77

        assert around.poll(Process(at=moment, happens=sleep))
        assert around.poll()
        view = check_settled(around)
        if not slept:
            break
        assert "77" in {each["employee_id"] for each in view.incidents.values()}, moment
    assert moment > 30


def test_the_identities_fetched_last_are_kept(surroundings: Surroundings) -> None:
    """A poll stands still with identities in hand, and an IP changes hands meanwhile: who is attributed by
    stored identities afterwards, while they can't be fetched, is attributed by the later ones.
    """
    begin(surroundings)
    assert surroundings.poll()
    surroundings.served.identities["10.0.7.7"] = 77
    for moment in range(1, 1000):
        around = surroundings.copy()
        slept: list[bool] = []

        def sleep(around: Surroundings = around, slept: list[bool] = slept) -> None:
            slept.append(True)
            around.served.identities["10.0.7.7"] = 78
            assert around.poll(later=1)

        assert around.poll(Process(at=moment, happens=sleep))
        around.served.down = frozenset({"identities"})
        around.served.records["probing"] += [probing(50, "10.0.7.7")]
        assert around.poll()
        view = check_settled(around)
        wanted = "78" if slept else "77"
        assert wanted in {each["employee_id"] for each in view.incidents.values()}, moment
        if not slept:
            break
    assert moment > 30


@pytest.mark.parametrize("seed", range(12))
def test_calls_of_many_polls_in_any_order(
    surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Two to eight polls, each call of which waits for its turn, as dice say; some of them die, and in some
    rounds they find no time for more than an entry. Whatever the order is, all is there exactly once then.
    """
    monkeypatch.setattr(journal, "MAX_ENTRY_RECORDS", [2, 5, 1000][seed % 3])
    dice = random.Random(seed)  # noqa: S311 - no secret
    company = Company(surroundings, dice)
    deaths = 0
    for _ in range(6):
        company.goes_on()
        with monkeypatch.context() as hurried:
            if dice.random() < 0.4:
                # What of its time a poll keeps for its report: all of it.
                hurried.setattr("functions.poller.poll._REPORT_SECONDS", 240.0)
            ends = company.polls_at_once()
        summaries = [summary for _, summary in ends if isinstance(summary, PollSummary)]
        died = [summary for _, summary in ends].count(None)
        assert len(summaries) == len(ends) - died
        deaths += died
        check_round(surroundings, summaries, [served for served, _ in ends])
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
            into.append(poller.poll(seconds_left=240))

        threads = [threading.Thread(target=start, args=(poller,)) for poller in pollers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert len(summaries) == count
        check_round(surroundings, summaries, views)
        surroundings.follow()
        company.settles()
