"""What a poll decides: about each new record once, about known ones nothing, in the order of time."""

import random
from collections import Counter
from collections.abc import Collection, Iterable
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.poller.decide import MAX_REJECTED_A_SOURCE, decide
from shared.domain.attribution import Identities, make_identities
from shared.domain.exact_json import JsonNumber, JsonValue
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES, SUBJECT_FIELDS, Incident, normalise
from shared.domain.journal import Attributed, Decision, Rejected, Unattributed
from shared.domain.retention import Retention
from shared.domain.window import Window, sort_out

NOW = 1_700_000_000.0
IP = "10.0.0.1"
NOBODY = make_identities({})


def record(
    kind: str, subject: str, *, timestamp: str = "1699999999.5", priority: str = "low"
) -> dict[str, JsonValue]:
    return {"priority": priority, "timestamp": JsonNumber(timestamp), SUBJECT_FIELDS[kind]: subject}


def window(kind: str, *records: JsonValue) -> Window:
    return sort_out(kind, {"results": list(records)}, now=NOW, retention=Retention(0))


def incident(kind: str, subject: str, *, timestamp: str = "1699999999.5", priority: str = "low") -> Incident:
    return normalise(kind, record(kind, subject, timestamp=timestamp, priority=priority), now=NOW)


def ids_of(*windows: Window) -> set[str]:
    return {each for one in windows for each in (*one.incidents, *one.rejected)}


def id_of(decision: Decision) -> str:
    return decision.id if isinstance(decision, Rejected) else decision.incident.id


def decide_on(
    *windows: Window,
    known: Collection[str] = (),
    waiting: Iterable[Incident] = (),
    identities: Identities | None = NOBODY,
) -> list[Decision]:
    return decide(windows, new_ids=ids_of(*windows) - set(known), waiting=waiting, identities=identities)


def test_each_kind_of_record_gets_its_decision() -> None:
    """An employee's, a known address's, an unknown address's and a bad record: each is decided as it is."""
    taken = [
        window("misuse", record("misuse", "7")),
        window("probing", record("probing", IP), record("probing", "10.0.0.2")),
        window("other", record("other", "neither")),
    ]
    decisions = decide_on(*taken, identities=make_identities({IP: "8"}))
    attributed = {each.employee_id: each for each in decisions if isinstance(each, Attributed)}
    assert set(attributed) == {"7", "8"}
    assert not any(each.was_unattributed for each in attributed.values())
    assert [each.incident.ip for each in decisions if isinstance(each, Unattributed)] == ["10.0.0.2"]
    assert [each.code for each in decisions if isinstance(each, Rejected)] == ["invalid_identifier"]
    assert len(decisions) == 4


def test_known_records_are_not_decided_again() -> None:
    """What is known, incident or rejected, brings no decision; what is new beside it does."""
    taken = window("misuse", record("misuse", "7"), record("misuse", "8"), record("misuse", "x"), "bad")
    [known_rejected, new_rejected] = taken.rejected
    known = {incident("misuse", "7").id, known_rejected}
    assert [id_of(each) for each in decide_on(taken, known=known)] == [
        incident("misuse", "8").id,
        new_rejected,
    ]
    assert decide_on(taken, known=ids_of(taken)) == []


def test_rubbish_without_end_keeps_no_incident_waiting() -> None:
    """Incidents come before rejected records, of which each source may bring a thousand at a time."""
    rubbish = window("misuse", *(record("misuse", f"x{number}") for number in range(3_000)))
    good = window("denial", record("denial", "7"))
    decisions = decide_on(rubbish, good)
    assert id_of(decisions[0]) == incident("denial", "7").id
    assert len(decisions) == 1 + MAX_REJECTED_A_SOURCE


def test_a_record_that_waits_is_not_new_as_well() -> None:
    """Where an id is forgotten while its record waits still, the record is decided on once, not twice."""
    taken = window("probing", record("probing", IP))
    (waiting,) = taken.incidents.values()
    decisions = decide(
        [taken], new_ids={waiting.id}, waiting=[waiting], identities=make_identities({IP: "1"})
    )
    assert [(id_of(each), each.was_unattributed) for each in decisions] == [(waiting.id, True)]
    assert decide([taken], new_ids={waiting.id}, waiting=[waiting], identities=None) == []


def test_nothing_brings_nothing() -> None:
    """Without windows, new ids and waiting incidents there is nothing to decide."""
    assert decide_on() == []
    assert decide_on(window("misuse")) == []


