"""Incidents into any destination of dlt: `python incidents.py`. What to fill in stands in README.md."""

import sys
from collections.abc import Iterator
from typing import Any

import dlt
from dlt.sources.rest_api import RESTAPIConfig, rest_api_source


def read_page(page: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """The incidents of one answer of the feed, each with the token that goes on after it.

    All at once: dlt's limit counts what is yielded, and would cut a page off with its token kept.
    """
    yield [incident | {"feed_token": page["next_token"]} for incident in page["data"]]


def build_config(base_url: str, api_key: str, page_size: int, employees_per_page: int) -> RESTAPIConfig:
    """What dlt's `rest_api` source takes; nothing else here knows the API."""
    return {
        "client": {
            "base_url": base_url,
            "auth": {"type": "api_key", "name": "X-Api-Key", "api_key": api_key, "location": "header"},
        },
        "resource_defaults": {
            "primary_key": "id",
            "write_disposition": "merge",
            # A number in some types of incidents, an address in others.
            "columns": {"identifier": {"data_type": "text"}, "reported_by": {"data_type": "text"}},
        },
        "resources": [
            {
                # What is new since the last run.
                "name": "changes",
                "endpoint": {
                    "path": "incidents/changes",
                    "params": {"limit": page_size},
                    # The whole answer: dlt keeps what stands in a record, and a token stands beside them.
                    "data_selector": "$",
                    "paginator": {
                        "type": "cursor",
                        "cursor_path": "next_token",
                        "cursor_param": "token",
                        # There is a token after the last page, too: to come back with.
                        "has_more_path": "has_more",
                    },
                    "incremental": {
                        "cursor_path": "feed_token",
                        "start_param": "token",
                        # Tokens have no order: the one that came last counts.
                        "last_value_func": lambda values: values[0],
                        "range_start": "open",
                    },
                },
                "processing_steps": [{"yield_map": read_page}],
            },
            {
                # All that there is, in one snapshot.
                "name": "incidents",
                "selected": False,
                "endpoint": {
                    "path": "incidents",
                    "params": {"limit": employees_per_page},
                    "data_selector": "incidents.*.*.incidents[*]",
                    "paginator": {
                        "type": "cursor",
                        "cursor_path": "next_cursor",
                        "cursor_param": "cursor",
                    },
                },
            },
        ],
    }


def main(*names: str) -> None:
    """Run until nothing is left; by default `changes` alone."""
    read = dlt.config.get
    config = build_config(
        base_url=dlt.config["sources.incidents.base_url"],
        api_key=dlt.secrets["sources.incidents.api_key"],
        page_size=read("sources.incidents.page_size", int) or 1000,
        employees_per_page=read("sources.incidents.employees_per_page", int) or 500,
    )
    incidents_per_load = read("sources.incidents.incidents_per_load", int) or 100_000
    pipeline = dlt.pipeline("incidents", destination="duckdb", dataset_name="security")
    # A load that an earlier run was killed in.
    pipeline.load()
    while True:
        source = rest_api_source(config, name="incidents").with_resources(*(names or ("changes",)))
        if "changes" in source.selected_resources:
            # Each load keeps its token: a run that is killed loses at most one. Empty pages don't count.
            source.resources["changes"].add_limit(incidents_per_load, count_rows=True)
        print(pipeline.run(source))
        counts = pipeline.last_trace.last_normalize_info.row_counts
        if not counts.get("changes"):
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
