"""Nodes of one swarm key talk; others are told why not."""

import logging
import os
import socket
import threading
import time
from functools import partial

import libp2p
import pytest
import trio
from libp2p.abc import IMuxedStream, INetConn
from libp2p.network.stream.net_stream import NetStream
from libp2p.network.swarm import Swarm
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.stream_muxer.yamux.yamux import Yamux, YamuxStream
from multiaddr import Multiaddr

from demesh import limits
from demesh.errors import DialError, NetworkError
from demesh.identity import peer_id
from demesh.mesh.libp2p.host import Libp2pNetwork
from demesh.mesh.libp2p.stream import PeerStream
from demesh.mesh.network import PROTOCOLS, Stream
from tests.mesh.libp2p_harness import KEY, OTHER_KEY, SECONDS, TOPIC, Recorder, eventually, mesh, refused, seed_of


@pytest.mark.trio
async def test_a_message_reaches_the_other_node_and_names_its_forwarder() -> None:
    async with mesh() as m:
        a, b = await m.start("a"), await m.start("b")
        assert await b.dial(a) == a.key
        await a.meshed(b)
        await b.network.broadcast(b"from b")
        assert await a.handler.next_message() == (b.key, b"from b")
        await a.network.broadcast(b"from a")
        assert await b.handler.next_message() == (a.key, b"from a")


@pytest.mark.trio
async def test_the_last_words_of_a_stopping_node_are_heard() -> None:
    async with mesh() as m:
        a, b = await m.start("a"), await m.start("b")
        await b.dial(a)
        await a.meshed(b)
        for n in range(5):
            await b.network.broadcast(b"%d" % n + bytes(60_000))
        await b.stop()
        heard = {(await a.handler.next_message())[1][:1] for _ in range(5)}
        assert heard == {b"0", b"1", b"2", b"3", b"4"}


@pytest.mark.trio
async def test_own_messages_do_not_come_back() -> None:
    async with mesh() as m:
        a, b, c = await m.start("a"), await m.start("b"), await m.start("c")
        for one, other in ((a, b), (b, c), (c, a)):
            await one.dial(other)
            await one.meshed(other)
        await a.network.broadcast(b"round the triangle")
        for node in (b, c):
            assert (await node.handler.next_message())[1] == b"round the triangle"
        # What b says next comes after whatever of a's message could have come back.
        await b.network.broadcast(b"next")
        assert (await a.handler.next_message())[1] == b"next"
        assert (await c.handler.next_message())[1] == b"next"
        for node in (a, b, c):
            assert node.handler.messages.statistics().current_buffer_used == 0


@pytest.mark.trio
async def test_the_longest_message_passes_and_a_longer_one_is_refused_on_both_sides() -> None:
    async with mesh() as m:
        a, b = await m.start("a"), await m.start("b")
        await b.dial(a)
        await a.meshed(b)
        longest = bytes(limits.GOSSIP_MESSAGE_BYTES_MAX)
        await b.network.broadcast(longest)
        assert (await a.handler.next_message())[1] == longest
        with pytest.raises(NetworkError, match="too long"):
            await b.network.broadcast(longest + b"x")
        before = refused("oversize_message")
        await b.parts.pubsub.publish(TOPIC, longest + b"x")
        await eventually(lambda: refused("oversize_message") > before)
        await b.network.broadcast(b"ok")
        assert (await a.handler.next_message())[1] == b"ok"


@pytest.mark.trio
async def test_a_stream_carries_a_megabyte_there_and_back() -> None:
    async with mesh() as m:
        a, b = await m.start("a"), await m.start("b")
        await b.dial(a)
        stream = await b.network.open_stream(a.key)
        assert stream.peer == a.key
        data = bytes(range(256)) * 4096
        back = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send, data)
            with trio.fail_after(SECONDS):
                while len(back) < len(data):
                    back += await stream.receive()
        assert back == data
        await stream.close()
        # The echo ends, both sides are closed, and nothing of the stream is left.
        [connection] = b.parts.swarm.get_connections()
        await eventually(lambda: _muxed(stream) not in _open_streams(connection))


