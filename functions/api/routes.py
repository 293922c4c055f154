"""The routes: what each takes from a request and how it is answered."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError

from functions.api import problems
from functions.api.health import CONTENT_TYPE as HEALTH_CONTENT_TYPE
from functions.api.health import assess_health
from functions.api.incidents import IncidentAnswers
from functions.api.parameters import parse_employee_id, parse_no_parameters, parse_page_parameters
from shared.store.state import read_state
from shared.store.table import Table

_JSON = "application/json"
_METHODS = ["GET", "HEAD"]
# Whoever may see the data may keep it, nobody between may, and each use asks first.
_HEADERS = {"Cache-Control": "private, no-cache"}


def make_routes(
    table: Table,
    answers: IncidentAnswers,
    *,
    poll_interval_seconds: int,
    logger: Logger,
    clock: Callable[[], float] = time.time,
) -> APIGatewayRestResolver:
    """A resolver that answers API Gateway's REST proxy events."""
    app = APIGatewayRestResolver()

    @app.route("/incidents", method=_METHODS)
    def get_incidents() -> Response[str]:
        parameters = parse_page_parameters(_query(app))
        return _answer(app, HTTPStatus.OK, answers.of_all(parameters), _JSON)

    @app.route("/employees/<employee_id>/incidents", method=_METHODS)
    def get_employee_incidents(employee_id: str) -> Response[str]:
        parse_no_parameters(_query(app))
        return _answer(app, HTTPStatus.OK, answers.of_employee(parse_employee_id(employee_id)), _JSON)

    @app.route("/health", method=_METHODS)
    def get_health() -> Response[str]:
        parse_no_parameters(_query(app))
        document = assess_health(read_state(table), now=clock(), poll_interval_seconds=poll_interval_seconds)
        status = HTTPStatus.SERVICE_UNAVAILABLE if document["status"] == "fail" else HTTPStatus.OK
        return _answer(app, status, json.dumps(document), HEALTH_CONTENT_TYPE)

    @app.not_found
    def tell_unknown_route(_: NotFoundError) -> Response[str]:
        return _problem(app, problems.UnknownRouteError("nothing is served under this path and method"))

    @app.exception_handler(Exception)  # type: ignore[untyped-decorator]  # in Powertools
    def tell_problem(error: Exception) -> Response[str]:
        if problems.problem_kind(error) is problems.INTERNAL:
            logger.exception("request failed")
        return _problem(app, error)

    return app


def _problem(app: APIGatewayRestResolver, error: Exception) -> Response[str]:
    kind = problems.problem_kind(error)
    body = problems.render_problem(error, request_id=_request_id(app))
    return _answer(app, kind.status, body, problems.CONTENT_TYPE, kind.headers)


def _answer(
    app: APIGatewayRestResolver,
    status: int,
    body: str,
    content_type: str,
    headers: Mapping[str, str] | None = None,
) -> Response[str]:
    return Response(
        status_code=status,
        content_type=content_type,
        # Also for HEAD: the gateway sends the length of the body and not the body.
        body=body,
        headers={**_HEADERS, "X-Request-Id": _request_id(app), **(headers or {})},
    )


def _query(app: APIGatewayRestResolver) -> Mapping[str, Sequence[str]]:
    return app.current_event.resolved_query_string_parameters or {}


def _request_id(app: APIGatewayRestResolver) -> str:
    return str(app.current_event["requestContext"].get("requestId", ""))
