"""What `sam build` makes of the template runs in a bare Python 3.13, and holds what it should and no more.

Needs the checkout's own SAM CLI in `.tools/sam`, and skips without it. Only `sam build` uses the network, to
fetch the locked packages.
"""

import gzip
import importlib.util
import json
import marshal
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import botocore
import pytest

from local.template import load_template, read_routes
from shared.aws import SERVICES
from tests.sam import SAM, needs_sam, run_sam

FUNCTIONS = {"PollerFunction": "poller", "ApiFunction": "api"}
PACKAGES = (*FUNCTIONS, "SharedLayer")

pytestmark = needs_sam


def test_the_template_is_valid(checkout: Path) -> None:
    """`sam validate --lint` has nothing to say against the template."""
    assert "is a valid SAM Template" in run_sam("validate", "--lint", folder=checkout)


TRANSFORM = """
import json, sys
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

class NoManagedPolicies:
    def load(self):
        return {}

template = yaml_parse(open("template.yaml").read())
for resource in template["Resources"].values():
    for uri in {"CodeUri", "ContentUri"} & resource["Properties"].keys():
        resource["Properties"][uri] = "s3://bucket/key"
print(json.dumps(transform(template, {"Stage": "dev"}, NoManagedPolicies())["Resources"]))
"""


