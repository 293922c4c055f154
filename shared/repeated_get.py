"""One item read again and again: its request is signed once a minute, not each time.

SigV4 signs what is asked and when, without a nonce, and DynamoDB takes a signature for some minutes. A busy
reader asks for the same item with every request that it answers, and building and signing that is most of
what it costs it. So the request that botocore made is sent again. That is only ever an attempt: whatever
comes of it but a whole 200, the item is read in botocore's own way, with its retries and its errors.
"""

import json
import os
import socket
import time
from binascii import crc32
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.hooks import first_non_none_response
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from shared.aws import session

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef as AttributeValue

# AWS takes a signature for five minutes, for clocks that differ, and credentials are renewed ten before their
# end.
SIGNED_FOR_SECONDS = 60.0
# A connection of its own is worth its making only to a reader that asks this often in that time.
WORTH_A_CONNECTION = 10
# DynamoDB answers in milliseconds, or botocore asks it.
_TIMEOUT_SECONDS = 1
_OPERATION = "GetItem"
_BEFORE_SEND = f"before-send.dynamodb.{_OPERATION}"


class RepeatedGet:
    """Reads one item of a table, consistently; the item must not hold bytes.

    ``clock`` gives epoch seconds, which go on while a Lambda is frozen. ``open_session`` makes what sends a
    repeated request to a URL. Handlers of the client's events provide-client-params and before-send
    (counters, stand-ins) are called as botocore does.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        *,
        table_name: str,
        key: tuple[str, str],
        clock: Callable[[], float] = time.time,
        open_session: "Callable[[str], URLLib3Session] | None" = None,
    ) -> None:
        self._client = client
        self._parameters: Any = {
            "TableName": table_name,
            "Key": {"pk": {"S": key[0]}, "sk": {"S": key[1]}},
            "ConsistentRead": True,
        }
        self._clock = clock
        self._open_session = open_session or _open_session
        self._session: URLLib3Session | None = None
        self._signed: AWSPreparedRequest | None = None
        self._signed_at = 0.0
        self._is_signing = False
        self._asked = 0
        self._was_busy = False
        self._content: bytes | None = None
        self._parsed: dict[str, Any] = {}
        client.meta.events.register(_BEFORE_SEND, self._keep)

    def __call__(self) -> "dict[str, AttributeValue] | None":
        """The item, or None; it is not to be changed, others may get the same. Raises as botocore does."""
        now = self._clock()
        if not 0 <= now - self._signed_at < SIGNED_FOR_SECONDS:
            self._was_busy = self._asked >= WORTH_A_CONNECTION
            self._signed, self._signed_at, self._asked = None, now, 0
        self._asked += 1
        if self._signed and (self._was_busy or self._asked > WORTH_A_CONNECTION):
            answer = self._send_again(self._signed)
            if answer is not None:
                return answer.get("Item")
            # Not at once again: what failed may go on failing.
            self._signed, self._asked, self._was_busy = None, 0, False
        self._is_signing = True
        try:
            return self._client.get_item(**self._parameters).get("Item")
        finally:
            self._is_signing = False

    def _keep(self, request: AWSPreparedRequest, **_: Any) -> None:
        """Handler of botocore's event before-send: the request as it goes out."""
        if self._is_signing and self._signed is None:
            self._signed = request

    def _send_again(self, request: AWSPreparedRequest) -> dict[str, Any] | None:
        """What DynamoDB answers, or None for anything but a whole 200."""
        meta = self._client.meta
        try:
            meta.events.emit(
                f"provide-client-params.dynamodb.{_OPERATION}",
                params=self._parameters,
                model=meta.service_model.operation_model(_OPERATION),
                context={},
            )
            answers = meta.events.emit(_BEFORE_SEND, request=request)
            return self._parse(first_non_none_response(answers) or self._send(request))
        except Exception:  # botocore meets it again, and knows what to do
            return None

    def _parse(self, answer: AWSResponse) -> dict[str, Any] | None:
        content = answer.content
        checksum = answer.headers.get("x-amz-crc32")
        if answer.status_code != 200 or (checksum is not None and int(checksum) != crc32(content)):
            return None
        # Read far more often than written, it is most often what it was.
        if content != self._content:
            parsed = json.loads(content)
            if not isinstance(parsed, dict):
                return None
            self._parsed, self._content = parsed, content
        return self._parsed

    def _send(self, request: AWSPreparedRequest) -> AWSResponse:
        if self._session is None:
            self._session = self._open_session(request.url)
        return self._session.send(request)


def _open_session(url: str) -> URLLib3Session:
    """As botocore makes its own for ``url``: it trusts the same certificates, and asks the same proxy."""
    bundle = session().get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    return URLLib3Session(
        verify=bundle or True,  # type: ignore[arg-type]  # the stubs lack paths
        proxies=get_environ_proxies(url),
        timeout=_TIMEOUT_SECONDS,
        max_pool_connections=1,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],  # type: ignore[list-item]  # as above
    )
