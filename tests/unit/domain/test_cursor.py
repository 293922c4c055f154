"""A cursor takes its walk on, for the route and the filters that it was given out for.

That nobody else can make one is in test_signing.py.
"""

import json
from collections.abc import Callable
from copy import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.cursor import (
    CURSOR_SECONDS,
    Cursor,
    ExpiredCursorError,
    InvalidCursorError,
    MismatchedCursorError,
    open_cursor,
    sign_cursor,
)
from shared.domain.filters import Filters
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES
from shared.domain.signing import MAX_SIGNED_CHARACTERS, SigningKey, sign, verify

BEGAN = 1_795_415_000
KEY = SigningKey(bytes.fromhex("01020304"), bytes(range(32)))
FILTERS = Filters(("high", "critical"), ("probing",), "1500000000.1234567", "1800000000")
CURSOR = Cursor(
    route="/incidents",
    filters=FILTERS,
    snapshot=42,
    committed_at="2026-11-23T06:00:00Z",
    complete=True,
    as_of=1_795_413_600,
    go_on_from="00000000000000004506$",
    counts={"low": 0, "high": 12_345},
    limit=100,
    began_at=BEGAN,
)
TEXT = sign_cursor(CURSOR, KEY)
# What version 0.1.0 gave out.
OF_VERSION_0_1_0 = (
    "AQIDBCKPTKEz3e2kxopIjSXpj61D1l1Aip8Ja9FLvrHB90yUWyJpbmNpZGVudHMiLDQyLCIyMDI2LTExLTIzVDA2OjAwOjAwWiIs"
    "dHJ1ZSwxNzk1NDEzNjAwLCIwMDAwMDAwMDAwMDAwMDAwNDUwNiQiLDEwMCwxNzk1NDE1MDAwXQ"
)
# What the version after that gives out: from here on a deployment must not break the walks under way.
GOLDEN = (
    "AQIDBEgKETjH__MzZmhA5V5EA7qyIWRw2nm7ISWQxXZIG7TbeyJyIjoiL2luY2lkZW50cyIsImYiOnsicCI6WyJoaWdoIiwiY3Jp"
    "dGljYWwiXSwidCI6WyJwcm9iaW5nIl0sInMiOiIxNTAwMDAwMDAwLjEyMzQ1NjciLCJ1IjoiMTgwMDAwMDAwMCJ9LCJxIjo0Miwi"
    "YyI6IjIwMjYtMTEtMjNUMDY6MDA6MDBaIiwiayI6dHJ1ZSwiYSI6MTc5NTQxMzYwMCwiZyI6IjAwMDAwMDAwMDAwMDAwMDA0NTA2"
    "JCIsIm4iOnsibG93IjowLCJoaWdoIjoxMjM0NX0sImwiOjEwMCwiYiI6MTc5NTQxNTAwMH0"
)

decimals = st.from_regex(r"[0-9]{1,10}(\.[0-9]{1,6}[1-9])?", fullmatch=True)
any_filters = st.builds(
    Filters,
    st.lists(st.sampled_from(PRIORITIES), unique=True).map(tuple),
    st.lists(st.sampled_from(INCIDENT_TYPES), unique=True).map(tuple),
    st.none() | decimals,
    st.none() | decimals,
)
any_cursor = st.builds(
    Cursor,
    route=st.text(max_size=40),
    filters=any_filters,
    snapshot=st.integers(0, 10**20),
    committed_at=st.text(max_size=20),
    complete=st.booleans(),
    as_of=st.integers(0, 10**10),
    go_on_from=st.text(max_size=60),
    counts=st.none() | st.dictionaries(st.sampled_from(PRIORITIES), st.integers(0, 10**9)),
    limit=st.integers(1, 500),
    began_at=st.integers(0, 10**10),
)


def find_key(key_id: bytes) -> SigningKey | None:
    return KEY if key_id == KEY.id else None


def reopen(
    text: str, *, route: str = "/incidents", filters: Filters = FILTERS, now: float = BEGAN + 1.0
) -> Cursor:
    return open_cursor(text, find_key=find_key, route=route, filters=filters, now=now)


@settings(deadline=None, max_examples=300)
@given(any_cursor)
def test_cursor_comes_back_as_it_was(cursor: Cursor) -> None:
    """A client hands the very same walk back, every value with its type; filters sent again or left out."""
    text = sign_cursor(cursor, KEY)
    for filters in (cursor.filters, Filters()):
        opened = reopen(text, route=cursor.route, filters=filters, now=cursor.began_at)
        assert opened == cursor
        for name in Cursor._fields:
            assert type(getattr(opened, name)) is type(getattr(cursor, name)), name


