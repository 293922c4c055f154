"""`/docs` of the local run: the contract for people, with Swagger UI from a package, nothing from outside.

Never deployed. The browser may load from this server only, and no script stands in the page itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

DOCS_PATH = "/docs"

# Swagger UI writes style attributes and draws its arrows from data: addresses.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Security Incident API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="contract">This page needs JavaScript. Without: <a href="/openapi.json">/openapi.json</a></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
# "Try it out" asks this server, whichever servers the contract names.
_START = """"use strict";
fetch("/openapi.json").then(async (answer) => {
  const contract = await answer.json();
  if (!answer.ok) {
    throw new Error(contract.detail);
  }
  contract.servers = [{url: window.location.origin, description: "This local run"}];
  contract.security = [];
  SwaggerUIBundle({spec: contract, dom_id: "#contract", deepLinking: true, validatorUrl: null});
}).catch((error) => {
  document.getElementById("contract").textContent = "/openapi.json can't be shown: " + error.message;
});
"""
_FILES = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}


@dataclass(frozen=True)
class PageAnswer:
    """What goes back to the browser."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def answer_docs(method: str, path: str) -> PageAnswer | None:
    """The answer to a request for `/docs` or a file below; None for everything else, which is the API's."""
    if path.rstrip("/") != DOCS_PATH and not path.startswith(f"{DOCS_PATH}/"):
        return None
    if method not in ("GET", "HEAD"):
        return _answer(405, "text/plain; charset=utf-8", b"only GET and HEAD\n", {"Allow": "GET, HEAD"})
    name = path.removeprefix(DOCS_PATH).strip("/")
    if name == "":
        return _answer(200, "text/html; charset=utf-8", _PAGE.encode())
    if name == "start.js":
        return _answer(200, "text/javascript; charset=utf-8", _START.encode())
    # By name from a list: a path never becomes that of a file.
    if name not in _FILES:
        return _answer(404, "text/plain; charset=utf-8", b"no such file\n")
    return _answer(200, _FILES[name], (_swagger_ui_path() / name).read_bytes())


def _swagger_ui_path() -> Path:
    """Where the package swagger-ui-py keeps Swagger UI's files; importing it would load a template engine."""
    found = find_spec("swagger_ui")
    if found is None or found.origin is None:
        raise FileNotFoundError("swagger-ui-py is not installed: run make setup")
    return Path(found.origin).parent / "static"


def _answer(status: int, content_type: str, body: bytes, more: Mapping[str, str] | None = None) -> PageAnswer:
    headers = {
        "Content-Type": content_type,
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return PageAnswer(status, {**headers, **(more or {})}, body)
