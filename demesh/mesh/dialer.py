"""Dialer: keeps trying to be connected to every configured peer.

Each address has a task of its own, with a delay that doubles from one second to a minute and is spread by chance, so that
a mesh that comes back does not come back all at once. A `dns:` peer is every address of its name: those that nobody is
known to be connected at are tried again every minute, and the name is looked up anew. This node's own address among them,
as in the name of all tasks of a service, is nobody to connect to, and no problem. The diagnostic log tells transitions, not
attempts.
"""

import logging
import math
import random
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence

import trio

from demesh import limits
from demesh.address import PeerAddress
from demesh.errors import DialError
from demesh.identity import peer_id
from demesh.mesh.network import Network

log = logging.getLogger(__name__)
_LOOK_SECONDS = 2  # how soon a lost connection is noticed


async def keep_dialling(
    peers: Sequence[PeerAddress],
    network: Network,
    own_key: bytes,
    rng: random.Random,
    allowed: Callable[[bytes], bool] = lambda key: True,
) -> None:
    """Dial `peers` until cancelled, but not those whose key is given and not `allowed`."""
    async with trio.open_nursery() as nursery:
        for peer in peers:
            nursery.start_soon(_keep_dialling_one, peer, network, own_key, rng, allowed)


async def _keep_dialling_one(
    peer: PeerAddress, network: Network, own_key: bytes, rng: random.Random, allowed: Callable[[bytes], bool]
) -> None:
    known: dict[str, bytes] = {}
    delay_seconds: float = limits.DIAL_BACKOFF_SECONDS_MIN
    dialled_at = -math.inf
    said = ""
    while True:
        if peer.expected and not allowed(peer.expected):
            await trio.sleep(_LOOK_SECONDS)
            continue
        others = network.peers()
        may_change = peer.every or own_key in known.values()
        again = may_change and trio.current_time() - dialled_at >= limits.DIAL_BACKOFF_SECONDS_MAX
        if known and others >= set(known.values()) - {own_key} and not again:
            delay_seconds = limits.DIAL_BACKOFF_SECONDS_MIN
            await trio.sleep(_LOOK_SECONDS)
            continue
        dialled_at = trio.current_time()
        held = {at: key for at, key in known.items() if key in others}  # an own address may be another's by now
        found, problem = await dial_all(peer, network, held, own_key=own_key)
        if found:
            known = found
        if problem != said:
            said = problem
            names = _names(key for key in found.values() if key != own_key)
            connected_now = f"Connected to {names or 'nobody but this node itself'} at {peer.text}."
            log.log(logging.WARNING if problem else logging.INFO, problem or connected_now)
        # Found is not yet connected: who answers and hangs up is not dialled again without a pause either.
        await trio.sleep(_LOOK_SECONDS if found else delay_seconds * rng.uniform(0.7, 1.3))
        delay_seconds = min(2 * delay_seconds, limits.DIAL_BACKOFF_SECONDS_MAX)


async def dial_all(
    peer: PeerAddress,
    network: Network,
    connected: Mapping[str, bytes],
    fit: Callable[[str], bool] = lambda host: True,
    own_key: bytes = b"",
) -> tuple[dict[str, bytes], str]:
    """Dial the addresses of `peer` that are `fit`, but those in `connected`.

    Returns who is at each, and a sentence if nobody is. With `own_key` this node itself counts as somebody.
    """
    try:
        resolved = await trio.socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no host name"
        return {}, f"The peer {peer.text} cannot be found: {why}."
    found: dict[str, bytes] = {}
    problems: list[str] = []
    for address in filter(fit, dict.fromkeys(str(each[4][0]) for each in resolved)):
        try:
            found[address] = connected.get(address) or await network.dial(address, peer.port, peer.expected)
        except DialError as error:
            if error.ourselves and own_key:
                found[address] = own_key
            else:
                problems.append(str(error))
        if not peer.every and any(key != own_key for key in found.values()):
            break
    return found, "" if found else f"Cannot connect to {peer.text}: {' '.join(problems)}"


def _names(keys: Iterable[bytes]) -> str:
    return ", ".join(sorted(map(peer_id, keys)))
