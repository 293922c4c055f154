"""A cursor takes its walk on, and nobody but this service can make one."""

import base64
import hashlib
import hmac
import json
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.cursor import (
    CURSOR_SECONDS,
    KEY_ID_BYTES,
    MAX_CURSOR_CHARACTERS,
    Cursor,
    ExpiredCursorError,
    InvalidCursorError,
    MismatchedCursorError,
    SigningKey,
    open_cursor,
    sign_cursor,
)

ISSUED = 1_795_415_000
KEY = SigningKey(bytes.fromhex("01020304"), bytes(range(32)))
OTHER_KEY = SigningKey(bytes.fromhex("05060708"), bytes(range(1, 33)))
CURSOR = Cursor(
    query="incidents",
    snapshot=42,
    committed_at="2026-11-23T06:00:00Z",
    complete=True,
    as_of=1_795_413_600,
    go_on_from="00000000000000004506$",
    limit=100,
    issued_at=ISSUED,
)
TEXT = sign_cursor(CURSOR, KEY)
# What version 0.1.0 gave out: a deployment must not break the walks that are under way.
GOLDEN = (
    "AQIDBCKPTKEz3e2kxopIjSXpj61D1l1Aip8Ja9FLvrHB90yUWyJpbmNpZGVudHMiLDQyLCIyMDI2LTExLTIzVDA2OjAwOjAwWiIs"
    "dHJ1ZSwxNzk1NDEzNjAwLCIwMDAwMDAwMDAwMDAwMDAwNDUwNiQiLDEwMCwxNzk1NDE1MDAwXQ"
)
BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def finding(*keys: SigningKey) -> Callable[[bytes], SigningKey | None]:
    return {key.id: key for key in keys}.get


def reopen(text: str, *, query: str = "incidents", now: float = ISSUED + 1.0) -> Cursor:
    return open_cursor(text, find_key=finding(KEY, OTHER_KEY), query=query, now=now)


def encode(signed: bytes) -> str:
    return base64.urlsafe_b64encode(signed).decode().rstrip("=")


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def refused(text: str) -> bool:
    """Whether the text is refused as it should be; any other exception fails the test."""
    try:
        reopen(text)
    except InvalidCursorError:
        return True
    return False


@settings(deadline=None, max_examples=300)
@given(
    st.builds(
        Cursor,
        query=st.text(max_size=40),
        snapshot=st.integers(0, 10**20),
        committed_at=st.text(max_size=20),
        complete=st.booleans(),
        as_of=st.integers(0, 10**10),
        go_on_from=st.text(max_size=60),
        limit=st.integers(1, 500),
        issued_at=st.integers(0, 10**10),
    ),
    st.builds(SigningKey, st.binary(min_size=4, max_size=4), st.binary(min_size=32, max_size=32)),
)
def test_cursor_comes_back_as_it_was(cursor: Cursor, key: SigningKey) -> None:
    """A client gets plain base64url text, and hands the very same walk back with it."""
    text = sign_cursor(cursor, key)
    assert set(text) <= set(BASE64URL)
    opened = open_cursor(text, find_key=finding(key), query=cursor.query, now=cursor.issued_at)
    assert opened == cursor
    assert [type(value) for value in json.loads(decode(text)[36:])] == [
        str,
        int,
        str,
        bool,
        int,
        str,
        int,
        int,
    ]


def test_cursor_of_the_first_version_opens() -> None:
    """The form of a cursor outlives deployments."""
    assert reopen(GOLDEN) == CURSOR
    assert sign_cursor(CURSOR, KEY) == GOLDEN


def test_either_key_opens_while_keys_rotate() -> None:
    """A walk that began under the key before goes on; each cursor is checked with its own key only."""
    for key in (KEY, OTHER_KEY):
        assert reopen(sign_cursor(CURSOR, key)) == CURSOR
        others = finding(OTHER_KEY if key is KEY else KEY)
        with pytest.raises(InvalidCursorError):
            open_cursor(sign_cursor(CURSOR, key), find_key=others, query="incidents", now=ISSUED)


