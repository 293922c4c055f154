"""Reads of DynamoDB past botocore's client: signed by its signer, sent by its HTTP session, parsed by json.

A client builds each request anew from the service's model, its endpoint rules and a dozen hooks, which costs
more than signing and sending it do. A reader makes two kinds of requests, always to the same address: so
they are put together here. That is only ever an attempt: whatever comes of it but a whole 200, botocore's
client makes the request in its own way, with its retries and its errors.
"""

import json
import os
import socket
import time
from binascii import crc32
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.hooks import first_non_none_response
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from shared.aws import USER_AGENT, session
from shared.raw_answers import has_bytes, parse_object

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from mypy_boto3_dynamodb import DynamoDBClient

# DynamoDB answers in milliseconds, or botocore asks it.
_TIMEOUT_SECONDS = 1
# What failed may go on failing: for so long botocore is asked at once.
REST_SECONDS = 30.0


class DirectReads:
    """GetItem and Query of a client, for less; a stand-in for it where nothing but these is called.

    What they return is what the client's would, without ``ResponseMetadata``. ``open_session`` makes what
    sends requests to a URL; ``monotonic`` is a clock. Handlers of the client's events provide-client-params
    and before-send (counters, stand-ins) are called as botocore does. ``client`` is who is asked otherwise.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        *,
        monotonic: Callable[[], float] = time.monotonic,
        open_session: "Callable[[str], URLLib3Session] | None" = None,
    ) -> None:
        self.client = client
        self._monotonic = monotonic
        self._open_session = open_session or _open_session
        self._session: URLLib3Session | None = None
        self._credentials: Credentials | None = None
        self._resting_until = float("-inf")
        self._url = client.meta.endpoint_url.rstrip("/") + "/"
        self._headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "User-Agent": USER_AGENT,
        }

    def get_item(self, **parameters: Any) -> Any:
        """GetItem; raises as the client does."""
        answer = self._read("GetItem", parameters)
        return self.client.get_item(**parameters) if answer is None else answer

    def query(self, **parameters: Any) -> Any:
        """Query; raises as the client does."""
        answer = self._read("Query", parameters)
        return self.client.query(**parameters) if answer is None else answer

    def sign(self, operation: str, parameters: Mapping[str, Any]) -> AWSPreparedRequest | None:
        """The request as it would go out now; DynamoDB takes its signature for five minutes.

        None where that must be left to botocore, as without credentials.
        """
        try:
            request = AWSRequest(
                "POST",
                self._url,
                headers=self._headers | {"X-Amz-Target": f"DynamoDB_20120810.{operation}"},
                data=json.dumps(parameters, separators=(",", ":")).encode(),
            )
            self._credentials = self._credentials or session().get_credentials()
            if self._credentials is None:
                return None
            # They may have been renewed.
            credentials = self._credentials.get_frozen_credentials()
            SigV4Auth(credentials, "dynamodb", self.client.meta.region_name).add_auth(request)
            return request.prepare()
        except Exception:  # botocore meets it again, and knows what to do
            return None

    def send(
        self, operation: str, request: AWSPreparedRequest, parameters: Mapping[str, Any]
    ) -> bytes | None:
        """The body of DynamoDB's answer to a signed request, or None for anything but a whole 200."""
        if self._monotonic() < self._resting_until:
            return None
        try:
            meta = self.client.meta
            meta.events.emit(
                f"provide-client-params.dynamodb.{operation}",
                params=parameters,
                model=meta.service_model.operation_model(operation),
                context={},
            )
            answers = meta.events.emit(f"before-send.dynamodb.{operation}", request=request)
            answer: AWSResponse = first_non_none_response(answers) or self._send(request)
            content = answer.content
            checksum = answer.headers.get("x-amz-crc32")
            if answer.status_code == 200 and (checksum is None or int(checksum) == crc32(content)):
                return content
        except Exception:  # as above
            self._resting_until = self._monotonic() + REST_SECONDS
            return None
        return None

    def _read(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer, or None where botocore is to ask."""
        request = self.sign(operation, parameters)
        content = request and self.send(operation, request, parameters)
        # Bytes travel as base64 text, which botocore decodes.
        return None if not content or has_bytes(content) else parse_object(content)

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
