"""The local run's page with the contract: what it serves, and that nothing of it comes from elsewhere."""

import re
from typing import Any

import pytest

from local.docs_page import answer_docs
from local.gateway import Gateway
from local.lambda_context import Function
from local.template import Limits, Route, load_template, read_routes

NAMES = ("start.js", "swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
FILES = ("/docs", "/docs/", *(f"/docs/{name}" for name in NAMES))


def ask(path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request to the gateway; the handler behind it answers nothing but 299."""

    def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
        return {"statusCode": 299, "body": ""}

    gateway = Gateway(
        Function("api", handle, Limits(1, 128)), [Route("ANY", "/docs"), Route("ANY", "/docsx")], 1024
    )
    started: list[Any] = []
    environ = {
        "REQUEST_METHOD": method,
        "REQUEST_URI": path,
        "QUERY_STRING": path.partition("?")[2],
        **headers,
    }
    body = b"".join(gateway(environ, lambda status, sent: started.append((status, sent))))
    return int(started[0][0].split()[0]), dict(started[0][1]), body


@pytest.mark.parametrize("path", FILES)
def test_files(path: str) -> None:
    """Each file is there, ahead of the API's routes, with its type, and may load from this server alone."""
    status, headers, body = ask(path)
    assert status == 200
    assert len(body) > 400
    policy = dict(each.strip().split(" ", 1) for each in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert not re.search(r"https?:|\*", headers["Content-Security-Policy"])
    assert headers["X-Content-Type-Options"] == "nosniff"
    kinds = {"js": "text/javascript", "css": "text/css", "png": "image/png"}
    assert headers["Content-Type"].startswith(kinds.get(path.rpartition(".")[2], "text/html"))
    assert ask(path, "HEAD")[2] == b""
    assert ask(path, "HEAD")[1]["Content-Length"] == str(len(body))


def test_the_page_loads_only_what_is_served() -> None:
    """Every address in the page is on this server and answers; no script stands in the page."""
    page = ask("/docs")[2].decode()
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(addresses) == 5
    for address in addresses:
        assert address == "/openapi.json" or ask(address)[0] == 200
    assert re.findall(r"<script[^>]*>([^<]*)</script>", page) == ["", ""]
    assert " on" not in page.lower().replace(" only", "")
    assert '"/openapi.json"' in ask("/docs/start.js")[2].decode()


def test_swagger_ui_knows_openapi_3_1() -> None:
    """The bundled Swagger UI is version 5 or newer: those before can't show OpenAPI 3.1."""
    found = re.search(rb'PACKAGE_VERSION:"(\d+)\.', ask("/docs/swagger-ui-bundle.js")[2])
    assert found
    assert int(found[1]) >= 5


@pytest.mark.parametrize(
    "path", ["/docs/../local/run.py", "/docs/%2e%2e/run.py", "/docs/swagger-ui.js.map", "/docs/x"]
)
def test_nothing_else_is_served(path: str) -> None:
    """Only the listed files are: no path leads out of them."""
    assert ask(path)[0] == 404


def test_everything_else_is_the_apis() -> None:
    """Other paths go to the handler, other methods are refused, and the deployed API has no such route."""
    assert ask("/docsx")[0] == 299
    assert answer_docs("GET", "/incidents") is None
    status, headers, _ = ask("/docs", "POST")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert not any(route.path.startswith("/docs") for route in read_routes(load_template()))
