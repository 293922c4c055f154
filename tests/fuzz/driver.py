"""Schemathesis against a running API: requests made of its own contract, good and bad, each answer judged.

What the contract says but no schema can say is told in :func:`excuse`; nothing else is excused.
"""

import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import schemathesis
from schemathesis import CheckContext, HookContext
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response
from schemathesis.engine import Status, events, from_schema
from schemathesis.generation.case import Case

from tests.fuzz.conformance import Contract

CONTRACT = Contract()
# Credentials are asked for by API Gateway in AWS; the local run asks for none.
LEFT_OUT = {"ignored_auth", "object_level_authorization", "use_after_free", "ensure_resource_availability"}
_CONTROL_CHARACTERS = "".join(map(chr, [*range(32), 127]))
_SIGNED = {"cursor_invalid", "cursor_mismatch", "token_invalid"}


@dataclass
class Report:
    """What a run did. ``violations`` are by operation and kind; ``excused`` counts what was let by."""

    requests: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    violations: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def describe(self) -> str:
        """A few lines for a person."""
        lines = [
            f"{self.requests:,} requests in {self.seconds:.0f} s, {len(self.violations)} violations, "
            f"{len(self.errors)} errors",
            f"  by status: {dict(sorted(self.statuses.items()))}",
            f"  by operation: {dict(sorted(self.operations.items()))}",
            f"  checks: {dict(sorted(self.checks.items()))}",
            f"  excused by the contract: {dict(sorted(self.excused.items()))}",
        ]
        lines += [f"VIOLATION {what}\n{told}" for what, told in self.violations.items()]
        return "\n".join([*lines, *(f"ERROR {each}" for each in self.errors)])


class Fuzzer:
    """One run against ``base_url`` (no slash at its end), whose contract is at /openapi.json."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._cursors: list[tuple[str, str]] = []
        self._tokens: list[str] = []
        self._turn = itertools.count()
        self.report = Report()

    def run(self, *, requests: int, seconds: float) -> Report:
        """Rounds with new seeds until so many requests were made or the time is up."""
        began = time.monotonic()
        for seed in itertools.count(1):
            left = began + seconds - time.monotonic()
            if self.report.requests >= requests or left <= 0:
                break
            self._round(seed, requests, began + seconds)
        self.report.seconds = time.monotonic() - began
        return self.report

    def _round(self, seed: int, requests: int, deadline: float) -> None:
        schema = schemathesis.openapi.from_url(
            f"{self._base_url}/openapi.json", config=self._configuration(seed)
        )
        _running[:] = [self]
        stream = from_schema(schema).execute()
        for event in stream:
            if isinstance(event, events.ScenarioFinished):
                self._take(event)
            elif isinstance(event, events.NonFatalError | events.FatalError):
                self.report.errors.append(
                    str(getattr(event, "value", getattr(event, "exception", event)))[:500]
                )
            if self.report.requests >= requests or time.monotonic() > deadline:
                stream.stop()

    def _configuration(self, seed: int) -> schemathesis.Config:
        checks: dict[str, Any] = {name: {"enabled": False} for name in LEFT_OUT}
        # 503 is documented where it may be; 500, 502 and 504 are documented, too, and failures all the same.
        checks["not_a_server_error"] = {"expected-statuses": ["2xx", "3xx", "4xx", "503"]}
        return schemathesis.Config.from_dict(
            {
                "base-url": self._base_url,
                "seed": seed,
                "continue-on-failure": True,
                "request-timeout": 30,
                "suppress-health-check": ["all"],
                "checks": checks,
                "generation": {
                    "max-examples": 60,
                    "database": "none",
                    "no-shrink": True,
                    # HTTP itself forbids them: the server in front answers, not the service.
                    "exclude-header-characters": _CONTROL_CHARACTERS,
                },
            }
        )

    def _take(self, event: events.ScenarioFinished) -> None:
        recorder = event.recorder
        self.report.requests += len(recorder.interactions)
        for case_id, nodes in recorder.checks.items():
            for node in nodes:
                self.report.checks[node.name] += 1
                if node.status == Status.FAILURE and node.failure_info is not None:
                    case = recorder.cases[case_id].value
                    what = f"{case.operation.label} {node.name}: {node.failure_info.failure.title}"
                    told = node.failure_info.failure.message[:600]
                    code = node.failure_info.code_sample
                    self.report.violations.setdefault(what, f"  {told}\n  {code[:600]}")

    def change_request(self, case: Case) -> None:
        """Every other time a cursor or token made up by rule is one that was given out."""
        query = case.query
        if not isinstance(query, dict) or next(self._turn) % 2:
            return
        path = case.formatted_path
        mine = [cursor for where, cursor in self._cursors if where == path]
        if isinstance(query.get("cursor"), str) and mine:
            case.query = {"cursor": mine[-1]}
        elif isinstance(query.get("token"), str) and self._tokens:
            case.query = {**query, "token": self._tokens[-1]}

    def keep_answer(self, case: Case, response: Response) -> None:
        """Count an answer, and keep its cursor or token."""
        self.report.statuses[str(response.status_code)] += 1
        self.report.operations[f"{response.request.method} {case.operation.path}"] += 1
        if response.status_code != 200 or not response.content:
            return
        if (response.headers.get("content-type") or [""])[0] != "application/json":
            return
        page = json.loads(response.content)
        if page.get("next_cursor"):
            self._cursors.append((case.formatted_path, page["next_cursor"]))
        if page.get("next_token"):
            self._tokens.append(page["next_token"])

    def is_failure(self, failure: Failure, response: Response) -> bool:
        """Whether the contract has not foreseen this; what it has is counted."""
        reason = excuse(type(failure).__name__, response)
        if reason:
            self.report.excused[f"{type(failure).__name__}: {reason}"] += 1
        return not reason


# Hooks are of the process and not of a run.
_running: list[Fuzzer] = []


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Schemathesis calls this before each request."""
    for fuzzer in _running:
        fuzzer.change_request(case)