def test_every_single_character_counts() -> None:
    """With any one character changed, to any other, at any place, a cursor is not ours."""
    alphabet = (*BASE64URL, "=", "+", "/", ".", " ", "\n", "\0", "é", "\uff21", "\ud800")
    accepted = [
        (place, other)
        for place, own in enumerate(TEXT)
        for other in alphabet
        if other != own and not refused(TEXT[:place] + other + TEXT[place + 1 :])
    ]
    assert accepted == []


def test_every_bit_counts() -> None:
    """With any one bit of what is signed flipped (key id, signature or payload), a cursor is not ours."""
    signed = decode(TEXT)
    accepted = []
    for bit in range(len(signed) * 8):
        flipped = bytearray(signed)
        flipped[bit // 8] ^= 1 << bit % 8
        if not refused(encode(bytes(flipped))):
            accepted.append(bit)
    assert accepted == []


def test_cut_off_and_extended_cursors_are_refused() -> None:
    """A cursor is whole or not ours: cut at any place and from either side, or longer by anything."""
    assert not refused(TEXT)
    for place in range(len(TEXT)):
        assert refused(TEXT[:place])
        assert place == 0 or refused(TEXT[place:])
        assert refused(TEXT[:place] + TEXT[place + 1 :])
    for more in (*BASE64URL, "=", "==", "===", "AAAA", "\n", " ", "\0", TEXT, "." + TEXT, "=" * 5, "%3D"):
        assert refused(TEXT + more)
        assert refused(more + TEXT)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("=", id="padding only"),
        pytest.param("A" * 47, id="as short as a signature"),
        pytest.param("A" * 48, id="zeros"),
        pytest.param(encode(KEY.id), id="key id only"),
        pytest.param(encode(KEY.id + bytes(32)), id="no payload"),
        pytest.param("[]", id="JSON"),
        pytest.param("null", id="null"),
        pytest.param("é", id="not ASCII"),
        pytest.param("\ud800" * 10, id="lone surrogates"),
        pytest.param("\0" * 8, id="NUL"),
        pytest.param("\uff21" * 8, id="full-width"),
        pytest.param("A" * (MAX_CURSOR_CHARACTERS + 1), id="too long"),
        pytest.param("A" * 10_000_000, id="10 MB"),
        pytest.param("é" * 10_000_000, id="10 MB that are not ASCII"),
    ],
)
def test_what_was_never_a_cursor(text: str) -> None:
    """Whatever a client sends instead of a cursor is refused as such, and nothing else happens."""
    with pytest.raises(InvalidCursorError) as raised:
        reopen(text)
    assert len(str(raised.value)) < 100


def test_a_text_that_is_too_long_costs_nothing() -> None:
    """What is too long is refused before it is decoded, a key sought or anything signed."""
    sought: list[bytes] = []
    for length in (MAX_CURSOR_CHARACTERS, MAX_CURSOR_CHARACTERS + 4, 1_000_000):
        with pytest.raises(InvalidCursorError):
            open_cursor("A" * length, find_key=sought.append, query="incidents", now=ISSUED)
        assert len(sought) == 1, "only the one of just the length that is allowed"


def test_one_spelling_only() -> None:
    """The bits that base64 leaves unused, padding, white space and `+/` make no second cursor of one."""
    signed = next(
        decode(text)
        for text in (sign_cursor(replace(CURSOR, limit=limit), KEY) for limit in range(1, 501))
        if "-" in text and "_" in text and len(text) % 4 == 2
    )
    text = encode(signed)
    assert not refused(text)
    last = BASE64URL.index(text[-1])
    spellings = {
        text + "==",
        text + "\n",
        text[:10] + "\n" + text[10:],
        text[:8] + "=" + text[8:],
        text.replace("-", "+"),
        text.replace("_", "/"),
        *(text[:-1] + BASE64URL[last ^ bits] for bits in range(1, 16)),
    }
    for spelling in spellings:
        assert refused(spelling)
    same = [each for each in spellings if base64.b64decode(each + "==", altchars=b"-_") == signed]
    assert len(same) >= 15, "these are spellings of the same bytes: without a check they would be taken"


