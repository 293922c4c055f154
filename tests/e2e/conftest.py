"""The template as it is, deployed by `sam` into an emulator that enforces IAM, its upstream simulated."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.emulator import ACCOUNT_ID, REGION, aws_environment, emulator
from local.simulator import Simulator, SimulatorSettings, serve
from tests.sam import ARCHITECTURE, run_sam, sam_environment

STAGE = "dev"
STACK = f"security-incident-api-{STAGE}"
# What the emulator needs; all else is the template's.
OVERRIDES = {
    "Architecture": ARCHITECTURE,
    "ServiceAlarmEnabled": "false",
    "PollIntervalMinutes": "1",
}
# The schedule ticks at each minute; the rest is for a slow machine.
PATIENCE_SECONDS = 180.0
SCHEDULE_EVENT = (Path(__file__).parents[2] / "events/schedule.json").read_text()


@dataclass(frozen=True)
class Answer:
    """What a caller got."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The document, its numbers with all their digits."""
        return json.loads(self.text, parse_float=Decimal)


@dataclass(frozen=True)
class Caller:
    """One IAM user's requests to the API; without a key they are not signed. ``api_key`` is sent besides."""

    base_url: str
    key: str = ""
    secret: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)

    def ask(self, path: str, method: str = "GET", **query: str) -> Answer:
        """Sign and send one request."""
        headers = {"X-Api-Key": self.api_key} if self.api_key else {}
        request = AWSRequest(method, self.base_url + path, params=query, headers=headers)
        if self.key:
            SigV4Auth(Credentials(self.key, self.secret), "execute-api", REGION).add_auth(request)
        with requests.Session() as session:
            # No proxy leads to this machine.
            session.trust_env = False
            answer = session.send(session.prepare_request(_unsent(request)), timeout=60)
        return Answer(answer.status_code, answer.headers, answer.text)

    def follow(self, path: str, parameter: str, **query: str) -> Iterator[Any]:
        """Page by page, with what a page calls next under `next_<parameter>`."""
        while True:
            answer = self.ask(path, **query)
            assert answer.status == 200, answer.text
            yield answer.json
            if not answer.json["has_more"]:
                return
            query[parameter] = answer.json[f"next_{parameter}"]

    def walk(self) -> list[Any]:
        """Every incident of `/incidents`, in order; no employee comes on two pages."""
        employees: set[str] = set()
        incidents = []
        for page in self.follow("/incidents", "cursor", limit="30"):
            assert not employees & page["incidents"].keys()
            employees |= page["incidents"].keys()
            for employee, groups in page["incidents"].items():
                for priority, group in groups.items():
                    assert group["count"] == len(group["incidents"])
                    assert {(each["employee_id"], each["priority"]) for each in group["incidents"]} <= {
                        (employee, priority)
                    }
                    incidents += group["incidents"]
        return incidents


def _unsent(request: AWSRequest) -> requests.Request:
    prepared = request.prepare()
    return requests.Request(prepared.method, prepared.url, headers=dict(prepared.headers))


