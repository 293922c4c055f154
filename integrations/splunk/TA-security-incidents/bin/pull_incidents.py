"""Prints the incidents that are new since the last run, as the service sent them: one JSON object a line.

    pull_incidents.py BASE_URL KEY_FILE TOKEN_FILE

BASE_URL: the stack's output ApiUrl. KEY_FILE: holds the API key alone, or a whole header, such as
`Authorization: Bearer …`. TOKEN_FILE: where it keeps how far it got; it is made by the first run.

A page is printed before its token is kept: what a run is killed in comes once more, and nothing is left out.
Nothing but Python 3.7's own library is needed: Splunk brings its own Python.

Exit status: 0 when all was printed; 1 when something is in the way, of which stderr tells.
"""

from __future__ import annotations

import pathlib
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

PAGE_SIZE = 1000
TIMEOUT_SECONDS = 35
ATTEMPTS = 5
LONGEST_WAIT_SECONDS = 60.0


def main(base_url: str, key_path: str, token_path: str) -> int:
    """Print page by page until there are no more; give the exit status."""
    header, value = read_key(pathlib.Path(key_path))
    kept = pathlib.Path(token_path)
    token = kept.read_text("ascii").strip() if kept.exists() else ""
    has_more = True
    while has_more:
        try:
            answer, lines = ask(build_url(base_url, token), {header: value})
        except urllib.error.HTTPError as error:
            return complain(explain(error, kept))
        except OSError as error:
            return complain(f"the service can't be reached: {error}")
        sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()
        token, has_more = answer["X-Next-Token"], answer["X-Has-More"] == "true"
        keep(kept, token)
    return 0


def build_url(base_url: str, token: str) -> str:
    """Where the incidents after a token are; all that are kept, if it is empty."""
    query = {"limit": str(PAGE_SIZE)}
    if token:
        query["token"] = token
    return f"{base_url.rstrip('/')}/incidents/changes?{urllib.parse.urlencode(query)}"


def ask(url: str, headers: dict[str, str]) -> tuple[Any, bytes]:
    """The headers and the body of one answer; waits and asks again where that helps.

    Raises HTTPError for other answers than 200, and other OSErrors where there is none.
    """
    request = urllib.request.Request(url, headers={**headers, "Accept": "application/x-ndjson"})  # noqa: S310 - the address is the administrator's
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # nosec B310  # noqa: S310 - as above
                return answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            if attempt == ATTEMPTS or (error.code != 429 and error.code < 500):
                raise
            wait = error.headers.get("Retry-After", "")
            time.sleep(min(float(wait) if wait.isdigit() else 2.0**attempt, LONGEST_WAIT_SECONDS))
    raise AssertionError("the last attempt returns or raises")


def read_key(path: pathlib.Path) -> tuple[str, str]:
    """The header that shows who is asking."""
    text = path.read_text("utf-8").strip()
    name, separator, value = text.partition(":")
    return (name.strip(), value.strip()) if separator else ("X-Api-Key", text)


def keep(path: pathlib.Path, token: str) -> None:
    """Replace the kept token as a whole: a crash leaves the old one or the new one."""
    new = path.with_name(path.name + ".new")
    new.write_text(token, "ascii")
    new.replace(path)


def explain(error: urllib.error.HTTPError, kept: pathlib.Path) -> str:
    """What stands in the way, and what to do about it."""
    if error.code == 410:
        return (
            f"what was to come next is no longer kept. Remove {kept} to begin with the oldest that is kept; "
            "what was missed is in /incidents"
        )
    return f"the service answered {error.code}"


def complain(message: str) -> int:
    """Say it on stderr."""
    print(f"pull_incidents: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(complain("usage: pull_incidents.py BASE_URL KEY_FILE TOKEN_FILE"))
    sys.exit(main(*sys.argv[1:]))
