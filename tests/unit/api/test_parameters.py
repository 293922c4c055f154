"""A request is served as it was meant, or refused with all that is wrong named: nothing is ignored."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from functions.api.parameters import (
    DEFAULT_CHANGES_LIMIT,
    MAX_CHANGES_LIMIT,
    MAX_LIMIT,
    ChangesParameters,
    PageParameters,
    parse_changes_parameters,
    parse_employee_id,
    parse_no_parameters,
    parse_page_parameters,
)
from functions.api.problems import InvalidParametersError
from shared.domain.filters import NO_FILTERS, Filters
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES

type Query = Mapping[str, Sequence[str]]

PAGE = ["cursor", "limit", "priority", "since", "type", "until"]


def filters(**query: str | Sequence[str]) -> Filters:
    """The filters of a query of single values or lists."""
    return parse_page_parameters(as_query(query)).filters


def as_query(query: Mapping[str, str | Sequence[str]]) -> Query:
    return {name: [value] if isinstance(value, str) else value for name, value in query.items()}


def faults(query: Mapping[str, str | Sequence[str]], parse: Callable[[Query], object]) -> dict[str, str]:
    """What is said to be wrong, by parameter; no parameter is named twice."""
    with pytest.raises(InvalidParametersError) as raised:
        parse(as_query(query))
    found = {fault.parameter: fault.reason for fault in raised.value.faults}
    assert len(found) == len(raised.value.faults), raised.value.faults
    return found


def page_faults(**query: str | Sequence[str]) -> dict[str, str]:
    return faults(query, parse_page_parameters)


def test_nothing_is_needed() -> None:
    """Without parameters a request is for everything, from the beginning, at the default sizes."""
    assert parse_page_parameters({}) == PageParameters(None, None, NO_FILTERS)
    assert parse_page_parameters({}, with_limit=False) == PageParameters(None, None, NO_FILTERS)
    assert parse_changes_parameters({}) == ChangesParameters(DEFAULT_CHANGES_LIMIT, None, "native")
    parse_no_parameters({})


def test_all_at_once() -> None:
    """Every parameter is read under its own name."""
    query = {
        "limit": ["7"],
        "cursor": ["abc"],
        "priority": ["low"],
        "type": ["other"],
        "since": ["1"],
        "until": ["2"],
    }
    expected = PageParameters(7, "abc", Filters(("low",), ("other",), "1", "2"))
    assert parse_page_parameters(query) == expected
    changes = {"limit": ["7"], "token": ["abc"], "schema": ["ocsf"]}
    assert parse_changes_parameters(changes) == ChangesParameters(7, "abc", "ocsf")


# ---------------------------------------------------------------- priority and type

CHOICES = {"priority": ("priorities", PRIORITIES), "type": ("types", INCIDENT_TYPES)}


@pytest.mark.parametrize("name", CHOICES)
class TestChoices:
    def chosen(self, name: str, *values: str) -> tuple[str, ...]:
        found: tuple[str, ...] = getattr(filters(**{name: values}), CHOICES[name][0])
        return found

    def test_each_value(self, name: str) -> None:
        """Every value that an incident can have can be asked for."""
        for value in CHOICES[name][1]:
            assert self.chosen(name, value) == (value,)

    def test_repeated_comma_separated_or_mixed(self, name: str) -> None:
        """However several are written, and in whatever order, it is the same question."""
        first, second, third = CHOICES[name][1][:3]
        for a, b, c in permutations((first, second, third)):
            spellings = ([a, b, c], [f"{a},{b},{c}"], [f"{a},{b}", c], [a, f"{b},{c}"])
            for values in spellings:
                assert self.chosen(name, *values) == (first, second, third)

    def test_duplicates_are_one(self, name: str) -> None:
        """Asking twice asks for no more: equal questions have equal cursors."""
        first, second, *_ = CHOICES[name][1]
        assert self.chosen(name, second, second, f"{first},{second}", f"{first},{first}") == (first, second)

    def test_all_of_them(self, name: str) -> None:
        """All values at once are allowed, in the order of their definition."""
        allowed = CHOICES[name][1]
        assert self.chosen(name, *reversed(allowed)) == allowed
        assert self.chosen(name, ",".join(allowed)) == allowed

    @pytest.mark.parametrize(
        "value",
        [
            "", " ", ",", "urgent", "Low", "LOW", "lów", "low ", " low", "low, high", "low;high", "low|high",
            "Denial", "DENIAL", "denials", "denial ", "null", "None", "*", "all", "0", "%6cow", "\u200blow",
            "low\n", "low\0", "\ud800",
        ],
    )  # fmt: skip
    def test_an_unknown_value_is_named_with_what_is_allowed(self, name: str, value: str) -> None:
        """A misspelt filter never returns everything: 400, whether it stands alone or beside a good one."""
        allowed = CHOICES[name][1]
        good = allowed[0]
        for values in ([value], [good, value], [value, good]):
            with pytest.raises(InvalidParametersError) as raised:
                filters(**{name: values})
            assert {fault.parameter for fault in raised.value.faults} == {name}
            assert all(", ".join(allowed) in fault.reason for fault in raised.value.faults)
        assert any(repr(value.split(",")[-1])[1:-1] in fault.reason for fault in raised.value.faults)

    @pytest.mark.parametrize("shape", ["{},", ",{}", "{},,{}", "{}, {}"])
    def test_an_empty_part_is_an_unknown_value(self, name: str, shape: str) -> None:
        """A comma too many may be a value that got lost on the way: it is told, not ignored."""
        first = CHOICES[name][1][0]
        with pytest.raises(InvalidParametersError):
            filters(**{name: shape.format(first, first)})

    def test_values_of_the_other_are_unknown(self, name: str) -> None:
        """`priority=denial` and `type=low` are no questions."""
        other = CHOICES["type" if name == "priority" else "priority"][1][0]
        assert name in page_faults(**{name: other})

    def test_a_long_value_is_not_sent_back_whole(self, name: str) -> None:
        """What a client sent is shown as far as it helps."""
        (reason,) = page_faults(**{name: "x" * 100_000}).values()
        assert len(reason) < 250

    def test_a_flood_of_unknown_values_is_answered_briefly(self, name: str) -> None:
        """A request of 8 KB never makes an answer that is larger."""
        for flood in ("," * 8_000, ",".join(map(str, range(1_700))), "x,y," * 2_000):
            with pytest.raises(InvalidParametersError) as raised:
                filters(**{name: flood})
            told = sum(len(fault.parameter) + len(fault.reason) for fault in raised.value.faults)
            assert told < 10_000, f"{told:,} characters, and as many again in the detail"


# ---------------------------------------------------------------- since and until

MOMENTS = {
    "0": "0",
    "0.0": "0",
    "00000": "0",
    "1795413600": "1795413600",
    "1795413600.0": "1795413600",
    "1795413600.5": "1795413600.5",
    "1795413600.5000000": "1795413600.5",
    "1795413600.1234567": "1795413600.1234567",
    "0000000100": "100",
    "100": "100",
    "0.0000001": "0.0000001",
    "9999999999.9999999": "9999999999.9999999",
    "1970-01-01T00:00:00Z": "0",
    "1970-01-01T00:00:00.000001Z": "0.000001",
    "1970-01-01T00:00:00-00:00": "0",
    "1970-01-01T01:00:00+01:00": "0",
    "1969-12-31T23:59:59-00:01": "59",
    "2026-11-23T06:00:00Z": "1795413600",
    "2026-11-23t06:00:00z": "1795413600",
    "2026-11-23T06:00:00+00:00": "1795413600",
    "2026-11-23T06:00:00.000000Z": "1795413600",
    "2026-11-23T06:00:00.5Z": "1795413600.5",
    "2026-11-23T06:00:00.50Z": "1795413600.5",
    "2026-11-23T06:00:00.123456Z": "1795413600.123456",
    "2026-11-23T11:45:00+05:45": "1795413600",
    "2026-11-22T20:00:00.25-10:00": "1795413600.25",
    "2024-02-29T12:00:00Z": "1709208000",
    "2286-11-20T17:46:39.999999Z": "9999999999.999999",
    # What .NET writes: seven digits below the second, as many as the upstream has.
    "2026-11-23T06:00:00.5000000Z": "1795413600.5",
    "2026-11-23T06:00:00.1234567Z": "1795413600.1234567",
    "2026-11-23T06:00:00.0000001+00:00": "1795413600.0000001",
    "2026-11-23T11:45:00.0450000+05:45": "1795413600.045",
}


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize(("text", "moment"), MOMENTS.items())
def test_a_moment_in_any_spelling(name: str, text: str, moment: str) -> None:
    """Epoch seconds or RFC 3339, exactly: equal moments make equal filters however they are written."""
    assert getattr(filters(**{name: text}), name) == moment


def test_the_spellings_above_say_what_they_mean() -> None:
    """The expectations are those of the standard library, and of a Decimal below the second."""
    for text, moment in MOMENTS.items():
        if "T" in text.upper():
            fraction = re.search(r"\.[0-9]+", text)
            whole = datetime.fromisoformat(re.sub(r"\.[0-9]+", "", text.upper()))
            exact = Decimal(int(whole.timestamp())) + Decimal(f"0{fraction[0]}" if fraction else 0)
            assert exact == Decimal(moment), text
        else:
            assert Decimal(text) == Decimal(moment)


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize(
    "text",
    [
        "", " ", "now", "yesterday", "-1", "+1", "1e9", "1E9", "1_000", "0x10", "1.", ".5", "1.12345678",
        "10000000000", "99999999999", "1,5", "1 ", " 1", "1\n", "١٢٣", "\uff11", "nan", "inf", "-0", "1.5.5",
        "1795413600000",
        "2026-11-23", "2026-11-23T06:00Z", "2026-11-23T06:00:00", "2026-11-23 06:00:00Z",
        "2026-11-23T06:00:00 Z", "2026-11-23T06:00:00Z ", "2026-11-23T06:00:00+0100", "2026-11-23T06:00:00+1",
        "20261123T060000Z", "2026-W48-1T06:00:00Z", "2026-11-23T06:00:00.Z", "2026-11-23T06:00:00,5Z",
        "2026-11-23T06:00:00.12345678Z",
        "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-11-31T00:00:00Z", "2026-00-10T00:00:00Z",
        "2026-11-23T25:00:00Z", "2026-11-23T06:60:00Z", "2026-11-23T06:00:61Z",
        "2026-11-23T06:00:00+24:00", "2026-11-23T06:00:00+99:99", "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01", "2286-11-20T17:46:40Z", "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-23:59", "٢٠٢٦-11-23T06:00:00Z", "2026-11-23T06:00:00Z\0",
    ],
)  # fmt: skip
def test_what_is_no_moment(name: str, text: str) -> None:
    """Anything else is refused, with both spellings that are allowed: no moment is guessed."""
    (reason,) = page_faults(**{name: text}).values()
    assert "epoch seconds (1795413600.5) or RFC 3339 (2026-11-23T06:00:00Z)" in reason


@pytest.mark.parametrize("text", ["2026-11-23T06:00:00 01:00", "2026-11-23T06:00:00.5 05:45"])
def test_a_plus_that_became_a_space(text: str) -> None:
    """An offset whose + was not encoded arrives with a space: the answer says how to send it; others do
    not get that hint.
    """
    (reason,) = page_faults(since=text).values()
    assert reason.endswith("; a + must be sent as %2B")
    (reason,) = page_faults(since="2026-11-23T06:00:00/01:00").values()
    assert "%2B" not in reason
    assert filters(since=text.replace(" ", "+")).since is not None


@settings(deadline=None, max_examples=300)
@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2286, 11, 19)),
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
@example(datetime(2026, 11, 23, 6, 0, 0, 1), 0)
def test_equal_moments_give_equal_filters(moment: datetime, offset: int) -> None:
    """Whatever the zone and the spelling, a moment is one text: cursors of equal questions agree."""
    aware = moment.replace(tzinfo=UTC)
    there = aware.astimezone(timezone(timedelta(minutes=offset)))
    microseconds = (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    epoch = f"{microseconds // 1_000_000}.{microseconds % 1_000_000:06}"
    spellings = {there.isoformat(), there.isoformat(timespec="microseconds").lower(), epoch, epoch + "0"}
    found = {filters(since=each) for each in spellings} | {
        Filters(since=filters(until=each).until) for each in spellings
    }
    assert len(found) == 1
    (only,) = found
    assert only.since is not None
    assert Decimal(only.since) == Decimal(microseconds) / 1_000_000
    assert only.since == filters(since=only.since).since


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("2", "1"),
        ("1", "1"),
        ("1.0", "1"),
        ("0", "0"),
        ("1.0000001", "1"),
        ("10", "9"),
        ("1795413600", "2026-11-23T06:00:00Z"),
        ("2026-11-23T06:00:00Z", "2026-11-23T07:00:00+01:00"),
        ("2026-11-23T06:00:00.000001Z", "1795413600"),
    ],
)
def test_a_span_that_holds_nothing(since: str, until: str) -> None:
    """`since <= timestamp < until` must hold for something: compared as moments, not as texts."""
    assert page_faults(since=since, until=until) == {"until": "must be later than since"}


@pytest.mark.parametrize(
    ("since", "until"), [("1", "1.0000001"), ("9", "10"), ("0", "0.0000001"), ("1", "2026-11-23T06:00:00Z")]
)
def test_a_span_that_holds_something(since: str, until: str) -> None:
    """As little as a tenth of a microsecond will do."""
    found = filters(since=since, until=until)
    assert found.since is not None
    assert found.until is not None


def test_one_bound_is_enough() -> None:
    """Either bound stands alone, the moment 0 included."""
    assert filters(since="0") == Filters(since="0")
    assert filters(until="0.5") == Filters(until="0.5")


# ---------------------------------------------------------------- limit, cursor, token, schema

LIMITS = [(parse_page_parameters, MAX_LIMIT), (parse_changes_parameters, MAX_CHANGES_LIMIT)]


@pytest.mark.parametrize(("parse", "most"), LIMITS)
def test_limit_within_its_range(parse: Callable[[Query], PageParameters], most: int) -> None:
    """Every whole number from 1 to the maximum, and only these."""
    for good in (1, 2, 99, 100, most - 1, most):
        assert parse({"limit": [str(good)]}).limit == good
    bad = [
        "0",
        "-1",
        "+1",
        "1.0",
        "1e2",
        " 1",
        "1 ",
        "",
        "ten",
        "\u0661",
        "²",
        "0x1",
        "1_0",
        "NaN",
        str(most + 1),
    ]
    bad += ["9" * 5_000, "\ud800", "1\0", "1\n"]
    for value in bad:
        (reason,) = faults({"limit": value}, parse).values()
        assert reason.startswith(f"must be a whole number from 1 to {most}, not ")
        assert len(reason) < 150


def test_the_contracts_limits() -> None:
    """500 employees a page and 1,000 changes at the most (docs/api.md)."""
    assert (MAX_LIMIT, MAX_CHANGES_LIMIT, DEFAULT_CHANGES_LIMIT) == (500, 1000, 500)


@pytest.mark.parametrize("name", ["limit", "cursor", "since", "until"])
def test_what_is_single_is_given_once(name: str) -> None:
    """Two values, equal or not, are no answer to which: neither is taken."""
    good = {"limit": "5", "cursor": "abc", "since": "5", "until": "6"}[name]
    for values in ([good, good], [good, "x"], ["", ""], [good] * 50):
        assert page_faults(**{name: values}) == {name: "is given more than once"}


@pytest.mark.parametrize("name", ["limit", "token", "schema"])
def test_what_is_single_in_the_feed_is_given_once(name: str) -> None:
    """The same for the changes feed."""
    good = {"limit": "5", "token": "abc", "schema": "ocsf"}[name]
    assert faults({name: [good, good]}, parse_changes_parameters) == {name: "is given more than once"}


def test_cursor_and_token_come_through_untouched() -> None:
    """Opaque texts are not looked into here, whatever is in them; an empty one is a client's mistake."""
    for text in ("a", "A-_", "x" * 5_000, "é", "\0", " ", "null"):
        assert parse_page_parameters({"cursor": [text]}).cursor == text
        assert parse_changes_parameters({"token": [text]}).token == text
    assert page_faults(cursor="") == {"cursor": "must not be empty: leave it out to begin a walk"}
    assert faults({"token": ""}, parse_changes_parameters) == {
        "token": "must not be empty: leave it out to begin with the oldest"
    }


