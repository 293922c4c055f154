"""The docs say what the code and the template say: nothing missing, nothing that no longer exists.

What is true is read from the code and the template themselves. Each checker is also shown a bad sample.
"""

import argparse
import ast
import importlib
import inspect
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from functions.api.health import assess_health
from functions.api.page import MAX_PAGE_BYTES
from functions.api.page_cache import MAX_CACHE_BYTES
from functions.api.parameters import DEFAULT_LIMIT, MAX_LIMIT, parse_changes_parameters, parse_page_parameters
from functions.api.problems import INTERNAL, PROBLEMS, InvalidParametersError
from functions.api.routes import ALLOWED_METHODS
from functions.api.searches import SEARCH_SECONDS
from functions.poller.metrics import METRICS, SOURCE_FAILURES
from functions.poller.poll import _FETCH_SHARE, _LOOKUPS_WORTH_DIGESTS
from functions.poller.upstream import MAX_ATTEMPTS, MAX_BODY_BYTES, MAX_VALUES
from local.template import Template, load_template, read_routes, read_variables
from shared.domain.cursor import CURSOR_SECONDS
from shared.domain.incident import MAX_INCIDENT_BYTES, MAX_RECORD_DEPTH, MAX_SECONDS_AHEAD, SUBJECT_FIELDS
from shared.domain.journal import MAX_ENTRY_BYTES, MAX_ENTRY_RECORDS
from shared.domain.poll_report import ALL_SOURCES
from shared.store import keys
from shared.store.identities import MAX_CHUNK_BYTES
from shared.store.signing_keys import ROTATE_AFTER_SECONDS
from shared.store.state import State
from shared.version import VERSION
from tests.alarms import POLLER_METRICS
from tests.stack import REGION, STACK_NAME, Stack

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text("utf-8")
API = (DOCS / "api.md").read_text("utf-8")
CONFIGURATION = (DOCS / "configuration.md").read_text("utf-8")
DEPLOYMENT = (DOCS / "deployment.md").read_text("utf-8")
DATA_MODEL = (DOCS / "data-model.md").read_text("utf-8")
RUNBOOK = (DOCS / "runbook.md").read_text("utf-8")
CLIENT = ROOT / "client/README.md"
_INTEGRATIONS = sorted((ROOT / "integrations").rglob("*.md"))
_PAGES = (ROOT / "README.md", CLIENT, *sorted(DOCS.rglob("*.md")), *_INTEGRATIONS)
PAGES = {path: path.read_text("utf-8") for path in _PAGES}
TEMPLATE: Template = load_template()

NEEDS_AWS = "# needs AWS"
# Each command of the README that needs no AWS: the file that runs or checks it, and by what one sees that.
RUN_ELSEWHERE = {
    "make run": ("tests/integration/test_local_run.py", 'starter("local.run"'),
    "make test": (".ci/run", "exec make test"),
    "make sam-local": ("tests/integration/test_sam_local.py", 'starter("local.sam_local"'),
    "env $(cat .local/sam/env) .tools/sam/bin/sam local invoke PollerFunction -e events/schedule.json"
    " -t .local/sam/build/template.yaml": (
        "tests/integration/test_sam_local.py",
        "assert command in README.splitlines()",
    ),
    "curl http://127.0.0.1:9000/health": ("tests/integration/test_local_run.py", 'run.ask("/health")'),
    "curl 'http://127.0.0.1:9000/incidents?limit=2'": (
        "tests/integration/test_local_run.py",
        'run.ask("/incidents?limit=2")',
    ),
    "curl http://127.0.0.1:9000/employees/ID/incidents": (
        "tests/integration/test_local_run.py",
        'run.ask(f"/employees/{employee}/incidents")',
    ),
    "curl 'http://127.0.0.1:9000/employees?limit=10'": (
        "tests/integration/test_local_run.py",
        'run.ask("/employees?limit=10")',
    ),
    "curl 'http://127.0.0.1:9000/summary?days=7'": (
        "tests/integration/test_local_run.py",
        'run.ask("/summary?days=7")',
    ),
    "UPSTREAM_BASE_URL=https://incidents.example.com UPSTREAM_USERNAME=reader"
    ' UPSTREAM_PASSWORD="$PASSWORD" make run': (
        "tests/integration/test_local_run.py",
        "UPSTREAM_BASE_URL=f",
    ),
}


