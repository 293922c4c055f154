"""The page shows what the API has, lets one look closer, follows what is new, and says what is wrong."""

import csv
import io
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, expect

from functions.api.formats import render_csv
from functions.api.handler import lambda_handler
from incidents_client.auth import no_auth
from local.console_page import CHART_JS
from local.ports import find_free_port
from local.simulator import SimulatorSettings
from scripts.console import Console
from shared.domain.exact_json import parse
from tests.browser.conftest import ROOT, ROUTES, Site, Upstream, serve_app, stop_serving

NOT_FOUND, UNAVAILABLE = "the server responded with a status of 404", "status of 503"
DOWN = "net::ERR_"
PRIORITIES = ("critical", "high", "medium", "low")
AXE = ROOT / ".tools/axe/package/axe.min.js"


def number(page: Page, tile: str) -> int:
    """The large number of a tile."""
    return int(page.locator(f"#tile-{tile} .value").inner_text().replace(",", ""))


def day_of(incident: dict[str, Any], service_now: float) -> str:
    """The day that an incident counts for."""
    return datetime.fromtimestamp(min(float(incident["timestamp"]), service_now), UTC).strftime("%Y-%m-%d")


def misuse(
    number: int, *, ago: float = 60, priority: str = "low", employee: int = 7, **more: Any
) -> dict[str, Any]:
    """A record that names its employee, of some seconds ago."""
    moment = int(time.time() - ago) + (number % 1000) / 1000
    return {"employee_id": employee, "priority": priority, "timestamp": moment, **more}


