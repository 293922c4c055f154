"""What is measured of reading, for processes of its own (`subject.py`): the real reader, and floors below it.

What is imported here is in the memory that is measured, so it is little.
"""

import json
import os
import socket
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.functions import TABLE_NAME, Reader, make_event, read_header
from benchmarks.subject import Work

# Emulators want a signature and do not check it.
_HEADERS = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Date": "20260101T000000Z",
    "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request,"
    " SignedHeaders=host;x-amz-date;x-amz-target, Signature=0",
}


def call_dynamodb(connection: HTTPConnection, operation: str, body: str) -> bytes:
    """The answer of an emulator, past every client; raises RuntimeError if it refuses."""
    target = {"X-Amz-Target": f"DynamoDB_20120810.{operation}"}
    connection.request("POST", "/", body, _HEADERS | target)
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        raise RuntimeError(f"{operation}: {answer.decode()[:200]}")
    return answer


def make_advance(endpoint_url: str) -> Callable[[], None]:
    """Moves the state on to a later sequence, of an entry that is not there: no page is the same page
    again.
    """

    def advance() -> None:
        # A connection of its own each time: an emulator closes one that is idle for long.
        connection = HTTPConnection(urlsplit(endpoint_url).netloc)
        body = {
            "TableName": TABLE_NAME,
            "Key": {"pk": {"S": "STATE"}, "sk": {"S": "STATE"}},
            "UpdateExpression": "SET #projected = :sequence",
            "ExpressionAttributeNames": {"#projected": "projected"},
            "ExpressionAttributeValues": {":sequence": {"N": str(time.time_ns() // 1000)}},
        }
        call_dynamodb(connection, "UpdateItem", json.dumps(body))
        connection.close()

    return advance


def ask_reader(
    path: str,
    queries: list[str],
    *,
    again: bool = False,
    headers: Mapping[str, str] | None = None,
    status: int = 200,
) -> Work:
    """The reader's handler, one query string after the other; at a later snapshot each time but ``again``."""
    reader = Reader()
    events = cycle([make_event(path, query, headers) for query in queries])
    before = _nothing if again else make_advance(os.environ["AWS_ENDPOINT_URL_DYNAMODB"])
    return Work(lambda: len(reader.call(next(events), status=status)["body"]), before)


def ask_for_the_same(path: str, query: str, *, alone: bool) -> Work:
    """A client that has the page already; got anew each time unless it is ``alone``: nobody changes it."""
    reader = Reader()
    event: dict[str, Any] = {}

    def get_page() -> None:
        if not (alone and event):
            etag = read_header(reader.get(path, query), "ETag")
            event.update(make_event(path, query, {"If-None-Match": etag}))

    # As many bytes as a status, so that it is not taken for a run that did nothing.
    return Work(lambda: len(str(reader.call(event, status=304)["statusCode"])), get_page)


def write_page(to: str, limit: int) -> Work:
    """Writes the reader's answer into a file, for whoever is to give the same."""
    reader = Reader()
    return Work(lambda: Path(to).write_text(reader.get("/incidents", f"limit={limit}")["body"], "utf-8"))


def walk_with_reader(limit: int, at_most: int | None = None) -> Work:
    """All pages of one walk, or the first few, at a later snapshot each time."""
    reader = Reader()
    return Work(
        lambda: reader.walk(limit, at_most=at_most)[1],
        make_advance(os.environ["AWS_ENDPOINT_URL_DYNAMODB"]),
    )


def query_with_boto3(bodies: list[str]) -> Work:
    """A client of boto3 as it comes that makes the same queries."""
    import boto3

    client = boto3.client("dynamodb")
    requests = [json.loads(body) for body in bodies]
    return Work(lambda: sum(len(client.query(**request)["Items"]) for request in requests))


def query_over_http(bodies: list[str]) -> Work:
    """The least that asking costs: signed before, one connection that nobody watches over, parsed as JSON."""
    connection = HTTPConnection(urlsplit(os.environ["AWS_ENDPOINT_URL_DYNAMODB"]).netloc)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask() -> int:
        return sum(len(json.loads(call_dynamodb(connection, "Query", body))["Items"]) for body in bodies)

    return Work(ask)


def group_from_memory(answers: list[str], limit: int) -> Work:
    """What the reader makes of the answers to a walk's queries, all pages of it, without asking anybody."""
    from functions.api.walk import Position, Snapshot, Walk
    from functions.api.walker import Walker
    from shared.domain.grouping import render_groups
    from shared.domain.retention import Retention

    table: Any = _Remembered([item for answer in answers for item in json.loads(answer)["Items"]])
    walker = Walker(table, Retention(0))
    walk = Walk(Snapshot(1, "2026-01-01T00:00:00Z", True, 0))

    def group() -> int:
        size, start, is_over = 0, None, False
        while not is_over:
            page = walker.read_page(walk, start, limit=limit)
            size += len(render_groups(page.groups))
            start = page.next and Position(page.next.sort_key)
            is_over = start is None
        return size

    return Work(group)


class _Remembered:
    """As much of a table as a walk asks for, of items that were parsed before."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        by_key = {item["sk"]["S"]: item for item in items}
        self._keys = sorted(by_key)
        self._items = [by_key[key] for key in self._keys]

    def query_page(
        self, pk: str, *, between: tuple[str, str], after: str | None, limit: int, **_: Any
    ) -> tuple[list[dict[str, Any]], str | None]:
        """The next ``limit`` items."""
        begin = bisect_right(self._keys, after) if after else bisect_left(self._keys, between[0])
        end = begin + limit
        return self._items[begin:end], self._keys[end - 1] if end < len(self._keys) else None


def parse_json(texts: list[str]) -> Work:
    """The answers to the queries as JSON and no more."""
    encoded = [text.encode() for text in texts]
    return Work(lambda: sum(len(json.loads(each)["Items"]) for each in encoded))


def answer_constant(text: str) -> Work:
    """A handler that asks nobody."""

    def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
        return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": text}

    event = make_event("/incidents")
    return Work(lambda: len(handler(event, None)["body"]))


def _nothing() -> None:
    pass
