"""What can be set on the simulator, with its limits."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DAY_SECONDS: Final = 86_400.0

# One call alone takes 1.7 to 2.3 s and eight at once, with DEFAULT_SLOWDOWN, 4.4 to 6 s each: what was
# observed (1.7 to 6 s in all, eight at once about 4.5 s).
REALISTIC_LATENCY: Final = (1.7, 2.3)
# 1 + 0.23 * 7 others = 2.6: what eight calls at once cost each other.
DEFAULT_SLOWDOWN: Final = 0.23


class SettingsError(ValueError):
    """A setting is out of range or can't be met; the message is one line for a person."""


@dataclass(frozen=True, kw_only=True)
class SimulatorSettings:
    """Everything that shapes a simulator's answers. Two simulators with equal settings answer alike.

    username, password: what HTTP Basic auth must carry.
    seed: any integer; chooses the content, the latencies and the failures.
    records_per_type: incidents in each type's window, 0 to 100,000.
    identities: entries of `/identities/`, 1 to 1,000,000.
    window_seconds: how long an incident stays, 1 second to ten years.
    folder: serve `<type>.json` and `identities.json` from here instead of generating.
    latency: lowest and highest seconds that one call alone takes, 0 to 600.
    slowdown: how much each other call under way adds, as a share of the latency, 0 to 10.
    failure_rate: the probability that a call fails, 0 to 1.
    hang_seconds: when a call that fails by hanging is given up, above 0, to 3,600.
    identity_lag_seconds, identity_lag_rate: the share of the incidents naming an IP whose IP is missing from
        `/identities/` from the incident's timestamp until that many seconds later. Set both or neither.

    Raises SettingsError for a value out of its range.
    """

    username: str = "simulator"
    password: str = "simulator"  # noqa: S105 - guards generated data only
    seed: int = 1
    records_per_type: int = 300
    identities: int = 5_000
    window_seconds: float = 7 * DAY_SECONDS
    folder: Path | None = None
    latency: tuple[float, float] = (0.0, 0.0)
    slowdown: float = DEFAULT_SLOWDOWN
    failure_rate: float = 0.0
    hang_seconds: float = 30.0
    identity_lag_seconds: float = 0.0
    identity_lag_rate: float = 0.0

    def __post_init__(self) -> None:
        """Check each value, then the combinations."""
        low, high = self.latency
        _check("records per type", self.records_per_type, 0, 100_000)
        _check("identities", self.identities, 1, 1_000_000)
        _check("window seconds", self.window_seconds, 1, 3_650 * DAY_SECONDS)
        _check("lowest latency", low, 0, 600)
        _check("highest latency", high, 0, 600)
        _check("slowdown", self.slowdown, 0, 10)
        _check("failure rate", self.failure_rate, 0, 1)
        _check("hang seconds", self.hang_seconds, math.ulp(0.0), 3_600)
        _check("identity lag seconds", self.identity_lag_seconds, 0, 3_650 * DAY_SECONDS)
        _check("identity lag rate", self.identity_lag_rate, 0, 1)
        if low > high:
            raise SettingsError(f"the lowest latency, {low:g}, is above the highest, {high:g}")
        if not self.username or not self.password:
            raise SettingsError("the username and the password can't be empty")
        if ":" in self.username:
            raise SettingsError("the username can't contain ':', HTTP Basic auth ends it there")
        if bool(self.identity_lag_seconds) != bool(self.identity_lag_rate):
            raise SettingsError("identities lag by both a number of seconds and a rate: set both or neither")
        if self.folder is not None and self.identity_lag_rate:
            raise SettingsError("identities can't lag with a folder, whose files are served as they are")


def _check(what: str, value: float, lowest: float, highest: float) -> None:
    # Put this way round so that "not a number" is refused as well.
    if not lowest <= value <= highest:
        above = "above 0" if lowest == math.ulp(0.0) else f"{lowest:,.0f}"
        raise SettingsError(f"{what} must be {above} to {highest:,.0f}, not {value:g}")
