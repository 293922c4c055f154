"""A source's answer is sorted out whole or not taken at all."""

import hashlib

import pytest

from shared.domain.exact_json import parse
from shared.domain.incident import INCIDENT_TYPES, SUBJECT_FIELDS, normalise, rejected_id
from shared.domain.journal import Rejected
from shared.domain.retention import Retention
from shared.domain.window import MalformedWindowError, Window, digest_ids, sort_out

NOW = 1_700_000_000.0
KEEP_ALL = Retention()
FIRST = '{"priority":"low","ip":"10.0.0.1","timestamp":1699999999.5}'
SECOND = '{"priority":"high","ip":"10.0.0.1","timestamp":1699999999.5}'


def probing(*records: str, retention: Retention = KEEP_ALL) -> Window:
    return sort_out("probing", parse('{"results":[' + ",".join(records) + "]}"), now=NOW, retention=retention)


def incident_id(record: str) -> str:
    return normalise("probing", parse(record), now=NOW).id


@pytest.mark.parametrize(
    "document",
    [
        *(
            "null",
            "true",
            "1",
            '"results"',
            "[]",
            '[{"results":[]}]',
            "{}",
            '{"result":[]}',
            '{"Results":[]}',
        ),
        *('{"results":null}', '{"results":{}}', '{"results":"[]"}', '{"results":1}', '{"results":true}'),
    ],
)
def test_answer_of_another_form_is_not_taken(document: str) -> None:
    """An answer that is not an object with a list of results fails the source: it is no empty window."""
    with pytest.raises(MalformedWindowError):
        sort_out("probing", parse(document), now=NOW, retention=KEEP_ALL)


@pytest.mark.parametrize("document", ['{"results":[]}', '{"next":null,"results":[],"count":0}'])
def test_empty_window_is_a_success(document: str) -> None:
    """A source without incidents is taken, whatever else its answer says."""
    window = sort_out("probing", parse(document), now=NOW, retention=KEEP_ALL)
    assert window == Window("probing", 0, {}, {}, 0)
    assert window.ids_by_hour() == {}


def test_equal_records_are_one_incident() -> None:
    """Records of one id are one incident, as it was served first; `records` still counts all of them."""
    again = FIRST.replace("}", ',"added":1}')
    window = probing(FIRST, SECOND, FIRST, again)
    assert window.records == 4
    assert list(window.incidents) == [incident_id(FIRST), incident_id(SECOND)]
    assert window.incidents[incident_id(FIRST)].fields == {"ip": "10.0.0.1"}
    assert (window.rejected, window.too_old) == ({}, 0)
    assert all(each.id == key for key, each in window.incidents.items())


def test_bad_record_is_set_aside_with_its_reason() -> None:
    """What can't be an incident is kept as text with code and reason; the rest goes on."""
    window = probing(FIRST, "null", '{"ip":"10.0.0.1", "x":1.50}', SECOND, "null")
    assert set(window.incidents) == {incident_id(FIRST), incident_id(SECOND)}
    assert window.records == 5
    null, no_priority = (
        rejected_id("probing", None),
        rejected_id("probing", parse('{"ip":"10.0.0.1","x":1.50}')),
    )
    assert window.rejected == {
        null: Rejected(null, "probing", "not_an_object", "the record is not a JSON object", "null"),
        no_priority: Rejected(
            no_priority,
            "probing",
            "missing_field",
            "priority is missing or null",
            '{"ip":"10.0.0.1","x":1.50}',
        ),
    }


def test_monstrous_records_are_set_aside_in_little_space() -> None:
    """Of a huge record a part is kept, of one too deep to be written what is not nested; neither stops the
    others, and no two that can be told apart count as one.
    """
    huge, deep = f'{{"x":"{"x" * 1_000_000}"}}', "[" * 5_000 + "]" * 5_000
    first, second = (FIRST.replace("}", f',"x":{deep}}}'), SECOND.replace("}", f',"x":{deep}}}'))
    window = probing(huge, deep, first, second, FIRST)
    assert list(window.incidents) == [incident_id(FIRST)]
    kept = [(each.code, each.record) for each in window.rejected.values()]
    assert kept == [
        ("too_large", huge[:4_096]),
        ("not_an_object", "too deep: {}"),
        ("too_deep", f"too deep: {FIRST}"),
        ("too_deep", f"too deep: {SECOND}"),
    ]
    assert window.records == 5


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (FIRST.replace("1699999999.5", "NaN"), "not_json"),
        (FIRST.replace("}", ',"score":[-Infinity]}'), "not_json"),
        (FIRST.replace("}", ',"priority":"high"}'), "repeated_field"),
        (FIRST.replace("}", ',"more":{"a":1,"a":2}}'), "repeated_field"),
    ],
)
def test_a_flaw_costs_its_record_alone(bad: str, code: str) -> None:
    """A value that is no JSON, or a field that says two things, is set aside as it came; the rest goes on."""
    answer = parse(f'{{"results":[{bad},{SECOND}]}}', mark_flaws=True)
    window = sort_out("probing", answer, now=NOW, retention=KEEP_ALL)
    assert list(window.incidents) == [incident_id(SECOND)]
    assert [(each.code, each.record) for each in window.rejected.values()] == [(code, bad)]


