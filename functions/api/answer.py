"""What a route answers with, and the headers that go with data (RFC 9110, RFC 8288)."""

from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlencode

from shared.domain.rfc3339 import parse_rfc3339
from shared.store.state import State

# Whoever may see the data may keep it, nobody between may, and each use asks first.
CACHE_CONTROL = "private, no-cache"
# The gateway compresses, so the answer also depends on what the client unpacks.
VARY = "Accept, Accept-Encoding"


class Answer(NamedTuple):
    """Status, body and headers; ``X-Request-Id`` is added to all of them alike."""

    body: str
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})


def data_headers(state: State, *, now: float) -> dict[str, str]:
    """How old and how complete the data are."""
    last_success_at = state.report.last_success_at
    headers = {"X-Data-Complete": "true" if state.report.complete else "false"}
    if last_success_at is not None:
        headers["X-Data-Age-Seconds"] = str(max(0, int(now - last_success_at)))
    return headers


def validators(etag: str, committed_at: str) -> dict[str, str]:
    """ETag and Last-Modified of an answer from a snapshot."""
    return {"ETag": etag, "Last-Modified": _http_date(committed_at)}


def link_to_next(**parameters: str) -> dict[str, str]:
    """A Link header, relative to the request's own address, whatever stage or domain it came through."""
    return {"Link": f'<?{urlencode(parameters)}>; rel="next"'}


@lru_cache(maxsize=16)
def _http_date(rfc3339: str) -> str:
    return formatdate(parse_rfc3339(rfc3339), usegmt=True)
