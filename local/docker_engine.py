"""The Docker engine that `sam local` uses: whether it answers, and how its containers reach this machine.

Asked through the `docker` command, so that the engine is the one which a person means by it.
"""

import fcntl
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

# By this name containers call this machine.
HOST_NAME = "host.docker.internal"
LOOPBACK = "127.0.0.1"
# The first answer of an engine that has just been woken takes a while.
_ANSWER_SECONDS = 30.0
# Linux's ioctl for an interface's IPv4 address.
_SIOCGIFADDR = 0x8915
_ADDRESS_IN_ANSWER = slice(20, 24)


class DockerError(Exception):
    """No Docker engine can be used; the text is one line that says why and what to do."""


@dataclass(frozen=True)
class Engine:
    """An engine that answers.

    `docker_host` is what DOCKER_HOST has to be for it. `listen_on` is the address of this machine on which
    its containers find a server, as HOST_NAME. `knows_host_name` is false where each container has to be
    told that name. `architecture` is that of its containers, in the template's words.
    """

    docker_host: str
    listen_on: str
    knows_host_name: bool
    architecture: str


def ask_engine(environment: Mapping[str, str]) -> Engine:
    """Look at the engine that the `docker` command talks to with these variables. Raises DockerError."""
    info = _ask(environment, "info", "--format", "{{json .}}")
    try:
        told = json.loads(info)
        system, processor = str(told["OperatingSystem"]), str(told["Architecture"])
    except (ValueError, KeyError, TypeError) as error:
        raise DockerError("`docker info` does not say what engine this is: is it Docker's?") from error
    listen_on = choose_address(sys.platform, system, lambda: _find_bridge_address(environment))
    docker_host = environment.get("DOCKER_HOST") or _ask(
        environment, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"
    )
    return Engine(
        docker_host,
        listen_on,
        knows_host_name=listen_on == LOOPBACK,
        architecture="arm64" if processor in ("aarch64", "arm64") else "x86_64",
    )


def choose_address(platform: str, operating_system: str, find_bridge_address: Callable[[], str]) -> str:
    """Where to listen so that containers get through and nobody else does.

    `operating_system` is the engine's own. An engine in a virtual machine (always on macOS, with Docker
    Desktop everywhere) forwards HOST_NAME to this machine's loopback; one on Linux itself has a bridge.
    """
    if platform != "linux" or "Docker Desktop" in operating_system:
        return LOOPBACK
    return find_bridge_address()


def has_image(environment: Mapping[str, str], image: str) -> bool:
    """Whether the engine has an image. Raises DockerError."""
    return bool(_ask(environment, "image", "ls", "--quiet", image))


def remove_containers(environment: Mapping[str, str], variable: str) -> int:
    """Remove the containers, running or not, that were started with a variable (`NAME=value`); say how many.

    Raises DockerError.
    """
    found = find_containers(environment, variable)
    if found:
        _ask(environment, "rm", "--force", *found)
    return len(found)


def find_containers(environment: Mapping[str, str], variable: str) -> list[str]:
    """Ids of the containers that were started with a variable (`NAME=value`). Raises DockerError."""
    found = []
    for container in _ask(environment, "ps", "--all", "--quiet").split():
        try:
            told = _ask(environment, "inspect", "--format", "{{json .Config.Env}}", container)
        except DockerError:
            # Gone in between.
            continue
        if variable in (json.loads(told) or ()):
            found.append(container)
    return found


def _find_bridge_address(environment: Mapping[str, str]) -> str:
    """The address of this machine on the default bridge: containers reach it, no other machine does."""
    option = '{{index .Options "com.docker.network.bridge.name"}}'
    name = _ask(environment, "network", "inspect", "bridge", "--format", option)
    # The network's own description lacks the address until it has had a first container.
    request = struct.pack("256s", name.encode()[:15])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            answer = fcntl.ioctl(any_socket.fileno(), _SIOCGIFADDR, request)
    except OSError as error:
        raise DockerError(
            f"Docker's bridge {name or 'network'} is not on this machine, so its containers could not reach "
            "what runs here: rootless and remote engines won't do; `make run` needs no Docker"
        ) from error
    return socket.inet_ntoa(answer[_ADDRESS_IN_ANSWER])


def _ask(environment: Mapping[str, str], *arguments: str) -> str:
    """What `docker` answers, without white space around it. Raises DockerError."""
    command: Sequence[str] = ("docker", *arguments)
    try:
        done = subprocess.run(  # nosec B603  # noqa: S603 - composed in this module
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise DockerError(
            "there is no `docker` command: install Docker (Docker Desktop, or Debian's docker.io), "
            "or use `make run`, which needs none"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise DockerError(
            f"Docker did not answer within {_ANSWER_SECONDS:.0f} seconds: restart it"
        ) from error
    if done.returncode != 0:
        raise DockerError(_describe_failure(arguments[0], done.stderr))
    return done.stdout.strip()


def _describe_failure(command: str, errors: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    said = lines[-1] if lines else "it says nothing"
    if "permission denied" in errors.lower():
        return f"you may not use Docker's socket ({said}): add yourself to the group docker, and log in again"
    if command == "info":
        return (
            f"no Docker engine answers ({said}): start Docker Desktop, or `sudo systemctl start docker`, "
            "or use `make run`, which needs none"
        )
    return f"`docker {command}` failed: {said}"
