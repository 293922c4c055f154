"""docs/cost.md says what the arithmetic gives, of prices, counts and ceilings that are those of the code."""

import re
from pathlib import Path

import pytest

from scripts.cost import PAGE, SIZES, compute_lines, count_fixed, read_prices, render_tables, replace_tables
from tests.stack import Stack

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_arithmetic_gives() -> None:
    """A price, an alarm or a metric more, and the page is made anew (`make cost`)."""
    page = PAGE.read_text("utf-8")
    assert replace_tables(page, render_tables(count_fixed())) == page
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


def test_the_ceilings_are_those_that_the_tests_hold_a_poll_to() -> None:
    """The page says so: a ceiling that moves in the tests moves here."""
    measured = (ROOT / "tests/integration/test_whole_road.py").read_text("utf-8")
    assert "read_units <= 30\n" in measured
    assert "<= 3 * new + 30\n" in measured
    lines = {what: arithmetic for what, arithmetic, _ in compute_lines(SIZES[0], read_prices(), {})}
    assert lines["DynamoDB writes"] == "8,640 polls × 30 + 9,000 incidents × 3"
    assert lines["DynamoDB reads"].startswith("8,640 polls × 30 + ")


def test_a_line_is_its_arithmetic() -> None:
    """Worked out by hand once, for the middle of the three sizes."""
    usd = {what: round(each, 2) for what, _, each in compute_lines(SIZES[1], read_prices(), {"alarm": 17})}
    assert usd["DynamoDB writes"] == round((8640 * 30 + 90_000 * 3) / 1e6 * 0.625, 2) == 0.33
    assert usd["Lambda, poller"] == round(8640 * 13 * 0.0000133334 + 8640 * 0.2 / 1e6, 2) == 1.50
    assert usd["Alarms, metrics, dashboard, secret"] == 1.70
    assert all(each > 0 for each in usd.values())


def test_every_size_adds_up() -> None:
    """The last row of each table is the sum of those above it, to the cent of rounding."""
    for table in render_tables(count_fixed()).split("###")[1:]:
        rows = [float(each) for each in re.findall(r"\| (\d+\.\d\d) \|$", table, re.MULTILINE)]
        (together,) = re.findall(r"\*\*(\d+\.\d\d)\*\* \|$", table, re.MULTILINE)
        assert len(rows) == 8
        assert float(together) == pytest.approx(sum(rows), abs=0.05)
