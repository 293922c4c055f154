"""DynamoDB as the store uses it: consistent reads, whole batches, conditions answered with yes or no."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import batched, chain
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from shared.store.keys import Key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef as AttributeValue
else:
    type AttributeValue = Mapping[str, Any]

type Item = dict[str, AttributeValue]

# DynamoDB's limits of one request.
_WRITE_BATCH = 25
_READ_BATCH = 100
_BATCH_ATTEMPTS = 10
_BATCH_THREADS = 8


class ThrottledError(Exception):
    """DynamoDB kept handing parts of a batch back; nothing that it took is undone."""


class Table:
    """One table behind a boto3 client. All reads are consistent; keys are pairs of ``pk`` and ``sk``.

    Threads of a batch end with the call that started them: none can write after its poll is over.
    """

    def __init__(
        self, name: str, *, client: "DynamoDBClient", sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.name = name
        self._client = client
        self._sleep = sleep

    def get(self, key: Key) -> Item | None:
        """The item under ``key``, or None."""
        answer = self._client.get_item(TableName=self.name, Key=_typed(key), ConsistentRead=True)
        return answer.get("Item")

    def get_many(self, keys: Iterable[Key], *, attributes: Sequence[str]) -> list[Item]:
        """Those of the items that exist, in no order, with ``attributes`` alone."""
        batches = batched(dict.fromkeys(keys), _READ_BATCH, strict=False)
        names = {f"#{n}": attribute for n, attribute in enumerate(attributes)}
        return list(chain.from_iterable(self.at_once(lambda batch: self._get_batch(batch, names), batches)))

    def put_many(self, items: Iterable[Item]) -> None:
        """Put the items, whatever was there, the last one of each key; returns when all are durable.

        Raises :class:`ThrottledError` when DynamoDB keeps refusing a part.
        """
        # DynamoDB refuses a batch that names a key twice.
        by_key = {(item["pk"]["S"], item["sk"]["S"]): item for item in items}
        self._write_many({"PutRequest": {"Item": item}} for item in by_key.values())

    def delete_many(self, keys: Iterable[Key]) -> None:
        """Delete the items, those that exist; raises as :meth:`put_many` does."""
        self._write_many({"DeleteRequest": {"Key": _typed(key)}} for key in keys)

    def put_new(self, item: Item) -> bool:
        """Put the item unless its key exists already; returns whether it was put."""
        return self.put(item, condition="attribute_not_exists(pk)")

    def put_each_new(self, items: Iterable[Item]) -> None:
        """:meth:`put_new` for each of them, several at a time."""
        self.at_once(self.put_new, items)

    def put(
        self,
        item: Item,
        *,
        condition: str,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, AttributeValue] | None = None,
    ) -> bool:
        """Put the item if ``condition`` holds; returns whether it did."""
        request: dict[str, Any] = {"TableName": self.name, "Item": item, "ConditionExpression": condition}
        if names:
            request["ExpressionAttributeNames"] = names
        if values:
            request["ExpressionAttributeValues"] = values
        return _conditional(lambda: self._client.put_item(**request))

    def update(
        self,
        key: Key,
        *,
        expression: str,
        values: Mapping[str, AttributeValue],
        names: Mapping[str, str] | None = None,
        condition: str | None = None,
    ) -> bool:
        """Update the item if ``condition`` holds; returns whether it did."""
        request: dict[str, Any] = {
            "TableName": self.name,
            "Key": _typed(key),
            "UpdateExpression": expression,
            "ExpressionAttributeValues": values,
        }
        if names:
            request["ExpressionAttributeNames"] = names
        if condition:
            request["ConditionExpression"] = condition
        return _conditional(lambda: self._client.update_item(**request))

    def delete(
        self,
        key: Key,
        *,
        condition: str,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, AttributeValue] | None = None,
    ) -> bool:
        """Delete the item if ``condition`` holds; returns whether it did."""
        request: dict[str, Any] = {
            "TableName": self.name,
            "Key": _typed(key),
            "ConditionExpression": condition,
        }
        if names:
            request["ExpressionAttributeNames"] = names
        if values:
            request["ExpressionAttributeValues"] = values
        return _conditional(lambda: self._client.delete_item(**request))

    def query_page(
        self,
        pk: str,
        *,
        between: tuple[str, str] | None = None,
        after: str | None = None,
        limit: int | None = None,
        where: str | None = None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, AttributeValue] | None = None,
        attributes: Sequence[str] = (),
    ) -> tuple[list[Item], str | None]:
        """One request of a walk over a partition, ascending: its items and the sort key to go on after.

        ``between`` bounds the sort key (both ends included), ``limit`` what the request evaluates, ``where``
        filters what it evaluated. The sort key is None when the walk has reached its end.
        """
        request: dict[str, Any] = {
            "TableName": self.name,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": pk}, **(values or {})},
            "ConsistentRead": True,
        }
        if between:
            request["KeyConditionExpression"] += " AND sk BETWEEN :low AND :high"
            request["ExpressionAttributeValues"] |= {":low": {"S": between[0]}, ":high": {"S": between[1]}}
        if after:
            request["ExclusiveStartKey"] = _typed((pk, after))
        if limit:
            request["Limit"] = limit
        if where:
            request["FilterExpression"] = where
        projected = {f"#p{n}": attribute for n, attribute in enumerate(attributes)}
        if projected:
            request["ProjectionExpression"] = ", ".join(projected)
        if projected or names:
            request["ExpressionAttributeNames"] = {**projected, **(names or {})}
        answer = self._client.query(**request)
        last_key = cast("Item", answer.get("LastEvaluatedKey"))
        return answer["Items"], last_key["sk"]["S"] if last_key else None

    def query(self, pk: str, **conditions: Any) -> Iterator[Item]:  # Any: those of query_page, which checks
        """All items of a walk, a request at a time (:meth:`query_page` says what may be asked)."""
        after: str | None = None
        while True:
            items, after = self.query_page(pk, after=after, **conditions)
            yield from items
            if after is None:
                return

    def at_once[T, R](self, work: Callable[[T], R], parts: Iterable[T]) -> list[R]:
        """``work`` for each part, several at a time; the threads have ended when this returns or raises."""
        todo = list(parts)
        if len(todo) <= 1:
            return [work(part) for part in todo]
        with ThreadPoolExecutor(max_workers=min(_BATCH_THREADS, len(todo))) as threads:
            try:
                return list(threads.map(work, todo))
            finally:
                threads.shutdown(cancel_futures=True)

    def _get_batch(self, keys: Sequence[Key], names: Mapping[str, str]) -> list[Item]:
        options = {
            "ConsistentRead": True,
            "ProjectionExpression": ", ".join(names),
            "ExpressionAttributeNames": names,
        }
        found: list[Item] = []
        pending: Any = [_typed(key) for key in keys]
        for attempt in range(_BATCH_ATTEMPTS):
            self._back_off(attempt)
            request: Any = {self.name: {"Keys": pending, **options}}
            answer = self._client.batch_get_item(RequestItems=request)
            found.extend(answer["Responses"].get(self.name, []))
            pending = answer["UnprocessedKeys"][self.name]["Keys"] if answer.get("UnprocessedKeys") else []
            if not pending:
                return found
        raise ThrottledError(f"{len(pending)} keys stayed unprocessed in {_BATCH_ATTEMPTS} attempts")

    def _write_many(self, requests: Iterable[Any]) -> None:
        self.at_once(self._write_batch, batched(requests, _WRITE_BATCH, strict=False))

    def _write_batch(self, requests: Sequence[Any]) -> None:
        pending = list(requests)
        for attempt in range(_BATCH_ATTEMPTS):
            self._back_off(attempt)
            answer = self._client.batch_write_item(RequestItems={self.name: pending})
            pending = answer.get("UnprocessedItems", {}).get(self.name, [])
            if not pending:
                return
        raise ThrottledError(f"{len(pending)} writes stayed unprocessed in {_BATCH_ATTEMPTS} attempts")

    def _back_off(self, attempt: int) -> None:
        """No pause before the first attempt, then full jitter up to 0.05, 0.1, … 6.4 s.

        botocore retries whole requests; what a batch hands back as unprocessed is left to its caller.
        """
        if attempt:
            self._sleep(random.uniform(0, 0.05 * 2 ** min(attempt - 1, 7)))  # nosec B311  # noqa: S311 - no secret


def _typed(key: Key) -> dict[str, AttributeValue]:
    return {"pk": {"S": key[0]}, "sk": {"S": key[1]}}


def _conditional(write: Callable[[], object]) -> bool:
    try:
        write()
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            return False
        raise
    return True
