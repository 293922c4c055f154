"""An upstream whose windows roll as time goes on, and whose identities lag behind and change."""

import random
from bisect import insort
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from functions.poller.upstream import Answer, UpstreamError
from shared.domain.exact_json import JsonNumber, JsonValue
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES, SUBJECT_FIELDS

HOUR = 3600
DAY = 24 * HOUR
WEEK = 7 * DAY
TICK = 600
# How much later than it happened a record may be served first.
MOST_DELAYED = 5 * HOUR
# A window of 300 holds the incidents of 86 hours then, and a burst is of 12 an hour.
_HOURS_IN_A_WINDOW = 86
_BURST = 3.4
# So few that it is the week that ends its window, not the number of its records.
_QUIET_TYPE, _QUIET = "other", 0.4
_EMPLOYEE_TYPES = ("denial", "misuse", "unauthorized")

ERROR_CLASSES = (
    "timeout", "connection", "server_error", "tls", "throttled", "malformed", "request", "unauthorized",
    "redirect", "http", "too_large", "credentials",
)  # fmt: skip
# What sources.py catches besides: bodies of another shape, and what nobody has thought of.
FAILURES = (*ERROR_CLASSES, "another shape", "a surprise")


@dataclass(slots=True, eq=False)
class Record:
    """One record of the upstream. ``key`` is its type and its timestamp's text: no two have the same.

    ``subject`` is its employee id or IP; ``bad`` ones can't be incidents. ``seen``: a poll has taken it, and
    ``taken``: since when (epoch seconds) it must be stored, as that poll has come to its end.
    """

    key: tuple[str, str]
    at: float
    subject: str
    bad: bool
    value: JsonValue
    seen: bool = False
    taken: float | None = None

    @property
    def has_ip(self) -> bool:
        """Whether it is about an IP, which the identities have to know."""
        return "." in self.subject


@dataclass(frozen=True, slots=True)
class IdentityMap:
    """Who has which IP, at one moment; as a map and as the upstream's answer."""

    employee_by_ip: Mapping[str, str]
    value: JsonValue


