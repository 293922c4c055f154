"""From `sam deploy` to `sam delete`: the built template, unchanged, in an emulator that enforces IAM.

The stack lives through all of it in the order of this file. docs/development.md says what the emulator leaves
out.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from copy import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.api.routes import ALLOWED_METHODS
from local.emulator import REGION
from local.template import load_template, read_routes
from shared.domain.incident import INCIDENT_TYPES, SUBJECT_FIELDS
from tests.e2e.conftest import OVERRIDES, STACK, Answer, Caller, Deployment, wait_until
from tests.sam import needs_sam
from tests.stack import Stack

pytestmark = [needs_sam, pytest.mark.enable_socket]

ROOT = Path(__file__).parents[2]
TEMPLATE = load_template()
DAY_SECONDS = 86_400

type Row = tuple[str | None, str, str, Decimal]


def served(deployment: Deployment) -> Counter[Row]:
    """What the upstream serves, by the identities that it serves; worked out without the service's code."""

    def read(path: str) -> Any:
        return json.loads(deployment.simulator.usual_reply(path).body, parse_float=Decimal)

    identities = read("/identities/")

    def rows() -> Iterator[Row]:
        for kind in INCIDENT_TYPES:
            for record in read(f"/incidents/{kind}/")["results"]:
                subject = str(record[SUBJECT_FIELDS[kind]])
                employee = identities.get(subject) if "." in subject else subject
                who = None if employee is None else str(employee)
                yield who, kind, record["priority"], record["timestamp"]

    return Counter(rows())


def row(incident: Any) -> Row:
    return incident["employee_id"], incident["type"], incident["priority"], incident["timestamp"]


def paths(employee: str) -> list[str]:
    return sorted({route.path.format(employee_id=employee) for route in read_routes(TEMPLATE)})


# ---------------------------------------------------------------- the first deployment


