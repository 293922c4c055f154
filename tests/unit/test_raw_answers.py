"""A client that takes raw answers returns what botocore's own parser returns, and fails as botocore fails."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.aws import make_dynamodb
from shared.raw_answers import take_raw_answers
from tests.canned import CREDENTIALS, CannedAnswer, CannedDynamoDB

QUERY: dict[str, Any] = {
    "TableName": "incidents",
    "KeyConditionExpression": "pk = :pk",
    "ExpressionAttributeValues": {":pk": {"S": "INCIDENTS"}},
}
GET: dict[str, Any] = {"TableName": "incidents", "Key": {"pk": {"S": "STATE"}, "sk": {"S": "STATE"}}}
NAMES = st.sampled_from(["pk", "sk", "json", "B", "BS", "Items", "priority"])
TEXTS = st.text(max_size=20) | st.sampled_from(['"B"', "B", '{"B":"AA=="}', "BS", "\\"])
VALUES = st.recursive(
    st.one_of(
        TEXTS.map(lambda text: {"S": text}),
        st.integers().map(lambda number: {"N": str(number)}),
        st.sampled_from(
            [{"B": "AAEC"}, {"BS": ["AAEC", "Ag=="]}, {"BOOL": True}, {"NULL": True}, {"SS": ["a"]}]
        ),
    ),
    lambda values: (
        st.lists(values, max_size=2).map(lambda each: {"L": each})
        | st.dictionaries(NAMES, values, max_size=2).map(lambda each: {"M": each})
    ),
    max_leaves=4,
)
ITEMS = st.dictionaries(NAMES, VALUES, max_size=4)


@pytest.fixture(scope="module")
def clients() -> tuple[list[CannedAnswer], Any, Any]:
    """What is answered next, a plain client, and one that takes raw answers."""
    answers = [CannedAnswer(b"{}")]
    dynamodb = CannedDynamoDB(lambda _: answers[0])
    raw = dynamodb.client()
    take_raw_answers(raw)
    return answers, dynamodb.client(), raw


@settings(deadline=None, max_examples=200)
@given(st.lists(ITEMS, max_size=3), st.booleans(), st.sampled_from([None, (",", ":")]))
@example([{"json": {"S": '{"kind":"B"}'}}, {"decisions": {"B": "AAEC"}}], True, None)
def test_raw_answers_are_those_of_botocore(
    clients: Any, items: list[Any], more: bool, separators: tuple[str, str] | None
) -> None:
    """Whatever the items hold, bytes and texts that look like bytes included, both parsers agree."""
    answers, plain, raw = clients
    query: dict[str, Any] = {"Items": items, "Count": len(items), "ScannedCount": len(items)}
    if more:
        query["LastEvaluatedKey"] = {"pk": {"S": "a"}, "sk": {"S": "b"}}
    answers[0] = CannedAnswer(json.dumps(query, separators=separators).encode())
    assert raw.query(**QUERY) == plain.query(**QUERY)
    answers[0] = CannedAnswer(json.dumps({"Item": items[0]} if items else {}).encode())
    assert raw.get_item(**GET) == plain.get_item(**GET)


@pytest.mark.parametrize("status", [400, 413, 500])
def test_errors_stay_those_of_botocore(clients: Any, status: int) -> None:
    """An answer that is not 200 raises the same error with the same message and code."""
    answers, plain, raw = clients
    body = (
        b'{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"no such table"}'
    )
    answers[0] = CannedAnswer(body, status)
    told = []
    for client in (plain, raw):
        with pytest.raises(ClientError) as error:
            client.query(**QUERY)
        told.append((str(error.value), error.value.response))
    assert told[0] == told[1]


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"Items":[', b"[]", b"1", b'"B"'])
def test_what_is_no_answer_is_left_to_botocore(clients: Any, body: bytes) -> None:
    """A 200 that is no JSON object comes to what botocore makes of it, an exception included."""
    answers, plain, raw = clients
    answers[0] = CannedAnswer(body)

    def outcome(client: Any) -> object:
        try:
            return client.query(**QUERY)
        except Exception as error:
            return type(error), str(error)

    assert outcome(raw) == outcome(plain)


def test_the_checksum_is_still_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not fit its checksum is asked for again, as botocore does."""
    for name, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", CREDENTIALS["region_name"])
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    broken, whole = CannedAnswer(b'{"Item":{}}', checksum=1), CannedAnswer(b'{"Item":{"pk":{"S":"x"}}}')
    dynamodb = CannedDynamoDB(lambda _: broken if len(dynamodb.sent) == 1 else whole)
    client = dynamodb.client(lambda: make_dynamodb(read_timeout=1, attempts=2))
    assert client.get_item(**GET)["Item"] == {"pk": {"S": "x"}}
    assert len(dynamodb.sent) == 2
