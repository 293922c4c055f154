"""`make sam-local` without an engine: which address, which commands, which files."""

import json
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from local import docker_engine, sam_local
from local.docker_engine import (
    DockerError,
    Engine,
    ask_engine,
    choose_address,
    find_containers,
    remove_containers,
)
from local.function_environment import fill_variables
from local.sam_local import (
    FUNCTIONS,
    IMAGE,
    build_sam_environment,
    build_samconfig,
    build_shell_environment,
    describe_poll,
    poll_command,
    refuse_own_address,
    see_from_container,
    start_command,
)
from local.services import Services, build_values
from local.settings import SettingsError, read_settings
from local.template import load_template

LINUX = Engine("unix:///var/run/docker.sock", "172.17.0.1", knows_host_name=False, architecture="x86_64")
DESKTOP = Engine("unix:///desktop.sock", "127.0.0.1", knows_host_name=True, architecture="arm64")
OF_A_PERSON = {
    "HOME": "/home",
    "PATH": "/bin",
    "AWS_PROFILE": "production",
    "AWS_ACCESS_KEY_ID": "AKIAOFTHEPERSON",
    "AWS_SESSION_TOKEN": "of-the-person",
    "AWS_REGION": "eu-west-1",
    "AWS_ENDPOINT_URL": "https://elsewhere.example",
}


def services(engine: Engine, upstream: str | None = None) -> Services:
    here = f"http://{engine.listen_on}"
    return Services(f"{here}:40001", upstream or f"{here}:40002", "arn:secret", base={}, aws={})


# ---------------------------------------------------------------- the engine


@pytest.mark.parametrize(
    ("platform", "system", "address"),
    [
        ("linux", "Debian GNU/Linux 12 (bookworm)", "172.30.0.1"),
        ("linux", "Docker Desktop", "127.0.0.1"),
        ("darwin", "Docker Desktop", "127.0.0.1"),
        ("darwin", "Alpine Linux v3.20", "127.0.0.1"),
    ],
)
def test_where_containers_find_this_machine(platform: str, system: str, address: str) -> None:
    """Servers listen on the bridge where the engine runs on Linux itself, else on the loopback."""
    assert choose_address(platform, system, lambda: "172.30.0.1") == address


type FakeDocker = Callable[[str], dict[str, str]]


@pytest.fixture
def fake_docker(tmp_path: Path) -> FakeDocker:
    """Puts a `docker` on PATH that is this shell script, and gives an environment with it."""

    def make(script: str) -> dict[str, str]:
        command = tmp_path / "docker"
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
        return {"PATH": f"{tmp_path}:/usr/bin:/bin"}

    return make


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'Cannot connect to the Docker daemon' >&2; exit 1", "no Docker engine answers"),
        ("echo 'permission denied while trying to connect' >&2; exit 1", "the group docker"),
        ("echo nothing of use", "is it Docker's?"),
    ],
)
def test_an_engine_that_can_not_be_used(fake_docker: FakeDocker, script: str, said: str) -> None:
    """Each is one line that says what to do."""
    with pytest.raises(DockerError) as caught:
        ask_engine(fake_docker(script))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_docker_at_all(tmp_path: Path) -> None:
    """Who has no Docker hears of it, and of the run that needs none."""
    with pytest.raises(DockerError, match=r"there is no `docker` command.*`make run`"):
        ask_engine({"PATH": str(tmp_path)})


ANSWERS = """case "$1" in
info) echo '{"OperatingSystem": "Debian", "Architecture": "aarch64"}' ;;
context) echo unix:///of-the-context.sock ;;
network) echo not-an-interface ;;
esac"""


