"""How much an employee's incidents weigh: a sum that forgets with a half-life, by forward decay.

An incident at ``t`` counts ``weight × 2^(t / half-life)``, which never changes; at any later moment the sum
is divided by ``2^(moment / half-life)``, the same for everybody. So what is stored need not be touched as
time passes, and its order is right at every moment (Cormode, Shkapenyuk, Srivastava, Xu: "Forward Decay: A
Practical Time Decay Model for Streaming Systems", ICDE 2009).

A stored score is one whole number: a floating-point number with 40 bits of fraction and an exponent without
bounds, exponent first, so that scores compare as numbers do. 0 is nothing at all. Sums are exact but for
rounding to those bits, by whole numbers alone: the same on every machine.
"""

import math
from decimal import Decimal
from typing import NamedTuple

from shared.domain.incident import PRIORITIES

MAX_WEIGHT = 1_000
MAX_HALF_LIFE_DAYS = 3_650
_FRACTION_BITS = 40
_ONE = 1 << _FRACTION_BITS
_TICKS_A_SECOND = 10**7
_TICKS_A_DAY = 86_400 * _TICKS_A_SECOND
# A term so much smaller changes no bit of the sum.
_NEGLIGIBLE_BITS = 2 * _FRACTION_BITS
# A float's largest exponent: no score shown is near it, unless a clock is wrong by years.
_MAX_EXPONENT = 900


class RiskScale(NamedTuple):
    """What scores are counted in: whole weights by priority, lowest first, and a half-life."""

    weights: tuple[int, ...] = (1, 3, 7, 15)
    half_life_days: int = 30

    def add(self, score: int, priority: str, timestamp: str) -> int:
        """The stored ``score`` with one more incident; ``timestamp`` is epoch seconds as text."""
        weight = self.weights[PRIORITIES.index(priority)]
        if not weight:
            return score
        whole, rest = divmod(int(Decimal(timestamp) * _TICKS_A_SECOND), self._half_life)
        return _add(score, round(weight * 2 ** (rest / self._half_life) * _ONE), whole - _FRACTION_BITS)

    def shown(self, score: int, moment: float) -> float:
        """What a stored score is worth at ``moment`` (epoch seconds): as if all incidents were of then."""
        if not score:
            return 0.0
        mantissa, exponent = _split(score)
        whole, rest = divmod(int(moment * _TICKS_A_SECOND), self._half_life)
        fraction = mantissa * 2 ** (-rest / self._half_life)
        return math.ldexp(fraction, min(exponent - whole, _MAX_EXPONENT))

    def to_text(self) -> str:
        """``"1,3,7,15/30"``."""
        return f"{','.join(map(str, self.weights))}/{self.half_life_days}"

    @classmethod
    def from_text(cls, text: str) -> "RiskScale":
        """What :meth:`to_text` wrote."""
        weights, half_life_days = text.split("/")
        return cls(tuple(map(int, weights.split(","))), int(half_life_days))

    @property
    def _half_life(self) -> int:
        return self.half_life_days * _TICKS_A_DAY


DEFAULT_SCALE = RiskScale()


def _split(score: int) -> tuple[int, int]:
    """The score as ``mantissa × 2^exponent``."""
    exponent, fraction = divmod(score, _ONE)
    return fraction + _ONE, exponent - 1 - _FRACTION_BITS


def _add(score: int, mantissa: int, exponent: int) -> int:
    if score:
        other_mantissa, other_exponent = _split(score)
        apart = other_exponent - exponent
        if apart > _NEGLIGIBLE_BITS:
            return score
        if apart >= 0:
            mantissa += other_mantissa << apart
        elif apart >= -_NEGLIGIBLE_BITS:
            mantissa = (mantissa << -apart) + other_mantissa
            exponent = other_exponent
    surplus = mantissa.bit_length() - _FRACTION_BITS - 1
    if surplus > 0:
        # Half up; all ones become one more bit, all zeros.
        mantissa = (mantissa + (1 << (surplus - 1))) >> surplus
        exponent += surplus
        if mantissa == _ONE << 1:
            mantissa, exponent = _ONE, exponent + 1
    return (exponent + _FRACTION_BITS + 1) * _ONE + mantissa - _ONE
