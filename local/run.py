"""`make run`: the whole service on this machine, bound to 127.0.0.1, until a signal ends it."""

import os
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import boto3

from local.emulator import (
    EmulatorMissingError,
    aws_environment,
    create_credentials,
    create_table,
    start_emulator,
)
from local.function_environment import build_base_environment, build_function_environment
from local.ports import PortTakenError, answers, open_port
from local.processes import PROJECT_PATH, Children, InterruptedRunError, ProcessError
from local.settings import Settings, SettingsError, read_settings
from local.template import TemplateError, load_template
from local.terminal import complain, say, say_banner
from local.upstream import look_at_upstream, start_simulator

LOGS_PATH = PROJECT_PATH / ".local"
TABLE_NAME = "incidents"
START_SECONDS = 30.0


def main() -> int:
    """Run until it ends; give the exit status: 0 a signal, 1 something died, 2 it can't start like this."""
    environment = dict(os.environ)
    try:
        settings = read_settings(environment)
        with (
            open_port(settings.port) as listener,
            tempfile.TemporaryDirectory(prefix="incident-api-") as folder,
            Children() as children,
        ):
            children.end_on_signals()
            start(settings, environment, listener, children, Path(folder))
            children.watch()
    except InterruptedRunError:
        say("\nstopped: every process has ended")
        return 0
    except (SettingsError, PortTakenError, EmulatorMissingError, TemplateError) as error:
        complain(str(error))
        return 2
    except ProcessError as error:
        complain(f"{error}; everything else has been ended")
    return 1


def start(
    settings: Settings,
    environment: Mapping[str, str],
    listener: socket.socket,
    children: Children,
    folder: Path,
) -> None:
    """Start everything, one after the other, among `children`; `listener` goes to the gateway.

    Raises ProcessError, InterruptedRunError, EmulatorMissingError, TemplateError.
    """
    template = load_template()
    say("starting the AWS emulator …")
    endpoint_url = start_emulator(children, folder, LOGS_PATH / "emulator.log")
    aws = aws_environment(endpoint_url)
    base = build_base_environment(environment)
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
        upstream = start_simulator(settings, base, children, LOGS_PATH / "simulator.log")
    elif problem := look_at_upstream(upstream):
        say(f"UPSTREAM_BASE_URL can't be reached now: {problem}. Polling goes on, /health tells how.")
    values = {
        "TABLE_NAME": TABLE_NAME,
        "UPSTREAM_BASE_URL": upstream,
        "UPSTREAM_SECRET_ARN": secret_arn,
        # Everything is kept: a capture that is served instead of the simulator's incidents may be years old.
        "RETENTION_DAYS": "0",
        "POLL_INTERVAL_SECONDS": str(settings.poll_interval_seconds),
        # Nobody is subscribed here.
        "NOTIFICATION_TOPIC_ARN": "",
        "NOTIFY_PRIORITY": "critical",
        "POWERTOOLS_METRICS_NAMESPACE": "local",
        "POWERTOOLS_LOG_LEVEL": environment.get("POWERTOOLS_LOG_LEVEL") or "INFO",
    }
    for name in ("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL_SNS"):
        values[name] = endpoint_url
    # Both, before either is started: what the template lacks shows at once.
    api, poller = (
        build_function_environment(template, name, base=base, aws=aws, values=values)
        for name in ("ApiFunction", "PollerFunction")
    )
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    children.start(
        "gateway",
        [sys.executable, "-m", "local.gateway", str(listener.fileno())],
        environment=api,
        log=LOGS_PATH / "api.log",
        pass_fds=[listener.fileno()],
    )
    listener.close()
    children.wait_until(lambda: answers(f"{url}/health"), "the API", START_SECONDS)
    say_banner(url, settings)
    children.start(
        "scheduler",
        [sys.executable, "-m", "local.scheduler", str(settings.poll_interval_seconds)],
        environment=poller,
        log=LOGS_PATH / "poller.log",
        on_terminal=True,
    )


if __name__ == "__main__":
    sys.exit(main())
