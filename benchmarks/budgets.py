"""The budgets that the service is held to (what is promised, not what is hoped for), and whether they are
met.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

type Results = Mapping[str, Any]
# What was measured, in words, and whether that is within the budget.
type Verdict = tuple[str, bool]


@dataclass(frozen=True, slots=True)
class Budget:
    """One row: what is limited, to what, and how that is judged. ``judge`` raises KeyError for what was not
    measured.
    """

    what: str
    limit: str
    judge: Callable[[Results], Verdict]


def judge(budget: Budget, results: Results) -> tuple[str, str]:
    """What was measured, and ``met``, ``**missed**`` or ``not measured``."""
    try:
        measured, is_met = budget.judge(results)
    except KeyError:
        return "", "not measured"
    return measured, "met" if is_met else "**missed**"


def _sizes(results: Results) -> Mapping[str, Any]:
    sizes: Mapping[str, Any] = results["scale"]["results"]["sizes"]
    return sizes


def _steady_poll(results: Results) -> Verdict:
    polls = [each["polls"]["0"] for each in _sizes(results).values()]
    reads, writes, incidents = (
        max(poll[name] for poll in polls) for name in ("read_units", "write_units", "incident_writes")
    )
    text = f"{incidents} incidents written, {writes} write units, {reads} read units, at every size"
    return text, incidents == 0 and writes <= 3 and reads <= 30


def _poll_with_news(results: Results) -> Verdict:
    polls = [poll for each in _sizes(results).values() for poll in each["polls"].values() if poll["new"]]
    units = {
        poll["new"]: max(each["write_units"] for each in polls if each["new"] == poll["new"])
        for poll in polls
    }
    text = ", ".join(f"{count:,} for {new:,} new" for new, count in sorted(units.items()))
    return f"{text}, of nearly as many employees, at the size where it is most", all(
        count <= 3 * new + 30 for new, count in units.items()
    )


def page_ratio(size: Mapping[str, Any]) -> float:
    """The read units of pages, the state's left out, by those that their incidents' bytes are worth."""
    pages = size["pages_of_100"]
    # 1,200 employees, the state once a page.
    return float((pages["read_units"] - pages["pages"]) / pages["units_of_bytes"])


def _page_units(results: Results) -> Verdict:
    sizes = _sizes(results)
    ratios = {int(size): page_ratio(each) for size, each in sizes.items()}
    units = {int(size): each["reads"]["first page"]["read_units"] for size, each in sizes.items()}
    smallest, largest = min(units), max(units)
    text = (
        f"{max(ratios.values()):.2f} ×; the first page {units[smallest]} units at {smallest:,} incidents,"
        f" {units[largest]} at {largest:,}"
    )
    # A page of other employees has other bytes.
    return text, max(ratios.values()) <= 1.25 and units[largest] <= units[smallest] + 2


def _floors(results: Results, limit: int) -> Mapping[str, Any]:
    floors: Mapping[str, Any] = results["reading"]["results"]["pages"][str(limit)]["floors"]
    return floors


def _page_cpu(results: Results) -> Verdict:
    floors = _floors(results, 100)
    ours, floor, projected = (
        floors[name]["cpu_ms"]["median"] for name in ("reader", "boto3_query", "boto3_projected")
    )
    text = (
        f"{ours / floor:.2f} × ({ours:.2f} ms, the query {floor:.2f} ms); {ours / projected:.2f} × a query of"
        f" the reader's attributes alone ({projected:.2f} ms)"
    )
    return text, ours <= floor / 2


def _same_page(results: Results) -> Verdict:
    page = results["reading"]["results"]["pages"]["100"]
    emulator = results["starting"]["results"]["emulator"]
    ours, read, floor = (
        emulator[name]["warm_ms"]["median"]
        for name in ("reader, the same page", "one small read", "no database")
    )
    reads, units = page["again_requests"], page["again_read_units"]
    ratio = (ours - (read - floor)) / floor
    text = (
        f"{_count(reads, 'read')} of {_count(units, 'unit')}; without the time of the barest such read"
        f" {ratio:.2f} × ({ours:.2f} ms; the read {read - floor:.2f}, no database {floor:.2f})"
    )
    return text, reads == 1 and units <= 1 and ratio <= 1.3


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _everything(results: Results) -> Verdict:
    peers = results["peers"]["results"]["peers"]
    ours, floor, dictionary, flask = (
        peers[name]["cpu_ms"]["median"]
        for name in ("reader", "floor", "first_version", "first_version_flask")
    )
    text = (
        f"{ours:.1f} ms, the first version {flask:.1f} ms, writing its JSON alone {dictionary:.1f} ms; asking"
        f" for the incidents at all {floor:.1f} ms"
    )
    return text, ours < flask


def _cold(results: Results) -> Verdict:
    emulator = results["starting"]["results"]["emulator"]
    ours, bare = (emulator[name]["cold_ms"]["median"] for name in ("reader", "boto3, compiled"))
    return f"{ours / bare:.2f} × ({ours:,.0f} ms, the bare one {bare:,.0f} ms)", ours <= bare


def _poll_time(results: Results) -> Verdict:
    schedules = results["polling"]["results"]["schedules"]
    default = schedules[str(results["polling"]["results"]["default_concurrency"])]
    worst = max(each["ratio"] for each in schedules.values())
    text = f"{default['ratio']:.2f} × at the default concurrency, {worst:.2f} × at the worst"
    return text, default["ratio"] <= 1.15


def _memory(results: Results) -> Verdict:
    poller = results["polling"]["results"]["windows"]["100000"]["memory_mb"]
    reader = results["reading"]["results"]["memory_mb"]
    walks = max(each["walk"]["memory_mb"] for each in _sizes(results).values())
    text = f"poller {poller:.0f} MB, reader {max(reader, walks):.0f} MB"
    return text, poller < 256 and max(reader, walks) < 128


BUDGETS = (
    Budget(
        "steady poll, nothing new",
        "no incident write; 3 write units and 30 read units beside the upstream calls",
        _steady_poll,
    ),
    Budget("poll with n new incidents", "3n + 30 write units, whatever the table holds", _poll_with_news),
    Budget("page of 100 employees", "1.25 × the read units of its bytes, at any size the same", _page_units),
    Budget(
        "reader, warm, a page of 100 employees: CPU",
        "half of a bare boto3 client's Query of the same items",
        _page_cpu,
    ),
    Budget(
        "reader, the same page of the same snapshot again",
        "one small read, and 1.3 × a handler without a database",
        _same_page,
    ),
    Budget(
        "reader, all 2,100 incidents at limit=500: CPU",
        "less than the first version takes to answer from memory",
        _everything,
    ),
    Budget(
        "reader, cold: init and first answer",
        "no slower than a bare boto3.client handler",
        _cold,
    ),
    Budget("poll's wall time", "1.15 × the best schedule at the allowed concurrency", _poll_time),
    Budget("memory", "poller under 256 MB at 100,000 incidents in the window, reader under 128 MB", _memory),
)
