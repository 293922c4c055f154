"""Clients that do what networks, throttles and dying processes do. Each wraps a real one, or one in memory."""

import random
import threading
from collections.abc import Callable, Iterable
from typing import Any

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
    return Table(table.name, client=client)  # type: ignore[arg-type]


class PausingPoll:
    """A projector in a thread of its own that is paused just before its write number ``at``."""

    def __init__(self, table: Table, work: Callable[[Table], object], *, at: int) -> None:
        self._reached = threading.Event()
        self._go_on = threading.Event()
        self._at = at
        self.error: BaseException | None = None
        self.client = SteppingClient(table._client, before=self._pause)
        paused = Table(table.name, client=self.client)  # type: ignore[arg-type]
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
    """All that one process does to the world outside, one thing at a time, at moments that are numbered from 1.

    There is a moment before each call, whatever its service, and one after each part of it took effect but
    before the answer is there: DynamoDB takes the parts of a batch write one after the other, in any order.
    At the moment number ``at`` the process dies, or ``happens`` is called; ``before_each`` before each call, for whoever decides
    when this process may go on. ``calls`` are those so far, ``moments`` how many there were.
    """

    def __init__(
        self,
        *,
        at: int = 0,
        happens: Callable[[], object] | None = None,
        before_each: Callable[[], object] = lambda: None,
        order: random.Random | None = None,
    ) -> None:
        self._at = at
        self._happens = happens or self.die
        self._before_each = before_each
        self._order = order or random.Random(0)  # noqa: S311 - no secret
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

    def shuffle(self, parts: list[Any]) -> list[Any]:
        """The parts of a batch in the order in which they take effect."""
        return self._order.sample(parts, len(parts))

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

        def write(part: Any) -> None:
            answer = self._client.batch_write_item(RequestItems={table: [part]})
            refused.extend(answer.get("UnprocessedItems", {}).get(table, []))

        shuffled = self._process.shuffle(parts)
        self._process.call(
            f"{self._service} batch_write_item", [lambda part=part: write(part) for part in shuffled]
        )
        return {"UnprocessedItems": {table: refused} if refused else {}}
