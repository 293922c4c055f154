"""A finding is a Detection Finding as OCSF 1.3.0 defines it, and holds the incident whole.

The attributes and their requirements are written down here from schema.ocsf.io, not taken from the code.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from shared.domain.change import Change
from shared.domain.exact_json import parse, render
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES, normalise
from shared.domain.ocsf import to_detection_finding

NOW = 1_795_415_000
VERSION = "1.2.3"
INGESTED_AT = "2026-11-23T06:00:00Z"
INGESTED_MILLISECONDS = 1_795_413_600_000
RECORDS: dict[str, str] = {
    "denial": '{"reported_by":4506,"source_ip":"1.2.3.4","timestamp":1500020421.9333,"priority":"low"}',
    "intrusion": '{"internal_ip":"10.0.0.1","source_ip":"::1","timestamp":1500020421,"priority":"medium"}',
    "executable": '{"machine_ip":"17.99.238.86","timestamp":1500020421.10,"priority":"high"}',
    "misuse": '{"employee_id":4506,"timestamp":1500020421.1234567,"priority":"critical"}',
    "unauthorized": '{"employee_id":"0042","timestamp":0.5,"priority":"low"}',
    "probing": '{"ip":"10.0.0.1","timestamp":9999999.9999999,"priority":"low"}',
    "other": '{"identifier":"fe80::1","timestamp":1500020421.9333,"priority":"low"}',
}
EXTRA = '"note":"ü","score":1.10,"big":123456789012345678901234567890,"nested":{"a":[1e2,null,true]}'
REQUIRED = {
    "activity_id",
    "category_uid",
    "class_uid",
    "finding_info",
    "metadata",
    "severity_id",
    "time",
    "type_uid",
}
# Of the class, with those of the base event: name and type (a dict is an object of these attributes).
FINDING: Mapping[str, Any] = {
    "activity_id": int,
    "activity_name": str,
    "category_uid": int,
    "category_name": str,
    "class_uid": int,
    "class_name": str,
    "type_uid": int,
    "type_name": str,
    "time": int,
    "severity_id": int,
    "severity": str,
    "status_id": int,
    "status": str,
    "message": str,
    "metadata": {
        "version": str,
        "uid": str,
        "sequence": int,
        "logged_time": int,
        "original_time": str,
        "product": {"name": str, "vendor_name": str, "version": str},
    },
    "finding_info": {"uid": str, "title": str, "types": [str], "created_time": int},
    "resources": [{"type": str, "uid": str}],
    "observables": [{"name": str, "type_id": int, "type": str, "value": str}],
}


def make_change(
    incident_type: str, text: str | None = None, *, employee_id: str = "4506", sequence: int = 42
) -> Change:
    incident = normalise(incident_type, parse(text or RECORDS[incident_type]), now=NOW)
    return Change(incident, incident.employee_id or employee_id, sequence, INGESTED_AT)


def finding_of(change: Change) -> Any:
    """The finding as a SIEM parses it."""
    return json.loads(render(to_detection_finding(change, version=VERSION)))


def shape_faults(value: Any, shape: Any, path: str = "") -> list[str]:
    """Where ``value`` is not of the types of ``shape``, or has what it does not name."""
    match shape:
        case dict():
            if not isinstance(value, dict):
                return [f"{path} is no object"]
            unknown = [f"{path}.{name} is not in the schema" for name in value.keys() - shape.keys()]
            known = [
                fault
                for name in value.keys() & shape.keys()
                for fault in shape_faults(value[name], shape[name], f"{path}.{name}")
            ]
            return unknown + known
        case [element]:
            if not isinstance(value, list):
                return [f"{path} is no array"]
            return [fault for each in value for fault in shape_faults(each, element, f"{path}[]")]
        case _:
            # A bool is an int for Python, not for the schema.
            return [] if type(value) is shape else [f"{path} is no {shape.__name__}"]


def test_the_checker_sees_a_fault() -> None:
    """A wrong type, a name that is not in the schema, at any depth: each is found."""
    good = finding_of(make_change("denial"))
    del good["unmapped"]
    assert shape_faults(good, FINDING) == []
    for bad in (
        {**good, "time": 1.5},
        {**good, "time": "1"},
        {**good, "severity_id": True},
        {**good, "extra": 1},
        {**good, "metadata": []},
        {**good, "metadata": {**good["metadata"], "product": {"nom": "x"}}},
        {**good, "observables": [{"name": 1}]},
        {**good, "resources": {}},
    ):
        assert len(shape_faults(bad, FINDING)) == 1, bad


@pytest.mark.parametrize("incident_type", INCIDENT_TYPES)
def test_what_the_schema_requires(incident_type: str) -> None:
    """Every required attribute is there, each with the value of a new Detection Finding, all types right."""
    finding = finding_of(make_change(incident_type))
    assert finding.keys() >= REQUIRED
    assert (finding["category_uid"], finding["category_name"]) == (2, "Findings")
    assert (finding["class_uid"], finding["class_name"]) == (2004, "Detection Finding")
    assert (finding["activity_id"], finding["activity_name"]) == (1, "Create")
    assert (finding["type_uid"], finding["type_name"]) == (200_401, "Detection Finding: Create")
    assert finding["type_uid"] == finding["class_uid"] * 100 + finding["activity_id"]
    assert (finding["status_id"], finding["status"]) == (1, "New")
    assert finding["metadata"]["version"] == "1.3.0"
    assert finding["metadata"]["product"] == {
        "name": "Security Incident API",
        "vendor_name": "Security Incident API",
        "version": VERSION,
    }
    assert finding["finding_info"]["uid"]
    assert finding["finding_info"]["title"]
    mapped = {name: value for name, value in finding.items() if name != "unmapped"}
    assert shape_faults(mapped, FINDING) == []
    assert isinstance(finding["unmapped"], dict)
    # These are open records of the schema's own lists, required in them.
    for observable in finding["observables"]:
        assert observable.keys() >= {"name", "type_id"}
    for resource in finding["resources"]:
        assert resource.keys() & {"name", "uid"}


@pytest.mark.parametrize(
    ("priority", "severity_id", "severity"),
    [("low", 2, "Low"), ("medium", 3, "Medium"), ("high", 4, "High"), ("critical", 5, "Critical")],
)
def test_severity_is_the_priority(priority: str, severity_id: int, severity: str) -> None:
    """Each priority has its severity in the schema's scale, where 1 is informational and 6 fatal."""
    finding = finding_of(make_change("probing", RECORDS["probing"].replace("low", priority)))
    assert (finding["severity_id"], finding["severity"]) == (severity_id, severity)


