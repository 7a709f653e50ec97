"""Whom to dial besides the configured peers: members that are not connected, at the addresses that their hellos tell.

One peer that can be dialled is enough to join, and any member is enough to stay: every node holds every log, so there is no
need of all connections. A node dials PEERS_WANTED members, chosen by chance; in a mesh that small, all of them. Connections that
others began do not count, so those behind a NAT, who can only dial, find room everywhere.

Guarantees: a member that does not answer is tried again after a delay that doubles up to MEMBER_DIAL_BACKOFF_SECONDS_MAX, or
to DIAL_BACKOFF_SECONDS_MAX while nobody at all is connected. A member's address is dialled for its key only, whoever else
answers there is sent away, and an address that leads to this machine itself or to nothing but its link is not dialled.

`Reach` decides and is pure; `keep_reaching` moves the bytes.
"""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import lru_cache

import trio

from demesh import limits
from demesh.address import PeerAddress, may_be_dialled, parse_peer
from demesh.errors import UsageError
from demesh.mesh.dialer import dial_all
from demesh.mesh.network import Network

Candidates = Mapping[bytes, Sequence[str]]
"""By public key: the multiaddrs at which a member says that it can be dialled."""

_LOOK_SECONDS = 5


class Reach:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._ours: set[bytes] = set()
        self._dialling: set[bytes] = set()
        self._tries: dict[bytes, tuple[float, float]] = {}  # when it was dialled last, and the delay since

    def choose(self, candidates: Collection[bytes], connected: AbstractSet[bytes], now: float) -> list[bytes]:
        """Whom to dial at `now` (seconds); `done` is to be called for each."""
        self._ours &= connected
        for key in self._tries.keys() - set(candidates) - self._dialling:
            del self._tries[key]
        room = min(
            limits.PEERS_WANTED - len(self._ours) - len(self._dialling), limits.MEMBER_DIALS_MAX - len(self._dialling)
        )
        free = sorted(set(candidates) - connected - self._dialling)
        due = [key for key in free if now >= self._due(key, alone=not connected)]
        chosen = self._rng.sample(due, max(0, min(room, len(due))))
        self._dialling.update(chosen)
        return chosen

    def done(self, key: bytes, now: float, *, reached: bool) -> None:
        self._dialling.discard(key)
        if reached:
            self._ours.add(key)
        _, delay = self._tries.get(key, (0.0, limits.DIAL_BACKOFF_SECONDS_MIN))
        longer = min(2 * delay, limits.MEMBER_DIAL_BACKOFF_SECONDS_MAX)
        # Reached is not yet kept: who answers and hangs up waits longer and longer too, and who stays is not dialled.
        self._tries[key] = (now, longer * self._rng.uniform(0.7, 1.0))

    def stayed(self, connected: AbstractSet[bytes]) -> None:
        """These are connected, and were at the last look: what they cost before is forgotten."""
        for key in connected & self._tries.keys():
            del self._tries[key]

    def _due(self, key: bytes, *, alone: bool) -> float:
        at, delay = self._tries.get(key, (0.0, 0.0))
        return at + (min(delay, limits.DIAL_BACKOFF_SECONDS_MAX) if alone else delay)


async def keep_reaching(candidates: Callable[[], Candidates], network: Network, rng: random.Random) -> None:
    """Dial members until cancelled. `candidates` are asked for again and again."""
    reach = Reach(rng)
    before: frozenset[bytes] = frozenset()
    async with trio.open_nursery() as nursery:
        while True:
            await trio.sleep(_LOOK_SECONDS * rng.uniform(0.7, 1.3))
            connected = network.peers()
            reach.stayed(connected & before)
            before = connected
            found = candidates()
            for key in reach.choose(found.keys(), connected, trio.current_time()):
                nursery.start_soon(_dial, reach, key, found[key], network)


async def _dial(reach: Reach, key: bytes, addresses: Sequence[str], network: Network) -> None:
    reached = False
    with trio.move_on_after(limits.MEMBER_DIAL_SECONDS_MAX):
        for address in filter(None, map(dialled_address, addresses[: limits.MEMBER_ADDRESSES_TRIED_MAX])):
            found, _ = await dial_all(replace(address, expected=key), network, {}, fit=may_be_dialled)
            reached = bool(found)
            if reached:
                break
    reach.done(key, trio.current_time(), reached=reached)


@lru_cache(maxsize=limits.LOGS_MAX)
def dialled_address(text: str) -> PeerAddress | None:
    """The address that another node's multiaddr names; None if it is none, or one that this node does not dial."""
    try:
        address = parse_peer(text) if text.startswith("/") else None
    except UsageError:
        return None
    return address if address and may_be_dialled(address.host) else None