class Naming(Recorder):
    """Says which protocol a stream speaks."""

    async def stream(self, stream: Stream) -> None:
        await stream.send(stream.protocol.encode())
        await stream.close()


@pytest.mark.trio
async def test_each_stream_speaks_the_protocol_that_it_was_opened_for() -> None:
    async with mesh() as m:
        a, b = await m.start("a", handler=Naming()), await m.start("b")
        await b.dial(a)
        for protocol in PROTOCOLS:
            stream = await b.network.open_stream(a.key, protocol)
            assert stream.protocol == protocol
            with trio.fail_after(SECONDS):
                assert await stream.receive() == protocol.encode()
            await stream.close()
        with trio.fail_after(SECONDS), pytest.raises(NetworkError):
            await b.network.open_stream(a.key, "/demesh/later/1")


class Waiting(Recorder):
    """Takes streams and does not read them until told to; reports how they end."""

    def __init__(self) -> None:
        super().__init__()
        self.go = trio.Event()
        self.taken = trio.Event()
        self.end: list[object] = []

    async def stream(self, stream: Stream) -> None:
        self.taken.set()
        await self.go.wait()
        try:
            while await stream.receive():
                pass
            self.end.append("closed")
        except NetworkError:
            self.end.append("broken")


@pytest.mark.trio
async def test_a_cancelled_sender_is_seen_as_a_broken_stream_and_the_connection_lives() -> None:
    async with mesh() as m:
        handler = Waiting()
        a, b = await m.start("a", handler=handler), await m.start("b")
        await b.dial(a)
        stream = await b.network.open_stream(a.key)
        with trio.move_on_after(0.2) as scope:  # more than the largest window: it blocks until cancelled
            await stream.send(bytes(20_000_000))
        assert scope.cancelled_caught
        handler.go.set()
        await eventually(lambda: handler.end == ["broken"])
        handler.end.clear()
        stream = await b.network.open_stream(a.key)
        await stream.send(b"x")
        await stream.close()
        await eventually(lambda: handler.end == ["closed"])


@pytest.mark.trio
async def test_a_lost_connection_is_not_taken_for_the_end_of_a_stream() -> None:
    async with mesh() as m:
        handler = Waiting()
        a, b = await m.start("a", handler=handler), await m.start("b")
        await b.dial(a)
        stream = await b.network.open_stream(a.key)
        await stream.send(b"x")
        with trio.fail_after(SECONDS):
            await handler.taken.wait()
        async with trio.open_nursery() as nursery:

            async def expect_the_break() -> None:
                with trio.fail_after(SECONDS), pytest.raises(NetworkError, match="broke"):
                    await stream.receive()

            nursery.start_soon(expect_the_break)
            await trio.testing.wait_all_tasks_blocked()
            await a.stop()
        with pytest.raises(NetworkError, match="broke"):
            await stream.receive()
        await stream.close()


@pytest.mark.trio
async def test_a_closed_stream_does_not_linger_although_the_peer_never_closes_it(monkeypatch) -> None:
    monkeypatch.setattr(limits, "STREAM_LINGER_SECONDS_MAX", 0.1)
    async with mesh() as m:
        a, b = await m.start("a", handler=Waiting()), await m.start("b")
        await b.dial(a)
        stream = await b.network.open_stream(a.key)
        [connection] = b.parts.swarm.get_connections()
        assert _muxed(stream) in _open_streams(connection)
        await stream.close()
        await eventually(lambda: _muxed(stream) not in _open_streams(connection))


def _muxed(stream: Stream) -> IMuxedStream:
    assert isinstance(stream, PeerStream)
    assert isinstance(stream._stream, NetStream)
    return stream._stream.muxed_stream


