"""A token takes a reader of the journal on: a place that never changes, and nothing else."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.signing import SigningKey, sign, verify
from shared.domain.token import InvalidTokenError, open_token, sign_token

KEY = SigningKey(bytes.fromhex("01020304"), bytes(range(32)))
# Stored by SIEMs for as long as the retention: this form must open for ever.
GOLDEN = "AQIDBO_v5Ntx8lXB4DH8Q4hhoEKN3lSZpxlQWsM5927oPAMRWzQyLCA3XQ"


def find_key(key_id: bytes) -> SigningKey | None:
    return KEY if key_id == KEY.id else None


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 10**20 - 1), st.integers(0, 10**4))
def test_token_comes_back_as_it_was(sequence: int, position: int) -> None:
    """Every place of the journal, up to the largest sequence that a key can hold, comes back as it was."""
    opened = open_token(sign_token(sequence, position, KEY), find_key=find_key)
    assert opened == (sequence, position)
    assert [type(each) for each in opened] == [int, int]


def test_golden_token() -> None:
    """A token that a SIEM stored long ago opens after any number of deployments."""
    assert open_token(GOLDEN, find_key=find_key) == (42, 7)
    assert sign_token(42, 7, KEY) == GOLDEN


def test_the_same_place_has_the_same_token() -> None:
    """Nothing of the moment is in a token: a reader who waits sees that nothing has moved; other places
    have other tokens.
    """
    assert sign_token(3, 4, KEY) == sign_token(3, 4, KEY)
    assert len({sign_token(a, b, KEY) for a in range(20) for b in range(20)}) == 400


def test_token_knows_no_age() -> None:
    """Only what it leads to grows old: that the entry is gone is found in the journal, not in the token."""
    assert json.loads(verify(GOLDEN, find_key=find_key, purpose="token")) == [42, 7]


@pytest.mark.parametrize(
    "text", ["", "A", "42", "[42,7]", GOLDEN[:-1], GOLDEN[1:], GOLDEN + "A", GOLDEN + "=", GOLDEN.swapcase()]
)
def test_what_is_no_token(text: str) -> None:
    """Whatever is not ours is refused as such; the reason does not repeat it."""
    with pytest.raises(InvalidTokenError, match="not one that this service gave out") as raised:
        open_token(text, find_key=find_key)
    assert len(str(raised.value)) < 110


def test_a_key_that_is_gone_opens_no_token() -> None:
    """Without the key that signed it a token can't be told from a forgery."""
    with pytest.raises(InvalidTokenError):
        open_token(GOLDEN, find_key=lambda _: None)


OTHER_SHAPES = [
    b"",
    b"hello",
    b"\xff",
    b"null",
    b"5",
    b"[]",
    b"[1]",
    b"[1, 2, 3]",
    b"[1, 2",
    b"{}",
    b'{"sequence": 1}',
    b'{"sequence": 1, "position": 2}',
    b'"ab"',
    b'["1", "2"]',
    b"[1, null]",
    b"[null, 1]",
    b"[1.5, 0]",
    b"[[1], [2]]",
]


@pytest.mark.parametrize("payload", OTHER_SHAPES, ids=repr)
def test_a_payload_of_another_shape_is_no_token(payload: bytes) -> None:
    """What another version of this service signed, whatever its shape, is an invalid token: never a 500."""
    with pytest.raises(InvalidTokenError, match="another version"):
        open_token(sign(payload, key=KEY, purpose="token"), find_key=find_key)
