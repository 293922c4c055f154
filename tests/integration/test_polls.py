"""Polls that find no time, that overtake each other, and what they then report."""

from collections.abc import Callable
from typing import Any

import pytest

from functions.poller.credentials import Credentials
from functions.poller.poll import Poller
from functions.poller.upstream import Upstream
from local.simulator import Simulator, SimulatorSettings, faults, serve
from shared.domain.incident import INCIDENT_TYPES
from shared.domain.retention import Retention
from shared.store import entries
from shared.store.entries import read_entry
from shared.store.incidents import FIRST, Span, read_incidents
from shared.store.state import read_state
from shared.store.table import Table
from tests.fakes import Clock

ALL = 10 * len(INCIDENT_TYPES)
BEGINNING = 1_795_413_600.0


class FixedCredentials:
    """The simulator's, without a secret."""

    def current(self) -> Credentials:
        return Credentials("simulator", "simulator")

    def after_refusal(self, refused: Credentials) -> None:
        return None


@pytest.fixture
def simulator() -> Simulator:
    moment = Simulator().clock() - 3600
    return Simulator(SimulatorSettings(seed=6, records_per_type=10, identities=200), clock=lambda: moment)


@pytest.fixture
def make_poller(table: Table, simulator: Simulator) -> Any:
    """Makes pollers on one table, each with a clock of its own."""
    with serve(simulator) as base_url:

        def make(clock: Callable[[], float] = simulator.clock, **options: Any) -> Poller:
            upstream = Upstream(base_url, credentials=FixedCredentials(), sleep=lambda _: None)
            return Poller(
                table=table, upstream=upstream, retention=Retention(), concurrency=4, clock=clock, **options
            )

        yield make


def stored_ids(table: Table) -> list[str]:
    projected = read_state(table).projected
    rows, _ = read_incidents(table, Span(FIRST), after=None, snapshot=projected, oldest_kept=None, limit=None)
    return [row.json.split('"')[3] for row in rows]


