"""The journal takes each sequence once; the state moves on by one, and its reports only forward in time."""

import copy
import json
import threading
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from shared.domain.journal import Entry, Totals
from shared.domain.poll_report import PollError, PollReport, SourceReport
from shared.domain.retention import Retention
from shared.store.entries import CommitConflictError, commit_entry, read_entry
from shared.store.projection import project_committed
from shared.store.state import (
    State,
    advance_state,
    read_state,
    record_attempt,
    record_attributed_with,
    record_report,
)
from shared.store.table import Table
from tests.contract.disturbed import SteppingClient
from tests.contract.model import EVERY_KIND, attributed, make_entries, unattributed

FOREVER = Retention(0)


class TestEntries:
    def test_an_entry_comes_back_as_it_was_committed(self, store: Table) -> None:
        """Every kind of decision, its exact digits and its order survive the journal."""
        entries = make_entries(*EVERY_KIND)
        for entry in entries:
            commit_entry(store, entry, FOREVER)
        assert [read_entry(store, number) for number in (1, 2, 3)] == entries
        assert read_entry(store, 4) is None
        assert read_entry(store, 0) is None

    def test_an_empty_entry_comes_back(self, store: Table) -> None:
        """An upstream without any incident is a commit too."""
        (entry,) = make_entries(())
        commit_entry(store, entry, FOREVER)
        assert read_entry(store, 1) == entry

    def test_the_largest_entry_fits_in(self, store: Table) -> None:
        """An entry of 1,000 decisions, as many as one may hold, is one item."""
        (entry,) = make_entries([attributed(number, str(number)) for number in range(1_000)])
        commit_entry(store, entry, FOREVER)
        assert read_entry(store, 1) == entry

    def test_a_sequence_taken_by_another_poll_is_a_conflict(self, store: Table, dump: Any) -> None:
        """The second poll to commit at a sequence changes nothing and is told so."""
        (first,), (second,) = make_entries([attributed(1)]), make_entries([attributed(2)], poll_id="other")
        commit_entry(store, first, FOREVER)
        before = dump(store)
        with pytest.raises(CommitConflictError, match="1"):
            commit_entry(store, second, FOREVER)
        assert dump(store) == before
        assert read_entry(store, 1) == first

    def test_the_own_entry_there_is_no_conflict(self, store: Table, dump: Any) -> None:
        """A poll whose answer got lost finds its own entry at the sequence and goes on."""
        (entry,) = make_entries([attributed(1)])
        commit_entry(store, entry, FOREVER)
        before = dump(store)
        commit_entry(store, entry, FOREVER)
        assert dump(store) == before

    def test_a_lost_answer_is_made_good_by_the_retry(self, store: Table) -> None:
        """The write took effect, the answer did not come, botocore sent it again: the commit succeeds."""
        (entry,) = make_entries([attributed(1)])

        class RetryingClient(SteppingClient):
            def put_item(self, **request: Any) -> Any:
                self._client.put_item(**request)  # its answer gets lost
                return super().put_item(**request)

        client = RetryingClient(store._client)
        commit_entry(Table(store.name, client=client), entry, FOREVER)  # type: ignore[arg-type]  # a stand-in for the client
        assert client.steps == 1
        assert read_entry(store, 1) == entry

    def test_a_commit_that_can_not_be_said_to_have_happened_is_an_error(self, store: Table) -> None:
        """When no answer comes at all the poll ends; what it committed is laid out by the next."""
        (entry,) = make_entries([attributed(1)])

        def lose(step: int) -> None:
            raise ReadTimeoutError(endpoint_url="http://127.0.0.1")

        client = SteppingClient(store._client, after=lose)
        with pytest.raises(ReadTimeoutError):
            commit_entry(Table(store.name, client=client), entry, FOREVER)  # type: ignore[arg-type]  # a stand-in for the client
        assert project_committed(store, FOREVER).projected == 1

    @pytest.mark.ministack_only(reason="moto checks a condition and writes in two steps; threads get between")
    def test_of_many_polls_at_once_one_commits(self, store: Table) -> None:
        """Eight polls commit at the same sequence at the same moment: one is in, seven are told."""
        entries = [make_entries([attributed(number)], poll_id=f"p{number}")[0] for number in range(8)]
        gate = threading.Barrier(8)
        outcomes: dict[str, bool] = {}

        def commit(entry: Entry) -> None:
            gate.wait(10)
            try:
                commit_entry(store, entry, FOREVER)
                outcomes[entry.poll_id] = True
            except CommitConflictError:
                outcomes[entry.poll_id] = False

        threads = [threading.Thread(target=commit, args=(entry,)) for entry in entries]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        there = read_entry(store, 1)
        assert there is not None
        assert outcomes == {entry.poll_id: entry.poll_id == there.poll_id for entry in entries}

    def test_unknown_attributes_of_an_entry_are_tolerated(self, store: Table, dump: Any) -> None:
        """A later version of the code may have added something: this one reads what it knows."""
        (entry,) = make_entries([attributed(1)])
        commit_entry(store, entry, FOREVER)
        (item,) = dump(store).values()
        store.put_many([{**item, "of_tomorrow": {"S": "x"}}])
        assert read_entry(store, 1) == entry