# ---------------------------------------------------------------- reading the pages


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next one; KeyError names one that is not there."""
    headings = list(re.finditer(r"^#+ (.+)$", page, re.MULTILINE))
    for number, found in enumerate(headings):
        if found[1] == heading:
            end = headings[number + 1].start() if number + 1 < len(headings) else len(page)
            return page[found.end() : end]
    raise KeyError(heading)


def first_column(text: str, header: str) -> list[str]:
    """The first cells of the table whose header begins with ``header``, without backticks."""
    rows: list[str] = []
    inside = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if not line.startswith("|"):
            inside = False
        elif cells[0] == header:
            inside = True
        elif inside and not set(line) <= set("|- "):
            rows.append(cells[0].strip("`"))
    return rows


def differences(documented: Iterable[str], real: Iterable[str]) -> str:
    """Empty when both name the same, each once, else one line that says what is wrong."""
    listed, wanted = list(documented), set(real)
    assert wanted, "nothing to compare with: the check would prove nothing"
    faults = {
        "not documented": sorted(wanted - set(listed)),
        "documented but not there": sorted(set(listed) - wanted),
        "documented twice": sorted({name for name in listed if listed.count(name) > 1}),
    }
    return "; ".join(f"{fault}: {', '.join(names)}" for fault, names in faults.items() if names)


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (["`a`"], "not documented: b"),
        (["`a`", "`b`", "`c`"], "documented but not there: c"),
        (["`a`", "`b`", "`b`"], "documented twice: b"),
        (["`a`", "`b`"], ""),
    ],
)
def test_the_comparison_finds_what_is_wrong(rows: list[str], fault: str) -> None:
    """A table that lacks a name, has one too many or one twice does not pass; no truth proves nothing."""
    table = "\n".join(
        ["# One", "| name | means |", "|---|---|", *(f"| {row} | x |" for row in rows), "# Two"]
    )
    assert differences(first_column(section(table, "One"), "name"), ["a", "b"]) == fault
    with pytest.raises(AssertionError, match="prove nothing"):
        differences([], [])
    with pytest.raises(KeyError, match="Three"):
        section(table, "Three")


# ---------------------------------------------------------------- reading the code


def nodes(source: str) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(source))


def text_of(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def variables_read(source: str) -> set[str]:
    """Names of environment variables that a module reads: ``f(environ, "NAME")``, ``environ.get("NAME")``,
    ``environ["NAME"]``, or the same of ``environment``.
    """
    found: set[str | None] = set()
    for node in nodes(source):
        match node:
            case ast.Call(func=function, args=arguments):
                words = {each for part in [function, *arguments] for each in _names(part)}
                if words & {"environ", "environment"}:
                    found |= {text_of(each) for each in arguments}
            case ast.Subscript(value=value, slice=index) if set(_names(value)) & {"environ", "environment"}:
                found.add(text_of(index))
    return {name for name in found if name and re.fullmatch(r"[A-Z][A-Z0-9_]+", name)}


def _names(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        match each:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                yield name


def first_arguments(source: str, *calls: str) -> set[str]:
    """The texts that stand first in the calls of any of these names."""
    return {
        text
        for node in nodes(source)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in calls
        and node.args
        and (text := text_of(node.args[0]))
    }


def assigned_texts(source: str, name: str) -> set[str]:
    """The texts in what is assigned to a variable."""
    return {
        text
        for node in nodes(source)
        if isinstance(node, ast.Assign) and [*_names(node.targets[0])] == [name]
        for part in (
            [node.value.body, node.value.orelse] if isinstance(node.value, ast.IfExp) else [node.value]
        )
        if (text := text_of(part))
    }


def read_all(*patterns: str) -> str:
    """The sources of some modules as one."""
    paths = sorted(path for pattern in patterns for path in ROOT.glob(pattern))
    assert paths, patterns
    return "\n".join(path.read_text("utf-8") for path in paths)


def test_the_code_readers_see_what_they_should() -> None:
    """Each way to read a variable and to name a code is seen, and nothing else is taken for one."""
    source = """
