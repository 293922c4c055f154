"""Ports of this machine: taking one, finding a free one, asking whether somebody answers."""

import socket
import urllib.error
import urllib.request


class PortTakenError(Exception):
    """A port can't be listened on; the text names it and says what to do."""


def open_port(port: int, target: str = "run") -> socket.socket:
    """Listen on a port of 127.0.0.1 (0: any free one) from now on, so that nobody else can take it.

    Raises PortTakenError, whose text names the make target.
    """
    listener = socket.socket()
    # Without it a port that was just given up is refused for a while.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        other = port + 1 if port < 65_535 else port - 1
        raise PortTakenError(
            f"port {port} can't be used ({error.strerror}): "
            f"choose another (PORT={other} make {target}) or end what listens there"
        ) from error
    return listener


def find_free_port(host: str = "127.0.0.1") -> int:
    """A port of an address of this machine that nothing listens on now.

    Raises OSError if it is no address of this machine.
    """
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str) -> bool:
    """Whether an HTTP server on this machine answers `url` at all, whatever it says."""
    # Never through a proxy: the address is this machine's own.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=1):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
