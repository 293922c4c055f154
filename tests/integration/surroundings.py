"""All that is around a poller under test, in memory: AWS, the upstream, readers; and what must hold of them.

The poller is the one that `functions/poller/composition.py` puts together. Whatever it calls, through boto3
or requests, goes through a :class:`tests.contract.disturbed.Process`, so that a call that is added one day
is disturbed like the others.
"""

import copy
import hashlib
import json
import math
import random
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, ClassVar
from urllib.parse import urlsplit

import boto3
import pytest
import requests
from botocore.exceptions import BotoCoreError, ClientError
from requests.adapters import HTTPAdapter

from functions.poller import composition, notify, upstream
from functions.poller.bounded_session import make_session
from functions.poller.poll import Poller
from functions.poller.summary import PollSummary
from functions.poller.upstream import Upstream
from shared import aws
from shared.domain.exact_json import parse
from shared.domain.retention import Retention
from shared.domain.window import digest_ids, sort_out
from shared.store.state import read_state
from shared.store.table import Table, ThrottledError
from tests.contract.disturbed import DeathError, Process, Turns, Weather
from tests.fakes import Clock, MemoryDynamoDB, MemorySNS

TABLE = "incidents"
IPS = tuple(f"10.0.0.{number}" for number in range(6))
BEGINNING = 4_000_000_000
INTERVAL = 300
_make_client = boto3.client

type Dump = Mapping[tuple[str, str], Any]


@dataclass
class Served:
    """What the upstream serves: JSON texts of records by type, and who has which IP; sources may be down."""

    records: dict[str, list[str]] = field(default_factory=dict)
    identities: dict[str, int] = field(default_factory=dict)
    down: frozenset[str] = frozenset()

    def body(self, path: str) -> str | None:
        """The answer under a path, if there is one."""
        source = path.strip("/").removeprefix("incidents/")
        if source in self.down:
            return None
        if source == "identities":
            return json.dumps(self.identities)
        return f'{{"results":[{",".join(self.records.get(source, []))}]}}'


class _MemorySecrets:
    def get_secret_value(self, **request: Any) -> dict[str, str]:
        assert request == {"SecretId": "secret"}
        return {"SecretString": '{"username":"simulator","password":"simulator"}'}


