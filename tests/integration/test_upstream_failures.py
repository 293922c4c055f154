"""What goes wrong upstream: what `/health` then says, that the rest is served, that nothing is lost after.

Each test has the upstream misbehave, and then recover.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from functions.poller import upstream
from local.simulator import Simulator, SimulatorSettings, faults
from shared.domain.incident import INCIDENT_TYPES

PER_TYPE = 10
ALL = PER_TYPE * len(INCIDENT_TYPES)


@pytest.fixture
def simulator() -> Simulator:
    moment = Simulator().clock() - 3600
    settings = SimulatorSettings(seed=9, records_per_type=PER_TYPE, identities=200)
    return Simulator(settings, clock=lambda: moment)


@pytest.fixture
def service(simulator: Simulator, make_service: Callable[[Simulator], Any]) -> Any:
    return make_service(simulator)


def records(simulator: Simulator, kind: str) -> list[dict[str, Any]]:
    return json.loads(simulator.usual_reply(f"/incidents/{kind}/").body)["results"]


def serve_bad_record(simulator: Simulator, kind: str, number: int, bad: dict[str, Any]) -> None:
    """Serve the usual records, to the digit, but for one."""
    text = simulator.usual_reply(f"/incidents/{kind}/").body.decode()
    usual = re.findall(r"\{[^{}]*\}", text)[number]
    simulator.replace(f"/incidents/{kind}/", text.replace(usual, json.dumps(bad)).encode())


@pytest.mark.parametrize(
    ("fault", "error_class", "status"),
    [
        (faults.status(500), "server_error", 500),
        (faults.status(503), "server_error", 503),
        (faults.status(429), "throttled", 429),
        (faults.status(404), "http", 404),
        (faults.reset(), "connection", None),
        (faults.cut_off(0.5), "connection", None),
        (faults.body(b'{"results": [{"priority": "hi'), "malformed", None),
        (faults.body(b"<html>Bad gateway</html>", content_type="text/html"), "malformed", None),
        (faults.body(b'{"results": {"priority": "high"}}'), "malformed", None),
        (faults.body(b"[]"), "malformed", None),
    ],
    ids=lambda each: getattr(each, "description", str(each)),
)
def test_one_source_down(
    fault: Any, error_class: str, status: int | None, simulator: Simulator, service: Any
) -> None:
    """One source that can't be taken is named in /health with its reason; the others go in, and its own
    incidents come when it recovers. What it served before stays.
    """
    simulator.faults.add("/incidents/denial/", fault, times=None)
    summary = service.poll()
    assert (summary["outcome"], summary["new_incidents"]) == ("succeeded", ALL - PER_TYPE)
    health = service.get("/health")
    assert (health.status, health.json["status"]) == (200, "warn")
    denial = health.json["sources"]["denial"]
    assert (denial["state"], denial["last_success_at"]) == ("never_taken", None)
    assert (denial["last_error"]["class"], denial["last_error"]["status"]) == (error_class, status)
    assert health.json["checks"]["denial:responseTime"][0]["status"] == "warn"
    assert {health.json["sources"][kind]["state"] for kind in INCIDENT_TYPES if kind != "denial"} == {"fresh"}
    assert service.get("/incidents").json["snapshot"]["complete"] is False
    assert {each["type"] for each in service.incidents()} == set(INCIDENT_TYPES) - {"denial"}

    simulator.faults.clear()
    assert service.poll()["new_incidents"] == PER_TYPE
    assert service.health()["status"] == "pass"
    everything = service.incidents()
    assert len(everything) == len({each["id"] for each in everything}) == ALL

    simulator.faults.add("/incidents/denial/", fault, times=None)
    service.poll()
    denial = service.health()["sources"]["denial"]
    assert (denial["state"], denial["records"]) == ("stale", PER_TYPE)
    assert service.incidents() == everything


def test_a_passing_fault_is_retried_and_nobody_notices(simulator: Simulator, service: Any) -> None:
    """A source that fails once and then answers is fresh; the attempts are told."""
    simulator.faults.add("/incidents/probing/", faults.status(502), times=1)
    simulator.faults.add("/incidents/probing/", faults.cut_off(0.9), times=1)
    assert service.poll()["new_incidents"] == ALL
    health = service.health()
    assert health["status"] == "pass"
    assert health["sources"]["probing"]["attempts"] == 3


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"priority": "urgent"}, "unknown_priority"),
        ({"priority": None}, "missing_field"),
        ({"reported_by": None}, "missing_field"),
        ({"timestamp": None}, "missing_field"),
        ({"timestamp": "yesterday"}, "invalid_timestamp"),
        ({"timestamp": 99999999999999}, "invalid_timestamp"),
        ({"timestamp": 4102444800}, "timestamp_in_future"),
        ({"reported_by": "None"}, "invalid_employee_id"),
    ],
    ids=lambda each: str(each),
)
def test_a_record_that_cannot_be_an_incident(
    change: dict[str, Any], code: str, simulator: Simulator, service: Any, dynamodb: Any
) -> None:
    """A bad record is set aside with its reason and counted in /health; the rest goes on; once the upstream
    serves it right, it is there, and the bad one is counted no longer.
    """
    good = records(simulator, "denial")[4]
    bad = {name: value for name, value in {**good, **change}.items() if value is not None}
    serve_bad_record(simulator, "denial", 4, bad)
    summary = service.poll()
    assert (summary["new_incidents"], summary["new_rejected"]) == (ALL - 1, 1)
    health = service.health()
    assert (health["status"], health["rejected_records"]) == ("pass", 1)
    assert health["sources"]["denial"]["rejected"] == 1
    (kept,) = dynamodb.query(
        TableName=service.table_name,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "REJECTED"}},
    )["Items"]
    assert (kept["code"]["S"], kept["type"]["S"]) == (code, "denial")
    assert json.loads(kept["record"]["S"]) == bad
    assert service.poll()["new_rejected"] == 0
    assert service.health()["rejected_records"] == 1

    simulator.replace("/incidents/denial/", None)
    assert service.poll()["new_incidents"] == 1
    assert service.health()["rejected_records"] == 0
    assert len(service.incidents()) == ALL


def test_an_ip_without_identity_waits(simulator: Simulator, service: Any) -> None:
    """An incident whose IP nobody has yet is counted as unattributed and shown under nobody; within a poll of
    the identity's arrival it is there, once, under the right employee; and it never moves again.
    """
    identities = json.loads(simulator.usual_reply("/identities/").body)
    ip = records(simulator, "probing")[0]["ip"]
    waiting = sum(
        each.get(field) == ip
        for kind in INCIDENT_TYPES
        for each in records(simulator, kind)
        for field in ("internal_ip", "machine_ip", "ip", "identifier")
    )
    assert waiting >= 1
    without = {address: employee for address, employee in identities.items() if address != ip}
    simulator.replace("/identities/", json.dumps(without).encode())
    summary = service.poll()
    assert (summary["new_incidents"], summary["new_unattributed"]) == (ALL - waiting, waiting)
    assert (service.health()["status"], service.health()["unattributed_incidents"]) == ("pass", waiting)
    assert len(service.incidents()) == ALL - waiting
    assert service.poll()["unattributed"] == waiting

    simulator.replace("/identities/", json.dumps({**identities, ip: 424242}).encode())
    summary = service.poll()
    assert (summary["attributed_late"], summary["unattributed"]) == (waiting, 0)
    assert service.health()["unattributed_incidents"] == 0
    assert service.health()["total_identified_incidents"] == ALL
    assert len(service.incidents()) == ALL
    theirs = service.get("/employees/424242/incidents").json["incidents"]["424242"]
    assert sum(group["count"] for group in theirs.values()) == waiting

    simulator.replace("/identities/", json.dumps({**identities, ip: 434343}).encode())
    assert service.poll()["new_incidents"] == 0
    assert service.get("/employees/434343/incidents").status == 404


def test_identities_that_lag_behind_catch_up(make_service: Callable[[Simulator], Any]) -> None:
    """With hundreds of addresses missing from the map, all others are served, and all come in the end."""
    start = Simulator().clock() - 2 * 86_400
    settings = SimulatorSettings(
        seed=4, records_per_type=100, identity_lag_seconds=5 * 86_400, identity_lag_rate=0.6
    )
    simulator = Simulator(settings, clock=lambda: start)
    service = make_service(simulator)
    first = service.poll()
    assert first["new_unattributed"] > 80
    assert first["new_incidents"] + first["new_unattributed"] == 700
    simulator.clock = lambda: start + 1.9 * 86_400
    second = service.poll()
    assert second["attributed_late"] > 0
    identities = json.loads(simulator.usual_reply("/identities/").body)
    lacking = {
        each[field]
        for kind in INCIDENT_TYPES
        for each in records(simulator, kind)
        for field in ("internal_ip", "machine_ip", "ip", "identifier")
        if "." in str(each.get(field)) and each[field] not in identities
    }
    complete = {**identities, **dict.fromkeys(lacking, 777)}
    simulator.replace("/identities/", json.dumps(complete).encode())
    service.poll()
    # Addresses of records that have rolled out of the window are still not in the map.
    left = service.health()["unattributed_incidents"]
    assert left < first["new_unattributed"]
    everything = service.incidents()
    assert len(everything) == len({each["id"] for each in everything})
    assert len(everything) + left == sum(
        each["new_incidents"] + each["new_unattributed"] for each in (first, second)
    )


def test_identities_down(simulator: Simulator, service: Any) -> None:
    """Without identities the last good ones serve; with none at all, what needs them waits, is not lost."""
    simulator.faults.add("/identities/", faults.status(500), times=None)
    needing = sum(
        "." in str(each.get(field))
        for kind in INCIDENT_TYPES
        for each in records(simulator, kind)
        for field in ("internal_ip", "machine_ip", "ip", "identifier")
    )
    summary = service.poll()
    assert (summary["outcome"], summary["new_unattributed"]) == ("succeeded", needing)
    health = service.health()
    assert (health["status"], health["sources"]["identities"]["state"]) == ("warn", "never_taken")
    simulator.faults.clear()
    assert service.poll()["attributed_late"] == needing
    assert len(service.incidents()) == ALL

    simulator.faults.add("/identities/", faults.body(b"[1, 2]"), times=None)
    moment = simulator.clock() + 6 * 3600
    simulator.clock = lambda: moment
    summary = service.poll()
    assert summary["new_unattributed"] == 0, "the stored identities know the addresses"
    assert service.health()["sources"]["identities"]["state"] == "stale"


def test_a_wrong_password(simulator: Simulator, service: Any, secretsmanager: Any) -> None:
    """Refused credentials: every source says so, and few try, lest the account be locked; what was there is
    served, and the next poll with the right secret goes on. No part of the secret shows.
    """
    service.poll()
    everything = service.incidents()
    secretsmanager.put_secret_value(
        SecretId=service.table_name, SecretString=json.dumps({"username": "simulator", "password": "hunter2"})
    )
    service.forget_clients()
    seen = len(simulator.requests)
    summary = service.poll()
    assert (summary["outcome"], summary["records"]) == ("failed", 0)
    assert len(simulator.requests) - seen <= 5, "four at once, and one before the second refusal came"
    health = service.get("/health")
    assert (health.json["status"], health.json["consecutive_failures"]) == ("warn", 1)
    assert (health.json["successful_updates"], health.json["failed_updates"], health.json["polls"]) == (
        1,
        1,
        2,
    )
    assert {each["state"] for each in health.json["sources"].values()} == {"stale"}
    assert health.json["last_error"]["class"] == "unauthorized"
    assert health.json["last_error"]["status"] == 401
    assert "check the secret" in health.json["output"]
    assert "hunter2" not in health.text
    assert service.incidents() == everything
    assert service.get("/incidents").json["snapshot"]["complete"] is False

    seen = len(simulator.requests)
    assert service.poll()["outcome"] == "failed"
    assert len(simulator.requests) - seen == 2

    secretsmanager.put_secret_value(
        SecretId=service.table_name,
        SecretString=json.dumps({"username": "simulator", "password": "simulator"}),
    )
    assert service.poll()["outcome"] == "succeeded", "a refused secret is read anew"
    assert (service.health()["status"], service.health()["consecutive_failures"]) == ("pass", 0)


@pytest.mark.parametrize("content", ["", "not json", '{"username": "", "password": ""}', '["a", "b"]'])
def test_a_secret_that_is_not_filled(content: str, service: Any, secretsmanager: Any) -> None:
    """Until the secret is filled, /health says exactly that, and no request leaves."""
    if content:
        secretsmanager.put_secret_value(SecretId=service.table_name, SecretString=content)
    else:
        secretsmanager.delete_secret(SecretId=service.table_name, ForceDeleteWithoutRecovery=True)
    assert service.poll()["outcome"] == "failed"
    health = service.get("/health")
    assert (health.status, health.json["status"]) == (503, "fail")
    assert health.json["last_error"]["class"] == "credentials"
    assert "secret" in health.json["output"]
    assert service.simulator.requests == []
    assert service.get("/incidents").json["code"] == "no_data_yet"


def test_everything_down(simulator: Simulator, service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no source to be had, the last data are served with their age, /health goes from pass over warn to
    fail, and the first poll afterwards brings all that happened meanwhile.
    """
    service.poll()
    before = service.incidents()
    for path in ("/identities/", *(f"/incidents/{kind}/" for kind in INCIDENT_TYPES)):
        simulator.faults.add(path, faults.reset(), times=None)
    for failures in (1, 2, 3):
        assert service.poll()["outcome"] == "failed"
        assert service.health()["consecutive_failures"] == failures
    health = service.health()
    assert (health["status"], health["last_error"]["class"]) == ("warn", "connection")
    assert health["data_age_seconds"] >= 0
    assert health["last_attempt_at"] >= health["last_success_at"]
    assert service.incidents() == before

    simulator.faults.clear()
    moment = simulator.clock() + 20 * 3600
    simulator.clock = lambda: moment
    new = service.poll()["new_incidents"]
    assert new > 0
    assert len(service.incidents()) == ALL + new
    assert service.health()["status"] == "pass"


def test_an_upstream_that_cannot_be_reached(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there: a failed poll with its reason, no traceback, no address in what health shows."""
    monkeypatch.setenv("UPSTREAM_BASE_URL", "http://127.0.0.1:1")
    service.forget_clients()
    assert service.poll()["outcome"] == "failed"
    health = service.get("/health")
    assert health.json["last_error"]["class"] == "connection"
    assert "127.0.0.1" not in health.text


def test_a_body_without_end(simulator: Simulator, service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body over the limit is given up, whatever it unpacks to; the other sources go in."""
    monkeypatch.setattr(upstream, "MAX_BODY_BYTES", 100_000)
    big = json.dumps({"results": [{"padding": "x" * 200_000}]}).encode()
    simulator.replace("/incidents/other/", big)
    assert service.poll()["new_incidents"] == ALL - PER_TYPE
    assert service.health()["sources"]["other"]["last_error"]["class"] == "too_large"
