"""A handler without a database: the same page for everybody."""

import os
from pathlib import Path
from typing import Any

_body = Path(os.environ["BENCH_PAGE"]).read_text("utf-8")


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The page, whatever the event is."""
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": _body}
