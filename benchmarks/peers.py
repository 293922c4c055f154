"""The same work done by others: all 2,100 incidents, by this reader and by a stand-in of the first
version.
"""

from pathlib import Path
from typing import Any

from benchmarks.data import Past, make_table
from benchmarks.dynamodb import serve
from benchmarks.functions import make_environment
from benchmarks.subject import Subject, measure_in_turn
from local.processes import PROJECT_PATH
from local.simulator import INCIDENT_TYPES

INCIDENTS = 2_100
BENCH_PYTHON: Path = PROJECT_PATH / ".tools/bench/bin/python"
_ROUNDS = 15
_TIMES = 10


def run() -> dict[str, Any]:
    """CPU and wall time of all incidents once."""
    past = Past(INCIDENTS)
    memory = {
        "records": {
            kind: past.texts(kind, newest=INCIDENTS // len(INCIDENT_TYPES)) for kind in INCIDENT_TYPES
        },
        "identities": past.identities(),
    }
    with serve(make_table(past)) as server:
        environment = make_environment("ApiFunction", server.url)
        walk = Subject("benchmarks.readers", "walk_with_reader", {"limit": 500}, environment=environment)
        with walk:
            # It learns how many incidents an employee has.
            walk.run(10)
            server.count()
            walk.run()
            asked = [
                (body, answer) for operation, body, answer in server.count().last if operation == "Query"
            ]
        bodies, answers = [body for body, _ in asked], [answer for _, answer in asked]
        measured = measure_in_turn(
            {
                "reader": Subject(
                    "benchmarks.readers", "walk_with_reader", {"limit": 500}, environment=environment
                ),
                "floor": Subject(
                    "benchmarks.readers", "query_over_http", {"bodies": bodies}, environment=environment
                ),
                "grouping": Subject(
                    "benchmarks.readers",
                    "group_from_memory",
                    {"answers": answers, "limit": 500},
                    environment=environment,
                ),
                "first_version": Subject("benchmarks.first_version", "answer_from_memory", memory),
                "first_version_flask": Subject(
                    "benchmarks.first_version", "answer_through_flask", memory, python=BENCH_PYTHON
                ),
            },
            rounds=_ROUNDS,
            times=_TIMES,
        )
    return {
        "incidents": INCIDENTS,
        "queries": len(bodies),
        "peers": {name: each.to_json() for name, each in measured.items()},
    }
