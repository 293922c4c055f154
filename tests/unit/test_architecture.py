"""Dependencies point inward: who may import whom, and what no module may be called (CONVENTIONS.md)."""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ("shared", "functions", "local", "tests", "benchmarks", "scripts", "client", "integrations")
MAX_HANDLER_LINES = 40
# Words that say nothing of what a module is about.
EMPTY_WORDS = frozenset({"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"})
DYNAMIC = "<computed at run time>"


@dataclass(frozen=True)
class Rule:
    """What a folder's modules may import: nothing of ``never``; if ``only`` is given, nothing else."""

    folder: str
    never: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None

    def breaches(self, source: str, package: str) -> list[str]:
        """The imports of one module, in ``package``, that break the rule."""
        return sorted(name for name in imported_names(source, package) if not self._allows(name))

    def _allows(self, name: str) -> bool:
        if self.only is not None:
            return any(_within(name, package) for package in self.only)
        # A package that holds a forbidden one opens the way to it.
        return not any(_within(name, each) or _within(each, name.removesuffix(".*")) for each in self.never)


_NEVER_DEPLOYED = ("local", "tests", "benchmarks")
RULES = [
    Rule("shared/domain", only=(*sys.stdlib_module_names, "shared.domain")),
    Rule("shared/store", never=("functions", "requests", "urllib3", "aws_lambda_powertools")),
    # The layer brings neither requests nor urllib3; boto3 adds to each cold start (decision 0013).
    Rule("shared", never=("functions", *_NEVER_DEPLOYED, "requests", "urllib3", "boto3", DYNAMIC)),
    Rule("functions", never=(*_NEVER_DEPLOYED, "boto3", DYNAMIC)),
    Rule("functions/api", never=("functions.poller", "requests", "urllib3")),
    Rule("functions/poller", never=("functions.api",)),
    Rule("local", never=("tests", "benchmarks")),
    # Others use what it measures with; itself it is nothing that a test stands on.
    Rule("benchmarks", never=("pytest", "moto")),
]


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def imported_names(source: str, package: str) -> Iterator[str]:
    """Every name that a module of ``package`` imports, in full: also late and for type checking."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                above = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                origin = ".".join([*above, *([module] if module else [])])
                yield from (f"{origin}.{alias.name}" for alias in names)
            case (
                ast.Call(func=ast.Name(id="__import__" | "import_module"), args=args)
                | ast.Call(func=ast.Attribute(attr="import_module"), args=args)
            ):
                match args:
                    case [ast.Constant(value=str(name)), *_]:
                        yield name
                    case _:
                        yield DYNAMIC


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.folder)
def test_dependencies_point_inward(rule: Rule) -> None:
    """The domain knows nobody, the store no function, a function not the other, none what is not deployed."""
    paths = modules(rule.folder)
    assert len(paths) > 3, f"{rule.folder} has moved: the rule checks nothing"
    packages = {path: ".".join(path.relative_to(ROOT).parent.parts) for path in paths}
    breaches = {path.name: rule.breaches(path.read_text(), packages[path]) for path in paths}
    assert {name: found for name, found in breaches.items() if found} == {}


@pytest.mark.parametrize(
    ("folder", "bad"),
    [
        ("shared/domain", "import boto3"),
        ("shared/domain", "import json, requests"),
        ("shared/domain", "import shared"),
        ("shared/domain", "from shared import store"),
        ("shared/domain", "from shared.store.keys import journal_key"),
        ("shared/domain", "from shared.configuration import required"),
        ("shared/domain", "from ..store import keys"),
        ("shared/domain", "from .. import store"),
        ("shared/domain", "from shared.domains import x"),
        ("shared/domain", "def late():\n    import botocore.config as b"),
        (
            "shared/domain",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import mypy_boto3_dynamodb",
        ),
        ("shared/domain", "import importlib\nimportlib.import_module('boto3')"),
        ("shared/domain", "__import__('boto' + '3')"),
        ("shared/store", "import aws_lambda_powertools.logging"),
        ("shared/store", "from requests.auth import HTTPBasicAuth"),
        ("shared/store", "from functions.api import walk"),
        ("shared", "from tests import conftest"),
        ("shared", "try:\n    import local\nexcept ImportError:\n    pass"),
        ("functions", "from local.emulator import REGION"),
        ("functions", "from importlib import import_module\nimport_module(name)"),
        ("functions/api", "from functions import poller"),
        ("functions/api", "import functions"),
        ("functions/api", "from functions import *"),
        ("functions/api", "from ..poller.poll import Poller"),
        ("functions/api", "import requests"),
        ("functions/poller", "import functions.api.walk"),
        ("local", "from tests.fakes import upstream"),
        ("functions", "from benchmarks import results"),
        ("benchmarks", "import pytest"),
    ],
)
def test_the_checker_sees_a_breach(folder: str, bad: str) -> None:
    """Each rule finds what it forbids, however the import is written; otherwise it would prove nothing."""
    rule = next(rule for rule in RULES if rule.folder == folder)
    package = folder.replace("/", ".")
    assert rule.breaches(f'"""Fine."""\nimport json\n{bad}\n', package)
    fine = '"""Fine: import boto3"""\nimport json\nfrom collections.abc import Mapping\n'
    assert rule.breaches(fine + "from shared.domain.incident import Incident\n", package) == []


def empty_names(paths: list[Path]) -> list[str]:
    """Modules and folders below the project whose name holds a word that says nothing."""
    return [
        str(path.relative_to(ROOT))
        for path in paths
        if any(EMPTY_WORDS & set(re.split(r"[_.]", part)) for part in path.relative_to(ROOT).parts)
    ]


def test_every_module_is_named_after_its_subject() -> None:
    """A newcomer finds a behaviour by its name: there is no drawer to put things in."""
    paths = [path for folder in CODE for path in modules(folder)]
    assert len(paths) > 30
    assert empty_names(paths) == []
    bad = ["shared/utils.py", "local/common/x.py", "shared/store/table_helpers.py", "tests/manager.py"]
    assert empty_names([ROOT / each for each in bad]) == bad
    assert empty_names([ROOT / "shared/domain/incident.py"]) == []


def test_handlers_stay_short() -> None:
    """A handler decorates, parses, calls and answers; it has no room for anything else."""
    lines = {
        path.parent.name: len(path.read_text().splitlines()) for path in ROOT.glob("functions/*/handler.py")
    }
    assert set(lines) >= {"api", "poller"}
    assert {name: count for name, count in lines.items() if count >= MAX_HANDLER_LINES} == {}


def test_a_run_of_all_tests_leaves_none_out(pytestconfig: pytest.Config) -> None:
    """Pytest walks into no folder that is called as it thinks unworthy, such as `build`, and says nothing."""
    shunned = pytestconfig.getini("norecursedirs")
    tests = [path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")]
    assert Path("build/test_build.py") in tests
    left_out = {path for path in tests if any(fnmatch(part, each) for part in path.parts for each in shunned)}
    assert {path.parent for path in left_out} == {Path("integration/clients")}
    assert "pytest tests/integration/clients\n" in (ROOT / "Makefile").read_text("utf-8")
