"""Scores that forget: what is stored, against the plain sum of what each incident still weighs."""

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.incident import PRIORITIES
from shared.domain.risk import DEFAULT_SCALE, MAX_HALF_LIFE_DAYS, MAX_WEIGHT, RiskScale

DAY = 86_400
NOW = 1_795_428_600.0
TIMESTAMPS = st.integers(0, 10**17 - 1).map(lambda ticks: f"{ticks // 10**7}.{ticks % 10**7:07}")
RECENT = st.integers(0, 400 * DAY * 10**7).map(lambda ticks: str(Decimal(int(NOW)) - Decimal(ticks) / 10**7))
SCALES = st.builds(
    RiskScale,
    st.tuples(*[st.integers(0, MAX_WEIGHT)] * 4),
    st.integers(1, MAX_HALF_LIFE_DAYS),
)
INCIDENTS = st.lists(st.tuples(st.sampled_from(PRIORITIES), RECENT), max_size=60)


def stored(scale: RiskScale, incidents: list[tuple[str, str]]) -> int:
    score = 0
    for priority, timestamp in incidents:
        score = scale.add(score, priority, timestamp)
    return score


def plain(scale: RiskScale, incidents: list[tuple[str, str]], moment: float) -> float:
    return math.fsum(
        scale.weights[PRIORITIES.index(priority)]
        * 2 ** float((Decimal(timestamp) - Decimal(moment)) / (scale.half_life_days * DAY))
        for priority, timestamp in incidents
    )


def test_a_half_life_halves() -> None:
    """One critical incident of just now weighs 15, in thirty days 7.5, in a year next to nothing."""
    score = DEFAULT_SCALE.add(0, "critical", str(NOW))
    assert DEFAULT_SCALE.shown(score, NOW) == pytest.approx(15, rel=1e-12)
    assert DEFAULT_SCALE.shown(score, NOW + 30 * DAY) == pytest.approx(7.5, rel=1e-12)
    assert DEFAULT_SCALE.shown(score, NOW + 365 * DAY) < 0.01


@given(scale=SCALES, incidents=INCIDENTS, later=st.integers(0, 1_000))
def test_it_is_the_plain_sum(scale: RiskScale, incidents: list[tuple[str, str]], later: int) -> None:
    """To nine digits and more, at any moment after."""
    moment = NOW + later * DAY
    wanted = plain(scale, incidents, moment)
    assert scale.shown(stored(scale, incidents), moment) == pytest.approx(wanted, rel=1e-9, abs=1e-280)


@given(scale=SCALES, one=INCIDENTS, other=INCIDENTS, later=st.integers(0, 1_000))
def test_the_order_is_right_at_every_moment(
    scale: RiskScale, one: list[tuple[str, str]], other: list[tuple[str, str]], later: int
) -> None:
    """Of what is stored, compared as numbers: whoever weighs more now weighs more always."""
    moment = NOW + later * DAY
    lower, higher = sorted([one, other], key=lambda each: plain(scale, each, NOW))
    if plain(scale, lower, NOW) < plain(scale, higher, NOW) * (1 - 1e-9):
        assert stored(scale, lower) < stored(scale, higher)
    scores = stored(scale, one), stored(scale, other)
    if scores[0] < scores[1]:
        assert scale.shown(scores[0], moment) <= scale.shown(scores[1], moment)


@given(scale=SCALES, incidents=st.lists(st.tuples(st.sampled_from(PRIORITIES), TIMESTAMPS), max_size=20))
def test_any_moment_and_any_half_life_fit(scale: RiskScale, incidents: list[tuple[str, str]]) -> None:
    """From 1970 to 2286, half-lives of a day to ten years: no overflow, a number that DynamoDB holds."""
    score = 0
    for priority, timestamp in incidents:
        after = scale.add(score, priority, timestamp)
        assert after >= score
        score = after
    assert score < 10**38
    for moment in (0.0, NOW, 9_999_999_999.0):
        assert scale.shown(score, moment) >= 0


def test_a_thousand_equal_incidents_drift_by_nothing() -> None:
    """Rounding goes both ways: the sum of many is as exact as that of few."""
    score = 0
    for number in range(10_000):
        score = DEFAULT_SCALE.add(score, "medium", f"{int(NOW) - number}.1234567")
    incidents = [("medium", f"{int(NOW) - number}.1234567") for number in range(10_000)]
    assert DEFAULT_SCALE.shown(score, NOW) == pytest.approx(plain(DEFAULT_SCALE, incidents, NOW), rel=1e-10)


def test_nothing_weighs_nothing() -> None:
    """Neither no incident, nor one whose priority has the weight 0."""
    scale = RiskScale((0, 1, 1, 1), 7)
    assert scale.shown(0, NOW) == 0.0
    assert scale.add(0, "low", str(NOW)) == 0
    assert scale.add(0, "medium", "0") > 0


@given(scale=SCALES)
def test_a_scale_comes_back_from_its_text(scale: RiskScale) -> None:
    """It stands in the overview, and a later version has to read it."""
    assert RiskScale.from_text(scale.to_text()) == scale


def test_the_text_of_a_scale_stays() -> None:
    """Stored text: another spelling would count every table anew."""
    assert DEFAULT_SCALE.to_text() == "1,3,7,15/30"
