"""The checkout's own SAM CLI, in `.tools/sam`: without an account, and on a copy of the checkout."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from local.function_environment import build_base_environment

SAM = Path(__file__).parents[1] / ".tools/sam/bin/sam"
# Functions run on this machine where they run at all.
ARCHITECTURE = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"

needs_sam = pytest.mark.skipif(
    not SAM.exists(), reason="SAM CLI is not installed in .tools/sam (requirements-sam.txt says which)"
)


def sam_environment(aws: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a `sam` that sees no settings of the person's; ``aws`` says where AWS is."""
    return {
        **build_base_environment(os.environ),
        # `sam build` looks for python3.13 with pip: the one that runs the tests.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), str(SAM.parent), os.environ["PATH"]]),
        "AWS_DEFAULT_REGION": "us-east-1",
        "SAM_CLI_TELEMETRY": "0",
        **(aws or {}),
    }


def run_sam(*arguments: str | Path, folder: Path, aws: Mapping[str, str] | None = None) -> str:
    """Run `sam` in a folder and return what it printed; ``aws`` are the variables that say where AWS is."""
    done = subprocess.run(  # noqa: S603 - the checkout's own tool, no input from outside
        [SAM, *arguments], cwd=folder, env=sam_environment(aws), capture_output=True, text=True, check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output
