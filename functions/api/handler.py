"""The reader's Lambda: one answer for each request that API Gateway lets through."""

import gc

# Importing makes tens of thousands of objects, and all of them stay: there is no garbage to look for.
gc.disable()

import os
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from functions.api.composition import built

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger()

if "AWS_LAMBDA_INITIALIZATION_TYPE" in os.environ:
    # In Lambda, which starts a function at full speed whatever its memory is, and may keep what it has made
    # by then as a snapshot.
    built(logger)

gc.freeze()
gc.enable()


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """Answer one REST API proxy event."""
    return built(logger).resolve(event, context)
