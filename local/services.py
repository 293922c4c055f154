"""What the functions call, on this machine: AWS, by an emulator, and the upstream."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import boto3

from local.emulator import aws_environment, create_credentials, create_table, start_emulator
from local.function_environment import build_base_environment
from local.processes import PROJECT_PATH, Children
from local.settings import Settings
from local.terminal import say
from local.upstream import start_simulator

LOGS_PATH = PROJECT_PATH / ".local"
TABLE_NAME = "incidents"


@dataclass(frozen=True)
class Services:
    """Where everything is: `endpoint_url` is AWS's, `upstream_base_url` the upstream's.

    `base` and `aws` are environment variables: those of any process that is started here, and those that
    make an AWS client talk to the emulator.
    """

    endpoint_url: str
    upstream_base_url: str
    secret_arn: str
    base: Mapping[str, str]
    aws: Mapping[str, str]


def start_services(
    settings: Settings,
    environment: Mapping[str, str],
    children: Children,
    folder: Path,
    *,
    host: str = "127.0.0.1",
) -> Services:
    """Start the emulator, with table and credentials in it, and the simulator, among `children`.

    Both listen on `host`, an address of this machine. This process's own environment becomes that of the
    emulator's clients. Raises ProcessError, InterruptedRunError, EmulatorMissingError, TemplateError.
    """
    say("starting the AWS emulator …")
    endpoint_url = start_emulator(children, folder, LOGS_PATH / "emulator.log", host=host)
    aws = aws_environment(endpoint_url)
    base = build_base_environment(environment, host)
    # For the clients made here, too: a profile of this person's must not reach them.
    os.environ.clear()
    os.environ.update(base | aws)
    create_table(boto3.client("dynamodb"), TABLE_NAME)
    secret_arn = create_credentials(
        boto3.client("secretsmanager"), settings.upstream_username, settings.upstream_password
    )
    upstream = settings.upstream_base_url
    if upstream is None:
        say("starting the upstream simulator …")
        upstream = start_simulator(settings, base, children, LOGS_PATH / "simulator.log", host=host)
    return Services(endpoint_url, upstream, secret_arn, base, aws)


def build_values(
    services: Services, environment: Mapping[str, str], poll_interval_seconds: int
) -> dict[str, str]:
    """What the functions' variables are worth in a local run, whichever function they are of."""
    values = {
        "TABLE_NAME": TABLE_NAME,
        "UPSTREAM_BASE_URL": services.upstream_base_url,
        "UPSTREAM_SECRET_ARN": services.secret_arn,
        # Everything is kept: a capture that is served instead of the simulator's incidents may be years old.
        "RETENTION_DAYS": "0",
        "POLL_INTERVAL_SECONDS": str(poll_interval_seconds),
        # Nobody is subscribed here.
        "NOTIFICATION_TOPIC_ARN": "",
        "NOTIFY_PRIORITY": "critical",
        "POWERTOOLS_METRICS_NAMESPACE": "local",
        "POWERTOOLS_LOG_LEVEL": environment.get("POWERTOOLS_LOG_LEVEL") or "INFO",
    }
    for name in ("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL_SNS"):
        values[name] = services.endpoint_url
    return values
