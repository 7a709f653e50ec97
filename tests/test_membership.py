"""Members of a mesh of whole nodes in memory: who is turned away, who leaves, and what of that is told."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from demesh import limits
from demesh.cli.running import _trusted
from demesh.config.load import Settings
from demesh.errors import UsageError
from demesh.identity import peer_id
from demesh.log.admission import Policy
from demesh.log.entry import Kind
from demesh.log.event import read_event
from demesh.view.presence import Presence
from tests.cluster import Mesh, running, web_check
from tests.dialling import (
    DiallingNetwork,
    dialling_mesh,
    go_over_to,
    network_of,
    set_policy,
    shown_by,
    told_by,
    vantages_of,
)
from tests.log.builders import counted

pytestmark = pytest.mark.trio
mesh = dialling_mesh
_HOUR, _MINUTE = 3_600, 60


async def test_a_member_that_is_denied_at_a_reload_counts_nowhere_and_comes_back_when_it_is_not(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    ann, ben, cat = (mesh.member(owner, [web_check(interval_ms=4_000)]) for owner in ("ann", "ben", "cat"))
    async with running(ann, ben, cat):
        mesh.connect(ann, ben, cat)
        await trio.sleep(20)
        assert vantages_of(ann) == {"ann", "ben", "cat"}
        before = counted("demesh_refused_total", room="chain", reason="denied")
        await go_over_to(ann, Policy(denied=frozenset({cat.key})))
        held = ann.head_of(cat)
        assert network_of(ann).peers() == {ben.key}
        assert set(shown_by(ann)) == {"ann", "ben"}
        assert vantages_of(ann) == {"ann", "ben"}
        await trio.sleep(120)
        assert ann.head_of(cat) == held >= 0, "what is stored stays, and nothing is added, whoever offers it"
        assert counted("demesh_refused_total", room="chain", reason="denied") > before
        assert ann.incidents() == []
        assert set(told_by(ann)) == {"ann", "ben"}
        assert vantages_of(ben) == {"ann", "ben", "cat"}
        await go_over_to(ann, Policy())
        await trio.sleep(60)
        assert ann.head_of(cat) > held
        assert vantages_of(ann) == {"ann", "ben", "cat"}


async def test_a_denied_members_log_is_not_offered_on(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben, cat = (mesh.member(owner) for owner in ("ann", "ben", "cat"))
    DiallingNetwork.only_dials.update((ann.key, ben.key, cat.key))
    async with running(ann, ben, cat):
        mesh.connect(ann, cat)
        await trio.sleep(10)
        await go_over_to(ann, Policy(denied=frozenset({cat.key})))
        mesh.connect(ann, ben)
        await trio.sleep(90)
        assert ben.head_of(ann) > 0
        assert ben.head_of(cat) == -1


async def test_who_is_not_listed_is_refused_from_the_start_though_others_relay_it(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    ann, ben, cat = (mesh.member(owner) for owner in ("ann", "ben", "cat"))
    set_policy(ann, Policy(members=frozenset({ben.key}), listed=True))
    before = counted("demesh_refused_total", room="chain", reason="not_listed")
    async with running(ann, ben, cat):
        mesh.connect(ann, ben, cat)
        await trio.sleep(120)
        assert network_of(ann).peers() == {ben.key}
        assert ann.head_of(cat) == -1
        assert ann.head_of(ben) > 0
        assert ben.head_of(cat) > 0
        assert counted("demesh_refused_total", room="chain", reason="not_listed") > before
        assert cat.key not in network_of(ann).dialled


async def test_a_log_that_is_not_let_in_is_not_asked_for_again(autojump_clock: MockClock, tmp_path: Path) -> None:
    mesh = Mesh(tmp_path)
    mesh.swarm.lossy = True
    ann, ben, cat = (mesh.member(owner) for owner in ("ann", "ben", "cat"))
    set_policy(ann, Policy(denied=frozenset({cat.key})))
    before = counted("demesh_refused_total", room="chain", reason="denied")
    async with running(ann, ben, cat):
        mesh.connect(ann, ben, cat)
        await trio.sleep(5 * _MINUTE)
        assert ben.head_of(cat) > 0
        assert ann.head_of(ben) > 0
        assert counted("demesh_refused_total", room="chain", reason="denied") == before + 1


async def test_a_new_swarm_key_is_for_members_that_are_let_in_and_have_not_left(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    ann, ben, cat, dan, eve = (mesh.member(owner) for owner in ("ann", "ben", "cat", "dan", "eve"))
    async with running(ann, ben, seconds=2 * _HOUR):
        async with running(cat, dan, eve):
            mesh.connect(ann, ben, cat, dan, eve)
            await trio.sleep(10)
            assert _trusted(ann.node) == {each.key for each in (ann, ben, cat, dan, eve)}
            cat.node.leave()
            await trio.sleep(1)
        await trio.sleep(10 * _MINUTE)
        await ben.node.forget("dan")
        await go_over_to(ann, Policy(denied=frozenset({eve.key})))
        await trio.sleep(1)
        assert _trusted(ann.node) == {ann.key, ben.key}
        await go_over_to(ann, Policy(members=frozenset({eve.key}), listed=True))
        assert _trusted(ann.node) == {ann.key, eve.key}


async def test_a_node_that_leaves_is_no_members_trouble(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = mesh.member("ann", [web_check()]), mesh.member("ben", [web_check()])
    async with running(ann, seconds=2 * _HOUR):
        async with running(ben):
            mesh.connect(ann, ben)
            await trio.sleep(10)
            ben.node.leave()
            await trio.sleep(1)
            assert set(shown_by(ann)) == {"ann"}
        mesh.swarm.cut(ann.key, ben.key)
        await trio.sleep(20 * _MINUTE)
        assert ann.incidents() == []
        assert vantages_of(ann) == {"ann"}
        assert told_by(ann)["ben"]["presence"] == "left"
        async with running(ben):
            mesh.connect(ann, ben)
            await trio.sleep(5)
            assert ann.presence_of(ben) == Presence.ALIVE
            assert vantages_of(ann) == {"ann", "ben"}


async def test_forgetting_a_member_ends_its_incident_on_all_nodes_and_after_restarts(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    ann, ben, cat = (mesh.member(owner, [web_check()]) for owner in ("ann", "ben", "cat"))
    async with running(ann, ben):
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
            assert set(shown_by(member)) == {"ann", "ben"}
            assert told_by(member)["cat"]["presence"] == "left"
        resolved = [alert for _, alerts, _ in ben.posts for alert in alerts if alert["labels"].get("node") == "cat"]
        assert resolved[-1].get("endsAt")
        event = read_event(next(each for each in ann.own_log() if each.kind == Kind.EVENT).payload)
        assert (event.type, event.subject) == ("forget", peer_id(cat.key))
        assert event.details["seq"] == str(ann.head_of(cat))
        await trio.sleep(10)  # so that the note is written
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(120)
        assert ann.incidents() == ben.incidents() == []
        cat.marker = None
        async with running(cat):
            mesh.connect(ann, ben, cat)
            await trio.sleep(10)
            assert shown_by(ann) == {"ann": "alive", "ben": "alive", "cat": "alive"}


async def test_who_cannot_be_forgotten_is_said(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    async with running(ann, ben):
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
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    ann, old, new = (mesh.member(owner) for owner in ("ann", "old", "new"))
    for member in (old, new):
        assert isinstance(member.configured, Settings)
        member.configured = replace(member.configured, name="nas")
    async with running(ann, new):
        async with running(old):
            mesh.connect(ann, old, new)
            await trio.sleep(10)
            ends = [peer_id(each.key)[-6:] for each in (old, new)]
            for member in (ann, new):
                assert set(shown_by(member)) == {"ann", f"nas~{ends[0]}", f"nas~{ends[1]}"}
        with pytest.raises(UsageError, match="more than one"):
            await ann.node.forget("nas")
        await ann.node.forget(f"nas~{ends[0]}")
        await trio.sleep(5)
        for member in (ann, new):
            assert set(shown_by(member)) == {"ann", "nas"}


async def test_a_dead_member_leaves_after_its_time_though_the_node_is_restarted_meanwhile(
    autojump_clock: MockClock, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LEFT_AFTER_MS", 40 * _MINUTE * 1_000)  # a week in seconds would take minutes
    ann, ben = mesh.member("ann", flush_seconds=300), mesh.member("ben")
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(10)
    mesh.swarm.networks[ann.key].part(ben.key)
    async with running(ann, seconds=9 * _HOUR):
        await trio.sleep(35 * _MINUTE)  # ten of them away, as its bye said
        assert ann.presence_of(ben) == Presence.SILENT
    async with running(ann, seconds=9 * _HOUR):
        await trio.sleep(25 * _MINUTE)
        assert ann.presence_of(ben) == Presence.SILENT
        await trio.sleep(10 * _MINUTE)
        assert ann.presence_of(ben) == Presence.LEFT
        assert ann.incidents() == []
    async with running(ann):
        await trio.sleep(60)
        assert ann.presence_of(ben) == Presence.LEFT
