"""What waits, and what is kept beside the journal: each may be lost, late or half-written without harm."""

import random
import struct
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.attribution import Identities, make_identities
from shared.domain.incident import Incident
from shared.domain.retention import Retention
from shared.domain.signing import SigningKey
from shared.domain.window import digest_ids
from shared.store import identities as identities_module
from shared.store import signing_keys as signing_keys_module
from shared.store.digests import MAX_HOURS, read_digests, store_digests
from shared.store.identities import MAX_CHUNK_BYTES, read_identities, store_identities
from shared.store.signing_keys import ROTATE_AFTER_SECONDS, read_signing_keys, rotate_signing_keys
from shared.store.table import Table
from shared.store.unattributed import add, read_open, resolve
from tests.contract.conftest import Backend
from tests.contract.disturbed import CrashError, PausingPoll, crashing
from tests.contract.model import COMMITTED_AT, DAY, make_incident
from tests.fakes import MemoryDynamoDB, item_size

FOREVER = Retention(0)
NOW = COMMITTED_AT + 0.25


def open_ids(table: Table) -> list[int]:
    return [int(incident.id, 16) for incident in read_open(table)]


class TestUnattributed:
    incidents: tuple[Incident, ...] = tuple(make_incident(number) for number in range(1, 5))

    def test_what_was_added_waits(self, store: Table) -> None:
        """Each comes back as the incident that it was, digits and fields included."""
        assert list(read_open(store)) == []
        add(store, self.incidents, sequence=1, retention=FOREVER)
        assert list(read_open(store)) == list(self.incidents)

    def test_only_the_open_ones_are_read(self, store: Table) -> None:
        """What was attributed waits no more; the rest goes on waiting."""
        add(store, self.incidents, sequence=1, retention=FOREVER)
        resolve(store, [self.incidents[1].id, self.incidents[3].id], sequence=2, resolved_at=NOW)
        assert open_ids(store) == [1, 3]
        resolve(store, [], sequence=3, resolved_at=NOW)
        assert open_ids(store) == [1, 3]

    @pytest.mark.parametrize("days", [0, 30])
    def test_a_late_replay_undoes_nothing(self, store: Table, dump: Any, days: int) -> None:
        """Adding again, before or after it was resolved, neither changes nor re-opens."""
        retention = Retention(days)
        add(store, self.incidents, sequence=1, retention=retention)
        added = dump(store)
        add(store, self.incidents, sequence=1, retention=retention)
        assert dump(store) == added
        resolve(store, [self.incidents[0].id], sequence=2, resolved_at=NOW)
        resolved = dump(store)
        assert resolved != added
        add(store, self.incidents, sequence=1, retention=retention)
        assert dump(store) == resolved
        resolve(store, [self.incidents[0].id], sequence=2, resolved_at=NOW)
        assert dump(store) == resolved
        assert open_ids(store) == [2, 3, 4]

    def test_resolving_what_is_gone_brings_nothing_back(self, store: Table, dump: Any) -> None:
        """An item that its time to live took away does not come back as an empty one."""
        resolve(store, [self.incidents[0].id], sequence=2, resolved_at=NOW)
        assert dump(store) == {}

    def test_a_resolved_one_goes_away_after_two_days(self, store: Table, dump: Any) -> None:
        """A walk that began before it was resolved still shows it: kept for 48 hours, then deleted."""
        add(store, self.incidents[:2], sequence=1, retention=FOREVER)
        resolve(store, [self.incidents[0].id], sequence=2, resolved_at=NOW)
        first, second = (dump(store)["UNATTRIBUTED", each.id] for each in self.incidents[:2])
        assert first["expires_at"] == {"N": str(COMMITTED_AT + 2 * DAY)}
        assert first["resolved_sequence"] == {"N": "2"}
        assert "expires_at" not in second
        assert "resolved_sequence" not in second

    def test_many_are_read_over_several_requests(self, store: Table) -> None:
        """More than a request can hold (1 MB), most of them resolved: every open one is found, once."""
        big = [make_incident(number) for number in range(30)]
        for incident in big:
            incident.fields["text"] = "x" * 60_000  # type: ignore[index]  # a Mapping to everybody else
        add(store, big, sequence=1, retention=FOREVER)
        resolve(store, [each.id for each in big[:25]], sequence=2, resolved_at=NOW)
        assert open_ids(store) == [25, 26, 27, 28, 29]


