"""The upstream's user name and password, from Secrets Manager."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_MAX_AGE_SECONDS = 300.0
_FILL_IT = "give it username and password with the command in the stack's output FillUpstreamSecretCommand"


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
    """Reads the secret when it is first needed, keeps it for five minutes, reads again after a refusal.

    Safe to call from several threads.
    """

    def __init__(
        self,
        secret: str,
        *,
        client: "SecretsManagerClient",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._secret = secret
        self._client = client
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._last: Credentials | CredentialsError | None = None
        self._read_at = 0.0

    def current(self) -> Credentials:
        """The credentials; raises :class:`CredentialsError`."""
        return self._get(lambda last: self._monotonic() - self._read_at <= _MAX_AGE_SECONDS)

    def after_refusal(self, refused: Credentials) -> Credentials | None:
        """The credentials that replaced the refused ones, or None if the secret holds the same still."""
        credentials = self._get(lambda last: last != refused)
        return credentials if credentials != refused else None

    def _get(self, is_good: Callable[[Credentials], bool]) -> Credentials:
        """What was read last if it is good, else what is read now.

        Threads that ask while one is reading share what that one gets, be it an error: eight sources must not
        wait for Secrets Manager in turn.
        """
        asked_at = self._monotonic()
        with self._lock:
            good = isinstance(self._last, Credentials) and is_good(self._last)
            if self._last is None or not (good or self._read_at > asked_at):
                self._last = self._read()
                self._read_at = self._monotonic()
            if isinstance(self._last, CredentialsError):
                raise self._last
            return self._last

    def _read(self) -> Credentials | CredentialsError:
        try:
            answer = self._client.get_secret_value(SecretId=self._secret)
        except (BotoCoreError, ClientError) as error:
            return CredentialsError(_explain(error))
        try:
            value = json.loads(answer.get("SecretString") or answer.get("SecretBinary", b""))
        except ValueError:
            return CredentialsError("the upstream's secret is not JSON with username and password")
        if not isinstance(value, Mapping):
            return CredentialsError("the upstream's secret is not a JSON object with username and password")
        username, password = value.get("username"), value.get("password")
        if not isinstance(username, str) or not isinstance(password, str) or not username or not password:
            return CredentialsError(f"the upstream's secret is not filled: {_FILL_IT}")
        if ":" in username or not _is_unicode(username + password):
            return CredentialsError(
                "the upstream's secret can't be sent: a user name has no colon, and both are Unicode text"
            )
        return Credentials(username, password)


def _explain(error: BotoCoreError | ClientError) -> str:
    # A secret without a value answers like one that does not exist.
    if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ResourceNotFoundException":
        return f"the upstream's secret is not filled (or does not exist): {_FILL_IT}"
    return "the upstream's secret can't be read: the poller's role must allow it, and its key, if it has one"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
