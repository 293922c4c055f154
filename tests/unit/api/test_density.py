"""How much is read for a page follows what pages held; the odd employee does not count."""

import random
from math import ceil

import pytest

from functions.api.density import Density
from functions.api.page import row_size, rows_size
from shared.store.incidents import StoredIncident


def counts(incidents_each: float) -> list[int]:
    """Of 100 employees, those of a page: on average so many."""
    return [int((number + 1) * incidents_each) - int(number * incidents_each) for number in range(100)]


def taught(incidents_each: float, *, json_bytes: int = 180, pages: int = 20) -> Density:
    density = Density()
    for _ in range(pages):
        density.learn(counts(incidents_each))
        density.learn_sizes([StoredIncident("key", "low", "x" * json_bytes)] * round(100 * incidents_each))
    return density


@pytest.mark.parametrize("incidents_each", [1, 1.22, 1.73, 8, 50])
@pytest.mark.parametrize("employees", [101, 501])
def test_a_request_is_for_what_is_likely(incidents_each: float, employees: int) -> None:
    """It is no less than 100 employees and more are likely to have, and little more: to the end of a unit."""
    items = taught(incidents_each).items_of(employees)
    units = employees * incidents_each * (180 + 142) / 4096
    assert 1 <= items / (employees * incidents_each) <= 1.05 + 1 / units


@pytest.mark.parametrize("json_bytes", [100, 180, 700, 3_000])
def test_a_request_fills_its_read_units(json_bytes: int) -> None:
    """What is paid for is read: but for a tenth, and the item that would not fit any more."""
    item_bytes = json_bytes + 142
    for employees in range(1, 200, 7):
        units = taught(1.5, json_bytes=json_bytes).items_of(employees) * item_bytes / 4096
        assert units + item_bytes / 4096 >= 0.9 * ceil(units)


def test_few_employees_with_very_many_incidents_make_no_difference() -> None:
    """Where one page in six has an employee of 10,000, the others are read as if there were none."""
    dice, density, without = random.Random(1), taught(1.5), taught(1.5)  # noqa: S311 - no secret
    for _ in range(60):
        density.learn([10_000 if dice.random() < 1 / 6 else 1, *counts(1.5)[1:]])
        without.learn(counts(1.5))
    assert density.items_of(101) == without.items_of(101)


@pytest.mark.parametrize("very_many", [100, 3_000, 1_000_000])
def test_one_employee_on_every_page_makes_little_difference(very_many: int) -> None:
    """The reader may be asked for hardly anything but first pages, and they are all the same."""
    density = taught(1.5)
    for _ in range(100):
        density.learn([very_many, *counts(1.5)[1:]])
    assert density.items_of(101) <= 1.15 * taught(1.5, pages=100).items_of(101)


@pytest.mark.parametrize("incidents_each", [50, 500])
def test_where_all_have_more_it_is_learned_soon(incidents_each: int) -> None:
    """After an incident that strikes everybody: within some dozen pages."""
    density = taught(1.5)
    for _ in range(50):
        density.learn([incidents_each] * 100)
    assert density.items_of(101) >= 0.95 * 101 * incidents_each


def test_small_pages_count_together() -> None:
    """A hundred pages of one employee each say as much as one page of a hundred."""
    small, large = Density(), Density()
    for _ in range(10):
        for number in range(100):
            small.learn([3 if number % 2 else 1])
        large.learn([1, 3] * 50)
    assert small.items_of(101) == large.items_of(101)


def test_rows_are_measured_together_as_one_by_one() -> None:
    """The size of many rows is the sum of theirs: pages are cut by either."""
    rows = ['{"id":"a"}', '{"path":"C:\\\\x"}', "", "1"]
    for count in range(len(rows) + 1):
        assert rows_size(rows[:count]) == sum(map(row_size, rows[:count]))
