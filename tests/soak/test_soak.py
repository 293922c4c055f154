"""Two weeks of the soak, and proof that it finds what it is there for."""

import random
import re
from collections.abc import Callable
from copy import replace
from pathlib import Path
from typing import Any

import pytest

from functions.poller import decide, poll, upstream
from functions.poller.poll import Poller
from shared.domain import journal
from shared.domain.retention import Retention
from shared.domain.window import digest_ids
from shared.store import projection
from shared.store.table import Table
from tests.soak.aging_dynamodb import AgingDynamoDB
from tests.soak.describe import describe
from tests.soak.model import BrokenPromiseError
from tests.soak.rolling_upstream import DAY, ERROR_CLASSES, RollingUpstream
from tests.soak.soak import Settings, Soak

TWO_WEEKS = Settings(
    days=14,
    seed=4,
    records=60,
    identities=300,
    retention_days=4,
    checkpoint_days=4,
    outage_day=6,
    outage_days=4.5,
    trouble=3,
)
THREE_DAYS = Settings(
    days=3, records=40, identities=100, retention_days=1, checkpoint_days=3, outage_day=30, trouble=0.1
)


def test_nothing_is_lost_or_doubled_in_two_weeks_of_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through crashes at any write, storms, overlapping polls, failing sources and outages: each incident
    that was taken is stored once and under its employee, the feed tells it once and in order, and the
    table holds what retention predicts.
    """
    # Small windows make small polls: these have several entries all the same, some of them too many.
    monkeypatch.setattr(journal, "MAX_ENTRY_RECORDS", 50)
    soak = Soak(TWO_WEEKS)
    report = soak.run()
    counts, injected = soak.model.counts, " ".join(report.injected)
    assert len(report.checkpoints) == 3
    assert report.polls.keys() >= {"succeeded", "superseded", "died", "raised", "not run"}
    for kind in ("died before", "died after", "overtaken", "refused"):
        assert kind in injected
    assert min(counts[each] for each in ("attributed late", "rejected", "lost in the long outage")) > 0
    assert soak.database.deleted.keys() >= {"INCIDENTS", "ID#", "UNATTRIBUTED", "REJECTED"}
    told = describe(soak)
    assert f"{counts['attributed']:,}" in told
    assert all(kind in told for kind in report.checkpoints[0].held)


def test_the_same_seed_gives_the_same_run() -> None:
    """What a run has found can be found again."""
    runs = [Soak(THREE_DAYS) for _ in range(2)]
    for soak in runs:
        soak.run()
    one, other = runs
    assert one.report.polls == other.report.polls
    assert one.report.injected == other.report.injected
    assert one.model.feed == other.model.feed
    assert one.model.feed


def test_every_error_class_of_the_upstream_is_injected() -> None:
    """A class that the poller learns one day is one that a source fails with here."""
    source = Path(upstream.__file__).read_text("utf-8")
    raised = set(re.findall(r'UpstreamError\(\s*"(\w+)"', source))
    raised |= set(re.findall(r'error_class = "(\w+)" if .* else "(\w+)"', source)[0])
    assert set(ERROR_CLASSES) == raised


def test_windows_roll_by_number_and_by_age() -> None:
    """A window has its newest records in their order, of a week at most; what rolls out is told."""
    gone: list[Any] = []
    rolling = RollingUpstream(random.Random(5), records=60, identities=50, began=0)  # noqa: S311 - no secret
    rolling.gone = gone.append
    rolling.advance(20 * DAY)
    sizes = {kind: len(window) for kind, window in rolling.windows.items()}
    assert sizes.pop("other") < 60
    assert set(sizes.values()) == {60}
    for window in rolling.windows.values():
        times = [record.at for _, record in window]
        assert times == sorted(times)
        assert times[0] >= 13 * DAY
    assert len(gone) > 60


def test_what_expires_is_deleted_late() -> None:
    """As by DynamoDB: not before its time, some after two days, and all in the end; renewed ones stay."""
    database = AgingDynamoDB(random.Random(5))  # noqa: S311 - no secret
    database.load(_expiring(f"ID#{number}", 1000) for number in range(200))
    database.load([_expiring("ID#0", 10 * DAY), {"pk": {"S": "STATE"}, "sk": {"S": "STATE"}}])
    left = {}
    for moment in (999, 1000 + DAY, 1000 + 2 * DAY, 1000 + 5 * DAY, 16 * DAY):
        database.delete_expired(moment)
        left[moment] = len(database.dump())
    assert next(iter(left.values())) == 201
    assert 2 < left[1000 + 2 * DAY] < left[1000 + DAY] < 201
    assert list(left.values())[3:] == [2, 1]
    assert database.deleted == {"ID#": 200}
    assert database._partitions.keys() == {"STATE"}


def _expiring(pk: str, expires_at: int) -> Any:
    return {"pk": {"S": pk}, "sk": {"S": "ID"}, "expires_at": {"N": str(expires_at)}}


def lose_one(patch: pytest.MonkeyPatch) -> None:
    """Some new records are taken for known ones."""
    known = poll.known_ids
    patch.setattr(poll, "known_ids", lambda table, ids: known(table, ids) | {i for i in ids if i[0] == "7"})


def lose_a_write(patch: pytest.MonkeyPatch) -> None:
    """Some incidents get into the journal and are not laid out."""
    put_many = Table.put_many

    def put_most(self: Table, items: Any) -> None:
        put_many(self, (each for each in items if not each["sk"]["S"].endswith("7")))

    patch.setattr(Table, "put_many", put_most)


def double(patch: pytest.MonkeyPatch) -> None:
    """What is known is taken for new."""
    patch.setattr(poll, "known_ids", lambda table, ids: set())


def mistake_the_employee(patch: pytest.MonkeyPatch) -> None:
    """Who has an IP is looked up wrongly."""
    attribute = decide.attribute
    patch.setattr(
        decide,
        "attribute",
        lambda incident, identities: attribute(incident, identities) and (incident.employee_id or "1"),
    )


def leave_waiting(patch: pytest.MonkeyPatch) -> None:
    """Those that wait are not tried again."""
    patch.setattr(poll, "read_open", lambda table: ())


def overwrite(patch: pytest.MonkeyPatch) -> None:
    """An entry is put over another poll's, which came first."""
    put = Table.put

    def put_over(self: Table, item: Any, **conditions: Any) -> bool:
        if item["pk"]["S"] == "JOURNAL":
            conditions = {"condition": "attribute_not_exists(nothing)"}
        return put(self, item, **conditions)

    patch.setattr(Table, "put", put_over)