def test_moved_address_does_not_touch_known_incidents() -> None:
    """An address that another employee has now changes nothing known: the first attribution is final."""
    before = window("probing", record("probing", IP))
    [first] = decide_on(before, identities=make_identities({IP: "1"}))
    assert isinstance(first, Attributed)
    assert first.employee_id == "1"
    moved = make_identities({IP: "2"})
    assert decide_on(before, known=[first.incident.id], identities=moved) == []

    later = window("probing", record("probing", IP), record("probing", IP, timestamp="1699999999.6"))
    [second] = decide_on(later, known=[first.incident.id], identities=moved)
    assert isinstance(second, Attributed)
    assert (second.incident.timestamp, second.employee_id) == ("1699999999.6", "2")


def test_waiting_incident_goes_on_once_its_address_is_known() -> None:
    """Late attribution is told apart; incidents whose address nobody has yet go on waiting without a word."""
    waiting = [incident("probing", "10.0.0.2"), incident("intrusion", IP), incident("other", IP)]
    decisions = decide_on(waiting=waiting, identities=make_identities({IP: "5"}))
    assert Counter(decisions_by_type(decisions)) == {("intrusion", "5", True): 1, ("other", "5", True): 1}
    assert decide_on(waiting=waiting, identities=NOBODY) == []


def decisions_by_type(decisions: Iterable[Decision]) -> list[tuple[str, str, bool]]:
    return [
        (each.incident.type, each.employee_id, each.was_unattributed)
        for each in decisions
        if isinstance(each, Attributed)
    ]


def test_without_identities_addresses_wait() -> None:
    """Without identities, employees' incidents go in and all addresses' wait: none is guessed or lost."""
    taken = [
        window("denial", record("denial", "7")),
        window("other", record("other", "9"), record("other", IP)),
        window("executable", record("executable", IP)),
    ]
    decisions = decide_on(*taken, waiting=[incident("probing", IP)], identities=None)
    attributed = [each for each in decisions if isinstance(each, Attributed)]
    assert {each.employee_id for each in attributed} == {"7", "9"}
    assert not any(each.was_unattributed for each in attributed)
    assert {each.incident.type for each in decisions if isinstance(each, Unattributed)} == {
        "other",
        "executable",
    }
    assert len(decisions) == 4


@pytest.mark.parametrize("employee_id", ["0", "00", "12345678901234567890"])
def test_every_employee_id_counts(employee_id: str) -> None:
    """Employee 0 is an employee like others, given or looked up."""
    canonical = employee_id.lstrip("0") or "0"
    [given_id] = decide_on(window("misuse", record("misuse", employee_id)))
    [looked_up] = decide_on(
        window("probing", record("probing", IP)), identities=make_identities({IP: canonical})
    )
    for decision in (given_id, looked_up):
        assert isinstance(decision, Attributed)
        assert decision.employee_id == canonical


def test_incidents_come_in_the_order_of_time() -> None:
    """Incidents of all sources come merged by their time, as numbers and not as text."""
    times = ["999999999.5", "1000000000", "1000000000.25", "1699999998", "1699999999.9999999"]
    mixed = [(number, times[number]) for number in (3, 0, 4, 2, 1)]
    windows = [
        window(kind, record(kind, "7", timestamp=text))
        for (_, text), kind in zip(
            mixed, ["misuse", "denial", "unauthorized", "other", "misuse"], strict=True
        )
    ]
    decisions = decide_on(*windows)
    assert [each.incident.timestamp for each in decisions if isinstance(each, Attributed)] == times
    late = decide_on(
        waiting=[incident("probing", IP, timestamp=text) for _, text in mixed],
        identities=make_identities({IP: "5"}),
    )
    assert [each.incident.timestamp for each in late if isinstance(each, Attributed)] == times


def test_incidents_of_one_time_come_in_the_order_of_their_ids() -> None:
    """Where the time is the same, the order is still one: a poll decided anew decides the same."""
    taken = window("misuse", *(record("misuse", str(number)) for number in range(50)))
    ids = [id_of(each) for each in decide_on(taken)]
    assert len(ids) == 50
    assert ids == sorted(ids)


def test_order_of_time_holds_to_the_last_digit() -> None:
    """Times that differ in the seventh decimal only, which a float rounds, are in order too."""
    taken = window(
        "misuse",
        *(record("misuse", str(number), timestamp=f"1699999999.{number:07}") for number in range(40)),
    )
    times = [Decimal(each.incident.timestamp) for each in decide_on(taken) if isinstance(each, Attributed)]
    assert len(times) == 40
    assert times == sorted(times)


# Properties