def _open_streams(connection: INetConn) -> list[YamuxStream]:
    assert isinstance(connection.muxed_conn, Yamux)
    return list(connection.muxed_conn.streams.values())


@pytest.mark.trio
async def test_a_stopped_node_leaves_nothing_behind() -> None:
    async with mesh() as m:
        a = await m.start("a")
        before, threads = (_files(), _trio_tasks()), set(threading.enumerate())
        b = await m.start("b")
        await b.dial(a)
        await b.meshed(a)
        stream = await a.network.open_stream(b.key)
        await stream.send(b"x")
        await b.stop()
        await eventually(lambda: not a.network.peers())
        await eventually(lambda: (_files(), _trio_tasks()) == before)
        await eventually(lambda: set(threading.enumerate()) <= threads)


def _files() -> int:
    return len(os.listdir("/proc/self/fd"))


def _trio_tasks() -> int:
    def below(task: trio.lowlevel.Task) -> int:
        return 1 + sum(below(child) for nursery in task.child_nurseries for child in nursery.child_tasks)

    root = trio.lowlevel.current_root_task()
    assert root
    return below(root)


@pytest.mark.trio
async def test_connected_and_lost_are_told_once_each() -> None:
    async with mesh() as m:
        a, b = await m.start("a"), await m.start("b")
        async with trio.open_nursery() as nursery:  # two dials that cross
            nursery.start_soon(a.dial, b)
            nursery.start_soon(b.dial, a)
        assert await a.dial(b) == b.key
        assert sorted(a.network.peers()) == [b.key]
        await eventually(lambda: a.key in b.network.peers())
        await b.stop()
        await eventually(lambda: not a.network.peers())
        assert a.handler.events == [("connected", b.key), ("lost", b.key)]
        assert b.handler.events == [("connected", a.key), ("lost", a.key)]
        with pytest.raises(NetworkError):
            await a.network.open_stream(b.key)


@pytest.mark.trio
async def test_another_swarm_key_is_named_at_once() -> None:
    async with mesh() as m:
        a, stranger = await m.start("a"), await m.start("s", OTHER_KEY)
        started = time.monotonic()
        with pytest.raises(DialError) as caught:
            await stranger.dial(a)
        assert time.monotonic() - started < limits.PEER_UPGRADE_SECONDS_MAX
        assert str(caught.value) == (
            f"127.0.0.1:{a.port} answers, but not with our swarm key (fingerprint {OTHER_KEY.fingerprint}). If the mesh "
            "has another one now, let a member make a `demesh invite` and give it to `demesh join` here."
        )
        assert caught.value.wrong_swarm_key
        await eventually(lambda: a.network.usage().inbound_slots == 0)
        assert a.handler.events == []


