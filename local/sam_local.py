"""`make sam-local`: both functions in Lambda's own container image, by `sam local`, until a signal ends it.

The emulator and the simulator are those of `make run`; `sam local start-api` serves the API. A first poll
goes through `sam local invoke`, as any other that a person starts from a second terminal.
"""

import contextlib
import fcntl
import json
import os
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from local.docker_engine import HOST_NAME, DockerError, Engine, ask_engine, has_image, remove_containers
from local.emulator import EmulatorMissingError, aws_environment
from local.function_environment import build_base_environment, fill_variables
from local.ports import PortTakenError, answers, open_port
from local.processes import PROJECT_PATH, Child, Children, InterruptedRunError, ProcessError
from local.scheduler import describe_summary
from local.services import LOGS_PATH, Services, build_values, start_services
from local.settings import Settings, SettingsError, read_settings
from local.template import Template, TemplateError, load_template
from local.terminal import complain, say, say_sam_banner

TARGET = "sam-local"
SAM = PROJECT_PATH / ".tools/sam/bin/sam"
FOLDER = LOGS_PATH / "sam"
VARIABLES_PATH = FOLDER / "variables.json"
SHELL_PATH = FOLDER / "env"
# A build of its own: what `make build` made for AWS's processor stays as it is.
BUILD_PATH = FOLDER / "build"
TEMPLATE_PATH = BUILD_PATH / "template.yaml"
IMAGE = "public.ecr.aws/lambda/python:3.13"
FUNCTIONS = ("ApiFunction", "PollerFunction")
# It does not poll by itself: health judges the data's age as in a deployment with the default schedule.
POLL_INTERVAL_SECONDS = 300
START_SECONDS = 60.0
# The first request makes an image of the layer, and a container of that.
FIRST_ANSWER_SECONDS = 120.0
_ENDPOINT = "AWS_ENDPOINT_URL_DYNAMODB"
_OWN_NAMES = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # nosec B104  # noqa: S104 - refused, not listened on


class SamMissingError(Exception):
    """The SAM CLI is not installed; the text says what to do."""


class SamError(Exception):
    """A command of SAM's or Docker's failed; the text says which, where its log is, and what to do."""


@dataclass(frozen=True)
class Sam:
    """How SAM is called: the engine, this person's own variables, and the emulator that it is to ask."""

    engine: Engine
    environment: Mapping[str, str]
    services: Services

    def variables(self) -> dict[str, str]:
        """The variables of a `sam` that is started here."""
        return {**build_sam_environment(self.environment, self.engine), **self.services.aws}


def main() -> int:
    """Run until it ends; give the exit status: 0 a signal, 1 something failed, 2 it can't start like this."""
    environment = dict(os.environ)
    try:
        settings = read_settings(environment, default_interval=POLL_INTERVAL_SECONDS)
        refuse_own_address(settings)
        if not SAM.exists():
            raise SamMissingError("the SAM CLI is not in .tools/sam: run `make setup`")
        engine = ask_engine(environment)
        with (
            be_the_only_one(),
            tempfile.TemporaryDirectory(prefix="incident-api-") as folder,
            Children() as children,
        ):
            children.end_on_signals()
            # Those of a run that was killed before it could.
            remove_own_containers(environment)
            run(settings, environment, engine, children, Path(folder))
    except InterruptedRunError:
        say("\nstopped: every process and container has ended")
        return 0
    except (
        SettingsError,
        PortTakenError,
        SamMissingError,
        EmulatorMissingError,
        TemplateError,
        DockerError,
    ) as error:
        complain(str(error), TARGET)
        return 2
    except (ProcessError, SamError) as error:
        complain(f"{error}; everything else has been ended", TARGET)
    return 1


def run(
    settings: Settings, environment: Mapping[str, str], engine: Engine, children: Children, folder: Path
) -> None:
    """Start everything, one after the other, and watch it; leave no container.

    Raises ProcessError, InterruptedRunError, EmulatorMissingError, TemplateError, DockerError,
    PortTakenError, SamError.
    """
    template = load_template()
    with open_port(settings.port, TARGET) as listener:
        port: int = listener.getsockname()[1]
        build(children, environment, engine)
        fetch_image(children, environment, engine)
        services = start_services(settings, environment, children, folder, host=engine.listen_on)
        sam = Sam(engine, environment, services)
        values = build_values(
            see_from_container(services, settings), environment, settings.poll_interval_seconds
        )
        write_files(template, sam, values)
        try:
            poll_once(children, sam)
            listener.close()
            serve(children, sam, port, settings)
        finally:
            # SAM's processes first: they remove what they know of by themselves.
            children.end()
            remove_own_containers(environment)


