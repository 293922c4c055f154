"""`make run`: the whole service on this machine, bound to 127.0.0.1, until a signal ends it."""

import os
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from local.emulator import EmulatorMissingError
from local.function_environment import build_function_environment
from local.ports import PortTakenError, answers, open_port
from local.processes import Children, InterruptedRunError, ProcessError
from local.services import LOGS_PATH, build_values, start_services
from local.settings import Settings, SettingsError, read_settings
from local.template import TemplateError, load_template
from local.terminal import complain, say, say_banner
from local.upstream import look_at_upstream

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
    services = start_services(settings, environment, children, folder)
    if settings.upstream_base_url and (problem := look_at_upstream(settings.upstream_base_url)):
        say(f"UPSTREAM_BASE_URL can't be reached now: {problem}. Polling goes on, /health tells how.")
    values = build_values(services, environment, settings.poll_interval_seconds)
    # Both, before either is started: what the template lacks shows at once.
    api, poller = (
        build_function_environment(template, name, base=services.base, aws=services.aws, values=values)
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
