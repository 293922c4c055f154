"""A table that throttles, fails, is slow to answer or takes things in part: polls wait and go on, or end and
lose nothing. All through real boto3 clients with their own retries.
"""

import random
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from functions.poller import notify
from shared.domain import journal
from shared.store.table import ThrottledError
from tests.contract.disturbed import Process
from tests.integration.surroundings import (
    Surroundings,
    bad,
    check_any_moment,
    check_complete,
    check_settled,
    misuse,
    probing,
    surround,
)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that botocore makes, without making them."""
    made: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=made.append))
    return made


@pytest.fixture
def surroundings(
    monkeypatch: pytest.MonkeyPatch, make_reader: Callable[..., Any], waits: list[float]
) -> Surroundings:
    """An empty table."""
    return surround(monkeypatch, make_reader)


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
    end = check_settled(surroundings)
    check_complete(surroundings, surroundings.served)
    assert Counter(surroundings.told()).keys() >= {
        each["id"] for each in end.incidents.values() if each["priority"] == "critical"
    }
    assert set(Counter(surroundings.told()).values()) == {1}
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