required(environ, "ONE"); environ.get("TWO"); os.environ["THREE"]; environment("FOUR") or X; log("FIVE")
environ.get("lower"); raise Failure("code", "A sentence"); other("no"); kind = "a" if x else "b"; more = "c"
"""
    assert variables_read(source) == {"ONE", "TWO", "THREE", "FOUR"}
    assert first_arguments(source, "Failure") == {"code"}
    assert assigned_texts(source, "kind") == {"a", "b"}


# ---------------------------------------------------------------- configuration.md


def test_every_template_parameter_and_output_is_documented() -> None:
    """Whoever deploys finds each parameter and each output, and no other."""
    parameters = first_column(section(CONFIGURATION, "Template parameters"), "parameter")
    assert differences(parameters, TEMPLATE["Parameters"]) == ""
    outputs = first_column(section(CONFIGURATION, "Outputs"), "output")
    assert differences(outputs, TEMPLATE["Outputs"]) == ""


def test_every_parameters_default_is_the_documented_one() -> None:
    """A default that changes in the template changes in the docs."""
    rows = {
        cells[0]: cells[1]
        for line in section(CONFIGURATION, "Template parameters").splitlines()
        if line.startswith("| `") and (cells := [cell.strip("` ") for cell in line.strip("|").split(" | ")])
    }
    for name, parameter in TEMPLATE["Parameters"].items():
        if "Default" not in parameter:
            assert rows[name] == "none: must be given"
        else:
            assert rows[name] == (str(parameter["Default"]) or "empty"), name


@pytest.mark.parametrize(
    ("heading", "function", "folder"),
    [
        ("The poller's environment", "PollerFunction", "poller"),
        ("The reader's environment", "ApiFunction", "api"),
    ],
)
def test_every_variable_of_a_function_is_documented(heading: str, function: str, folder: str) -> None:
    """What the template gives a function and what its code reads is documented, and nothing else."""
    read = variables_read(read_all(f"functions/{folder}/*.py", "shared/configuration.py"))
    given = set(read_variables(TEMPLATE, function))
    assert "TABLE_NAME" in read & given
    assert read <= given, "the template does not give the function what its code reads"
    assert differences(first_column(section(CONFIGURATION, heading), "variable"), given) == ""


def test_every_setting_of_the_local_run_is_documented() -> None:
    """What a person can set for `make run` is documented, and nothing that it does not read."""
    read = variables_read(read_all("local/settings.py", "local/run.py", "local/services.py"))
    documented = first_column(section(CONFIGURATION, "The environment of `make run`"), "variable")
    assert "PORT" in read
    assert differences(documented, read) == ""
    # Of a person's PATH it takes what everything takes.
    read = variables_read(read_all("local/sam_local.py", "local/docker_engine.py")) - {"PATH"}
    documented = first_column(section(CONFIGURATION, "The environment of `make sam-local`"), "variable")
    assert differences(documented, read) == ""


def test_every_make_target_is_documented() -> None:
    """The targets of the Makefile are those of the docs, and a page names no target that is not there."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.MULTILINE))
    assert "run" in targets
    assert differences(first_column(section(CONFIGURATION, "Make targets"), "target"), targets) == ""
    for path, text in PAGES.items():
        named = set(re.findall(r"(?:`|^| )make ([a-z0-9-]+)\b(?=`|$)", text, re.MULTILINE))
        assert named <= targets, f"{path.name}: {named - targets}"


def test_every_flag_of_the_simulator_is_documented() -> None:
    """The flags of its parser are those of the docs."""
    parser: argparse.ArgumentParser = importlib.import_module("local.simulator.__main__")._parser()
    flags = {flag for action in parser._actions for flag in action.option_strings} - {"-h", "--help"}
    assert "--port" in flags
    assert differences(first_column(section(CONFIGURATION, "The simulator"), "flag"), flags) == ""


# ---------------------------------------------------------------- api.md


def test_every_route_is_documented() -> None:
    """Paths of the template and methods of the code are those of the docs."""
    real = {route.path for route in read_routes(TEMPLATE)}
    # Every method reaches the function, which refuses all others itself.
    assert {route.path for route in read_routes(TEMPLATE) if route.method == "ANY"} == real
    page = section(API, "The API")
    assert differences(first_column(page, "route"), real) == ""
    for path in real:
        assert f"| `{path}` | {', '.join(ALLOWED_METHODS)} |" in page


def test_every_query_parameter_is_documented() -> None:
    """What `/incidents` says is allowed, is documented."""
    with pytest.raises(InvalidParametersError) as caught:
        parse_page_parameters({"not-a-parameter": ["1"]})
    allowed = re.search(r"allowed: (.+)$", caught.value.faults[0].reason)
    assert allowed
    documented = first_column(section(API, "Parameters"), "parameter")
    assert differences(documented, allowed[1].split(", ")) == ""
    with pytest.raises(InvalidParametersError) as caught:
        parse_changes_parameters({"not-a-parameter": ["1"]})
    allowed = re.search(r"allowed: (.+)$", caught.value.faults[0].reason)
    assert allowed
    documented = first_column(section(API, "Parameters"), "changes parameter")
    assert differences(documented, allowed[1].split(", ")) == ""


