"""One address after the other, for probes over datagrams: there, nothing but an answer shows that an address is alive.

The preferred address has half of the time if there is one of the other family, which is tried if the first gives no answer.
Which failure is told is decided as for connections (`demesh.probes.dialling`).
"""

from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import TypeVar

import trio

from demesh.failure import Failed
from demesh.probes.dialling import Place, Progress

_T = TypeVar("_T")


class BadAnswer(Failed):
    """The target answered, but not in its protocol: no other address is tried."""


def place_at(host: str, port: int) -> Place:
    """Where a name or an address is, the latter with a zone or without."""
    try:
        return Place(host, port, ip_address(host).version)
    except ValueError:
        return Place(host, port, 0)


async def first_answer(
    addresses: Sequence[str], deadline: float, progress: Progress, ask: Callable[[str, float], Awaitable[_T]]
) -> _T:
    """What `ask` returns for the first address that answers. It is given a deadline of its own. Raises Failed."""
    failures: list[tuple[str, Failed]] = []
    for others_left in reversed(range(len(addresses))):
        address = progress.address = addresses[-1 - others_left]
        now = trio.current_time()
        try:
            return await ask(address, now + max(deadline - now, 0) / (1 + others_left))
        except BadAnswer:
            raise
        except Failed as failed:
            failures.append((address, failed))
    # That this node lacks one family says nothing if the target refused in the other.
    progress.address, failure = next((each for each in failures if each[1].outcome.blames_target), failures[0])
    raise failure
