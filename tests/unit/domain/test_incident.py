"""Seven shapes of hostile records become incidents with ids for ever, or are rejected with a reason."""

import ipaddress
import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.domain.exact_json import JsonNumber, JsonValue, parse, render
from shared.domain.incident import (
    INCIDENT_TYPES,
    MAX_INCIDENT_BYTES,
    MAX_RECORD_DEPTH,
    PRIORITIES,
    SUBJECT_FIELDS,
    Incident,
    RejectedRecordError,
    canonical_employee_id,
    canonical_ip,
    normalise,
    rejected_id,
)
from shared.domain.window import digest_ids

NOW = 1_700_000_000.5
IN_A_DAY = "1700086400.5"
CAPTURE = Path(__file__).parents[4] / "shared" / "upstream-capture"

# One record of each type, each field as the JSON text that the upstream would send.
RECORDS: Mapping[str, Mapping[str, str]] = {
    "denial": {
        "priority": '"high"',
        "reported_by": "799473",
        "timestamp": "1658264566.2610762",
        "source_ip": '"205.196.248.174"',
    },
    "intrusion": {
        "priority": '"medium"',
        "internal_ip": '"17.213.9.198"',
        "source_ip": '"245.192.169.56"',
        "timestamp": "1658265813.0215294",
    },
    "executable": {"priority": '"medium"', "machine_ip": '"17.99.238.86"', "timestamp": "1500020421.9333"},
    "misuse": {"priority": '"low"', "employee_id": '"007"', "timestamp": "1658265140"},
    "unauthorized": {"priority": '"critical"', "employee_id": "270830", "timestamp": "1658264318.0350347"},
    "probing": {"priority": '"low"', "ip": '"2001:DB8:0:0::1"', "timestamp": "1658265685.7209387"},
    "other": {"priority": '"critical"', "identifier": "951559", "timestamp": "1658265554.6940808"},
}
EMPLOYEE_TYPES = ("denial", "misuse", "unauthorized")
IP_TYPES = ("intrusion", "executable", "probing")

# (type, changes, id, employee id, IP)
GOLDEN = [
    ("denial", {}, "ac139eeb92ab8642b82dc1e38c0801a0", "799473", None),
    ("denial", {"source_ip": None}, "e3444480d5139f2bca5051c1df4ec77e", "799473", None),
    ("intrusion", {}, "3e5c9f17eed44b85a95d002dd125acc4", None, "17.213.9.198"),
    ("executable", {}, "a49b5ea58ce9b5d337a459a45fa479a3", None, "17.99.238.86"),
    ("misuse", {}, "e6ff4e05118428702d7ed0104881e4ea", "7", None),
    ("unauthorized", {}, "6b7912d69cabcf1e8ef05d59d6ef4928", "270830", None),
    ("probing", {}, "976ab87e023e9902c31ab5d26067df47", None, "2001:db8::1"),
    ("other", {}, "9acaa03fbd2525cd0c027f62df060289", "951559", None),
    ("other", {"identifier": '"17.62.183.15"'}, "63a76dd73b510ac0d34fa01b0005aaba", None, "17.62.183.15"),
]


def record(incident_type: str, changes: Mapping[str, str | None] | None = None) -> JsonValue:
    """The type's record with fields replaced, added or (None) left out, parsed from its JSON."""
    fields = {name: text for name, text in {**RECORDS[incident_type], **(changes or {})}.items() if text}
    return parse("{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in fields.items()) + "}")


def take(incident_type: str, changes: Mapping[str, str | None] | None = None) -> Incident:
    return normalise(incident_type, record(incident_type, changes), now=NOW)


def shown(incident: Incident, employee_id: str = "4506") -> dict[str, JsonValue]:
    """What clients get, parsed; a field that were written twice would raise."""

    def unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
        assert len({name for name, _ in pairs}) == len(pairs)
        return dict(pairs)

    text = incident.render(employee_id)
    return json.loads(text, object_pairs_hook=unique, parse_int=JsonNumber, parse_float=JsonNumber)