def test_every_problem_is_documented_with_its_status() -> None:
    """Clients find each code with its status; one that the local gateway alone gives is told apart."""
    kinds = [*PROBLEMS.values(), INTERNAL]
    page = section(API, "Errors")
    assert differences(first_column(page, "code"), [kind.code for kind in kinds]) == ""
    for kind in kinds:
        assert f"| `{kind.code}` | {kind.status} |" in page
    gateway = (ROOT / "local/gateway.py").read_text("utf-8")
    own = {
        text
        for node in nodes(gateway)
        if isinstance(node, ast.Call)
        and [*_names(node.func)] == ["build_problem"]
        and (text := text_of(node.args[1]))
    }
    assert own
    for code in own - {kind.code for kind in kinds}:
        assert f"`{code}`" in page


def test_every_field_of_the_health_document_is_documented() -> None:
    """The document that an empty table gives has the documented fields, and so have its sources."""
    document = assess_health(State(), now=0.0, poll_interval_seconds=60)
    page = section(API, "`GET /health`")
    overall, of_source = page.split("Of each source:")
    assert differences(first_column(overall, "field"), document) == ""
    assert differences(first_column(of_source, "field"), document["sources"]["denial"]) == ""
    for threshold in document["thresholds"]:
        assert f"`{threshold}`" in overall


def error_classes() -> set[str]:
    """The classes that a source's or a poll's error may have."""
    source = read_all("functions/poller/*.py")
    return first_arguments(source, "UpstreamError", "PollError") | assigned_texts(source, "error_class")


def test_every_class_of_error_is_documented() -> None:
    """Whoever reads `last_error` finds its class."""
    classes = error_classes()
    assert {"timeout", "throttled", "internal"} <= classes
    assert differences(first_column(section(API, "`GET /health`"), "class"), classes) == ""


# ---------------------------------------------------------------- data-model.md


def item_kinds() -> set[str]:
    """The first words of all partition keys that `shared/store/keys.py` makes."""
    found: set[str] = set()
    for name, value in vars(keys).items():
        if name.isupper() and isinstance(value, str):
            found.add(value)
        elif name.endswith("_KEY"):
            found.add(value[0])
        elif inspect.isfunction(value) and value.__annotations__.get("return") is keys.Key:
            sample = {
                parameter: 1 if kind is int else "1"
                for parameter, kind in value.__annotations__.items()
                if parameter != "return"
            }
            found.add(value(**sample)[0])
    return {kind.partition("#")[0] for kind in found}


def test_every_item_of_the_table_is_documented() -> None:
    """Each partition key has its row, and each row its key."""
    kinds = item_kinds()
    assert {"STATE", "JOURNAL", "ID", "SOURCE"} <= kinds
    documented = {name.partition("#")[0] for name in first_column(section(DATA_MODEL, "Items"), "pk")}
    assert differences(documented, kinds) == ""


def test_every_reason_to_reject_is_documented() -> None:
    """Whoever looks into the rejected records finds each code."""
    codes = first_arguments(read_all("shared/domain/incident.py"), "RejectedRecordError")
    assert "missing_field" in codes
    assert differences(first_column(section(DATA_MODEL, "Rejected"), "code"), codes) == ""


