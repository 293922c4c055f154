"""Nobody but this service can make a text that it takes for its own."""

import base64
import hashlib
import hmac
import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.cursor import Cursor, InvalidCursorError, open_cursor, sign_cursor
from shared.domain.filters import Filters
from shared.domain.signing import (
    KEY_ID_BYTES,
    MAX_SIGNED_CHARACTERS,
    FindKey,
    InvalidSignatureError,
    SigningKey,
    sign,
    verify,
)
from shared.domain.token import InvalidTokenError, open_token, sign_token

KEY = SigningKey(bytes.fromhex("01020304"), bytes(range(32)))
OTHER_KEY = SigningKey(bytes.fromhex("05060708"), bytes(range(1, 33)))
MAC_BYTES = 32
BEFORE_PAYLOAD = KEY_ID_BYTES + MAC_BYTES
PAYLOAD = b'{"a":"some payload that is long enough to be hit","n":[1,2,3]}'
TEXT = sign(PAYLOAD, key=KEY, purpose="test")
BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
NOW = 1_795_415_000


def finding(*keys: SigningKey) -> FindKey:
    return {key.id: key for key in keys}.get


def encode(signed: bytes) -> str:
    return base64.urlsafe_b64encode(signed).decode().rstrip("=")


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def refused(text: str) -> bool:
    """Whether the text is refused as it should be; any other exception fails the test."""
    try:
        verify(text, find_key=finding(KEY, OTHER_KEY), purpose="test")
    except InvalidSignatureError:
        return True
    return False


@settings(deadline=None, max_examples=300)
@given(
    st.binary(max_size=1_000),
    st.builds(SigningKey, st.binary(min_size=4, max_size=4), st.binary(min_size=32, max_size=32)),
    st.text("abc/_-", max_size=10),
)
def test_payload_comes_back_as_it_was(payload: bytes, key: SigningKey, purpose: str) -> None:
    """A signed text is plain base64url, needs no escaping in a URL, and holds the very same bytes."""
    text = sign(payload, key=key, purpose=purpose)
    assert set(text) <= set(BASE64URL)
    assert verify(text, find_key=finding(key), purpose=purpose) == payload


def test_the_form_outlives_deployments() -> None:
    """Key id, HMAC-SHA-256 over purpose, key id and payload, payload: made here by hand, byte for byte."""
    message = b"security-incident-api test v1\n" + KEY.id + PAYLOAD
    mac = hmac.digest(KEY.secret, message, hashlib.sha256)
    assert encode(KEY.id + mac + PAYLOAD) == TEXT


def test_either_key_verifies_while_keys_rotate() -> None:
    """What an older key signed is taken as long as that key is found; each is checked with its own only."""
    for key, other in ((KEY, OTHER_KEY), (OTHER_KEY, KEY)):
        text = sign(PAYLOAD, key=key, purpose="test")
        assert verify(text, find_key=finding(KEY, OTHER_KEY), purpose="test") == PAYLOAD
        with pytest.raises(InvalidSignatureError):
            verify(text, find_key=finding(other), purpose="test")
        with pytest.raises(InvalidSignatureError):
            verify(text, find_key=finding(), purpose="test")
        with pytest.raises(InvalidSignatureError):
            verify(text, find_key=lambda _, other=other: other, purpose="test")


def test_every_single_character_counts() -> None:
    """With any one character changed, to any other, at any place, a text is not ours."""
    alphabet = (*BASE64URL, "=", "+", "/", ".", " ", "\n", "\0", "é", "\uff21", "\ud800")
    accepted = [
        (place, other)
        for place, own in enumerate(TEXT)
        for other in alphabet
        if other != own and not refused(TEXT[:place] + other + TEXT[place + 1 :])
    ]
    assert not refused(TEXT)
    assert accepted == []


