"""AWS on this machine: ministack, in a process and a folder of its own, bound to one address."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from local.ports import answers, find_free_port
from local.processes import PROJECT_PATH, Children
from local.template import load_template, read_table, read_time_to_live

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient

EMULATOR_PYTHON = PROJECT_PATH / ".tools" / "emulator" / "bin" / "python"
REGION = "us-east-1"
ACCOUNT_ID = "000000000000"
START_SECONDS = 60.0


class EmulatorMissingError(Exception):
    """ministack is not installed; the text says what to do."""


def aws_environment(endpoint_url: str) -> dict[str, str]:
    """The variables that make any AWS client talk to the emulator and to nothing else.

    A person's own profile must not decide where the calls go: its files are out of reach.
    """
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",  # nosec B105 - the emulator takes any
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextlib.contextmanager
def emulator(log: Path | None = None, *, enforce_iam: bool = False) -> Iterator[str]:
    """An emulator of its own for a `with` block; gives its endpoint URL. Nothing of it is left afterwards.

    ```python
    with emulator() as endpoint_url:
        client = boto3.client("dynamodb", endpoint_url=endpoint_url, …)
        create_table(client, "incidents")
    ```

    `log` is where its output goes (default: away with it). With `enforce_iam` it checks signatures and
    evaluates policies, those of the deployed functions' roles too; the key `test` may do everything.
    Raises EmulatorMissingError, ProcessError.
    """
    with tempfile.TemporaryDirectory(prefix="incident-emulator-") as folder, Children() as children:
        log = log or Path(folder) / "emulator.log"
        yield start_emulator(children, Path(folder), log, enforce_iam=enforce_iam)


def start_emulator(
    children: Children, folder: Path, log: Path, *, enforce_iam: bool = False, host: str = "127.0.0.1"
) -> str:
    """Start it among `children`, its state in `folder`; give its endpoint URL once it answers. `enforce_iam`
    is as in `emulator`; `host` is the address of this machine that it listens on.

    Raises EmulatorMissingError, ProcessError, InterruptedRunError.
    """
    if not EMULATOR_PYTHON.exists():
        raise EmulatorMissingError("ministack is not in .tools/emulator: run `make setup`")
    port = find_free_port(host)
    endpoint_url = f"http://{host}:{port}"
    children.start(
        "emulator",
        [EMULATOR_PYTHON, "-m", "ministack"],
        environment={**_emulator_environment(host, port, folder), "AUTH": "true" if enforce_iam else "false"},
        log=log,
    )
    children.wait_until(lambda: answers(f"{endpoint_url}/_ministack/health"), "the emulator", START_SECONDS)
    return endpoint_url


def create_table(client: "DynamoDBClient", name: str) -> None:
    """Create the table of `template.yaml` (keys, billing, time to live) under `name`, and wait for it.

    Raises TemplateError if the template can't be used, and botocore's errors.
    """
    template = load_template()
    client.create_table(TableName=name, **read_table(template))
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    time_to_live = read_time_to_live(template)
    if time_to_live is not None:
        # The template says it in a plain dict.
        client.update_time_to_live(TableName=name, TimeToLiveSpecification=time_to_live)  # type: ignore[arg-type]  # read as plain data


def create_credentials(client: "SecretsManagerClient", username: str, password: str) -> str:
    """Put the upstream's credentials where the poller looks for them; give the secret's ARN.

    Raises botocore's errors.
    """
    text = json.dumps({"username": username, "password": password})
    return client.create_secret(Name="upstream", SecretString=text)["ARN"]


def _emulator_environment(host: str, port: int, folder: Path) -> Mapping[str, str]:
    """Its whole environment: nothing leaks in, such as a switch to keep its state or to listen wider."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    (folder / "state").mkdir(exist_ok=True)
    return {
        # Deployed Lambdas run in subprocesses of the emulator's own interpreter.
        "PATH": os.pathsep.join((str(EMULATOR_PYTHON.parent), os.environ.get("PATH", os.defpath))),
        "HOME": str(folder),
        "BIND_HOST": host,
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "TMPDIR": str(folder / "tmp"),
        "STATE_DIR": str(folder / "state"),
        "S3_DATA_DIR": str(folder / "s3"),
        "LAMBDA_EXECUTOR": "local",
        "DOCKER_HOST": "unix:///nonexistent.sock",
        # Two listeners that would not keep to BIND_HOST.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "PYTHONUNBUFFERED": "1",
    }
