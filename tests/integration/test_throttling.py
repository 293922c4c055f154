"""A table that throttles, fails, is slow to answer or takes things in part: polls wait and go on, or end and
lose nothing. All through real boto3 clients with their own retries.
"""

import itertools
import random
import statistics
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from functions.poller import notify
from functions.poller.summary import PollSummary
from shared.domain import journal
from shared.store.table import Table, ThrottledError
from tests.contract.disturbed import Process
from tests.integration.surroundings import (
    Company,
    Surroundings,
    bad,
    check_any_moment,
    check_complete,
    check_settled,
    check_told,
    misuse,
    probing,
    surround,
)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that botocore and the store make, without making them."""
    made: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=made.append))
    return made


@pytest.fixture
def surroundings(
    monkeypatch: pytest.MonkeyPatch, make_reader: Callable[..., Any], waits: list[float]
) -> Surroundings:
    """An empty table."""
    return surround(monkeypatch, make_reader, sleep=waits.append)


def go_on(around: Surroundings, number: int) -> None:
    """Something of everything; each time what waited the last time is found, and an IP changes hands."""
    records = around.served.records
    around.served.identities |= {f"10.1.0.{number - 1}": 1000 + number, "10.0.0.1": number}
    records.setdefault("misuse", []).extend([misuse(10 * number, number, "critical"), bad(number)])
    records.setdefault("probing", []).extend(
        [probing(10 * number + 1, "10.0.0.1"), probing(10 * number + 2, f"10.1.0.{number}", "critical")]
    )


def poll(around: Surroundings, process: Process, *, later: float = 300) -> str:
    """What became of a poll: its outcome, or how it ended otherwise."""
    try:
        summary = around.poll(process, later=later)
    except (ClientError, BotoCoreError, ThrottledError) as error:
        return type(error).__name__
    return summary.outcome if summary else "died"


@pytest.mark.parametrize(("seed", "storm"), [(1, 0.1), (2, 0.3), (3, 0.5), (4, 0.8)])
def test_polls_in_a_storm(
    surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch, seed: int, storm: float
) -> None:
    """Requests are throttled, broken and lost at random, and some arrive twice: readers never see half of a
    poll, polls that fail leave the rest to the next ones, and in the end all is there once.
    """
    monkeypatch.setattr(journal, "MAX_ENTRY_RECORDS", 4)
    monkeypatch.setattr(notify, "MAX_INCIDENTS", 1)
    weather = surroundings.exposed(random.Random(seed), storm=storm, late=0.3)  # noqa: S311 - no secret
    outcomes: Counter[str] = Counter()
    for number in range(1, 16):
        go_on(surroundings, number)
        outcomes[poll(surroundings, Process(whole_batches=True))] += 1
        check_any_moment(surroundings)
        surroundings.follow()
    weather.clear()
    assert poll(surroundings, Process()) == "succeeded"
    check_settled(surroundings)
    check_complete(surroundings, surroundings.served)
    # A poll that fails after the topic took a message repeats it as a dead one does.
    check_told(surroundings, deaths=outcomes.total() - outcomes["succeeded"])
    print(f"storm {storm}: {dict(outcomes)}, {dict(Counter(weather.seen))}")
    assert len(weather.seen) > 40


def test_any_answer_may_get_lost(surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request takes effect, its answer does not come, and the client repeats it: whichever it is, the poll
    goes on as if nothing had been, nothing is counted or told twice, and nothing left to the next poll.
    """
    monkeypatch.setattr(notify, "MAX_INCIDENTS", 1)
    go_on(surroundings, 1)
    assert poll(surroundings, Process()) == "succeeded"
    go_on(surroundings, 2)
    undisturbed = surroundings.copy()
    assert poll(undisturbed, Process()) == "succeeded"
    wanted = undisturbed.view()
    for lost in range(1, 1000):
        around = surroundings.copy()
        weather = around.exposed(random.Random(lost), lost=lost)  # noqa: S311 - no secret
        assert poll(around, Process(whole_batches=True)) == "succeeded"
        view = check_settled(around)
        assert (view.incidents, view.totals, view.report) == (wanted.incidents, wanted.totals, wanted.report)
        assert around.told() == undisturbed.told(), lost
        if weather.requests < lost:
            break
    print(f"lost the answer of each of {lost - 1} requests")
    assert lost > 30


