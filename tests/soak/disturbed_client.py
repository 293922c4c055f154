"""One poll's way to DynamoDB: where it throttles, fails, loses answers, and where the process dies."""

import json
import random
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from shared.store.table import Table
from tests.contract.disturbed import CrashError
from tests.soak.aging_dynamodb import kind_of


@dataclass(frozen=True)
class Trouble:
    """What one poll meets. Writes are counted from 1, each part of a batch is one.

    It dies at write ``dies_at``, before or after that ``takes_effect``; before write ``pauses_at`` it stands
    still while ``meanwhile`` happens; ``storm`` is how likely a request fails.
    """

    dies_at: int = 0
    takes_effect: bool = False
    pauses_at: int = 0
    meanwhile: Callable[[], None] = lambda: None
    storm: float = 0.0


class DisturbedClient:
    """A client that meets ``trouble``, counts it in ``injected``, and tells of each entry that got in.

    ``committed`` gets the sequence and the item.
    """

    def __init__(
        self,
        client: Any,
        trouble: Trouble,
        *,
        dice: random.Random,
        injected: Counter[str],
        committed: Callable[[int, Mapping[str, Any]], None],
    ) -> None:
        self._client = client
        self._trouble = trouble
        self._dice = dice
        self._injected = injected
        self._committed = committed
        self.writes = 0
        self.died = False

    def get_item(self, **request: Any) -> Any:
        return self._read(lambda: self._client.get_item(**request))

    def query(self, **request: Any) -> Any:
        return self._read(lambda: self._client.query(**request))

    def batch_get_item(self, *, RequestItems: Any) -> Any:
        ((name, wanted),) = RequestItems.items()
        taken, back = self._hand_back(wanted["Keys"])
        if not taken:
            return {"Responses": {}, "UnprocessedKeys": RequestItems}
        request = {name: {**wanted, "Keys": taken}}
        answer = self._read(lambda: self._client.batch_get_item(RequestItems=request))
        return answer | ({"UnprocessedKeys": {name: {**wanted, "Keys": back}}} if back else {})

    def put_item(self, **request: Any) -> Any:
        def write() -> Any:
            answer = self._client.put_item(**request)
            if request["Item"]["pk"]["S"] == "JOURNAL":
                self._committed(int(request["Item"]["sk"]["S"]), request["Item"])
            return answer

        return self._write(request["Item"]["pk"]["S"], write)

    def update_item(self, **request: Any) -> Any:
        return self._write(request["Key"]["pk"]["S"], lambda: self._client.update_item(**request))

    def delete_item(self, **request: Any) -> Any:
        return self._write(request["Key"]["pk"]["S"], lambda: self._client.delete_item(**request))

    def batch_write_item(self, *, RequestItems: Any) -> Any:
        ((name, parts),) = RequestItems.items()
        taken, back = self._hand_back(parts)
        # One by one where it matters which of them got in.
        size = 1 if self._trouble.dies_at or self._trouble.pauses_at else len(parts)
        for start in range(0, len(taken), size):
            some = taken[start : start + size]
            first = next(iter(some[0].values()))
            pk = (first.get("Item") or first["Key"])["pk"]["S"]
            self._write(
                pk,
                lambda some=some: self._client.batch_write_item(RequestItems={name: some}),
                parts=len(some),
            )
        return {"UnprocessedItems": {name: back} if back else {}}

    def _read(self, read: Callable[[], Any]) -> Any:
        self._refuse_the_dead()
        if self._strikes():
            raise self._failure("read refused")
        return read()

    def _write(self, pk: str, write: Callable[[], Any], *, parts: int = 1) -> Any:
        self._refuse_the_dead()
        trouble, first = self._trouble, self.writes + 1
        self.writes += parts
        if first <= trouble.pauses_at <= self.writes:
            self._injected[f"overtaken before {kind_of(pk)}"] += 1
            trouble.meanwhile()
        dies = first <= trouble.dies_at <= self.writes
        if dies and not trouble.takes_effect:
            self._die(f"died before {kind_of(pk)}")
        answer = self._write_in_a_storm(write) if self._strikes() else write()
        if dies:
            self._die(f"died after {kind_of(pk)}")
        return answer

    def _write_in_a_storm(self, write: Callable[[], Any]) -> Any:
        kind = self._dice.choice(("write refused", "answer lost", "written twice"))
        if kind == "write refused":
            raise self._failure(kind)
        write()
        self._injected[kind] += 1
        if kind == "answer lost":
            raise ReadTimeoutError(endpoint_url="dynamodb")
        # botocore has heard nothing and tries again: a condition that held no longer does.
        return write()

    def _hand_back[T](self, parts: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
        if not self._strikes():
            return parts, []
        self._injected["batch handed back"] += 1
        taken = self._dice.randrange(len(parts))
        return parts[:taken], parts[taken:]

    def _strikes(self) -> bool:
        return self._trouble.storm > 0 and self._dice.random() < self._trouble.storm

    def _failure(self, kind: str) -> ClientError:
        self._injected[kind] += 1
        code = self._dice.choice(("ProvisionedThroughputExceededException", "InternalServerError"))
        return ClientError({"Error": {"Code": code, "Message": "as the soak has it"}}, "Any")

    def _die(self, kind: str) -> None:
        self._injected[kind] += 1
        self.died = True
        raise CrashError

    def _refuse_the_dead(self) -> None:
        if self.died:
            raise CrashError


class OneByOneTable(Table):
    """Does the parts of a batch one after the other, in any order: the same seed gives the same run.

    The threads themselves are the contract tests' business.
    """

    def __init__(self, client: Any, dice: random.Random) -> None:
        super().__init__("incidents", client=client, sleep=lambda seconds: None)
        self._dice = dice

    def at_once[T, R](self, work: Callable[[T], R], parts: Any) -> list[R]:
        """``work`` for each part; the answers stand in the order of the parts."""
        todo = list(parts)
        order = list(range(len(todo)))
        self._dice.shuffle(order)
        done = {place: work(todo[place]) for place in order}
        return [done[place] for place in range(len(todo))]


def read_decisions(item: Mapping[str, Any]) -> list[tuple[str, tuple[str, str], str, str]]:
    """What an entry's item decided, read without the service's code.

    Each decision as (outcome, the record's key, its id, employee id or ``""``).
    """
    decisions = json.loads(zlib.decompress(item["decisions"]["B"]), parse_float=str, parse_int=str)
    read = []
    for each in decisions:
        if each["outcome"] == "rejected":
            record = json.loads(each["record"], parse_float=str, parse_int=str)
            read.append(("rejected", (each["type"], record["timestamp"]), each["id"], ""))
            continue
        incident = each["incident"]
        key = (incident["type"], incident["timestamp"])
        read.append((each["outcome"], key, incident["id"], each.get("employee_id", "")))
    return read
