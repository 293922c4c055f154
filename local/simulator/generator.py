"""Incidents and identities made up from a seed, in the upstream's shapes.

Incident `index` of a type is a pure function of (seed, type, index) and the sizes set: time is cut into slots
of equal length, and incident `index` falls somewhere into slot `index` since 1970. So the window at any time
is found by arithmetic, and an incident looks the same for ever.

Times are whole *ticks* of 0.1 microseconds, the seven decimals of a timestamp: no float is ever rendered.
"""

from collections.abc import Mapping
from hashlib import blake2b
from threading import Lock
from types import MappingProxyType
from typing import Final, NamedTuple

from local.simulator.settings import SimulatorSettings

TICKS: Final = 10_000_000
PRIORITIES: Final = ("low", "medium", "high", "critical")
_HIGHEST_EMPLOYEE: Final = 1_000_000
_MASK_24: Final = (1 << 24) - 1
_MASK_64: Final = (1 << 64) - 1


class _Shape(NamedTuple):
    """The fields of a type's records in their order; one says who it is about."""

    fields: tuple[str, ...]
    share_naming_ip: float

    def template(self) -> str:
        """A JSON object to format with `priority`, `who`, `timestamp` and `source_ip`."""
        pairs = (f'"{field}": {_OTHER_FIELDS.get(field, "{who}")}' for field in self.fields)
        return "{{" + ", ".join(pairs) + "}}"


_OTHER_FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {"priority": '"{priority}"', "timestamp": "{timestamp}", "source_ip": '"{source_ip}"'}
)
_SHAPES: Final[Mapping[str, _Shape]] = MappingProxyType(
    {
        "denial": _Shape(("priority", "reported_by", "timestamp", "source_ip"), 0.0),
        "intrusion": _Shape(("priority", "internal_ip", "source_ip", "timestamp"), 1.0),
        "executable": _Shape(("priority", "machine_ip", "timestamp"), 1.0),
        "misuse": _Shape(("priority", "employee_id", "timestamp"), 0.0),
        "unauthorized": _Shape(("priority", "employee_id", "timestamp"), 0.0),
        "probing": _Shape(("priority", "ip", "timestamp"), 1.0),
        "other": _Shape(("priority", "identifier", "timestamp"), 0.1),
    }
)
_TEMPLATES: Final = {name: shape.template() for name, shape in _SHAPES.items()}
INCIDENT_TYPES: Final = tuple(_SHAPES)


class Incident(NamedTuple):
    """One rendered incident: its time, its JSON text, and its IP if that IP lags behind."""

    ticks: int
    text: str
    lagging_ip: str | None