@pytest.mark.parametrize("seed", range(4))
def test_polls_die_in_a_storm(surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Killed at any moment while the table throttles and loses answers: until another poll gets through
    readers have what was before or after an entry, and then everything, once.
    """
    monkeypatch.setattr(journal, "MAX_ENTRY_RECORDS", 4)
    dice = random.Random(seed)  # noqa: S311 - no secret
    go_on(surroundings, 1)
    weather = surroundings.exposed(dice, storm=0.15, late=0.2)
    deaths = 0
    for number in range(2, 16):
        go_on(surroundings, number)
        process = Process(at=dice.randint(1, 80), order=dice)
        poll(surroundings, process)
        deaths += process.died
        check_any_moment(surroundings)
        before = surroundings.view().incidents
        surroundings.follow()
        assert Counter(each["id"] for each in surroundings.followed) == Counter(before.keys())
    weather.clear()
    assert poll(surroundings, Process()) == "succeeded"
    check_settled(surroundings)
    check_complete(surroundings, surroundings.served)
    check_told(surroundings, deaths=deaths)
    assert deaths > 5
    print(f"{deaths} deaths, {dict(Counter(weather.seen))}")


@pytest.mark.parametrize("seed", range(6))
def test_many_polls_in_a_storm(
    surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Two to eight polls in any order, some of which die, while the table throttles, fails, answers late or
    not at all, and takes batches in part: in the end all is there exactly once.
    """
    monkeypatch.setattr(journal, "MAX_ENTRY_RECORDS", [3, 1000][seed % 2])
    dice = random.Random(seed)  # noqa: S311 - no secret
    company = Company(surroundings, dice)
    weather = surroundings.exposed(dice)
    deaths, outcomes = 0, Counter[str]()

    for _ in range(4):
        company.goes_on()
        weather.storm, weather.late = dice.choice([0.05, 0.15, 0.4]), 0.2
        ends = [end for _, end in company.polls_at_once(whole_batches=True)]
        outcomes.update(end.outcome if isinstance(end, PollSummary) else type(end).__name__ for end in ends)
        deaths += sum(not isinstance(end, PollSummary) for end in ends)
        check_any_moment(surroundings)
        surroundings.follow()
        weather.clear()
        company.settles(deaths=deaths)
    print(f"{dict(outcomes)}, {dict(Counter(weather.seen))}")
    assert outcomes["succeeded"]


# Which requests get no other answer than that there were too many.
CLOSED: dict[str, Callable[[str, str], bool]] = {
    "writes of incidents": lambda operation, body: operation == "BatchWriteItem" and "INCIDENTS" in body,
    "look-ups of ids": lambda operation, body: operation == "BatchGetItem",
    "the journal": lambda operation, body: operation == "PutItem" and "JOURNAL" in body,
    "the state": lambda operation, body: operation == "UpdateItem" and "STATE" in body,
    "everything": lambda operation, body: True,
}


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("in_parts", [False, True], ids=["refused", "handed back"])
def test_throttling_that_never_ends(
    surroundings: Surroundings, waits: list[float], closed: str, in_parts: bool
) -> None:
    """The poll fails with what DynamoDB said, and says so in health unless that can't be written either;
    readers have what they had; the next poll that gets through brings everything.
    """
    go_on(surroundings, 1)
    assert poll(surroundings, Process()) == "succeeded"
    before = surroundings.view()
    go_on(surroundings, 2)
    weather = surroundings.exposed(random.Random(1), closed=CLOSED[closed], hands_back=in_parts)  # noqa: S311 - no secret
    failures = [poll(surroundings, Process(whole_batches=True)) for _ in range(3)]
    batches = closed in {"writes of incidents", "look-ups of ids"}
    error = "ThrottledError" if in_parts and batches else "ProvisionedThroughputExceededException"
    assert failures == [error] * 3
    assert waits
    check_any_moment(surroundings)
    now = surroundings.view()
    assert now.incidents == before.incidents
    assert now.totals == before.totals
    if closed in {"the state", "everything"}:
        assert now.report == before.report
    else:
        assert now.report["consecutive_failures"] == now.report["failed_updates"] == 3
        assert now.report["last_error"]["class"] == "internal"
        assert error in now.report["last_error"]["message"]
        assert now.report["last_success_at"] == before.report["last_success_at"]
    weather.clear()
    assert poll(surroundings, Process()) == "succeeded"
    end = check_settled(surroundings)
    check_complete(surroundings, surroundings.served)
    check_told(surroundings)
    assert end.health["status"] == "pass"
    assert end.report["consecutive_failures"] == 0


def test_waits_grow_and_are_random(
    surroundings: Surroundings, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is throttled waits, longer each time, and never as long as the others who were: both where a
    request is refused and where parts of a batch are handed back.
    """
    random.seed(5)
    weather = surroundings.exposed(random.Random(1), closed=lambda operation, body: True)  # noqa: S311 - no secret
    client = surroundings.clients["dynamodb"]
    refused: list[list[float]] = [[] for _ in range(20)]
    # More at once would use up what botocore allows a client for retries.
    for each in refused:
        table = Table("incidents", client=client)
        waits.clear()
        with pytest.raises(ClientError, match="ProvisionedThroughputExceededException"):
            table.get(("STATE", "STATE"))
        each += waits
    check_waits(refused, attempts=5)

    handed_back: list[list[float]] = [[] for _ in range(60)]
    weather.hands_back = True
    for each in handed_back:
        table = Table("incidents", client=client, sleep=each.append)
        with pytest.raises(ThrottledError):
            table.put_many([{"pk": {"S": "INCIDENTS"}, "sk": {"S": "1"}}])
    check_waits(handed_back, attempts=10)
    assert not surroundings.dump()


def check_waits(rows: list[list[float]], *, attempts: int) -> None:
    """The pauses of callers, a row each: one before each attempt but the first, of which later ones are
    longer in the mean until they are capped, and no two alike.
    """
    columns = list(zip(*rows, strict=True))
    assert len(columns) == attempts - 1
    assert all(len(set(column)) == len(column) for column in columns)
    means = [statistics.mean(column) for column in columns]
    assert all(later > 1.4 * earlier for earlier, later in itertools.pairwise(means[:4]))
    assert min(means[4:], default=means[-1]) > means[2]
    assert all(min(column) < 0.2 * max(column) for column in columns)
    assert max(map(max, columns)) <= 20


def test_notifications_that_are_throttled_do_not_fail_the_poll(surroundings: Surroundings) -> None:
    """What is new is stored and reported when people are to be told: if the table takes no note of that, the
    poll has succeeded all the same, says what failed, and a later one tells.
    """
    go_on(surroundings, 1)
    assert poll(surroundings, Process()) == "succeeded"
    told = surroundings.told()
    go_on(surroundings, 2)
    weather = surroundings.exposed(
        random.Random(1),  # noqa: S311 - no secret
        closed=lambda operation, body: operation == "UpdateItem" and "NOTIFIED" in body,
    )
    summary = surroundings.poll()
    assert summary
    assert (summary.outcome, summary.notified) == ("succeeded", 0)
    assert summary.notification_error == "ProvisionedThroughputExceededException"
    assert surroundings.told() == told
    report = surroundings.view().report
    assert (report["polls"], report["failed_updates"]) == (2, 0)
    weather.clear()
    assert poll(surroundings, Process()) == "succeeded"
    check_settled(surroundings)
    check_told(surroundings)
    assert len(surroundings.told()) == len(told) + 2