def make_report(attempted_at: float, *, failed: bool = False) -> PollReport:
    error = PollError("timeout", "no answer", 504, attempted_at) if failed else None
    source = SourceReport("stale" if failed else "fresh", 300, 2, 1, 1750, 2, attempted_at - 1, error)
    return PollReport(
        attempted_at=attempted_at,
        duration_ms=1234,
        last_success_at=None if failed else attempted_at,
        consecutive_failures=int(failed),
        last_error=error,
        identities_digest="ab" * 16,
        sources={**PollReport().sources, "denial": source},
    )


class TestState:
    def test_an_empty_table_has_the_empty_state(self, store: Table) -> None:
        """Before the first poll: nothing projected, nothing counted, no source ever taken."""
        assert read_state(store) == State(0, "", Totals(0, 0), "", 0, 0, "", 0, 0, 0, PollReport())

    def test_it_moves_on_by_one(self, store: Table) -> None:
        """Only the entry after the last one moves the state; all others leave it untouched."""
        entries = make_entries([attributed(1)], [unattributed(2)], [attributed(3)])
        for late in entries[1:]:
            assert advance_state(store, late) is False
        assert read_state(store) == State()
        for number, entry in enumerate(entries, start=1):
            assert advance_state(store, entry) is True
            state = read_state(store)
            assert state.projected == number
            assert (state.committed_at, state.totals) == (entry.committed_at, entry.totals)
            assert state.attributed_with == f"digest-{number}"
            for other in entries:
                if other.sequence != number + 1:
                    assert advance_state(store, other) is False
            assert read_state(store) == state
        assert read_state(store).totals == Totals(incidents=2, unattributed=1)

    def test_it_starts_beside_the_reports(self, store: Table) -> None:
        """Polls that failed before there was any data leave the first entry its place."""
        (entry,) = make_entries([attributed(1)])
        record_attempt(store, make_report(1.0, failed=True))
        assert advance_state(store, entry) is True
        assert advance_state(store, entry) is False
        state = read_state(store)
        assert (state.projected, state.polls, state.failed_updates) == (1, 1, 1)

    def test_a_report_comes_back_as_it_was(self, store: Table) -> None:
        """Sources, errors and times are what the poll said."""
        for number, failed in enumerate((False, True)):
            report = make_report(1_700_000_000.123456 + number, failed=failed)
            assert record_attempt(store, report) is True
            assert read_state(store).report == report

    def test_attempts_are_counted_exactly(self, store: Table) -> None:
        """Each attempt counts once as a poll and once as what it was."""
        for number in range(1, 8):
            record_attempt(store, make_report(float(number), failed=number % 3 == 0))
        state = read_state(store)
        assert (state.polls, state.successful_updates, state.failed_updates) == (7, 5, 2)

    def test_an_attempt_written_again_counts_once(self, store: Table, dump: Any) -> None:
        """A client may send a report again: counters and report stay as the first left them."""
        report = make_report(1_700_000_000.1234567)
        assert record_attempt(store, report) is True
        before = dump(store)
        assert record_attempt(store, report) is False
        assert record_attempt(store, copy.replace(report, duration_ms=9)) is False
        assert dump(store) == before

    def test_reports_only_go_forward_in_time(self, store: Table, dump: Any) -> None:
        """A report of an earlier attempt changes nothing, be it earlier by microseconds only."""
        newest = 1_700_000_000.3
        record_attempt(store, make_report(newest))
        before = dump(store)
        for earlier in (newest - 0.000_002, newest - 1, newest - 3599):
            assert record_attempt(store, make_report(earlier, failed=True)) is False
        assert dump(store) == before
        assert record_attempt(store, make_report(newest + 0.000_002, failed=True)) is True
        assert read_state(store).failed_updates == 1

    def test_a_clock_that_was_ahead_stops_no_report(self, store: Table) -> None:
        """A report from days ahead, of a clock that was wrong, does not keep health as it is for days."""
        record_attempt(store, make_report(1_700_000_000.0 + 10 * 86_400))
        assert record_attempt(store, make_report(1_700_000_000.0, failed=True)) is True
        assert read_state(store).report.attempted_at == 1_700_000_000.0

    def test_a_report_stands_on_the_latest_one(self, store: Table) -> None:
        """One that was made on top of another that is no longer the latest is made anew; one is made even
        where the state has an attempt but, of an earlier version, no report.
        """
        record_attempt(store, make_report(1.0))
        seen: list[float] = []

        def make(latest: PollReport) -> PollReport:
            seen.append(latest.attempted_at)
            if latest.attempted_at == 1.0:
                record_attempt(store, make_report(2.0))
            return make_report(3.0, failed=True)

        assert record_report(store, make, attempted_at=3.0)[1] == make_report(3.0, failed=True)
        assert seen == [1.0, 2.0]
        assert record_report(store, make, attempted_at=3.0)[1] == make_report(3.0, failed=True)
        state = read_state(store)
        assert (state.polls, state.failed_updates) == (3, 1)
        store.put_many([{"pk": {"S": "STATE"}, "sk": {"S": "STATE"}, "attempt": {"N": "3"}}])
        record_report(store, lambda latest: make_report(4.0), attempted_at=4.0)
        assert read_state(store).report == make_report(4.0)

    @pytest.mark.ministack_only(reason="moto checks a condition and writes in two steps; threads get between")
    def test_reports_at_once_count_what_they_say(self, store: Table) -> None:
        """Whoever was told that the report was taken in is counted, nobody else; the latest stays."""
        gate = threading.Barrier(8)
        taken: list[float] = []

        def report(attempted_at: float) -> None:
            gate.wait(10)
            if record_attempt(store, make_report(attempted_at)):
                taken.append(attempted_at)

        threads = [threading.Thread(target=report, args=(float(number),)) for number in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        state = read_state(store)
        assert 8.0 in taken
        assert state.report.attempted_at == 8.0
        assert state.polls == state.successful_updates == len(taken)

    def test_reports_and_projection_leave_each_other_alone(self, store: Table) -> None:
        """Moving on keeps the report; reporting keeps what is projected."""
        first, second = make_entries([attributed(1)], [unattributed(2)])
        advance_state(store, first)
        record_attempt(store, make_report(5.0))
        advance_state(store, second)
        state = read_state(store)
        assert state.report == make_report(5.0)
        assert (state.projected, state.totals, state.polls) == (2, second.totals, 1)
        assert state.attributed_with == "digest-2"

    def test_attributed_with_belongs_to_a_sequence(self, store: Table, dump: Any) -> None:
        """What was tried at one sequence is not said of another: newer records were not tried."""
        assert record_attributed_with(store, "none-yet", at=0) is False
        first, second = make_entries([unattributed(1)], [unattributed(2)])
        advance_state(store, first)
        assert record_attributed_with(store, "tried", at=1) is True
        assert read_state(store).attributed_with == "tried"
        before = dump(store)
        for other in (0, 2, 10):
            assert record_attributed_with(store, "late", at=other) is False
        assert dump(store) == before
        advance_state(store, second)
        assert record_attributed_with(store, "late", at=1) is False
        assert read_state(store).attributed_with == "digest-2"

    def test_unknown_attributes_are_tolerated(self, store: Table, dump: Any) -> None:
        """During a deployment two versions share the table: what the other added is read over, and kept."""
        first, second = make_entries([attributed(1)], [attributed(2)])
        advance_state(store, first)
        record_attempt(store, make_report(5.0, failed=True))
        expected = read_state(store)
        (item,) = dump(store).values()
        report = json.loads(item["report"]["S"])
        report["of_tomorrow"] = report["last_error"]["of_tomorrow"] = 1
        report["sources"]["of_tomorrow"] = {"state": "fresh"}
        report["sources"]["denial"]["of_tomorrow"] = {"x": 1}
        store.put_many(
            [{**item, "report": {"S": json.dumps(report)}, "of_tomorrow": {"M": {"x": {"N": "1"}}}}]
        )
        assert read_state(store) == expected
        assert advance_state(store, second) is True
        assert record_attempt(store, make_report(6.0)) is True
        assert dump(store)["STATE", "STATE"]["of_tomorrow"] == {"M": {"x": {"N": "1"}}}

    @pytest.mark.parametrize("attribute", ["totals", "attributed_with", "polls", "report", "committed_at"])
    def test_missing_attributes_are_those_of_the_empty_state(
        self, store: Table, dump: Any, attribute: str
    ) -> None:
        """An earlier version may not have written one yet."""
        (entry,) = make_entries([attributed(1)])
        advance_state(store, entry)
        record_attempt(store, make_report(5.0))
        expected = copy.replace(read_state(store), **{attribute: getattr(State(), attribute)})
        (item,) = dump(store).values()
        store.put_many([{name: value for name, value in item.items() if name != attribute}])
        assert read_state(store) == expected
