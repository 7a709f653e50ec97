"""The faults of py-libp2p that this project works round are still there (docs/libp2p.md has the table).

Each test uses the library as it comes. One that fails is good news: upstream has mended it, and the place that docs/libp2p.md
names can be looked at, and perhaps deleted with its own tests.
"""

import inspect
import logging
import time
from typing import cast

import libp2p
import pytest
import trio
from libp2p.abc import INetStream, ISecureConn
from libp2p.custom_types import TProtocol
from libp2p.io.abc import ReadWriteCloser
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.security.pnet.psk_conn import PskConn
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import HEADER_SIZE, Yamux
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_PROTOCOL_ID
from libp2p.tools.anyio_service import background_trio_service
from libp2p.transport.tcp.tcp import TCP
from libp2p.utils import encode_varint_prefixed, read_varint_prefixed_bytes
from multiaddr import Multiaddr

from tests.mesh.upstream_harness import (
    MESHSUB,
    SECONDS,
    TOPIC,
    Plain,
    dies_of,
    plain,
    plain_host,
    plain_pubsub,
    plain_router,
)

PEER = plain_host().get_id()
YAMUX_PROTOCOL = TProtocol(YAMUX_PROTOCOL_ID)
AT_ANY_PORT = Multiaddr("/ip4/127.0.0.1/tcp/0")


