"""docs/performance.md, made of what was measured: nothing in it is written by hand."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.budgets import BUDGETS, judge, page_ratio

PAGE = Path(__file__).parents[1] / "docs/performance.md"

type Results = Mapping[str, Any]


def render_page(results: Results) -> str:
    """The page; a section that was never measured says so."""
    sections = (
        ("Budgets", None, _budgets),
        ("Reading", "reading", _reading),
        ("Beside the first version", "peers", _peers),
        ("As the table grows", "scale", _scale),
        ("Polling", "polling", _polling),
        ("Starting", "starting", _starting),
        ("Under load", "load", _load),
    )
    parts = [_INTRODUCTION]
    for title, name, render in sections:
        if name is None:
            parts.append(f"## {title}\n\n{render(results)}")
        elif name not in results:
            parts.append(f"## {title}\n\nNot measured yet: `make bench`.\n")
        else:
            parts.append(f"## {title}\n\n{render(results[name]['results'])}{_measured_on(results[name])}")
    return "\n".join(parts)


_INTRODUCTION = """# Performance

Made by `make bench`, all of it: don't edit it. What was measured is in `docs/performance/*.json`, what
measures is in `benchmarks/`. `.venv/bin/python -m benchmarks reading` measures one section again and makes
the page of all.

The figures are of one machine, which stands below each section, and it may have had other work. What counts
are the ratios: things that are compared were measured in turn, in the same run, each in a process of its own.
Times are given as *least – **median** – most*; CPU time is the process's own, of all threads and of the
kernel on its behalf. Without "CPU" it is time on the wall. Units are computed from the items' sizes: 4 KB a
consistent read, 1 KB a write.
"""


def _budgets(results: Results) -> str:
    rows = [(budget.what, budget.limit, *judge(budget, results)) for budget in BUDGETS]
    return _table(("what", "at most", "measured", "verdict"), rows)


_FLOOR_NAMES = {
    "reader": "the reader, a page not seen before",
    "again": "the reader, the same page of the same snapshot again",
    "boto3_query": "a boto3 client's Query of the same items",
    "boto3_projected": "the same, of the attributes alone that the reader asks for",
    "bare_http": "that signed before, over a bare connection, its answer parsed as JSON",
    "raw_json": "its answer parsed as JSON",
    "constant": "a handler that returns a constant",
}


def _reading(results: Results) -> str:
    pages = results["pages"]
    rows = [
        (_FLOOR_NAMES[name], *(_spread(page["floors"][name]["cpu_ms"]) for page in pages.values()))
        for name in _FLOOR_NAMES
    ]
    ratios = [
        "reader / boto3 client",
        *(
            f"**{_median(page['floors'], 'reader') / _median(page['floors'], 'boto3_query'):.2f}**"
            for page in pages.values()
        ),
    ]
    projected = [
        "reader / boto3 client, the reader's attributes alone",
        *(
            f"{_median(page['floors'], 'reader') / _median(page['floors'], 'boto3_projected'):.2f}"
            for page in pages.values()
        ),
    ]
    walls = [
        (_FLOOR_NAMES[name], *(_spread(page["floors"][name]["wall_ms"]) for page in pages.values()))
        for name in ("reader", "again", "boto3_query", "boto3_projected")
    ]
    work = [
        (
            f"{int(limit):,}",
            f"{page['incidents']:,}",
            f"{page['floors']['reader']['bytes']:,}",
            page["requests"],
            page["read_units"],
            page["again_requests"],
            page["again_read_units"],
        )
        for limit, page in pages.items()
    ]
    head = ("milliseconds of CPU", *(f"limit={limit}" for limit in pages))
    memory = max(page["floors"]["reader"]["memory_mb"] for page in pages.values())
    count = pages["100"]["floors"]["reader"]["cpu_ms"]["count"]
    work_head = ("employees", "incidents looked at", "bytes", "requests", "read units")
    after, many = results["memory_mb"], results["pages_for_memory"]
    return f"""`GET /incidents` through the real handler, called with proxy events, of a table of 2,100 incidents.
