"""What pulls, each with what stands behind it: where incidents arrive, and where it keeps how far it got.

A puller is made with small pages, so that it has many of them to follow.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import yaml

from tests.integration.clients.conftest import INTEGRATIONS, Command, Programs
from tests.integration.clients.service import API_KEY

PAGE_SIZE = 20

type Record = Mapping[str, Any]


class Puller(Protocol):
    """One client, for one test."""

    keeps_digits: bool
    """Whether timestamps arrive with all digits, or as the nearest floating point numbers."""
    goes_on: bool
    """Whether it goes on inside a sync that was killed, or begins that sync anew."""
    repeats: int
    """How many pages, at most, come once more then; beside the one that it was killed in."""

    def pull(self, stream: str) -> list[Record]:
        """One sync; give what it delivered, in order."""

    def pull_killed(self, stream: str, answers: int) -> None:
        """A sync that is killed after so many answers."""

    def pull_in_vain(self, stream: str) -> None:
        """A sync that has to fail, by itself."""

    def arrived(self, stream: str) -> list[Record]:
        """All that is at the destination."""


class Destination:
    """Takes incidents in by their id, as each destination does that is told of a primary key."""

    def __init__(self) -> None:
        """Empty."""
        self.rows: dict[str, dict[str, Record]] = {"changes": {}, "incidents": {}}

    def take(self, stream: str, record: Record) -> None:
        """The newer one wins."""
        self.rows[stream][record["id"]] = record


class Singer:
    """The tap of `integrations/meltano`, by singer-sdk's command line; state is the last STATE message."""

    keeps_digits = True
    goes_on = True
    repeats = 1

    def __init__(self, programs: Programs) -> None:
        """Fill in the configuration."""
        self._programs = programs
        self._destination = Destination()
        self._folder = programs.folder
        self._catalog: dict[str, Any] = {}
        settings = {"base_url": programs.pulled.url, "api_key": API_KEY}
        settings |= {"page_size": PAGE_SIZE, "employees_per_page": PAGE_SIZE}
        self._write("config.json", settings)

    def pull(self, stream: str) -> list[Record]:
        return self._take(self._programs.run(self._command(stream)))

    def pull_killed(self, stream: str, answers: int) -> None:
        self._take(self._programs.run_killed(self._command(stream), answers))

    def pull_in_vain(self, stream: str) -> None:
        self._take(self._programs.run(self._command(stream), status=1))

    def arrived(self, stream: str) -> list[Record]:
        return list(self._destination.rows[stream].values())

    def _command(self, stream: str) -> Command:
        tap: Command = [
            "python",
            INTEGRATIONS / "meltano/tap_security_incidents.py",
            "--config",
            "config.json",
        ]
        catalog = self._catalog = self._catalog or json.loads(self._programs.run([*tap, "--discover"]))
        for each in catalog["streams"]:
            selected = each["tap_stream_id"] == stream
            (whole,) = (one["metadata"] for one in each["metadata"] if one["breadcrumb"] == [])
            whole["selected"] = selected
        self._write("catalog.json", catalog)
        state = ["--state", "state.json"] if (self._folder / "state.json").exists() else []
        return [*tap, "--catalog", "catalog.json", *state]

    def _take(self, printed: str) -> list[Record]:
        records = []
        for line in _whole_lines(printed):
            message = json.loads(line, parse_float=Decimal)
            if message["type"] == "RECORD":
                records.append(message["record"])
                self._destination.take(message["stream"], message["record"])
            elif message["type"] == "STATE":
                self._write("state.json", message["value"])
        return records

    def _write(self, name: str, content: Any) -> None:
        (self._folder / name).write_text(json.dumps(content))


# Without the columns that dlt adds; types and names are as dlt made them.
_DUMP = """
import json, sys
import duckdb
rows = duckdb.connect("incidents.duckdb", read_only=True).sql(f"select * from security.{sys.argv[1]}")
for row in rows.fetchall():
    print(json.dumps(dict(zip(rows.columns, row)), default=lambda time: time.strftime("%Y-%m-%dT%H:%M:%SZ")))
"""