class Surroundings:
    """One table, one topic, one upstream; ``poll`` is one container's only poll.

    ``clients`` are by service; a service that is missing here is none that the poller is known to call.
    """

    def __init__(self, make_reader: Callable[..., Any]) -> None:
        self._make_reader = make_reader
        self.memory = MemoryDynamoDB(TABLE)
        self.sns = MemorySNS()
        self.clients: dict[str, Any] = {
            "dynamodb": self.memory,
            "sns": self.sns,
            "secretsmanager": _MemorySecrets(),
        }
        self.served = Served()
        self.clock = Clock(BEGINNING)
        self.token: str | None = None
        self.followed: list[dict[str, Any]] = []

    def copy(self) -> "Surroundings":
        """The same once more, so that something else may happen to it."""
        twin = Surroundings(self._make_reader)
        twin.memory.load(self.memory.dump().values())
        twin.sns.published = list(self.sns.published)
        twin.served = copy.deepcopy(self.served)
        twin.clock.now = self.clock.now
        twin.token, twin.followed = self.token, list(self.followed)
        return twin

    def poller(self, process: Process, served: Served | None = None, *, at: float | None = None) -> Poller:
        """A new container's poller that makes all its calls through ``process``.

        ``served`` is what the upstream serves to it, if that is not the same for all. ``at`` is the time by
        its clock, if that is not the common one.
        """
        outside = _Outside(process, self.clients, served or self.served)
        _Outside.being_built = outside
        _Outside.by_host[outside.host] = outside
        _BUILD_DEFAULTS[Poller]["clock"] = self.clock if at is None else lambda: at
        return composition.build(
            {
                "TABLE_NAME": TABLE,
                "UPSTREAM_BASE_URL": f"http://{outside.host}",
                "UPSTREAM_SECRET_ARN": "secret",
                "UPSTREAM_CONCURRENCY": "1",
                "NOTIFICATION_TOPIC_ARN": "arn:topic",
                # More than a test lasts: those that wait are counted anew each day, and are all there.
                "RETENTION_DAYS": "400",
            }
        )

    def poll(
        self, process: Process | None = None, served: Served | None = None, *, later: float = INTERVAL
    ) -> PollSummary | None:
        """One poll, so many seconds ``later`` than the last; None if its process died."""
        self.clock.now += later
        try:
            return self.poller(process or Process(), served).poll(seconds_left=240)
        except DeathError:
            return None

    def exposed(self, dice: random.Random, **weather: Any) -> Weather:
        """From now on polls reach the table through a real client, in this weather; readers stay dry."""
        # The poller's own settings of time-outs and retries, not the address.
        _Outside.settings.clear()
        self.poller(Process())
        client = _make_client(
            "dynamodb", endpoint_url="http://dynamodb.test", config=_Outside.settings["dynamodb"]["config"]
        )
        exposed = Weather(self.memory, dice, **weather)
        self.clients["dynamodb"] = exposed.attach(client)
        return exposed

    def dump(self) -> Dump:
        """All items by key."""
        return self.memory.dump()

    def view(self) -> "View":
        """What readers get now, a new container of theirs."""
        reader = self._make_reader(self.memory, clock=self.clock)
        answer = reader.get("/incidents", limit="500")
        health = reader.get("/health").json
        if answer.status == 503:
            assert answer.json["code"] == "no_data_yet"
            return View({}, set(), health)
        assert answer.status == 200, answer.text
        assert not answer.json["has_more"]
        incidents = {
            each["id"]: each
            for employee in answer.json["incidents"].values()
            for group in employee.values()
            for each in group["incidents"]
        }
        assert len(incidents) == sum(
            group["count"] for employee in answer.json["incidents"].values() for group in employee.values()
        )
        unattributed = reader.get("/incidents/unattributed", limit="500").json
        assert not unattributed["has_more"]
        assert unattributed["snapshot"] == answer.json["snapshot"]
        waiting = [each["id"] for each in unattributed["data"]]
        assert len(set(waiting)) == len(waiting)
        check_numbers(reader, incidents.values(), answer.json["snapshot"])
        return View(incidents, set(waiting), health)

    def follow(self) -> None:
        """What a SIEM gets now that comes back with its token: it keeps all of it."""
        reader = self._make_reader(self.memory, clock=self.clock)
        has_more = True
        while has_more:
            answer = reader.get("/incidents/changes", **({"token": self.token} if self.token else {}))
            if answer.status == 503:
                assert self.token is None
                return
            assert answer.status == 200, answer.text
            self.followed += answer.json["data"]
            self.token, has_more = answer.json["next_token"], answer.json["has_more"]

    def told(self) -> list[str]:
        """Ids of the incidents that were notified of, in order."""
        return [each["id"] for each in self.sns.incidents()]


@dataclass(frozen=True)
class View:
    """What readers get: the incidents of one walk by id, the ids of those that wait, the health document."""

    incidents: Mapping[str, Any]
    waiting: Set[str]
    health: Mapping[str, Any]

    @property
    def totals(self) -> tuple[int, int, int]:
        """What of health moves with an entry."""
        sequence = self.health["snapshot"]["sequence"]
        return sequence, self.health["total_identified_incidents"], self.health["unattributed_incidents"]

    @property
    def report(self) -> Mapping[str, Any]:
        """What of health moves with a poll's report, but for how long things took."""
        names = ("polls", "successful_updates", "failed_updates", "consecutive_failures", "last_attempt_at")
        sources = self.health["sources"]
        return {name: self.health[name] for name in (*names, "last_success_at", "last_error")} | {
            name: {key: value for key, value in each.items() if key != "latency_ms"}
            for name, each in sources.items()
        }


