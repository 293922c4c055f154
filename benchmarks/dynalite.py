"""dynalite, a DynamoDB emulator of other people that answers fast from a large table and counts its units
truly.
"""

import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import batched
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3

from benchmarks.dynamodb import encode_bytes
from benchmarks.functions import TABLE_NAME
from benchmarks.readers import call_dynamodb
from local.emulator import aws_environment
from local.ports import answers, find_free_port
from local.processes import PROJECT_PATH, Children
from local.template import load_template, read_table
from tests.fakes import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_PROGRAM = PROJECT_PATH / ".tools/dynalite/node_modules/dynalite/cli.js"
_THREADS = 2
_WRITE_BATCH = 25


def is_installed() -> bool:
    """Whether there is one to measure on: it needs Node."""
    return _PROGRAM.exists() and shutil.which("node") is not None


@contextmanager
def serve(items: Iterable[Item]) -> Iterator[tuple[str, float]]:
    """An instance of its own that holds the items, until the end of the block: its URL, and the seconds that
    loading took.
    """
    node = shutil.which("node") or "node"
    port = find_free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="incident-bench-") as folder, Children() as children:
        children.start(
            "dynalite",
            [
                *(node, "--max-old-space-size=12000", _PROGRAM),
                *("--host", "127.0.0.1", "--port", str(port), "--createTableMs", "0"),
            ],
            environment=dict(os.environ),
            log=Path(folder) / "dynalite.log",
        )
        children.wait_until(lambda: answers(url), "dynalite", 30)
        began = time.monotonic()
        _load(url, items)
        yield url, time.monotonic() - began


def make_client(url: str) -> "DynamoDBClient":
    """A client of it; what the environment says does not matter."""
    aws = aws_environment(url)
    session = boto3.Session(
        aws_access_key_id=aws["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=aws["AWS_SECRET_ACCESS_KEY"],
        region_name=aws["AWS_REGION"],
    )
    return session.client("dynamodb", endpoint_url=url)


def count_units(url: str, operation: str, body: str) -> float:
    """The capacity units that it says a recorded request consumes."""
    connection = HTTPConnection(urlsplit(url).netloc)
    request = json.loads(body) | {"ReturnConsumedCapacity": "TOTAL"}
    answer = json.loads(call_dynamodb(connection, operation, json.dumps(request)))
    return float(answer["ConsumedCapacity"]["CapacityUnits"])


def count_all_units(client: "DynamoDBClient") -> Counter[str]:
    """What it says that all further requests of a client consume, as ``read`` and ``write``."""
    said: Counter[str] = Counter()

    def ask(params: dict[str, Any], **_: Any) -> None:
        params["ReturnConsumedCapacity"] = "TOTAL"

    def listen(parsed: dict[str, Any], model: Any, **_: Any) -> None:
        consumed = parsed.get("ConsumedCapacity", [])
        kind = "read" if model.name in ("GetItem", "BatchGetItem", "Query") else "write"
        for each in consumed if isinstance(consumed, list) else [consumed]:
            said[kind] += each["CapacityUnits"]

    client.meta.events.register("provide-client-params.dynamodb.*", ask)
    client.meta.events.register("after-call.dynamodb.*", listen)
    return said


def _load(url: str, items: Iterable[Item]) -> None:
    client = make_client(url)
    client.create_table(TableName=TABLE_NAME, **read_table(load_template()))
    client.get_waiter("table_exists").wait(TableName=TABLE_NAME, WaiterConfig={"Delay": 1})
    connections = local()

    def write(batch: tuple[Item, ...]) -> None:
        if not hasattr(connections, "mine"):
            connections.mine = HTTPConnection(urlsplit(url).netloc)
        parts = [{"PutRequest": {"Item": item}} for item in batch]
        body = json.dumps({"RequestItems": {TABLE_NAME: parts}}, default=encode_bytes)
        call_dynamodb(connections.mine, "BatchWriteItem", body)

    with ThreadPoolExecutor(_THREADS) as threads:
        # A million at once would all be waiting in memory.
        for portion in batched(batched(items, _WRITE_BATCH, strict=False), 400, strict=False):
            list(threads.map(write, portion))
