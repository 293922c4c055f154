"""What a deployment costs a month: `python -m scripts.cost` writes the tables of docs/cost.md.

Prices are in prices.toml. Units are the ceilings that the tests hold the service to, so the truth is lower;
what nobody can know, such as how often clients ask, is an assumption that stands in the table.
"""

import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs/cost.md"
_BEGIN, _END = "<!-- made by `make cost` -->\n", "<!-- end -->\n"

_DAYS = 30
_POLLS_A_DAY = 24 * 12
# Ceilings that tests/integration/test_whole_road.py holds a poll to.
_READ_UNITS_A_POLL = 30
_WRITE_UNITS_A_POLL = 30
_WRITE_UNITS_AN_INCIDENT = 3
# Eight calls of up to 6 s, four at a time, and the poller's own work.
_POLL_SECONDS = 13.0
_MEMORY_GB = 1.0
_REQUEST_SECONDS = 0.05
# Of each item DynamoDB bills 100 bytes more: the incident, its id, its share of a journal entry.
_BYTES_AN_INCIDENT = (351 + 100) + (65 + 100) + 50
_RETENTION_DAYS = 400
_BYTES_A_UNIT = 4096
# Of a page's bytes (tests/integration/test_bounded_pages.py).
_READ_SHARE = 1.25
# The poll's lines and metrics; a request's line and its line in the access log.
_LOG_BYTES_A_POLL = 5_000
_LOG_BYTES_A_REQUEST = 1_500
_LOG_MONTHS = 3


@dataclass(frozen=True, slots=True)
class Size:
    """How much a deployment does: new incidents a day, requests a month, bytes of an answer."""

    name: str
    incidents_a_day: int
    requests: int
    answer_bytes: int


SIZES = (
    Size("as observed", 300, 50_000, 40_000),
    Size("ten times that", 3_000, 500_000, 40_000),
    Size("a large company", 100_000, 5_000_000, 40_000),
)


def read_prices() -> Mapping[str, Any]:
    """Prices by service and what is paid for."""
    return tomllib.loads(Path(__file__).with_name("prices.toml").read_text("utf-8"))


def compute_lines(
    size: Size, prices: Mapping[str, Any], fixed: Mapping[str, int]
) -> Iterator[tuple[str, str, float]]:
    """What is paid for, the arithmetic, and USD a month. ``fixed`` is how many of each there are."""
    polls = _POLLS_A_DAY * _DAYS
    new = size.incidents_a_day * _DAYS
    stored_gb = size.incidents_a_day * _RETENTION_DAYS * _BYTES_AN_INCIDENT / 1e9
    units = size.answer_bytes / _BYTES_A_UNIT * _READ_SHARE
    dynamodb, functions, gateway, logs = (prices[name] for name in ("dynamodb", "lambda", "gateway", "logs"))

    writes = polls * _WRITE_UNITS_A_POLL + new * _WRITE_UNITS_AN_INCIDENT
    yield (
        "DynamoDB writes",
        f"{polls:,} polls × {_WRITE_UNITS_A_POLL} + {new:,} incidents × {_WRITE_UNITS_AN_INCIDENT}",
        writes / 1e6 * dynamodb["million_write_units"],
    )
    reads = polls * _READ_UNITS_A_POLL + new + size.requests * (1 + units)
    yield (
        "DynamoDB reads",
        f"{polls:,} polls × {_READ_UNITS_A_POLL} + {new:,} look-ups"
        f" + {size.requests:,} requests × {1 + units:.1f}",
        reads / 1e6 * dynamodb["million_read_units"],
    )
    yield (
        "DynamoDB storage and backup",
        f"{size.incidents_a_day:,} × {_RETENTION_DAYS} days × {_BYTES_AN_INCIDENT} bytes"
        f" = {stored_gb:.2f} GB",
        stored_gb * (dynamodb["gb_month"] + dynamodb["backup_gb_month"]),
    )
    yield (
        "Lambda, poller",
        f"{polls:,} × {_POLL_SECONDS:g} s × {_MEMORY_GB:g} GB",
        polls * (_POLL_SECONDS * _MEMORY_GB * functions["gb_second"] + functions["million_requests"] / 1e6),
    )
    yield (
        "Lambda, reader",
        f"{size.requests:,} × {_REQUEST_SECONDS:g} s × {_MEMORY_GB:g} GB",
        size.requests
        * (_REQUEST_SECONDS * _MEMORY_GB * functions["gb_second"] + functions["million_requests"] / 1e6),
    )
    yield (
        "API Gateway",
        f"{size.requests:,} requests, {size.answer_bytes:,} bytes each",
        size.requests / 1e6 * gateway["million_requests"]
        + size.requests * size.answer_bytes / 1e9 * gateway["gb_out"],
    )
    log_gb = (polls * _LOG_BYTES_A_POLL + size.requests * _LOG_BYTES_A_REQUEST) / 1e9
    yield (
        "Logs",
        f"{log_gb:.2f} GB, kept {_LOG_MONTHS} months",
        log_gb * (logs["gb_ingested"] + _LOG_MONTHS * logs["gb_month"]),
    )
    yield (
        "Alarms, metrics, dashboard, secret",
        " + ".join(f"{count} × {prices['fixed'][name]:.2f}" for name, count in fixed.items()),
        sum(count * prices["fixed"][name] for name, count in fixed.items()),
    )


def render_tables(fixed: Mapping[str, int]) -> str:
    """The tables of docs/cost.md."""
    prices = read_prices()
    tables = []
    for size in SIZES:
        lines = list(compute_lines(size, prices, fixed))
        tables.append(
            f"### {size.name.capitalize()}: {size.incidents_a_day:,} new incidents a day,"
            f" {size.requests:,} requests a month\n\n| what | arithmetic | USD a month |\n|---|---|---|\n"
            + "".join(f"| {what} | {arithmetic} | {usd:.2f} |\n" for what, arithmetic, usd in lines)
            + f"| **together** | | **{sum(usd for _, _, usd in lines):.2f}** |\n"
        )
    return f"Prices as of {prices['as_of']}.\n\n" + "\n".join(tables)


def replace_tables(page: str, tables: str) -> str:
    """The page with other tables. Raises ValueError if it has no place for them."""
    before, found, rest = page.partition(_BEGIN)
    _, ended, after = rest.partition(_END)
    if not found or not ended:
        raise ValueError(f"docs/cost.md needs the lines {_BEGIN.strip()} and {_END.strip()}")
    return before + _BEGIN + "\n" + tables + "\n" + _END + after


def count_fixed() -> Mapping[str, int]:
    """How many of each thing the template makes that is paid for whether it is used or not."""
    from functions.poller.metrics import METRICS
    from local.template import load_template

    resources = load_template()["Resources"].values()
    kinds = [each["Type"] for each in resources if each.get("Condition") != "HasCanary"]
    return {
        "alarm": kinds.count("AWS::CloudWatch::Alarm"),
        "composite_alarm": kinds.count("AWS::CloudWatch::CompositeAlarm"),
        "metric": len(METRICS),
        "dashboard": kinds.count("AWS::CloudWatch::Dashboard"),
        "secret": kinds.count("AWS::SecretsManager::Secret"),
    }


if __name__ == "__main__":
    PAGE.write_text(replace_tables(PAGE.read_text("utf-8"), render_tables(count_fixed())), "utf-8")
    sys.exit(0)
