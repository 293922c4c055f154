"""What a local run says to the person who started it."""

import contextlib
import sys

from local.settings import Settings


def say(text: str) -> None:
    """Print a text at once. A terminal that is gone must not keep the processes from being ended."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


def complain(text: str) -> None:
    """Print one line about why the run ends, to stderr."""
    with contextlib.suppress(OSError):
        print(f"make run: {text}", file=sys.stderr, flush=True)


def say_banner(url: str, settings: Settings) -> None:
    """Tell what runs at `url` and what to try."""
    upstream = settings.upstream_base_url or "the built-in simulator"
    say(f"""
The Security Incident API is ready on {url}
It polls {upstream} every {settings.poll_interval_seconds} s. What it stores is gone when it ends.

Try:
  curl {url}/health
  curl '{url}/incidents?limit=2'
  curl {url}/employees/ID/incidents    # ID: one of those in the answer above

Logs: .local/    Ctrl-C ends everything.
""")