DIGESTS = {-1: digest_ids(["r"]), 0: digest_ids(["a"]), 472_222: digest_ids(["b", "c"])}


def week(begin: int = 494_000) -> dict[int, bytes]:
    """Digests of a window that has something in each hour."""
    return {hour: digest_ids([str(hour)]) for hour in range(begin, begin + 168)}


class TestDigests:
    def test_hours_are_known_by_source(self, store: Table) -> None:
        """Each source has its own; the bucket of rejected records (hour -1) is one like the others."""
        assert read_digests(store, "denial").known(DIGESTS) == set()
        store_digests(store, "denial", DIGESTS, sequence=1)
        store_digests(store, "probing", {5: digest_ids(["x"])}, sequence=1)
        assert read_digests(store, "denial").known(DIGESTS) == DIGESTS.keys()
        assert read_digests(store, "probing").known({5: digest_ids(["x"])}) == {5}
        assert read_digests(store, "probing").known({5: digest_ids(["y"]), 6: digest_ids(["x"])}) == set()
        assert read_digests(store, "other").known(DIGESTS) == set()

    def test_what_an_earlier_version_stored_is_read(self, store: Table, backend: Backend) -> None:
        """An hour and a digest a row; and that version finds nothing wrong with what is stored now."""
        store_digests(store, "denial", DIGESTS, sequence=1)
        item = dict(backend.dump(store)["SOURCE#denial", "DIGESTS"])
        assert bytes(item.pop("blocks")["B"])
        assert bytes(item["digests"]["B"]) == b""
        rows = b"".join(struct.pack(">i12s", hour, digest) for hour, digest in DIGESTS.items())
        backend.client.put_item(TableName=store.name, Item={**item, "digests": {"B": rows}})
        assert read_digests(store, "denial").known(DIGESTS) == DIGESTS.keys()

    def test_a_week_takes_one_write_unit(self, store: Table, backend: Backend) -> None:
        """Wherever it begins, with all hours or with one in six missing, and something rejected."""
        for begin in range(494_000, 494_004):
            for gaps in (1_000_000, 6):
                digests = {-1: b"r" * 12} | {
                    hour: digest for hour, digest in week(begin).items() if hour % gaps
                }
                store_digests(store, "unauthorized", digests, sequence=10**6)
                item = backend.dump(store)["SOURCE#unauthorized", "DIGESTS"]
                assert item_size(item) <= 1024  # type: ignore[arg-type]  # as a dump has it
                assert read_digests(store, "unauthorized").known(digests) == digests.keys()

    def test_what_changed_is_not_known(self, store: Table) -> None:
        """One hour at an end of the window costs that hour alone, one in between three more; an hour that
        came to be or left does, too.
        """
        digests = week()
        store_digests(store, "denial", digests, sequence=1)
        stored = read_digests(store, "denial")
        for hour in digests:
            unknown = digests.keys() - stored.known(digests | {hour: b"x" * 12})
            assert hour in unknown
            apart = hour < 494_012 or hour >= 494_156
            assert len(unknown) == 1 if apart else len(unknown) in (1, 4)
            rest = {each: digest for each, digest in digests.items() if each != hour}
            assert len(rest.keys() - stored.known(rest)) in ((0,) if apart else (0, 3))
            store_digests(store, "other", rest, sequence=1)
            assert hour not in read_digests(store, "other").known(digests)

    @settings(max_examples=200, deadline=None, database=None)
    @given(
        before=st.dictionaries(st.integers(-1, 120), st.sampled_from([b"a" * 12, b"b" * 12]), max_size=80),
        changed=st.dictionaries(st.integers(-1, 120), st.sampled_from([b"a" * 12, b"c" * 12]), max_size=5),
        gone=st.sets(st.integers(-1, 120), max_size=5),
    )
    def test_nothing_is_known_that_is_not(
        self, before: dict[int, bytes], changed: dict[int, bytes], gone: set[int]
    ) -> None:
        """Whatever changed since: each hour that is called known is just as it was stored, and what did not
        change at all is known.
        """
        memory = MemoryDynamoDB()
        table = Table(memory.table_name, client=memory)  # type: ignore[arg-type]  # as much of a client as is needed
        store_digests(table, "denial", before, sequence=1)
        stored = read_digests(table, "denial")
        assert stored.known(before) == before.keys()
        now = {hour: digest for hour, digest in (before | changed).items() if hour not in gone}
        assert all(before.get(hour) == now[hour] for hour in stored.known(now))

    def test_a_new_set_replaces_the_old_one_whole(self, store: Table) -> None:
        """Hours that rolled out of the window are gone; an empty window has no digests."""
        store_digests(store, "denial", DIGESTS, sequence=1)
        store_digests(store, "denial", {7: digest_ids(["x"])}, sequence=2)
        assert read_digests(store, "denial").known(DIGESTS | {7: digest_ids(["x"])}) == {7}
        store_digests(store, "denial", {}, sequence=3)
        assert read_digests(store, "denial").blocks == ()

    def test_an_older_poll_never_replaces_a_newer_one(self, store: Table, dump: Any) -> None:
        """Sequences are compared as numbers: 9 is older than 10, and the same poll may store again."""
        store_digests(store, "denial", DIGESTS, sequence=10)
        before = dump(store)
        store_digests(store, "denial", {7: digest_ids(["x"])}, sequence=9)
        assert dump(store) == before
        store_digests(store, "denial", {8: digest_ids(["y"])}, sequence=10)
        assert read_digests(store, "denial").known({8: digest_ids(["y"])}) == {8}

    def test_the_largest_retention_fits_in_an_item(self, store: Table) -> None:
        """A window over every hour of two years is one item still."""
        many = {hour: digest_ids([str(hour)]) for hour in range(400_000, 400_000 + 730 * 24)}
        store_digests(store, "denial", many, sequence=1)
        assert read_digests(store, "denial").known(many) == many.keys()

    def test_more_hours_than_an_item_can_hold(self, store: Table) -> None:
        """Of a window over many years the newest hours are remembered; the others cost reads, not a crash."""
        many = {hour: digest_ids([str(hour)]) for hour in range(400_000, 400_000 + 30_000)}
        store_digests(store, "denial", many, sequence=1)
        assert read_digests(store, "denial").known(many) == set(sorted(many)[-MAX_HOURS:])


