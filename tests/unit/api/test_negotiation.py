"""What clients say of the answer that they want is understood as RFC 9110 says, and never breaks anything."""

import json
import os
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.api.negotiation import choose_media_type, has_already, has_any, make_etag
from functions.api.walk import Snapshot, Walk

JSON, NDJSON, CSV = OFFERED = ("application/json", "application/x-ndjson", "text/csv")
ETAG = make_etag(1, "x")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        # Nothing said: the first.
        pytest.param(None, JSON, id="no header"),
        ("", JSON),
        ("  ", JSON),
        # Just what is offered.
        ("application/json", JSON),
        ("application/x-ndjson", NDJSON),
        ("text/csv", CSV),
        ("Text/CSV", CSV),
        ("  text/csv  ", CSV),
        # Wildcards take the first that they cover.
        ("*/*", JSON),
        ("application/*", JSON),
        ("text/*", CSV),
        ("TEXT/*", CSV),
        ("image/png, */*", JSON),
        # The highest quality.
        ("text/csv, application/json;q=0.9", CSV),
        ("text/csv;q=0.9, application/json", JSON),
        ("text/csv;q=0.9, application/json;q=0.8, application/x-ndjson;q=0.95", NDJSON),
        ("text/csv;q=0.001, application/json;q=0", CSV),
        ("text/csv; q=0.5 , application/x-ndjson ; Q=0.6", NDJSON),
        ("text/csv;q=.5,application/json;q=.4", CSV),
        ("text/csv;q=1.000,application/json;q=0.999", CSV),
        # Equal ones: the first that is offered, whatever the order of the header.
        ("text/csv, application/x-ndjson, application/json", JSON),
        ("text/csv;q=0.5, application/x-ndjson;q=0.5", NDJSON),
        # The most specific range counts, not the best and not the first.
        ("*/*, application/json;q=0.1", NDJSON),
        ("application/json;q=0.1, */*", NDJSON),
        ("application/*;q=0.2, */*;q=0.1, text/csv;q=0.15", JSON),
        ("application/*;q=0.2, application/json;q=0.1, */*;q=0.15", NDJSON),
        ("text/*;q=0.9, text/csv;q=0.1, application/json;q=0.5", JSON),
        ("*/*;q=0.9, text/*;q=0.1", JSON),
        # q=0 is "not this".
        ("application/json;q=0, */*", NDJSON),
        ("application/json;q=0.0, application/*;q=0.000, */*", CSV),
        ("application/*;q=0, */*;q=0.1", CSV),
        # Other parameters are not part of what is offered, and do not get in the way.
        ("application/json;charset=utf-8", JSON),
        ("text/csv;header=present;q=0.9, application/json;q=0.5", CSV),
        ("application/json;profile=\"x\";q=0.4, text/csv;q=0.5", CSV),
        # Browsers and clients as they are.
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", JSON),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", JSON),
        ("application/json, text/plain, */*", JSON),
        # Empty elements of a list are none.
        (", text/csv ,,", CSV),
        (",", JSON),
    ],
)  # fmt: skip
def test_the_form_that_a_client_likes_best(accept: str | None, chosen: str) -> None:
    """Quality first, the most specific range for each form, then the order in which we offer them."""
    assert choose_media_type(accept, OFFERED) == chosen


@pytest.mark.parametrize(
    "accept",
    [
        "image/png",
        "text/html, application/xml;q=0.9",
        "*/*;q=0",
        "application/json;q=0",
        "application/json;q=0, text/csv;q=0, application/x-ndjson;q=0",
        "*/*;q=0.0",
        "text/csvx",
        "application/json+x",
        "json",
        "application",
        "*",
        "*/json",
        "application/",
        "/json",
    ],
)
def test_a_client_that_likes_none(accept: str) -> None:
    """What covers none of the forms, or refuses each, chooses none: the answer is 406 and no guess."""
    assert choose_media_type(accept, OFFERED) is None


@pytest.mark.parametrize("quality", ["", "x", "nan", "NaN", "-1", "-inf", "1e", "0x1", "½", "0.5.5", " "])
def test_a_quality_that_is_none_counts_as_refusal(quality: str) -> None:
    """Where the number can't be read, the range is not what the client likes best."""
    assert choose_media_type(f"application/json;q={quality}, text/csv;q=0.1", OFFERED) == CSV
    assert choose_media_type(f"application/json;q={quality}", OFFERED) is None


@pytest.mark.parametrize("quality", ["1", "1.0", "2", "inf", "1e9"])
def test_a_quality_is_one_at_most(quality: str) -> None:
    """Nobody likes anything more than wholly: then our own order decides."""
    assert choose_media_type(f"text/csv;q={quality}, application/json", OFFERED) == JSON
    assert choose_media_type(f"text/csv;q={quality}, application/json;q=0.9", OFFERED) == CSV


