"""DynamoDB in memory, for tables that are too large and requests that are too many for an emulator here; an
upstream in memory; a clock that a test sets.

The DynamoDB knows the requests that the store makes and refuses all others. `tests/contract/test_fakes.py`
holds it to ministack's answers.
"""

import json
import pickle
import re
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from functions.poller.upstream import Answer, UpstreamError
from shared.domain.exact_json import parse

type Item = dict[str, dict[str, Any]]
type Condition = Callable[[Item], bool]

# A request reads this much at most, before it filters (Amazon DynamoDB Developer Guide, "Query").
MAX_PAGE_BYTES = 1_048_576
# `Limit` is an Integer of Java.
MAX_LIMIT = 2**31 - 1
_READ_BATCH = 100
_WRITE_BATCH = 25
_READ_UNIT_BYTES = 4096
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: left == right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


@dataclass(slots=True)
class _Partition:
    """Items by sort key, and the sort keys in order (they are ASCII: text order is byte order)."""

    keys: list[str] = field(default_factory=list)
    items: dict[str, Item] = field(default_factory=dict)

    def put(self, item: Item) -> None:
        key = item["sk"]["S"]
        if key not in self.items:
            self.keys.insert(bisect_left(self.keys, key), key)
        self.items[key] = item

    def delete(self, key: str) -> None:
        if self.items.pop(key, None) is not None:
            del self.keys[bisect_left(self.keys, key)]