def test_everything_is_made(deployment: Deployment) -> None:
    """Each resource that no condition leaves out is there, and each output has a value."""
    resources = deployment.client("cloudformation").describe_stack_resources(StackName=STACK)
    made = {each["LogicalResourceId"]: each["ResourceStatus"] for each in resources["StackResources"]}
    assert set(made.values()) <= {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
    layers = [name for name in made if name.startswith("SharedLayer")]
    assert len(layers) == 1
    stack = Stack(OVERRIDES | {"GatewayLogRole": "create"})
    wanted = stack.resources.keys() - {"SharedLayer"}
    assert wanted == TEMPLATE["Resources"].keys() & made.keys()
    assert deployment.outputs.keys() == stack.outputs.keys()
    assert all(deployment.outputs.values())


def test_the_deployment_says_what_is_left_to_do(deployment: Deployment) -> None:
    """Whoever deployed reads the one command that fills the secret, the address, and how to ask there."""
    for output in ("FillUpstreamSecretCommand", "ApiUrl", "CurlCommand", "DashboardUrl"):
        assert deployment.outputs[output] in deployment.told, deployment.told
    # A new account has no role with which API Gateway may log.
    assert "the stack makes one" in deployment.told
    role = deployment.client("apigateway").get_account()["cloudwatchRoleArn"]
    assert f"role/{STACK}-GatewayRole" in role


def test_health_says_that_the_secret_is_to_be_filled(without_credentials: tuple[Answer, Answer]) -> None:
    """Before the credentials are there, no poll succeeds, nothing is served, and `/health` says why."""
    health, incidents = without_credentials
    assert health.status == 503
    assert health.json["status"] == "fail"
    assert health.json["last_error"]["class"] == "credentials"
    assert "the upstream's secret" in health.json["output"]
    assert health.json["successful_updates"] == 0
    assert (incidents.status, incidents.json["code"]) == (503, "no_data_yet")


# ---------------------------------------------------------------- in service


def test_the_schedule_polls_with_the_credentials_alone(polled: Deployment, reader: Caller) -> None:
    """Once the secret is filled, a tick takes all sources: the poller's role allows all that a poll does."""
    health = reader.ask("/health").json
    assert health["status"] == "pass", health["output"]
    assert {each["state"] for each in health["sources"].values()} == {"fresh"}
    assert health["consecutive_failures"] == 0
    unattributed = sum(count for who, count in who_counts(polled).items() if who is None)
    assert unattributed > 0
    assert health["unattributed_incidents"] == unattributed
    assert health["total_identified_incidents"] == 7 * 60 - unattributed


def who_counts(deployment: Deployment) -> Counter[str | None]:
    counts: Counter[str | None] = Counter()
    for (who, *_), count in served(deployment).items():
        counts[who] += count
    return counts


def test_every_incident_is_there_once(polled: Deployment, reader: Caller) -> None:
    """The walk, the list of unattributed ones and the feed have what the upstream serves, to the digit."""
    expected = served(polled)
    walk = reader.walk()
    pages = list(reader.follow("/incidents/unattributed", "cursor", limit="10"))
    unattributed = [each for page in pages for each in page["data"]]
    assert len(pages) > 1
    assert Counter(map(row, walk + unattributed)) == expected
    assert {each["employee_id"] for each in unattributed} == {None}
    assert len({each["id"] for each in walk + unattributed}) == expected.total()

    first = reader.ask("/incidents/changes", limit="100").json
    fed = list(reader.follow("/incidents/changes", "token", limit="100", token=first["next_token"]))
    changes = [each for page in (first, *fed) for each in page["data"]]
    assert Counter(each["id"] for each in changes) == Counter(each["id"] for each in walk)

    busiest, count = Counter(each["employee_id"] for each in walk).most_common(1)[0]
    one = reader.ask(f"/employees/{busiest}/incidents").json["incidents"]
    assert one.keys() == {busiest}
    assert sum(group["count"] for group in one[busiest].values()) == count


def test_only_signed_and_permitted_requests_get_through(polled: Deployment, reader: Caller) -> None:
    """On every route: 403 unsigned, wrongly signed or not permitted; 200 with a permission, GET and HEAD."""
    stranger = polled.user("stranger")
    forger = Caller(reader.base_url, reader.key, "not-the-readers-secret")
    employee = next(who for who in who_counts(polled) if who is not None)
    for path in paths(employee):
        for method in ALLOWED_METHODS:
            for caller in (polled.anonymous(), stranger, forger):
                assert caller.ask(path, method).status == 403, (path, method, caller)
            answer = reader.ask(path, method)
            assert answer.status == 200, (path, method, answer.text)
            assert bool(answer.text) == (method == "GET")


def test_the_printed_command_gets_the_first_page(polled: Deployment, reader: Caller) -> None:
    """CurlCommand as a shell runs it, with keys of `aws configure`; only the host is the emulator's."""
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    command = polled.outputs["CurlCommand"].replace(polled.outputs["ApiUrl"], reader.base_url)
    done = subprocess.run(  # noqa: S603 - the stack's own output
        ["sh", "-c", command],  # noqa: S607 - whichever shell there is
        env={
            "PATH": os.environ["PATH"],
            "NO_PROXY": "*",
            "AWS_ACCESS_KEY_ID": reader.key,
            "AWS_SECRET_ACCESS_KEY": reader.secret,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    page = json.loads(done.stdout, parse_float=Decimal)
    assert page["incidents"] == reader.ask("/incidents").json["incidents"]


def run_incidents(url: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The client's command, as a process that has these variables alone."""
    return subprocess.run(  # noqa: S603 - this project's own module
        [sys.executable, "-c", "from incidents_client.cli import run; run()", *arguments],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "client"),
            "NO_PROXY": "*",
            "INCIDENTS_URL": url,
            **environ,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_line_signs_what_it_asks(polled: Deployment, reader: Caller) -> None:
    """`incidents` with AWS credentials gets each incident, over all pages, and with filters that have to be
    encoded; with a wrong key, or none, its exit status says so.
    """
    keys = {"AWS_ACCESS_KEY_ID": reader.key, "AWS_SECRET_ACCESS_KEY": reader.secret}
    signed = ("--auth", "aws", "--region", REGION)
    done = run_incidents(reader.base_url, "list", *signed, **keys)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line, parse_float=Decimal) for line in done.stdout.splitlines()]
    assert lines == reader.walk()
    filters = ("--priority", "high", "--priority", "low", "--since", "2020-01-01T00:00:00.5+02:00")
    done = run_incidents(reader.base_url, "list", *filters, *signed, **keys)
    assert done.returncode == 0, done.stderr
    chosen = [each for each in lines if each["priority"] in ("high", "low")]
    assert len(done.stdout.splitlines()) == len(chosen) > 0
    assert run_incidents(reader.base_url, "health", *signed, **keys).returncode == 0
    forged = keys | {"AWS_SECRET_ACCESS_KEY": "not-the-readers-secret"}
    for wrong in (
        run_incidents(reader.base_url, "list", *signed, **forged),
        run_incidents(reader.base_url, "list"),
    ):
        assert (wrong.returncode, wrong.stdout) == (77, "")


def test_a_permission_for_one_route_is_for_that_one_alone(polled: Deployment) -> None:
    """`execute-api:Invoke` on GET /health is just that."""
    monitor = polled.user("monitor", "GET/health")
    assert monitor.ask("/health").status == 200
    assert monitor.ask("/incidents").status == 403


def test_the_functions_log_where_logs_are_kept_for_as_long_as_asked(polled: Deployment) -> None:
    """Both roles may write into the stack's own groups, and no other group appears."""
    logs = polled.client("logs")
    groups = {
        each["logGroupName"]: each["retentionInDays"] for each in logs.describe_log_groups()["logGroups"]
    }
    assert groups == {
        f"/aws/lambda/{STACK}-poller": 90,
        f"/aws/lambda/{STACK}-api": 90,
        f"/aws/apigateway/{STACK}": 90,
    }
    wait_for_log(polled, '"message":"poll ended"')


def wait_for_log(deployment: Deployment, text: str) -> None:
    """The state shows in `/health` before the poll has ended and logged."""
    pages = deployment.client("logs").get_paginator("filter_log_events")

    def is_there() -> bool:
        found = pages.paginate(logGroupName=f"/aws/lambda/{STACK}-poller")
        return any(text in each["message"] for page in found for each in page["events"])

    wait_until(is_there, text)


def test_incidents_are_published_over_tls_alone(polled: Deployment, inbox: str) -> None:
    """The topic refuses what comes without TLS, which the emulator does not speak. Without that policy the
    poller's role is enough, and the next poll publishes what waited: every critical incident, once.
    """
    wait_for_log(polled, '"notification_error":"AuthorizationError"')
    topic = polled.outputs["IncidentTopicArn"]
    # It has to have one; this permits nothing to the poller.
    policy = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": topic,
        },
    }
    polled.client("sns").set_topic_attributes(
        TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps(policy)
    )
    polled.poll()
    critical = Counter({found: count for found, count in served(polled).items() if found[2] == "critical"})
    told: Counter[Row] = Counter()
    sqs = polled.client("sqs")

    def all_told() -> bool:
        for message in sqs.receive_message(QueueUrl=inbox, MaxNumberOfMessages=10).get("Messages", []):
            text = json.loads(message["Body"])["Message"]
            told.update(row(each) for each in json.loads(text, parse_float=Decimal)["incidents"])
            sqs.delete_message(QueueUrl=inbox, ReceiptHandle=message["ReceiptHandle"])
        return told.total() >= critical.total()

    wait_until(all_told, "the notifications")
    assert told == critical


