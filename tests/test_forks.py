"""A member that signed two histories, in virtual time: everyone comes to the same end of its log, and says so in words.

A machine is set back to an earlier state, memory and all, so that it cannot know (the stated limit in `demesh.log.epoch`).
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import chain, repeat
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from demesh import limits
from demesh.log.state import LogState
from demesh.outcome import Outcome
from tests.cluster import Member, Mesh, running, web_check

pytestmark = pytest.mark.trio


class _Forked:
    """`ann` wrote one history that `ben` has, was set back, and wrote another one that `cat` has."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.ann, self.ben, self.cat = (
            mesh.member(owner, [web_check(interval_ms=2_000)]) for owner in ("ann", "ben", "cat")
        )
        self.ann.says = chain(repeat(Outcome.PASS, 6), repeat(Outcome.FAIL, 4), repeat(Outcome.PASS))

    @property
    def all(self) -> tuple[Member, Member, Member]:
        return self.ann, self.ben, self.cat

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """With all three connected at last, and time for them to find out."""
        mesh, ann, ben, cat = self.mesh, *self.all
        async with running(ben, cat, seconds=3_600):
            async with running(ann):
                mesh.connect(ann, ben, cat)
                await trio.sleep(10)
            before, marker = ann.snapshot(), ann.marker
            for one, other in ((ann, ben), (ann, cat), (ben, cat)):
                mesh.swarm.cut(one.key, other.key)
            async with running(ann):
                mesh.connect(ann, ben)
                await trio.sleep(20)
                mesh.swarm.cut(ann.key, ben.key)
            ann.roll_back(before)
            ann.marker = marker
            async with running(ann, seconds=3_600):
                mesh.connect(ann, cat)
                await trio.sleep(30)
                assert ben.head_of(ann) != cat.head_of(ann)
                mesh.connect(ann, ben, cat)
                await trio.sleep(60)
                yield


@pytest.fixture
def forked(mesh: Mesh) -> _Forked:
    return _Forked(mesh)


def _states(member: Member) -> dict[bytes, tuple[Any, ...]]:
    return {each.log: (each.head, each.fork) for each in member.node.logs.states()}


def _ended(member: Member) -> LogState:
    (state,) = (each for each in member.node.logs.states() if each.fork)
    return state


async def test_everyone_lets_the_log_end_in_front_of_the_fork(autojump_clock: MockClock, forked: _Forked) -> None:
    async with forked.running():
        heads = [_states(member) for member in forked.all]
        assert heads[0] == heads[1] == heads[2]
        for member in forked.all:
            state = _ended(member)
            assert state.fork is not None
            assert state.head.seq == state.fork.seq - 1
            assert member.store.tail(state.log, 1)[0].seq == state.head.seq
            assert member.node.heads() == forked.ann.node.heads()
            assert [each["forked_at"] for each in member.node.heads() if each["forked_at"]] == [state.fork.seq]
    for member in forked.all:
        assert member.history() == member.history_made_anew()


async def test_its_owner_goes_on_in_a_new_log_that_cites_the_proof(autojump_clock: MockClock, forked: _Forked) -> None:
    async with forked.running():
        for member in forked.all:
            known = member.node.view.member(forked.ann.key)
            state = _ended(member)
            assert known is not None
            assert known.current.hello is not None
            assert state.fork is not None
            assert known.current.log != state.log
            assert known.current.hello.fork_proofs == (state.fork.id,)
            (check,) = member.node.status()["checks"]
            assert {each["node"]: each["vote"] for each in check["vantages"]} == dict.fromkeys(
                ["ann", "ben", "cat"], "pass"
            )


async def test_it_is_an_incident_for_a_while_and_no_silence(
    autojump_clock: MockClock, forked: _Forked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FORK_TOLD_MS", 300_000)
    async with forked.running():
        for member in forked.all:
            assert member.incidents() == [("DemeshLogForked", "ann")]
        (told,) = forked.ben.node.status()["incidents"]
        state = _ended(forked.ben)
        assert state.fork is not None
        said = told["annotations"]["description"]
        assert f"in place {state.fork.seq} of log {state.log.hex()[:8]}" in said
        assert "ann has gone on in a new log." in said
        await trio.sleep(300)
        for member in forked.all:
            assert member.incidents() == []
    silent = [alert for member in forked.all for _, alerts, _ in member.posts for alert in alerts]
    assert {alert["labels"]["alertname"] for alert in silent} <= {"DemeshLogForked", "DemeshNodeSilent"}


async def test_newcomer_and_restarted_node_know_of_it(autojump_clock: MockClock, forked: _Forked) -> None:
    mesh, dan = forked.mesh, forked.mesh.member("dan")
    async with forked.running():
        async with running(dan):
            mesh.connect(dan, *forked.all)
            await trio.sleep(60)
            assert _ended(dan) == _ended(forked.ben)
            assert dan.incidents() == [("DemeshLogForked", "ann")]
            before = _ended(dan)
        async with running(dan):
            assert _ended(dan) == before
            await trio.sleep(1)
            assert dan.incidents() == [("DemeshLogForked", "ann")]
