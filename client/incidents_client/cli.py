"""The command line: `incidents list|employee|changes|tail|health|export`."""

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from incidents_client import commands
from incidents_client.client import Client
from incidents_client.errors import (
    CredentialsError,
    IncidentsError,
    MalformedAnswerError,
    ProblemError,
    RefusedError,
    SettingsError,
    UnavailableError,
    UnknownEmployeeError,
    UnreachableError,
)
from incidents_client.formats import FORMATS
from incidents_client.moments import to_parameter
from incidents_client.records import PRIORITIES, TYPES
from incidents_client.settings import KINDS_OF_AUTH, Options, find_deployment
from incidents_client.terminal import Notes, is_terminal, let_go
from incidents_client.version import VERSION

# As in sysexits.h where it has one. The help text and the README have this table, too.
STATUSES: Mapping[int, str] = {
    0: "done; health: pass",
    1: "health: warn",
    2: "health: fail, or no answer that says otherwise",
    3: "done, but there may be a gap, or it is not of one snapshot: standard error tells",
    4: "no incident of this employee is kept",
    64: "used wrongly, or the API does not know what was asked for",
    69: "not reachable, or still throttled or failing after all patience",
    70: "a fault of this program: please report the line on standard error",
    74: "a file can't be read or written",
    76: "the answer is not of this API",
    77: "credentials are missing, wrong, or not enough",
    129: "ended because its terminal was closed",
    130: "ended by Ctrl-C",
    141: "whoever read the output stopped",
    143: "ended by SIGTERM",
}
USAGE, UNAVAILABLE, FAULT, INPUT_OUTPUT, PROTOCOL, NO_PERMISSION = 64, 69, 70, 74, 76, 77
_BY_SIGNALS = (129, 130, 141, 143)
_STATUS_OF_ERRORS: Sequence[tuple[type[IncidentsError], int]] = (
    (CredentialsError, NO_PERMISSION),
    (RefusedError, NO_PERMISSION),
    (SettingsError, USAGE),
    (UnknownEmployeeError, 4),
    (UnavailableError, UNAVAILABLE),
    (UnreachableError, UNAVAILABLE),
    (MalformedAnswerError, PROTOCOL),
    (ProblemError, USAGE),
)
HEALTH_FAILED = commands.HEALTH["fail"]
# Whoever watches wants to know soon.
HEALTH_PATIENCE_SECONDS = 10.0
# Starting over costs more than waiting.
EXPORT_PATIENCE_SECONDS = 600.0
_SUFFIXES = {".csv": "csv", ".json": "json", ".ndjson": "ndjson", ".jsonl": "ndjson"}

_EPILOG = "exit status:\n" + "\n".join(f"  {status:>3}  {text}" for status, text in STATUSES.items())


class TerminatedError(BaseException):
    """SIGTERM or SIGHUP came; not an Exception, so that nothing but `finally` comes between."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Parser(argparse.ArgumentParser):
    """A parser whose own errors end with the status of wrong usage: 2 is what health says."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        what, colon, words = message.partition("unrecognized arguments: ")
        if colon and (options := re.findall(r"(?:^| )(-[^ =]*)", words)):
            # Without what follows them: it may be a secret, and this a log.
            message = f"{what}{colon}{' '.join(options)}"
        self.exit(USAGE, f"{self.prog}: {message}\n")


def run() -> NoReturn:
    """The entry point of the command."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # What is ignored stays so: nohup does that.
        if number and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _terminate)
    if sys.stdout is None:
        # Closed by whoever began it (`>&-`): an export into a file needs none.
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process
    status = main(sys.argv[1:], os.environ)
    if status in _BY_SIGNALS and os.name == "posix":
        # As whoever began it expects: a shell ends its loop, systemd takes SIGTERM for an orderly end. From
        # here on a second Ctrl-C ends it at once, also while nobody takes the rest of the output.
        for number in {signal.SIGINT, signal.SIGTERM, signal.Signals(status - 128)}:
            signal.signal(number, signal.SIG_DFL)
        let_go(sys.stdout)
        os.kill(os.getpid(), status - 128)
    sys.exit(status)


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the arguments say; give the exit status. Raises SystemExit for `--help` and wrong usage."""
    given = build_parser().parse_args(arguments)
    notes = Notes(quiet=given.quiet)
    try:
        return _run_command(given, notes, environ)
    except IncidentsError as error:
        notes.complain(str(error))
        found = next(status for kind, status in _STATUS_OF_ERRORS if isinstance(error, kind))
        # Whatever the deployment answered, it was not that all is well.
        is_ours = isinstance(error, SettingsError)
        return HEALTH_FAILED if given.command == "health" and not is_ours else found
    except BrokenPipeError:
        let_go(sys.stdout)
        return 128 + 13
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        notes.complain(f"{name}{error.strerror or type(error).__name__}")
        let_go(sys.stdout)
        return INPUT_OUTPUT
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except TerminatedError as terminated:
        return 128 + terminated.number
    except RecursionError:
        notes.complain("the answer is nested too deeply")
        return HEALTH_FAILED if given.command == "health" else PROTOCOL
    except Exception as error:
        # Python's own status would be 1, which is a verdict of health; and its text may hold anything.
        notes.complain(f"a fault of this program: {type(error).__name__} at {_find_place(error)}")
        return HEALTH_FAILED if given.command == "health" else FAULT


