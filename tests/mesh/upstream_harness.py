"""py-libp2p as it comes, for the tests that tell when one of its faults has gone away.

Nothing of `demesh.mesh.libp2p` is used.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import trio
from libp2p import new_host
from libp2p.abc import IHost
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519_key_pair
from libp2p.custom_types import TProtocol
from libp2p.network.config import ConnectionConfig
from libp2p.network.swarm import Swarm
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_PROTOCOL
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

MESHSUB = TProtocol("/meshsub/1.1.0")
TOPIC = "upstream"
SECONDS = 8


@dataclass(frozen=True)
class Plain:
    host: IHost
    swarm: Swarm
    pubsub: Pubsub
    router: GossipSub

    async def dial(self, other: "Plain") -> None:
        with trio.fail_after(SECONDS):
            address = str(other.host.get_addrs()[0])
            if "/p2p/" not in address:
                address += f"/p2p/{other.host.get_id()}"
            await self.host.connect(info_from_p2p_addr(Multiaddr(address)))


def plain_host(config: ConnectionConfig | None = None) -> IHost:
    key = create_new_key_pair()
    noise = Noise(key, noise_privkey=create_new_x25519_key_pair().private_key)
    return new_host(
        key_pair=key,
        sec_opt={NOISE_PROTOCOL: noise},
        muxer_opt={TProtocol(YAMUX_PROTOCOL): Yamux},
        connection_config=config or ConnectionConfig(),
    )


def plain_router() -> GossipSub:
    """With the settings without which nothing would be heard in a test's time; else as it comes."""
    return GossipSub([MESHSUB], 6, 4, 12, heartbeat_interval=1)


def plain_pubsub() -> tuple[Pubsub, GossipSub]:
    """They do not run."""
    router = plain_router()
    return Pubsub(plain_host(), router), router


@asynccontextmanager
async def plain(config: ConnectionConfig | None = None) -> AsyncGenerator[Plain]:
    host, router = plain_host(config), plain_router()
    pubsub = Pubsub(host, router)
    try:
        async with (
            host.run(listen_addrs=[Multiaddr("/ip4/127.0.0.1/tcp/0")]),
            background_trio_service(pubsub),
            background_trio_service(router),
        ):
            try:
                await pubsub.wait_until_ready()
                await pubsub.subscribe(TOPIC)
                yield Plain(host, cast(Swarm, host.get_network()), pubsub, router)
            finally:
                with trio.CancelScope(shield=True):
                    await host.close()
    finally:
        pubsub.seen_messages.stop()


async def dies_of(attack: Callable[[Plain, Plain], Awaitable[None]]) -> bool:
    """Whether a plain node ends when another one does `attack(victim, attacker)`."""
    died = trio.Event()
    ready = trio.Event()
    victims: list[Plain] = []

    async def live() -> None:
        try:
            async with plain() as victim:
                victims.append(victim)
                ready.set()
                await trio.sleep_forever()
        except* Exception:  # noqa: BLE001 whatever it died of
            died.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live)
        await ready.wait()
        async with plain() as attacker:
            await attacker.dial(victims[0])
            with trio.move_on_after(SECONDS):
                await attacker.pubsub.wait_for_peer(victims[0].host.get_id())
                await attack(victims[0], attacker)
                with trio.move_on_after(2):
                    await died.wait()
            nursery.cancel_scope.cancel()
    return died.is_set()
