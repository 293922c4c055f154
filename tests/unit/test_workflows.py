"""The workflows can be trusted: pinned, with few permissions, without keys; they call the Makefile."""

import re
import tomllib
from typing import Any

import pytest
import yaml

from scripts.scan import ROOT

FOLDER = ROOT / ".github/workflows"
SOURCES = {path.name: path.read_text("utf-8") for path in sorted(FOLDER.iterdir())}


def read_workflow(source: str) -> dict[Any, Any]:
    """A workflow as plain data; its `on` is YAML 1.1's True."""
    return yaml.safe_load(source)


def faults_of(source: str) -> list[str]:
    """What a workflow must not do."""
    workflow = read_workflow(source)
    faults = [
        f"not pinned: {used}"
        for used in re.findall(r"uses: (.+)", source)
        if not re.fullmatch(
            r"\./\.github/workflows/[\w.-]+( # zizmor: .+)?|[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used
        )
    ]
    if "pull_request_target" in source or "workflow_run" in source:
        faults.append("runs with rights on what strangers write")
    if re.search(r"secrets\.|aws-access-key|AWS_ACCESS_KEY|AWS_SECRET", source):
        faults.append("has a stored key")
    if workflow.get("permissions") != {}:
        faults.append("has permissions for all jobs")
    if "concurrency" not in workflow:
        faults.append("may run twice at once")
    for name, job in workflow["jobs"].items():
        allowed = job.get("permissions")
        if not allowed or set(allowed.items()) - {("contents", "read"), ("id-token", "write")}:
            faults.append(f"{name} has no permissions of its own, or too many")
        if "uses" not in job and not 0 < job.get("timeout-minutes", 0) <= 60:
            faults.append(f"{name} may run for hours")
        for step in job.get("steps", []):
            if (
                "checkout" in step.get("uses", "")
                and step.get("with", {}).get("persist-credentials") is not False
            ):
                faults.append(f"{name} leaves the token on disk")
            if "${{" in step.get("run", ""):
                faults.append(f"{name} lets text into the shell")
    return faults


@pytest.mark.parametrize("name", SOURCES)
def test_a_workflow_takes_and_gives_no_more_than_it_needs(name: str) -> None:
    """Actions by commit with their version, no stored keys, permissions and an end for every job."""
    assert faults_of(SOURCES[name]) == []


def test_a_careless_workflow_would_be_found() -> None:
    """Each of the faults."""
    careless = """
on: pull_request_target
jobs:
  one:
    steps:
      - uses: actions/checkout@v6
      - run: echo ${{ github.head_ref }} ${{ secrets.TOKEN }}
"""
    assert faults_of(careless) == [
        "not pinned: actions/checkout@v6",
        "runs with rights on what strangers write",
        "has a stored key",
        "has permissions for all jobs",
        "may run twice at once",
        "one has no permissions of its own, or too many",
        "one may run for hours",
        "one leaves the token on disk",
        "one lets text into the shell",
    ]


def test_an_action_has_one_version() -> None:
    """The same commit and the same version in every workflow."""
    used = {
        pin for source in SOURCES.values() for pin in re.findall(r"uses: ([\w/-]+)@(\w{40}) # (\S+)", source)
    }
    assert len(used) == len({name for name, _, _ in used}) > 2


def test_workflows_call_what_the_makefile_has() -> None:
    """Each step is one make target, and what CI checks here is what it checks there."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    steps = [
        step["run"]
        for source in SOURCES.values()
        for job in read_workflow(source)["jobs"].values()
        for step in job.get("steps", [])
        if "run" in step
    ]
    assert "make audit" in steps
    for step in steps:
        found = re.fullmatch(r"make ([a-z]+)( [A-Z]+=\S+)*", step)
        assert found, step
        assert re.search(rf"^{found[1]}:", makefile, re.MULTILINE), step
    assert {"make test", "make clients"} < set(steps)
    assert "exec make test clients\n" in (ROOT / ".ci/run").read_text("utf-8")


def test_everything_pushed_is_tested_and_only_what_passed_is_deployed() -> None:
    """Main is tested by the deployment, the rest by itself; prod comes after staging, staging after tests."""
    test, deploy = (read_workflow(SOURCES[name]) for name in ("test.yml", "deploy.yml"))
    assert test[True]["push"] == {"branches-ignore": deploy[True]["push"]["branches"]}
    assert {"pull_request", "workflow_call"} < test[True].keys()
    jobs = deploy["jobs"]
    assert jobs["test"]["uses"].endswith("/test.yml")
    assert (jobs["staging"]["needs"], jobs["prod"]["needs"]) == ("test", "staging")
    stages = tomllib.loads((ROOT / "samconfig.toml").read_text("utf-8"))
    for name in ("staging", "prod"):
        assert jobs[name]["with"] == {"environment": name}
        assert name in stages


def test_a_deployment_is_never_overtaken() -> None:
    """One of an environment at a time, none cut short, with the role of that environment alone."""
    workflow = read_workflow(SOURCES["deploy-environment.yml"])
    assert workflow["concurrency"] == {
        "group": "deploy-${{ inputs.environment }}",
        "cancel-in-progress": False,
    }
    (job,) = workflow["jobs"].values()
    assert job["environment"] == "${{ inputs.environment }}"
    roles = [
        step["with"]["role-to-assume"] for step in job["steps"] if "role-to-assume" in step.get("with", {})
    ]
    assert roles == ["${{ vars.AWS_ROLE_ARN }}"]
