"""What the functions' code asks of AWS, recorded from botocore while the tests run, and what roles allow.

The recorder hangs in botocore itself, and in what goes past its client, so that each call counts which is
really made, whoever made the client: on the emulators, never a fake's. A call belongs to the function whose
code is on the stack, also when a thread of the store makes it; what a test asks for itself belongs to none.
"""

import functools
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import local
from types import FrameType
from typing import Any

import botocore.client

from shared.direct_reads import DirectReads

FUNCTIONS = {"poller": "PollerRole", "api": "ApiRole"}

# Which resource of the template a service's calls are about, and where a call names it.
_RESOURCES = {
    "dynamodb": "IncidentTable",
    "secretsmanager": "UpstreamSecret",
    "sns": "IncidentTopic",
}
# IAM has an action for each operation of these services, of the same name. Whoever uses another service adds
# it here after a look at the service's page in the Service Authorization Reference.
_ACTIONS_ARE_OPERATIONS = frozenset(_RESOURCES)

# What Lambda itself does in a function's name, where no test can see it.
BY_LAMBDA: Mapping[str, str] = {
    "logs:CreateLogStream": "Lambda writes what a function prints",
    "logs:PutLogEvents": "Lambda writes what a function prints",
    "sqs:SendMessage": "Lambda hands over the event of a poll that failed (the deployment's test sees it)",
    "xray:PutTelemetryRecords": "Lambda sends traces, where TracingEnabled is on",
    "xray:PutTraceSegments": "Lambda sends traces, where TracingEnabled is on",
    "kms:Decrypt": "Secrets Manager decrypts in the caller's name, where the secret has a key of its own",
}
# AWS knows no resource for these.
WITHOUT_RESOURCE: Mapping[str, str] = {
    "xray:PutTelemetryRecords": "X-Ray has no resources",
    "xray:PutTraceSegments": "X-Ray has no resources",
}
READING = frozenset({"dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"})


class UnknownServiceError(Exception):
    """The code uses a service whose actions nobody has looked up yet (tests/permissions.py)."""


@dataclass(frozen=True, slots=True)
class Use:
    """One function's action on a resource of the template; ``partition`` is DynamoDB's, up to ``#``."""

    function: str
    action: str
    resource: str
    partition: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """One action that a role allows on one resource; ``partitions`` limits DynamoDB's, empty for all."""

    action: str
    resource: str
    partitions: frozenset[str] = frozenset()


