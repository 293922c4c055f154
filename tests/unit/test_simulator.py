"""The simulated upstream behaves as the real one does, repeatably, and fails exactly as it is told to."""

import base64
import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.simulator import (
    FAULTS,
    INCIDENT_TYPES,
    REALISTIC_LATENCY,
    Exchange,
    Fault,
    Generator,
    Reply,
    SettingsError,
    Simulator,
    SimulatorSettings,
    faults,
    serve,
)
from local.simulator.exchange import GzipCache
from local.simulator.traffic import Traffic

# The simulator listens on 127.0.0.1, also where unit tests are kept off the network.
pytestmark = pytest.mark.enable_socket

NOW = 1_700_000_000.25
DAY = 86_400
PATHS = (*(f"/incidents/{name}/" for name in INCIDENT_TYPES), "/identities/")
DENIAL = "/incidents/denial/"
ROOT = Path(__file__).parents[2]

# Field names in the capture's order, and the one that says who an incident is about.
FIELDS = {
    "denial": (["priority", "reported_by", "timestamp", "source_ip"], "reported_by"),
    "intrusion": (["priority", "internal_ip", "source_ip", "timestamp"], "internal_ip"),
    "executable": (["priority", "machine_ip", "timestamp"], "machine_ip"),
    "misuse": (["priority", "employee_id", "timestamp"], "employee_id"),
    "unauthorized": (["priority", "employee_id", "timestamp"], "employee_id"),
    "probing": (["priority", "ip", "timestamp"], "ip"),
    "other": (["priority", "identifier", "timestamp"], "identifier"),
}


class Answer:
    """What a client saw: status, headers and the bytes of the body as they came."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()


def get(
    base_url: str,
    path: str = DENIAL,
    *,
    credentials: str | None = "simulator:simulator",
    headers: dict[str, str] | None = None,
    timeout: float = 20.0,
    give_up_after: float = 20.0,
) -> Answer:
    """GET over a connection of its own; raises what http.client raises.

    `timeout` is that of each receive, and what came within `give_up_after` seconds is all there is.
    """
    sent = {"User-Agent": "test", **(headers or {})}
    if credentials is not None:
        sent["Authorization"] = "Basic " + base64.b64encode(credentials.encode()).decode()
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=timeout)
    connection.connect()
    sock = connection.sock
    timer = threading.Timer(give_up_after, lambda: sock.shutdown(socket.SHUT_RDWR))
    timer.start()
    try:
        connection.request("GET", path, headers=sent)
        return Answer(connection.getresponse())
    finally:
        timer.cancel()
        connection.close()


@contextmanager
def serving(**settings: Any) -> Iterator[tuple[Simulator, str]]:
    """A simulator with a clock that stands still, and its base URL."""
    simulator = Simulator(SimulatorSettings(**settings), clock=lambda: NOW)
    with serve(simulator) as base_url:
        yield simulator, base_url


def bodies(generator: Generator, now: float = NOW) -> list[bytes]:
    """The eight bodies, in the order of PATHS."""
    return [*(generator.incidents_body(name, now) for name in INCIDENT_TYPES), generator.identities_body(now)]


def results(body: bytes) -> list[dict[str, Any]]:
    """The records of a body, timestamps as Decimal with the digits that were sent."""
    parsed = json.loads(body, parse_float=Decimal)
    assert list(parsed) == ["results"]
    return list(parsed["results"])


def at_once(count: int, action: Callable[[], object]) -> list[object]:
    """Run an action in so many threads at once; their results, or what they raised."""
    start = threading.Barrier(count)
    outcomes: list[object] = []

    def run() -> None:
        start.wait()
        try:
            outcomes.append(action())
        except Exception as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == count
    return outcomes


# What is generated


def test_same_seed_and_time_give_the_same_bytes() -> None:
    """Two simulators with one seed answer byte for byte alike; another seed changes every body."""
    first, second = Generator(SimulatorSettings(seed=5)), Generator(SimulatorSettings(seed=5))
    assert bodies(first) == bodies(second)
    other = bodies(Generator(SimulatorSettings(seed=6)))
    assert all(mine != theirs for mine, theirs in zip(bodies(first), other, strict=True))


def test_bodies_do_not_depend_on_what_was_asked_before() -> None:
    """A generator that went to and fro in time answers like a new one: its cache never shows."""
    settings = SimulatorSettings(
        records_per_type=50, identities=200, identity_lag_seconds=DAY, identity_lag_rate=0.5
    )
    travelled = Generator(settings)
    seen = set()
    for days in (0, 0.5, 0.5001, 3, 30, 29, 0, -5, 0.1):
        now = NOW + days * DAY
        assert bodies(travelled, now) == bodies(Generator(settings), now)
        seen.add(travelled.incidents_body("denial", now))
    assert len(seen) >= 7


def test_defaults_are_the_observed_sizes() -> None:
    """By default a type has 300 incidents of the last seven days, and there are 5,000 identities."""
    *incidents, identities = bodies(Generator(SimulatorSettings()))
    assert [len(results(body)) for body in incidents] == [300] * 7
    assert len(json.loads(identities)) == 5_000
    for body in incidents:
        oldest, newest = results(body)[0]["timestamp"], results(body)[-1]["timestamp"]
        assert NOW - 7 * DAY < oldest < NOW - 6.9 * DAY
        assert NOW - 0.1 * DAY < newest <= NOW


@pytest.mark.parametrize("count", [1, 2, 7, 300])
def test_window_rolls(count: int) -> None:
    """As time goes on records leave at the old end and come in at the new end, and the window stays full."""
    window = 1_000.0
    generator = Generator(SimulatorSettings(records_per_type=count, window_seconds=window, identities=50))
    before = results(generator.incidents_body("intrusion", NOW))
    came_in = 0
    for step in range(1, 400):
        now = NOW + step * 3.7
        after = results(generator.incidents_body("intrusion", now))
        assert len(after) == count
        assert all(Decimal(now - window) < record["timestamp"] <= Decimal(now) for record in after)
        new = [record for record in after if record not in before]
        assert before[len(new) :] + new == after
        assert all(record["timestamp"] > Decimal(now - 3.7) for record in new)
        came_in += len(new)
        before = after
    # 400 steps of 3.7 s are about one and a half windows.
    assert came_in >= count


def test_an_incident_shows_from_its_own_timestamp_on() -> None:
    """An incident is in the window at its timestamp and not just before."""
    generator = Generator(SimulatorSettings(records_per_type=20, window_seconds=1_000))
    newest = results(generator.incidents_body("misuse", 50_000))[-1]
    happened = float(newest["timestamp"])
    assert results(generator.incidents_body("misuse", happened + 1e-6))[-1] == newest
    assert newest not in results(generator.incidents_body("misuse", happened - 1e-6))


def test_before_the_first_incident_there_are_none() -> None:
    """A clock before 1970, or no records wanted, gives an empty list and not an error."""
    assert Generator(SimulatorSettings()).incidents_body("other", -5.0) == b'{"results": []}\n'
    assert (
        Generator(SimulatorSettings(records_per_type=0)).incidents_body("other", NOW) == b'{"results": []}\n'
    )


@pytest.mark.parametrize("incident_type", INCIDENT_TYPES)
def test_shape(incident_type: str) -> None:
    """Every record has its type's fields in the captured order, with the captured kinds of values."""
    fields, who = FIELDS[incident_type]
    identities = json.loads(Generator(SimulatorSettings()).identities_body(NOW))
    employees = set(identities.values())
    records = results(Generator(SimulatorSettings()).incidents_body(incident_type, NOW))
    assert len(records) == 300
    for record in records:
        assert list(record) == fields
        assert isinstance(record["timestamp"], Decimal)
        if "source_ip" in record:
            assert re.fullmatch(r"(\d{1,3}\.){3}\d{1,3}", record["source_ip"])
            assert max(map(int, record["source_ip"].split("."))) <= 255
        named = record[who]
        assert named in identities if isinstance(named, str) else named in employees
    assert {record["priority"] for record in records} == {"low", "medium", "high", "critical"}
    by_ip = sum(isinstance(record[who], str) for record in records)
    expected = {"intrusion": (300, 300), "executable": (300, 300), "probing": (300, 300), "other": (15, 50)}
    low, high = expected.get(incident_type, (0, 0))
    assert low <= by_ip <= high