@pytest.mark.parametrize(("incident_type", "changes", "incident_id", "employee_id", "ip"), GOLDEN)
def test_whom_it_is_about_and_its_id_for_ever(
    incident_type: str,
    changes: Mapping[str, str | None],
    incident_id: str,
    employee_id: str | None,
    ip: str | None,
) -> None:
    """Each type names its employee by its own field, and an id never changes between versions."""
    incident = take(incident_type, changes)
    assert (incident.employee_id, incident.ip) == (employee_id, ip)
    assert incident.id == incident_id, "ids are stored for ever: a new one would double every incident"
    assert incident.type == incident_type
    assert f'"{incident.priority}"' == RECORDS[incident_type]["priority"]
    assert incident.timestamp == RECORDS[incident_type]["timestamp"]


def test_every_type_has_a_golden_id() -> None:
    """No type is added without its golden id."""
    assert {each[0] for each in GOLDEN} == set(INCIDENT_TYPES) == set(RECORDS)


@pytest.mark.parametrize("incident_type", INCIDENT_TYPES)
def test_id_depends_on_the_documented_fields_only(incident_type: str) -> None:
    """A field that the upstream adds one day, another order or another employee makes no new incident."""
    extra = {"severity_v2": '{"a":[1.0]}', "id": '"x"', "type": '"other"', "sequence": "1"}
    if incident_type not in ("denial", "intrusion"):
        extra["source_ip"] = '"10.0.0.1"'
    incident = take(incident_type)
    assert take(incident_type, extra).id == incident.id
    original = record(incident_type)
    assert isinstance(original, Mapping)
    backwards = dict(reversed(original.items()))
    assert list(backwards) != list(original)
    assert normalise(incident_type, backwards, now=NOW).id == incident.id
    assert shown(incident, "1")["id"] == shown(incident, "2")["id"] == incident.id


def test_id_tells_apart_all_that_is_documented_and_nothing_else() -> None:
    """Over every combination of nasty values: two records share an id just when their meaning is the same."""
    timestamps = ["1", "1.0", "1.00", "11"]
    subjects = {
        '"007"': "7",
        "7": "7",
        '"77"': "77",
        "70": "70",
        '"1.1.1.1"': "ip 1.1.1.1",
        '"2001:DB8:0::1"': "ip 2001:db8::1",
        '"2001:db8:0:0:0:0:0:1"': "ip 2001:db8::1",
    }
    sources = [None, '""', '"null"', '"1"', "1", "1.0", r'"\n1"', '"7\\n1"', '["1"]']
    meaning_by_id: dict[str, tuple[str | None, ...]] = {}
    id_by_meaning: dict[tuple[str | None, ...], str] = {}
    for incident_type, priority, timestamp, subject, source in itertools.product(
        INCIDENT_TYPES, PRIORITIES, timestamps, subjects, sources
    ):
        changes = {
            "priority": f'"{priority}"',
            "timestamp": timestamp,
            SUBJECT_FIELDS[incident_type]: subject,
            "source_ip": source,
        }
        try:
            incident = take(incident_type, changes)
        except RejectedRecordError:
            assert subjects[subject].startswith("ip") == (incident_type in EMPLOYEE_TYPES)
            continue
        documented_source = source if incident_type in ("denial", "intrusion") else None
        meaning = (incident_type, priority, timestamp, subjects[subject], documented_source)
        assert meaning_by_id.setdefault(incident.id, meaning) == meaning
        assert id_by_meaning.setdefault(meaning, incident.id) == incident.id
    # by hand: subjects a type can have, times sources where they are documented
    meanings = (3 * 9 + 2 * 9 + 2 + 3 + 3 + 2 + 5) * len(PRIORITIES) * len(timestamps)
    assert len(meaning_by_id) == len(id_by_meaning) == meanings
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in meaning_by_id)


def words(text: str) -> list[str]:
    return text.split()


