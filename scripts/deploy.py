"""`make deploy`: looks before it leaps, builds, deploys, and says what is left to do.

Takes its input from the environment, because make hands its variables over there: `ENV` (dev, staging, prod),
`UPSTREAM_BASE_URL` (at the first deployment), `PARAMETERS` ("Name=value Name=value", see
docs/configuration.md), `YES=1` for no questions. Region and credentials are those of the person's AWS
profile.

Exit status: 2 for what a person has to mend first, else that of `sam`.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local.template import load_template
from scripts.build import BUILD, finish_packages
from scripts.environments import RefusedError, check_environment, identify, read_stack_name
from scripts.preflight import (
    Stack,
    effective_parameters,
    find_account_faults,
    find_parameter_faults,
    find_stack_faults,
    lacks_gateway_log_role,
    read_stack,
)

# Where `make` is run: the checkout.
_ROOT = Path.cwd()


def main(environ: Mapping[str, str]) -> int:
    """Deploy as ``environ`` says."""
    try:
        environment, given = read_request(environ)
        name = read_stack_name(_ROOT, environment)
        session = boto3.Session(region_name=environ.get("AWS_REGION") or None)
        account = identify(session)
        stack = read_stack(session, name)
        parameters = prepare(session, environment, given, stack)
    except RefusedError as refused:
        print("Not deployed:", *str(refused).splitlines(), sep="\n  ", file=sys.stderr)
        return 2
    except (BotoCoreError, ClientError) as error:
        print(f"Not deployed: AWS could not be asked: {error}", file=sys.stderr)
        return 2
    print(f"{'Updating' if stack else 'Creating'} {name} in account {account}, {session.region_name}")
    status = _run_sam(environment, session.region_name, parameters, assume_yes=environ.get("YES") == "1")
    if status == 0:
        tell_what_is_next(session, name, first=stack is None)
    return status


def read_request(environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The environment's name and the parameters that are given. Raises RefusedError."""
    environment = check_environment(_ROOT, environ.get("ENV", ""))
    given: dict[str, str] = {}
    try:
        words = shlex.split(environ.get("PARAMETERS", ""))
    except ValueError as error:
        raise RefusedError(f"PARAMETERS can't be read: {error}") from error
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise RefusedError(f'PARAMETERS has {word!r}: write "Name=value Name=value"')
        given[name] = value
    if url := environ.get("UPSTREAM_BASE_URL"):
        given["UpstreamBaseUrl"] = url
    if given.setdefault("Stage", environment) != environment:
        raise RefusedError(f"Stage={given['Stage']} is not ENV={environment}: leave Stage out")
    return environment, given


def prepare(
    session: boto3.Session, environment: str, given: Mapping[str, str], stack: Stack | None
) -> dict[str, str]:
    """The parameters to deploy with. Raises RefusedError with all that is wrong, not just the first."""
    template = load_template(_ROOT / "template.yaml")
    faults = [*find_stack_faults(stack, environment), *find_parameter_faults(template, given, stack)]
    values = effective_parameters(template, given, stack)
    if not faults:
        faults += find_account_faults(session, values)
    if faults:
        raise RefusedError("\n".join(faults))
    parameters = dict(given)
    if lacks_gateway_log_role(session, values):
        print(
            "This account has no role yet with which API Gateway may log in this region: the stack makes one."
        )
        parameters["GatewayLogRole"] = "create"
    # `sam build` does not ask the stack.
    parameters["Architecture"] = values["Architecture"]
    return parameters


def tell_what_is_next(session: boto3.Session, name: str, *, first: bool) -> None:
    """Print the outputs that a person needs now; ``first``: this was the first deployment."""
    (stack,) = session.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
    made_now = first and not parameters["UpstreamSecretArn"]
    if made_now or _is_empty(session, outputs["UpstreamSecretArn"]):
        print(
            "\nThe upstream's secret is empty; until it is filled nothing is polled, and /health says so.\n"
            'Run this, type {"username": "...", "password": "..."}, then Enter and Ctrl-D:\n\n  '
            + outputs["FillUpstreamSecretCommand"]
        )
    print(
        f"\nAPI:       {outputs['ApiUrl']}\nDashboard: {outputs.get('DashboardUrl', 'none')}\n\n"
        f"The first page:\n\n  {outputs['CurlCommand']}\n"
    )


def _is_empty(session: boto3.Session, secret: str) -> bool:
    try:
        description = session.client("secretsmanager").describe_secret(SecretId=secret)
    except (BotoCoreError, ClientError):
        # Not everybody who deploys may look at secrets.
        return False
    return not description.get("VersionIdsToStages")


def _run_sam(environment: str, region: str, parameters: Mapping[str, str], *, assume_yes: bool) -> int:
    sam = shutil.which("sam") or str(_ROOT / ".tools/sam/bin/sam")
    # SAM reads a value as shell words.
    pairs = [f"{name}={_quote(value)}" for name, value in parameters.items()]
    common = ["--config-env", environment, "--region", region, "--parameter-overrides", *pairs]
    for step in ("build", "deploy"):
        command = [sam, step, *common]
        if step == "deploy" and assume_yes:
            command.append("--no-confirm-changeset")
        print(f"$ sam {shlex.join(command[1:])}", flush=True)
        done = subprocess.run(command, check=False)  # nosec B603  # noqa: S603 - SAM's own CLI; the values were checked above
        if done.returncode:
            return done.returncode
        if step == "build":
            finish_packages(_ROOT / BUILD)
    return 0


def _quote(value: str) -> str:
    return value if value and not set(value) & set(" '\"\\,") else '"' + value.replace('"', '\\"') + '"'


if __name__ == "__main__":
    sys.exit(main(os.environ))
