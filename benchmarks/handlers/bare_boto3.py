"""The least that a handler with boto3 is: a client made at import, one query, its items as JSON."""

import json
import os
from pathlib import Path
from typing import Any

import boto3

_client = boto3.client("dynamodb", endpoint_url=os.environ["AWS_ENDPOINT_URL_DYNAMODB"])
_query: dict[str, Any] = json.loads(Path(os.environ["BENCH_QUERY"]).read_text("utf-8"))


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The items, whatever the event is."""
    items = _client.query(**_query)["Items"]
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": json.dumps(items)}
