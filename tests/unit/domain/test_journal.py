"""What the journal says can be read back for ever, whole and in order."""

import base64
import random
import zlib
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.exact_json import JsonNumber, JsonValue, parse, render
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES, Incident
from shared.domain.journal import (
    MAX_ENTRY_BYTES,
    MAX_ENTRY_RECORDS,
    Attributed,
    Decision,
    Erased,
    Rejected,
    Totals,
    Traces,
    Unattributed,
    UnknownOutcomeError,
    decode_decisions,
    decode_incident,
    encode_decisions,
    encode_incident,
    forget,
    split_decisions,
)

hex_ids = st.from_regex(r"[0-9a-f]{32}", fullmatch=True)
employee_ids = st.integers(0, 10**20 - 1).map(str)
json_fields = st.dictionaries(
    st.text(max_size=6),
    st.recursive(
        st.none()
        | st.booleans()
        | st.text(max_size=6)
        | st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?", fullmatch=True).map(
            JsonNumber
        ),
        lambda children: (
            st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3)
        ),
        max_leaves=5,
    ),
    max_size=4,
)


def incidents(*, employee_id: str | None, ip: str | None) -> st.SearchStrategy[Incident]:
    return st.builds(
        Incident,
        id=hex_ids,
        type=st.sampled_from(INCIDENT_TYPES),
        priority=st.sampled_from(PRIORITIES),
        timestamp=st.from_regex(r"[1-9][0-9]{0,9}(\.[0-9]{1,7})?", fullmatch=True),
        employee_id=st.just(employee_id),
        ip=st.just(ip),
        fields=json_fields,
    )


places = st.tuples(st.integers(1, 10**15), st.integers(0, MAX_ENTRY_RECORDS - 1))
traces = st.builds(
    Traces, employee_ids, st.sampled_from(["", "1.5", "1658264566.2610762"]), st.lists(places).map(tuple)
)
decisions: st.SearchStrategy[Decision] = st.one_of(
    employee_ids.flatmap(
        lambda each: st.builds(Attributed, incidents(employee_id=each, ip=None), st.just(each))
    ),
    st.builds(Attributed, incidents(employee_id=None, ip="::1"), employee_ids, st.booleans()),
    st.builds(Unattributed, incidents(employee_id=None, ip="10.0.0.1")),
    st.builds(Rejected, hex_ids, st.sampled_from(INCIDENT_TYPES), st.text(), st.text(), st.text()),
    st.builds(Erased, hex_ids),
    st.builds(Erased, hex_ids, traces),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(decisions, max_size=6))
def test_decisions_come_back_as_they_went_in(decided: list[Decision]) -> None:
    """An entry holds all that it takes to lay it out again: each decision, in its place, with every digit."""
    assert decode_decisions(encode_decisions(decided)) == tuple(decided)


@settings(deadline=None, max_examples=100)
@given(incidents(employee_id=None, ip="10.0.0.1"), incidents(employee_id="7", ip=None))
def test_incident_comes_back_through_text(waiting: Incident, named: Incident) -> None:
    """What waits for its employee is read back from its own JSON, as the store keeps it."""

    def through_text(incident: Incident) -> Mapping[str, JsonValue]:
        record = parse(render(encode_incident(incident)))
        assert isinstance(record, Mapping)
        return record

    assert decode_incident(through_text(waiting), None) == waiting
    assert decode_incident(through_text(waiting), "7") == waiting
    assert decode_incident(through_text(named), "7") == named


# Written by version 0.1.0. An entry is never rewritten: every later version must read these bytes.
GOLDEN_ENTRY = base64.b64decode(
    "eNqNlE1vnDAQhv8K8rUU2cafHKv20kN76DGNVsYeEleAkQFVUbT/vcNu2+xmqRqQQB7Px/t4Bu6eSVoXnwYgDXHLkmO7LhBI"
    "SWCY+vQEcIgBt7S1QtdojqOPAcaFNM/ktOM8qy1Aa7lrjRK8NTx4BrXx1FDmKMYsT9OWHsOi63E95ZhyXJ7Q9hgfHjePOMC8"
    "uGEiDVPScCWkUhVXjGrFS9JF6MO8lcwwpYwCDy1Gn0WVZE5r9igUowmnsmIWY4WpmBbkeDyW+4yH3i1wAyokVXuYNUhvO6YB"
    "ghCtkc7KQCkPgXHpvBcvmHFc8jrHNF6TDhDiOuyxSsPqinImuRWXrJgI8uj6MxjTFUc/i3SGvGIWGzOvmLKVVOSI8m8i/nkM"
    "t63ewwfVdQKoZMwIbjSCawiUUWEMAwHuBX+I8zrDNXuffu6CM0EvgF+3ah2vVN5oslrhyGmgvAZrKfc1c60MXFGlQyf0i6Yp"
    "pzaOD28TpYysNKe2NvqqG+fpoqz5+ME0FO+G/T3qkz205mR780kLvofFJcWpBs870XkqpFYGQHTSgBZdgItJS8sj5P9BVfKK"
    "YisVcZ3/1F+necnghrMkzBjzjOYxLVuJ72swdcAnUFpsi9OL4rX5kOYO89PyPS3Zp3eC0nJc+77E+Qc8A3fq6f3rtmb4Af53"
    "S08/kM54C17UOA7KIbyyTNpaeNsa30K9M1o+hW2NGg9uPKR2S4hmxJjxsztRFBl8yqGIc4FuhSs+f/v6pbhw3Xa3HCiYHO9/"
    "AcMtiJs="
)


