"""Query parameters, checked before anything is read: an unknown one is an error, never ignored.

A misspelt filter that returned everything would be a security bug.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from functions.api.problems import InvalidParametersError, ParameterFault
from shared.domain.filters import Filters
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES, canonical_employee_id

DEFAULT_LIMIT = 100
MAX_LIMIT = 500
DEFAULT_CHANGES_LIMIT = 500
MAX_CHANGES_LIMIT = 1000
SCHEMAS = ("native", "ocsf")
SORTS = ("risk", "employee_id")
DEFAULT_DAYS = 30
MAX_DAYS = 400
_SHOWN_CHARACTERS = 40
_MAX_FAULTS = 20
_EPOCH_SECONDS = re.compile(r"[0-9]{1,10}(\.[0-9]{1,7})?")
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,7})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_NEVER = Decimal(10**10)

type Query = Mapping[str, Sequence[str]]


class PageParameters(NamedTuple):
    """What one page of a walk is asked for; ``limit`` is None where the client did not say."""

    limit: int | None
    cursor: str | None
    filters: Filters


class ChangesParameters(NamedTuple):
    """What a reader of the journal asks for."""

    limit: int
    token: str | None
    schema: str


class EmployeesParameters(NamedTuple):
    """Which employees: those on top (``risk``), or all of them by ``employee_id``, a page at a time."""

    sort: str
    limit: int | None
    cursor: str | None


def parse_page_parameters(query: Query, *, with_limit: bool = True) -> PageParameters:
    """``limit`` (if the route has pages of employees), ``cursor`` and the filters.

    Raises :class:`InvalidParametersError` that names every fault.
    """
    reader = _Reader(query)
    limit = reader.whole_number("limit", 1, MAX_LIMIT) if with_limit else None
    cursor = reader.text("cursor", hint="leave it out to begin a walk")
    since, until = reader.moment("since"), reader.moment("until")
    if since is not None and until is not None and since >= until:
        reader.fault("until", "must be later than since")
    filters = Filters(
        reader.choices("priority", PRIORITIES),
        reader.choices("type", INCIDENT_TYPES),
        _decimal_text(since),
        _decimal_text(until),
    )
    reader.finish()
    return PageParameters(limit, cursor, filters)


def parse_changes_parameters(query: Query) -> ChangesParameters:
    """``limit``, ``token`` and ``schema``; raises :class:`InvalidParametersError` that names every fault."""
    reader = _Reader(query)
    limit = reader.whole_number("limit", 1, MAX_CHANGES_LIMIT)
    token = reader.text("token", hint="leave it out to begin with the oldest")
    schema = reader.choice("schema", SCHEMAS)
    reader.finish()
    return ChangesParameters(limit or DEFAULT_CHANGES_LIMIT, token, schema or SCHEMAS[0])


def parse_employees_parameters(query: Query) -> EmployeesParameters:
    """``sort``, ``limit`` and ``cursor``; raises :class:`InvalidParametersError` that names every fault.

    A cursor may come alone: there is one order only that has cursors.
    """
    reader = _Reader(query)
    limit = reader.whole_number("limit", 1, MAX_LIMIT)
    cursor = reader.text("cursor", hint="leave it out to begin a walk")
    sort = reader.choice("sort", SORTS)
    if sort == "risk" and cursor is not None:
        reader.fault("cursor", "goes with sort=employee_id: a rising score would jump past it")
    reader.finish()
    return EmployeesParameters(sort or ("risk" if cursor is None else "employee_id"), limit, cursor)


def parse_summary_parameters(query: Query) -> int:
    """``days``; raises :class:`InvalidParametersError`."""
    reader = _Reader(query)
    days = reader.whole_number("days", 1, MAX_DAYS)
    reader.finish()
    return days or DEFAULT_DAYS


def parse_no_parameters(query: Query) -> None:
    """For routes that take none; raises :class:`InvalidParametersError`."""
    _Reader(query).finish()


def parse_employee_id(text: str) -> str:
    """The employee id of a path, without leading zeros; raises :class:`InvalidParametersError`."""
    employee_id = canonical_employee_id(text)
    if employee_id is None:
        reason = f"must be 1 to 20 digits, not {_shown(text)}"
        raise InvalidParametersError(ParameterFault("employee_id", reason))
    return employee_id


class _Reader:
    """Reads a query's parameters one by one, and collects what is wrong with them."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._asked_for: list[str] = []
        self._faults: list[ParameterFault] = []

    def text(self, name: str, *, hint: str) -> str | None:
        """A value that is given once and not empty, or None if it is not given."""
        value = self._single(name)
        if value == "":
            self.fault(name, f"must not be empty: {hint}")
        return value or None

    def whole_number(self, name: str, low: int, high: int) -> int | None:
        """A whole number from ``low`` to ``high``."""
        value = self._single(name)
        if value is None:
            return None
        if value.isascii() and value.isdigit() and len(value) <= len(str(high)) and low <= int(value) <= high:
            return int(value)
        self.fault(name, f"must be a whole number from {low} to {high}, not {_shown(value)}")
        return None

    def choice(self, name: str, allowed: Sequence[str]) -> str | None:
        """One of the ``allowed`` values."""
        value = self._single(name)
        if value is not None and value not in allowed:
            self.fault(name, f"is unknown: {_shown(value)}; allowed: {', '.join(allowed)}")
            return None
        return value

    def choices(self, name: str, allowed: Sequence[str]) -> tuple[str, ...]:
        """Some of the ``allowed`` values, repeated or separated by commas, in the order of ``allowed``."""
        self._asked_for.append(name)
        given = [each for value in self._query.get(name, ()) for each in value.split(",")]
        for unknown in dict.fromkeys(each for each in given if each not in allowed):
            self.fault(name, f"is unknown: {_shown(unknown)}; allowed: {', '.join(allowed)}")
        return tuple(each for each in allowed if each in given)

    def moment(self, name: str) -> Decimal | None:
        """A moment as epoch seconds, given as such or as RFC 3339."""
        value = self._single(name)
        if value is None:
            return None
        seconds = _parse_moment(value)
        if seconds is None:
            # A plus that was not encoded arrives as a space.
            hint = "; a + must be sent as %2B" if " " in value else ""
            allowed = "epoch seconds (1795413600.5) or RFC 3339 (2026-11-23T06:00:00Z)"
            self.fault(name, f"must be {allowed}, not {_shown(value)}{hint}")
        return seconds

    def fault(self, name: str, reason: str) -> None:
        """Note what is wrong with a parameter; of very many faults the first few will do."""
        if len(self._faults) < _MAX_FAULTS:
            self._faults.append(ParameterFault(name, reason))

    def finish(self) -> None:
        """Raise if anything was wrong, a parameter that nobody asked for included."""
        allowed = ", ".join(sorted(self._asked_for)) or "none"
        for name in self._query:
            if name not in self._asked_for:
                self.fault(name[:_SHOWN_CHARACTERS], f"is not a parameter here; allowed: {allowed}")
        if self._faults:
            raise InvalidParametersError(*self._faults)

    def _single(self, name: str) -> str | None:
        self._asked_for.append(name)
        values = self._query.get(name, ())
        if len(values) > 1:
            self.fault(name, "is given more than once")
            return None
        return values[0] if values else None


def _parse_moment(text: str) -> Decimal | None:
    if _EPOCH_SECONDS.fullmatch(text):
        return Decimal(text)
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    fraction = match[1] or ""
    try:
        whole = datetime.fromisoformat(text.upper().replace(fraction, "", 1)).timestamp()
    except (OverflowError, ValueError):
        return None
    # A datetime holds six decimals, a timestamp here seven.
    seconds = Decimal(int(whole)) + Decimal(f"0{fraction}")
    return seconds if 0 <= seconds < _NEVER else None


def _decimal_text(seconds: Decimal | None) -> str | None:
    """One text for one moment, however it was written."""
    return None if seconds is None else f"{seconds:.7f}".rstrip("0").rstrip(".")


def _shown(text: str) -> str:
    """What a client sent, short enough to be sent back."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")
