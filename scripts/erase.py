"""`make erase EMPLOYEE=…`: forgets one employee, in a deployment or in any table.

Takes its input from the environment, because make hands its variables over there: `EMPLOYEE` (an employee
id), `ENV` (dev, staging, prod) or instead `TABLE_NAME` with `RETENTION_DAYS`, and `YES=1` for no questions.
Region and credentials are those of the person's AWS profile; docs/data-protection.md has the policy that it
takes.

Exit status: 0 when no incident and no rejected record of the employee is left, 2 for what a person has to
mend first, 1 when the person said no or polls kept coming in between.
"""

import os
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from scripts.environments import RefusedError, check_environment, identify, read_stack_name
from shared.configuration import ConfigurationError, required, retention
from shared.domain.incident import canonical_employee_id
from shared.domain.journal import Erased, UnknownOutcomeError
from shared.domain.retention import Retention
from shared.store.commit import commit_decisions
from shared.store.entries import read_entry
from shared.store.erasure import TraceSearch, is_erasure
from shared.store.projection import project_entry
from shared.store.state import State, read_state
from shared.store.table import Table, ThrottledError

_ROOT = Path.cwd()
# A poll that commits in between costs one more, in which only its entries are read.
_ROUNDS = 10
# The longest interval of polls is half an hour.
_WAIT_SECONDS = 10.0
_WAITS = 240
_ENTRIES_A_LINE = 10_000


def main(environ: Mapping[str, str], *, ask: Callable[[str], str] = input) -> int:
    """Erase as ``environ`` says; ``ask`` gets a person's answer to a question."""
    try:
        employee_id = read_employee_id(environ)
        table, kept = open_table(environ)
        return erase(table, employee_id, kept, ask=None if environ.get("YES") == "1" else ask)
    except (RefusedError, ConfigurationError) as refused:
        print(f"Nothing was erased: {refused}", file=sys.stderr)
        return 2
    except (BotoCoreError, ClientError, ThrottledError) as error:
        print(f"Not all is erased: {error}. Run it again: it goes on where it stopped.", file=sys.stderr)
        return 2
    except (UnknownOutcomeError, EOFError) as error:
        hint = "set YES=1 where nobody can answer" if isinstance(error, EOFError) else "take a newer version"
        print(f"Nothing was erased: {error or 'no answer'}; {hint}.", file=sys.stderr)
        return 2


def read_employee_id(environ: Mapping[str, str]) -> str:
    """The employee id without leading zeros. Raises RefusedError."""
    given = environ.get("EMPLOYEE", "").strip()
    employee_id = canonical_employee_id(given)
    if employee_id is None:
        raise RefusedError(
            f"EMPLOYEE is {given or 'missing'}: say EMPLOYEE=, an employee id of 1 to 20 digits"
        )
    return employee_id


def open_table(environ: Mapping[str, str]) -> tuple[Table, Retention]:
    """The table of TABLE_NAME, else that of the environment's stack, and how long it keeps what it has.

    Raises RefusedError, ConfigurationError and botocore's errors.
    """
    session = boto3.Session(region_name=environ.get("AWS_REGION") or None)
    values = environ if environ.get("TABLE_NAME") else _ask_stack(session, environ)
    # What is laid out on the way would be kept for ever, if this were forgotten.
    required(values, "RETENTION_DAYS")
    name = values["TABLE_NAME"]
    print(f"Looking into the table {name}", flush=True)
    client = session.client("dynamodb", config=Config(retries={"mode": "standard", "total_max_attempts": 5}))
    return Table(name, client=client), retention(values)


def erase(
    table: Table,
    employee_id: str,
    kept: Retention,
    *,
    ask: Callable[[str], str] | None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Erase until nothing is found any more, and give the exit status; ``ask`` is asked once before."""
    search = TraceSearch(table, employee_id)
    for _ in range(_ROUNDS):
        state = settle_down(table, kept, sleep=sleep)
        found = search.go_on(state.projected, look=_show_progress)
        if not found:
            print(f"No incident and no rejected record of employee {employee_id} is stored.")
            return 0
        if ask:
            print(describe(found))
            if ask(f"This can't be undone. Type the employee's id ({employee_id}): ") != employee_id:
                print("Nothing was erased: that was another id.", file=sys.stderr)
                return 1
            ask = None
            # The answer may have taken its time.
            continue
        commit_decisions(
            table,
            state,
            found,
            poll_id=f"erasure-{uuid.uuid4().hex}",
            # Who waits was tried with the same identities as before.
            tried_with=state.attributed_with,
            even_if_empty=False,
            retention=kept,
            clock=clock,
            has_time=lambda: True,
        )
    print("Not all is erased: polls came in between each time. Run it again.", file=sys.stderr)
    return 1


def settle_down(table: Table, kept: Retention, *, sleep: Callable[[float], None]) -> State:
    """The state with nothing committed that is not laid out; waits for a poll to do that, if there is.

    Only what erases is laid out here. A poll ends after minutes, which is what makes erasing safe
    (docs/decisions/0012-erasing-twice.md); this may sleep for days, on a laptop that is closed.
    Raises RefusedError.
    """
    for attempt in range(_WAITS):
        state = read_state(table)
        entry = read_entry(table, state.projected + 1)
        if entry is None:
            return state
        if is_erasure(entry):
            project_entry(table, entry, kept)
            continue
        if not attempt:
            print("Waiting until a poll has laid out what is committed …", flush=True)
        sleep(_WAIT_SECONDS)
    raise RefusedError("no poll lays out what is committed: see whether the poller runs, and try again")


def describe(found: Sequence[Erased]) -> str:
    """What is going to be erased, in one line."""
    counts = Counter(
        "rejected" if each.traces and not each.traces.timestamp else "incident" for each in found
    )
    places = sum(len(each.traces.places) for each in found if each.traces)
    return (
        f"Found {counts['incident']:,} incidents and {counts['rejected']:,} rejected records,"
        f" {places:,} times in the journal."
    )


def _ask_stack(session: boto3.Session, environ: Mapping[str, str]) -> Mapping[str, str]:
    """The variables of the environment's stack. Raises RefusedError and botocore's errors."""
    environment = check_environment(_ROOT, environ.get("ENV", ""))
    account = identify(session)
    name = read_stack_name(_ROOT, environment)
    try:
        (stack,) = session.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        raise RefusedError(f"the stack {name} can't be looked at: {error}") from error
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
    print(f"{name} in account {account}, {session.region_name}", flush=True)
    return {"TABLE_NAME": outputs["IncidentTableName"], "RETENTION_DAYS": parameters["RetentionDays"]}


def _show_progress(sequence: int) -> None:
    if sequence % _ENTRIES_A_LINE == 0:
        print(f"  {sequence:,} journal entries read", flush=True)


if __name__ == "__main__":
    sys.exit(main(os.environ))
