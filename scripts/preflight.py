"""What has to be right before a deployment: told in one go, before anything is built or changed.

Each check gives sentences that say what to do. Nothing here changes anything in AWS.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local.template import Template

# What Lambda keeps free of reservations, whatever the account's limit is.
_UNRESERVED_AT_LEAST = 100
# A stack in one of these can't be updated: its first deployment failed, or its deletion.
_DEAD_STATES = {
    "CREATE_FAILED",
    "DELETE_FAILED",
    "REVIEW_IN_PROGRESS",
    "ROLLBACK_COMPLETE",
    "ROLLBACK_FAILED",
}


@dataclass(frozen=True, slots=True)
class Stack:
    """What is deployed already: its state, and the parameters that it keeps unless they are given anew."""

    status: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def read_stack(session: boto3.Session, name: str) -> Stack | None:
    """The stack, or None if there is none. Raises botocore's errors."""
    try:
        (stack,) = session.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" in error.response["Error"].get("Message", ""):
            return None
        raise
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in stack.get("Parameters", [])}
    return Stack(stack["StackStatus"], parameters)


def find_stack_faults(stack: Stack | None, environment: str) -> Iterator[str]:
    """Why this stack can't be deployed to now."""
    if stack is None:
        return
    if stack.status in _DEAD_STATES:
        yield (
            f"the stack is in {stack.status} and can't be updated: see its events for the reason, remove it"
            f" with `.tools/sam/bin/sam delete --config-env {environment}` and deploy again"
        )
    elif stack.status.endswith("_IN_PROGRESS"):
        yield f"the stack is in {stack.status}: wait until that has ended"


def find_parameter_faults(template: Template, given: Mapping[str, str], stack: Stack | None) -> Iterator[str]:
    """Which parameters are unknown, missing, or of a value that CloudFormation would refuse."""
    declared: Mapping[str, Any] = template["Parameters"]
    for name, value in given.items():
        if name not in declared:
            close = difflib.get_close_matches(name, declared, n=1)
            yield f"{name} is no parameter" + (f": did you mean {close[0]}?" if close else "")
        elif fault := _find_value_fault(declared[name], value):
            yield f"{name}={value}: {fault}"
    kept = stack.parameters if stack else {}
    for name, parameter in declared.items():
        if "Default" not in parameter and name not in given and name not in kept:
            hint = "UPSTREAM_BASE_URL=https://…" if name == "UpstreamBaseUrl" else f'PARAMETERS="{name}=…"'
            yield f"{name} is missing. {' '.join(parameter['Description'].split())} Give it: {hint}"
    values = effective_parameters(template, given, stack)
    if values.get("Authorizer") in ("COGNITO", "LAMBDA") and not values.get("AuthorizerArn"):
        yield f"Authorizer={values['Authorizer']} needs AuthorizerArn, the user pool's or the function's ARN"
    if values.get("SnapStartEnabled") == "true" and values.get("ProvisionedConcurrency") != "0":
        yield "SnapStartEnabled and ProvisionedConcurrency exclude each other: set one of them to its default"
    if values.get("DomainName") and not values.get("CertificateArn"):
        yield "DomainName needs CertificateArn, the ARN of its certificate in ACM in this region"


def effective_parameters(
    template: Template, given: Mapping[str, str], stack: Stack | None
) -> Mapping[str, str]:
    """What the stack would have: what is given, else what it has, else the defaults."""
    declared: Mapping[str, Any] = template["Parameters"]
    defaults = {name: str(each["Default"]) for name, each in declared.items() if "Default" in each}
    kept = {name: value for name, value in (stack.parameters if stack else {}).items() if name in declared}
    return defaults | kept | dict(given)


def _find_value_fault(parameter: Mapping[str, Any], value: str) -> str:
    allowed = parameter.get("AllowedValues")
    if allowed:
        return "" if value in map(str, allowed) else f"must be one of {', '.join(map(str, allowed))}"
    if parameter["Type"] == "Number":
        try:
            number = float(value)
        except ValueError:
            return "must be a number"
        low, high = parameter["MinValue"], parameter["MaxValue"]
        return "" if low <= number <= high else f"must be {low} to {high}"
    if len(value) > parameter["MaxLength"] or not re.fullmatch(parameter["AllowedPattern"], value):
        return str(parameter["ConstraintDescription"])
    return ""


def find_account_faults(session: boto3.Session, values: Mapping[str, str]) -> Iterator[str]:
    """What the account lacks for the parameters' values.

    A check that the person may not make is left out: CloudFormation makes it again.
    """
    secret = values.get("UpstreamSecretArn", "")
    if secret and _ask(session.client("secretsmanager").describe_secret, SecretId=secret) is _MISSING:
        yield f"UpstreamSecretArn={secret}: there is no such secret in this account and region"
    reserved = int(values.get("PollerReservedConcurrency", "0"))
    if reserved:
        settings = _ask(session.client("lambda").get_account_settings)
        free = settings["AccountLimit"]["UnreservedConcurrentExecutions"] if settings else None
        if free is not None and free - reserved < _UNRESERVED_AT_LEAST:
            yield (
                f"PollerReservedConcurrency={reserved}: {_UNRESERVED_AT_LEAST} executions have to stay free,"
                f" and this account has {free}. Use 0, or have the quota raised"
            )


def lacks_gateway_log_role(session: boto3.Session, values: Mapping[str, str]) -> bool:
    """Whether API Gateway is to log and the account has no role for that in this region yet."""
    if values.get("AccessLogEnabled") != "true" or values.get("GatewayLogRole") != "account":
        return False
    account = _ask(session.client("apigateway").get_account)
    return bool(account) and not account.get("cloudwatchRoleArn")


# Falsy, as None is: nothing to read.
_MISSING: dict[str, Any] = {}


def _ask(operation: Any, **arguments: str) -> Any:
    """The answer; None where it may not be asked, `_MISSING` where there is nothing of that name."""
    try:
        return operation(**arguments)
    except ClientError as error:
        return _MISSING if error.response["Error"]["Code"] == "ResourceNotFoundException" else None
    except BotoCoreError:
        return None