NO_SUBJECT = words(
    r"""
    true false [] {} [7] {"a":7} "" "abc" -1 "-1" 1.0 "1.0" 7e0 "+7" "7_0" "0x7" "4506#1658264566" "4506$"
    "7\u0000" "7\n" "\u0020" "\u00207" "7\u0020" "\u0667" "\uff17" "\ud800" 111111111111111111111
    "000000000000000000000" "\u002017.1.1.1" "17.1.1.1\u0020" "17.1.1.1\n" "017.1.1.1" "17.1.1" "17.1.1.256"
    "17.1.1.1/32" "17.1.1.1:80" "1\uff17.1.1.1" "fe80::1%eth0" "::1%" "[::1]" ":::" "1:2:3:4:5:6:7:8:9"
    "::g" "::1#" "::\ud800"
    """
)
NO_PRIORITY = words(r'"High" "HIGH" "high\u0020" "" "urgent" 1 true ["high"] {"high":1}')
NO_TIMESTAMP = words(
    """
    "1658264566.5" true [] {} "NaN" "2022-07-19T21:02:46Z" -1 -0 -1658264566.5 1e9 1.6E9 1658264566e0
    1658264566.12345678 1658264566.00000000 10000000000
    """
)
REJECTIONS = [
    *(
        pytest.param(
            incident_type, field, [None, "null"], "missing_field", id=f"no {field} in {incident_type}"
        )
        for incident_type in INCIDENT_TYPES
        for field in ("priority", "timestamp", SUBJECT_FIELDS[incident_type])
    ),
    *(
        pytest.param(
            incident_type,
            SUBJECT_FIELDS[incident_type],
            [*NO_SUBJECT, *others],
            code,
            id=f"bad {SUBJECT_FIELDS[incident_type]} in {incident_type}",
        )
        for types, others, code in (
            (EMPLOYEE_TYPES, ['"17.1.1.1"', '"::1"'], "invalid_employee_id"),
            (IP_TYPES, ["7", '"7"', "17.1", '"4506"', "281474976710655"], "invalid_ip"),
            (("other",), [], "invalid_identifier"),
        )
        for incident_type in types
    ),
    pytest.param("other", "priority", NO_PRIORITY, "unknown_priority", id="bad priority"),
    pytest.param("other", "timestamp", NO_TIMESTAMP, "invalid_timestamp", id="bad timestamp"),
    pytest.param(
        "other",
        "timestamp",
        ["1700086400.5000001", "1700086401", "9999999999.9999999"],
        "timestamp_in_future",
        id="timestamp in the future",
    ),
]


@pytest.mark.parametrize(("incident_type", "field", "values", "code"), REJECTIONS)
def test_record_that_is_rejected(incident_type: str, field: str, values: list[str | None], code: str) -> None:
    """What can't be an incident is rejected with a word to count and a sentence that names the field only."""
    assert values
    for value in values:
        try:
            incident = take(incident_type, {field: value, "note": '"hunter2"'})
        except RejectedRecordError as error:
            outcome = (error.code, field in str(error) and "hunter2" not in str(error))
        else:
            outcome = (incident.id, True)
        assert outcome == (code, True), value


@pytest.mark.parametrize("document", ["null", "[]", "[[]]", '"x"', "1", "true", "{}"])
def test_what_is_no_record(document: str) -> None:
    """Anything but an object with the fields is set aside too."""
    with pytest.raises(RejectedRecordError) as raised:
        normalise("other", parse(document), now=NOW)
    assert raised.value.code == ("missing_field" if document == "{}" else "not_an_object")


@pytest.mark.parametrize(
    ("incident_type", "field", "value"),
    [
        ("other", "timestamp", "0"),
        ("other", "timestamp", "0.0000000"),
        ("other", "timestamp", "1658264566.0000000"),
        ("other", "timestamp", "1700086400.4999999"),
        ("other", "timestamp", IN_A_DAY),
        ("other", "timestamp", IN_A_DAY + "000000"),
        ("denial", "reported_by", "0"),
        ("denial", "reported_by", "9" * 20),
        ("denial", "reported_by", '"' + "0" * 20 + '"'),
        ("denial", "source_ip", "[]"),
        ("denial", "source_ip", "null"),
        ("probing", "ip", '"255.255.255.255"'),
        ("probing", "ip", '"::"'),
    ],
)
def test_record_at_the_edge_is_taken(incident_type: str, field: str, value: str) -> None:
    """What is just within the rules is an incident: nothing is rejected that need not be."""
    incident = take(incident_type, {field: value})
    if field == "timestamp":
        assert incident.timestamp == value
        assert f'"timestamp":{value}}}' in incident.render("1")


@pytest.mark.parametrize(
    ("text", "employee_id"),
    [("0", "0"), ("00", "0"), ("007", "7"), ("70", "70"), ("9" * 20, "9" * 20), ("", None), ("9" * 21, None)],
)
def test_employee_id_has_one_spelling(text: str, employee_id: str | None) -> None:
    """007 and 7 are one employee, and an id has 1 to 20 digits."""
    assert canonical_employee_id(text) == employee_id