DynamoDB is the table in memory of the tests, in another process, over loopback: its time is not in the CPU
figures, the socket's is, for the reader and for the bare client alike (against AWS, TLS would come on top of
both). {count} runs each.

{_table(head, [*rows, ratios, projected])}
![CPU time by page size](performance/reading.svg)

Time on the wall, the table in memory included:

{_table(("milliseconds", *head[1:]), walls)}
What a page is made of, and what it costs the second time:

{_table((*work_head, "requests, again", "read units, again"), work)}
The process of the reader had {memory:.0f} MB at most, and {after:.0f} MB after {many} pages of 500; some of
that is this harness's.
"""


def _peers(results: Results) -> str:
    names = {
        "reader": "this reader, all pages of a walk at limit=500, a snapshot not seen before",
        "floor": "the same queries signed before, over a bare connection, parsed as JSON, and nothing made of it",
        "grouping": "what the reader makes of those answers, from memory: groups, limits, JSON",
        "first_version": "the first version's dictionary, `json.dumps` alone",
        "first_version_flask": "the same through Flask and `jsonify`, as the first version did",
    }
    rows = [
        (
            text,
            _spread(results["peers"][name]["cpu_ms"]),
            f"{results['peers'][name]['bytes']:,}",
            f"{results['peers'][name]['memory_mb']:.0f}",
        )
        for name, text in names.items()
    ]
    return f"""All {results["incidents"]:,} incidents, once. The first version is a stand-in