@schemathesis.hook
def after_call(context: HookContext, case: Case, response: Response) -> None:
    """Schemathesis calls this after each request."""
    for fuzzer in _running:
        fuzzer.keep_answer(case, response)


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case, response: Response) -> bool:
    """Schemathesis calls this for each failure; False drops it."""
    return all(fuzzer.is_failure(failure, response) for fuzzer in _running)


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    """The local run asks for no credentials: that is API Gateway's business, in AWS."""
    raw_schema.pop("security", None)


def excuse(failure: str, response: Response) -> str:
    """Why the contract has foreseen what a check takes for a failure; empty if it has not."""
    query = parse_qs(urlsplit(response.request.url or "").query, keep_blank_values=True)
    status = response.status_code
    named = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    if failure == "UnsupportedMethodResponse" and status == 404 and response.request.method not in named:
        return "a method that has no route at all is answered with 404"
    if failure == "RejectedPositiveData":
        if status == 406:
            return "the request accepts none of the media types"
        if status == 410:
            return "the cursor or the token has expired"
        if status == 400:
            return _why_not_valid(query, response)
    return ""


def _why_not_valid(query: Mapping[str, list[str]], response: Response) -> str:
    """A rule of the contract that no schema can hold; the answer has to name it, where it has a body."""
    if response.content:
        problem = json.loads(response.content)
        if problem["code"] in _SIGNED:
            return "the cursor or the token is not one that was given out for this"
        if [each["parameter"] for each in problem["errors"]] == ["cursor"] and "risk" in query.get(
            "sort", ()
        ):
            return "a cursor does not go with sort=risk"
        if any(each["parameter"] not in ("since", "until") for each in problem["errors"]):
            return ""
    elif "cursor" in query or "token" in query:
        return "the cursor or the token is not one that was given out for this"
    moments = [_moment(query[name][0]) for name in ("since", "until") if name in query]
    if None in moments:
        return "a day that no calendar has, or a moment out of range"
    if len(moments) == 2 and moments[0] >= moments[1]:  # type: ignore[operator]  # both are there
        return "until is not later than since"
    return ""


def _moment(text: str) -> Decimal | None:
    if re.fullmatch(r"[0-9.]+", text):
        return Decimal(text)
    try:
        seconds = Decimal(repr(datetime.fromisoformat(text.upper()).timestamp()))
    except ValueError:
        return None
    return seconds if 0 <= seconds < 10**10 else None


@schemathesis.check
def contract_conformance(ctx: CheckContext, response: Response, case: Case) -> None:
    """The answer is as the document says, header by header; by this project's own reading of the document."""
    headers = {name: ", ".join(values) for name, values in response.headers.items()}
    method, path = response.request.method or "", case.operation.path
    body = response.content.decode()
    ocsf = "ocsf" in parse_qs(urlsplit(response.request.url or "").query).get("schema", [])
    if method in ("GET", "HEAD"):
        found = CONTRACT.faults(method, path, response.status_code, headers, body, ocsf=ocsf)
    else:
        found = (
            []
            if response.status_code in (400, 404, 405)
            else [f"{method} was answered {response.status_code}"]
        )
    assert not found, "; ".join(found)


@schemathesis.check
def unknown_parameters_are_refused(ctx: CheckContext, response: Response, case: Case) -> None:
    """A query parameter that the operation does not have is answered with 400, whatever else is right."""
    if response.request.method not in ("GET", "HEAD") or response.status_code in (404, 503):
        return
    known = {
        each["name"] for each in CONTRACT.parameters("GET", case.operation.path) if each["in"] == "query"
    }
    asked = parse_qs(urlsplit(response.request.url or "").query, keep_blank_values=True)
    if set(asked) - known:
        assert response.status_code == 400, f"{sorted(set(asked) - known)} was let through"
