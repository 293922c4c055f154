"""What a request says of the answer that it wants: which form, and which it has already (RFC 9110)."""

import hashlib
from collections.abc import Sequence


def choose_media_type(accept: str | None, offered: Sequence[str]) -> str | None:
    """The one of the ``offered`` media types that ``accept`` likes best, the first among equals.

    None where it likes none. A missing or empty header takes the first.
    """
    ranges = [_parse_range(part) for part in (accept or "").split(",") if part.strip()]
    if not ranges:
        return offered[0]
    best = max(offered, key=lambda media_type: _quality(media_type, ranges))
    return best if _quality(best, ranges) > 0 else None


def make_etag(*parts: object) -> str:
    """A weak tag of all that an answer depends on."""
    return f'W/"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"'


def has_already(if_none_match: str | None, etag: str) -> bool:
    """Whether a client's If-None-Match names the answer that it would get; compared weakly."""
    if not if_none_match:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag.removeprefix("W/") in tags


def has_any(if_none_match: str | None) -> bool:
    """Whether the client has some answer and wants none if there is one: ``If-None-Match: *``."""
    return (if_none_match or "").strip() == "*"


def _parse_range(text: str) -> tuple[str, float]:
    media_range, *parameters = (part.strip().lower() for part in text.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = min(1.0, max(0.0, float(value)))
            except ValueError:
                quality = 0.0
    return media_range, quality


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The quality of the most specific range that covers the type."""
    kind = media_type.partition("/")[0]
    specific_first = (media_type, f"{kind}/*", "*/*")
    for candidate in specific_first:
        matching = [quality for media_range, quality in ranges if media_range == candidate]
        if matching:
            return max(matching)
    return 0.0
