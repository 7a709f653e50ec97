"""A network in memory whose nodes dial each other, whole nodes on it, and what they tell of members."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trio

from demesh.config.load import Settings
from demesh.errors import DialError
from demesh.log.admission import Policy
from demesh.mesh.memory import MemoryNetwork, MemorySwarm
from demesh.mesh.network import Handler
from tests.cluster import Member, Mesh


class DiallingNetwork(MemoryNetwork):
    """Listens at an address that follows from its key, unless it only dials. What is broadcast is passed on, as gossip is."""

    only_dials: ClassVar[set[bytes]] = set()

    def __init__(self, swarm: MemorySwarm, own: bytes) -> None:
        super().__init__(swarm, own)
        self.dialled: list[bytes] = []

    def listen_addresses(self) -> Sequence[str]:
        return [] if self._own in self.only_dials else [f"/ip4/{host_of_key(self._own)}/tcp/8471"]

    async def run(self, handler: Handler, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            await super().run(handler, task_status)
        finally:
            self._handler = None
            for peer in self.peers():
                self._swarm.cut(self._own, peer)

    async def broadcast(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        reached = {self._own}
        waiting: list[DiallingNetwork] = [self]
        while waiting:
            passing_on = waiting.pop(0)
            for peer in sorted(passing_on.peers() - reached):
                reached.add(peer)
                network = self._swarm.networks[peer]
                assert isinstance(network, DiallingNetwork)
                network.deliver(passing_on._own, data)
                waiting.append(network)

    async def dial(self, host: str, port: int, expected: bytes | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        found = next(
            (key for key in self._swarm.networks if host_of_key(key) == host and key not in self.only_dials), None
        )
        if found is None or expected not in (None, found) or not self._swarm.networks[found]._handler:
            raise DialError(f"{host} does not answer.")
        self.dialled.append(found)
        self._swarm.connect(self._own, found)
        if found not in self.peers():
            raise DialError(f"{host} broke off.")
        return found


def host_of_key(key: bytes) -> str:
    return f"10.{key[0]}.{key[1]}.{key[2]}"


@pytest.fixture
def dialling_mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mesh:
    monkeypatch.setattr(DiallingNetwork, "only_dials", set[bytes]())
    return Mesh(tmp_path, DiallingNetwork)


def set_policy(member: Member, policy: Policy) -> None:
    assert isinstance(member.configured, Settings)
    member.configured = replace(member.configured, policy=policy)


async def go_over_to(member: Member, policy: Policy) -> None:
    set_policy(member, policy)
    await member.node.reload()


def network_of(member: Member) -> DiallingNetwork:
    network = member.swarm.networks[member.key]
    assert isinstance(network, DiallingNetwork)
    return network


def told_by(member: Member) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in member.node.members()}


def shown_by(member: Member) -> dict[str, str]:
    return {node["name"]: node["presence"] for node in member.node.status()["nodes"]}


def vantages_of(member: Member) -> set[str]:
    return {each["node"] for check in member.node.status()["checks"] for each in check["vantages"] if each["assigned"]}