def test_bodies_are_written_like_the_capture() -> None:
    """The text around the values is the capture's: one line, a blank after each comma and colon."""
    for body in bodies(Generator(SimulatorSettings(records_per_type=30))):
        # Numbers are kept as text: rendering them again would show a difference in any digit.
        parsed = json.loads(body, parse_float=lambda digits: f"<{digits}>")
        again = re.sub(r'"<([0-9.]+)>"', r"\1", json.dumps(parsed))
        assert body.decode("ascii") == again + "\n"


def test_timestamps_have_up_to_seven_decimals_and_went_through_no_float() -> None:
    """Most timestamps have seven decimals, some fewer; many would change in a float: the text is exact."""
    text = Generator(SimulatorSettings(records_per_type=3_000)).incidents_body("other", NOW).decode()
    digits = re.findall(r'"timestamp": (\d{10}\.\d+)}', text)
    assert len(digits) == 3_000
    decimals = Counter(len(number.split(".")[1]) for number in digits)
    assert max(decimals) == 7
    assert 0.6 < decimals[7] / 3_000 < 0.9
    assert decimals[6] > 300
    assert sum(decimals[fewer] for fewer in (1, 2, 3, 4, 5)) > 30
    assert sum(repr(float(number)) != number for number in digits) > 500


def test_no_two_records_are_alike_and_each_type_is_sorted() -> None:
    """2,100 records are 2,100 different ones, each type's by ascending timestamp."""
    records = [results(body) for body in bodies(Generator(SimulatorSettings()))[:-1]]
    assert len({json.dumps(record, default=str) for each in records for record in each}) == 2_100
    for each in records:
        timestamps = [record["timestamp"] for record in each]
        assert timestamps == sorted(set(timestamps))


