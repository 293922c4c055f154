"""What all tests share: an AWS of this machine alone, and no way to any other.

A test gets `table` (a fresh store on ministack) or `make_table` and `dynamodb`, or `built`, what is deployed.
The environment holds dummy credentials. Sockets reach 127.0.0.1 at most; those of `tests/unit` reach nothing
without `@pytest.mark.loopback`.
"""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import hypothesis
import pytest
import pytest_socket

from local.emulator import REGION, EmulatorMissingError, create_table, emulator
from scripts.build import BUILD, finish_packages
from shared.store.table import Table
from tests.permissions import Recorder
from tests.sam import ARCHITECTURE, run_sam

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient

_ROOT = Path(__file__).parents[1]
_UNIT = _ROOT / "tests/unit"
# Test files of `tests/unit` that talk to servers of their own, on this machine.
_LOOPBACK_FILES = ("test_simulator.py", "test_local_*.py")
_LOOPBACK_HOSTS = ["127.0.0.1"]

# From the first import on: fixtures of any scope may call the functions.
_RECORDER = Recorder()
_DUMMY_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


# A slow machine is no failure, and what lands must not hang on dice: CI draws the same examples each time.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers of this project (--strict-markers refuses all others)."""
    config.addinivalue_line("markers", "loopback: a unit test that may open sockets on 127.0.0.1")
    config.addinivalue_line(
        "markers", "judges_the_run: a test of what all others made the code do; runs last"
    )
    _RECORDER.start()
    config.addinivalue_line(
        "markers", "ministack_only(reason): a contract test of something that moto is known to get wrong"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let those that judge the run come after all others."""
    items.sort(key=lambda item: item.get_closest_marker("judges_the_run") is not None)


@pytest.fixture(scope="session")
def recorder() -> Recorder:
    """What the functions have asked of AWS so far."""
    return _RECORDER


@pytest.fixture(scope="session")
def is_whole_run(request: pytest.FixtureRequest) -> bool:
    """Whether all tests run: nothing was named on the command line, chosen, or left out."""
    config = request.config
    everything = [str(config.rootpath / each) for each in config.getini("testpaths")]
    named = [str(config.invocation_params.dir / each) for each in config.args]
    options = ("keyword", "markexpr", "lf", "failedfirst", "ignore", "ignore_glob", "deselect", "stepwise")
    return named == everything and not any(config.getoption(each, None) for each in options)


@pytest.fixture(scope="session", autouse=True)
def dummy_aws_environment() -> Iterator[None]:
    """No test can reach a real account: nothing of the person's own AWS settings is visible."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [each for each in os.environ if each.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in _DUMMY_ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(autouse=True)
def guarded_sockets(request: pytest.FixtureRequest) -> None:
    """Unit tests open no socket unless marked; all others reach 127.0.0.1 alone.

    pytest-socket's own teardown lifts it after each test.
    """
    path = request.node.path
    marked = any(request.node.get_closest_marker(name) for name in ("loopback", "enable_socket"))
    if path.is_relative_to(_UNIT) and not marked and not any(map(path.match, _LOOPBACK_FILES)):
        pytest_socket.disable_socket(allow_unix_socket=True)
    else:
        pytest_socket.socket_allow_hosts(_LOOPBACK_HOSTS, allow_unix_socket=True)


@pytest.fixture(scope="session")
def emulator_url() -> Iterator[str]:
    """ministack, one for the session. Where it is missing the test fails: there is nothing to skip to."""
    try:
        with emulator() as endpoint_url:
            yield endpoint_url
    except EmulatorMissingError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def dynamodb(emulator_url: str) -> "DynamoDBClient":
    """A client of ministack's DynamoDB."""
    client: DynamoDBClient = _make_client("dynamodb", emulator_url)
    return client


@pytest.fixture(scope="session")
def secretsmanager(emulator_url: str) -> "SecretsManagerClient":
    """A client of ministack's Secrets Manager."""
    client: SecretsManagerClient = _make_client("secretsmanager", emulator_url)
    return client


@pytest.fixture
def make_table(dynamodb: "DynamoDBClient") -> Iterator[Callable[[], Table]]:
    """Makes fresh tables as the template defines them, each under its own name; they go with the test."""
    made: list[str] = []

    def make() -> Table:
        name = f"incidents-{uuid.uuid4().hex}"
        create_table(dynamodb, name)
        made.append(name)
        return Table(name, client=dynamodb)

    yield make
    for name in made:
        dynamodb.delete_table(TableName=name)


@pytest.fixture
def table(make_table: Callable[[], Table]) -> Table:
    """A fresh, empty store on ministack."""
    return make_table()


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout with leftovers in it that a package must not take along."""
    copy = tmp_path_factory.mktemp("build") / "checkout"
    leftovers = shutil.ignore_patterns(".*", "__pycache__", "node_modules")
    shutil.copytree(_ROOT, copy, ignore=leftovers)
    for folder in ("shared", "functions/poller", "functions/api"):
        cache = copy / folder / "__pycache__"
        cache.mkdir()
        (cache / "leftover.cpython-313.pyc").write_bytes(b"")
    return copy


@pytest.fixture(scope="session")
def built(checkout: Path) -> Path:
    """The folder that `make build` fills, once for all tests; but for this machine's processor."""
    overrides = ("--parameter-overrides", f"Stage=dev Architecture={ARCHITECTURE}")
    run_sam("build", "--config-env", "dev", *overrides, folder=checkout)
    finish_packages(checkout / BUILD)
    return checkout / BUILD


def _make_client(service: str, endpoint_url: str) -> Any:
    """All by argument: what the environment says does not matter."""
    session = boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name=REGION)
    return session.client(service, endpoint_url=endpoint_url)  # type: ignore[call-overload]  # the name is no literal here