def test_schema_is_one_of_two() -> None:
    """`native` and `ocsf`, in small letters, and nothing between."""
    for schema in ("native", "ocsf"):
        assert parse_changes_parameters({"schema": [schema]}).schema == schema
    for bad in ("", "OCSF", "ecs", "native,ocsf", "ocsf ", "\ud800"):
        (reason,) = faults({"schema": bad}, parse_changes_parameters).values()
        assert reason.endswith("allowed: native, ocsf")


# ---------------------------------------------------------------- unknown ones, and several faults at once


@pytest.mark.parametrize(
    "name",
    ["priorities", "Priority", "PRIORITY", "priority ", "priority[]", "types", "page", "_", "", "é", "token"],
)
def test_an_unknown_parameter_is_named_with_what_is_allowed(name: str) -> None:
    """A misspelt parameter that returned everything would be a security bug."""
    assert page_faults(**{name: "low"}) == {name: f"is not a parameter here; allowed: {', '.join(PAGE)}"}
    assert page_faults(**{name: []}) == page_faults(**{name: "low"})


def test_each_route_has_its_own() -> None:
    """What one route takes is unknown at another."""
    assert list(faults({"limit": "5"}, lambda query: parse_page_parameters(query, with_limit=False))) == [
        "limit"
    ]
    assert list(faults({"priority": "low"}, parse_changes_parameters)) == ["priority"]
    assert list(faults({"schema": "ocsf"}, parse_page_parameters)) == ["schema"]
    assert faults({"limit": "5"}, parse_no_parameters) == {"limit": "is not a parameter here; allowed: none"}


