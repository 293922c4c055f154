"""Putting the reader together: the only place that makes its client and reads its environment."""

import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayRestResolver

from functions.api.changes import ChangesAnswers
from functions.api.configuration import read_configuration
from functions.api.incidents import IncidentAnswers
from functions.api.page_requests import PageRequests
from functions.api.routes import Routes, add_routes
from functions.api.signer import Signer
from functions.api.state_of_request import StateOfRequest
from functions.api.unattributed import UnattributedAnswers
from functions.api.walker import Walker
from shared.aws import make_dynamodb
from shared.store.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def build(
    environ: Mapping[str, str], *, logger: Logger, dynamodb: "DynamoDBClient | None" = None
) -> APIGatewayRestResolver:
    """A reader of this environment; the client may come from outside.

    Raises :class:`shared.configuration.ConfigurationError` that names what is missing.
    """
    configuration = read_configuration(environ)
    # API Gateway gives up after 29 seconds: after the 15 that a page may be searched for, the last request
    # and its repetitions have to end within the rest.
    table = Table(configuration.table_name, client=dynamodb or make_dynamodb(read_timeout=2, attempts=3))
    signer = Signer(table)
    walker = Walker(table, configuration.retention)
    app = APIGatewayRestResolver()
    state = StateOfRequest(app, table)
    requests = PageRequests(signer=signer, read_state=state.read)
    routes = Routes(
        app,
        state=state,
        incidents=IncidentAnswers(requests, walker=walker),
        unattributed=UnattributedAnswers(requests, table, configuration.retention),
        changes=ChangesAnswers(table, signer=signer, read_state=state.read),
        poll_interval_seconds=configuration.poll_interval_seconds,
    )
    add_routes(app, routes, logger=logger)
    return app


@cache
def built(logger: Logger) -> APIGatewayRestResolver:
    """The reader of this container, made once."""
    return build(os.environ, logger=logger)
