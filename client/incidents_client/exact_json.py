"""JSON whose numbers keep their digits: `1658264566.2610762` is written as it was read.

A float would round it, and a Decimal rewrites exponents.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NoReturn, Union

# Longer ones stay text: Python refuses to turn 4,300 digits into an int.
_MAX_INT_DIGITS = 1_000


@dataclass(frozen=True)
class Number:
    """A number of JSON as its text. ``str`` gives the text, ``float`` the nearest double."""

    text: str

    def __str__(self) -> str:
        return self.text

    def __float__(self) -> float:
        return float(self.text)

    def decimal(self) -> Decimal:
        """Its exact value; raises decimal.InvalidOperation where the exponent is beyond all measure."""
        return Decimal(self.text)


# Union, because Python 3.10 can't join the name in quotes with a bar.
JsonValue = Union[  # noqa: UP007 - see above
    bool, int, str, Number, None, Sequence["JsonValue"], Mapping[str, "JsonValue"]
]


def parse(text: str | bytes) -> JsonValue:
    """One document; whole numbers come as int, all others as :class:`Number`. Raises ValueError."""
    try:
        value: JsonValue = _decoder.decode(text.decode("utf-8") if isinstance(text, bytes) else text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def render(value: JsonValue) -> str:
    """Compact JSON in printable ASCII alone, so that nothing in it moves a terminal's cursor."""
    if isinstance(value, Number):
        return value.text
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{render(name)}:{render(each)}" for name, each in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(map(render, value)) + "]"
    # It escapes all that is not printable ASCII.
    return json.dumps(value)


def _parse_int(text: str) -> int | Number:
    # JSON tells -0 from 0, an int does not.
    return Number(text) if text == "-0" or len(text) > _MAX_INT_DIGITS else int(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_float=Number, parse_int=_parse_int, parse_constant=_refuse_constant)
