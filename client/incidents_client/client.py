"""The API as Python: iterators that follow cursors and tokens by themselves."""

import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from incidents_client.auth import no_auth
from incidents_client.errors import (
    ExpiredCursorError,
    ExpiredTokenError,
    IncidentsError,
    MalformedAnswerError,
    SettingsError,
)
from incidents_client.moments import Moment, to_parameter
from incidents_client.records import (
    PRIORITIES,
    ChangesPage,
    Employee,
    Health,
    Incident,
    Notice,
    Row,
    read_list,
    read_object,
    read_text,
)
from incidents_client.transport import Answer, Auth, Query, Transport, check_secrecy

LARGEST_PAGE = 500
LARGEST_CHANGES_PAGE = 1_000
PATIENCE_SECONDS = 120.0
# A walk that takes more than three days has other troubles.
MAX_NEW_WALKS = 3
# A page of a walk has something on it while there are more (docs/api.md); a server that never ends has not.
MAX_EMPTY_PAGES = 100


class Client:
    """One deployment.

    By ``auth`` it shows who asks: a :class:`incidents_client.SigV4`, an `ApiKey`, a `Bearer`, or any of
    `requests`; nobody by default.
    ``patience`` is how many seconds a single request may go on failing (429, 5xx, connections) before its
    error is raised. ``on_notice`` hears of waits and of walks that began anew.

    All methods raise what :mod:`incidents_client.errors` has. Not for several threads at once.
    """

    def __init__(
        self,
        base_url: str,
        auth: Auth | None = None,
        *,
        patience: float = PATIENCE_SECONDS,
        on_notice: Callable[[Notice], None] = lambda notice: None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_notice = on_notice
        self._transport = Transport(
            base_url, auth or no_auth, patience=patience, on_wait=self._tell_wait, sleep=sleep, clock=clock
        )
        if auth is not None and auth is not no_auth:
            check_secrecy(self._transport.base_url)

    def __enter__(self) -> "Client":
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def employees(
        self,
        *,
        priorities: Sequence[str] = (),
        types: Sequence[str] = (),
        since: Moment | None = None,
        until: Moment | None = None,
        page_size: int = LARGEST_PAGE,
    ) -> Iterator[Employee]:
        """Every employee of one snapshot exactly once, ascending by id, with the incidents that match.

        A walk that outlives its cursor (24 hours) goes on behind the last employee in a newer snapshot, and
        says so by a notice `walk_began_anew`: still each employee once, but what came in meanwhile about
        those before is not there.
        """
        query = [("limit", str(page_size)), *_filters(priorities, types, since, until)]
        held: Employee | None = None
        passed = previous = -1
        for page, began_anew in self._walk("/incidents", query):
            if began_anew:
                # Parts of two snapshots don't make one employee.
                held, previous = None, -1
            for employee_id, value in read_object(page.get("incidents"), "incidents").items():
                employee = Employee.read(employee_id, value)
                number = int(employee_id)
                if held is not None and held.id == employee_id:
                    # One of over 5 MB goes on on the next page.
                    held = held.joined(employee)
                    continue
                if number < previous or (number == previous and number > passed):
                    raise MalformedAnswerError("employees do not come in the order of their ids")
                previous = number
                if held is not None:
                    yield held
                    passed = int(held.id)
                held = employee if number > passed else None
        if held is not None:
            yield held

    def incidents(
        self,
        *,
        priorities: Sequence[str] = (),
        types: Sequence[str] = (),
        since: Moment | None = None,
        until: Moment | None = None,
    ) -> Iterator[Incident]:
        """All incidents of :meth:`employees`, flat."""
        for employee in self.employees(priorities=priorities, types=types, since=since, until=until):
            yield from employee.incidents

    def employee(
        self,
        employee_id: str | int,
        *,
        priorities: Sequence[str] = (),
        types: Sequence[str] = (),
        since: Moment | None = None,
        until: Moment | None = None,
    ) -> Employee:
        """One employee. Raises :class:`incidents_client.UnknownEmployeeError`."""
        text = str(employee_id)
        if not text.isascii() or not text.isdigit() or len(text) > 20:
            raise SettingsError("an employee id is 1 to 20 digits")
        found: Employee | None = None
        filters = _filters(priorities, types, since, until)
        for page, began_anew in self._walk(f"/employees/{text}/incidents", filters):
            if began_anew:
                found = None
            for each, value in read_object(page.get("incidents"), "incidents").items():
                part = Employee.read(each, value)
                if int(part.id) != int(text) or (found and found.id != part.id):
                    raise MalformedAnswerError("the answer is about another employee")
                found = found.joined(part) if found else part
        return found or Employee.read(str(int(text)), _NOTHING)

    def unattributed(
        self,
        *,
        priorities: Sequence[str] = (),
        types: Sequence[str] = (),
        since: Moment | None = None,
        until: Moment | None = None,
        page_size: int = LARGEST_PAGE,
    ) -> Iterator[Incident]:
        """Each incident whose employee is not known yet, once, in the order of the ids.

        Walks that outlive their cursor go on as those of :meth:`employees` do.
        """
        query = [("limit", str(page_size)), *_filters(priorities, types, since, until)]
        last = previous = ""
        for page, began_anew in self._walk("/incidents/unattributed", query):
            previous = "" if began_anew else previous
            for incident in map(Incident.read, read_list(page, "data")):
                if incident.id <= previous:
                    raise MalformedAnswerError("incidents do not come in the order of their ids")
                previous = incident.id
                if incident.id > last:
                    last = incident.id
                    yield incident

    def changes(
        self,
        token: str | None = None,
        *,
        limit: int = LARGEST_CHANGES_PAGE,
        schema: str = "native",
        go_on_after_gap: bool = False,
    ) -> Iterator[ChangesPage]:
        """What the journal took in since the token (without one: since the oldest kept), up to now.

        Keep each page's ``next_token`` once you have dealt with its rows: then nothing is skipped, and what
        is delivered twice after a crash has the same ids. A token that has expired raises
        :class:`incidents_client.ExpiredTokenError`; with ``go_on_after_gap`` the feed begins with the oldest
        kept instead, and the first page says ``after_gap``.
        """
        while True:
            page = self.changes_page(token, limit=limit, schema=schema, go_on_after_gap=go_on_after_gap)
            if page is None:
                raise MalformedAnswerError("the server takes an answer for known that was never asked about")
            yield page
            if not page.has_more:
                return
            if page.next_token == token:
                raise MalformedAnswerError("the feed has more, but its token stands still")
            token = page.next_token

    def changes_page(
        self,
        token: str | None = None,
        *,
        etag: str | None = None,
        limit: int = LARGEST_CHANGES_PAGE,
        schema: str = "native",
        go_on_after_gap: bool = False,
        patience: float | None = None,
    ) -> ChangesPage | None:
        """One stretch of :meth:`changes`; None where it is still the one that had this ``etag``."""
        query = [("limit", str(limit)), *([("schema", schema)] if schema != "native" else [])]
        asked = [*query, *([("token", token)] if token is not None else [])]
        after_gap = False
        try:
            answer = self._transport.get("/incidents/changes", asked, etag=etag, patience=patience)
        except ExpiredTokenError as error:
            if token is None or not go_on_after_gap:
                raise
            self._on_notice(
                Notice(
                    "gap",
                    f"{error.detail or 'the token has expired'}. Goes on with the oldest that is kept: there "
                    "may be a gap before it, and what you had of the rest comes again",
                )
            )
            after_gap = True
            answer = self._transport.get("/incidents/changes", query, patience=patience)
        if answer.status == 304:
            return None
        return _read_changes(answer, after_gap=after_gap)

    def health(self) -> Health:
        """The health document, also that of a deployment that fails."""
        answer = self._transport.get(
            "/health", accept="application/health+json, application/json;q=0.9", wanted=(200, 503)
        )
        document = read_object(answer.document, "the health document")
        status = read_text(document, "status")
        if status not in ("pass", "warn", "fail"):
            raise MalformedAnswerError("the health document has no status: is the URL right?")
        return Health(status, document)  # type: ignore[arg-type]  # it was just compared with all three

    def _walk(self, path: str, query: Query) -> Iterator[tuple[Row, bool]]:
        """Pages, each with whether a new walk begins with it."""
        cursor: str | None = None
        began_anew, new_walks, empty_pages = False, 0, 0
        # A cursor knows its filters.
        size = [each for each in query if each[0] == "limit"]
        while True:
            try:
                answer = self._transport.get(path, query if cursor is None else [*size, ("cursor", cursor)])
            except ExpiredCursorError:
                new_walks += 1
                if cursor is None or new_walks > MAX_NEW_WALKS:
                    raise
                self._on_notice(
                    Notice(
                        "walk_began_anew",
                        "the walk took more than 24 hours: it goes on where it was, in a newer snapshot",
                    )
                )
                cursor, began_anew = None, True
                continue
            page = read_object(answer.document, "a page")
            yield page, began_anew
            began_anew = False
            if page.get("next_cursor") is None:
                return
            following = read_text(page, "next_cursor")
            empty_pages = 0 if page.get("incidents") or page.get("data") else empty_pages + 1
            if following == cursor:
                raise MalformedAnswerError("the walk's cursor stands still")
            if empty_pages == MAX_EMPTY_PAGES:
                raise MalformedAnswerError("the walk's cursor leads nowhere")
            cursor = following

    def _tell_wait(self, error: IncidentsError, seconds: float) -> None:
        self._on_notice(Notice("waiting", f"{error}; tried again in {seconds:.0f} s"))


_NOTHING: Row = {priority: {"count": 0, "incidents": []} for priority in PRIORITIES}


def _filters(
    priorities: Sequence[str], types: Sequence[str], since: Moment | None, until: Moment | None
) -> list[tuple[str, str]]:
    if isinstance(priorities, str) or isinstance(types, str):
        raise SettingsError("priorities and types are lists")
    return [
        *(("priority", each) for each in priorities),
        *(("type", each) for each in types),
        *([("since", to_parameter(since))] if since is not None else []),
        *([("until", to_parameter(until))] if until is not None else []),
    ]


def _read_changes(answer: Answer, *, after_gap: bool) -> ChangesPage:
    page = read_object(answer.document, "a stretch of the feed")
    has_more = page.get("has_more")
    if not isinstance(has_more, bool):
        raise MalformedAnswerError("has_more is neither true nor false")
    rows = tuple(read_object(each, "a change") for each in read_list(page, "data"))
    return ChangesPage(rows, read_text(page, "next_token"), has_more, answer.etag, after_gap)
