"""One employee's incidents by priority: always the same shape, filled with what came in."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.grouping import EmployeeGroup, render_groups
from shared.domain.incident import PRIORITIES


def group(employee_id: str, incidents: list[tuple[str, str]]) -> EmployeeGroup:
    made = EmployeeGroup(employee_id)
    for priority, incident in incidents:
        made.add(priority, incident)
    return made


def test_shape_of_one_employee() -> None:
    """The form of the contract: four priorities in order, zero counts included."""
    made = group("4506", [("medium", '{"id":"a","timestamp":1.50}'), ("critical", "1"), ("medium", "2")])
    assert render_groups([made]) == (
        '{"4506":{"low":{"count":0,"incidents":[]},'
        '"medium":{"count":2,"incidents":[{"id":"a","timestamp":1.50},2]},'
        '"high":{"count":0,"incidents":[]},'
        '"critical":{"count":1,"incidents":[1]}}}'
    )
    assert render_groups([]) == "{}"


@settings(deadline=None, max_examples=150)
@given(
    st.dictionaries(
        st.integers(0, 10**20 - 1).map(str),
        st.lists(st.tuples(st.sampled_from(PRIORITIES), st.integers(0, 10**40).map(str)), max_size=40),
        max_size=5,
    )
)
def test_groups_hold_what_came_in_in_its_order(taken: dict[str, list[tuple[str, str]]]) -> None:
    """Employees and incidents keep the order they came in; each count is that of the list beside it."""
    groups = [group(employee_id, incidents) for employee_id, incidents in taken.items()]
    answer = json.loads(render_groups(groups))
    assert list(answer) == list(taken)
    for employee_id, incidents in taken.items():
        assert list(answer[employee_id]) == list(PRIORITIES)
        for priority, shown in answer[employee_id].items():
            expected = [int(incident) for each, incident in incidents if each == priority]
            assert shown == {"count": len(expected), "incidents": expected}
    for each in groups:
        # Pages are cut by this size: it may be off by what surrounds the incidents, never by how many.
        assert abs(each.size - len(each.render())) < 32


@pytest.mark.parametrize("incidents", [0, 1, 10_000])
def test_size_stays_true_however_many_incidents(incidents: int) -> None:
    """The size that pages are cut by does not drift as a group grows."""
    made = group("9" * 20, [("low", '{"id":"x"}')] * incidents)
    assert abs(made.size - len(made.render())) < 32


def test_unknown_priority_is_not_swallowed() -> None:
    """An incident that fits in no group raises, rather than vanish from the answer."""
    with pytest.raises(KeyError):
        EmployeeGroup("1").add("urgent", "{}")
