"""Taking the sources: each whole or not at all, a few at a time, none at the cost of another."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from copy import replace
from typing import Any

import pytest

from functions.poller import sources as sources_module
from functions.poller.credentials import Credentials
from functions.poller.sources import TakenSources, take_sources
from functions.poller.upstream import Answer, Upstream, UpstreamError
from local.simulator import FAULTS, Simulator, SimulatorSettings, faults, serve
from shared.domain.exact_json import parse
from shared.domain.incident import INCIDENT_TYPES
from shared.domain.poll_report import ALL_SOURCES, PollError, SourceReport
from shared.domain.retention import Retention

pytestmark = pytest.mark.loopback

NOW = 1_700_000_000.0
NEVER = dict.fromkeys(ALL_SOURCES, SourceReport())
EARLIER_ERROR = PollError("server_error", "the upstream answered 503", 503, NOW - 900)
FRESH = dict.fromkeys(
    ALL_SOURCES,
    SourceReport(
        state="fresh",
        records=300,
        rejected=2,
        too_old=1,
        latency_ms=1_700,
        attempts=2,
        last_success_at=NOW - 600,
        last_error=EARLIER_ERROR,
    ),
)
STALE = {source: replace(report, state="stale") for source, report in FRESH.items()}


class FixedCredentials:
    def current(self) -> Credentials:
        return Credentials("simulator", "simulator")

    def after_refusal(self, refused: Credentials) -> None:
        return None


class FakeUpstream(Upstream):
    """Answers from a table, without a socket; ``meet`` is called while a source is being fetched."""

    def __init__(
        self,
        answers: dict[str, Answer | Exception] | None = None,
        meet: Callable[[str], None] = lambda source: None,
    ) -> None:
        self._answers = answers or {}
        self._meet = meet
        self.asked: list[tuple[str, float]] = []

    def fetch(self, source: str, *, deadline: float) -> Answer:
        self.asked.append((source, deadline))
        self._meet(source)
        answer = self._answers.get(source, Answer({} if source == "identities" else {"results": []}, 7, 1))
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(SimulatorSettings(records_per_type=10, identities=20), clock=lambda: NOW)


@pytest.fixture
def upstream(simulator: Simulator) -> Iterator[Upstream]:
    with serve(simulator) as base_url:
        yield Upstream(base_url, credentials=FixedCredentials(), sleep=lambda seconds: None, read_timeout=0.3)


def path_of(source: str) -> str:
    return "/identities/" if source == "identities" else f"/incidents/{source}/"


def take(
    upstream: Upstream,
    *,
    previous: dict[str, SourceReport] = NEVER,
    concurrency: int = 4,
    within: float = 30.0,
    retention: Retention | None = None,
) -> TakenSources:
    return take_sources(
        upstream,
        previous=previous,
        concurrency=concurrency,
        deadline=time.monotonic() + within,
        now=NOW,
        retention=retention or Retention(0),
    )


def assert_others_taken(taken: TakenSources, failed: str) -> None:
    assert set(taken.windows) == set(INCIDENT_TYPES) - {failed}
    assert (taken.identities is None) == (failed == "identities")
    assert set(taken.reports) == set(ALL_SOURCES)
    for source in set(ALL_SOURCES) - {failed}:
        assert taken.reports[source].state == "fresh"
        assert taken.reports[source].last_success_at == NOW


def test_all_sources_are_taken(simulator: Simulator, upstream: Upstream) -> None:
    """When nothing goes wrong, every window and the identities are there, each for one request."""
    taken = take(upstream)
    assert_others_taken(taken, failed="none")
    assert all(len(window.incidents) == 10 for window in taken.windows.values())
    assert all(window.type == kind for kind, window in taken.windows.items())
    assert taken.identities is not None
    assert len(taken.identities.employee_by_ip) == 20
    assert sorted(request.path for request in simulator.requests) == sorted(map(path_of, ALL_SOURCES))


@pytest.mark.parametrize("source", ALL_SOURCES)
@pytest.mark.parametrize(
    ("fault", "error_class", "status", "attempts"),
    [
        (faults.status(503), "server_error", 503, 4),
        (faults.status(404), "http", 404, 1),
        (faults.cut_off(0.5), "connection", None, 4),
        (faults.body(b"<html>"), "malformed", None, 4),
    ],
)
def test_one_failing_source_leaves_the_others(
    simulator: Simulator,
    upstream: Upstream,
    source: str,
    fault: faults.Fault,
    error_class: str,
    status: int | None,
    attempts: int,
) -> None:
    """Whichever source fails, the seven others are taken; it keeps its last data, stale, and says why."""
    simulator.faults.add(path_of(source), fault, times=None)
    taken = take(upstream, previous=FRESH)
    assert_others_taken(taken, failed=source)
    report = taken.reports[source]
    assert (report.state, report.attempts) == ("stale", attempts)
    assert report.last_error is not None
    assert (report.last_error.error_class, report.last_error.status) == (error_class, status)
    assert report.last_error.at == NOW


def test_all_sources_failing_is_no_error_of_the_call(simulator: Simulator, upstream: Upstream) -> None:
    """An upstream that fails altogether is reported, source by source, and raises nothing."""
    for source in ALL_SOURCES:
        simulator.faults.add(path_of(source), faults.status(500), times=None)
    taken = take(upstream)
    assert taken.windows == {}
    assert taken.identities is None
    assert {report.state for report in taken.reports.values()} == {"never_taken"}
    assert set(taken.reports) == set(ALL_SOURCES)
    assert len(simulator.requests) == 8 * 4


MALFORMED_WINDOWS = [
    b"[]",
    b"{}",
    b"null",
    b"3",
    b'"results"',
    b"true",
    b'{"results": null}',
    b'{"results": {}}',
    b'{"results": "[]"}',
    b'{"results": 3.5}',
    b'{"Results": []}',
    b'[{"results": []}]',
]


@pytest.mark.parametrize("content", MALFORMED_WINDOWS)
@pytest.mark.parametrize("source", ["denial", "other"])
def test_malformed_window_fails_its_source(
    simulator: Simulator, upstream: Upstream, source: str, content: bytes
) -> None:
    """JSON that is no window fails its source alone, which is not taken for an empty one."""
    simulator.replace(path_of(source), content)
    taken = take(upstream, previous=FRESH)
    assert_others_taken(taken, failed=source)
    report = taken.reports[source]
    assert (report.state, report.records, report.attempts) == ("stale", 300, 1)
    assert report.last_error is not None
    assert report.last_error.error_class == "malformed"


@pytest.mark.parametrize("content", [b"[]", b"null", b"3", b'"x"', b'[{"10.0.0.1": 1}]'])
def test_malformed_identities_fail_their_source(
    simulator: Simulator, upstream: Upstream, content: bytes
) -> None:
    """JSON that is no object of identities fails the identities alone."""
    simulator.replace("/identities/", content)
    taken = take(upstream, previous=FRESH)
    assert_others_taken(taken, failed="identities")
    report = taken.reports["identities"]
    assert (report.state, report.records) == ("stale", 300)
    assert report.last_error is not None
    assert report.last_error.error_class == "malformed"


def test_bad_records_are_counted_and_the_rest_goes_on(simulator: Simulator, upstream: Upstream) -> None:
    """One bad record costs itself alone: the report counts what was served, set aside and too old."""
    good = {"priority": "low", "employee_id": 7, "timestamp": NOW - 60}
    results = [good, good, good | {"priority": "odd"}, "no record", good | {"timestamp": NOW - 40 * 86_400}]
    simulator.replace(path_of("misuse"), json.dumps({"results": results}).encode())
    taken = take(upstream, retention=Retention(30))
    report = taken.reports["misuse"]
    assert (report.state, report.records, report.rejected, report.too_old) == ("fresh", 5, 2, 1)
    assert len(taken.windows["misuse"].incidents) == 1
    assert_others_taken(taken, failed="none")


def test_empty_upstream_is_a_success(simulator: Simulator, upstream: Upstream) -> None:
    """A source that has nothing is taken: that is not a failure."""
    for kind in INCIDENT_TYPES:
        simulator.replace(path_of(kind), b'{"results": []}')
    taken = take(upstream, previous=STALE)
    assert_others_taken(taken, failed="none")
    assert {taken.reports[kind].records for kind in INCIDENT_TYPES} == {0}


# What is reported

FAILURE = UpstreamError("throttled", "the upstream answered 429", status=429)
FAILURE.attempts, FAILURE.latency_ms = 3, 4_321


def test_identities_that_are_suddenly_empty_are_not_taken() -> None:
    """An upstream that has lost its map attributes nothing anew, instead of nothing at all from then on; one
    that never had any, or has lost a part, is taken at its word.
    """
    empty, one = (Answer(parse(text), 7, 1) for text in ("{}", '{"10.0.0.1": 1}'))
    taken = take(FakeUpstream({"identities": empty}), previous=FRESH)
    report = taken.reports["identities"]
    assert (taken.identities, report.state, report.records) == (None, "stale", 300)
    assert report.last_error is not None
    assert report.last_error.error_class == "malformed"
    again = take(FakeUpstream({"identities": empty}), previous=dict(taken.reports))
    assert again.reports["identities"].state == "stale"
    for answer, previous in ((empty, NEVER), (one, FRESH)):
        assert take(FakeUpstream({"identities": answer}), previous=previous).identities is not None


@pytest.mark.parametrize("source", ["probing", "identities"])
@pytest.mark.parametrize(("previous", "state"), [(NEVER, "never_taken"), (FRESH, "stale"), (STALE, "stale")])
def test_report_of_a_failure_keeps_the_last_success(
    previous: dict[str, SourceReport], state: str, source: str
) -> None:
    """After a failure a source is stale, or still never taken; its last success and its gauges stay."""
    before = previous[source]
    report = take(FakeUpstream({source: FAILURE}), previous=previous).reports[source]
    assert report == SourceReport(
        state=state,  # type: ignore[arg-type]  # a stand-in
        records=before.records,
        rejected=before.rejected,
        too_old=before.too_old,
        latency_ms=4_321,
        attempts=3,
        last_success_at=before.last_success_at,
        last_error=PollError("throttled", "the upstream answered 429", 429, NOW),
    )


@pytest.mark.parametrize("source", ["probing", "identities"])
@pytest.mark.parametrize("previous", [NEVER, FRESH, STALE])
def test_report_of_a_success_keeps_the_last_error(previous: dict[str, SourceReport], source: str) -> None:
    """After a success a source is fresh with new gauges; its last error stays for who asks later."""
    content = b'{"10.0.0.1": 1, "10.0.0.2": 2}' if source == "identities" else b'{"results": ["a", "b"]}'
    upstream = FakeUpstream({source: Answer(parse(content), 1_234, 2)})
    report = take(upstream, previous=previous).reports[source]
    assert report == SourceReport(
        state="fresh",
        records=2,
        rejected=0 if source == "identities" else 2,
        too_old=0,
        latency_ms=1_234,
        attempts=2,
        last_success_at=NOW,
        last_error=previous[source].last_error,
    )


def test_report_of_a_malformed_answer_has_its_latency() -> None:
    """A malformed answer was an answer: what it took and how often it was tried are told."""
    taken = take(FakeUpstream({"denial": Answer([], 999, 3)}), previous=FRESH)
    report = taken.reports["denial"]
    assert (report.state, report.latency_ms, report.attempts) == ("stale", 999, 3)
    assert report.last_success_at == FRESH["denial"].last_success_at


# How many at once, and for how long


@pytest.mark.parametrize("concurrency", [1, 2, 4, 8])
def test_concurrency_is_reached_and_never_exceeded(concurrency: int) -> None:
    """As many requests as allowed are under way at once: not one more, which would slow all of them."""
    simulator = Simulator(
        SimulatorSettings(records_per_type=1, identities=1, latency=(0.06, 0.06), slowdown=0.0),
        clock=lambda: NOW,
    )
    with serve(simulator) as base_url:
        taken = take(Upstream(base_url, credentials=FixedCredentials()), concurrency=concurrency)
    assert_others_taken(taken, failed="none")
    assert simulator.highest_at_once == concurrency
    assert len(simulator.requests) == 8


def test_concurrency_holds_while_sources_are_retried() -> None:
    """A source that is tried again takes its own place, nobody else's."""
    simulator = Simulator(
        SimulatorSettings(records_per_type=1, identities=1, latency=(0.03, 0.03), slowdown=0.0),
        clock=lambda: NOW,
    )
    for source in ALL_SOURCES:
        # Without a body: the client asks again before it has read one, and would be counted twice.
        simulator.faults.add(path_of(source), faults.status(503, content=b""), times=2)
    with serve(simulator) as base_url:
        client = Upstream(base_url, credentials=FixedCredentials(), sleep=lambda seconds: None)
        taken = take(client, concurrency=3)
    assert_others_taken(taken, failed="none")
    assert simulator.highest_at_once == 3
    assert len(simulator.requests) == 24