@pytest.mark.parametrize("count", [1, 7, 5_000, 65_536])
def test_identities_are_one_to_one(count: int) -> None:
    """No IP and no employee id occurs twice, employee ids ascend, and there are as many as asked for."""
    body = Generator(SimulatorSettings(identities=count)).identities_body(NOW)
    pairs = json.loads(body, object_pairs_hook=list)
    assert len(pairs) == len({ip for ip, _ in pairs}) == count
    employees = [employee for _, employee in pairs]
    assert employees == sorted(set(employees))
    assert 1 <= employees[0] <= employees[-1] <= 1_000_000
    assert all(re.fullmatch(r"17(\.\d{1,3}){3}", ip) for ip, _ in pairs)


def test_a_hundred_thousand_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest window is served whole, sorted and without doubles; later only new records are rendered."""
    rendered = Counter[str]()
    original = Generator.incident

    def counted(self: Generator, incident_type: str, index: int) -> Any:
        rendered[incident_type] += 1
        return original(self, incident_type, index)

    monkeypatch.setattr(Generator, "incident", counted)
    with serving(records_per_type=100_000) as (simulator, base_url):
        first = get(base_url, "/incidents/intrusion/")
        timestamps = [record["timestamp"] for record in results(first.body)]
        assert len(timestamps) == 100_000
        assert timestamps == sorted(set(timestamps))
        rendered.clear()
        # A slot is 6.05 s: about ten new ones a minute, and the look at the slot of now itself.
        simulator.clock = lambda: NOW + 60
        second = results(get(base_url, "/incidents/intrusion/").body)
        assert len(second) == 100_000
        assert (
            second[0]["timestamp"]
            == timestamps[100_000 - len(set(timestamps) & {r["timestamp"] for r in second})]
        )
        assert 9 <= rendered["intrusion"] <= 13


# Identities that lag


def lagging(generator: Generator, now: float) -> list[tuple[str, Decimal]]:
    """(IP, timestamp) of each incident in the window whose IP has no identity."""
    identities = json.loads(generator.identities_body(now))
    named = [
        (record[FIELDS[name][1]], record["timestamp"])
        for name in INCIDENT_TYPES
        for record in results(generator.incidents_body(name, now))
    ]
    return [(ip, at) for ip, at in named if isinstance(ip, str) and ip not in identities]


def test_identities_can_lag_for_300_to_900_of_2100() -> None:
    """A lag over the whole window with a rate of 0.35 to 0.9 leaves 300 to 900 of 2,100 unattributable."""
    counts = [
        len(lagging(Generator(SimulatorSettings(identity_lag_seconds=7 * DAY, identity_lag_rate=rate)), NOW))
        for rate in (0.35, 0.6, 0.9)
    ]
    assert counts == sorted(counts)
    assert 300 <= counts[0] < counts[-1] <= 900
    assert lagging(Generator(SimulatorSettings()), NOW) == []


def test_lagging_identities_arrive() -> None:
    """At a rate of 1 just the IPs of incidents younger than the lag are missing, and each arrives in time."""
    lag = 6 * 3_600
    generator = Generator(SimulatorSettings(identity_lag_seconds=lag, identity_lag_rate=1.0))
    missing = lagging(generator, NOW)
    young = {ip for ip, at in missing if at > NOW - lag}
    assert len(young) > 20
    assert {ip for ip, _ in missing} == young
    for ip, at in missing:
        after = {late_ip for late_ip, _ in lagging(generator, float(at) + lag + 0.001)}
        later_about_the_same = any(
            other == ip and when > at for other, when in lagging(generator, float(at) + lag - 0.001)
        )
        assert ip not in after or later_about_the_same


def test_incidents_are_the_same_with_and_without_lag() -> None:
    """Lagging changes the identities only: incidents stay byte for byte."""
    plain = bodies(Generator(SimulatorSettings()))
    lagged = bodies(Generator(SimulatorSettings(identity_lag_seconds=DAY, identity_lag_rate=0.5)))
    assert plain[:-1] == lagged[:-1]
    assert len(json.loads(lagged[-1])) < len(json.loads(plain[-1]))


# What is answered over HTTP


def test_serves_the_generated_bodies() -> None:
    """Each of the eight paths answers 200 with the generator's body as JSON, its length right."""
    expected = bodies(Generator(SimulatorSettings()))
    with serving() as (_, base_url):
        for path, body in zip(PATHS, expected, strict=True):
            answer = get(base_url, path)
            assert (answer.status, answer.body) == (200, body)
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.headers["Content-Length"] == str(len(body))


def test_the_clock_can_be_moved() -> None:
    """Setting another clock on a running simulator moves what it serves."""
    with serving() as (simulator, base_url):
        before = results(get(base_url).body)
        simulator.clock = lambda: NOW + DAY
        after = results(get(base_url).body)
        assert before[-1]["timestamp"] <= NOW < after[-1]["timestamp"] <= NOW + DAY


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic " + base64.b64encode(b"simulator:wrong").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"wrong:simulator").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"simulator:simulator ").decode()},
        {"Authorization": "Basic"},
        {"Authorization": "Basic ?????"},
        {"Authorization": "Bearer " + base64.b64encode(b"simulator:simulator").decode()},
    ],
)
@pytest.mark.parametrize("path", [DENIAL, "/identities/", "/identities", "/elsewhere"])
def test_wrong_credentials_are_refused(headers: dict[str, str], path: str) -> None:
    """Without the right credentials every path answers 401, says how to authenticate and shows no data."""
    with serving() as (_, base_url):
        answer = get(base_url, path, credentials=None, headers=headers)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        assert b"results" not in answer.body
        assert b"17." not in answer.body


