"""Which incidents a request is about."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from shared.domain.incident import Incident


class Filters(NamedTuple):
    """``priorities`` and ``types`` in the order of their definition, empty for all; ``since`` and ``until``
    as decimal texts of epoch seconds, ``since <= timestamp < until``, None for no bound.

    Equal filters are equal values: a cursor is bound to them.
    """

    priorities: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None

    def match(self, incident: Incident) -> bool:
        """Whether the incident is one that is asked for."""
        timestamp = Decimal(incident.timestamp)
        return (
            (not self.priorities or incident.priority in self.priorities)
            and (not self.types or incident.type in self.types)
            and (self.since is None or Decimal(self.since) <= timestamp)
            and (self.until is None or timestamp < Decimal(self.until))
        )

    def to_json(self) -> dict[str, Any]:
        """Only what is set, as plain JSON values."""
        values = {"p": list(self.priorities), "t": list(self.types), "s": self.since, "u": self.until}
        return {name: value for name, value in values.items() if value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Filters":
        """What :meth:`to_json` made."""
        return cls(tuple(value.get("p", ())), tuple(value.get("t", ())), value.get("s"), value.get("u"))


NO_FILTERS = Filters()
