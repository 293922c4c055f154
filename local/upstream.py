"""The upstream that a local run polls: the built-in simulator, or one that a person named."""

import sys
from collections.abc import Mapping
from pathlib import Path

import requests

from local.ports import answers, find_free_port
from local.processes import Children
from local.settings import Settings

# A few calls fail, as the real upstream's do; the poller's retries and /health are there to be seen.
SIMULATOR_FLAGS = ("--failure-rate", "0.02")
START_SECONDS = 30.0
LOOK_SECONDS = 3.0


def start_simulator(
    settings: Settings, base: Mapping[str, str], children: Children, log: Path, *, host: str = "127.0.0.1"
) -> str:
    """Start the simulator on an address of this machine; give its base URL once it listens.

    Raises ProcessError, InterruptedRunError.
    """
    port = find_free_port(host)
    url = f"http://{host}:{port}"
    credentials = {
        "UPSTREAM_USERNAME": settings.upstream_username,
        "UPSTREAM_PASSWORD": settings.upstream_password,
    }
    children.start(
        "simulator",
        [sys.executable, "-m", "local.simulator", "--host", host, "--port", str(port), *SIMULATOR_FLAGS],
        environment={**base, **credentials},
        log=log,
    )
    children.wait_until(lambda: answers(f"{url}/"), "the simulator", START_SECONDS)
    return url


def look_at_upstream(base_url: str) -> str | None:
    """Ask once, without credentials, whether anything answers there: None, or why not in a few words."""
    try:
        # An `auth` that does nothing keeps a ~/.netrc out of it.
        requests.head(f"{base_url}/", timeout=LOOK_SECONDS, allow_redirects=False, auth=lambda asked: asked)
    except requests.ReadTimeout:
        # It took the connection: slow is not unreachable.
        return None
    except requests.exceptions.SSLError:
        return "its certificate is not trusted"
    except requests.Timeout:
        return f"no connection within {LOOK_SECONDS:.0f} seconds"
    except requests.ConnectionError:
        return "no connection"
    except requests.RequestException as error:
        return type(error).__name__
    return None
