"""What stands around the bodies: validators, caching, links, ages, methods, problems; through the handler."""

import json
import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from botocore.exceptions import EndpointConnectionError

from functions.api import walker as walk_module
from local.simulator import Simulator, SimulatorSettings, faults
from local.template import load_template
from shared.repeated_get import RepeatedGet
from shared.store.table import Table
from tests.fakes import Clock

SETTINGS = SimulatorSettings(seed=7, records_per_type=12, identities=60)
PAGES = "/incidents"
CHANGES = "/incidents/changes"
BEGINNING = 4_000_001_234


@pytest.fixture
def service(make_service: Callable[[Simulator], Any]) -> Any:
    """84 incidents, one poll ago; a reader that has answered once."""
    moment = Simulator().clock() - 86_400
    service = make_service(Simulator(SETTINGS, clock=lambda: moment))
    assert service.poll()["new_incidents"] == 84
    assert service.get(PAGES).status == 200
    service.calls.clear()
    return service


def somebody(service: Any) -> str:
    return f"/employees/{next(iter(service.get(PAGES).json['incidents']))}/incidents"


def operations(service: Any) -> list[str]:
    """What the requests so far asked of AWS."""
    names = [name for name, _ in service.calls]
    service.calls.clear()
    return names


def poll_something_new(service: Any, hours: int = 6) -> None:
    moment = service.simulator.clock() + 3600 * hours
    service.simulator.clock = lambda: moment
    assert service.poll()["new_incidents"] > 0


def test_the_handler_reads_the_state_anew_however_often_it_is_asked(service: Any) -> None:
    """Through the real handler: each answer costs one small read, also where its request is repeated, and a
    poll's new state shows in the very next answer.
    """
    full = service.get(PAGES)
    service.calls.clear()
    for _ in range(30):
        again = service.get(PAGES)
        assert operations(service) == ["GetItem"]
        assert again.text == full.text
    poll_something_new(service)
    after = service.get(PAGES)
    assert after.json["snapshot"]["sequence"] > full.json["snapshot"]["sequence"]
    assert len(after.text) > len(full.text)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (PAGES, {}),
        (PAGES, {"limit": "3", "priority": "high,low"}),
        ("somebody", {}),
        (CHANGES, {}),
        (CHANGES, {"limit": "5", "schema": "ocsf"}),
        (PAGES, {"with a cursor": ""}),
        (CHANGES, {"with a token": ""}),
    ],
    ids=str,
)
def test_who_has_it_already_costs_one_small_read(service: Any, path: str, query: dict[str, str]) -> None:
    """A weak ETag; with it, alone, in a list or as a strong one, the answer is 304, without a body, with the
    headers of the full answer, at the price of exactly one GetItem.
    """
    if path == "somebody":
        path = somebody(service)
    if "with a cursor" in query:
        query = {"cursor": service.get(PAGES, limit="3").json["next_cursor"]}
    if "with a token" in query:
        query = {"token": service.get(CHANGES, limit="3").json["next_token"]}
    full = service.get(path, **query)
    tag = full.headers["ETag"]
    assert re.fullmatch(r'W/"[!#-~]+"', tag)
    service.calls.clear()
    for value in (tag, tag.removeprefix("W/"), f'"other", {tag}', f'{tag},W/"other"'):
        for method in ("GET", "HEAD"):
            answer = service.get(path, method, headers={"If-None-Match": value}, **query)
            assert (answer.status, answer.text) == (304, "")
            assert operations(service) == ["GetItem"]
            for name in ("ETag", "Cache-Control", "Vary", "Last-Modified", "X-Data-Complete"):
                assert answer.headers[name] == full.headers[name]
            assert "Content-Type" not in answer.headers
            assert {"X-Request-Id", "X-Data-Age-Seconds"} <= answer.headers.keys()
    for value in ('"other"', "W/", tag[:-2] + '"', ""):
        answer = service.get(path, headers={"If-None-Match": value}, **query)
        assert (answer.status, answer.headers["ETag"]) == (200, tag)
        assert answer.text


def test_any_answer_that_there_is_will_do_for_an_asterisk(service: Any) -> None:
    """If-None-Match: * is 304 where there is an answer, 404 and 400 where there is none."""
    star = {"If-None-Match": "*"}
    for path in (PAGES, CHANGES, somebody(service)):
        assert service.get(path, headers=star).status == 304
    assert service.get("/employees/123456789012/incidents", headers=star).status == 404
    assert service.get(PAGES, headers=star, priorty="high").status == 400
    assert service.get(CHANGES, headers=star, token="x").json["code"] == "token_invalid"


