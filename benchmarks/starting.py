"""What it takes until a function answers: imports, whole processes, and cold starts as Lambda makes them.

The packages are taken as `sam build` left them in `.aws-sam/build`. Cold starts go through AWS's runtime
interface emulator, which the SAM CLI brings, with AWS's runtime client.
"""

import io
import json
import platform
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from compileall import compile_dir
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

from benchmarks.data import Past, make_table
from benchmarks.dynamodb import CountingDynamoDB, serve
from benchmarks.functions import make_environment, make_event
from benchmarks.measuring import spread
from benchmarks.readers import make_advance
from benchmarks.subject import Subject
from local.ports import find_free_port
from local.processes import PROJECT_PATH, Children
from local.scheduler import build_scheduled_event
from local.simulator import Simulator, SimulatorSettings
from local.simulator import serve as serve_simulator

RUNS = 20
_WARM = 10
_BUILD = PROJECT_PATH / ".aws-sam/build"
_LAYER = _BUILD / "SharedLayer/python"
_HANDLERS = PROJECT_PATH / "benchmarks/handlers"
_SITES = (PROJECT_PATH / ".venv", PROJECT_PATH / ".tools/bench")
# What AWS's runtime for Python ships beside the standard library.
_RUNTIME = (
    *("awslambdaric", "simplejson", "snapshot_restore_py", "runtime_client*.so"),
    *("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py"),
)
_PATH = "/2015-03-31/functions/function/invocations"


class NotBuiltError(Exception):
    """There is nothing to measure; the text says what to do."""


@dataclass(frozen=True, slots=True)
class _Handler:
    """A function for the emulator: its folder, its layer (or none), its handler, its events, its
    environment.
    """

    task: Path
    layer: Path | None
    handler: str
    event: Mapping[str, Any]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Start:
    """One cold start, in milliseconds, and what the platform logged of an invocation."""

    init: float
    first: float
    warm: Sequence[float]
    again: Sequence[float]
    platform_bytes: int


def run() -> dict[str, Any]:
    """Packages, imports, processes, cold starts. Raises NotBuiltError."""
    if not (_BUILD / "ApiFunction").exists():
        raise NotBuiltError("nothing is built in .aws-sam/build: run `make build`")
    with tempfile.TemporaryDirectory(prefix="incident-bench-") as folder, ExitStack() as servers:
        runtime = _make_runtime(Path(folder) / "runtime")
        table = servers.enter_context(serve(make_table(Past(2_100))))
        moment = time.time()
        simulator = Simulator(SimulatorSettings(), clock=lambda: moment)
        upstream = servers.enter_context(serve_simulator(simulator))
        polled = servers.enter_context(serve(CountingDynamoDB()))
        reader = make_environment("ApiFunction", table.url)
        poller = make_environment("PollerFunction", polled.url, upstream=upstream)
        with Subject("benchmarks.pollers", "poll", {}, environment=poller) as first_polls:
            first_polls.run(2)
        page, query = Path(folder) / "page.json", Path(folder) / "query.json"
        with Subject(
            "benchmarks.readers", "write_page", {"to": str(page), "limit": 100}, environment=reader
        ) as asking:
            asking.run(2)
        table.count()
        with Subject(
            "benchmarks.readers",
            "ask_reader",
            {"path": "/incidents", "queries": ["limit=100"]},
            environment=reader,
        ) as asking:
            asking.run(30)
        query.write_text(
            [body for operation, body, _ in table.count().last if operation == "Query"][-1], "utf-8"
        )
        files = {"BENCH_PAGE": str(page), "BENCH_QUERY": str(query)}
        event = make_event("/incidents", "limit=100")
        tick = build_scheduled_event(datetime.now(UTC))
        handlers = {
            "reader": _function("ApiFunction", "functions.api.handler", event, reader),
            "poller": _function("PollerFunction", "functions.poller.handler", tick, poller),
            "boto3, the layer's": _Handler(
                _HANDLERS, _LAYER, "bare_boto3.lambda_handler", {}, reader | files
            ),
            "boto3, compiled": _Handler(_HANDLERS, None, "bare_boto3.lambda_handler", {}, reader | files),
            "one small read": _Handler(_HANDLERS, None, "one_read.lambda_handler", {}, reader | files),
            "no database": _Handler(_HANDLERS, None, "constant.lambda_handler", {}, reader | files),
        }
        starts, platform_bytes = _start_in_turn(handlers, runtime, make_advance(table.url))
        return {
            "runs": RUNS,
            "bytecode_files": len(list(_BUILD.rglob("*.pyc"))),
            "packages": {
                path.name: _describe_package(path) for path in sorted(_BUILD.iterdir()) if path.is_dir()
            },
            "imports": {
                "the reader": _list_imports(handlers["reader"], runtime),
                "the poller": _list_imports(handlers["poller"], runtime),
            },
            "processes": _measure_processes(handlers, runtime),
            "emulator": starts,
            "platform_log_bytes": platform_bytes,
        }