def test_credentials_are_settable() -> None:
    """The set username and password are let in, the default ones no longer are."""
    with serving(username="us", password="pass:wörd") as (_, base_url):
        assert get(base_url, credentials="us:pass:wörd").status == 200
        assert get(base_url).status == 401


@pytest.mark.parametrize("path", PATHS)
def test_a_path_without_its_last_slash_is_redirected(path: str) -> None:
    """A path without the last slash answers 301 to the one with it."""
    with serving() as (_, base_url):
        answer = get(base_url, path.rstrip("/"))
        assert (answer.status, answer.headers["Location"], answer.body) == (301, path, b"")


@pytest.mark.parametrize(
    "path", ["/", "/incidents/", "/incidents/denial/x", "/incidents/unknown/", "/identities//"]
)
def test_unknown_paths_are_not_found(path: str) -> None:
    """Everything else is 404."""
    with serving() as (_, base_url):
        assert get(base_url, path).status == 404


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("*", True),
        ("", False),
        ("gzip;q=0", False),
        ("br", False),
    ],
)
def test_gzip_when_accepted(accepted: str, is_packed: bool) -> None:
    """A client that accepts gzip gets it, any other gets plain bytes; the length is that of what is sent."""
    with serving() as (_, base_url):
        plain = get(base_url, headers={"Accept-Encoding": "identity"}).body
        answer = get(base_url, headers={"Accept-Encoding": accepted})
        again = get(base_url, headers={"Accept-Encoding": accepted})
        assert answer.headers["Content-Length"] == str(len(answer.body))
        assert answer.headers["Content-Encoding"] == ("gzip" if is_packed else None)
        assert (gzip.decompress(answer.body) if is_packed else answer.body) == plain
        assert again.body == answer.body
        assert (len(answer.body) < len(plain) / 2) is is_packed


def test_connections_are_kept_open() -> None:
    """One connection carries several requests, whatever their status."""
    with serving() as (simulator, base_url):
        connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=20)
        headers = {"Authorization": "Basic " + base64.b64encode(b"simulator:simulator").decode()}
        used = []
        for path in (DENIAL, "/identities", "/nowhere", "/identities/"):
            connection.request("GET", path, headers=headers)
            used.append(connection.sock)
            connection.getresponse().read()
        assert used[0] is not None
        assert all(each is used[0] for each in used)
        connection.close()
        assert [request.status for request in simulator.requests] == [200, 301, 404, 200]


def test_replaced_bytes_are_served_until_they_are_put_back() -> None:
    """`replace` serves any bytes for one path and leaves the others; None serves the usual ones again."""
    with serving() as (simulator, base_url):
        usual = get(base_url).body
        packed = {"Accept-Encoding": "gzip"}
        assert gzip.decompress(get(base_url, headers=packed).body) == usual
        simulator.replace(DENIAL, b'{"results": []}')
        assert get(base_url).body == b'{"results": []}'
        assert gzip.decompress(get(base_url, headers=packed).body) == b'{"results": []}'
        assert len(results(get(base_url, "/incidents/misuse/").body)) == 300
        simulator.replace(DENIAL, None)
        assert get(base_url).body == usual


# A folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the eight files, written unlike the generator's bodies."""
    for name in (*INCIDENT_TYPES, "identities"):
        (tmp_path / f"{name}.json").write_bytes(f'{{ "of":\r\n"{name} é" }}'.encode())
    return tmp_path


def test_folder_is_served_as_it_is(folder: Path) -> None:
    """With a folder each path answers with its file's bytes, unchanged."""
    with serving(folder=folder) as (_, base_url):
        for path in PATHS:
            name = path.strip("/").split("/")[-1]
            assert get(base_url, path).body == f'{{ "of":\r\n"{name} é" }}'.encode()


def test_folder_that_lacks_files_is_refused(folder: Path) -> None:
    """A missing folder or missing files are named in one line."""
    (folder / "misuse.json").unlink()
    (folder / "identities.json").unlink()
    with pytest.raises(SettingsError, match=r"lacks misuse\.json, identities\.json$"):
        Simulator(SimulatorSettings(folder=folder))
    with pytest.raises(SettingsError, match=r"there is no folder .*nowhere$"):
        Simulator(SimulatorSettings(folder=folder / "nowhere"))


# Scripted faults