def test_a_tag_is_of_the_question(service: Any) -> None:
    """Other filters, limits, cursors, routes, forms: other tags; the same question again: the same tag."""
    cursor = service.get(PAGES, limit="3").json["next_cursor"]
    second = service.get(PAGES, cursor=cursor).json["next_cursor"]
    token = service.get(CHANGES, limit="3").json["next_token"]
    questions: list[tuple[str, dict[str, str], dict[str, str]]] = [
        (PAGES, {}, {}),
        (PAGES, {"limit": "3"}, {}),
        (PAGES, {"priority": "high"}, {}),
        (PAGES, {"type": "denial"}, {}),
        (PAGES, {"since": "1"}, {}),
        (PAGES, {"until": "4000000000"}, {}),
        (PAGES, {"cursor": cursor}, {}),
        (PAGES, {"cursor": cursor, "limit": "4"}, {}),
        (PAGES, {"cursor": second}, {}),
        (somebody(service), {}, {}),
        (CHANGES, {}, {}),
        (CHANGES, {"limit": "3"}, {}),
        (CHANGES, {"token": token}, {}),
        (CHANGES, {"schema": "ocsf"}, {}),
        (CHANGES, {}, {"Accept": "text/csv"}),
        (CHANGES, {}, {"Accept": "application/x-ndjson"}),
    ]

    def ask() -> list[str]:
        return [
            service.get(path, headers=headers, **query).headers["ETag"] for path, query, headers in questions
        ]

    tags = ask()
    assert len(set(tags)) == len(questions)
    service.forget_clients()
    assert ask() == tags
    same = service.get(PAGES, limit="100", priority=["high", "high"]).headers["ETag"]
    assert same == tags[2]


def test_a_tag_is_of_the_data(service: Any) -> None:
    """A poll that brings something new changes the tags of what is asked for anew, and not those of a walk
    under way; one that could not take all sources changes them as well, because the answer says so.
    """
    first = service.get(PAGES, limit="3")
    cursor = first.json["next_cursor"]
    questions: list[tuple[str, dict[str, str]]] = [
        (PAGES, {"limit": "3"}),
        (CHANGES, {}),
        (somebody(service), {}),
    ]

    def tags() -> list[str]:
        return [service.get(path, **query).headers["ETag"] for path, query in questions]

    before, on_the_way = tags(), service.get(PAGES, cursor=cursor)
    service.poll()
    assert tags() == before
    poll_something_new(service)
    after = tags()
    assert not set(before) & set(after)
    again = service.get(PAGES, cursor=cursor)
    assert (again.headers["ETag"], again.text) == (on_the_way.headers["ETag"], on_the_way.text)
    assert service.get(PAGES, limit="3", headers={"If-None-Match": before[0]}).status == 200

    service.simulator.faults.add("/incidents/denial/", faults.status(500), times=50)
    service.poll()
    answer = service.get(PAGES, limit="3", headers={"If-None-Match": after[0]})
    assert (answer.status, answer.json["snapshot"]["complete"]) == (200, False)
    assert answer.headers["X-Data-Complete"] == "false"
    assert service.get(PAGES, cursor=cursor).json["snapshot"]["complete"] is True


def test_a_tag_is_of_the_hour_that_retention_is_judged_at(
    make_history: Callable[..., Any], make_reader: Callable[..., Any]
) -> None:
    """Nothing new comes, but an hour begins, and with it something may be past its time: the tag changes."""
    history = make_history(clock=Clock(BEGINNING))
    history.upstream.records["misuse"] = [f'{{"employee_id":7,"priority":"low","timestamp":{BEGINNING}}}']
    history.poll()
    reader = make_reader(history.client, clock=history.clock)
    tag = reader.get(PAGES).headers["ETag"]
    history.clock.now += 3600 - BEGINNING % 3600 - 1
    assert reader.get(PAGES).headers["ETag"] == tag
    history.clock.now += 1
    assert reader.get(PAGES, headers={"If-None-Match": tag}).status == 200


