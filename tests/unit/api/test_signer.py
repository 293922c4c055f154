"""The keys are read as seldom as can be, and still in time: fakes count what is read."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from functions.api import signer as signer_module
from functions.api.signer import NoSigningKeyError, Signer
from shared.domain.signing import SigningKey
from shared.store.signing_keys import SigningKeys
from shared.store.table import Table

NOW = 1_795_415_000.0
HOUR = 3600.0


def make_key(number: int) -> SigningKey:
    return SigningKey(bytes([number]) * 4, bytes([number]) * 32, float(number))


OLD, NEW, NEWEST = make_key(1), make_key(2), make_key(3)


@dataclass
class KeysInTable:
    """What is in the table, how often it was read, and what time it is."""

    keys: Sequence[SigningKey] = (OLD,)
    now: float = NOW
    reads: int = 0
    signer: Signer = field(init=False)

    def read(self, table: Table) -> SigningKeys:
        assert table is TABLE
        self.reads += 1
        return SigningKeys(tuple(self.keys))


TABLE = Table("keys", client=None)  # type: ignore[arg-type]  # a stand-in for the client


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> KeysInTable:
    keys = KeysInTable()
    monkeypatch.setattr(signer_module, "read_signing_keys", keys.read)
    keys.signer = Signer(TABLE, clock=lambda: keys.now)
    return keys


def test_nothing_is_read_before_it_is_needed(there: KeysInTable) -> None:
    """A reader that starts costs no read for keys that no request needs."""
    assert there.reads == 0


def test_keys_are_read_once(there: KeysInTable) -> None:
    """However many pages are signed and cursors opened within an hour: one read."""
    for second in range(0, 3601, 30):
        there.now = NOW + second
        assert there.signer.newest() == OLD
        assert there.signer.find(OLD.id) == OLD
    assert there.reads == 1


def test_keys_are_read_again_after_an_hour(there: KeysInTable) -> None:
    """A new key signs at most an hour after it was made."""
    assert there.signer.newest() == OLD
    there.keys = (NEW, OLD)
    there.now = NOW + HOUR
    assert there.signer.newest() == OLD
    there.now = NOW + HOUR + 1
    assert there.signer.newest() == NEW
    assert there.reads == 2
    there.now += HOUR
    assert there.signer.newest() == NEW
    assert there.reads == 2
    there.now += 1
    assert there.signer.newest() == NEW
    assert there.reads == 3


def test_the_newest_signs(there: KeysInTable) -> None:
    """Of several keys the first signs, all of them open."""
    there.keys = (NEWEST, NEW, OLD)
    assert there.signer.newest() == NEWEST
    assert [there.signer.find(key.id) for key in (OLD, NEW, NEWEST)] == [OLD, NEW, NEWEST]
    assert there.reads == 1


def test_a_key_that_another_reader_signed_with_already_is_found(there: KeysInTable) -> None:
    """Another container has read the new key: what it signs opens here too, without waiting an hour."""
    assert there.signer.newest() == OLD
    there.keys = (NEW, OLD)
    there.now = NOW + 61
    assert there.signer.find(NEW.id) == NEW
    assert there.reads == 2
    # And from now on it signs here as well.
    assert there.signer.newest() == NEW
    assert there.reads == 2


def test_the_first_cursor_of_a_cold_start_opens(there: KeysInTable) -> None:
    """A reader that has just started finds the key of what another gave out."""
    assert there.signer.find(OLD.id) == OLD
    assert there.reads == 1
    assert there.signer.newest() == OLD
    assert there.reads == 1


def test_unknown_key_ids_cost_at_most_one_read_a_minute(there: KeysInTable) -> None:
    """A flood of made-up cursors over an hour costs a read a minute, not one each."""
    for second in range(3600):
        there.now = NOW + second
        for number in range(100, 105):
            assert there.signer.find(bytes([number, second % 256, 0, 0])) is None
    assert 2 <= there.reads <= 60


def test_a_known_key_costs_no_read_however_old_the_keys_are(there: KeysInTable) -> None:
    """Opening with a key that is there asks nobody: a key stays what it was."""
    assert there.signer.find(OLD.id) == OLD
    there.now = NOW + 100 * HOUR
    assert there.signer.find(OLD.id) == OLD
    assert there.reads == 1


def test_a_key_that_is_gone_signs_no_more(there: KeysInTable) -> None:
    """After the next reading only what is in the table counts."""
    assert there.signer.newest() == OLD
    there.keys = (NEW,)
    there.now = NOW + HOUR + 1
    assert there.signer.newest() == NEW
    assert there.signer.find(OLD.id) is None


def test_without_a_key_nothing_is_signed(there: KeysInTable) -> None:
    """That is our own fault and said as such; nothing is signed with an empty or a made-up key."""
    there.keys = ()
    with pytest.raises(NoSigningKeyError):
        there.signer.newest()
    assert there.signer.find(OLD.id) is None
    assert there.reads == 1


def test_a_key_made_later_is_found_soon(there: KeysInTable) -> None:
    """A reader that found no key is not without one for an hour: the next poll makes it, a minute later
    the reader signs.
    """
    there.keys = ()
    with pytest.raises(NoSigningKeyError):
        there.signer.newest()
    there.keys = (NEW,)
    there.now = NOW + 61
    assert there.signer.newest() == NEW


def test_a_clock_that_is_set_back_leaves_nobody_without_keys(there: KeysInTable) -> None:
    """Read while the clock was a year ahead, the keys are read again once it is right: until it came to that
    year no new key would be known here.
    """
    there.now = NOW + 365 * 24 * HOUR
    assert there.signer.newest() == OLD
    there.keys = (NEW, OLD)
    there.now = NOW
    assert there.signer.find(NEW.id) == NEW
    assert there.signer.newest() == NEW
    assert there.reads == 2