def test_a_poll_that_comes_to_nothing_is_set_aside(polled: Deployment) -> None:
    """The event of a poll that failed on our side ends up in DeadLetterQueue, which only TLS reads."""
    iam, function = polled.client("iam"), polled.outputs["PollerFunctionName"]
    configuration = polled.client("lambda").get_function_configuration(FunctionName=function)
    policy = {"RoleName": configuration["Role"].rpartition("/")[2], "PolicyName": "poll"}
    document = iam.get_role_policy(**policy)["PolicyDocument"]
    others = [each for each in document["Statement"] if each["Sid"] != "ReadAndAppendIncidents"]
    assert len(others) == len(document["Statement"]) - 1
    event = {"id": "by-hand"}
    found: list[Any] = []
    sqs, queue = polled.client("sqs"), polled.outputs["DeadLetterQueueUrl"]
    with pytest.raises(ClientError, match="AccessDenied"):
        sqs.receive_message(QueueUrl=queue)
    # As behind something that ends TLS: the emulator believes it.
    sqs.meta.events.register(
        "before-sign.sqs", lambda request, **_: request.headers.add_header("X-Forwarded-Proto", "https")
    )

    def is_set_aside() -> bool:
        answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        found.extend(json.loads(message["Body"]) for message in answer.get("Messages", []))
        return any(each["requestPayload"] == event for each in found)

    iam.put_role_policy(**policy, PolicyDocument=json.dumps(document | {"Statement": others}))
    try:
        polled.client("lambda").invoke(
            FunctionName=function, InvocationType="Event", Payload=json.dumps(event)
        )
        wait_until(is_set_aside, "the event in the dead-letter queue")
    finally:
        iam.put_role_policy(**policy, PolicyDocument=json.dumps(document))
    assert polled.poll()["outcome"] == "succeeded"


# ---------------------------------------------------------------- an update


@pytest.fixture(scope="module")
def before(polled: Deployment, reader: Caller) -> list[Any]:
    """The walk before the update."""
    return reader.walk()