def _function(name: str, module: str, event: Mapping[str, Any], environment: Mapping[str, str]) -> _Handler:
    return _Handler(_BUILD / name, _LAYER, f"{module}.lambda_handler", event, environment)


def _make_runtime(folder: Path) -> Path:
    """The runtime's own packages, with bytecode as AWS ships them."""
    folder.mkdir()
    for site in _SITES:
        packages = site / "lib/python3.13/site-packages"
        for pattern in _RUNTIME:
            for found in packages.glob(pattern):
                to = folder / found.name
                if found.is_dir() and not to.exists():
                    shutil.copytree(found, to, ignore=shutil.ignore_patterns("__pycache__"))
                elif not to.exists():
                    shutil.copy2(found, to)
    compile_dir(folder, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    return folder


def _start_in_turn(
    handlers: Mapping[str, _Handler], runtime: Path, advance: Callable[[], None]
) -> tuple[dict[str, Any], int]:
    """What each took, by name, and the bytes that the platform logs of an invocation of the reader."""
    starts: dict[str, list[_Start]] = defaultdict(list)
    for _ in range(RUNS):
        for name, handler in handlers.items():
            starts[name].append(_start(handler, runtime, advance))
    measured = {name: _describe_starts(each) for name, each in starts.items()}
    again = {"warm_ms": _milliseconds([ms for each in starts["reader"] for ms in each.again])}
    named = {"reader": measured.pop("reader"), "reader, the same page": again, **measured}
    return named, starts["reader"][-1].platform_bytes


def _describe_starts(starts: Sequence[_Start]) -> dict[str, Any]:
    return {
        "init_ms": _milliseconds([each.init for each in starts]),
        "first_ms": _milliseconds([each.first for each in starts]),
        "cold_ms": _milliseconds([each.init + each.first for each in starts]),
        "warm_ms": _milliseconds([ms for each in starts for ms in each.warm]),
    }


def _milliseconds(values: Sequence[float]) -> dict[str, Any]:
    return spread(values).to_json()


def _start(handler: _Handler, runtime: Path, advance: Callable[[], None]) -> _Start:
    """One container: from its start to some warm invocations."""
    port, api_port = find_free_port(), find_free_port()
    with tempfile.TemporaryDirectory(prefix="incident-bench-") as folder, Children() as children:
        log = Path(folder) / "log"
        emulator = Path(folder) / "aws-lambda-rie"
        shutil.copy2(_find_emulator(), emulator)
        emulator.chmod(emulator.stat().st_mode | stat.S_IXUSR)
        children.start(
            "runtime interface emulator",
            [
                emulator,
                *("--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
                *("--runtime-api-address", f"127.0.0.1:{api_port}"),
                *_python(handler, runtime),
            ],
            # Lambda says how it starts a function; its emulator does not.
            environment={**handler.environment, "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"},
            log=log,
        )
        children.wait_until(lambda: _listens(port), "the runtime interface emulator", 10)
        polls = handler.task.name == "PollerFunction"
        warm = 2 if polls else _WARM
        for _ in range(1 + warm):
            # A page that was not seen before.
            advance()
            _invoke(port, handler.event)
        for _ in range(warm):
            _invoke(port, handler.event)
        return _read_log(log.read_text("utf-8", "replace"), warm)


def _python(handler: _Handler, runtime: Path) -> list[str]:
    """The interpreter, without anybody's environment or packages, that writes no bytecode, on Lambda's
    bootstrap.
    """
    bootstrap = PROJECT_PATH / "benchmarks/bootstrap.py"
    folders = [str(handler.task), str(handler.layer or ""), str(runtime)]
    return [*_bare_python(), str(bootstrap), *folders, handler.handler]


def _bare_python() -> list[str]:
    return [getattr(sys, "_base_executable", sys.executable), "-E", "-s", "-B"]


def _find_emulator() -> Path:
    machine = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
    found = list((PROJECT_PATH / ".tools/sam").rglob(f"aws-lambda-rie-{machine}"))
    if not found:
        raise NotBuiltError("the SAM CLI is not in .tools/sam: run `make setup`")
    return found[0]


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _invoke(port: int, event: Mapping[str, Any]) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", _PATH, json.dumps(event))
    answer = json.loads(connection.getresponse().read())
    connection.close()
    if answer.get("statusCode", 200) != 200 or "errorType" in answer:
        raise RuntimeError(f"the function failed: {answer}")


def _read_log(log: str, warm: int) -> _Start:
    (init,) = re.findall(r"INIT REPORT\(durationMs: ([0-9.]+)\)", log)
    invocations = [float(each) for each in re.findall(r"INVOKE RTDONE\(.*?duration: ([0-9.]+)ms\)", log)]
    lines = re.findall(r"^(?:START|END|REPORT) RequestId.*\n", log, re.MULTILINE)
    return _Start(
        init=float(init),
        first=invocations[0],
        warm=invocations[1 : 1 + warm],
        again=invocations[1 + warm :],
        platform_bytes=sum(map(len, lines[:3])),
    )


def _describe_package(folder: Path) -> dict[str, int]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, path.relative_to(folder))
    return {
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "zip_bytes": len(packed.getvalue()),
    }


def _list_imports(handler: _Handler, runtime: Path) -> tuple[float, list[tuple[str, float]]]:
    """Milliseconds of importing a handler, and of the packages that take most of them, each by itself."""
    done = subprocess.run(  # noqa: S603 - composed here
        [*_bare_python(), "-X", "importtime", "-c", _import(handler, runtime)],
        env=dict(handler.environment),
        capture_output=True,
        text=True,
        check=True,
    )
    own: dict[str, float] = defaultdict(float)
    for microseconds, name in re.findall(
        r"^import time: +(\d+) \| +\d+ \| +(\S+)$", done.stderr, re.MULTILINE
    ):
        own[name.split(".")[0]] += int(microseconds) / 1000
    slowest = sorted(own.items(), key=lambda each: -each[1])[:10]
    return sum(own.values()), slowest


def _import(handler: _Handler, runtime: Path, then: str = "") -> str:
    folders = [str(each) for each in (handler.task, handler.layer) if each]
    module = handler.handler.rpartition(".")[0]
    return (
        f"import sys; sys.path[:0] = {folders!r}; sys.path.append({str(runtime)!r}); import {module}; {then}"
    )


def _measure_processes(handlers: Mapping[str, _Handler], runtime: Path) -> dict[str, Any]:
    reader, poller, bare = (handlers[name] for name in ("reader", "poller", "boto3, compiled"))
    context = dict.fromkeys(
        ("function_name", "memory_limit_in_mb", "invoked_function_arn", "aws_request_id"), "x"
    )
    answer = (
        "from types import SimpleNamespace;"
        f" functions.api.handler.lambda_handler({dict(reader.event)!r}, SimpleNamespace(**{context!r}))"
    )
    programs = {
        "bare Python": (bare, "pass"),
        'boto3.client("dynamodb"), compiled': (bare, _import(bare, runtime)),
        "the reader's handler imported": (reader, _import(reader, runtime)),
        "the reader's first answer": (reader, _import(reader, runtime, answer)),
        "the poller's handler imported": (poller, _import(poller, runtime)),
        "the poller's clients made": (
            poller,
            _import(poller, runtime, "from functions.poller.composition import built; built()"),
        ),
    }
    taken: dict[str, list[float]] = defaultdict(list)
    for _ in range(RUNS):
        for name, (handler, program) in programs.items():
            began = time.perf_counter()
            subprocess.run(  # noqa: S603 - composed here
                [*_bare_python(), "-c", program],
                env=dict(handler.environment),
                stdout=subprocess.DEVNULL,
                check=True,
            )
            taken[name].append((time.perf_counter() - began) * 1000)
    return {name: _milliseconds(each) for name, each in taken.items()}
