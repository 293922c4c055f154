"""boto3 clients of DynamoDB whose HTTP answers a test gives; nothing is sent."""

from binascii import crc32
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse


class _Raw:
    """What urllib3 gives: a body in one piece."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self._body


@dataclass
class CannedAnswer:
    """A status and a body; ``checksum`` is the body's own unless given."""

    body: bytes
    status: int = 200
    checksum: int | None = None

    def to(self, request: AWSPreparedRequest) -> AWSResponse:
        """As botocore gets it."""
        checksum = crc32(self.body) if self.checksum is None else self.checksum
        headers = {"Content-Type": "application/x-amz-json-1.0", "x-amz-crc32": str(checksum)}
        return AWSResponse(request.url, self.status, headers, _Raw(self.body))


@dataclass
class CannedDynamoDB:
    """``answer`` answers each request of a client of :meth:`client`; ``sent`` are the requests so far."""

    answer: Callable[[AWSPreparedRequest], CannedAnswer]
    sent: list[AWSPreparedRequest] = field(default_factory=list)

    def client(self, make: Callable[[], Any] | None = None) -> Any:
        """A client, plain or as ``make`` makes it."""
        client = make() if make else boto3.client("dynamodb", **CREDENTIALS)
        client.meta.events.register("before-send.dynamodb", self.respond)
        return client

    def respond(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        """The answer to one request."""
        self.sent.append(request)
        return self.answer(request).to(request)


CREDENTIALS: dict[str, Any] = {
    "region_name": "eu-central-1",
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
}
