"""Direct reads over a real connection: whatever the other end does, each read gets its own answer."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from zlib import crc32

import pytest

from shared import direct_reads
from shared.aws import make_dynamodb
from shared.direct_reads import DirectReads
from shared.repeated_get import RepeatedGet

type Fault = Callable[["_Handler", bytes], None]


class _Server(ThreadingHTTPServer):
    """Answers each read with the number of the request; ``fault`` answers those past botocore instead."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.number = 0
        self.fault: Fault | None = None
        self.faults = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One packet an answer: in two, each waits for an acknowledgement.
    wbufsize = -1
    server: _Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.number += 1
        body = json.dumps({"Item": {"number": {"N": str(self.server.number)}}}).encode()
        # botocore's client gives each request of its own an id.
        if self.server.fault and not self.headers["amz-sdk-invocation-id"]:
            self.server.faults += 1
            self.server.fault(self, body)
        else:
            self.give(body)

    def give(self, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def half_a_body(handler: _Handler, body: bytes) -> None:
    handler.give(body[: len(body) // 2], len(body))
    handler.close_connection = True


def more_than_was_said(handler: _Handler, body: bytes) -> None:
    """The second half is what the next answer on this connection would begin with."""
    handler.give(
        body + b'HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{"Item":{"number":{"N":"6"}}}', len(body)
    )


def an_answer_too_late(handler: _Handler, body: bytes) -> None:
    time.sleep(0.4)
    handler.give(body)


def another_checksum(handler: _Handler, body: bytes) -> None:
    handler.give(body, x_amz_crc32=str(crc32(body) ^ 1))


def no_checksum_at_all(handler: _Handler, body: bytes) -> None:
    handler.give(body, x_amz_crc32="none")


def chunks_without_an_end(handler: _Handler, body: bytes) -> None:
    handler.wfile.write(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(body), body)
    )
    handler.close_connection = True


def packed(handler: _Handler, body: bytes) -> None:
    handler.give(b"\x1f\x8b" + body, Content_Encoding="gzip")


def elsewhere(handler: _Handler, _: bytes) -> None:
    handler.wfile.write(b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")


def a_page_of_a_proxy(handler: _Handler, _: bytes) -> None:
    handler.give(b"<html>log in</html>")


def nothing(handler: _Handler, _: bytes) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(params=["repeated", "get_item", "query"])
def read(
    request: pytest.FixtureRequest, server: _Server, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], int]:
    """One read, in each of the ways that there are; the number in its answer."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(direct_reads, "_TIMEOUT_SECONDS", 0.2)
    # As if that long had passed.
    monkeypatch.setattr(direct_reads, "REST_SECONDS", 0.0)
    reads = DirectReads(make_dynamodb(read_timeout=2, attempts=1))
    get = RepeatedGet(reads, table_name="incidents", key=("a", "b"))
    key = {"pk": {"S": "a"}, "sk": {"S": "b"}}
    ways: dict[str, Callable[[], Any]] = {
        "repeated": get,
        "get_item": lambda: reads.get_item(TableName="incidents", Key=key)["Item"],
        "query": lambda: reads.query(TableName="incidents", KeyConditionExpression="pk = :pk")["Item"],
    }

    def number() -> int:
        item = ways[request.param]()
        assert item
        return int(item["number"]["N"])

    return number


FAULTS = (
    half_a_body, more_than_was_said, an_answer_too_late, another_checksum, no_checksum_at_all,
    chunks_without_an_end, packed, elsewhere, a_page_of_a_proxy, nothing,
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_read_gets_its_own_answer(server: _Server, read: Callable[[], int], fault: Fault) -> None:
    """The answer is the last one that was given when the read ends: none is of an earlier read, and none is
    what a fault made of it, neither while the fault lasts nor when it is over.
    """
    for _ in range(3):
        assert read() == server.number
    server.fault = fault
    for _ in range(3):
        assert read() == server.number
    assert server.faults == 3
    server.fault = None
    for _ in range(10):
        assert read() == server.number


def test_a_connection_that_was_closed_meanwhile_costs_one_more_read_at_most(
    server: _Server, read: Callable[[], int]
) -> None:
    """The other end closes after each answer without a word, as a balancer does with one that is idle."""

    def close_after(handler: _Handler, body: bytes) -> None:
        handler.give(body)
        handler.close_connection = True

    server.fault = close_after
    for _ in range(30):
        before = server.number
        assert before < read() == server.number <= before + 2
        time.sleep(0.01)
    assert server.faults > 10
