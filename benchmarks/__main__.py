"""`make bench`: measure, keep what was measured, and make the pages of it.

`python -m benchmarks` measures all sections, `python -m benchmarks reading scale` those; without measuring
anything `python -m benchmarks page` makes the pages anew. `--large` adds what takes long.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks import peers, polling, reading, scale, starting
from benchmarks.page import PAGE, render_page
from benchmarks.results import SECTIONS, load, save
from local.processes import PROJECT_PATH
from local.terminal import say
from scripts.cost import write_page as write_cost

_BENCH_PYTHON = PROJECT_PATH / ".tools/bench/bin/python"


def main(arguments: Sequence[str]) -> int:
    """Run the sections; the exit status is 0."""
    options = parse_arguments(arguments)
    runs = _sections(large=options.large)
    for name in options.sections:
        if name in runs:
            began = time.monotonic()
            say(f"measuring: {name} …")
            earlier = load().get(name)
            for measured in runs[name]():
                save(name, _keep_large(earlier, measured))
            say(f"  {time.monotonic() - began:.0f} s")
    make_pages()
    return 0


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """``sections``, all if none is named, and ``large``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    # The load has a command of its own.
    measurable = [name for name in SECTIONS if name != "load"]
    parser.add_argument("sections", nargs="*", metavar="section", help=f"{', '.join(measurable)}, or page")
    parser.add_argument(
        "--large", action="store_true", help="also 1,000,000 incidents, and windows of 700,000"
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.sections) - {*measurable, "page"}:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    options.sections = options.sections or measurable
    return options


def make_pages() -> None:
    """docs/performance.md with its pictures, and docs/cost.md, of all that was ever measured."""
    subprocess.run([_BENCH_PYTHON, "-m", "benchmarks.plots"], cwd=PROJECT_PATH, check=True)  # noqa: S603 - ours
    results = load()
    PAGE.write_text(render_page(results), "utf-8")
    if set(SECTIONS) <= results.keys():
        write_cost()
    say(f"written: {PAGE.relative_to(PROJECT_PATH)}, docs/cost.md")


def _keep_large(earlier: dict[str, Any] | None, measured: dict[str, Any]) -> dict[str, Any]:
    """What takes long stays from the last time that it was measured, and says when that was."""
    for kind, large in (("sizes", scale.LARGE), ("windows", polling.LARGE)):
        if earlier and kind in measured and large not in measured[kind]:
            kept = earlier["results"].get(kind, {}).get(str(large))
            if kept:
                measured[kind][large] = {"measured_on": earlier["measured_on"], **kept}
    return measured


def _sections(*, large: bool) -> Mapping[str, Callable[[], Iterable[dict[str, Any]]]]:
    """What measures each section: it gives out what it has, once or more often, the last one is all of it."""
    sizes = (*scale.SIZES, scale.LARGE) if large else scale.SIZES
    windows = (*polling.WINDOWS, polling.LARGE) if large else polling.WINDOWS
    return {
        "reading": lambda: [reading.run()],
        "peers": lambda: [peers.run()],
        "scale": lambda: scale.run(sizes),
        "polling": lambda: polling.run(windows),
        "starting": lambda: [starting.run()],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