def test_only_what_is_offered_is_chosen() -> None:
    """A form that another request could have is not there in this one."""
    assert choose_media_type("text/csv", (JSON, NDJSON)) is None
    assert choose_media_type("text/csv, */*;q=0.1", (JSON, NDJSON)) == JSON
    assert choose_media_type("*/*", (CSV,)) == CSV


garbage = st.text() | st.text(alphabet='aj/*;,=q"0.1 \t-\\', max_size=60)


@settings(deadline=None, max_examples=1_000)
@given(garbage)
def test_garbage_never_breaks_anything(header: str) -> None:
    """Whatever a client sends, the choice is one of ours or none, and a strange tag is not ours."""
    assert choose_media_type(header, OFFERED) in (*OFFERED, None)
    assert has_already(header, ETAG) is False
    assert has_any(header) is (header.strip() == "*")


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from([*OFFERED, "text/*", "application/*", "*/*"]), st.integers(0, 1000)),
    st.randoms(use_true_random=False),
)
def test_any_header_is_read_as_its_model(qualities: dict[str, int], chance: random.Random) -> None:
    """The rule said a second time: each form by its most specific range, the highest, then our order."""
    ranges = list(qualities.items())
    chance.shuffle(ranges)
    header = ", ".join(f"{each};q={quality / 1000:.3f}" for each, quality in ranges)

    def liking(form: str) -> int:
        for each in (form, form.split("/")[0] + "/*", "*/*"):
            if each in qualities:
                return qualities[each]
        return 0

    liked = sorted((form for form in OFFERED if liking(form)), key=lambda form: -liking(form))
    expected = liked[0] if liked else None
    assert choose_media_type(header, OFFERED) == (expected if qualities else JSON)


# ---------------------------------------------------------------- If-None-Match


def test_an_etag_is_weak_and_quoted() -> None:
    """`W/"…"` of plain hex, as RFC 9110 writes it: bytes may differ by compression, the answer does not."""
    assert ETAG.startswith('W/"')
    assert ETAG.endswith('"')
    assert set(ETAG[3:-1]) <= set("0123456789abcdef")
    assert len(ETAG) == 3 + 32 + 1


def test_an_etag_tells_everything_apart() -> None:
    """Any part that differs, in value, type or place, makes another tag; equal parts the same."""
    parts = [(1,), (2,), ("1",), (1, None), (None, 1), ("1, 2",), ("1", "2"), ((1, 2),), (1, 2), (True,), ()]
    assert len({make_etag(*each) for each in parts}) == len(parts)
    assert make_etag(1, "x") == ETAG


def test_an_etag_is_the_same_in_every_process() -> None:
    """Another container of the same function gives the same tag: nothing of hash seeds is in it."""
    walk = Walk(Snapshot(1, "2026-11-23T06:00:00Z", True, 5))
    code = (
        "import json; from functions.api.negotiation import make_etag;"
        " from functions.api.walk import Snapshot, Walk;"
        "print(json.dumps(make_etag(1, Walk(Snapshot(1, '2026-11-23T06:00:00Z', True, 5)))))"
    )
    printed = subprocess.run(  # noqa: S603 - this very Python
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    ).stdout
    assert json.loads(printed) == make_etag(1, walk)


@pytest.mark.parametrize(
    "header",
    [
        ETAG,
        ETAG.removeprefix("W/"),
        f"  {ETAG}\t",
        f'"other", {ETAG}',
        f'{ETAG},"other"',
        f'W/"a",W/"b" , {ETAG} ,W/"c"',
        f'"a", {ETAG.removeprefix("W/")}',
        f",, {ETAG},",
    ],
)
def test_a_client_that_has_it(header: str) -> None:
    """Compared weakly: with or without W/, alone or anywhere in a list."""
    assert has_already(header, ETAG) is True


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        " ",
        ",",
        '""',
        'W/""',
        '"other"',
        'W/"other", "another"',
        ETAG.strip('W/"'),
        ETAG[:-1],
        ETAG[:-2] + '"',
        ETAG.upper(),
        f'"{ETAG}"',
        f"x{ETAG}",
        ETAG.replace('"', "'"),
        # Any answer at all is another question.
        "*",
        '"*"',
        'W/"*"',
        "**",
        # A comma is allowed within a tag: none of these names ours, nor says *.
        '"a,*,b"',
        '"a, *"',
    ],
)
def test_a_client_that_has_another(header: str | None) -> None:
    """Anything else is not what the client would get: it is sent the answer."""
    assert has_already(header, ETAG) is False


@pytest.mark.parametrize("header", ["*", " *", "*\t", " * "])
def test_a_client_that_wants_none_if_there_is_any(header: str) -> None:
    """`If-None-Match: *`, alone: whatever the answer would be."""
    assert has_any(header) is True


@pytest.mark.parametrize("header", [None, "", " ", '"*"', "W/*", "*, *", '*, "a"', '"a", *', '"a,*,b"', ETAG])
def test_a_star_within_something_is_none(header: str | None) -> None:
    """In a list or within a tag a star says nothing: RFC 9110 has it alone only."""
    assert has_any(header) is False