def leave_undone(patch: pytest.MonkeyPatch) -> None:
    """What a poll committed before it died is not laid out by the next one."""
    patch.setattr(poll, "project_committed", lambda table, retention, state: state)


def trust_too_early(patch: pytest.MonkeyPatch) -> None:
    """A window's digests are stored whether or not its records went in."""
    store = Poller._store_digests

    def store_all(self: Poller, taken: Any, look_ups: Any, commit: Any) -> None:
        store(self, taken, {kind: replace(each, new_ids=set()) for kind, each in look_ups.items()}, commit)

    decide_and_commit = Poller._decide_and_commit

    def store_first(self: Poller, attempt: Any, state: Any, taken: Any, new_ids: set[str]) -> Any:
        for kind, window in taken.windows.items():
            digests = {hour: digest_ids(ids) for hour, ids in window.ids_by_hour().items()}
            poll.store_digests(self._table, kind, digests, sequence=state.projected)
        return decide_and_commit(self, attempt, state, taken, new_ids)

    patch.setattr(Poller, "_store_digests", store_all)
    patch.setattr(Poller, "_decide_and_commit", store_first)


def keep_forever(patch: pytest.MonkeyPatch) -> None:
    """Incidents do not expire."""
    patch.setattr(projection, "expiry", lambda retention, moment: {})


def drop_too_early(patch: pytest.MonkeyPatch) -> None:
    """Everything expires before its time."""
    patch.setattr(Retention, "expires_at", lambda self, moment: int(moment) + DAY // 2)


def hoard(patch: pytest.MonkeyPatch) -> None:
    """Each poll leaves something behind in a module."""
    patch.setattr(poll, "hoard", [], raising=False)
    make_report = poll.make_report

    def make_and_keep(*args: Any, **options: Any) -> Any:
        report = make_report(*args, **options)
        poll.hoard.append(report)  # type: ignore[attr-defined]  # set above
        return report

    patch.setattr(poll, "make_report", make_and_keep)


@pytest.mark.parametrize(
    ("sabotage", "found"),
    [
        (lose_one, "records were taken and are not in"),
        (lose_a_write, "the walk at .* lacks"),
        (double, "is in twice"),
        (mistake_the_employee, "and not of"),
        (leave_waiting, "wait, and their IP is known"),
        (overwrite, "does not follow"),
        (leave_undone, "no_data_yet"),
        (trust_too_early, "records were taken and are not in"),
        (keep_forever, "incidents: .* are there, and must not"),
        (drop_too_early, "is in twice"),
        (hoard, "polls made of"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_poller_is_found(
    monkeypatch: pytest.MonkeyPatch, sabotage: Callable[[pytest.MonkeyPatch], None], found: str
) -> None:
    """Each promise that the soak watches over, broken in the service's code, ends the run with its name."""
    sabotage(monkeypatch)
    # Nothing is left over before retention, grace and the lateness of deletion have passed.
    days = 9 if sabotage is keep_forever else 3
    # What waits must be found while it may still be attributed.
    retention_days = 3 if sabotage is leave_waiting else 1
    soak = Soak(replace(THREE_DAYS, days=days, retention_days=retention_days, trouble=6))
    with pytest.raises(BrokenPromiseError, match=f"^seed 1, day .*({found})"):
        soak.run()
