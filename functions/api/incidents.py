"""Answers about employees: pages of them with their incidents by priority."""

from functions.api import formats
from functions.api.answer import Answer
from functions.api.page import link_to_page, render_envelope
from functions.api.page_cache import PageCache, RenderedPage
from functions.api.page_requests import PageRequest, PageRequests
from functions.api.parameters import PageParameters
from functions.api.problems import UnknownEmployeeError
from functions.api.walker import Walker
from shared.domain.grouping import render_groups


class IncidentAnswers:
    """Answers `GET /incidents` and `GET /employees/{employee_id}/incidents`."""

    def __init__(self, requests: PageRequests, *, walker: Walker, cache: PageCache) -> None:
        self._requests = requests
        self._walker = walker
        self._cache = cache

    def prepare(self, parameters: PageParameters, employee_id: str | None = None) -> PageRequest:
        """:meth:`functions.api.page_requests.PageRequests.prepare` for one employee, or for all."""
        return self._requests.prepare(parameters, employee_id=employee_id, under_way=self._walker.under_way)

    def answer(self, request: PageRequest) -> Answer:
        """The page; raises :class:`UnknownEmployeeError` where a single employee has nothing at all."""
        page = self._cache.find(request, lambda: self._read(request))
        next_cursor = self._requests.cursor_to(page.next, request)
        body = f'{{"incidents":{page.rows},{render_envelope(next_cursor, request.walk.snapshot)}'
        return Answer(body, formats.JSON, headers=self.headers(request) | link_to_page(next_cursor))

    def headers(self, request: PageRequest) -> dict[str, str]:
        """The headers of the page that are known without reading it."""
        return self._requests.headers(request)

    def _read(self, request: PageRequest) -> RenderedPage:
        page = self._walker.read_page(request.walk, request.start, limit=request.limit)
        if request.walk.employee_id and not page.groups and not self._walker.is_known(request.walk):
            raise UnknownEmployeeError("no incident of this employee is kept")
        return RenderedPage(render_groups(page.groups), page.next)
