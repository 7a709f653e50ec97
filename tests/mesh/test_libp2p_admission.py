"""Who is let in, and what is known of who is: on real loopback sockets."""

import pytest
import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.utils import encode_varint_prefixed
from multiaddr import Multiaddr

from demesh.errors import DialError, NetworkError
from tests.mesh.libp2p_harness import Node, eventually, mesh, refused

pytestmark = pytest.mark.trio


def _deny(node: Node, *others: Node) -> None:
    denied = {other.key for other in others}
    node.network.admit(lambda key: key not in denied)


async def test_a_peer_that_is_not_allowed_is_refused_once_its_key_is_proven() -> None:
    async with mesh() as nodes:
        ann, bob, cat = [await nodes.start(name) for name in ("ann", "bob", "cat")]
        _deny(ann, bob)
        before = refused("not_allowed")
        with pytest.raises(DialError):
            await bob.dial(ann)
        with pytest.raises(DialError, match="which this node's configuration does not let in"):
            await ann.dial(bob)
        await eventually(lambda: refused("not_allowed") >= before + 2)
        assert ann.handler.events == []
        assert ann.network.peers() == frozenset()
        await cat.dial(ann)
        await eventually(lambda: ann.network.peers() == frozenset({cat.key}))


async def test_who_is_denied_later_is_sent_away_and_let_in_again_when_it_is_not() -> None:
    async with mesh() as nodes:
        ann, bob = await nodes.start("ann"), await nodes.start("bob")
        await bob.dial(ann)
        await eventually(lambda: ann.network.peers() == frozenset({bob.key}))
        _deny(ann, bob)
        await eventually(lambda: not ann.network.peers() and not bob.network.peers())
        assert ann.handler.events == [("connected", bob.key), ("lost", bob.key)]
        _deny(ann)
        await bob.dial(ann)
        await eventually(lambda: ann.network.peers() == frozenset({bob.key}))


async def test_what_a_denied_peer_says_is_not_passed_on_by_others_way() -> None:
    """bob - cat - ann: ann has denied bob, cat has not."""
    async with mesh() as nodes:
        ann, bob, cat = [await nodes.start(name) for name in ("ann", "bob", "cat")]
        _deny(ann, bob)
        await ann.dial(cat)
        await bob.dial(cat)
        await ann.meshed(cat)
        await bob.meshed(cat)
        before = refused("not_allowed")
        await bob.network.broadcast(b"of bob")
        await cat.network.broadcast(b"of cat")
        assert await ann.handler.next_message() == (cat.key, b"of cat")
        await eventually(lambda: refused("not_allowed") > before)
        assert await cat.handler.next_message() == (bob.key, b"of bob")
        with pytest.raises(trio.WouldBlock):
            ann.handler.messages.receive_nowait()


async def test_links_tell_who_is_where_and_who_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demesh.mesh.libp2p.muxer._FIRST_PING_SECONDS", 60)
    async with mesh() as nodes:
        ann, bob = await nodes.start("ann"), await nodes.start("bob")
        assert ann.network.links() == []
        await bob.dial(ann)
        await eventually(lambda: len(ann.network.links()) == 1)
        (there,), (here,) = bob.network.links(), ann.network.links()
        assert (there.peer, there.host, there.port, there.outgoing) == (ann.key, "127.0.0.1", ann.port, True)
        assert (here.peer, here.host, here.outgoing) == (bob.key, "127.0.0.1", False)
        assert here.rtt_ms is None, "no ping has come back yet"


async def test_how_long_a_ping_took_is_told() -> None:
    async with mesh() as nodes:
        ann, bob = await nodes.start("ann"), await nodes.start("bob")
        await bob.dial(ann)
        await eventually(lambda: any(link.rtt_ms for link in bob.network.links()))
        (link,) = bob.network.links()
        assert link.rtt_ms is not None
        assert 0 < link.rtt_ms < 5_000


async def test_a_peer_says_where_it_sees_this_node_and_a_stranger_does_not() -> None:
    async with mesh() as nodes:
        ann, bob = await nodes.start("ann"), await nodes.start("bob", host=None)
        await bob.dial(ann)
        with trio.fail_after(8):
            assert await bob.network.seen_at(ann.key) == "127.0.0.1"
            await eventually(lambda: ann.network.peers() == frozenset({bob.key}))
            assert await ann.network.seen_at(bob.key) == "127.0.0.1"
            with pytest.raises(NetworkError):
                await bob.network.seen_at(bytes(32))


@pytest.mark.parametrize("address", ["/dns4/evil.example/tcp/1", "/ip6zone/eth0/ip6/2001:db8::1/tcp/1", "/tcp/1"])
async def test_a_peer_that_sees_this_node_at_no_ip_address_says_nothing(address: str) -> None:
    async def lie(stream: INetStream) -> None:
        said = Identify(observed_addr=Multiaddr(address).to_bytes()).SerializeToString()
        await stream.write(encode_varint_prefixed(said))
        await stream.close()

    async with mesh() as nodes:
        ann, bob = await nodes.start("ann"), await nodes.start("bob", host=None)
        ann.parts.host.set_stream_handler(TProtocol(IDENTIFY), lie)
        await bob.dial(ann)
        with trio.fail_after(8), pytest.raises(NetworkError, match="does not say"):
            await bob.network.seen_at(ann.key)


async def test_addresses_of_loopback_are_nothing_to_tell() -> None:
    async with mesh() as nodes:
        ann = await nodes.start("ann")
        assert ann.network.listen_addresses()
        assert ann.network.dialable_addresses() == []
