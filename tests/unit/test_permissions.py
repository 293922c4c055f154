"""Each role allows what its function does, and nothing else: judged by what the tests made them do."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest

from tests.permissions import (
    BY_LAMBDA,
    FUNCTIONS,
    READING,
    WITHOUT_RESOURCE,
    Grant,
    Recorder,
    UnknownServiceError,
    Use,
    find_missing,
    find_spare,
    read_grants,
    read_uses,
)
from tests.stack import STACK_NAME, Stack

# Everything that adds to a policy is on: a key of one's own, tracing.
PARAMETERS = {
    "TracingEnabled": "true",
    "UpstreamSecretKeyArn": "arn:aws:kms:eu-central-1:123456789012:key/0a1b",
    "GatewayLogRole": "create",
    "Authorizer": "LAMBDA",
    "AuthorizerArn": "arn:aws:lambda:eu-central-1:123456789012:function:judge",
}
STACK = Stack(PARAMETERS)
# By what stands for them in a policy that is worked out.
NAMES = {
    value: name for name in STACK.resources for value in (f"arn:aws:test:{name}", f"{STACK_NAME}-{name}")
}
# Account-wide and API Gateway's own; it needs AWS's managed policy, which serves log groups of any name.
ROLES_OF_OTHERS = {"GatewayRole"}


def grants_of(function: str) -> set[Grant]:
    return set(read_grants(STACK.resources[FUNCTIONS[function]]["Properties"], NAMES))


def uses_of(recorder: Recorder, function: str) -> set[Use]:
    return {use for use in recorder.uses if use.function == function}


# ---------------------------------------------------------------- what was recorded


@pytest.mark.judges_the_run
@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_that_a_function_does_is_missing_in_its_role(
    function: str, recorder: Recorder, is_whole_run: bool
) -> None:
    """In AWS each of these calls would fail: action, resource and partition count."""
    uses = uses_of(recorder, function)
    assert uses or not is_whole_run, "the run recorded nothing: it proves nothing"
    assert find_missing(uses, grants_of(function)) == set()


@pytest.mark.judges_the_run
@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_that_a_role_allows_is_to_spare(
    function: str, recorder: Recorder, is_whole_run: bool
) -> None:
    """What no test makes a function do, it does not need; judged after all tests have run."""
    if not is_whole_run:
        pytest.skip("only a run of all tests shows what is to spare")
    assert find_spare(uses_of(recorder, function), grants_of(function)) == set()


# ---------------------------------------------------------------- the policies as they stand


def test_the_reader_can_only_read() -> None:
    """A hole in the API gives away reads of incidents, never a write and never the upstream's password."""
    grants = {grant for grant in grants_of("api") if grant.action not in BY_LAMBDA}
    assert {grant.action for grant in grants} <= READING
    assert {grant.resource for grant in grants} == {"IncidentTable"}
    partitions = {grant.partitions for grant in grants}
    readable = {"STATE", "CURSOR_KEYS", "INCIDENTS", "UNATTRIBUTED", "JOURNAL", "EMPLOYEES", "SUMMARY"}
    assert partitions == {frozenset(readable)}


def test_no_wildcard_but_where_aws_knows_no_resource() -> None:
    """Not in an action, and in a resource only for what tests/permissions.py names, with its reason."""
    for function in FUNCTIONS:
        for grant in grants_of(function):
            assert "*" not in grant.action
            assert ("*" in grant.resource) == (grant.action in WITHOUT_RESOURCE), grant
            assert grant.resource in {*STACK.resources, "*", PARAMETERS["UpstreamSecretKeyArn"]}, grant


def test_what_lambda_does_is_on_the_functions_own_resources() -> None:
    """Logs go to the function's own group; only the poller has a queue."""
    for function, group in (("poller", "PollerLogGroup"), ("api", "ApiLogGroup")):
        logs = {grant for grant in grants_of(function) if grant.action.startswith("logs:")}
        assert {grant.resource for grant in logs} == {group}
        # A late invocation must not make the group again, without retention.
        assert {grant.action for grant in logs} == {"logs:CreateLogStream", "logs:PutLogEvents"}
    assert [grant.resource for grant in grants_of("poller") if grant.action == "sqs:SendMessage"] == [
        "DeadLetterQueue"
    ]


def test_there_is_no_second_source_of_permissions() -> None:
    """The two roles, and the account's for API Gateway: no managed policy, no SAM policy, none beside."""
    roles = STACK.of_type("AWS::IAM::Role")
    assert roles.keys() == {*FUNCTIONS.values()} | ROLES_OF_OTHERS
    beside = {each["Type"] for each in STACK.resources.values() if each["Type"].startswith("AWS::IAM::")}
    assert beside == {"AWS::IAM::Role"}
    for function, role in (("PollerFunction", "PollerRole"), ("ApiFunction", "ApiRole")):
        properties = STACK.resources[function]["Properties"]
        assert properties["Role"] == f"arn:aws:test:{role}"
        assert not {"Policies", "Connectors"} & properties.keys()
    for name, role in roles.items():
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        trusted = "apigateway.amazonaws.com" if name in ROLES_OF_OTHERS else "lambda.amazonaws.com"
        assert (trust["Principal"], trust["Action"]) == ({"Service": trusted}, "sts:AssumeRole")
    assert roles["GatewayRole"].keys() & {"Policies", "ManagedPolicyArns"} == {"ManagedPolicyArns"}
    (managed,) = roles["GatewayRole"]["ManagedPolicyArns"]
    assert managed.endswith(":aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs")