def build_parser() -> argparse.ArgumentParser:
    """The parser of everything."""
    parser = _Parser(
        prog="incidents",
        description="Ask a deployment of the Security Incident API.",
        epilog=f"{_EPILOG}\n\n`incidents COMMAND --help` has the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # Scripts must not come to mean something else by an option that is added; nor `--api-key KEY` a file.
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    made = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        each = made.add_parser(
            name,
            help=text,
            description=text,
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        _add_connection(each)
        return each

    listing = command("list", "Employees with their incidents.")
    _add_filters(listing)
    _add_output(listing)
    _add_number(
        listing, f"a table has {commands.EMPLOYEES_IN_A_TABLE} unless told otherwise, other forms have all"
    )
    _add_unattributed(listing)

    employee = command("employee", "One employee's incidents.")
    employee.add_argument("employee_id", metavar="ID", help="1 to 20 digits")
    _add_filters(employee)
    _add_output(employee)

    changes = command("changes", "What was taken in since a token, in that order; each at least once.")
    place = changes.add_mutually_exclusive_group()
    place.add_argument("--token", help="where to go on; without one: the oldest that is kept")
    place.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="go on with the token in it, if any; the next one is kept there once its incidents are out",
    )
    changes.add_argument(
        "--schema",
        choices=["native", "ocsf"],
        default="native",
        help="ocsf: OCSF Detection Findings, as JSON or NDJSON",
    )
    _add_output(changes)

    tail = command("tail", "The incidents that were taken in last, and new ones as they come.")
    tail.add_argument("-n", "--lines", type=_count, default=10, metavar="N", help="how many of the last (10)")
    tail.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C, also over outages")
    tail.add_argument(
        "--interval",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="between two questions (10; at least 1)",
    )
    tail.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="as of `changes`: go on there, instead of at the last N",
    )
    _add_choices(tail)
    _add_output(tail)

    health = command("health", "How old the data is and how each source does: exit status 0, 1 or 2.")
    health.add_argument("-o", "--output", choices=["table", "json"], help="table on a terminal, else json")

    export = command("export", "All incidents into a file, which is replaced once it is whole.")
    export.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="without one, or `-`: standard output"
    )
    export.add_argument(
        "-o",
        "--output",
        choices=[form for form in FORMATS if form != "table"],
        help="what FILE's ending says (.ndjson, .jsonl, .csv, .json), else ndjson",
    )
    _add_filters(export)
    _add_unattributed(export)
    return parser


def _run_command(given: argparse.Namespace, notes: Notes, environ: Mapping[str, str]) -> int:
    options = Options(
        given.url, given.auth, given.profile, given.region, given.api_key_file, given.bearer_file
    )
    filters = commands.Filters(
        getattr(given, "priority", ()),
        getattr(given, "type", ()),
        # Fixed once, so that all of a walk means the same by "an hour ago".
        _moment(getattr(given, "since", None)),
        _moment(getattr(given, "until", None)),
    )
    form = _choose_form(given)
    deployment = find_deployment(options, environ)
    heard = commands.Reservations(notes)
    usual = {"health": HEALTH_PATIENCE_SECONDS, "export": EXPORT_PATIENCE_SECONDS}
    patience = given.patience if given.patience is not None else usual.get(given.command, 120.0)
    with Client(deployment.url, deployment.auth, patience=patience, on_notice=heard.hear) as client:
        run_it: Mapping[str, Callable[[], int]] = {
            "list": lambda: (commands.list_unattributed if given.unattributed else commands.list_employees)(
                client, notes, heard, filters, form=form, limit=_choose_limit(given, form)
            ),
            "employee": lambda: commands.show_employee(
                client, notes, heard, filters, form=form, employee_id=given.employee_id
            ),
            "changes": lambda: commands.read_changes(
                client,
                notes,
                heard,
                form=form,
                token=given.token,
                token_file=given.token_file,
                schema=given.schema,
            ),
            "tail": lambda: commands.tail(
                client,
                notes,
                heard,
                filters,
                form=form,
                last=given.lines,
                follow=given.follow,
                interval=given.interval,
                token_file=given.token_file,
            ),
            "health": lambda: commands.show_health(client, form=form),
            "export": lambda: commands.export(
                client,
                notes,
                heard,
                filters,
                form=form,
                file=None if given.file == Path("-") else given.file,
                unattributed=given.unattributed,
            ),
        }
        return run_it[given.command]()


