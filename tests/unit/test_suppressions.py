"""Whatever tells a checker to look away says why, beside it."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from local.template import load_template
from scripts.audit import IRRELEVANT
from scripts.scan import _UNFOUNDED, NO_SECRETS, ROOT, list_files

_RULES = r"[A-Z]+\d+(?:,? ?[A-Z]+\d+)*"
# Each with the rules that it names; one that names none looks away from everything.
_MARKERS = re.compile(
    rf"noqa: {_RULES}|nosec {_RULES}|type: ignore\[[\w, -]+\]|zizmor: ignore\[[\w, -]+\]"
    r"|checkov:skip=\w+:|pragma: allowlist (?:nextline )?secret|shellcheck disable=[\w,]+"
)
_ANY_MARKER = re.compile(
    r"#\s*(?:ruff: )?noqa|#\s*nosec|type:\s*ignore|(?:mypy|pyright): *\w+|zizmor:|checkov:\s*skip\s*="
    r"|pragma:|shellcheck"
)


def fault_of(comment: str) -> str | None:
    """What is wrong with a comment, if it is a suppression."""
    if not _ANY_MARKER.search(comment):
        return None
    rest = _MARKERS.sub("", comment)
    if _ANY_MARKER.search(rest):
        return f"names no rule: {comment}"
    return None if re.search(r"\w{2}", rest) else f"gives no reason: {comment}"


def comments_in(path: Path) -> Iterator[str]:
    """The comments of a file; of one that is not Python, whatever follows a `#`."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        yield from (token.string for token in tokens if token.type == tokenize.COMMENT)
    else:
        yield from (found[0] for found in re.finditer(r"#.*", text))


def test_every_comment_that_silences_a_checker_gives_its_reason() -> None:
    """Each names the rules that it is about, and then says why."""
    kinds = (".py", ".yaml", ".yml", ".sh", ".toml", "Makefile", "run")
    files = [ROOT / name for name in list_files(ROOT) if name.endswith(kinds)]
    comments = {path: list(comments_in(path)) for path in files}
    assert sum(bool(_ANY_MARKER.search(each)) for every in comments.values() for each in every) > 50
    faults = [f"{path}: {fault}" for path in files for each in comments[path] if (fault := fault_of(each))]
    assert faults == []


@pytest.mark.parametrize(
    ("comment", "fault"),
    [
        ("# no" + "qa", "names no rule"),
        ("# no" + "qa: S311", "gives no reason"),
        ("# no" + "sec - harmless", "names no rule"),
        ("# no" + "sec B311  # no" + "qa: S311 -", "gives no reason"),
        ("# type" + ": ignore  # because", "names no rule"),
        ("# type" + ": ignore[misc, index]", "gives no reason"),
        ("# zizmor" + ": ignore[template-injection]", "gives no reason"),
        ("# pragma" + ": allowlist secret", "gives no reason"),
        ("# checkov" + ":skip=CKV_AWS_27:", "gives no reason"),
        ("# ruff: no" + "qa", "names no rule"),
        ("# mypy" + ": ignore-errors", "names no rule"),
    ],
)
def test_a_bad_comment_is_found(comment: str, fault: str) -> None:
    """One without a rule, and one without a reason; with a reason it passes, and others are not looked at."""
    found = fault_of(comment)
    assert found
    assert found.startswith(fault)
    assert fault_of("# no" + "sec B311  # no" + "qa: S311 - no secret") is None
    assert fault_of("# the noise, secondly") is None


def excused(resource: dict[str, object]) -> list[tuple[str, str]]:
    """The checks of checkov and cfn-lint that a resource of the template is excused from, with the reason."""
    metadata = resource.get("Metadata", {})
    assert isinstance(metadata, dict)
    return [(each["id"], each.get("comment", "")) for each in metadata.get("checkov", {}).get("skip", [])]


def test_every_excuse_in_the_template_gives_its_reason() -> None:
    """The excuses for checkov have a sentence each; above what cfn-lint ignores stands a comment."""
    template = load_template()
    excuses = [excuse for each in template["Resources"].values() for excuse in excused(each)]
    assert len(excuses) > 10
    assert [check for check, reason in excuses if not reason.endswith(".")] == []
    assert excused(yaml.safe_load("Metadata: {checkov: {skip: [{id: CKV_AWS_27}]}}")) == [("CKV_AWS_27", "")]
    lines = (ROOT / "template.yaml").read_text("utf-8").splitlines()
    ignored = [number for number, line in enumerate(lines) if "ignore_checks:" in line]
    assert ignored
    assert [lines[number] for number in ignored if "#" not in lines[number - 1]] == []


def test_every_exception_in_a_configuration_gives_its_reason() -> None:
    """Rules that pyproject.toml leaves out, lines that may look like secrets, checks, advisories."""
    lines = (ROOT / "pyproject.toml").read_text("utf-8").splitlines()
    left_out = [
        number for number, line in enumerate(lines) if re.match(r'\s*("D\d|"\S+" = \["S|skips =)', line)
    ]
    assert len(left_out) > 5
    assert [lines[each] for each in left_out if "#" not in lines[each] + lines[each - 1]] == []
    reasons = [*(each.reason for each in NO_SECRETS), *_UNFOUNDED.values(), *IRRELEVANT.values()]
    assert all(re.search(r"\w{2}", reason) for reason in reasons)
