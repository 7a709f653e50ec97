"""Members that send something to a relayed address for a TURN check: what the probe knows of them.

The node offers them once its mesh runs (`demesh.relaying`). Until then, and where nothing offers any, there are none.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from demesh.address import Spot


class Helper(Protocol):
    """A member that stands ready. `address` is the one at which the TURN server sees it."""

    address: str

    def datagram(self, token: bytes) -> bytes:
        """What it sends if it is given `token`."""
        ...

    async def send(self, relayed: Spot, token: bytes) -> None:
        """Has it send the datagram of `token` there, and returns when it has. Raises NoHelp."""
        ...


class NoHelp(Exception):
    """A member does not help. The message is a clause about it, such as `n2 answers no requests`."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A member that may help. `ask` it for a round trip through the TURN server at a spot; it must answer by a time (trio's).
    Raises NoHelp.
    """

    name: str
    ask: Callable[[Spot, float], AbstractAsyncContextManager[Helper]]


class Relays:
    """Whom this node may ask, in the order in which to do so."""

    def __init__(self) -> None:
        self._candidates: Callable[[], Sequence[Candidate]] = list

    def offer(self, candidates: Callable[[], Sequence[Candidate]]) -> None:
        self._candidates = candidates

    def candidates(self) -> Sequence[Candidate]:
        return self._candidates()
