"""Walks and the feed: each employee and incident once, whatever becomes of cursors and tokens."""

from collections.abc import Callable
from typing import Any

import pytest

from incidents_client import (
    Client,
    ExpiredCursorError,
    ExpiredTokenError,
    MalformedAnswerError,
    Notice,
    SettingsError,
    UnknownEmployeeError,
)
from tests.client.rows import changes, employee, incident, page
from tests.client.scripted_server import Reply, in_turn, problem

EXPIRED = problem(410, "cursor_expired")


def single(number: int) -> dict[str, Any]:
    return {str(number): employee(incident(number, str(number)))}


def ids(client: Client) -> list[str]:
    return [each.id for each in client.employees()]


def test_a_walk_follows_its_cursors_with_its_filters_once(serve: Any, make_client: Any) -> None:
    """Filters go with the first page, repeated where there are several, + as %2B; a cursor knows them."""
    server = serve(in_turn(Reply(200, page(single(9), "c=&+1")), Reply(200, page(single(10)))))
    client = make_client(server)
    since = "2026-11-23T06:00:00.1234567+02:00"
    found = client.employees(priorities=["high", "low"], types=["other"], since=since, page_size=3)
    assert [each.id for each in found] == ["9", "10"]
    filters = [("priority", "high"), ("priority", "low"), ("type", "other"), ("since", since)]
    assert server.asked[0].query == [("limit", "3"), *filters]
    assert "%2B02%3A00" in server.asked[0].target
    assert server.asked[1].query == [("limit", "3"), ("cursor", "c=&+1")]


def test_parts_of_one_employee_become_one(serve: Any, make_client: Any) -> None:
    """One who goes on over three pages comes once, with all incidents and the count of the whole."""
    parts = [{"7": employee(incident(number), count=3)} for number in (1, 2, 3)]
    replies = [page(single(1) | parts[0], "a"), page(parts[1], "b"), page(parts[2] | single(12), None)]
    client = make_client(serve(in_turn(*(Reply(200, each) for each in replies))))
    found = list(client.employees())
    assert [each.id for each in found] == ["1", "7", "12"]
    assert [int(each.id, 16) for each in found[1].incidents] == [1, 2, 3]
    assert found[1].counts["low"] == 3


def test_a_walk_that_outlives_its_cursor_still_has_each_employee_once(
    serve: Any, make_client: Any, notices: list[Notice]
) -> None:
    """It begins anew behind the last whole employee: one of whom only a part had come is taken from the new
    snapshot alone, those before do not come again, new ones behind do. It is told.
    """
    first = [page(single(1) | single(2), "a"), page({"30": employee(incident(1), count=2)}, "b")]
    second = [
        page(single(1) | single(2) | single(5), "c"),
        page({"30": employee(incident(8), incident(9), incident(10))} | single(100)),
    ]
    client = make_client(
        serve(in_turn(*(Reply(200, each) for each in first), EXPIRED, *(Reply(200, each) for each in second)))
    )
    found = list(client.employees())
    assert [each.id for each in found] == ["1", "2", "5", "30", "100"]
    assert [int(each.id, 16) for each in found[3].incidents] == [8, 9, 10]
    assert [notice.kind for notice in notices] == ["walk_began_anew"]


def test_a_server_that_takes_no_cursor_ends_the_walk(serve: Any, make_client: Any) -> None:
    """A walk begins anew three times at most, and a first page that has expired is an error at once."""
    server = serve(lambda asked: EXPIRED if "cursor=" in asked.target else Reply(200, page(single(1), "a")))
    with pytest.raises(ExpiredCursorError):
        ids(make_client(server))
    assert len(server.asked) == 8
    with pytest.raises(ExpiredCursorError):
        ids(make_client(serve(in_turn(EXPIRED))))


@pytest.mark.parametrize(
    ("replies", "words"),
    [
        ([page(single(1), "a"), page(single(2), "a")], "stands still"),
        ([page(single(2), "a"), page(single(1))], "order"),
        ([page(single(2) | single(3), "a"), page(single(2))], "order"),
        ([page({"x": employee()})], "without an id"),
        ([page({"1": {"low": {"count": 1, "incidents": [{}]}}})], "timestamp"),
        ([page({"1": {}})], "not an object"),
        ([{"incidents": []}], "not an object"),
        ([[]], "not an object"),
    ],
)
def test_pages_that_are_not_of_this_api_end_the_walk(
    serve: Any, make_client: Any, replies: list[Any], words: str
) -> None:
    """A cursor that stands still, employees out of order, and other shapes: an error, no endless walk."""
    with pytest.raises(MalformedAnswerError, match=words):
        ids(make_client(serve(in_turn(*(Reply(200, each) for each in replies)))))