def test_data_tell_how_old_and_how_complete_they_are(
    make_history: Callable[..., Any], make_reader: Callable[..., Any]
) -> None:
    """The age in whole seconds since the last poll that succeeded, on every answer made from data."""
    history = make_history(clock=Clock(BEGINNING))
    history.upstream.records["misuse"] = [f'{{"employee_id":7,"priority":"low","timestamp":{BEGINNING}}}']
    history.poll()
    reader = make_reader(history.client, clock=history.clock)
    history.clock.now += 100
    history.upstream.broken = frozenset({"denial"})
    history.poll()
    history.clock.now += 100
    history.upstream.broken = frozenset({*history.state()["report"]["sources"]})
    assert history.poll().outcome == "failed"
    history.clock.now += 50.9
    for path in (PAGES, CHANGES, "/employees/7/incidents"):
        answer = reader.get(path)
        assert (answer.headers["X-Data-Age-Seconds"], answer.headers["X-Data-Complete"]) == ("150", "false")
        not_modified = reader.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert not_modified.status == 304
        assert not_modified.headers["X-Data-Age-Seconds"] == "150"
    assert reader.get(PAGES).json["snapshot"]["complete"] is False


def test_what_is_not_made_from_data_tells_their_age_too(
    make_history: Callable[..., Any], make_reader: Callable[..., Any]
) -> None:
    """The contract, and problems of every kind; before the first poll that the data are not complete, and
    no age.
    """
    history = make_history(clock=Clock(BEGINNING))
    reader = make_reader(history.client, clock=history.clock)
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/openapi.json", {}),
        ("/nothing", {}),
        (PAGES, {"method": "POST"}),
        (PAGES, {"headers": {"Accept": "image/png"}}),
        (PAGES, {"cursor": "forged"}),
        (CHANGES, {"limits": "1"}),
        ("/employees/999/incidents", {}),
    ]
    for path, how in [*asked, (PAGES, {}), ("/health", {})]:
        headers = reader.get(path, **how).headers
        assert headers["X-Data-Complete"] == "false", path
        assert "X-Data-Age-Seconds" not in headers, path
    history.poll()
    history.clock.now += 100
    for path, how in asked:
        headers = reader.get(path, **how).headers
        assert (headers["X-Data-Age-Seconds"], headers["X-Data-Complete"]) == ("100", "true"), path


def test_the_state_is_read_once_a_request_and_anew_with_each(service: Any) -> None:
    """Also where an answer becomes a problem on the way; the next request sees what a poll did meanwhile."""
    somebody(service)
    service.calls.clear()
    assert service.get(PAGES, cursor="forged").status == 400
    assert operations(service) == ["GetItem"]
    before = service.get(PAGES).json["snapshot"]["sequence"]
    poll_something_new(service)
    assert service.get(PAGES).json["snapshot"]["sequence"] == before + 1


def test_what_needs_no_data_is_answered_while_the_table_is_away(
    make_reader: Callable[..., Any],
) -> None:
    """The contract and problems come without the age of the data; what needs data is a 500."""

    class Away:
        def __getattr__(self, name: str) -> Any:
            def fail(**_: Any) -> Any:
                raise EndpointConnectionError(endpoint_url="https://dynamodb")

            return fail

    reader = make_reader(Away())
    for path, query, status in (
        ("/openapi.json", {}, 200),
        ("/nothing", {}, 404),
        (PAGES, {"limit": "0"}, 400),
        (PAGES, {}, 500),
        ("/health", {}, 500),
    ):
        answer = reader.get(path, **query)
        assert answer.status == status
        assert not {"X-Data-Age-Seconds", "X-Data-Complete"} & answer.headers.keys()


def partitions_of(operation: str, request: Any) -> set[str]:
    """The partitions that a read is of."""
    if operation == "Query":
        return {request["ExpressionAttributeValues"][":pk"]["S"]}
    keys = request["Keys"] if operation == "BatchGetItem" else [request["Key"]]
    return {key["pk"]["S"] for key in keys}