def test_every_type_is_documented_with_its_field() -> None:
    """The field that says whom an incident is about is the documented one."""
    page = section(DATA_MODEL, "What a record becomes")
    assert differences(first_column(page, "type"), SUBJECT_FIELDS) == ""
    for incident_type, field in SUBJECT_FIELDS.items():
        assert f"| `{incident_type}` | `{field}` |" in page


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("api.md", f"| 1 to {MAX_LIMIT} | {DEFAULT_LIMIT}, or"),
        ("api.md", f"over {MAX_BODY_BYTES // 2**20} MiB"),
        ("api.md", f"of the last poll, 1 to {MAX_ATTEMPTS}"),
        ("api.md", f"searched for up to {SEARCH_SECONDS:g} seconds"),
        ("api.md", f"never over {round(MAX_PAGE_BYTES / 1e6)} MB, unless one employee alone is larger"),
        ("api.md", f"good for {CURSOR_SECONDS // 3600} hours from when the walk began"),
        ("architecture.md", f"up to {MAX_ATTEMPTS} attempts a source"),
        ("architecture.md", f"(up to {MAX_CACHE_BYTES // 2**20} MiB in each container)"),
        ("architecture.md", f"a body over {MAX_BODY_BYTES // 2**20} MiB"),
        ("architecture.md", f"or of over {MAX_VALUES / 1e6:g} million values is given up"),
        ("architecture.md", f"Fetching may use {_FETCH_SHARE:.0%} of".replace("%", " %")),
        ("data-model.md", f"nested deeper than {MAX_RECORD_DEPTH} |"),
        ("data-model.md", f"over {MAX_INCIDENT_BYTES:,} bytes of compact JSON"),
        ("data-model.md", f"more than {MAX_SECONDS_AHEAD // 3600} hours ahead"),
        (
            "data-model.md",
            f"most {MAX_ENTRY_RECORDS:,} records and {MAX_ENTRY_BYTES // 1024} KB compressed",
        ),
        ("data-model.md", f"more than {_LOOKUPS_WORTH_DIGESTS} ids had to be looked up"),
        ("data-model.md", f"zlib-compressed JSON, {MAX_CHUNK_BYTES:,} bytes an item"),
        ("decisions/0002-cursor-keys-in-the-table.md", f"every {ROTATE_AFTER_SECONDS // 86_400} days"),
    ],
)
def test_limits_are_the_codes(file: str, sentence: str) -> None:
    """A limit that changes in the code changes in the docs."""
    assert sentence in " ".join((DOCS / file).read_text("utf-8").split())


# ---------------------------------------------------------------- runbook.md and what alarms cost

ALARMS = [name for name, each in TEMPLATE["Resources"].items() if each["Type"].endswith("Alarm")]
# Placeholders of the runbook that no output gives.
OF_THE_READER = {"STACK", "REQUEST_ID", "PAGER_URL", "RULE"}
# What the CLI has beside the parameters of the service's operations. The last is its name for SNS's Endpoint.
CLI_FLAGS = {"query", "output", "max-items", "cli-binary-format", "notification-endpoint"}


def test_every_alarm_has_its_section_in_the_runbook() -> None:
    """Whoever is told finds the alarm by its name: what it means, what to look at, what to do."""
    headings = re.findall(r"^## (\w+Alarm)$", RUNBOOK, re.MULTILINE)
    assert differences(headings, ALARMS) == ""
    for name in ALARMS:
        text = section(RUNBOOK, name)
        assert [text.count(part) for part in ("**Means**", "**Look at**", "**Do**")] in ([1, 1, 1], [1, 1, 0])
        assert re.search(r"\*\*do\*\*", text, re.IGNORECASE), name
        anchor = TEMPLATE["Resources"][name]["Properties"]["AlarmDescription"].partition("docs/runbook.md#")[
            2
        ]
        assert anchor.rstrip(".") in _anchors(DOCS / "runbook.md")


def test_every_metric_is_in_the_runbook() -> None:
    """What the poller emits and what the table explains are the same, units included."""
    table = first_column(RUNBOOK, "metric")
    assert differences(table, {*METRICS, SOURCE_FAILURES}) == ""
    units = {"Count": "count", "Milliseconds": "ms", "Seconds": "s"}
    for name, unit in METRICS.items():
        assert f"| `{name}` | {units[unit.value]} |" in RUNBOOK


def test_the_runbook_names_the_threshold_of_each_alarm() -> None:
    """What an alarm was raised by is the parameter that its section names."""
    named = set(re.findall(r"`(\w+ToAlarm|Max\w+)`", RUNBOOK))
    assert named <= set(TEMPLATE["Parameters"])
    for name in ALARMS:
        threshold = TEMPLATE["Resources"][name]["Properties"].get("Threshold")
        # One of those faults is one too many: their sections need no number.
        if isinstance(threshold, dict) and threshold["Ref"] != "FaultsToAlarm":
            assert f"`{threshold['Ref']}`" in section(RUNBOOK, name)


def test_the_runbook_names_what_is_on_the_dashboard() -> None:
    """A graph that is renamed is renamed in the runbook."""
    (dashboard,) = Stack().of_type("AWS::CloudWatch::Dashboard").values()
    titles = [each["properties"]["title"] for each in json.loads(dashboard["DashboardBody"])["widgets"]]
    prose = re.sub(r"```.*?```", "", RUNBOOK, flags=re.DOTALL)
    quoted = set(re.findall(r'"([A-Z][^"]+)"', prose)) - {"Reading the logs", "Concurrent executions"}
    assert len(quoted) > 4
    assert {each for each in quoted if not any(title.startswith(each) for title in titles)} == set()