@dataclass(slots=True)
class Recorder:
    """Collects uses from :meth:`start` on, in all threads."""

    uses: set[Use] = field(default_factory=set)
    _of_thread: local = field(default_factory=local)

    def start(self) -> None:
        """Hang into botocore and into the threads that the code starts, for the rest of the process."""
        call = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]  # in no stub
        submit = ThreadPoolExecutor.submit

        @functools.wraps(call)
        def recorded_call(client: Any, operation: str, parameters: Mapping[str, Any]) -> Any:
            if function := self._function():
                self.uses |= set(
                    read_uses(function, client.meta.service_model.service_name, operation, parameters)
                )
            return call(client, operation, parameters)

        send = DirectReads.send

        @functools.wraps(send)
        def recorded_send(
            reads: DirectReads, operation: str, request: Any, parameters: Mapping[str, Any]
        ) -> bytes | None:
            if function := self._function():
                self.uses |= set(read_uses(function, "dynamodb", operation, parameters))
            return send(reads, operation, request, parameters)

        @functools.wraps(submit)
        def submitted(
            pool: ThreadPoolExecutor, work: Callable[..., Any], /, *arguments: Any, **named: Any
        ) -> Future[Any]:
            function = self._function()
            return submit(pool, self._in_the_name_of, function, work, *arguments, **named)

        botocore.client.BaseClient._make_api_call = recorded_call  # type: ignore[attr-defined]  # in no stub
        DirectReads.send = recorded_send  # type: ignore[method-assign]  # watched
        ThreadPoolExecutor.submit = submitted  # type: ignore[method-assign]  # watched

    def _in_the_name_of(self, function: str, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        before, self._of_thread.function = getattr(self._of_thread, "function", ""), function
        try:
            return work(*arguments, **named)
        finally:
            self._of_thread.function = before

    def _function(self) -> str:
        frame: FrameType | None = sys._getframe(2)
        while frame:
            package, _, rest = str(frame.f_globals.get("__name__", "")).partition(".")
            if package == "functions" and (name := rest.partition(".")[0]) in FUNCTIONS:
                return name
            frame = frame.f_back
        return getattr(self._of_thread, "function", "")


def read_uses(function: str, service: str, operation: str, parameters: Mapping[str, Any]) -> Iterator[Use]:
    """What one call of botocore needs permission for. Raises UnknownServiceError."""
    if service not in _ACTIONS_ARE_OPERATIONS:
        raise UnknownServiceError(f"functions.{function} calls {service}: add it to tests/permissions.py")
    use = functools.partial(Use, function, f"{service}:{operation}", _RESOURCES[service])
    if service != "dynamodb":
        yield use()
        return
    for key in _read_partition_keys(operation, parameters):
        yield use(key.partition("#")[0])


def _read_partition_keys(operation: str, parameters: Mapping[str, Any]) -> Iterator[str]:
    match operation:
        case "GetItem" | "UpdateItem" | "DeleteItem":
            yield parameters["Key"]["pk"]["S"]
        case "PutItem":
            yield parameters["Item"]["pk"]["S"]
        case "BatchGetItem":
            for request in parameters["RequestItems"].values():
                yield from (key["pk"]["S"] for key in request["Keys"])
        case "BatchWriteItem":
            for requests in parameters["RequestItems"].values():
                for request in requests:
                    ((kind, body),) = request.items()
                    yield (body["Item"] if kind == "PutRequest" else body["Key"])["pk"]["S"]
        case "Query":
            (name,) = re.findall(r"\bpk = (:\w+)", parameters["KeyConditionExpression"])
            yield parameters["ExpressionAttributeValues"][name]["S"]
        case _:
            raise UnknownServiceError(f"dynamodb:{operation}: say in tests/permissions.py where its key is")


def read_grants(role: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[Grant]:
    """What a role allows, its policies worked out; ``names`` has resources by what stands for them.

    Raises ValueError for a statement of another kind, because what it allows is not understood.
    """
    if role.get("ManagedPolicyArns"):
        raise ValueError("a managed policy allows what does not stand here")
    for policy in role["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            unknown = statement.keys() - {"Sid", "Effect", "Action", "Resource", "Condition"}
            if unknown or statement["Effect"] != "Allow":
                raise ValueError(f"{statement.get('Sid')} is not understood")
            keys = statement.get("Condition", {}).get("ForAllValues:StringEquals", {})
            for action in _listed(statement["Action"]):
                for resource in _listed(statement["Resource"]):
                    partitions = frozenset(keys.get("dynamodb:LeadingKeys", ()))
                    yield Grant(action, names.get(resource, resource), partitions)


def find_missing(uses: set[Use], grants: set[Grant]) -> set[Use]:
    """What a function does and its role does not allow."""
    return {use for use in uses if not any(_allows(grant, use) for grant in grants)}


def find_spare(uses: set[Use], grants: set[Grant]) -> set[str]:
    """What a role allows and nobody does: an action, or a partition of one."""
    spare = set()
    for grant in grants:
        if grant.action in BY_LAMBDA:
            continue
        of_it = {use for use in uses if _allows(grant, use)}
        if not of_it:
            spare.add(f"{grant.action} on {grant.resource}")
        # The statement's actions share its partitions: one of them is enough.
        used = {use.partition for use in uses if use.action in {each.action for each in grants}}
        spare |= {f"partition {each}" for each in grant.partitions - used}
    return spare


def _allows(grant: Grant, use: Use) -> bool:
    within = not grant.partitions or use.partition in grant.partitions
    return (grant.action, grant.resource) == (use.action, use.resource) and within


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