class Deployment:
    """One stack: what `sam` and a person with the right to everything can do with it."""

    def __init__(self, checkout: Path, endpoint_url: str, simulator: Simulator) -> None:
        self._checkout = checkout
        self._aws = aws_environment(endpoint_url)
        self._endpoint_url = endpoint_url
        self.simulator = simulator
        self.outputs: dict[str, str] = {}
        # What the first deployment printed.
        self.told = ""

    def client(self, service: str) -> Any:
        """A client that may do everything."""
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
        return session.client(service, endpoint_url=self._endpoint_url)  # type: ignore[call-overload]  # the name is no literal here

    def deploy(self, *, upstream_base_url: str = "", **parameters: str) -> str:
        """What `make deploy ENV=dev …` does, in the checkout, as README.md says; returns what it printed."""
        pairs = shlex.join(f"{name}={value}" for name, value in parameters.items())
        told = self._run("scripts.deploy", UPSTREAM_BASE_URL=upstream_base_url, PARAMETERS=pairs)
        (stack,) = self.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        self.outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
        return told

    def erase(self, employee_id: str) -> str:
        """What `make erase ENV=dev` does; returns what it printed."""
        return self._run("scripts.erase", EMPLOYEE=employee_id)

    def delete(self) -> None:
        """`sam delete`, without its questions."""
        self._sam("delete", "--config-env", STAGE, "--no-prompts")

    def fill_secret(self) -> None:
        """Do what the output FillUpstreamSecretCommand does, with the simulator's credentials."""
        command = shlex.split(self.outputs["FillUpstreamSecretCommand"])
        assert command[:3] == ["aws", "secretsmanager", "put-secret-value"]
        options = dict(zip(command[3::2], command[4::2], strict=True))
        assert options.pop("--secret-string") == "file:///dev/stdin"
        assert options.pop("--region") == REGION
        settings = self.simulator.settings
        typed = json.dumps({"username": settings.username, "password": settings.password})
        secret_id = options.pop("--secret-id")
        assert not options
        self.client("secretsmanager").put_secret_value(SecretId=secret_id, SecretString=typed)

    def poll(self) -> Any:
        """Start a poll by hand; what it says of itself."""
        answer = self.client("lambda").invoke(
            FunctionName=self.outputs["PollerFunctionName"], Payload=SCHEDULE_EVENT
        )
        assert "FunctionError" not in answer, answer["Payload"].read()
        return json.load(answer["Payload"])

    def anonymous(self) -> Caller:
        """Somebody who does not sign. ApiUrl's host exists in AWS alone; the emulator has it as a path."""
        api = f"{self._endpoint_url}/_aws/execute-api/{self.outputs['IncidentApiId']}/{STAGE}"
        assert self.outputs["ApiUrl"].startswith(f"https://{self.outputs['IncidentApiId']}.execute-api.")
        assert self.outputs["ApiUrl"].endswith(f"/{STAGE}")
        return Caller(api)

    def user(self, name: str, *resources: str) -> Caller:
        """A new IAM user who may invoke these of the API's methods, such as ``GET/health``; else nothing."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        if resources:
            api = f"arn:aws:execute-api:{REGION}:{ACCOUNT_ID}:{self.outputs['IncidentApiId']}/{STAGE}"
            statement = {
                "Effect": "Allow",
                "Action": "execute-api:Invoke",
                "Resource": [f"{api}/{resource}" for resource in resources],
            }
            policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            iam.put_user_policy(UserName=name, PolicyName="invoke", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return Caller(self.anonymous().base_url, key["AccessKeyId"], key["SecretAccessKey"])

    def _run(self, script: str, **variables: str) -> str:
        """What the make target of this script does, for somebody who is asked nothing."""
        done = subprocess.run(  # noqa: S603 - the project's own scripts
            [sys.executable, "-m", script],
            cwd=self._checkout,
            env={**sam_environment(self._aws), "ENV": STAGE, "YES": "1", **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _sam(self, *arguments: str) -> None:
        run_sam(*arguments, folder=self._checkout, aws=self._aws)


def wait_until(ready: Callable[[], bool], what: str) -> None:
    """Look once a second."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not ready():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(1)


@pytest.fixture(scope="module")
def deployment(built: Path, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The stack as its first deployment leaves it."""
    now = time.time()
    # A tenth of the addresses stay unknown; nothing rolls while the tests run.
    simulator = Simulator(
        SimulatorSettings(
            seed=7,
            records_per_type=60,
            identities=300,
            username="reader",
            password='p"ä:$ßword',
            identity_lag_seconds=8 * 86_400,
            identity_lag_rate=0.1,
        ),
        clock=lambda: now,
    )
    assert built == checkout / ".aws-sam/build"
    log = tmp_path_factory.mktemp("deployment") / "emulator.log"
    with emulator(log, enforce_iam=True) as endpoint_url, serve(simulator) as base_url:
        it = Deployment(checkout, endpoint_url, simulator)
        it.told = it.deploy(upstream_base_url=base_url, **OVERRIDES)
        yield it


@pytest.fixture(scope="module")
def reader(deployment: Deployment) -> Caller:
    """A user who may call everything of the API."""
    return deployment.user("reader", "*")


@pytest.fixture(scope="module")
def inbox(deployment: Deployment) -> str:
    """URL of a queue that is subscribed to IncidentTopic."""
    sqs, topic = deployment.client("sqs"), deployment.outputs["IncidentTopicArn"]
    url: str = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    deployment.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return url


@pytest.fixture(scope="module")
def without_credentials(deployment: Deployment, reader: Caller) -> tuple[Answer, Answer]:
    """`/health` and `/incidents` after a poll that found the secret empty."""
    assert deployment.poll()["outcome"] == "failed"
    return reader.ask("/health"), reader.ask("/incidents")


@pytest.fixture(scope="module")
def polled(deployment: Deployment, reader: Caller, without_credentials: object, inbox: str) -> Deployment:
    """The stack once its schedule has taken everything, which needs nothing but the filled secret."""
    deployment.fill_secret()
    wait_until(lambda: reader.ask("/health").status == 200, "a scheduled poll that succeeds")
    return deployment


@pytest.fixture(scope="module")
def updated(polled: Deployment) -> Deployment:
    """The stack after an update of two parameters; the other ones stay without being said again."""
    polled.deploy(PollIntervalMinutes="5", RetentionDays="2")
    return polled


@pytest.fixture(scope="module")
def keyed(updated: Deployment) -> Deployment:
    """The stack after an update that lets in whoever has an API key."""
    updated.deploy(Authorizer="API_KEY")
    return updated


@pytest.fixture(scope="module")
def deleted(keyed: Deployment) -> Deployment:
    """What is left after `sam delete`."""
    # The emulator would let a poll that begins now make its log group again.
    events = keyed.client("events")
    (rule,) = events.list_rules()["Rules"]
    events.disable_rule(Name=rule["Name"])
    keyed.delete()
    return keyed