GOLDEN_DECISIONS = (
    Attributed(
        Incident(
            id="ac139eeb92ab8642b82dc1e38c0801a0",
            type="denial",
            priority="high",
            timestamp="1658264566.2610762",
            employee_id="799473",
            ip=None,
            fields={"reported_by": JsonNumber("799473"), "source_ip": "205.196.248.174"},
        ),
        "799473",
    ),
    Attributed(
        Incident(
            id="3e5c9f17eed44b85a95d002dd125acc4",
            type="intrusion",
            priority="medium",
            timestamp="1658265813.0215294",
            employee_id=None,
            ip="17.213.9.198",
            fields={"internal_ip": "17.213.9.198", "source_ip": "245.192.169.56"},
        ),
        "4506",
        was_unattributed=True,
    ),
    Attributed(
        Incident("e6ff4e05118428702d7ed0104881e4ea", "misuse", "low", "1658265140", "7", None, {}),
        "7",
    ),
    Unattributed(
        Incident(
            id="976ab87e023e9902c31ab5d26067df47",
            type="probing",
            priority="low",
            timestamp="1658265685.7209387",
            employee_id=None,
            ip="2001:db8::1",
            fields={"ip": "2001:DB8:0:0::1"},
        )
    ),
    Attributed(
        Incident(
            id="250473ec2f4fc045768ee4f58e74fde4",
            type="other",
            priority="low",
            timestamp="1.5",
            employee_id="42",
            ip=None,
            fields={
                "identifier": "42",
                "upstream_id": "theirs",
                "note": "\U0001f600 \ud800 \0",
                "n": [
                    JsonNumber("1.50"),
                    JsonNumber("-0"),
                    JsonNumber("1E+400"),
                    None,
                    True,
                    {"a": {}},
                ],
            },
        ),
        "42",
    ),
    Rejected(
        "af8c9ec435146a5046915934c9b8cbe3",
        "misuse",
        "not_an_object",
        "the record is not a JSON object",
        "null",
    ),
)


def test_an_old_entry_is_readable_for_ever() -> None:
    """An entry that the first version wrote, byte for byte, means today what it meant then."""
    assert decode_decisions(GOLDEN_ENTRY) == GOLDEN_DECISIONS


def test_unknown_members_of_an_entry_do_no_harm() -> None:
    """An entry of a neighbouring version during a deployment may say more: that is passed over."""
    records = parse(zlib.decompress(GOLDEN_ENTRY))
    assert isinstance(records, list)
    for record in records:
        record["added_later"] = [JsonNumber("1")]
        if "incident" in record:
            record["incident"]["added_later"] = None
    assert decode_decisions(zlib.compress(render(records).encode())) == GOLDEN_DECISIONS


@settings(deadline=None, max_examples=50)
@given(st.lists(decisions, max_size=6))
def test_what_is_forgotten_keeps_its_place_and_its_id(decided: list[Decision]) -> None:
    """Tokens of the feed name positions; the id is what keeps a record from coming in again."""
    forgotten = forget(decided)
    assert forgotten == tuple(Erased(each.record_id) for each in decided)
    assert decode_decisions(encode_decisions(forgotten)) == forgotten


def test_a_decision_of_a_later_version_is_refused() -> None:
    """What this version can't lay out it must not guess at."""
    entry = zlib.compress(b'[{"outcome":"of tomorrow","id":"1"}]')
    with pytest.raises(UnknownOutcomeError, match="of tomorrow"):
        decode_decisions(entry)