def test_several_lists_of_results_are_none() -> None:
    """Which of them is the window, nobody knows."""
    answer = parse(f'{{"results":[{FIRST}],"results":[{SECOND}]}}', mark_flaws=True)
    with pytest.raises(MalformedWindowError, match="several"):
        sort_out("probing", answer, now=NOW, retention=KEEP_ALL)


@pytest.mark.parametrize(
    ("timestamp", "days", "too_old"),
    [
        ("1699913600", 1, 0),
        ("1699913599", 1, 1),
        ("1699913599.5", 1, 1),
        ("1699913600.0000001", 1, 0),
        ("0", 400, 1),
        ("0", 0, 0),
    ],
)
def test_too_old_is_counted_and_not_kept(timestamp: str, days: int, too_old: int) -> None:
    """What is past the retention is counted and goes no further; without a retention nothing is too old."""
    old = FIRST.replace("1699999999.5", timestamp)
    window = probing(SECOND, old, retention=Retention(days))
    assert window.too_old == too_old
    assert set(window.incidents) == {incident_id(SECOND)} | ({incident_id(old)} if not too_old else set())
    assert (window.records, window.rejected) == (2, {})


@pytest.mark.parametrize("incident_type", INCIDENT_TYPES)
def test_each_source_is_read_by_its_own_rule(incident_type: str) -> None:
    """A record is judged as of the source that served it, whatever it says itself."""
    subject = "7" if incident_type in ("denial", "misuse", "unauthorized", "other") else '"10.0.0.1"'
    record = f'{{"type":"x","priority":"low","timestamp":1,"{SUBJECT_FIELDS[incident_type]}":{subject}}}'
    window = sort_out(incident_type, parse(f'{{"results":[{record}]}}'), now=NOW, retention=KEEP_ALL)
    assert [each.type for each in window.incidents.values()] == [window.type] == [incident_type]
    others = [each for each in INCIDENT_TYPES if SUBJECT_FIELDS[each] != SUBJECT_FIELDS[incident_type]]
    for other in others:
        assert sort_out(other, parse(f'{{"results":[{record}]}}'), now=NOW, retention=KEEP_ALL).rejected


def test_ids_by_hour() -> None:
    """Each id is in the bucket of its timestamp's hour, rejected ones apart; none is in two or in none."""
    records = [
        FIRST.replace("1699999999.5", each) for each in ("0", "3599.9999999", "3600", "7200.0", "7199")
    ]
    by_hour = probing(*records, "null", "1", records[0]).ids_by_hour()
    ids = [incident_id(record) for record in records]
    rejected = {rejected_id("probing", parse(each)) for each in ("null", "1")}
    assert {hour: set(found) for hour, found in by_hour.items()} == {
        0: {ids[0], ids[1]},
        1: {ids[2], ids[4]},
        2: {ids[3]},
        -1: rejected,
    }
    assert sum(map(len, by_hour.values())) == len(records) + len(rejected)


def test_digest_of_ids() -> None:
    """A digest is 96 bits of SHA-256 over the ids: the same in any order, another for any other set."""
    ids = [hashlib.sha256(bytes([number])).hexdigest()[:32] for number in range(50)]
    assert digest_ids(ids) == digest_ids(ids[::-1])
    assert len(digest_ids(ids)) == 12
    sets = [ids, [], *(ids[:number] + ids[number + 1 :] for number in range(50)), *([each] for each in ids)]
    assert len({digest_ids(each) for each in sets}) == len(sets)
    # Digests are stored: other ones would make the next poll read everything again.
    assert digest_ids(["b", "a"]).hex() == "7e18f737311b2dc3b2f269dd"