class Wire(ReadWriteCloser):
    """What was written can be read, at most `piece` bytes at a time; writes take a moment for each."""

    is_initiator = True

    def __init__(self, piece: int = 1 << 30) -> None:
        self.bytes, self.piece = b"", piece
        self.asked: list[int | None] = []

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), self.piece):
            await trio.lowlevel.checkpoint()
            self.bytes += data[start : start + self.piece]

    async def read(self, n: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        self.asked.append(n)
        taken, self.bytes = self.bytes[: min(n or 1 << 30, self.piece)], self.bytes[min(n or 1 << 30, self.piece) :]
        return taken

    async def close(self) -> None: ...

    def get_remote_address(self) -> tuple[str, int] | None: ...


def _psk(wire: ReadWriteCloser) -> PskConn:
    return PskConn(RawConnection(wire, True), "11" * 32)


def test_upstream_is_the_version_that_was_looked_at() -> None:
    """A newer one: go through docs/libp2p.md, and run the tests of `demesh/mesh/libp2p` with care."""
    assert libp2p.__version__ == "0.8.1"


# The private network


@pytest.mark.trio
async def test_upstream_still_has_a_cipher_that_is_not_the_specs() -> None:
    wire = Wire()
    await _psk(wire).write(b"x")
    assert len(wire.bytes) == 8 + 1, "XSalsa20 has a nonce of 24 bytes"


@pytest.mark.trio
async def test_upstream_still_breaks_when_a_nonce_comes_in_pieces() -> None:
    wire = Wire()
    await _psk(wire).write(b"x")
    wire.piece = 5
    with pytest.raises(Exception, match="nonce"):
        await _psk(wire).read(1)


def test_upstream_still_offers_no_encryption_at_all_by_default() -> None:
    network = libp2p.new_host().get_network()
    assert "/plaintext/2.0.0" in network.upgrader.security_multistream.transports  # pyright: ignore[reportAttributeAccessIssue]


# Listening


@pytest.mark.trio
async def test_upstream_still_keeps_the_place_of_a_closed_connection() -> None:
    async with plain() as server:
        for _ in range(3):
            async with plain() as client:
                await client.dial(server)
        with trio.fail_after(SECONDS):
            while server.swarm.get_total_connections():  # noqa: ASYNC110 nothing tells
                await trio.sleep(0.05)
        await trio.sleep(0.5)
        assert server.swarm._inbound_limiter.borrowed_tokens == 3


@pytest.mark.trio
async def test_upstream_still_lets_two_listen_at_one_port() -> None:
    async def accept(stream: ReadWriteCloser) -> None: ...

    first, second = TCP().create_listener(accept), TCP().create_listener(accept)
    await first.listen(AT_ANY_PORT)
    await second.listen(first.get_addrs()[0])
    assert first.get_addrs() == second.get_addrs()
    for each in (first, second):
        await each.close()


@pytest.mark.trio
async def test_upstream_still_listens_where_a_failure_ends_the_process() -> None:
    async def accept(stream: ReadWriteCloser) -> None: ...

    def of_the_system() -> list[str]:
        root = trio.lowlevel.current_root_task()
        assert root
        return [task.name for nursery in root.child_nurseries for task in nursery.child_tasks]

    listener = TCP().create_listener(accept)
    await listener.listen(AT_ANY_PORT)
    assert any("_run_server" in name for name in of_the_system())
    await listener.close()


# What a peer can do


@pytest.mark.trio
async def test_upstream_still_dies_of_garbage_on_a_gossip_stream() -> None:
    async def attack(victim: Plain, attacker: Plain) -> None:
        stream = await attacker.host.new_stream(victim.host.get_id(), [MESHSUB])
        await stream.write(encode_varint_prefixed(b"\xff" * 50))

    assert await dies_of(attack)


@pytest.mark.trio
async def test_upstream_still_dies_of_a_stream_handler_that_raises() -> None:
    async def attack(victim: Plain, attacker: Plain) -> None:
        async def fail(stream: INetStream) -> None:
            raise KeyError("bug")

        victim.host.set_stream_handler(TProtocol("/bug/1"), fail)
        await attacker.host.new_stream(victim.host.get_id(), [TProtocol("/bug/1")])

    assert await dies_of(attack)


def _message(number: int = 0) -> rpc_pb2.Message:
    return rpc_pb2.Message(data=b"x", topicIDs=[TOPIC], from_id=PEER.to_bytes(), seqno=number.to_bytes(8, "big"))


@pytest.mark.trio
async def test_upstream_still_raises_at_a_message_with_a_malformed_key() -> None:
    pubsub, _ = plain_pubsub()
    message = _message()
    message.from_id, message.key, message.signature = b"\x12\x20" + bytes(32), b"\xff\xff\xff", b"zz"
    with pytest.raises(Exception, match="pars"):
        await pubsub.push_msg(PEER, message)
    pubsub.seen_messages.stop()


@pytest.mark.trio
async def test_upstream_still_raises_what_a_validator_does() -> None:
    def fail(forwarder: ID, message: rpc_pb2.Message) -> bool:
        raise KeyError("bug")

    router = plain_router()
    pubsub = Pubsub(plain_host(), router, strict_signing=False)
    pubsub.set_topic_validator(TOPIC, fail, is_async_validator=False)
    with pytest.raises(KeyError):
        await pubsub.push_msg(PEER, _message())
    pubsub.seen_messages.stop()


@pytest.mark.trio
async def test_upstream_still_remembers_a_back_off_for_any_topic_and_for_ever() -> None:
    pubsub, router = plain_pubsub()
    for number in range(100):
        await router.handle_prune(rpc_pb2.ControlPrune(topicID=f"made up {number}", backoff=0), PEER)
    router.mesh_heartbeat()
    router.remove_peer(PEER)
    assert len(router.back_off) == 100
    pubsub.seen_messages.stop()


# What is lost, and what is never forgotten


def test_upstream_still_begins_its_numbers_at_the_seconds() -> None:
    pubsub, _ = plain_pubsub()
    assert pubsub.counter <= time.time() + 1
    pubsub.seen_messages.stop()


def test_upstream_still_passes_on_ten_messages_a_second_by_default() -> None:
    router = plain_router()
    passed = [router._check_spam_protection(PEER, _message(number)) for number in range(20)]
    assert passed == [True] * 10 + [False] * 10


def test_upstream_still_looks_after_its_mesh_every_two_minutes_by_default() -> None:
    defaults = inspect.signature(GossipSub).parameters
    assert defaults["heartbeat_interval"].default == 120
    assert defaults["adaptive_gossip_enabled"].default is True


@pytest.mark.trio
async def test_upstream_still_drops_what_a_subscriber_does_not_fetch_at_once() -> None:
    async with plain() as node:
        subscription = await node.pubsub.subscribe("another")
        for number in range(100):
            message = _message(number)
            message.topicIDs[:] = ["another"]
            node.pubsub.notify_subscriptions(message)
        heard = 0
        with trio.move_on_after(0.5):
            while await subscription.get():
                heard += 1
        assert heard < 100


@pytest.mark.trio
async def test_upstream_still_keeps_a_time_for_every_message() -> None:
    async with plain() as node:
        node.router.spam_protection_enabled = node.router.adaptive_gossip_enabled = False
        for number in range(100):
            await node.router.publish(PEER, _message(number))
        assert len(node.router.recent_message_deliveries[TOPIC]) == 100


def test_upstream_still_sends_a_signed_record_with_what_it_says() -> None:
    pubsub, _ = plain_pubsub()
    assert pubsub.get_hello_packet().HasField("senderRecord")
    pubsub.seen_messages.stop()


@pytest.mark.trio
async def test_upstream_still_mixes_up_two_messages_that_are_written_at_once() -> None:
    pubsub, _ = plain_pubsub()
    wire = Wire(piece=10)
    frames = [rpc_pb2.RPC(publish=[rpc_pb2.Message(data=letter * 1_000)]) for letter in (b"a", b"b")]
    async with trio.open_nursery() as nursery:
        for frame in frames:
            nursery.start_soon(pubsub.write_msg, cast(INetStream, wire), frame)
    assert b"a" * 1_000 not in wire.bytes
    pubsub.seen_messages.stop()


@pytest.mark.trio
async def test_upstream_still_reads_lengths_byte_by_byte() -> None:
    wire = Wire()
    wire.bytes = encode_varint_prefixed(bytes(1_000))
    await read_varint_prefixed_bytes(wire)
    assert wire.asked[:2] == [1, 1]


# Streams, connections, services


@pytest.mark.trio
async def test_upstream_still_calls_a_reset_the_end_of_a_stream() -> None:
    async with plain() as server, plain() as client:

        async def reset(stream: INetStream) -> None:
            await stream.read(1)
            await stream.reset()

        server.host.set_stream_handler(TProtocol("/reset/1"), reset)
        await client.dial(server)
        stream = await client.host.new_stream(server.host.get_id(), [TProtocol("/reset/1")])
        await stream.write(b"x")
        with trio.fail_after(SECONDS), pytest.raises(StreamEOF):
            await stream.read(1)


@pytest.mark.trio
async def test_upstream_still_hides_the_end_of_a_service_that_is_cancelled_from_within() -> None:
    pubsub, router = plain_pubsub()
    async with background_trio_service(router) as manager:
        manager.cancel()
        with trio.fail_after(SECONDS):
            await manager.wait_finished()
        await trio.lowlevel.checkpoint()  # nothing is raised here
    pubsub.seen_messages.stop()


def _multiplexer(wire: Wire) -> Yamux:
    return Yamux(cast(ISecureConn, wire), PEER, True)


@pytest.mark.trio
async def test_upstream_still_keeps_a_peer_that_answers_no_ping(autojump_clock: trio.testing.MockClock) -> None:
    wire = Wire()
    with trio.move_on_after(120) as patience:
        await _multiplexer(wire)._measure_rtt_loop()
    assert patience.cancelled_caught
    assert len(wire.bytes) > HEADER_SIZE, "it went on asking"


@pytest.mark.trio
async def test_upstream_still_gives_credit_back_for_every_read() -> None:
    wire = Wire()
    multiplexer = _multiplexer(wire)
    stream = await multiplexer.open_stream()
    multiplexer.stream_buffers[stream.stream_id] += bytes(100)
    wire.bytes = b""
    assert await stream.read(10) == bytes(10)
    assert len(wire.bytes) == HEADER_SIZE


@pytest.mark.trio
async def test_upstream_still_makes_its_own_yamux(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(Yamux): ...

    async def select(*_: object) -> tuple[TProtocol, type[Yamux]]:
        return YAMUX_PROTOCOL, Other

    multistream = MuxerMultistream({YAMUX_PROTOCOL: Other})
    monkeypatch.setattr(multistream._selector, "select", select)
    made = await multistream.new_conn(cast(ISecureConn, Wire()), PEER)
    assert type(made) is Yamux


@pytest.mark.trio
async def test_upstream_still_identifies_peers_where_a_failure_ends_the_process() -> None:
    async with plain() as server, plain() as client:
        spawned: list[str] = []
        original = trio.lowlevel.spawn_system_task

        def spy(function: object, *rest: object, **named: object) -> object:
            spawned.append(getattr(function, "__qualname__", str(function)))
            return original(function, *rest, **named)  # pyright: ignore[reportArgumentType]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trio.lowlevel, "spawn_system_task", spy)
            await client.dial(server)
        assert any("identify" in name for name in spawned), spawned


def test_upstream_still_logs_to_the_root_logger() -> None:
    from libp2p.network.connection import swarm_connection

    assert "logging.debug(" in inspect.getsource(swarm_connection)
    assert logging.getLogger("libp2p").propagate is False