@pytest.fixture(scope="session")
def transformed(checkout: Path) -> dict[str, Any]:
    """The template's resources after SAM's own transform, as CloudFormation sees them."""
    done = subprocess.run(  # noqa: S603 - the checkout's own tool, no input from outside
        [SAM.with_name("python"), "-c", TRANSFORM],
        cwd=checkout,
        env={"AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _properties(resources: dict[str, Any], resource_type: str) -> list[dict[str, Any]]:
    return [it["Properties"] for it in resources.values() if it["Type"] == resource_type]


def test_every_deployed_route_asks_for_a_signature(transformed: dict[str, Any]) -> None:
    """After SAM's transform there is one API with one stage, and each of its methods is behind SigV4."""
    (api,) = _properties(transformed, "AWS::ApiGateway::RestApi")
    (stage,) = _properties(transformed, "AWS::ApiGateway::Stage")
    assert stage["StageName"] == {"Ref": "Stage"}
    assert stage["TracingEnabled"] == {"Fn::If": ["HasTracing", True, False]}
    assert api["EndpointConfiguration"] == {"Types": ["REGIONAL"]}
    assert api["MinimumCompressionSize"] == 1024
    # Which one it is the parameter Authorizer says (tests/unit/test_template.py).
    assert list(api["Body"]["components"]["securitySchemes"]) == ["caller"]
    paths = api["Body"]["paths"]
    assert {(path, "ANY") for path in paths} == {(it.path, it.method) for it in read_routes(load_template())}
    for path, methods in paths.items():
        assert set(methods) == {"get", "head", "x-amazon-apigateway-any-method"}, path
    for method in (method for path in paths.values() for method in path.values()):
        assert [list(each) for each in method["security"]] == [["caller"]]
        # With the caller's credentials here, each caller would need lambda:InvokeFunction.
        assert "credentials" not in method["x-amazon-apigateway-integration"]


def test_sam_adds_no_role_and_one_schedule(transformed: dict[str, Any]) -> None:
    """The roles written in the template are all there are, but for CodeDeploy's, which comes with a canary
    alone; and one rule starts the poller.
    """
    roles = {name: it for name, it in transformed.items() if it["Type"] == "AWS::IAM::Role"}
    written = {name for name, it in load_template()["Resources"].items() if it["Type"] == "AWS::IAM::Role"}
    made = roles.keys() - written
    assert written <= roles.keys()
    assert {roles[name].get("Condition") for name in made} <= {"HasCanary"}
    (rule,) = _properties(transformed, "AWS::Events::Rule")
    assert rule["State"] == "ENABLED"
    assert [target["Arn"] for target in rule["Targets"]] == [{"Fn::GetAtt": ["PollerFunction", "Arn"]}]


IMPORT = """
import importlib, json, sys
sys.path[:0] = sys.argv[2:]
handler = importlib.import_module(sys.argv[1])
assert callable(handler.lambda_handler)
for name in ("shared", "botocore", "aws_lambda_powertools"):
    importlib.import_module(name)
print(json.dumps({name: getattr(it, "__file__", None) for name, it in sys.modules.items()}))
"""


@pytest.mark.parametrize(("function", "name"), FUNCTIONS.items())
def test_a_built_handler_imports_in_a_bare_python(built: Path, function: str, name: str) -> None:
    """Whatever a handler imports is in its own package or in the layer: nothing of this machine helps."""
    package, layer = built / function, built / "SharedLayer/python"
    done = subprocess.run(  # noqa: S603 - our own interpreter and artifacts
        # -I: no environment, no current folder; -S: no site-packages.
        [sys._base_executable, "-I", "-S", "-B", "-c", IMPORT, f"functions.{name}.handler", package, layer],
        cwd=built,
        env={
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_EC2_METADATA_DISABLED": "true",
            "TABLE_NAME": "incidents",
            "UPSTREAM_BASE_URL": "https://incidents.invalid",
            "UPSTREAM_SECRET_ARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:upstream-a1b2c3",
            "UPSTREAM_CONCURRENCY": "4",
            "RETENTION_DAYS": "400",
            "POLL_INTERVAL_SECONDS": "300",
            "POWERTOOLS_SERVICE_NAME": name,
            "POWERTOOLS_METRICS_NAMESPACE": "test",
            "POWERTOOLS_LOG_LEVEL": "INFO",
            # As in Lambda, where the handler makes its clients at once.
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    modules: dict[str, str | None] = json.loads(done.stdout)
    assert modules[f"functions.{name}.handler"] == str(package / f"functions/{name}/handler.py")
    for from_layer in ("shared", "botocore", "aws_lambda_powertools"):
        origin = modules[from_layer]
        assert origin
        assert Path(origin).is_relative_to(layer)
    standard_library = Path(os.__file__).resolve().parent
    for module, origin in modules.items():
        if origin and not origin.startswith("<"):
            home = Path(origin).resolve()
            assert "site-packages" not in home.parts, module
            assert any(home.is_relative_to(it) for it in (package, layer, standard_library)), (module, origin)


STARTED = """
import gc, importlib, json, sys
sys.path[:0] = sys.argv[2:]
importlib.import_module(sys.argv[1])
print(json.dumps([sorted(sys.modules), gc.isenabled(), gc.get_freeze_count()]))
"""

# A start is mostly imports. What they were when this was written, and some: with another feature it may be
# more, but nobody adds to it without noticing.
MODULES = {"api": 525, "poller": 535}
NEVER = {"boto3", "s3transfer", "pydantic", "aws_xray_sdk", "statistics", "unittest"}
NEVER_FOR = {"api": {"requests", "sqlite3"}, "poller": {"aws_lambda_powertools.event_handler", "asyncio"}}


@pytest.mark.parametrize(("function", "name"), FUNCTIONS.items())
def test_a_handler_starts_with_few_modules_and_a_collector_that_leaves_them_alone(
    built: Path, function: str, name: str
) -> None:
    """Nothing is imported for nothing, and what was is not looked through for garbage later on."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and artifacts
        [
            *(sys._base_executable, "-I", "-S", "-B", "-c", STARTED),
            *(f"functions.{name}.handler", built / function, built / "SharedLayer/python"),
        ],
        env={"POWERTOOLS_SERVICE_NAME": name, "POWERTOOLS_METRICS_NAMESPACE": "test"},
        capture_output=True,
        text=True,
        check=True,
    )
    modules, is_collecting, left_alone = json.loads(done.stdout)
    assert not (NEVER | NEVER_FOR[name]).intersection(modules)
    assert len(modules) <= MODULES[name]
    assert is_collecting
    assert left_alone > 10_000


IN_LAMBDA = """
import importlib, sys
sys.path[:0] = sys.argv[2:]
handler = importlib.import_module(sys.argv[1])
print(handler.built.cache_info().currsize)
"""


@pytest.mark.parametrize(
    ("kind", "made"), [(None, "0"), ("on-demand", "1"), ("provisioned-concurrency", "1"), ("snap-start", "1")]
)
@pytest.mark.parametrize(("function", "name"), FUNCTIONS.items())
def test_in_lambda_a_handler_makes_its_clients_while_it_starts(
    built: Path, function: str, name: str, kind: str | None, made: str
) -> None:
    """However Lambda starts it; elsewhere at the first call. What is missing is said by name."""
    environment = {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "TABLE_NAME": "incidents",
        "UPSTREAM_BASE_URL": "https://incidents.invalid",
        "UPSTREAM_SECRET_ARN": "upstream",
    } | ({"AWS_LAMBDA_INITIALIZATION_TYPE": kind} if kind else {})

    def start(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        arguments = (f"functions.{name}.handler", built / function, built / "SharedLayer/python")
        return subprocess.run(  # noqa: S603 - our own interpreter and artifacts
            [sys._base_executable, "-I", "-S", "-B", "-c", IN_LAMBDA, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    done = start(environment)
    assert (done.returncode, done.stdout.strip()) == (0, made), done.stderr
    del environment["TABLE_NAME"]
    done = start(environment)
    assert ("TABLE_NAME is not set" in done.stderr) == bool(kind)


def _files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.relative_to(folder).parts
    }


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("PollerFunction/functions/poller", "functions/poller"),
        ("ApiFunction/functions/api", "functions/api"),
        ("SharedLayer/python/shared", "shared"),
    ],
)
def test_a_package_holds_its_sources_and_no_more(
    built: Path, checkout: Path, package: str, source: str
) -> None:
    """Each source file is there under its import path, and each file there is a source file."""
    sources = _files(checkout / source)
    assert "requirements.txt" in sources
    assert _files(built / package) == sources


def test_packages_hold_no_leftovers_and_nothing_of_the_others(built: Path) -> None:
    """No tests, no local run, no other function."""
    assert {path.name for path in built.iterdir()} == {
        "PollerFunction",
        "ApiFunction",
        "SharedLayer",
        "template.yaml",
    }
    everything = list(built.rglob("*"))
    assert any(path.suffix == ".py" for path in everything)
    assert not [path for path in everything if "leftover" in path.name]
    assert {path.name for path in (built / "ApiFunction").iterdir()} == {"functions"}
    assert {path.name for path in (built / "SharedLayer").iterdir()} == {"python"}
    for function, name in FUNCTIONS.items():
        assert {path.name for path in (built / function / "functions").iterdir()} == {name}
    top = {
        path.name
        for folder in ("PollerFunction", "SharedLayer/python")
        for path in (built / folder).iterdir()
    }
    assert {"requests", "boto3"} <= top
    assert not top & {"tests", "local", "docs", "events", "benchmarks", "template.yaml"}


def test_every_module_has_bytecode_that_lambda_takes_as_it_is(built: Path) -> None:
    """Of this Python's minor version, never compared with its source, and naming it as it lies in Lambda."""
    for package in PACKAGES:
        home = "/opt" if package == "SharedLayer" else "/var/task"
        sources = list((built / package).rglob("*.py"))
        assert sources
        for source in sources:
            compiled = Path(importlib.util.cache_from_source(str(source)))
            header = compiled.read_bytes()[:16]
            assert header[:4] == importlib.util.MAGIC_NUMBER
            assert int.from_bytes(header[4:8], "little") == 0b01, "an unchecked hash"
        code = marshal.loads(compiled.read_bytes()[16:])  # noqa: S302 - just made by the test's own build
        assert code.co_filename == f"{home}/{source.relative_to(built / package)}"


def test_building_again_changes_nothing(built: Path, tmp_path: Path) -> None:
    """Byte for byte: another layer would be another version of the reader, with each deployment."""
    again = tmp_path / "build"
    shutil.copytree(built, again)
    for compiled in again.rglob("__pycache__"):
        shutil.rmtree(compiled)
    # Another process and another seed for hashes.
    done = subprocess.run(  # noqa: S603 - the project's own script
        [sys.executable, "-c", "import pathlib, sys; from scripts.build import finish_packages as it;"
         " it(pathlib.Path(sys.argv[1]))", again],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "4321"},
        check=False,
    )  # fmt: skip
    assert done.returncode == 0
    different = [
        path.relative_to(built)
        for path in built.rglob("*")
        if path.is_file() and path.read_bytes() != (again / path.relative_to(built)).read_bytes()
    ]
    assert different == []


CLIENTS = """
import os, sys
sys.path[:0] = sys.argv[1:]
from shared.aws import SERVICES, make_dynamodb, make_secretsmanager, make_sns
clients = [make_dynamodb(read_timeout=1, attempts=1), make_secretsmanager(read_timeout=1, attempts=1)]
clients.append(make_sns(read_timeout=1, attempts=1))
assert {client.meta.service_model.service_name for client in clients} == SERVICES
print(*sorted(client.meta.endpoint_url for client in clients))
"""


@pytest.mark.parametrize(
    ("region", "suffix"),
    [
        ("eu-central-1", "amazonaws.com"),
        ("cn-north-1", "amazonaws.com.cn"),
        ("us-gov-west-1", "amazonaws.com"),
    ],
)
def test_the_layer_has_the_models_that_the_code_uses_and_no_other(
    built: Path, region: str, suffix: str
) -> None:
    """Each client can be made from what is left, and finds the endpoint of any partition's region."""
    data = built / "SharedLayer/python/botocore/data"
    assert {path.name for path in data.iterdir() if path.is_dir()} == SERVICES
    done = subprocess.run(  # noqa: S603 - our own interpreter and artifacts
        [sys._base_executable, "-I", "-S", "-B", "-c", CLIENTS, built / "SharedLayer/python"],
        env={"AWS_DEFAULT_REGION": region, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"https://{name}.{region}.{suffix}" for name in sorted(SERVICES)]


def test_the_layers_models_lack_their_documentation_and_nothing_else(built: Path) -> None:
    """A client reads the whole model at each start; what is documentation for people is most of it."""
    ours = built / "SharedLayer/python/botocore/data"
    theirs = Path(botocore.__file__).parent / "data"
    models = sorted(path.relative_to(ours) for path in ours.glob("*/*/service-2.json.gz"))
    assert len(models) == len(SERVICES)
    for model in models:
        texts: list[str] = []

        def without(value: Any, texts: list[str] = texts) -> Any:
            if isinstance(value, list):
                return [without(each) for each in value]
            if not isinstance(value, dict):
                return value
            if isinstance(value.get("documentation"), str):
                texts.append(value["documentation"])
                value = {name: each for name, each in value.items() if name != "documentation"}
            return {name: without(each) for name, each in value.items()}

        left = json.loads(gzip.decompress((ours / model).read_bytes()))
        assert left == without(json.loads(gzip.decompress((theirs / model).read_bytes())))
        assert len(texts) > 100
        texts.clear()
        without(left)
        assert texts == []


def test_the_packages_stay_small(built: Path) -> None:
    """Lambda reads them at each cold start: these are raised for a reason only."""
    sizes = {
        name: sum(path.stat().st_size for path in (built / name).rglob("*") if path.is_file()) / 1e6
        for name in PACKAGES
    }
    assert sizes["ApiFunction"] < 0.6
    assert sizes["PollerFunction"] < 5
    assert sizes["SharedLayer"] < 24
