"""`make build`: `sam build`, and then what makes the packages start quickly.

docs/decisions/0013-small-packages.md has the reasons. Arguments are passed on to `sam build`, whose exit
status is given.
"""

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from local.template import load_template
from shared.aws import SERVICES

BUILD = Path(".aws-sam/build")
# Where Lambda lays packages out: tracebacks name files as they are there.
_LAYERS_HOME, _FUNCTIONS_HOME = "/opt", "/var/task"


def main(arguments: Sequence[str]) -> int:
    """Build what is deployed, into `.aws-sam/build` of the current folder."""
    sam = shutil.which("sam") or ".tools/sam/bin/sam"
    done = subprocess.run([sam, "build", *arguments], check=False)  # nosec B603  # noqa: S603 - SAM's own CLI
    if done.returncode == 0:
        finish_packages(BUILD)
    return done.returncode


def finish_packages(build: Path) -> None:
    """Make the packages that `sam build` has put into ``build`` ready to be deployed; again, if that is so.

    `sam build` copies them anew each time, those from its cache too.
    """
    for logical_id, resource in load_template()["Resources"].items():
        package = build / logical_id
        if resource["Type"] == "AWS::Serverless::LayerVersion":
            leave_out_models(package / "python/botocore/data", SERVICES)
            leave_out_documentation(package / "python/botocore/data")
            compile_package(package, _LAYERS_HOME)
        elif resource["Type"] == "AWS::Serverless::Function":
            compile_package(package, _FUNCTIONS_HOME)


def leave_out_models(data: Path, services: Collection[str]) -> None:
    """Leave botocore the models and endpoints of ``services`` alone: any client reads all endpoints."""
    for model in data.iterdir():
        if model.is_dir() and model.name not in services:
            shutil.rmtree(model)
    path = data / "endpoints.json"
    endpoints = json.loads(path.read_bytes())
    for partition in endpoints["partitions"]:
        known = partition["services"]
        partition["services"] = {name: known[name] for name in sorted(services) if name in known}
    path.write_text(json.dumps(endpoints, separators=(",", ":")), "utf-8")


def leave_out_documentation(data: Path) -> None:
    """Leave the services' models without their documentation, four fifths of what a client reads of them."""
    for path in data.glob("*/*/service-2.json.gz"):
        model = _without_documentation(json.loads(gzip.decompress(path.read_bytes())))
        text = json.dumps(model, separators=(",", ":"))
        path.write_bytes(gzip.compress(text.encode(), mtime=0))


def _without_documentation(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_documentation(each) for each in value]
    if isinstance(value, dict):
        # A member of some shape may be called that, too: its value is no text.
        return {
            name: _without_documentation(each)
            for name, each in value.items()
            if not (name == "documentation" and isinstance(each, str))
        }
    return value


def compile_package(package: Path, home: str) -> None:
    """Put bytecode beside each source; Lambda can't keep what it compiles, and would do so at each start.

    It is not compared with its source, whose time a zip file does not keep. The same sources give the same
    bytes, so that a deployment without a change changes nothing. Raises SyntaxError if one can't be compiled.
    """
    # A process of its own, with no chance in its hashes: how bytecode writes a set of constants depends on
    # them. Lambda's Python is of the same minor version.
    command = [sys.executable, "-m", "compileall", "-q", "-f", "-j", "1"]
    mode = ["--invalidation-mode", "unchecked-hash"]
    folders = ["-s", os.fspath(package), "-p", home, os.fspath(package)]
    done = subprocess.run(  # nosec B603  # noqa: S603 - this interpreter
        [*command, *mode, *folders], env={**os.environ, "PYTHONHASHSEED": "0"}, check=False
    )
    if done.returncode != 0:
        raise SyntaxError(f"not all of {package.name} can be compiled")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
