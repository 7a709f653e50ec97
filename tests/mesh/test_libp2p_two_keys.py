"""While the swarm key changes a node talks to those who have either key, and afterwards to those who have the new one."""

import os

import pytest
import trio

from demesh.errors import DialError
from demesh.identity import SwarmKey
from demesh.mesh.libp2p.psk import GREETING, NONCE_BYTES, xsalsa20
from tests.mesh.libp2p_harness import KEY, OTHER_KEY, SECONDS, Mesh, eventually, mesh

NEW = SwarmKey(b"n" * 32)


async def _changing(m: Mesh):
    return await m.start("changing", (NEW, KEY))


@pytest.mark.trio
async def test_during_a_change_a_node_accepts_either_key_and_no_other() -> None:
    async with mesh() as m:
        a = await _changing(m)
        old, new, other = await m.start("old", KEY), await m.start("new", NEW), await m.start("other", OTHER_KEY)
        assert await old.dial(a) == await new.dial(a) == a.key
        with pytest.raises(DialError) as refused:
            await other.dial(a)
        assert refused.value.wrong_swarm_key
        await eventually(lambda: a.network.peers() == frozenset({old.key, new.key}))
        await old.meshed(a)
        await new.meshed(a)
        await old.network.broadcast(b"to all")
        assert (await new.handler.next_message())[1] == b"to all"


@pytest.mark.trio
async def test_during_a_change_a_node_dials_whoever_has_either_key() -> None:
    async with mesh() as m:
        a = await _changing(m)
        old, new, other = await m.start("old", KEY), await m.start("new", NEW), await m.start("other", OTHER_KEY)
        assert await a.dial(old) == old.key
        assert await a.dial(new) == new.key
        with pytest.raises(DialError, match=f"not with our swarm key .fingerprint {NEW.fingerprint}") as refused:
            await a.dial(other)
        assert "`demesh invite`" in str(refused.value)


@pytest.mark.trio
@pytest.mark.parametrize("old_dials", [True, False])
async def test_after_a_change_the_connections_with_the_old_key_are_closed_and_the_others_stay(old_dials: bool) -> None:
    async with mesh() as m:
        a = await _changing(m)
        old, new = await m.start("old", KEY), await m.start("new", NEW)
        await (old.dial(a) if old_dials else a.dial(old))
        await new.dial(a)
        await eventually(lambda: len(a.network.peers()) == 2)
        await a.network.use_swarm_keys([NEW])
        await eventually(lambda: a.network.peers() == frozenset({new.key}) and not old.network.peers())
        with pytest.raises(DialError):
            await old.dial(a)
        with pytest.raises(DialError):
            await a.dial(old)
        assert ("lost", a.key) not in new.handler.events


@pytest.mark.trio
async def test_a_far_end_that_waits_for_the_nonce_gets_it() -> None:
    # As js-libp2p does: both nonces are exchanged before anything else is said.
    async with mesh() as m:
        a = await _changing(m)
        with trio.fail_after(SECONDS):
            async with await trio.open_tcp_stream("127.0.0.1", a.port) as raw:
                theirs = await _exactly(raw, NONCE_BYTES)
                ours = os.urandom(NONCE_BYTES)
                await raw.send_all(ours)
                for byte in xsalsa20(KEY.psk, ours).encrypt(GREETING):
                    await raw.send_all(bytes([byte]))
                said = await _exactly(raw, len(GREETING))
        assert xsalsa20(KEY.psk, theirs).decrypt(said) == GREETING


async def _exactly(stream: trio.SocketStream, count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = await stream.receive_some(count - len(found))
        assert piece
        found += piece
    return found