class RollingUpstream:
    """The upstream itself: ``advance`` lets time pass, ``windows`` is what it would serve now."""

    def __init__(self, dice: random.Random, *, records: int, identities: int, began: float) -> None:
        self.windows: dict[str, list[tuple[tuple[float, int], Record]]] = {
            kind: [] for kind in INCIDENT_TYPES
        }
        self.made: Callable[[Record], None] = lambda record: None
        self.gone: Callable[[Record], None] = lambda record: None
        self._dice = dice
        self._records = records
        self._serial = count(1)
        self._ip_serial = count(1)
        self._in_burst = dict.fromkeys(INCIDENT_TYPES, 0.0)
        self._employees = [str(dice.randrange(1, 10 * identities)) for _ in range(identities * 4 // 5)]
        self._ips = [self._new_ip() for _ in range(identities)]
        self._employee_by_ip = {ip: dice.choice(self._employees) for ip in self._ips}
        self._late: list[tuple[float, str]] = []
        self._now = began
        self.identities = self._identity_map()
        self.identities_before = self.identities

    def advance(self, now: float) -> None:
        """Let time pass until ``now``."""
        while self._now + TICK <= now:
            self._now += TICK
            for kind in INCIDENT_TYPES:
                self._make_records(kind)
                self._roll(kind)
            if self._dice.random() < TICK / (6 * HOUR):
                self._change_identities()

    def _make_records(self, kind: str) -> None:
        dice = self._dice
        if dice.random() < 1 / 1000:
            self._in_burst[kind] = self._now + dice.uniform(1, 6) * HOUR
        rate = self._records / _HOURS_IN_A_WINDOW * (_QUIET if kind == _QUIET_TYPE else 1)
        rate *= _BURST if self._now < self._in_burst[kind] else 1
        for _ in range(dice.binomialvariate(2, min(1.0, rate * TICK / HOUR / 2))):
            # Some are served hours after they happened, in the midst of older ones.
            happened = self._now - dice.uniform(0, MOST_DELAYED if dice.random() < 0.05 else TICK)
            record, order = self._make_record(kind, int(happened))
            insort(self.windows[kind], (order, record), key=lambda each: each[0])
            self.made(record)

    def _make_record(self, kind: str, second: int) -> tuple[Record, tuple[float, int]]:
        dice = self._dice
        serial = next(self._serial)
        timestamp = f"{second}.{serial:07}".rstrip("0")
        bad = dice.random() < 0.01
        subject = self._subject(kind)
        priority = "severe" if bad else dice.choice(PRIORITIES)
        value: dict[str, JsonValue] = {
            "priority": priority,
            "timestamp": JsonNumber(timestamp),
            SUBJECT_FIELDS[kind]: subject if "." in subject else JsonNumber(subject),
        }
        if kind in ("denial", "intrusion"):
            value["source_ip"] = self._new_ip()
        return Record((kind, timestamp), float(timestamp), subject, bad, value), (second, serial)

    def _subject(self, kind: str) -> str:
        dice = self._dice
        if kind in _EMPLOYEE_TYPES or (kind == _QUIET_TYPE and dice.random() < 0.5):
            return dice.choice(self._employees)
        if dice.random() >= 0.1:
            return dice.choice(self._ips)
        ip = self._new_ip()
        # Three of a hundred never get to the identities.
        if dice.random() >= 0.03:
            self._late.append((self._now + min(dice.expovariate(1 / (12 * HOUR)), 3 * DAY), ip))
        return ip

    def _roll(self, kind: str) -> None:
        window = self.windows[kind]
        keep_from = max(0, len(window) - self._records)
        while keep_from < len(window) and window[keep_from][1].at < self._now - WEEK:
            keep_from += 1
        for _, record in window[:keep_from]:
            self.gone(record)
        del window[:keep_from]

    def _change_identities(self) -> None:
        """The late ones come in, as many others go, and some move to other employees."""
        dice = self._dice
        due = [ip for at, ip in self._late if at <= self._now]
        self._late = [(at, ip) for at, ip in self._late if at > self._now]
        for ip in due:
            place = dice.randrange(len(self._ips))
            del self._employee_by_ip[self._ips[place]]
            self._ips[place] = ip
            self._employee_by_ip[ip] = dice.choice(self._employees)
        for ip in dice.sample(self._ips, dice.randint(0, 5)):
            self._employee_by_ip[ip] = dice.choice(self._employees)
        self.identities_before, self.identities = self.identities, self._identity_map()

    def _identity_map(self) -> IdentityMap:
        value = {ip: JsonNumber(employee) for ip, employee in self._employee_by_ip.items()}
        return IdentityMap(dict(self._employee_by_ip), value)

    def _new_ip(self) -> str:
        """One that nobody has had yet: odd numbers times a serial give each of 2²⁴ once."""
        number = next(self._ip_serial) * 10_368_889 % 2**24
        return f"17.{number >> 16}.{number >> 8 & 255}.{number & 255}"


@dataclass
class Visit:
    """One poll's requests to the upstream: which sources fail, and what the others served it.

    ``lagging``: the identities are those before the last change.
    """

    upstream: RollingUpstream
    failing: Mapping[str, str] = field(default_factory=dict)
    lagging: bool = False
    served: dict[str, list[Record]] = field(default_factory=dict)
    identities: IdentityMap | None = None

    def fetch(self, source: str, *, deadline: float) -> Answer:
        """As :class:`functions.poller.upstream.Upstream` does."""
        failure = self.failing.get(source)
        if failure == "another shape":
            return Answer([] if source == "identities" else {"results": {}}, 1, 1)
        if failure == "a surprise":
            raise RuntimeError("nobody has thought of this")
        if failure:
            raise UpstreamError(failure, "as the soak has it")
        if source == "identities":
            before = self.upstream.identities_before
            self.identities = before if self.lagging else self.upstream.identities
            return Answer(self.identities.value, 1, 1)
        window = [record for _, record in self.upstream.windows[source]]
        self.served[source] = window
        # One is there twice.
        return Answer({"results": [record.value for record in (*window, *window[-1:])]}, 1, 1)

    def taken(self) -> Iterator[Record]:
        """All records that this poll was served."""
        for window in self.served.values():
            yield from window
