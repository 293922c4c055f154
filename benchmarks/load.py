"""`make load`: many clients at once against `make run`, while it polls.

`python -m benchmarks.load --clients 32 --seconds 30`; the pages are made anew afterwards.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.__main__ import make_pages
from benchmarks.measuring import percentile_of_counts
from benchmarks.results import save
from local.function_environment import build_base_environment
from local.ports import find_free_port
from local.processes import PROJECT_PATH, Children
from local.terminal import say

POLL_INTERVAL_SECONDS = 2
_LOCUST = PROJECT_PATH / ".tools/bench/bin/locust"


def main(arguments: Sequence[str]) -> int:
    """Load it, say what came of it; the exit status is 1 if any request failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--clients", type=int, default=32, help="at once")
    parser.add_argument("--seconds", type=int, default=30, help="for so long")
    options = parser.parse_args(arguments)
    say(f"{options.clients} clients for {options.seconds} s …")
    results = measure(options.clients, options.seconds)
    save("load", results)
    for path in results["paths"]:
        say(
            f"  {path['name']}: {path['requests']:,} requests, p50 {path['p50_ms']:.0f} ms,"
            f" p99 {path['p99_ms']:.0f} ms, {path['errors']} errors"
        )
    make_pages()
    return 1 if any(path["errors"] for path in results["paths"]) else 0


def measure(clients: int, seconds: int) -> dict[str, Any]:
    """Run the service, load it for so long, and end it."""
    port = find_free_port()
    url = f"http://127.0.0.1:{port}"
    base = build_base_environment(os.environ)
    with tempfile.TemporaryDirectory(prefix="incident-bench-") as folder, Children() as children:
        log = Path(folder) / "run.log"
        children.start(
            "local run",
            [sys.executable, "-m", "local.run"],
            environment=base | {"PORT": str(port), "POLL_INTERVAL_SECONDS": str(POLL_INTERVAL_SECONDS)},
            log=log,
        )
        children.wait_until(lambda: _has_data(url), "the local run", 90)
        before = _count_polls(log)
        stats = _load(url, clients, seconds, base)
        polls = _count_polls(log) - before
    return {
        "clients": clients,
        "seconds": seconds,
        "poll_interval_seconds": POLL_INTERVAL_SECONDS,
        "polls": polls,
        "paths": [describe(each, seconds) for each in sorted(stats, key=lambda each: str(each["name"]))],
    }


def describe(stats: Mapping[str, Any], seconds: int) -> dict[str, Any]:
    """What locust says of one kind of request, in short."""
    times = {float(ms): int(count) for ms, count in stats["response_times"].items()}
    return {
        "name": stats["name"],
        "requests": stats["num_requests"],
        "per_second": stats["num_requests"] / seconds,
        "p50_ms": percentile_of_counts(times, 50),
        "p99_ms": percentile_of_counts(times, 99),
        "errors": stats["num_failures"],
    }


def _load(url: str, clients: int, seconds: int, base: Mapping[str, str]) -> list[dict[str, Any]]:
    done = subprocess.run(  # noqa: S603 - composed here
        [
            *(_LOCUST, "--locustfile", PROJECT_PATH / "benchmarks/load_users.py", "--host", url),
            *("--headless", "--json", "--only-summary", "--loglevel", "ERROR", "--exit-code-on-error", "0"),
            *("--users", str(clients), "--spawn-rate", str(clients), "--run-time", f"{seconds}s"),
        ],
        cwd=PROJECT_PATH,
        env=dict(base),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    stats: list[dict[str, Any]] = json.loads(done.stdout)
    return stats


def _has_data(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/incidents?limit=1", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _count_polls(log: Path) -> int:
    return sum(line.startswith("poll ") for line in log.read_text("utf-8", "replace").splitlines())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
