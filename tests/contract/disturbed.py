"""What networks, throttles, dying and sleeping processes do to clients, real ones and those in memory."""

import base64
import json
import random
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    ReadTimeoutError,
)

from shared.store.table import Table


class CrashError(Exception):
    """The process died here: nothing that it would have done afterwards happens."""


class SteppingClient:
    """Makes each single write a step of its own, one at a time; reads pass.

    DynamoDB takes the parts of a batch apart from each other, so a batch is as many steps as it has parts.
    ``before`` and ``after`` are called around each step with its number, from 1.
    """

    def __init__(
        self,
        client: Any,
        *,
        before: Callable[[int], None] = lambda step: None,
        after: Callable[[int], None] = lambda step: None,
    ) -> None:
        self._client = client
        self._before = before
        self._after = after
        self._lock = threading.Lock()
        self.steps = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_item(self, **request: Any) -> Any:
        return self._step(lambda: self._client.put_item(**request))

    def update_item(self, **request: Any) -> Any:
        return self._step(lambda: self._client.update_item(**request))

    def delete_item(self, **request: Any) -> Any:
        return self._step(lambda: self._client.delete_item(**request))

    def batch_write_item(self, *, RequestItems: Any) -> Any:
        for name, parts in RequestItems.items():
            for part in parts:
                one = {name: [part]}
                self._step(lambda one=one: self._client.batch_write_item(RequestItems=one))
        return {"UnprocessedItems": {}}

    def _step(self, write: Callable[[], Any]) -> Any:
        with self._lock:
            self.steps += 1
            self._before(self.steps)
            answer = write()
            self._after(self.steps)
        return answer


def crashing(table: Table, *, at: int, takes_effect: bool) -> Table:
    """The table of a process that dies at its write number ``at``, before or after that takes effect."""

    def die_before(step: int) -> None:
        if step > at or (step == at and not takes_effect):
            raise CrashError

    def die_after(step: int) -> None:
        if step == at:
            raise CrashError

    client = SteppingClient(table._client, before=die_before, after=die_after)
    return Table(table.name, client=client)  # type: ignore[arg-type]  # a stand-in for the client


class PausingPoll:
    """A projector in a thread of its own that is paused just before its write number ``at``."""

    def __init__(self, table: Table, work: Callable[[Table], object], *, at: int) -> None:
        self._reached = threading.Event()
        self._go_on = threading.Event()
        self._at = at
        self.error: BaseException | None = None
        self.client = SteppingClient(table._client, before=self._pause)
        paused = Table(table.name, client=self.client)  # type: ignore[arg-type]  # a stand-in for the client
        self._thread = threading.Thread(target=self._run, args=(work, paused))

    def start(self) -> bool:
        """Run up to the pause; False if the work ended before it."""
        self._thread.start()
        assert self._reached.wait(20), "neither paused nor ended"
        return self._thread.is_alive() and not self._go_on.is_set()

    def wake(self) -> None:
        """Run to the end; raises what the work raised."""
        self._go_on.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self.error:
            raise self.error

    def _run(self, work: Callable[[Table], object], table: Table) -> None:
        try:
            work(table)
        except BaseException as error:  # handed to the test by wake()
            self.error = error
        finally:
            if not self._reached.is_set():
                self._go_on.set()
                self._reached.set()

    def _pause(self, step: int) -> None:
        if step == self._at:
            self._reached.set()
            assert self._go_on.wait(20), "never woken"


