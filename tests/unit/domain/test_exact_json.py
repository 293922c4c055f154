"""JSON goes through the service with every digit that it came with, and what is not JSON stays out."""

import json
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.exact_json import (
    MAX_DEPTH,
    JsonNumber,
    JsonValue,
    MalformedJsonError,
    NotJson,
    NotJsonError,
    RepeatedKeysError,
    members,
    parse,
    render,
)

SECRET = "hunter2"

number_texts = st.from_regex(
    r"-?(0|[1-9][0-9]{0,300})(\.[0-9]{1,300})?([eE][+-]?[0-9]{1,20})?", fullmatch=True
)
json_values = st.recursive(
    st.none() | st.booleans() | st.text(max_size=8) | number_texts.map(JsonNumber),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4)
    ),
    max_leaves=20,
)


@settings(deadline=None, max_examples=300)
@given(number_texts)
def test_number_keeps_its_digits(text: str) -> None:
    """A number is written with just the characters that it was read with, wherever it stands."""
    for document in (text, f"[{text}]", f'{{"a":{text}}}'):
        assert render(parse(document)) == document
        assert render(parse(document.encode())) == document


@pytest.mark.parametrize(
    "text",
    ["0", "-0", "1.50", "1658264566.2610762", "1E400", "1e+05", "-1.0e-0", "9" * 10_000, "0." + "0" * 10_000],
    ids=lambda text: text[:20],
)
def test_number_that_a_float_or_an_int_would_spoil(text: str) -> None:
    """Trailing zeros, exponents, minus zero and numbers without end are left as they are."""
    assert parse(text) == JsonNumber(text)
    assert render(parse(f"[{text}]")) == f"[{text}]"


@settings(deadline=None, max_examples=300)
@given(json_values)
def test_structure_survives(value: JsonValue) -> None:
    """What is rendered reads back the same, by this parser and by the standard library's; it is ASCII."""
    text = render(value)
    assert text.isascii()
    assert parse(text) == value
    assert json.loads(text, parse_int=JsonNumber, parse_float=JsonNumber) == value


@pytest.mark.parametrize(
    ("document", "rendered"),
    [
        (' { "b" : [ 1.0 , true , null ] , "a" : { } }\r\n\t', '{"b":[1.0,true,null],"a":{}}'),
        (r'"\ud83d\ude00 \ud800 \u0000 \u002f"', r'"\ud83d\ude00 \ud800 \u0000 /"'),
        ('"é\u2028"'.encode(), r'"\u00e9\u2028"'),
        (r'{"\u0000#$\ud800":[]}', r'{"\u0000#$\ud800":[]}'),
    ],
)
def test_spelling_becomes_one(document: str | bytes, rendered: str) -> None:
    """White space goes, the order stays, and what is not ASCII is escaped: lone surrogates too."""
    assert render(parse(document)) == rendered
    assert render(parse(rendered)) == rendered


@pytest.mark.parametrize(
    "document",
    [
        pytest.param("", id="empty"),
        pytest.param(" \n", id="white space only"),
        pytest.param(f'["{SECRET}", NaN]', id="NaN"),
        pytest.param(f'["{SECRET}", Infinity]', id="Infinity"),
        pytest.param(f'{{"{SECRET}": -Infinity}}', id="minus Infinity"),
        pytest.param(f'\ufeff["{SECRET}"]', id="BOM as text"),
        pytest.param(f'["{SECRET}"]'.encode("utf-8-sig"), id="BOM as bytes"),
        pytest.param(f'["{SECRET}"]'.encode("utf-16"), id="UTF-16"),
        pytest.param(f'["{SECRET}"]'.encode("utf-16-le"), id="UTF-16 without BOM"),
        pytest.param(f'["{SECRET}é"]'.encode("latin-1"), id="Latin-1"),
        pytest.param(b'["hunter2\xed\xa0\x80"]', id="surrogate in UTF-8"),
        pytest.param(f'{{"results": [{{"a": "{SECRET}', id="cut off in a string"),
        pytest.param(f'{{"results": [{{"{SECRET}": 1}}, ', id="cut off in a list"),
        pytest.param(f'["{SECRET}", tru', id="cut off in a word"),
        pytest.param(f'["{SECRET}", -', id="cut off in a number"),
        pytest.param(f'["{SECRET}"] x', id="something after it"),
        pytest.param(f'{{"{SECRET}": 1,}}', id="trailing comma"),
        pytest.param(f'{{"{SECRET}" 1}}', id="no colon"),
        pytest.param(f"{{{SECRET}: 1}}", id="key without quotes"),
        pytest.param(f"['{SECRET}']", id="single quotes"),
        pytest.param(f'["\\x{SECRET}"]', id="bad escape"),
        pytest.param(f'["\\u12{SECRET}"]', id="bad unicode escape"),
        pytest.param(f'["{SECRET}\n"]', id="raw control character"),
        pytest.param("[01]", id="leading zero"),
        pytest.param("[+1]", id="plus"),
        pytest.param("[1.]", id="no decimals"),
        pytest.param("[.5]", id="no whole part"),
        pytest.param("[0x10]", id="hexadecimal"),
        pytest.param("[1_000]", id="underscore"),
        pytest.param("[\u0661]", id="digits of another script"),
        pytest.param("\u00a0[]", id="space that JSON does not know"),
        pytest.param("[" * 100_000, id="100,000 open lists"),
        pytest.param("[" * 100_000 + "]" * 100_000, id="100,000 nested lists"),
        pytest.param(f'{{"{SECRET}":' * 100_000, id="100,000 open objects"),
        pytest.param(b'[{"a":' * 50_000, id="100,000 open lists and objects"),
    ],
)
def test_what_is_not_json_is_refused_without_being_quoted(document: str | bytes) -> None:
    """Whatever is not JSON raises one error, and its traceback tells nothing of the document."""
    with pytest.raises(MalformedJsonError) as raised:
        parse(document)
    assert type(raised.value) is MalformedJsonError
    assert str(raised.value)
    assert SECRET not in "".join(traceback.format_exception(raised.value))


