"""What a person can set for `make run` and `make sam-local`, checked before anything is started."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_PORT = 9000
DEFAULT_POLL_INTERVAL_SECONDS = 10
SIMULATOR_CREDENTIAL = "simulator"
_LONGEST_INTERVAL_SECONDS = 86_400


class SettingsError(Exception):
    """An environment variable can't be used; the text is one line that says which, why and what to do."""


@dataclass(frozen=True)
class Settings:
    """The settings of one local run.

    `port` 0 takes any free one. `upstream_base_url` None means the built-in simulator. The credentials are
    the upstream's, or those that the simulator asks for.
    """

    port: int
    upstream_base_url: str | None
    upstream_username: str
    upstream_password: str
    poll_interval_seconds: int


def read_settings(
    environment: Mapping[str, str], *, default_interval: int = DEFAULT_POLL_INTERVAL_SECONDS
) -> Settings:
    """Read `PORT`, `UPSTREAM_BASE_URL`, `UPSTREAM_USERNAME`, `UPSTREAM_PASSWORD`, `POLL_INTERVAL_SECONDS` and
    `SIMULATOR`; an empty variable counts as one that is not set. Raises SettingsError.
    """
    port = _read_number(environment, "PORT", DEFAULT_PORT, 0, 65_535)
    interval = _read_number(
        environment, "POLL_INTERVAL_SECONDS", default_interval, 1, _LONGEST_INTERVAL_SECONDS
    )
    url = environment.get("UPSTREAM_BASE_URL", "").strip().rstrip("/")
    username = environment.get("UPSTREAM_USERNAME", "")
    password = environment.get("UPSTREAM_PASSWORD", "")
    simulator = environment.get("SIMULATOR", "").strip().lower()
    if simulator not in ("", "on", "off"):
        raise SettingsError(f"SIMULATOR is {simulator!r}: set it to on or off, or leave it out")
    if not url:
        if simulator == "off":
            raise SettingsError(
                "SIMULATOR=off leaves nothing to poll: set UPSTREAM_BASE_URL, or leave SIMULATOR out"
            )
        return Settings(
            port, None, username or SIMULATOR_CREDENTIAL, password or SIMULATOR_CREDENTIAL, interval
        )
    if simulator == "on":
        raise SettingsError("SIMULATOR=on and UPSTREAM_BASE_URL exclude each other: leave one of them out")
    _check_url(url)
    missing = [
        name
        for name, value in (("UPSTREAM_USERNAME", username), ("UPSTREAM_PASSWORD", password))
        if not value
    ]
    if missing:
        raise SettingsError(
            f"UPSTREAM_BASE_URL is set, but not {' and '.join(missing)}: "
            "set the upstream's credentials, or leave UPSTREAM_BASE_URL out to poll the built-in simulator"
        )
    return Settings(port, url, username, password, interval)


def _read_number(environment: Mapping[str, str], name: str, default: int, smallest: int, largest: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    # int() would also take "1_000" and other scripts' digits.
    if not (text.isascii() and text.isdigit()) or not smallest <= int(text) <= largest:
        raise SettingsError(
            f"{name} is {text!r}: set it to a whole number from {smallest} to {largest} (default {default})"
        )
    return int(text)


def _check_url(url: str) -> None:
    """Refuse what the poller can't call. The URL itself stays out of the text: it may hold a password."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        parts.port  # noqa: B018 - reading it is the check
    except ValueError:
        usable = False
        parts = urlsplit("")
    if not usable:
        raise SettingsError("UPSTREAM_BASE_URL is not an http:// or https:// URL with a host")
    if parts.username is not None or parts.password is not None:
        raise SettingsError(
            "UPSTREAM_BASE_URL holds credentials: move them to UPSTREAM_USERNAME and UPSTREAM_PASSWORD"
        )
    if parts.query or parts.fragment:
        raise SettingsError("UPSTREAM_BASE_URL holds a query or a fragment: leave them out")