def test_signature_needs_the_secret_the_key_id_and_the_purpose() -> None:
    """Nobody makes a cursor without the secret, nor out of anything else that was signed with it."""
    payload = decode(TEXT)[36:]

    def made(key_id: bytes, secret: bytes, message: bytes) -> str:
        return encode(key_id + hmac.digest(secret, message, hashlib.sha256) + payload)

    purpose = b"security-incident-api cursor v1\n"
    assert made(KEY.id, KEY.secret, purpose + KEY.id + payload) == TEXT, "else this test proves nothing"
    forged = {
        "another secret": made(KEY.id, bytes(32), purpose + KEY.id + payload),
        "an empty secret": made(KEY.id, b"", purpose + KEY.id + payload),
        "no purpose": made(KEY.id, KEY.secret, KEY.id + payload),
        "no key id": made(KEY.id, KEY.secret, purpose + payload),
        "under the other key's id": made(OTHER_KEY.id, KEY.secret, purpose + KEY.id + payload),
        "unknown key id": made(b"\0" * KEY_ID_BYTES, KEY.secret, purpose + b"\0" * KEY_ID_BYTES + payload),
        "no signature": encode(KEY.id + bytes(32) + payload),
        "plain hash": encode(KEY.id + hashlib.sha256(purpose + KEY.id + payload).digest() + payload),
    }
    assert [how for how, text in forged.items() if not refused(text)] == []
    swapped = SigningKey(OTHER_KEY.id, KEY.secret)
    with pytest.raises(InvalidCursorError):
        open_cursor(
            encode(swapped.id + decode(TEXT)[4:]), find_key=finding(swapped), query="incidents", now=ISSUED
        )


@pytest.mark.parametrize("query", ["", "incident", "incidents ", "Incidents", "incidents?priority=low", "é"])
def test_cursor_is_bound_to_what_was_asked(query: str) -> None:
    """With another route or other filters, a good cursor is a mismatch: it is ours, but not of this walk."""
    with pytest.raises(MismatchedCursorError):
        reopen(TEXT, query=query)


def test_cursor_lasts_24_hours() -> None:
    """A cursor is good for 24 hours to the second, and then gone for good rather than invalid."""
    for age in (0, -5, 1, CURSOR_SECONDS - 0.001, CURSOR_SECONDS):
        assert reopen(TEXT, now=ISSUED + age) == CURSOR
    for age in (CURSOR_SECONDS + 0.001, CURSOR_SECONDS + 1, 10 * CURSOR_SECONDS):
        with pytest.raises(ExpiredCursorError):
            reopen(TEXT, now=ISSUED + age)
    assert CURSOR_SECONDS == 86_400
    with pytest.raises(InvalidCursorError):
        reopen(TEXT[:-1] + ("A" if TEXT[-1] != "A" else "B"), now=ISSUED + 10 * CURSOR_SECONDS)


def test_twenty_thousand_forgeries() -> None:
    """Of 20,000 cursors damaged at random, as text or beneath it, none is taken and none breaks anything."""
    chance = random.Random(20_261_123)  # noqa: S311 - repeatable, not secret
    originals = [sign_cursor(replace(CURSOR, snapshot=number), KEY) for number in range(50)]

    def damage_text(text: str) -> str:
        place, length = chance.randrange(len(text)), chance.choice([0, 0, 1, 1, 2, 5, 40])
        more = "".join(chance.choices(BASE64URL + "=+/ é\0", k=chance.choice([0, 1, 1, 2, 5, 40])))
        return text[:place] + more + text[place + length :]

    def damage_bytes(text: str) -> str:
        signed = bytearray(decode(text))
        for _ in range(chance.choice([1, 1, 2, 8])):
            signed[chance.randrange(len(signed))] ^= chance.randrange(1, 256)
        return encode(bytes(signed))

    def cross(text: str) -> str:
        head, tail = decode(text), decode(chance.choice(originals))
        return encode(head[:36] + tail[36:])

    tried = 0
    while tried < 20_000:
        forged = chance.choice([damage_text, damage_bytes, cross])(chance.choice(originals))
        if forged in originals:
            continue
        tried += 1
        assert refused(forged), forged
    assert not any(map(refused, originals))
