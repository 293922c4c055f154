"""Which deployment is meant, and how it is to know who asks: options first, then the environment."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from incidents_client.auth import ApiKey, Bearer, SigV4, no_auth, read_region
from incidents_client.errors import SettingsError
from incidents_client.transport import Auth, check_base_url, check_secrecy, is_loopback

KINDS_OF_AUTH = ("none", "aws", "api-key", "bearer")
# A key is a line; whatever is longer is another file.
_MAX_SECRET_CHARACTERS = 16_384


@dataclass(frozen=True)
class Options:
    """What the command line says; None where it says nothing."""

    url: str | None = None
    auth: str | None = None
    profile: str | None = None
    region: str | None = None
    api_key_file: str | None = None
    bearer_file: str | None = None


@dataclass(frozen=True)
class Deployment:
    """Where to ask, and how a request shows who sends it."""

    url: str
    auth: Auth


def find_deployment(options: Options, environ: Mapping[str, str]) -> Deployment:
    """The deployment that is meant. Raises :class:`SettingsError` and :class:`CredentialsError`."""
    given = options.url or environ.get("INCIDENTS_URL")
    if not given:
        raise SettingsError(
            "say which deployment: --url or INCIDENTS_URL (the stack's output ApiUrl, or "
            "http://127.0.0.1:9000 of `make run`)"
        )
    url = check_base_url(given)
    kind = choose_auth(options, environ, url)
    if kind == "none":
        return Deployment(url, no_auth)
    check_secrecy(url)
    if kind == "aws":
        region = options.region or read_region(url) or environ.get("AWS_REGION")
        return Deployment(url, SigV4.from_profile(url, profile=options.profile, region=region))
    if kind == "api-key":
        return Deployment(
            url, ApiKey(_secret(options.api_key_file, environ, "INCIDENTS_API_KEY", "--api-key-file"))
        )
    return Deployment(url, Bearer(_secret(options.bearer_file, environ, "INCIDENTS_TOKEN", "--bearer-file")))


def choose_auth(options: Options, environ: Mapping[str, str], url: str) -> str:
    """The kind of auth: the one that is named, else what the options are for, else the variables, else by the
    host: this machine takes none, API Gateway signatures, any other signatures if there is an AWS profile.

    Raises :class:`SettingsError` where two are as likely.
    """
    named = options.auth or environ.get("INCIDENTS_AUTH")
    if named:
        if named not in KINDS_OF_AUTH:
            raise SettingsError(f"INCIDENTS_AUTH must be one of {', '.join(KINDS_OF_AUTH)}")
        return named
    for source in (_of_options(options), _of_variables(environ)):
        if len(source) > 1:
            raise SettingsError(f"{' and '.join(source.values())} are given: say which to use by --auth")
        if source:
            return next(iter(source))
    if is_loopback(url):
        return "none"
    has_aws = any(environ.get(name) for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID"))
    return "aws" if has_aws or read_region(url) else "none"


def _of_options(options: Options) -> dict[str, str]:
    given = {
        "aws": "--profile" if options.profile else "--region" if options.region else "",
        "api-key": "--api-key-file" if options.api_key_file else "",
        "bearer": "--bearer-file" if options.bearer_file else "",
    }
    return {kind: name for kind, name in given.items() if name}


def _of_variables(environ: Mapping[str, str]) -> dict[str, str]:
    names = {"api-key": "INCIDENTS_API_KEY", "bearer": "INCIDENTS_TOKEN"}
    return {kind: name for kind, name in names.items() if environ.get(name)}


def _secret(file: str | None, environ: Mapping[str, str], variable: str, option: str) -> str:
    """A secret out of a file (`-`: standard input) or a variable; never an argument, which others see."""
    if file is None:
        if not environ.get(variable):
            raise SettingsError(f"set {variable}, or name a file by {option}")
        return environ[variable].strip()
    # Its name is not told: whoever gives the secret itself here would find it in a log.
    try:
        if file == "-":
            if sys.stdin is None:
                raise SettingsError(f"{option} -: standard input is closed")
            text = sys.stdin.read(_MAX_SECRET_CHARACTERS + 1)
        else:
            with Path(file).open(encoding="utf-8") as opened:
                text = opened.read(_MAX_SECRET_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError(f"{option}: the file can't be read: {reason}") from None
    if len(text) > _MAX_SECRET_CHARACTERS:
        raise SettingsError(f"{option}: the file is too long for a secret")
    return text.strip()
