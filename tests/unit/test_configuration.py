"""Every mistake in the environment is named with its variable and what it should be."""

import pytest

from shared.configuration import ConfigurationError, required, retention, whole_number
from shared.domain.retention import Retention


@pytest.mark.parametrize("environ", [{}, {"TABLE_NAME": ""}, {"TABLE_NAME": " \t\n"}, {"table_name": "x"}])
def test_missing_variable_is_named(environ: dict[str, str]) -> None:
    """A variable that is missing or blank is an error that names it."""
    with pytest.raises(ConfigurationError, match=r"\bTABLE_NAME\b"):
        required(environ, "TABLE_NAME")


def test_variable_is_read_without_the_white_space_around_it() -> None:
    """A line break that a secret or a shell left behind does no harm."""
    assert required({"TABLE_NAME": " incidents\n"}, "TABLE_NAME") == "incidents"
    assert whole_number({"N": " 7 "}, "N", default=1, low=0, high=9) == 7


@pytest.mark.parametrize("text", [None, "", "  "])
def test_optional_variable_has_its_default(text: str | None) -> None:
    """A variable that is not set or blank has its default; where nobody said otherwise all is kept."""
    environ = {} if text is None else {"N": text, "RETENTION_DAYS": text}
    assert whole_number(environ, "N", default=5, low=1, high=9) == 5
    assert retention(environ) == Retention(0)


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("9", 9), ("007", 7), ("0000000005", 5)])
def test_whole_number_within_its_bounds(text: str, number: int) -> None:
    """Both bounds are allowed, and zeros in front do not matter."""
    assert whole_number({"N": text}, "N", default=2, low=1, high=9) == number


@pytest.mark.parametrize(
    "text",
    [
        *(
            "0",
            "10",
            "-1",
            "+1",
            "1.0",
            "1e0",
            "1_0",
            "0x1",
            "one",
            "1 2",
            "1,5",
            "\u00b2",
            "\u0667",
            "\uff17",
        ),
        *("None", "true", "1\n2", "\0"),
        # Python refuses to make a number of this many digits, with an error of its own.
        pytest.param("9" * 5_000, id="5,000 digits"),
    ],
)
def test_anything_else_is_an_error_that_says_what_is_allowed(text: str) -> None:
    """A value that can't be used names the variable and its bounds; nothing is rounded or guessed."""
    with pytest.raises(ConfigurationError) as raised:
        whole_number({"POLL_SECONDS": text}, "POLL_SECONDS", default=2, low=1, high=9)
    assert str(raised.value).startswith("POLL_SECONDS must be a whole number from 1 to 9")


@pytest.mark.parametrize(
    ("text", "days"),
    [("0", 0), ("400", 400), ("36500", 36_500), ("36501", None), ("-1", None), ("all", None)],
)
def test_retention_in_days(text: str, days: int | None) -> None:
    """Retention is a whole number of days, and a mistyped one deletes nothing: it stops the start."""
    if days is None:
        with pytest.raises(ConfigurationError, match=r"\bRETENTION_DAYS\b"):
            retention({"RETENTION_DAYS": text})
    else:
        assert retention({"RETENTION_DAYS": text}) == Retention(days)