class HandingBackClient:
    """Takes only a part of each batch, as a throttled DynamoDB does, for ``times`` requests; then all of it.

    Without ``times`` it takes no part of any.
    """

    def __init__(self, client: Any, *, times: int | None = None) -> None:
        self._client = client
        self._left = times
        self._lock = threading.Lock()
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def batch_get_item(self, *, RequestItems: Any) -> Any:
        ((name, request),) = RequestItems.items()
        taken, back = self._split(request["Keys"])
        if not taken:
            answer: Any = {"Responses": {name: []}, "UnprocessedKeys": {}}
        else:
            answer = self._client.batch_get_item(RequestItems={name: {**request, "Keys": taken}})
        if back:
            answer["UnprocessedKeys"] = {name: {**request, "Keys": back}}
        return answer

    def batch_write_item(self, *, RequestItems: Any) -> Any:
        ((name, parts),) = RequestItems.items()
        taken, back = self._split(parts)
        if taken:
            self._client.batch_write_item(RequestItems={name: taken})
        return {"UnprocessedItems": {name: back} if back else {}}

    def _split(self, parts: list[Any]) -> tuple[list[Any], list[Any]]:
        with self._lock:
            self.sizes.append(len(parts))
            if self._left is None:
                return [], parts
            if self._left == 0:
                return parts, []
            self._left -= 1
        return parts[: len(parts) // 3], parts[len(parts) // 3 :]


class DeathError(BaseException):
    """The process was killed: no handler of the product may catch this."""


class Process:
    """All that one process does to the world outside, one thing at a time, at numbered moments.

    There is a moment before each call, whatever its service, and one after each part of it took effect but
    before the answer is there: DynamoDB takes the parts of a batch write one after the other, in any order
    (``whole_batches``: at once). At the moment number ``at``, from 1, the process dies, or ``happens`` is
    called; ``before_each`` is called before each call, for whoever decides when this process may go on.
    ``calls`` are those so far, ``moments`` how many there were.
    """

    def __init__(
        self,
        *,
        at: int = 0,
        happens: Callable[[], object] | None = None,
        before_each: Callable[[], object] = lambda: None,
        order: random.Random | None = None,
        whole_batches: bool = False,
    ) -> None:
        self._at = at
        self._happens = happens or self.die
        self._before_each = before_each
        self._order = order or random.Random(0)  # noqa: S311 - no secret
        self._whole_batches = whole_batches
        self._lock = threading.RLock()
        self._alive = True
        self.moments = 0
        self.calls: list[str] = []

    @property
    def died(self) -> bool:
        """Whether it was killed."""
        return not self._alive

    def die(self) -> None:
        """Nothing leaves this process any more, from whichever thread."""
        self._alive = False

    def watch(self, service: str, client: Any) -> Any:
        """The client, each of its calls made through this process."""
        return _WatchedClient(service, client, self)

    def call(self, name: str, parts: Iterable[Callable[[], Any]]) -> list[Any]:
        """One call to the outside: what each of its parts answered."""
        with self._lock:
            self._go_on()
            self._before_each()
            self.calls.append(name)
            self._moment()
            answers = []
            for part in parts:
                answers.append(part())
                self._moment()
            return answers

    def split(self, parts: list[Any]) -> list[list[Any]]:
        """The parts of a batch as they take effect, in that order."""
        return [parts] if self._whole_batches else [[each] for each in self._order.sample(parts, len(parts))]

    def _moment(self) -> None:
        self.moments += 1
        if self.moments == self._at:
            self._happens()
        self._go_on()

    def _go_on(self) -> None:
        if not self._alive:
            raise DeathError


class _WatchedClient:
    def __init__(self, service: str, client: Any, process: Process) -> None:
        self._service = service
        self._client = client
        self._process = process

    def __getattr__(self, name: str) -> Any:
        if name in {"get_paginator", "get_waiter"}:
            raise NotImplementedError(f"what goes through {name} would not be counted")
        operation = getattr(self._client, name)
        if not callable(operation):
            return operation
        return lambda **request: self._process.call(
            f"{self._service} {name}", [lambda: operation(**request)]
        )[0]

    def batch_write_item(self, *, RequestItems: Any) -> Any:
        ((table, parts),) = RequestItems.items()
        refused: list[Any] = []

        def write(some: list[Any]) -> None:
            answer = self._client.batch_write_item(RequestItems={table: some})
            refused.extend(answer.get("UnprocessedItems", {}).get(table, []))

        self._process.call(
            f"{self._service} batch_write_item",
            [lambda some=some: write(some) for some in self._process.split(parts)],
        )
        return {"UnprocessedItems": {table: refused} if refused else {}}


class Turns:
    """Lets one of several processes make one call at a time, as dice say: now and then many in a row."""

    def __init__(self, count: int, dice: random.Random) -> None:
        self._dice = dice
        self._condition = threading.Condition()
        self._running = set(range(count))
        self._waiting: set[int] = set()
        self._next: int | None = None
        self._stay = 0.0

    def wait(self, number: int) -> None:
        """Until it is this one's turn."""
        with self._condition:
            self._waiting.add(number)
            self._choose(number)
            assert self._condition.wait_for(lambda: self._next == number, timeout=60)
            self._next = None
            self._waiting.discard(number)

    def play(self, works: Sequence[Callable[[], Any]]) -> list[Any]:
        """All the works to their ends: what each returned, or None if it died; raises what one raised."""
        with ThreadPoolExecutor(len(works)) as threads:
            played = [threads.submit(self._play, number, work) for number, work in enumerate(works)]
        return [each.result() for each in played]

    def _play(self, number: int, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except DeathError:
            return None
        finally:
            self._end(number)

    def _end(self, number: int) -> None:
        with self._condition:
            self._running.discard(number)
            self._choose(number)

    def _choose(self, last: int) -> None:
        if self._next is not None or self._waiting != self._running or not self._running:
            return
        if last not in self._waiting or self._dice.random() >= self._stay:
            last = self._dice.choice(sorted(self._running))
            self._stay = self._dice.choice([0.0, 0.5, 0.95])
        self._next = last
        self._condition.notify_all()


THROTTLED = ("ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded")
BROKEN = ("InternalServerError", "ServiceUnavailable")
_LOST: tuple[Callable[..., Exception], ...] = (ReadTimeoutError, ConnectTimeoutError, ConnectionClosedError)


class Weather:
    """What becomes of the HTTP requests of a real boto3 client of DynamoDB on their way to one in memory.

    With the chance ``storm`` a request is throttled, fails, or gets no answer (some of them took effect all
    the same), or a batch is taken in part. With the chance ``late`` a write that was made arrives once more,
    some requests later, as one does that was given up as lost. ``closed`` says which requests are throttled
    always; with ``hands_back`` their batches are answered, but no part of them is taken. Of the request
    number ``lost``, from 1, the answer gets lost. ``seen`` is what happened, ``requests`` counts them.
    """

    def __init__(
        self,
        memory: Any,
        dice: random.Random,
        *,
        storm: float = 0.0,
        late: float = 0.0,
        lost: int = 0,
        closed: Callable[[str, str], bool] = lambda operation, body: False,
        hands_back: bool = False,
    ) -> None:
        self.memory = memory
        self.storm = storm
        self.late = late
        self.closed = closed
        self.hands_back = hands_back
        self._lost = lost
        self.requests = 0
        self.seen: list[str] = []
        self._dice = dice
        self._lock = threading.Lock()
        self._coming: list[tuple[int, Callable[[], object]]] = []

    def attach(self, client: Any) -> Any:
        """The client, which sends all its requests through here."""
        client.meta.events.register("before-send.dynamodb", self._send)
        return client

    def clear(self) -> None:
        """From now on all is well."""
        self.storm, self.late, self.closed = 0.0, 0.0, lambda operation, body: False

    def _send(self, request: AWSRequest, **_: Any) -> AWSResponse:
        operation = request.headers["X-Amz-Target"].decode().partition(".")[2]
        body = bytes(request.body).decode()
        with self._lock:
            self._let_arrive()
            self.requests += 1
            if self.requests == self._lost:
                self._answer(operation, body)
                raise ReadTimeoutError(endpoint_url="http://dynamodb.test")
            if self.closed(operation, body):
                if self.hands_back and operation.startswith("Batch"):
                    return self._take_part(operation, body, chance=0.0)
                return self._refuse(THROTTLED[0])
            if self._dice.random() < self.storm:
                return self._mishap(operation, body)
            return self._answer(operation, body)

    def _mishap(self, operation: str, body: str) -> AWSResponse:
        kind = self._dice.choice(
            ["throttled", "broken", "lost", "part" if "Batch" in operation else "throttled"]
        )
        self.seen.append(kind)
        if kind == "part":
            return self._take_part(operation, body)
        if kind == "throttled":
            return self._refuse(self._dice.choice(THROTTLED))
        if self._dice.random() < 0.5:
            self._answer(operation, body)
        if kind == "broken":
            return self._refuse(self._dice.choice(BROKEN), status=500)
        raise self._dice.choice(_LOST)(endpoint_url="http://dynamodb.test", error="reset")

    def _take_part(self, operation: str, body: str, *, chance: float = 0.5) -> AWSResponse:
        wanted = json.loads(body)
        ((table, request),) = wanted["RequestItems"].items()
        parts = request if operation == "BatchWriteItem" else request["Keys"]
        taken = [part for part in parts if self._dice.random() < chance]
        back = [part for part in parts if part not in taken]
        answer: dict[str, Any] = {}
        if operation == "BatchWriteItem":
            if taken:
                self._answer(operation, json.dumps({"RequestItems": {table: taken}}))
            answer["UnprocessedItems"] = {table: back} if back else {}
        else:
            answer = {"Responses": {table: []}}
            if taken:
                some = {**request, "Keys": taken}
                answer = json.loads(
                    self._answer(operation, json.dumps({"RequestItems": {table: some}})).content
                )
            answer["UnprocessedKeys"] = {table: {**request, "Keys": back}} if back else {}
        return _response(200, answer)

    def _answer(self, operation: str, body: str) -> AWSResponse:
        method = getattr(self.memory, re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower())
        request = _bytes_within(json.loads(body), base64.b64decode)
        if self._dice.random() < self.late and operation in {"PutItem", "UpdateItem", "BatchWriteItem"}:
            self._coming.append((self._dice.randint(1, 120), lambda: method(**request)))
        try:
            return _response(
                200, _bytes_within(method(**request), lambda raw: base64.b64encode(raw).decode())
            )
        except ClientError as error:
            return self._refuse(error.response["Error"]["Code"])

    def _let_arrive(self) -> None:
        waiting, self._coming = self._coming, []
        for requests_more, write in waiting:
            if requests_more > 1:
                self._coming.append((requests_more - 1, write))
                continue
            self.seen.append("late")
            try:
                write()
            except ClientError:
                self.seen.append("late and refused")

    def _refuse(self, code: str, *, status: int = 400) -> AWSResponse:
        return _response(status, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": code})


def _response(status: int, answer: Any) -> AWSResponse:
    response = AWSResponse(
        "http://dynamodb.test", status, {"Content-Type": "application/x-amz-json-1.0"}, None
    )
    response._content = json.dumps(answer).encode()
    return response


def _bytes_within(value: Any, turn: Callable[[Any], Any]) -> Any:
    """The same with all binary values turned."""
    if isinstance(value, list):
        return [_bytes_within(each, turn) for each in value]
    if isinstance(value, dict):
        if value.keys() == {"B"}:
            return {"B": turn(value["B"])}
        return {name: _bytes_within(each, turn) for name, each in value.items()}
    return value
