"""The simulator as a process of its own: `python -m local.simulator --port 9100`."""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any, Final, NoReturn

from local.simulator.generator import INCIDENT_TYPES
from local.simulator.known_faults import FAULTS
from local.simulator.server import HOST, IDENTITIES_PATH, Simulator, serve
from local.simulator.settings import DEFAULT_SLOWDOWN, REALISTIC_LATENCY, SettingsError, SimulatorSettings

_MILD_LATENCY: Final = (0.05, 0.3)
_DEFAULTS: Final = SimulatorSettings()
_ALL: Final = "all"
_PATHS: Final = {"identities": IDENTITIES_PATH} | {name: f"/incidents/{name}/" for name in INCIDENT_TYPES}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage."""
        self.exit(2, f"simulator: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status: 0, or 2 when it can't start."""
    options = _parser().parse_args(arguments)
    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        simulator = Simulator(_settings(options))
        _script(simulator, dict(options.fault))
        with serve(simulator, options.port, options.host) as base_url:
            print(f"simulator: listening on {base_url} ({_what_is_served(simulator.settings)})", flush=True)
            stopped.wait()
    except SettingsError as error:
        return _refuse(str(error))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _refuse(
                f"port {options.port} is taken: choose another with --port, or end what listens there"
            )
        return _refuse(f"can't listen on {options.host}, port {options.port}: {error.strerror or error}")
    return 0


def _script(simulator: Simulator, faults: Mapping[str, str]) -> None:
    """Let sources fail for as long as the simulator runs; those that are not named, as `all` says."""
    for source, path in _PATHS.items():
        if name := faults.get(source, faults.get(_ALL)):
            simulator.faults.add(path, FAULTS[name], times=None)


def _settings(options: argparse.Namespace) -> SimulatorSettings:
    return SimulatorSettings(
        username=options.username,
        password=options.password,
        seed=options.seed,
        records_per_type=options.records,
        identities=options.identities,
        window_seconds=options.window_seconds,
        folder=options.folder,
        latency=REALISTIC_LATENCY if options.realistic else tuple(options.latency),
        slowdown=options.slowdown,
        failure_rate=options.failure_rate,
        hang_seconds=options.hang_seconds,
        identity_lag_seconds=options.identity_lag_seconds,
        identity_lag_rate=options.identity_lag_rate,
    )


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m local.simulator",
        description="Serve simulated security incidents and identities.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    environment = os.environ.get
    add("--host", default=HOST, help="the address of this machine to listen on (%(default)s)")
    add("--port", type=_port, default=9100, help="0 takes a free one (%(default)s)")
    add(
        "--username",
        default=environment("UPSTREAM_USERNAME") or _DEFAULTS.username,
        help="or UPSTREAM_USERNAME",
    )
    add(
        "--password",
        default=environment("UPSTREAM_PASSWORD") or _DEFAULTS.password,
        help="or UPSTREAM_PASSWORD, which other users of the machine can't see",
    )
    add(
        "--seed",
        type=int,
        default=_DEFAULTS.seed,
        help="chooses contents, latencies and failures (%(default)s)",
    )
    add(
        "--records",
        type=int,
        default=_DEFAULTS.records_per_type,
        help="incidents in each type's window (%(default)s)",
    )
    add(
        "--identities", type=int, default=_DEFAULTS.identities, help="IPs that have an employee (%(default)s)"
    )
    add(
        "--window-seconds",
        type=float,
        default=_DEFAULTS.window_seconds,
        help="how long an incident stays (%(default)s)",
    )
    add("--folder", type=Path, help="serve <type>.json and identities.json from here instead of generating")
    latency = parser.add_mutually_exclusive_group()
    latency.add_argument(
        "--latency",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        default=_MILD_LATENCY,
        help="seconds that a call alone takes",
    )
    latency.add_argument(
        "--realistic", action="store_true", help="as observed: 1.7 s alone, up to 6 s when eight run at once"
    )
    add(
        "--slowdown",
        type=float,
        default=DEFAULT_SLOWDOWN,
        help="share of the latency that each other call adds (%(default)s)",
    )
    add(
        "--failure-rate",
        type=float,
        default=_DEFAULTS.failure_rate,
        help="probability that a call fails, 0 to 1",
    )
    add(
        "--hang-seconds",
        type=float,
        default=_DEFAULTS.hang_seconds,
        help="how long a failing call may hang (%(default)s)",
    )
    add(
        "--identity-lag-seconds",
        type=float,
        default=_DEFAULTS.identity_lag_seconds,
        help="how long after an incident its IP gets its identity",
    )
    add(
        "--identity-lag-rate",
        type=float,
        default=_DEFAULTS.identity_lag_rate,
        help="share of the incidents naming an IP whose identity lags, 0 to 1",
    )
    add(
        "--fault",
        type=_fault,
        action="append",
        default=[],
        metavar="SOURCE=NAME",
        help="let a source (or all) fail each time; may be repeated",
    )
    add("--list-faults", action=_ListFaults, help="name all faults, and end")
    return parser


class _ListFaults(argparse.Action):
    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Like --help: before anything else is looked at."""
        print("\n".join(FAULTS))
        parser.exit()


def _fault(text: str) -> tuple[str, str]:
    """(source, name of its fault); raises what argparse turns into its own one-line error."""
    source, separator, name = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"a fault is SOURCE=NAME, not {text}")
    if source not in (_ALL, *_PATHS):
        raise argparse.ArgumentTypeError(f"there is no source {source}: it is {', '.join((_ALL, *_PATHS))}")
    if name not in FAULTS:
        raise argparse.ArgumentTypeError(f"there is no fault {name}: --list-faults names all")
    return source, name


def _port(text: str) -> int:
    """A port number; raises what argparse turns into its own one-line error."""
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"a port is 0 to 65535, not {text}")
    return int(text)


def _what_is_served(settings: SimulatorSettings) -> str:
    if settings.folder is not None:
        return f"the files in {settings.folder}"
    return (
        f"seed {settings.seed}, {settings.records_per_type:,} incidents a type, "
        f"{settings.identities:,} identities"
    )


def _refuse(message: str) -> int:
    print(f"simulator: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
