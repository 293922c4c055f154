"""Everything that can go wrong is told in one form, with a code that stays and no secret in it."""

import ast
import inspect
import json
import re
from pathlib import Path

import pytest

from functions.api import problems
from functions.api.problems import (
    CONTENT_TYPE,
    INTERNAL,
    PROBLEMS,
    InvalidParametersError,
    MethodNotAllowedError,
    NoDataYetError,
    NotAcceptableError,
    ParameterFault,
    SummariesNotReadyError,
    UnknownEmployeeError,
    UnknownRouteError,
    problem_kind,
    render_problem,
)
from functions.api.searches import UnfinishedSearchError
from functions.api.signer import NoSigningKeyError
from shared.domain.cursor import ExpiredCursorError, InvalidCursorError, MismatchedCursorError
from shared.domain.token import ExpiredTokenError, InvalidTokenError

# The contract: clients rely on these.
CODES = {
    InvalidParametersError: (400, "invalid_parameter"),
    InvalidCursorError: (400, "cursor_invalid"),
    MismatchedCursorError: (400, "cursor_mismatch"),
    ExpiredCursorError: (410, "cursor_expired"),
    InvalidTokenError: (400, "token_invalid"),
    ExpiredTokenError: (410, "token_expired"),
    UnknownEmployeeError: (404, "employee_not_found"),
    UnknownRouteError: (404, "route_not_found"),
    MethodNotAllowedError: (405, "method_not_allowed"),
    NotAcceptableError: (406, "not_acceptable"),
    UnfinishedSearchError: (503, "search_unfinished"),
    SummariesNotReadyError: (503, "summaries_not_ready"),
    NoDataYetError: (503, "no_data_yet"),
}
OF_OUR_OWN = (Exception("x"), KeyError("x"), ValueError("x"), LookupError("x"), NoSigningKeyError("x"))


def test_codes_and_statuses_stay() -> None:
    """Each error has its code and its status; no two share a code; none is here that is not tested."""
    assert {cls: (kind.status, kind.code) for cls, kind in PROBLEMS.items()} == CODES
    codes = [kind.code for kind in (*PROBLEMS.values(), INTERNAL)]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)
    assert (INTERNAL.status, INTERNAL.code) == (500, "internal_error")


def test_every_error_of_the_reader_is_in_the_table() -> None:
    """An exception class that the module defines can be told to clients."""
    defined = [
        value
        for _, value in inspect.getmembers(problems, inspect.isclass)
        if issubclass(value, Exception) and value.__module__ == problems.__name__
    ]
    assert len(defined) >= 6
    assert [each for each in defined if each not in PROBLEMS] == []


def test_no_error_hides_another() -> None:
    """No class of the table is a subclass of another: the order of the table decides nothing."""
    assert [(a, b) for a in PROBLEMS for b in PROBLEMS if a is not b and issubclass(a, b)] == []


@pytest.mark.parametrize("cls", CODES, ids=lambda cls: cls.__name__)
def test_each_error_as_a_document(cls: type[Exception]) -> None:
    """RFC 9457: type, title, the answer's status, detail; besides the code and the request's id."""
    error = cls(ParameterFault("limit", "is odd")) if cls is InvalidParametersError else cls("why it is so")
    document = json.loads(render_problem(error, request_id="req-1"))
    status, code = CODES[cls]
    errors = document.pop("errors", None)
    assert document == {
        "type": f"urn:security-incident-api:problem:{code}",
        "title": PROBLEMS[cls].title,
        "status": status,
        "detail": "limit: is odd" if cls is InvalidParametersError else "why it is so",
        "code": code,
        "request_id": "req-1",
    }
    assert (errors is not None) == (cls is InvalidParametersError)
    assert document["title"]


def test_a_subclass_is_told_as_its_class() -> None:
    """An error that is made more specific one day keeps its code."""

    class TooLateError(ExpiredCursorError):
        pass

    assert problem_kind(TooLateError("x")) is PROBLEMS[ExpiredCursorError]


@pytest.mark.parametrize("error", OF_OUR_OWN, ids=repr)
def test_nothing_of_an_internal_error_shows(error: Exception) -> None:
    """What is our fault is a 500 that says so, and not a word of what went wrong inside."""
    secret = type(error)("arn:aws:secretsmanager:eu-west-1:1:secret:x employee 4506")
    secret.__cause__ = ValueError("more of it")
    text = render_problem(secret, request_id="req-2")
    assert json.loads(text) == {
        "type": "urn:security-incident-api:problem:internal_error",
        "title": INTERNAL.title,
        "status": 500,
        "detail": INTERNAL.title,
        "code": "internal_error",
        "request_id": "req-2",
    }
    assert not any(word in text for word in ("arn", "4506", "more of it", type(error).__name__ + "("))


def test_every_fault_is_named() -> None:
    """Several parameters that are wrong are told at once, in order, each with what is allowed."""
    faults = [ParameterFault("limit", "must be less"), ParameterFault("type", "is unknown: 'x'")]
    document = json.loads(render_problem(InvalidParametersError(*faults), request_id="r"))
    assert document["errors"] == [
        {"parameter": "limit", "reason": "must be less"},
        {"parameter": "type", "reason": "is unknown: 'x'"},
    ]
    assert document["detail"] == "limit: must be less; type: is unknown: 'x'"


@pytest.mark.parametrize("text", ['"', "\\", "\n\r\0", "é😀", "\ud800", "</script>", "{}"])
def test_a_document_is_ascii_json_whatever_it_says(text: str) -> None:
    """What a client sent comes back escaped: no body breaks on its way out, in whatever encoding."""
    body = render_problem(InvalidParametersError(ParameterFault(text, text)), request_id=text)
    assert body.isascii()
    assert body.isprintable()
    assert json.loads(body)["errors"] == [{"parameter": text, "reason": text}]
    assert json.loads(body)["request_id"] == text


def test_headers_that_go_with_a_status() -> None:
    """A 405 names what is allowed; a 503 says when to come back, in whole seconds."""
    assert PROBLEMS[MethodNotAllowedError].headers == {"Allow": "GET, HEAD"}
    waiting = [kind for kind in PROBLEMS.values() if kind.status == 503]
    assert len(waiting) == 3
    assert all(int(kind.headers["Retry-After"]) > 0 for kind in waiting)
    assert all(not kind.headers for kind in PROBLEMS.values() if kind.status in (400, 404, 406, 410))


def test_the_media_type_is_that_of_the_rfc() -> None:
    """Errors are `application/problem+json`."""
    assert CONTENT_TYPE == "application/problem+json"


def test_the_table_can_not_be_changed() -> None:
    """It is one table for the life of a container."""
    with pytest.raises(TypeError):
        PROBLEMS[KeyError] = INTERNAL  # type: ignore[index]  # refused, which is the test


def raised_names(source: str) -> set[str]:
    """The names of the classes that a module raises by calling them."""
    return {
        node.exc.func.id if isinstance(node.exc.func, ast.Name) else node.exc.func.attr  # type: ignore[attr-defined]  # raises in this module are names and attributes
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    }


def test_whatever_the_reader_raises_is_told_to_clients() -> None:
    """Each error that the reader raises itself is in the table, but for the one that is our own fault."""
    folder = Path(problems.__file__).parent
    raised = {name for path in folder.glob("*.py") for name in raised_names(path.read_text("utf-8"))}
    assert len(raised) >= 8
    assert raised - {cls.__name__ for cls in PROBLEMS} == {"NoSigningKeyError"}