def test_identities_come_last(simulator: Simulator, upstream: Upstream) -> None:
    """The identities are asked for last, so that they know as many of the incidents' addresses as can be."""
    take(upstream, concurrency=1)
    assert [each.path for each in simulator.requests] == [*map(path_of, INCIDENT_TYPES), "/identities/"]


@pytest.mark.parametrize(
    ("concurrency", "rounds"),
    [
        (1, [8, 7, 6, 5, 4, 3, 2, 1]),
        (3, [3, 3, 2, 2, 2, 1, 1, 1]),
        (4, [2] * 4 + [1] * 4),
        (8, [1] * 8),
    ],
)
def test_no_source_may_take_the_time_of_those_after_it(concurrency: int, rounds: list[int]) -> None:
    """Each may take what is left, divided by the rounds that are still to come; the last has all of it."""
    upstream = FakeUpstream()
    take_sources(
        upstream,
        previous=NEVER,
        concurrency=concurrency,
        deadline=1_840.0,
        now=NOW,
        retention=Retention(0),
        monotonic=lambda: 1_000.0,
    )
    deadlines = dict(upstream.asked)
    assert [deadlines[source] for source in (*INCIDENT_TYPES, "identities")] == [
        1_000.0 + 840.0 / each for each in rounds
    ]


