"""`make audit` asks about every locked package, and says so when it could not."""

from pathlib import Path
from typing import Any

import pytest

from scripts import audit
from scripts.audit import find_gap, list_requirements, main, read_advisories
from scripts.scan import ROOT

KNOWN = {
    "name": "requests",
    "version": "2.0.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.3.0"]}, {"id": "PYSEC-2", "fix_versions": []}],
}
CLEAN = {"name": "idna", "version": "3.20", "vulns": []}
LEFT_OUT = {"name": "idna", "skip_reason": "Dependency not found"}


def test_every_file_that_locks_packages_is_audited() -> None:
    """The functions' own, and each environment's of the tools."""
    files = list_requirements(ROOT)
    assert {"shared/requirements.txt", "functions/poller/requirements.txt"} < set(files)
    assert {
        f"requirements-{name}.txt" for name in ("clients", "dev", "emulator", "local", "sam", "scan", "uv")
    } < set(files)


def test_an_advisory_is_named_with_what_mends_it() -> None:
    """Package, version, identifier and the versions without it."""
    assert list(read_advisories({"dependencies": [KNOWN, CLEAN, LEFT_OUT]})) == [
        "requests 2.0.0: PYSEC-1, mended in 2.3.0",
        "requests 2.0.0: PYSEC-2, mended in no version yet",
    ]


@pytest.mark.parametrize("dependencies", [[CLEAN, LEFT_OUT], []])
def test_a_package_that_was_not_asked_about_is_no_pass(dependencies: list[dict[str, Any]]) -> None:
    """One that the database does not know, and a file in which none was found."""
    assert "were not asked about" in find_gap({"dependencies": dependencies})
    assert find_gap({"dependencies": [KNOWN, CLEAN]}) == ""


@pytest.mark.parametrize(
    ("packages", "status"),
    [([CLEAN], 0), ([KNOWN], 1), ([LEFT_OUT], 3), ([KNOWN, LEFT_OUT], 1)],
)
def test_the_status_tells_known_from_not_asked(
    packages: list[dict[str, Any]], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1 for an advisory, 3 for an audit that was not made."""
    monkeypatch.setattr(audit, "ask", lambda root, file: {"dependencies": packages})
    assert main(ROOT) == status


def test_a_database_that_can_not_be_reached_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """pip-audit's last words are shown, an advisory against another file counts all the same."""
    tool = tmp_path / "pip-audit"
    tool.write_text("#!/bin/sh\necho first >&2\necho no route to the database >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setattr(audit, "TOOLS", tmp_path)
    assert main(ROOT) == 3
    said = capsys.readouterr().err.splitlines()
    assert said[0].endswith("NOT AUDITED, pip-audit failed with status 1: no route to the database")
    assert len(said) == len(list_requirements(ROOT))
    tool.write_text(
        '#!/bin/sh\ncase "$*" in *shared*) echo \'{"dependencies": [{"name": "a", "version": "1", "vulns": '
        '[{"id": "X", "fix_versions": []}]}]}\' ;; *) exit 1 ;; esac\n'
    )
    assert main(ROOT) == 1