def command_faults(line: str) -> list[str]:
    """What AWS's own description of its services does not know in a command, and unexplained placeholders."""
    outputs = {xform_name(name).upper() for name in TEMPLATE["Outputs"]}
    unknown = (
        set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)*_[A-Z]+\b|\bSTACK\b|\bRULE\b", line)) - outputs - OF_THE_READER
    )
    program, service, operation, *rest = shlex.split(line)
    flags = {word[2:] for word in rest if word.startswith("--")} - CLI_FLAGS
    if (service, operation) == ("logs", "tail"):
        # The CLI's own.
        return sorted(unknown | flags - {"since"})
    # The CLI's own name for it.
    service = "codedeploy" if service == "deploy" else service
    model = botocore.session.Session().get_service_model(service)
    names = {xform_name(each, "-"): each for each in model.operation_names}
    if program != "aws" or operation not in names:
        return [operation]
    members = model.operation_model(names[operation]).input_shape.members
    return sorted(unknown | flags - {xform_name(each, "-") for each in members})


def test_the_runbooks_commands_exist() -> None:
    """At night nobody wants to find out what a command is really called."""
    blocks = re.findall(r"^```sh\n(.*?)^```", RUNBOOK, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) > 10
    assert {line: faults for line in lines if (faults := command_faults(line))} == {}
    assert command_faults("aws sqs purge-queues --queue-url DEAD_LETTER_QUEUE_URL") == ["purge-queues"]
    assert command_faults("aws sqs purge-queue --queue QUEUE_URL") == ["QUEUE_URL", "queue"]


def test_what_alarms_cost_is_counted() -> None:
    """The table of costs has as many alarms and metrics as there are."""
    plain = len(Stack().of_type("AWS::CloudWatch::Alarm"))
    canary = Stack({"CanaryEnabled": "true"}).of_type("AWS::CloudWatch::Alarm").keys()
    assert canary - Stack().of_type("AWS::CloudWatch::Alarm").keys() == {"CanaryAlarm"}
    page = section(CONFIGURATION, "Alarms and what they cost")
    assert f"| alarms | {plain} | {plain * 0.1:.2f} |" in page
    assert f"| composite alarm | {len(ALARMS) - len(canary)} | 0.50 |" in page
    assert f"| metrics of the poller | {len(POLLER_METRICS)} | {len(POLLER_METRICS) * 0.3:.2f} |" in page
    # `several` is the class of polls, never of a source.
    assert f"{len(ALL_SOURCES) * len(error_classes() - {'several'})} at most" in page
    assert f"all eight sources, {len(ALL_SOURCES) * 0.3:.2f}" in page


# ---------------------------------------------------------------- README.md and all pages


