"""Whether the host is alive, and what it died of.

Three ways to die, each noticed by another means:

    an exception       the service's nursery ends with it
    an end without     `mind`: a service of the library that is cancelled from within just stops
    none of these      `examine`, now and then: it is there and does nothing

`examine` costs one connection to ourselves for each address, which is taken up and closed before it counts as anybody's, and a
wait for the next heartbeat. It looks at what nobody else would notice: a dead connection is `muxer`'s to notice, a
peer without a gossip stream is `host`'s (`_tend`), and what is lost anyway, sync finds.
"""

import traceback
from pathlib import PurePath
from typing import NoReturn, cast

import trio
from libp2p.tools.anyio_service import Service
from multiaddr import Multiaddr

from demesh.address import address_text, host_of
from demesh.errors import NetworkError
from demesh.mesh.libp2p.build import Parts
from demesh.mesh.libp2p.listener import Listener

HEARTBEAT_SECONDS_MAX = 3
ACCEPT_SECONDS_MAX = 1.5


async def mind(service: Service) -> NoReturn:
    """Raise NetworkError when a service of the library ends."""
    await service.get_manager().wait_finished()
    raise NetworkError(f"The peer-to-peer service stopped: {type(service).__name__} ended.")


async def examine(parts: Parts, connections_max: int) -> None:
    """Look whether gossip's router turns, whether connections are accepted where we listen, and whether what holds the places
    for accepted ones are connections. Raises NetworkError.
    """
    with trio.move_on_after(HEARTBEAT_SECONDS_MAX) as patience:
        await parts.router.next_heartbeat()
    if patience.cancelled_caught:
        raise NetworkError(f"Its gossip router has not moved for {HEARTBEAT_SECONDS_MAX} s.")
    for address in parts.host.get_transport_addrs():
        host, port = host_of(str(address)), int(address.value_for_protocol("tcp") or 0)
        before = _accepted(parts, address)
        try:
            with trio.fail_after(ACCEPT_SECONDS_MAX):
                await parts.transport.reach_itself(host, port)
        except (OSError, trio.TooSlowError) as error:
            if _accepted(parts, address) > before:
                continue  # crowded: others were before us. To build it anew would only send the peers away
            where = address_text(host, port)
            raise NetworkError(f"It accepts no connections at {where} ({type(error).__name__}).") from error
    taken, connections = parts.swarm.usage().inbound_slots, parts.swarm.get_total_connections()
    if taken >= connections_max and 2 * (connections + parts.transport.door.waiting) < taken:
        raise NetworkError(f"All {taken} places for accepted connections are taken, by {connections} connections.")


def _accepted(parts: Parts, address: Multiaddr) -> int:
    """How many connections were ever taken up where we listen."""
    return sum(each.accepted[address] for each in parts.swarm.listeners.values() if isinstance(each, Listener))


def death(failures: list[BaseException]) -> NetworkError:
    """What to raise for what ended the services: the cause, by its type and place only, since its text may be a peer's."""
    for failure in failures:
        if not isinstance(failure, NetworkError):
            frames = traceback.extract_tb(failure.__traceback__)
            place = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
            error = NetworkError(f"The peer-to-peer service stopped: {type(failure).__name__}{place}.")
            error.__cause__ = failure
            return error
    return cast(NetworkError, failures[0])
