"""Which incidents a request is about."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Filters:
    """``priorities`` and ``types`` in the order of their definition, empty for all; ``since`` and ``until``
    as decimal texts of epoch seconds, ``since <= timestamp < until``, None for no bound.

    Equal filters are equal values: a cursor is bound to them.
    """

    priorities: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Only what is set, as plain JSON values."""
        values = {"p": list(self.priorities), "t": list(self.types), "s": self.since, "u": self.until}
        return {name: value for name, value in values.items() if value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Filters":
        """What :meth:`to_json` made."""
        return cls(tuple(value.get("p", ())), tuple(value.get("t", ())), value.get("s"), value.get("u"))


NO_FILTERS = Filters()
