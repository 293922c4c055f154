"""What it costs as the table grows: pages, walks and polls over 2,000 to a million incidents.

Units and bytes are counted by the table in memory, from the sizes of the items; latencies are measured on it,
where the table itself takes next to no time, and on dynalite where that is installed.
"""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, cast

from benchmarks import dynalite
from benchmarks.data import KEEP_ALL, Past, make_table
from benchmarks.dynamodb import CountingDynamoDB, Server, serve
from benchmarks.functions import TABLE_NAME, make_environment
from benchmarks.measuring import spread
from benchmarks.subject import Subject, measure_in_turn
from benchmarks.units import units_of_bytes
from functions.poller.poll import Poller
from functions.poller.summary import PollSummary
from functions.poller.upstream import Upstream
from local.simulator import INCIDENT_TYPES
from shared.domain.cursor import Cursor, sign_cursor
from shared.domain.filters import NO_FILTERS
from shared.domain.token import sign_token
from shared.store.incidents import Span, read_incidents
from shared.store.keys import INCIDENTS, after_employee, employee_of
from shared.store.signing_keys import read_signing_keys
from shared.store.state import read_state
from shared.store.table import Table
from tests.fakes import Clock, MemoryUpstream, item_size

SIZES = (2_000, 20_000, 200_000)
LARGE = 1_000_000
NEW = (0, 1, 20, 1_000)
_WINDOW = 300
_IDENTITIES = 5_000
_ROUNDS = 8
_TIMES = 10
# A page of them, and one the next time: each is asked for once.
_CURSORS = 400
_PAGES = 12
_UNCHANGED = "304"
# Of these no request that moves the state on comes before; of the others it is not to be counted.
_ASKED_AS_THEY_ARE = ("changes", _UNCHANGED)
_READ = ("STATE", "CURSOR_KEYS", "JOURNAL", INCIDENTS)


def run(sizes: Iterable[int] = SIZES) -> Iterator[dict[str, Any]]:
    """Everything, by size; given out after each, with all so far: the largest takes long."""
    check = _check_units() if dynalite.is_installed() else {}
    measured: dict[int, Any] = {}
    for size in sizes:
        measured[size] = _measure(size)
        yield {"sizes": dict(measured), "check": check}


def _measure(size: int) -> dict[str, Any]:
    began = time.monotonic()
    past = Past(size)
    memory = make_table(past)
    built = time.monotonic() - began
    requests = _make_requests(memory)
    # Before the polls, which change this process's copy of the table, and not the server's.
    with serve(memory) as server:
        reads = _measure_reads(server, requests)
        walk = _measure_walk(server, limit=500)
        pages = _measure_walk(server, limit=100, at_most=_PAGES)
    other: dict[str, Any] = {}
    if dynalite.is_installed():
        with dynalite.serve(memory.items_of(*_READ)) as (url, seconds):
            other = {"load_seconds": seconds, "reads": _measure_latency(url, requests)}
            other["units"] = {
                name: sum(dynalite.count_units(url, *each) for each in reads[name].pop("recorded"))
                for name in requests
            }
    for each in reads.values():
        each.pop("recorded", None)
    return {
        "build_seconds": built,
        "item_bytes": _item_bytes(memory),
        "stored_bytes_an_incident": _stored_bytes(memory) / size,
        "reads": reads,
        "walk": walk,
        "pages_of_100": {
            **pages,
            "pages": _count_pages(memory),
            "units_of_bytes": _units_shown(memory, employees=100 * _PAGES),
        },
        "dynalite": other,
        "polls": measure_polls(memory, past),
    }


def _item_bytes(memory: CountingDynamoDB) -> dict[str, dict[str, int]]:
    """The smallest and the largest item of each kind."""
    kinds = (INCIDENTS, "ID#", "JOURNAL", "STATE")
    sizes = {kind: [item_size(item) for item in memory.items_of(kind)] for kind in kinds}
    return {kind: {"smallest": min(each), "largest": max(each)} for kind, each in sizes.items()}


def _stored_bytes(memory: CountingDynamoDB) -> int:
    """What is paid for: 100 bytes more for each item."""
    return sum(item_size(item) + 100 for item in memory.items_of(INCIDENTS, "ID#", "JOURNAL"))