def test_an_engine_elsewhere(fake_docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine on Linux whose bridge is not here, a rootless or a remote one, is refused."""
    monkeypatch.setattr(docker_engine.sys, "platform", "linux")
    with pytest.raises(DockerError, match="not-an-interface is not on this machine"):
        ask_engine(fake_docker(ANSWERS))


def test_sam_uses_the_engine_of_the_docker_command(
    fake_docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SAM knows no contexts: it is told the address; a DOCKER_HOST that is set goes before."""
    monkeypatch.setattr(docker_engine.sys, "platform", "darwin")
    environment = fake_docker(ANSWERS)
    engine = ask_engine(environment)
    assert engine == Engine(
        "unix:///of-the-context.sock", "127.0.0.1", knows_host_name=True, architecture="arm64"
    )
    assert build_sam_environment(environment, engine)["DOCKER_HOST"] == "unix:///of-the-context.sock"
    assert ask_engine(environment | {"DOCKER_HOST": "tcp://mine"}).docker_host == "tcp://mine"


def test_only_containers_of_this_run_are_removed(fake_docker: FakeDocker, tmp_path: Path) -> None:
    """Another run's containers, and any that have no variables, stay."""
    script = f"""case "$1 $4" in
"ps "*) echo one; echo two; echo three ;;
"inspect one") echo '["URL=http://a:1", "X=y"]' ;;
"inspect two") echo '["URL=http://a:12"]' ;;
"inspect three") echo null ;;
"rm "*) echo "$@" >> {tmp_path}/removed ;;
esac"""
    environment = fake_docker(script)
    assert find_containers(environment, "URL=http://a:1") == ["one"]
    assert remove_containers(environment, "URL=http://a:1") == 1
    assert (tmp_path / "removed").read_text() == "rm --force one\n"
    assert remove_containers(environment, "URL=http://a:2") == 0


# ---------------------------------------------------------------- what the functions get


@pytest.mark.parametrize("engine", [LINUX, DESKTOP])
def test_no_function_has_an_address_of_aws(engine: Engine) -> None:
    """Every endpoint that the template declares is the emulator's, by the name that containers know."""
    settings = read_settings({}, default_interval=300)
    seen = see_from_container(services(engine), settings)
    values = build_values(seen, OF_A_PERSON, settings.poll_interval_seconds)
    template = load_template()
    for name in FUNCTIONS:
        variables = fill_variables(template, name, values)
        endpoints = {value for key, value in variables.items() if key.startswith("AWS_ENDPOINT_URL")}
        assert endpoints == {"http://host.docker.internal:40001"}
        assert variables["TABLE_NAME"] == "incidents"
    assert variables["UPSTREAM_BASE_URL"] == "http://host.docker.internal:40002"
    assert values["POLL_INTERVAL_SECONDS"] == "300"


def test_a_named_upstream_stays_as_it_is() -> None:
    """An upstream of the person's own is called by its own name."""
    url = "https://incidents.example.com/api"
    settings = read_settings(
        {"UPSTREAM_BASE_URL": url, "UPSTREAM_USERNAME": "reader", "UPSTREAM_PASSWORD": "secret"}
    )
    refuse_own_address(settings)
    assert see_from_container(services(LINUX, url), settings).upstream_base_url == url


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_an_upstream_that_is_the_container_itself(host: str) -> None:
    """In a container the loopback is the container's: that is said before anything is started."""
    settings = read_settings(
        {"UPSTREAM_BASE_URL": f"http://{host}:1", "UPSTREAM_USERNAME": "a", "UPSTREAM_PASSWORD": "b"}
    )
    with pytest.raises(SettingsError, match=r"say host\.docker\.internal"):
        refuse_own_address(settings)


# ---------------------------------------------------------------- what SAM gets


def test_a_second_terminal_reaches_no_account() -> None:
    """SAM asks AWS who one is, and hands credentials on: it asks the emulator, and has none of an account."""
    shell = build_shell_environment(OF_A_PERSON, LINUX, "http://172.17.0.1:40001")
    seen = OF_A_PERSON | shell
    assert seen["AWS_ENDPOINT_URL"] == "http://172.17.0.1:40001"
    assert (seen["AWS_ACCESS_KEY_ID"], seen["AWS_SECRET_ACCESS_KEY"]) == ("test", "test")
    assert seen["AWS_SESSION_TOKEN"] == ""
    assert seen["AWS_REGION"] == "us-east-1"
    # `env $(cat FILE)` splits at white space, and a profile needs the person's own files.
    assert not [each for each in shell.items() if re.search(r"\s", "".join(each))]
    assert not shell.keys() & {"AWS_CONFIG_FILE", "AWS_PROFILE"}


def test_images_are_looked_for_unless_told() -> None:
    """Only who asks for it gets the image that is there without a look for a newer one."""
    assert "SAM_SKIP_PULL_IMAGE" not in build_shell_environment({}, LINUX, "http://a")
    assert "SAM_SKIP_PULL_IMAGE" not in build_sam_environment({}, LINUX)
    asked = {"SAM_SKIP_PULL_IMAGE": "1"}
    assert build_shell_environment(asked, LINUX, "http://a")["SAM_SKIP_PULL_IMAGE"] == "1"
    assert build_sam_environment(asked, LINUX)["SAM_SKIP_PULL_IMAGE"] == "1"


def test_sams_own_environment_has_nothing_of_the_person() -> None:
    """What is started here sees no profile and no credentials, and finds this Python first."""
    made = build_sam_environment(OF_A_PERSON, LINUX)
    assert not [name for name in made if name.startswith("AWS_")]
    assert made["PATH"].endswith(":/bin")
    assert (Path(made["PATH"].split(":")[0]) / "python").exists()
    assert "172.17.0.1" in made["NO_PROXY"].split(",")


def test_sams_settings() -> None:
    """Both commands get the variables and the processor; the name of this machine, where it is not known."""
    for engine in (LINUX, DESKTOP):
        sections = tomllib.loads(build_samconfig(engine))["default"]
        assert set(sections) == {"local_invoke", "local_start_api"}
        for section in sections.values():
            parameters = section["parameters"]
            assert parameters["parameter_overrides"] == ["Stage=dev", f"Architecture={engine.architecture}"]
            assert parameters["env_vars"] == str(sam_local.VARIABLES_PATH)
            assert ("add_host" in parameters) is not engine.knows_host_name
            assert parameters.get("add_host", ["host.docker.internal:host-gateway"]) == [
                "host.docker.internal:host-gateway"
            ]


def test_commands() -> None:
    """The API is served on 127.0.0.1 by a container that stays; the poll is the README's command."""
    assert shlex.join(start_command(Path("sam"), 9000)) == (
        f"sam local start-api -t {sam_local.TEMPLATE_PATH}"
        " --host 127.0.0.1 --port 9000 --warm-containers LAZY"
    )
    assert shlex.join(poll_command(Path("sam"))) == (
        "sam local invoke PollerFunction -e events/schedule.json -t .local/sam/build/template.yaml"
    )


def test_the_image_is_that_of_the_runtime() -> None:
    """A new runtime in the template is looked for under its own name."""
    runtime = load_template()["Globals"]["Function"]["Runtime"]
    assert f"public.ecr.aws/lambda/{runtime.replace('python', 'python:')}" == IMAGE


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            {"records": 2100, "new_incidents": 3, "sources": {"denial": "fresh"}},
            "2,100 seen, 3 new, all sources fresh",
        ),
        (
            {"errorMessage": "secret things", "errorType": "PollError"},
            "failed with PollError, see .local/poller.log",
        ),
        ("", "no answer, see .local/poller.log"),
    ],
)
def test_what_came_of_the_first_poll(answer: object, said: str) -> None:
    """SAM's exit status is 0 also where the function fails: its answer tells. An error's text stays away."""
    assert describe_poll(json.dumps(answer) if answer else "") == f"first poll: {said}"
