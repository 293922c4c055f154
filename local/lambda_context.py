"""The second argument of a Lambda handler, and the function that the local run calls with it."""

import importlib
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local.emulator import ACCOUNT_ID, REGION
from local.template import Limits, Template, read_handler, read_limits

type Handler = Callable[[dict[str, Any], Any], Any]


@dataclass(frozen=True)
class LambdaContext:
    """What AWS Lambda passes beside the event; the time left counts down from the template's `Timeout`."""

    function_name: str
    memory_limit_in_mb: int
    timeout_seconds: int
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    function_version: str = "$LATEST"
    log_stream_name: str = "local"
    client_context: None = None
    identity: None = None
    started: float = field(default_factory=time.monotonic, repr=False)

    @property
    def invoked_function_arn(self) -> str:
        """The ARN that the function would have in the emulator's account."""
        return f"arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{self.function_name}"

    @property
    def log_group_name(self) -> str:
        """Where Lambda would put its logs."""
        return f"/aws/lambda/{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda would end this invocation, never below 0."""
        left = self.timeout_seconds - (time.monotonic() - self.started)
        return max(0, int(left * 1000))


@dataclass(frozen=True)
class Function:
    """A function of the template, ready to be called in this process."""

    name: str
    handler: Handler
    limits: Limits

    def new_context(self) -> LambdaContext:
        """A context for one call that starts now."""
        return LambdaContext(self.name, self.limits.memory_mb, self.limits.timeout_seconds)


def load_function(template: Template, logical_id: str) -> Function:
    """Import a function's `Handler`, as Lambda does when it starts. Raises what the import raises."""
    module_name, _, attribute = read_handler(template, logical_id).rpartition(".")
    handler: Handler = getattr(importlib.import_module(module_name), attribute)
    name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", logical_id)
    return Function(name, handler, read_limits(template, logical_id))