def test_what_others_may_do_is_theirs_alone() -> None:
    """Whoever may publish, send or call is a service of AWS, on behalf of this account or a resource."""
    kinds = ("AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy")
    statements = [
        statement
        for kind in kinds
        for policy in STACK.of_type(kind).values()
        for statement in policy["PolicyDocument"]["Statement"]
    ]
    allowed = [each for each in statements if each["Effect"] == "Allow"]
    assert allowed
    for statement in allowed:
        assert "*" not in str(statement["Action"]) + str(statement["Resource"])
        assert statement["Principal"].keys() == {"Service"}
        assert "aws:SourceArn" in str(statement["Condition"]) or "aws:SourceAccount" in str(
            statement["Condition"]
        )
    for permission in STACK.of_type("AWS::Lambda::Permission").values():
        assert permission["Principal"] == "apigateway.amazonaws.com"
        assert permission["SourceArn"].startswith("arn:aws:execute-api:")


# ---------------------------------------------------------------- the judge


USES = {
    Use("api", "dynamodb:GetItem", "IncidentTable", "STATE"),
    Use("api", "dynamodb:Query", "IncidentTable", "INCIDENTS"),
}
ROLE: Mapping[str, Any] = {
    "Policies": [
        {
            "PolicyDocument": {
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Action": ["dynamodb:GetItem", "dynamodb:Query"],
                        "Resource": "arn:aws:test:IncidentTable",
                        "Condition": {
                            "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["STATE", "INCIDENTS"]}
                        },
                    }
                ]
            }
        }
    ]
}


def judged(**changed: Any) -> tuple[set[Use], set[str]]:
    role: Any = deepcopy(ROLE)
    role["Policies"][0]["PolicyDocument"]["Statement"][0].update(changed)
    grants = set(read_grants(role, NAMES))
    return find_missing(USES, grants), find_spare(USES, grants)


def test_a_policy_that_fits_is_found_to_fit() -> None:
    """Neither missing nor to spare."""
    assert judged() == (set(), set())


@pytest.mark.parametrize(
    ("changed", "missing", "spare"),
    [
        ({"Action": "dynamodb:GetItem"}, 1, {"partition INCIDENTS"}),
        (
            {"Action": ["dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan"]},
            0,
            {"dynamodb:Scan on IncidentTable"},
        ),
        ({"Resource": "*"}, 2, {"dynamodb:GetItem on *", "dynamodb:Query on *"}),
        (
            {"Condition": {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["STATE"]}}},
            1,
            {"dynamodb:Query on IncidentTable"},
        ),
        (
            {
                "Condition": {
                    "ForAllValues:StringEquals": {
                        "dynamodb:LeadingKeys": ["STATE", "INCIDENTS", "IDENTITIES"]
                    }
                }
            },
            0,
            {"partition IDENTITIES"},
        ),
    ],
)
def test_a_policy_that_does_not_fit_is_found_out(
    changed: dict[str, Any], missing: int, spare: set[str]
) -> None:
    """An action or a partition too many or too few, a resource that is wider."""
    lacking, too_much = judged(**changed)
    assert (len(lacking), too_much) == (missing, spare)


@pytest.mark.parametrize(
    "changed", [{"Effect": "Deny"}, {"NotAction": "x"}, {"Principal": "*"}, {"NotResource": "*"}]
)
def test_a_statement_that_is_not_understood_is_refused(changed: dict[str, Any]) -> None:
    """It might allow anything."""
    with pytest.raises(ValueError, match="not understood"):
        judged(**changed)
    with pytest.raises(ValueError, match="managed policy"):
        list(
            read_grants({**ROLE, "ManagedPolicyArns": ["arn:aws:iam::aws:policy/AdministratorAccess"]}, NAMES)
        )


def test_a_service_or_an_operation_that_nobody_looked_up_is_refused() -> None:
    """IAM's name for it may be another, and its key may stand elsewhere."""
    with pytest.raises(UnknownServiceError, match="calls s3"):
        list(read_uses("poller", "s3", "ListObjectsV2", {}))
    with pytest.raises(UnknownServiceError, match="TransactWriteItems"):
        list(read_uses("poller", "dynamodb", "TransactWriteItems", {}))


@pytest.mark.parametrize(
    ("operation", "parameters", "partitions"),
    [
        ("GetItem", {"Key": {"pk": {"S": "ID#1"}}}, {"ID"}),
        ("PutItem", {"Item": {"pk": {"S": "JOURNAL"}}}, {"JOURNAL"}),
        ("UpdateItem", {"Key": {"pk": {"S": "STATE"}}}, {"STATE"}),
        (
            "BatchGetItem",
            {"RequestItems": {"t": {"Keys": [{"pk": {"S": "ID#1"}}, {"pk": {"S": "A"}}]}}},
            {"ID", "A"},
        ),
        (
            "BatchWriteItem",
            {
                "RequestItems": {
                    "t": [
                        {"PutRequest": {"Item": {"pk": {"S": "A"}}}},
                        {"DeleteRequest": {"Key": {"pk": {"S": "B"}}}},
                    ]
                }
            },
            {"A", "B"},
        ),
        (
            "Query",
            {
                "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last",
                "ExpressionAttributeValues": {":pk": {"S": "INCIDENTS"}, ":first": {"S": "0"}},
            },
            {"INCIDENTS"},
        ),
    ],
)
def test_the_partitions_of_a_call_are_read(
    operation: str, parameters: dict[str, Any], partitions: set[str]
) -> None:
    """Of each form that a request has, up to the first `#`."""
    uses = set(read_uses("poller", "dynamodb", operation, parameters))
    assert uses == {Use("poller", f"dynamodb:{operation}", "IncidentTable", each) for each in partitions}