@pytest.mark.parametrize("concurrency", [1, 2, 4])
def test_sources_without_end_leave_time_for_the_others(
    simulator: Simulator, upstream: Upstream, concurrency: int
) -> None:
    """As many dripping sources as are asked at once fail alone: the others are still taken."""
    dripping = INCIDENT_TYPES[:concurrency]
    for source in dripping:
        simulator.faults.add(path_of(source), FAULTS["dripping body"], times=None)
    taken = take(upstream, within=3.0, concurrency=concurrency)
    assert set(taken.windows) == {*INCIDENT_TYPES} - {*dripping}
    assert taken.identities is not None
    for source in dripping:
        error = taken.reports[source].last_error
        assert error is not None
        assert error.error_class == "timeout"


def client_threads() -> set[threading.Thread]:
    """All threads but those that serve the simulator's connections."""
    return {each for each in threading.enumerate() if "process_request_thread" not in each.name}


@pytest.mark.parametrize("answers", [{}, {"denial": FAILURE}, {"denial": Answer([], 1, 1)}])
def test_no_thread_is_left(answers: dict[str, Answer | Exception]) -> None:
    """A warm container would let a thread that is left go on in the next poll: none is."""
    before = client_threads()
    seen: set[threading.Thread] = set()
    take(FakeUpstream(answers, lambda source: seen.add(threading.current_thread())))
    assert seen - before
    assert client_threads() == before