def test_golden_cursor() -> None:
    """The form of a cursor outlives deployments: one that was given out today opens tomorrow."""
    assert reopen(GOLDEN) == CURSOR
    assert sign_cursor(CURSOR, KEY) == GOLDEN


def test_the_largest_cursor_can_be_sent_back() -> None:
    """With every filter set, the longest employee id and the largest numbers, it is not too long to open."""
    largest = Cursor(
        route=f"/employees/{'9' * 20}/incidents",
        filters=Filters(PRIORITIES, INCIDENT_TYPES, "9999999998.9999999", "9999999999.9999999"),
        snapshot=10**20 - 1,
        committed_at="9999-12-31T23:59:59Z",
        complete=False,
        as_of=253_402_300_799,
        go_on_from=f"{'9' * 20}#9999999999.9999999#{'f' * 32}!",
        counts=dict.fromkeys(PRIORITIES, 10**12),
        limit=500,
        began_at=253_402_300_799,
    )
    text = sign_cursor(largest, KEY)
    assert len(text) < MAX_SIGNED_CHARACTERS / 2
    assert reopen(text, route=largest.route, filters=largest.filters, now=largest.began_at) == largest


@pytest.mark.parametrize(
    "route",
    [
        "",
        "/incident",
        "/incidents/",
        "/Incidents",
        "incidents",
        "/employees/1/incidents",
        "/incidents?a=b",
        "é",
    ],
)
@pytest.mark.parametrize("filters", [FILTERS, Filters()], ids=["same filters", "alone"])
def test_cursor_is_bound_to_its_route(route: str, filters: Filters) -> None:
    """At another route a good cursor is a mismatch: it is ours, but not of this walk."""
    with pytest.raises(MismatchedCursorError):
        reopen(TEXT, route=route, filters=filters)


def test_one_employees_cursor_opens_no_others() -> None:
    """A cursor of one employee's incidents leads to no other employee's."""
    text = sign_cursor(replace(CURSOR, route="/employees/12/incidents"), KEY)
    assert reopen(text, route="/employees/12/incidents").snapshot == 42
    for other in ("/employees/1/incidents", "/employees/123/incidents", "/incidents"):
        with pytest.raises(MismatchedCursorError):
            reopen(text, route=other)


OTHER_FILTERS = {
    "one priority less": replace(FILTERS, priorities=("high",)),
    "one more": replace(FILTERS, priorities=("medium", "high", "critical")),
    "no priority": replace(FILTERS, priorities=()),
    "another type": replace(FILTERS, types=("other",)),
    "no type": replace(FILTERS, types=()),
    "later": replace(FILTERS, since="1500000000.1234568"),
    "no since": replace(FILTERS, since=None),
    "earlier": replace(FILTERS, until="1799999999"),
    "no until": replace(FILTERS, until=None),
    "only since": Filters(since=FILTERS.since),
    "only until": Filters(until=FILTERS.until),
    "bounds swapped": replace(FILTERS, since=FILTERS.until, until=FILTERS.since),
}


@pytest.mark.parametrize("filters", OTHER_FILTERS.values(), ids=OTHER_FILTERS)
def test_cursor_is_bound_to_its_filters(filters: Filters) -> None:
    """With filters of its first page or none it goes on, with those; with any other it is a mismatch."""
    assert reopen(TEXT, filters=Filters()).filters == reopen(TEXT, filters=FILTERS).filters == FILTERS
    with pytest.raises(MismatchedCursorError, match="send it alone"):
        reopen(TEXT, filters=filters)
    # Nor do filters come into a walk that had none.
    unfiltered = sign_cursor(replace(CURSOR, filters=Filters()), KEY)
    assert reopen(unfiltered, filters=Filters()).filters == Filters()
    with pytest.raises(MismatchedCursorError):
        reopen(unfiltered, filters=filters)


@settings(deadline=None, max_examples=200)
@given(any_filters, any_filters)
def test_only_equal_filters_or_none(own: Filters, sent: Filters) -> None:
    """Whatever a walk was filtered by: the same or nothing goes on with it, all else is refused."""
    text = sign_cursor(replace(CURSOR, filters=own), KEY)
    if sent in (own, Filters()):
        assert reopen(text, filters=sent).filters == own
    else:
        with pytest.raises(MismatchedCursorError):
            reopen(text, filters=sent)


def test_cursor_lasts_24_hours_from_the_beginning_of_its_walk() -> None:
    """Good for 24 hours to the second, and then gone for good rather than invalid."""
    for age in (0, -5, 1, CURSOR_SECONDS - 0.001, CURSOR_SECONDS):
        assert reopen(TEXT, now=BEGAN + age) == CURSOR
    for age in (CURSOR_SECONDS + 0.001, CURSOR_SECONDS + 1, 10 * CURSOR_SECONDS):
        with pytest.raises(ExpiredCursorError):
            reopen(TEXT, now=BEGAN + age)
    assert CURSOR_SECONDS == 86_400


