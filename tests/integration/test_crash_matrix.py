"""A poll that is killed, wherever that may be, loses nothing, doubles nothing, and shows nobody half of it."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from functions.poller import notify
from shared.domain import journal
from shared.store import identities
from tests.contract.disturbed import Process
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
        "probing": [probing(4, "10.0.0.1", "critical"), probing(5, "10.0.0.9"), probing(6, "10.0.0.8", "critical")],
        "executable": [],
    }


def go_on(around: Surroundings, first: int = 20) -> None:
    """More of everything, and somebody gets the IP of a record that waits."""
    records = around.served.records
    around.served.identities |= {"10.0.0.9": 19, "10.0.0.2": 22}
    records["misuse"] = records["misuse"][1:] + [misuse(first, 7, "critical"), bad(first)]
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
    """All is known, and the identities are other ones that help nobody."""
    begin(around)
    around.poll()
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
        if int(twin.dump().get(("STATE", "STATE"), {}).get("projected", {"N": "0"})["N"]) > views[-1].totals[0]:
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
    assert seen.incidents == entry.incidents
    assert seen.report in (views[0].report, views[-1].report)
    if seen.report != views[0].report:
        assert seen.totals == views[-1].totals
    around.follow()
    assert Counter(each["id"] for each in around.followed) == Counter(entry.incidents.keys())


def check_the_end(around: Surroundings, undisturbed_end: Surroundings, *, deaths: int) -> None:
    """Everything is there once, as if nobody had died; people were told of it, of a message's worth twice."""
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
    idle = Process()
    writes = len(around.sns.published)
    before = around.dump()
    assert around.poll(idle)
    after = around.dump()
    changed = {key for key in after if after[key] != before.get(key)}
    assert changed == {("STATE", "STATE")}
    assert len(around.sns.published) == writes


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
        check_the_end(around, end, deaths=1)
    print(f"{scenario.__name__}: a poll of {len(process.calls)} calls, killed at each of {moments} moments")