REFUSED = UpstreamError("unauthorized", "refused", status=401, retry=False)


def asked(upstream: FakeUpstream, **options: Any) -> tuple[TakenSources, list[str]]:
    """What was taken, and who was asked."""
    taken = take(upstream, **options)
    return taken, [source for source, _ in upstream.asked]


def test_a_wrong_password_is_not_tried_on_every_source() -> None:
    """Two sources that refuse the credentials speak for all, so that the account is not locked; the others
    are told with the reason, and as not asked.
    """
    taken, sources = asked(FakeUpstream(dict.fromkeys(ALL_SOURCES, REFUSED)), previous=FRESH, concurrency=1)
    assert sources == [*INCIDENT_TYPES[:2]]
    for source, report in taken.reports.items():
        assert report.last_error is not None
        assert (report.state, report.last_error.error_class, report.last_error.status) == (
            "stale",
            "unauthorized",
            401,
        )
        assert report.attempts == (1 if source in sources else 0)


@pytest.mark.parametrize("concurrency", range(1, 9))
def test_sources_that_are_asked_at_once_are_refused_at_once(concurrency: int) -> None:
    """Who has been asked can't be called back: no more are refused than are asked at once, and one."""
    everywhere = dict.fromkeys(ALL_SOURCES, REFUSED)
    meet = threading.Barrier(concurrency).wait if concurrency > 1 else lambda *_: None
    first = {*INCIDENT_TYPES, "identities"} if concurrency == 8 else {*INCIDENT_TYPES[:concurrency]}
    upstream = FakeUpstream(everywhere, lambda source: meet(20.0) if source in first else None)
    taken, sources = asked(upstream, previous=FRESH, concurrency=concurrency)
    assert concurrency <= len(sources) <= max(2, concurrency + 1)
    assert {each.last_error.error_class for each in taken.reports.values() if each.last_error} == {
        "unauthorized"
    }


