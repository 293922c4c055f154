"""What a local run says to the person who started it."""

import contextlib
import sys

from local.settings import Settings


def say(text: str) -> None:
    """Print a text at once. A terminal that is gone must not keep the processes from being ended."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


def complain(text: str, target: str = "run") -> None:
    """Print one line about why the run ends, to stderr."""
    with contextlib.suppress(OSError):
        print(f"make {target}: {text}", file=sys.stderr, flush=True)


def say_banner(url: str, settings: Settings) -> None:
    """Tell what runs at `url` and what to try."""
    upstream = settings.upstream_base_url or "the built-in simulator"
    say(f"""
The Security Incident API is ready on {url}
It polls {upstream} every {settings.poll_interval_seconds} s. What it stores is gone when it ends.

Look at it in a browser: {url}/

Try:
{_describe_requests(url)}

Logs: .local/    Ctrl-C ends everything.
""")


def say_sam_banner(url: str, settings: Settings, poll_command: str) -> None:
    """Tell what `sam local start-api` serves at `url`, what to try, and how to poll."""
    upstream = settings.upstream_base_url or "the built-in simulator"
    say(f"""
The Security Incident API is ready on {url}, by sam local start-api
It has polled {upstream} once, and polls again when you say so. What it stores is gone when it ends.

Try:
{_describe_requests(url)}

Poll again, from a second terminal in this folder:
  {poll_command}

Logs: .local/    Ctrl-C ends everything, containers included.
""")


def _describe_requests(url: str) -> str:
    return f"""\
  curl {url}/health
  curl '{url}/incidents?limit=2'
  curl {url}/employees/ID/incidents    # ID: one of those in the answer above"""
