"""What the service's own code holds on to.

Not what tracemalloc says was allocated and not freed: Python hands small blocks on from one owner to the next
under the name of the first.
"""

import gc
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_OURS = ("functions", "shared")


class Holding(NamedTuple):
    """Objects and bytes."""

    objects: int
    bytes: int


def measure_held(roots: Iterable[object], *, but: Iterable[object]) -> Holding:
    """All that can be reached from ``roots`` and from the modules of the service.

    ``but``: where to stop, as at other people's modules.
    """
    modules = [module for name, module in list(sys.modules.items()) if name.split(".")[0] in _OURS]
    ours = {id(vars(module)) for module in modules}
    seen = {id(vars(module)) for module in list(sys.modules.values()) if module} - ours
    seen |= {id(each) for each in but}
    todo: list[object] = [*roots, *(vars(module) for module in modules)]
    objects = size = 0
    while todo:
        each = todo.pop()
        foreign = isinstance(each, type) and each.__module__.split(".")[0] not in _OURS
        if id(each) in seen or foreign or isinstance(each, types.ModuleType):
            continue
        seen.add(id(each))
        objects += 1
        size += sys.getsizeof(each)
        todo.extend(gc.get_referents(each))
    return Holding(objects, size)


def resident_bytes() -> int:
    """The memory of this process, as the kernel counts it."""
    pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    return int(pages) * 4096