class MemoryDynamoDB:
    """A client of one table. What goes in and out is copied, as a network does.

    ``requests`` are those so far: (operation, parameters). ``read_units`` is what consistent reads cost so
    far. ``page_bytes`` is how much a query reads before it stops.
    """

    def __init__(self, table_name: str = "incidents", *, page_bytes: int = MAX_PAGE_BYTES) -> None:
        self.table_name = table_name
        self._page_bytes = page_bytes
        self._partitions: dict[str, _Partition] = {}
        self._lock = threading.RLock()
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.read_units = 0
        # Where real clients take handlers of what goes over the wire; here nothing does.
        self.meta = SimpleNamespace(events=SimpleNamespace(register=lambda name, handler: None))

    def load(self, items: Iterable[Item]) -> None:
        """Put many items, past all requests."""
        for item in items:
            self._partitions.setdefault(item["pk"]["S"], _Partition()).put(item)

    def dump(self) -> dict[tuple[str, str], Item]:
        """All items by key."""
        with self._lock:
            return {
                (pk, key): _copy(partition.items[key])
                for pk, partition in self._partitions.items()
                for key in partition.keys
            }

    def get_item(self, **request: Any) -> dict[str, Any]:
        """GetItem."""
        with self._request("GetItem", request, {"TableName", "Key", "ConsistentRead"}):
            item = self._find(request["Key"])
            self._charge(item_size(item) if item else 0)
            return {"Item": _copy(item)} if item else {}

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        """BatchGetItem."""
        ((table, wanted),) = request["RequestItems"].items()
        known = {"Keys", "ConsistentRead", "ProjectionExpression", "ExpressionAttributeNames"}
        with self._request("BatchGetItem", {"TableName": table, **wanted}, {"TableName", *known}):
            keys = [(key["pk"]["S"], key["sk"]["S"]) for key in wanted["Keys"]]
            if not 0 < len(keys) <= _READ_BATCH or len(set(keys)) < len(keys):
                raise _refusal("BatchGetItem", "too many keys, none, or one twice")
            found = [item for key in wanted["Keys"] if (item := self._find(key))]
            for item in found:
                self._charge(item_size(item))
            words = _Words(wanted)
            attributes = words.attributes(wanted["ProjectionExpression"])
            words.check("BatchGetItem")
            return {"Responses": {table: _copy([_project(item, attributes) for item in found])}}

    def query(self, **request: Any) -> dict[str, Any]:
        """Query, ascending."""
        known = {
            "TableName", "KeyConditionExpression", "FilterExpression", "ProjectionExpression",
            "ExpressionAttributeNames", "ExpressionAttributeValues", "Limit", "ExclusiveStartKey",
            "ConsistentRead",
        }  # fmt: skip
        with self._request("Query", request, known):
            words = _Words(request)
            pk, low, high = _key_condition(request["KeyConditionExpression"], words)
            where = words.condition(request.get("FilterExpression"), keys_allowed=False)
            attributes = words.attributes(request.get("ProjectionExpression"))
            words.check("Query")
            limit = request.get("Limit", MAX_LIMIT)
            if not 1 <= limit <= MAX_LIMIT:
                raise _refusal("Query", "Limit is no positive Integer", "SerializationException")
            if low is not None and high is not None and low > high:
                raise _refusal("Query", "the upper bound of BETWEEN is below the lower one")
            partition = self._partitions.get(pk, _Partition())
            start = 0 if low is None else bisect_left(partition.keys, low)
            end = len(partition.keys) if high is None else bisect_right(partition.keys, high)
            if "ExclusiveStartKey" in request:
                after_pk, after = (request["ExclusiveStartKey"][name]["S"] for name in ("pk", "sk"))
                if after_pk != pk or (low is not None and high is not None and not low <= after <= high):
                    raise _refusal("Query", "the starting key is outside of what is asked for")
                start = bisect_right(partition.keys, after)
            return self._page(partition, range(start, end), limit, where, attributes)

    def put_item(self, **request: Any) -> dict[str, Any]:
        """PutItem with a condition."""
        known = {"TableName", "Item", "ConditionExpression"}
        known |= {"ExpressionAttributeNames", "ExpressionAttributeValues"}
        with self._request("PutItem", request, known):
            item = _copy(request["Item"])
            words = _Words(request)
            self._check(words.condition(request.get("ConditionExpression")), item, "PutItem")
            words.check("PutItem")
            self.load([item])
            return {}

    def update_item(self, **request: Any) -> dict[str, Any]:
        """UpdateItem: SET and ADD."""
        known = {
            "TableName", "Key", "UpdateExpression", "ConditionExpression",
            "ExpressionAttributeNames", "ExpressionAttributeValues",
        }  # fmt: skip
        with self._request("UpdateItem", request, known):
            words = _Words(request)
            key = _copy(request["Key"])
            self._check(words.condition(request.get("ConditionExpression")), key, "UpdateItem")
            item = _copy(self._find(key) or key)
            _update(item, request["UpdateExpression"], words)
            words.check("UpdateItem")
            self.load([item])
            return {}

    def batch_write_item(self, **request: Any) -> dict[str, Any]:
        """BatchWriteItem."""
        ((table, parts),) = request["RequestItems"].items()
        with self._request("BatchWriteItem", {"TableName": table, "Parts": parts}, {"TableName", "Parts"}):
            keys = {
                _key_of(next(iter(part.values())).get("Item") or part["DeleteRequest"]["Key"])
                for part in parts
            }
            if not 0 < len(parts) <= _WRITE_BATCH or len(keys) < len(parts):
                raise _refusal("BatchWriteItem", "too many parts, none, or one key twice")
            for part in parts:
                if "PutRequest" in part:
                    self.load([_copy(part["PutRequest"]["Item"])])
                else:
                    self._delete(part["DeleteRequest"]["Key"])
            return {"UnprocessedItems": {}}

    def delete_item(self, **request: Any) -> dict[str, Any]:
        """DeleteItem: also what time to live does."""
        known = {"TableName", "Key", "ConditionExpression"}
        known |= {"ExpressionAttributeNames", "ExpressionAttributeValues"}
        with self._request("DeleteItem", request, known):
            words = _Words(request)
            condition = words.condition(request.get("ConditionExpression"))
            words.check("DeleteItem")
            self._check(condition, request["Key"], "DeleteItem")
            self._delete(request["Key"])
            return {}

    def _request(self, operation: str, request: dict[str, Any], known: set[str]) -> threading.RLock:
        if unknown := request.keys() - known:
            raise NotImplementedError(f"{operation} with {', '.join(sorted(unknown))}")
        if request["TableName"] != self.table_name:
            raise _refusal(operation, "no such table", "ResourceNotFoundException")
        if "ConsistentRead" in known and request.get("ConsistentRead") is not True:
            raise NotImplementedError("reads that are not consistent")
        self.requests.append((operation, request))
        return self._lock

    def _page(
        self,
        partition: _Partition,
        candidates: range,
        limit: int,
        where: Condition,
        attributes: list[str] | None,
    ) -> dict[str, Any]:
        """As many as ``limit`` and one page's bytes allow; the item that would be too much stays out."""
        evaluated: list[Item] = []
        size = 0
        stopped = False
        for index in candidates:
            item = partition.items[partition.keys[index]]
            bytes_of_item = item_size(item)
            if evaluated and size + bytes_of_item > self._page_bytes:
                stopped = True
                break
            evaluated.append(item)
            size += bytes_of_item
            if len(evaluated) >= limit or size >= self._page_bytes:
                stopped = True
                break
        self._charge(size)
        items = _copy([_project(item, attributes) for item in evaluated if where(item)])
        answer: dict[str, Any] = {"Items": items, "Count": len(items), "ScannedCount": len(evaluated)}
        if stopped:
            answer["LastEvaluatedKey"] = _copy(_project(evaluated[-1], ["pk", "sk"]))
        return answer

    def _find(self, key: Item) -> Item | None:
        pk, sk = _key_of(key)
        partition = self._partitions.get(pk)
        return partition.items.get(sk) if partition else None

    def _delete(self, key: Item) -> None:
        pk, sk = _key_of(key)
        if partition := self._partitions.get(pk):
            partition.delete(sk)
            if not partition.items:
                del self._partitions[pk]

    def _check(self, condition: Condition, key: Item, operation: str) -> None:
        if not condition(self._find(key) or {}):
            raise _refusal(operation, "the condition does not hold", "ConditionalCheckFailedException")

    def _charge(self, size: int) -> None:
        self.read_units += max(1, -(-size // _READ_UNIT_BYTES))


class _Words:
    """The placeholders of one request's expressions; none may be unknown or left over."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._names = request.get("ExpressionAttributeNames", {})
        self._values = request.get("ExpressionAttributeValues", {})
        self._used: set[str] = set()

    def name(self, word: str) -> str:
        if not word.startswith("#"):
            return word
        self._used.add(word)
        if word not in self._names:
            raise _refusal("Expression", f"{word} is not defined")
        return str(self._names[word])

    def value(self, word: str) -> dict[str, Any]:
        self._used.add(word)
        if word not in self._values:
            raise _refusal("Expression", f"{word} is not defined")
        value: dict[str, Any] = self._values[word]
        return value

    def attributes(self, projection: str | None) -> list[str] | None:
        return None if projection is None else [self.name(word) for word in projection.split(", ")]

    def condition(self, expression: str | None, *, keys_allowed: bool = True) -> Condition:
        """Terms joined by AND, and such joined by OR; without parentheses around them."""
        if expression is None:
            return lambda _: True
        alternatives = [
            [self._term(term, keys_allowed=keys_allowed) for term in alternative.split(" AND ")]
            for alternative in expression.split(" OR ")
        ]
        return lambda item: any(all(term(item) for term in terms) for terms in alternatives)

    def check(self, operation: str) -> None:
        if unused := (self._names.keys() | self._values.keys()) - self._used:
            raise _refusal(operation, f"not used in any expression: {', '.join(sorted(unused))}")

    def _term(self, term: str, *, keys_allowed: bool) -> Condition:
        if match := re.fullmatch(r"attribute_(not_)?exists\((\S+)\)", term):
            negated, name = bool(match[1]), self._name_of_term(match[2], keys_allowed)
            return lambda item: (name in item) != negated
        if match := re.fullmatch(r"(\S+) IN \((.+)\)", term):
            name = self._name_of_term(match[1], keys_allowed)
            allowed = [_comparable(self.value(word)) for word in match[2].split(", ")]
            return lambda item: name in item and _comparable(item[name]) in allowed
        if match := re.fullmatch(r"(\S+) (<=|>=|<|>|=) (:\S+)", term):
            name = self._name_of_term(match[1], keys_allowed)
            compare, operand = _COMPARISONS[match[2]], _comparable(self.value(match[3]))

            def holds(item: Item) -> bool:
                value = _comparable(item[name]) if name in item else ("", None)
                return value[0] == operand[0] and compare(value[1], operand[1])

            return holds
        raise NotImplementedError(f"the condition {term!r}")

    def _name_of_term(self, word: str, keys_allowed: bool) -> str:
        name = self.name(word)
        if not keys_allowed and name in ("pk", "sk"):
            raise _refusal("Query", "a filter may only be about attributes that are no key")
        return name


def item_size(item: Item) -> int:
    """Bytes, as DynamoDB counts them (Developer Guide, "Item sizes and formats")."""
    return sum(len(name) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind == "N":
        return _number_size(content)
    if kind == "S":
        return len(content) if content.isascii() else len(content.encode())
    if kind == "B":
        return len(content)
    raise NotImplementedError(f"values of type {kind}")


def _number_size(text: str) -> int:
    """A byte for each two digits (pairs stand on the decimal point), one more, and one for a minus."""
    whole, _, decimals = text.lstrip("-").partition(".")
    whole, decimals = whole.lstrip("0"), decimals.rstrip("0")
    digits = whole.zfill(-(-len(whole) // 2) * 2) + decimals.ljust(-(-len(decimals) // 2) * 2, "0")
    pairs = [digits[index : index + 2] for index in range(0, len(digits), 2)]
    while pairs and pairs[0] == "00":
        del pairs[0]
    while pairs and pairs[-1] == "00":
        del pairs[-1]
    return len(pairs) + 1 + (text.startswith("-") and bool(pairs))


def _key_condition(expression: str, words: _Words) -> tuple[str, str | None, str | None]:
    match = re.fullmatch(r"pk = (:\S+)(?: AND sk BETWEEN (:\S+) AND (:\S+))?", expression)
    if not match:
        raise NotImplementedError(f"the key condition {expression!r}")
    pk, low, high = (words.value(word)["S"] if word else None for word in match.groups())
    return str(pk), low, high


def _update(item: Item, expression: str, words: _Words) -> None:
    match = re.fullmatch(r"SET (.+?)(?: ADD (.+))?", expression)
    if not match:
        raise NotImplementedError(f"the update {expression!r}")
    for action in match[1].split(", "):
        name, _, value = action.partition(" = ")
        item[words.name(name)] = _copy(words.value(value))
    for action in match[2].split(", ") if match[2] else ():
        word, _, value = action.partition(" ")
        name = words.name(word)
        before = Decimal(item[name]["N"]) if name in item else 0
        item[name] = {"N": str(before + Decimal(words.value(value)["N"]))}


def _key_of(item: Item) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


def _comparable(value: Mapping[str, Any]) -> tuple[str, Any]:
    ((kind, content),) = value.items()
    if kind == "N":
        return kind, Decimal(content)
    return kind, content.encode() if kind == "S" else content


def _project(item: Item, attributes: list[str] | None) -> Item:
    return {name: item[name] for name in attributes if name in item} if attributes else item


def _copy[T](value: T) -> T:
    """A copy that shares not even its texts, so that what a reader holds is what a reader needs."""
    copied: T = pickle.loads(pickle.dumps(value))  # noqa: S301 - made in this process just now
    return copied


def _refusal(operation: str, message: str, code: str = "ValidationException") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


class Clock:
    """Epoch seconds; ``now`` is set by the test."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class MemorySNS:
    """One SNS topic: what was published to it, the requests as they came. Refuses what SNS refuses.

    ``failing``: so many of the next requests fail, and with ``takes_effect`` only their answers get lost.
    """

    published: list[dict[str, Any]] = field(default_factory=list)
    failing: int = 0
    takes_effect: bool = False

    def publish(self, **request: Any) -> dict[str, str]:
        """Publish."""
        subject, message = request["Subject"], request["Message"]
        if not 0 < len(subject) <= 100 or not subject.isascii() or not subject.isprintable():
            raise _refusal("Publish", "Subject", "InvalidParameter")
        if not 0 < len(message.encode()) <= 262_144:
            raise _refusal("Publish", "Message", "InvalidParameter")
        failing = self.failing > 0
        self.failing -= failing
        if not failing or self.takes_effect:
            self.published.append(request)
        if failing:
            raise _refusal("Publish", "try again", "InternalError")
        return {"MessageId": str(len(self.published))}

    def incidents(self) -> list[dict[str, Any]]:
        """What the messages tell of, in their order."""
        return [incident for each in self.published for incident in json.loads(each["Message"])["incidents"]]


@dataclass
class MemoryUpstream:
    """What the upstream serves: JSON texts of records by type, and who has which IP.

    The sources in ``broken`` fail.
    """

    records: dict[str, list[str]] = field(default_factory=dict)
    identities: dict[str, str] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()

    def fetch(self, source: str, *, deadline: float) -> Answer:
        """As :class:`functions.poller.upstream.Upstream` does."""
        if source in self.broken:
            raise UpstreamError("http_status", "HTTP 500", status=500)
        if source == "identities":
            text = ",".join(f'"{ip}":{employee_id}' for ip, employee_id in self.identities.items())
            return Answer(parse(f"{{{text}}}"), 1, 1)
        return Answer(parse(f'{{"results":[{",".join(self.records.get(source, []))}]}}'), 1, 1)
