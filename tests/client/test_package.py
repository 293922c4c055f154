"""The client's README says what the code says, and the package needs what it names."""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from incidents_client import Client, cli, settings
from tests.client.rows import employee, incident, page
from tests.client.scripted_server import Reply
from tests.client.test_commands import all_flags
from tests.unit.test_architecture import imported_names
from tests.unit.test_docs import differences, first_column, section, variables_read

CLIENT = Path(__file__).parents[2] / "client"
PAGE = (CLIENT / "README.md").read_text("utf-8")
PROJECT = tomllib.loads((CLIENT / "pyproject.toml").read_text("utf-8"))
MODULES = sorted((CLIENT / "incidents_client").glob("*.py"))


def test_it_needs_what_it_names_and_nothing_else() -> None:
    """Whoever installs it has all that it imports; nothing of the service is among that."""
    named = {re.split(r"[<>=]", each)[0] for each in PROJECT["project"]["dependencies"]}
    imported = {
        name.split(".")[0]
        for path in MODULES
        for name in imported_names(path.read_text("utf-8"), "incidents_client")
    }
    others = imported - set(sys.stdlib_module_names) - {"incidents_client"}
    # Of urllib3 only the version matters: the second one tells cut-off answers.
    assert others | {"urllib3"} == named


def test_there_is_one_version() -> None:
    """The package's metadata takes the module's; no other file has it."""
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert "version" not in PROJECT["project"]
    pattern = PROJECT["tool"]["hatch"]["version"]["pattern"]
    found = re.findall(pattern, (CLIENT / PROJECT["tool"]["hatch"]["version"]["path"]).read_text("utf-8"))
    assert found == [cli.VERSION]


def test_every_exit_status_is_documented() -> None:
    """The same table, word by word, in `--help` and in the README."""
    rows = dict(re.findall(r"^\| ([0-9]+) \| (.+) \|$", PAGE, re.MULTILINE))
    assert rows == {str(status): text for status, text in cli.STATUSES.items()}
    assert all(
        f"{status:>3}  {text}" in cli.build_parser().format_help() for status, text in cli.STATUSES.items()
    )


def test_every_command_and_flag_is_documented() -> None:
    """Each command has its row and section, each flag is named, and none that is not there."""
    flags = all_flags()
    assert differences(first_column(section(PAGE, "The commands"), "command"), flags) == ""
    for command in flags:
        assert f"incidents {command}" in section(PAGE, command)
    every = {flag for each in flags.values() for flag in each} | {"--version"}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE))
    assert named <= every
    # What a person finds in --help alone: the forms and the numbers.
    assert every - named == {"--help", "--version", "--output", "--lines", "--follow", "--quiet"}


def test_every_variable_is_documented() -> None:
    """Those that the code reads are those of the table."""
    source = "\n".join(path.read_text("utf-8") for path in MODULES)
    read = variables_read(source) | set(re.findall(r'"((?:INCIDENTS|AWS)_[A-Z_]+)"', source))
    assert {"INCIDENTS_URL", "INCIDENTS_API_KEY", "AWS_PROFILE"} <= read
    assert differences(first_column(section(PAGE, "Say which deployment"), "variable"), read) == ""
    kinds = section(PAGE, "Say which deployment")
    assert all(f"`{kind}`" in kinds for kind in settings.KINDS_OF_AUTH)


def test_every_method_is_documented() -> None:
    """The client's public methods are those of the table."""
    methods = {name for name, each in vars(Client).items() if callable(each) and not name.startswith("_")}
    assert differences(first_column(section(PAGE, "In Python"), "method of `Client`"), methods) == ""


def test_the_commands_of_the_readme_are_understood() -> None:
    """Each line that calls `incidents` has options that it knows."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if "incidents" in line.split()]
    assert len(lines) > 10
    for line in lines:
        words = re.split(r" (?:\||>>?|\|\|) ", line.partition("incidents ")[2])[0].split()
        assert cli.build_parser().parse_args(words).command in all_flags()


def test_the_python_of_the_readme_runs(
    serve: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands there, but for the address."""
    server = serve(lambda asked: Reply(200, page({"7": employee(incident(1))})))
    config = tmp_path / "config"
    config.write_text("[profile audit]\nregion=eu-north-1\naws_access_key_id=A\naws_secret_access_key=s\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    program, replaced = re.subn(r'"https://API_ID.*"', repr(server.url), program)
    assert replaced == 1
    exec(program, {})  # noqa: S102 - the README's own
    assert capsys.readouterr().out.startswith("7 1795000001 {")
    assert dict(server.asked[0].query)["priority"] == "critical"
    assert "Credential=A/" in server.asked[0].headers["authorization"]
