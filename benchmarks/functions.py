"""The two functions as Lambda would have them: their environment, their events, calls of the reader."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from local.emulator import aws_environment
from local.function_environment import build_base_environment, build_function_environment
from local.lambda_context import Function, load_function
from local.template import load_template

TABLE_NAME = "incidents"


def make_environment(
    logical_id: str, endpoint_url: str, *, upstream: str = "http://127.0.0.1:9", concurrency: int = 4
) -> dict[str, str]:
    """All variables of a function that finds its AWS behind ``endpoint_url``."""
    values = {
        "TABLE_NAME": TABLE_NAME,
        "UPSTREAM_BASE_URL": upstream,
        "UPSTREAM_SECRET_ARN": "upstream",
        "UPSTREAM_CONCURRENCY": str(concurrency),
        "RETENTION_DAYS": "0",
        "POLL_INTERVAL_SECONDS": "300",
        "NOTIFICATION_TOPIC_ARN": "",
        "NOTIFY_PRIORITY": "critical",
        "POWERTOOLS_METRICS_NAMESPACE": "benchmarks",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "AWS_ENDPOINT_URL_DYNAMODB": endpoint_url,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": endpoint_url,
        "AWS_ENDPOINT_URL_SNS": endpoint_url,
    }
    return build_function_environment(
        load_template(),
        logical_id,
        base=build_base_environment(os.environ),
        aws=aws_environment(endpoint_url),
        values=values,
    )


def make_event(path: str, query: str = "", headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A request as API Gateway hands it on; ``path`` is as the client wrote it."""
    multiple: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        multiple.setdefault(name, []).append(value)
    with_defaults = {"Accept": "application/json", "User-Agent": "benchmark", **(headers or {})}
    employee = path.split("/")[2] if path.startswith("/employees/") else None
    resource = "/employees/{employee_id}/incidents" if employee else path
    return {
        "resource": resource,
        "path": path,
        "httpMethod": "GET",
        "headers": with_defaults,
        "multiValueHeaders": {name: [value] for name, value in with_defaults.items()},
        "queryStringParameters": {name: values[-1] for name, values in multiple.items()} or None,
        "multiValueQueryStringParameters": multiple or None,
        "pathParameters": {"employee_id": employee} if employee else None,
        "stageVariables": None,
        "requestContext": {
            "httpMethod": "GET",
            "path": path,
            "requestId": "a-request",
            "resourcePath": resource,
            "stage": "dev",
            "identity": {"sourceIp": "192.0.2.10"},
        },
        "body": None,
        "isBase64Encoded": False,
    }


class Reader:
    """The reader's real handler in this process, whose environment has to be the reader's."""

    def __init__(self) -> None:
        self._function: Function = load_function(load_template(), "ApiFunction")

    def get(
        self, path: str, query: str = "", headers: Mapping[str, str] | None = None, *, status: int = 200
    ) -> dict[str, Any]:
        """What the handler answers; raises RuntimeError if that is of another status."""
        return self.call(make_event(path, query, headers), status=status)

    def call(self, event: dict[str, Any], *, status: int = 200) -> dict[str, Any]:
        """The same for an event that is made already."""
        answer: dict[str, Any] = self._function.handler(event, self._function.new_context())
        if answer["statusCode"] != status:
            raise RuntimeError(f"{answer['statusCode']} instead of {status}: {answer['body'][:200]}")
        return answer

    def walk(self, limit: int, *, at_most: int | None = None) -> tuple[int, int]:
        """Get every page, or the first few; returns how many there were, and their bytes."""
        pages = size = 0
        query = f"limit={limit}"
        while query and pages != at_most:
            body = self.get("/incidents", query)["body"]
            pages, size = pages + 1, size + len(body)
            cursor = read_next_cursor(body)
            query = f"cursor={cursor}" if cursor else ""
        return pages, size


def read_next_cursor(body: str) -> str | None:
    """The cursor in a page, without parsing what stands before it: that would be measured, too."""
    cursor: str | None = json.loads("{" + body[body.rindex('"next_cursor"') :])["next_cursor"]
    return cursor


def read_header(answer: Mapping[str, Any], name: str) -> str:
    """A header of what a handler answered."""
    values: Sequence[str] = answer["multiValueHeaders"][name]
    return values[0]
