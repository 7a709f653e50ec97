"""Whether the node of this home is sane, for whatever restarts it where it is not: `python -m demesh.healthy` exits 0 or 1.

Sane is a node that answers `/healthz` over its Unix socket with a 200, which it does not while a loop that it lives by hangs
(`demesh.pulse`), or one that has taken its home and is still starting: it may be waiting for a member that knows the mesh, or
look through a large store. What its checks find and how many peers it has does not matter. It imports next to nothing, so it can
be asked every few seconds.

Not noticed: a start that hangs.
"""

import json
import socket
import sys
from contextlib import suppress

from demesh import limits
from demesh.errors import DemeshError
from demesh.home import Home, find_home, is_held, running_node

_ASK = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_GOOD = (b"HTTP/1.1 200 ", b"HTTP/1.0 200 ")


def why_not(home: Home) -> str:
    """What is wrong, in a sentence; empty if nothing is. Raises DemeshError if the home may not be looked into."""
    running = running_node(home)
    if running is None:
        return "" if is_held(home) else f"No node is running on {home.path}."
    if running.starting:
        return ""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(limits.HEALTH_SECONDS_MAX)
            connection.connect(running.socket)
            connection.sendall(_ASK)
            answer = connection.makefile("rb").read(limits.HEALTH_ANSWER_BYTES_MAX)
    except OSError as error:
        return f"The node (pid {running.pid}) does not answer at {running.socket}: {error.strerror or 'no answer in time'}."
    return "" if answer.startswith(_GOOD) else f"The node (pid {running.pid}) is not well. {_said(answer)}".rstrip()


def _said(answer: bytes) -> str:
    """The sentence of a refusal (`demesh.api.problem`), empty if it has none."""
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(answer.partition(b"\r\n\r\n")[2])["error"])
    return ""


def main() -> int:
    with suppress(BrokenPipeError):
        try:
            problem = why_not(find_home(None))
        except DemeshError as error:
            problem = str(error)
        if problem:
            sys.stderr.write(f"{problem}\n")
        return int(bool(problem))
    return 1


if __name__ == "__main__":
    sys.exit(main())