def make_random_identities(count: int, seed: int) -> Identities:
    draw = random.Random(seed)  # noqa: S311 - no secret
    employees = {
        f"{draw.randrange(1, 224)}.{draw.randrange(256)}.{draw.randrange(256)}.{draw.randrange(256)}": str(
            draw.randrange(10**9)
        )
        for _ in range(count)
    }
    return make_identities(employees)


def check_read(table: Table, identities: Identities, fetched_at: float) -> None:
    stored = read_identities(table)
    assert stored is not None
    assert dict(stored[0].employee_by_ip) == dict(identities.employee_by_ip)
    assert stored[0].digest == identities.digest
    assert stored[1] == pytest.approx(fetched_at, abs=1e-5)


def chunk_keys(everything: Any) -> list[str]:
    return sorted(sk for _, sk in everything if sk.startswith("CHUNK#"))


class TestIdentities:
    def test_none_are_stored_at_first(self, store: Table) -> None:
        """An empty table has no identities, which is not the same as identities of nobody."""
        assert read_identities(store) is None
        store_identities(store, make_identities({}), fetched_at=NOW)
        check_read(store, make_identities({}), NOW)

    def test_a_few_are_one_chunk(self, store: Table, dump: Any) -> None:
        """5,000 fit into a single chunk, and the pointer stays small: it is read by every poll."""
        identities = make_random_identities(5_000, seed=1)
        store_identities(store, identities, fetched_at=NOW)
        check_read(store, identities, NOW)
        everything = dump(store)
        assert len(chunk_keys(everything)) == 1
        assert len(str(everything["IDENTITIES", "LATEST"])) < 500

    def test_the_same_ones_cost_no_write(self, store: Table, dump: Any) -> None:
        """What is stored already is not written again, whoever fetched it, whenever and in whatever order."""
        identities = make_random_identities(50, seed=1)
        store_identities(store, identities, fetched_at=NOW)
        before = dump(store)
        backwards = make_identities(dict(reversed(list(identities.employee_by_ip.items()))))
        store_identities(store, backwards, fetched_at=NOW + 1)
        assert dump(store) == before

    def test_many_are_cut_into_chunks(self, store: Table, dump: Any) -> None:
        """40,000 exceed DynamoDB's item: chunks, each within the limit, and all of them come back."""
        identities = make_random_identities(40_000, seed=2)
        store_identities(store, identities, fetched_at=NOW)
        check_read(store, identities, NOW)
        everything = dump(store)
        chunks = chunk_keys(everything)
        assert len(chunks) >= 2
        assert len(everything) == len(chunks) + 1
        sizes = [len(everything["IDENTITIES", sk]["body"]["B"]) for sk in chunks]
        assert max(sizes) == MAX_CHUNK_BYTES <= 400 * 1024 - 1_000
        assert "body" not in everything["IDENTITIES", "LATEST"]

    def test_older_ones_never_replace_newer_ones(self, store: Table) -> None:
        """By the time that they were fetched, compared as numbers."""
        newer, older = make_random_identities(10, seed=1), make_random_identities(10, seed=2)
        store_identities(store, newer, fetched_at=1_000_000_000.5)
        for fetched_at in (999_999_999.9, 1_000_000_000.4, 1_000_000_000.5):
            store_identities(store, older, fetched_at=fetched_at)
            check_read(store, newer, 1_000_000_000.5)
        store_identities(store, older, fetched_at=1_000_000_000.6)
        check_read(store, older, 1_000_000_000.6)

    @pytest.fixture
    def small_chunks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Chunks of 300 bytes: small ones behave as large ones do."""
        monkeypatch.setattr(identities_module, "MAX_CHUNK_BYTES", 300)

    @pytest.mark.usefixtures("small_chunks")
    def test_chunks_left_over_are_removed(self, store: Table, dump: Any) -> None:
        """Once the pointer has moved, the chunks that it pointed to before are gone; its own stay."""
        first, second = make_random_identities(100, seed=1), make_random_identities(60, seed=2)
        store_identities(store, first, fetched_at=NOW)
        old = chunk_keys(dump(store))
        store_identities(store, second, fetched_at=NOW + 1)
        new = chunk_keys(dump(store))
        assert len(old) > len(new) >= 2
        assert all(second.digest in sk for sk in new)
        check_read(store, second, NOW + 1)
        store_identities(store, make_random_identities(3, seed=3), fetched_at=NOW + 2)
        assert len(chunk_keys(dump(store))) == 1

    @pytest.mark.usefixtures("small_chunks")
    @pytest.mark.parametrize("takes_effect", [False, True], ids=["before", "after"])
    @pytest.mark.parametrize("old_count", [3, 40], ids=["from one item", "from chunks"])
    def test_a_crash_between_chunks_leaves_the_old_ones(
        self, backend: Backend, old_count: int, takes_effect: bool
    ) -> None:
        """Dying at any write leaves either the old identities or the new ones, whole; the old ones until
        the pointer has moved. The next poll that stores makes all good.
        """
        old, new, newest = (make_random_identities(n, seed=n) for n in (old_count, 61, 50))
        outcomes: list[str] = []
        for step in range(1, 100):
            store = backend.make()
            store_identities(store, old, fetched_at=NOW)
            try:
                dying = crashing(store, at=step, takes_effect=takes_effect)
                store_identities(dying, new, fetched_at=NOW + 1)
            except CrashError:
                pointer = backend.dump(store)["IDENTITIES", "LATEST"]
                moved = pointer["digest"]["S"] == new.digest
                check_read(store, new if moved else old, NOW + moved)
                outcomes.append("new" if moved else "old")
            else:
                break
            store_identities(store, newest, fetched_at=NOW + 2)
            check_read(store, newest, NOW + 2)
            assert all(newest.digest in sk for sk in chunk_keys(backend.dump(store)))
        assert outcomes == sorted(outcomes, reverse=True)
        assert outcomes.count("old") >= 3
        if old_count > 3:
            assert "new" in outcomes

    @pytest.mark.usefixtures("small_chunks")
    def test_a_chunk_that_is_gone_is_as_if_none_were_stored(self, store: Table, dump: Any) -> None:
        """A reader that comes between a pointer and its chunks gets None, never a part."""
        identities = make_random_identities(60, seed=1)
        store_identities(store, identities, fetched_at=NOW)
        chunks = chunk_keys(dump(store))
        assert len(chunks) >= 2
        store.delete_many([("IDENTITIES", chunks[-1])])
        assert read_identities(store) is None

    @pytest.mark.usefixtures("small_chunks")
    def test_two_polls_that_store_at_once_leave_readable_ones(self, backend: Backend) -> None:
        """One is paused before any of its writes while another, earlier one stores; both end: what the
        pointer says is there.
        """
        older, newer = make_random_identities(40, seed=1), make_random_identities(61, seed=2)
        for at in range(1, 10):
            store = backend.make()
            paused = PausingPoll(
                store, lambda table: store_identities(table, newer, fetched_at=NOW + 1), at=at
            )
            reached = paused.start()
            store_identities(store, older, fetched_at=NOW)
            paused.wake()
            check_read(store, newer, NOW + 1)
            if not reached:
                assert at > 3
                return
        pytest.fail("it never ended")


class TestSigningKeys:
    @pytest.fixture(autouse=True)
    def without_the_year(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keys are kept for a year beyond their use; that is looked at apart."""
        if "year" not in request.node.name:
            monkeypatch.setattr(signing_keys_module, "_TOLD_FOR_SECONDS", 0)

    def test_for_a_year_an_expired_token_is_told_from_none(self, store: Table) -> None:
        """A key stays for a year after the last of its tokens has expired, then it goes."""
        made = self.rotate_monthly(store, 16, Retention(7))
        keys = read_signing_keys(store)
        assert keys.find(made[0].id) is None
        assert [keys.find(key.id) for key in made[2:]] == made[2:]

    def test_a_key_signs_once_every_reader_can_know_it(self, store: Table) -> None:
        """For two minutes after a rotation the key before signs, for readers that know no other yet."""
        first, second = self.rotate_monthly(store, 2, FOREVER)
        keys = read_signing_keys(store)
        assert keys.to_sign_with(second.made_at) == first
        assert keys.to_sign_with(second.made_at + 119) == first
        assert keys.to_sign_with(second.made_at + 120) == second

    def test_there_is_none_before_the_first_poll(self, store: Table) -> None:
        """A reader that comes first has no key to sign with, and finds none."""
        keys = read_signing_keys(store)
        assert keys.newest is None
        assert keys.find(b"\0\0\0\0") is None

    def test_the_first_poll_makes_one(self, store: Table) -> None:
        """A key of 256 random bits, which signs and is found by its id, and knows when it was made."""
        rotate_signing_keys(store, now=NOW, retention=FOREVER)
        keys = read_signing_keys(store)
        assert keys.newest is not None
        assert (len(keys.newest.id), len(keys.newest.secret), keys.newest.made_at) == (4, 32, NOW)
        assert keys.find(keys.newest.id) == keys.newest
        assert keys.find(b"\0\0\0\0") is None
        assert keys.all == (keys.newest,)

    @pytest.mark.parametrize("days", [0, 1, 400])
    def test_it_stays_for_thirty_days(self, store: Table, dump: Any, days: int) -> None:
        """Polls within thirty days write nothing; the first one after them does."""
        retention = Retention(days)
        rotate_signing_keys(store, now=NOW, retention=retention)
        before = dump(store)
        for later in (0.0, 60.0, ROTATE_AFTER_SECONDS - 1.0, -5.0):
            rotate_signing_keys(store, now=NOW + later, retention=retention)
            assert dump(store) == before
        rotate_signing_keys(store, now=NOW + ROTATE_AFTER_SECONDS, retention=retention)
        assert dump(store) != before
        assert ROTATE_AFTER_SECONDS == 30 * DAY

    def rotate_monthly(self, store: Table, months: int, retention: Retention) -> list[SigningKey]:
        """The keys that were made, oldest first."""
        made = []
        for number in range(months):
            rotate_signing_keys(store, now=NOW + number * ROTATE_AFTER_SECONDS, retention=retention)
            newest = read_signing_keys(store).newest
            assert newest is not None
            made.append(newest)
        assert len({key.id for key in made}) == len({key.secret for key in made}) == months
        return made

    @pytest.mark.parametrize(
        ("days", "kept"),
        [
            # At a rotation the key before was replaced just now, the one before that thirty days ago, …: a
            # key is kept for the retention and two days more after its replacement.
            (1, 2),
            (27, 2),
            (29, 3),
            (57, 3),
            (59, 4),
            (400, 15),
            (0, 20),
        ],
    )
    def test_a_key_is_kept_as_long_as_its_tokens_may_come_back(
        self, store: Table, days: int, kept: int
    ) -> None:
        """Newest first, and none that signed a token which may still lead to something is missing; those
        whose tokens lead nowhere are gone. Without a retention all are kept.
        """
        made = self.rotate_monthly(store, 20, Retention(days))
        keys = read_signing_keys(store)
        assert list(keys.all) == made[::-1][:kept]
        assert keys.newest == made[-1]
        for number, key in enumerate(reversed(made)):
            assert keys.find(key.id) == (key if number < kept else None)

    @pytest.mark.parametrize("days", [1, 40])
    def test_every_token_of_the_retention_opens(self, store: Table, days: int) -> None:
        """A poll a day for four months: what any of those days signed is opened for the whole retention,
        also by a reader that was an hour behind with its keys.
        """
        retention = Retention(days)
        signed: list[tuple[float, SigningKey]] = []
        for day in range(120):
            now = NOW + day * DAY
            before = read_signing_keys(store).newest
            rotate_signing_keys(store, now=now, retention=retention)
            keys = read_signing_keys(store)
            assert keys.newest is not None
            signed.append((now + 3600, before or keys.newest))
            signed.append((now + 3600, keys.newest))
            for at, key in signed:
                if now <= at + days * DAY:
                    assert keys.find(key.id) == key, f"signed {(now - at) / DAY:.1f} days ago"
        assert len(read_signing_keys(store).all) < 120 / 30

    def test_a_key_that_signed_for_long_is_kept_from_its_replacement_on(self, store: Table) -> None:
        """While no poll ran for a year its only key went on signing: what it signed last opens still."""
        retention = Retention(7)
        rotate_signing_keys(store, now=NOW, retention=retention)
        old = read_signing_keys(store).newest
        assert old is not None
        late = NOW + 365 * DAY
        rotate_signing_keys(store, now=late, retention=retention)
        assert read_signing_keys(store).find(old.id) == old
        rotate_signing_keys(store, now=late + ROTATE_AFTER_SECONDS, retention=retention)
        assert read_signing_keys(store).find(old.id) is None

    def test_a_shorter_retention_forgets_keys_and_a_longer_one_brings_none_back(self, store: Table) -> None:
        """The retention of the moment counts, at the next rotation."""
        made = self.rotate_monthly(store, 5, FOREVER)
        assert list(read_signing_keys(store).all) == made[::-1]
        now = NOW + 5 * ROTATE_AFTER_SECONDS
        rotate_signing_keys(store, now=now, retention=Retention(1))
        keys = read_signing_keys(store).all
        assert list(keys[1:]) == [made[-1]]
        rotate_signing_keys(store, now=now + ROTATE_AFTER_SECONDS, retention=FOREVER)
        assert list(read_signing_keys(store).all[1:]) == list(keys)

    @pytest.mark.parametrize("rotating", [False, True], ids=["first", "rotation"])
    def test_two_pollers_at_once_leave_one_set(self, store: Table, rotating: bool) -> None:
        """Both read, both make a key, one is stored: it serves both, and the key before it is kept."""
        now = NOW
        before = None
        if rotating:
            rotate_signing_keys(store, now=now, retention=FOREVER)
            before = read_signing_keys(store).newest
            now += ROTATE_AFTER_SECONDS
        slow = PausingPoll(
            store, lambda table: rotate_signing_keys(table, now=now + 1, retention=FOREVER), at=1
        )
        assert slow.start()
        rotate_signing_keys(store, now=now, retention=FOREVER)
        between = read_signing_keys(store)
        slow.wake()
        after = read_signing_keys(store)
        assert after.newest is not None
        assert after.all == between.all
        if before:
            assert before != after.newest
            assert after.find(before.id) == before

    @pytest.mark.ministack_only(reason="moto checks a condition and writes in two steps; threads get between")
    def test_many_pollers_at_once_agree(self, store: Table) -> None:
        """Eight first polls at the same moment: all read the same key afterwards."""
        gate = threading.Barrier(8)
        newest = []

        def poll() -> None:
            gate.wait(10)
            rotate_signing_keys(store, now=NOW, retention=FOREVER)
            newest.append(read_signing_keys(store).newest)

        threads = [threading.Thread(target=poll) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(newest) == 8
        assert len(set(newest)) == 1
        assert newest[0] is not None
