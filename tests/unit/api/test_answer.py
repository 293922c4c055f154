"""What goes with an answer: how old it is, what it was made from, where the next one is."""

from copy import replace
from urllib.parse import parse_qs

import pytest

from functions.api.answer import CACHE_CONTROL, VARY, Answer, data_headers, link_to_next, validators
from shared.domain.poll_report import PollReport
from shared.store.state import State

NOW = 1_795_413_600.0


def state_of(last_success_at: float | None) -> State:
    return replace(State(), report=PollReport(attempted_at=NOW, last_success_at=last_success_at))


@pytest.mark.parametrize(
    ("last_success_at", "age"), [(NOW, "0"), (NOW - 0.9, "0"), (NOW - 1, "1"), (NOW - 86_400.5, "86400")]
)
def test_age_of_the_data(last_success_at: float, age: str) -> None:
    """Whole seconds since a poll last succeeded."""
    assert data_headers(state_of(last_success_at), now=NOW)["X-Data-Age-Seconds"] == age


def test_age_is_never_negative() -> None:
    """The poller's clock may be a little ahead of the reader's."""
    assert data_headers(state_of(NOW + 5), now=NOW)["X-Data-Age-Seconds"] == "0"


def test_age_of_what_was_never_there() -> None:
    """Before a first success nothing is said of an age; the data are not complete then."""
    assert data_headers(state_of(None), now=NOW) == {"X-Data-Complete": "false"}


def test_validators() -> None:
    """The tag as it is, and the moment of the commit as HTTP writes it."""
    assert validators('W/"x"', "2026-11-23T06:00:00Z") == {
        "ETag": 'W/"x"',
        "Last-Modified": "Mon, 23 Nov 2026 06:00:00 GMT",
    }


def test_link_is_relative_and_escaped() -> None:
    """`<?…>; rel="next"`: right behind any stage or domain; whatever the value is, it comes back whole and
    can't end the address or the header.
    """
    assert link_to_next(cursor="A-_z0") == {"Link": '<?cursor=A-_z0>; rel="next"'}
    for value in ('>; rel="x"', "a b&c=d", "é", "\r\nX-Evil: 1", "%"):
        link = link_to_next(token=value)["Link"]
        assert link.startswith("<?token=")
        address, rest = link[1:].split(">", 1)
        assert rest == '; rel="next"'
        assert parse_qs(address[1:], strict_parsing=True) == {"token": [value]}
        assert link.isprintable()


def test_nobody_between_keeps_data() -> None:
    """An answer is the client's own, and is asked for again each time; it depends on what was accepted."""
    assert set(CACHE_CONTROL.split(", ")) == {"private", "no-cache"}
    assert {"Accept", "Accept-Encoding"} <= set(VARY.split(", "))


def test_an_answer_is_a_200_unless_told() -> None:
    """Status and headers have their defaults; what all answers share, none of them can change."""
    answer = Answer("a", "b")
    assert (answer.status, answer.headers) == (200, {})
    with pytest.raises(TypeError):
        answer.headers["ETag"] = "x"  # type: ignore[index]  # a Mapping has none, and this shows it