@pytest.mark.parametrize(
    ("text", "ip"),
    [
        ("17.99.238.86", "17.99.238.86"),
        ("2001:DB8::1", "2001:db8::1"),
        ("2001:0db8:0000:0:0:0:0:0001", "2001:db8::1"),
        ("::FFFF:1.2.3.4", "::ffff:1.2.3.4"),
        ("::ffff:102:304", "::ffff:1.2.3.4"),
        ("fe80::1%1", None),
    ],
)
def test_ip_has_one_spelling(text: str, ip: str | None) -> None:
    """An address is known by one spelling, the same in every version of Python: ids are made of it."""
    assert canonical_ip(text) == ip


numbers_of_an_address = st.integers(0, 300).map(str) | st.sampled_from(
    ["00", "01", "\u0663", "+1", "", "1\n", "0x1"]
)


@given(st.lists(numbers_of_an_address, min_size=3, max_size=5).map(".".join))
def test_the_quick_way_finds_the_same_addresses(text: str) -> None:
    """What looks like an IPv4 address is one just where Python's ipaddress says so, in the same spelling."""
    try:
        expected = str(ipaddress.ip_address(text))
    except ValueError:
        expected = None
    assert canonical_ip(text) == expected


@given(
    st.dictionaries(st.text(max_size=40), st.text(max_size=900), max_size=6),
    st.sampled_from(["x", "\u00e9", "\U0001f600", "\ud800", '"', "\0"]),
    st.integers(0, 3000),
)
def test_the_quick_way_takes_nothing_that_is_too_large(
    fields: dict[str, str], character: str, more: int
) -> None:
    """A record is taken just where all of its JSON is within the limit, whatever its characters take."""
    texts = {name: json.dumps(value) for name, value in fields.items() if name not in RECORDS["other"]}
    texts["more"] = json.dumps(character * more)
    fits = len(render(record("other", texts))) <= MAX_INCIDENT_BYTES
    if fits:
        assert take("other", texts).fields
        return
    with pytest.raises(RejectedRecordError) as raised:
        take("other", texts)
    assert raised.value.code == "too_large"