def test_a_thousand_erased_records_fit_into_an_entry() -> None:
    """With two places each, one of them of late."""
    full = [
        Erased(
            random.Random(number).randbytes(16).hex(),  # noqa: S311 - repeatable, not secret
            Traces(
                "12345678901234567890", f"16582645{number:02}.2610762", ((number, 3), (10_000 + number, 7))
            ),
        )
        for number in range(MAX_ENTRY_RECORDS)
    ]
    assert len(encode_decisions(full)) <= MAX_ENTRY_BYTES
    assert list(split_decisions(full)) == [tuple(full)]


def _incompressible(number: int, size: int) -> Unattributed:
    noise = random.Random(number).randbytes(size).hex()  # noqa: S311 - repeatable, not secret
    return Unattributed(
        Incident(
            f"{number:032x}", "probing", "low", "1.5", None, "10.0.0.1", {"ip": "10.0.0.1", "noise": noise}
        )
    )


def _rejected(number: int) -> Rejected:
    return Rejected(f"{number:032x}", "other", "missing_field", "priority is missing or null", "{}")


@pytest.mark.parametrize(
    ("decided", "portions"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([_rejected(n) for n in range(1)], [1], id="one"),
        pytest.param([_rejected(n) for n in range(1_000)], [1_000], id="just one entry"),
        pytest.param([_rejected(n) for n in range(1_001)], [1_000, 1], id="one too many"),
        pytest.param([_rejected(n) for n in range(2_500)], [1_000, 1_000, 500], id="several entries"),
        pytest.param([_incompressible(n, 4_000) for n in range(64)], None, id="large records"),
        pytest.param([_incompressible(n, 1_000) for n in range(1_003)], None, id="many large records"),
        pytest.param(
            [
                _rejected(1),
                _incompressible(2, 100_000),
                _rejected(3),
                _incompressible(4, 70_000),
                _rejected(5),
            ],
            None,
            id="records that are too large alone",
        ),
    ],
)
def test_portions_fit_into_entries(decided: list[Decision], portions: Sequence[int] | None) -> None:
    """Portions hold the same decisions in the same order; each fits an entry unless one alone is larger."""
    cut = list(split_decisions(decided))
    assert [decision for portion in cut for decision in portion] == decided
    assert all(1 <= len(portion) <= MAX_ENTRY_RECORDS for portion in cut)
    sizes = [len(encode_decisions(portion)) for portion in cut]
    assert all(size <= MAX_ENTRY_BYTES or len(portion) == 1 for size, portion in zip(sizes, cut, strict=True))
    if portions is not None:
        assert [len(portion) for portion in cut] == portions
    else:
        assert sum(sizes) > MAX_ENTRY_BYTES
        assert len(cut) <= 4 * sum(sizes) / MAX_ENTRY_BYTES, "far more entries than it takes"


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from([0, 10, 2_000, 30_000, 70_000])), max_size=12))
def test_any_mixture_of_sizes_is_cut_without_loss(sizes: list[tuple[int, int]]) -> None:
    """Whatever large and small records a poll brings, none is lost, doubled or moved."""
    decided: list[Decision] = [_incompressible(number, size) for number, size in sizes]
    cut = list(split_decisions(decided))
    assert [decision for portion in cut for decision in portion] == decided
    for portion in cut:
        assert len(portion) == 1 or len(encode_decisions(portion)) <= MAX_ENTRY_BYTES


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**9), st.integers(0, 10**9), st.lists(decisions, max_size=12), st.integers(0, 12))
def test_totals_are_what_the_decisions_make_them(
    before: int, waiting: int, decided: list[Decision], middle: int
) -> None:
    """Totals count what is in, and are the same whether the decisions come in one entry or in two."""
    totals = Totals(before, waiting + len(decided))
    after = totals.after(decided)
    assert after == totals.after(decided[:middle]).after(decided[middle:])
    attributed = [each for each in decided if isinstance(each, Attributed)]
    unattributed = sum(isinstance(each, Unattributed) for each in decided)
    assert after.incidents == totals.incidents + len(attributed)
    late = sum(each.was_unattributed for each in attributed)
    assert after.unattributed == totals.unattributed + unattributed - late
    assert Totals.from_text(after.to_text()) == after


def test_totals_as_text() -> None:
    """The text of the totals is final, and what a later version adds to it is passed over."""
    assert Totals(2_100, 300).to_text() == '{"incidents":2100,"unattributed":300}'
    assert Totals.from_text('{"later": 1, "unattributed": 300, "incidents": 2100}') == Totals(2_100, 300)
    assert Totals() == Totals(0, 0)