def test_every_bit_counts() -> None:
    """With any one bit of what is signed flipped (key id, signature or payload), a text is not ours."""
    signed = decode(TEXT)
    accepted = []
    for bit in range(len(signed) * 8):
        flipped = bytearray(signed)
        flipped[bit // 8] ^= 1 << bit % 8
        if not refused(encode(bytes(flipped))):
            accepted.append(bit)
    assert accepted == []


def test_cut_off_and_extended_texts_are_refused() -> None:
    """A text is whole or not ours: cut at any place and from either side, or longer by anything."""
    assert not refused(TEXT)
    for place in range(len(TEXT)):
        assert refused(TEXT[:place])
        assert place == 0 or refused(TEXT[place:])
        assert refused(TEXT[:place] + TEXT[place + 1 :])
    for more in (*BASE64URL, "=", "==", "===", "AAAA", "\n", " ", "\0", TEXT, "." + TEXT, "=" * 5, "%3D"):
        assert refused(TEXT + more)
        assert refused(more + TEXT)


def test_bytes_do_not_move_between_the_parts() -> None:
    """Cut off or extended beneath the base64, at any byte, so that all of its own rules hold: refused."""
    signed = decode(TEXT)
    for place in range(len(signed)):
        assert refused(encode(signed[:place]))
        assert refused(encode(signed[:place] + signed[place + 1 :]))
        assert refused(encode(signed[:place] + b"\0" + signed[place:]))
    assert refused(encode(signed + b"\0"))
    assert refused(encode(signed + b" "))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("=", id="padding only"),
        pytest.param("A" * 47, id="as short as a signature"),
        pytest.param("A" * 48, id="zeros"),
        pytest.param(encode(KEY.id), id="key id only"),
        pytest.param(encode(KEY.id + bytes(MAC_BYTES)), id="no payload"),
        pytest.param("[]", id="JSON"),
        pytest.param("null", id="null"),
        pytest.param("é", id="not ASCII"),
        pytest.param("\ud800" * 10, id="lone surrogates"),
        pytest.param("\0" * 8, id="NUL"),
        pytest.param("\uff21" * 8, id="full-width"),
        pytest.param("A" * (MAX_SIGNED_CHARACTERS + 1), id="too long"),
        pytest.param("A" * 10_000_000, id="10 MB"),
        pytest.param("é" * 10_000_000, id="10 MB that are not ASCII"),
    ],
)
def test_what_was_never_signed(text: str) -> None:
    """Whatever a client sends is refused as such, nothing else happens, and it is not sent back."""
    with pytest.raises(InvalidSignatureError) as raised:
        verify(text, find_key=finding(KEY), purpose="test")
    assert len(str(raised.value)) < 100
    # Nor is it in the chain that a log line would show.
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_a_text_that_is_too_long_costs_nothing() -> None:
    """What is too long is refused before it is decoded, a key sought or anything signed."""
    sought: list[bytes] = []
    for length in (MAX_SIGNED_CHARACTERS, MAX_SIGNED_CHARACTERS + 4, 1_000_000):
        with pytest.raises(InvalidSignatureError):
            verify("A" * length, find_key=sought.append, purpose="test")
        assert len(sought) == 1, "only the one of just the length that is allowed"


def test_one_spelling_only() -> None:
    """The bits that base64 leaves unused, padding, white space and `+/` make no second text of one."""
    text = next(
        text
        for text in (sign(b"?>~" * 7 + bytes([n]), key=KEY, purpose="test") for n in range(256))
        if "-" in text and "_" in text and len(text) % 4 == 2
    )
    signed = decode(text)
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
    """Nobody signs without the secret, nor with anything else that was signed with it."""

    def made(key_id: bytes, secret: bytes, message: bytes) -> str:
        return encode(key_id + hmac.digest(secret, message, hashlib.sha256) + PAYLOAD)

    purpose = b"security-incident-api test v1\n"
    unknown = b"\0" * KEY_ID_BYTES
    assert made(KEY.id, KEY.secret, purpose + KEY.id + PAYLOAD) == TEXT, "else this test proves nothing"
    forged = {
        "another secret": made(KEY.id, bytes(32), purpose + KEY.id + PAYLOAD),
        "an empty secret": made(KEY.id, b"", purpose + KEY.id + PAYLOAD),
        "no purpose": made(KEY.id, KEY.secret, KEY.id + PAYLOAD),
        "another purpose": made(KEY.id, KEY.secret, purpose.replace(b"test", b"other") + KEY.id + PAYLOAD),
        "no key id": made(KEY.id, KEY.secret, purpose + PAYLOAD),
        "under the other key's id": made(OTHER_KEY.id, KEY.secret, purpose + KEY.id + PAYLOAD),
        "unknown key id": made(unknown, KEY.secret, purpose + unknown + PAYLOAD),
        "no signature": encode(KEY.id + bytes(MAC_BYTES) + PAYLOAD),
        "plain hash": encode(KEY.id + hashlib.sha256(purpose + KEY.id + PAYLOAD).digest() + PAYLOAD),
    }
    assert [how for how, text in forged.items() if not refused(text)] == []
    # The same secret under another id is another key.
    renamed = SigningKey(OTHER_KEY.id, KEY.secret)
    with pytest.raises(InvalidSignatureError):
        verify(encode(renamed.id + decode(TEXT)[4:]), find_key=finding(renamed), purpose="test")


def test_what_is_signed_for_one_purpose_serves_no_other() -> None:
    """A token is no cursor and a cursor no token, though the same key signed both."""
    cursor, token = sign_cursor(CURSOR, KEY), sign_token(42, 7, KEY)
    assert open_cursor(cursor, find_key=finding(KEY), route="/incidents", filters=Filters(), now=NOW)
    assert open_token(token, find_key=finding(KEY)) == (42, 7)
    with pytest.raises(InvalidCursorError, match="not one that this service gave out"):
        open_cursor(token, find_key=finding(KEY), route="/incidents", filters=Filters(), now=NOW)
    with pytest.raises(InvalidTokenError, match="not one that this service gave out"):
        open_token(cursor, find_key=finding(KEY))
    for purpose in ("", "tes", "test ", "Test", "test v1\n", "cursor", "token"):
        with pytest.raises(InvalidSignatureError):
            verify(TEXT, find_key=finding(KEY), purpose=purpose)


