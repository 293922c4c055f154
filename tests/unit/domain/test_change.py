"""A line of the changes feed is the incident, whole and flat, and where in the journal it stands."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from shared.domain.change import Change
from shared.domain.exact_json import JsonNumber, JsonValue, parse, render
from shared.domain.incident import INCIDENT_TYPES, Incident, normalise
from shared.domain.journal import Attributed, decode_decisions, encode_decisions

NOW = 1_795_415_000
CAPTURE = Path(__file__).parents[4] / "shared" / "upstream-capture"
RECORDS: dict[str, str] = {
    "denial": '{"reported_by":4506,"source_ip":"1.2.3.4","timestamp":1500020421.9333,"priority":"low"}',
    "intrusion": '{"internal_ip":"10.0.0.1","source_ip":"::1","timestamp":1500020421,"priority":"medium"}',
    "executable": '{"machine_ip":"17.99.238.86","timestamp":1500020421.10,"priority":"high"}',
    "misuse": '{"employee_id":4506,"timestamp":1500020421.1234567,"priority":"critical"}',
    "unauthorized": '{"employee_id":"0042","timestamp":0.5,"priority":"low"}',
    "probing": '{"ip":"10.0.0.1","timestamp":9,"priority":"low"}',
    "other": '{"identifier":"4506","timestamp":1500020421.9333,"priority":"low"}',
}


def make_incident(incident_type: str, text: str) -> Incident:
    return normalise(incident_type, parse(text), now=NOW)


def make_change(incident_type: str, text: str | None = None, employee_id: str = "4506") -> Change:
    incident = make_incident(incident_type, text or RECORDS[incident_type])
    return Change(incident, incident.employee_id or employee_id, 42, "2026-11-23T06:00:00Z")


def test_all_types_are_tried() -> None:
    """The tests below are about every type that there is."""
    assert set(RECORDS) == set(INCIDENT_TYPES)


@pytest.mark.parametrize("incident_type", INCIDENT_TYPES)
def test_a_line_is_the_incident_and_where_it_stands(incident_type: str) -> None:
    """All that `/incidents` shows of it, digit by digit, then `sequence` and `ingested_at`; nothing else."""
    change = make_change(incident_type)
    shown = change.incident.render(change.employee_id)
    expected = f'{shown[:-1]},"sequence":42,"ingested_at":"2026-11-23T06:00:00Z"}}'
    assert render(change.flat()) == expected
    assert json.loads(expected)["type"] == incident_type


@pytest.mark.parametrize("incident_type", INCIDENT_TYPES)
def test_every_upstream_field_is_kept_with_its_digits(incident_type: str) -> None:
    """Each field of the record comes back as it was written; only what the service names itself, and the
    normal form of an employee id, is the service's.
    """
    extra = '"note":"ü","score":1.10,"big":123456789012345678901234567890,"nested":{"a":[1e2,null,true]}'
    text = f"{RECORDS[incident_type][:-1]},{extra}}}"
    flat = make_change(incident_type, text).flat()
    record = parse(text)
    assert isinstance(record, dict)
    kept: dict[str, JsonValue] = {name: value for name, value in record.items() if name != "employee_id"}
    assert len(kept) >= 6
    assert {name: flat[name] for name in kept} == kept
    assert render(flat).count("1e2,null,true") == 1
    assert '"score":1.10,"big":123456789012345678901234567890,' in render(flat)


def test_an_upstream_field_never_passes_for_one_of_ours() -> None:
    """A hostile upstream that sends our own names changes nothing of what they say; none of it is lost."""
    own = '"id":"x","type":"y","sequence":7,"ingested_at":"never","employee_id":99'
    change = make_change("probing", f"{RECORDS['probing'][:-1]},{own}}}")
    flat = change.flat()
    assert flat["id"] == change.incident.id != "x"
    assert (flat["type"], flat["employee_id"], flat["ingested_at"]) == (
        "probing",
        "4506",
        "2026-11-23T06:00:00Z",
    )
    assert flat["sequence"] == JsonNumber("42")
    moved = {name: flat[f"upstream_{name}"] for name in ("id", "type", "sequence", "ingested_at")}
    assert moved == {"id": "x", "type": "y", "sequence": JsonNumber("7"), "ingested_at": "never"}
    assert flat["upstream_employee_id"] == JsonNumber("99")


@pytest.mark.parametrize("incident_type", INCIDENT_TYPES)
def test_a_line_is_flat_where_the_upstream_is(incident_type: str) -> None:
    """Nothing is wrapped: a SIEM reads each known field at the top."""
    for name, value in make_change(incident_type).flat().items():
        assert isinstance(value, str | JsonNumber), name


@pytest.mark.parametrize("incident_type", INCIDENT_TYPES)
def test_a_line_is_the_same_before_and_after_the_journal(incident_type: str) -> None:
    """What the journal gives back is told just as what was put into it: a token's second reading agrees."""
    change = make_change(incident_type)
    stored = encode_decisions([Attributed(change.incident, change.employee_id)])
    (decision,) = decode_decisions(stored)
    assert isinstance(decision, Attributed)
    again = Change(decision.incident, decision.employee_id, change.sequence, change.ingested_at)
    assert render(again.flat()) == render(change.flat())


@pytest.mark.skipif(
    not CAPTURE.is_dir(),
    reason="the upstream's capture lies beside the checkout only where the project is developed",
)
@pytest.mark.parametrize("incident_type", INCIDENT_TYPES)
def test_the_real_capture(incident_type: str) -> None:
    """Of every real incident the line holds each field exactly as the upstream served it."""
    document = parse((CAPTURE / f"{incident_type}.json").read_bytes())
    assert isinstance(document, dict)
    records = document["results"]
    assert isinstance(records, list)
    assert len(records) >= 19
    for record in records:
        incident = normalise(incident_type, record, now=NOW)
        flat = Change(incident, incident.employee_id or "1", 1, "2026-11-23T06:00:00Z").flat()
        for name, value in record.items():
            shown = flat[name]
            text = value.text if isinstance(value, JsonNumber) else value
            assert (shown.text if isinstance(shown, JsonNumber) else shown) == text, name
        assert Decimal(incident.timestamp) == Decimal(str(flat["timestamp"].text))  # type: ignore[union-attr]  # a number with its text
