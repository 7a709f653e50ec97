"""A member that restarts without end, in virtual time: its old epochs are dropped everywhere, and nothing that they tell is lost.

Made cheaper than life: how often the nodes look at what they hold and whom they reach, sync, and keep their books.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, combinations, cycle, repeat
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from demesh import historian, housekeeping, limits, lookout, membership, own_log
from demesh.checks.check import Check
from demesh.config.load import Settings
from demesh.mesh import reach
from demesh.outcome import Outcome
from demesh.probes.base import ProbeSpec
from tests.cluster import Member, Mesh, running

pytestmark = pytest.mark.trio
_HOUR = 3_600
_UP_SECONDS = 2_400
_CHECK = Check("web", ProbeSpec("http", "https://example.org/", 1_000), interval_ms=600_000)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, seconds in (
        (historian, "_FOLD_SECONDS", 900),
        (lookout, "_LOOK_SECONDS", 3_600),
        (housekeeping, "_ROUND_SECONDS", 6 * _HOUR),
        (own_log, "_BOOKS_SECONDS", 900),
        (limits, "SYNC_INTERVAL_SECONDS", 900),
        (limits, "DUTY_LOOK_SECONDS", 900),
        (limits, "NETWORK_EXAMINE_SECONDS", 900),
        (reach, "_LOOK_SECONDS", 60),
        (membership, "_NOTE_SECONDS", 60),
    ):
        monkeypatch.setattr(module, name, seconds)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """An eighth of the epochs that there may be in life. Of those, two are less than the day that is not summed yet."""
    for name in ("EPOCHS_WHOLE_MAX", "EPOCHS_OVER_MAX", "EPOCHS_PRESSING_MAX", "EPOCHS_PER_KEY_MAX"):
        monkeypatch.setattr(limits, name, getattr(limits, name) // 8)
    monkeypatch.setattr(housekeeping, "superseded", lambda states: set())


def _member(mesh: Mesh, owner: str) -> Member:
    member = mesh.member(owner, [_CHECK], flush_seconds=300)
    assert isinstance(member.configured, Settings)
    member.configured = replace(member.configured, alertmanagers=())
    member.says = chain(repeat(Outcome.PASS, 20), cycle([Outcome.PASS, Outcome.PASS, Outcome.FAIL, Outcome.FAIL]))
    return member


async def _restart(mesh: Mesh, ann: Member, others: Sequence[Member], times: int, every_seconds: float) -> list[int]:
    """`ann` starts `times` times, as after a reboot, and runs a while each time; returns how many logs each holds at most."""
    most = [0] * (1 + len(others))
    for _ in range(times):
        ann.marker = None
        async with running(ann, seconds=_UP_SECONDS + 60):
            mesh.connect(ann, *others)
            await trio.sleep(_UP_SECONDS)
            most = [max(before, len(each.node.logs)) for before, each in zip(most, (ann, *others), strict=True)]
            for other in others:
                mesh.swarm.cut(ann.key, other.key)
        await trio.sleep(every_seconds - _UP_SECONDS)
    return most


async def _life(mesh: Mesh, restarts: int, hours: int) -> tuple[list[int], dict[str, Any]]:
    """`ann` restarts, `ben` always runs, `cat` is away but for the beginning and the end, `dan` joins through `cat` then.

    Returns how many logs `ann` and `ben` held at most, and by name each one's uptime in the end.
    """
    ann, ben, cat, dan = members = [_member(mesh, owner) for owner in ("ann", "ben", "cat", "dan")]
    async with running(ben, seconds=10**8):
        async with running(cat, seconds=10**8):
            await _restart(mesh, ann, [ben, cat], restarts // 6, hours * _HOUR)
            mesh.swarm.cut(ben.key, cat.key)
        most = await _restart(mesh, ann, [ben], restarts - restarts // 6, hours * _HOUR)
        async with running(cat, dan, seconds=10**8):
            mesh.connect(cat, dan)
            await trio.sleep(_HOUR)
            assert dan.head_of(ann) >= 0, "what cat knew of old"
            ann.marker = None
            async with running(ann, seconds=10**8):
                mesh.connect(*members)
                await trio.sleep(3 * _HOUR)
                logs = [len(member.node.logs) for member in members]
                assert _agree_on_heads(*members), logs
                for member in members:
                    await member.node.historian._round()  # all have folded all that they hold, at one time
                    await member.node.historian._look_back()
                uptime = {member.name: member.node.status()["checks"][0]["uptime"] for member in members}
                for member in members:
                    while member.store.clear(100):
                        pass
                    held = {state.log for state in member.store.logs()}
                    assert held == {state.log for state in ann.node.logs.states()}
                for one, other in combinations(members, 2):
                    mesh.swarm.cut(one.key, other.key)
    for member in members:
        assert member.history() == member.history_made_anew()
    return most, uptime


def _agree_on_heads(*members: Member) -> bool:
    heads = [{state.log: state.head for state in member.node.logs.states()} for member in members]
    return all(each == heads[0] for each in heads)


async def _compare(mesh: Mesh, monkeypatch: pytest.MonkeyPatch, restarts: int, hours: int) -> None:
    most, uptime = await _life(mesh, restarts, hours)
    assert max(most) <= limits.EPOCHS_PRESSING_MAX + 24 // hours + 4
    await trio.sleep(24 * _HOUR - trio.current_time() % (24 * _HOUR))  # to the same time of another day
    for name in ("EPOCHS_OVER_MAX", "EPOCHS_PER_KEY_MAX"):
        monkeypatch.setattr(limits, name, 10_000)
    (mesh.place / "whole").mkdir()
    most, whole = await _life(Mesh(mesh.place / "whole"), restarts, hours)
    assert max(most) >= restarts - restarts // 6, "nothing was carried"
    for name in uptime:
        for window in ("30d", "365d"):
            assert uptime[name][window] == whole[name][window] == whole["ann"][window]


async def test_a_member_that_restarts_again_and_again_leaves_few_logs_on_every_node(
    autojump_clock: MockClock, mesh: Mesh, few: None
) -> None:
    most, _ = await _life(mesh, 18, 6)
    assert max(most) <= limits.EPOCHS_PRESSING_MAX + 8


@pytest.mark.slow
async def test_a_member_that_restarts_again_and_again_keeps_its_whole_history(
    autojump_clock: MockClock, mesh: Mesh, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _compare(mesh, monkeypatch, 24, 6)
