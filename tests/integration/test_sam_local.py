"""`make sam-local`, for real: both functions in containers of Lambda's image, none of which is left.

Skipped where no Docker engine answers, and where the engine can't get the image.
"""

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_socket

from local.docker_engine import DockerError, Engine, ask_engine, find_containers, has_image
from local.sam_local import IMAGE, VARIABLES_PATH
from local.simulator import INCIDENT_TYPES
from tests.integration.local_runs import (
    PATIENCE_SECONDS,
    PROJECT,
    Run,
    Starter,
    are_gone,
    is_free,
    list_descendants,
    starter,
    wait_until,
)
from tests.sam import needs_sam

# Building, fetching what the build needs, the image of the layer, three starts of SAM.
READY_SECONDS = 300.0
PULL_SECONDS = 600.0
TRIES = 5
README = (PROJECT / "README.md").read_text("utf-8")

pytestmark = [pytest.mark.enable_socket, needs_sam]


@pytest.fixture(scope="module")
def engine_with_image() -> Engine:
    """The engine that answers and has Lambda's image; the test is skipped without."""
    try:
        engine = ask_engine(os.environ)
        image = f"{IMAGE}-{engine.architecture}"
        has_it = has_image(os.environ, image)
    except DockerError as error:
        pytest.skip(f"needs a Docker engine: {error}")
    if not has_it:
        done = subprocess.run(  # noqa: S603 - the image is named in this project
            ["docker", "pull", image],  # noqa: S607 - as the run itself does
            capture_output=True,
            text=True,
            timeout=PULL_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip(f"needs {image}, which can't be pulled here: {done.stderr.strip()[-200:]}")
    return engine


@pytest.fixture
def engine(engine_with_image: Engine) -> Engine:
    """The same; this test may also reach the address on which containers find this machine."""
    pytest_socket.socket_allow_hosts(["127.0.0.1", engine_with_image.listen_on], allow_unix_socket=True)
    return engine_with_image


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Starts `make sam-local`'s module. Newer images are not looked for: the one that is there will do."""
    usual = {"SAM_SKIP_PULL_IMAGE": "1", "DOCKER_HOST": os.environ.get("DOCKER_HOST", "")}
    with starter("local.sam_local", tmp_path, **usual) as start_run:
        yield start_run


type Record = tuple[str, str, str]


def list_served(engine: Engine) -> set[Record]:
    """What the run's simulator serves now: type, timestamp as it is written, priority."""
    seen_from_container: str = json.loads(VARIABLES_PATH.read_text())["PollerFunction"]["UPSTREAM_BASE_URL"]
    url = f"http://{engine.listen_on}:{seen_from_container.rpartition(':')[2]}"
    return {
        (kind, record["timestamp"], record["priority"])
        for kind in INCIDENT_TYPES
        for record in fetch(f"{url}/incidents/{kind}/")["results"]
    }


def fetch(url: str) -> Any:
    """JSON of the simulator, which fails now and then; numbers are their text."""
    credentials = base64.b64encode(b"simulator:simulator").decode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {credentials}"})  # noqa: S310 - http
    for _ in range(TRIES):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - http
                return json.loads(answer.read(), parse_float=str)
        except (OSError, ValueError):
            continue
    raise AssertionError(f"{url} failed {TRIES} times")


def walk(run: Run) -> Counter[Record]:
    """Every incident of a walk, and how often it came."""
    found: Counter[Record] = Counter()
    cursor = ""
    while True:
        url = f"http://127.0.0.1:{run.port}/incidents?limit=500{cursor}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            page = json.loads(answer.read(), parse_float=str)
        found.update(
            (each["type"], each["timestamp"], each["priority"])
            for employee in page["incidents"].values()
            for group in employee.values()
            for each in group["incidents"]
        )
        if not page["has_more"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def invoke(command: str) -> Any:
    """What a command prints in a second terminal, whose own AWS settings lead elsewhere."""
    elsewhere = {
        "AWS_ACCESS_KEY_ID": "AKIAOFTHEPERSON",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "eu-west-1",
    }
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(  # noqa: S603 - what the run printed
        ["sh", "-c", command],  # noqa: S607 - the shell that a person has
        cwd=PROJECT,
        env=kept | elsewhere | {"AWS_SESSION_TOKEN": "of-the-person"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS * 2,
        check=False,
    )
    # Its status is 0 also where the function fails.
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert "errorType" not in answer, done.stdout
    return answer


def test_it_serves_what_containers_polled(engine: Engine, start: Starter) -> None:
    """The first poll fills the API, the printed command polls again, every event of `events/` can be invoked;
    each of the simulator's incidents is there once. SIGTERM leaves no process, no container and no file.
    """
    run = start()
    run.wait_for("Poll again", READY_SECONDS)
    assert "first poll: " in run.printed()
    status, health = run.ask("/health")
    assert (status, health["polls"]) == (200, 1)
    assert health["thresholds"]["poll_interval_seconds"] == 300

    before = list_served(engine)
    command = next(line.strip() for line in run.printed().splitlines() if "sam local invoke Poller" in line)
    assert command in README.splitlines()
    # One poll may lack a source: the simulator fails now and then.
    for number in range(2, 2 + TRIES):
        summary = invoke(command)
        assert run.ask("/health")[1]["polls"] == number
        if set(summary["sources"].values()) == {"fresh"}:
            break
    after = list_served(engine)
    found = walk(run)
    assert set(found.values()) == {1}
    assert before <= found.keys()
    oldest = {kind: min(float(each[1]) for each in before if each[0] == kind) for kind in INCIDENT_TYPES}
    # What the first poll took may have rolled out since.
    assert all(float(when) < oldest[kind] for kind, when, _ in found.keys() - before - after)

    statuses_of = {event: {200} for event in ("health", "incidents", "employees", "summary")}
    for event, statuses in (statuses_of | {"employee": {200, 404}}).items():
        api = command.replace("PollerFunction", "ApiFunction").replace("schedule", event)
        assert invoke(api)["statusCode"] in statuses, event

    endpoint = json.loads(VARIABLES_PATH.read_text())["ApiFunction"]["AWS_ENDPOINT_URL_DYNAMODB"]
    of_this_run = f"AWS_ENDPOINT_URL_DYNAMODB={endpoint}"
    assert len(find_containers(os.environ, of_this_run)) == 1
    children = list_descendants(run.process.pid)
    for name in ("ministack", "local.simulator", "start-api"):
        assert any(name in line for line in children.values()), f"{name} is not among {children}"
    assert run.end(signal.SIGTERM) == 0
    assert are_gone(set(children))
    assert find_containers(os.environ, of_this_run) == []
    wait_until(lambda: is_free(run.port), "the port")
    assert not list(run.temporary.glob("incident-api-*"))
    assert run.printed().rstrip().endswith("stopped: every process and container has ended")
    assert "Traceback" not in run.printed()


def test_what_start_api_does_otherwise(engine: Engine, start: Starter) -> None:
    """What docs/development.md says of `sam local start-api`: HEAD and 405 are the function's, 403 where
    nothing is served is SAM's, and nothing is compressed. A poll that fails is told, and the API answers 503.
    """
    run = start(
        UPSTREAM_BASE_URL="http://host.docker.internal:9",
        UPSTREAM_USERNAME="reader",
        UPSTREAM_PASSWORD="do-not-print",
    )
    run.wait_for("Poll again", READY_SECONDS)
    assert "first poll: failed" in run.printed()
    status, problem = run.ask("/incidents")
    assert (status, problem["code"]) == (503, "no_data_yet")
    assert run.ask("/nowhere") == (403, {"message": "Missing Authentication Token"})

    def ask(method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{run.port}{path}", method=method, headers={"Accept-Encoding": "gzip"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - http
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    status, headers, body = ask("GET", "/openapi.json")
    assert (status, headers.get("Content-Encoding"), body[:1]) == (200, None, b"{")
    assert ask("HEAD", "/openapi.json")[::2] == (200, b"")
    assert ask("POST", "/incidents")[0] == 405
    assert run.end(signal.SIGINT) == 0
    assert "do-not-print" not in run.printed()
    for file in (PROJECT / ".local").rglob("*.*"):
        if file.suffix in (".log", ".json", ".toml") and "cache" not in file.parts:
            assert "do-not-print" not in file.read_text("utf-8", "replace"), file


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_killed(engine: Engine, start: Starter) -> None:
    """SIGKILL leaves no process; the container that it leaves is removed by the next run."""
    run = start()
    run.wait_for("Poll again", READY_SECONDS)
    endpoint = json.loads(VARIABLES_PATH.read_text())["ApiFunction"]["AWS_ENDPOINT_URL_DYNAMODB"]
    children = set(list_descendants(run.process.pid))
    assert run.end(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: are_gone(children), "the children's end")
    of_this_run = f"AWS_ENDPOINT_URL_DYNAMODB={endpoint}"
    assert len(find_containers(os.environ, of_this_run)) == 1
    following = start()
    following.wait_for("building the functions")
    assert find_containers(os.environ, of_this_run) == []
    assert following.end(signal.SIGINT) == 0


def test_interrupted_while_building(engine: Engine, start: Starter) -> None:
    """Ctrl-C in the middle of `sam build` leaves nothing; meanwhile no second run gets at the same files."""
    run = start()
    run.wait_for("building the functions")
    second = start()
    assert second.process.wait(PATIENCE_SECONDS) == 2
    assert "another `make sam-local` runs" in second.printed()
    wait_until(lambda: bool(list_descendants(run.process.pid)), "a child")
    children = list_descendants(run.process.pid)
    assert run.end(signal.SIGINT) == 0
    assert are_gone(set(children))


def test_no_engine(start: Starter) -> None:
    """Without an engine it is one line that says what to do, at once, and nothing is started."""
    run = start(DOCKER_HOST="unix:///nonexistent.sock")
    assert run.process.wait(PATIENCE_SECONDS) == 2
    (line,) = run.printed().splitlines()
    assert "or use `make run`" in line
