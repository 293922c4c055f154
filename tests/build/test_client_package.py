"""The client's package: installed as its README says, by itself, into interpreters that hold nothing else.

Installing fetches its dependencies from the package index, as `sam build` does beside it.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from incidents_client.version import VERSION
from tests.client.rows import changes, employee, incident, page
from tests.client.scripted_server import Asked, Reply, ScriptedServer

ROOT = Path(__file__).parents[2]
UV = ROOT / ".tools/uv/bin/uv"
OLDEST = "3.10"

pytestmark = pytest.mark.enable_socket


def find_oldest() -> str | None:
    """An interpreter of the oldest version that is served; pyenv's shims are none unless they run."""
    name = f"python{OLDEST}"
    versions = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{OLDEST}*/bin/{name}"))
    for candidate in (shutil.which(name), *map(str, versions)):
        if candidate and run(candidate, "-c", "", check=False).returncode == 0:
            return candidate
    return None


def run(*command: str | Path, check: bool = True, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run something in an environment in which Python sees nothing of this checkout."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AWS_"))
    }
    done = subprocess.run(  # noqa: S603 - interpreters and tools of this machine
        command, env=environment | environ, capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `client` alone, with leftovers in it that a package must not take along."""
    copy = tmp_path_factory.mktemp("client") / "client"
    shutil.copytree(ROOT / "client", copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "notes.txt").touch()
    (copy / "other_package").mkdir()
    (copy / "other_package/__init__.py").touch()
    return copy


@pytest.fixture(scope="module")
def with_pip(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands after `pip install ./client`."""
    folder = tmp_path_factory.mktemp("pip")
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", source)
    return folder / "bin"


@pytest.fixture(scope="module")
def with_uv(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands after `uv tool install ./client`, on the oldest Python if that is here."""
    folder = tmp_path_factory.mktemp("uv")
    tools = {"UV_TOOL_DIR": str(folder / "tools"), "UV_TOOL_BIN_DIR": str(folder / "bin")}
    run(UV, "tool", "install", "--quiet", "--python", find_oldest() or sys.executable, source, **tools)
    return folder / "bin"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    def respond(asked: Asked) -> Reply:
        match asked.path:
            case "/incidents/changes":
                return Reply(200, changes(incident(1), next_token="t"))
            case "/health":
                return Reply(200, {"status": "warn", "sources": {}})
            case _:
                return Reply(200, page({"7": employee(incident(1), incident(2))}))

    with ScriptedServer(respond).running() as server:
        yield server


@pytest.mark.parametrize("installed", ["with_pip", "with_uv"])
def test_the_installed_command_works(
    installed: str, server: ScriptedServer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Every command, signatures included, without anything of this checkout, also on the oldest Python."""
    incidents = request.getfixturevalue(installed) / "incidents"
    signed = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s", "AWS_EC2_METADATA_DISABLED": "true"}

    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        url = {"INCIDENTS_URL": server.url, "INCIDENTS_AUTH": "aws", "AWS_REGION": "eu-west-1"}
        return run(incidents, *arguments, check=False, **url, **signed)

    assert ask("--version").stdout == f"incidents {VERSION}\n"
    for form in ("table", "json", "ndjson", "csv"):
        for command in (["list"], ["employee", "7"], ["changes"], ["tail"]):
            done = ask(*command, "-o", form)
            assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
            assert done.stdout
    assert ask("health", "-o", "table").returncode == 1
    assert ask("export", str(tmp_path / "all.json"), "--since", "7d").returncode == 0
    assert len(json.loads((tmp_path / "all.json").read_text())["data"]) == 2
    assert all("/eu-west-1/execute-api/" in asked.headers["authorization"] for asked in server.asked)


def test_the_package_holds_itself_alone(with_pip: Path) -> None:
    """Its modules, typed, and its command; no other package's name is taken."""
    program = (
        "import importlib.metadata as m; import json; d = m.distribution('incidents-client');"
        "print(json.dumps([d.version, d.metadata['Requires-Python'], [str(f) for f in d.files]]))"
    )
    version, pythons, files = json.loads(run(with_pip / "python", "-c", program).stdout)
    assert (version, pythons) == (VERSION, f">={OLDEST}")
    assert "incidents_client/py.typed" in files
    outside = {name.split("/")[0] for name in files} - {
        "incidents_client",
        f"incidents_client-{VERSION}.dist-info",
    }
    assert outside == {".."}
    assert [name for name in files if name.startswith("..") and not name.endswith("bin/incidents")] == []
