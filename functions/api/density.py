"""How densely employees lie in the table: how many items a request should look at for so many of them."""

from collections import deque
from math import ceil
from statistics import median

# What a strongly consistent read unit reads; a request is charged whole ones (Amazon DynamoDB Developer
# Guide, "Read consistency and capacity").
_READ_UNIT_BYTES = 4_096
# An incident's item beside its JSON: keys, numbers and the names of attributes.
_BYTES_BESIDE_JSON = 165
# What a request may lack of what is likely needed rather than cost a unit more.
_MAY_LACK = 0.02
# Sizes vary: a request that is to fill its units is kept this much smaller, lest it begin one more.
_KEPT_FREE = 0.015
# Fewer employees than that tell little.
_SAMPLE_EMPLOYEES = 100
_SAMPLES = 31


class Density:
    """Learned from the pages that were read; before the first, what the upstream's real data had.

    The median of the last few samples: one employee with very many incidents makes no difference.
    """

    def __init__(self) -> None:
        self._incidents_each = deque([1.5], _SAMPLES)
        self._bytes_each = deque([400.0], _SAMPLES)
        self._employees = 0
        self._incidents = 0
        self._bytes = 0

    def learn(self, employees: int, incidents: int, json_bytes: int) -> None:
        """Take in a page: its employees, their incidents, and the bytes of these as JSON."""
        self._employees += employees
        self._incidents += incidents
        self._bytes += json_bytes
        if self._employees >= _SAMPLE_EMPLOYEES:
            self._incidents_each.append(self._incidents / self._employees)
            self._bytes_each.append(self._bytes / self._incidents + _BYTES_BESIDE_JSON)
            self._employees = self._incidents = self._bytes = 0

    def items_of(self, employees: int) -> int:
        """About as many items as so many employees have: as many as the read units for these can hold."""
        bytes_each = median(self._bytes_each)
        likely_units = employees * median(self._incidents_each) * bytes_each / _READ_UNIT_BYTES
        units = max(1, ceil(likely_units * (1 - _MAY_LACK)))
        return max(1, int(units * _READ_UNIT_BYTES * (1 - _KEPT_FREE) / bytes_each))
