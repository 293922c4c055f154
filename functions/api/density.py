"""How densely employees lie in the table: how many items a request should look at for so many of them."""

from collections import deque
from collections.abc import Sequence
from math import ceil, fsum

from shared.store.incidents import StoredIncident

# What a strongly consistent read unit reads; a request is charged whole ones (Amazon DynamoDB Developer
# Guide, "Read consistency and capacity").
_READ_UNIT_BYTES = 4_096
# An incident's item beside its JSON: keys, numbers and the names of attributes.
_BYTES_BESIDE_JSON = 142
# More than what is likely, for pages that have more: a second request takes as long as the first, and most of
# its CPU, while a unit more is one of a dozen.
_MARGIN = 0.03
# Sizes vary: a request that is to fill its units is kept this much smaller, lest it begin one more.
_KEPT_FREE = 0.01
# Fewer employees than that tell little.
_SAMPLE_EMPLOYEES = 100
_SAMPLES = 31
_REMEMBERED_ITEMS = 5_000


class Density:
    """Learned from the pages that were read; before the first, about what the upstream's real data had.

    Of the last few samples the middle half counts: an employee with very many incidents makes no difference.
    """

    def __init__(self) -> None:
        self._incidents_each = deque([1.5], _SAMPLES)
        self._employees = 0
        self._incidents = 0
        self._items = 100
        self._json_bytes = 100 * 250

    def learn(self, employees: int, incidents: int) -> None:
        """Take in a page: how many employees, and how many incidents they have."""
        self._employees += employees
        self._incidents += incidents
        if self._employees >= _SAMPLE_EMPLOYEES:
            self._incidents_each.append(self._incidents / self._employees)
            self._employees = self._incidents = 0

    def learn_sizes(self, incidents: Sequence[StoredIncident]) -> None:
        """Take in what a request brought; what was long ago counts ever less."""
        if self._items > _REMEMBERED_ITEMS:
            self._items //= 2
            self._json_bytes //= 2
        self._items += len(incidents)
        self._json_bytes += sum([len(incident.json) for incident in incidents])

    def items_of(self, employees: int) -> int:
        """About as many items as so many employees have: as many as the read units for these can hold."""
        bytes_each = self._json_bytes / self._items + _BYTES_BESIDE_JSON
        samples = sorted(self._incidents_each)
        ends = len(samples) // 4
        middle = samples[ends : len(samples) - ends]
        likely = employees * fsum(middle) / len(middle) * bytes_each / _READ_UNIT_BYTES
        units = max(1, ceil(likely * (1 + _MARGIN)))
        return max(1, int(units * _READ_UNIT_BYTES * (1 - _KEPT_FREE) / bytes_each))