def test_the_reader_asks_only_for_what_its_role_may_read(
    make_history: Callable[..., Any], make_reader: Callable[..., Any]
) -> None:
    """Every partition that any route reads is open to the function in AWS, and no other: emulators would not
    tell.
    """
    history = make_history(clock=Clock(BEGINNING))
    history.upstream.records = {
        "misuse": [f'{{"employee_id":{each},"priority":"low","timestamp":{BEGINNING}}}' for each in (7, 8)],
        "probing": [f'{{"ip":"10.0.0.{each}","priority":"low","timestamp":{BEGINNING}}}' for each in (1, 2)],
    }
    history.poll()
    reader = make_reader(history.client, clock=history.clock)
    before = len(history.client.requests)
    for path in (PAGES, "/incidents/unattributed"):
        cursor = reader.get(path, limit="1").json["next_cursor"]
        assert reader.get(path, cursor=cursor).status == 200
    token = reader.get(CHANGES, limit="1").json["next_token"]
    assert reader.get(CHANGES, token=token).status == 200
    for path in ("/employees/7/incidents", "/employees", "/summary", "/health", "/openapi.json"):
        assert reader.get(path).status == 200
    assert reader.get("/employees", sort="employee_id").status == 200
    asked = {
        partition
        for operation, request in history.client.requests[before:]
        for partition in partitions_of(operation, request)
    }
    (policy,) = load_template()["Resources"]["ApiRole"]["Properties"]["Policies"]
    statements = policy["PolicyDocument"]["Statement"]
    (statement,) = [each for each in statements if each.get("Sid") == "ReadIncidents"]
    assert asked == set(statement["Condition"]["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"])


def test_every_answer_says_who_may_keep_it(service: Any) -> None:
    """Private, asked for anew each time, different for what a client accepts; problems and health alike."""
    paths = (
        PAGES,
        CHANGES,
        somebody(service),
        "/health",
        "/openapi.json",
        "/nothing",
        "/employees/x/incidents",
    )
    for path in paths:
        for method in ("GET", "HEAD", "POST"):
            headers = service.get(path, method).headers
            assert headers["Cache-Control"] == "private, no-cache"
            assert set(headers["Vary"].split(", ")) == {"Accept", "Accept-Encoding"}
            assert headers["X-Request-Id"] == "a-request"


def test_last_modified_is_when_the_snapshot_was_committed(
    make_history: Callable[..., Any], make_reader: Callable[..., Any]
) -> None:
    """As an HTTP date, of the snapshot that the answer shows: a walk keeps its own."""
    history = make_history(clock=Clock(BEGINNING))

    def poll() -> None:
        history.upstream.records["misuse"] = [
            f'{{"employee_id":{employee},"priority":"low","timestamp":{history.clock.now}}}'
            for employee in (1, 2)
        ]
        history.poll()

    def moment(answer: Any) -> str:
        text = answer.headers["Last-Modified"]
        assert text.endswith(" GMT")
        return parsedate_to_datetime(text).strftime("%Y-%m-%dT%H:%M:%SZ")

    poll()
    reader = make_reader(history.client, clock=history.clock)
    first = reader.get(PAGES, limit="1")
    history.clock.now += 1_000
    poll()
    answers = [first, reader.get(PAGES, cursor=first.json["next_cursor"]), reader.get(PAGES)]
    for answer in answers:
        assert moment(answer) == answer.json["snapshot"]["committed_at"]
    assert moment(answers[1]) == moment(first) < moment(answers[2]) == moment(reader.get(CHANGES))


def test_head_is_get(service: Any) -> None:
    """HEAD has the status and the headers of GET, links and tokens included, and reads the same."""
    paths = [
        (PAGES, {"limit": "3"}),
        (CHANGES, {"limit": "3"}),
        (somebody(service), {}),
        ("/openapi.json", {}),
    ]
    for path, query in [*paths, ("/employees/1/incidents", {}), ("/nothing", {}), (PAGES, {"limit": "0"})]:
        head, get = service.get(path, "HEAD", **query), service.get(path, **query)
        volatile = {"Link", "X-Data-Age-Seconds"}
        assert head.status == get.status
        assert head.headers.keys() == get.headers.keys()
        assert {n: v for n, v in head.headers.items() if n not in volatile} == {
            n: v for n, v in get.headers.items() if n not in volatile
        }


