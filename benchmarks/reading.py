"""What a page costs: the reader's handler against floors that no reader can go below, in the same run."""

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.data import Past, make_table
from benchmarks.dynamodb import Server, serve
from benchmarks.functions import make_environment
from benchmarks.subject import Subject, measure_in_turn

PAGE_SIZES = (1, 10, 100, 500)
INCIDENTS = 2_100
_ROUNDS = 15
_TIMES = 20
_PAGES_FOR_MEMORY = 300


def run() -> dict[str, Any]:
    """Each page size with its floors, and the memory of a reader that has served very many of the largest."""
    with serve(make_table(Past(INCIDENTS))) as server:
        environment = make_environment("ApiFunction", server.url)
        pages = {limit: _measure_page(server, environment, limit) for limit in PAGE_SIZES}
        largest = _subject("ask_reader", environment, path="/incidents", queries=[f"limit={max(PAGE_SIZES)}"])
        measured = measure_in_turn({"reader": largest}, rounds=1, times=_PAGES_FOR_MEMORY)
        return {
            "incidents": INCIDENTS,
            "pages": pages,
            "pages_for_memory": _PAGES_FOR_MEMORY,
            "memory_mb": measured["reader"].memory_mb,
        }


def _measure_page(server: Server, environment: Mapping[str, str], limit: int) -> dict[str, Any]:
    page: dict[str, Any] = {"path": "/incidents", "queries": [f"limit={limit}"]}
    with _subject("ask_reader", environment, **page) as reader:
        # It learns how many incidents an employee has, and what it asks for settles.
        reader.run(50)
        server.count()
        reader.run(1)
        counts = server.count()
    with _subject("ask_reader", environment, **page, again=True) as reader:
        reader.run(50)
        server.count()
        reader.run(1)
        again = server.count()
    queries = [(body, answer) for operation, body, answer in counts.last if operation == "Query"]
    bodies, answers = [body for body, _ in queries], [answer for _, answer in queries]
    size = sum(map(len, answers))
    measured = measure_in_turn(
        {
            "reader": _subject("ask_reader", environment, **page),
            "boto3_query": _subject(
                "query_with_boto3", environment, bodies=list(map(_of_whole_items, bodies))
            ),
            "boto3_projected": _subject("query_with_boto3", environment, bodies=bodies),
            "again": _subject("ask_reader", environment, **page, again=True),
            "bare_http": _subject("query_over_http", environment, bodies=bodies),
            "raw_json": _subject("parse_json", environment, texts=answers),
            "constant": _subject("answer_constant", environment, text="x" * size),
        },
        rounds=_ROUNDS,
        times=_TIMES,
        warm=50,
    )
    return {
        "read_units": counts.read_units,
        # One moved the state on.
        "requests": counts.requests - 1,
        "again_read_units": again.read_units,
        "again_requests": again.requests,
        "incidents": sum(json.loads(answer)["Count"] for answer in answers),
        "floors": {name: each.to_json() for name, each in measured.items()},
    }


def _of_whole_items(body: str) -> str:
    """The same query without a choice of attributes, as somebody makes it who wants the items."""
    query: dict[str, Any] = json.loads(body)
    del query["ProjectionExpression"]
    used = query.get("FilterExpression", "")
    query["ExpressionAttributeNames"] = {
        name: attribute for name, attribute in query["ExpressionAttributeNames"].items() if name in used
    }
    return json.dumps(query)


def _subject(function: str, environment: Mapping[str, str], **arguments: Any) -> Subject:
    return Subject("benchmarks.readers", function, arguments, environment=environment)