def remove_own_containers(environment: Mapping[str, str]) -> None:
    """Remove the containers that have the last run's endpoint among their variables. Raises DockerError."""
    try:
        endpoint = json.loads(VARIABLES_PATH.read_text("utf-8"))["ApiFunction"][_ENDPOINT]
    except (OSError, ValueError, KeyError):
        return
    remove_containers(environment, f"{_ENDPOINT}={endpoint}")


def build(children: Children, environment: Mapping[str, str], engine: Engine) -> None:
    """`sam build` for the engine's processor; what has not changed is taken from the last one."""
    say("building the functions, as sam build does …")
    command: list[str | Path] = [
        *(SAM, "build", "--build-dir", BUILD_PATH, "--cache-dir", FOLDER / "cache", "--cached", "--parallel"),
        *("--parameter-overrides", *build_parameters(engine)),
    ]
    variables = build_sam_environment(environment, engine)
    child = children.run("sam build", command, environment=variables, log=LOGS_PATH / "sam-build.log")
    refuse_failure(child)


def fetch_image(children: Children, environment: Mapping[str, str], engine: Engine) -> None:
    """Let the engine fetch Lambda's image where it has none; SAM itself looks for newer ones."""
    image = f"{IMAGE}-{engine.architecture}"
    if has_image(environment, image):
        return
    say(f"fetching {image}, which takes a while the first time …")
    child = children.run(
        "docker pull", ["docker", "pull", image], environment=environment, log=LOGS_PATH / "sam-image.log"
    )
    if child.process.returncode != 0:
        raise SamError(
            f"Lambda's image can't be fetched: {child.describe_end()}; "
            f"see that `docker pull {image}` works (network, proxy of the Docker engine), or use `make run`"
        )


def poll_once(children: Children, sam: Sam) -> None:
    """Poll through `sam local invoke`, as the printed command does, so that there is something to read.

    A poll that fails is told, not raised: the API's answers tell it, too. Raises SamError where the
    function could not be called at all.
    """
    say("polling once, by sam local invoke …")
    answer = FOLDER / "poll.json"
    log = LOGS_PATH / "poller.log"
    child = children.run(
        "sam local invoke", poll_command(SAM), environment=sam.variables(), log=log, output=answer
    )
    refuse_failure(child)
    say(describe_poll(answer.read_text("utf-8")))


def serve(children: Children, sam: Sam, port: int, settings: Settings) -> None:
    """Serve the API, ask it once, say what to try, and watch."""
    say("starting sam local start-api …")
    children.start(
        "sam local start-api",
        start_command(SAM, port),
        environment=sam.variables(),
        log=LOGS_PATH / "api.log",
    )
    url = f"http://127.0.0.1:{port}"
    # No route: SAM answers by itself.
    children.wait_until(lambda: answers(f"{url}/"), "sam local start-api", START_SECONDS)
    # The container that this one starts serves the next ones, too.
    asking = threading.Thread(target=_ask_once, args=(f"{url}/health",), daemon=True)
    asking.start()
    children.wait_until(lambda: not asking.is_alive(), "the API", FIRST_ANSWER_SECONDS)
    prefix = ["env", f"$(cat {SHELL_PATH.relative_to(PROJECT_PATH)})"]
    say_sam_banner(url, settings, " ".join([*prefix, *poll_command(SAM.relative_to(PROJECT_PATH))]))
    children.watch()


def refuse_own_address(settings: Settings) -> None:
    """Raises SettingsError for an upstream on this machine's loopback, which in a container is its own."""
    host = urlsplit(settings.upstream_base_url or "").hostname
    if host in _OWN_NAMES:
        raise SettingsError(
            f"UPSTREAM_BASE_URL names {host}, which in a container is the container: say {HOST_NAME} "
            "instead; on Linux let the upstream listen on the address of Docker's bridge"
        )


def build_sam_environment(environment: Mapping[str, str], engine: Engine) -> dict[str, str]:
    """The variables of a `sam` that asks no AWS at all."""
    base = build_base_environment(environment, engine.listen_on)
    # `sam build` takes the first python3.13 on PATH, with its pip.
    path = os.pathsep.join((str(Path(sys.executable).parent), environment.get("PATH", os.defpath)))
    return base | {"PATH": path, "DOCKER_HOST": engine.docker_host, "SAM_CLI_TELEMETRY": "0"}


