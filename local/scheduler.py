"""EventBridge on this machine: calls the poller's handler at fixed intervals, one poll at a time."""

import json
import os
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from local.emulator import ACCOUNT_ID, REGION
from local.lambda_context import Function, load_function
from local.template import load_template

RULE = "local-poll"
# What a poll's summary counts: how it is called on the terminal, and whether none of it is worth saying.
_COUNTS = {
    "records": ("seen", True),
    "new_incidents": ("new", True),
    "attributed_late": ("attributed late", False),
    "unattributed": ("unattributed", False),
    "new_rejected": ("rejected", False),
}


def build_scheduled_event(now: datetime) -> dict[str, Any]:
    """The event of an EventBridge rule with a schedule; `now` is aware and in UTC."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT_ID,
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": [f"arn:aws:events:{REGION}:{ACCOUNT_ID}:rule/{RULE}"],
        "detail": {},
    }


def run_poll(function: Function, number: int) -> str:
    """Poll once and say in one line what came of it; a poll that fails says so and never raises.

    A failed poll's traceback goes to stderr. The line names an error's class only: its text may hold more
    than should be on a terminal.
    """
    started = time.monotonic()
    try:
        summary = function.handler(build_scheduled_event(datetime.now(UTC)), function.new_context())
        # Lambda would refuse what is not JSON.
        json.dumps(summary)
        outcome = describe_summary(summary)
    except Exception as error:  # as in Lambda, one failed invocation does not end the schedule
        traceback.print_exc(file=sys.stderr)
        outcome = f"failed with {type(error).__name__}, see .local/poller.log"
    return f"poll {number}: {outcome} ({time.monotonic() - started:.1f} s)"


def describe_summary(summary: Any) -> str:
    """A poll's summary for people, such as `2,100 seen, 0 new, all sources fresh`.

    Takes what functions.poller.poll.PollSummary has, as JSON; whatever is missing is left out.
    """
    if not isinstance(summary, Mapping):
        return "done"
    outcome = summary.get("outcome")
    if outcome == "superseded":
        return "superseded by another poll, changed nothing"
    parts = ["failed"] if outcome == "failed" else []
    for key, (word, even_if_none) in _COUNTS.items():
        count = summary.get(key)
        if isinstance(count, int) and (count or even_if_none):
            parts.append(f"{count:,} {word}")
    parts += _describe_sources(summary.get("sources"))
    return ", ".join(parts) or "done"


def _describe_sources(states: Any) -> list[str]:
    """From name to state: one part if all are alike, else one for each that is not fresh."""
    if not isinstance(states, Mapping) or not states:
        return []
    if len(set(states.values())) == 1:
        return [f"all sources {next(iter(states.values()))}".replace("_", " ")]
    return [f"{name} {state}".replace("_", " ") for name, state in states.items() if state != "fresh"]


def run_schedule(
    poll: Callable[[int], str],
    interval_seconds: float,
    terminal: TextIO,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    polls: int | None = None,
) -> None:
    """Call `poll` with 1, 2, 3 … and print its lines: the first at once, then one every `interval_seconds`.

    One that takes longer is followed by the next at once; what it missed is left out. `polls` ends it after
    that many, None never.
    """
    number = 0
    while polls is None or number < polls:
        number += 1
        due = clock() + interval_seconds
        print(poll(number), file=terminal, flush=True)
        if polls is None or number < polls:
            sleep(max(0.0, due - clock()))


def main() -> None:
    """Poll every `sys.argv[1]` seconds; lines for people go to stdout, everything else to stderr."""
    terminal = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    # Powertools and print() write to stdout: in Lambda that is the log.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    function = load_function(load_template(), "PollerFunction")
    run_schedule(lambda number: run_poll(function, number), float(sys.argv[1]), terminal)


if __name__ == "__main__":
    main()
