"""Many small whole numbers in few bytes: seven bits a byte, the lowest first."""

from collections.abc import Iterable, Iterator

_MORE = 0x80


def pack(numbers: Iterable[int]) -> bytes:
    """The numbers, none of them negative, one after the other."""
    packed = bytearray()
    for number in numbers:
        rest = number
        while rest >= _MORE:
            packed.append(rest & (_MORE - 1) | _MORE)
            rest >>= 7
        packed.append(rest)
    return bytes(packed)


def unpack(packed: bytes) -> Iterator[int]:
    """The numbers back."""
    number = shift = 0
    for byte in packed:
        number |= (byte & (_MORE - 1)) << shift
        shift += 7
        if byte < _MORE:
            yield number
            number = shift = 0
