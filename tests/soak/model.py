"""What must be in the table, by a plain account of what was served, taken and committed.

It knows of the service's code only how long things are kept (docs/data-model.md).
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from tests.soak.aging_dynamodb import MOST_LATE
from tests.soak.disturbed_client import read_decisions
from tests.soak.rolling_upstream import DAY, MOST_DELAYED, Record, Visit

GRACE = 2 * DAY
_ENTRIES_LONGER = 30 * DAY
# Names at most so many of what is wrong.
_SHOWN = 3

type Key = tuple[str, str]


class BrokenPromiseError(AssertionError):
    """The table, or an answer, is not as it has to be."""


class Line(NamedTuple):
    """One attributed incident of the journal, as the feed has to deliver it; ``at`` is its timestamp."""

    sequence: int
    id: str
    key: Key
    employee_id: str
    at: float


@dataclass
class Poll:
    """One poll: when it began (epoch seconds), what it was served, how many incidents its entries brought."""

    at: float
    visit: Visit
    attributed: int = 0


@dataclass
class Model:
    """``retention_days`` as the service has it.

    Records may be lost only through ``outage`` (from and until), and those of before the first poll.

    The maps of ids say when each item expires. ``feed`` is what the journal brought and has not forgotten,
    after ``forgotten`` lines before it.
    """

    retention_days: int
    first_poll_at: float
    outage: tuple[float, float]
    records: dict[Key, Record] = field(default_factory=dict)
    id_of: dict[Key, str] = field(default_factory=dict)
    feed: list[Line] = field(default_factory=list)
    forgotten: int = 0
    journal: dict[int, float] = field(default_factory=dict)
    incidents: dict[tuple[str, str], float] = field(default_factory=dict)
    attributed: dict[str, str] = field(default_factory=dict)
    ids: dict[str, float] = field(default_factory=dict)
    waiting: dict[str, float] = field(default_factory=dict)
    resolved: dict[str, float] = field(default_factory=dict)
    rejected: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    _last_committed_at: float = 0.0
    _polls: list[Poll] = field(default_factory=list)
    _rolled_out: list[Record] = field(default_factory=list)
    _may_be_gone: set[str] = field(default_factory=set)
    _taken_before_outage: dict[str, float] = field(default_factory=dict)

    # ------------------------------------------------------------ what happens

    def made(self, record: Record) -> None:
        """The upstream has a new record."""
        self.counts["bad records" if record.bad else "incidents"] += 1
        self.records[record.key] = record

    def gone(self, record: Record) -> None:
        """The upstream has forgotten a record."""
        record.value = None
        self._rolled_out.append(record)

    def committed(self, sequence: int, item: Mapping[str, Any], poll: Poll) -> None:
        """An entry is in: nothing in it may be unknown, there already, or somebody else's."""
        at = datetime.fromisoformat(item["committed_at"]["S"]).timestamp()
        require(at >= self._last_committed_at, f"entry {sequence} is older than the one before it")
        require(
            sequence == max(self.journal, default=0) + 1, f"entry {sequence} does not follow the one before"
        )
        self._last_committed_at = at
        self.journal[sequence] = self._expiry(at) + _ENTRIES_LONGER
        self.counts["entries"] += 1
        for outcome, key, record_id, employee_id in read_decisions(item):
            record = self.records.get(key)
            if record is None:
                raise BrokenPromiseError(f"entry {sequence} has {key}, which is forgotten or never was")
            self._decided(sequence, outcome, record, record_id, at)
            if outcome.startswith("attributed"):
                self._attributed(sequence, record, record_id, employee_id, poll)

    def began(self, poll: Poll) -> None:
        """A poll is under way: what it gets may be stored from now on."""
        self._polls.append(poll)

    def ended(self, poll: Poll, *, in_full: bool) -> None:
        """A poll is over. ``in_full``: it says that all that it took is stored."""
        oldest_kept = poll.at - self.retention_days * DAY
        for record in poll.visit.taken():
            record.seen = True
            if in_full and record.taken is None and (record.at >= oldest_kept or record.bad):
                record.taken = poll.at
        if in_full and poll.at < self.outage[0]:
            self._taken_before_outage |= dict.fromkeys(poll.visit.served, poll.at)

    def _decided(self, sequence: int, outcome: str, record: Record, record_id: str, at: float) -> None:
        require(record.bad == (outcome == "rejected"), f"{record.key} is {outcome}, and bad is {record.bad}")
        require(self.id_of.setdefault(record.key, record_id) == record_id, f"{record.key} has a second id")
        if outcome == "attributed_late":
            require(
                record_id in self.waiting, f"{record.key} is attributed late, and did not wait: {record_id}"
            )
            if self.waiting.pop(record_id) <= at:
                # It may have gone in this very moment; resolving does not bring it back.
                self._may_be_gone.add(record_id)
            self.resolved[record_id] = int(at) + GRACE
            self.counts["attributed late"] += 1
            return
        # A rejected record is never too old: served for longer than it is kept, it comes again.
        again = outcome == "rejected" and self.rejected.get(record_id, at) < at
        require(again or record_id not in self.ids, f"{record.key} is in twice, again in entry {sequence}")
        if outcome == "rejected":
            self.rejected[record_id] = self.ids[record_id] = self._expiry(at)
            self.counts["rejected"] += 1
            return
        self.ids[record_id] = self._expiry(record.at)
        if outcome == "unattributed":
            self.waiting[record_id] = self._expiry(record.at)
            self.counts["unattributed first"] += 1

    def _attributed(
        self, sequence: int, record: Record, record_id: str, employee_id: str, poll: Poll
    ) -> None:
        require(record_id not in self.attributed, f"{record.key} is attributed twice")
        allowed = self._employees(record, poll)
        require(
            employee_id in allowed,
            f"{record.key} about {record.subject} is {employee_id}'s and not of {sorted(allowed)}",
        )
        self.attributed[record_id] = employee_id
        self.incidents[employee_id, record_id] = self._expiry(record.at)
        self.feed.append(Line(sequence, record_id, record.key, employee_id, record.at))
        self.counts["attributed"] += 1
        poll.attributed += 1

    def _employees(self, record: Record, poll: Poll) -> set[str]:
        """Whose it may be: by the identities that the poll got, else by any of the last 24 hours."""
        if not record.has_ip:
            return {record.subject}
        if poll.visit.identities:
            maps = [poll.visit.identities]
        else:
            polls = [each for each in self._polls if each.at >= poll.at - DAY]
            maps = [each.visit.identities for each in polls if each.visit.identities]
        return {each.employee_by_ip[record.subject] for each in maps if record.subject in each.employee_by_ip}

    # ------------------------------------------------------------ what must be

    def check_settled(self, poll: Poll, tables: Mapping[str, Collection[Any]]) -> None:
        """After a poll that nothing disturbed: all that was ever taken is there, and nothing else is.

        ``tables`` are the keys of what is stored, by kind.
        """
        now = poll.at
        untold = [each for each in self.records.values() if each.taken and each.key not in self.id_of]
        require(
            not untold,
            f"{len(untold)} records were taken and are not in: {_some(each.key for each in untold)}",
        )
        for kind, expected in self.expected().items():
            there = set(tables[kind])
            require(len(there) == len(tables[kind]), f"{kind}: something is there twice")
            missing = {key for key, expires_at in expected.items() if expires_at > now} - there
            missing -= self._may_be_gone if kind == "resolved" else set()
            require(not missing, f"{kind}: {len(missing)} are missing: {_some(missing)}")
            surplus = there - {key for key, expires_at in expected.items() if expires_at > now - MOST_LATE}
            require(not surplus, f"{kind}: {len(surplus)} are there, and must not: {_some(surplus)}")
        identities = poll.visit.identities
        known = identities.employee_by_ip if identities else {}
        oldest_kept = now - self.retention_days * DAY
        subjects = {
            self.id_of[key]: record.subject
            for key, record in self.records.items()
            if key in self.id_of and record.at >= oldest_kept
        }
        late = [each for each in tables["waiting"] if subjects.get(each) in known]
        require(not late, f"{len(late)} wait, and their IP is known: {_some(late)}")

    def check_walk(self, found: Mapping[Key, str], *, snapshot: int, oldest_kept: float) -> None:
        """A walk has each incident of its snapshot, whose it is, and no other."""
        expected = {
            line.key: line.employee_id
            for line in self.feed
            if line.sequence <= snapshot and line.at >= oldest_kept
        }
        missing, surplus = expected.keys() - found.keys(), found.keys() - expected.keys()
        require(not missing, f"the walk at {snapshot} lacks {len(missing)} incidents: {_some(missing)}")
        require(not surplus, f"the walk at {snapshot} has {len(surplus)} too many: {_some(surplus)}")
        wrong = [key for key, employee_id in expected.items() if found[key] != employee_id]
        require(not wrong, f"the walk has {len(wrong)} under a wrong employee: {_some(wrong)}")

    def check_feed(self, lines: Sequence[tuple[int, str, str]], *, after: int, projected: int) -> int:
        """A reader that has had ``after`` lines of all gets exactly the next ones; says how many it has then.

        ``lines`` are (sequence, id, employee id).
        """
        first = after - self.forgotten
        end = bisect_right(self.feed, projected, key=lambda line: line.sequence)
        expected = [(line.sequence, line.id, line.employee_id) for line in self.feed[first:end]]
        if expected != list(lines):
            place = next(
                (n for n, (one, other) in enumerate(zip(expected, lines, strict=False)) if one != other),
                min(len(expected), len(lines)),
            )
            raise BrokenPromiseError(
                f"the feed after {after} has {len(lines)} lines, not {len(expected)}; from line {place} on:"
                f" {list(lines)[place : place + _SHOWN]}, not {expected[place : place + _SHOWN]}"
            )
        return self.forgotten + end

    def oldest_line(self, now: float) -> int:
        """How many lines come before the oldest entry that is kept for sure."""
        first = min((each for each, expires_at in self.journal.items() if expires_at > now), default=0)
        return self.forgotten + sum(line.sequence < first for line in self.feed)

    def expected(self) -> Mapping[str, Mapping[Any, float]]:
        """When each item expires that was ever written, by kind; those who waited and do no longer apart."""
        return {
            "incidents": self.incidents,
            "ids": self.ids,
            "journal": self.journal,
            "rejected": self.rejected,
            "waiting": self.waiting,
            "resolved": self.resolved,
        }

    def count_lost(self) -> None:
        """Account for the records that rolled out untaken: only the long outage may have cost any."""
        for record in self._rolled_out:
            if record.taken:
                continue
            if record.key in self.id_of:
                self.counts["saved by a poll that did not end"] += 1
                continue
            if record.at < self.first_poll_at:
                self.counts["gone before the first poll"] += 1
                continue
            since = self._taken_before_outage.get(record.key[0], 0.0) - MOST_DELAYED
            require(
                since <= record.at <= self.outage[1],
                f"{record.key} was lost, and the poller was not away: seen {record.seen}",
            )
            self.counts["lost in the long outage"] += 1
        self._rolled_out.clear()

    def forget(self, now: float) -> None:
        """Drop what has gone for sure, so that this account grows no more than the table does."""
        gone = now - MOST_LATE - DAY
        for kind in self.expected().values():
            for key in [key for key, expires_at in kind.items() if expires_at <= gone]:
                del kind[key]  # type: ignore[attr-defined]  # each kind is a dict
        for record in [each for each in self.records.values() if self._expiry(each.at) <= gone]:
            record_id = self.id_of.pop(record.key, "")
            self.attributed.pop(record_id, None)
            del self.records[record.key]
        oldest = min(self.journal, default=0)
        kept = bisect_right(self.feed, oldest - 1, key=lambda line: line.sequence)
        self.forgotten += kept
        del self.feed[:kept]
        self._polls = [each for each in self._polls if each.at >= now - 2 * DAY]
        self._may_be_gone &= self.resolved.keys()

    def _expiry(self, at: float) -> float:
        return int(at) + self.retention_days * DAY + GRACE


def require(holds: bool, otherwise: str) -> None:
    """Raise :class:`BrokenPromiseError` that says what is ``otherwise``."""
    if not holds:
        raise BrokenPromiseError(otherwise)


def _some(things: Iterable[Any]) -> str:
    return ", ".join(map(str, sorted(things)[:_SHOWN]))
