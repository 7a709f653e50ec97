"""No peer and no stranger, whatever it sends, takes a node down or shuts it off."""

import os
import socket

import pytest
import trio
from libp2p.abc import INetStream
from libp2p.crypto.rsa import create_new_key_pair as create_new_rsa_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils import encode_varint_prefixed

from demesh import limits
from demesh.errors import DialError, NetworkError
from demesh.mesh.libp2p import build as build_module
from demesh.mesh.libp2p.identity import id_of
from demesh.mesh.libp2p.pubsub import PROTOCOL
from demesh.mesh.network import PROTOCOLS, Stream
from tests.log.builders import public_key_of
from tests.mesh.libp2p_harness import SECONDS, TOPIC, Mesh, Node, Recorder, eventually, mesh, refused


@pytest.mark.trio
async def test_closed_connections_give_their_slots_back() -> None:
    async with mesh() as m:
        server = await m.start("server", connections_max=8)
        lasting = await m.start("lasting", host=None)
        await lasting.dial(server)
        for _ in range(5):  # 36 connections through 8 slots
            clients = [await m.start(f"client{n}", host=None) for n in range(7)]
            for client in clients:
                await client.dial(server)
            assert server.network.usage().inbound_slots == 8
            async with trio.open_nursery() as nursery:
                for client in clients:
                    nursery.start_soon(client.stop)
            await eventually(lambda: server.network.usage().inbound_slots == 1)
        assert sorted(server.network.peers()) == [lasting.key]


@pytest.mark.trio
async def test_a_full_node_says_so_to_its_own_operator() -> None:
    async with mesh() as m:
        a, b, c = await m.start("a", connections_max=1), await m.start("b"), await m.start("c")
        await a.dial(b)
        with pytest.raises(DialError, match="one too many: there are 1 connections"):
            await a.dial(c)
        assert a.network.peers() == {b.key}


@pytest.mark.trio
async def test_a_half_open_flood_does_not_keep_a_peer_out() -> None:
    async with mesh() as m:
        # Without the cap, the flood would take all of the slots.
        server, peer = await m.start("server", connections_max=24), await m.start("peer", host=None)
        before = refused("half_open")
        flood = [socket.socket() for _ in range(60)]
        try:
            for sock in flood:
                sock.bind(("127.0.0.2", 0))
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", server.port))
            await eventually(lambda: refused("half_open") - before == 60 - limits.PEER_HALF_OPEN_PER_ADDRESS_MAX)
            assert server.parts.transport.door.waiting == limits.PEER_HALF_OPEN_PER_ADDRESS_MAX
            await peer.dial(server)
            await eventually(lambda: peer.key in server.network.peers())
        finally:
            for sock in flood:
                sock.close()
        await eventually(lambda: server.parts.transport.door.waiting == 0)


@pytest.mark.trio
async def test_a_connection_that_never_speaks_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PEER_UPGRADE_SECONDS_MAX", 1)
    async with mesh() as m:
        server = await m.start("server")
        with trio.fail_after(SECONDS):
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as silent:
                await eventually(lambda: server.parts.transport.door.waiting == 1)
                async for _ in silent:
                    pass
        await eventually(lambda: server.parts.transport.door.waiting == server.network.usage().inbound_slots == 0)


async def _attack(attacker: Node, victim: Node, raw: bytes, reason: str) -> None:
    """Send a frame on a gossip stream of the attacker's own, and wait until it was refused."""
    before = refused(reason)
    stream = await attacker.parts.host.new_stream(id_of(victim.key), [PROTOCOL])
    await stream.write(encode_varint_prefixed(raw))
    await eventually(lambda: refused(reason) > before)


async def _victim_and_attacker(m: Mesh) -> tuple[Node, Node]:
    victim, attacker = await m.start("victim"), await m.start("attacker", host=None)
    await attacker.dial(victim)
    await attacker.meshed(victim)
    return victim, attacker


async def _still_talks(m: Mesh, victim: Node) -> None:
    good = await m.start("good", host=None)
    await good.dial(victim)
    await good.meshed(victim)
    await good.network.broadcast(b"still here?")
    assert await victim.handler.next_message() == (good.key, b"still here?")


@pytest.mark.trio
async def test_garbage_on_the_gossip_stream_ends_nothing_else() -> None:
    async with mesh() as m:
        victim, attacker = await _victim_and_attacker(m)
        await _attack(attacker, victim, b"\xff" * 50, "garbage_rpc")
        await _still_talks(m, victim)
        # The attacker is still a peer: its own gossip comes back once it behaves.
        await attacker.meshed(victim)


@pytest.mark.trio
async def test_a_message_with_a_malformed_key_ends_nothing() -> None:
    async with mesh() as m:
        victim, attacker = await _victim_and_attacker(m)
        message = rpc_pb2.Message(
            data=b"x",
            topicIDs=[TOPIC],
            from_id=b"\x12\x20" + os.urandom(32),  # a hash, so that the key field is read
            seqno=b"12345678",
            key=b"\xff\xff\xff",
            signature=b"zz",
        )
        await _attack(attacker, victim, rpc_pb2.RPC(publish=[message]).SerializeToString(), "garbage_rpc")
        await _still_talks(m, victim)


@pytest.mark.trio
async def test_a_message_that_its_author_did_not_sign_is_counted_and_not_taken() -> None:
    async with mesh() as m:
        victim, attacker = await _victim_and_attacker(m)
        message = rpc_pb2.Message(
            data=b"x",
            topicIDs=[TOPIC],
            from_id=id_of(public_key_of("somebody")).to_bytes(),
            seqno=b"12345678",
            signature=bytes(64),
        )
        await _attack(attacker, victim, rpc_pb2.RPC(publish=[message]).SerializeToString(), "bad_signature")
        await _still_talks(m, victim)  # what it hears next is what is said there