@contextmanager
def faulty(fault: Fault, times: int | None = 1, path: str = DENIAL) -> Iterator[tuple[Simulator, str]]:
    """A simulator whose next answers for a path are faulty."""
    with serving() as (simulator, base_url):
        simulator.faults.add(path, fault, times)
        yield simulator, base_url


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_in_the_table_plays_once_and_leaves_the_server_well(name: str) -> None:
    """Each fault of the table disturbs or delays one request; the next one and other paths fare well."""
    path = "/identities/" if name.startswith("identities: ") else DENIAL
    with faulty(FAULTS[name], path=path) as (simulator, base_url):
        usual = simulator.usual_reply(path).body
        assert len(results(get(base_url, "/incidents/misuse/").body)) == 300
        begun = time.monotonic()
        try:
            answer = get(base_url, path, give_up_after=1.0)
            length = answer.headers["Content-Length"]
            disturbed = (answer.status, answer.body, length) != (200, usual, str(len(usual)))
        except (OSError, http.client.HTTPException):
            disturbed = True
        assert disturbed or time.monotonic() - begun >= 0.4
        assert not simulator.faults.pending(path)
        again = get(base_url, path)
        assert (again.status, again.body) == (200, usual)
        assert [request.path for request in simulator.requests] == ["/incidents/misuse/", path, path]


def test_status_fault() -> None:
    """`status` answers with any status and the given headers."""
    with faulty(faults.status(503, headers={"Retry-After": "2"})) as (_, base_url):
        answer = get(base_url)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        assert b"results" not in answer.body


def test_unknown_status_fault() -> None:
    """A status that has no name is sent as well."""
    with faulty(faults.status(599)) as (_, base_url):
        assert get(base_url).status == 599


def test_body_fault() -> None:
    """`body` answers 200 with other bytes of any kind."""
    with faulty(faults.body(b"<html>\xff", content_type="text/html")) as (_, base_url):
        answer = get(base_url)
        assert (answer.status, answer.body, answer.headers["Content-Type"]) == (
            200,
            b"<html>\xff",
            "text/html",
        )


def test_body_fault_can_lie_about_its_length_and_encoding() -> None:
    """Headers given to `body` replace the true ones."""
    lie = {"Content-Length": "3", "Content-Encoding": "gzip"}
    with faulty(faults.body(b"not gzip", headers=lie)) as (_, base_url):
        answer = get(base_url, headers={"Accept-Encoding": "gzip"})
        assert (answer.body, answer.headers.get_all("Content-Encoding")) == (b"not", ["gzip"])
        assert answer.headers.get_all("Content-Length") == ["3"]


def test_mangled_fault() -> None:
    """`mangled` changes the true body and keeps the reply sound."""
    with faulty(faults.mangled("no commas", lambda content: content.replace(b",", b""))) as (
        simulator,
        base_url,
    ):
        answer = get(base_url)
        assert answer.body == simulator.usual_reply(DENIAL).body.replace(b",", b"")
        assert answer.headers["Content-Length"] == str(len(answer.body))


def test_redirect_fault() -> None:
    """`redirect` sends the client to any place, with any redirecting status."""
    with faulty(faults.redirect("http://elsewhere.invalid/", code=302)) as (_, base_url):
        answer = get(base_url)
        assert (answer.status, answer.headers["Location"]) == (302, "http://elsewhere.invalid/")


def test_reset_fault() -> None:
    """`reset` ends the connection by a reset before anything is sent, or within the body."""
    with faulty(faults.reset()) as (simulator, base_url):
        with pytest.raises(ConnectionResetError):
            get(base_url)
        assert [request.status for request in simulator.requests] == [0]
    with faulty(faults.reset(after=0.5)) as (simulator, base_url):
        with pytest.raises(ConnectionResetError):
            get(base_url)
        assert [request.status for request in simulator.requests] == [200]