def test_after_a_refusal_by_all_two_are_asked_whatever_the_concurrency() -> None:
    """As long as the password stays wrong, each poll tries it twice."""
    first = take(FakeUpstream(dict.fromkeys(ALL_SOURCES, REFUSED)), previous=NEVER)
    for concurrency in (1, 4, 8):
        _, sources = asked(
            FakeUpstream(dict.fromkeys(ALL_SOURCES, REFUSED)),
            previous=dict(first.reports),
            concurrency=concurrency,
        )
        assert sources == [*INCIDENT_TYPES[:2]]
    taken, sources = asked(FakeUpstream(), previous=dict(first.reports))
    assert sources == [*INCIDENT_TYPES, "identities"]
    assert_others_taken(taken, failed="none")


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("previous", [NEVER, FRESH, "refused"])
@pytest.mark.parametrize("source", ALL_SOURCES)
def test_one_source_may_refuse_for_reasons_of_its_own(source: str, previous: Any, concurrency: int) -> None:
    """Credentials that the other sources accept are asked with, whoever else refuses them first."""
    if previous == "refused":
        previous = dict(take(FakeUpstream(dict.fromkeys(ALL_SOURCES, REFUSED)), previous=FRESH).reports)
        previous = {each: replace(report, records=0) for each, report in previous.items()}
    taken = take(FakeUpstream({source: REFUSED}), previous=previous, concurrency=concurrency)
    assert set(taken.windows) == set(INCIDENT_TYPES) - {source}
    assert taken.reports[source].attempts == 1


def test_sources_that_refuse_quickly_do_not_speak_for_those_that_accept_slowly() -> None:
    """Two have refused before any other answers: when one accepts after all, those not asked are."""
    refused = dict.fromkeys(INCIDENT_TYPES[:2], REFUSED)
    at_once = threading.Barrier(4)

    def meet(source: str) -> None:
        if source in INCIDENT_TYPES[:4]:
            at_once.wait(20)
        if source not in refused:
            # Long enough for the refusals to be in, and for the next sources to be passed over.
            time.sleep(0.2)

    taken, sources = asked(FakeUpstream(refused, meet), previous=NEVER, concurrency=4)
    assert set(taken.windows) == set(INCIDENT_TYPES) - set(refused)
    assert taken.identities is not None
    assert sorted(sources) == sorted(ALL_SOURCES)


def test_a_source_that_is_forbidden_says_nothing_of_the_password() -> None:
    """403 is about what may be seen; whoever is told so has logged in."""
    forbidden = UpstreamError("unauthorized", "forbidden", status=403, retry=False)
    _, sources = asked(FakeUpstream(dict.fromkeys(ALL_SOURCES, forbidden)), previous=FRESH)
    assert set(sources) == {*ALL_SOURCES}


def test_an_error_that_nobody_foresaw_takes_one_source_down() -> None:
    """Whatever one source provokes on our side is told as that source's failure; the others are taken."""
    before = client_threads()
    taken = take(FakeUpstream({"denial": ZeroDivisionError()}))
    assert client_threads() == before
    error = taken.reports["denial"].last_error
    assert error is not None
    assert (error.error_class, error.status) == ("internal", None)
    assert "ZeroDivisionError" in error.message
    assert set(taken.windows) == {*INCIDENT_TYPES} - {"denial"}


