"""The real poller, an hour at a time, through all that a year has: faults, crashes, outages, expiry."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from functions.poller.poll import Poller
from shared.domain.incident import INCIDENT_TYPES
from shared.domain.poll_report import ALL_SOURCES, IDENTITIES_SOURCE
from shared.domain.retention import Retention
from shared.store.table import ThrottledError
from tests.contract.disturbed import CrashError
from tests.fakes import Clock
from tests.integration.conftest import Reader, exact_json
from tests.soak.aging_dynamodb import MOST_LATE, AgingDynamoDB, Held
from tests.soak.disturbed_client import DisturbedClient, OneByOneTable, Trouble
from tests.soak.memory import Holding, measure_held, resident_bytes
from tests.soak.model import GRACE, BrokenPromiseError, Key, Model, Poll, require
from tests.soak.rolling_upstream import DAY, FAILURES, HOUR, WEEK, RollingUpstream, Visit

# At no full hour: the newest hour of a window is never whole when it is polled.
_BEGAN = 1_767_226_834.0
_POLLS_MEASURED = 10
# The kinds of items that expire, and what the model calls them.
_KINDS: Mapping[str, Sequence[str]] = {
    "INCIDENTS": ("incidents",),
    "ID#": ("ids",),
    "JOURNAL": ("journal",),
    "UNATTRIBUTED": ("waiting", "resolved"),
    "REJECTED": ("rejected",),
}
_ENTRIES_LAST_LONGER_DAYS = 32


@dataclass(frozen=True)
class Settings:
    """How much of what.

    ``trouble`` is how many times as often as in the whole year a poll meets some. The long outage is longer
    than any window.
    """

    days: int = 365
    seed: int = 1
    records: int = 300
    identities: int = 5_000
    retention_days: int = 90
    checkpoint_days: int = 30
    outage_day: int = 200
    outage_days: float = 8
    trouble: float = 1


@dataclass
class Checkpoint:
    """What was measured at one moment; ``predicted`` is how many items there may be, at least and at most.

    ``still_counted``: unattributed incidents in the totals that are not in the table.
    """

    day: float
    held: Mapping[str, Held]
    predicted: Mapping[str, tuple[int, int]]
    resident_bytes: int
    held_by_poller: Holding
    still_counted: int

    def bytes_predicted(self, kind: str, first: "Checkpoint") -> tuple[float, float]:
        """At least and at most, if an item of the kind takes what it took at the ``first`` checkpoint."""
        low, high = self.predicted[kind]
        each = first.held[kind].bytes / max(first.held[kind].items, 1)
        return low * each, high * each


@dataclass
class Report:
    """What happened in a run so far."""

    polls: Counter[str] = field(default_factory=Counter)
    source_failures: Counter[str] = field(default_factory=Counter)
    injected: Counter[str] = field(default_factory=Counter)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    poll_seconds: float = 0.0
    seconds: float = 0.0


class Switch:
    """Stands for what is behind it at the moment, so that a poller can live on from one poll to the next."""

    def __init__(self) -> None:
        self.target: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)


class Container:
    """One warm Lambda."""

    def __init__(self, dice: random.Random, retention: Retention, clock: Clock) -> None:
        self.client, self.upstream = Switch(), Switch()
        self.poller = Poller(
            table=OneByOneTable(self.client, dice),
            upstream=self.upstream,  # type: ignore[arg-type]  # a stand-in
            retention=retention,
            # One source after the other, so that the same seed gives the same run.
            concurrency=1,
            clock=clock,
            monotonic=lambda: 0.0,
        )

    def measure_held(self) -> Holding:
        """What it holds on to, but for the table and the upstream."""
        return measure_held([self.poller], but=[self.client, self.upstream])


@dataclass
class FeedReader:
    """A client of the feed: the token that it has stored, and how many lines it has had."""

    token: str = ""
    lines: int = 0


class Soak:
    """One run; ``say`` gets a line of progress at each checkpoint."""

    def __init__(self, settings: Settings, *, say: Callable[[str], None] = lambda line: None) -> None:
        self.settings = settings
        self.report = Report()
        self._say = say
        self._dice = random.Random(settings.seed)  # noqa: S311 - no secret
        self._clock = Clock(_BEGAN)
        self._retention = Retention(settings.retention_days)
        self.database = AgingDynamoDB(self._dice)
        self.upstream = RollingUpstream(
            self._dice, records=settings.records, identities=settings.identities, began=_BEGAN - WEEK
        )
        self._outage = (
            _BEGAN + settings.outage_day * DAY,
            _BEGAN + (settings.outage_day + settings.outage_days) * DAY,
        )
        self.model = Model(settings.retention_days, _BEGAN, self._outage)
        self.upstream.made, self.upstream.gone = self.model.made, self.model.gone
        self._containers = [self._new_container(), self._new_container()]
        self._reader = Reader(self.database, clock=self._clock, retention=self._retention)
        self._daily, self._monthly, self._first = FeedReader(), FeedReader(), FeedReader()
        self._writes = 20
        self._behind = True
        self._down_until = 0.0
        self._streaks: dict[str, float] = {}

    def run(self) -> Report:
        """Raises :class:`BrokenPromiseError` with the seed and the moment."""
        began = time.perf_counter()
        settings = self.settings
        try:
            self.upstream.advance(_BEGAN)
            self.model._rolled_out.clear()
            for day in range(settings.days):
                while self._clock.now < _BEGAN + (day + 1) * DAY:
                    self._hour()
                self._read_feed(self._daily)
                last = day + 1 == settings.days
                if not self._in_long_outage() and (last or (day + 1) % settings.checkpoint_days == 0):
                    self._check(began)
            self._check_what_a_year_shows()
        except BrokenPromiseError as broken:
            day_of_run = (self._clock.now - _BEGAN) / DAY
            raise BrokenPromiseError(f"seed {settings.seed}, day {day_of_run:.2f}: {broken}") from broken
        self.report.seconds = time.perf_counter() - began
        return self.report

    # ------------------------------------------------------------ time and polls

    def _hour(self) -> None:
        """One hour of the schedule, with what befalls it."""
        dice = self._dice
        self._pass(HOUR)
        if self._is_down():
            self._behind = True
            return
        behind, self._behind = self._behind, False
        chance = dice.random() / self.settings.trouble
        if chance < 0.05:
            self._poll(Trouble(dies_at=self._some_write(), takes_effect=dice.random() < 0.5))
        elif chance < 0.10:
            self._poll(Trouble(storm=dice.choice((0.005, 0.02, 0.1, 0.5))))
        elif chance < 0.13:
            self._poll(Trouble(pauses_at=self._some_write(), meanwhile=self._overtake))
        elif chance < 0.15:
            self._poll(Trouble())
            self._poll(Trouble(), container=1)
        elif chance < 0.16 or (behind and chance < 0.6):
            self._poll(Trouble(), seconds_left=1)
        else:
            self._poll(Trouble())
        self.database.requests.clear()

    def _overtake(self) -> None:
        """One or two other polls, disturbed or not, while one stands still."""
        for _ in range(self._dice.randint(1, 2)):
            self._pass(self._dice.randint(0, 1200))
            dies_at = self._some_write() if self._dice.random() < 0.2 else 0
            self._poll(Trouble(dies_at=dies_at), container=1)

    def _some_write(self) -> int:
        """One of as many writes as a poll has had of late; the first is most often that of its entry, and
        after an outage there may be thousands.
        """
        chance = self._dice.random()
        if chance < 0.2:
            return 1
        return self._dice.randint(1, self._writes if chance < 0.9 else 50 * self._writes)

    def _poll(
        self,
        trouble: Trouble,
        *,
        container: int = 0,
        seconds_left: float = 240,
        undisturbed: bool = False,
    ) -> Poll:
        visit = Visit(self.upstream)
        if not undisturbed:
            visit.failing, visit.lagging = self._failing_sources(), self._dice.random() < 0.02
        poll = Poll(self._clock.now, visit)
        client = DisturbedClient(
            self.database,
            trouble,
            dice=self._dice,
            injected=self.report.injected,
            committed=lambda sequence, item: self.model.committed(sequence, item, poll),
        )
        here = self._containers[container]
        here.client.target, here.upstream.target = client, visit
        self.model.began(poll)
        before = time.process_time()
        outcome, in_full = self._run(here, poll, seconds_left)
        self._writes = round(0.9 * self._writes + 0.1 * max(client.writes, 20))
        self.report.poll_seconds += time.process_time() - before
        if client.died:
            outcome, in_full = "died", False
            self._containers[container] = self._new_container()
        self.report.polls[outcome] += 1
        self.report.source_failures.update(visit.failing.values())
        self.model.ended(poll, in_full=in_full)
        require(outcome == "succeeded" or not undisturbed, f"a poll that nothing disturbed {outcome}")
        return poll

    def _run(self, container: Container, poll: Poll, seconds_left: float) -> tuple[str, bool]:
        """How the poll ended, and whether it says that all that it took is stored."""
        try:
            summary = container.poller.poll(seconds_left=seconds_left)
        except CrashError:
            return "died", False
        except (ClientError, BotoCoreError, ThrottledError):
            return "raised", False
        told = summary.new_incidents + summary.attributed_late
        require(told == poll.attributed, f"a poll tells of {told} incidents, and {poll.attributed} went in")
        if summary.postponed:
            return "postponed a part", False
        return summary.outcome, summary.outcome == "succeeded"

    def _failing_sources(self) -> dict[str, str]:
        """Which sources fail this time, and how; some go on failing for hours."""
        dice = self._dice
        if dice.random() < 0.02:
            source = dice.choice(ALL_SOURCES)
            # Identities of more than a day ago attribute nothing.
            hours = dice.uniform(1, 36 if source == IDENTITIES_SOURCE else 6)
            self._streaks[source] = self._clock.now + hours * HOUR
        failing = {source for source, until in self._streaks.items() if self._clock.now < until}
        chance = dice.random()
        if chance < 0.02:
            failing = set(ALL_SOURCES)
        elif chance < 0.17:
            failing |= set(dice.sample(ALL_SOURCES, dice.randint(1, 3)))
        return {source: dice.choice(FAILURES) for source in ALL_SOURCES if source in failing}

    def _pass(self, seconds: float) -> None:
        self._clock.now += seconds
        self.upstream.advance(self._clock.now)
        self.database.delete_expired(self._clock.now)

    def _is_down(self) -> bool:
        """Whether the schedule does not run: for some hours now and then, and once for the long outage."""
        if self._clock.now >= self._down_until and self._dice.random() < 1 / 250:
            self._down_until = self._clock.now + self._dice.uniform(2, 12) * HOUR
        down = self._clock.now < self._down_until or self._in_long_outage()
        self.report.polls["not run"] += down
        return down

    def _in_long_outage(self) -> bool:
        return self._outage[0] <= self._clock.now < self._outage[1]

    def _new_container(self) -> Container:
        return Container(self._dice, self._retention, self._clock)

    # ------------------------------------------------------------ checks

    def _check(self, began: float) -> None:
        """All that must be so, after a walk during which the polls went on."""
        self._walk()
        self._settle()
        before = self._containers[0].measure_held()
        for _ in range(_POLLS_MEASURED):
            poll = self._settle()
        after = self._containers[0].measure_held()
        require(
            after.objects - before.objects < _POLLS_MEASURED
            and after.bytes - before.bytes < 100 * _POLLS_MEASURED,
            f"{_POLLS_MEASURED} polls made of {before} {after}",
        )
        self.model.check_settled(poll, self._stored())
        self.model.count_lost()
        still_counted = self._check_health()
        self._check_numbers()
        for reader in (self._daily, self._monthly):
            self._read_feed(reader)
        # Without a token a client begins with the oldest entry that is kept for sure.
        self._read_feed(FeedReader(lines=self.model.oldest_line(self._clock.now)))
        self.model.forget(self._clock.now)
        checkpoint = Checkpoint(
            day=(self._clock.now - _BEGAN) / DAY,
            held=self.database.held(),
            predicted=self._predict(),
            resident_bytes=resident_bytes(),
            held_by_poller=after,
            still_counted=still_counted,
        )
        self._check_size(checkpoint)
        self.report.checkpoints.append(checkpoint)
        self._say(
            f"day {checkpoint.day:5.1f}: {self.model.counts['attributed']:,} incidents in,"
            f" {sum(each.items for each in checkpoint.held.values()):,} items held,"
            f" {checkpoint.resident_bytes / 2**20:.0f} MB resident, {time.perf_counter() - began:.0f} s"
        )

    def _settle(self) -> Poll:
        self._pass(HOUR)
        poll = self._poll(Trouble(), undisturbed=True)
        self.database.requests.clear()
        return poll

    def _stored(self) -> Mapping[str, list[Any]]:
        """The keys of what is stored, by the model's kinds."""
        sort_keys = {
            pk: [item["sk"]["S"] for item in self.database.items_of(pk)]
            for pk in ("INCIDENTS", "JOURNAL", "REJECTED")
        }
        waiting = list(self.database.items_of("UNATTRIBUTED"))
        pks = self.database._partitions
        return {
            "incidents": [(sk[:20].lstrip("0"), sk.rsplit("#", 1)[1]) for sk in sort_keys["INCIDENTS"]],
            "ids": [pk.removeprefix("ID#") for pk in pks if pk.startswith("ID#")],
            "journal": [int(sk) for sk in sort_keys["JOURNAL"]],
            "rejected": sort_keys["REJECTED"],
            "waiting": [item["sk"]["S"] for item in waiting if "resolved_sequence" not in item],
            "resolved": [item["sk"]["S"] for item in waiting if "resolved_sequence" in item],
        }

    def _predict(self) -> Mapping[str, tuple[int, int]]:
        """How many items of each kind: at least what has not expired, at most that and what expired so lately
        that it may not be deleted yet.
        """
        now = self._clock.now
        predicted = {"STATE": (1, 1), "CURSOR_KEYS": (1, 1), "NOTIFIED": (1, 1), "IDENTITIES": (2, 2)}
        predicted["SOURCE#"] = (len(INCIDENT_TYPES), len(INCIDENT_TYPES))
        predicted["SUMMARY"] = (2, 2)
        # An employee's numbers go with the last incident.
        last: dict[str, float] = {}
        for (employee_id, _), expires_at in self.model.incidents.items():
            last[employee_id] = max(expires_at, last.get(employee_id, 0))
        expiring = {
            kind: [each for name in names for each in self.model.expected()[name].values()]
            for kind, names in _KINDS.items()
        }
        for kind, expiries in (expiring | {"EMPLOYEES": list(last.values())}).items():
            predicted[kind] = (
                sum(each > now for each in expiries),
                sum(each > now - MOST_LATE for each in expiries),
            )
        return predicted

    def _check_size(self, checkpoint: Checkpoint) -> None:
        require(checkpoint.held.keys() == checkpoint.predicted.keys(), f"kinds: {sorted(checkpoint.held)}")
        for kind, (low, high) in checkpoint.predicted.items():
            items = checkpoint.held[kind].items
            require(low <= items <= high, f"{kind}: {items} items, not {low} to {high}")

    def _check_numbers(self) -> None:
        """What is told in numbers is what went in and is not past its time, to the day."""
        answer = self._reader.get("/summary", days="400")
        require(answer.status == 200, f"the numbers after a good poll: {answer.text}")
        summary = json.loads(answer.text)
        as_of = self._clock.now // HOUR * HOUR
        first_day = (as_of - self.model.retention_days * DAY) // DAY
        kept_for = self.model.retention_days * DAY + GRACE
        employees = [
            employee_id
            for (employee_id, _), expires_at in self.model.incidents.items()
            if (expires_at - kept_for) // DAY >= first_day
        ]
        told = (summary["incidents"], summary["employees_affected"])
        wanted = (len(employees), len(set(employees)))
        require(told == wanted, f"{told} incidents and employees are told, not {wanted}")

    def _check_health(self) -> int:
        """`/health` after an undisturbed poll: it passes, and has counted what went in.

        Gives how many waiting incidents it still counts that time to live has taken.
        """
        answer = self._reader.get("/health")
        health = json.loads(answer.text)
        require(
            answer.status == 200 and health["status"] == "pass", f"health after a good poll: {answer.text}"
        )
        counted = self.model.counts["attributed"]
        require(
            health["total_identified_incidents"] == counted,
            f"{health['total_identified_incidents']} incidents in the totals, and {counted} went in",
        )
        open_items = [
            each for each in self.database.items_of("UNATTRIBUTED") if "resolved_sequence" not in each
        ]
        now, waiting = self._clock.now, self.model.waiting.values()
        # Counted anew once a day, without those that are past their time.
        least, most = (sum(each - GRACE >= now - slack for each in waiting) for slack in (0, 2 * DAY))
        require(
            least <= health["unattributed_incidents"] <= most,
            f"{health['unattributed_incidents']} unattributed are counted, not {least} to {most}",
        )
        return int(health["unattributed_incidents"]) - len(open_items)

    def _walk(self) -> None:
        """Walk over all incidents while polls go on and items expire."""
        as_of = self._clock.now // HOUR * HOUR
        found: dict[Key, str] = {}
        for page in self._pages():
            snapshot = int(page["snapshot"]["sequence"])
            for employee_id, groups in page["incidents"].items():
                for group in groups.values():
                    require(
                        int(group["count"]) == len(group["incidents"]), "a count is not that of its incidents"
                    )
                    for incident in group["incidents"]:
                        key = (incident["type"], incident["timestamp"])
                        require(key not in found, f"the walk shows {key} twice")
                        found[key] = employee_id
        oldest_kept = as_of - self.settings.retention_days * DAY
        self.model.check_walk(found, snapshot=snapshot, oldest_kept=oldest_kept)

    def _pages(self) -> Iterator[Any]:
        query = {"limit": "500"}
        while True:
            answer = self._reader.get("/incidents", **query)
            require(answer.status == 200, answer.text)
            page = exact_json(answer.text)
            yield page
            if not page["has_more"]:
                return
            query["cursor"] = page["next_cursor"]
            self._hour()

    def _read_feed(self, reader: FeedReader) -> None:
        """Let a client of the feed come back with its token."""
        lines: list[tuple[int, str, str]] = []
        while True:
            query = {"limit": "500"} | ({"token": reader.token} if reader.token else {})
            answer = self._reader.get("/incidents/changes", **query)
            require(answer.status == 200, answer.text)
            page = exact_json(answer.text)
            lines += [(int(each["sequence"]), each["id"], each["employee_id"]) for each in page["data"]]
            reader.token = page["next_token"]
            if not page["has_more"]:
                break
        self._first.token = self._first.token or reader.token
        state = next(self.database.items_of("STATE"))
        projected = int(state["projected"]["N"])
        reader.lines = self.model.check_feed(lines, after=reader.lines, projected=projected)

    def _check_what_a_year_shows(self) -> None:
        """What can be seen only where the run was long enough."""
        settings = self.settings
        checkpoints = self.report.checkpoints
        entries_kept = settings.retention_days + _ENTRIES_LAST_LONGER_DAYS + 7
        if settings.days > entries_kept:
            answer = self._reader.get("/incidents/changes", token=self._first.token)
            require(answer.status == 410, f"a token of the first day is answered with {answer.status}")
        flat = [each for each in checkpoints if each.day >= entries_kept]
        for kind in ("INCIDENTS", "ID#", "JOURNAL"):
            sizes = [each.held[kind].bytes for each in flat]
            if sizes:
                require(max(sizes) <= 1.25 * min(sizes), f"{kind} is not flat: {sizes} bytes")
        held = [each.held_by_poller.bytes for each in checkpoints]
        if held:
            grown = max(held) - min(held)
            require(grown < 20_000, f"the poller holds on to more and more: {held} bytes")
        resident = [each.resident_bytes for each in flat]
        if resident:
            require(max(resident) <= 1.25 * min(resident), f"memory is not flat: {resident} bytes")
