"""Checks with spread on whole nodes: who runs them, who takes over, and that nothing flaps."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from demesh import limits
from demesh.checks.check import Check
from demesh.checks.placement import Candidate, chosen, takeover_ms
from demesh.config.load import Settings
from demesh.log.entry import Kind
from demesh.probes.base import ProbeSpec
from tests.cluster import FLUSH_SECONDS, Member, Mesh, running
from tests.log.builders import MESH

pytestmark = pytest.mark.trio
_NAMES = ("ann", "ben", "cat", "dan", "eve")
_SETTLED_SECONDS = limits.SPREAD_HAND_BACK_MS / 1_000 + 10
_TAKEOVER_SECONDS = takeover_ms(1_000 * FLUSH_SECONDS) / 1_000


def _check(spread: int = 2, **rest) -> Check:
    return Check("web", ProbeSpec("http", "https://example.org/", 1_000), interval_ms=4_000, spread=spread, **rest)


def _chosen(members: Sequence[Member], check: Check) -> set[bytes]:
    definition = check.row(MESH, False).definition
    return set(chosen(definition, [Candidate(each.key, check.spread, False) for each in members]))


def _runs(members: Sequence[Member]) -> set[bytes]:
    return {each.key for each in members if any(row.runs for row in each.node.duty.rows)}


def _vantages(observer: Member) -> set[str]:
    (check,) = observer.node.status()["checks"]
    return {each["node"] for each in check["vantages"] if each["assigned"]}


def _plans(member: Member) -> int:
    return sum(entry.kind == Kind.PLAN for entry in member.own_log())


async def test_as_many_nodes_as_asked_for_run_it_and_all_agree_who(autojump_clock: MockClock, mesh: Mesh) -> None:
    members = [mesh.member(name, [_check()]) for name in _NAMES]
    async with running(*members):
        mesh.connect(*members)
        await trio.sleep(_SETTLED_SECONDS)
        assert _runs(members) == _chosen(members, _check())
        assert len({frozenset(_vantages(each)) for each in members}) == 1
        assert len(_vantages(members[0])) == 2
        assert [check["state"] for check in members[0].node.status()["checks"]] == ["up"]
        probed = {each.key for each in members if each.probed_s}
        assert probed == _runs(members), "nobody else asked the target"
        assert {_plans(each) for each in members} <= {1, 2}


async def test_another_takes_over_within_the_bound_when_a_runner_falls_silent(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    members = [mesh.member(name, [_check()]) for name in _NAMES]
    async with running(*members, seconds=3_000):
        mesh.connect(*members)
        await trio.sleep(_SETTLED_SECONDS)
        gone = next(each for each in members if each.key in _runs(members))
        others = [each for each in members if each is not gone]
        mesh.forget(gone)
        waited = 0
        while _runs(others) != _chosen(others, _check()):
            await trio.sleep(1)
            waited += 1
        assert waited <= _TAKEOVER_SECONDS
        substitute = _runs(others) - (_chosen(members, _check()) - {gone.key})
        assert len(substitute) == 1
        await trio.sleep(2 * FLUSH_SECONDS)
        assert len(_vantages(others[0])) == 2

        # It comes back: the substitute stays until the one that was away has run for a minute, so somebody always looks.
        for other in others:
            mesh.swarm.connect(gone.key, other.key)
        for _ in range(round(_SETTLED_SECONDS) + 30):
            await trio.sleep(1)
            assert len(_runs(members)) >= 2
        assert _runs(members) == _chosen(members, _check())
        await trio.sleep(FLUSH_SECONDS)
        assert len(_vantages(others[0])) == 2, "the votes of the former runner lapsed with its plan"


async def test_a_member_that_comes_and_goes_does_not_make_plans_flap(autojump_clock: MockClock, mesh: Mesh) -> None:
    members = [mesh.member(name, [_check(1)]) for name in _NAMES[:3]]
    async with running(*members, seconds=3_000):
        mesh.connect(*members)
        await trio.sleep(_SETTLED_SECONDS)
        flapping = next(each for each in members if each.key in _runs(members))
        others = [each for each in members if each is not flapping]
        before = sum(map(_plans, members))
        for _ in range(10):
            mesh.forget(flapping)
            await trio.sleep(_TAKEOVER_SECONDS + 5)
            assert _runs(others)
            for other in others:
                mesh.swarm.connect(flapping.key, other.key)
            await trio.sleep(limits.SPREAD_HAND_BACK_MS / 1_000 / 2)
        assert sum(map(_plans, members)) == before + 1


async def test_a_restart_goes_on_with_what_the_node_ran_before(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann = mesh.member("ann", [_check(1)])
    async with running(ann):
        await trio.sleep(limits.SPREAD_TAKE_OVER_MS / 1_000 - 2)
        assert not ann.probed_s, "a node that knows of no others yet waits"
        await trio.sleep(10)
        assert ann.probed_s
    ann.probed_s.clear()
    plans = None
    async with running(ann):
        await trio.sleep(4)
        assert ann.probed_s
        plans = _plans(ann)
    assert plans == 2


async def test_those_that_are_not_selected_or_paused_are_never_chosen(autojump_clock: MockClock, mesh: Mesh) -> None:
    check = _check(2, nodes=("ann", "ben", "cat"))
    members = [mesh.member(name, [check]) for name in _NAMES]
    paused = members[0]
    paused.configured = replace(_settings(paused), checks=(replace(check, enabled=False),))
    async with running(*members):
        mesh.connect(*members)
        await trio.sleep(_SETTLED_SECONDS)
        assert _runs(members) == {members[1].key, members[2].key}


async def test_what_ran_everywhere_is_left_to_the_chosen_without_a_gap(autojump_clock: MockClock, mesh: Mesh) -> None:
    members = [mesh.member(name, [_check(0)]) for name in _NAMES]
    async with running(*members, seconds=3_000):
        mesh.connect(*members)
        await trio.sleep(5)
        assert len(_runs(members)) == 5
        for member in members:
            member.configured = replace(_settings(member), checks=(_check(1),))
            await member.node.reload()
        for _ in range(round(_SETTLED_SECONDS)):
            assert _runs(members)
            assert [check["state"] for check in members[0].node.status()["checks"]] == ["up"]
            await trio.sleep(1)
        assert _runs(members) == _chosen(members, _check(1))


def _settings(member: Member) -> Settings:
    assert isinstance(member.configured, Settings)
    return member.configured