def test_a_key_never_shows_its_secret() -> None:
    """A key that ends up in a log line or a traceback gives its id away, not its secret."""
    key = SigningKey(b"\x01\x02\x03\x04", b"only-this-service-knows-of-this!", 5.0)
    for shown in (repr(key), str(key), f"{key}", repr([key])):
        assert "only-this-service" not in shown


# ---------------------------------------------------------------- forgeries by the hundred thousand

CURSOR = Cursor(
    route="/incidents",
    filters=Filters(("high",), ("probing", "other"), "1500000000.5", None),
    snapshot=42,
    committed_at="2026-11-23T06:00:00Z",
    complete=True,
    as_of=1_795_413_600,
    go_on_from="00000000000000004506$",
    counts=None,
    limit=100,
    began_at=NOW,
)
ORIGINALS = {
    "cursor": [
        sign_cursor(
            Cursor(
                "/incidents",
                CURSOR.filters,
                n,
                CURSOR.committed_at,
                True,
                NOW,
                "0" * n + "$",
                None,
                n + 1,
                NOW,
            ),
            (KEY, OTHER_KEY)[n % 2],
        )
        for n in range(50)
    ],
    "token": [sign_token(n, 3 * n, (KEY, OTHER_KEY)[n % 2]) for n in range(50)],
}
FORGERIES_OF_EACH = 100_000


def forge(chance: random.Random, originals: list[str], others: list[str]) -> Iterator[str]:
    """Damaged texts without end: as text, beneath the base64, parts of two put together."""
    alphabet = BASE64URL + "=+/ é\0"
    signed = [decode(text) for text in originals]
    foreign = [decode(text) for text in others]

    def change_one_character() -> str:
        text = chance.choice(originals)
        place = chance.randrange(len(text))
        return text[:place] + chance.choice(alphabet) + text[place + 1 :]

    def change_text() -> str:
        text = chance.choice(originals)
        place, length = chance.randrange(len(text)), chance.choice((0, 1, 2, 5, 40))
        more = "".join(chance.choices(alphabet, k=chance.choice((0, 1, 2, 40))))
        return text[:place] + more + text[place + length :]

    def change_bytes() -> str:
        changed = bytearray(chance.choice(signed))
        for _ in range(chance.choice((1, 1, 2, 8))):
            changed[chance.randrange(len(changed))] ^= chance.randrange(1, 256)
        return encode(bytes(changed))

    def cut_bytes() -> str:
        whole = chance.choice(signed)
        return encode(whole[: chance.randrange(len(whole))] + chance.randbytes(chance.choice((0, 1, 9))))

    def cross() -> str:
        place = chance.choice((KEY_ID_BYTES, BEFORE_PAYLOAD, chance.randrange(1, 60)))
        return encode(chance.choice(signed)[:place] + chance.choice(chance.choice((signed, foreign)))[place:])

    def foreign_one() -> str:
        return chance.choice(others)

    def new_payload() -> str:
        payload = chance.choice((b"[1, 0]", b"{}", b"[]", b"null", b"", chance.randbytes(20)))
        return encode(chance.choice(signed)[:BEFORE_PAYLOAD] + payload)

    def nonsense() -> str:
        return "".join(chance.choices(alphabet, k=chance.randrange(200)))

    ways: tuple[Callable[[], str], ...] = (
        change_one_character, change_text, change_bytes, cut_bytes, cross, foreign_one, new_payload, nonsense,
    )  # fmt: skip
    own = set(originals)
    while True:
        for way in ways:
            if (forged := way()) not in own:
                yield forged


@pytest.mark.parametrize("kind", ORIGINALS)
def test_a_hundred_thousand_forgeries(kind: str) -> None:
    """Of 100,000 cursors and as many tokens damaged at random, none is taken and none breaks anything."""
    originals = ORIGINALS[kind]
    (others,) = (texts for other, texts in ORIGINALS.items() if other != kind)
    find_key = finding(KEY, OTHER_KEY)
    refusal = InvalidCursorError if kind == "cursor" else InvalidTokenError

    def opens(text: str) -> bool:
        try:
            if kind == "cursor":
                open_cursor(text, find_key=find_key, route="/incidents", filters=Filters(), now=NOW)
            else:
                open_token(text, find_key=find_key)
        except refusal:
            return False
        return True

    assert all(map(opens, originals)), "else nothing was there to be forged"
    forgeries = forge(random.Random(20_261_123), originals, others)  # noqa: S311 - repeatable, not secret
    tried: set[str] = set()
    for _ in range(FORGERIES_OF_EACH):
        forged = next(forgeries)
        tried.add(forged)
        assert not opens(forged), forged
    assert len(tried) > FORGERIES_OF_EACH / 2, "most of them differ"
