"""The upstream's user name and password, from Secrets Manager."""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError, TransformParameterError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_MAX_AGE_SECONDS = 300


class CredentialsError(Exception):
    """The secret can't be read or holds no credentials; the message says what to do and quotes none."""


class Credentials(NamedTuple):
    """HTTP Basic credentials."""

    username: str
    password: str

    def __repr__(self) -> str:
        """Nothing that a log line should not have."""
        return "Credentials(…)"


class CredentialsSource:
    """Reads the secret when it is first needed, keeps it for five minutes, reads again after a refusal."""

    def __init__(self, secret: str, *, client: "SecretsManagerClient") -> None:
        self._secret = secret
        self._provider = SecretsProvider(boto3_client=client)
        self._lock = threading.Lock()

    def current(self) -> Credentials:
        """The credentials; raises :class:`CredentialsError`."""
        with self._lock:
            return self._read(fresh=False)

    def after_refusal(self, refused: Credentials) -> Credentials | None:
        """The credentials that replaced the refused ones, or None if the secret holds the same still."""
        with self._lock:
            credentials = self._read(fresh=False)
            if credentials == refused:
                credentials = self._read(fresh=True)
        return credentials if credentials != refused else None

    def _read(self, *, fresh: bool) -> Credentials:
        try:
            value = self._provider.get(
                self._secret, max_age=_MAX_AGE_SECONDS, transform="json", force_fetch=fresh
            )
        except TransformParameterError:
            raise CredentialsError("the upstream's secret is not JSON with username and password") from None
        except GetParameterError:
            raise CredentialsError(
                "the upstream's secret can't be read: it must exist, have a value and be open to the poller"
            ) from None
        if not isinstance(value, Mapping):
            raise CredentialsError("the upstream's secret is not a JSON object with username and password")
        username, password = value.get("username"), value.get("password")
        if not isinstance(username, str) or not isinstance(password, str) or not username or not password:
            raise CredentialsError("the upstream's secret is not filled: it needs username and password")
        return Credentials(username, password)
