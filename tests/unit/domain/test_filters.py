"""Filters are values: equal ones are one, and they come back from a cursor as they went in."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.filters import NO_FILTERS, Filters
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES

moments = st.none() | st.from_regex(r"[0-9]{1,10}(\.[0-9]{1,7})?", fullmatch=True)
any_filters = st.builds(
    Filters,
    st.lists(st.sampled_from(PRIORITIES), unique=True).map(tuple),
    st.lists(st.sampled_from(INCIDENT_TYPES), unique=True).map(tuple),
    moments,
    moments,
)


@settings(deadline=None)
@given(any_filters)
def test_they_come_back_through_json(filters: Filters) -> None:
    """What a cursor carries says just what was asked for, since and until at the moment 0 included."""
    back = Filters.from_json(json.loads(json.dumps(filters.to_json())))
    assert back == filters
    assert hash(back) == hash(filters)


def test_only_what_is_set_is_written() -> None:
    """A cursor without filters is no longer for them; one with all has them under these names for good."""
    assert NO_FILTERS.to_json() == Filters().to_json() == {}
    assert Filters(since="0").to_json() == {"s": "0"}
    assert Filters(("low", "high"), ("other",), "1.5", "2").to_json() == {
        "p": ["low", "high"],
        "t": ["other"],
        "s": "1.5",
        "u": "2",
    }


@pytest.mark.parametrize(
    "one", [Filters(("low",)), Filters(types=("denial",)), Filters(since="1"), Filters(until="1")]
)
def test_each_filter_makes_a_difference(one: Filters) -> None:
    """Filters that differ in anything are different values: a cursor is bound to each of them."""
    assert one != NO_FILTERS
    others = [
        Filters(("low",)), Filters(("high",)), Filters(("low", "high")), Filters(types=("denial",)),
        Filters(types=("misuse",)), Filters(since="1"), Filters(since="2"), Filters(until="1"), NO_FILTERS,
    ]  # fmt: skip
    assert [each for each in others if each == one] == [one]


def test_they_can_not_be_changed() -> None:
    """They are keys of what is under way: nobody changes them in passing."""
    with pytest.raises(AttributeError):
        NO_FILTERS.since = "1"  # type: ignore[misc]  # refused, which is the test
    assert Filters((), (), None, None) == NO_FILTERS
