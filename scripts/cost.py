"""What a deployment costs a month: `python -m scripts.cost` writes the tables of docs/cost.md.

Prices are in prices.toml; units, bytes and durations are what `make bench` measured the last time. What
nobody can measure here, such as how often clients ask, is an assumption that stands in the table.
"""

import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import load

PAGE = Path(__file__).parents[1] / "docs/cost.md"
_BEGIN, _END = "<!-- made by `make cost` -->\n", "<!-- end -->\n"

_DAYS = 30
_POLLS_A_DAY = 24 * 12
_MEMORY_GB = 1.0
_RETENTION_DAYS = 400
_LOG_MONTHS = 3
# 1,769 MB of memory are one processor (AWS Lambda Developer Guide); what was measured had one.
_PROCESSORS = 1024 / 1769
# DynamoDB's own time for a small consistent read, and a request's line in the access log: assumed.
_DYNAMODB_SECONDS = 0.005
_ACCESS_LOG_BYTES = 700


@dataclass(frozen=True, slots=True)
class Size:
    """How much a deployment does: new incidents a day, requests a month. Each request is for a first page."""

    name: str
    incidents_a_day: int
    requests: int


SIZES = (
    Size("as observed", 300, 50_000),
    Size("ten times that", 3_000, 500_000),
    Size("a large company", 100_000, 5_000_000),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What `make bench` found out. Units are DynamoDB's; a poll with news writes ``write_units_with_news``
    and ``write_units_an_incident`` for each. An answer is a page of 100 employees.
    """

    read_units_a_poll: float
    write_units_a_poll: float
    write_units_with_news: float
    write_units_an_incident: float
    read_units_an_incident: float
    read_units_a_request: float
    stored_bytes_an_incident: float
    answer_bytes: int
    poll_seconds: float
    request_seconds: float
    log_bytes_a_poll: float
    log_bytes_a_request: float


def read_measured() -> Measured:
    """From docs/performance; raises KeyError where a section was never measured."""
    results = {name: section["results"] for name, section in load().items()}
    sizes = results["scale"]["sizes"]
    largest = sizes[max(sizes, key=int)]
    polls, page = largest["polls"], largest["reads"]["first page"]
    one, many = (polls[new] for new in ("1", "1000"))
    between = many["new"] - one["new"]
    an_incident = (many["write_units"] - one["write_units"]) / between
    polling, starting, reading = results["polling"], results["starting"], results["reading"]
    taken = polling["schedules"][str(polling["default_concurrency"])]["taken_s"]
    warm = starting["emulator"]["reader"]["warm_ms"]["median"] / 1000
    return Measured(
        read_units_a_poll=polls["0"]["read_units"],
        write_units_a_poll=polls["0"]["write_units"],
        write_units_with_news=one["write_units"] - an_incident * one["new"],
        write_units_an_incident=an_incident,
        read_units_an_incident=(many["read_units"] - one["read_units"]) / between,
        read_units_a_request=page["read_units"],
        stored_bytes_an_incident=largest["stored_bytes_an_incident"],
        answer_bytes=page["bytes"],
        poll_seconds=sum(taken) / len(taken),
        request_seconds=warm / _PROCESSORS + page["requests"] * _DYNAMODB_SECONDS,
        log_bytes_a_poll=polling["windows"]["2100"]["steady"]["log_bytes"] + starting["platform_log_bytes"],
        log_bytes_a_request=reading["pages"]["100"]["floors"]["reader"]["log_bytes"]
        + starting["platform_log_bytes"]
        + _ACCESS_LOG_BYTES,
    )


def read_prices() -> Mapping[str, Any]:
    """Prices by service and what is paid for."""
    return tomllib.loads(Path(__file__).with_name("prices.toml").read_text("utf-8"))


def compute_lines(
    size: Size, prices: Mapping[str, Any], fixed: Mapping[str, int], measured: Measured
) -> Iterator[tuple[str, str, float]]:
    """What is paid for, the arithmetic, and USD a month. ``fixed`` is how many of each there are."""
    polls = _POLLS_A_DAY * _DAYS
    new = size.incidents_a_day * _DAYS
    # Never more polls have news than there are news.
    with_news = min(polls, new)
    dynamodb, functions, gateway, logs = (prices[name] for name in ("dynamodb", "lambda", "gateway", "logs"))

    writes = (
        (polls - with_news) * measured.write_units_a_poll
        + with_news * measured.write_units_with_news
        + new * measured.write_units_an_incident
    )
    yield (
        "DynamoDB writes",
        f"{with_news:,} polls with news × {measured.write_units_with_news:.1f}"
        f" + {polls - with_news:,} without × {measured.write_units_a_poll:.0f}"
        f" + {new:,} incidents × {measured.write_units_an_incident:.2f}",
        writes / 1e6 * dynamodb["million_write_units"],
    )
    reads = (
        polls * measured.read_units_a_poll
        + new * measured.read_units_an_incident
        + size.requests * measured.read_units_a_request
    )
    yield (
        "DynamoDB reads",
        f"{polls:,} polls × {measured.read_units_a_poll:.0f}"
        f" + {new:,} incidents × {measured.read_units_an_incident:.2f}"
        f" + {size.requests:,} requests × {measured.read_units_a_request:.0f}",
        reads / 1e6 * dynamodb["million_read_units"],
    )
    stored_gb = size.incidents_a_day * _RETENTION_DAYS * measured.stored_bytes_an_incident / 1e9
    yield (
        "DynamoDB storage and backup",
        f"{size.incidents_a_day:,} × {_RETENTION_DAYS} days × {measured.stored_bytes_an_incident:.0f} bytes"
        f" = {stored_gb:.2f} GB",
        stored_gb * (dynamodb["gb_month"] + dynamodb["backup_gb_month"]),
    )
    for name, count, seconds in (
        ("poller", polls, measured.poll_seconds),
        ("reader", size.requests, measured.request_seconds),
    ):
        yield (
            f"Lambda, {name}",
            f"{count:,} × {seconds:.3g} s × {_MEMORY_GB:g} GB",
            count * (seconds * _MEMORY_GB * functions["gb_second"] + functions["million_requests"] / 1e6),
        )
    yield (
        "API Gateway",
        f"{size.requests:,} requests, {measured.answer_bytes:,} bytes each",
        size.requests / 1e6 * gateway["million_requests"]
        + size.requests * measured.answer_bytes / 1e9 * gateway["gb_out"],
    )
    log_gb = (polls * measured.log_bytes_a_poll + size.requests * measured.log_bytes_a_request) / 1e9
    yield (
        "Logs",
        f"{polls:,} × {measured.log_bytes_a_poll:,.0f} bytes"
        f" + {size.requests:,} × {measured.log_bytes_a_request:,.0f} = {log_gb:.2f} GB,"
        f" kept {_LOG_MONTHS} months",
        log_gb * (logs["gb_ingested"] + _LOG_MONTHS * logs["gb_month"]),
    )
    yield (
        "Alarms, metrics, dashboard, secret",
        " + ".join(f"{count} × {prices['fixed'][name]:.2f}" for name, count in fixed.items()),
        sum(count * prices["fixed"][name] for name, count in fixed.items()),
    )


def render_tables(fixed: Mapping[str, int], measured: Measured) -> str:
    """The tables of docs/cost.md."""
    prices = read_prices()
    tables = []
    for size in SIZES:
        lines = list(compute_lines(size, prices, fixed, measured))
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


def write_page() -> None:
    """Make docs/cost.md anew."""
    tables = render_tables(count_fixed(), read_measured())
    PAGE.write_text(replace_tables(PAGE.read_text("utf-8"), tables), "utf-8")


if __name__ == "__main__":
    write_page()
    sys.exit(0)