def test_all_faults_at_once() -> None:
    """A client mends a request in one go: everything that is wrong is told, nothing that is right."""
    found = page_faults(
        limit="0",
        cursor="",
        priority="urgent",
        type="denial",
        since="x",
        until=["1", "2"],
        hue="red",
        size="9",
    )
    assert list(found) == ["limit", "cursor", "since", "until", "priority", "hue", "size"]
    found = faults({"limit": "x", "token": "", "schema": "y", "z": "1"}, parse_changes_parameters)
    assert list(found) == ["limit", "token", "schema", "z"]


def test_the_message_is_all_reasons() -> None:
    """The exception itself says what is in its faults: that is the problem's detail."""
    with pytest.raises(InvalidParametersError) as raised:
        parse_page_parameters({"limit": ["0"], "x": ["1"]})
    first, second = raised.value.faults
    assert str(raised.value) == f"limit: {first.reason}; x: {second.reason}"


def test_a_flood_of_unknown_parameters_is_answered_briefly() -> None:
    """Of very many faults the first will do: an answer is no larger than the request was."""
    with pytest.raises(InvalidParametersError) as raised:
        parse_page_parameters({f"p{number}": [""] for number in range(1_500)})
    assert 1 < len(raised.value.faults) <= 100
    assert len(str(raised.value)) < 20_000