def test_every_priority_has_a_severity() -> None:
    """No incident that can be stored fails on the way out."""
    for priority in PRIORITIES:
        assert finding_of(make_change("other", RECORDS["other"].replace("low", priority)))["severity_id"] > 1


@pytest.mark.parametrize(
    ("timestamp", "milliseconds"),
    [
        ("0", 0),
        ("0.0000001", 0),
        ("0.0009999", 0),
        ("0.001", 1),
        ("1500020421", 1_500_020_421_000),
        ("1500020421.9333", 1_500_020_421_933),
        ("1500020421.9339999", 1_500_020_421_933),
        ("1500020421.9999999", 1_500_020_421_999),
        # As a float times 1000 this is one less.
        ("1500020421.001", 1_500_020_421_001),
        ("1795413600.0190000", 1_795_413_600_019),
    ],
)
def test_time_is_whole_milliseconds(timestamp: str, milliseconds: int) -> None:
    """When it happened, cut off below the millisecond and never rounded into the next; the exact digits
    stand beside it.
    """
    text = RECORDS["probing"].replace("9999999.9999999", timestamp)
    finding = finding_of(make_change("probing", text))
    assert finding["time"] == finding["finding_info"]["created_time"] == milliseconds
    assert finding["metadata"]["original_time"] == timestamp
    assert finding["time"] == int(Decimal(timestamp) * 1000)


def test_where_it_stands_in_the_journal() -> None:
    """The sequence and the moment of its commit, so that a SIEM sees how late it came in."""
    metadata = finding_of(make_change("denial", sequence=2_147_483_647))["metadata"]
    assert metadata["sequence"] == 2_147_483_647
    assert metadata["logged_time"] == INGESTED_MILLISECONDS


@pytest.mark.parametrize("incident_type", INCIDENT_TYPES)
def test_the_finding_has_the_incidents_id(incident_type: str) -> None:
    """One id for the event and the finding, that of `/incidents`: delivered twice, it is one to a SIEM."""
    change = make_change(incident_type)
    finding = finding_of(change)
    assert finding["finding_info"]["uid"] == finding["metadata"]["uid"] == change.incident.id
    assert finding["finding_info"]["types"] == [incident_type]
    assert finding == finding_of(make_change(incident_type))


