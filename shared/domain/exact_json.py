"""JSON whose numbers keep their digits: what was read as ``1658264566.2610762`` is written as just that.

A float would round and a Decimal would rewrite exponents, so a number stays the text that it was.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, NoReturn

MAX_DEPTH = 100


class JsonNumber(NamedTuple):
    """A JSON number as its text, never as a float."""

    text: str


class NotJson(NamedTuple):
    """A value that many programs write though JSON does not have it: NaN, Infinity or -Infinity."""

    text: str


class RepeatedKeys(dict[str, "JsonValue"]):
    """An object that has a key several times, with different values: which one is meant, nobody knows.

    As a mapping it has the last of them; :func:`members` gives all.
    """

    def __init__(self, pairs: Sequence[tuple[str, "JsonValue"]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


type JsonValue = bool | str | JsonNumber | NotJson | Sequence[JsonValue] | Mapping[str, JsonValue] | None


class MalformedJsonError(ValueError):
    """The text is not JSON as RFC 8259 defines it, or nested too deeply to be taken."""


class NotJsonError(MalformedJsonError):
    """The value holds one that JSON does not have."""


class RepeatedKeysError(MalformedJsonError):
    """The value holds an object that has a key several times, with different values."""


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedJsonError(f"{name} is not JSON")


def _make_object(pairs: Sequence[tuple[str, JsonValue]]) -> Mapping[str, JsonValue]:
    value = dict(pairs)
    if len(value) == len(pairs) or all(value[name] == each for name, each in pairs):
        return value
    return RepeatedKeys(pairs)


_decoder = json.JSONDecoder(parse_float=JsonNumber, parse_int=JsonNumber, parse_constant=_refuse_constant)
_marking_decoder = json.JSONDecoder(
    parse_float=JsonNumber,
    parse_int=JsonNumber,
    parse_constant=NotJson,
    object_pairs_hook=_make_object,
)


def parse(text: str | bytes, *, mark_flaws: bool = False) -> JsonValue:
    """Parse one JSON document (UTF-8 if bytes); numbers come back as :class:`JsonNumber`.

    ``mark_flaws`` is for documents of others, in which one bad record must not cost all the good ones: what
    is wrong in one place stays as :class:`NotJson` or :class:`RepeatedKeys`, which :func:`render` refuses.
    Without it the former is refused here, and of the latter the last value counts.

    Raises :class:`MalformedJsonError` with a message that never quotes the document.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        value: JsonValue = (_marking_decoder if mark_flaws else _decoder).decode(text)
    except UnicodeDecodeError as error:
        raise MalformedJsonError(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise MalformedJsonError(f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise MalformedJsonError("nested too deeply") from None
    return value


def members(value: Mapping[str, JsonValue]) -> Iterable[tuple[str, JsonValue]]:
    """All names and values of an object: those of a repeated key, too."""
    return value.pairs if isinstance(value, RepeatedKeys) else value.items()


def render(value: JsonValue, *, max_depth: int = MAX_DEPTH, with_flaws: bool = False) -> str:
    """Write ``value`` as compact ASCII JSON; numbers with the digits that they came with.

    ``with_flaws`` writes what was marked as wrong as it came: for people to look at, it may be no JSON.
    Raises :class:`MalformedJsonError` when it is nested deeper than ``max_depth``, and without ``with_flaws``
    :class:`NotJsonError` and :class:`RepeatedKeysError`.
    """
    if max_depth < 0:
        raise MalformedJsonError("nested too deeply")
    match value:
        case JsonNumber(text):
            return text
        case str() | bool() | None:
            return json.dumps(value)
        case NotJson(text):
            if not with_flaws:
                raise NotJsonError(f"{text} is not JSON")
            return text
        case Mapping():
            if isinstance(value, RepeatedKeys) and not with_flaws:
                raise RepeatedKeysError("a key is there several times, with different values")
            pairs = (
                f"{json.dumps(name)}:{render(each, max_depth=max_depth - 1, with_flaws=with_flaws)}"
                for name, each in members(value)
            )
            return "{" + ",".join(pairs) + "}"
        case _:
            items = (render(each, max_depth=max_depth - 1, with_flaws=with_flaws) for each in value)
            return "[" + ",".join(items) + "]"
