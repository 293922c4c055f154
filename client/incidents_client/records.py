"""What the API gives, as Python has it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from incidents_client.errors import MalformedAnswerError
from incidents_client.exact_json import JsonValue, Number

PRIORITIES = ("low", "medium", "high", "critical")
TYPES = ("denial", "intrusion", "executable", "misuse", "unauthorized", "probing", "other")

Row = Mapping[str, JsonValue]

_TIMESTAMP = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?")
_EMPLOYEE_ID = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True)
class Incident:
    """One incident. ``fields`` is all of it as it came, numbers as :class:`Number` or int."""

    id: str
    employee_id: str | None
    type: str
    priority: str
    timestamp: Decimal
    """Epoch seconds; its text has the upstream's digits."""
    fields: Row = field(repr=False)

    @classmethod
    def read(cls, value: JsonValue) -> "Incident":
        """An incident of an answer. Raises :class:`MalformedAnswerError`."""
        row = read_object(value, "an incident")
        timestamp = row.get("timestamp")
        text = str(timestamp) if isinstance(timestamp, Number | int) else ""
        if not _TIMESTAMP.fullmatch(text):
            raise MalformedAnswerError("an incident has no timestamp")
        employee_id = row.get("employee_id")
        return cls(
            read_text(row, "id"),
            None if employee_id is None else read_text(row, "employee_id"),
            read_text(row, "type"),
            read_text(row, "priority"),
            Decimal(text),
            row,
        )


@dataclass(frozen=True)
class Employee:
    """An employee with the incidents that match, by priority, each ascending by (timestamp, id)."""

    id: str
    by_priority: Mapping[str, tuple[Incident, ...]]
    counts: Mapping[str, int]

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """All of them, the least urgent first."""
        return tuple(each for group in self.by_priority.values() for each in group)

    @classmethod
    def read(cls, employee_id: str, value: JsonValue) -> "Employee":
        """One employee of a page. Raises :class:`MalformedAnswerError`."""
        if not _EMPLOYEE_ID.fullmatch(employee_id):
            raise MalformedAnswerError("a page has an employee without an id")
        groups, by_priority, counts = read_object(value, "an employee"), {}, {}
        for priority in PRIORITIES:
            group = read_object(groups.get(priority), f"an employee's {priority} incidents")
            by_priority[priority] = tuple(map(Incident.read, read_list(group, "incidents")))
            count = group.get("count")
            if not isinstance(count, int):
                raise MalformedAnswerError("an employee's incidents have no count")
            counts[priority] = count
        return cls(employee_id, by_priority, counts)

    def joined(self, more: "Employee") -> "Employee":
        """Together with what the next page has of the same employee.

        Raises :class:`MalformedAnswerError` where that is more than there can be.
        """
        by_priority = {
            priority: group + more.by_priority[priority] for priority, group in self.by_priority.items()
        }
        if any(len(group) > self.counts[priority] for priority, group in by_priority.items()):
            raise MalformedAnswerError("an employee has more incidents than are counted")
        return Employee(self.id, by_priority, self.counts)


@dataclass(frozen=True)
class ChangesPage:
    """A stretch of the feed.

    ``rows`` are as they came; ``next_token`` is where to go on; ``has_more``: at once. ``after_gap``: the
    token had expired, and this is the oldest that is kept.
    """

    rows: tuple[Row, ...]
    next_token: str
    has_more: bool
    etag: str | None = None
    after_gap: bool = False

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """The rows as incidents; raises :class:`MalformedAnswerError` for rows of another schema."""
        return tuple(map(Incident.read, self.rows))


@dataclass(frozen=True)
class Health:
    """The health document and its verdict."""

    status: Literal["pass", "warn", "fail"]
    document: Row


@dataclass(frozen=True)
class Notice:
    """Something that a person may want to know meanwhile; nothing has failed for good."""

    kind: Literal["waiting", "walk_began_anew", "gap"]
    text: str


def read_object(value: JsonValue, what: str) -> Row:
    """An object. Raises :class:`MalformedAnswerError`."""
    if not isinstance(value, Mapping):
        raise MalformedAnswerError(f"{what} is not an object")
    return value


def read_list(row: Row, name: str) -> list[JsonValue]:
    """A field that is a list. Raises :class:`MalformedAnswerError`."""
    value = row.get(name)
    if not isinstance(value, list):
        raise MalformedAnswerError(f"{name} is not a list")
    return value


def read_text(row: Row, name: str) -> str:
    """A field that is text. Raises :class:`MalformedAnswerError`."""
    value = row.get(name)
    if not isinstance(value, str):
        raise MalformedAnswerError(f"{name} is not text")
    return value