class Generator:
    """Bodies of the eight endpoints at a given time. Safe to use from several threads."""

    def __init__(self, settings: SimulatorSettings) -> None:
        """Take the content's part of the settings: seed, sizes, window and lag."""
        self._settings = settings
        self._window_ticks = int(settings.window_seconds * TICKS)
        # Two slots more than records: at least one more than wanted lie wholly inside any window.
        self._slot_ticks = self._window_ticks // (settings.records_per_type + 2)
        self._lag_ticks = int(settings.identity_lag_seconds * TICKS)
        self._people = _People(settings.seed, settings.identities)
        self._windows = {name: _Window() for name in INCIDENT_TYPES}
        self._identities = _Identities()

    def incidents_body(self, incident_type: str, now: float) -> bytes:
        """The body of `/incidents/{type}/` at `now` (epoch seconds)."""
        window = self._windows[incident_type]
        with window.lock:
            self._move(incident_type, window, int(now * TICKS))
            if window.body is None:
                texts = ", ".join(incident.text for incident in window.incidents)
                window.body = f'{{"results": [{texts}]}}\n'.encode("ascii")
            return window.body

    def identities_body(self, now: float) -> bytes:
        """The body of `/identities/` at `now` (epoch seconds): by employee id, without what lags."""
        hidden = self._hidden_ips(int(now * TICKS))
        cached = self._identities
        with cached.lock:
            if not cached.entries:
                people = (self._people.identity(index) for index in range(self._settings.identities))
                cached.entries = [(ip, f'"{ip}": {employee}') for employee, ip in people]
            if cached.body is None or cached.hidden != hidden:
                cached.hidden = hidden
                texts = ", ".join(text for ip, text in cached.entries if ip not in hidden)
                cached.body = f"{{{texts}}}\n".encode("ascii")
            return cached.body

    def incident(self, incident_type: str, index: int) -> Incident:
        """Incident number `index` (0 or more) of a type."""
        shape = _SHAPES[incident_type]
        name = f"{self._settings.seed}/{incident_type}/{index}".encode("ascii")
        # One digest is a large number that is taken apart into the draws by dividing.
        draws = int.from_bytes(blake2b(name, digest_size=40).digest())
        draws, offset = divmod(draws, self._slot_ticks)
        draws, priority = divmod(draws, 4)
        draws, person = divmod(draws, self._settings.identities)
        draws, decimals = divmod(draws, 1_000)
        draws, names_ip = divmod(draws, 1_000)
        draws, lags = divmod(draws, 1_000_000)
        slot = index * self._slot_ticks
        ticks = _shortened(slot, slot + offset, decimals)
        employee, ip = self._people.identity(person)
        by_ip = names_ip < shape.share_naming_ip * 1_000
        lagging = by_ip and lags < self._settings.identity_lag_rate * 1_000_000
        text = _TEMPLATES[incident_type].format(
            priority=PRIORITIES[priority],
            who=f'"{ip}"' if by_ip else employee,
            timestamp=_seconds(ticks),
            source_ip=f"{1 + draws % 255}.{draws >> 16 & 255}.{draws >> 24 & 255}.{draws >> 32 & 255}",
        )
        return Incident(ticks, text, ip if lagging else None)

    def _move(self, incident_type: str, window: "_Window", now: int) -> None:
        """Bring a window to `now` (ticks), keeping the incidents that are still in it; its lock is held."""
        wanted = self._settings.records_per_type
        end = now // self._slot_ticks
        # The slot of `now` itself counts once its incident has happened.
        if now >= 0 and self.incident(incident_type, end).ticks <= now:
            end += 1
        first = max(0, end - wanted)
        end = max(first, end)
        if window.body is not None and (window.first, window.end) == (first, end):
            return
        kept = range(max(first, window.first), min(end, window.end))
        window.incidents = [
            window.incidents[index - window.first] if index in kept else self.incident(incident_type, index)
            for index in range(first, end)
        ]
        window.first, window.end, window.body = first, end, None

    def _hidden_ips(self, now: int) -> frozenset[str]:
        """The IPs that lag at `now` (ticks): of the window's lagging incidents younger than the lag."""
        if not self._lag_ticks:
            return frozenset()
        hidden: set[str] = set()
        for name, window in self._windows.items():
            if not _SHAPES[name].share_naming_ip:
                continue
            with window.lock:
                self._move(name, window, now)
                for incident in reversed(window.incidents):
                    if incident.ticks + self._lag_ticks <= now:
                        break
                    if incident.lagging_ip is not None:
                        hidden.add(incident.lagging_ip)
        return frozenset(hidden)


class _Window:
    """What is rendered of one type: incidents `first` to `end` - 1."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.first = 0
        self.end = 0
        self.incidents: list[Incident] = []
        self.body: bytes | None = None


class _Identities:
    """What is rendered of the identities: every (ip, JSON text), and the body without the hidden IPs."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.entries: list[tuple[str, str]] = []
        self.hidden: frozenset[str] = frozenset()
        self.body: bytes | None = None


class _People:
    """Employees and their IPs: each person of `count` has an employee id and an IP that nobody else has."""

    def __init__(self, seed: int, count: int) -> None:
        self._key = int.from_bytes(blake2b(f"{seed}/people".encode("ascii"), digest_size=8).digest())
        self._step = _HIGHEST_EMPLOYEE // count

    def identity(self, index: int) -> tuple[int, str]:
        """(employee id, IP) of person `index`; employee ids ascend with the index."""
        mixed = (index + self._key) * 0xBF58476D1CE4E5B9 & _MASK_64
        mixed = (mixed ^ mixed >> 31) * 0x94D049BB133111EB & _MASK_64
        employee = index * self._step + 1 + (mixed >> 33) % self._step
        # Adding, multiplying by an odd number, xor with a right shift: one-to-one on 24 bits, so no IP twice.
        host = (index + self._key) * 0x9E3779 & _MASK_24
        host = (host ^ host >> 11) * 0x85EBCB & _MASK_24
        host = (host ^ host >> 13) * 0xC2B2AF & _MASK_24
        host ^= host >> 12
        return employee, f"17.{host >> 16}.{host >> 8 & 255}.{host & 255}"


def _shortened(slot: int, ticks: int, draw: int) -> int:
    """`ticks` with as many of its seven decimals as `draw` (0 to 999) says, unless that leaves its slot."""
    if draw < 840:
        unit = 1
    elif draw < 970:
        unit = 10
    elif draw < 990:
        unit = 100
    elif draw < 998:
        unit = 1_000
    else:
        unit = 100_000
    shortened = ticks - ticks % unit
    return shortened if shortened >= slot else ticks


def _seconds(ticks: int) -> str:
    """Ticks as the text of a JSON number in seconds, without needless zeros but with at least one decimal."""
    whole, fraction = divmod(ticks, TICKS)
    decimals = f"{fraction:07d}".rstrip("0") or "0"
    return f"{whole}.{decimals}"