def test_record_that_is_too_large() -> None:
    """A record may take 16 KB of JSON and not a byte more."""
    free = MAX_INCIDENT_BYTES - len(render(record("other", {"note": '""'})))
    assert len(take("other", {"note": f'"{"x" * free}"'}).render("1")) > free
    for note in ("x" * (free + 1), "é" * (free // 6 + 1), "x" * 10_000_000):
        with pytest.raises(RejectedRecordError) as raised:
            take("other", {"note": f'"{note}"'})
        assert raised.value.code == "too_large"


def test_record_that_is_too_deep() -> None:
    """A record nested deeper than can be stored is rejected, however deep, and has an id all the same."""

    def deep(levels: int) -> dict[str, str | None]:
        return {"note": "[" * levels + "]" * levels}

    assert take("other", deep(MAX_RECORD_DEPTH - 1))
    for levels in (MAX_RECORD_DEPTH + 1, 5_000):
        with pytest.raises(RejectedRecordError) as raised:
            take("other", deep(levels))
        assert raised.value.code == "too_deep"
    deeper = record("other", deep(5_000))
    assert rejected_id("other", record("other", deep(200))) == rejected_id("other", deeper)
    assert rejected_id("misuse", deeper) != rejected_id("other", deeper)
    another = record("other", {**deep(200), "timestamp": "7"})
    assert len({rejected_id("other", each) for each in (deeper, another, parse("[" * 200 + "]" * 200))}) == 3


def test_id_of_a_rejected_record() -> None:
    """A rejected record is known by its type and the whole of its JSON; its id never changes either."""
    assert rejected_id("denial", parse('{"b": 1.50, "a": null}')) == "e93a717564eb2c615efb6a6cf7c92083"
    documents = ("{}", "[]", "null", "1", "1.0", '"1"', '{"a":1}', '{"a":2}', '"nested too deeply"')
    ids = {rejected_id(each, parse(document)) for each in INCIDENT_TYPES for document in documents}
    assert len(ids) == len(INCIDENT_TYPES) * len(documents)


def test_rendered_incident() -> None:
    """Clients get the form of the contract: digits as they came, `timestamp` at the end."""
    assert take("executable").render("4506") == (
        '{"id":"a49b5ea58ce9b5d337a459a45fa479a3","employee_id":"4506","type":"executable",'
        '"priority":"medium","machine_ip":"17.99.238.86","timestamp":1500020421.9333}'
    )


@pytest.mark.parametrize("incident_type", INCIDENT_TYPES)
def test_every_upstream_field_is_shown_as_it_came(incident_type: str) -> None:
    """All that the upstream said is there, with the digits it had; names of our own move aside."""
    own = {"id": "1.50", "type": '"theirs"', "sequence": "1E5", "ingested_at": "null"}
    if incident_type not in ("misuse", "unauthorized"):
        own["employee_id"] = "[0.10]"
    extra = {"score": "1.500", "big": "9" * 30, "nested": '{"id":-0,"é":[1e2,{}]}', "": "0", "__class__": "0"}
    answer = shown(take(incident_type, {**own, **extra}), "4506")
    kept = {
        name: parse(text)
        for name, text in {**RECORDS[incident_type], **extra}.items()
        if name != "employee_id"
    }
    moved = {f"upstream_{name}": parse(text) for name, text in own.items()}
    if incident_type == "misuse":
        # Its employee is "007" to the upstream and 7 here: both are shown.
        moved["upstream_employee_id"] = "007"
    ours = {"id": take(incident_type).id, "employee_id": "4506", "type": incident_type}
    assert answer == {**kept, **moved, **ours}


@pytest.mark.parametrize(
    ("incident_type", "sent", "moved"),
    [
        ("misuse", "7", None),
        ("misuse", '"7"', None),
        ("unauthorized", '"007"', '"007"'),
        ("unauthorized", '"' + "0" * 20 + '"', '"' + "0" * 20 + '"'),
    ],
)
def test_employee_id_as_it_was_sent_is_kept_too(incident_type: str, sent: str, moved: str | None) -> None:
    """An employee id that the upstream spells with zeros in front is shown both ways, no digit lost."""
    incident = take(incident_type, {"employee_id": sent})
    assert incident.employee_id == (sent.strip('"').lstrip("0") or "0")
    answer = shown(incident, incident.employee_id)
    assert answer["employee_id"] == incident.employee_id
    assert answer.get("upstream_employee_id") == (parse(moved) if moved else None)


OWN_NAMES = ("id", "employee_id", "type", "sequence", "ingested_at")
MOVING_NAMES = [f"{'upstream_' * times}{name}" for name in OWN_NAMES for times in range(4)]


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(INCIDENT_TYPES), st.lists(st.sampled_from(MOVING_NAMES), unique=True, max_size=12))
@example("denial", ["id", "upstream_id"])
@example("denial", ["upstream_id", "id"])
@example("misuse", ["upstream_employee_id"])
def test_no_field_is_lost_when_names_move_aside(incident_type: str, names: list[str]) -> None:
    """Where the upstream has a field of the very name to which another moves, both are kept all the same."""
    own = set(RECORDS[incident_type])
    values = {name: f"{number}.50" for number, name in enumerate(names, start=100) if name not in own}
    incident = take(incident_type, values)
    answer = shown(incident)
    kept = [value.text for value in answer.values() if isinstance(value, JsonNumber)]
    assert sorted(set(kept) & set(values.values())) == sorted(values.values())
    for name, text in values.items():
        if name not in OWN_NAMES:
            assert answer[name] == JsonNumber(text), "a name that is free stays"
    assert (answer["id"], answer["employee_id"], answer["type"]) == (incident.id, "4506", incident_type)
    if incident_type == "misuse":
        assert "007" in answer.values()


# The attacker's view.

HOSTILE_TEXTS = [
    "\0",
    "7\n",
    "\x1b[2J",
    "\ud800",
    "7\ud800",
    "#",
    "4506#1658264566.2610762#",
    "4506$",
    "${jndi:ldap://x}",
    "\u202e7",
    '"},"x":{"',
    "\u0667",
    "7" * 21,
    "x" * 20_000,
]
KEY_PARTS = (r"[1-9][0-9]{0,19}|0", r"[0-9]{1,10}(\.[0-9]{1,7})?", r"[0-9a-f]{32}")


@pytest.mark.parametrize("text", [*HOSTILE_TEXTS, "x" * 10_000_000], ids=lambda text: ascii(text)[:30])
@pytest.mark.parametrize("incident_type", INCIDENT_TYPES)
def test_hostile_text_never_becomes_a_key(incident_type: str, text: str) -> None:
    """Text that could break or forge a key is rejected where it says whom or when, without being quoted."""
    for field in ("priority", "timestamp", SUBJECT_FIELDS[incident_type]):
        original = record(incident_type)
        assert isinstance(original, Mapping)
        with pytest.raises(RejectedRecordError) as raised:
            normalise(incident_type, {**original, field: text}, now=NOW)
        assert len(str(raised.value)) < 120
        assert str(raised.value).isascii()
        assert len(text) < 3 or text not in str(raised.value)


@pytest.mark.parametrize("text", HOSTILE_TEXTS[:-1], ids=lambda text: ascii(text)[:30])
def test_hostile_text_elsewhere_is_kept_and_does_no_harm(text: str) -> None:
    """As another field, or as a field's name, the same text is kept and written as plain ASCII JSON."""
    original = record("denial")
    assert isinstance(original, Mapping)
    incident = normalise("denial", {**original, "source_ip": text, f"name {text}": text}, now=NOW)
    rendered = incident.render("4506")
    assert rendered.isascii()
    assert rendered.isprintable()
    answer = shown(incident)
    assert answer["source_ip"] == answer[f"name {text}"] == text
    assert (answer["employee_id"], answer["id"]) == ("4506", incident.id)


def test_any_record_is_an_incident_with_safe_keys_or_is_rejected() -> None:
    """Whatever JSON a record is made of, it raises nothing but a rejection, or its key parts are safe."""
    outcomes: Counter[str] = Counter()
    anything = st.recursive(
        st.none()
        | st.booleans()
        | st.sampled_from(HOSTILE_TEXTS)
        | st.text(max_size=5)
        | st.from_regex(r"-?(0|[1-9][0-9]{0,21})(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?", fullmatch=True).map(
            JsonNumber
        ),
        lambda children: (
            st.lists(children, max_size=2) | st.dictionaries(st.text(max_size=3), children, max_size=2)
        ),
        max_leaves=4,
    )
    names = sorted({name for each in RECORDS.values() for name in each} | {"id", "type", "x", "#", "\0"})

    @settings(deadline=None, max_examples=1_000, database=None)
    @given(
        incident_type=st.sampled_from(INCIDENT_TYPES),
        changes=st.dictionaries(st.sampled_from(names), anything, max_size=3),
    )
    def check(incident_type: str, changes: dict[str, JsonValue]) -> None:
        original = record(incident_type)
        assert isinstance(original, Mapping)
        try:
            incident = normalise(incident_type, {**original, **changes}, now=NOW)
        except RejectedRecordError as error:
            outcomes[error.code] += 1
            return
        outcomes["taken"] += 1
        assert (incident.employee_id is None) != (incident.ip is None)
        for pattern, part in zip(
            KEY_PARTS, (incident.employee_id or "0", incident.timestamp, incident.id), strict=True
        ):
            assert re.fullmatch(pattern, part, re.ASCII)
        assert incident.ip is None or canonical_ip(incident.ip) == incident.ip
        assert incident.priority in PRIORITIES
        rendered = incident.render("4506")
        assert rendered.isascii()
        assert rendered.isprintable()
        assert shown(incident)["id"] == incident.id

    check()
    assert outcomes["taken"] > 100
    assert len(outcomes) >= 5
    assert all(re.fullmatch(r"[a-z_]{1,30}", code) for code in outcomes)


@pytest.mark.skipif(not CAPTURE.is_dir(), reason="the capture of the real upstream is not beside the project")
def test_the_real_upstream() -> None:
    """All 2,100 records of the capture are incidents, each its own, every digit kept, ids as ever."""
    ids: list[str] = []
    for incident_type in INCIDENT_TYPES:
        document = (CAPTURE / f"{incident_type}.json").read_text()
        answer = parse(document)
        assert isinstance(answer, Mapping)
        results = answer["results"]
        assert isinstance(results, list)
        for each in results:
            incident = normalise(incident_type, each, now=NOW)
            ids.append(incident.id)
            answered = shown(incident, "1")
            assert {**each, "employee_id": "1"}.items() <= answered.items()
            assert f'"timestamp": {incident.timestamp}' in document
    assert len(ids) == len(set(ids)) == 2_100
    assert digest_ids(ids).hex() == "edfa1b39e144ec021d434d16"
