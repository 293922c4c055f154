#!/usr/bin/env python3
"""A Singer tap of the Security Incident API. What to fill in stands in README.md.

singer-sdk has no taps that are configuration alone: this class is what is left to say.
"""

import decimal
from collections.abc import Iterable
from typing import Any, override

import requests
from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.helpers.jsonpath import extract_jsonpath
from singer_sdk.pagination import JSONPathPaginator

# Fields of an incident; which of the last ones it has depends on its type.
INCIDENT = (
    th.Property("id", th.StringType, required=True),
    th.Property("employee_id", th.StringType, required=True),
    th.Property("type", th.StringType, required=True),
    th.Property("priority", th.StringType, required=True),
    th.Property("timestamp", th.NumberType, required=True),
    th.Property("source_ip", th.StringType),
    th.Property("internal_ip", th.StringType),
    th.Property("machine_ip", th.StringType),
    th.Property("ip", th.StringType),
    th.Property("reported_by", th.CustomType({"type": ["integer", "string", "null"]})),
    th.Property("identifier", th.CustomType({"type": ["integer", "string", "null"]})),
)


class IncidentStream(RESTStream[str]):
    """What both routes have in common."""

    primary_keys = ("id",)

    @property
    @override
    def url_base(self) -> str:
        return str(self.config["base_url"])

    @property
    @override
    def http_headers(self) -> dict[str, str]:
        return {"X-Api-Key": self.config["api_key"]}


class IncidentsStream(IncidentStream):
    """All incidents of one snapshot."""

    name = "incidents"
    path = "/incidents"
    schema = th.PropertiesList(*INCIDENT).to_dict()
    records_jsonpath = "$.incidents.*.*.incidents[*]"

    @override
    def get_new_paginator(self) -> JSONPathPaginator:
        return JSONPathPaginator("$.next_cursor")

    @override
    def get_url_params(self, context: Any, next_page_token: str | None) -> dict[str, Any]:
        limit = {"limit": self.config["employees_per_page"]}
        return limit | ({"cursor": next_page_token} if next_page_token else {})


class FeedPaginator(JSONPathPaginator):
    """Ends where the feed says so: there is a token after its last page, too, to come back with."""

    def __init__(self) -> None:
        """Every answer has the next token in the same place."""
        super().__init__("$.next_token")

    @override
    def has_more(self, response: requests.Response) -> bool:
        return bool(response.json()["has_more"])

    @override
    def continue_if_empty(self, response: requests.Response) -> bool:
        return True


class ChangesStream(IncidentStream):
    """The incidents that are new since the token in the state."""

    name = "changes"
    path = "/incidents/changes"
    schema = th.PropertiesList(
        *INCIDENT,
        th.Property("sequence", th.IntegerType, required=True),
        th.Property("ingested_at", th.DateTimeType, required=True),
    ).to_dict()
    replication_key = "sequence"
    is_sorted = True

    @override
    def get_new_paginator(self) -> FeedPaginator:
        return FeedPaginator()

    @override
    def get_url_params(self, context: Any, next_page_token: str | None) -> dict[str, Any]:
        token = next_page_token or self.stream_state.get("token")
        return {"limit": self.config["page_size"]} | ({"token": token} if token else {})

    @override
    def parse_response(self, response: requests.Response) -> Iterable[dict[str, Any]]:
        body = response.json(parse_float=decimal.Decimal)
        yield from extract_jsonpath("$.data[*]", body)
        # All of the page has gone out by now: the next run may go on after it.
        self.stream_state["token"] = body["next_token"]
        self.finalize_state_progress_markers()


class TapSecurityIncidents(Tap):
    """The tap's settings and streams."""

    name = "tap-security-incidents"
    config_jsonschema = th.PropertiesList(
        th.Property("base_url", th.StringType, required=True, description="The stack's output ApiUrl"),
        th.Property("api_key", th.StringType, required=True, secret=True, description="An API key"),
        th.Property("page_size", th.IntegerType, default=1000, description="Incidents a call of the feed"),
        th.Property("employees_per_page", th.IntegerType, default=500, description="Employees a page"),
    ).to_dict()

    @override
    def discover_streams(self) -> list[IncidentStream]:
        return [ChangesStream(self), IncidentsStream(self)]


if __name__ == "__main__":
    TapSecurityIncidents.cli()
