"""botocore checks none of the requests to the table: nothing that a client sends may need checking."""

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import botocore.session
from botocore.validate import ParamValidator

from tests.fakes import Clock
from tests.integration.test_bounded_pages import NOW, make_client, make_item

MODEL = botocore.session.get_session().get_service_model("dynamodb")
# Amazon DynamoDB Developer Guide, "Constraints": bytes of a sort key, digits of a number.
MAX_SORT_KEY_BYTES = 1_024
NUMBER = re.compile(r"-?[0-9]{1,38}(\.[0-9]{1,38})?")

PATHS = ("/incidents", "/employees/7/incidents", "/incidents/unattributed", "/incidents/changes")
NAMES = ("limit", "cursor", "token", "priority", "type", "since", "until", "schema", "", "employee_id")
VALUES = (
    "", " ", "0", "-1", "-0", "1", "500", "0" * 20, "9" * 10, "9" * 20, "9" * 21, "9" * 2_000, "1e9", "1e400",
    "nan", "0.0", "00.50", "1795413600.1234567", "1795413600.12345678", "2026-11-23T06:00:00Z",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "low", "low,high,low", ",", "misuse", "ocsf",
    "null", "7#", "7$", ":", "\x00", "\n7", "7\n", "\ud800", "٣", '"B"', ":pk", "#sequence", "STATE",
)  # fmt: skip


def test_nothing_that_botocore_would_refuse_reaches_the_table(make_reader: Callable[..., Any]) -> None:
    """Whatever is in the path or in a parameter, and wherever a cursor was changed: each request to the table
    has just what the service's model says, no empty or overlong text, and numbers that are some.
    """
    client = make_client(make_item(number, str(number % 20)) for number in range(60))
    reader = make_reader(client, clock=Clock(NOW))
    cursor = reader.get("/incidents", limit="3").json["next_cursor"]
    client.requests.clear()
    for path, query in questions(cursor):
        answer = reader.get(path, **query)
        assert answer.status in (200, 400, 404), (path, query)
        for operation, request in client.requests:
            shape: Any = MODEL.operation_model(operation).input_shape
            report = ParamValidator().validate(request, shape)
            assert not report.has_errors(), (path, query, report.generate_report())
            for kind, value in values_in(request):
                if kind == "N":
                    assert NUMBER.fullmatch(value), (path, query)
                else:
                    assert 0 < len(value.encode()) <= MAX_SORT_KEY_BYTES, (path, query)
        client.requests.clear()


def questions(cursor: str) -> Iterator[tuple[str, dict[str, str]]]:
    """One hostile thing at a time: what is refused for two would hide either."""
    for value in VALUES:
        yield f"/employees/{quote(value, safe='', errors='replace')}/incidents", {}
        for path in PATHS:
            for name in NAMES:
                yield path, {name: value}
    for place in range(len(cursor) + 1):
        for letter in ("", "A", "=", "\x00"):
            yield PATHS[0], {"cursor": cursor[:place] + letter + cursor[place + 1 :]}
    for path in PATHS:
        yield path, {"cursor": cursor}
        yield path, {"token": cursor}


def values_in(request: Any) -> Iterator[tuple[str, str]]:
    """The keys and the values of a request, each with its kind."""
    for name, value in request.items():
        if name in ("S", "N"):
            yield name, value
        elif isinstance(value, dict):
            yield from values_in(value)
