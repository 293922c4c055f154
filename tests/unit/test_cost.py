"""docs/cost.md says what the arithmetic gives, of prices, counts, and what was measured."""

import re
from pathlib import Path

import pytest

from scripts.cost import (
    PAGE,
    SIZES,
    Measured,
    Size,
    compute_lines,
    count_fixed,
    read_measured,
    read_prices,
    render_tables,
    replace_tables,
)
from tests.stack import Stack

ROOT = Path(__file__).parents[2]


# As if measured.
MEASURED = Measured(
    read_units_a_poll=13,
    write_units_a_poll=3,
    write_units_with_news=12,
    write_units_an_incident=2,
    read_units_an_incident=1,
    read_units_a_request=14,
    stored_bytes_an_incident=700,
    answer_bytes=40_000,
    poll_seconds=7,
    request_seconds=0.02,
    log_bytes_a_poll=3_000,
    log_bytes_a_request=1_000,
)


def test_the_page_is_what_the_arithmetic_gives() -> None:
    """A price, an alarm or a metric more, or another run of `make bench`, and the page is made anew
    (`make cost`).
    """
    page = PAGE.read_text("utf-8")
    assert replace_tables(page, render_tables(count_fixed(), read_measured())) == page
    assert replace_tables(page, "else") != page
    with pytest.raises(ValueError, match="needs the lines"):
        replace_tables("# No place", "")


def test_what_is_paid_for_day_and_night_is_what_a_deployment_makes() -> None:
    """Counted in a stack as the defaults make it: what is off costs nothing."""
    stack = Stack()
    kinds = {
        "alarm": "AWS::CloudWatch::Alarm",
        "composite_alarm": "AWS::CloudWatch::CompositeAlarm",
        "dashboard": "AWS::CloudWatch::Dashboard",
        "secret": "AWS::SecretsManager::Secret",
    }
    fixed = count_fixed()
    assert {name: fixed[name] for name in kinds} == {
        name: len(stack.of_type(it)) for name, it in kinds.items()
    }
    assert fixed.keys() == read_prices()["fixed"].keys()


def test_what_was_measured_is_under_the_ceilings_that_the_tests_hold_a_poll_to() -> None:
    """What is paid for is what a poll really does, and never more than it may."""
    tested = (ROOT / "tests/integration/test_whole_road.py").read_text("utf-8")
    assert "read_units <= 30\n" in tested
    assert "<= 3 * new + 30\n" in tested
    measured = read_measured()
    assert 0 < measured.read_units_a_poll <= 30
    assert 0 < measured.write_units_a_poll <= 3
    assert 0 < measured.write_units_with_news <= 30
    # Three items where all are of different employees, and a share of the journal's entry.
    assert 2 <= measured.write_units_an_incident <= 3.06
    assert measured.request_seconds < measured.poll_seconds < 240


def test_a_line_is_its_arithmetic() -> None:
    """Worked out by hand once, for the middle of the three sizes."""
    lines = list(compute_lines(SIZES[1], read_prices(), {"alarm": 17}, MEASURED))
    usd = {what: round(each, 2) for what, _, each in lines}
    assert usd["DynamoDB writes"] == round((8640 * 12 + 90_000 * 2) / 1e6 * 0.625, 2) == 0.18
    assert usd["DynamoDB reads"] == round((8640 * 13 + 90_000 + 500_000 * 14) / 1e6 * 0.125, 2) == 0.90
    assert usd["Lambda, poller"] == round(8640 * 7 * 0.0000133334 + 8640 * 0.2 / 1e6, 2) == 0.81
    assert usd["Logs"] == round((8640 * 3e3 + 500_000 * 1e3) / 1e9 * (0.50 + 3 * 0.03), 2) == 0.31
    assert usd["Alarms, metrics, dashboard, secret"] == 1.70
    assert all(each > 0 for each in usd.values())


def test_polls_without_news_write_less() -> None:
    """With fewer incidents than polls, no more polls have news than there are incidents."""
    rare = Size("rare", incidents_a_day=100, requests=1)
    lines = {what: usd for what, _, usd in compute_lines(rare, read_prices(), {}, MEASURED)}
    assert lines["DynamoDB writes"] == pytest.approx((5_640 * 3 + 3_000 * 12 + 3_000 * 2) / 1e6 * 0.625)


def test_every_size_adds_up() -> None:
    """The last row of each table is the sum of those above it, to the cent of rounding."""
    for table in render_tables(count_fixed(), MEASURED).split("###")[1:]:
        rows = [float(each) for each in re.findall(r"\| (\d+\.\d\d) \|$", table, re.MULTILINE)]
        (together,) = re.findall(r"\*\*(\d+\.\d\d)\*\* \|$", table, re.MULTILINE)
        assert len(rows) == 8
        assert float(together) == pytest.approx(sum(rows), abs=0.05)
