"""`make audit`: asks the advisory database about every package that is locked, for whatever it is used.

Exit status: 1 when something is known against a package, else 3 when not everything could be asked about. An
audit that asked nothing does not pass.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.scan import ROOT, TOOLS, list_files

# Advisories that do not concern this project: the identifier, and why.
IRRELEVANT: dict[str, str] = {}


class NotAskedError(Exception):
    """The database was not reached; what pip-audit says of it."""


def main(root: Path) -> int:
    """Audit all requirements files of a checkout; see the module for what is returned."""
    statuses = {0}
    for file in list_requirements(root):
        try:
            report = ask(root, file)
        except NotAskedError as error:
            print(f"{file}: NOT AUDITED, {error}", file=sys.stderr)
            statuses.add(3)
            continue
        known = list(read_advisories(report))
        print(f"{file}: {len(known) or 'no'} advisories", *known, sep="\n  ")
        if known:
            statuses.add(1)
        if gap := find_gap(report):
            print(f"{file}: NOT AUDITED, {gap}", file=sys.stderr)
            statuses.add(3)
    return next(status for status in (1, 3, 0) if status in statuses)


def list_requirements(root: Path) -> list[str]:
    """The requirements files of a checkout that lock anything, the layer's and the functions' included."""
    named = [file for file in list_files(root) if Path(file).match("*requirements*.txt")]
    return [file for file in named if "==" in (root / file).read_text("utf-8")]


def ask(root: Path, file: str) -> Any:
    """pip-audit's report on a requirements file. Raises NotAskedError."""
    ignored = [argument for each in IRRELEVANT for argument in ("--ignore-vuln", each)]
    command = [str(TOOLS / "pip-audit"), "--disable-pip", "--require-hashes", "--format", "json", *ignored]
    done = subprocess.run(  # nosec B603  # noqa: S603 - the checkout's own tool, on its own files
        [*command, "--progress-spinner", "off", "--requirement", file],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return json.loads(done.stdout)
    except ValueError:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise NotAskedError(f"pip-audit failed with status {done.returncode}: {said[-1]}") from None


def read_advisories(report: Mapping[str, Any]) -> Iterator[str]:
    """One line for each advisory in pip-audit's report."""
    for package in report["dependencies"]:
        for advisory in package.get("vulns", []):
            mended = ", ".join(advisory["fix_versions"]) or "no version yet"
            yield f"{package['name']} {package['version']}: {advisory['id']}, mended in {mended}"


def find_gap(report: Mapping[str, Any]) -> str:
    """What was not asked about, and why; empty when everything was.

    pip-audit itself passes when the database answers that it knows no such package, as a mirror's does.
    """
    packages: Sequence[Mapping[str, Any]] = report["dependencies"]
    left_out = [package["skip_reason"] for package in packages if "skip_reason" in package]
    if packages and not left_out:
        return ""
    reason = left_out[0] if left_out else "none was found in the file"
    return f"{len(left_out)} of {len(packages)} packages were not asked about: {reason}"


if __name__ == "__main__":
    sys.exit(main(ROOT))