@pytest.mark.trio
async def test_who_is_too_slow_to_greet_is_not_said_to_have_another_swarm_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PEER_UPGRADE_SECONDS_MAX", 0.2)

    async def begin_to_greet(stream: trio.SocketStream) -> None:
        await stream.send_all(bytes(24))
        await trio.sleep_forever()

    async with mesh() as m:
        a = await m.start("a", host=None)
        [listener] = await m.nursery.start(partial(trio.serve_tcp, begin_to_greet, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        with pytest.raises(DialError, match="did not greet within"), trio.fail_after(SECONDS):
            await a.network.dial("127.0.0.1", port)


@pytest.mark.trio
async def test_a_node_without_a_swarm_key_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PEER_UPGRADE_SECONDS_MAX", 1)
    async with mesh() as m:
        a = await m.start("a")
        with trio.fail_after(SECONDS):
            async with await trio.open_tcp_stream("127.0.0.1", a.port) as plain:
                await plain.send_all(b"\x13/multistream/1.0.0\n\x07/noise\n")
                heard = b"".join([piece async for piece in plain])
        assert b"multistream" not in heard
        host = libp2p.new_host()
        network = host.get_network()
        assert isinstance(network, Swarm)
        network.retry_config.max_retries = 0
        async with host.run(listen_addrs=[]):
            with pytest.raises(Exception, match="unable to connect"), trio.fail_after(SECONDS):
                await host.connect(info_from_p2p_addr(Multiaddr(f"/ip4/127.0.0.1/tcp/{a.port}/p2p/{peer_id(a.key)}")))
            await host.close()
        assert a.handler.events == []


@pytest.mark.trio
async def test_every_failed_dial_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sentence(host: str, port: int, expected: bytes | None = None) -> str:
        with pytest.raises(DialError) as caught, trio.fail_after(SECONDS):
            await b.network.dial(host, port, expected)
        assert not caught.value.wrong_swarm_key
        return str(caught.value)

    async with mesh() as m:
        a, b = await m.start("a"), await m.start("b")
        with socket.socket() as closed, socket.socket() as silent:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
            assert (
                await sentence("127.0.0.1", port) == f"127.0.0.1:{port} refused the connection: nothing listens there."
            )
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            port = silent.getsockname()[1]
            with monkeypatch.context() as patched:
                patched.setattr(limits, "PEER_UPGRADE_SECONDS_MAX", 0.2)
                told = await sentence("127.0.0.1", port)
            assert told.startswith(f"127.0.0.1:{port} accepts connections but did not greet")
        assert await sentence("127.0.0.1", b.port) == f"127.0.0.1:{b.port} is this node itself."
        assert await sentence("127.0.0.1", a.port, expected=bytes(32)) == (
            f"127.0.0.1:{a.port} is the node {peer_id(a.key)}, not {peer_id(bytes(32))} as expected."
        )
        assert await sentence("not-an-ip", 1) == "not-an-ip:1 cannot be dialled: not-an-ip is not an IP address."
        assert a.network.peers() == b.network.peers() == frozenset()


@pytest.mark.trio
async def test_ipv6_works() -> None:
    async with mesh() as m:
        a, b = await m.start("a", host="::1"), await m.start("b", host=None)
        assert a.network.listen_addresses() == [f"/ip6/::1/tcp/{a.port}"]
        assert await b.dial(a, "::1") == a.key
        await a.meshed(b)
        await b.network.broadcast(b"six")
        assert await a.handler.next_message() == (b.key, b"six")


@pytest.mark.trio
async def test_a_busy_port_is_named_with_the_remedy() -> None:
    async with mesh() as m:
        a = await m.start("a")
        second = Libp2pNetwork(seed_of("b"), KEY, TOPIC, [("127.0.0.1", a.port)])
        taken = rf"127\.0\.0\.1:{a.port} is taken .*--listen"
        with trio.fail_after(SECONDS), pytest.raises(NetworkError, match=taken):
            await second.run(Recorder())


@pytest.mark.trio
async def test_a_port_is_free_again_at_once() -> None:
    async with mesh() as m:
        a, b = await m.start("a"), await m.start("b")
        await b.dial(a)
        port = a.port
        await a.stop()
        again = Libp2pNetwork(seed_of("a"), KEY, TOPIC, [("127.0.0.1", port)])
        with trio.fail_after(SECONDS):
            await m.nursery.start(again.run, Recorder())
            assert await b.network.dial("127.0.0.1", port, a.key) == a.key


@pytest.mark.trio
async def test_nothing_of_the_library_reaches_the_terminal(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (None, "libp2p"):  # as in a program without logging set up; pytest has handlers of its own here
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
    async with mesh() as m:
        a, b, stranger = await m.start("a"), await m.start("b"), await m.start("s", OTHER_KEY)
        for dialler, port in ((stranger, a.port), (b, 1)):
            with pytest.raises(DialError):
                await dialler.network.dial("127.0.0.1", port)
        await b.dial(a)
        logging.getLogger("libp2p.network").error("one line\nanother")
        await a.stop()
        await eventually(lambda: not b.network.peers())
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