class Raising(Recorder):
    """Fails at everything that is marked as bad."""

    def peer_connected(self, peer: bytes) -> None:
        super().peer_connected(peer)
        raise RuntimeError("bug")

    def message(self, forwarder: bytes, data: bytes) -> None:
        if data == b"bad":
            raise RuntimeError("bug")
        super().message(forwarder, data)

    async def stream(self, stream: Stream) -> None:
        if await stream.receive() == b"bad":
            raise RuntimeError("bug")
        await super().stream(stream)


@pytest.mark.trio
async def test_a_handler_that_raises_ends_nothing() -> None:
    async with mesh() as m:
        before = refused("handler_failed")
        a, b = await m.start("a", handler=Raising()), await m.start("b")
        await b.dial(a)
        await a.meshed(b)
        assert refused("handler_failed") == before + 1
        await b.network.broadcast(b"bad")
        await eventually(lambda: refused("handler_failed") == before + 2)
        stream = await b.network.open_stream(a.key)
        await stream.send(b"bad")
        with trio.fail_after(SECONDS), pytest.raises(NetworkError):
            await stream.receive()
        await eventually(lambda: refused("handler_failed") == before + 3)
        await b.network.broadcast(b"good")
        assert (await a.handler.next_message())[1] == b"good"


@pytest.mark.trio
async def test_a_stream_handler_of_the_library_that_raises_ends_nothing() -> None:
    async with mesh() as m:
        victim, attacker = await _victim_and_attacker(m)
        protocol = TProtocol("/bug/1")

        async def fail(stream: INetStream) -> None:
            await stream.read(1)
            raise KeyError("bug")

        victim.parts.host.set_stream_handler(protocol, fail)
        before = refused("stream_failed")
        stream = await attacker.parts.host.new_stream(id_of(victim.key), [protocol])
        await stream.write(b"x")
        await eventually(lambda: refused("stream_failed") == before + 1)
        await _still_talks(m, victim)


@pytest.mark.trio
async def test_streams_of_one_connection_are_bounded() -> None:
    async with mesh() as m:
        a, b = await m.start("a"), await m.start("b")
        await b.dial(a)
        before = refused("streams_per_connection")
        [connection] = b.parts.swarm.get_connections()
        async with trio.open_nursery() as nursery:

            async def hoard() -> None:
                while True:
                    await connection.new_stream()

            nursery.start_soon(hoard)
            await eventually(lambda: refused("streams_per_connection") > before)
            nursery.cancel_scope.cancel()
        assert a.network.peers() == {b.key}


@pytest.mark.trio
async def test_a_restarted_nodes_messages_are_delivered_at_once() -> None:
    async with mesh() as m:
        reader = await m.start("reader")
        for life in range(2):
            writer = await m.start("writer", host=None)
            await writer.dial(reader)
            await writer.meshed(reader)
            # So many in so little time that numbers counted from the time in seconds would overlap.
            for n in range(60):
                await writer.network.broadcast(b"%d/%d" % (life, n))
                assert (await reader.handler.next_message())[1] == b"%d/%d" % (life, n)
            await writer.stop()
            await eventually(lambda: not reader.network.peers())


@pytest.mark.trio
async def test_a_peer_that_is_no_ed25519_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with mesh() as m:
        victim = await m.start("victim")
        monkeypatch.setattr(build_module, "create_new_key_pair", lambda seed: create_new_rsa_key_pair())
        attacker = await m.start("rsa")
        monkeypatch.undo()
        before = refused("not_ed25519")
        with pytest.raises(DialError):
            await attacker.dial(victim)
        await eventually(lambda: refused("not_ed25519") == before + 1)
        with pytest.raises(DialError, match="not an Ed25519 key"):
            await victim.dial(attacker)
        assert victim.handler.events == []


@pytest.mark.trio
async def test_the_death_of_a_service_is_an_error_and_the_network_can_run_again() -> None:
    async with mesh() as m:
        b = await m.start("b")
        a = await m.start("a")
        await a.dial(b)
        router = a.parts.router
        with trio.fail_after(SECONDS):
            a.scope.cancel()
            await a.stopped.wait()
            async with trio.open_nursery() as nursery:
                await nursery.start(_expecting_death, a)
                assert a.parts.router is not router
                await a.dial(b)
                a.parts.router.mesh = None  # pyright: ignore[reportAttributeAccessIssue]
            assert a.network.peers() == frozenset()
            await m.nursery.start(a.network.run, a.handler)
            await a.dial(b)
            await a.meshed(b)
        assert [event for event, _ in a.handler.events] == ["connected", "lost", "connected", "lost", "connected"]


async def _expecting_death(node: Node, task_status: trio.TaskStatus[None]) -> None:
    with pytest.raises(NetworkError, match="service stopped"):
        await node.network.run(node.handler, task_status)


@pytest.mark.trio
async def test_nothing_is_offered_but_what_is_needed() -> None:
    async with mesh() as m:
        a = await m.start("a")
        host = a.parts.host
        assert isinstance(host, BasicHost)
        assert set(host.get_mux().get_protocols()) == {
            *map(TProtocol, PROTOCOLS),
            PROTOCOL,
            TProtocol("/ipfs/id/1.0.0"),
            TProtocol("/ipfs/ping/1.0.0"),
        }
        assert list(a.parts.upgrader.security_multistream.transports) == ["/noise"]
        assert list(a.parts.upgrader.muxer_multistream.transports) == ["/yamux/1.0.0"]
