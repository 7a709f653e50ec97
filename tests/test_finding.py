"""How members of a mesh of whole nodes in memory find each other, and where they tell that they can be found."""

import random

import pytest
import trio
from trio.testing import MockClock

from demesh import limits
from demesh.log.admission import Policy
from demesh.log.entry import Kind
from demesh.view.presence import Presence
from tests.cluster import Mesh, running, web_check
from tests.dialling import (
    DiallingNetwork,
    dialling_mesh,
    host_of_key,
    network_of,
    set_policy,
    shown_by,
    told_by,
    vantages_of,
)

pytestmark = pytest.mark.trio
mesh = dialling_mesh


async def test_one_peer_is_enough_to_join_and_any_is_enough_to_stay(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben, cat, dan = (mesh.member(owner) for owner in ("ann", "ben", "cat", "dan"))
    everyone = (ann, ben, cat, dan)
    async with running(*everyone):
        for other in (ben, cat, dan):
            mesh.swarm.connect(ann.key, other.key)
        await trio.sleep(60)
        for member in everyone:
            assert network_of(member).peers() == {each.key for each in everyone} - {member.key}
        for other in (ben, cat, dan):
            mesh.swarm.cut(ann.key, other.key)
        await trio.sleep(60)
        assert network_of(ann).peers() == {ben.key, cat.key, dan.key}
        assert set(shown_by(dan).values()) == {"alive"}


async def test_nodes_that_can_only_dial_take_full_part(autojump_clock: MockClock, mesh: Mesh) -> None:
    hub, ann, ben = (mesh.member(owner, [web_check(interval_ms=4_000)]) for owner in ("hub", "ann", "ben"))
    DiallingNetwork.only_dials.update((ann.key, ben.key))
    async with running(hub, ann, ben):
        for behind in (ann, ben):
            await network_of(behind).dial(host_of_key(hub.key), 8471)
        await trio.sleep(90)
        assert ben.key not in network_of(ann).peers()
        for member in (hub, ann, ben):
            assert shown_by(member) == {"hub": "alive", "ann": "alive", "ben": "alive"}
            assert vantages_of(member) == {"hub", "ann", "ben"}
        assert told_by(ben)["ann"]["addresses"] == []
        mesh.swarm.cut(hub.key, ann.key)
        await trio.sleep(60)
        assert hub.key in network_of(ann).peers(), "it dials again what it knows from the hello"


async def test_who_has_left_is_not_dialled(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    async with running(ann, ben, seconds=2_000):
        mesh.connect(ann, ben)
        await trio.sleep(10)
        ben.node.leave()
        await trio.sleep(2)
        mesh.swarm.cut(ann.key, ben.key)
        network_of(ann).dialled.clear()
        ann.node.found(ben.key, [f"/ip4/{host_of_key(ben.key)}/tcp/8471"])
        await trio.sleep(600)
        assert network_of(ann).dialled == []


async def test_who_is_found_in_the_local_network_is_dialled_unless_it_is_denied(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    ann, ben, cat = (mesh.member(owner) for owner in ("ann", "ben", "cat"))
    set_policy(ann, Policy(denied=frozenset({cat.key})))
    async with running(ann, ben, cat):
        for other in (ben, cat):
            ann.node.found(other.key, [f"/ip4/{host_of_key(other.key)}/tcp/8471"])
        ann.node.found(ann.key, [f"/ip4/{host_of_key(ann.key)}/tcp/8471"])
        await trio.sleep(60)
        assert network_of(ann).dialled == [ben.key]
        assert ann.presence_of(ben) == Presence.ALIVE


async def test_members_are_told_with_their_clocks_heads_and_connections(
    autojump_clock: MockClock, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    ben._clock.ahead_ms = 90_000
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(10)
        told = told_by(ann)
        assert told["ann"]["self"]
        assert told["ann"]["clock_skew_ms"] is None
        assert abs(told["ben"]["clock_skew_ms"] - 90_000) < 1_500
        assert told["ben"]["connected"]
        assert told["ben"]["head_seq"] == ann.head_of(ben)
        assert told["ben"]["lag_entries"] == 0
        address = told["ben"]["address"]
        mesh.swarm.cut(ann.key, ben.key)
        assert not told_by(ann)["ben"]["connected"]
        assert told_by(ann)["ben"]["address"] == address, "where it was last"


async def test_what_peers_see_is_told_but_not_too_often(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben, cat = (mesh.member(owner) for owner in ("ann", "ben", "cat"))
    seen = {ben.key: "192.0.2.9", cat.key: "192.0.2.9"}

    async def seen_at(peer: bytes) -> str:
        await trio.lowlevel.checkpoint()
        return seen[peer]

    async with running(ann, ben, cat):
        mesh.connect(ann, ben, cat)
        network_of(ann).seen_at = seen_at
        await trio.sleep(limits.ADDRESSES_LOOK_SECONDS + 5)
        assert "/ip4/192.0.2.9/tcp/8471" in told_by(ben)["ann"]["addresses"]
        hellos = sum(entry.kind == Kind.HELLO for entry in ann.own_log())
        assert hellos == 2
        chance = random.Random(1)
        for _ in range(8):
            for key in seen:
                seen[key] = f"192.0.2.{chance.randrange(200)}"
            ann.node._membership._sightings.keep([])
            await trio.sleep(limits.ADDRESSES_LOOK_SECONDS)
        assert sum(entry.kind == Kind.HELLO for entry in ann.own_log()) == 2