def test_a_window_that_breaks_our_code_takes_one_source_down(
    simulator: Simulator, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sorting out is guarded like fetching: a record that our code stumbles over stops its source alone."""
    real = sources_module.sort_out

    def stumble(kind: str, *arguments: Any, **options: Any) -> Any:
        if kind == "denial":
            raise ZeroDivisionError
        return real(kind, *arguments, **options)

    monkeypatch.setattr(sources_module, "sort_out", stumble)
    taken = take(upstream)
    error = taken.reports["denial"].last_error
    assert error is not None
    assert (error.error_class, error.message) == ("internal", "sorting out ended with ZeroDivisionError")
    assert set(taken.windows) == {*INCIDENT_TYPES} - {"denial"}
    assert taken.identities is not None


def test_deadline_ends_the_call_and_its_threads(simulator: Simulator, upstream: Upstream) -> None:
    """When sources hang, the call ends at the deadline with what it has, and leaves no thread behind."""
    for source in ("denial", "intrusion", "identities"):
        simulator.faults.add(path_of(source), faults.hang(20), times=None)
    before = client_threads()
    patient = Upstream(upstream._base_url, credentials=FixedCredentials(), read_timeout=30)
    started = time.monotonic()
    taken = take(patient, previous=FRESH, within=0.6)
    assert 0.5 < time.monotonic() - started < 1.3
    assert client_threads() == before
    assert set(taken.windows) == set(INCIDENT_TYPES) - {"denial", "intrusion"}
    assert {source for source, each in taken.reports.items() if each.state == "stale"} == {
        "denial",
        "intrusion",
        "identities",
    }
    for source in ("denial", "intrusion", "identities"):
        error = taken.reports[source].last_error
        assert error is not None
        assert (error.error_class, error.at) == ("timeout", NOW)


def test_passed_deadline_fails_every_source_without_a_request(
    simulator: Simulator, upstream: Upstream
) -> None:
    """A poll that has no time left takes nothing and asks for nothing, and says so of each source."""
    taken = take(upstream, previous=FRESH, within=-1.0)
    assert taken.windows == {}
    assert simulator.requests == []
    errors = [report.last_error for report in taken.reports.values()]
    assert [error.error_class for error in errors if error] == ["timeout"] * 8


@pytest.mark.parametrize(
    "fault",
    [
        faults.status(503, {"Retry-After": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}),
        faults.redirect("http://["),
        faults.raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}"),
        faults.raw(b"HTTP/1.1 999 \xff\r\n\r\n"),
        faults.raw(b"HTTP/1.1 200 OK\r\nSet-Cookie: \xff=\x00; expires=never\r\nContent-Length: 1\r\n\r\n{"),
        faults.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n"),
        faults.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}"),
        faults.raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n{}"),
        faults.raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n{}"),
        faults.raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip, gzip, gzip, gzip, gzip, gzip\r\n\r\nx"),
        faults.raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: 3\r\n\r\nxyz"),
        faults.raw(b"\x00" * 1_000),
        faults.raw(b"HTTP/1.1 200 OK\r\n\r\n" + b'{"a":' * 200_000),
        faults.raw(b"HTTP/1.1 200 OK\r\n\r\n" + b"9" * 100_000),
        faults.raw(
            b'HTTP/1.1 200 OK\r\n\r\n{"results": [' + b"[" * 700 + b"]" * 700 + b'], "x": 1e999999999}'
        ),
        faults.raw(b'HTTP/1.1 200 OK\r\n\r\n{"results": [{"priority": "\\ud800", "timestamp": 1e400}]}'),
    ],
)
def test_hostile_answer_costs_no_other_source(
    simulator: Simulator, upstream: Upstream, fault: faults.Fault
) -> None:
    """Whatever bytes an upstream sends for one source, the others are taken."""
    simulator.faults.add(path_of("denial"), fault, times=None)
    taken = take(upstream, previous=FRESH)
    assert set(taken.windows) >= set(INCIDENT_TYPES) - {"denial"}
    assert not ("denial" in taken.windows and taken.windows["denial"].incidents)
    assert taken.identities is not None