@pytest.mark.parametrize("incident_type", INCIDENT_TYPES)
def test_every_upstream_field_is_unmapped_with_its_digits(incident_type: str) -> None:
    """`unmapped` is the incident as the native feed shows it: no field and no digit is lost."""
    text = f"{RECORDS[incident_type][:-1]},{EXTRA}}}"
    change = make_change(incident_type, text)
    finding = render(to_detection_finding(change, version=VERSION))
    unmapped = render(change.flat())
    assert finding.endswith(f'"unmapped":{unmapped}}}')
    assert '"score":1.10,"big":123456789012345678901234567890,"nested":{"a":[1e2,null,true]}' in unmapped
    record = json.loads(text)
    for name in record.keys() - {"employee_id"}:
        assert json.loads(unmapped)[name] == record[name], name
    assert f'"timestamp":{change.incident.timestamp},' in unmapped


@pytest.mark.parametrize("incident_type", INCIDENT_TYPES)
def test_it_says_whom_it_is_about(incident_type: str) -> None:
    """The employee is the resource and an observable; the addresses that the incident names are too."""
    change = make_change(incident_type)
    finding = finding_of(change)
    assert finding["resources"] == [{"type": "employee", "uid": change.employee_id}]
    assert change.employee_id in finding["finding_info"]["title"]
    assert incident_type in finding["finding_info"]["title"].lower()
    values = [(each["name"], each["value"]) for each in finding["observables"]]
    addresses = {
        "denial": [("unmapped.source_ip", "1.2.3.4")],
        "intrusion": [("unmapped.source_ip", "::1"), ("unmapped.internal_ip", "10.0.0.1")],
        "executable": [("unmapped.machine_ip", "17.99.238.86")],
        "probing": [("unmapped.ip", "10.0.0.1")],
        "other": [("unmapped.identifier", "fe80::1")],
    }
    assert values == [("resources.uid", change.employee_id), *addresses.get(incident_type, [])]
    types = [(each["type_id"], each["type"]) for each in finding["observables"]]
    assert types == [(10, "Resource UID"), *[(2, "IP Address")] * (len(values) - 1)]


@pytest.mark.parametrize("incident_type", INCIDENT_TYPES)
def test_an_observable_points_at_what_is_there(incident_type: str) -> None:
    """The name of each observable is the path of an attribute of the finding that holds its value."""
    finding = finding_of(make_change(incident_type))
    assert finding["observables"]
    for observable in finding["observables"]:
        found = finding
        for name in observable["name"].split("."):
            found = found[0][name] if isinstance(found, list) else found[name]
        assert found == observable["value"]


@pytest.mark.parametrize("source_ip", ["null", "5", "{}", "[]", "true", "[1,{}]"])
def test_a_source_ip_that_is_no_text_is_no_observable(source_ip: str) -> None:
    """Whatever the upstream sends as the attacker's address: the finding keeps its shape."""
    text = RECORDS["denial"].replace('"1.2.3.4"', source_ip)
    finding = finding_of(make_change("denial", text))
    assert [each["name"] for each in finding["observables"]] == ["resources.uid"]
    assert finding["unmapped"]["source_ip"] == json.loads(source_ip)


@pytest.mark.parametrize("source_ip", ["", "unknown", "1.2.3", "10.0.0.1:443", " 1.2.3.4"])
def test_a_source_ip_that_is_no_address_is_no_observable(source_ip: str) -> None:
    """What a consumer could not parse as an IP address is not called one; it stays among the unmapped."""
    finding = finding_of(make_change("denial", RECORDS["denial"].replace("1.2.3.4", source_ip)))
    assert [each["name"] for each in finding["observables"]] == ["resources.uid"]
    assert finding["unmapped"]["source_ip"] == source_ip


@pytest.mark.parametrize("identifier", ['"4506"', "4506"])
def test_an_other_that_names_its_employee_has_no_address(identifier: str) -> None:
    """`identifier` is an address only where it was looked up as one."""
    finding = finding_of(make_change("other", RECORDS["other"].replace('"fe80::1"', identifier)))
    assert [each["name"] for each in finding["observables"]] == ["resources.uid"]
    assert finding["resources"][0]["uid"] == "4506"