def unrun_commands(readme: str, run_elsewhere: Mapping[str, object]) -> list[str]:
    """Lines of shell blocks, whatever these are called, that nothing runs and that no mark excuses."""
    blocks = re.findall(r"^```(?:sh|bash|shell|console)\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert blocks, "no command block was found"
    return [
        line
        for block in blocks
        if not block.startswith(NEEDS_AWS)
        for line in block.splitlines()
        if line.strip() and line not in run_elsewhere
    ]


def test_every_command_of_the_readme_is_run_somewhere() -> None:
    """A command block is run by CI or the tests, or says that it needs AWS."""
    assert unrun_commands(README, RUN_ELSEWHERE) == []
    for command, (file, evidence) in RUN_ELSEWHERE.items():
        assert command in README, "the mapping has a command that the README lacks"
        assert evidence in (ROOT / file).read_text("utf-8"), f"{file} does not run {command}"
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target, module in {"run": "run", "sam-local": "sam_local"}.items():
        assert re.search(rf"^{target}:.*(\n\t.*)*-m local\.{module}$", makefile, re.MULTILINE)
    bad = "```sh\nmake run\nrm -rf x\n```\n```sh\n# needs AWS\nsam deploy\n```\n```bash\nmake fun\n```\n"
    assert unrun_commands(bad, RUN_ELSEWHERE) == ["rm -rf x", "make fun"]


HOST = {REGION: "REGION", f"{STACK_NAME}-IncidentApi": "API_ID", "/dev/": "/STAGE/"}


@pytest.mark.parametrize(
    ("output", "parameters", "placeholders"),
    [
        (
            "FillUpstreamSecretCommand",
            {},
            {REGION: "REGION", f"{STACK_NAME}-UpstreamSecret": "SECRET_ARN"},
        ),
        ("CurlCommand", {}, HOST),
        ("CurlCommand", {"Authorizer": "API_KEY"}, {f"{STACK_NAME}-ApiKey": "API_KEY_ID"} | HOST),
        ("CurlCommand", {"Authorizer": "COGNITO"}, HOST),
        ("CurlCommand", {"Authorizer": "LAMBDA"}, HOST),
    ],
)
def test_the_readme_has_the_commands_that_the_stack_prints(
    output: str, parameters: dict[str, str], placeholders: dict[str, str]
) -> None:
    """What is shown for filling the secret and for asking is what the outputs give, with names for values."""
    command: str = Stack(parameters).outputs[output]
    for value, placeholder in placeholders.items():
        assert value in command
        command = command.replace(value, placeholder)
    assert STACK_NAME not in command
    assert command in README.splitlines()


def missing_tests(page: str) -> list[str]:
    """Tests that a page names, as `file::function`, and that are not there."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert named
    return [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).exists() or f"def {name}(" not in (ROOT / file).read_text("utf-8")
    ]


def test_every_threat_is_tested_where_the_page_says() -> None:
    """The table names tests that exist, in each of its rows."""
    page = (DOCS / "security.md").read_text("utf-8")
    assert missing_tests(page) == []
    rows = section(page, "Who could do what").strip().splitlines()[2:]
    assert len(rows) > 10
    assert all("::test_" in row for row in rows)
    assert missing_tests("`tests/unit/test_docs.py::test_no_such_thing`") == [
        "tests/unit/test_docs.py::test_no_such_thing"
    ]


def broken_links(path: Path, text: str) -> list[str]:
    """Relative links that lead to nothing, and anchors that no heading has."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (anchor and anchor not in _anchors(there)):
            broken.append(target)
    return broken


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_relative_link_leads_somewhere() -> None:
    """No page links to a file or a heading that is not there."""
    assert sum(text.count("](") for text in PAGES.values()) > 10
    assert {path: broken_links(path, text) for path, text in PAGES.items()} == {path: [] for path in PAGES}
    bad = "[a](nowhere.md) [b](docs/api.md#nowhere) [c](docs/api.md#errors) [d](https://example.com)"
    assert broken_links(ROOT / "README.md", bad) == ["nowhere.md", "docs/api.md#nowhere"]


def files_named(text: str) -> set[str]:
    """Paths of this project that a page names in backticks, globs left out."""
    named = re.findall(
        r"`((?:benchmarks|docs|functions|local|scripts|shared|tests|events)/[\w/.-]*|[\w-]+\.(?:py|toml|yaml))`",
        text,
    )
    return {path for path in named if "*" not in path}


def test_every_file_that_a_page_names_is_there() -> None:
    """A file that is moved or renamed is so in the docs, too."""
    known = {path.name for path in project_files()}
    named = {path for text in PAGES.values() for path in files_named(text)}
    assert len(named) > 10
    assert {each for each in named if not (ROOT / each).exists() and Path(each).name not in known} == set()
    assert files_named("`local/none.py` `none.py` `GET /health`") == {"local/none.py", "none.py"}


# ---------------------------------------------------------------- deploying from GitHub


def test_every_variable_of_the_workflows_is_documented() -> None:
    """Whoever sets GitHub up finds each variable that a workflow reads, and no other."""
    read = set(re.findall(r"\bvars\.(\w+)", read_all(".github/workflows/*.yml")))
    assert "AWS_REGION" in read
    assert differences(first_column(section(DEPLOYMENT, "From GitHub"), "variable"), read) == ""


def as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_the_role_that_deploys_makes_what_the_template_has_and_reads_nothing() -> None:
    """Its policy knows each service that the template always needs, for one stage; no data, no secret."""
    blocks = re.findall(r"```json\n(.+?)```", section(DEPLOYMENT, "From GitHub"), re.DOTALL)
    trust, policy = (json.loads(block) for block in blocks)
    assert '"repo:OWNER/REPOSITORY:environment:staging"' in json.dumps(trust)
    allowed = [statement for statement in policy["Statement"] if statement["Effect"] == "Allow"]
    actions = {action for statement in allowed for action in as_list(statement["Action"])}
    # AWS knows no resource for it (Service Authorization Reference, Amazon CloudWatch).
    (on_all,) = [each["Action"] for each in allowed if each["Resource"] == "*"]
    assert "cloudwatch:PutCompositeAlarm" in on_all
    services = {resource["Type"].split("::")[1].lower() for resource in TEMPLATE["Resources"].values()}
    # What is off until asked for is in a sentence; what SAM makes of its own is the rest.
    services = services - {"serverless", "wafv2", "route53"} | {"cloudformation", "s3", "events"}
    assert {action.split(":")[0] for action in actions} == services
    reading = ("dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan", "secretsmanager:GetSecretValue")
    assert not [(action, each) for action in actions for each in reading if fnmatchcase(each, action)]
    for statement in policy["Statement"]:
        for resource in as_list(statement["Resource"]):
            own = "security-incident-api-staging" in resource or "aws-sam-cli-managed-default" in resource
            assert own or resource == "*" or re.search(r":(transform|secret|layer|:/\*)", resource), resource


# ---------------------------------------------------------------- every text file

# Written in parts, so that this file passes its own check.
_MACHINE_PATH = re.compile(
    r"(?<![\w.$}~/-])/(?:wo" + r"rk|ro" + r"ot|home/[a-z]|Us" + r"ers/[A-Za-z])[\w.-]*(?:/|\b)"
)
_REGISTRY = re.compile(
    r"(?i)(?:https?|file)://[^\s\"']*(?:py" + r"pi|pythonhos" + r"ted|artifac" + r"tory|npm" + r"js)"
    r"|--(?:extra-)?index" + r"-url[= ]|--find" + r"-links[= ]|index_" + r"url *="
)


def faults_in(text: str) -> list[str]:
    """Paths of somebody's machine and addresses of package indexes."""
    return [found[0] for pattern in (_MACHINE_PATH, _REGISTRY) for found in pattern.finditer(text)]


def project_files() -> list[Path]:
    """Every file of the checkout that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - git of the PATH
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_tells_of_a_machine_or_a_registry() -> None:
    """No path of the machine that it was made on, and no word about where packages come from."""
    files = project_files()
    assert ROOT / "template.yaml" in files
    assert {str(path.relative_to(ROOT)): found for path in files if (found := _faults_of(path))} == {}


def _faults_of(path: Path) -> list[str]:
    content = path.read_bytes()
    return [] if b"\0" in content else faults_in(content.decode("utf-8"))


@pytest.mark.parametrize(
    "bad",
    [
        "see /wo" + "rk/main",
        "/ro" + "ot/.cache",
        '"/ho' + 'me/jane/x"',
        "=/Us" + "ers/jane",
        "https://py" + "pi.org/simple",
        "--index" + "-url http://localhost:1/",
        "file:///mirror/py" + "pi/uv",
    ],
)
def test_a_path_or_registry_would_be_found(bad: str) -> None:
    """The patterns see what they are for, and leave the project's own words alone."""
    assert faults_in(f"before {bad} after")
    assert not faults_in(
        "$HOME/.pyenv ./work/x work/root --no-emit-index-url /incidents /home https://example.com"
    )


# ---------------------------------------------------------------- decisions and version


def decision_faults(pages: Mapping[str, str]) -> list[str]:
    """What is wrong with the decisions: numbers with gaps, a title that differs, parts or length."""
    faults = []
    for number, (name, text) in enumerate(sorted(pages.items()), start=1):
        lines = [line for line in text.splitlines() if line.strip()]
        if not re.fullmatch(rf"{number:04}-[a-z0-9-]+\.md", name):
            faults.append(f"{name} is not number {number}")
        if not lines or not lines[0].startswith(f"# {number:04}: "):
            faults.append(f"{name} has another title")
        if not 10 <= len(lines) <= 30:
            faults.append(f"{name} has {len(lines)} lines")
        if re.findall(r"^## (.+)$", text, re.MULTILINE) != [
            "Context",
            "Decision",
            "Consequences",
            "Measured",
        ]:
            faults.append(f"{name} has other parts")
    return faults


def test_decisions_are_numbered_and_short() -> None:
    """0001, 0002, … without gaps; ten to thirty lines; context, decision, consequences, what was measured."""
    pages = {path.name: path.read_text("utf-8") for path in (DOCS / "decisions").iterdir()}
    assert pages
    assert decision_faults(pages) == []
    assert decision_faults({"0001-a.md": "", "0003-b.md": pages[min(pages)]}) == [
        "0001-a.md has another title",
        "0001-a.md has 0 lines",
        "0001-a.md has other parts",
        "0003-b.md is not number 2",
        "0003-b.md has another title",
    ]


def test_there_is_one_version() -> None:
    """pyproject.toml, the code and the newest entry of the changelog agree."""
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert headings[0] == "Unreleased"
    released = headings[1]
    project: Mapping[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert VERSION == project["version"] == released
