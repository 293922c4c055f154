"""The routes: what each takes from a request, and how that is answered over HTTP."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from botocore.exceptions import BotoCoreError, ClientError

from functions.api import formats, health, problems
from functions.api.answer import CACHE_CONTROL, VARY, Answer, data_headers
from functions.api.incidents import IncidentAnswers
from functions.api.negotiation import choose_media_type, has_already, has_any
from functions.api.parameters import (
    Query,
    parse_changes_parameters,
    parse_employee_id,
    parse_employees_parameters,
    parse_no_parameters,
    parse_page_parameters,
    parse_summary_parameters,
)
from functions.api.state_of_request import StateOfRequest

if TYPE_CHECKING:
    from functions.api.changes import ChangesAnswers
    from functions.api.employees import EmployeesAnswers
    from functions.api.summary import SummaryAnswers
    from functions.api.unattributed import UnattributedAnswers

ALLOWED_METHODS = ("GET", "HEAD")
_OTHER_METHODS = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_OPENAPI_PATH = Path(__file__).parent / "openapi.json"

type Respond = Callable[..., Answer]


class Routes:
    """One method a route: request in, answer out. What makes the rarer answers is made when it is needed."""

    def __init__(
        self,
        app: APIGatewayRestResolver,
        *,
        state: StateOfRequest,
        incidents: IncidentAnswers,
        unattributed: "Callable[[], UnattributedAnswers]",
        changes: "Callable[[], ChangesAnswers]",
        employees: "Callable[[], EmployeesAnswers]",
        summary: "Callable[[], SummaryAnswers]",
        poll_interval_seconds: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._state = state
        self._incidents = incidents
        self._unattributed = unattributed
        self._changes = changes
        self._employees = employees
        self._summary = summary
        self._poll_interval_seconds = poll_interval_seconds
        self._clock = clock

    def by_path(self) -> Mapping[str, Respond]:
        """What answers under which path; ``<name>`` is a parameter."""
        return {
            "/incidents": self.get_incidents,
            "/incidents/changes": self.get_changes,
            "/incidents/unattributed": self.get_unattributed,
            "/employees": self.get_employees,
            "/employees/<employee_id>/incidents": self.get_employee_incidents,
            "/summary": self.get_summary,
            "/health": self.get_health,
            "/openapi.json": self.get_openapi,
        }

    def get_incidents(self) -> Answer:
        """Employees with their incidents by priority, a page at a time."""
        return self._page(employee_id=None)

    def get_employee_incidents(self, employee_id: str) -> Answer:
        """One employee's incidents, in the same shape."""
        # The path comes percent-encoded.
        return self._page(parse_employee_id(unquote(employee_id)))

    def get_unattributed(self) -> Answer:
        """Incidents whose employee is not known yet, flat, a page at a time."""
        parameters = parse_page_parameters(self._query())
        self._accepted(formats.JSON)
        answers = self._unattributed()
        request = answers.prepare(parameters)
        return self._unless_had(
            request.etag, lambda: answers.headers(request), lambda: answers.answer(request)
        )

    def get_changes(self) -> Answer:
        """Incidents in the order in which they were taken in."""
        parameters = parse_changes_parameters(self._query())
        # A CSV of nested findings would be none.
        offered = formats.FLAT if parameters.schema == "native" else formats.NESTED
        content_type = self._accepted(*offered)
        answers = self._changes()
        request = answers.prepare(parameters, content_type)
        return self._unless_had(
            request.etag, lambda: answers.headers(request), lambda: answers.answer(request)
        )

    def get_employees(self) -> Answer:
        """Employees with counts and a risk score: those on top, or all of them by id."""
        parameters = parse_employees_parameters(self._query())
        self._accepted(formats.JSON)
        answers = self._employees()
        request = answers.prepare(parameters)
        return self._unless_had(
            request.etag, lambda: answers.headers(request), lambda: answers.answer(request)
        )

    def get_summary(self) -> Answer:
        """Everybody's incidents in numbers."""
        days = parse_summary_parameters(self._query())
        self._accepted(formats.JSON)
        answers = self._summary()
        request = answers.prepare(days)
        return self._unless_had(
            request.etag, lambda: answers.headers(request), lambda: answers.answer(request)
        )

    def get_health(self) -> Answer:
        """How the poller does."""
        parse_no_parameters(self._query())
        content_type = self._accepted(health.CONTENT_TYPE, formats.JSON)
        document = health.assess_health(
            self._state.read(), now=self._clock(), poll_interval_seconds=self._poll_interval_seconds
        )
        status = HTTPStatus.SERVICE_UNAVAILABLE if document["status"] == "fail" else HTTPStatus.OK
        return Answer(json.dumps(document), content_type, status, self.data_headers())

    def get_openapi(self) -> Answer:
        """The contract."""
        parse_no_parameters(self._query())
        content_type = self._accepted(formats.JSON)
        return Answer(_OPENAPI_PATH.read_text(encoding="utf-8"), content_type, headers=self.data_headers())

    def data_headers(self) -> dict[str, str]:
        """How old and how complete the data are, also where the answer is not made from them.

        Nothing where the table can't be read just now: what needs no data is answered all the same.
        """
        try:
            return data_headers(self._state.read(), now=self._clock())
        except (BotoCoreError, ClientError):
            return {}

    def _page(self, employee_id: str | None) -> Answer:
        parameters = parse_page_parameters(self._query(), with_limit=employee_id is None)
        self._accepted(formats.JSON)
        request = self._incidents.prepare(parameters, employee_id)
        return self._unless_had(
            request.etag, lambda: self._incidents.headers(request), lambda: self._incidents.answer(request)
        )

    def _query(self) -> Query:
        query: Mapping[str, Sequence[str]] | None = self._app.current_event.resolved_query_string_parameters
        return query or {}

    def _header(self, name: str) -> str | None:
        value: str | None = self._app.current_event.headers.get(name)
        return value

    def _accepted(self, *offered: str) -> str:
        media_type = choose_media_type(self._header("Accept"), offered)
        if media_type is None:
            raise problems.NotAcceptableError(f"this is served as {' or '.join(offered)} only")
        return media_type

    def _unless_had(
        self, etag: str, headers: Callable[[], Mapping[str, str]], answer: Callable[[], Answer]
    ) -> Answer:
        """The answer, or that the client has it already, for which nothing more is read."""
        wanted = self._header("If-None-Match")
        if has_already(wanted, etag):
            return _not_modified(headers())
        full = answer()
        # Any answer will do, but there has to be one.
        return _not_modified(headers()) if has_any(wanted) else full


