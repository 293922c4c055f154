"""What was measured, one JSON file a section, and on what: the page is made of these."""

import json
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs/performance"
# In the order of the page.
SECTIONS = ("reading", "peers", "scale", "polling", "starting", "load")
_PACKAGES = ("boto3", "aws-lambda-powertools", "requests")

type Results = Mapping[str, Any]


def describe_machine() -> dict[str, str]:
    """The machine and the versions; no name and no path of it."""
    return {
        "processor": f"{_count_cores()} × {_processor()}",
        "memory": f"{_memory_gb()} GB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}, {platform.machine()}",
        "python": f"CPython {sys.version.split()[0]}",
        **{name: version(name) for name in _PACKAGES},
    }


def save(section: str, measured: Results, folder: Path = FOLDER) -> None:
    """Keep what a section measured, with the machine and the day."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "measured_on": datetime.now(UTC).date().isoformat(),
        "machine": describe_machine(),
        "results": measured,
    }
    path = folder / f"{section}.json"
    path.write_text(json.dumps(_rounded(document), indent=1, ensure_ascii=False) + "\n", "utf-8")


def load(folder: Path = FOLDER) -> dict[str, Any]:
    """All that was measured, by section; those that never ran are not there."""
    return {
        section: json.loads(path.read_text("utf-8"))
        for section in SECTIONS
        if (path := folder / f"{section}.json").exists()
    }


def load_results(section: str, folder: Path = FOLDER) -> dict[str, Any]:
    """What a section measured the last time; empty if it never ran."""
    results: dict[str, Any] = load(folder).get(section, {}).get("results", {})
    return results


def _rounded(value: Any) -> Any:
    """Four digits are more than any of it is exact to, and a new run changes fewer lines."""
    match value:
        case float():
            return float(f"{value:.4g}")
        case dict():
            return {str(name): _rounded(each) for name, each in value.items()}
        case list() | tuple():
            return [_rounded(each) for each in value]
    return value


def _count_cores() -> int:
    return Path("/proc/cpuinfo").read_text("utf-8").count("\nprocessor") + 1


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gb() -> int:
    line = Path("/proc/meminfo").read_text("ascii").splitlines()[0]
    return round(int(line.split()[1]) / 1e6)
