"""What the nodes watch: small HTTP servers that answer as they are told, to everybody or to one node.

What is to fail for one node can tell who asks: each node logs in with its own name (`user = "nyc"`). It is one check all the
same, as how a node authenticates is its own matter and not in the check's definition (docs/configuration.md).
"""

import threading
from base64 import b64decode
from enum import StrEnum

from demesh import limits
from demesh.demo.serving import QuietHandler, Serving


class How(StrEnum):
    """How a target answers."""

    WELL = "200"
    UNAVAILABLE = "503"
    HANG = "hang"
    REFUSE = "refuse"


class Target:
    """A server called `name`, watched by `scheme`. It answers well until told otherwise."""

    def __init__(self, name: str, port: int, scheme: str = "http", *, knows_askers: bool = False) -> None:
        self.name = name
        self.url = f"{scheme}://127.0.0.1:{port}"
        self.knows_askers = knows_askers
        self._everybody = How.WELL
        self._one: dict[str, How] = {}
        self._changed = threading.Event()
        self._serving = Serving(_handler(self), port)

    def answer(self, how: How, to: str | None = None) -> None:
        """Answer so from now on, to one node or to everybody. What was said of single nodes ends with the latter."""
        if to:
            self._one[to] = how
        else:
            self._everybody, self._one = how, {}
        changed, self._changed = self._changed, threading.Event()
        changed.set()
        if self._everybody is How.REFUSE:
            self._serving.close()
        else:
            self._serving.open()

    def how(self, asker: str) -> How:
        return self._one.get(asker, self._everybody)

    def hang(self) -> None:
        """Wait until something changes, or for as long as nobody waits for an answer."""
        self._changed.wait(limits.DEMO_REQUEST_SECONDS_MAX)

    def close(self) -> None:
        self._changed.set()
        self._serving.close()


def _user(authorization: str) -> str:
    """Who logs in by HTTP's basic authentication; empty if nobody does."""
    try:
        return b64decode(authorization.removeprefix("Basic "), validate=True).decode().partition(":")[0]
    except ValueError:
        return ""


def _handler(target: Target) -> type[QuietHandler]:
    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802 the base class calls it so
            how = target.how(_user(self.headers.get("Authorization", "")))
            if how is How.HANG:
                target.hang()
            elif how is How.UNAVAILABLE:
                self.reply(503, f"{target.name} is out of order")
            else:
                self.reply(200, f"Welcome to {target.name}")

    return Handler