@settings(deadline=None, max_examples=500)
@given(
    st.binary(max_size=40)
    | st.tuples(json_values.map(render), st.integers(0, 60), st.binary(max_size=3)).map(
        lambda cut: cut[0].encode()[: cut[1]] + cut[2] + cut[0].encode()[cut[1] :]
    )
)
def test_damaged_json_is_parsed_as_json_or_refused(document: bytes) -> None:
    """Any bytes at all are either JSON, as the standard library sees it, or a MalformedJsonError."""
    try:
        expected = json.loads(
            document.decode("utf-8"),
            parse_int=JsonNumber,
            parse_float=JsonNumber,
            parse_constant=lambda name: json.loads(""),
        )
    except ValueError:
        with pytest.raises(MalformedJsonError):
            parse(document)
    else:
        assert parse(document) == expected


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth_is_limited_when_writing(opening: str, closing: str) -> None:
    """A parsed value nested too deeply is refused by render, however deep it is."""

    def nested(levels: int) -> JsonValue:
        return parse(opening * levels + "1" + closing * levels)

    assert render(nested(MAX_DEPTH)) == opening * MAX_DEPTH + "1" + closing * MAX_DEPTH
    assert render(nested(3), max_depth=3)
    for levels, max_depth in ((MAX_DEPTH + 1, MAX_DEPTH), (5_000, MAX_DEPTH), (4, 3), (1, 0)):
        with pytest.raises(MalformedJsonError, match="nested too deeply"):
            render(nested(levels), max_depth=max_depth)


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_what_json_does_not_have_can_be_marked(name: str) -> None:
    """A NaN costs no more than its record: the rest can be read, and it is never written by accident."""
    value = parse(f'[{{"a":{name}}},{{"a":1.50}}]', mark_flaws=True)
    assert value == [{"a": NotJson(name)}, {"a": JsonNumber("1.50")}]
    with pytest.raises(NotJsonError):
        render(value)
    assert render(value, with_flaws=True) == f'[{{"a":{name}}},{{"a":1.50}}]'


@pytest.mark.parametrize("document", ['{"a":1,"b":2,"a":1.0}', '[{"a":{"b":null,"b":false}}]', '{"":1,"":2}'])
def test_a_key_with_several_values_can_be_marked(document: str) -> None:
    """Which value is meant, nobody knows: none is written by accident, and all can be looked at."""
    value = parse(document, mark_flaws=True)
    with pytest.raises(RepeatedKeysError):
        render(value)
    assert render(value, with_flaws=True) == document


def test_members_are_all_of_an_object() -> None:
    """Those of a repeated key, too; a key that says the same again is one."""
    several, alike = (parse(text, mark_flaws=True) for text in ('{"a":1,"b":2,"a":3}', '{"a":1,"a":1,"b":2}'))
    assert isinstance(several, dict)
    assert isinstance(alike, dict)
    one, two, three = (JsonNumber(text) for text in "123")
    assert list(members(several)) == [("a", one), ("b", two), ("a", three)]
    assert dict(several) == {"a": three, "b": two}
    assert list(members(alike)) == [("a", one), ("b", two)]


@settings(deadline=None, max_examples=300)
@given(json_values)
def test_nothing_is_marked_in_what_is_right(value: JsonValue) -> None:
    """Marking changes nothing in JSON without flaws."""
    text = render(value)
    assert render(parse(text, mark_flaws=True)) == render(parse(text), with_flaws=True) == text


@pytest.mark.parametrize("document", ["", "[nan]", "[" * 100_000, b"[\xff]", '{"a":1,"a":' + "[" * 50_000])
def test_marking_refuses_what_is_no_json_all_the_same(document: str | bytes) -> None:
    """Only what stands in one place is marked: depth, encoding and syntax are the document's."""
    with pytest.raises(MalformedJsonError):
        parse(document, mark_flaws=True)