(`benchmarks/first_version.py`): all in a dictionary of the process, written as JSON for each request, in one
answer. It asks no database, has no ids, and loses everything with its process. Two parts of what the reader does
are measured by themselves; {results["queries"]} pages with their requests, states, cursors and headers come on top, each as much as the same
page again costs ([above](#reading)).

{_table(("who", "milliseconds of CPU", "bytes", "MB"), rows)}"""


def _scale(results: Results) -> str:
    sizes = {
        int(size): each for size, each in sorted(results["sizes"].items(), key=lambda each: int(each[0]))
    }
    reads = next(iter(sizes.values()))["reads"]
    head = [f"{size:,}" for size in sizes]
    units = [
        *((name, *(each["reads"][name]["read_units"] for each in sizes.values())) for name in reads),
        *(
            (_poll_name(new), *(f"{each['polls'][new]['read_units']:,}" for each in sizes.values()))
            for new in next(iter(sizes.values()))["polls"]
        ),
        ("full walk at limit=500", *(f"{each['walk']['read_units']:,}" for each in sizes.values())),
    ]
    written = [
        (_poll_name(new), *(f"{each['polls'][new]['write_units']:,}" for each in sizes.values()))
        for new in next(iter(sizes.values()))["polls"]
    ]
    shown = [
        ("first page, bytes", *(f"{each['reads']['first page']['bytes']:,}" for each in sizes.values())),
        (
            "pages of 100: read units / units of the bytes shown",
            *(f"{page_ratio(each):.2f}" for each in sizes.values()),
        ),
        ("full walk, bytes", *(f"{each['walk']['bytes']:,}" for each in sizes.values())),
        ("full walk, seconds of CPU", *(f"{each['walk']['cpu_s']:.2f}" for each in sizes.values())),
        ("full walk, MB of the reader", *(f"{each['walk']['memory_mb']:.0f}" for each in sizes.values())),
    ]
    in_memory = [
        (name, *(_spread(each["reads"][name]["wall_ms"]) for each in sizes.values())) for name in reads
    ]
    other = [
        (name, *(_spread(each["dynalite"]["reads"][name]["wall_ms"]) for each in sizes.values()))
        for name in reads
        if all(each["dynalite"] for each in sizes.values())
    ]
    polls = [
        (_poll_name(new), *(f"{each['polls'][new]['cpu_ms']:.0f}" for each in sizes.values()))
        for new in next(iter(sizes.values()))["polls"]
    ]
    return f"""Incidents of the simulator, as many people as incidents, laid out by the real projection;
windows of 2,100. The units are counted by the table in memory (`benchmarks/dynamodb.py`). A page and a poll
have to cost the same at every size, a walk in proportion.

![Units by size](performance/scale-units.svg)

{_table(("read units", *head), units)}
{_table(("write units", *head), written)}
{_table(("", *head), shown)}
Milliseconds through the real handler, the table in memory, in another process, included (it searches in
sorted lists, so it is no measure of DynamoDB; that nothing else grows is what shows):

{_table(("milliseconds", *head), in_memory)}
{_on_dynalite(results, head, other)}
![Latency by size](performance/scale-latency.svg)

CPU of a poll, the table in memory and in the same process:

{_table(("milliseconds of CPU", *head), polls)}
Bytes of the items, in all these tables:

{_table(("item", "smallest", "largest"), _item_bytes(sizes.values()))}"""


def _item_bytes(sizes: Iterable[Results]) -> Iterable[Sequence[Any]]:
    kinds = [each["item_bytes"] for each in sizes]
    for kind in kinds[0]:
        smallest = min(each[kind]["smallest"] for each in kinds)
        largest = max(each[kind]["largest"] for each in kinds)
        yield f"`{kind}`", f"{smallest:,}", f"{largest:,}"


def _on_dynalite(results: Results, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return "dynalite was not there to measure on: it needs Node.\n"
    loaded = ", ".join(
        f"{int(size):,} in {each['dynalite']['load_seconds']:.0f} s"
        for size, each in results["sizes"].items()
    )
    checks = [
        (
            f"poll, {name}",
            *(f"{units[who][0]:,.0f} / {units[who][1]:,.0f}" for who in ("computed", "dynalite")),
        )
        for name, units in results["check"].items()
    ]
    checks += [
        (
            f"{name}, {int(size):,} incidents",
            f"{each['reads'][name]['read_units']} / 0",
            f"{each['dynalite']['units'][name]:.0f} / 0",
        )
        for size, each in results["sizes"].items()
        for name in each["reads"]
    ]
    return f"""The same on dynalite 4.0.0, an emulator of other people, all in its memory (loaded: {loaded}):

{_table(("milliseconds", *head), rows)}
It counts capacity, so it is what the computed units are checked against (read / write):

{_table(("", "computed", "dynalite"), checks)}"""


def _poll_name(new: str) -> str:
    return "poll, nothing new" if new == "0" else f"poll, {int(new):,} new"


def _polling(results: Results) -> str:
    schedules = [
        (
            concurrency,
            f"{each['best_s']:.1f}",
            f"{min(each['taken_s']):.1f} – {max(each['taken_s']):.1f}",
            f"**{each['ratio']:.2f}**",
        )
        for concurrency, each in results["schedules"].items()
    ]
    windows = [
        (
            f"{int(records):,}",
            f"{each['first']['polls']}",
            f"{each['first']['cpu_s']:.1f}",
            f"{each['steady']['cpu_s']:.2f}",
            f"{each['steady']['wall_s']:.2f}",
            f"{each['memory_mb']:.0f}",
        )
        for records, each in results["windows"].items()
    ]
    default = results["default_concurrency"]
    schedule_head = ("calls at once", "best, s", "taken, s", "taken / best")
    window_head = (
        *("records", "first polls", "their CPU, s", "steady: CPU, s", "steady: wall, s"),
        "most memory, MB",
    )
    return f"""The real handler against the simulator as the real upstream was observed (`--realistic`: a call
alone takes 1.7 to 2.3 s, and longer the more run at once). The best schedule is found by trying all orders of
the eight calls with just the latencies that the simulator drew, at most so many at once.

{_table(schedule_head, schedules)}
![Poll's wall time by concurrency](performance/polling.svg)

The default is {default}. Eight at once take less time in all, but each call then takes 2.6 times as long as
alone, and the identities are no longer the last to be read.

CPU and memory of the poller's process, the upstream and the table in others, by the records in the windows.
The first polls take everything in, a steady one finds nothing new:

{_table(window_head, windows)}"""


def _starting(results: Results) -> str:
    processes = [(name, _spread(each)) for name, each in results["processes"].items()]
    emulator = [
        (
            name,
            *(
                _spread(each[key]) if key in each else ""
                for key in ("init_ms", "first_ms", "cold_ms", "warm_ms")
            ),
        )
        for name, each in results["emulator"].items()
    ]
    packages = [
        (name, f"{each['files']:,}", f"{each['bytes'] / 1e6:.2f}", f"{each['zip_bytes'] / 1e6:.2f}")
        for name, each in results["packages"].items()
    ]
    imports = "\n".join(
        f"{function.capitalize()} ({total:,.0f} ms by `-X importtime`):\n\n"
        + _table(("package", "ms of its own modules"), [(f"`{name}`", f"{ms:.1f}") for name, ms in slowest])
        for function, (total, slowest) in results["imports"].items()
    )
    compiled = "" if results["bytecode_files"] else " no"
    return f"""Both functions as `sam build` made them, from the built folders, with{compiled} bytecode in
the packages and none written while measuring.

Through AWS's runtime interface emulator with AWS's runtime client, {results["runs"]} cold starts each, taken
in turn: *init* until the runtime asks for its first event, *first* the first invocation after that, a page of
100 employees from the table in memory, *cold* both. The bare handler is `boto3.client("dynamodb")` at import
and one Query of the same items; *compiled* with the bytecode that AWS's runtime ships its boto3 with. *One small
read* is signed before and goes over a connection that nobody watches over: less a kept page can't cost.

{_table(("handler", "init, ms", "first, ms", "cold, ms", "warm, ms"), emulator)}
![Cold starts](performance/starting.svg)

A whole process, from its start to its end, {results["runs"]} times each:

{_table(("what", "ms"), processes)}
What the imports cost, once:

{imports}
{_table(("package", "files", "MB", "MB zipped"), packages)}"""


def _load(results: Results) -> str:
    rows = [
        (
            f"`{each['name']}`",
            f"{each['requests']:,}",
            f"{each['per_second']:.1f}",
            f"{each['p50_ms']:,.0f}",
            f"{each['p99_ms']:,.0f}",
            each["errors"],
        )
        for each in results["paths"]
    ]
    return f"""`make load`: {results["clients"]} clients at once, without a pause between their requests, for
{results["seconds"]} s against `make run`'s gateway while it polled every {results["poll_interval_seconds"]} s
({results["polls"]} polls). The gateway serves one request at a time, as one container of Lambda does, and
ministack is the table: this shows that nothing fails and nothing is kept waiting for ever, not what AWS
serves.

{_table(("request", "requests", "a second", "p50, ms", "p99, ms", "errors"), rows)}"""


def _measured_on(section: Mapping[str, Any]) -> str:
    text = f"\nMeasured on {section['measured_on']}: {', '.join(_describe(section['machine']))}."
    for kind in ("sizes", "windows"):
        for size, each in section["results"].get(kind, {}).items():
            if "measured_on" in each:
                text += f" {int(size):,} on {each['measured_on']}."
    return f"{text}\n"


def _describe(machine: Mapping[str, str]) -> Iterable[str]:
    for name, value in machine.items():
        yield value if name in ("processor", "memory", "system", "python") else f"{name} {value}"


def _median(floors: Mapping[str, Any], name: str) -> float:
    return float(floors[name]["cpu_ms"]["median"])


def _spread(each: Mapping[str, float]) -> str:
    """Least – **median** – most, with as many digits as they deserve."""
    digits = 3 if each["median"] < 0.1 else 2 if each["median"] < 10 else 1 if each["median"] < 100 else 0
    low, middle, high = (f"{each[name]:,.{digits}f}" for name in ("minimum", "median", "maximum"))
    return f"{low} – **{middle}** – {high}"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [" | ".join(map(str, row)) for row in (head, *rows)]
    ruled = [f"| {lines[0]} |", f"|{'---|' * len(head)}", *(f"| {line} |" for line in lines[1:])]
    return "\n".join(ruled) + "\n"
