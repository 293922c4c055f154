"""The pictures of docs/performance.md: `.tools/bench/bin/python -m benchmarks.plots` makes them of what was
measured.
"""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

from benchmarks.results import FOLDER, load

# Text stays text, and the same numbers make the same file.
mpl.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "benchmarks",
        "figure.figsize": (7.2, 3.6),
        "figure.constrained_layout.use": True,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 9,
        "legend.frameon": False,
    }
)

type Results = Mapping[str, Any]


def main() -> None:
    """Make each picture for which there is anything to show."""
    results = load()
    pictures = {
        "reading": (("reading", _draw_reading),),
        "scale": (("scale-units", _draw_units), ("scale-latency", _draw_latency)),
        "polling": (("polling", _draw_polling),),
        "starting": (("starting", _draw_starting),),
    }
    for section, drawings in pictures.items():
        for name, draw in drawings:
            if section in results:
                figure, axes = plt.subplots()
                draw(axes, results[section]["results"])
                figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None, "Creator": None})
                plt.close(figure)


def _draw_reading(axes: Any, results: Results) -> None:
    pages = results["pages"]
    names = {
        "reader": "reader, a page not seen before",
        "again": "reader, the same page again",
        "boto3_query": "boto3 client, the same items",
        "raw_json": "the answers as JSON",
    }
    for place, (name, label) in enumerate(names.items()):
        heights = [page["floors"][name]["cpu_ms"]["median"] for page in pages.values()]
        axes.bar([x + (place - 1.5) * 0.2 for x in range(len(pages))], heights, 0.18, label=label)
    axes.set_xticks(range(len(pages)), [f"limit={limit}" for limit in pages])
    axes.set(ylabel="ms of CPU (median)", yscale="log")
    axes.legend()


def _draw_units(axes: Any, results: Results) -> None:
    sizes = {int(size): each for size, each in results["sizes"].items()}
    _line(axes, "full walk (read)", {size: each["walk"]["read_units"] for size, each in sizes.items()})
    for name in ("first page", "middle page", "one employee", "304"):
        _line(
            axes, f"{name} (read)", {size: each["reads"][name]["read_units"] for size, each in sizes.items()}
        )
    for new in ("0", "20", "1000"):
        label = f"poll, {new if int(new) else 'nothing'} new (written)"
        _line(axes, label, {size: each["polls"][new]["write_units"] for size, each in sizes.items()}, "--")
    axes.set(xlabel="incidents in the table", ylabel="units", xscale="log", yscale="log")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _draw_latency(axes: Any, results: Results) -> None:
    sizes = {int(size): each for size, each in results["sizes"].items()}
    on_dynalite = all(each["dynalite"] for each in sizes.values())
    for name in ("first page", "middle page", "one employee", "changes", "304"):
        medians = {
            size: (each["dynalite"] if on_dynalite else each)["reads"][name]["wall_ms"]["median"]
            for size, each in sizes.items()
        }
        _line(axes, name, medians)
    where = "dynalite" if on_dynalite else "the table in memory"
    axes.set(xlabel="incidents in the table", ylabel=f"ms on {where} (median)", xscale="log")
    axes.set_ylim(bottom=0)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _draw_polling(axes: Any, results: Results) -> None:
    schedules = {int(number): each for number, each in results["schedules"].items()}
    _line(axes, "best schedule", {number: each["best_s"] for number, each in schedules.items()}, "--")
    _line(axes, "taken", {number: max(each["taken_s"]) for number, each in schedules.items()})
    axes.set(xlabel="calls at once", ylabel="s")
    axes.set_ylim(bottom=0)
    axes.legend()


def _draw_starting(axes: Any, results: Results) -> None:
    names = [name for name, each in results["emulator"].items() if "init_ms" in each][::-1]
    init = [results["emulator"][name]["init_ms"]["median"] for name in names]
    first = [results["emulator"][name]["first_ms"]["median"] for name in names]
    axes.barh(names, init, label="init")
    axes.barh(names, first, left=init, label="first invocation")
    axes.set(xlabel="ms (median)")
    axes.legend()


def _line(axes: Any, label: str, values: Mapping[int, float], style: str = "-") -> None:
    axes.plot(list(values), list(values.values()), style, marker="o", markersize=4, label=label)


if __name__ == "__main__":
    main()
