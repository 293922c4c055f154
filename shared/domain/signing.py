"""Texts that only this service can have made: cursors and tokens.

Such a text is base64url of ``key id (4 bytes) | HMAC-SHA-256 (32 bytes) | payload``. The key id says which
key signed it, so that keys rotate; the purpose keeps what was signed as one thing from passing as another.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

KEY_ID_BYTES = 4
MAX_SIGNED_CHARACTERS = 2_048
_MAC_BYTES = 32


class InvalidSignatureError(ValueError):
    """The text was tampered with, cut off, or never ours."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A secret of 32 bytes, the 4 bytes that name it in what it signs, and its age (epoch seconds)."""

    id: bytes
    secret: bytes = field(repr=False)
    made_at: float = 0.0


type FindKey = Callable[[bytes], SigningKey | None]


def sign(payload: bytes, *, key: SigningKey, purpose: str) -> str:
    """The payload as a signed text."""
    return _encode(key.id + _mac(key, payload, purpose) + payload)


def verify(text: str, *, find_key: FindKey, purpose: str) -> bytes:
    """The payload of a signed text; raises :class:`InvalidSignatureError` for any other.

    ``find_key`` gives the key of an id, or None.
    """
    signed = _decode(text)
    key_id, rest = signed[:KEY_ID_BYTES], signed[KEY_ID_BYTES:]
    mac, payload = rest[:_MAC_BYTES], rest[_MAC_BYTES:]
    key = find_key(key_id)
    if key is None or not hmac.compare_digest(mac, _mac(key, payload, purpose)):
        raise InvalidSignatureError("not signed by this service")
    return payload


def _mac(key: SigningKey, payload: bytes, purpose: str) -> bytes:
    text = f"security-incident-api {purpose} v1\n".encode() + key.id + payload
    return hmac.digest(key.secret, text, hashlib.sha256)


def _encode(signed: bytes) -> str:
    return base64.urlsafe_b64encode(signed).decode().rstrip("=")


def _decode(text: str) -> bytes:
    if len(text) > MAX_SIGNED_CHARACTERS:
        raise InvalidSignatureError("too long to be ours")
    try:
        signed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidSignatureError("not base64url") from None
    # Bits that base64 leaves unused would let one text have several spellings.
    if _encode(signed) != text:
        raise InvalidSignatureError("not base64url as this service writes it")
    return signed
