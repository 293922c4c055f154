"""Moments as text: one spelling, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.rfc3339 import format_rfc3339, parse_rfc3339


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_795_413_600.7, "2026-11-23T06:00:00Z"),
        (1_795_413_600.9999998, "2026-11-23T06:00:00Z"),
        (1_709_164_800, "2024-02-29T00:00:00Z"),
        (9_999_999_999, "2286-11-20T17:46:39Z"),
    ],
)
def test_moment_as_text(moment: float, text: str) -> None:
    """UTC, whole seconds, what is below them cut off."""
    assert format_rfc3339(moment) == text
    assert parse_rfc3339(text) == int(moment)


@given(st.integers(0, 253_402_300_799))
def test_moment_comes_back(moment: int) -> None:
    """Every second up to the year 9999 comes back as it was, in text that sorts as time does."""
    assert parse_rfc3339(format_rfc3339(moment)) == moment
    assert len(format_rfc3339(moment)) == 20


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "1795413600",
        "2026-11-23",
        "2026-11-23T06:00:00",
        "2026-11-23T06:00:00+00:00",
        "2026-11-23T06:00:00.5Z",
        "2026-11-23T06:00:00Z\n",
        " 2026-11-23T06:00:00Z",
        "2026-11-23 06:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-11-23T24:00:00Z",
        "2016-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
    ],
)
def test_any_other_text_raises(text: str) -> None:
    """What is no such text raises ValueError and is never guessed at."""
    with pytest.raises(ValueError):  # noqa: PT011 - the standard library's messages are not ours
        parse_rfc3339(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-1-3T6:0:0Z",
        "2026-11-23t06:00:00z",
        "2026-11-23T6:00:00Z",
        "\u0662\u0660\u0662\u0666-11-23T06:00:00Z",
    ],
)
def test_a_loose_spelling_raises_too(text: str) -> None:
    """Only what format_rfc3339 writes is read: no missing zeros, lower case or digits of another script."""
    with pytest.raises(ValueError):  # noqa: PT011 - the standard library's messages are not ours
        parse_rfc3339(text)