def add_routes(app: APIGatewayRestResolver, routes: Routes, *, logger: Logger) -> None:
    """Let ``app`` answer REST API proxy events with ``routes``, and everything else with a problem."""

    def respond_with(respond: Respond) -> Callable[..., Response[str]]:
        def respond_over_http(**path_parameters: str) -> Response[str]:
            method = app.current_event.http_method
            if method not in ALLOWED_METHODS:
                raise problems.MethodNotAllowedError(f"{method} is not possible here")
            return _to_response(app, respond(**path_parameters))

        return respond_over_http

    for path, respond in routes.by_path().items():
        app.route(path, method=[*ALLOWED_METHODS, *_OTHER_METHODS])(respond_with(respond))

    @app.not_found
    def tell_unknown_route(_: NotFoundError) -> Response[str]:
        error = problems.UnknownRouteError("nothing is served under this path")
        return _to_problem(app, error, routes.data_headers())

    @app.exception_handler(Exception)  # type: ignore[untyped-decorator]  # in Powertools
    def tell_problem(error: Exception) -> Response[str]:
        if problems.problem_kind(error) is problems.INTERNAL:
            logger.exception("request failed")
            # What failed may be the table, and asking it again would only take longer.
            return _to_problem(app, error, {})
        return _to_problem(app, error, routes.data_headers())


def _not_modified(headers: Mapping[str, str]) -> Answer:
    return Answer("", "", HTTPStatus.NOT_MODIFIED, headers)


def _to_problem(app: APIGatewayRestResolver, error: Exception, headers: Mapping[str, str]) -> Response[str]:
    kind = problems.problem_kind(error)
    body = problems.render_problem(error, request_id=_request_id(app))
    return _to_response(app, Answer(body, problems.CONTENT_TYPE, kind.status, {**headers, **kind.headers}))


def _to_response(app: APIGatewayRestResolver, answer: Answer) -> Response[str]:
    """Also for HEAD with its body: the gateway sends the length of the body and not the body."""
    return Response(
        status_code=answer.status,
        content_type=answer.content_type or None,
        body=answer.body,
        headers={
            "Cache-Control": CACHE_CONTROL,
            "Vary": VARY,
            "X-Request-Id": _request_id(app),
            **answer.headers,
        },
    )


def _request_id(app: APIGatewayRestResolver) -> str:
    return str(app.current_event["requestContext"].get("requestId", ""))
