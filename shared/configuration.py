"""Reading the environment: each mistake is named with the variable and what it should be."""

from collections.abc import Mapping

from shared.domain.retention import Retention

# Python refuses to convert thousands of digits.
_MAX_DIGITS = 20


class ConfigurationError(Exception):
    """The environment lacks a variable or one has a value that can't be used."""


def required(environ: Mapping[str, str], name: str) -> str:
    """The value of a variable that must be there."""
    value = environ.get(name, "").strip()
    if not value:
        raise ConfigurationError(f"the environment variable {name} is not set")
    return value


def whole_number(environ: Mapping[str, str], name: str, *, default: int, low: int, high: int) -> int:
    """The value of an optional variable, a whole number from ``low`` to ``high``."""
    text = environ.get(name, "").strip()
    if not text:
        return default
    digits = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    if not digits or not low <= int(text) <= high:
        raise ConfigurationError(f"{name} must be a whole number from {low} to {high}, not {text[:40]!r}")
    return int(text)


def truth(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    """The value of an optional variable, ``true`` or ``false``."""
    text = environ.get(name, "").strip()
    if text not in ("", "true", "false"):
        raise ConfigurationError(f"{name} must be true or false, not {text[:40]!r}")
    return text == "true" if text else default


def retention(environ: Mapping[str, str]) -> Retention:
    """``RETENTION_DAYS``; where nobody said how long to keep things, nothing is thrown away."""
    return Retention(whole_number(environ, "RETENTION_DAYS", default=0, low=0, high=36_500))
