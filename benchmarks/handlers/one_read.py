"""The least that a page which is kept can cost: one small read, and the same page for everybody.

The read is signed before, over one connection that nobody watches over, and nothing is made of its answer.
"""

import os
import socket
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_body = Path(os.environ["BENCH_PAGE"]).read_text("utf-8")
_read = '{"TableName":"incidents","Key":{"pk":{"S":"STATE"},"sk":{"S":"STATE"}},"ConsistentRead":true}'
# Emulators want a signature and do not check it.
_headers = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "DynamoDB_20120810.GetItem",
    "X-Amz-Date": "20260101T000000Z",
    "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request,"
    " SignedHeaders=host;x-amz-date;x-amz-target, Signature=0",
}
_connection = HTTPConnection(urlsplit(os.environ["AWS_ENDPOINT_URL_DYNAMODB"]).netloc)
_connection.connect()
_connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The page, whatever the event is, once the state was read."""
    _connection.request("POST", "/", _read, _headers)
    answer = _connection.getresponse()
    answer.read()
    return {
        "statusCode": answer.status,
        "headers": {"Content-Type": "application/json"},
        "body": _body,
    }
