"""Nodes that change their swarm key, on a network in memory: who is connected depends on links and on keys in common."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import trio

from demesh.errors import DemeshError, NetworkError
from demesh.home import Home
from demesh.identity import SwarmKey, read_swarm_key, write_secret
from demesh.mesh import rotation as rotations
from demesh.mesh.key_change import Change, encode_change
from demesh.mesh.memory import MemoryStream
from demesh.mesh.network import Stream
from demesh.mesh.rotation import Rotation
from demesh.mesh.session import Frames
from demesh.swarm_key_files import SwarmKeyFiles, SwarmKeys

OLD = SwarmKey(b"o" * 32)
MINUTE = 60


class Swarm:
    """Who is connected to whom: those that a link joins, have a key in common and are there."""

    def __init__(self, nursery: trio.Nursery, tmp_path: Path) -> None:
        self.nursery = nursery
        self.path = tmp_path
        self.nodes: dict[bytes, Member] = {}
        self.links: set[frozenset[bytes]] = set()

    def add(self, *names: str, linked: bool = True) -> list["Member"]:
        found = [Member(self, name) for name in names]
        if linked:
            self.links |= {frozenset({a.key, b.key}) for a, b in pairwise(found)}
        for member in found:
            member.start()
        return found


class Files:
    """Written at once: a thread's time would be no virtual one."""

    def __init__(self, home: Home, elsewhere: Path | None) -> None:
        self.files = SwarmKeyFiles(home, elsewhere)
        self.path, self.elsewhere = self.files.path, self.files.elsewhere
        self.full = False

    async def save(self, change: Change) -> None:
        await trio.lowlevel.checkpoint()
        if self.full:
            raise DemeshError("Cannot create it: No space left on device.")
        self.files.save(change)

    async def finish(self, change: Change) -> SwarmKeys:
        await trio.lowlevel.checkpoint()
        return self.files.finish(change)


class Member:
    """The rotation of one node, on a network in memory."""

    def __init__(self, swarm: Swarm, name: str) -> None:
        self.key = name.encode().ljust(32, b"\0")
        self.swarm = swarm
        self.home = Home(swarm.path / name)
        self.distrusted: set[bytes] = set()
        self.keys: tuple[SwarmKey, ...] = ()
        self.offered: list[bytes] = []
        self.elsewhere: Path | None = None
        write_secret(self.home.swarm_key, OLD.text())
        swarm.nodes[self.key] = self
        self.scope = trio.CancelScope()

    def start(self) -> None:
        self.files = Files(self.home, self.elsewhere)
        keys = self.files.files.open()
        self.keys = keys.accepted
        self.rotation = Rotation(
            self.files, keys, self, self.key, lambda: frozenset(self.swarm.nodes) - self.distrusted
        )
        self.scope = trio.CancelScope()
        self.swarm.nursery.start_soon(self._run, self.rotation, self.scope)

    @staticmethod
    async def _run(rotation: Rotation, scope: trio.CancelScope) -> None:
        with scope:
            await rotation.run()

    def stop(self) -> None:
        self.scope.cancel()
        self.keys = ()

    def peers(self) -> frozenset[bytes]:
        return frozenset(
            other.key
            for other in self.swarm.nodes.values()
            if frozenset({self.key, other.key}) in self.swarm.links and set(self.keys) & set(other.keys)
        )

    async def use_swarm_keys(self, keys: Sequence[SwarmKey]) -> None:
        await trio.lowlevel.checkpoint()
        self.keys = tuple(keys)

    async def open_stream(self, peer: bytes, protocol: str) -> Stream:
        await trio.lowlevel.checkpoint()
        assert protocol == rotations.PROTOCOL
        if peer not in self.peers():
            raise NetworkError("not connected")
        self.offered.append(peer)
        to_peer, from_us = trio.open_memory_channel[bytes](8)
        to_us, from_peer = trio.open_memory_channel[bytes](8)
        self.swarm.nursery.start_soon(self.swarm.nodes[peer].rotation.answer, MemoryStream(self.key, to_us, from_us))
        return MemoryStream(peer, to_peer, from_peer)

    @property
    def stored(self) -> str:
        return read_swarm_key(self.home.swarm_key).fingerprint

    async def offer(self, to: "Member", change: Change) -> bytes:
        """What `to` answers to whatever one likes to offer."""
        stream = await self.open_stream(to.key, rotations.PROTOCOL)
        frames = Frames(stream)
        await frames.send(encode_change(change))
        return await frames.expect()


@asynccontextmanager
async def swarm_in(tmp_path: Path) -> AsyncGenerator[Swarm]:
    async with trio.open_nursery() as nursery:
        yield Swarm(nursery, tmp_path)
        nursery.cancel_scope.cancel()


async def all_changed(*members: Member) -> SwarmKey:
    """The new key, once all of them have it and nothing else."""
    with trio.fail_after(5 * MINUTE):
        while any(len(each.keys) != 1 or each.keys == (OLD,) for each in members):  # noqa: ASYNC110 nothing tells
            await trio.sleep(1)
    assert len({each.keys for each in members}) == len({each.stored for each in members}) == 1
    assert all(each.rotation.keys.settled for each in members)
    return members[0].keys[0]
