"""Counts by day and who is on top, and the forms in which they are stored."""

from hypothesis import given
from hypothesis import strategies as st

from functions.api import parameters
from shared.domain.employee_summary import (
    CountedIncident,
    add_incidents,
    first_day_counted,
    kind_of,
    priority_of,
    type_of,
)
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES
from shared.domain.overview import Basis, DayCounts, Ranked, has_basis, name_of
from shared.domain.retention import Retention
from shared.domain.risk import DEFAULT_SCALE
from shared.store.employees import pack_counts, unpack_counts
from shared.store.overviews import pack_days, pack_top, unpack_days, unpack_top
from shared.store.packing import pack, unpack

COUNTS = st.integers(0, 10**6)
DAYS = st.dictionaries(
    st.integers(0, 120_000),
    st.builds(DayCounts, st.tuples(*[COUNTS] * 4), st.tuples(*[COUNTS] * 7), COUNTS),
    max_size=20,
)
TOP = st.lists(
    st.builds(Ranked, st.integers(0, 2**70), st.integers(0, 10**20 - 1).map(str), st.integers(0, 120_000)),
    max_size=30,
)


@given(numbers=st.lists(st.integers(0, 2**80)))
def test_numbers_come_back(numbers: list[int]) -> None:
    """Of any size."""
    assert list(unpack(pack(numbers))) == numbers


@given(days=DAYS)
def test_days_come_back(days: dict[int, DayCounts]) -> None:
    """Also none, and days far apart."""
    assert unpack_days(pack_days(days)) == days


@given(top=TOP)
def test_those_on_top_come_back(top: list[Ranked]) -> None:
    """In their order; ids of twenty digits, too."""
    ordered = tuple(sorted(top, key=lambda each: each.place))
    assert unpack_top(pack_top(ordered)) == ordered


@given(
    counts=st.dictionaries(
        st.tuples(st.integers(0, 120_000), st.integers(0, 27)), st.integers(1, 10**6), max_size=30
    )
)
def test_counts_come_back(counts: dict[tuple[int, int], int]) -> None:
    """By day and kind."""
    assert unpack_counts(pack_counts(counts)) == counts


def test_priority_and_type_are_one_number() -> None:
    """Which is stored, and stays what it is."""
    both = [(priority, type) for priority in PRIORITIES for type in INCIDENT_TYPES]
    kinds = [kind_of(CountedIncident(priority, type, "0")) for priority, type in both]
    assert kinds == list(range(28))
    assert [(priority_of(kind), type_of(kind)) for kind in (0, 6, 7, 27)] == [
        ("low", "denial"),
        ("low", "other"),
        ("medium", "denial"),
        ("critical", "other"),
    ]


def test_a_name_tells_the_basis() -> None:
    """A poll compares it with what it was told; stored text, which stays."""
    basis = Basis(DEFAULT_SCALE, Retention(400))
    assert name_of(3, basis) == "3:1,3,7,15/30/400"
    assert has_basis("3:1,3,7,15/30/400", basis)
    assert not has_basis("3:1,3,7,15/30/0", basis)
    assert not has_basis("", basis)
    assert Basis.from_text(basis.to_text()) == basis


def test_what_is_long_ago_has_no_day_where_all_is_kept() -> None:
    """So that an employee's item stays small; the counts are in it all the same."""
    now = 4_000_060_800
    incidents = [
        CountedIncident("low", "other", str(now - days * 86_400)) for days in (0, 402, 403, 500, 1_000)
    ]
    added = add_incidents(None, incidents, scale=DEFAULT_SCALE, retention=Retention(0), moment=now)
    assert added
    today = now // 86_400
    assert added[0].counts == {(today, 6): 1, (today - 402, 6): 1, (0, 6): 3}
    assert added[0].by_priority(0)["low"] == 5


def test_as_many_days_are_kept_as_can_be_asked_for() -> None:
    """And two more, for clocks that differ."""
    now = 4_000_060_800
    assert first_day_counted(Retention(0), now) == now // 86_400 - parameters.MAX_DAYS - 2
