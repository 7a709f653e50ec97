"""Discovery in the local network, with the real library on loopback."""

import errno
from collections.abc import Sequence

import pytest
import trio

from demesh.identity import SwarmKey, peer_id
from demesh.mdns import LocalDiscovery, mark_of
from tests.log.builders import MESH, OTHER_MESH, public_key_of

_KEY = SwarmKey(b"k" * 32)
_LOOPBACK = ["127.0.0.1"]


class _Node:
    def __init__(self, name: str, *addresses: str) -> None:
        self.key = public_key_of(name)
        self.addresses = addresses
        self.seen: list[tuple[bytes, list[str]]] = []
        self.heard = trio.Event()

    def dialable(self) -> Sequence[str]:
        return self.addresses

    def found(self, key: bytes, addresses: Sequence[str]) -> None:
        self.seen.append((key, sorted(addresses)))
        self.heard.set()


def test_the_mark_gives_away_neither_key_nor_mesh_and_differs_where_either_does() -> None:
    mark = mark_of(_KEY, MESH)
    assert len({mark, mark_of(_KEY, OTHER_MESH), mark_of(SwarmKey(b"o" * 32), MESH)}) == 3
    assert _KEY.psk.hex() not in mark
    assert MESH.hex() not in mark


@pytest.mark.slow
@pytest.mark.trio
async def test_nodes_of_one_mesh_find_each_other_and_no_others_while_the_swarm_key_changes_too() -> None:
    ann = _Node("ann", "/ip4/192.0.2.1/tcp/8471", "/ip6/2001:db8::1/tcp/8471")
    ben, stranger = _Node("ben"), _Node("eve", "/ip4/192.0.2.9/tcp/8471")
    mark, other, newer = mark_of(_KEY, MESH), mark_of(_KEY, OTHER_MESH), mark_of(SwarmKey(b"n" * 32), MESH)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(LocalDiscovery(lambda: [other], _LOOPBACK).run, stranger)
            nursery.start_soon(LocalDiscovery(lambda: [mark], _LOOPBACK).run, ann)
            nursery.start_soon(LocalDiscovery(lambda: [newer, mark], _LOOPBACK).run, ben)
            await ben.heard.wait()
            nursery.cancel_scope.cancel()
    assert ben.seen[0] == (ann.key, ["/ip4/192.0.2.1/tcp/8471", "/ip6/2001:db8::1/tcp/8471"])
    assert peer_id(ann.key) != peer_id(stranger.key)
    assert {key for key, _ in ben.seen} == {ann.key}
    assert stranger.seen == []
    assert ann.seen == [], "one that only dials announces nothing"


@pytest.mark.trio
async def test_where_there_is_no_multicast_the_node_goes_on_without(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(**_: object) -> None:
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr("zeroconf.Zeroconf", none)
    with trio.fail_after(30):
        await LocalDiscovery(lambda: [mark_of(_KEY, MESH)]).run(_Node("ann", "/ip4/192.0.2.1/tcp/1"))
    assert "mDNS does not work here" in caplog.text
