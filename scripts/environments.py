"""The environments of samconfig.toml, and the AWS account that a person is signed in to."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError


class RefusedError(Exception):
    """What a person has to mend first; one sentence a line."""


def list_environments(root: Path) -> Sequence[str]:
    """Their names, such as ``prod``, in the order of the file."""
    return [name for name in _read_samconfig(root) if name not in ("version", "default")]


def check_environment(root: Path, name: str) -> str:
    """``name`` if it is one of them. Raises RefusedError."""
    known = list_environments(root)
    if name not in known:
        raise RefusedError(f"ENV is {name or 'missing'}: say ENV={', ENV='.join(known)}")
    return name


def read_stack_name(root: Path, environment: str) -> str:
    """The name of the environment's stack."""
    return str(_read_samconfig(root)[environment]["global"]["parameters"]["stack_name"])


def identify(session: boto3.Session) -> str:
    """The account that the credentials are of. Raises RefusedError."""
    if not session.region_name:
        raise RefusedError("no region: set AWS_REGION, or `region` in your AWS profile")
    try:
        return str(session.client("sts").get_caller_identity()["Account"])
    except (BotoCoreError, ClientError) as error:
        raise RefusedError(
            f"AWS does not know you ({error}): sign in (`aws sso login`, `aws configure`), or set AWS_PROFILE"
        ) from error


def _read_samconfig(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "samconfig.toml").read_text("utf-8"))
