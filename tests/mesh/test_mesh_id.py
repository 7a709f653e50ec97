"""A node that does not know its mesh learns it from the first that does, on real sockets, and founds none by accident."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from demesh.address import PeerAddress
from demesh.mesh import mesh_id
from demesh.mesh.libp2p.host import Libp2pNetwork
from demesh.mesh.mesh_id import Heard, find_mesh_id, is_founding, teller
from tests.mesh.libp2p_harness import KEY, SECONDS, Mesh, Node, eventually, mesh, seed_of
from tests.ports import free_port

_MESH, _FOUNDING = b"m" * 16, b"f" * 16


async def _member(m: Mesh, name: str = "member", said: bytes = _MESH) -> Node:
    network = Libp2pNetwork(seed_of(name), KEY, "t", [("127.0.0.1", 0)])
    network.serve(mesh_id.PROTOCOL, teller(said))
    return await m.run(name, network)


def _at(node: Node) -> PeerAddress:
    return PeerAddress(f"127.0.0.1:{node.port}", "127.0.0.1", node.port)


def _nowhere(port: int = 1) -> PeerAddress:
    return PeerAddress(f"127.0.0.1:{port}", "127.0.0.1", port)


class _Newcomer:
    def __init__(self, name: str, *peers: PeerAddress, port: int = 0) -> None:
        self.network = Libp2pNetwork(seed_of(name), KEY, "", [("127.0.0.1", port)])
        self.peers = peers
        self.found = b""
        self.dials = 0
        self._dial = self.network.dial
        self.network.dial = self.counted_dial

    async def counted_dial(self, host: str, port: int, expected: bytes | None = None) -> bytes:
        self.dials += 1
        return await self._dial(host, port, expected)

    async def find(self) -> None:
        self.found = await find_mesh_id(self.network, self.peers, _FOUNDING)

    @property
    def port(self) -> int:
        return int(self.network.listen_addresses()[0].rsplit("/", 1)[1])


@asynccontextmanager
async def _finding(*newcomers: _Newcomer) -> AsyncGenerator[None]:
    async with trio.open_nursery() as nursery:
        for each in newcomers:
            nursery.start_soon(each.find)
        with trio.fail_after(2 * SECONDS):
            yield
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_the_first_peer_that_answers_tells() -> None:
    async with mesh() as m:
        newcomer = _Newcomer("new", _nowhere(), _at(await _member(m)))
        async with _finding(newcomer):
            await eventually(lambda: newcomer.found == _MESH)


@pytest.mark.trio
async def test_where_all_goes_well_nothing_is_warned_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh_id._Finder, "peer_connected", lambda self, peer: None)  # the answer comes to who dialled
    async with mesh() as m:
        newcomer = _Newcomer("new", _at(await _member(m)))
        async with _finding(newcomer):
            await eventually(lambda: newcomer.found == _MESH)
    assert caplog.text == ""


@pytest.mark.trio
async def test_whoever_connects_tells_too() -> None:
    async with mesh() as m:
        member, newcomer = await _member(m), _Newcomer("new", _nowhere())
        async with _finding(newcomer):
            await eventually(lambda: bool(newcomer.network.listen_addresses()))
            await member.network.dial("127.0.0.1", newcomer.port)
            await eventually(lambda: newcomer.found == _MESH)


@pytest.mark.trio
async def test_it_waits_for_peers_that_are_not_there_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    newcomer = _Newcomer("new", _nowhere())
    async with _finding(newcomer):
        await eventually(lambda: "does not know its mesh yet" in caplog.text)
        await eventually(lambda: newcomer.dials > 2)
        assert not newcomer.found
        assert caplog.text.count("does not know its mesh yet") == 1
        assert "start it without peers" in caplog.text


@pytest.mark.trio
async def test_new_nodes_that_have_only_each_other_come_to_the_same_mesh(unused_tcp_ports: list[int]) -> None:
    peers = [_nowhere(port) for port in unused_tcp_ports]
    newcomers = [_Newcomer(f"new{port}", *peers, port=port) for port in unused_tcp_ports]
    async with _finding(*newcomers):
        await eventually(lambda: any(each.found for each in newcomers))
        assert {each.found for each in newcomers} <= {_FOUNDING, b""}


@pytest.mark.trio
async def test_new_nodes_wait_for_a_peer_that_might_know(unused_tcp_ports: list[int]) -> None:
    one, other = unused_tcp_ports
    newcomers = [
        _Newcomer("one", _nowhere(other), _nowhere(), port=one),
        _Newcomer("two", _nowhere(one), _nowhere(), port=other),
    ]
    async with mesh() as m, _finding(*newcomers):
        await eventually(lambda: all(each.network.peers() for each in newcomers))
        await eventually(lambda: all(each.dials > 4 for each in newcomers))
        assert not any(each.found for each in newcomers)
        member = await _member(m)
        await member.network.dial("127.0.0.1", one)
        await eventually(lambda: newcomers[0].found == _MESH)


@pytest.mark.parametrize(
    ("heard", "founding"),
    [
        ([], False),
        ([Heard.NOTHING], False),
        ([Heard.NEW, Heard.NOTHING], False),
        ([Heard.NEW], True),
        ([Heard.OURSELVES], True),
        ([Heard.NEW, Heard.OURSELVES, Heard.NEW], True),
    ],
)
def test_a_mesh_is_founded_only_where_no_peer_can_know_one(heard: list[Heard], founding: bool) -> None:
    assert is_founding(heard) is founding


@pytest.fixture
def unused_tcp_ports() -> list[int]:
    return [free_port(), free_port()]