@pytest.mark.parametrize(
    "url",
    [
        "https://abc.execute-api.eu-west-1.amazonaws.com/prod/incidents?limit=4",
        "http://127.0.0.1:9000/incidents?limit=4&priority=high&priority=low",
        "https://incidents.example/v1/incidents?type=denial,misuse,probing&limit=1&since=1",
        "http://127.0.0.1:9000/incidents/changes?limit=9",
        "https://abc.execute-api.eu-west-1.amazonaws.com/prod/incidents/changes?schema=ocsf&limit=9",
    ],
)
def test_links_lead_through_the_whole_walk(service: Any, url: str) -> None:
    """A client that only follows `rel="next"` stays on its host, stage and route, keeps its filters, limit
    and schema, and comes to the end; the last page has no link.
    """
    began_at = urlsplit(url)
    sizes = []
    shown: list[str] = []
    while url:
        parts = urlsplit(url)
        assert (parts.netloc, parts.path) == (began_at.netloc, began_at.path)
        path = parts.path[parts.path.index("/incidents") :]
        answer = service.get(path, **parse_qs(parts.query, strict_parsing=True))
        assert answer.status == 200, answer.text
        document = answer.json
        if path == CHANGES:
            found = [
                row["unmapped"]["id"] if "schema=ocsf" in began_at.query else row["id"]
                for row in document["data"]
            ]
            sizes.append(len(found))
        else:
            groups = [group for groups in document["incidents"].values() for group in groups.values()]
            found = [each["id"] for group in groups for each in group["incidents"]]
            sizes.append(len(document["incidents"]))
        shown += found
        assert ("Link" in answer.headers) is document["has_more"]
        link = answer.headers.get("Link")
        match = re.fullmatch(r'<(\?[!-~]+)>; rel="next"', link) if link else None
        assert bool(link) is bool(match)
        url = urljoin(url, match[1]) if match else ""
    limit = int(parse_qs(began_at.query)["limit"][0])
    assert len(sizes) > 2
    assert set(sizes[:-1]) == {limit}
    path = began_at.path[began_at.path.index("/incidents") :]
    whole = service.get(path, **{**parse_qs(began_at.query), "limit": "500"})
    expected = re.findall(r'"id":"([0-9a-f]{32})"', whole.text)
    assert len(shown) == len(set(shown)) > 8
    assert set(shown) == set(expected)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_told_which_there_are(service: Any, method: str) -> None:
    """405 with Allow on every path that is served, 404 elsewhere; all that is read is the age of the data."""
    asked = 0
    for path in (PAGES, CHANGES, "/employees/7/incidents", "/health", "/openapi.json"):
        answer = service.get(path, method)
        assert (answer.status, answer.json["code"]) == (405, "method_not_allowed")
        assert answer.headers["Allow"] == "GET, HEAD"
        asked += 1
    assert service.get("/nothing", method).status == 404
    assert operations(service) == ["GetItem"] * (asked + 1)


@pytest.mark.parametrize(
    ("path", "accept", "content_type"),
    [
        (PAGES, None, "application/json"),
        (PAGES, "*/*", "application/json"),
        (PAGES, "application/*;q=0.1", "application/json"),
        (PAGES, "text/html, application/json;q=0.9", "application/json"),
        (PAGES, "text/html", None),
        (PAGES, "application/json;q=0", None),
        ("/employees/7/incidents", "text/csv", None),
        (CHANGES, "text/csv", "text/csv"),
        (CHANGES, "text/*", "text/csv"),
        (CHANGES, "application/x-ndjson, application/json;q=0.5", "application/x-ndjson"),
        (CHANGES, "application/json;q=0.4, text/csv;q=0.5", "text/csv"),
        (CHANGES, "image/png", None),
        ("/health", "application/json", "application/json"),
        ("/health", "*/*", "application/health+json"),
        ("/health", "text/plain", None),
        ("/openapi.json", "text/plain", None),
    ],
)
def test_what_a_client_accepts_it_gets(
    service: Any, path: str, accept: str | None, content_type: str | None
) -> None:
    """The form that the client likes best; 406 where it likes none of them, and the problem says which, at
    the price of the age of the data.
    """
    answer = service.get(path, headers={"Accept": accept} if accept else {})
    if content_type is None:
        assert (answer.status, answer.json["code"]) == (406, "not_acceptable")
        assert "application/" in answer.json["detail"]
        assert operations(service) == ["GetItem"]
    else:
        assert answer.status in (200, 503)
        assert answer.headers["Content-Type"] == content_type


