"""One item read again and again: its request is signed once a minute, not each time.

SigV4 signs what is asked and when, without a nonce, and DynamoDB takes a signature for some minutes. A busy
reader asks for the same item with every request that it answers, and building and signing that is most of
what it costs it.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shared.direct_reads import DirectReads
from shared.raw_answers import parse_object

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef as AttributeValue

# AWS takes a signature for five minutes, for clocks that differ, and credentials are renewed ten before their
# end.
SIGNED_FOR_SECONDS = 60.0
_OPERATION = "GetItem"


class RepeatedGet:
    """Reads one item of a table, consistently; the item must not hold bytes.

    ``clock`` gives epoch seconds, which go on while a Lambda is frozen.
    """

    def __init__(
        self,
        reads: DirectReads,
        *,
        table_name: str,
        key: tuple[str, str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._reads = reads
        self._parameters: Any = {
            "TableName": table_name,
            "Key": {"pk": {"S": key[0]}, "sk": {"S": key[1]}},
            "ConsistentRead": True,
        }
        self._clock = clock
        self._signed: AWSPreparedRequest | None = None
        self._signed_at = 0.0
        self._content = b""
        self._parsed: dict[str, Any] = {}

    def __call__(self) -> "dict[str, AttributeValue] | None":
        """The item, or None; it is not to be changed, others may get the same. Raises as botocore does."""
        answer = self._ask()
        if answer is None:
            # A signature may be what was wrong.
            self._signed = None
            answer = self._reads.client.get_item(**self._parameters)
        item: dict[str, AttributeValue] | None = answer.get("Item")
        return item

    def _ask(self) -> Any:
        """What DynamoDB answers, or None for anything but a whole answer."""
        now = self._clock()
        if self._signed is None or not 0 <= now - self._signed_at < SIGNED_FOR_SECONDS:
            self._signed, self._signed_at = self._reads.sign(_OPERATION, self._parameters), now
        content = self._signed and self._reads.send(_OPERATION, self._signed, self._parameters)
        # Read far more often than written, it is most often what it was.
        if content and content != self._content:
            parsed = parse_object(content)
            if parsed is None:
                return None
            self._parsed, self._content = parsed, content
        return self._parsed if content else None