def test_one_employee(serve: Any, make_client: Any) -> None:
    """All pages of one; none that match is an employee without incidents; nobody is an error of its own."""
    whole = [page({"7": employee(incident(n), count=2)}, "a" if n == 1 else None) for n in (1, 2)]
    nobody = problem(404, "employee_not_found")
    server = serve(in_turn(*(Reply(200, each) for each in whole), Reply(200, page({})), nobody))
    client = make_client(server)
    assert [int(each.id, 16) for each in client.employee(7).incidents] == [1, 2]
    assert client.employee("007", priorities=["high"]).counts == dict.fromkeys(
        ("low", "medium", "high", "critical"), 0
    )
    with pytest.raises(UnknownEmployeeError):
        client.employee("8")
    for bad in ("", "x", "1" * 21, "../health", "\u0661"):
        with pytest.raises(SettingsError):
            client.employee(bad)


def test_one_employee_of_two_snapshots_is_taken_from_one(serve: Any, make_client: Any) -> None:
    """Where the cursor expires between the parts, those that came are dropped."""
    parts = [page({"7": employee(incident(n), count=2)}, "a" if n != 3 else None) for n in (1, 2, 3)]
    replies = [Reply(200, parts[0]), EXPIRED, Reply(200, parts[1]), Reply(200, parts[2])]
    assert [int(each.id, 16) for each in make_client(serve(in_turn(*replies))).employee(7).incidents] == [
        2,
        3,
    ]


def test_unattributed_ones_come_once_when_a_walk_begins_anew(
    serve: Any, make_client: Any, notices: list[Notice]
) -> None:
    """By their ids, ascending."""
    rows = {n: incident(n, None) for n in (1, 2, 3, 4)}
    replies = [
        Reply(200, {"data": [rows[1], rows[3]], "next_cursor": "a"}),
        EXPIRED,
        Reply(200, {"data": [rows[1], rows[2]], "next_cursor": "b"}),
        Reply(200, {"data": [rows[3], rows[4]], "next_cursor": None}),
    ]
    found = list(make_client(serve(in_turn(*replies))).unattributed())
    assert [int(each.id, 16) for each in found] == [1, 3, 4]
    assert {each.employee_id for each in found} == {None}
    assert len(notices) == 1
    backwards = Reply(200, {"data": [rows[3], rows[2]], "next_cursor": None})
    with pytest.raises(MalformedAnswerError, match="order"):
        list(make_client(serve(in_turn(backwards))).unattributed())


def test_the_feed_goes_on_from_token_to_token(serve: Any, make_client: Any) -> None:
    """Until there is no more; an empty stretch with more behind it ends nothing; each page has its token."""
    replies = [
        changes(incident(1), next_token="b", has_more=True),
        changes(next_token="c", has_more=True),
        changes(incident(2), next_token="d"),
    ]
    server = serve(in_turn(*(Reply(200, each) for each in replies)))
    pages = list(make_client(server).changes("a", limit=5))
    assert [page.next_token for page in pages] == ["b", "c", "d"]
    assert [len(page.incidents) for page in pages] == [1, 0, 1]
    assert [dict(asked.query)["token"] for asked in server.asked] == ["a", "b", "c"]


def test_a_token_that_has_expired_is_an_error_unless_a_gap_will_do(
    serve: Any, make_client: Any, notices: list[Notice]
) -> None:
    """By itself it raises; on demand the feed begins with the oldest kept, and says so in page and notice."""
    gone = problem(410, "token_expired", "what was to come next is no longer kept")
    with pytest.raises(ExpiredTokenError):
        list(make_client(serve(in_turn(gone))).changes("old"))
    server = serve(in_turn(gone, Reply(200, changes(incident(1), next_token="b"))))
    (page,) = make_client(server).changes("old", go_on_after_gap=True)
    assert page.after_gap
    assert "token" not in dict(server.asked[1].query)
    assert [notice.kind for notice in notices] == ["gap"]


def test_a_feed_that_stands_still_ends(serve: Any, make_client: Any) -> None:
    """The same token with more behind it would go round for ever."""
    server = serve(lambda asked: Reply(200, changes(next_token="a", has_more=True)))
    with pytest.raises(MalformedAnswerError, match="stands still"):
        list(make_client(server).changes("a"))


def test_what_is_known_is_not_sent_again(serve: Any, make_client: Any) -> None:
    """The tag of an answer goes with the next question, and 304 gives None."""
    tagged = Reply(200, changes(next_token="a"), {"ETag": 'W/"1"'})
    server = serve(in_turn(tagged, Reply(304)))
    client = make_client(server)
    page = client.changes_page("a")
    assert page.etag == 'W/"1"'
    assert client.changes_page("a", etag=page.etag) is None
    assert server.asked[1].headers["if-none-match"] == 'W/"1"'


@pytest.mark.parametrize(("status", "http"), [("pass", 200), ("warn", 200), ("fail", 503)])
def test_health_is_an_answer_also_where_it_fails(
    serve: Any, make_client: Callable[..., Client], status: str, http: int
) -> None:
    """503 with the document is asked once; another document is no health."""
    headers = {"Content-Type": "application/health+json"}
    server = serve(in_turn(Reply(http, {"status": status, "version": "1"}, headers)))
    health = make_client(server).health()
    assert (health.status, health.document["version"]) == (status, "1")
    with pytest.raises(MalformedAnswerError, match="is the URL right"):
        make_client(serve(lambda asked: Reply(200, {"status": "UP"}))).health()
