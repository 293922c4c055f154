"""The overview in the table: two items that take turns, the one of the last entry and the one before.

While an entry is laid out, readers go on reading the overview of the entry before. Only what is done without
an entry changes one in its place, on the condition that nobody else has.
"""

import zlib
from collections.abc import Mapping, Sequence

from shared.domain.incident import INCIDENT_TYPES, PRIORITIES
from shared.domain.overview import Basis, DayCounts, Overview, Ranked
from shared.store.keys import overview_key
from shared.store.packing import pack, unpack
from shared.store.table import Item, Table

_NUMBERS_A_DAY = len(PRIORITIES) + len(INCIDENT_TYPES) + 1
_NUMBERS_A_PLACE = 3
_NAMES = {"#sequence": "sequence"}


def read_overview(table: Table, sequence: int) -> Overview | None:
    """The overview in the place of the entry ``sequence``: as of that one, or of any other; None if empty."""
    item = table.get(overview_key(sequence))
    return _decode(item) if item else None


def read_overview_at(table: Table, sequence: int) -> Overview | None:
    """The overview as of the entry ``sequence``, if there is one."""
    overview = read_overview(table, sequence)
    return overview if overview and overview.sequence == sequence else None


def write_overview(table: Table, overview: Overview) -> bool:
    """Write what an entry made of the overview; False if that entry or a later one is there already."""
    return table.put(
        _encode(overview),
        condition="attribute_not_exists(pk) OR #sequence < :sequence",
        names=_NAMES,
        values={":sequence": {"N": str(overview.sequence)}},
    )


def change_overview(table: Table, changed: Overview) -> bool:
    """Write ``changed`` over the revision before it, or over an older entry's; False if another is there."""
    return table.put(
        _encode(changed),
        condition="attribute_not_exists(pk) OR #sequence < :sequence"
        " OR #sequence = :sequence AND #revision = :before",
        names=_NAMES | {"#revision": "revision"},
        values={
            ":sequence": {"N": str(changed.sequence)},
            ":before": {"N": str(changed.revision - 1)},
        },
    )


def _encode(overview: Overview) -> Item:
    pk, sk = overview_key(overview.sequence)
    floor = overview.floor
    item: Item = {
        "pk": {"S": pk},
        "sk": {"S": sk},
        "sequence": {"N": str(overview.sequence)},
        "generation": {"N": str(overview.generation)},
        "revision": {"N": str(overview.revision)},
        "basis": {"S": overview.basis.to_text()},
        "up_to": {"S": overview.up_to},
        "days": {"B": zlib.compress(pack_days(overview.days), 9)},
        "top": {"B": pack_top(overview.top)},
    }
    if floor:
        item["floor"] = {"N": str(-floor[0])}
        item["floor_id"] = {"S": floor[1]}
    return item


def _decode(item: Item) -> Overview:
    sequence, generation, revision = (int(item[name]["N"]) for name in ("sequence", "generation", "revision"))
    return Overview(
        sequence=sequence,
        basis=Basis.from_text(item["basis"]["S"]),
        generation=generation,
        revision=revision,
        up_to=item["up_to"]["S"],
        days=unpack_days(zlib.decompress(item["days"]["B"])),
        top=unpack_top(item["top"]["B"]),
        floor=(-int(item["floor"]["N"]), item["floor_id"]["S"]) if "floor" in item else None,
    )


def pack_days(days: Mapping[int, DayCounts]) -> bytes:
    """A row a day. Columns are next to each other: they are alike, and become smaller together."""
    ordered = sorted(days)
    rows = [(*days[day].by_priority, *days[day].by_type, days[day].last_of) for day in ordered]
    distances = [day - before for before, day in zip([0, *ordered], ordered, strict=False)]
    # What has left the days that are counted may have been taken away before it was added.
    columns = [[max(number, 0) for number in column] for column in zip(*rows, strict=True)]
    return pack([len(ordered), *distances, *(number for column in columns for number in column)])


def unpack_days(packed: bytes) -> Mapping[int, DayCounts]:
    """What :func:`pack_days` made."""
    count, *numbers = unpack(packed)
    columns = [numbers[start : start + count] for start in range(0, (_NUMBERS_A_DAY + 1) * count, count or 1)]
    days: dict[int, DayCounts] = {}
    day = 0
    for distance, *row in zip(*columns, strict=True):
        day += distance
        split = len(PRIORITIES)
        days[day] = DayCounts(tuple(row[:split]), tuple(row[split:-1]), row[-1])
    return days


def pack_top(top: Sequence[Ranked]) -> bytes:
    """Scores as their distances, last days as how far they are behind the newest."""
    if not top:
        return b""
    newest = max(each.last_day for each in top)
    numbers = [newest]
    score = top[0].risk
    numbers.append(score)
    for each in top:
        numbers += (score - each.risk, int(each.employee_id), newest - each.last_day)
        score = each.risk
    return pack(numbers)


def unpack_top(packed: bytes) -> Sequence[Ranked]:
    """What :func:`pack_top` made."""
    numbers = unpack(packed)
    newest, score = next(numbers, 0), next(numbers, 0)
    top = []
    for distance, employee_id, behind in zip(*[numbers] * _NUMBERS_A_PLACE, strict=True):
        score -= distance
        top.append(Ranked(score, str(employee_id), newest - behind))
    return tuple(top)
