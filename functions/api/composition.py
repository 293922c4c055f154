"""Putting the reader together: the only place that makes its client and reads its environment."""

import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from botocore.client import BaseClient

from functions.api.configuration import read_configuration
from functions.api.incidents import IncidentAnswers
from functions.api.page_cache import PageCache
from functions.api.page_requests import PageRequests
from functions.api.routes import Routes, add_routes
from functions.api.signer import Signer
from functions.api.state_of_request import StateOfRequest
from functions.api.walker import Walker
from shared.aws import make_dynamodb
from shared.direct_reads import DirectReads
from shared.repeated_get import RepeatedGet
from shared.store.keys import STATE_KEY
from shared.store.table import Item, Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from functions.api.changes import ChangesAnswers
    from functions.api.employees import EmployeesAnswers
    from functions.api.overviews import Overviews
    from functions.api.summary import SummaryAnswers
    from functions.api.unattributed import UnattributedAnswers


def build(
    environ: Mapping[str, str], *, logger: Logger, dynamodb: "DynamoDBClient | None" = None
) -> APIGatewayRestResolver:
    """A reader of this environment; the client may come from outside.

    Raises :class:`shared.configuration.ConfigurationError` that names what is missing.
    """
    configuration = read_configuration(environ)
    # API Gateway gives up after 29 seconds: after the 15 that a page may be searched for, the last request
    # and its repetitions have to end within the rest.
    client = dynamodb or make_dynamodb(read_timeout=2, attempts=3)
    # A test's may not be botocore's, which is what there is a shorter way past.
    reads = DirectReads(client) if isinstance(client, BaseClient) else None
    table = Table(configuration.table_name, client=reads or client)  # type: ignore[arg-type]  # what reading needs
    signer = Signer(table)
    walker = Walker(table, configuration.retention)
    app = APIGatewayRestResolver()
    state = StateOfRequest(app, _state_getter(reads, table))
    pages = PageCache()
    requests = PageRequests(signer=signer, retention=configuration.retention, read_state=state.read)

    # Most readers are never asked for these, and a start is imports.
    @cache
    def unattributed() -> "UnattributedAnswers":
        from functions.api.unattributed import UnattributedAnswers

        return UnattributedAnswers(requests, table, configuration.retention, cache=pages)

    @cache
    def changes() -> "ChangesAnswers":
        from functions.api.changes import ChangesAnswers

        return ChangesAnswers(Table(table.name, client=client), signer=signer, read_state=state.read)

    @cache
    def overviews() -> "Overviews":
        from functions.api.overviews import Overviews

        return Overviews(Table(table.name, client=client), state, configuration.retention)

    @cache
    def employees() -> "EmployeesAnswers":
        from functions.api.employees import EmployeesAnswers

        return EmployeesAnswers(overviews(), Table(table.name, client=client), signer=signer)

    @cache
    def summary() -> "SummaryAnswers":
        from functions.api.summary import SummaryAnswers

        return SummaryAnswers(overviews())

    routes = Routes(
        app,
        state=state,
        incidents=IncidentAnswers(requests, walker=walker, cache=pages),
        unattributed=unattributed,
        changes=changes,
        employees=employees,
        summary=summary,
        poll_interval_seconds=configuration.poll_interval_seconds,
    )
    add_routes(app, routes, logger=logger)
    return app


def _state_getter(reads: DirectReads | None, table: Table) -> Callable[[], Item | None]:
    """How the state is read: by repeating a request, where there are requests."""
    if reads:
        return RepeatedGet(reads, table_name=table.name, key=STATE_KEY)
    return lambda: table.get(STATE_KEY)


@cache
def built(logger: Logger) -> APIGatewayRestResolver:
    """The reader of this container, made once."""
    return build(os.environ, logger=logger)
