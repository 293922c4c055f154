"""Answers about employees: pages of them with their incidents by priority."""

import json

from functions.api.answer import Answer, link_to_next
from functions.api.page_requests import PageRequest, PageRequests
from functions.api.parameters import PageParameters
from functions.api.problems import UnknownEmployeeError
from functions.api.walk import Snapshot
from functions.api.walker import Walker
from shared.domain.grouping import render_groups

CONTENT_TYPE = "application/json"


class IncidentAnswers:
    """Answers `GET /incidents` and `GET /employees/{employee_id}/incidents`."""

    def __init__(self, requests: PageRequests, *, walker: Walker) -> None:
        self._requests = requests
        self._walker = walker

    def prepare(self, parameters: PageParameters, employee_id: str | None = None) -> PageRequest:
        """:meth:`functions.api.page_requests.PageRequests.prepare` for one employee, or for all."""
        return self._requests.prepare(parameters, employee_id=employee_id, under_way=self._walker.under_way)

    def answer(self, request: PageRequest) -> Answer:
        """The page; raises :class:`UnknownEmployeeError` where a single employee has nothing at all."""
        page = self._walker.read_page(request.walk, request.start, limit=request.limit)
        if request.walk.employee_id and not page.groups and not self._walker.is_known(request.walk):
            raise UnknownEmployeeError("no incident of this employee is kept")
        next_cursor = self._requests.cursor_to(page.next, request)
        envelope = render_envelope(next_cursor, request.walk.snapshot)
        body = f'{{"incidents":{render_groups(page.groups)},{envelope}'
        return Answer(body, CONTENT_TYPE, headers=self.headers(request) | link_to_page(next_cursor))

    def headers(self, request: PageRequest) -> dict[str, str]:
        """The headers of the page that are known without reading it."""
        return self._requests.headers(request)


def render_envelope(next_cursor: str | None, snapshot: Snapshot) -> str:
    """What stands behind the incidents of a page, up to its last brace."""
    envelope = json.dumps(
        {
            "next_cursor": next_cursor,
            "has_more": next_cursor is not None,
            "snapshot": {
                "sequence": snapshot.sequence,
                "committed_at": snapshot.committed_at,
                "complete": snapshot.complete,
            },
        },
        separators=(",", ":"),
    )
    return envelope[1:]


def link_to_page(next_cursor: str | None) -> dict[str, str]:
    """The Link header of a page that has one after it."""
    return link_to_next(cursor=next_cursor) if next_cursor else {}