def test_all_that_goes_wrong_is_a_problem(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """problem+json with type, title, status, detail, code and the request's id, whatever it is; an error of
    ours tells nothing of itself.
    """
    cursor = service.get(PAGES, limit="3").json["next_cursor"]
    cases: list[tuple[int, str, str, str, dict[str, str]]] = [
        (400, "invalid_parameter", "GET", PAGES, {"priority": "urgent"}),
        (400, "invalid_parameter", "GET", "/health", {"limit": "1"}),
        (400, "invalid_parameter", "GET", "/openapi.json", {"x": "1"}),
        (400, "invalid_parameter", "GET", "/employees/7x/incidents", {}),
        (400, "invalid_parameter", "GET", "/employees/7/incidents", {"limit": "5"}),
        (400, "cursor_invalid", "GET", PAGES, {"cursor": "AAAA"}),
        (400, "cursor_mismatch", "GET", PAGES, {"cursor": cursor, "priority": "low"}),
        (400, "token_invalid", "GET", CHANGES, {"token": cursor}),
        (404, "employee_not_found", "GET", "/employees/1/incidents", {}),
        (404, "route_not_found", "GET", "/", {}),
        (404, "route_not_found", "GET", "/employees//incidents", {}),
        (405, "method_not_allowed", "POST", PAGES, {}),
    ]

    def check(status: int, code: str, answer: Any) -> None:
        assert (answer.status, answer.json["code"]) == (status, code)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json["status"] == status
        assert answer.json["request_id"] == answer.headers["X-Request-Id"] == "a-request"
        assert answer.json["type"].endswith(code)
        assert answer.json["title"]
        assert answer.json["detail"]
        assert "ETag" not in answer.headers

    for status, code, method, path, query in cases:
        check(status, code, service.get(path, method, **query))

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr(Table, "get", fail)
    monkeypatch.setattr(RepeatedGet, "__call__", fail)
    for path in (PAGES, CHANGES, "/employees/1/incidents", "/health"):
        answer = service.get(path)
        check(500, "internal_error", answer)
        assert "secret" not in json.dumps(answer.proxy)


def test_a_signing_key_is_read_only_where_something_is_signed(service: Any) -> None:
    """A first page without a next one reads no key; a container reads the keys once, however many cursors
    and tokens it gives out and takes.
    """
    service.forget_clients()
    service.calls.clear()
    assert service.get(PAGES, limit="500").json["has_more"] is False
    assert service.get(somebody(service)).status == 200
    assert keys_read(service) == 0
    cursor = service.get(PAGES, limit="3").json["next_cursor"]
    assert keys_read(service) == 1
    for _ in range(3):
        cursor = service.get(PAGES, cursor=cursor).json["next_cursor"]
        token = service.get(CHANGES, limit="3").json["next_token"]
        service.get(CHANGES, token=token)
        assert service.get(PAGES, cursor="AAAA" + cursor[4:]).status == 400
    assert keys_read(service) == 0
    service.forget_clients()
    assert service.get(PAGES, cursor=cursor).status == 200
    assert keys_read(service) == 1


def keys_read(service: Any) -> int:
    """How often the requests so far read the keys."""
    count = sum(name == "GetItem" and call["Key"]["pk"]["S"] == "CURSOR_KEYS" for name, call in service.calls)
    service.calls.clear()
    return count


def test_a_page_of_the_reader_makes_two_requests(service: Any) -> None:
    """The state and one query, for an ordinary page; nothing is scanned and nothing is written."""
    service.get(PAGES, limit="20")
    service.calls.clear()
    service.get(PAGES, limit="500")
    assert operations(service) == ["GetItem", "Query"]
    service.get(PAGES)
    service.get(CHANGES)
    service.get("/health")
    assert set(operations(service)) == {"GetItem", "Query"}


def test_a_large_employees_links_lead_to_the_end(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an employee's own route too: links lead on while there is more, with the full count each time."""
    path = max(
        (f"/employees/{employee}/incidents" for employee in service.everybody()),
        key=lambda each: len(service.get(each).text),
    )
    whole = service.get(path)
    monkeypatch.setattr(walk_module, "MAX_EMPLOYEE_BYTES", 500)
    # A container that was up has the whole page still.
    service.forget_clients()
    url = f"https://host/stage{path}"
    ids: list[str] = []
    pages = 0
    while True:
        answer = service.get(path, **parse_qs(urlsplit(url).query))
        assert answer.status == 200
        ids += re.findall(r'"id":"([0-9a-f]{32})"', answer.text)
        assert re.findall(r'"count":(\d+)', answer.text) == re.findall(r'"count":(\d+)', whole.text)
        pages += 1
        if "Link" not in answer.headers:
            break
        url = urljoin(url, answer.headers["Link"].split(">")[0][1:])
    assert pages > 1
    assert sorted(ids) == sorted(re.findall(r'"id":"([0-9a-f]{32})"', whole.text))