def test_an_update_changes_what_it_names_and_keeps_the_rest(
    polled: Deployment, before: list[Any], reader: Caller, request: pytest.FixtureRequest
) -> None:
    """The interval and the retention are new. Table, secret and URL are what they were, and so is the address
    of the upstream, although the second `sam deploy` did not repeat it.
    """
    outputs = dict(polled.outputs)
    earliest = time.time()
    updated: Deployment = request.getfixturevalue("updated")
    assert updated.outputs == outputs
    (rule,) = updated.client("events").list_rules()["Rules"]
    assert rule["ScheduleExpression"] == "cron(0/5 * * * ? *)"
    health = reader.ask("/health").json
    assert health["thresholds"]["poll_interval_seconds"] == 300

    after = reader.walk()
    latest = time.time()
    assert 0 < len(after) < len(before)
    # A walk judges by the hour in which it began.
    assert min(each["timestamp"] for each in after) >= earliest - 2 * DAY_SECONDS - 3600
    young = {each["id"] for each in before if each["timestamp"] >= latest - 2 * DAY_SECONDS}
    assert young <= {each["id"] for each in after} <= {each["id"] for each in before}

    summary = updated.poll()
    assert (summary["outcome"], summary["failures"]) == ("succeeded", {})


def test_an_employee_is_forgotten(updated: Deployment, reader: Caller) -> None:
    """`make erase` finds the table by the stack: 404, the others as before, and no poll brings them back."""
    before = reader.walk()
    employee = before[0]["employee_id"]
    told = updated.erase(employee)
    assert f"No incident and no rejected record of employee {employee} is stored" in told
    others = [each for each in before if each["employee_id"] != employee]
    assert 0 < len(others) < len(before)
    assert reader.walk() == others
    assert updated.poll()["new_incidents"] == 0
    assert reader.walk() == others
    assert reader.ask(f"/employees/{employee}/incidents").status == 404


def test_with_api_keys_a_key_is_what_opens_the_api(keyed: Deployment, reader: Caller) -> None:
    """After an update to Authorizer=API_KEY, on every route: 403 without a key or with another, 200 with."""
    command = keyed.outputs["CurlCommand"]
    assert f"--api-key {keyed.outputs['ApiKeyId']} --include-value" in command
    key = keyed.client("apigateway").get_api_key(apiKey=keyed.outputs["ApiKeyId"], includeValue=True)["value"]
    assert len(key) >= 20
    # Of another definition the emulator makes another API, under another id.
    signed = replace(reader, base_url=keyed.anonymous().base_url)
    holder, guesser = replace(signed, api_key=key), replace(signed, api_key=key[:-1] + "x")
    employee = next(who for who in who_counts(keyed) if who is not None)
    for path in paths(employee):
        # A signature, or none, makes no difference any more.
        for caller in (signed, keyed.anonymous(), guesser):
            assert caller.ask(path).status == 403, (path, caller)
        for caller in (holder, replace(keyed.anonymous(), api_key=key)):
            assert caller.ask(path).status in (200, 404), path
    assert holder.ask("/health").status == 200
    assert holder.walk()
    done = run_incidents(signed.base_url, "list", INCIDENTS_API_KEY=key)
    assert len(done.stdout.splitlines()) == len(holder.walk()), done.stderr
    assert run_incidents(signed.base_url, "list", INCIDENTS_API_KEY=key[:-1] + "x").returncode == 77


# ---------------------------------------------------------------- the end


def test_the_table_alone_outlives_the_stack(
    keyed: Deployment, reader: Caller, request: pytest.FixtureRequest
) -> None:
    """`sam delete` takes everything but the table, and that still has each incident."""
    table = keyed.outputs["IncidentTableName"]
    dynamodb = keyed.client("dynamodb")

    def incidents() -> int:
        pages = dynamodb.get_paginator("query").paginate(
            TableName=table,
            Select="COUNT",
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": "INCIDENTS"}},
        )
        return sum(page["Count"] for page in pages)

    kept = incidents()
    assert kept > 0
    deleted: Deployment = request.getfixturevalue("deleted")
    assert dynamodb.list_tables()["TableNames"] == [table]
    assert incidents() == kept
    left = {
        "functions": deleted.client("lambda").list_functions()["Functions"],
        "layers": deleted.client("lambda").list_layers()["Layers"],
        "rules": deleted.client("events").list_rules()["Rules"],
        "APIs": deleted.client("apigateway").get_rest_apis()["items"],
        "roles": [
            role
            for role in deleted.client("iam").list_roles()["Roles"]
            # It serves all APIs of the account.
            if not role["RoleName"].startswith(f"{STACK}-GatewayRole")
        ],
        "secrets": deleted.client("secretsmanager").list_secrets()["SecretList"],
        "topics": deleted.client("sns").list_topics()["Topics"],
        "log groups": deleted.client("logs").describe_log_groups()["logGroups"],
        "alarms": deleted.client("cloudwatch").describe_alarms()["MetricAlarms"],
        "dashboards": deleted.client("cloudwatch").list_dashboards()["DashboardEntries"],
    }
    assert not any(left.values()), left
    assert not [it for it in deleted.client("sqs").list_queues()["QueueUrls"] if STACK in it]
    assert reader.ask("/incidents").status in (403, 404)