def _make_requests(memory: CountingDynamoDB) -> dict[str, dict[str, Any]]:
    """What is asked for, by name: arguments of :func:`benchmarks.readers.ask_reader`."""
    table = Table(TABLE_NAME, client=memory)  # type: ignore[arg-type]  # as much of one as the store needs
    key = read_signing_keys(table).newest
    state = read_state(table)
    if key is None:
        raise ValueError("the table has no key to sign with")
    employee = _employee_in_the_middle(table)

    def cursor(number: int) -> str:
        """To the page in the middle, each at another snapshot, so that it is no page seen before."""
        return sign_cursor(
            Cursor(
                route="/incidents",
                filters=NO_FILTERS,
                snapshot=state.projected + number,
                committed_at=state.committed_at,
                complete=True,
                as_of=int(time.time()) // 3600 * 3600,
                go_on_from=after_employee(employee),
                counts=None,
                limit=100,
                began_at=int(time.time()),
            ),
            key,
        )

    token = sign_token(max(1, state.projected // 2), 0, key)
    return {
        "first page": {"path": "/incidents", "queries": ["limit=100"]},
        "middle page": {
            "path": "/incidents",
            "queries": [f"cursor={cursor(number)}" for number in range(_CURSORS)],
        },
        "one employee": {"path": f"/employees/{employee}/incidents", "queries": [""]},
        # The feed would find entries missing at a later snapshot, and another limit is another answer.
        "changes": {
            "path": "/incidents/changes",
            "queries": [f"token={token}&limit={limit}" for limit in range(100, 200)],
            "again": True,
        },
        _UNCHANGED: {"path": "/incidents", "query": "limit=100"},
    }


def _employee_in_the_middle(table: Table) -> str:
    """Whose incidents stand about half-way; people are spread evenly over ids up to a million."""
    found, _ = read_incidents(
        table, Span(after_employee("500000")), after=None, snapshot=10**12, oldest_kept=None, limit=1
    )
    return found[0].employee_id


def _measure_reads(server: Server, requests: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    counted: dict[str, Any] = {}
    for name, request in requests.items():
        with _ask(server.url, request, name, alone=True) as subject:
            # The reader learns how many incidents an employee has, and reads the keys once.
            subject.run(30)
            server.count()
            answer = subject.run()
            counts = server.count()
            counted[name] = {
                "read_units": counts.read_units,
                "requests": counts.requests - (name not in _ASKED_AS_THEY_ARE),
                "bytes": answer.bytes,
                "recorded": [(operation, body) for operation, body, _ in counts.last],
            }
    for name, latency in _measure_latency(server.url, requests).items():
        counted[name] |= latency
    return counted


def _measure_latency(url: str, requests: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    subjects = {name: _ask(url, request, name) for name, request in requests.items()}
    measured = measure_in_turn(subjects, rounds=_ROUNDS, times=_TIMES)
    return {
        name: {
            key: spread(times).to_json()
            for key, times in (("cpu_ms", each.cpu_ms), ("wall_ms", each.wall_ms))
        }
        for name, each in measured.items()
    }


def _ask(url: str, request: dict[str, Any], name: str, *, alone: bool = False) -> Subject:
    """``alone``: nobody else moves the state on meanwhile."""
    environment = make_environment("ApiFunction", url)
    if name == _UNCHANGED:
        arguments = {**request, "alone": alone}
        return Subject("benchmarks.readers", "ask_for_the_same", arguments, environment=environment)
    return Subject("benchmarks.readers", "ask_reader", request, environment=environment)


def _measure_walk(server: Server, **arguments: Any) -> dict[str, Any]:
    environment = make_environment("ApiFunction", server.url)
    with Subject("benchmarks.readers", "walk_with_reader", arguments, environment=environment) as subject:
        if "at_most" in arguments:
            subject.run(2)
        server.count()
        measured = subject.run()
        counts = server.count()
    return {
        "read_units": counts.read_units,
        "requests": counts.requests - 1,
        "bytes": measured.bytes,
        "cpu_s": measured.cpu_ms[0] / 1000,
        "wall_s": measured.wall_ms[0] / 1000,
        "memory_mb": measured.memory_mb,
    }


def _count_pages(memory: CountingDynamoDB) -> int:
    """How many of the pages there were to be had."""
    employees = {employee_of(item["sk"]["S"]) for item in memory.items_of(INCIDENTS)}
    return min(_PAGES, -(-len(employees) // 100))


def _units_shown(memory: CountingDynamoDB, employees: int) -> float:
    """The read units that the bytes of the first employees' incidents are worth."""
    sizes: dict[str, int] = defaultdict(int)
    for item in memory.items_of(INCIDENTS):
        employee = employee_of(item["sk"]["S"])
        if employee not in sizes and len(sizes) == employees:
            break
        sizes[employee] += item_size(item)
    return units_of_bytes(sizes.values())


def measure_polls(memory: CountingDynamoDB, past: Past, new: Sequence[int] = NEW) -> dict[str, Any]:
    """Polls of a window of 2,100 over the whole table: with nothing new, and with so many new records."""
    upstream, poll = _make_poller(past, memory)

    def measure() -> dict[str, Any]:
        memory.requests.clear()
        memory.read_units = memory.write_units = 0
        began = time.process_time()
        summary = poll()
        return {
            "new": summary.new_incidents,
            "cpu_ms": (time.process_time() - began) * 1000,
            "read_units": memory.read_units,
            "write_units": memory.write_units,
            "incident_writes": _incident_writes(memory),
            "requests": len(memory.requests),
        }

    # There are no digests yet, so the first looks all ids up.
    poll()
    polls: dict[str, Any] = {}
    so_far = 0
    for number in new:
        so_far += number
        upstream.records = _windows(past, so_far)
        polls[str(number)] = measure()
    return polls


def _check_units() -> dict[str, Any]:
    """Whether dynalite says of the same polls what is computed here: the first, with nothing new, and with
    some.
    """
    past = Past(2_100)
    counted: dict[str, dict[str, list[float]]] = {}
    with dynalite.serve([]) as (url, _):
        client = dynalite.make_client(url)
        memory = CountingDynamoDB()
        said = dynalite.count_all_units(client)
        for name, table in (("computed", memory), ("dynalite", client)):
            upstream, poll = _make_poller(past, table)
            for number, new in enumerate((None, *NEW)):
                upstream.records = _windows(past, sum(NEW[:number]))
                memory.read_units = memory.write_units = 0
                said.clear()
                poll()
                units = [memory.read_units, memory.write_units]
                kind = "the first" if new is None else f"{new:,} new"
                counted.setdefault(kind, {})[name] = (
                    [float(each) for each in units] if table is memory else [said["read"], said["write"]]
                )
    return counted


def _make_poller(past: Past, client: Any) -> tuple[MemoryUpstream, Callable[[], PollSummary]]:
    """An upstream with a window of 2,100, and polls of it, five minutes one after the other."""
    upstream = MemoryUpstream(_windows(past, 0), _some_identities(past))
    # Late enough for all that is new to have happened.
    clock = Clock(past.now + 8 * 86_400)
    poller = Poller(
        table=Table(TABLE_NAME, client=client),
        upstream=cast("Upstream", upstream),
        retention=KEEP_ALL,
        concurrency=1,
        clock=clock,
    )

    def poll() -> PollSummary:
        clock.now += 300
        return poller.poll(seconds_left=240)

    return upstream, poll


def _windows(past: Past, upcoming: int) -> dict[str, list[str]]:
    """What the upstream serves once so many more incidents have happened: the newest of each type."""
    each_has, over = divmod(upcoming, len(INCIDENT_TYPES))
    return {
        kind: past.texts(kind, newest=_WINDOW, upcoming=each_has + (number < over))
        for number, kind in enumerate(INCIDENT_TYPES)
    }


def _some_identities(past: Past) -> dict[str, str]:
    """As many as the real upstream has, everybody among them whose address is in a window."""
    everybody = past.identities()
    texts = chain.from_iterable(_windows(past, 0).values())
    upcoming = chain.from_iterable(_windows(past, sum(NEW)).values())
    named = {ip for text in chain(texts, upcoming) for ip in re.findall(r'"(17\.[0-9.]+)"', text)}
    # The attackers' addresses are in there, too.
    some = {ip: everybody[ip] for ip in named if ip in everybody}
    return some | dict(islice(everybody.items(), max(0, _IDENTITIES - len(some))))


def _incident_writes(memory: CountingDynamoDB) -> int:
    """How many incidents the requests so far have written."""
    return sum(
        part["PutRequest"]["Item"]["pk"]["S"] == INCIDENTS
        for operation, request in memory.requests
        if operation == "BatchWriteItem"
        for part in request["Parts"]
        if "PutRequest" in part
    )
