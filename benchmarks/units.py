"""What DynamoDB charges, computed from the sizes of items (Developer Guide, "Capacity unit consumption")."""

from collections.abc import Iterable

READ_UNIT_BYTES = 4096
WRITE_UNIT_BYTES = 1024


def read_units(size: int) -> int:
    """Of one item read by its key, or of a query's items together: consistent, so a unit for each 4 KB."""
    return max(1, -(-size // READ_UNIT_BYTES))


def write_units(before: int, after: int) -> int:
    """Of one item written, created or deleted: a unit for each KB of the larger of the two."""
    return max(1, -(-max(before, after) // WRITE_UNIT_BYTES))


def units_of_bytes(sizes: Iterable[int]) -> float:
    """The read units that so many bytes are worth, nothing rounded up: what a budget is a multiple of."""
    return sum(sizes) / READ_UNIT_BYTES
