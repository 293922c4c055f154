"""A DynamoDB in memory, over HTTP, that takes next to no time and counts what is asked of it.

It is `tests/fakes.py`, which a test holds to ministack's answers, behind a socket and in a process of its
own: what a client's process takes is then the client's alone. An answer to a read is kept until something is
written, so that asking again costs nothing here.
"""

import asyncio
import base64
import json
import multiprocessing
import socket
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

from botocore.exceptions import ClientError

from benchmarks.functions import TABLE_NAME
from benchmarks.units import write_units
from tests.fakes import Item, MemoryDynamoDB, item_size

_READS = {"GetItem": "get_item", "Query": "query", "BatchGetItem": "batch_get_item"}
_WRITES = {"PutItem": "put_item", "UpdateItem": "update_item", "BatchWriteItem": "batch_write_item"}
_COUNT = "Benchmark.Count"
_ANSWERS_KEPT = 64
_REQUESTS_KEPT = 8


class CountingDynamoDB(MemoryDynamoDB):
    """The one in memory, with what its writes cost and with texts that are not there twice."""

    def __init__(self) -> None:
        super().__init__(TABLE_NAME)
        self.write_units = 0

    def load(self, items: Iterable[Item]) -> None:
        """Put many items, and count what that costs."""
        for each in items:
            item = compact(each)
            before = self._find(item)
            self.write_units += write_units(item_size(before) if before else 0, item_size(item))
            super().load([item])

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        """BatchGetItem; of a key that is not there a unit is charged all the same."""
        answer = super().batch_get_item(**request)
        ((table, wanted),) = request["RequestItems"].items()
        self.read_units += len(wanted["Keys"]) - len(answer["Responses"][table])
        return answer

    def load_for_free(self, items: Iterable[Item]) -> None:
        """Put many items that were there before anything is counted; quickest in the order of their keys."""
        super().load(items)

    def items_of(self, *kinds: str) -> Iterator[Item]:
        """The items themselves whose partition keys begin so."""
        for pk, partition in self._partitions.items():
            if pk.startswith(kinds):
                yield from partition.items.values()


def compact(item: Item) -> Item:
    """A copy that shares the names of its attributes with all others: they would be most of a large table."""
    return {
        sys.intern(name): {sys.intern(kind): content for kind, content in value.items()}
        for name, value in item.items()
    }


class Counts:
    """The server's counters since they were last asked for."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.requests: int = answer["requests"]
        self.read_units: int = answer["read_units"]
        self.write_units: int = answer["write_units"]
        self.bytes: int = answer["bytes"]
        # The last few requests, the newest at the end: operation, body, answer.
        self.last: list[tuple[str, str, str]] = [tuple(each) for each in answer["last"]]


class Server:
    """A handle of the process that serves a table."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._connection = HTTPConnection("127.0.0.1", port)

    def count(self) -> Counts:
        """What was asked of it since the last time; begins anew."""
        self._connection.request("POST", "/", "{}", {"X-Amz-Target": _COUNT})
        return Counts(json.loads(self._connection.getresponse().read()))


@contextmanager
def serve(table: CountingDynamoDB) -> Iterator[Server]:
    """Serve what is in the table now, from a copy of this process, until the end of the block."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    # A fork shares the table's memory; nothing else of this process goes on there.
    process = multiprocessing.get_context("fork").Process(
        target=_serve_for_ever, args=(table, listener), daemon=True
    )
    process.start()
    port = listener.getsockname()[1]
    listener.close()
    try:
        yield Server(port)
    finally:
        process.terminate()
        process.join()


def _serve_for_ever(table: CountingDynamoDB, listener: socket.socket) -> None:
    service = _Service(table)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(service), sock=listener)
        await server.serve_forever()

    asyncio.run(run())


class _Service:
    """Bodies in, bodies out."""

    def __init__(self, table: CountingDynamoDB) -> None:
        self._table = table
        self._kept: dict[tuple[str, bytes], tuple[bytes, int]] = {}
        self._last: deque[tuple[str, str, str]] = deque(maxlen=_REQUESTS_KEPT)
        self._requests = self._read_units = self._bytes = 0
        self._written_before = table.write_units

    def answer(self, target: str, body: bytes) -> tuple[int, bytes]:
        service, _, operation = target.partition(".")
        if target == _COUNT:
            return 200, json.dumps(self._count()).encode()
        if service == "secretsmanager":
            secret = json.dumps({"username": "simulator", "password": "simulator"})
            return 200, json.dumps({"SecretString": secret}).encode()
        self._requests += 1
        try:
            status, answer = 200, self._execute(operation, body)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            status, answer = 400, json.dumps({"__type": f"x#{code}", "message": str(error)}).encode()
        self._bytes += len(answer)
        if operation in ("Query", "GetItem"):
            self._last.append((operation, body.decode(), answer.decode()))
        return status, answer

    def _execute(self, operation: str, body: bytes) -> bytes:
        if operation in _READS:
            kept = self._kept.get((operation, body))
            if kept is None:
                before = self._table.read_units
                answer = self._call(_READS[operation], body)
                kept = answer, self._table.read_units - before
                if len(self._kept) >= _ANSWERS_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[operation, body] = kept
            self._read_units += kept[1]
            return kept[0]
        self._kept.clear()
        return self._call(_WRITES[operation], body)

    def _call(self, method: str, body: bytes) -> bytes:
        request = json.loads(body, object_hook=_with_bytes)
        request.pop("ReturnConsumedCapacity", None)
        answer = getattr(self._table, method)(**request)
        self._table.requests.clear()
        return json.dumps(answer, default=encode_bytes, separators=(",", ":")).encode()

    def _count(self) -> Mapping[str, Any]:
        written = self._table.write_units
        counts = {
            "requests": self._requests,
            "read_units": self._read_units,
            "write_units": written - self._written_before,
            "bytes": self._bytes,
            "last": list(self._last),
        }
        self._requests = self._read_units = self._bytes = 0
        self._written_before = written
        self._last.clear()
        return counts


class _Connection(asyncio.Protocol):
    """As much of HTTP/1.1 as clients of DynamoDB speak."""

    def __init__(self, service: _Service) -> None:
        self._service = service
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of create_server
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while self._transport and (end := self._received.find(b"\r\n\r\n")) >= 0:
            lines = self._received[:end].decode("latin-1").split("\r\n")[1:]
            headers = {
                name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)
            }
            whole = end + 4 + int(headers.get("content-length", 0))
            if len(self._received) < whole:
                return
            body = bytes(self._received[end + 4 : whole])
            del self._received[:whole]
            status, answer = self._service.answer(headers.get("x-amz-target", ""), body)
            head = (
                f"HTTP/1.1 {status} X\r\nContent-Type: application/x-amz-json-1.0\r\n"
                f"Content-Length: {len(answer)}\r\n\r\n"
            )
            self._transport.write(head.encode() + answer)


def _with_bytes(value: dict[str, Any]) -> dict[str, Any]:
    """JSON has bytes as base64."""
    if value.keys() == {"B"} and isinstance(value["B"], str):
        return {"B": base64.b64decode(value["B"])}
    return value


def encode_bytes(value: object) -> str:
    """Bytes as JSON has them: the ``default`` of ``json.dumps``."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)
