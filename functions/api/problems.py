"""Every way in which a request can go wrong, as RFC 9457 describes it: one table."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from functions.api.searches import UnfinishedSearchError
from shared.domain.cursor import ExpiredCursorError, InvalidCursorError, MismatchedCursorError
from shared.domain.token import ExpiredTokenError, InvalidTokenError

CONTENT_TYPE = "application/problem+json"


class ParameterFault(NamedTuple):
    """What is wrong with one parameter, and what is allowed."""

    parameter: str
    reason: str


class InvalidParametersError(ValueError):
    """Parameters that can't be served as they stand; each is named."""

    def __init__(self, *faults: ParameterFault) -> None:
        super().__init__("; ".join(f"{fault.parameter}: {fault.reason}" for fault in faults))
        self.faults = faults


class NoDataYetError(Exception):
    """No poll has succeeded yet."""


class SummariesNotReadyError(Exception):
    """Not all incidents are counted, at first or just now: no number is better than a wrong one."""


class UnknownEmployeeError(LookupError):
    """Nothing is kept about this employee."""


class UnknownRouteError(LookupError):
    """Nothing is served under this path."""


class MethodNotAllowedError(Exception):
    """The path is served, but not with this method."""


class NotAcceptableError(Exception):
    """The client accepts none of the forms in which this is served."""


class ProblemKind(NamedTuple):
    """How an exception is told to clients. ``code`` is stable: clients may rely on it."""

    status: int
    code: str
    title: str
    headers: Mapping[str, str] = MappingProxyType({})


PROBLEMS: Mapping[type[Exception], ProblemKind] = MappingProxyType(
    {
        InvalidParametersError: ProblemKind(400, "invalid_parameter", "A parameter is not valid"),
        InvalidCursorError: ProblemKind(400, "cursor_invalid", "The cursor is not valid"),
        MismatchedCursorError: ProblemKind(400, "cursor_mismatch", "The cursor belongs to another walk"),
        ExpiredCursorError: ProblemKind(410, "cursor_expired", "The cursor has expired"),
        InvalidTokenError: ProblemKind(400, "token_invalid", "The token is not valid"),
        ExpiredTokenError: ProblemKind(410, "token_expired", "The token has expired"),
        UnknownEmployeeError: ProblemKind(404, "employee_not_found", "No incidents of this employee"),
        UnknownRouteError: ProblemKind(404, "route_not_found", "Nothing is served here"),
        MethodNotAllowedError: ProblemKind(
            405, "method_not_allowed", "Not with this method", {"Allow": "GET, HEAD"}
        ),
        NotAcceptableError: ProblemKind(406, "not_acceptable", "Not served in this form"),
        UnfinishedSearchError: ProblemKind(
            503, "search_unfinished", "The search goes on", {"Retry-After": "1"}
        ),
        SummariesNotReadyError: ProblemKind(
            503, "summaries_not_ready", "Not all incidents are counted yet", {"Retry-After": "30"}
        ),
        NoDataYetError: ProblemKind(503, "no_data_yet", "No data yet", {"Retry-After": "30"}),
    }
)
INTERNAL = ProblemKind(500, "internal_error", "Something went wrong on our side")


def problem_kind(error: Exception) -> ProblemKind:
    """How ``error`` is told to clients; what is not in the table is our fault."""
    return next((kind for cls, kind in PROBLEMS.items() if isinstance(error, cls)), INTERNAL)


def render_problem(error: Exception, *, request_id: str) -> str:
    """The body of the answer to a request that ended with ``error``; nothing of an internal one shows."""
    kind = problem_kind(error)
    document: dict[str, object] = {
        "type": f"urn:security-incident-api:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": kind.title if kind is INTERNAL else str(error),
        "code": kind.code,
        "request_id": request_id,
    }
    if isinstance(error, InvalidParametersError):
        document["errors"] = [
            {"parameter": fault.parameter, "reason": fault.reason} for fault in error.faults
        ]
    return json.dumps(document)
