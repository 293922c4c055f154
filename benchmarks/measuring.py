"""Numbers of many runs made few: smallest, median, 99th percentile, largest."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """What ``count`` runs took, all in one unit."""

    count: int
    minimum: float
    median: float
    p99: float
    maximum: float

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that ``percent`` of them are not above (nearest rank).

    Raises ValueError without any value.
    """
    if not values:
        raise ValueError("no value to take a percentile of")
    return sorted(values)[max(0, ceil(len(values) * percent / 100) - 1)]


def percentile_of_counts(counts: Mapping[float, int], percent: float) -> float:
    """The same of values that are there so many times each; raises ValueError without any."""
    rank = ceil(sum(counts.values()) * percent / 100)
    seen = 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= max(1, rank):
            return value
    raise ValueError("no value to take a percentile of")


def spread(values: Sequence[float]) -> Spread:
    """The values in short; raises ValueError without any."""
    return Spread(len(values), min(values), percentile(values, 50), percentile(values, 99), max(values))


def peak_memory_mb(process: str = "self") -> float:
    """The most memory that a process has had at once, in MB of 10⁶ bytes, as the kernel counted it."""
    for line in Path(f"/proc/{process}/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError("the kernel does not tell")