def cells(page: Page, table: str) -> list[list[str]]:
    """The texts of a table's body."""
    rows: list[list[str]] = page.locator(f"{table} tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    return rows


def test_the_numbers_of_the_capture(
    moved_capture: Path,
    make_upstream: Callable[..., Upstream],
    site: Site,
    make_page: Callable[..., Page],
    picture: Callable[..., None],
) -> None:
    """Each number on the overview is the one that a plain count of the service's incidents gives."""
    upstream = make_upstream(settings=SimulatorSettings(folder=moved_capture))
    upstream.poll()
    incidents = upstream.service.incidents()
    unattributed = upstream.service.health()["unattributed_incidents"]
    assert len(incidents) + unattributed == 2100
    page = make_page()
    page.goto(site.url)
    expect(page.locator("#tile-data")).to_contain_text("Fresh")
    expect(page.locator("#tile-data")).to_contain_text("8 of 8 sources fresh")
    assert number(page, "incidents") == len(incidents)
    assert number(page, "unattributed") == unattributed
    expect(page.locator("#tile-incidents")).to_contain_text(
        f"{len({each['employee_id'] for each in incidents}):,} employees affected"
    )
    now = time.time()
    today = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
    yesterday = datetime.fromtimestamp(now - 86_400, UTC).strftime("%Y-%m-%d")
    fresh = [each for each in incidents if day_of(each, now) in (today, yesterday)]
    assert number(page, "new") == len(fresh) > 0
    assert number(page, "critical") == sum(each["priority"] == "critical" for each in fresh)

    page.get_by_text("By day as a table").click()
    by_day = {row[0]: [int(each.replace(",", "")) for each in row[1:]] for row in cells(page, "#days-table")}
    assert len(by_day) == 30
    counted = Counter((day_of(each, now), each["priority"]) for each in incidents)
    for day, row in by_day.items():
        assert row[:4] == [counted[day, each] for each in PRIORITIES]
        assert row[4] == sum(row[:4])
    by_type = {row[0]: int(row[1]) for row in cells(page, ".types")}
    assert by_type == Counter(each["type"] for each in incidents)

    (top, *_) = at_risk = cells(page, ".at-risk")
    ranked = upstream.service.get("/employees", sort="risk", limit="10").json["employees"]
    assert [row[0] for row in at_risk] == [each["employee_id"] for each in ranked]
    assert [float(row[1]) for row in at_risk] == [pytest.approx(each["risk"], abs=0.05) for each in ranked]
    own = Counter(each["priority"] for each in incidents if each["employee_id"] == top[0])
    assert [int(each) for each in top[2:6]] == [own[each] for each in PRIORITIES]
    newest = sorted(
        (each for each in fresh if each["priority"] == "critical"), key=lambda each: -each["timestamp"]
    )
    assert [row[2] for row in cells(page, ".critical")] == [each["employee_id"] for each in newest[:8]]
    if CHART_JS.exists():
        expect(page.locator(".days canvas")).to_be_visible()
    assert page.title() == "Overview · Security incidents"
    # Only simulated incidents become pictures that anybody keeps.


def test_looking_closer(
    make_upstream: Callable[..., Upstream],
    site: Site,
    make_page: Callable[..., Page],
    picture: Callable[..., None],
) -> None:
    """From who is at risk to that employee's timeline, on to a filter, and back by the browser's button; the
    address brings another browser to the same place.
    """
    upstream = make_upstream(settings=SimulatorSettings(seed=3, records_per_type=120, identities=40))
    upstream.poll()
    top = upstream.service.get("/employees", sort="risk", limit="1").json["employees"][0]
    employee, incidents = top["employee_id"], []
    for group in (
        upstream.service.get(f"/employees/{employee}/incidents").json["incidents"][employee].values()
    ):
        incidents += group["incidents"]
    page = make_page()
    page.goto(site.url)
    page.locator(".at-risk tbody a").first.click()
    expect(page.locator("h1")).to_have_text(f"Employee {employee}")
    expect(page.locator("h1")).to_be_focused()
    expect(page.locator(".results .what")).to_have_text(f"{len(incidents)} incidents")
    assert page.url == f"{site.url}#/employees/{employee}"
    times = [row[0][:19] for row in cells(page, ".results")]
    assert times == sorted(times, reverse=True)
    assert len(times) == len(incidents)
    expect(page.locator("nav a[aria-current=page]")).to_have_text("Employees")

    page.get_by_label("critical", exact=True).check()
    criticals = [each for each in incidents if each["priority"] == "critical"]
    expect(page.locator(".results .what")).to_have_text(re.compile(f"^{len(criticals)} incident"))
    expect(page).to_have_url(f"{site.url}#/employees/{employee}?priority=critical")
    page.get_by_label(criticals[0]["type"], exact=True).check()
    both = [each for each in criticals if each["type"] == criticals[0]["type"]]
    expect(page.locator(".results .what")).to_have_text(re.compile(f"^{len(both)} incident"))
    page.go_back()
    expect(page.locator(".results .what")).to_have_text(re.compile(f"^{len(criticals)} incident"))
    expect(page.get_by_label(criticals[0]["type"], exact=True)).not_to_be_checked()
    page.go_back()
    expect(page.get_by_label("critical", exact=True)).not_to_be_checked()
    page.go_back()
    expect(page.locator("h1")).to_have_text("Overview")

    moment = sorted(float(each["timestamp"]) for each in incidents)[len(incidents) // 2]
    minute = int(moment) // 60 * 60
    since = datetime.fromtimestamp(minute, UTC).strftime("%Y-%m-%dT%H:%M")
    other = make_page(color_scheme="dark", expected=(NOT_FOUND,))
    other.goto(f"{site.url}#/employees/{employee}?since={since}:00Z")
    expect(other.locator(".results .what")).to_have_text(
        re.compile(f"^{sum(float(each['timestamp']) >= minute for each in incidents)} incident")
    )
    assert other.get_by_label("From").input_value() == since
    other.get_by_role("button", name="Show all").click()
    expect(other.locator(".results .what")).to_have_text(f"{len(incidents)} incidents")
    picture(other, "employee-dark")
    other.get_by_label("Employee", exact=True).fill("00000")
    other.get_by_role("button", name="Show", exact=True).click()
    expect(other.locator(".results")).to_contain_text("No incident of employee 00000 is kept.")


def test_new_incidents_appear(
    make_upstream: Callable[..., Upstream],
    site: Site,
    make_page: Callable[..., Page],
) -> None:
    """What a poll finds while the page is open appears, is counted, marked and announced; and as long as
    nothing is new, looking costs one small request.
    """
    upstream = make_upstream()
    upstream.add("misuse", misuse(1, ago=600, priority="critical"))
    upstream.poll()
    page = make_page()
    page.goto(site.url)
    expect(page.locator("#tile-critical .value")).to_have_text("1")
    expect(page.locator("#tile-arrived")).to_contain_text("nothing new yet")
    before = len(site.asked)
    page.wait_for_timeout(4_500)
    assert {each.partition("?")[0] for each in site.asked[before:]} == {"/health"}
    assert len(site.asked) - before <= 3

    upstream.add("misuse", misuse(2, priority="critical", employee=8), misuse(3, employee=9))
    upstream.poll()
    expect(page.locator("#tile-arrived .value")).to_have_text("2")
    expect(page.locator("#tile-critical .value")).to_have_text("2")
    expect(page.locator("#live")).to_have_text("2 new incidents since you opened this page")
    rows = cells(page, ".critical")
    assert [row[2] for row in rows] == ["8", "7"]
    assert ["NEW" in row[0].upper() for row in rows] == [True, False]

    page.locator("nav").get_by_text("Incidents").click()
    expect(page.locator(".results .what")).to_have_text("3 incidents of 3 employees")
    upstream.add("misuse", misuse(4, employee=10))
    upstream.poll()
    # A list does not move under one's eyes.
    expect(page.locator("#notice")).to_contain_text("3 new since you opened this page")
    expect(page.locator(".results .what")).to_have_text("3 incidents of 3 employees")
    page.get_by_role("button", name="Show it").click()
    expect(page.locator(".results .what")).to_have_text("4 incidents of 4 employees")
    expect(page.locator("#notice")).to_be_empty()


def test_a_hidden_page_asks_for_nothing(
    make_upstream: Callable[..., Upstream], site: Site, make_page: Callable[..., Page]
) -> None:
    """Nothing is asked for while nobody looks; whoever comes back sees what is new, by one loop as before."""
    upstream = make_upstream()
    upstream.poll()
    page = make_page()
    page.goto(site.url)
    expect(page.locator("#freshness-word")).to_have_text("Fresh")

    def turn(state: str) -> None:
        page.evaluate(
            """state => {
              Object.defineProperty(document, "visibilityState", {value: state, configurable: true});
              document.dispatchEvent(new Event("visibilitychange"));
            }""",
            state,
        )

    turn("hidden")
    page.wait_for_timeout(500)
    upstream.add("misuse", misuse(1))
    upstream.poll()
    before = len(site.asked)
    page.wait_for_timeout(4_000)
    assert site.asked[before:] == []
    for state in ("visible", "hidden", "visible", "hidden", "visible"):
        turn(state)
    expect(page.locator("#tile-arrived .value")).to_have_text("1")
    page.wait_for_timeout(500)
    before = len(site.asked)
    page.wait_for_timeout(4_500)
    assert 1 <= len(site.asked) - before <= 3


def test_a_deployment(
    make_upstream: Callable[..., Upstream], site: Site, make_page: Callable[..., Page]
) -> None:
    """Behind `make console` the page works as here, below its secret path, and says what it shows."""
    upstream = make_upstream()
    upstream.add("misuse", misuse(1, priority="critical"))
    upstream.poll()
    # What it is told to listen on has to be known before it is made.
    port = find_free_port()
    console = Console(site.url.rstrip("/"), no_auth, routes=ROUTES, place="prod", key="k" * 32, port=port)
    server = serve_app(console, port)
    try:
        page = make_page()
        page.goto(f"http://127.0.0.1:{port}/{'k' * 32}/")
        expect(page.locator("#place")).to_have_text("prod")
        expect(page.locator("#tile-critical .value")).to_have_text("1")
        page.locator(".at-risk tbody a").first.click()
        expect(page.locator(".results .what")).to_have_text("1 incident")
        upstream.add("misuse", misuse(2))
        upstream.poll()
        expect(page.locator(".results .what")).to_have_text("2 incidents")
        # Another page that guesses the port gets nothing.
        other = make_page(bypass_csp=True, expected=("net::ERR_BLOCKED_BY_RESPONSE",))
        other.goto(site.url)
        for target in ("incidents", f"{'k' * 32}/incidents"):
            address = f"http://127.0.0.1:{port}/{target}"
            asked = f"fetch('{address}', {{mode: 'no-cors'}}).then((answer) => answer.type + answer.status)"
            with pytest.raises(PlaywrightError, match="Failed to fetch"):
                other.evaluate(asked)
    finally:
        stop_serving(server)


def test_stale_data(
    make_upstream: Callable[..., Upstream],
    site: Site,
    make_page: Callable[..., Page],
    picture: Callable[..., None],
) -> None:
    """While the upstream is off the page keeps what there is and says first that sources are stale, then that
    all of it is.
    """
    upstream = make_upstream(interval=2)
    upstream.add("misuse", misuse(1))
    upstream.poll()
    page = make_page(expected=(UNAVAILABLE,))
    page.goto(site.url)
    expect(page.locator("#freshness-word")).to_have_text("Fresh")
    upstream.turn_off()
    upstream.poll()
    expect(page.locator("#freshness-word")).to_have_text("Partly stale")
    expect(page.locator("#tile-data")).to_contain_text("0 of 8 sources fresh")
    expect(page.locator("#freshness-word")).to_have_text("Stale")
    expect(page.locator("#tile-data")).to_have_attribute("data-state", "fail")
    expect(page.locator("#live")).to_have_text("The data: Stale")
    expect(page.locator("#sources-stale")).to_contain_text("connection")
    assert number(page, "incidents") == 1
    picture(page, "stale")


def test_the_api_is_down(
    make_upstream: Callable[..., Upstream], site: Site, make_page: Callable[..., Page]
) -> None:
    """When nothing answers the page says so and keeps what it has; it comes back by itself."""
    upstream = make_upstream()
    upstream.add("misuse", misuse(1))
    upstream.poll()
    page = make_page(expected=(DOWN,))
    page.goto(site.url)
    expect(page.locator("#freshness-word")).to_have_text("Fresh")
    site.stop()
    expect(page.locator("#notice")).to_contain_text("The API does not answer")
    expect(page.locator("#freshness-word")).to_have_text("No answer")
    assert number(page, "incidents") == 1
    page.locator("nav").get_by_text("Employees").click()
    expect(page.locator("#notice")).to_contain_text("Try again")
    site.start()
    expect(page.locator("main tbody")).to_contain_text("7")
    expect(page.locator("#notice")).to_be_empty()
    expect(page.locator("#freshness-word")).to_have_text("Fresh")


def test_problems_are_told(
    make_upstream: Callable[..., Upstream], site: Site, make_page: Callable[..., Page]
) -> None:
    """No data yet, a parameter that is wrong and an error of the service are told in the API's own words."""
    upstream = make_upstream()
    page = make_page(expected=(UNAVAILABLE, "status of 400", "status of 500"))
    page.goto(site.url)
    expect(page.locator("#notice")).to_contain_text("no poll has succeeded yet")
    expect(page.locator("#freshness-word")).to_have_text("No data yet")
    upstream.add("misuse", misuse(1))
    upstream.poll()
    # Without a click, when the next look finds data.
    expect(page.locator("#tile-incidents .value")).to_have_text("1")
    expect(page.locator("#notice")).to_be_empty()
    page.goto(f"{site.url}#/incidents?priority=urgent")
    expect(page.locator("#notice")).to_contain_text("priority")
    page.goto(f"{site.url}#/incidents?cursor=made-up")
    expect(page.locator("#notice")).to_contain_text("cursor")
    problem = {
        "title": "<b>Broken</b>",
        "detail": "<img src=x onerror=alert(1)>",
        "code": "internal_error",
        "request_id": "r-1",
    }
    site.answer = lambda event, context: {
        "statusCode": 500,
        "headers": {"Content-Type": "application/problem+json"},
        "body": json.dumps(problem),
    }
    page.goto(f"{site.url}#/employees")
    expect(page.locator("#notice")).to_contain_text(
        "<b>Broken</b>: <img src=x onerror=alert(1)>. Request r-1."
    )
    assert page.locator("#notice img, #notice b").count() == 0
    page.goto(f"{site.url}#/nowhere")
    expect(page.locator("h1")).to_have_text("There is no such view")


HOSTILE = [
    "<script>window.caught = 1</script>",
    '"><img src=x onerror="window.caught = 1">',
    "javascript:window.caught=1",
    "{{constructor.constructor('window.caught=1')()}}",
    '=HYPERLINK("http://evil.test","x")',
    "\u202egnp.exe",
    "a\u0000b\u001b[31m",
    "\ud800 half",
    "x" * 3000,
    "../../employees/1",
    "__proto__",
]


def test_hostile_strings(
    make_upstream: Callable[..., Upstream],
    site: Site,
    make_page: Callable[..., Page],
) -> None:
    """What the upstream says is text, whatever it says: nothing of it runs, is loaded, or hides what is
    around it; and it becomes no formula in an exported file.
    """
    upstream = make_upstream()
    for index, text in enumerate(HOSTILE):
        upstream.add(
            "misuse", misuse(index, priority="critical", employee=7, source_ip=text, **{text[:60]: text})
        )
    upstream.poll()
    stored = len(upstream.service.incidents())
    assert stored >= 8, "the poller refuses most of them"
    page = make_page()
    page.goto(site.url)
    expect(page.locator(".critical tbody tr")).to_have_count(8)
    page.goto(f"{site.url}#/employees/7")
    expect(page.locator(".results .what")).to_have_text(f"{stored} incidents")
    shown = page.locator(".results table").inner_text()
    assert "<script>window.caught = 1</script>" in shown
    assert "\\u{202e}gnp.exe" in shown
    assert "\u202e" not in shown
    assert page.locator(".results script, .results img, .results iframe").count() == 0
    assert page.evaluate("window.caught") is None
    assert not any(each.startswith("/x") or "evil" in each for each in site.asked)
    with page.expect_download() as caught:
        page.locator("#employee-7-csv").click()
    rows = list(csv.reader(io.StringIO(Path(caught.value.path()).read_text(encoding="utf-8", newline=""))))
    assert len(rows) == stored + 1
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_the_policy_stops_what_gets_through(
    make_upstream: Callable[..., Upstream], site: Site, make_page: Callable[..., Page]
) -> None:
    """Even if text became markup or code once, the browser would refuse it: no inline scripts or handlers, no
    other hosts, no forms, no frames, and no markup out of text at all.
    """
    upstream = make_upstream()
    upstream.poll()
    page = make_page(expected=("requires 'Trusted", "Content Security Policy", "localhost:1"))
    page.goto(site.url)
    expect(page.locator("#freshness-word")).to_have_text("Fresh")
    refused = page.evaluate(
        """async () => {
          const refused = {};
          try { document.body.innerHTML += "<b>"; } catch (error) { refused.markup = error.name; }
          const script = document.createElement("script");
          try {
            script.textContent = "window.caught = 1";
            document.body.append(script);
          } catch (error) { refused.script = error.name; }
          const events = [];
          const note = (event) => events.push(event.effectiveDirective);
          document.addEventListener("securitypolicyviolation", note);
          await fetch("http://localhost:1/").catch(() => {});
          const image = new Image(); image.src = "http://localhost:1/x"; document.body.append(image);
          await new Promise((resolve) => setTimeout(resolve, 300));
          return {...refused, events: [...new Set(events)].sort(), caught: window.caught ?? null};
        }"""
    )
    assert refused["markup"] == "TypeError"
    assert refused["caught"] is None
    assert {"connect-src", "img-src"} <= set(refused["events"])


def test_exports_are_what_the_api_gives(
    make_upstream: Callable[..., Upstream], site: Site, make_page: Callable[..., Page]
) -> None:
    """The JSON that is saved has the upstream's own digits, and the CSV is byte for byte what the API's own
    rules make of the same incidents.
    """
    upstream = make_upstream()
    details = [
        '"timestamp": 1795181602.7148474, "source_ip": "=1+1", "n": 1.50',
        '"timestamp": 1795181601.1, "ip": "a,\\"b\\"\\r\\nc", "big": 12345678901234567890',
        '"timestamp": 1795181600, "identifier": " \\u00a0@x", "ü": "\\ud83d\\ude00 é"',
        '"timestamp": 1795181599.0, "machine_ip": "\\t1", "reported_by": "＝2"',  # noqa: RUF001 - a formula
        '"timestamp": 1795181598, "internal_ip": {"a": [1, null, true]}',
    ]
    rows = [f'{{"employee_id": 7, "priority": "low", {each}}}' for each in details]
    upstream.add("misuse", *rows)
    upstream.poll()
    page = make_page()
    page.goto(f"{site.url}#/employees/7")
    expect(page.locator(".results .what")).to_have_text("5 incidents")
    saved = {}
    for form in ("json", "csv"):
        with page.expect_download() as caught:
            page.locator(f"#employee-7-{form}").click()
        assert re.fullmatch(
            rf"employee-7-\d{{4}}-\d\d-\d\dT\d{{6}}Z\.{form}", caught.value.suggested_filename
        )
        saved[form] = Path(caught.value.path()).read_bytes().decode("utf-8")
    answer = parse(upstream.service.get("/employees/7/incidents").text)
    wanted = [each for group in answer["incidents"]["7"].values() for each in group["incidents"]]
    wanted.sort(key=lambda each: -float(each["timestamp"].text))
    assert parse(saved["json"]) == {"data": wanted}
    assert "1795181602.7148474" in saved["json"]
    assert saved["csv"] == render_csv(wanted)


def test_very_many_employees(
    make_upstream: Callable[..., Upstream], site: Site, make_page: Callable[..., Page]
) -> None:
    """20,000 employees are shown a page at a time: the page stays small, and the last one is reached."""
    many = 20_000
    upstream = make_upstream()
    now = int(time.time()) - 90_000
    upstream.add(
        "misuse",
        *(
            f'{{"employee_id":{number},"priority":"{PRIORITIES[number % 4]}",'
            f'"timestamp":{now + number * 4}.5}}'
            for number in range(1, many + 1)
        ),
    )
    while upstream.poll()["postponed"]:
        pass
    assert upstream.service.get("/summary").json["employees_affected"] == many
    page = make_page()
    page.goto(site.url)
    expect(page.locator("#tile-incidents")).to_contain_text("20,000 employees affected")
    # The newest ones, though they do not fit into an answer of all since yesterday.
    assert [row[2] for row in cells(page, ".critical")] == [str(many - 4 * each) for each in range(8)]
    for view, word in (("#/employees?sort=employee_id", "100 employees"), ("#/incidents", "50 incidents")):
        page.goto(site.url + view)
        expect(page.locator("main .what")).to_contain_text(word)
        before = page.locator("main tbody tr").first.inner_text()
        page.locator("#next-page").click()
        expect(page.locator("#first-page")).to_be_visible()
        assert page.locator("main tbody tr").first.inner_text() != before
        page.go_back()
        expect(page.locator("#first-page")).to_have_count(0)
        assert page.locator("*").count() < 3_000
    page.goto(f"{site.url}#/employees/{many}")
    expect(page.locator(".results .what")).to_have_text("1 incident")


def test_a_large_table_is_read_when_asked(
    make_upstream: Callable[..., Upstream], site: Site, make_page: Callable[..., Page]
) -> None:
    """To find the newest critical incidents all are read: with very many that waits for a click, also when
    there is news.
    """
    upstream = make_upstream()
    upstream.add("misuse", misuse(1, priority="critical", employee=7))
    upstream.poll()

    def answer(event: dict[str, Any], context: Any) -> Any:
        answer = lambda_handler(event, context)
        many = re.sub(r'("total_identified_incidents": ?)(\d+)', r"\g<1>100000\2", answer["body"])
        return answer | {"body": many}

    site.answer = answer
    page = make_page()
    page.goto(site.url)
    expect(page.locator(".critical")).to_contain_text("1 since yesterday. To list them, all 1,000,001")
    assert not [each for each in site.asked if each.startswith("/incidents")]
    page.locator("#look-for-critical").click()
    expect(page.locator(".critical tbody tr")).to_have_count(1)
    read = len([each for each in site.asked if each.startswith("/incidents")])
    upstream.add("misuse", misuse(2, priority="critical", employee=8))
    upstream.poll()
    expect(page.locator("#tile-critical .value")).to_have_text("2")
    expect(page.locator(".critical")).to_contain_text("As of ")
    expect(page.locator(".critical tbody tr")).to_have_count(1)
    assert len([each for each in site.asked if each.startswith("/incidents")]) == read
    page.locator("#look-for-critical").click()
    expect(page.locator(".critical tbody tr")).to_have_count(2)
    assert [row[2] for row in cells(page, ".critical")] == ["8", "7"]


def test_one_employee_with_very_many_incidents(
    make_upstream: Callable[..., Upstream], site: Site, make_page: Callable[..., Page]
) -> None:
    """One employee's 3,000 incidents come in portions, and all of them are exported."""
    upstream = make_upstream()
    upstream.add("misuse", *(misuse(number, ago=100_000 - number) for number in range(3_000)))
    while upstream.poll()["postponed"]:
        pass
    page = make_page()
    page.goto(f"{site.url}#/employees/7")
    expect(page.locator(".results tbody tr")).to_have_count(300)
    page.locator("#more-rows").click()
    expect(page.locator(".results tbody tr")).to_have_count(600)
    with page.expect_download() as caught:
        page.locator("#employee-7-json").click()
    assert len(json.loads(Path(caught.value.path()).read_text())["data"]) == 3_000


def test_without_charts(
    make_upstream: Callable[..., Upstream],
    site: Site,
    make_page: Callable[..., Page],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where no chart library could be installed the page shows the same as tables, and says so."""
    monkeypatch.setattr("local.console_page.CHART_JS", Path("not-there"))
    upstream = make_upstream()
    upstream.add("misuse", misuse(1))
    upstream.poll()
    page = make_page(expected=(NOT_FOUND, "Refused to execute script"))
    page.goto(site.url)
    expect(page.locator("#days-table table")).to_be_visible()
    expect(page.locator(".days")).to_contain_text("Charts were not installed here")
    page.goto(f"{site.url}#/employees/7")
    expect(page.locator(".results .what")).to_have_text("1 incident")


def test_by_keyboard(
    make_upstream: Callable[..., Upstream], site: Site, make_page: Callable[..., Page]
) -> None:
    """Everything is reached and used without a mouse, and one sees where one is."""
    upstream = make_upstream()
    upstream.add("misuse", misuse(1, priority="critical"))
    upstream.poll()
    page = make_page()
    page.goto(site.url)
    expect(page.locator("#tile-critical .value")).to_have_text("1")
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    expect(page.locator("#skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('href')") == "#/employees/7":
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_be_focused()
    expect(page.locator("h1")).to_have_text("Employee 7")
    page.get_by_label("high", exact=True).focus()
    page.keyboard.press("Space")
    expect(page.locator(".results")).to_contain_text("No incident of this employee matches.")
    expect(page.get_by_label("high", exact=True)).to_be_focused()


@pytest.mark.skipif(not AXE.exists(), reason="axe is not installed: it needs npm")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(
    make_upstream: Callable[..., Upstream],
    site: Site,
    make_page: Callable[..., Page],
    picture: Callable[..., None],
    scheme: str,
) -> None:
    """No view has a fault that axe finds, light or dark: WCAG's A and AA, and best practices."""
    upstream = make_upstream(settings=SimulatorSettings(seed=7, records_per_type=60, identities=400))
    upstream.poll()
    # The policy would not let axe in.
    page = make_page(color_scheme=scheme, bypass_csp=True, expected=("status of 400",))
    page.add_init_script(path=AXE)
    employee = upstream.service.get("/employees", limit="1").json["employees"][0]["employee_id"]
    views = (
        "",
        "#/incidents?priority=high",
        "#/employees",
        f"#/employees/{employee}",
        "#/unattributed",
        "#/incidents?type=x",
    )
    for view in views:
        page.goto(site.url + view)
        expect(page.locator("main")).not_to_have_attribute("aria-busy", "true")
        expect(page.locator("#freshness-word")).to_have_text("Fresh")
        expect(page.locator("main tbody:visible, #notice .error, .empty").first).to_be_visible()
        if view == "":
            page.get_by_text("By day as a table").click()
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        faults = [
            (each["id"], [node["html"][:200] for node in each["nodes"]][:3]) for each in found["violations"]
        ]
        assert faults == [], view
        if view == "":
            page.get_by_text("By day as a table").click()
            picture(page, f"overview-{scheme}")


@pytest.mark.parametrize("width", [320, 800])
def test_small_screens(
    make_upstream: Callable[..., Upstream], site: Site, make_page: Callable[..., Page], width: int
) -> None:
    """Nothing is wider than the screen but tables, which scroll by themselves."""
    upstream = make_upstream(settings=SimulatorSettings(seed=7, records_per_type=20, identities=40))
    upstream.poll()
    page = make_page(viewport={"width": width, "height": 700})
    for view in ("", "#/incidents", "#/employees"):
        page.goto(site.url + view)
        expect(page.locator("main tbody:visible").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
