"""Where a reader of the journal goes on: good for as long as the journal is kept."""

import json

from shared.domain.signing import FindKey, InvalidSignatureError, SigningKey, sign, verify

_PURPOSE = "token"


class InvalidTokenError(ValueError):
    """The token was tampered with, cut off, or never ours."""


class ExpiredTokenError(ValueError):
    """What was to come next is no longer kept: the reader has been away for longer than the retention."""


def sign_token(sequence: int, position: int, key: SigningKey) -> str:
    """The token as clients get it: the next decision to read, by its entry and its position there."""
    return sign(json.dumps([sequence, position]).encode(), key=key, purpose=_PURPOSE)


def open_token(text: str, *, find_key: FindKey) -> tuple[int, int]:
    """Sequence and position; raises :class:`InvalidTokenError`."""
    try:
        sequence, position = json.loads(verify(text, find_key=find_key, purpose=_PURPOSE))
        if not isinstance(sequence, int) or not isinstance(position, int):
            raise TypeError("neither is a number")
    except InvalidSignatureError as error:
        raise InvalidTokenError(f"the token is not one that this service gave out: {error}") from None
    except (TypeError, ValueError):
        # Ours, of another version: a deployment came between.
        raise InvalidTokenError("the token is of another version of this service") from None
    return sequence, position
