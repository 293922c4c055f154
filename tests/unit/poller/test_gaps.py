"""A gap between two polls is never silent, and what only looks like one is not told."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.poller.gaps import may_have_missed
from shared.domain.exact_json import JsonValue, parse
from shared.domain.poll_report import SourceReport
from shared.domain.retention import Retention
from shared.domain.window import Window, sort_out

NOW = 1_795_413_600.0
WEEK = 7 * 86_400


def served(numbers: Iterable[int], *, rubbish: int = 0, later: float = 0.0) -> JsonValue:
    """Records number n, of n seconds after the beginning of time here; from 300 on ``later`` by so much."""
    moments = {number: NOW - 10**6 + number + (later if number >= 300 else 0) for number in numbers}
    records = [
        f'{{"employee_id":{abs(number)},"priority":"low","timestamp":{moment}}}'
        for number, moment in moments.items()
    ]
    records += ["null"] * rubbish
    return parse(f'{{"results":[{",".join(records)}]}}')


def window(numbers: Iterable[int], *, rubbish: int = 0, retention: Retention | None = None) -> Window:
    """What a poll makes of them now."""
    return sort_out("misuse", served(numbers, rubbish=rubbish), now=NOW, retention=retention or Retention(0))


def taken(before: Window, *, ago: float = 300.0) -> SourceReport:
    return SourceReport("fresh", before.records, last_success_at=NOW - ago, newest=before.newest())


@pytest.mark.parametrize(
    ("before", "after", "missed"),
    [
        (range(300), range(300), False),
        (range(300), range(299, 599), False),
        (range(300), range(297, 597), False),
        (range(300), range(300, 600), True),
        (range(300), range(10**5, 10**5 + 300), True),
        (range(300), range(300, 599), False),
        (range(20), range(20, 40), True),
        (range(19), range(19, 38), False),
        (range(0), range(300), False),
        (range(300), range(0), False),
    ],
)
def test_a_full_window_without_the_newest_known_ones(before: range, after: range, missed: bool) -> None:
    """A gap is possible when a full window holds none of the newest records of the last one."""
    assert may_have_missed(taken(window(before)), window(after), now=NOW) is missed


def test_a_record_that_was_taken_back_is_no_gap() -> None:
    """The upstream may drop its newest record; the ones just before it still tell that the window goes on."""
    before = taken(window(range(300)))
    assert not may_have_missed(before, window([*range(1, 299), 400, 401]), now=NOW)


def test_full_is_no_smaller_than_the_last_one() -> None:
    """A quiet source whose few records have all been replaced is not full; one answer that was far too large
    blinds no longer than for the next one.
    """
    assert not may_have_missed(taken(window(range(3))), window(range(5, 10)), now=NOW)
    doubled = window(range(300), rubbish=300)
    assert doubled.records == 600
    assert not may_have_missed(taken(doubled), window(range(300, 600)), now=NOW)
    assert may_have_missed(taken(window(range(300, 600))), window(range(600, 900)), now=NOW)


@pytest.mark.parametrize(("ago", "missed"), [(WEEK - 1, False), (WEEK, True), (10 * WEEK, True)])
@pytest.mark.parametrize("after", [range(0), range(5, 8)])
def test_a_source_that_was_away_for_as_long_as_it_remembers(ago: float, missed: bool, after: range) -> None:
    """After a week without it, few new records or none may be the rest of many."""
    assert may_have_missed(taken(window(range(3)), ago=ago), window(after), now=NOW) is missed


def test_what_was_never_taken_can_have_no_gap() -> None:
    """The first window of all goes on from nothing."""
    assert not may_have_missed(SourceReport(), window(range(300)), now=NOW)


def test_what_has_grown_too_old_is_known_still() -> None:
    """A window whose known records are past the retention by now goes on from the last one all the same; one
    old record that it never had before does not hide a gap.
    """
    short = Retention(12)
    before = taken(window(range(300), retention=short))
    # Record number n is 11.6 days old; a day later all of them are too old.
    later = sort_out("misuse", served([*range(299, 400)], later=86_400), now=NOW + 86_400, retention=short)
    assert later.too_old > 0
    assert not may_have_missed(before, later, now=NOW + 86_400)
    old = -5 * 10**5
    after = window([old, *range(300, 600)], retention=short)
    assert after.too_old == 1
    assert may_have_missed(before, after, now=NOW)


def test_rubbish_in_place_of_everything_known_may_hide_incidents() -> None:
    """A full window of nothing but rejected records holds none of the known ones."""
    assert may_have_missed(taken(window(range(300))), window([], rubbish=300), now=NOW)


@settings(max_examples=100, deadline=None)
@given(st.integers(20, 60), st.lists(st.integers(0, 90), min_size=1, max_size=12))
def test_every_gap_of_a_rolling_window_is_told_and_nothing_else(size: int, steps: list[int]) -> None:
    """A window of the newest records that rolls on by any number of them: told just when a record was never
    in any window.
    """
    start = 0
    report = taken(window(range(size)))
    for step in steps:
        start += step
        after = window(range(start, start + size))
        # With a step of the size itself nothing is missed, but nothing tells that.
        assert may_have_missed(report, after, now=NOW) is (step >= size)
        report = taken(after)
