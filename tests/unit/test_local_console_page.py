"""The page's files: what is served, what it may load, and that nothing but text can get into it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.api import formats
from local import console_page
from local.console_page import CONSOLE, answer_console
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES

SCRIPTS = sorted(CONSOLE.glob("*.js"))
# What makes markup, code or addresses of text, or reaches beyond this page's own server.
SINKS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|srcdoc|\beval\b"
    r"|\bFunction\s*\(|setTimeout\s*\(\s*[\"'`]|import\s*\(|setHTML|javascript:|XMLHttpRequest|WebSocket"
    r"|EventSource|localStorage|sessionStorage|indexedDB|document\.cookie|window\.open|postMessage|https?://"
)


def find_sinks(text: str) -> list[str]:
    """What of a script must not be there."""
    return [found[0] for found in SINKS.finditer(text)]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_makes_text_only(path: Path) -> None:
    """No script has a way from text to markup, code or another host; none keeps anything in the browser."""
    assert find_sinks(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "box.innerHTML = name;",
        "eval(text)",
        "new Function (text)",
        'setTimeout("go()", 1)',
        'fetch("https://a.b")',
    ],
)
def test_a_sink_is_found(line: str) -> None:
    """A script that had one would not pass."""
    assert find_sinks(line) != []


def addresses() -> Iterator[str]:
    """What the page and its scripts load."""
    page = (CONSOLE / "index.html").read_text("utf-8")
    yield from re.findall(r'(?:src|href)="(console/[^"]+)"', page)
    for script in SCRIPTS:
        for name in re.findall(r'from "\./([^"]+)"', script.read_text("utf-8")):
            yield f"console/{name}"


def test_the_page_loads_only_what_is_served() -> None:
    """Every address in the page is relative and answers; no script, style or handler stands in the page."""
    found = set(addresses())
    assert {"console/console.js", "console/console.css", "console/chart.js", "console/dom.js"} <= found
    for address in found - {"console/chart.js"}:
        answer = answer_console("GET", f"/{address}", "here")
        assert answer is not None
        assert answer.status == 200, address
    page = (CONSOLE / "index.html").read_text("utf-8")
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son[a-z]+=|https?:", page)


def test_every_answer_has_the_policy() -> None:
    """The browser loads from this server only, runs no inline script, sends no form, shows it in no frame and
    makes no markup of text.
    """
    for path in ("/", "/console/console.js", "/console/place.json", "/console/none.js"):
        answer = answer_console("GET", path, "here")
        assert answer is not None
        policy = dict(
            each.strip().split(" ", 1) for each in answer.headers["Content-Security-Policy"].split(";")
        )
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "connect-src": "'self'",
            "img-src": "'self' data:",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
            "require-trusted-types-for": "'script'",
            "trusted-types": "'none'",
        }
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("POST", "/", 405),
        ("GET", "/console/text.js", 200),
        ("PUT", "/console/text.js", 405),
        ("GET", "/console", 404),
        ("GET", "/console/", 404),
        ("GET", "/console/../template.yaml", 404),
        ("GET", "/console/%2e%2e/template.yaml", 404),
        ("GET", "/console//etc/passwd", 404),
        ("GET", "/console/index.html", 200),
        ("GET", "/consoles", None),
        ("GET", "/incidents", None),
    ],
)
def test_what_is_served(method: str, path: str, status: int | None) -> None:
    """The page at the root, its files by their names alone; all else is the API's."""
    answer = answer_console(method, path, "here")
    assert (answer and answer.status) == status


def test_the_page_without_charts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Chart.js is served where it was installed, and missed where it was not."""
    file = tmp_path / "chart.umd.min.js"
    monkeypatch.setattr(console_page, "CHART_JS", file)
    missing = answer_console("GET", "/console/chart.js", "here")
    assert missing is not None
    assert missing.status == 404
    file.write_text("charts")
    found = answer_console("GET", "/console/chart.js", "here")
    assert found is not None
    assert (found.status, found.body) == (200, b"charts")


def test_it_names_its_place() -> None:
    """The page can say which service it shows, whatever the name is."""
    answer = answer_console("GET", "/console/place.json", 'prod "1"')
    assert answer is not None
    assert answer.body == b'{"name": "prod \\"1\\""}'


def test_the_page_knows_the_words_of_the_domain() -> None:
    """Priorities, types and the columns of CSV are the service's."""
    words = (CONSOLE / "text.js").read_text("utf-8")

    def listed(name: str, source: str) -> list[str]:
        found = re.search(rf"{name} = \[([^\]]+)\]", source)
        assert found
        return re.findall(r'"([^"]+)"', found[1])

    assert listed("PRIORITIES", words) == list(reversed(PRIORITIES))
    assert sorted(listed("TYPES", words)) == sorted(INCIDENT_TYPES)
    columns = listed("INCIDENT_COLUMNS", (CONSOLE / "exports.js").read_text("utf-8"))
    assert columns == list(formats._COLUMNS)
