"""What is kept is kept to its time, and nothing is deleted under a walk that may still show it."""

import pytest

from shared.domain.retention import Retention

DAY = 86_400
NOW = 1_700_000_000


@pytest.mark.parametrize(
    ("days", "timestamp", "too_old"),
    [
        (1, str(NOW - DAY), False),
        (1, f"{NOW - DAY}.0000001", False),
        (1, f"{NOW - DAY - 1}.9999", True),
        (1, str(NOW - DAY - 1), True),
        (1, str(NOW + DAY), False),
        (400, str(NOW - 400 * DAY), False),
        (400, str(NOW - 400 * DAY - 1), True),
        (36_500, "0", False),
        (0, "0", False),
        (0, "0.0000001", False),
    ],
)
def test_kept_for_its_days_and_no_longer(days: int, timestamp: str, too_old: bool) -> None:
    """An incident is kept for exactly the days that were asked for; 0 keeps everything."""
    retention = Retention(days)
    assert retention.is_too_old(timestamp, NOW) is too_old
    oldest = retention.oldest_kept(NOW)
    assert oldest == (NOW - days * DAY if days else None)


def test_an_incident_at_the_edge_is_judged_by_its_exact_digits() -> None:
    """Timestamps have seven decimals, more than a float of today's seconds can hold (CONVENTIONS.md, 8)."""
    assert Retention(1).is_too_old(f"{NOW - DAY - 1}.9999999", NOW) is True


@pytest.mark.parametrize("days", [1, 7, 400, 36_500])
@pytest.mark.parametrize("moment", [0, 1_658_264_566.2610762, NOW])
def test_deleted_two_days_after_it_is_last_shown(days: int, moment: float) -> None:
    """DynamoDB may delete an item only when any walk (24 hours) that could show it has long ended."""
    retention = Retention(days)
    expires_at = retention.expires_at(moment)
    assert isinstance(expires_at, int)
    last_shown = moment + days * DAY
    # Whole seconds: a float of today holds fewer decimals than a timestamp has.
    assert not retention.is_too_old(f"{moment:.7f}", int(last_shown))
    assert retention.is_too_old(f"{moment:.7f}", int(last_shown) + 1)
    assert last_shown + 2 * DAY - 1 < expires_at <= last_shown + 2 * DAY


def test_what_is_kept_for_ever_never_expires() -> None:
    """Without a retention nothing has a time to go."""
    assert Retention().days == 0
    assert Retention(0).expires_at(NOW) is None


@pytest.mark.parametrize("days", [1, 7, 400, 36_500])
@pytest.mark.parametrize("moment", [0, NOW, 1_658_264_566.2610762])
def test_what_is_kept_is_what_may_not_be_deleted_yet(days: int, moment: float) -> None:
    """Kept up to the very second at which DynamoDB may delete what is of that moment, and not after it."""
    retention = Retention(days)
    last = int(moment) + days * DAY + 2 * DAY
    for as_of in (moment - DAY, moment, moment + days * DAY, last - 1, last):
        assert retention.is_kept(moment, as_of=as_of) is True
    for as_of in (last + 0.001, last + 1, last + 10_000 * DAY):
        assert retention.is_kept(moment, as_of=as_of) is False
    assert retention.expires_at(moment) == last


def test_what_is_kept_for_ever_is_kept() -> None:
    """Without a retention everything may still be there, however old."""
    for as_of in (0.0, NOW, 1e15):
        assert Retention(0).is_kept(0, as_of=as_of) is True