def test_a_poll_without_time_goes_on_in_the_next(
    make_poller: Any, table: Table, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the time is up, what is committed is reported and the rest is left to the next polls: nothing is
    lost, nothing starts over, and no digest says that it is all there.
    """
    monkeypatch.setattr("shared.domain.journal.MAX_ENTRY_RECORDS", 15)
    start = simulator.clock()
    summaries = [make_poller(lambda: start + minute).poll(seconds_left=15.0) for minute in range(5)]  # noqa: B023 - called within the turn that made it
    assert [each.outcome for each in summaries] == ["succeeded"] * 5
    assert [each.new_incidents for each in summaries] == [15, 15, 15, 15, 10]
    assert [each.postponed for each in summaries] == [55, 40, 25, 10, 0]
    assert read_state(table).polls == 5
    assert len(set(stored_ids(table))) == len(stored_ids(table)) == ALL
    assert make_poller().poll(seconds_left=240).new_incidents == 0


def test_a_poll_that_is_overtaken_says_what_it_had_committed(
    make_poller: Any, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another poll commits between two entries of this one: the first stays and is told, the rest is thrown
    away, and the next poll brings it.
    """
    monkeypatch.setattr("shared.domain.journal.MAX_ENTRY_RECORDS", 40)
    others: list[Any] = []

    def overtake() -> bool:
        if not others:
            others.append(None)
            others[0] = make_poller().poll(seconds_left=240)
        return True

    poller = make_poller()
    real = entries.commit_entry

    def commit_then_be_overtaken(*arguments: Any) -> None:
        real(*arguments)
        if arguments[1].sequence == 1:
            monkeypatch.setattr("shared.store.commit.commit_entry", real)
            overtake()

    monkeypatch.setattr("shared.store.commit.commit_entry", commit_then_be_overtaken)
    summary = poller.poll(seconds_left=240)
    assert (summary.outcome, summary.sequence, summary.new_incidents) == ("superseded", 1, 40)
    assert (others[0].outcome, others[0].new_incidents) == ("succeeded", 30)
    assert len(set(stored_ids(table))) == len(stored_ids(table)) == ALL
    assert read_entry(table, 3) is None
    assert read_state(table).totals.incidents == ALL


def test_an_overlapping_failure_does_not_turn_health_back(
    make_poller: Any, table: Table, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll that began on old state and failed must not hide that another one succeeded meanwhile."""
    start = simulator.clock()
    make_poller().poll(seconds_left=240)
    real = Upstream.fetch
    calls: list[str] = []

    def fetch_after_another_poll(self: Upstream, source: str, *, deadline: float) -> Any:
        monkeypatch.setattr(Upstream, "fetch", real)
        calls.append(source)
        make_poller(lambda: start + 300).poll(seconds_left=240)
        for kind in INCIDENT_TYPES:
            simulator.faults.add(f"/incidents/{kind}/", faults.status(404), times=None)
        return real(self, source, deadline=deadline)

    monkeypatch.setattr(Upstream, "fetch", fetch_after_another_poll)
    failing = make_poller(lambda: start + 301)
    failing._concurrency = 1
    assert failing.poll(seconds_left=240).outcome == "failed"
    assert calls == [INCIDENT_TYPES[0]]
    report = read_state(table).report
    assert (report.attempted_at, report.last_success_at) == (start + 301, start + 300)
    assert report.consecutive_failures == 1
    for kind in INCIDENT_TYPES:
        assert (report.sources[kind].state, report.sources[kind].last_success_at) == ("stale", start + 300)


def test_a_crash_is_noted_and_raised(make_poller: Any, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails on our side is told in the state, without a word of what was in hand, and to Lambda."""
    make_poller().poll(seconds_left=240)

    def crash(*_: Any, **__: Any) -> None:
        raise OSError("an employee's data")

    monkeypatch.setattr("functions.poller.poll.known_ids", crash)
    with pytest.raises(OSError, match="data"):
        make_poller(lambda: Simulator().clock() + 5).poll(seconds_left=240)
    state = read_state(table)
    assert (state.polls, state.successful_updates, state.failed_updates) == (2, 1, 1)
    error = state.report.last_error
    assert error is not None
    assert (error.error_class, error.message) == ("internal", "the poll ended with OSError")


def test_a_first_poll_in_portions_never_starts_over(
    make_history: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far more records than there is time for: each poll takes some of them in, in the order of time, and
    looks up only what those before it left; in the end each is there once and nothing is looked up any more.
    """
    monkeypatch.setattr("shared.domain.journal.MAX_ENTRY_RECORDS", 50)
    history = make_history(clock=Clock(BEGINNING), priorities=())
    total = 3_000
    history.upstream.records = {
        kind: [
            f'{{"employee_id":{number},"priority":"low","timestamp":{BEGINNING - 600_000 + 200 * number}}}'
            for number in range(offset, total, 2)
        ]
        for offset, kind in enumerate(("misuse", "unauthorized"))
    }
    # Half a minute for each entry: there is time for eight.
    history.monotonic = lambda: (
        30.0
        * sum(
            name == "PutItem" and request["Item"]["pk"]["S"] == "JOURNAL"
            for name, request in history.client.requests
        )
    )
    looked_up, taken_in = [], []
    for _ in range(40):
        history.clock.now += 300
        before = len(history.client.requests)
        summary = history.poll()
        taken_in.append(summary.new_incidents)
        looked_up.append(
            sum(
                key["pk"]["S"].startswith("ID#")
                for name, request in history.client.requests[before:]
                for key in (request["Keys"] if name == "BatchGetItem" else ())
            )
        )
        if not summary.new_incidents:
            break
    assert sum(taken_in) == total
    assert taken_in == [400] * 7 + [200, 0]
    assert taken_in[-1] == looked_up[-1] == 0
    # At most the hours that a portion ended in are looked up twice.
    left = [total - sum(taken_in[:poll]) for poll in range(len(taken_in))]
    assert all(asked <= rest + 2 * 36 for asked, rest in zip(looked_up, left, strict=True))
    numbers = [int(row["employee_id"]) for row in history.attributed()]
    assert numbers == list(range(total))
