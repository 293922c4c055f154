"""What can go wrong, each kind of it as a class. Messages are one sentence and hold no secret."""

from collections.abc import Mapping, Sequence

# What a person can do about a code, where the server's own words don't say it.
_HINTS: Mapping[str, str] = {
    "missing_credentials": "no credentials were sent, or the URL lacks the stage: see --auth and --url",
    "access_denied": "these credentials may not execute-api:Invoke here: ask who deployed it",
    "invalid_signature": "check the profile's keys, --region and this machine's clock",
    "expired_credentials": "renew them, for instance by `aws sso login`",
    "invalid_api_key": "check INCIDENTS_API_KEY, or the file of --api-key-file",
    "request_blocked": "a firewall in front of the API refuses this address or request",
    "unauthorized": "the bearer token is missing, wrong or expired: check INCIDENTS_TOKEN",
    "quota_exceeded": "today's quota of this API key is used up",
    "no_data_yet": "`incidents health` says how the polls do",
    "token_invalid": "it is of another deployment, or was changed on the way",  # nosec B105 - a sentence
}
_HINTS_BY_STATUS: Mapping[int, str] = {
    401: "the deployment did not take the credentials: check --auth",
    403: "the deployment did not take the credentials: check --auth, the profile or key, and the URL's stage",
    404: "check the URL: in AWS it ends with the stage",
}


class IncidentsError(Exception):
    """Whatever this package raises on purpose."""


class SettingsError(IncidentsError):
    """What was asked for can't be done as it stands: an address, an option, a moment."""


class CredentialsError(IncidentsError):
    """There are no credentials here, or they can't be read."""


class UnreachableError(IncidentsError):
    """No whole answer came: the connection failed, or the time was up."""


class MalformedAnswerError(IncidentsError):
    """An answer came that is not of this API."""


class ProblemError(IncidentsError):
    """The API refused, in its own words (RFC 9457).

    ``code`` is stable and empty where the answer was no problem document; ``retry_after`` is in seconds.
    ``errors`` are (parameter, reason).
    """

    def __init__(
        self,
        status: int,
        code: str = "",
        detail: str = "",
        *,
        request_id: str = "",
        errors: Sequence[tuple[str, str]] = (),
        retry_after: float | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
        self.errors = tuple(errors)
        self.retry_after = retry_after
        super().__init__(self._sentence())

    @property
    def hint(self) -> str:
        """What to do about it; empty where the detail says it all."""
        return _HINTS.get(self.code) or ("" if self.code else _HINTS_BY_STATUS.get(self.status, ""))

    def _sentence(self) -> str:
        said = "; ".join(f"{name}: {reason}" for name, reason in self.errors) or self.detail
        words = " ".join(filter(None, [str(self.status), self.code]))
        return (
            words
            + (f": {said}" if said else "")
            + (f" ({self.hint})" if self.hint else "")
            + (f" [request {self.request_id}]" if self.request_id else "")
        )


class RefusedError(ProblemError):
    """401 or 403: the credentials were missing, wrong, or not enough."""


class UnavailableError(ProblemError):
    """408, 425, 429 or 5xx, also after all patience."""


class ExpiredCursorError(ProblemError):
    """The walk began more than 24 hours ago."""


class ExpiredTokenError(ProblemError):
    """What was to come next in the feed is no longer kept."""


class UnknownEmployeeError(ProblemError):
    """No incident of this employee is kept."""


def problem_class(status: int, code: str) -> type[ProblemError]:
    """Which of the classes above a refusal is."""
    by_code: Mapping[str, type[ProblemError]] = {
        "cursor_expired": ExpiredCursorError,
        "token_expired": ExpiredTokenError,
        "employee_not_found": UnknownEmployeeError,
    }
    if code in by_code:
        return by_code[code]
    if status in (401, 403):
        return RefusedError
    return UnavailableError if status in (408, 425, 429) or status >= 500 else ProblemError