class _Outside:
    """What one container's boto3 and requests reach."""

    being_built: "_Outside"
    by_host: ClassVar[dict[str, "_Outside"]] = {}
    settings: ClassVar[dict[str, Any]] = {}

    def __init__(self, process: Process, clients: Mapping[str, Any], served: Served) -> None:
        self._process = process
        self._clients = clients
        self._served = served
        self.host = f"upstream-{len(self.by_host)}.test"

    @staticmethod
    def make_client(service: str, **settings: Any) -> Any:
        """As shared.aws.make_client does."""
        _Outside.settings[service] = settings
        outside = _Outside.being_built
        return outside._process.watch(service, outside._clients[service])

    @staticmethod
    def send(_: HTTPAdapter, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """As requests' adapters do."""
        parts = urlsplit(str(request.url))
        outside = _Outside.by_host[str(parts.hostname)]
        path = str(parts.path)
        (body,) = outside._process.call(f"{request.method} {path}", [lambda: outside._served.body(path)])
        response = requests.Response()
        response.status_code = 404 if body is None else 200
        response.request, response.url = request, str(request.url)
        response._content = (body or "").encode()
        response._content_consumed = True  # type: ignore[attr-defined]  # as requests marks a read body
        return response


_BUILD_DEFAULTS: dict[type, dict[str, Any]] = {
    kind: kind.__init__.__kwdefaults__  # type: ignore[misc]  # of the class on purpose
    for kind in (Poller, Table, Upstream)
}


def surround(
    monkeypatch: pytest.MonkeyPatch,
    make_reader: Callable[..., Any],
    *,
    sleep: Callable[[float], None] = lambda seconds: None,
) -> Surroundings:
    """An empty table; and nothing that a poller makes for itself reaches beyond them."""
    monkeypatch.setattr(aws, "make_client", _Outside.make_client)
    monkeypatch.setattr(HTTPAdapter, "send", _Outside.send)
    monkeypatch.setattr(composition.MetricsEmitter, "emit_poll", lambda self, summary: None)
    monkeypatch.setattr(_Outside, "by_host", {})
    monkeypatch.setitem(_BUILD_DEFAULTS[Poller], "clock", None)
    monkeypatch.setitem(_BUILD_DEFAULTS[Table], "sleep", sleep)
    monkeypatch.setitem(_BUILD_DEFAULTS[Upstream], "sleep", lambda seconds: None)
    # An adapter for each request is most of what a poll costs here.
    session = make_session(math.inf)
    monkeypatch.setattr(upstream, "make_session", lambda deadline, monotonic: session)
    # One thing after the other, so that a moment is the same one each time.
    monkeypatch.setattr("shared.store.table._BATCH_THREADS", 1)
    return Surroundings(make_reader)


def misuse(number: int, employee_id: int = 7, priority: str = "low") -> str:
    """A record that names its employee; ``number`` tells it apart."""
    return (
        f'{{"employee_id":{employee_id},"priority":"{priority}","timestamp":{BEGINNING - 90_000 + number}.5}}'
    )


def probing(number: int, ip: str, priority: str = "medium") -> str:
    """A record that has an IP."""
    return f'{{"ip":"{ip}","priority":"{priority}","timestamp":{BEGINNING - 90_000 + number}.25}}'


def bad(number: int) -> str:
    """A record that can't be an incident."""
    return f'{{"employee_id":{number},"priority":"none"}}'


def decided(dump: Dump) -> list[tuple[int, list[Any]]]:
    """The journal, read without the service's code: each entry's sequence and decisions."""
    rows = sorted((int(sk), item) for (pk, sk), item in dump.items() if pk == "JOURNAL")
    return [
        (sequence, json.loads(zlib.decompress(item["decisions"]["B"]), parse_float=str, parse_int=str))
        for sequence, item in rows
    ]


def _laid_out(entries: list[tuple[int, list[Any]]]) -> dict[tuple[str, str], dict[str, Any]]:
    """What entries lay out, by key: what of it tells one decision from another."""
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for sequence, decisions in entries:
        number = {"N": str(sequence)}
        for each in decisions:
            outcome = each["outcome"]
            record_id = each["id"] if outcome == "rejected" else each["incident"]["id"]
            if outcome == "rejected":
                table["REJECTED", record_id] = {"sequence": number}
            elif outcome == "unattributed":
                table["UNATTRIBUTED", record_id] = {"sequence": number, "resolved_sequence": None}
            else:
                seconds, _, decimals = each["incident"]["timestamp"].partition(".")
                moment = f"{seconds:0>10}.{decimals:0<7}"
                key = f"{each['employee_id']:0>20}#{moment}#{record_id}"
                table["INCIDENTS", key] = {
                    "sequence": number,
                    "priority": {"S": each["incident"]["priority"]},
                }
            if outcome == "attributed_late":
                table["UNATTRIBUTED", record_id] |= {"resolved_sequence": number}
            kind = {"S": "incident" if outcome.startswith("attributed") else outcome}
            table[f"ID#{record_id}", "ID"] = {"sequence": number, "outcome": kind}
    return table


def check_any_moment(surroundings: Surroundings) -> None:
    """What holds even while a poll is in the middle, or has died there.

    Nothing is decided twice; what the state calls projected is laid out; there is nothing that no entry
    decided on; an id that is known has its record; a digest says nothing that is not so.
    """
    dump = surroundings.dump()
    entries = decided(dump)
    assert [sequence for sequence, _ in entries] == list(range(1, len(entries) + 1))
    outcomes: dict[str, list[str]] = {}
    for _, decisions in entries:
        for each in decisions:
            record_id = each["id"] if "id" in each else each["incident"]["id"]
            outcomes.setdefault(record_id, []).append(each["outcome"])
    possible = (["attributed"], ["unattributed"], ["rejected"], ["unattributed", "attributed_late"])
    assert all(each in possible for each in outcomes.values()), outcomes

    projected = _projected(dump)
    assert projected <= len(entries)
    sure, may_be = _laid_out(entries[:projected]), _laid_out(entries)
    records = ("INCIDENTS", "UNATTRIBUTED", "REJECTED")
    there = {key: item for key, item in dump.items() if key[0] in records or key[0].startswith("ID#")}
    assert sure.keys() <= there.keys() <= may_be.keys()
    for key, item in there.items():
        wanted = [each[key] for each in (sure, may_be) if key in each]
        assert any(all(item.get(name) == value for name, value in each.items()) for each in wanted), key
    known = {(item["outcome"]["S"], pk[3:]) for (pk, _), item in there.items() if pk.startswith("ID#")}
    own = {("incident", sk.rpartition("#")[2]) for pk, sk in there if pk == "INCIDENTS"}
    assert known <= own | {(pk.lower(), sk) for pk, sk in there if pk in records[1:]}
    if projected:
        assert json.loads(dump["STATE", "STATE"]["totals"]["S"]) == _totals(entries[:projected])
    check_digests(dump, surroundings.served, surroundings.clock.now)


def check_digests(dump: Dump, served: Served, now: float) -> None:
    """Whatever a poll would skip because of a digest is known."""
    for kind, texts in served.records.items():
        item = dump.get((f"SOURCE#{kind}", "DIGESTS"))
        window = sort_out(kind, parse(f'{{"results":[{",".join(texts)}]}}'), now=now, retention=Retention(0))
        by_hour = window.ids_by_hour()
        for hours, digest in _blocks_of(bytes(item["blocks"]["B"])) if item else ():
            there = {hour: digest_ids(by_hour[hour]) for hour in hours if hour in by_hour}
            if there and _digest_of(there) == digest:
                ids = chain.from_iterable(by_hour[hour] for hour in there)
                assert all((f"ID#{each}", "ID") in dump for each in ids), f"{kind}: {hours} are not known"


def check_numbers(reader: Any, incidents: Iterable[Mapping[str, Any]], snapshot: Any) -> None:
    """Whatever is told in numbers is what these incidents are; or nothing is told yet."""
    summary = reader.get("/summary", days="400")
    if summary.status == 503:
        assert summary.json["code"] == "summaries_not_ready"
        return
    theirs: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for each in incidents:
        theirs[each["employee_id"]].append(each)
    assert summary.json["snapshot"] == snapshot
    for field_name, name in (("by_priority", "priority"), ("by_type", "type")):
        counts = Counter(each[name] for some in theirs.values() for each in some)
        assert +Counter(summary.json[field_name]) == counts
    assert summary.json["employees_affected"] == len(theirs)
    by_risk = reader.get("/employees", limit="500").json
    by_id = reader.get("/employees", sort="employee_id", limit="500").json
    assert by_risk["snapshot"] == by_id["snapshot"] == snapshot
    rows = by_id["employees"]
    assert sorted(rows, key=lambda row: (-row["risk"], int(row["employee_id"]))) == by_risk["employees"]
    assert [row["employee_id"] for row in rows] == sorted(theirs, key=int)
    for row in rows:
        some = theirs[row["employee_id"]]
        assert +Counter(row["counts"]) == Counter(each["priority"] for each in some)
        assert row["last_incident_at"] == max(each["timestamp"] for each in some)


def _blocks_of(packed: bytes) -> list[tuple[list[int], bytes]]:
    """Hours and their digest: how many runs, of each the first hour, the hours of a block and how many
    blocks; then 12 bytes a block.
    """
    (runs,) = struct.unpack_from(">H", packed)
    heads = [struct.unpack_from(">iBH", packed, 2 + 7 * number) for number in range(runs)]
    blocks = [
        list(range(begin + number * hours, begin + (number + 1) * hours))
        for begin, hours, length in heads
        for number in range(length)
    ]
    digests = packed[2 + 7 * runs :]
    assert len(digests) == 12 * len(blocks)
    return [(hours, digests[12 * number : 12 * number + 12]) for number, hours in enumerate(blocks)]


def _digest_of(by_hour: Mapping[int, bytes]) -> bytes:
    """That of an hour, or one over those of several."""
    if len(by_hour) == 1:
        return next(iter(by_hour.values()))
    text = b"".join(struct.pack(">i", hour) + by_hour[hour] for hour in sorted(by_hour))
    return hashlib.sha256(text).digest()[:12]


def check_settled(surroundings: Surroundings) -> View:
    """What holds after an undisturbed poll: all that is committed is laid out, readers have it once, and what
    still waits is what the identities have no employee for.
    """
    check_any_moment(surroundings)
    dump = surroundings.dump()
    entries = decided(dump)
    assert _projected(dump) == len(entries)
    view = surroundings.view()
    assert "summaries" in dump["STATE", "STATE"], "nobody has counted"
    employees = {
        each["incident"]["id"]: each["employee_id"]
        for _, decisions in entries
        for each in decisions
        if each["outcome"].startswith("attributed")
    }
    assert {each: incident["employee_id"] for each, incident in view.incidents.items()} == employees
    surroundings.follow()
    assert Counter(each["id"] for each in surroundings.followed) == Counter(view.incidents.keys())
    for row in surroundings.followed:
        assert view.incidents[row["id"]].items() <= row.items()
    assert view.totals == (len(entries), *_totals(entries).values())
    waiting = {
        each["incident"]["id"]: each["incident"]["ip"]
        for _, decisions in entries
        for each in decisions
        if each["outcome"] == "unattributed" and each["incident"]["id"] not in view.incidents
    }
    assert view.waiting == waiting.keys()
    assert not surroundings.served.identities.keys() & set(waiting.values())
    return view


def check_complete(surroundings: Surroundings, served: Served) -> None:
    """Each record that was served is in the journal, whatever became of it."""
    decisions = [each for _, portion in decided(surroundings.dump()) for each in portion]
    times = {each["incident"]["timestamp"] for each in decisions if each["outcome"] != "rejected"}
    rejected = {each["record"] for each in decisions if each["outcome"] == "rejected"}
    for text in chain.from_iterable(served.records.values()):
        record = json.loads(text, parse_float=str, parse_int=str)
        assert text in rejected or record.get("timestamp") in times, text


def _projected(dump: Dump) -> int:
    return int(dump.get(("STATE", "STATE"), {}).get("projected", {"N": "0"})["N"])


def _end_of(poller: Poller) -> PollSummary | Exception:
    try:
        return poller.poll(seconds_left=240)
    except (ClientError, BotoCoreError, ThrottledError) as error:
        return error


def _totals(entries: list[tuple[int, list[Any]]]) -> dict[str, int]:
    outcomes = Counter(each["outcome"] for _, decisions in entries for each in decisions)
    return {
        "incidents": outcomes["attributed"] + outcomes["attributed_late"],
        "unattributed": outcomes["unattributed"] - outcomes["attributed_late"],
    }


def check_told(around: Surroundings, *, deaths: int = 0) -> None:
    """People were told of every critical incident, of each once but for a message's worth for each death."""
    told = Counter(around.told())
    assert all(count == 1 for count in told.values()) or deaths
    assert told.total() - len(told) <= deaths * notify.MAX_INCIDENTS
    critical = {each["id"] for each in around.view().incidents.values() if each["priority"] == "critical"}
    assert critical <= told.keys()


class Company:
    """An upstream that goes on from round to round; each poller sees it at a moment of its own."""

    def __init__(self, around: Surroundings, dice: random.Random) -> None:
        self.around = around
        self.dice = dice
        self._numbers = iter(range(1, 80_000))
        self._had: dict[str, set[int]] = {}
        self.everything = around.served
        # Somebody is always there: identities that are suddenly empty are not believed.
        self.everything.identities["10.0.9.9"] = 1

    def goes_on(self) -> None:
        """Some more records, and identities that come, go and change hands."""
        dice, records = self.dice, self.everything.records
        for _ in range(dice.randint(0, 6)):
            kind = dice.choice(["misuse", "probing", "probing", "bad"])
            number, priority = next(self._numbers), dice.choice(["low", "critical"])
            if kind == "misuse":
                records.setdefault(kind, []).append(misuse(number, dice.randint(1, 4), priority))
            elif kind == "probing":
                records.setdefault(kind, []).append(probing(number, dice.choice(IPS), priority))
            else:
                records.setdefault("misuse", []).append(bad(number))
        for ip in dice.sample(IPS, dice.randint(0, 3)):
            self.everything.identities.pop(ip, None)
            if dice.random() < 0.7:
                employee_id = dice.randint(5, 9)
                self.everything.identities[ip] = employee_id
                self._had.setdefault(ip, set()).add(employee_id)

    def seen(self) -> Served:
        """What somebody sees who asked a bit earlier than others."""
        seen = copy.deepcopy(self.everything)
        for texts in seen.records.values():
            del texts[len(texts) - min(self.dice.randint(0, 3), len(texts)) :]
        return seen

    def polls_at_once(
        self, *, whole_batches: bool = False
    ) -> list[tuple[Served, PollSummary | Exception | None]]:
        """Two to eight polls, each call of which waits for its turn, as dice say; now and then one dies.

        What each of them was served, and how it ended: None if it died. What is projected never goes back.
        """
        dice, around = self.dice, self.around
        turns = Turns(count := dice.randint(2, 8), dice)
        around.clock.now += dice.choice([60, 60, 86_400])
        views, polls = [], []
        projected, table = [0], Table(TABLE, client=around.memory)  # type: ignore[arg-type]  # a stand-in for the client

        def wait(number: int) -> None:
            turns.wait(number)
            projected.append(read_state(table).projected)

        for number in range(count):
            if dice.random() < 0.5:
                self.goes_on()
            views.append(self.seen())
            process = Process(
                at=dice.randint(1, 90) if dice.random() < 0.15 else 0,
                before_each=partial(wait, number),
                order=dice,
                whole_batches=whole_batches,
            )
            # They don't take their first turn in the order in which they began.
            poller = around.poller(process, views[-1], at=around.clock.now + dice.random())
            polls.append(partial(_end_of, poller))
        ends = turns.play(polls)
        assert projected == sorted(projected)
        return list(zip(views, ends, strict=True))

    def settles(self, *, deaths: int = 0) -> None:
        """An undisturbed poll later all is there, once; then what is old rolls out of the windows."""
        around = self.around
        last = around.poll()
        assert last
        assert last.outcome == "succeeded"
        end = check_settled(around)
        check_complete(around, self.everything)
        check_told(around, deaths=deaths)
        assert end.health["status"] == "pass"
        for incident in end.incidents.values():
            if incident["type"] == "probing":
                assert int(incident["employee_id"]) in self._had[incident["ip"]]
        if self.dice.random() < 0.3:
            for texts in self.everything.records.values():
                del texts[: self.dice.randint(0, len(texts))]