class Dlt:
    """`integrations/dlt`, into a file of DuckDB. What a sync delivered are the rows of its loads."""

    keeps_digits = False
    goes_on = True
    pages_per_load = 4
    repeats = pages_per_load

    def __init__(self, programs: Programs) -> None:
        """Fill in the configuration, in the place that dlt reads it from."""
        self._programs = programs
        self._loads: set[str] = set()
        programs.variables |= {
            "SOURCES__INCIDENTS__BASE_URL": programs.pulled.url,
            "SOURCES__INCIDENTS__API_KEY": API_KEY,
            "SOURCES__INCIDENTS__PAGE_SIZE": str(PAGE_SIZE),
            "SOURCES__INCIDENTS__EMPLOYEES_PER_PAGE": str(PAGE_SIZE),
            "SOURCES__INCIDENTS__INCIDENTS_PER_LOAD": str(self.pages_per_load * PAGE_SIZE),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "DLT_DATA_DIR": str(programs.folder / "dlt"),
        }

    def pull(self, stream: str) -> list[Record]:
        self._programs.run(self._command(stream))
        return self._delivered(stream)

    def pull_killed(self, stream: str, answers: int) -> None:
        self._programs.run_killed(self._command(stream), answers)
        self._delivered(stream)

    def pull_in_vain(self, stream: str) -> None:
        self._programs.run(self._command(stream), status=1)

    def arrived(self, stream: str) -> list[Record]:
        printed = self._programs.run(["python", "-c", _DUMP, stream])
        return [json.loads(line, parse_float=Decimal) for line in printed.splitlines()]

    def _command(self, stream: str) -> Command:
        return ["python", INTEGRATIONS / "dlt/incidents.py", stream]

    def _delivered(self, stream: str) -> list[Record]:
        rows = self.arrived(stream)
        before, self._loads = self._loads, {each["_dlt_load_id"] for each in rows}
        return [each for each in rows if each["_dlt_load_id"] not in before]


class Airbyte:
    """The manifest of `integrations/airbyte`, by the CDK's `source-declarative-manifest`."""

    keeps_digits = False
    goes_on = False
    repeats = 0

    def __init__(self, programs: Programs) -> None:
        """Fill in the configuration."""
        self._programs = programs
        self._destination = Destination()
        self._catalog: dict[str, Any] = {}
        self._state: dict[str, Any] = {}
        settings = {"base_url": programs.pulled.url, "api_key": API_KEY}
        self._write("config.json", settings | {"page_size": PAGE_SIZE, "employees_per_page": PAGE_SIZE})

    def pull(self, stream: str) -> list[Record]:
        return self._take(self._programs.run(self._command(stream)))

    def pull_killed(self, stream: str, answers: int) -> None:
        self._take(self._programs.run_killed(self._command(stream), answers))

    def pull_in_vain(self, stream: str) -> None:
        self._take(self._programs.run(self._command(stream), status=1))

    def arrived(self, stream: str) -> list[Record]:
        return list(self._destination.rows[stream].values())

    def discover(self) -> dict[str, Any]:
        """The streams, as Airbyte shows them."""
        printed = self._programs.run(["source-declarative-manifest", "discover", *self._given()])
        (catalog,) = (message["catalog"] for message in _messages(printed, "CATALOG"))
        return {stream["name"]: stream for stream in catalog["streams"]}

    def check(self) -> Any:
        """What the button "test the source" does."""
        printed = self._programs.run(["source-declarative-manifest", "check", *self._given()])
        (status,) = _messages(printed, "CONNECTION_STATUS")
        return status["connectionStatus"]

    def _given(self) -> Command:
        return ["--config", "config.json", "--manifest-path", INTEGRATIONS / "airbyte/manifest.yaml"]

    def _command(self, stream: str) -> Command:
        self._catalog = self._catalog or self.discover()
        found = self._catalog[stream]
        incremental = "incremental" in found["supported_sync_modes"]
        chosen = {
            "stream": found,
            "sync_mode": "incremental" if incremental else "full_refresh",
            "destination_sync_mode": "append_dedup",
            "primary_key": [["id"]],
        }
        self._write("catalog.json", {"streams": [chosen]})
        self._write("state.json", list(self._state.values()))
        return [
            "source-declarative-manifest",
            "read",
            *self._given(),
            "--catalog",
            "catalog.json",
            "--state",
            "state.json",
        ]

    def _take(self, printed: str) -> list[Record]:
        records = []
        for line in _whole_lines(printed):
            message = json.loads(line, parse_float=Decimal)
            if message["type"] == "RECORD":
                record = message["record"]
                records.append(record["data"])
                self._destination.take(record["stream"], record["data"])
            elif message["type"] == "STATE":
                stream = message["state"]["stream"]["stream_descriptor"]["name"]
                self._state[stream] = message["state"]
        return records

    def _write(self, name: str, content: Any) -> None:
        (self._programs.folder / name).write_text(json.dumps(content, default=float))


# What a target has to do: keep what comes, and hand each state on once what came before it is kept.
_TARGET = """#!/usr/bin/env python3
import json, os, sys

with open(os.environ["ROWS"], "a") as rows:
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "RECORD":
            rows.write(line)
        elif message["type"] == "STATE":
            rows.flush()
            print(json.dumps(message["value"]), flush=True)
"""


