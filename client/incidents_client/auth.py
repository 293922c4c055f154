"""How a request shows who sends it. Each is called with every attempt, so that nothing signed grows old."""

import re
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest
from requests.auth import AuthBase

from incidents_client.errors import CredentialsError, SettingsError

# Also private ones, whose names have the VPC endpoint in front or `vpce` behind.
_API_HOST = re.compile(r"(?:^|\.)execute-api\.([a-z0-9-]+)\.(?:vpce\.)?amazonaws\.com(?:\.cn)?$")


def no_auth(request: PreparedRequest) -> PreparedRequest:
    """Send nothing. Without any, `requests` would look into ~/.netrc."""
    return request


class ApiKey(AuthBase):
    """A key of a usage plan, in `X-Api-Key`."""

    def __init__(self, key: str) -> None:
        self._key = _check(key, "API key")

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the key."""
        request.headers["X-Api-Key"] = self._key
        return request


class Bearer(AuthBase):
    """A token of a user pool or another issuer, in `Authorization`."""

    def __init__(self, token: str) -> None:
        self._token = _check(token, "bearer token")

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the token."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class SigV4(AuthBase):
    """A signature with AWS credentials, by botocore, which also renews those that expire.

    ``credentials`` are botocore's; :meth:`from_profile` finds them as the AWS CLI does.
    """

    def __init__(self, credentials: Any, region: str, service: str = "execute-api") -> None:
        self._credentials = credentials
        self._region = region
        self._service = service

    @classmethod
    def from_profile(cls, base_url: str, *, profile: str | None = None, region: str | None = None) -> "SigV4":
        """Credentials of a profile, by default the environment's; the region of the URL, else the profile's.

        Raises :class:`CredentialsError` and :class:`SettingsError`.
        """
        # It takes longer to load than most requests take: only who signs pays for it.
        import botocore.session

        try:
            session = botocore.session.Session(profile=profile)
            found = session.get_credentials()
            region = region or read_region(base_url) or session.get_config_variable("region")
        # A role that may not be assumed, a program for credentials that is not there or prints no JSON: each
        # is of another kind.
        except Exception as error:
            raise CredentialsError(f"AWS credentials can't be read: {_explain(error)}") from None
        if found is None:
            raise CredentialsError(
                "no AWS credentials were found: `aws configure`, `aws sso login`, or name a --profile"
            )
        if not region:
            raise SettingsError("the region can't be told from the URL: name it by --region or AWS_REGION")
        return cls(found, region)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Sign host, path, query and time. Raises :class:`CredentialsError`."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        # Without the request's other headers: what a proxy changes must not break the signature.
        signed = AWSRequest(method=request.method, url=request.url)
        try:
            frozen = self._credentials.get_frozen_credentials()
        # As above: roles are assumed, and programs run, only now.
        except Exception as error:
            raise CredentialsError(f"AWS credentials can't be got: {_explain(error)}") from None
        SigV4Auth(frozen, self._service, self._region).add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        return request


def read_region(base_url: str) -> str | None:
    """The region in the name of one of API Gateway's own hosts."""
    found = _API_HOST.search(urlsplit(base_url).hostname or "")
    return found[1] if found else None


def _explain(error: Exception) -> str:
    """In botocore's words; of anything else the kind alone: its text may be what could not be read."""
    from botocore.exceptions import BotoCoreError, ClientError

    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror}"
    return str(error) if isinstance(error, BotoCoreError | ClientError) else type(error).__name__


def _check(secret: str, what: str) -> str:
    # Its value must not be told, whatever is wrong with it.
    if not secret.isascii() or not secret.isprintable() or " " in secret or not secret:
        raise SettingsError(f"the {what} is empty, or has characters that no header can carry")
    return secret
