"""The reader's Lambda: one answer for each request that API Gateway lets through."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.api.composition import built

logger = Logger()


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one REST API proxy event."""
    return built(logger).resolve(event, context)
