"""How long a poll takes against the best that was possible, and what very large windows cost."""

import heapq
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

from benchmarks.dynamodb import CountingDynamoDB, serve
from benchmarks.functions import make_environment
from benchmarks.subject import Subject
from functions.poller.configuration import read_configuration
from local.simulator import INCIDENT_TYPES, REALISTIC_LATENCY, Simulator, SimulatorSettings
from local.simulator import serve as serve_simulator
from local.simulator.faults import draw

CONCURRENCIES = (1, 2, 3, 4, 6, 8)
WINDOWS = (2_100, 100_000)
LARGE = 700_000
_POLLS = 2
_STEADY_POLLS = 3
_PATHS = (*(f"/incidents/{kind}/" for kind in INCIDENT_TYPES), "/identities/")


def run(windows: Iterable[int] = WINDOWS) -> Iterator[dict[str, Any]]:
    """Polls at each concurrency with the latencies that were observed, and polls of each size of window.

    Given out after each window, with all so far: the largest takes long.
    """
    schedules = {concurrency: _measure_schedule(concurrency) for concurrency in CONCURRENCIES}
    measured: dict[int, Any] = {}
    for records in windows:
        measured[records] = _measure_window(records)
        yield {
            "default_concurrency": _default_concurrency(),
            "schedules": schedules,
            "windows": dict(measured),
        }


def best_seconds(seconds: Sequence[float], at_once: int, slowdown: float) -> float:
    """The least that calls may take which last so many ``seconds`` each alone, with at most so many at once.

    Each other call under way adds ``slowdown`` of a call's time, as in the simulator. Whoever begins a call
    as soon as there is room does best in some order, so all orders are tried.
    """
    return min(_seconds_in_order(order, at_once, slowdown) for order in set(permutations(seconds)))


def _seconds_in_order(order: Sequence[float], at_once: int, slowdown: float) -> float:
    # All calls under way get on equally fast: each ends when the common progress is at its own end.
    ends = list(order[:at_once])
    heapq.heapify(ends)
    waiting = list(order[: at_once - 1 : -1]) if at_once < len(order) else []
    progress = elapsed = 0.0
    while ends:
        elapsed += (ends[0] - progress) * (1 + slowdown * (len(ends) - 1))
        progress = ends[0]
        if waiting:
            heapq.heapreplace(ends, progress + waiting.pop())
        else:
            heapq.heappop(ends)
    return elapsed


def _measure_schedule(concurrency: int) -> dict[str, Any]:
    moment = time.time()
    # The same latencies at each concurrency.
    simulator = Simulator(SimulatorSettings(seed=1), clock=lambda: moment)
    with serve(CountingDynamoDB()) as server, serve_simulator(simulator) as upstream:
        environment = make_environment(
            "PollerFunction", server.url, upstream=upstream, concurrency=concurrency
        )
        with Subject("benchmarks.pollers", "poll", {}, environment=environment) as poller:
            # Everything is taken in while calls take no time.
            poller.run(2)
            simulator.settings = replace(simulator.settings, latency=REALISTIC_LATENCY)
            taken = [poller.run().wall_ms[0] / 1000 for _ in range(_POLLS)]
    best = [
        best_seconds(_drawn(simulator, number), concurrency, simulator.settings.slowdown)
        for number in range(3, 3 + _POLLS)
    ]
    return {
        "best_s": sum(best) / len(best),
        "taken_s": taken,
        "ratio": max(seconds / least for seconds, least in zip(taken, best, strict=True)),
    }


def _drawn(simulator: Simulator, number: int) -> list[float]:
    """What the simulator drew for the request of that number for each path."""
    low, high = REALISTIC_LATENCY
    seed = simulator.settings.seed
    return [low + (high - low) * draw("latency", seed, path, number) for path in _PATHS]


def _measure_window(records: int) -> dict[str, Any]:
    moment = time.time()
    settings = SimulatorSettings(seed=1, records_per_type=records // len(INCIDENT_TYPES))
    simulator = Simulator(settings, clock=lambda: moment)
    for path in _PATHS:
        simulator.usual_reply(path)
    with serve(CountingDynamoDB()) as server, serve_simulator(simulator) as upstream:
        environment = make_environment("PollerFunction", server.url, upstream=upstream)
        with Subject("benchmarks.pollers", "poll", {}, environment=environment) as poller:
            first = [poller.run()]
            while first[-1].bytes > 1:
                first.append(poller.run())
            # The next stores no digests any more.
            poller.run()
            steady = poller.run(_STEADY_POLLS)
    return {
        "first": {
            "polls": len(first),
            "cpu_s": sum(each.cpu_ms[0] for each in first) / 1000,
            "wall_s": sum(each.wall_ms[0] for each in first) / 1000,
        },
        "steady": {
            "cpu_s": sorted(steady.cpu_ms)[_STEADY_POLLS // 2] / 1000,
            "wall_s": sorted(steady.wall_ms)[_STEADY_POLLS // 2] / 1000,
            "log_bytes": steady.log_bytes,
        },
        "memory_mb": steady.memory_mb,
    }


def _default_concurrency() -> int:
    environment = {"TABLE_NAME": "t", "UPSTREAM_BASE_URL": "http://u", "UPSTREAM_SECRET_ARN": "s"}
    return read_configuration(environment).upstream_concurrency
