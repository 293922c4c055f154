"""`make fuzz`: the local run, polled from a small fast upstream, and at least 20,000 requests to it."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.ports import find_free_port
from local.simulator import Simulator, SimulatorSettings, serve
from tests.fuzz.driver import Fuzzer

REQUESTS = 20_000
SECONDS = 1_500.0
START_SECONDS = 60.0
PROJECT_PATH = Path(__file__).resolve().parents[2]


def main() -> int:
    """Give the exit status: 0 when enough requests were made and none of their answers broke the contract."""
    simulator = Simulator(SimulatorSettings(records_per_type=20, identities=300))
    with serve(simulator) as upstream, local_run(upstream, simulator.settings) as url:
        print(
            f"fuzzing {url}: at least {REQUESTS:,} requests, at most {SECONDS / 60:.0f} minutes", flush=True
        )
        report = Fuzzer(url).run(requests=REQUESTS, seconds=SECONDS)
    print(report.describe())
    if report.requests < REQUESTS:
        print(f"only {report.requests:,} requests were made in the time there was", file=sys.stderr)
        return 1
    return 1 if report.violations or report.errors else 0


@contextmanager
def local_run(upstream: str, settings: SimulatorSettings) -> Iterator[str]:
    """`python -m local.run` on a free port, its first poll done; gives its URL."""
    port = find_free_port()
    environment = os.environ | {
        "PORT": str(port),
        "POLL_INTERVAL_SECONDS": "5",
        "SIMULATOR": "off",
        "UPSTREAM_BASE_URL": upstream,
        "UPSTREAM_USERNAME": settings.username,
        "UPSTREAM_PASSWORD": settings.password,
    }
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "local.run"],
            cwd=PROJECT_PATH,
            env=environment,
            stdout=output,
            stderr=output,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for_data(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _wait_for_data(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310 - our own address
                return
        except urllib.error.URLError:
            time.sleep(0.1)
    raise SystemExit("the local run did not get its first data: see .local/")


if __name__ == "__main__":
    sys.exit(main())
