"""DynamoDB's answers taken as the JSON that they are.

botocore walks through an answer value by value, by the service's model, to make of it what the JSON has
already: for a page of incidents that is most of what a request costs. Here json parses it; signing, retries,
the checksum and errors stay botocore's.
"""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_OPERATIONS = ("GetItem", "Query")
# Bytes travel as base64 text, which botocore decodes. Inside of a text a quote has a backslash before it,
# so that these are found where such a value is and nowhere in what an incident says.
_BYTES = (b'"B"', b'"BS"')


def take_raw_answers(client: "DynamoDBClient") -> None:
    """Let the reads of ``client`` parse their answers with json; what they return stays the same."""
    for operation in _OPERATIONS:
        client.meta.events.register(f"before-parse.dynamodb.{operation}", _parse)


def _parse(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Handler of botocore's event before-parse: what is in ``customized_response_dict`` becomes the answer.

    Whatever is not an ordinary answer is left to botocore.
    """
    body = response_dict["body"]
    if response_dict["status_code"] != 200 or has_bytes(body):
        return
    answer = parse_object(body)
    if answer is not None:
        customized_response_dict |= answer
        response_dict["body"] = b"{}"


def parse_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object that an answer is; None for anything else."""
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def has_bytes(body: bytes) -> bool:
    """Whether a value of an answer travels as base64 text, which is not what it is."""
    # One letter is found much faster than three, and hardly any incident has it.
    return b"B" in body and any(kind in body for kind in _BYTES)