class Meltano:
    """`meltano run` with the project of `integrations/meltano`, and a loader of the test's own."""

    keeps_digits = True
    goes_on = True
    repeats = 1

    def __init__(self, programs: Programs) -> None:
        """Copy the project, add the loader, and set what a person sets."""
        self._programs = programs
        self._rows = programs.folder / "rows"
        self._rows.touch()
        self._was_killed = False
        self._project = programs.folder / "project"
        shutil.copytree(INTEGRATIONS / "meltano", self._project)
        target = self._project / "target.py"
        target.write_text(_TARGET)
        target.chmod(0o755)
        path = self._project / "meltano.yml"
        project = yaml.safe_load(path.read_text())
        loader = {"name": "target-test", "namespace": "target_test", "executable": "./target.py"}
        project["plugins"]["loaders"] = [loader]
        path.write_text(yaml.safe_dump(project))
        programs.variables |= {
            "TAP_SECURITY_INCIDENTS_BASE_URL": programs.pulled.url,
            "TAP_SECURITY_INCIDENTS_API_KEY": API_KEY,
            "TAP_SECURITY_INCIDENTS_PAGE_SIZE": str(PAGE_SIZE),
            "TAP_SECURITY_INCIDENTS_EMPLOYEES_PER_PAGE": str(PAGE_SIZE),
            "ROWS": str(self._rows),
        }

    def pull(self, stream: str) -> list[Record]:
        before = len(self._taken(stream))
        self._programs.run(self._command(stream))
        return self._taken(stream)[before:]

    def pull_killed(self, stream: str, answers: int) -> None:
        self._programs.run_killed(self._command(stream), answers)
        # For five minutes Meltano takes it for running.
        self._was_killed = True

    def pull_in_vain(self, stream: str) -> None:
        self._programs.run(self._command(stream), status=1)

    def arrived(self, stream: str) -> list[Record]:
        return list({each["id"]: each for each in self._taken(stream)}.values())

    def _command(self, stream: str) -> Command:
        if stream != "changes":
            self._programs.variables["TAP_SECURITY_INCIDENTS__SELECT"] = json.dumps([f"{stream}.*"])
        force: Command = ["--force"] if self._was_killed else []
        return ["meltano", "--cwd", self._project, "run", *force, "tap-security-incidents", "target-test"]

    def _taken(self, stream: str) -> list[Record]:
        messages = [json.loads(line, parse_float=Decimal) for line in _whole_lines(self._rows.read_text())]
        return [each["record"] for each in messages if each["stream"] == stream]


class Script:
    """The script of `integrations/splunk`; its lines are what Splunk takes."""

    keeps_digits = True
    goes_on = True
    repeats = 1

    def __init__(self, programs: Programs) -> None:
        """Write what it reads, and a smaller page into a copy of it."""
        self._programs = programs
        self._destination = Destination()
        source = (INTEGRATIONS / "splunk/TA-security-incidents/bin/pull_incidents.py").read_text()
        assert "PAGE_SIZE = 1000" in source
        script = source.replace("PAGE_SIZE = 1000", f"PAGE_SIZE = {PAGE_SIZE}")
        (programs.folder / "pull_incidents.py").write_text(script)
        (programs.folder / "key").write_text(f"{API_KEY}\n")

    def pull(self, stream: str) -> list[Record]:
        return self._take(self._programs.run(self.command))

    def pull_killed(self, stream: str, answers: int) -> None:
        self._take(self._programs.run_killed(self.command, answers))

    def pull_in_vain(self, stream: str) -> None:
        self._take(self._programs.run(self.command, status=1))

    def arrived(self, stream: str) -> list[Record]:
        return list(self._destination.rows[stream].values())

    @property
    def command(self) -> Command:
        """As Splunk would have it."""
        return ["python", "pull_incidents.py", self._programs.pulled.url, "key", "token"]

    def _take(self, printed: str) -> list[Record]:
        records = [json.loads(line, parse_float=Decimal) for line in _whole_lines(printed)]
        for each in records:
            self._destination.take("changes", each)
        return records


class Cel(Script):
    """The CEL program of `integrations/elastic`, evaluated by cel_input.py."""

    keeps_digits = False

    def __init__(self, programs: Programs) -> None:
        """Set what a person sets, and a smaller page in a copy."""
        self._programs = programs
        self._destination = Destination()
        source = (INTEGRATIONS / "elastic/filebeat-cel.yml").read_text()
        assert 'page_size: "1000"' in source
        configuration = source.replace('page_size: "1000"', f'page_size: "{PAGE_SIZE}"')
        (programs.folder / "filebeat.yml").write_text(configuration)
        programs.variables |= {"INCIDENT_API_URL": programs.pulled.url, "INCIDENT_API_KEY": API_KEY}

    @property
    def command(self) -> Command:
        """One interval."""
        return ["python", Path(__file__).with_name("cel_input.py"), "filebeat.yml", "cursor.json"]


def _whole_lines(printed: str) -> Iterator[str]:
    """A program that was killed may have been in the middle of one."""
    yield from (line for line in printed.splitlines(keepends=True) if line.endswith("\n") and line[0] == "{")


def _messages(printed: str, kind: str) -> list[Any]:
    return [each for line in _whole_lines(printed) if (each := json.loads(line))["type"] == kind]
