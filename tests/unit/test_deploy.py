"""`make deploy` looks before it leaps: everything that is wrong is told at once, with what to do about it."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from local.template import load_template
from scripts.deploy import prepare, read_request
from scripts.environments import RefusedError, identify
from scripts.preflight import (
    Stack,
    effective_parameters,
    find_account_faults,
    find_parameter_faults,
    find_stack_faults,
    read_stack,
)

TEMPLATE = load_template()
URL = {"UpstreamBaseUrl": "https://incidents.example.com"}
FIRST = {"Stage": "dev"} | URL
CERTIFICATE = "arn:aws:acm:eu-central-1:123456789012:certificate/a"
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:theirs-AbCdEf"


class Account:
    """A session whose clients answer what an account says; what it has no answer for is not permitted."""

    region_name: str | None = "eu-central-1"

    def __init__(self, **answers: Any) -> None:
        self._answers = {
            "get_account": {"cloudwatchRoleArn": "arn:aws:iam::123456789012:role/logs"}
        } | answers

    def client(self, service: str) -> "Account":
        return self

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def answer(**arguments: str) -> Any:
            found = self._answers.get(operation, refusal("AccessDeniedException"))
            if isinstance(found, Exception):
                raise found
            return found

        return answer


def refusal(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "an operation")


def parameter_faults(given: Mapping[str, str], stack: Stack | None = None) -> list[str]:
    return list(find_parameter_faults(TEMPLATE, given, stack))


# ---------------------------------------------------------------- what is asked for


def test_make_hands_over_names_and_values() -> None:
    """Stage comes from ENV; values may be quoted; the upstream's address has a variable of its own."""
    assert read_request(
        {
            "ENV": "prod",
            "UPSTREAM_BASE_URL": "https://u.example",
            "PARAMETERS": "RetentionDays=30 LogLevel='DEBUG'",
        }
    ) == (
        "prod",
        {"RetentionDays": "30", "LogLevel": "DEBUG", "UpstreamBaseUrl": "https://u.example", "Stage": "prod"},
    )
    assert read_request({"ENV": "dev", "UPSTREAM_BASE_URL": ""}) == ("dev", {"Stage": "dev"})


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, "ENV is missing: say ENV=dev, ENV=staging, ENV=prod"),
        ({"ENV": "default"}, "ENV is default: say"),
        ({"ENV": "production"}, "ENV is production: say"),
        ({"ENV": "dev", "PARAMETERS": "RetentionDays 30"}, 'write "Name=value Name=value"'),
        ({"ENV": "dev", "PARAMETERS": "A='b"}, "PARAMETERS can't be read"),
        ({"ENV": "dev", "PARAMETERS": "Stage=prod"}, "Stage=prod is not ENV=dev"),
    ],
)
def test_a_request_that_can_not_be_meant_is_refused(environ: dict[str, str], told: str) -> None:
    """No stage is guessed, and none is deployed into another's stack."""
    with pytest.raises(RefusedError) as refused:
        read_request(environ)
    assert told in str(refused.value)


def test_a_person_without_credentials_or_region_is_told_what_to_set() -> None:
    """The two things that a new user lacks."""
    account = Account(get_caller_identity={"Account": "123456789012"})
    assert identify(account) == "123456789012"
    account.region_name = None
    with pytest.raises(RefusedError, match="set AWS_REGION"):
        identify(account)
    for error in (NoCredentialsError(), refusal("ExpiredToken")):
        with pytest.raises(RefusedError, match=r"aws sso login.*AWS_PROFILE"):
            identify(Account(get_caller_identity=error))


# ---------------------------------------------------------------- parameters


def test_the_first_deployment_needs_the_upstreams_address_and_later_ones_keep_it() -> None:
    """What has no default is asked for once."""
    (fault,) = parameter_faults({"Stage": "dev"})
    assert fault.startswith("UpstreamBaseUrl is missing. Where the upstream answers")
    assert fault.endswith("UPSTREAM_BASE_URL=https://…")
    assert parameter_faults({"Stage": "dev"}, Stack("UPDATE_COMPLETE", FIRST)) == []
    assert parameter_faults(FIRST) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"RetentonDays": "30"}, "RetentonDays is no parameter: did you mean RetentionDays?"),
        ({"Xyzzy": "1"}, "Xyzzy is no parameter"),
        ({"RetentionDays": "many"}, "RetentionDays=many: must be a number"),
        ({"RetentionDays": "3651"}, "RetentionDays=3651: must be 0 to 3650"),
        ({"PollIntervalMinutes": "7"}, "PollIntervalMinutes=7: must be one of 1, 2, 3"),
        ({"AlarmEmail": "nobody"}, "AlarmEmail=nobody: must be empty, or one email address."),
        (
            {"UpstreamBaseUrl": "https://a:b@c.example"},
            "must be an http:// or https:// URL without credentials",
        ),
        (
            {"DomainName": "a." * 126 + "example", "CertificateArn": CERTIFICATE},
            "must be empty, or a domain name",
        ),
        ({"Authorizer": "COGNITO"}, "Authorizer=COGNITO needs AuthorizerArn"),
        ({"Authorizer": "LAMBDA"}, "Authorizer=LAMBDA needs AuthorizerArn"),
        ({"Authorizer": "NONE"}, "Authorizer=NONE: must be one of IAM, API_KEY, COGNITO, LAMBDA"),
        ({"DomainName": "a.example"}, "DomainName needs CertificateArn"),
        (
            {"SnapStartEnabled": "true", "ProvisionedConcurrency": "1"},
            "SnapStartEnabled and ProvisionedConcurrency exclude each other",
        ),
    ],
)
def test_what_cloudformation_would_refuse_is_refused_before_anything_is_built(
    given: dict[str, str], told: str
) -> None:
    """With the template's own words."""
    (fault,) = parameter_faults(FIRST | given)
    assert told in fault