def _add_connection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("deployment")
    group.add_argument("--url", help="its address; INCIDENTS_URL")
    group.add_argument(
        "--auth",
        choices=KINDS_OF_AUTH,
        help="how to show who asks; INCIDENTS_AUTH. By itself: what the other options or variables are for; "
        "none on this machine, aws for API Gateway's own hosts or where there is an AWS profile",
    )
    group.add_argument("--profile", help="the AWS profile to sign with; AWS_PROFILE")
    group.add_argument("--region", help="the deployment's, where the URL does not say it; AWS_REGION")
    group.add_argument(
        "--api-key-file", metavar="FILE", help="the API key (-: standard input); INCIDENTS_API_KEY"
    )
    group.add_argument(
        "--bearer-file", metavar="FILE", help="the bearer token (-: standard input); INCIDENTS_TOKEN"
    )
    group.add_argument(
        "--patience",
        type=_patience,
        metavar="SECONDS",
        help="how long one request may go on failing (120; health 10, export 600)",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no notes and no progress, only errors")


def _add_choices(parser: argparse.ArgumentParser) -> None:
    for name, allowed in (("priority", PRIORITIES), ("type", TYPES)):
        parser.add_argument(
            f"--{name}",
            action="extend",
            type=_choices(allowed),
            default=[],
            metavar=name.upper(),
            help=f"only {', '.join(allowed)}; repeated or separated by commas",
        )


def _add_filters(parser: argparse.ArgumentParser) -> None:
    _add_choices(parser)
    moments = "7d (ago; s, m, h, d, w), 2026-11-23, 2026-11-23T06:00:00Z, or epoch seconds"
    parser.add_argument("--since", metavar="WHEN", help=f"only of this moment or later: {moments}")
    parser.add_argument("--until", metavar="WHEN", help="only of before this moment")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        choices=FORMATS,
        help="table on a terminal, else ndjson; JSON has all digits and fields",
    )


def _add_number(parser: argparse.ArgumentParser, text: str) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--limit",
        type=_positive,
        metavar="N",
        help=f"at most so many employees, or unattributed incidents ({text})",
    )
    group.add_argument("--all", action="store_true", help="all of them")


def _add_unattributed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--unattributed", action="store_true", help="instead: the incidents whose employee is not known yet"
    )


def _choose_form(given: argparse.Namespace) -> str:
    if given.output:
        if getattr(given, "schema", "native") != "native" and given.output not in ("json", "ndjson"):
            raise SettingsError("--schema ocsf is given as json or ndjson: its rows are nested")
        return str(given.output)
    if given.command == "export":
        return _SUFFIXES.get(given.file.suffix.lower(), "ndjson") if given.file else "ndjson"
    if given.command == "health":
        return "table" if is_terminal(sys.stdout) else "json"
    if getattr(given, "schema", "native") != "native":
        return "ndjson"
    return "table" if is_terminal(sys.stdout) else "ndjson"


def _choose_limit(given: argparse.Namespace, form: str) -> int | None:
    if given.all:
        return None
    if given.limit is None and form == "table":
        return commands.EMPLOYEES_IN_A_TABLE
    return given.limit if given.limit is None else int(given.limit)


def _moment(text: str | None) -> str | None:
    return None if text is None else to_parameter(text)


def _choices(allowed: Sequence[str]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        chosen = text.split(",")
        for each in chosen:
            if each not in allowed:
                raise argparse.ArgumentTypeError(f"{each!r} is unknown; allowed: {', '.join(allowed)}")
        return chosen

    return read


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 7:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def _positive(text: str) -> int:
    if _count(text) == 0:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return int(text)


def _seconds(text: str) -> float:
    seconds = _patience(text)
    if seconds < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return seconds


def _patience(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise TerminatedError(number)


def _find_place(error: BaseException) -> str:
    """Where it was raised, as file:line."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
