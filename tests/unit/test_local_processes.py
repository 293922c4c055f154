"""Processes of a local run that are to end by themselves."""

import os
import sys
from pathlib import Path

import pytest

from local.processes import Children, ProcessError


def script(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_a_command_is_waited_for(tmp_path: Path) -> None:
    """Its status, its answer and its log are told apart, and its end is no failure of the run."""
    log, output = tmp_path / "log", tmp_path / "output"
    with Children() as children:
        child = children.run(
            "command",
            script("import sys; print('answer'); sys.exit('complaint')"),
            environment=dict(os.environ),
            log=log,
            output=output,
        )
        assert child.process.returncode == 1
        assert (output.read_text(), log.read_text()) == ("answer\n", "complaint\n")
        children.wait_until(lambda: True, "nothing")


def test_a_part_that_dies_meanwhile(tmp_path: Path) -> None:
    """A command is not waited for when what it needs has died; it is ended with the rest."""
    with Children() as children:
        children.start("part", script("raise SystemExit(3)"), environment={}, log=tmp_path / "part")
        with pytest.raises(ProcessError, match="the part ended with status 3"):
            children.run(
                "command", script("import time; time.sleep(60)"), environment={}, log=tmp_path / "log"
            )