@pytest.mark.parametrize("fraction", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_cut_off_fault(fraction: float, encoding: str) -> None:
    """`cut_off` promises the whole body, sends a share of it, never all, and closes the connection."""
    with faulty(faults.cut_off(fraction)) as (simulator, base_url):
        with pytest.raises(http.client.IncompleteRead) as caught:
            get(base_url, headers={"Accept-Encoding": encoding})
        came, lacking = len(caught.value.partial), caught.value.expected
        assert lacking is not None
        assert lacking >= 1
        assert came == min(int((came + lacking) * fraction), came + lacking - 1)
        whole = get(base_url, headers={"Accept-Encoding": encoding})
        assert len(whole.body) == came + lacking
        assert [request.status for request in simulator.requests] == [200, 200]


def test_hang_fault() -> None:
    """`hang` keeps a client waiting for its time-out, or closes without an answer when the time is up."""
    with faulty(faults.hang(60)) as (simulator, base_url):
        with pytest.raises(TimeoutError):
            get(base_url, timeout=0.2)
        assert [request.status for request in simulator.requests] == [0]
    with faulty(faults.hang(0.05)) as (_, base_url), pytest.raises(http.client.RemoteDisconnected):
        get(base_url)


def test_a_hang_ends_when_its_client_goes_away() -> None:
    """A client that gave up no longer counts as under way, however long the hang was to last."""
    with faulty(faults.hang(300)) as (simulator, base_url):
        with pytest.raises(TimeoutError):
            get(base_url, timeout=0.1)
        deadline = time.monotonic() + 20
        while simulator.traffic.under_way and time.monotonic() < deadline:
            time.sleep(0.01)
        assert simulator.traffic.under_way == 0


def test_slow_faults() -> None:
    """`slow_body` sends the head at once and all of the body in its time; `slow_start` everything late."""
    with faulty(faults.slow_body(0.4)) as (simulator, base_url):
        begun = time.monotonic()
        assert get(base_url).body == simulator.usual_reply(DENIAL).body
        assert time.monotonic() - begun >= 0.4
    with faulty(faults.slow_body(60)) as (simulator, base_url):
        with pytest.raises(TimeoutError):
            get(base_url, timeout=0.3)
        # The head came: a status was sent before the time-out.
        assert [request.status for request in simulator.requests] == [200]
    with faulty(faults.slow_start(0.2)) as (simulator, base_url):
        begun = time.monotonic()
        assert get(base_url).body == simulator.usual_reply(DENIAL).body
        assert time.monotonic() - begun >= 0.2


def test_raw_fault() -> None:
    """`raw` sends bytes that need not be HTTP."""
    with faulty(faults.raw(b"hello\r\n")) as (simulator, base_url):
        with pytest.raises(http.client.BadStatusLine):
            get(base_url)
        assert [request.status for request in simulator.requests] == [0]


def test_faults_play_in_turn_and_by_path() -> None:
    """Faults of a path play in the order added, each as often as asked; other paths are untouched."""
    with serving() as (simulator, base_url):
        simulator.faults.add(DENIAL, faults.status(500), times=2)
        simulator.faults.add(DENIAL, faults.status(502))
        simulator.faults.add("/identities/", faults.status(503), times=None)
        assert [get(base_url).status for _ in range(4)] == [500, 500, 502, 200]
        assert [get(base_url, "/identities/").status for _ in range(5)] == [503] * 5
        simulator.faults.remove("/identities/")
        assert get(base_url, "/identities/").status == 200
        simulator.faults.add(DENIAL, faults.status(500), times=None)
        simulator.faults.clear()
        assert get(base_url).status == 200
        with pytest.raises(ValueError, match="once or more"):
            simulator.faults.add(DENIAL, faults.status(500), times=0)


def test_a_fault_does_not_play_for_a_client_without_credentials() -> None:
    """A refused request uses up no fault."""
    with faulty(faults.status(500)) as (_, base_url):
        assert get(base_url, credentials=None).status == 401
        assert get(base_url).status == 500


def test_requests_are_recorded() -> None:
    """Each request is recorded with its time, path, status, user agent and whether it carried credentials."""
    with faulty(faults.status(503)) as (simulator, base_url):
        get(base_url)
        time.sleep(0.05)
        get(base_url, DENIAL + "?page=1", headers={"User-Agent": "poller/1"})
        get(base_url, "/identities/", credentials=None)
        first, second, third = simulator.requests
        assert first[1:] == (DENIAL, 503, "test", True)
        assert second[1:] == (DENIAL, 200, "poller/1", True)
        assert third[1:] == ("/identities/", 401, "test", False)
        assert second.time - first.time >= 0.05


# Failures by chance


def outcomes(count: int, **settings: Any) -> list[str]:
    """How the first `count` requests for one path end."""
    ends = []
    with serving(hang_seconds=0.01, **settings) as (_, base_url):
        for _ in range(count):
            try:
                ends.append(str(get(base_url).status))
            except (OSError, http.client.HTTPException) as error:
                ends.append(type(error).__name__)
    return ends


def test_failures_are_chosen_by_the_seed() -> None:
    """A failure rate fails about that share of the requests, the same ones for the same seed."""
    first = outcomes(60, seed=3, failure_rate=0.5)
    assert first == outcomes(60, seed=3, failure_rate=0.5)
    assert first != outcomes(60, seed=4, failure_rate=0.5)
    assert 15 <= first.count("200") <= 45


def test_all_kinds_of_failure_occur() -> None:
    """With a rate of 1 every request fails, in all six ways; with 0 none does."""
    ends = Counter(outcomes(100, failure_rate=1.0))
    assert set(ends) == {"500", "502", "503", "ConnectionResetError", "IncompleteRead", "RemoteDisconnected"}
    assert set(outcomes(20, failure_rate=0.0)) == {"200"}


def test_failure_rate_is_the_share_that_fails() -> None:
    """Of many requests the set share fails."""
    failed = sum(faults.drawn_fault(0.1, 1.0, 1, DENIAL, number) is not None for number in range(10_000))
    assert 900 <= failed <= 1_100


# Load


def test_highest_number_at_once_is_counted() -> None:
    """Eight requests that wait for each other are counted as eight at once, however they end."""
    meeting = threading.Barrier(8)

    def wait_for_all(exchange: Exchange) -> None:
        meeting.wait(timeout=20)
        exchange.send(exchange.reply)

    with faulty(Fault("wait for all", wait_for_all), times=8) as (simulator, base_url):
        answers = at_once(8, lambda: get(base_url).status)
        assert answers == [200] * 8
        assert simulator.highest_at_once == 8
        assert len(simulator.requests) == 8


@pytest.mark.parametrize("fault", [None, "status 500", "reset", "cut off", "redirect to itself"])
def test_requests_one_after_another_are_one_at_once(fault: str | None) -> None:
    """A client that waits for each answer is never counted twice, even with a new connection each time."""
    with serving() as (simulator, base_url):
        if fault is not None:
            simulator.faults.add(DENIAL, FAULTS[fault], times=None)
        for _ in range(100):
            try:
                get(base_url)
            except (OSError, http.client.HTTPException):
                assert fault in ("reset", "cut off")
        assert simulator.highest_at_once == 1
        assert len(simulator.requests) == 100


def test_many_threads_get_the_same_bytes() -> None:
    """Requests at once, with the first rendering still under way, all get the whole body."""
    with serving(records_per_type=5_000) as (_, base_url):
        answers = at_once(
            12, lambda: get(base_url, "/incidents/other/", headers={"Accept-Encoding": "gzip"}).body
        )
        assert isinstance(answers[0], bytes)
        assert len(results(gzip.decompress(answers[0]))) == 5_000
        assert len(set(answers)) == 1


def test_latency_is_drawn_from_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latencies lie in their range, differ, are the same for the same seed, and a redirect costs less."""

    def latencies(seed: int) -> list[float]:
        pauses: list[float] = []
        with serving(seed=seed, latency=(2.0, 3.0)) as (simulator, base_url):
            monkeypatch.setattr(simulator.traffic, "pause", pauses.append)
            for path in (DENIAL, DENIAL, "/identities/", "/identities"):
                get(base_url, path)
        return pauses

    *calls, redirect = latencies(1)
    assert all(2.0 <= pause <= 3.0 for pause in calls)
    assert len(set(calls)) == 3
    assert redirect < 0.5
    assert latencies(1) == [*calls, redirect]
    assert latencies(2) != [*calls, redirect]


def test_requests_at_once_slow_each_other_down() -> None:
    """One call takes its latency; eight at once take markedly longer (2.6 times, less some late starts)."""
    with serving(latency=(0.2, 0.2)) as (_, base_url):
        begun = time.monotonic()
        get(base_url)
        assert time.monotonic() - begun >= 0.2

        begun = time.monotonic()
        assert at_once(8, lambda: get(base_url).status) == [200] * 8
        assert time.monotonic() - begun >= 0.4
    settings = SimulatorSettings()
    assert 1 + 7 * settings.slowdown == pytest.approx(2.6, abs=0.02)
    low, high = REALISTIC_LATENCY
    assert (low, high * (1 + 7 * settings.slowdown)) == pytest.approx((1.7, 6.0), abs=0.05)


def test_a_request_is_over_before_its_client_can_know() -> None:
    """A request no longer counts when its last byte goes out, or the client's next would overlap it."""
    events: list[bytes | str] = []

    class Watched(socket.socket):
        def sendall(self, data: Any, *_: Any) -> None:
            events.append(bytes(data))

    class WatchedTraffic(Traffic):
        def leave(self) -> None:
            events.append("left")

    with Watched() as connection:
        exchange = Exchange(
            connection,
            path="/",
            user_agent="",
            with_credentials=False,
            accepts_gzip=False,
            usual_reply=lambda: Reply(200, b"body"),
            traffic=WatchedTraffic(0.0),
            gzip_cache=GzipCache(),
        )
        exchange.send(exchange.reply)
        exchange.leave()
    first, left, last = events
    assert isinstance(first, bytes)
    assert first.endswith(b"\r\n\r\nbod")
    assert (left, last) == ("left", b"y")


def test_serving_ends_at_once_whatever_is_under_way() -> None:
    """Leaving `serve` ends hanging, slow and idle connections, their threads included, and frees the port."""
    before = set(threading.enumerate())

    def come_to(count: int) -> bool:
        """Whether there are so many new threads, within 20 seconds."""
        deadline = time.monotonic() + 20
        while len(set(threading.enumerate()) - before) != count:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    simulator = Simulator(SimulatorSettings(latency=(300.0, 300.0)))
    simulator.faults.add("/hanging/", faults.hang(300))
    clients = []
    with serve(simulator) as base_url:
        port = urlsplit(base_url).port or 0
        for path in (DENIAL, "/hanging/", None):
            client = socket.create_connection(("127.0.0.1", port), timeout=20)
            clients.append(client)
            if path is not None:
                credentials = base64.b64encode(b"simulator:simulator").decode()
                request = f"GET {path} HTTP/1.1\r\nAuthorization: Basic {credentials}\r\n\r\n"
                client.sendall(request.encode())
        # The server's own thread, and one for each connection.
        assert come_to(4)
        deadline = time.monotonic() + 20
        while simulator.highest_at_once < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert simulator.highest_at_once == 2
    assert come_to(0)
    for client in clients:
        assert client.recv(1) == b""
        client.close()
    with pytest.raises(ConnectionRefusedError):
        get(base_url)


def test_a_simulator_can_be_served_again() -> None:
    """The same simulator can be served a second time, on the same port, and takes its time as before."""
    simulator = Simulator(SimulatorSettings(latency=(0.2, 0.2)))
    with serve(simulator) as first:
        assert get(first).status == 200
    with serve(simulator, urlsplit(first).port or 0) as second:
        begun = time.monotonic()
        assert get(second).status == 200
        assert time.monotonic() - begun >= 0.2
    assert first == second
    assert len(simulator.requests) == 2


# Settings and the command line


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"records_per_type": 100_001}, "records per type must be 0 to 100,000, not 100001"),
        ({"records_per_type": -1}, "records per type"),
        ({"identities": 0}, "identities must be 1 to 1,000,000, not 0"),
        ({"identities": 1_000_001}, "identities"),
        ({"window_seconds": 0.5}, "window seconds"),
        ({"window_seconds": float("nan")}, "window seconds"),
        ({"latency": (2.0, 1.0)}, "the lowest latency, 2, is above the highest, 1"),
        ({"latency": (-1.0, 1.0)}, "lowest latency"),
        ({"latency": (0.0, 601.0)}, "highest latency"),
        ({"slowdown": -0.1}, "slowdown"),
        ({"failure_rate": 1.1}, "failure rate must be 0 to 1, not 1.1"),
        ({"hang_seconds": 0}, "hang seconds must be above 0 to 3,600, not 0"),
        ({"identity_lag_rate": 0.5}, "set both or neither"),
        ({"identity_lag_seconds": 60}, "set both or neither"),
        ({"identity_lag_seconds": 60, "identity_lag_rate": 2}, "identity lag rate"),
        ({"username": ""}, "can't be empty"),
        ({"password": ""}, "can't be empty"),
        ({"username": "a:b"}, "can't contain ':'"),
        ({"folder": Path("x"), "identity_lag_seconds": 1, "identity_lag_rate": 1}, "can't lag with a folder"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any], message: str) -> None:
    """A setting that can't be is refused in one line that names it."""
    with pytest.raises(SettingsError) as caught:
        SimulatorSettings(**setting)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def started(*flags: str, **environment: str) -> subprocess.Popen[str]:
    """The simulator as a process of its own, on a free port unless a flag says otherwise."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UPSTREAM_")}
    return subprocess.Popen(  # noqa: S603 - this interpreter, flags from this file
        [sys.executable, "-m", "local.simulator", "--port", "0", *flags],
        cwd=ROOT,
        env={**kept, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_runs_as_a_process_and_ends_cleanly(number: signal.Signals) -> None:
    """It prints one line when it listens, has credentials from the environment, ends with 0 on a signal."""
    environment = {"UPSTREAM_USERNAME": "mine", "UPSTREAM_PASSWORD": "own"}
    with started("--latency", "0", "0", "--records", "5", **environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            listening = re.match(r"simulator: listening on (http://127\.0\.0\.1:\d+) ", line)
            assert listening is not None
            assert len(results(get(listening[1], credentials="mine:own").body)) == 5
            assert get(listening[1]).status == 401
        finally:
            process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--records", "100001"], "records per type must be 0 to 100,000"),
        (["--records", "many"], "invalid int value: 'many'"),
        (["--failure-rate", "2"], "failure rate must be 0 to 1"),
        (["--latency", "3", "1"], "lowest latency"),
        (["--latency", "1", "2", "--realistic"], "not allowed with"),
        (["--port", "65536"], "a port is 0 to 65535, not 65536"),
        (["--folder", "nowhere-at-all"], "there is no folder nowhere-at-all"),
        (["--identity-lag-rate", "0.5"], "set both or neither"),
        (["--fault", "denial"], "a fault is SOURCE=NAME"),
        (["--fault", "denials=reset"], "there is no source denials: it is all, identities, denial"),
        (["--fault", "denial=none"], "there is no fault none: --list-faults names all"),
        (["--unknown"], "--unknown"),
    ],
)
def test_mistakes_on_the_command_line_give_one_line(flags: list[str], message: str) -> None:
    """What a person gets wrong is said in one line on stderr, with exit status 2."""
    with started(*flags) as process:
        out, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert out == ""
    assert err.startswith("simulator: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_person_can_ask_for_faults_by_name() -> None:
    """Each source that is named fails in its way, every time; `all` are those that are not named."""
    flags = ("--fault", "denial=status 503", "--fault", "all=an empty window", "--latency", "0", "0")
    with started(*flags) as process:
        assert process.stdout is not None
        listening = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        try:
            assert listening is not None
            for _ in range(2):
                assert get(listening[0]).status == 503
                assert results(get(listening[0], "/incidents/misuse/").body) == []
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_a_person_can_see_all_faults() -> None:
    """One name a line, ready to be copied, and nothing is served."""
    with started("--list-faults") as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out.splitlines(), err) == (0, list(FAULTS), "")


def test_a_taken_port_gives_one_line() -> None:
    """A port that something else listens on is named, with what to do about it."""
    with serving() as (_, base_url):
        port = str(urlsplit(base_url).port)
        with started("--port", port) as process:
            _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert err == f"simulator: port {port} is taken: choose another with --port, or end what listens there\n"