def test_the_templates_defaults_are_all_accepted() -> None:
    """What nobody chose is never refused."""
    assert parameter_faults(effective_parameters(TEMPLATE, FIRST, None)) == []


def test_everything_that_is_wrong_is_told_at_once() -> None:
    """One look, not one attempt for each mistake."""
    with pytest.raises(RefusedError) as refused:
        prepare(Account(), "dev", {"Stage": "dev", "LogLevel": "LOUD"}, Stack("ROLLBACK_COMPLETE"))
    stack, level, url = str(refused.value).splitlines()
    assert "sam delete --config-env dev" in stack
    assert level.startswith("LogLevel=LOUD: must be one of DEBUG")
    assert url.startswith("UpstreamBaseUrl is missing")


# ---------------------------------------------------------------- stack and account


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("CREATE_COMPLETE", ""),
        ("UPDATE_COMPLETE", ""),
        ("UPDATE_ROLLBACK_COMPLETE", ""),
        ("ROLLBACK_COMPLETE", "sam delete"),
        ("REVIEW_IN_PROGRESS", "sam delete"),
        ("UPDATE_IN_PROGRESS", "wait"),
        ("DELETE_IN_PROGRESS", "wait"),
    ],
)
def test_a_stack_that_can_not_be_updated_is_named_with_the_way_out(status: str, told: str) -> None:
    """Else `sam` ends with CloudFormation's own words after the build."""
    faults = list(find_stack_faults(Stack(status), "dev"))
    assert [told in fault for fault in faults] == ([True] if told else [])


def test_no_stack_is_no_fault_and_no_permission_is_no_stack() -> None:
    """Only CloudFormation's "does not exist" means that this is the first deployment."""
    missing = refusal("ValidationError", "Stack with id x does not exist")
    assert read_stack(Account(describe_stacks=missing), "x") is None
    with pytest.raises(ClientError):
        read_stack(Account(), "x")
    there = {
        "StackStatus": "CREATE_COMPLETE",
        "Parameters": [{"ParameterKey": "Stage", "ParameterValue": "dev"}],
    }
    assert read_stack(Account(describe_stacks={"Stacks": [there]}), "x") == Stack(
        "CREATE_COMPLETE", {"Stage": "dev"}
    )


def test_an_existing_secret_exists() -> None:
    """One that may not be looked at is left to CloudFormation."""
    given = {"UpstreamSecretArn": SECRET}
    (fault,) = find_account_faults(Account(describe_secret=refusal("ResourceNotFoundException")), given)
    assert "no such secret" in fault
    assert list(find_account_faults(Account(describe_secret={"ARN": SECRET}), given)) == []
    assert list(find_account_faults(Account(), given)) == []


@pytest.mark.parametrize(
    ("free", "refused"), [(10, True), (100, True), (101, True), (102, False), (1000, False)]
)
def test_concurrency_that_a_new_account_can_not_reserve_is_refused(free: int, refused: bool) -> None:
    """Lambda keeps 100 executions unreserved."""
    account = Account(get_account_settings={"AccountLimit": {"UnreservedConcurrentExecutions": free}})
    faults = list(find_account_faults(account, {"PollerReservedConcurrency": "2"}))
    assert bool(faults) is refused
    assert list(find_account_faults(account, {"PollerReservedConcurrency": "0"})) == []


@pytest.mark.parametrize(
    ("account", "given", "makes"),
    [
        ({"throttleSettings": {}}, {}, True),
        ({"throttleSettings": {}}, {"AccessLogEnabled": "false"}, False),
        ({"cloudwatchRoleArn": "arn:aws:iam::123456789012:role/theirs"}, {}, False),
        (refusal("AccessDeniedException"), {}, False),
    ],
)
def test_the_accounts_role_for_logs_is_made_only_where_there_is_none(
    account: Any, given: dict[str, str], makes: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """A setting of the whole account is never replaced, and never made without saying so."""
    parameters = prepare(Account(get_account=account), "dev", FIRST | given, None)
    assert (parameters.get("GatewayLogRole") == "create") is makes
    assert ("the stack makes one" in capsys.readouterr().out) is makes


def test_a_role_that_the_stack_made_stays_with_it() -> None:
    """The second deployment sees the account's role, and must not take it away."""
    stack = Stack("CREATE_COMPLETE", FIRST | {"GatewayLogRole": "create", "Architecture": "x86_64"})
    parameters = prepare(Account(), "dev", {"Stage": "dev"}, stack)
    # The processor is named because `sam build` does not ask the stack.
    assert parameters == {"Stage": "dev", "Architecture": "x86_64"}
    assert effective_parameters(TEMPLATE, parameters, stack)["GatewayLogRole"] == "create"