ips = st.integers(1, 6).map("10.0.0.{}".format)
employees = st.integers(0, 5).map(str)
timestamps = st.one_of(
    st.integers(1_699_999_990, 1_699_999_999).map(str),
    st.decimals(999_999_990, 1_699_999_999, places=4).map("{:f}".format),
)


@st.composite
def records(draw: st.DrawFn, kind: str) -> JsonValue:
    """A record of a source, now and then one that can't be an incident."""
    if draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from(["bad", None, {}, {"priority": "odd"}, {"priority": "low"}]))
    return record(
        kind,
        draw(st.one_of(ips, employees)),
        timestamp=draw(timestamps),
        priority=draw(st.sampled_from(PRIORITIES)),
    )


@st.composite
def polls(draw: st.DrawFn) -> tuple[list[Window], set[str], list[Incident], Identities | None]:
    """Windows, which of their ids are known, incidents that wait (all of them known), and identities."""
    kinds = draw(st.lists(st.sampled_from(INCIDENT_TYPES), unique=True))
    windows = [window(kind, *draw(st.lists(records(kind), max_size=8))) for kind in kinds]
    all_ids = sorted(ids_of(*windows))
    known = set(draw(st.lists(st.sampled_from(all_ids), unique=True))) if all_ids else set()
    by_address = [
        each for one in windows for each in one.incidents.values() if each.ip is not None and each.id in known
    ]
    # Incidents that wait may be in the window still, or have left it.
    gone = [
        incident("probing", ip, timestamp=text)
        for ip, text in draw(st.lists(st.tuples(ips, st.sampled_from(["1", "2", "1699999000"])), unique=True))
    ]
    chosen = draw(st.lists(st.sampled_from(by_address), unique_by=lambda each: each.id)) if by_address else []
    identities = draw(st.none() | st.dictionaries(ips, employees).map(make_identities))
    return windows, known, chosen + gone, identities


@given(polls())
def test_every_new_record_gets_exactly_one_decision(
    poll: tuple[list[Window], set[str], list[Incident], Identities | None],
) -> None:
    """Each new id is decided once, no known one is, waiting ones go on just when their address is known."""
    windows, known, waiting, identities = poll
    decisions = decide_on(*windows, known=known, waiting=waiting, identities=identities)
    late = [each for each in decisions if isinstance(each, Attributed) and each.was_unattributed]
    decided = Counter(id_of(each) for each in decisions if each not in late)
    assert decided == Counter(ids_of(*windows) - known)

    employee_by_ip = identities.employee_by_ip if identities else {}
    assert sorted((each.incident.id, each.employee_id) for each in late) == sorted(
        (each.id, employee_by_ip[each.ip]) for each in waiting if each.ip in employee_by_ip
    )


@given(polls())
def test_every_decision_is_the_right_one(
    poll: tuple[list[Window], set[str], list[Incident], Identities | None],
) -> None:
    """A record is attributed to its own employee or its address's, waits without one, and comes in order."""
    windows, known, waiting, identities = poll
    decisions = decide_on(*windows, known=known, waiting=waiting, identities=identities)
    employee_by_ip = identities.employee_by_ip if identities else {}
    times: dict[bool, list[Decimal]] = {False: [], True: []}
    for decision in decisions:
        match decision:
            case Rejected(id=record_id):
                assert any(one.rejected.get(record_id) is decision for one in windows)
            case Unattributed(incident=each):
                assert each.employee_id is None
                assert each.ip not in employee_by_ip
                times[False].append(Decimal(each.timestamp))
            case Attributed(incident=each, employee_id=employee_id, was_unattributed=late):
                assert employee_id == (each.employee_id or employee_by_ip[str(each.ip)])
                if late:
                    times[True].append(Decimal(each.timestamp))
                else:
                    times[False].append(Decimal(each.timestamp))
    for ordered in times.values():
        assert all(one <= other for one, other in pairwise(ordered))


@settings(max_examples=40)
@given(polls(), st.randoms(use_true_random=False))
def test_order_of_the_sources_does_not_matter(
    poll: tuple[list[Window], set[str], list[Incident], Identities | None], chance: random.Random
) -> None:
    """Whichever source was first, the same incidents are decided in the same order."""
    windows, known, waiting, identities = poll
    decisions = decide_on(*windows, known=known, waiting=waiting, identities=identities)
    chance.shuffle(windows)
    chance.shuffle(waiting)
    again = decide_on(*windows, known=known, waiting=waiting, identities=identities)
    assert [each for each in again if not isinstance(each, Rejected)] == [
        each for each in decisions if not isinstance(each, Rejected)
    ]
