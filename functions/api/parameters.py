"""Query parameters, checked before anything is read: an unknown one is an error, never ignored.

A misspelt filter that returned everything would be a security bug.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from functions.api.problems import InvalidParametersError, ParameterFault
from shared.domain.incident import canonical_employee_id

DEFAULT_LIMIT = 100
MAX_LIMIT = 500
_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class PageParameters:
    """``limit`` is None where the client did not say; a cursor then brings its own."""

    limit: int | None
    cursor: str | None


def parse_page_parameters(query: Mapping[str, Sequence[str]]) -> PageParameters:
    """``limit`` and ``cursor``; raises :class:`InvalidParametersError` that names every fault."""
    faults = _unknown(query, allowed=("limit", "cursor"))
    limit = _single(query, "limit", faults)
    if limit is not None and not _is_limit(limit):
        reason = f"must be a whole number from 1 to {MAX_LIMIT}, not {_shown(limit)}"
        faults.append(ParameterFault("limit", reason))
    cursor = _single(query, "cursor", faults)
    if cursor == "":
        faults.append(ParameterFault("cursor", "must not be empty: leave it out to begin a walk"))
    if faults:
        raise InvalidParametersError(*faults)
    return PageParameters(int(limit) if limit else None, cursor)


def parse_no_parameters(query: Mapping[str, Sequence[str]]) -> None:
    """For routes that take none; raises :class:`InvalidParametersError`."""
    if faults := _unknown(query, allowed=()):
        raise InvalidParametersError(*faults)


def parse_employee_id(text: str) -> str:
    """The employee id of a path, without leading zeros; raises :class:`InvalidParametersError`."""
    employee_id = canonical_employee_id(text)
    if employee_id is None:
        reason = f"must be 1 to 20 digits, not {_shown(text)}"
        raise InvalidParametersError(ParameterFault("employee_id", reason))
    return employee_id


def _unknown(query: Mapping[str, Sequence[str]], *, allowed: Collection[str]) -> list[ParameterFault]:
    names = ", ".join(allowed) or "none"
    return [
        ParameterFault(_shown(name)[1:-1], f"is not a parameter here; allowed: {names}")
        for name in query
        if name not in allowed
    ]


def _single(query: Mapping[str, Sequence[str]], name: str, faults: list[ParameterFault]) -> str | None:
    values = query.get(name, [])
    if len(values) > 1:
        faults.append(ParameterFault(name, "is given more than once"))
        return None
    return values[0] if values else None


def _is_limit(text: str) -> bool:
    return (
        text.isascii() and text.isdigit() and len(text) <= len(str(MAX_LIMIT)) and 1 <= int(text) <= MAX_LIMIT
    )


def _shown(text: str) -> str:
    """What a client sent, short enough to be sent back."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")