def test_a_long_name_is_cut() -> None:
    """A parameter's name is sent back as far as it helps."""
    (name,) = page_faults(**{"x" * 100_000: "1"})
    assert 20 < len(name) < 100


def outcome[T](parse: Callable[[Query], T], query: Query) -> T | InvalidParametersError:
    """What is parsed, or how it is refused; any other exception fails the test."""
    try:
        return parse(query)
    except InvalidParametersError as error:
        return error


names = st.sampled_from([*PAGE, "token", "schema"]) | st.text(max_size=8)
values = (
    st.text(max_size=12)
    | st.sampled_from([*PRIORITIES, *INCIDENT_TYPES, "low,high", "", ",", "100", "native", "ocsf", *MOMENTS])
    | st.text(alphabet="0123456789-+:.TZz, ", max_size=30)
    | st.from_regex(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[+-][0-9]{2}:[0-9]{2}", fullmatch=True
    )
    | st.text(st.characters(exclude_categories=()), max_size=5)
)
queries = st.dictionaries(names, st.lists(values, max_size=3), max_size=5)


@settings(deadline=None, max_examples=1_000)
@given(queries)
def test_any_query_is_served_or_refused(query: dict[str, list[str]]) -> None:
    """Whatever is asked: served as it was meant or refused by name; no other exception, nothing ignored."""
    parameters = outcome(parse_page_parameters, query)
    if isinstance(parameters, InvalidParametersError):
        assert parameters.faults
    else:
        assert query.keys() <= set(PAGE)
        assert parameters.limit is None or 1 <= parameters.limit <= MAX_LIMIT
        given_priorities = {each for value in query.get("priority", ()) for each in value.split(",")}
        assert set(parameters.filters.priorities) == given_priorities
        given_types = {each for value in query.get("type", ()) for each in value.split(",")}
        assert set(parameters.filters.types) == given_types
        for name in ("since", "until"):
            assert (getattr(parameters.filters, name) is not None) == bool(query.get(name))
        assert Filters.from_json(parameters.filters.to_json()) == parameters.filters
    changes = outcome(parse_changes_parameters, query)
    if isinstance(changes, InvalidParametersError):
        assert changes.faults
    else:
        assert query.keys() <= {"limit", "token", "schema"}
    assert (outcome(parse_no_parameters, query) is None) == (not query)


# ---------------------------------------------------------------- the path


def test_employee_id_of_a_path() -> None:
    """1 to 20 digits, without their leading zeros; anything else is refused by name."""
    assert [parse_employee_id(each) for each in ("0", "000", "42", "0042", "9" * 20, "0" * 20)] == [
        "0", "0", "42", "42", "9" * 20, "0",
    ]  # fmt: skip
    for bad in (
        "",
        " ",
        "x",
        "-1",
        "1.0",
        "9" * 21,
        "\u0661",
        "1 ",
        "1\n",
        "4#2",
        "a" * 100_000,
        "\ud800",
        "²",
    ):
        with pytest.raises(InvalidParametersError) as raised:
            parse_employee_id(bad)
        ((name, reason),) = [(fault.parameter, fault.reason) for fault in raised.value.faults]
        assert name == "employee_id"
        assert reason.startswith("must be 1 to 20 digits, not ")
        assert len(reason) < 150