def test_pages_do_not_prolong_a_walk() -> None:
    """A client that turns a page every hour is told after 24 hours of its walk, not of its last page."""
    text, began = TEXT, BEGAN
    for hour in range(25):
        cursor = reopen(text, now=began + 3600 * hour)
        text = sign_cursor(replace(cursor, go_on_from=f"{hour:020}$"), KEY)
    with pytest.raises(ExpiredCursorError):
        reopen(text, now=began + 3600 * 25)


def test_why_a_cursor_is_refused_goes_from_ours_to_which_to_when() -> None:
    """A forged one is invalid even when it would be of another walk or too old as well; a mismatch comes
    before the age: a client that mixes cursors up is told so, not to begin anew.
    """
    forged = TEXT[:-1] + ("A" if TEXT[-1] != "A" else "B")
    late = BEGAN + 10 * CURSOR_SECONDS
    with pytest.raises(InvalidCursorError):
        reopen(forged, route="/other", filters=Filters(("low",)), now=late)
    with pytest.raises(MismatchedCursorError):
        reopen(TEXT, route="/other", now=late)
    with pytest.raises(MismatchedCursorError):
        reopen(TEXT, filters=Filters(("low",)), now=late)


def test_cursor_of_version_0_1_0_is_told_apart_from_a_forgery() -> None:
    """It is ours, but of another form: the client is told to begin a new walk, and nothing breaks."""
    assert json.loads(verify(OF_VERSION_0_1_0, find_key=find_key, purpose="cursor"))[0] == "incidents"
    with pytest.raises(InvalidCursorError, match="another version"):
        reopen(OF_VERSION_0_1_0)


GOOD = json.loads(verify(TEXT, find_key=find_key, purpose="cursor"))
OTHER_SHAPES = {
    "empty": b"",
    "no JSON": b"hello",
    "no UTF-8": b"\xff\xfe\xfd",
    "cut off": json.dumps(GOOD).encode()[:-1],
    "null": b"null",
    "a number": b"5",
    "a text": b'"route"',
    "a list": b"[]",
    "a list of pairs": json.dumps(list(GOOD.items())).encode(),
    "an empty object": b"{}",
    **{
        f"without {name}": json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()
        for name in GOOD
    },
    "filters null": json.dumps({**GOOD, "f": None}).encode(),
    "filters a list": json.dumps({**GOOD, "f": []}).encode(),
    "filters a number": json.dumps({**GOOD, "f": 5}).encode(),
    "filters a text": json.dumps({**GOOD, "f": "priority=high"}).encode(),
    "priorities a number": json.dumps({**GOOD, "f": {"p": 5}}).encode(),
    "beginning null": json.dumps({**GOOD, "b": None}).encode(),
    "beginning a text": json.dumps({**GOOD, "b": "2026-11-23T06:00:00Z"}).encode(),
}


@pytest.mark.parametrize("payload", OTHER_SHAPES.values(), ids=OTHER_SHAPES)
def test_a_payload_of_another_shape_is_no_cursor(payload: bytes) -> None:
    """What another version of this service signed, whatever its shape, is an invalid cursor: never a 500."""
    with pytest.raises(InvalidCursorError, match="another version"):
        reopen(sign(payload, key=KEY, purpose="cursor"), filters=Filters())


def test_a_payload_of_this_shape_is_one() -> None:
    """The shapes above are refused for what is wrong with them, not for how the test signs them."""
    assert reopen(sign(json.dumps(GOOD).encode(), key=KEY, purpose="cursor")) == CURSOR


def refusal(refuse: Callable[[], object]) -> str:
    with pytest.raises(ValueError, match=r".") as raised:
        refuse()
    return str(raised.value)


def test_a_refusal_never_shows_what_the_cursor_holds() -> None:
    """The client gets a reason, nothing of the text that it sent and nothing of the walk behind it."""
    reasons = [
        refusal(lambda: reopen(TEXT[:-2])),
        refusal(lambda: reopen(TEXT, route="/x")),
        refusal(lambda: reopen(TEXT, filters=Filters(("low",)))),
        refusal(lambda: reopen(TEXT, now=BEGAN * 2)),
        refusal(lambda: reopen(OF_VERSION_0_1_0)),
    ]
    for reason in reasons:
        assert len(reason) < 130
        assert not any(held in reason for held in (TEXT[:12], "4506", "/incidents", "/x", "critical"))
