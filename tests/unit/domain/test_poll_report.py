"""What a poll says of itself is stored, and read by the version of the code before or after."""

import json
from copy import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.incident import INCIDENT_TYPES
from shared.domain.poll_report import ALL_SOURCES, IDENTITIES_SOURCE, PollError, PollReport, SourceReport

moments = st.floats(0, 1e10) | st.integers(0, 10**10).map(float)
counts = st.integers(0, 10**6)
errors = st.builds(
    PollError,
    error_class=st.text(max_size=10),
    message=st.text(max_size=20),
    status=st.none() | st.integers(100, 599),
    at=moments,
)
sources = st.builds(
    SourceReport,
    state=st.sampled_from(["fresh", "stale", "never_taken"]),
    records=counts,
    rejected=counts,
    too_old=counts,
    latency_ms=counts,
    attempts=counts,
    last_success_at=st.none() | moments,
    last_error=st.none() | errors,
    newest=st.lists(st.text(max_size=12), max_size=3).map(tuple),
    possible_gap_at=st.none() | moments,
)
reports = st.builds(
    PollReport,
    attempted_at=moments,
    duration_ms=counts,
    last_success_at=st.none() | moments,
    consecutive_failures=counts,
    last_error=st.none() | errors,
    identities_digest=st.text(max_size=32),
    sources=st.fixed_dictionaries(dict.fromkeys(ALL_SOURCES, sources)),
)
ERROR = PollError("upstream_status", "the upstream answered 503", 503, 1_700_000_000.5)


def stored(report: PollReport) -> PollReport:
    return PollReport.from_json(json.loads(json.dumps(report.to_json())))


@settings(deadline=None, max_examples=150)
@given(reports)
def test_report_comes_back_as_it_was(report: PollReport) -> None:
    """A report is the same after it was stored as JSON, its sources and their errors included."""
    assert stored(report) == report


def test_report_of_another_version() -> None:
    """What a neighbouring version adds is passed over, and what it leaves out is as in a new report."""
    report = PollReport(
        attempted_at=5.5,
        consecutive_failures=3,
        last_error=ERROR,
        sources={source: SourceReport("stale", records=7, last_error=ERROR) for source in ALL_SOURCES},
    )
    value = report.to_json()
    value["added"] = {"later": [1]}
    value["last_error"]["added"] = 1
    value["sources"]["probing"]["added"] = None
    value["sources"]["probing"]["last_error"]["added"] = ""
    value["sources"]["phishing"] = {"state": "fresh", "last_error": None}
    del value["sources"]["other"], value["duration_ms"], value["sources"]["denial"]["records"]
    value["sources"]["misuse"] = None
    back = PollReport.from_json(json.loads(json.dumps(value)))
    assert list(back.sources) == list(ALL_SOURCES)
    assert back.sources["other"] == back.sources["misuse"] == SourceReport()
    assert back.sources["denial"] == replace(report.sources["denial"], records=0)
    assert back.sources["probing"] == report.sources["probing"]
    assert (back.attempted_at, back.consecutive_failures, back.last_error) == (5.5, 3, ERROR)
    assert not back.complete


def test_report_before_the_first_poll() -> None:
    """Before anything was polled nothing is complete, no source was ever taken, and no error is made up."""
    report = PollReport()
    assert set(report.sources) == {IDENTITIES_SOURCE, *INCIDENT_TYPES}
    assert all(source == SourceReport() for source in report.sources.values())
    assert (report.complete, report.rejected, report.too_old, report.last_error) == (False, 0, 0, None)
    assert stored(report) == report


def test_numbers_of_the_windows_add_up() -> None:
    """Rejected and too old records are those of the seven sources of incidents, each counted once."""
    made = {
        source: SourceReport("fresh", rejected=10**place, too_old=2 * 10**place)
        for place, source in enumerate(INCIDENT_TYPES)
    }
    made[IDENTITIES_SOURCE] = SourceReport("fresh", rejected=10**9, too_old=10**9)
    report = PollReport(sources=made)
    assert (report.rejected, report.too_old) == (1_111_111, 2_222_222)


@pytest.mark.parametrize("state", ["stale", "never_taken"])
@pytest.mark.parametrize("missing", ALL_SOURCES)
def test_complete_means_every_source_of_incidents(missing: str, state: str) -> None:
    """A snapshot is complete when all seven types were taken; the identities do not count."""
    fresh = {source: SourceReport("fresh") for source in ALL_SOURCES}
    assert PollReport(sources=fresh).complete
    report = PollReport(sources={**fresh, missing: SourceReport(state)})
    assert report.complete is (missing == IDENTITIES_SOURCE)


def test_failed_source_keeps_its_last_data() -> None:
    """A source that could not be taken is stale with its last numbers, or still never taken."""
    good = SourceReport("fresh", 300, 2, 1, latency_ms=1_700, attempts=1, last_success_at=5.0)
    bad = good.failed(ERROR, latency_ms=9_000, attempts=3)
    assert bad == SourceReport(
        "stale", 300, 2, 1, latency_ms=9_000, attempts=3, last_success_at=5.0, last_error=ERROR
    )
    assert SourceReport().failed(ERROR, latency_ms=1, attempts=1).state == "never_taken"


def test_a_gap_that_another_poll_saw_stays_known() -> None:
    """Of two reports on a source the later gap stays, whichever poll reports last."""
    seen = SourceReport("fresh", last_success_at=5.0, possible_gap_at=5.0)
    own = SourceReport("fresh", last_success_at=6.0)
    assert own.on_top_of(seen) == replace(own, possible_gap_at=5.0)
    both = replace(own, possible_gap_at=6.0)
    assert both.on_top_of(seen).possible_gap_at == 6.0
    assert own.on_top_of(SourceReport()) == own


def test_crashed_poll_leaves_the_sources_as_they_were() -> None:
    """A poll that failed on this side counts as a failure, and says nothing of the sources."""
    before = PollReport(
        attempted_at=1.0,
        last_success_at=1.0,
        consecutive_failures=2,
        identities_digest="d",
        sources={source: SourceReport("fresh", last_success_at=1.0) for source in ALL_SOURCES},
    )
    after = before.crashed(ERROR, duration_ms=30)
    assert after == PollReport(
        attempted_at=ERROR.at,
        duration_ms=30,
        last_success_at=1.0,
        consecutive_failures=3,
        last_error=ERROR,
        identities_digest="d",
        sources=before.sources,
    )
