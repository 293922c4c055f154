"""The DynamoDB in memory with a time to live that is late, as the real one is, and with what it all costs."""

import heapq
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.fakes import Item, MemoryDynamoDB, item_size

HOUR = 3600
# DynamoDB promises "within a few days".
MOST_LATE = 120 * HOUR
_WRITE_UNIT_BYTES = 1024


@dataclass
class Held:
    """Items and bytes of one kind."""

    items: int = 0
    bytes: int = 0


class AgingDynamoDB(MemoryDynamoDB):
    """Deletes each item up to 48 hours after it has expired, one of ten up to 120.

    ``write_units`` counts what takes effect; ``deleted`` what went, by kind.
    """

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self.write_units = 0
        self.deleted: Counter[str] = Counter()
        self._dice = dice
        self._to_delete: list[tuple[float, str, str]] = []

    def load(self, items: Iterable[Item]) -> None:
        """Put many items, and remember when each goes."""
        for each in items:
            # A text of its own for each name of each item would be most of what the table takes.
            item = {
                sys.intern(name): {sys.intern(kind): content for kind, content in value.items()}
                for name, value in each.items()
            }
            super().load([item])
            self.write_units += -(-item_size(item) // _WRITE_UNIT_BYTES)
            if "expires_at" in item:
                late = self._dice.uniform(0, 48 * HOUR if self._dice.random() < 0.9 else MOST_LATE)
                due = int(item["expires_at"]["N"]) + late
                heapq.heappush(self._to_delete, (due, item["pk"]["S"], item["sk"]["S"]))

    def delete_expired(self, now: float) -> None:
        """Delete what is due; an item that was written anew since may have got more time."""
        while self._to_delete and self._to_delete[0][0] <= now:
            _, pk, sk = heapq.heappop(self._to_delete)
            key = {"pk": {"S": pk}, "sk": {"S": sk}}
            item = self._find(key)
            if item and "expires_at" in item and int(item["expires_at"]["N"]) <= now:
                self._delete(key)
                self.deleted[kind_of(pk)] += 1

    def held(self) -> Mapping[str, Held]:
        """What there is, by kind."""
        held: dict[str, Held] = defaultdict(Held)
        for pk, partition in self._partitions.items():
            kind = held[kind_of(pk)]
            for item in partition.items.values():
                kind.items += 1
                kind.bytes += item_size(item)
        return held

    def items_of(self, pk: str) -> Iterator[Item]:
        """The items of one partition themselves, not copies of them."""
        if pk in self._partitions:
            yield from self._partitions[pk].items.values()


def kind_of(pk: str) -> str:
    """``"ID#9f2c…"`` → ``"ID#"``: partition keys by what is in them."""
    return pk if "#" not in pk else pk[: pk.index("#") + 1]
