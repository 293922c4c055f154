"""The page to look at (docs/console.md): files of `console/`, and Chart.js where it was installed.

Never deployed. The browser may load from this server only, and nothing but text gets into the page: its
policy also forbids what would make markup or code of text.
"""

import json
from pathlib import Path

from local.docs_page import PageAnswer

_ROOT = Path(__file__).resolve().parents[1]
CONSOLE = _ROOT / "console"
# Out of an npm package, by scripts/bootstrap.sh; the page does without.
CHART_JS = _ROOT / ".tools/chartjs/package/dist/chart.umd.min.js"

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PLAIN = "text/plain; charset=utf-8"


def answer_console(method: str, path: str, place: str) -> PageAnswer | None:
    """The answer to a request for `/` or a file below `/console`; None for all else, which is the API's.

    `place` is what the page calls the service that it shows.
    """
    name = path.removeprefix("/console/")
    if path not in ("/", "/console") and name == path:
        return None
    if method not in ("GET", "HEAD"):
        return _answer(405, _PLAIN, b"only GET and HEAD\n", Allow="GET, HEAD")
    if path == "/":
        return _answer(200, _TYPES[".html"], (CONSOLE / "index.html").read_bytes())
    if name == "place.json":
        return _answer(200, "application/json", json.dumps({"name": place}).encode())
    if name == "chart.js":
        found = CHART_JS if CHART_JS.is_file() else None
    else:
        # By name from a list: a path never becomes that of a file.
        found = {each.name: each for each in CONSOLE.iterdir() if each.suffix in _TYPES}.get(name)
    if found is None:
        return _answer(404, _PLAIN, b"no such file\n")
    return _answer(200, _TYPES[found.suffix], found.read_bytes())


def _answer(status: int, content_type: str, body: bytes, **more: str) -> PageAnswer:
    headers = {
        "Content-Type": content_type,
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }
    return PageAnswer(status, {**headers, **more}, body)
