"""JSON whose numbers keep their digits: what was read as ``1658264566.2610762`` is written as just that.

A float would round and a Decimal would rewrite exponents, so a number stays the text that it was.
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple, NoReturn

MAX_DEPTH = 100


class JsonNumber(NamedTuple):
    """A JSON number as its text, never as a float."""

    text: str


type JsonValue = bool | str | JsonNumber | Sequence[JsonValue] | Mapping[str, JsonValue] | None


class MalformedJsonError(ValueError):
    """The text is not JSON as RFC 8259 defines it, or nested too deeply to be taken."""


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedJsonError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_float=JsonNumber, parse_int=JsonNumber, parse_constant=_refuse_constant)


def parse(text: str | bytes) -> JsonValue:
    """Parse one JSON document (UTF-8 if bytes); numbers come back as :class:`JsonNumber`.

    Raises :class:`MalformedJsonError` with a message that never quotes the document.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        value: JsonValue = _decoder.decode(text)
    except UnicodeDecodeError as error:
        raise MalformedJsonError(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise MalformedJsonError(f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise MalformedJsonError("nested too deeply") from None
    return value


def render(value: JsonValue, *, max_depth: int = MAX_DEPTH) -> str:
    """Write ``value`` as compact ASCII JSON; numbers with the digits that they came with.

    Raises :class:`MalformedJsonError` when it is nested deeper than ``max_depth``.
    """
    if max_depth < 0:
        raise MalformedJsonError("nested too deeply")
    match value:
        case JsonNumber(text):
            return text
        case str() | bool() | None:
            return json.dumps(value)
        case Mapping():
            members = (f"{json.dumps(k)}:{render(v, max_depth=max_depth - 1)}" for k, v in value.items())
            return "{" + ",".join(members) + "}"
        case _:
            return "[" + ",".join(render(item, max_depth=max_depth - 1) for item in value) + "]"
