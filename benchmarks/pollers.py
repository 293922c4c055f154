"""What is measured of polling, for processes of its own (`subject.py`): the real poller."""

from datetime import UTC, datetime

from benchmarks.subject import Work
from local.lambda_context import load_function
from local.scheduler import build_scheduled_event
from local.template import load_template


def poll() -> Work:
    """One poll of the real handler; what comes of it is how many records it left for the next, and one."""
    function = load_function(load_template(), "PollerFunction")
    event = build_scheduled_event(datetime.now(UTC))

    def invoke() -> int:
        summary = function.handler(event, function.new_context())
        if summary["outcome"] != "succeeded" or set(summary["sources"].values()) != {"fresh"}:
            raise RuntimeError(f"the poll {summary['outcome']}: {summary}")
        return int(summary["postponed"]) + 1

    return Work(invoke)
