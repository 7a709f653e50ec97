"""Members of a mesh of whole nodes in memory: who is turned away, who leaves, who is found, and what of that is told."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trio
from trio.testing import MockClock

from demesh import limits
from demesh.config.load import Settings
from demesh.errors import DialError, UsageError
from demesh.identity import peer_id
from demesh.log.admission import Policy
from demesh.log.entry import Kind
from demesh.log.event import read_event
from demesh.mesh.memory import MemoryNetwork, MemorySwarm
from demesh.mesh.network import Handler
from demesh.view.presence import Presence
from tests.log.builders import counted
from tests.test_node import _check, _Member, _Mesh, _running

pytestmark = pytest.mark.trio
_HOUR, _MINUTE = 3_600, 60


class _Dialling(MemoryNetwork):
    """Listens at an address that follows from its key, unless it only dials. What is broadcast is passed on, as gossip is."""

    only_dials: ClassVar[set[bytes]] = set()

    def __init__(self, swarm: MemorySwarm, own: bytes) -> None:
        super().__init__(swarm, own)
        self.dialled: list[bytes] = []

    def listen_addresses(self) -> Sequence[str]:
        return [] if self._own in self.only_dials else [f"/ip4/{_host(self._own)}/tcp/8471"]

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
        waiting: list[_Dialling] = [self]
        while waiting:
            passing_on = waiting.pop(0)
            for peer in sorted(passing_on.peers() - reached):
                reached.add(peer)
                network = self._swarm.networks[peer]
                assert isinstance(network, _Dialling)
                network.deliver(passing_on._own, data)
                waiting.append(network)

    async def dial(self, host: str, port: int, expected: bytes | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        found = next((key for key in self._swarm.networks if _host(key) == host and key not in self.only_dials), None)
        if found is None or expected not in (None, found) or not self._swarm.networks[found]._handler:
            raise DialError(f"{host} does not answer.")
        self.dialled.append(found)
        self._swarm.connect(self._own, found)
        if found not in self.peers():
            raise DialError(f"{host} broke off.")
        return found


def _host(key: bytes) -> str:
    return f"10.{key[0]}.{key[1]}.{key[2]}"


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Mesh:
    monkeypatch.setattr("tests.test_node.MemoryNetwork", _Dialling)
    monkeypatch.setattr(_Dialling, "only_dials", set[bytes]())
    return _Mesh(tmp_path)


def _set_policy(member: _Member, policy: Policy) -> None:
    assert isinstance(member.configured, Settings)
    member.configured = replace(member.configured, policy=policy)


async def _go_over_to(member: _Member, policy: Policy) -> None:
    _set_policy(member, policy)
    await member.node.reload()


def _network(member: _Member) -> _Dialling:
    network = member._swarm.networks[member.key]
    assert isinstance(network, _Dialling)
    return network


def _told(member: _Member) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in member.node.members()}


def _shown(member: _Member) -> dict[str, str]:
    return {node["name"]: node["presence"] for node in member.node.status()["nodes"]}


def _vantages(member: _Member) -> set[str]:
    return {each["node"] for check in member.node.status()["checks"] for each in check["vantages"] if each["assigned"]}


async def test_a_member_that_is_denied_at_a_reload_counts_nowhere_and_comes_back_when_it_is_not(
    autojump_clock: MockClock, mesh: _Mesh
) -> None:
    ann, ben, cat = (mesh.member(owner, [_check(interval_ms=4_000)]) for owner in ("ann", "ben", "cat"))
    async with _running(ann, ben, cat):
        mesh.connect(ann, ben, cat)
        await trio.sleep(20)
        assert _vantages(ann) == {"ann", "ben", "cat"}
        before = counted("demesh_refused_total", room="chain", reason="denied")
        await _go_over_to(ann, Policy(denied=frozenset({cat.key})))
        held = ann.head_of(cat)
        assert _network(ann).peers() == {ben.key}
        assert set(_shown(ann)) == {"ann", "ben"}
        assert _vantages(ann) == {"ann", "ben"}
        await trio.sleep(120)
        assert ann.head_of(cat) == held >= 0, "what is stored stays, and nothing is added, whoever offers it"
        assert counted("demesh_refused_total", room="chain", reason="denied") > before
        assert ann.incidents() == []
        assert set(_told(ann)) == {"ann", "ben"}
        assert _vantages(ben) == {"ann", "ben", "cat"}
        await _go_over_to(ann, Policy())
        await trio.sleep(60)
        assert ann.head_of(cat) > held
        assert _vantages(ann) == {"ann", "ben", "cat"}


async def test_a_denied_members_log_is_not_offered_on(autojump_clock: MockClock, mesh: _Mesh) -> None:
    ann, ben, cat = (mesh.member(owner) for owner in ("ann", "ben", "cat"))
    _Dialling.only_dials.update((ann.key, ben.key, cat.key))
    async with _running(ann, ben, cat):
        mesh.connect(ann, cat)
        await trio.sleep(10)
        await _go_over_to(ann, Policy(denied=frozenset({cat.key})))
        mesh.connect(ann, ben)
        await trio.sleep(90)
        assert ben.head_of(ann) > 0
        assert ben.head_of(cat) == -1


async def test_who_is_not_listed_is_refused_from_the_start_though_others_relay_it(
    autojump_clock: MockClock, mesh: _Mesh
) -> None:
    ann, ben, cat = (mesh.member(owner) for owner in ("ann", "ben", "cat"))
    _set_policy(ann, Policy(members=frozenset({ben.key}), listed=True))
    before = counted("demesh_refused_total", room="chain", reason="not_listed")
    async with _running(ann, ben, cat):
        mesh.connect(ann, ben, cat)
        await trio.sleep(120)
        assert _network(ann).peers() == {ben.key}
        assert ann.head_of(cat) == -1
        assert ann.head_of(ben) > 0
        assert ben.head_of(cat) > 0
        assert counted("demesh_refused_total", room="chain", reason="not_listed") > before
        assert cat.key not in _network(ann).dialled


async def test_a_node_that_leaves_is_no_members_trouble(autojump_clock: MockClock, mesh: _Mesh) -> None:
    ann, ben = mesh.member("ann", [_check()]), mesh.member("ben", [_check()])
    async with _running(ann, seconds=2 * _HOUR):
        async with _running(ben):
            mesh.connect(ann, ben)
            await trio.sleep(10)
            ben.node.leave()
            await trio.sleep(1)
            assert set(_shown(ann)) == {"ann"}
        mesh.swarm.cut(ann.key, ben.key)
        await trio.sleep(20 * _MINUTE)
        assert ann.incidents() == []
        assert _vantages(ann) == {"ann"}
        assert _told(ann)["ben"]["presence"] == "left"
        async with _running(ben):
            mesh.connect(ann, ben)
            await trio.sleep(5)
            assert ann.presence_of(ben) == Presence.ALIVE
            assert _vantages(ann) == {"ann", "ben"}


async def test_forgetting_a_member_ends_its_incident_on_all_nodes_and_after_restarts(
    autojump_clock: MockClock, mesh: _Mesh
) -> None:
    ann, ben, cat = (mesh.member(owner, [_check()]) for owner in ("ann", "ben", "cat"))
    async with _running(ann, ben):
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(cat.run, stop)
            mesh.connect(ann, ben, cat)
            await trio.sleep(10)
            nursery.cancel_scope.cancel()  # as a power cut would
        for other in (ann, ben):
            mesh.swarm.cut(other.key, cat.key)
        await trio.sleep(60)
        assert ann.incidents() == ben.incidents() == [("DemeshNodeSilent", "cat")]
        await ann.node.forget("cat")
        await trio.sleep(5)
        for member in (ann, ben):
            assert member.incidents() == []
            assert set(_shown(member)) == {"ann", "ben"}
            assert _told(member)["cat"]["presence"] == "left"
        resolved = [alert for _, alerts, _ in ben.posts for alert in alerts if alert["labels"].get("node") == "cat"]
        assert resolved[-1].get("endsAt")
        event = read_event(next(each for each in ann.own_log() if each.kind == Kind.EVENT).payload)
        assert (event.type, event.subject) == ("forget", peer_id(cat.key))
        assert event.details["seq"] == str(ann.head_of(cat))
        await trio.sleep(10)  # so that the note is written
    async with _running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(120)
        assert ann.incidents() == ben.incidents() == []
        cat.marker = None
        async with _running(cat):
            mesh.connect(ann, ben, cat)
            await trio.sleep(10)
            assert _shown(ann) == {"ann": "alive", "ben": "alive", "cat": "alive"}


async def test_who_cannot_be_forgotten_is_said(autojump_clock: MockClock, mesh: _Mesh) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    async with _running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(5)
        for wanted, said in (
            ("ann", "node leave"),
            ("ben", "alive"),
            (peer_id(ben.key), "alive"),
            ("cat", "no member"),
        ):
            with pytest.raises(UsageError, match=said):
                await ann.node.forget(wanted)
        assert Kind.EVENT not in [entry.kind for entry in ann.own_log()]
        ben.node.leave()
        await trio.sleep(1)
        with pytest.raises(UsageError, match="left already"):
            await ann.node.forget("ben")


async def test_of_two_of_one_name_the_dead_one_is_forgotten_by_its_longer_name(
    autojump_clock: MockClock, mesh: _Mesh
) -> None:
    ann, old, new = (mesh.member(owner) for owner in ("ann", "old", "new"))
    for member in (old, new):
        assert isinstance(member.configured, Settings)
        member.configured = replace(member.configured, name="nas")
    async with _running(ann, new):
        async with _running(old):
            mesh.connect(ann, old, new)
            await trio.sleep(10)
            ends = [peer_id(each.key)[-6:] for each in (old, new)]
            for member in (ann, new):
                assert set(_shown(member)) == {"ann", f"nas~{ends[0]}", f"nas~{ends[1]}"}
        with pytest.raises(UsageError, match="more than one"):
            await ann.node.forget("nas")
        await ann.node.forget(f"nas~{ends[0]}")
        await trio.sleep(5)
        for member in (ann, new):
            assert set(_shown(member)) == {"ann", "nas"}


async def test_a_dead_member_leaves_after_its_time_though_the_node_is_restarted_meanwhile(
    autojump_clock: MockClock, mesh: _Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LEFT_AFTER_MS", 40 * _MINUTE * 1_000)  # a week in seconds would take minutes
    ann, ben = mesh.member("ann", flush_seconds=300), mesh.member("ben")
    async with _running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(10)
    mesh.swarm.networks[ann.key].part(ben.key)
    async with _running(ann, seconds=9 * _HOUR):
        await trio.sleep(35 * _MINUTE)  # ten of them away, as its bye said
        assert ann.presence_of(ben) == Presence.SILENT
    async with _running(ann, seconds=9 * _HOUR):
        await trio.sleep(25 * _MINUTE)
        assert ann.presence_of(ben) == Presence.SILENT
        await trio.sleep(10 * _MINUTE)
        assert ann.presence_of(ben) == Presence.LEFT
        assert ann.incidents() == []
    async with _running(ann):
        await trio.sleep(60)
        assert ann.presence_of(ben) == Presence.LEFT


async def test_one_peer_is_enough_to_join_and_any_is_enough_to_stay(autojump_clock: MockClock, mesh: _Mesh) -> None:
    ann, ben, cat, dan = (mesh.member(owner) for owner in ("ann", "ben", "cat", "dan"))
    everyone = (ann, ben, cat, dan)
    async with _running(*everyone):
        for other in (ben, cat, dan):
            mesh.swarm.connect(ann.key, other.key)
        await trio.sleep(60)
        for member in everyone:
            assert _network(member).peers() == {each.key for each in everyone} - {member.key}
        for other in (ben, cat, dan):
            mesh.swarm.cut(ann.key, other.key)
        await trio.sleep(60)
        assert _network(ann).peers() == {ben.key, cat.key, dan.key}
        assert set(_shown(dan).values()) == {"alive"}


async def test_nodes_that_can_only_dial_take_full_part(autojump_clock: MockClock, mesh: _Mesh) -> None:
    hub, ann, ben = (mesh.member(owner, [_check(interval_ms=4_000)]) for owner in ("hub", "ann", "ben"))
    _Dialling.only_dials.update((ann.key, ben.key))
    async with _running(hub, ann, ben):
        for behind in (ann, ben):
            await _network(behind).dial(_host(hub.key), 8471)
        await trio.sleep(90)
        assert ben.key not in _network(ann).peers()
        for member in (hub, ann, ben):
            assert _shown(member) == {"hub": "alive", "ann": "alive", "ben": "alive"}
            assert _vantages(member) == {"hub", "ann", "ben"}
        assert _told(ben)["ann"]["addresses"] == []
        mesh.swarm.cut(hub.key, ann.key)
        await trio.sleep(60)
        assert hub.key in _network(ann).peers(), "it dials again what it knows from the hello"


async def test_who_has_left_is_not_dialled(autojump_clock: MockClock, mesh: _Mesh) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    async with _running(ann, ben, seconds=2_000):
        mesh.connect(ann, ben)
        await trio.sleep(10)
        ben.node.leave()
        await trio.sleep(2)
        mesh.swarm.cut(ann.key, ben.key)
        _network(ann).dialled.clear()
        await trio.sleep(600)
        assert _network(ann).dialled == []


async def test_members_are_told_with_their_clocks_heads_and_connections(
    autojump_clock: MockClock, mesh: _Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    ben._clock.ahead_ms = 90_000
    async with _running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(10)
        told = _told(ann)
        assert told["ann"]["self"]
        assert told["ann"]["clock_skew_ms"] is None
        assert abs(told["ben"]["clock_skew_ms"] - 90_000) < 1_500
        assert told["ben"]["connected"]
        assert told["ben"]["head_seq"] == ann.head_of(ben)
        assert told["ben"]["lag_entries"] == 0
        address = told["ben"]["address"]
        mesh.swarm.cut(ann.key, ben.key)
        assert not _told(ann)["ben"]["connected"]
        assert _told(ann)["ben"]["address"] == address, "where it was last"


async def test_what_peers_see_is_told_but_not_too_often(autojump_clock: MockClock, mesh: _Mesh) -> None:
    ann, ben, cat = (mesh.member(owner) for owner in ("ann", "ben", "cat"))
    seen = {ben.key: "192.0.2.9", cat.key: "192.0.2.9"}

    async def seen_at(peer: bytes) -> str:
        await trio.lowlevel.checkpoint()
        return seen[peer]

    async with _running(ann, ben, cat):
        mesh.connect(ann, ben, cat)
        _network(ann).seen_at = seen_at
        await trio.sleep(limits.ADDRESSES_LOOK_SECONDS + 5)
        assert "/ip4/192.0.2.9/tcp/8471" in _told(ben)["ann"]["addresses"]
        hellos = sum(entry.kind == Kind.HELLO for entry in ann.own_log())
        assert hellos == 2
        chance = random.Random(1)
        for _ in range(8):
            for key in seen:
                seen[key] = f"192.0.2.{chance.randrange(200)}"
            ann.node._membership._sightings.keep([])
            await trio.sleep(limits.ADDRESSES_LOOK_SECONDS)
        assert sum(entry.kind == Kind.HELLO for entry in ann.own_log()) == 2
