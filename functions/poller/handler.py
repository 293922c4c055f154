"""The poller's Lambda: one poll for each event of the schedule."""

import gc

# Importing makes tens of thousands of objects, and all of them stay: there is no garbage to look for.
gc.disable()

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from functions.poller.composition import built

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger()

if "AWS_LAMBDA_INITIALIZATION_TYPE" in os.environ:
    # In Lambda, which starts a function at full speed whatever its memory is.
    built()

gc.freeze()
gc.enable()


@logger.inject_lambda_context
def lambda_handler(event: Mapping[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """Poll once. The event is EventBridge's, and nothing of it is used: any event means "now".

    Returns the :class:`functions.poller.poll.PollSummary` as JSON.
    """
    summary = asdict(built().poll(seconds_left=context.get_remaining_time_in_millis() / 1000))
    logger.info("poll ended", poll=summary)
    return summary