def build_shell_environment(
    environment: Mapping[str, str], engine: Engine, endpoint_url: str
) -> dict[str, str]:
    """What a second terminal sets for `sam`, which asks AWS whose credentials it has and hands them on.

    A profile that the terminal names has to stay readable, or SAM would not start: no files are hidden here.
    """
    hidden = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
    variables = {name: value for name, value in aws_environment(endpoint_url).items() if name not in hidden}
    variables |= {"DOCKER_HOST": engine.docker_host, "SAM_CLI_TELEMETRY": "0"}
    variables["AWS_SESSION_TOKEN"] = ""  # nosec B105 - none, whatever the shell has
    if skip := environment.get("SAM_SKIP_PULL_IMAGE"):
        variables["SAM_SKIP_PULL_IMAGE"] = skip
    return variables


def build_parameters(engine: Engine) -> tuple[str, str]:
    """Values of the template's parameters that SAM itself looks at; the others reach variables only."""
    return "Stage=dev", f"Architecture={engine.architecture}"


def see_from_container(services: Services, settings: Settings) -> Services:
    """The services as a container calls them; a named upstream stays as it is named."""
    upstream = services.upstream_base_url
    return replace(
        services,
        endpoint_url=_with_host_name(services.endpoint_url),
        upstream_base_url=upstream if settings.upstream_base_url else _with_host_name(upstream),
    )


def write_files(template: Template, sam: Sam, values: Mapping[str, str]) -> None:
    """Write what SAM reads in this run, here and in a second terminal. Raises TemplateError.

    Beside the built template lies a samconfig.toml, which SAM takes for any command that is given that
    template.
    """
    variables = {name: fill_variables(template, name, values) for name in FUNCTIONS}
    VARIABLES_PATH.write_text(json.dumps(variables, indent=2) + "\n", "utf-8")
    shell = build_shell_environment(sam.environment, sam.engine, sam.services.endpoint_url)
    SHELL_PATH.write_text("".join(f"{name}={value}\n" for name, value in shell.items()), "utf-8")
    (BUILD_PATH / "samconfig.toml").write_text(build_samconfig(sam.engine), "utf-8")


def build_samconfig(engine: Engine) -> str:
    """SAM's settings for `local invoke` and `local start-api`."""
    lines = [
        f"parameter_overrides = {json.dumps(list(build_parameters(engine)))}",
        f"env_vars = {json.dumps(str(VARIABLES_PATH))}",
    ]
    if not engine.knows_host_name:
        lines.append(f'add_host = ["{HOST_NAME}:host-gateway"]')
    sections = [f"[default.{name}.parameters]" for name in ("local_invoke", "local_start_api")]
    return "\n\n".join(["version = 0.1", *("\n".join([section, *lines]) for section in sections)]) + "\n"


def poll_command(sam: Path) -> list[str]:
    """`sam local invoke` of the poller, to be started in the project's folder."""
    template = TEMPLATE_PATH.relative_to(PROJECT_PATH)
    invoke = ("local", "invoke", "PollerFunction", "-e", "events/schedule.json")
    return [str(sam), *invoke, "-t", str(template)]


def start_command(sam: Path, port: int) -> list[str]:
    """`sam local start-api` on 127.0.0.1; a container stays for the next request."""
    where = ("--host", "127.0.0.1", "--port", str(port))
    return [str(sam), "local", "start-api", "-t", str(TEMPLATE_PATH), *where, "--warm-containers", "LAZY"]


def describe_poll(answer: str) -> str:
    """What came of a poll, by what `sam local invoke` printed, whose exit status is 0 either way."""
    try:
        summary = json.loads(answer)
    except ValueError:
        return "first poll: no answer, see .local/poller.log"
    if isinstance(summary, dict) and "errorType" in summary:
        return f"first poll: failed with {summary['errorType']}, see .local/poller.log"
    return f"first poll: {describe_summary(summary)}"


def refuse_failure(child: Child) -> None:
    """Raises SamError for a command that ended with another status than 0."""
    if child.process.returncode == 0:
        return
    text = child.describe_end()
    if "public.ecr.aws" in text:
        text += "; SAM looks for newer images: SAM_SKIP_PULL_IMAGE=1 lets it take the one that is there"
    raise SamError(text)


@contextlib.contextmanager
def be_the_only_one() -> Iterator[None]:
    """Hold this folder's build and files for a `with` block. Raises SettingsError while another run does."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SettingsError("another `make sam-local` runs in this folder: end it first") from error
        yield


def _with_host_name(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{HOST_NAME}:{parts.port}"))


def _ask_once(url: str) -> None:
    """Whatever it answers: this only lets the container start."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with contextlib.suppress(OSError, urllib.error.HTTPError), opener.open(url, timeout=FIRST_ANSWER_SECONDS):
        pass


if __name__ == "__main__":
    sys.exit(main())
